// Package backup keeps copies of a whole library, database and originals, that can
// be verified by themselves and brought up elsewhere, on either engine.
//
// A place of backups is a blob storage: a folder or a bucket. It holds
//
//	originals/..                     as in the storage of a server, by content
//	snapshots/TIME/banksia.db        the database at that time, as a SQLite file
//	snapshots/TIME/manifest.json     what the snapshot is and what it needs
//	locks/..                         who is busy there
//
// Originals are shared by all snapshots, so each backup brings only what is new. A
// snapshot without a manifest was not finished and does not count. What is drawn
// from originals is not kept: it is drawn again.
package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/store"
)

// Manifest says what a snapshot is.
type Manifest struct {
	Name           string    `json:"name"`    // of the snapshot: its time
	Created        time.Time `json:"created"` // when the database was as it is here
	Version        string    `json:"version"` // of the program that made it
	DatabaseSHA256 string    `json:"database_sha256"`
	DatabaseBytes  int64     `json:"database_bytes"`
	Originals      int64     `json:"originals"` // different ones
	OriginalBytes  int64     `json:"original_bytes"`
	Owner          string    `json:"owner,omitempty"` // first user: tells libraries apart
}

// nameLayout makes names that sort by time.
const nameLayout = "2006-01-02T15-04-05.000Z"

func databaseKey(name string) blob.Key { return blob.Key("snapshots/" + name + "/banksia.db") }
func manifestKey(name string) blob.Key { return blob.Key("snapshots/" + name + "/manifest.json") }

// Progress is told how far a step is, in files; bytes counts those that were copied.
type Progress func(step string, done, total, bytes int64)

// Options say how something is copied.
type Options struct {
	Version string // of this program
	// Copiers is how many originals are copied at once; 0: 4.
	Copiers int
	// Progress may be nil, and may be called from several goroutines.
	Progress Progress
}

func (o *Options) fill() {
	if o.Copiers == 0 {
		o.Copiers = 4
	}
	if o.Progress == nil {
		o.Progress = func(string, int64, int64, int64) {}
	}
}

// Summary is what a backup did.
type Summary struct {
	Manifest
	Copied      int64 // originals that the place did not have
	CopiedBytes int64
}

// attempts bounds how often a backup begins anew because originals were purged
// while it ran.
const attempts = 5

// ErrOtherLibrary says that a place has backups of another library. To prune would
// be to remove those.
var ErrOtherLibrary = errors.New("the place has backups of another library; each needs a place of its own")

// Create makes a snapshot of a database and its originals, which servers may be
// using. The snapshot is whole: a backup that fails leaves none.
func Create(ctx context.Context, from *store.Store, originals, place blob.Store, o Options) (s Summary, err error) {
	o.fill()
	owner, err := from.Owner(ctx)
	if banksia.ErrorCode(err) == banksia.CodeNotFound {
		return s, errors.New("the database has no library yet; is it the right one?")
	}
	if err != nil {
		return s, fmt.Errorf("backup: %w", err)
	}
	switch newest, err := Find(ctx, place, ""); {
	case err != nil && !errors.Is(err, ErrNoSnapshot):
		return s, fmt.Errorf("backup: %w", err)
	case newest.Owner != "" && newest.Owner != owner.ID.String():
		return s, ErrOtherLibrary
	}
	s.Owner = owner.ID.String()
	held, err := use(ctx, place, making)
	if err != nil {
		return s, fmt.Errorf("backup: %w", err)
	}
	defer held.release(ctx)
	for attempt := range attempts {
		gone, err := create(ctx, from, originals, place, held, o, &s)
		if err != nil {
			return s, fmt.Errorf("backup: %w", err)
		}
		if gone == 0 {
			return s, nil
		}
		// What was deleted for good while the originals were copied is still named by
		// the snapshot. The next one does not name it, and has little left to copy.
		o.Progress(fmt.Sprintf("begun again, since %d originals were deleted meanwhile", gone), int64(attempt+1), attempts, s.CopiedBytes)
	}
	return s, fmt.Errorf("backup: originals were deleted for good during each of %d attempts", attempts)
}

func create(ctx context.Context, from *store.Store, originals, place blob.Store, held *lock, o Options, s *Summary) (gone int64, err error) {
	folder, err := os.MkdirTemp(place.TempDir(), "snapshot-*")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(folder)
	created := from.Now()
	s.Manifest = Manifest{Name: created.Format(nameLayout), Created: created, Version: o.Version, Owner: s.Owner}
	file := filepath.Join(folder, "banksia.db")
	o.Progress("database", 0, 0, 0)
	err = from.Snapshot(ctx, file, func(step, table string, done, total int64) { o.Progress("database: "+step+" "+table, done, total, 0) })
	if err != nil {
		return 0, err
	}
	wanted, err := originalsOf(ctx, file)
	if err != nil {
		return 0, err
	}
	for _, size := range wanted {
		s.OriginalBytes += size
	}
	s.Originals = int64(len(wanted))
	copied, bytes, gone, err := copyOriginals(ctx, wanted, originals, place, o)
	s.Copied, s.CopiedBytes = s.Copied+copied, s.CopiedBytes+bytes
	if err != nil || gone > 0 {
		return gone, err
	}
	if s.DatabaseSHA256, s.DatabaseBytes, err = hashFile(file); err != nil {
		return 0, err
	}
	if err := place.Adopt(ctx, databaseKey(s.Name), file); err != nil {
		return 0, err
	}
	text, err := json.MarshalIndent(s.Manifest, "", "\t")
	if err == nil {
		err = held.valid()
	}
	if err != nil {
		return 0, err
	}
	return 0, place.Put(ctx, manifestKey(s.Name), strings.NewReader(string(text)+"\n"))
}

// digest is a SHA-256 as a key of maps.
type digest [sha256.Size]byte

// originalsOf reads which originals a snapshot names, with their sizes.
func originalsOf(ctx context.Context, file string) (wanted map[digest]int64, err error) {
	s, err := store.Open(ctx, store.Config{Path: file})
	if err != nil {
		return nil, err
	}
	wanted = map[digest]int64{}
	err = s.EachVersion(ctx, func(v store.StoredVersion) error {
		if len(v.SHA256) != sha256.Size {
			return fmt.Errorf("version %s has a checksum of %d bytes", v.ID, len(v.SHA256))
		}
		wanted[digest(v.SHA256)] = v.Size
		return nil
	})
	return wanted, errors.Join(err, s.Close())
}

// copyOriginals brings originals to a place that it does not have with the right
// size. Each is compared with its checksum on the way. gone counts those that the
// source does not have.
func copyOriginals(ctx context.Context, wanted map[digest]int64, from, to blob.Store, o Options) (copied, copiedBytes, gone int64, err error) {
	missing := make([]digest, 0, len(wanted))
	there := map[digest]int64{}
	err = to.List(ctx, "originals/", func(info blob.Info) error {
		if sum, ok := blob.OriginalDigest(info.Key); ok {
			there[digest(sum)] = info.Size
		}
		return nil
	})
	if err != nil {
		return 0, 0, 0, err
	}
	for sum, size := range wanted {
		if have, ok := there[sum]; !ok || have != size {
			missing = append(missing, sum)
		}
	}
	slices.SortFunc(missing, func(a, b digest) int { return bytes.Compare(a[:], b[:]) })
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(o.Copiers)
	var mu sync.Mutex
	for _, sum := range missing {
		group.Go(func() error {
			key := blob.Original(sum[:])
			err := copyOne(ctx, key, wanted[sum], from, to)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, blob.ErrNotExist):
				gone++
				return nil
			case err != nil:
				return fmt.Errorf("copy %s: %w", key, err)
			}
			copied, copiedBytes = copied+1, copiedBytes+wanted[sum]
			o.Progress("originals", copied, int64(len(missing)), copiedBytes)
			return nil
		})
	}
	return copied, copiedBytes, gone, group.Wait()
}

func copyOne(ctx context.Context, key blob.Key, size int64, from, to blob.Store) error {
	reader, info, err := from.Open(ctx, key)
	if err != nil {
		return err
	}
	defer reader.Close()
	if info.Size != size {
		return fmt.Errorf("it has %d bytes instead of %d: %w", info.Size, size, blob.ErrDamaged)
	}
	return to.Put(ctx, key, blob.Verified(reader, key))
}

func hashFile(path string) (sum string, size int64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer file.Close()
	hash := sha256.New()
	size, err = io.Copy(hash, file)
	return hex.EncodeToString(hash.Sum(nil)), size, err
}

// List reads the manifests of all snapshots, oldest first. What has no manifest was
// not finished. When some cannot be read it fails, and gives the others all the same.
func List(ctx context.Context, place blob.Store) (manifests []Manifest, err error) {
	var keys []blob.Key
	err = place.List(ctx, "snapshots/", func(info blob.Info) error {
		if strings.HasSuffix(string(info.Key), "/manifest.json") {
			keys = append(keys, info.Key)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list backups: %w", err)
	}
	var damaged []error
	for _, key := range keys {
		m, err := readManifest(ctx, place, key)
		if err != nil {
			damaged = append(damaged, fmt.Errorf("list backups: %s: %w", key, err))
			continue
		}
		manifests = append(manifests, m)
	}
	slices.SortFunc(manifests, func(a, b Manifest) int { return strings.Compare(a.Name, b.Name) })
	return manifests, errors.Join(damaged...)
}

func readManifest(ctx context.Context, place blob.Store, key blob.Key) (m Manifest, err error) {
	reader, _, err := place.Open(ctx, key)
	if err != nil {
		return m, err
	}
	defer reader.Close()
	if err := json.NewDecoder(io.LimitReader(reader, 1<<20)).Decode(&m); err != nil {
		return m, err
	}
	if manifestKey(m.Name) != key {
		return m, fmt.Errorf("it is the manifest of %q", m.Name)
	}
	return m, nil
}

// ErrNoSnapshot says that a place has no finished snapshot, or none of a name.
var ErrNoSnapshot = errors.New("there is no such backup")

// Find returns a snapshot by its name; "": the newest. Where the manifest of another is
// damaged, which may be of the newest, one must be named.
func Find(ctx context.Context, place blob.Store, name string) (m Manifest, err error) {
	all, err := List(ctx, place)
	if at := slices.IndexFunc(all, func(m Manifest) bool { return m.Name == name }); at >= 0 {
		return all[at], nil
	}
	switch {
	case err != nil:
		return m, err
	case name != "" || len(all) == 0:
		return m, ErrNoSnapshot
	}
	return all[len(all)-1], nil
}

// fetchDatabase brings the database of a snapshot into a folder and compares it with
// the manifest.
func fetchDatabase(ctx context.Context, place blob.Store, m *Manifest, folder string) (path string, err error) {
	reader, _, err := place.Open(ctx, databaseKey(m.Name))
	if err != nil {
		return "", fmt.Errorf("the database of backup %s: %w", m.Name, err)
	}
	defer reader.Close()
	path = filepath.Join(folder, "banksia.db")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(file, hash), reader)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return "", fmt.Errorf("the database of backup %s: %w", m.Name, err)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != m.DatabaseSHA256 {
		return "", fmt.Errorf("the database of backup %s is damaged: its SHA-256 is %s", m.Name, got)
	}
	return path, nil
}

// Verify proves that a snapshot can be restored: its database is the one that was
// made, and sound, and every original that it names is there with the right size
// and, with readData, the right checksum. Problems are sentences for people.
func Verify(ctx context.Context, place blob.Store, m Manifest, readData bool, o Options) (problems []string, err error) {
	o.fill()
	folder, err := os.MkdirTemp(place.TempDir(), "verify-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	o.Progress("database", 0, 0, 0)
	file, err := fetchDatabase(ctx, place, &m, folder)
	if err != nil {
		return []string{err.Error()}, ctx.Err()
	}
	s, err := store.Open(ctx, store.Config{Path: file})
	if err != nil {
		return []string{err.Error()}, ctx.Err()
	}
	problems, err = s.Check(ctx)
	if err = errors.Join(err, s.Close()); err != nil {
		return problems, err
	}
	wanted, err := originalsOf(ctx, file)
	if err != nil {
		return problems, err
	}
	sums := make([]digest, 0, len(wanted))
	for sum := range wanted {
		sums = append(sums, sum)
	}
	slices.SortFunc(sums, func(a, b digest) int { return bytes.Compare(a[:], b[:]) })
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(o.Copiers)
	var mu sync.Mutex
	var done, read int64
	for _, sum := range sums {
		group.Go(func() error {
			problem, n, err := verifyOriginal(ctx, place, sum, wanted[sum], readData)
			mu.Lock()
			defer mu.Unlock()
			if problem != "" {
				problems = append(problems, problem)
			}
			done, read = done+1, read+n
			o.Progress("originals", done, int64(len(sums)), read)
			return err
		})
	}
	return problems, group.Wait()
}

func verifyOriginal(ctx context.Context, place blob.Store, sum digest, size int64, readData bool) (problem string, n int64, err error) {
	key := blob.Original(sum[:])
	reader, info, err := place.Open(ctx, key)
	if errors.Is(err, blob.ErrNotExist) {
		return fmt.Sprintf("%s is missing", key), 0, nil
	}
	if err != nil {
		return "", 0, err
	}
	defer reader.Close()
	if info.Size != size {
		return fmt.Sprintf("%s has %d bytes instead of %d", key, info.Size, size), 0, nil
	}
	if !readData {
		return "", 0, nil
	}
	hash := sha256.New()
	if n, err = io.Copy(hash, reader); err != nil && !errors.Is(err, blob.ErrDamaged) {
		return fmt.Sprintf("%s cannot be read: %v", key, err), n, ctx.Err()
	}
	if err != nil || digest(hash.Sum(nil)) != sum {
		return fmt.Sprintf("%s is damaged", key), n, nil
	}
	return "", n, nil
}

// Restore brings the originals of a snapshot into a storage, and then its database
// where install puts the file, which is whole and durable and removed afterwards.
// One that is cut off goes on where it was when it is called again.
func Restore(ctx context.Context, place blob.Store, m Manifest, originals blob.Store, install func(file string) error, o Options) (s Summary, err error) {
	o.fill()
	s.Manifest = m
	folder, err := os.MkdirTemp(originals.TempDir(), "restore-*")
	if err != nil {
		return s, fmt.Errorf("restore: %w", err)
	}
	defer os.RemoveAll(folder)
	file, err := fetchDatabase(ctx, place, &m, folder)
	if err != nil {
		return s, fmt.Errorf("restore: %w", err)
	}
	wanted, err := originalsOf(ctx, file)
	if err != nil {
		return s, fmt.Errorf("restore: %w", err)
	}
	var gone int64
	s.Copied, s.CopiedBytes, gone, err = copyOriginals(ctx, wanted, place, originals, o)
	if err == nil && gone > 0 {
		err = fmt.Errorf("the backup lacks %d originals; banksia backup verify names them", gone)
	}
	if err == nil {
		err = drawAgain(ctx, file)
	}
	if err == nil {
		err = install(file)
	}
	if err != nil {
		return s, fmt.Errorf("restore: %w", err)
	}
	return s, nil
}

// drawAgain makes the tasks pending that draw what a backup does not hold.
func drawAgain(ctx context.Context, file string) error {
	s, err := store.Open(ctx, store.Config{Path: file})
	if err != nil {
		return err
	}
	return errors.Join(s.RepeatTasks(ctx, banksia.TaskDisplayProxy, banksia.TaskVideoThumbnails), s.Close())
}

// youngest is how old an original of no snapshot must be to go: a younger one may be
// of a backup under way.
const youngest = 24 * time.Hour

// Prune removes all but the newest snapshots, and the originals that none of those
// names and that have been there for a day.
func Prune(ctx context.Context, place blob.Store, keep int, o Options) (removed []string, originals, freed int64, err error) {
	o.fill()
	if keep < 1 {
		return nil, 0, 0, errors.New("prune: at least one backup must be kept")
	}
	held, err := use(ctx, place, pruning)
	if err != nil {
		return nil, 0, 0, fmt.Errorf("prune: %w", err)
	}
	defer held.release(ctx)
	all, err := List(ctx, place)
	if err != nil {
		return nil, 0, 0, err
	}
	fail := func(err error) ([]string, int64, int64, error) {
		return removed, originals, freed, fmt.Errorf("prune: %w", err)
	}
	kept := all[max(0, len(all)-keep):]
	wanted := map[digest]bool{}
	for _, m := range kept { // before anything goes
		folder, err := os.MkdirTemp(place.TempDir(), "prune-*")
		if err != nil {
			return fail(err)
		}
		file, err := fetchDatabase(ctx, place, &m, folder)
		var some map[digest]int64
		if err == nil {
			some, err = originalsOf(ctx, file)
		}
		os.RemoveAll(folder)
		if err != nil {
			return fail(err)
		}
		for sum := range some {
			wanted[sum] = true
		}
	}
	if len(kept) == 0 {
		return nil, 0, 0, nil
	}
	names := map[string]bool{}
	for _, m := range kept {
		names[m.Name] = true
	}
	var gone []blob.Key
	err = place.List(ctx, "snapshots/", func(info blob.Info) error {
		name := strings.Split(string(info.Key), "/")[1]
		if !names[name] && name < kept[0].Name { // a younger one without a manifest may be under way
			gone = append(gone, info.Key)
		}
		return nil
	})
	if err != nil {
		return fail(err)
	}
	// The manifest first: what is left of a snapshot without one does not count.
	slices.SortFunc(gone, func(a, b blob.Key) int { return strings.Compare(string(b), string(a)) })
	for _, key := range gone {
		if err := held.remove(ctx, key); err != nil {
			return fail(err)
		}
		if name, isManifest := strings.CutSuffix(string(key), "/manifest.json"); isManifest {
			removed = append(removed, strings.TrimPrefix(name, "snapshots/"))
		}
	}
	var unwanted []blob.Info
	err = place.List(ctx, "originals/", func(info blob.Info) error {
		if sum, ok := blob.OriginalDigest(info.Key); ok && !wanted[digest(sum)] && time.Since(info.ModTime) > youngest {
			unwanted = append(unwanted, info)
		}
		return nil
	})
	if err != nil {
		return fail(err)
	}
	for _, info := range unwanted {
		if err := held.remove(ctx, info.Key); err != nil {
			return fail(err)
		}
		originals, freed = originals+1, freed+info.Size
		o.Progress("removing originals", originals, int64(len(unwanted)), freed)
	}
	return removed, originals, freed, nil
}
