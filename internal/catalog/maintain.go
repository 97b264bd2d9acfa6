package catalog

import (
	"context"
	"errors"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/store"
)

const (
	// maintenanceInterval is how late a retention may be noticed.
	maintenanceInterval = 10 * time.Minute
	// purgeBatch is how many assets one transaction purges, so that it holds up
	// other writers for milliseconds.
	purgeBatch = 50
	// rowBatch is how many other rows one transaction deletes.
	rowBatch = 1000
)

// EmptyTrash purges what is in the trash of a library (behaviour 8.8). The request
// is kept before the first asset goes, so that the maintenance finishes what a
// crash cuts off; what is trashed later stays.
func (c *Catalog) EmptyTrash(ctx context.Context, scope banksia.Scope, library banksia.LibraryID) error {
	err := c.change(ctx, scope, library, func(tx *store.Tx) error { return tx.MarkTrashEmptied(library) })
	if err != nil {
		return err
	}
	_, err = c.purgeTrash(ctx, library, nil)
	if err != nil {
		c.wakeMaintenance() // the client left, say: it goes on without
	}
	return err
}

// Maintain does at once, then at intervals, what no request asks for, until ctx
// ends: it purges what has been in the trash for longer than the retention (0:
// nothing), finishes purges that were cut off, and compacts the events.
func (c *Catalog) Maintain(ctx context.Context, retention time.Duration) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-c.maintenance:
		}
		if err := c.MaintainOnce(ctx, retention); err != nil && ctx.Err() == nil {
			c.logger.Error("maintenance", "error", err)
		}
		timer.Reset(maintenanceInterval)
	}
}

// MaintainOnce does one round of Maintain. What fails does not keep the rest from
// being done.
func (c *Catalog) MaintainOnce(ctx context.Context, retention time.Duration) error {
	return errors.Join(c.purgeExpired(ctx, retention), c.purgeLibraries(ctx, retention), c.compactEvents(ctx))
}

func (c *Catalog) wakeMaintenance() {
	select {
	case c.maintenance <- struct{}{}:
	default: // it is awake already
	}
}

func (c *Catalog) compactEvents(ctx context.Context) error {
	n, err := c.store.CompactEvents(ctx)
	if n > 0 {
		c.logger.Info("compacted the events", "removed", n)
	}
	return err
}

func (c *Catalog) purgeExpired(ctx context.Context, retention time.Duration) error {
	var before *time.Time
	if retention > 0 {
		at := c.store.Now().Add(-retention)
		before = &at
	}
	libraries, err := c.store.AllLibraries(ctx)
	for _, library := range libraries {
		n, purgeErr := c.purgeTrash(ctx, library, before)
		if n > 0 {
			c.logger.Info("purged the trash", "library", library, "assets", n)
		}
		err = errors.Join(err, purgeErr)
	}
	return err
}

// purgeTrash purges the assets of a library that were trashed before a time, or
// before the trash was emptied last.
func (c *Catalog) purgeTrash(ctx context.Context, library banksia.LibraryID, before *time.Time) (purged int, err error) {
	for {
		n := 0
		err := c.store.ChangeLibrary(ctx, library, func(tx *store.Tx) error {
			ids, err := tx.ExpiredTrash(library, before, purgeBatch)
			if err != nil {
				return err
			}
			if n = len(ids); n == 0 {
				return tx.UnmarkTrash(library)
			}
			l, err := tx.Library(library)
			if err != nil {
				return err
			}
			return c.purge(tx, l.UserID, &library, library, ids)
		})
		purged += n
		if banksia.ErrorCode(err) == banksia.CodeNotFound {
			return purged, nil // the library was purged meanwhile
		}
		if err != nil || n == 0 {
			return purged, err
		}
	}
}

// purgeLibraries purges the libraries that have been in the trash for longer than
// the retention, and those whose deletion was asked for.
func (c *Catalog) purgeLibraries(ctx context.Context, retention time.Duration) error {
	if retention > 0 {
		before := c.store.Now().Add(-retention)
		if err := c.store.Write(ctx, func(tx *store.Tx) error { return tx.ExpireLibraries(before) }); err != nil {
			return err
		}
	}
	libraries, err := c.store.LibrariesToPurge(ctx)
	for _, library := range libraries {
		err = errors.Join(err, c.purgeLibrary(ctx, library))
	}
	return err
}

func (c *Catalog) purgeLibrary(ctx context.Context, library banksia.LibraryID) error {
	purged, reported := 0, time.Now()
	for {
		ended := false
		err := c.store.ChangeLibrary(ctx, library, func(tx *store.Tx) error {
			ids, wanted, err := tx.PurgeBatch(library, purgeBatch)
			if err != nil || !wanted {
				ended = true
				return err
			}
			if len(ids) == 0 {
				ended, err = tx.DeleteLibraryRows(library, rowBatch)
				return err
			}
			l, err := tx.Library(library)
			if err != nil {
				return err
			}
			purged += len(ids)
			// The tasks that remove files outlive the library.
			return c.purge(tx, l.UserID, nil, library, ids)
		})
		if banksia.ErrorCode(err) == banksia.CodeNotFound {
			return nil // another node was faster
		}
		if err != nil {
			return err
		}
		if ended {
			c.logger.Info("purged a library", "library", library, "assets", purged)
			return nil
		}
		if time.Since(reported) > 10*time.Second {
			reported = time.Now()
			c.logger.Info("purging a library", "library", library, "assets", purged)
		}
	}
}
