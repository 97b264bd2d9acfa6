package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/banksia-photos/banksia"
)

// GetLibrary reads a library of the scope, in the trash or not.
func (s *Store) GetLibrary(ctx context.Context, scope banksia.Scope, id banksia.LibraryID) (l banksia.Library, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		l, err = tx.LibraryIn(scope, id)
		return err
	})
	return l, err
}

// LibraryIn is Store.GetLibrary within a transaction.
func (tx *Tx) LibraryIn(scope banksia.Scope, id banksia.LibraryID) (l banksia.Library, err error) {
	libraries, err := tx.Libraries(scope, All)
	if err != nil {
		return l, err
	}
	at := slices.IndexFunc(libraries, func(l banksia.Library) bool { return l.ID == id })
	if at < 0 {
		return l, banksia.NotFound("Library")
	}
	return libraries[at], nil
}

// UpdateLibrary stores the name, the description and the storage limit of a
// library.
func (tx *Tx) UpdateLibrary(l *banksia.Library) error {
	l.UpdatedAt = tx.Now()
	_, err := tx.Exec(`UPDATE libraries SET name = $1, description = $2, storage_limit_bytes = $3, updated_at = $4 WHERE id = $5`,
		l.Name, l.Description, l.StorageLimitBytes, l.UpdatedAt.UnixMicro(), l.ID)
	if err != nil {
		return fmt.Errorf("update library: %w", err)
	}
	return nil
}

// TrashLibrary hides a library with everything in it; one that is hidden stays as
// it is.
func (tx *Tx) TrashLibrary(id banksia.LibraryID) error {
	_, err := tx.Exec(`UPDATE libraries SET trashed_at = $1, updated_at = $1 WHERE id = $2 AND trashed_at IS NULL`, tx.Now().UnixMicro(), id)
	if err != nil {
		return fmt.Errorf("trash library: %w", err)
	}
	return nil
}

// RestoreLibrary shows a library again, with what a purge has left of it.
func (tx *Tx) RestoreLibrary(id banksia.LibraryID) error {
	_, err := tx.Exec(`UPDATE libraries SET trashed_at = NULL, purge_requested_at = NULL, updated_at = $1 WHERE id = $2 AND trashed_at IS NOT NULL`, tx.Now().UnixMicro(), id)
	if err != nil {
		return fmt.Errorf("restore library: %w", err)
	}
	return nil
}

// RequestPurge marks a trashed library for the purge; false when it is live.
func (tx *Tx) RequestPurge(id banksia.LibraryID) (bool, error) {
	result, err := tx.Exec(`UPDATE libraries SET purge_requested_at = COALESCE(purge_requested_at, $1) WHERE id = $2 AND trashed_at IS NOT NULL`, tx.Now().UnixMicro(), id)
	if err != nil {
		return false, fmt.Errorf("request purge of library: %w", err)
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// ExpireLibraries marks the libraries for the purge that were trashed before a
// time.
func (tx *Tx) ExpireLibraries(before time.Time) error {
	_, err := tx.Exec(`UPDATE libraries SET purge_requested_at = $1 WHERE trashed_at < $2 AND purge_requested_at IS NULL`, tx.Now().UnixMicro(), before.UnixMicro())
	if err != nil {
		return fmt.Errorf("expire libraries: %w", err)
	}
	return nil
}

// LibrariesToPurge reads which libraries are marked for the purge.
func (s *Store) LibrariesToPurge(ctx context.Context) (libraries []banksia.LibraryID, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		libraries, err = idsFrom[banksia.LibraryID](tx, `SELECT id FROM libraries WHERE trashed_at IS NOT NULL AND purge_requested_at IS NOT NULL`)
		return err
	})
	return libraries, err
}

// PurgeBatch finds up to a number of assets of a library that is marked for the
// purge; wanted is false when it is not, or not any more.
func (tx *Tx) PurgeBatch(id banksia.LibraryID, limit int) (assets []banksia.AssetID, wanted bool, err error) {
	var one int
	err = tx.QueryRow(`SELECT 1 FROM libraries WHERE id = $1 AND trashed_at IS NOT NULL AND purge_requested_at IS NOT NULL`, id).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	assets, err = idsFrom[banksia.AssetID](tx, `SELECT id FROM assets WHERE library_id = $1 LIMIT $2`, id, limit)
	return assets, true, err
}

// partsOfLibrary are the tables with rows of a library beside its assets, and how
// those rows are found; parts come before what they refer to.
var partsOfLibrary = []struct{ table, key, where string }{
	{"album_assets", "id", "library_id = $1"},
	{"albums", "id", "library_id = $1"},
	{"people", "id", "library_id = $1"},
	{"stacks", "id", "library_id = $1"},
	{"purged_assets", "id", "library_id = $1"},
	{"tasks", "id", "library_id = $1"},
	{"events", "position", "library_id = $1"},
	{"event_logs", "library_id", "library_id = $1"},
	{"event_gaps", "after_position", "library_id = $1"},
	{"api_key_libraries", "library_id", "library_id = $1"},
}

// DeleteLibraryRows deletes up to a number of the rows of a library without
// assets, and at last the library itself: done is then true.
func (tx *Tx) DeleteLibraryRows(id banksia.LibraryID, limit int) (done bool, err error) {
	// The files of its assets may still wait for their removal.
	_, err = tx.Exec(`UPDATE tasks SET library_id = NULL WHERE library_id = $1 AND task_type IN ($2, $3) AND due_at IS NOT NULL`, id, banksia.TaskStorageCleanup, banksia.TaskVersionCleanup)
	if err != nil {
		return false, fmt.Errorf("keep the tasks of library: %w", err)
	}
	documents, err := tx.integers(`SELECT document FROM search_documents WHERE library_id = $1 LIMIT $2`, id, limit)
	for _, document := range documents {
		if err == nil {
			_, err = tx.Exec(tx.store.dialect.dropFromSearch, document)
		}
		if err == nil {
			_, err = tx.Exec(`DELETE FROM search_documents WHERE document = $1`, document)
		}
	}
	if err != nil {
		return false, fmt.Errorf("delete search documents of library: %w", err)
	}
	if limit -= len(documents); limit <= 0 {
		return false, nil
	}
	for _, part := range partsOfLibrary {
		where := part.where
		if part.table == "events" {
			where += " AND position IN (SELECT position FROM events WHERE library_id = $1 LIMIT $2)"
		} else {
			where += " AND " + part.key + " IN (SELECT " + part.key + " FROM " + part.table + " WHERE " + part.where + " LIMIT $2)"
		}
		result, err := tx.Exec(`DELETE FROM `+part.table+` WHERE `+where, id, limit)
		if err != nil {
			return false, fmt.Errorf("delete %s of library: %w", part.table, err)
		}
		n, err := result.RowsAffected()
		if err != nil {
			return false, err
		}
		if limit -= int(n); limit <= 0 {
			return false, nil
		}
	}
	if _, err := tx.Exec(`DELETE FROM libraries WHERE id = $1`, id); err != nil {
		return false, fmt.Errorf("delete library: %w", err)
	}
	return true, nil
}

// MarkTrashEmptied marks what is in the trash of a library now for the purge. The
// mark is the newest time of trashing, since the clock may have been set back.
func (tx *Tx) MarkTrashEmptied(id banksia.LibraryID) error {
	_, err := tx.Exec(`UPDATE libraries SET trash_emptied_at = (SELECT MAX(trashed_at) FROM assets WHERE library_id = $1 AND trashed_at IS NOT NULL) WHERE id = $1`, id)
	if err != nil {
		return fmt.Errorf("mark trash emptied: %w", err)
	}
	return nil
}

// UnmarkTrash removes the mark of MarkTrashEmptied when nothing is left that it
// means, so that a clock that is set back does not put new trash under it.
func (tx *Tx) UnmarkTrash(id banksia.LibraryID) error {
	_, err := tx.Exec(`UPDATE libraries SET trash_emptied_at = NULL WHERE id = $1 AND trash_emptied_at IS NOT NULL
		AND NOT EXISTS (SELECT 1 FROM assets a WHERE a.library_id = $1 AND a.trashed_at <= libraries.trash_emptied_at)`, id)
	if err != nil {
		return fmt.Errorf("unmark trash: %w", err)
	}
	return nil
}

// ExpiredTrash finds up to a number of assets of a library that were trashed before
// a time (nil: none), or before its trash was emptied last; oldest first.
func (tx *Tx) ExpiredTrash(id banksia.LibraryID, before *time.Time, limit int) ([]banksia.AssetID, error) {
	var until *int64 // both bounds as one, so that the index of the trash answers
	if err := tx.QueryRow(`SELECT trash_emptied_at FROM libraries WHERE id = $1`, id).Scan(&until); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("expired trash: %w", err)
	}
	if before != nil {
		last := before.UnixMicro() - 1
		if until == nil || *until < last {
			until = &last
		}
	}
	if until == nil {
		return nil, nil
	}
	return idsFrom[banksia.AssetID](tx, `SELECT id FROM assets WHERE library_id = $1 AND trashed_at IS NOT NULL AND trashed_at <= $2 ORDER BY trashed_at, id LIMIT $3`, id, *until, limit)
}

// AllLibraries reads every library of every user.
func (s *Store) AllLibraries(ctx context.Context) (libraries []banksia.LibraryID, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		libraries, err = idsFrom[banksia.LibraryID](tx, `SELECT id FROM libraries ORDER BY id`)
		return err
	})
	return libraries, err
}

// integers runs a query of one column of numbers.
func (tx *Tx) integers(text string, args ...any) (all []int64, err error) {
	err = tx.each(text, args, func(rows *sql.Rows) error {
		var n int64
		err := rows.Scan(&n)
		all = append(all, n)
		return err
	})
	return all, err
}
