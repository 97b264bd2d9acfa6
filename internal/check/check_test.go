package check_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/banksiatest"
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

func upload(t *testing.T, s *banksiatest.Server, seed uint8) banksia.AssetID {
	t.Helper()
	answer := s.Upload(t, banksiatest.UploadParts(fmt.Sprintf("%d.jpg", seed), banksiatest.JPEG(t, 60, 40, seed)))
	var made struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(answer.Body, &made); err != nil || answer.Status != 201 {
		t.Errorf("upload: %d %s, %v", answer.Status, answer.Body, err)
	}
	id, err := banksia.ParseID[banksia.AssetID](made.ID)
	if err != nil {
		t.Error(err)
	}
	return id
}

func run(t *testing.T, s *banksiatest.Server, options check.Options) *check.Report {
	t.Helper()
	report, err := check.Run(t.Context(), s.Store, s.Blobs, options)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func keys(t *testing.T, blobs blob.Store, prefix blob.Key) (all []blob.Key) {
	t.Helper()
	err := blobs.List(t.Context(), prefix, func(info blob.Info) error {
		all = append(all, info.Key)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// Every kind of damage is found, told apart, and mended where that is possible.
func TestCheck(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	for seed := range uint8(6) {
		upload(t, s, seed)
	}
	s.Finished(t)
	sound := run(t, s, check.Options{ReadData: true})
	if len(sound.Problems)+len(sound.Mended)+len(sound.Unowned) > 0 || sound.Versions != 6 || sound.Originals != 6 || sound.ReadBytes != sound.OriginalBytes || sound.ReadBytes == 0 || sound.Derived == 0 {
		t.Fatalf("a sound library: %+v", sound)
	}

	backup, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	originals := keys(t, s.Blobs, "originals/")
	for _, key := range originals {
		reader, _, err := s.Blobs.Open(t.Context(), key)
		if err == nil {
			err = backup.Put(t.Context(), key, reader)
			reader.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	file := func(key blob.Key) string { // of the local storage, as a failing disk would change it
		path, release, err := s.Blobs.Fetch(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		release()
		return path
	}
	damaged, err := os.ReadFile(file(originals[1]))
	if err != nil {
		t.Fatal(err)
	}
	damaged[len(damaged)/2] ^= 1
	derived := keys(t, s.Blobs, "derived/")
	stray := filepath.Join(filepath.Dir(filepath.Dir(file(derived[0]))), "00")
	old := time.Now().Add(-48 * time.Hour)
	unowned := blob.Original(banksia.Digest(bytes.Repeat([]byte{7}, 32)))
	unownedFile := filepath.Join(filepath.Dir(filepath.Dir(file(originals[0]))), "07", filepath.Base(string(unowned)))
	for _, err := range []error{
		os.Remove(file(originals[0])),
		os.WriteFile(file(originals[1]), damaged, 0o600),
		os.Truncate(file(originals[2]), 10),
		os.Truncate(file(derived[1]), 0),
		os.MkdirAll(stray, 0o700),
		os.WriteFile(filepath.Join(stray, strings.Repeat("0", 32)+".preview"), []byte("x"), 0o600),
		os.Chtimes(filepath.Join(stray, strings.Repeat("0", 32)+".preview"), old, old),
		os.MkdirAll(filepath.Dir(unownedFile), 0o700),
		os.WriteFile(unownedFile, []byte("x"), 0o600),
		os.Chtimes(unownedFile, old, old),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	err = s.Store.Change(t.Context(), s.Owner.ID, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE libraries SET asset_count = 99`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	texts := func(r *check.Report) string {
		all := ""
		for _, p := range r.Problems {
			all += p.Text + "\n"
		}
		return all
	}
	quick := run(t, s, check.Options{})
	for _, wanted := range []string{"is missing", "has another size", "2 derived files", "a library counts its live assets"} {
		if !strings.Contains(texts(quick), wanted) {
			t.Errorf("a quick check does not find that something %s:\n%s", wanted, texts(quick))
		}
	}
	if len(quick.Problems) != 5 || len(quick.Unowned) != 1 || quick.Unowned[0].Key != unowned {
		t.Errorf("a quick check: %s%+v", texts(quick), quick)
	}
	thorough := run(t, s, check.Options{ReadData: true})
	if len(thorough.Problems) != 6 || !strings.Contains(texts(thorough), "is damaged") {
		t.Errorf("a check of the data:\n%s", texts(thorough))
	}
	// Without a backup, what follows from other things is mended, and the rest told.
	mended := run(t, s, check.Options{ReadData: true, Repair: true})
	if len(mended.Problems) != 3 || len(mended.Mended) != 2 {
		t.Errorf("repair without a backup: mended %q, left\n%s", mended.Mended, texts(mended))
	}
	mended = run(t, s, check.Options{ReadData: true, Repair: true, Backup: backup})
	if len(mended.Problems) != 0 || len(mended.Mended) != 3 {
		t.Errorf("repair with a backup: mended %q, left\n%s", mended.Mended, texts(mended))
	}
	after := run(t, s, check.Options{ReadData: true})
	if len(after.Problems)+len(after.Mended) > 0 || after.ReadBytes != sound.ReadBytes || len(after.Unowned) != 1 {
		t.Errorf("after the repair: %+v", after)
	}
	if err := os.Remove(unownedFile); err != nil { // what is kept is never deleted by the check
		t.Error(err)
	}
}

// What a check sees of uploads and purges under way is no problem.
func TestCheckWhileChanging(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for seed := uint8(0); ctx.Err() == nil; seed++ {
			id := upload(t, s, seed)
			if seed%2 == 0 {
				if err := s.Catalog.PurgeAssets(context.Background(), s.Scope, s.Library, []banksia.AssetID{id}); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	for range 15 {
		if report := run(t, s, check.Options{ReadData: true}); len(report.Problems) > 0 {
			t.Errorf("%+v", report.Problems)
		}
	}
	cancel()
	<-done
}
