// Package blobtest says what every blob.Store must do, as a test.
package blobtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/blob"
)

// Run tests stores that open makes; each must be empty.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	for name, test := range map[string]func(*testing.T, blob.Store){
		"a missing key":                   missing,
		"put and read":                    putAndRead,
		"adopt":                           adopt,
		"replace":                         replace,
		"delete":                          remove,
		"list":                            list,
		"keys that are none":              badKeys,
		"a failed put changes nothing":    failedPut,
		"a cancelled put changes nothing": cancelledPut,
		"a failed adopt changes nothing":  failedAdopt,
		"readers see whole blobs":         concurrent,
		"originals and derived files":     realKeys,
		"originals have their checksum":   damaged,
		"notes of uploads under way":      pending,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// Bytes returns n reproducible random bytes.
func Bytes(n int, seed uint64) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(data)
	return data
}

// Put stores a blob.
func Put(t *testing.T, s blob.Store, key blob.Key, content []byte) {
	t.Helper()
	if err := s.Put(t.Context(), key, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
}

// want checks all that can be asked of a stored blob.
func want(t *testing.T, s blob.Store, key blob.Key, content []byte) {
	t.Helper()
	r, info, err := s.Open(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%s holds %d bytes, %v; want %d", key, len(got), err, len(content))
	}
	if info.Key != key || info.Size != int64(len(content)) || time.Since(info.ModTime).Abs() > time.Hour {
		t.Errorf("%s is described as %+v", key, info)
	}
	if again, err := s.Stat(t.Context(), key); err != nil || again != info {
		t.Errorf("stat of %s: %+v, %v; open said %+v", key, again, err, info)
	}
	path, release, err := s.Fetch(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%s fetched holds %d bytes, %v; want %d", key, len(got), err, len(content))
	}
}

func wantMissing(t *testing.T, s blob.Store, key blob.Key) {
	t.Helper()
	if r, _, err := s.Open(t.Context(), key); !errors.Is(err, blob.ErrNotExist) {
		t.Errorf("open of missing %s: %v, %v", key, r, err)
	}
	if _, err := s.Stat(t.Context(), key); !errors.Is(err, blob.ErrNotExist) {
		t.Errorf("stat of missing %s: %v", key, err)
	}
	if path, _, err := s.Fetch(t.Context(), key); !errors.Is(err, blob.ErrNotExist) {
		t.Errorf("fetch of missing %s: %s, %v", key, path, err)
	}
}

// wantNoTemp checks that nothing is left on its way into the store.
func wantNoTemp(t *testing.T, s blob.Store) {
	t.Helper()
	entries, err := os.ReadDir(s.TempDir())
	if err != nil || len(entries) > 0 {
		t.Errorf("temporary files: %v, %v", entries, err)
	}
}

func missing(t *testing.T, s blob.Store) {
	wantMissing(t, s, "originals/ab/abcd")
	Put(t, s, "a/b", nil)
	wantMissing(t, s, "a") // a folder is no blob
	wantMissing(t, s, "a/c")
	wantMissing(t, s, blob.Key("a/"+strings.Repeat("x", 200)))
}

func putAndRead(t *testing.T, s blob.Store) {
	for i, size := range []int{0, 1, 4095, 4096, 1<<20 + 1} {
		key := blob.Key(fmt.Sprintf("a/%d", i))
		content := Bytes(size, uint64(i))
		Put(t, s, key, content)
		want(t, s, key, content)
		r, _, err := s.Open(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if at, err := r.Seek(0, io.SeekEnd); err != nil || at != int64(size) {
			t.Errorf("the end of %s is at %d, %v", key, at, err)
		}
		if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("past the end of %s: %d bytes, %v", key, n, err)
		}
		if at, err := r.Seek(int64(size/2), io.SeekStart); err != nil || at != int64(size/2) {
			t.Errorf("seek to the middle: %d, %v", at, err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content[size/2:]) {
			t.Errorf("the second half of %s: %d bytes, %v", key, len(got), err)
		}
		part := make([]byte, size/3)
		if n, err := r.ReadAt(part, int64(size/3)); n != len(part) || err != nil && err != io.EOF || !bytes.Equal(part, content[size/3:size/3+n]) {
			t.Errorf("a range of %s: %d, %v", key, n, err)
		}
	}
	wantNoTemp(t, s)
}

func adopt(t *testing.T, s blob.Store) {
	content := Bytes(10_000, 7)
	in, err := blob.Receive(t.Context(), s, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	key := blob.Original(in.SHA256)
	wantMissing(t, s, key)
	if err := s.Adopt(t.Context(), key, in.Path); err != nil {
		t.Fatal(err)
	}
	in.Discard()
	want(t, s, key, content)
	wantNoTemp(t, s)
}

func replace(t *testing.T, s blob.Store) {
	old, fresh := Bytes(5000, 1), Bytes(300, 2)
	Put(t, s, "a/b", old)
	r, _, err := s.Open(t.Context(), "a/b")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	Put(t, s, "a/b", fresh)
	want(t, s, "a/b", fresh)
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, old) {
		t.Errorf("a reader of the replaced blob got %d bytes, %v", len(got), err)
	}
	path := filepath.Join(s.TempDir(), "drawn")
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Adopt(t.Context(), "a/b", path); err != nil {
		t.Fatal(err)
	}
	want(t, s, "a/b", old)
}

func remove(t *testing.T, s blob.Store) {
	Put(t, s, "a/b", Bytes(10, 1))
	Put(t, s, "a/bc", Bytes(20, 2))
	for range 2 {
		if err := s.Delete(t.Context(), "a/b"); err != nil {
			t.Fatal(err)
		}
	}
	wantMissing(t, s, "a/b")
	want(t, s, "a/bc", Bytes(20, 2))
	if err := s.Delete(t.Context(), "never/was"); err != nil {
		t.Errorf("deleting what never was: %v", err)
	}
	Put(t, s, "a/b", Bytes(30, 3))
	want(t, s, "a/b", Bytes(30, 3))
}

func list(t *testing.T, s blob.Store) {
	for i, key := range []blob.Key{"a/b/1", "a/b/2", "a/c/1", "ab/1", "b"} {
		Put(t, s, key, Bytes(i, 1))
	}
	if err := os.WriteFile(filepath.Join(s.TempDir(), "a"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	collect := func(prefix blob.Key) []string {
		t.Helper()
		found := []string{}
		err := s.List(t.Context(), prefix, func(info blob.Info) error {
			stat, err := s.Stat(t.Context(), info.Key)
			if err != nil || stat != info {
				t.Errorf("listed as %+v, stat says %+v, %v", info, stat, err)
			}
			found = append(found, string(info.Key))
			return nil
		})
		if err != nil {
			t.Errorf("list %q: %v", prefix, err)
		}
		slices.Sort(found)
		return found
	}
	for prefix, keys := range map[blob.Key][]string{
		"":      {"a/b/1", "a/b/2", "a/c/1", "ab/1", "b"},
		"a":     {"a/b/1", "a/b/2", "a/c/1", "ab/1"},
		"a/":    {"a/b/1", "a/b/2", "a/c/1"},
		"a/b":   {"a/b/1", "a/b/2"},
		"a/b/2": {"a/b/2"},
		"c":     {},
		"c/d/e": {},
	} {
		if got := collect(prefix); !slices.Equal(got, keys) {
			t.Errorf("list %q: %q, want %q", prefix, got, keys)
		}
	}
	boom := errors.New("boom")
	calls := 0
	if err := s.List(t.Context(), "", func(blob.Info) error { calls++; return boom }); !errors.Is(err, boom) || calls != 1 {
		t.Errorf("a failing callback was called %d times: %v", calls, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.List(ctx, "", func(blob.Info) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled list: %v", err)
	}
}

func badKeys(t *testing.T, s blob.Store) {
	for _, key := range []blob.Key{"", ".", "..", "/", "/etc/passwd", "a/../../b", "../b", "a//b", "a/", "a/./b", "tmp", "tmp/a", "a\x00b", "a\\b", "a b", "ü", "a\nb",
		blob.Key(strings.Repeat("x", 300))} {
		if err := s.Put(t.Context(), key, strings.NewReader("x")); err == nil {
			t.Errorf("put to %q succeeded", key)
		}
		if r, _, err := s.Open(t.Context(), key); err == nil {
			r.Close()
			t.Errorf("open of %q succeeded", key)
		}
		if _, err := s.Stat(t.Context(), key); err == nil {
			t.Errorf("stat of %q succeeded", key)
		}
		if err := s.Delete(t.Context(), key); err == nil {
			t.Errorf("delete of %q succeeded", key)
		}
	}
	wantNoTemp(t, s)
}

func failedPut(t *testing.T, s blob.Store) {
	boom := errors.New("boom")
	Put(t, s, "a/b", []byte("before"))
	broken := io.MultiReader(bytes.NewReader(Bytes(3<<20, 1)), iotest.ErrReader(boom))
	for _, key := range []blob.Key{"a/b", "a/c"} {
		if err := s.Put(t.Context(), key, broken); !errors.Is(err, boom) {
			t.Errorf("put from a broken reader: %v", err)
		}
	}
	want(t, s, "a/b", []byte("before"))
	wantMissing(t, s, "a/c")
	wantNoTemp(t, s)
}

// cancelReader cancels after its first bytes.
type cancelReader struct {
	io.Reader
	cancel context.CancelFunc
}

func (r cancelReader) Read(p []byte) (int, error) {
	defer r.cancel()
	return r.Reader.Read(p)
}

func cancelledPut(t *testing.T, s blob.Store) {
	for _, content := range [][]byte{Bytes(100, 1), Bytes(3<<20, 1)} {
		ctx, cancel := context.WithCancel(t.Context())
		err := s.Put(ctx, "a/c", cancelReader{bytes.NewReader(content), cancel})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("put cancelled on the way: %v", err)
		}
		wantMissing(t, s, "a/c")
	}
	wantNoTemp(t, s)
}

func failedAdopt(t *testing.T, s blob.Store) {
	Put(t, s, "a/b", []byte("before"))
	if err := s.Adopt(t.Context(), "a/b", filepath.Join(s.TempDir(), "missing")); err == nil {
		t.Error("a missing file was adopted")
	}
	path := filepath.Join(s.TempDir(), "file")
	if err := os.WriteFile(path, []byte("after"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Adopt(ctx, "a/b", path); !errors.Is(err, context.Canceled) {
		t.Errorf("adopted after cancellation: %v", err)
	}
	want(t, s, "a/b", []byte("before"))
}

// concurrent lets writers replace keys in shared new folders while readers read
// them: a reader sees one of the contents, whole.
func concurrent(t *testing.T, s blob.Store) {
	const writers, rounds = 8, 20
	size := func(writer int) int { return 1000 + writer*37 }
	var running sync.WaitGroup
	for w := range writers {
		running.Go(func() {
			content := Bytes(size(w), uint64(w))
			for i := range rounds {
				key := blob.Key(fmt.Sprintf("new/%d/shared", i))
				if err := s.Put(t.Context(), key, bytes.NewReader(content)); err != nil {
					t.Error(err)
					return
				}
				r, info, err := s.Open(t.Context(), key)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(r)
				r.Close()
				whose := (len(got) - 1000) / 37
				if err != nil || info.Size != int64(len(got)) || whose < 0 || whose >= writers || !bytes.Equal(got, Bytes(size(whose), uint64(whose))) {
					t.Errorf("%s holds a mixture: %d bytes, %v", key, len(got), err)
				}
			}
		})
	}
	running.Wait()
	wantNoTemp(t, s)
}

// Digest is the SHA-256 of bytes.
func Digest(content []byte) banksia.Digest {
	sum := sha256.Sum256(content)
	return sum[:]
}

// damaged: the temporary file of an original suffers between its receipt and its
// storing. A store that sends bytes elsewhere notices.
func damaged(t *testing.T, s blob.Store) {
	key := blob.Original(Digest([]byte("whole")))
	path := filepath.Join(s.TempDir(), "file")
	if err := os.WriteFile(path, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Adopt(t.Context(), key, path); err == nil {
		return // a rename within a disk reads no bytes
	} else if !errors.Is(err, blob.ErrDamaged) {
		t.Errorf("adopted other bytes: %v", err)
	}
	wantMissing(t, s, key)
}

func pending(t *testing.T, s blob.Store) {
	first, second := banksia.Digest(Bytes(32, 1)), banksia.Digest(Bytes(32, 2))
	var notes []blob.Note
	for _, sum := range []banksia.Digest{first, first, second} {
		note, err := s.MarkPending(t.Context(), sum)
		if err != nil {
			t.Fatal(err)
		}
		notes = append(notes, note)
	}
	for _, name := range []string{"upload-1", blob.NotePrefix + "zz", blob.NotePrefix + "abcd"} {
		if err := os.WriteFile(filepath.Join(s.TempDir(), name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list := func(age time.Duration) map[string]bool {
		t.Helper()
		notes, err := s.Pending(t.Context(), time.Now().Add(-age))
		if err != nil {
			t.Fatal(err)
		}
		sums := map[string]bool{}
		for _, note := range notes {
			sums[string(note.SHA256)] = true
		}
		return sums
	}
	if sums := list(time.Minute); len(sums) != 0 {
		t.Errorf("pending for a minute: %v", sums)
	}
	if sums := list(-time.Minute); len(sums) != 2 {
		t.Errorf("pending: %v", sums)
	}
	for range 2 {
		for _, note := range notes[:2] {
			if err := s.Settle(t.Context(), note); err != nil {
				t.Fatal(err)
			}
		}
	}
	if sums := list(-time.Minute); len(sums) != 1 || !sums[string(second)] {
		t.Errorf("pending after one has settled: %v", sums)
	}
	err := s.List(t.Context(), "", func(info blob.Info) error {
		t.Errorf("a note is listed as a blob: %s", info.Key)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func realKeys(t *testing.T, s blob.Store) {
	sum := Digest([]byte("original"))
	Put(t, s, blob.Original(sum), []byte("original"))
	version := banksia.NewID[banksia.VersionID](time.Now())
	for variant := range banksia.LongestEdge {
		Put(t, s, blob.Derived(version, variant), []byte(variant))
	}
	for variant := range banksia.LongestEdge {
		want(t, s, blob.Derived(version, variant), []byte(variant))
	}
	found := 0
	err := s.List(t.Context(), "originals/", func(info blob.Info) error {
		found++
		if got, ok := blob.OriginalDigest(info.Key); !ok || !bytes.Equal(got, sum) {
			t.Errorf("%s is read as %x, %v", info.Key, got, ok)
		}
		return nil
	})
	if err != nil || found != 1 {
		t.Errorf("%d originals are listed, %v", found, err)
	}
}
