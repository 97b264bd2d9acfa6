package backup_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/backup"
	"github.com/banksia-photos/banksia/internal/banksiatest"
	"github.com/banksia-photos/banksia/internal/blob"
)

// age makes everything in a place old enough to be removed.
func age(t *testing.T, place blob.Store) {
	t.Helper()
	old := time.Now().Add(-48 * time.Hour)
	err := place.List(t.Context(), "", func(info blob.Info) error {
		path, release, err := place.Fetch(t.Context(), info.Key)
		if err != nil {
			return err
		}
		defer release()
		return os.Chtimes(path, old, old)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A photo was deleted for good, its backups are about to be removed, and it is
// uploaded again: a backup that counts on the bytes that it has found in the place
// and a removal of them exclude each other.
func TestPruneBesideBackup(t *testing.T) {
	t.Parallel()
	s, place := banksiatest.NewServer(t), folder(t)
	upload(t, s, 0)
	gone := upload(t, s, 1)
	create(t, s, place)
	if err := s.Catalog.PurgeAssets(t.Context(), s.Scope, s.Library, []banksia.AssetID{gone}); err != nil {
		t.Fatal(err)
	}
	s.Finished(t)
	create(t, s, place)
	age(t, place)
	upload(t, s, 1)
	for seed := range uint8(3) { // so that there is something to copy
		upload(t, s, 10+seed)
	}

	asked := false
	made, err := backup.Create(t.Context(), s.Store, s.Blobs, place, backup.Options{Copiers: 1, Progress: func(step string, _, _, _ int64) {
		if step == "originals" && !asked {
			asked = true
			if _, _, _, err := backup.Prune(t.Context(), place, 1, backup.Options{}); !errors.Is(err, backup.ErrInUse) {
				t.Errorf("removing old backups beside one that is made: %v", err)
			}
		}
	}})
	if err != nil || !asked {
		t.Fatalf("asked %v, %v", asked, err)
	}
	wantWhole(t, place, made.Manifest)
	asked = false
	gone = upload(t, s, 2)
	create(t, s, place)
	if err := s.Catalog.PurgeAssets(t.Context(), s.Scope, s.Library, []banksia.AssetID{gone}); err != nil {
		t.Fatal(err)
	}
	create(t, s, place)
	age(t, place)
	_, n, _, err := backup.Prune(t.Context(), place, 1, backup.Options{Progress: func(string, int64, int64, int64) {
		asked = true
		if _, err := backup.Create(t.Context(), s.Store, s.Blobs, place, backup.Options{}); !errors.Is(err, backup.ErrInUse) {
			t.Errorf("a backup beside the removal of originals: %v", err)
		}
	}})
	if err != nil || n != 1 || !asked {
		t.Errorf("removed %d originals, asked %v, %v", n, asked, err)
	}

	// What a killed process has left does not stop others for ever.
	if err := place.Put(t.Context(), "locks/prune-killed", strings.NewReader("")); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Create(t.Context(), s.Store, s.Blobs, place, backup.Options{}); !errors.Is(err, backup.ErrInUse) {
		t.Errorf("a backup beside a removal that may run: %v", err)
	}
	age(t, place)
	wantWhole(t, place, create(t, s, place).Manifest)
	if err := place.List(t.Context(), "locks/", func(info blob.Info) error { return errors.New(string(info.Key) + " is left") }); err != nil {
		t.Error(err)
	}
}

// A damaged manifest does not stand in the way of the other backups, and nothing is
// removed while nobody knows what it needs.
func TestDamagedManifest(t *testing.T) {
	t.Parallel()
	s, place := banksiatest.NewServer(t), folder(t)
	upload(t, s, 0)
	first, second := create(t, s, place), create(t, s, place)
	path := blob.Key("snapshots/" + second.Name + "/manifest.json")
	for name, text := range map[string]string{"cut off": `{"name": "` + second.Name, "of another": `{"name": "../../` + filepath.Base(first.Name) + `"}`, "empty": ""} {
		if err := place.Put(t.Context(), path, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		if all, err := backup.List(t.Context(), place); err == nil || len(all) != 1 || all[0] != first.Manifest || !strings.Contains(err.Error(), second.Name) {
			t.Errorf("%s: listed %+v, %v", name, all, err)
		}
		if m, err := backup.Find(t.Context(), place, first.Name); err != nil || m != first.Manifest {
			t.Errorf("%s: the other: %+v, %v", name, m, err)
		}
		if _, err := backup.Find(t.Context(), place, ""); err == nil {
			t.Errorf("%s: an older one is taken for the newest", name)
		}
		if removed, n, _, err := backup.Prune(t.Context(), place, 1, backup.Options{}); err == nil || len(removed) > 0 || n > 0 {
			t.Errorf("%s: removed %v and %d originals, %v", name, removed, n, err)
		}
	}
}
