package catalog_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/banksiatest/services"
	"github.com/banksia-photos/banksia/internal/banksiatest/storetest"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/blob/s3"
	"github.com/banksia-photos/banksia/internal/catalog"
	"github.com/banksia-photos/banksia/internal/store"
	"github.com/banksia-photos/banksia/internal/task"
)

// node is another process on the same database and storage, as far as a catalog
// can tell: it has connections of its own and knows nothing of the locks of others.
func (r *rig) node(t *testing.T, name string, blobs blob.Store) *catalog.Catalog {
	t.Helper()
	cfg := r.database
	cfg.Process = name
	database, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { database.Close() })
	logger := slog.New(slog.DiscardHandler)
	taskConfig := task.DefaultConfig()
	taskConfig.Logger = logger
	runner, err := task.New(taskConfig, database)
	if err != nil {
		t.Fatal(err)
	}
	return catalog.New(database, blobs, r.pool, runner, logger)
}

// bucket opens a store that treats every note as abandoned at once, which no real
// one does.
func bucket(t *testing.T) blob.Store {
	t.Helper()
	cfg := s3.DefaultConfig()
	var secret string
	cfg.Endpoint, cfg.Bucket, cfg.AccessKey, secret = services.S3(t)
	cfg.SecretKey, cfg.TempDir, cfg.Grace = s3.Secret(secret), t.TempDir(), 0
	s, err := s3.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Nodes upload, purge and sweep the same bytes at the same time, without a lock
// between them. Whatever is acknowledged has its bytes until it is purged; an upload
// that met a removal is refused so that the client sends it again.
func TestNodesShareOriginals(t *testing.T) {
	t.Parallel()
	for engine, database := range map[string]store.Config{"SQLite": storetest.File(t), "PostgreSQL": storetest.Postgres(t)} {
		r := newRigOn(t, t.TempDir(), database)
		for place, blobs := range map[string]blob.Store{"folder": r.blobs, "S3": bucket(t)} {
			t.Run(engine+", "+place, func(t *testing.T) { r.shareOriginals(t, blobs, photo(len(place), 32, 32)) })
		}
	}
}

func (r *rig) shareOriginals(t *testing.T, blobs blob.Store, content []byte) {
	var nodes, sweeping sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	var refused atomic.Int64
	for i := range 3 {
		c, library := r.node(t, fmt.Sprint(i), blobs), r.addLibrary(t, r.scope.UserID)
		nodes.Go(func() {
			for range 5 {
				id, err := uploadTo(t.Context(), c, r.scope, library, content)
				for banksia.ErrorCode(err) == banksia.CodeStorage {
					refused.Add(1)
					time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond) // as clients do before they try again
					id, err = uploadTo(t.Context(), c, r.scope, library, content)
				}
				if err != nil {
					t.Errorf("node %d: %v", i, err)
					return
				}
				_, release, err := blobs.Fetch(t.Context(), blob.Original(r.get(t, id).File.SHA256))
				if err != nil {
					t.Errorf("node %d: the bytes of an acknowledged asset: %v", i, err)
					return
				}
				release()
				if err := c.PurgeAssets(t.Context(), r.scope, library, []banksia.AssetID{id}); err != nil {
					t.Errorf("node %d: %v", i, err)
				}
			}
		})
	}
	sweeper := r.node(t, "sweeper", blobs)
	sweep := func() error {
		_, err := sweeper.SweepOriginals(ctx, time.Now().Add(time.Second))
		if errors.Is(err, store.ErrRemoving) { // another node is at it
			return nil
		}
		return err
	}
	sweeping.Go(func() {
		for ctx.Err() == nil {
			if err := sweep(); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
			time.Sleep(5 * time.Millisecond) // or no upload would ever come through
		}
	})
	nodes.Wait()
	stop()
	sweeping.Wait()
	t.Logf("%d uploads were refused", refused.Load())
	ctx = t.Context()
	if err := sweep(); err != nil {
		t.Error(err)
	}
	if notes, err := blobs.Pending(t.Context(), time.Now().Add(time.Second)); err != nil || len(notes) > 0 {
		t.Errorf("notes are left: %v, %v", notes, err)
	}
}

// uploadTo is rig.upload at a node.
func uploadTo(ctx context.Context, c *catalog.Catalog, scope banksia.Scope, library banksia.LibraryID, content []byte) (id banksia.AssetID, err error) {
	in, err := c.Receive(ctx, bytes.NewReader(content))
	if err != nil {
		return id, err
	}
	defer in.Discard()
	id, _, err = c.Commit(ctx, scope, in, catalog.UploadRequest{
		LibraryID: &library, FileName: "a.jpg", DeviceAssetID: "device asset", DeviceID: "device",
		FileCreatedAt: localTime("2020-01-02T03:04:05"), FileModifiedAt: localTime("2020-02-03T04:05:06+01:00"),
	})
	return id, err
}

// paused is a storage whose user sleeps once while it asks for a file.
type paused struct {
	blob.Store
	sleep func()
}

func (p *paused) Stat(ctx context.Context, key blob.Key) (blob.Info, error) {
	info, err := p.Store.Stat(ctx, key)
	if p.sleep != nil {
		sleep := p.sleep
		p.sleep = nil
		sleep()
	}
	return info, err
}

// A node that is paused in the middle of a removal, for so long that another takes it
// over, does not remove what was uploaded since.
func TestPausedRemoval(t *testing.T) {
	t.Parallel()
	for engine, database := range map[string]store.Config{"SQLite": storetest.File(t), "PostgreSQL": storetest.Postgres(t)} {
		t.Run(engine, func(t *testing.T) {
			r := newRigOn(t, t.TempDir(), database)
			var slept atomic.Int64
			r.database.Now = func() time.Time { return time.Now().Add(time.Duration(slept.Load())) }
			blobs, content := &paused{Store: r.blobs}, photo(1, 16, 16)
			one, other := r.node(t, "one", blobs), r.node(t, "other", r.blobs)
			// What is left of an upload that was cut off.
			sum := sha256.Sum256(content)
			if _, err := r.blobs.MarkPending(t.Context(), sum[:]); err != nil {
				t.Fatal(err)
			}
			if err := r.blobs.Put(t.Context(), blob.Original(sum[:]), bytes.NewReader(content)); err != nil {
				t.Fatal(err)
			}
			blobs.sleep = func() {
				slept.Store(int64(25 * time.Minute))
				if _, err := uploadTo(t.Context(), other, r.scope, r.library(t).ID, content); err != nil {
					t.Errorf("an upload after the pause began: %v", err)
				}
			}
			if _, err := one.SweepOriginals(t.Context(), time.Now().Add(time.Hour)); !errors.Is(err, store.ErrRemoving) {
				t.Errorf("the paused removal ends with %v", err)
			}
			if _, err := r.blobs.Stat(t.Context(), blob.Original(sum[:])); err != nil {
				t.Errorf("the bytes of an acknowledged upload: %v", err)
			}
		})
	}
}
