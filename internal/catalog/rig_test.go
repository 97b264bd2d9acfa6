package catalog_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/banksiatest/storetest"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/blob/local"
	"github.com/banksia-photos/banksia/internal/catalog"
	"github.com/banksia-photos/banksia/internal/derive"
	"github.com/banksia-photos/banksia/internal/media"
	"github.com/banksia-photos/banksia/internal/place"
	"github.com/banksia-photos/banksia/internal/store"
	"github.com/banksia-photos/banksia/internal/task"
)

func TestMain(m *testing.M) {
	media.ServeWorkerIfAsked()
	uploadUntilKilled()
	os.Exit(m.Run())
}

// rig is all of a server but its HTTP, on a folder.
type rig struct {
	database store.Config
	store    *store.Store
	blobs    *local.Store
	pool     *media.Pool
	runner   *task.Runner
	catalog  *catalog.Catalog
	scope    banksia.Scope
}

// openRig opens the folder and the database; the runner is not started.
func openRig(folder string, database store.Config) (*rig, error) {
	r := &rig{database: database}
	var err error
	if r.store, err = store.Open(context.Background(), database); err != nil {
		return nil, err
	}
	if r.blobs, err = local.Open(filepath.Join(folder, "blobs")); err != nil {
		return nil, err
	}
	mediaConfig := media.DefaultConfig()
	mediaConfig.Workers = 2
	if r.pool, err = media.New(mediaConfig); err != nil {
		return nil, err
	}
	logger := slog.New(slog.DiscardHandler)
	taskConfig := task.DefaultConfig()
	taskConfig.Logger, taskConfig.Backoff = logger, time.Millisecond
	if r.runner, err = task.New(taskConfig, r.store); err != nil {
		return nil, err
	}
	r.catalog = catalog.New(r.store, r.blobs, r.pool, r.runner, logger)
	derive.New(r.store, r.blobs, r.pool, place.New(), r.runner)
	owner, _, err := r.catalog.Setup(context.Background())
	r.scope = banksia.Scope{UserID: owner.ID, Actions: banksia.Actions}
	return r, err
}

func (r *rig) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r.runner.Stop(ctx)
	return errors.Join(r.pool.Close(), r.store.Close())
}

func newRig(t *testing.T) *rig {
	t.Helper()
	return newRigOn(t, t.TempDir(), storetest.Database(t))
}

func newRigOn(t *testing.T, folder string, database store.Config) *rig {
	t.Helper()
	r, err := openRig(folder, database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) library(t *testing.T) banksia.Library {
	t.Helper()
	libraries, err := r.store.ListLibraries(t.Context(), r.scope, store.Live)
	if err != nil || len(libraries) != 1 {
		t.Fatalf("libraries: %+v, %v", libraries, err)
	}
	return libraries[0]
}

func (r *rig) write(t *testing.T, f func(*store.Tx) error) {
	t.Helper()
	if err := r.store.ChangeAll(t.Context(), nil, f); err != nil {
		t.Fatal(err)
	}
}

// addLibrary makes another library of a user.
func (r *rig) addLibrary(t *testing.T, user banksia.UserID) banksia.LibraryID {
	t.Helper()
	now := r.store.Now()
	l := banksia.Library{ID: banksia.NewID[banksia.LibraryID](now), UserID: user, Name: "another", CreatedAt: now, UpdatedAt: now}
	r.write(t, func(tx *store.Tx) error { return tx.InsertLibrary(&l) })
	return l.ID
}

// addUser makes a user without a library.
func (r *rig) addUser(t *testing.T) banksia.Scope {
	t.Helper()
	now := r.store.Now()
	u := banksia.User{ID: banksia.NewID[banksia.UserID](now), IsActive: true, CreatedAt: now, UpdatedAt: now}
	r.write(t, func(tx *store.Tx) error { return tx.InsertUser(&u) })
	return banksia.Scope{UserID: u.ID, Actions: banksia.Actions}
}

// upload sends one file as the HTTP layer does.
func (r *rig) upload(ctx context.Context, scope banksia.Scope, library *banksia.LibraryID, name string, content io.Reader) (banksia.AssetID, bool, error) {
	request := catalog.UploadRequest{
		LibraryID: library, FileName: name, DeviceAssetID: "device asset", DeviceID: "device",
		FileCreatedAt: localTime("2020-01-02T03:04:05"), FileModifiedAt: localTime("2020-02-03T04:05:06+01:00"),
	}
	in, err := r.catalog.Receive(ctx, content)
	if err != nil {
		return banksia.AssetID{}, false, err
	}
	defer in.Discard()
	return r.catalog.Commit(ctx, scope, in, request)
}

func (r *rig) mustUpload(t *testing.T, name string, content []byte) banksia.Asset {
	t.Helper()
	id, created, err := r.upload(t.Context(), r.scope, nil, name, bytes.NewReader(content))
	if err != nil || !created {
		t.Fatalf("upload of %s: created %v, %v", name, created, err)
	}
	return r.get(t, id)
}

func (r *rig) get(t *testing.T, id banksia.AssetID) banksia.Asset {
	t.Helper()
	a, err := r.store.GetAsset(t.Context(), r.scope, id)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// settled waits until no task is pending or started.
func (r *rig) settled(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		n, err := r.store.UnfinishedTasks(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d tasks are not finished", n)
		}
		time.Sleep(2 * time.Millisecond) // between two looks at the condition
	}
}

// originals lists what is stored.
func (r *rig) originals(t *testing.T) map[blob.Key]int64 {
	t.Helper()
	found := map[blob.Key]int64{}
	err := r.blobs.List(t.Context(), "originals/", func(info blob.Info) error {
		found[info.Key] = info.Size
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func (r *rig) wantNoTemp(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(r.blobs.TempDir())
	if err != nil || len(entries) > 0 {
		t.Errorf("temporary files: %v, %v", entries, err)
	}
}

func localTime(text string) banksia.LocalTime {
	t, err := banksia.ParseLocalTime(text)
	if err != nil {
		panic(err)
	}
	return t
}

// photo is a JPEG that differs by its number.
func photo(number, width, height int) []byte {
	picture := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			picture.SetRGBA(x, y, color.RGBA{uint8(x + number), uint8(y ^ number>>8), uint8(x * y >> 4), 255})
		}
	}
	var to bytes.Buffer
	if err := jpeg.Encode(&to, picture, nil); err != nil {
		panic(err)
	}
	return to.Bytes()
}
