package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/banksia-photos/banksia/internal/backup"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/blob/s3"
	"github.com/banksia-photos/banksia/internal/check"
	"github.com/banksia-photos/banksia/internal/config"
	"github.com/banksia-photos/banksia/internal/store"
)

const backupUsage = `Usage: banksia backup PLACE [--keep NUMBER] [flags]
       banksia backup list PLACE
       banksia backup verify PLACE [--snapshot NAME] [--read-data]

Makes a backup of the whole library, database and originals, in a folder or in
s3://BUCKET/PREFIX?endpoint=URL. Servers may run meanwhile: a backup is the library
at one moment. Each backup brings only the originals that the place does not have,
and compares them with their SHA-256 on the way. Previews are not kept.

    banksia backup /mnt/disk/photos-backup
    banksia backup /mnt/disk/photos-backup --keep 14

--keep removes all but the newest backups, and originals that none of those names.

list shows what is there. verify proves that a backup, the newest or the one of a
name, can be restored; --read-data also reads its originals.

A backup holds everything, password hashes and secrets included: keep it safe.
`

const restoreUsage = `Usage: banksia restore PLACE [--snapshot NAME] [flags]

Brings a backup up: originals first, then the database, into an empty data folder or,
with --database-url and --blobs, into PostgreSQL and S3. Which of them the backup was
made of does not matter. One that was cut off goes on where it was when it is run
again. Then everything is checked, and previews are drawn again once a server runs.

    banksia restore /mnt/disk/photos-backup --data data
`

func backupCommand() command {
	return command{"backup", "make, list and verify backups", runBackup}
}

func restoreCommand() command {
	return command{"restore", "bring a backup up", runRestore}
}

// backupRequest is what the command line says.
type backupRequest struct {
	snapshot string
	readData bool
	keep     int
}

func runBackup(ctx context.Context, args []string, std stdio) error {
	verb := "make"
	if len(args) > 0 && (args[0] == "list" || args[0] == "verify") {
		verb, args = args[0], args[1:]
	}
	cfg, r := defaultSettings(), backupRequest{}
	set := flag.NewFlagSet("backup", flag.ContinueOnError)
	switch verb {
	case "make":
		config.Integer(set, &r.keep, "keep", "`NUMBER` of backups to keep; 0: all", 0, 1<<20, 1)
	case "verify":
		config.Text(set, &r.snapshot, "snapshot", "`NAME` of the backup; when not given, the newest", nil)
		config.Switch(set, &r.readData, "read-data", "read every original and compare it with its SHA-256")
	}
	cfg.addDataFlags(set)
	rest, err := cfg.load(set, backupUsage, args, std, "keep", "snapshot", "read-data")
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return &usageError{set.Name(), errors.New("give one place for backups, a folder or s3://BUCKET/PREFIX")}
	}
	if verb == "make" {
		if err := cfg.apart(rest[0]); err != nil {
			return err
		}
	}
	place, release, err := openBackups(ctx, rest[0], verb == "make")
	if err != nil {
		return err
	}
	defer release()
	switch verb {
	case "list":
		return listBackups(ctx, place, rest[0], std.out)
	case "verify":
		return verifyBackup(ctx, place, rest[0], r, std)
	}
	return makeBackup(ctx, cfg, place, r, std)
}

// apart keeps backups away from what they are of: one in the data folder goes with
// its disk, and to prune originals there would be to delete those of the library.
func (s *settings) apart(place string) error {
	if s3.IsLocation(place) {
		there, err := s3.ParseLocation(place, os.Getenv)
		if err != nil || s.blobs == "" {
			return err
		}
		own, err := s3.ParseLocation(s.blobs, os.Getenv)
		if err == nil && there.Endpoint == own.Endpoint && there.Bucket == own.Bucket && there.Prefix == own.Prefix {
			err = fmt.Errorf("%s is the place of the library's own originals; choose another bucket or prefix", place)
		}
		return err
	}
	for _, folder := range []string{s.data, blobFolder(s.data)} {
		inside, err := liesIn(place, folder)
		if err != nil {
			return err
		}
		if inside {
			return fmt.Errorf("%s lies in the data folder and would be lost with it; choose a folder on another disk", place)
		}
	}
	return nil
}

// liesIn tells whether a path, of which the end need not exist, is a folder or in it.
func liesIn(path, folder string) (bool, error) {
	outer, err := os.Stat(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		path, err = filepath.Abs(path)
	}
	for err == nil {
		if real, realErr := filepath.EvalSymlinks(path); realErr == nil {
			path = real
		}
		if inner, err := os.Stat(path); err == nil && os.SameFile(inner, outer) {
			return true, nil
		}
		if path == filepath.Dir(path) {
			return false, nil
		}
		path = filepath.Dir(path)
	}
	return false, err
}

// findBackup is backup.Find for people.
func findBackup(ctx context.Context, place blob.Store, where, name string) (m backup.Manifest, err error) {
	m, err = backup.Find(ctx, place, name)
	switch {
	case errors.Is(err, backup.ErrNoSnapshot) && name == "":
		err = fmt.Errorf("there are no backups in %s", where)
	case errors.Is(err, backup.ErrNoSnapshot):
		err = fmt.Errorf("there is no backup %q in %s; banksia backup list names those that are there", name, where)
	}
	return m, err
}

// openBackups opens a place of backups; release ends the use of it.
func openBackups(ctx context.Context, name string, create bool) (place blob.Store, release func(), err error) {
	if !create && !s3.IsLocation(name) {
		if _, err := os.Stat(name); err != nil {
			return nil, nil, fmt.Errorf("there are no backups in %s: %w", name, err)
		}
	}
	temporary, err := os.MkdirTemp("", "banksia-backup-")
	if err != nil {
		return nil, nil, fmt.Errorf("make a temporary folder: %w", err)
	}
	if place, err = openPlace(ctx, name, temporary); err != nil {
		os.RemoveAll(temporary)
		return nil, nil, fmt.Errorf("use %s for backups: %w", config.HidePasswords(name), err)
	}
	return place, func() { os.RemoveAll(temporary) }, nil
}

func backupOptions(out io.Writer) backup.Options {
	lines := newThrottle()
	return backup.Options{Version: version, Progress: func(step string, done, total, bytes int64) {
		if !lines.due() {
			return
		}
		switch {
		case bytes > 0:
			fmt.Fprintf(out, "%s: %d of %d, %s\n", step, done, total, byteSize(bytes))
		case total > 0:
			fmt.Fprintf(out, "%s: %d of %d\n", step, done, total)
		default:
			fmt.Fprintf(out, "%s\n", step)
		}
	}}
}

func makeBackup(ctx context.Context, cfg *settings, place blob.Store, r backupRequest, std stdio) error {
	s, closeStore, err := openForCommand(ctx, cfg)
	if err != nil {
		return err
	}
	defer closeStore()
	originals, err := openBlobs(ctx, cfg)
	if err != nil {
		return err
	}
	options := backupOptions(std.err)
	begin := time.Now()
	made, err := backup.Create(ctx, s, originals, place, options)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.out, "backup %s: %d originals (%s), of which %d (%s) were new, and a database of %s, in %s\n",
		made.Name, made.Originals, byteSize(made.OriginalBytes), made.Copied, byteSize(made.CopiedBytes), byteSize(made.DatabaseBytes), time.Since(begin).Round(time.Millisecond))
	if r.keep == 0 {
		return nil
	}
	removed, gone, freed, err := backup.Prune(ctx, place, r.keep, options)
	for _, name := range removed {
		fmt.Fprintf(std.out, "removed backup %s\n", name)
	}
	if gone > 0 {
		fmt.Fprintf(std.out, "removed %d originals (%s) that no backup names\n", gone, byteSize(freed))
	}
	if errors.Is(err, backup.ErrInUse) { // the next one does it
		_, err = fmt.Fprintf(std.out, "not all old backups were removed: %v\n", err)
	}
	return err
}

func listBackups(ctx context.Context, place blob.Store, where string, out io.Writer) error {
	all, damaged := backup.List(ctx, place)
	if len(all) == 0 {
		if damaged != nil {
			return damaged
		}
		return fmt.Errorf("there are no backups in %s", where)
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tORIGINALS\tBYTES\tDATABASE BYTES\tMADE BY")
	for _, m := range all {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%s\n", m.Name, m.Originals, m.OriginalBytes, m.DatabaseBytes, m.Version)
	}
	return errors.Join(table.Flush(), damaged)
}

func verifyBackup(ctx context.Context, place blob.Store, where string, r backupRequest, std stdio) error {
	m, err := findBackup(ctx, place, where, r.snapshot)
	if err != nil {
		return err
	}
	problems, err := backup.Verify(ctx, place, m, r.readData, backupOptions(std.err))
	if err != nil {
		return err
	}
	for _, problem := range problems {
		fmt.Fprintf(std.out, "problem: %s\n", problem)
	}
	if len(problems) > 0 {
		return fmt.Errorf("backup %s has %s", m.Name, count(len(problems), "problem"))
	}
	_, err = fmt.Fprintf(std.out, "Backup %s is whole: %d originals (%s).\n", m.Name, m.Originals, byteSize(m.OriginalBytes))
	return err
}

func runRestore(ctx context.Context, args []string, std stdio) error {
	cfg, snapshot := defaultSettings(), ""
	set := flag.NewFlagSet("restore", flag.ContinueOnError)
	config.Text(set, &snapshot, "snapshot", "`NAME` of the backup; when not given, the newest", nil)
	cfg.addDataFlags(set)
	rest, err := cfg.load(set, restoreUsage, args, std, "snapshot")
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return &usageError{set.Name(), errors.New("give one place of backups, a folder or s3://BUCKET/PREFIX")}
	}
	place, release, err := openBackups(ctx, rest[0], false)
	if err != nil {
		return err
	}
	defer release()
	m, err := findBackup(ctx, place, rest[0], snapshot)
	if err != nil {
		return err
	}
	lock, err := lockFolder(cfg.data)
	if err != nil {
		return explainInUse(cfg.data, err)
	}
	defer lock.Close()
	if cfg.databaseURL == "" {
		if _, err := os.Lstat(databaseFile(cfg.data)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is a database in %s already; restore into an empty folder", cfg.data)
		}
	} else if to, err := openTarget(ctx, cfg); err != nil { // before hours of copying
		return err
	} else if err := to.Close(); err != nil {
		return err
	}
	originals, err := openBlobs(ctx, cfg)
	if err != nil {
		return err
	}
	begin := time.Now()
	done, err := backup.Restore(ctx, place, m, originals, func(file string) error { return installDatabase(ctx, cfg, file, std) }, backupOptions(std.err))
	if err != nil {
		return err
	}
	s, err := openStore(ctx, cfg, nil)
	if err != nil {
		return err
	}
	defer s.Close()
	report, err := check.Run(ctx, s, originals, check.Options{Progress: stepProgress(std.err)})
	if err != nil {
		return err
	}
	for _, problem := range report.Problems {
		fmt.Fprintf(std.out, "problem: %s\n", problem.Text)
	}
	if len(report.Problems) > 0 {
		return fmt.Errorf("the library was restored with %s", count(len(report.Problems), "problem"))
	}
	_, err = fmt.Fprintf(std.out, "Restored backup %s and checked it: %d originals (%s), of which %d were copied, in %s.\n",
		done.Name, done.Originals, byteSize(done.OriginalBytes), done.Copied, time.Since(begin).Round(time.Millisecond))
	return err
}

// installDatabase puts the database of a backup where the servers look for it.
func installDatabase(ctx context.Context, cfg *settings, file string, std stdio) error {
	if cfg.databaseURL == "" {
		return moveFile(file, databaseFile(cfg.data))
	}
	from, err := store.Open(ctx, store.Config{Path: file})
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := openTarget(ctx, cfg)
	if err != nil {
		return err
	}
	defer to.Close()
	return store.Copy(ctx, from, to, store.CopyOptions{Progress: copyProgress(std.err)})
}

// openTarget opens a PostgreSQL database that is to be filled.
func openTarget(ctx context.Context, cfg *settings) (*store.Store, error) {
	target := cfg.database()
	target.Target = true
	to, err := store.Open(ctx, target)
	if err != nil {
		return nil, err
	}
	if err := to.CanBeFilled(ctx); err != nil {
		if errors.Is(err, store.ErrNotEmpty) {
			err = errors.New("there is a library in the database already; restore into an empty one")
		}
		return nil, errors.Join(err, to.Close())
	}
	return to, nil
}

// moveFile moves a file to a new place, whole or not at all, also to another disk.
func moveFile(from, to string) error {
	folder := filepath.Dir(to)
	if err := blob.GiveToOwnerOf(folder, from); err != nil {
		return err
	}
	if err := os.Rename(from, to); err == nil {
		return blob.SyncFolder(folder)
	}
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.CreateTemp(folder, ".restore-*")
	if err != nil {
		return err
	}
	defer os.Remove(target.Name())
	_, err = io.Copy(target, source)
	if err == nil {
		err = errors.Join(target.Sync(), blob.GiveToOwnerOf(folder, target.Name()))
	}
	if err = errors.Join(err, target.Close()); err != nil {
		return err
	}
	if err := os.Rename(target.Name(), to); err != nil {
		return err
	}
	return blob.SyncFolder(folder)
}

// throttle lets something happen every two seconds.
type throttle struct {
	mu   sync.Mutex
	last time.Time
}

func newThrottle() *throttle { return &throttle{last: time.Now()} }

func (t *throttle) due() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.last) < 2*time.Second {
		return false
	}
	t.last = time.Now()
	return true
}
