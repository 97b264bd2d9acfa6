package s3

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/blob/blobtest"
	"github.com/banksia-photos/banksia/internal/blob/local"
)

// content reads everything in a store.
func content(t *testing.T, s blob.Store) map[blob.Key]string {
	t.Helper()
	all := map[blob.Key]string{}
	err := s.List(t.Context(), "", func(info blob.Info) error {
		r, _, err := s.Open(t.Context(), info.Key)
		if err != nil {
			return err
		}
		defer r.Close()
		data, err := io.ReadAll(r)
		all[info.Key] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A library goes from a folder to S3, to another bucket, and back into a folder.
func TestCopy(t *testing.T) {
	t.Parallel()
	folder := func() blob.Store {
		s, err := local.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := folder()
	for i := range 20 {
		data := blobtest.Bytes(1000*i+1, uint64(i))
		blobtest.Put(t, first, blob.Original(digest(data)), data)
		version := banksia.NewID[banksia.VersionID](time.Now())
		blobtest.Put(t, first, blob.Derived(version, banksia.VariantSmall), data[:i+1])
	}
	options := blob.CopyOptions{Parallel: 4}
	wanted := content(t, first)
	from := first
	for _, to := range []blob.Store{open(t, nil), open(t, func(cfg *Config) { cfg.Prefix = "p/" }), folder()} {
		if _, err := from.MarkPending(t.Context(), blobtest.Bytes(32, 9)); err != nil { // is not copied
			t.Fatal(err)
		}
		for round, copied := range []int64{40, 0} {
			result, err := blob.Copy(t.Context(), from, to, options)
			if err != nil || result.Copied != copied || result.There != 40-copied || len(result.Problems) > 0 || result.Folders != result.AllFolders {
				t.Fatalf("round %d: %+v, %v", round, result, err)
			}
		}
		got := content(t, to)
		for key, data := range wanted {
			if got[key] != data {
				t.Errorf("%s has other bytes", key)
			}
		}
		if len(got) != len(wanted) {
			t.Errorf("%d blobs of %d", len(got), len(wanted))
		}
		from = to
	}
}

// What is cut off, damaged or different is told, and mended where that is possible.
func TestCopyFaults(t *testing.T) {
	t.Parallel()
	from, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	to, cable := openThrough(t, 2)
	var originals []blob.Key
	for i := range 5 {
		data := blobtest.Bytes(1<<20, uint64(i))
		originals = append(originals, blob.Original(digest(data)))
		blobtest.Put(t, from, originals[i], data)
	}
	version := banksia.NewID[banksia.VersionID](time.Now())
	derived := blob.Derived(version, banksia.VariantPreview)
	blobtest.Put(t, from, derived, []byte("preview"))

	options := blob.CopyOptions{Parallel: 2}
	cable.CutAfter(2 << 20)
	result, err := blob.Copy(t.Context(), from, to, options)
	if !errors.Is(err, blob.ErrUnavailable) || result.Copied >= 6 {
		t.Errorf("while the destination was cut off: %+v, %v", result, err)
	}
	cable.Mend()
	if result, err = blob.Copy(t.Context(), from, to, options); err != nil || result.Copied+result.There != 6 {
		t.Errorf("afterwards: %+v, %v", result, err)
	}
	blobtest.Put(t, to, derived, []byte("another"))
	if result, err = blob.Copy(t.Context(), from, to, options); err != nil || result.There != 6 {
		t.Errorf("without a look: %+v, %v", result, err)
	}
	options.Verify = true
	if result, err = blob.Copy(t.Context(), from, to, options); err != nil || !slices.Equal(result.Replaced, []blob.Key{derived}) || result.There != 5 {
		t.Errorf("with a look: %+v, %v", result, err)
	}
	// The source is damaged: the good copy at the destination stays, and what is not
	// there yet is not copied.
	blobtest.Put(t, from, originals[0], bytes.Repeat([]byte("x"), 1<<20))
	if result, err = blob.Copy(t.Context(), from, to, options); err != nil || len(result.Problems) != 0 || len(result.Replaced) != 0 {
		t.Errorf("a damaged source of a good copy: %+v, %v", result, err)
	}
	if err := to.Delete(t.Context(), originals[0]); err != nil {
		t.Fatal(err)
	}
	blobtest.Put(t, to, "originals/00/extra", nil)
	result, err = blob.Copy(t.Context(), from, to, options)
	if err != nil || len(result.Problems) != 1 || result.Problems[0].Key != originals[0] || !errors.Is(result.Problems[0].Err, blob.ErrDamaged) || result.Extra != 1 {
		t.Errorf("a damaged source: %+v, %v", result, err)
	}
	if _, err := to.Stat(t.Context(), originals[0]); !errors.Is(err, blob.ErrNotExist) {
		t.Errorf("the damaged one: %v", err)
	}
	folder, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if result, err = blob.Copy(t.Context(), from, folder, options); err != nil || len(result.Problems) != 1 || !strings.Contains(result.Problems[0].Err.Error(), "damaged") {
		t.Errorf("a damaged source, into a folder: %+v, %v", result, err)
	}
}
