// Package check proves that nothing is lost: that every row agrees with the others
// and that every file that a row names is there, whole and the same as when it was
// sent. It reads a database and a blob storage, also while servers use them.
package check

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/store"
)

// youngest is how old a file without a row must be to count as left over: younger
// ones may be of an upload under way.
const youngest = time.Hour

// Options say what is checked.
type Options struct {
	// ReadData also reads every original and compares it with its checksum.
	ReadData bool
	// Repair mends what can be mended: rows that follow from others, and derived
	// files, which are drawn anew when they are wanted. Originals that are sound are
	// never touched.
	Repair bool
	// Backup is where originals are looked for, when Repair finds them missing or
	// damaged; nil: nowhere.
	Backup blob.Store
	// Readers is how many originals are read at once; 0: 4.
	Readers int
	// Progress, when not nil, is told how far a step is; total is 0 while unknown. It
	// may be called from several goroutines.
	Progress func(step string, done, total int64)
}

// Problem is something that should not be, as a sentence for people.
type Problem struct {
	Text string
	// Asset is the one that is concerned, if it is one.
	Asset banksia.AssetID
}

// Report is what a check found.
type Report struct {
	Problems []Problem // what is wrong, and was not mended
	Mended   []string  // what was wrong and holds again
	// Unowned are originals that no row names, which are kept: they may be of a
	// database that was replaced by an older one.
	Unowned      []blob.Info
	UnownedBytes int64

	Versions      int64 // rows that name an original
	Originals     int64 // different ones among those
	OriginalBytes int64
	ReadBytes     int64 // of originals that were read and compared
	Derived       int64 // derived files
}

// expected is an original that rows name.
type expected struct {
	size  int64
	asset banksia.AssetID
	seen  bool
	done  bool // it was found to be wrong, and told
}

type checker struct {
	store   *store.Store
	blobs   blob.Store
	options Options

	mu     sync.Mutex
	report Report
}

// Run checks a database and its blobs. An error is a reason why that could not be
// done; what is wrong is in the report.
func Run(ctx context.Context, s *store.Store, blobs blob.Store, options Options) (*Report, error) {
	if options.Progress == nil {
		options.Progress = func(string, int64, int64) {}
	}
	if options.Readers == 0 {
		options.Readers = 4
	}
	c := &checker{store: s, blobs: blobs, options: options}
	for _, step := range []func(context.Context) error{c.rows, c.originals, c.derived} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("check: %w", err)
		}
	}
	return &c.report, nil
}

func (c *checker) problem(asset banksia.AssetID, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Problems = append(c.report.Problems, Problem{fmt.Sprintf(format, args...), asset})
}

// rows checks the database by itself.
func (c *checker) rows(ctx context.Context) error {
	c.options.Progress("rows", 0, 0)
	if c.options.Repair {
		mended, err := c.store.Repair(ctx)
		if err != nil {
			return err
		}
		for _, name := range mended {
			c.report.Mended = append(c.report.Mended, "made true again that "+name)
		}
	}
	problems, err := c.store.Check(ctx)
	for _, problem := range problems {
		c.problem(banksia.AssetID{}, "%s", problem)
	}
	return err
}

// originals checks that every version has its bytes.
func (c *checker) originals(ctx context.Context) error {
	begin := time.Now()
	wanted := map[[sha256.Size]byte]*expected{}
	err := c.store.EachVersion(ctx, func(v store.StoredVersion) error {
		c.report.Versions++
		if len(v.SHA256) != sha256.Size {
			c.problem(v.AssetID, "version %s has a checksum of %d bytes", v.ID, len(v.SHA256))
			return nil
		}
		e := wanted[[sha256.Size]byte(v.SHA256)]
		if e == nil {
			e = &expected{size: v.Size, asset: v.AssetID}
			wanted[[sha256.Size]byte(v.SHA256)] = e
			c.report.OriginalBytes += v.Size
		}
		if e.size != v.Size {
			c.problem(v.AssetID, "versions of the same bytes have sizes of %d and %d", e.size, v.Size)
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.report.Originals = int64(len(wanted))
	listed := int64(0)
	var wrong []banksia.Digest // in size
	err = c.blobs.List(ctx, "originals/", func(info blob.Info) error {
		if listed++; listed%1000 == 0 {
			c.options.Progress("originals", listed, int64(len(wanted)))
		}
		sum, ok := blob.OriginalDigest(info.Key)
		if !ok {
			c.problem(banksia.AssetID{}, "%s is no name of an original", info.Key)
			return nil
		}
		e := wanted[[sha256.Size]byte(sum)]
		if e == nil {
			if info.ModTime.Before(begin.Add(-youngest)) {
				c.report.Unowned = append(c.report.Unowned, info)
				c.report.UnownedBytes += info.Size
			}
			return nil
		}
		e.seen = true
		if e.size != info.Size {
			wrong = append(wrong, sum)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, sum := range wrong {
		e := wanted[[sha256.Size]byte(sum)]
		c.lost(ctx, sum, e, "has another size")
		e.done = true
	}
	var present [][sha256.Size]byte
	for sum, e := range wanted {
		if e.done {
			continue
		}
		if e.seen {
			present = append(present, sum)
			continue
		}
		// A purge may have removed rows and bytes since the rows were read, and an
		// upload may have brought the bytes since the files were listed.
		still, err := c.stillMissing(ctx, sum[:])
		if err != nil {
			return err
		}
		if still {
			c.lost(ctx, sum[:], e, "is missing")
		}
	}
	if !c.options.ReadData {
		return nil
	}
	return c.read(ctx, present, wanted)
}

func (c *checker) stillMissing(ctx context.Context, sum banksia.Digest) (bool, error) {
	if _, err := c.blobs.Stat(ctx, blob.Original(sum)); !errors.Is(err, blob.ErrNotExist) {
		return false, err
	}
	referenced := false
	err := c.store.Read(ctx, func(tx *store.Tx) (err error) {
		referenced, err = tx.IsReferenced(sum)
		return err
	})
	return referenced, err
}

// read compares originals with their checksums.
func (c *checker) read(ctx context.Context, sums [][sha256.Size]byte, wanted map[[sha256.Size]byte]*expected) error {
	// In the order of their names, which a disk likes better than none.
	slices.SortFunc(sums, func(a, b [sha256.Size]byte) int { return bytes.Compare(a[:], b[:]) })
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(c.options.Readers)
	done := int64(0)
	for _, sum := range sums {
		group.Go(func() error {
			e := wanted[sum]
			n, same, err := c.compare(ctx, sum[:])
			switch {
			case errors.Is(err, blob.ErrNotExist):
				if still, err := c.stillMissing(ctx, sum[:]); err != nil || !still {
					return err
				}
				c.lost(ctx, sum[:], e, "is missing")
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				c.problem(e.asset, "the original of asset %s cannot be read: %v", e.asset, err)
			case !same:
				c.lost(ctx, sum[:], e, "is damaged")
			}
			c.mu.Lock()
			c.report.ReadBytes += n
			done++
			at := done
			c.mu.Unlock()
			c.options.Progress("bytes of originals", at, int64(len(sums)))
			return nil
		})
	}
	return group.Wait()
}

// lost tells of an original that is not as it should be, or brings it back from the
// backup.
func (c *checker) lost(ctx context.Context, sum banksia.Digest, e *expected, what string) {
	if c.options.Repair && c.options.Backup != nil {
		err := c.bringBack(ctx, sum)
		if err == nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.report.Mended = append(c.report.Mended, fmt.Sprintf("the original of asset %s %s: it was brought back from the backup", e.asset, what))
			return
		}
		what += fmt.Sprintf(", and cannot be brought back: %v", err)
	}
	c.problem(e.asset, "the original of asset %s %s (%s)", e.asset, what, hex.EncodeToString(sum))
}

func (c *checker) bringBack(ctx context.Context, sum banksia.Digest) error {
	reader, _, err := c.options.Backup.Open(ctx, blob.Original(sum))
	if err != nil {
		return err
	}
	defer reader.Close()
	return c.blobs.Put(ctx, blob.Original(sum), blob.Verified(reader, blob.Original(sum)))
}

func (c *checker) compare(ctx context.Context, sum banksia.Digest) (n int64, same bool, err error) {
	reader, _, err := c.blobs.Open(ctx, blob.Original(sum))
	if err != nil {
		return 0, false, err
	}
	defer reader.Close()
	hash := sha256.New()
	n, err = io.Copy(hash, reader)
	if errors.Is(err, blob.ErrDamaged) {
		return n, false, nil
	}
	return n, bytes.Equal(hash.Sum(nil), sum), err
}

// derived looks at what was drawn: what is of no version, or empty, is of no use.
func (c *checker) derived(ctx context.Context) error {
	begin := time.Now()
	versions := map[banksia.VersionID]bool{}
	err := c.store.EachVersion(ctx, func(v store.StoredVersion) error {
		versions[v.ID] = true
		return nil
	})
	if err != nil {
		return err
	}
	var useless []blob.Key
	err = c.blobs.List(ctx, "derived/", func(info blob.Info) error {
		if c.report.Derived++; c.report.Derived%1000 == 0 {
			c.options.Progress("derived files", c.report.Derived, 0)
		}
		name, _, _ := strings.Cut(path.Base(string(info.Key)), ".")
		raw, err := hex.DecodeString(name)
		young := !info.ModTime.Before(begin.Add(-youngest))
		switch {
		case err != nil || len(raw) != 16:
			c.problem(banksia.AssetID{}, "%s is no name of a derived file", info.Key)
		case info.Size == 0, !young && !versions[banksia.VersionID(raw)]:
			useless = append(useless, info.Key)
		}
		return nil
	})
	if err != nil || len(useless) == 0 {
		return err
	}
	if !c.options.Repair {
		c.problem(banksia.AssetID{}, "%d derived files are of no use, such as %s", len(useless), useless[0])
		return nil
	}
	for _, key := range useless {
		if err := c.blobs.Delete(ctx, key); err != nil {
			return err
		}
	}
	c.report.Mended = append(c.report.Mended, fmt.Sprintf("removed %d derived files of no use", len(useless)))
	return nil
}
