package blob_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/blob/blobtest"
	"github.com/banksia-photos/banksia/internal/blob/local"
)

func openLocal(t testing.TB) *local.Store {
	t.Helper()
	s, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestReceive(t *testing.T) {
	s := openLocal(t)
	for _, size := range []int{0, 1, blob.HeadLength, blob.HeadLength + 1, 256 << 10, 256<<10 + 1, 20<<20 + 3} {
		content := blobtest.Bytes(size, uint64(size))
		for name, r := range map[string]io.Reader{
			"whole reads":    bytes.NewReader(content),
			"halved reads":   iotest.HalfReader(bytes.NewReader(content)),
			"EOF with bytes": iotest.DataErrReader(bytes.NewReader(content)),
		} {
			in, err := blob.Receive(t.Context(), s, r)
			if err != nil {
				t.Fatalf("%d bytes, %s: %v", size, name, err)
			}
			sum256, sum1 := sha256.Sum256(content), sha1.Sum(content)
			if in.Size != int64(size) || !bytes.Equal(in.SHA256, sum256[:]) || !bytes.Equal(in.SHA1, sum1[:]) {
				t.Errorf("%d bytes, %s: received %d with other checksums", size, name, in.Size)
			}
			if !bytes.Equal(in.Head, content[:min(size, blob.HeadLength)]) {
				t.Errorf("%d bytes, %s: the head has %d bytes", size, name, len(in.Head))
			}
			if got, err := os.ReadFile(in.Path); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes, %s: the file holds %d, %v", size, name, len(got), err)
			}
			in.Discard()
			in.Discard()
		}
	}
	wantEmpty(t, s)
}

func wantEmpty(t *testing.T, s blob.Store) {
	t.Helper()
	entries, err := os.ReadDir(s.TempDir())
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// behaviour 6.12: a client that goes away leaves nothing.
func TestReceiveLeavesNothingOfAFailure(t *testing.T) {
	s := openLocal(t)
	boom := errors.New("boom")
	for _, size := range []int{0, 100, 3 << 20} {
		for _, failure := range []error{boom, io.ErrUnexpectedEOF} {
			r := io.MultiReader(bytes.NewReader(blobtest.Bytes(size, 1)), iotest.ErrReader(failure))
			if in, err := blob.Receive(t.Context(), s, r); !errors.Is(err, failure) {
				t.Errorf("%d bytes, then %v: %+v, %v", size, failure, in, err)
			}
		}
	}
	if _, err := blob.Receive(t.Context(), s, stuck{}); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a reader that gives nothing: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	endless := readerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
	if _, err := blob.Receive(ctx, s, endless); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled on the way: %v", err)
	}
	func() {
		defer func() {
			if recover() != "abort" {
				t.Error("the panic of the reader was swallowed")
			}
		}()
		first := true
		blob.Receive(t.Context(), s, readerFunc(func(p []byte) (int, error) {
			if !first {
				panic("abort")
			}
			first = false
			return len(p), nil
		}))
	}()
	wantEmpty(t, s)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestReceiveWithoutFolder(t *testing.T) {
	s := openLocal(t)
	if err := os.Remove(s.TempDir()); err != nil {
		t.Fatal(err)
	}
	if _, err := blob.Receive(t.Context(), s, bytes.NewReader(nil)); !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("without a folder: %v", err)
	}
}

// The sentinels become 507 and 502 (behaviour 3.3).
func TestExplain(t *testing.T) {
	for err, want := range map[error]error{
		&os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}: blob.ErrFull,
		&os.PathError{Op: "write", Path: "x", Err: syscall.EDQUOT}: blob.ErrFull,
		&os.PathError{Op: "write", Path: "x", Err: syscall.EIO}:    blob.ErrUnavailable,
		&os.PathError{Op: "open", Path: "x", Err: syscall.EMFILE}:  blob.ErrUnavailable,
		context.Canceled: context.Canceled,
	} {
		if got := blob.Explain(err); !errors.Is(got, want) || !errors.Is(got, err) {
			t.Errorf("%v is explained as %v", err, got)
		}
	}
}

// BenchmarkReceive compares an upload with what the tools do one after the other:
// sha256sum of the file, then a copy with fsync. The goal is 0.8 of their speed.
func BenchmarkReceive(b *testing.B) {
	const size = 512 << 20
	dir := b.TempDir()
	source := filepath.Join(dir, "source")
	if err := os.WriteFile(source, blobtest.Bytes(size, 1), 0o600); err != nil {
		b.Fatal(err)
	}
	b.Run("sum and copy", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			in, err := os.Open(source)
			if err != nil {
				b.Fatal(err)
			}
			sum := sha256.New()
			if _, err := io.CopyBuffer(sum, struct{ io.Reader }{in}, make([]byte, 1<<20)); err != nil {
				b.Fatal(err)
			}
			in.Seek(0, io.SeekStart)
			out, err := os.CreateTemp(dir, "copy-*")
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{in}, make([]byte, 1<<20)); err != nil {
				b.Fatal(err)
			}
			if err := errors.Join(out.Sync(), out.Close(), in.Close(), os.Remove(out.Name())); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("receive", func(b *testing.B) {
		s := openLocal(b)
		b.SetBytes(size)
		for b.Loop() {
			in, err := os.Open(source)
			if err != nil {
				b.Fatal(err)
			}
			got, err := blob.Receive(b.Context(), s, in)
			if err != nil {
				b.Fatal(err)
			}
			got.Discard()
			in.Close()
		}
	})
}
