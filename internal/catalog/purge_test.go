package catalog_test

import (
	"bytes"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/store"
)

func TestPurge(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.runner.Start(t.Context())
	content := photo(1, 800, 600)
	a := r.mustUpload(t, "a.jpg", content)
	kept := r.mustUpload(t, "kept.jpg", photo(2, 64, 64))
	second := r.addLibrary(t, r.scope.UserID)
	other, _, err := r.upload(t.Context(), r.scope, &second, "a.jpg", bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	r.settled(t)
	purge := func(library banksia.LibraryID, ids ...banksia.AssetID) {
		t.Helper()
		if err := r.catalog.PurgeAssets(t.Context(), r.scope, library, ids); err != nil {
			t.Fatal(err)
		}
		r.settled(t)
	}
	purge(second, a.ID) // of the other library: not found there
	if r.get(t, a.ID).ID != a.ID {
		t.Error("purged through another library")
	}
	purge(a.LibraryID, a.ID, banksia.NewID[banksia.AssetID](time.Now()))
	if _, err := r.store.GetAsset(t.Context(), r.scope, a.ID); banksia.ErrorCode(err) != banksia.CodeNotFound {
		t.Errorf("a purged asset: %v", err)
	}
	r.wantTasks(t, a.ID, banksia.TaskSuccess, banksia.TaskStorageCleanup)
	for variant := range banksia.LongestEdge {
		if _, err := r.blobs.Stat(t.Context(), blob.Derived(a.Version.ID, variant)); !errors.Is(err, blob.ErrNotExist) {
			t.Errorf("%s of a purged asset: %v", variant, err)
		}
		if _, err := r.blobs.Stat(t.Context(), blob.Derived(kept.Version.ID, variant)); err != nil {
			t.Errorf("%s of another asset: %v", variant, err)
		}
	}
	if _, err := r.blobs.Stat(t.Context(), blob.Original(a.File.SHA256)); err != nil {
		t.Errorf("the bytes that another library has: %v", err)
	}
	purge(second, other)
	if _, err := r.blobs.Stat(t.Context(), blob.Original(a.File.SHA256)); !errors.Is(err, blob.ErrNotExist) {
		t.Errorf("the bytes that nobody has: %v", err)
	}
	libraries, err := r.store.ListLibraries(t.Context(), r.scope, store.Live)
	if err != nil || libraries[0].AssetCount != 1 || libraries[0].StorageUsedBytes != kept.File.SizeBytes || libraries[1].StorageUsedBytes != 0 {
		t.Errorf("libraries count %+v, %v", libraries, err)
	}
	if a := r.mustUpload2(t, libraries[0].ID, content); !bytes.Equal(a.File.SHA256, r.get(t, a.ID).File.SHA256) {
		t.Error("the bytes cannot come again")
	}
}

func (r *rig) mustUpload2(t *testing.T, library banksia.LibraryID, content []byte) banksia.Asset {
	t.Helper()
	id, created, err := r.upload(t.Context(), r.scope, &library, "again.jpg", bytes.NewReader(content))
	if err != nil || !created {
		t.Fatalf("created %v, %v", created, err)
	}
	return r.get(t, id)
}

func TestTrashAndRestore(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := r.mustUpload(t, "a.jpg", photo(1, 8, 8))
	for range 2 {
		if err := r.catalog.TrashAssets(t.Context(), r.scope, a.LibraryID, []banksia.AssetID{a.ID}); err != nil {
			t.Fatal(err)
		}
		if r.get(t, a.ID).TrashedAt == nil || r.library(t).AssetCount != 0 {
			t.Error("not trashed")
		}
	}
	for range 2 {
		if err := r.catalog.RestoreAssets(t.Context(), r.scope, a.LibraryID, []banksia.AssetID{a.ID}); err != nil {
			t.Fatal(err)
		}
		if r.get(t, a.ID).TrashedAt != nil || r.library(t).AssetCount != 1 {
			t.Error("not restored")
		}
	}
	stranger := r.addUser(t)
	for name, err := range map[string]error{
		"trash":   r.catalog.TrashAssets(t.Context(), stranger, a.LibraryID, []banksia.AssetID{a.ID}),
		"restore": r.catalog.RestoreAssets(t.Context(), stranger, a.LibraryID, []banksia.AssetID{a.ID}),
		"purge":   r.catalog.PurgeAssets(t.Context(), stranger, a.LibraryID, []banksia.AssetID{a.ID}),
	} {
		if banksia.ErrorCode(err) != banksia.CodeNotFound {
			t.Errorf("%s by a stranger: %v", name, err)
		}
	}
	if r.get(t, a.ID).TrashedAt != nil {
		t.Error("a stranger trashed it")
	}
}

// Uploads and purges of the same bytes at the same time: whenever a row exists,
// its bytes do.
func TestPurgeAgainstUpload(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.runner.Start(t.Context())
	first, second := r.library(t).ID, r.addLibrary(t, r.scope.UserID)
	content := photo(1, 32, 32)
	var running sync.WaitGroup
	for _, library := range []banksia.LibraryID{first, second} {
		running.Go(func() {
			for range 25 {
				id, _, err := r.upload(t.Context(), r.scope, &library, "a.jpg", bytes.NewReader(content))
				if err != nil {
					t.Error(err)
					return
				}
				a := r.get(t, id)
				if _, err := r.blobs.Stat(t.Context(), blob.Original(a.File.SHA256)); err != nil {
					t.Errorf("an acknowledged asset: %v", err)
				}
				if err := r.catalog.PurgeAssets(t.Context(), r.scope, library, []banksia.AssetID{id}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
	r.settled(t)
	r.runner.Stop(t.Context()) // a drawing whose task was purged may still run
	if found := r.originals(t); len(found) > 0 {
		t.Errorf("originals are left: %v", found)
	}
	err := r.blobs.List(t.Context(), "derived/", func(info blob.Info) error {
		t.Errorf("a derived file is left: %s", info.Key)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
