// Package faultfs is a file system that fails when a test says so: processes are
// killed at any of its changes, the power is cut, the disk is full, read-only or
// broken. It is mounted on a folder, so that whole programs work on it, and keeps
// everything in memory.
//
// A power cut loses what was not made durable, by the strictest reading of POSIX:
//
//   - A file has the content of its last fsync and, of the sectors written or cut
//     off since, any.
//   - A folder has the entries of its last fsync and, of the changes since, those
//     before some point. A file moved from one folder to another is a change of each;
//     neither waits for the other.
//   - That a file is durable says nothing of its entry, nor the other way round.
//
// Journals of real file systems lose less: all changes of entries of all folders are
// durable in their order, at least up to the last one about whatever was synced.
// LosePower has both.
//
// Times, modes and owners are not modelled:
// they are never lost. What is written through a shared memory mapping reaches the
// file when the kernel likes, and is neither counted nor refused.
package faultfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// FS is a mounted file system. Its methods may be called at any time.
type FS struct {
	fuse.RawFileSystem // answers what is not implemented
	server             *fuse.Server
	folder             string

	mu       sync.Mutex
	nodes    []*node // by number; the first is nobody
	listings map[uint64][]fuse.DirEntry
	changes  int
	records  int // changes of entries
	// committed is how many of the records a journal has made durable.
	committed int
	crashAt   int
	onCrash   func()
	crashed   bool
	troubles  []fault
}

// Trouble is a way in which a disk fails.
type Trouble int

const (
	// Full: what needs more room fails with ENOSPC. What has room is overwritten.
	Full Trouble = iota
	// ReadOnly: every change fails with EROFS.
	ReadOnly
	// FailWrites, FailSyncs and FailReads: EIO. What was to be made durable by a
	// failed sync may be lost.
	FailWrites
	FailSyncs
	FailReads
)

type fault struct {
	trouble Trouble
	under   []string
}

// Mount makes the file system appear at an empty folder, holding a copy of another
// one, all of it durable; "": nothing. Close must be called.
//
// This process serves the file system, so it must not start others in a folder of it:
// until they run they hold up the Go scheduler.
func Mount(at, from string) (*FS, error) {
	f := &FS{RawFileSystem: fuse.NewDefaultRawFileSystem(), folder: at, nodes: make([]*node, 1), listings: map[uint64][]fuse.DirEntry{}}
	f.add(nil, "", syscall.S_IFDIR|0o700)
	if from != "" {
		if err := f.load(f.nodes[fuse.FUSE_ROOT_ID], from); err != nil {
			return nil, fmt.Errorf("fill a file system for the test: %w", err)
		}
	}
	if err := f.mount(at); err != nil {
		return nil, fmt.Errorf("mount a file system for the test, which needs /dev/fuse and the package fuse3: %w", err)
	}
	return f, nil
}

func (f *FS) mount(at string) (err error) {
	options := &fuse.MountOptions{
		Name: "banksiatest", FsName: "banksiatest",
		DisableReadDirPlus:       true,
		DisableXAttrs:            true,
		ExplicitDataCacheControl: true, // nobody changes files behind the kernel
	}
	// The library opens files that other processes, started meanwhile, would inherit,
	// and keep from being unmounted.
	syscall.ForkLock.RLock()
	if os.Geteuid() == 0 {
		options.DirectMountStrict = true
		f.server, err = fuse.NewServer(f, at, options)
	}
	if f.server == nil || err != nil { // by fusermount3, which is such a process itself
		syscall.ForkLock.RUnlock()
		options.DirectMountStrict = false
		if f.server, err = fuse.NewServer(f, at, options); err != nil {
			return err
		}
		syscall.ForkLock.RLock()
	}
	defer syscall.ForkLock.RUnlock()
	if err := keepDevice(); err != nil {
		return err
	}
	go f.server.Serve()
	return f.server.WaitMount()
}

// keepDevice keeps the connections to the kernel from other processes.
func keepDevice() error {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, entry := range open {
		fd, err := strconv.Atoi(entry.Name())
		if name, _ := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil && name == "/dev/fuse" {
			syscall.CloseOnExec(fd)
		}
	}
	return nil
}

// closeTime is how long Close waits for processes that have been told to end.
const closeTime = 10 * time.Second

// Close takes the file system away from its folder. Nobody may use it any more, and
// calling it again fails.
func (f *FS) Close() (err error) {
	for begin := time.Now(); time.Since(begin) < closeTime; {
		if err = f.server.Unmount(); err == nil { // which itself waits between attempts
			return nil
		}
	}
	return fmt.Errorf("unmount %s: %w", f.folder, err)
}

// Changes is how many changes have been made or asked for: entries made, moved and
// removed, writes, cuts, and syncs of files and folders.
func (f *FS) Changes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changes
}

// CrashAt calls a function, which ends whoever uses the file system, in the place of
// the n-th change from now. From then on no change is made. It must not use the file
// system, nor wait for those who do.
func (f *FS) CrashAt(n int, end func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.crashAt, f.onCrash = f.changes+n, end
}

// Crash lets no change through from now on.
func (f *FS) Crash() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.crashed = true
}

// Crashed tells whether no change is made any more.
func (f *FS) Crashed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.crashed
}

// Break makes the disk fail from now on, for what is at or below some paths or
// begins with them, such as "blobs/" or "banksia.db"; without any, for everything.
func (f *FS) Break(trouble Trouble, under ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.troubles = append(f.troubles, fault{trouble, under})
}

// Mend ends all that Break has begun.
func (f *FS) Mend() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.troubles = nil
}

// has tells whether a trouble is there for an entry of a folder, or for a node when
// the name is "".
func (f *FS) has(trouble Trouble, n *node, name string) bool {
	for _, one := range f.troubles {
		if one.trouble != trouble {
			continue
		}
		if len(one.under) == 0 {
			return true
		}
		path := strings.TrimPrefix(n.path()+"/"+name, "/")
		for _, under := range one.under {
			if strings.HasPrefix(path, under) {
				return true
			}
		}
	}
	return false
}

// change comes before every change, with the lock held, and says whether it may be
// made. bigger: it needs room.
func (f *FS) change(n *node, name string, bigger bool) fuse.Status {
	if f.crashed {
		return fuse.EIO
	}
	f.changes++
	if f.changes == f.crashAt {
		f.crashed = true
		f.onCrash()
		return fuse.EIO
	}
	switch {
	case f.has(ReadOnly, n, name):
		return fuse.EROFS
	case bigger && f.has(Full, n, name):
		return fuse.Status(syscall.ENOSPC)
	case f.has(FailWrites, n, name):
		return fuse.EIO
	}
	return fuse.OK
}

// load copies a folder into a node, durably.
func (f *FS) load(n *node, from string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(from, entry.Name())
		info, err := entry.Info()
		if err != nil {
			return err
		}
		kind := uint32(info.Mode().Perm())
		switch info.Mode().Type() {
		case 0:
			kind |= syscall.S_IFREG
		case fs.ModeDir:
			kind |= syscall.S_IFDIR
		case fs.ModeSymlink:
			kind |= syscall.S_IFLNK
		default:
			return fmt.Errorf("%s is neither a file nor a folder", path)
		}
		child := f.add(n, entry.Name(), kind)
		switch info.Mode().Type() {
		case 0:
			child.data, err = os.ReadFile(path)
		case fs.ModeDir:
			err = f.load(child, path)
		case fs.ModeSymlink:
			child.target, err = os.Readlink(path)
		}
		if err != nil {
			return err
		}
		child.modified = info.ModTime()
		f.sync(child)
	}
	f.sync(n)
	return nil
}

// Keep writes everything, as it is after processes were killed, into a new folder.
func (f *FS) Keep(to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := writer{written: map[*node]string{}, content: func(n *node) []byte { return n.data }, entries: func(n *node) map[string]*node { return n.entries }}
	return w.write(f.nodes[fuse.FUSE_ROOT_ID], to)
}

// LosePower writes what a power cut leaves into a new folder. The seed decides what
// of it happens to be durable; journal: as journals keep it, not as POSIX promises.
func (f *FS) LosePower(to string, seed uint64, journal bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	chance := f.newChance(seed, journal)
	w := writer{written: map[*node]string{}, content: chance.content, entries: chance.entries}
	return w.write(f.nodes[fuse.FUSE_ROOT_ID], to)
}

// writer writes nodes into a real folder; those with several names are linked.
type writer struct {
	written map[*node]string
	content func(*node) []byte
	entries func(*node) map[string]*node
}

func (w *writer) write(n *node, path string) error {
	if first, ok := w.written[n]; ok && !n.isFolder() {
		return os.Link(first, path)
	}
	w.written[n] = path
	perm := fs.FileMode(n.mode & 0o777)
	switch n.mode & syscall.S_IFMT {
	case syscall.S_IFLNK:
		return os.Symlink(n.target, path)
	case syscall.S_IFREG:
		if err := os.WriteFile(path, w.content(n), perm); err != nil {
			return err
		}
	default:
		if err := os.Mkdir(path, perm); err != nil {
			return err
		}
		for _, name := range sortedNames(w.entries(n)) {
			child := w.entries(n)[name]
			if first, again := w.written[child]; again && child.isFolder() {
				return errors.New("a folder at two places: " + first + " and " + filepath.Join(path, name))
			}
			if err := w.write(child, filepath.Join(path, name)); err != nil {
				return err
			}
		}
	}
	return os.Chtimes(path, n.modified, n.modified)
}
