package catalog

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/store"
	"github.com/banksia-photos/banksia/internal/task"
)

// PurgeAssets deletes assets for good; unknown ones are left alone. Their files go
// in a task of the same transaction, so that a crash leaves none behind.
func (c *Catalog) PurgeAssets(ctx context.Context, scope banksia.Scope, library banksia.LibraryID, ids []banksia.AssetID) error {
	return c.change(ctx, scope, library, func(tx *store.Tx) error { return c.purge(tx, scope.UserID, &library, library, ids) })
}

// purge deletes assets and enqueues the removal of their files as tasks of a user,
// and of a library unless taskLibrary is nil.
func (c *Catalog) purge(tx *store.Tx, user banksia.UserID, taskLibrary *banksia.LibraryID, library banksia.LibraryID, ids []banksia.AssetID) error {
	freed, err := tx.PurgeAssets(library, ids)
	if err != nil {
		return err
	}
	files := map[banksia.AssetID][]freedFiles{}
	for _, f := range freed {
		files[f.AssetID] = append(files[f.AssetID], freedFiles{f.VersionID, hex.EncodeToString(f.SHA256)})
	}
	for asset, versions := range files {
		payload, err := json.Marshal(versions)
		if err != nil {
			return fmt.Errorf("purge asset %s: %w", asset, err)
		}
		err = c.runner.EnqueueWith(tx, &banksia.Task{UserID: user, LibraryID: taskLibrary, AssetID: &asset, Type: banksia.TaskStorageCleanup}, string(payload))
		if err != nil {
			return err
		}
	}
	return nil
}

// freedFiles is what a purged version left in the blob storage.
type freedFiles struct {
	Version banksia.VersionID `json:"version"`
	SHA256  string            `json:"sha256"` // hexadecimal
}

// cleanUp (asset_storage_cleanup, asset_version_storage_cleanup) removes the files
// of a purged asset, or of deleted versions: their variants, and their bytes unless
// another version has the same.
func (c *Catalog) cleanUp(ctx context.Context, d store.Delivery) (task.Commit, error) {
	var versions []freedFiles
	if err := json.Unmarshal([]byte(d.Payload), &versions); err != nil {
		return nil, task.Final("The task does not say what to remove.", err)
	}
	for _, v := range versions {
		for _, variant := range derivedVariants {
			if err := c.blobs.Delete(ctx, blob.Derived(v.Version, variant)); err != nil {
				return nil, untilRemoved(err)
			}
		}
		if err := c.removeCrops(ctx, v.Version); err != nil {
			return nil, untilRemoved(err)
		}
		if err := c.cleanUpOriginal(ctx, v.SHA256); err != nil {
			return nil, untilRemoved(err)
		}
	}
	return nil, nil
}

// untilRemoved lets a removal be tried until it succeeds: what it does not remove,
// nobody looks at any more.
func untilRemoved(err error) error {
	switch {
	case errors.Is(err, blob.ErrUnavailable), errors.Is(err, blob.ErrFull):
		return task.Outage("The storage failed for now.", err)
	case errors.Is(err, store.ErrRemoving):
		return task.Outage("Another server is removing the same file.", err)
	}
	return err
}

func (c *Catalog) cleanUpOriginal(ctx context.Context, text string) error {
	sum, err := hex.DecodeString(text)
	if err != nil {
		return task.Final("The task does not say what to remove.", err)
	}
	defer c.content.lock(sum)()
	_, err = c.removeUnreferenced(ctx, sum)
	return err
}

// derivedVariants are the derived files that a version may have.
var derivedVariants = []banksia.VariantName{banksia.VariantFullsize, banksia.VariantPreview, banksia.VariantSmall, banksia.VariantThumbnail}

// removeUnreferenced removes an original that no version of any user has. The
// caller holds the content lock.
func (c *Catalog) removeUnreferenced(ctx context.Context, sum banksia.Digest) (removed bool, err error) {
	number, err := c.store.BeginRemoval(ctx, sum)
	if err != nil || number == 0 {
		return false, err
	}
	// A request that is given up long before another process may take over.
	const patience = 5 * time.Minute
	begin := c.store.Now()
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	key := blob.Original(sum)
	_, err = c.blobs.Stat(limited, key)
	removed = !errors.Is(err, blob.ErrNotExist)
	if removed {
		// A process that was stopped, or whose machine slept, goes on before its timer
		// tells it.
		if c.store.Now().Sub(begin) > patience {
			return false, store.ErrRemoving
		}
		if err := c.blobs.Delete(limited, key); err != nil {
			return false, err
		}
	}
	return removed, c.store.EndRemoval(ctx, sum, number)
}

// sweepInterval is how often the remains of processes that never came back are
// looked for.
const sweepInterval = time.Hour

// SweepUploads removes, at once and then at intervals until ctx ends, what uploads
// have left that were cut off: originals without a row, and parts of files.
func (c *Catalog) SweepUploads(ctx context.Context) {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		now := time.Now() // uploads of this process have the content lock
		originals, err := c.SweepOriginals(ctx, now)
		parts, sweepErr := c.blobs.Sweep(ctx, now)
		if err = errors.Join(err, sweepErr); err != nil && ctx.Err() == nil {
			c.logger.Error("sweep uploads", "error", err)
		} else if originals+parts > 0 {
			c.logger.Info("removed what unfinished uploads have left", "originals", originals, "parts", parts)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// SweepOriginals removes the originals of uploads that a crash cut off before a
// time, between their file and their row. It looks at these alone: an original
// that has lost its row in another way, as when an older copy of the database is
// put back, is left for people to decide about.
func (c *Catalog) SweepOriginals(ctx context.Context, before time.Time) (removed int, err error) {
	pending, err := c.blobs.Pending(ctx, before)
	if err != nil {
		return 0, fmt.Errorf("sweep originals: %w", err)
	}
	for _, note := range pending {
		gone, err := c.sweep(ctx, note)
		if err != nil {
			return removed, fmt.Errorf("sweep originals: %w", err)
		}
		if gone {
			removed++
		}
	}
	return removed, nil
}

func (c *Catalog) sweep(ctx context.Context, note blob.Note) (removed bool, err error) {
	defer c.content.lock(note.SHA256)()
	if removed, err = c.removeUnreferenced(ctx, note.SHA256); err != nil {
		return false, err
	}
	return removed, c.blobs.Settle(ctx, note)
}
