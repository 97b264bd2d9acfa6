package faultfs

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// mount is a file system with a folder "old" that holds the file "kept".
func mount(t *testing.T) *FS {
	t.Helper()
	from := t.TempDir()
	must(t, os.Mkdir(filepath.Join(from, "old"), 0o700), write(filepath.Join(from, "old", "kept"), "kept"))
	f, err := Mount(t.TempDir(), from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, f.Close()) })
	return f
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func write(path, content string) error { return os.WriteFile(path, []byte(content), 0o600) }

func syncPath(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// seen describes a folder: each file with its content.
func seen(t *testing.T, folder string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(folder, path)
		all = append(all, name+"="+string(content))
		return err
	})
	must(t, err)
	return strings.Join(all, " ")
}

// outcomes are what power cuts with different seeds leave, sorted.
func outcomes(t *testing.T, f *FS, journal bool) []string {
	t.Helper()
	found := map[string]*node{}
	for seed := range uint64(50) {
		to := filepath.Join(t.TempDir(), "cut")
		must(t, f.LosePower(to, seed, journal))
		found[seen(t, to)] = nil
	}
	return sortedNames(found)
}

func TestPowerCut(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		do      func(in func(string) string) error
		want    []string
		journal []string // what a journal leaves; nil: the same
	}{
		"nothing is done": {func(in func(string) string) error { return nil }, []string{"old/kept=kept"}, nil},
		"file and folder synced": {func(in func(string) string) error {
			return errors.Join(write(in("new"), "a"), syncPath(in("new")), syncPath(in("")))
		}, []string{"new=a old/kept=kept"}, nil},
		"nothing synced": {func(in func(string) string) error { return write(in("new"), "a") },
			[]string{"new= old/kept=kept", "new=a old/kept=kept", "old/kept=kept"}, nil},
		"only the file synced": {func(in func(string) string) error {
			return errors.Join(write(in("new"), "a"), syncPath(in("new")))
		}, []string{"new=a old/kept=kept", "old/kept=kept"}, []string{"new=a old/kept=kept"}},
		"only the folder synced": {func(in func(string) string) error {
			return errors.Join(write(in("new"), "a"), syncPath(in("")))
		}, []string{"new= old/kept=kept", "new=a old/kept=kept"}, nil},
		"a new folder without its parent": {func(in func(string) string) error {
			return errors.Join(os.Mkdir(in("sub"), 0o700), write(in("sub/new"), "a"), syncPath(in("sub/new")), syncPath(in("sub")))
		}, []string{"old/kept=kept", "old/kept=kept sub/new=a"}, []string{"old/kept=kept sub/new=a"}},
		"overwritten": {func(in func(string) string) error { return write(in("old/kept"), "next") },
			[]string{"old/kept=", "old/kept=kept", "old/kept=next"}, nil},
		"replaced by a move": {func(in func(string) string) error {
			return errors.Join(write(in("old/new"), "next"), syncPath(in("old/new")), os.Rename(in("old/new"), in("old/kept")))
		}, []string{"old/kept=kept", "old/kept=kept old/new=next", "old/kept=next"}, []string{"old/kept=kept old/new=next", "old/kept=next"}},
		"replaced by a move that is synced": {func(in func(string) string) error {
			return errors.Join(write(in("old/new"), "next"), syncPath(in("old/new")), os.Rename(in("old/new"), in("old/kept")), syncPath(in("old")))
		}, []string{"old/kept=next"}, nil},
		"moved to another folder": {func(in func(string) string) error { return os.Rename(in("old/kept"), in("kept")) },
			[]string{"", "kept=kept", "kept=kept old/kept=kept", "old/kept=kept"}, []string{"kept=kept", "old/kept=kept"}},
		"moved to another folder, which is synced": {func(in func(string) string) error {
			return errors.Join(os.Rename(in("old/kept"), in("kept")), syncPath(in("")))
		}, []string{"kept=kept", "kept=kept old/kept=kept"}, []string{"kept=kept"}},
		"removed":            {func(in func(string) string) error { return os.Remove(in("old/kept")) }, []string{"", "old/kept=kept"}, nil},
		"removed and synced": {func(in func(string) string) error { return errors.Join(os.Remove(in("old/kept")), syncPath(in("old"))) }, []string{""}, nil},
		"entries in their order": {func(in func(string) string) error {
			return errors.Join(write(in("1"), ""), write(in("2"), ""), os.Remove(in("1")))
		}, []string{"1= 2= old/kept=kept", "1= old/kept=kept", "2= old/kept=kept", "old/kept=kept"}, nil},
		"another folder synced": {func(in func(string) string) error {
			return errors.Join(write(in("new"), ""), syncPath(in("old")))
		}, []string{"new= old/kept=kept", "old/kept=kept"}, nil},
		"another folder with a later change synced": {func(in func(string) string) error {
			return errors.Join(write(in("new"), ""), write(in("old/new"), ""), syncPath(in("old")))
		}, []string{"new= old/kept=kept old/new=", "old/kept=kept old/new="}, []string{"new= old/kept=kept old/new="}},
		"two folders in their order": {func(in func(string) string) error {
			return errors.Join(write(in("new"), ""), os.Remove(in("old/kept")))
		}, []string{"", "new=", "new= old/kept=kept", "old/kept=kept"}, []string{"new=", "new= old/kept=kept", "old/kept=kept"}},
		"linked": {func(in func(string) string) error {
			return errors.Join(os.Link(in("old/kept"), in("also")), syncPath(in("")), os.Remove(in("old/kept")), syncPath(in("old")))
		}, []string{"also=kept"}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := mount(t)
			must(t, test.do(func(name string) string { return filepath.Join(f.folder, name) }))
			if got := outcomes(t, f, false); !slices.Equal(got, test.want) {
				t.Errorf("a power cut leaves %q, want %q", got, test.want)
			}
			if test.journal == nil {
				test.journal = test.want
			}
			if got := outcomes(t, f, true); !slices.Equal(got, test.journal) {
				t.Errorf("with a journal a power cut leaves %q, want %q", got, test.journal)
			}
		})
	}
}

// A write is torn at the borders of sectors, and what is beyond them is whole.
func TestTornWrite(t *testing.T) {
	t.Parallel()
	f := mount(t)
	path := filepath.Join(f.folder, "torn")
	must(t, os.WriteFile(path, bytes.Repeat([]byte{'a'}, 16384), 0o600), syncPath(path), syncPath(f.folder))
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	defer file.Close()
	_, err = file.WriteAt(bytes.Repeat([]byte{'b'}, 9000), 1000)
	must(t, err)
	mixed := 0
	for seed := range uint64(50) {
		to := filepath.Join(t.TempDir(), "cut")
		must(t, f.LosePower(to, seed, false))
		content, err := os.ReadFile(filepath.Join(to, "torn"))
		must(t, err)
		if len(content) != 16384 || bytes.ContainsRune(content[:1000], 'b') || bytes.ContainsRune(content[10000:], 'b') {
			t.Fatalf("seed %d: what was not written has changed", seed)
		}
		for begin := 512; begin < 10000; begin += 512 {
			inside := content[max(begin, 1000):min(begin+512, 10000)]
			if bytes.ContainsRune(inside, 'a') && bytes.ContainsRune(inside, 'b') {
				t.Fatalf("seed %d: the sector at %d is torn", seed, begin)
			}
		}
		if n := bytes.Count(content, []byte{'b'}); n > 0 && n < 9000 {
			mixed++
		}
	}
	if mixed == 0 {
		t.Error("no write was torn")
	}
}

func TestCrash(t *testing.T) {
	t.Parallel()
	f := mount(t)
	in := func(name string) string { return filepath.Join(f.folder, name) }
	before, ended := f.Changes(), false
	f.CrashAt(3, func() { ended = true }) // made, written; the second is not made
	must(t, write(in("first"), "1"))
	if f.Crashed() || ended || f.Changes() != before+2 {
		t.Errorf("crashed %v after %d changes", f.Crashed(), f.Changes()-before)
	}
	for _, err := range []error{write(in("second"), "2"), os.Remove(in("first")), syncPath(in("first")), os.Mkdir(in("folder"), 0o700)} {
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("after the crash: %v", err)
		}
	}
	if !f.Crashed() || !ended {
		t.Error("it did not crash")
	}
	to := filepath.Join(t.TempDir(), "kept")
	must(t, f.Keep(to))
	if got, want := seen(t, to), "first=1 old/kept=kept"; got != want {
		t.Errorf("it leaves %q, want %q", got, want)
	}
}

func TestBreak(t *testing.T) {
	t.Parallel()
	f := mount(t)
	in := func(name string) string { return filepath.Join(f.folder, name) }
	kept, err := os.OpenFile(in("old/kept"), os.O_RDWR, 0)
	must(t, err)
	defer kept.Close()
	overwrite := func() error { _, err := kept.WriteAt([]byte("k"), 0); return err }
	grow := func() error { _, err := kept.WriteAt([]byte("kept"), 1); return err }
	read := func() error { _, err := os.ReadFile(in("old/kept")); return err }
	for _, test := range []struct {
		name    string
		trouble Trouble
		do      func() error
		want    error
	}{
		{"full, a new file", Full, func() error { return write(in("old/new"), "a") }, syscall.ENOSPC},
		{"full, a longer file", Full, grow, syscall.ENOSPC},
		{"full, overwriting", Full, overwrite, nil},
		{"full, removing", Full, func() error { return os.Remove(in("old/extra")) }, nil},
		{"full, reading", Full, read, nil},
		{"read-only, a new file", ReadOnly, func() error { return write(in("old/new"), "a") }, syscall.EROFS},
		{"read-only, an open file", ReadOnly, overwrite, syscall.EROFS},
		{"read-only, opening to write", ReadOnly, func() error { return write(in("old/kept"), "kept") }, syscall.EROFS},
		{"read-only, asking", ReadOnly, func() error { return syscall.Access(in("old"), 2) }, syscall.EROFS},
		{"read-only, reading", ReadOnly, read, nil},
		{"failing writes", FailWrites, overwrite, syscall.EIO},
		{"failing writes, reading", FailWrites, read, nil},
		{"failing syncs", FailSyncs, kept.Sync, syscall.EIO},
		{"failing syncs, writing", FailSyncs, overwrite, nil},
		{"failing reads", FailReads, read, syscall.EIO},
		{"failing reads, writing", FailReads, overwrite, nil},
	} {
		must(t, write(in("old/extra"), ""), write(in("old/kept"), "kept"))
		f.Break(test.trouble, "old/")
		if err := test.do(); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if err := write(in("other"), "a"); err != nil {
			t.Errorf("%s: elsewhere: %v", test.name, err)
		}
		f.Mend()
		must(t, write(in("old/new"), "a"), os.Remove(in("old/new")), read(), kept.Sync())
	}
	f.Break(Full)
	if err := write(in("everywhere"), "a"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("full everywhere: %v", err)
	}
}

// SQLite's processes share a mapped file.
func TestSharedMapping(t *testing.T) {
	t.Parallel()
	f := mount(t)
	var maps [2][]byte
	for i := range maps {
		file, err := os.OpenFile(filepath.Join(f.folder, "shared"), os.O_CREATE|os.O_RDWR, 0o600)
		must(t, err, file.Truncate(8192))
		maps[i], err = syscall.Mmap(int(file.Fd()), 0, 8192, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
		must(t, err, file.Close())
		defer syscall.Munmap(maps[i])
	}
	maps[0][5000] = 'x'
	if maps[1][5000] != 'x' {
		t.Error("one mapping does not see the other's bytes")
	}
}

func TestFilesAndFolders(t *testing.T) {
	t.Parallel()
	f := mount(t)
	in := func(name string) string { return filepath.Join(f.folder, name) }
	must(t, os.MkdirAll(in("a/b"), 0o750), write(in("a/b/c"), "c"), os.Symlink("a/b", in("link")))
	if content, err := os.ReadFile(in("link/c")); err != nil || string(content) != "c" {
		t.Errorf("through a link: %q, %v", content, err)
	}
	if info, err := os.Stat(in("a/b")); err != nil || info.Mode() != fs.ModeDir|0o750 {
		t.Errorf("a folder: %v, %v", info.Mode(), err)
	}
	if err := os.Remove(in("a")); !errors.Is(err, syscall.ENOTEMPTY) {
		t.Errorf("removing a folder with entries: %v", err)
	}
	for n := range 300 { // more than one answer holds
		must(t, write(in("a/"+strings.Repeat("long", 20)+string(rune('A'+n%26))+strings.Repeat("x", n/26)), ""))
	}
	if entries, err := os.ReadDir(in("a")); err != nil || len(entries) != 301 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
	open, err := os.Open(in("a/b/c"))
	must(t, err, os.RemoveAll(in("a")), os.Remove(in("link")))
	defer open.Close()
	if content := make([]byte, 1); must1(open.Read(content)) != 1 || content[0] != 'c' {
		t.Errorf("a removed file that is open: %q", content)
	}
	if got := seen(t, f.folder); got != "old/kept=kept" {
		t.Errorf("left: %q", got)
	}
}

func must1(n int, _ error) int { return n }
