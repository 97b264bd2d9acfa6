package blob_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/blob/blobtest"
	"github.com/banksia-photos/banksia/internal/blob/local"
)

// A store that is observed is a store like any other.
func TestObservedStore(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) blob.Store {
		files, err := local.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return blob.Observed(files, func(ctx context.Context, _ string) (context.Context, func(error)) { return ctx, func(error) {} })
	})
}

func TestObserver(t *testing.T) {
	t.Parallel()
	files, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	type key struct{}
	var seen []string
	s := blob.Observed(files, func(ctx context.Context, operation string) (context.Context, func(error)) {
		return context.WithValue(ctx, key{}, operation), func(err error) {
			if errors.Is(err, blob.ErrNotExist) {
				operation += " of nothing"
			}
			seen = append(seen, operation)
		}
	})
	if _, err := s.Stat(t.Context(), "a/b"); !errors.Is(err, blob.ErrNotExist) {
		t.Errorf("stat of nothing: %v", err)
	}
	if err := s.Delete(t.Context(), "a/b"); err != nil {
		t.Error(err)
	}
	if want := []string{"stat of nothing", "delete"}; !slices.Equal(seen, want) {
		t.Errorf("seen %q, want %q", seen, want)
	}
}

type presigning struct{ blob.Store }

func (presigning) Presign(_ context.Context, key blob.Key, _ blob.PresignOptions) (string, error) {
	return "https://example.org/" + string(key), nil
}

// What a store can do beyond the interface it can also do while it is observed.
func TestObservedPresigner(t *testing.T) {
	t.Parallel()
	files, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	observer := func(ctx context.Context, _ string) (context.Context, func(error)) { return ctx, func(error) {} }
	for store, want := range map[blob.Store]string{files: "", presigning{files}: "https://example.org/a/b"} {
		if url, err := blob.Presign(t.Context(), blob.Observed(store, observer), "a/b", blob.PresignOptions{}); err != nil || url != want {
			t.Errorf("%T gives the URL %q, %v; want %q", store, url, err, want)
		}
	}
}

// A folder that went away, as when a disk is not mounted, is no empty storage.
func TestCheck(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "blobs")
	files, err := local.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	s := blob.Observed(files, func(ctx context.Context, _ string) (context.Context, func(error)) { return ctx, func(error) {} })
	if err := blob.Check(t.Context(), s); err != nil {
		t.Error(err)
	}
	if err := os.Rename(root, root+".away"); err != nil {
		t.Fatal(err)
	}
	if err := blob.Check(t.Context(), s); err == nil {
		t.Error("a folder that is gone passes the check")
	}
}
