package backup_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/backup"
	"github.com/banksia-photos/banksia/internal/banksiatest"
	"github.com/banksia-photos/banksia/internal/banksiatest/storetest"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/blob/local"
	"github.com/banksia-photos/banksia/internal/check"
	"github.com/banksia-photos/banksia/internal/media"
	"github.com/banksia-photos/banksia/internal/store"
)

func TestMain(m *testing.M) {
	media.ServeWorkerIfAsked()
	os.Exit(m.Run())
}

func folder(t *testing.T) *local.Store {
	t.Helper()
	place, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return place
}

func upload(t *testing.T, s *banksiatest.Server, seed uint8) (id banksia.AssetID) {
	t.Helper()
	answer := s.Upload(t, banksiatest.UploadParts(fmt.Sprintf("%d.jpg", seed), banksiatest.JPEG(t, 60, 40, seed)))
	var made struct {
		ID string `json:"id"`
	}
	err := json.Unmarshal(answer.Body, &made)
	if err == nil {
		id, err = banksia.ParseID[banksia.AssetID](made.ID)
	}
	if err != nil {
		t.Errorf("upload: %d %s, %v", answer.Status, answer.Body, err)
	}
	return id
}

func originals(t *testing.T, place blob.Store) (n int64) {
	t.Helper()
	if err := place.List(t.Context(), "originals/", func(blob.Info) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

func create(t *testing.T, s *banksiatest.Server, place blob.Store) backup.Summary {
	t.Helper()
	made, err := backup.Create(t.Context(), s.Store, s.Blobs, place, backup.Options{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func wantWhole(t *testing.T, place blob.Store, m backup.Manifest) {
	t.Helper()
	if problems, err := backup.Verify(t.Context(), place, m, true, backup.Options{}); err != nil || len(problems) > 0 {
		t.Errorf("backup %s: %q, %v", m.Name, problems, err)
	}
}

// restore brings a snapshot up on an engine, and checks every byte.
func restore(t *testing.T, place blob.Store, m backup.Manifest, database store.Config) (*store.Store, blob.Store) {
	t.Helper()
	to := folder(t)
	_, err := backup.Restore(t.Context(), place, m, to, func(file string) error {
		if database.Path != "" {
			return os.Rename(file, database.Path)
		}
		from, err := store.Open(t.Context(), store.Config{Path: file})
		if err != nil {
			return err
		}
		s, err := store.Open(t.Context(), database)
		if err != nil {
			return errors.Join(err, from.Close())
		}
		return errors.Join(store.Copy(t.Context(), from, s, store.CopyOptions{}), s.Close(), from.Close())
	}, backup.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	report, err := check.Run(t.Context(), s, to, check.Options{ReadData: true})
	if err != nil || len(report.Problems) > 0 || report.ReadBytes != m.OriginalBytes || report.Originals != m.Originals {
		t.Errorf("restored: %+v, %v; want %+v", report, err, m)
	}
	return s, to
}

// A place is of one library: what another one prunes would be the first one's.
func TestBackupOfAnotherLibrary(t *testing.T) {
	t.Parallel()
	place := folder(t)
	first, second := banksiatest.NewServer(t), banksiatest.NewServer(t)
	made := create(t, first, place)
	if _, err := backup.Create(t.Context(), second.Store, second.Blobs, place, backup.Options{}); !errors.Is(err, backup.ErrOtherLibrary) {
		t.Errorf("a backup to the place of another library: %v", err)
	}
	if all, err := backup.List(t.Context(), place); err != nil || len(all) != 1 || all[0] != made.Manifest {
		t.Errorf("it left %+v, %v", all, err)
	}
	create(t, first, place)
}

// A backup brings what is new, can be proven whole, and comes up on either engine
// with every row and byte.
func TestBackup(t *testing.T) {
	t.Parallel()
	s, place := banksiatest.NewServer(t), folder(t)
	if _, err := backup.Find(t.Context(), place, ""); !errors.Is(err, backup.ErrNoSnapshot) {
		t.Errorf("an empty place: %v", err)
	}
	for seed := range uint8(5) {
		upload(t, s, seed)
	}
	s.Finished(t)
	first := create(t, s, place)
	if first.Originals != 5 || first.Copied != 5 || first.CopiedBytes != first.OriginalBytes {
		t.Errorf("the first backup: %+v", first)
	}
	gone := upload(t, s, 10)
	upload(t, s, 11)
	second := create(t, s, place)
	if second.Originals != 7 || second.Copied != 2 {
		t.Errorf("the second backup: %+v", second)
	}
	if err := s.Catalog.PurgeAssets(t.Context(), s.Scope, s.Library, []banksia.AssetID{gone}); err != nil {
		t.Fatal(err)
	}
	s.Finished(t)
	third := create(t, s, place)
	if third.Originals != 6 || third.Copied != 0 {
		t.Errorf("the third backup: %+v", third)
	}
	all, err := backup.List(t.Context(), place)
	if err != nil || len(all) != 3 || all[0] != first.Manifest || all[2] != third.Manifest {
		t.Fatalf("listed %+v, %v", all, err)
	}
	for _, m := range all {
		wantWhole(t, place, m)
	}
	if newest, err := backup.Find(t.Context(), place, ""); err != nil || newest != third.Manifest {
		t.Errorf("the newest is %+v, %v", newest, err)
	}

	for name, database := range map[string]store.Config{"SQLite": storetest.File(t), "PostgreSQL": storetest.Postgres(t)} {
		restored, blobs := restore(t, place, second.Manifest, database)
		list, _, err := restored.ListAssets(t.Context(), s.Scope, store.AssetFilter{LibraryID: s.Library, Limit: 20})
		if err != nil || len(list) != 7 {
			t.Errorf("%s: %d assets, %v; the one that was purged later must be there", name, len(list), err)
		}
		var pending int // of the first five; the others were not drawn yet
		err = restored.Read(t.Context(), func(tx *store.Tx) error {
			return tx.QueryRow(`SELECT COUNT(*) FROM tasks WHERE task_type = 'display_proxy_generation' AND status <> 'success'`).Scan(&pending)
		})
		if err != nil || pending != 7 {
			t.Errorf("%s: %d previews are to be drawn again, %v", name, pending, err)
		}
		// A backup of what was restored is the same again.
		again, err := backup.Create(t.Context(), restored, blobs, place, backup.Options{})
		if err != nil || again.Copied != 0 || again.Originals != second.Originals {
			t.Errorf("%s: a backup of the restored library: %+v, %v", name, again, err)
		}
	}

	// Pruning keeps what the kept ones need, and what may be of a backup under way.
	old := time.Now().Add(-48 * time.Hour)
	err = place.List(t.Context(), "originals/", func(info blob.Info) error {
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
	s.Finished(t)
	last := create(t, s, place)
	removed, n, _, err := backup.Prune(t.Context(), place, 1, backup.Options{})
	if err != nil || len(removed) != 5 || n != 1 || originals(t, place) != 6 {
		t.Errorf("pruned %q and %d originals, %v; %d are left", removed, n, err, originals(t, place))
	}
	wantWhole(t, place, last.Manifest)
	if _, _, _, err := backup.Prune(t.Context(), place, 0, backup.Options{}); err == nil {
		t.Error("all backups may be pruned")
	}
}

// What is wrong with a backup is found before somebody needs it.
func TestVerify(t *testing.T) {
	t.Parallel()
	s, place := banksiatest.NewServer(t), folder(t)
	for seed := range uint8(3) {
		upload(t, s, seed)
	}
	m := create(t, s, place).Manifest
	wantWhole(t, place, m)
	var files []string
	for _, prefix := range []blob.Key{"originals/", "snapshots/"} {
		err := place.List(t.Context(), prefix, func(info blob.Info) error {
			path, release, err := place.Fetch(t.Context(), info.Key)
			if err == nil && !strings.HasSuffix(path, ".json") {
				files = append(files, path)
			}
			release()
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(files) != 4 {
		t.Fatalf("the place holds %q", files)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for name, damage := range map[string]func() error{
			"missing": func() error { return os.Remove(file) },
			"short":   func() error { return os.Truncate(file, int64(len(content))-1) },
			"changed": func() error {
				changed := append([]byte{}, content...)
				changed[len(changed)/2] ^= 4
				return os.WriteFile(file, changed, 0o600)
			},
		} {
			if err := damage(); err != nil {
				t.Fatal(err)
			}
			if problems, err := backup.Verify(t.Context(), place, m, true, backup.Options{}); err != nil || len(problems) != 1 {
				t.Errorf("%s is %s: %q, %v", file, name, problems, err)
			}
			to, installed := folder(t), false
			_, err := backup.Restore(t.Context(), place, m, to, func(string) error { installed = true; return nil }, backup.Options{})
			if err == nil || installed {
				t.Errorf("%s is %s: it was restored all the same", file, name)
			}
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	wantWhole(t, place, m)
}

// A backup made while photos come and go is the library at one moment; one that is
// cut off leaves none.
func TestBackupWhileChanging(t *testing.T) {
	t.Parallel()
	s, place := banksiatest.NewServer(t), folder(t)
	running, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		var ids []banksia.AssetID
		for seed := uint8(0); running.Err() == nil; seed++ {
			if ids = append(ids, upload(t, s, seed)); len(ids) > 10 {
				if err := s.Catalog.PurgeAssets(context.Background(), s.Scope, s.Library, ids[:3]); err != nil {
					t.Error(err)
				}
				ids = ids[3:]
			}
		}
	}()
	for i := range 6 {
		if i%2 == 0 {
			ctx, cancel := context.WithCancel(t.Context())
			_, err := backup.Create(ctx, s.Store, s.Blobs, place, backup.Options{Progress: func(step string, done, _, _ int64) {
				if step == "originals" || done > 0 {
					cancel()
				}
			}})
			cancel()
			if err == nil {
				continue // it was faster
			}
			all, err := backup.List(t.Context(), place)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range all {
				wantWhole(t, place, m)
			}
			continue
		}
		wantWhole(t, place, create(t, s, place).Manifest)
	}
	stop()
	<-done
	s.Finished(t)
	last := create(t, s, place)
	restore(t, place, last.Manifest, store.Config{Path: filepath.Join(t.TempDir(), "banksia.db")})
}
