package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/banksia-photos/banksia"
)

// compactionBatch is how many events one transaction of a compaction looks at, so
// that it holds up other writers for milliseconds.
const compactionBatch = 500

// CompactEvents removes the events that a later one makes needless, and returns
// how many. What is left brings a client from any earlier cursor to the same
// state: for a live entity its created event, its last change, and its last change
// with a payload; for a deleted one its deletion (behaviour 16.8). Positions never
// move, so cursors stay valid. It works in short transactions and goes on where
// the last call, or one that was cut off, ended.
func (s *Store) CompactEvents(ctx context.Context) (removed int64, err error) {
	var libraries []banksia.LibraryID
	err = s.Read(ctx, func(tx *Tx) error {
		libraries, err = idsFrom[banksia.LibraryID](tx, `SELECT library_id FROM event_logs WHERE compacted_position < last_position`)
		return err
	})
	for _, library := range libraries {
		for more := true; more && err == nil; {
			err = s.Write(ctx, func(tx *Tx) error {
				n, again, err := tx.compactEvents(library)
				removed, more = removed+n, again
				return err
			})
		}
	}
	if err != nil {
		return removed, fmt.Errorf("compact events: %w", err)
	}
	return removed, nil
}

// compactEvents does one batch; more is true when events are left to look at.
func (tx *Tx) compactEvents(library banksia.LibraryID) (removed int64, more bool, err error) {
	var done int64
	if err := tx.QueryRow(`SELECT COALESCE(MAX(compacted_position), 0) FROM event_logs WHERE library_id = $1`, library).Scan(&done); err != nil {
		return 0, false, err
	}
	type row struct {
		position   int64
		event      banksia.EventType
		entity     []byte
		hasPayload bool
	}
	var rows []row
	err = tx.each(`SELECT position, event_type, entity_id, payload IS NOT NULL FROM events WHERE library_id = $1 AND position > $2 ORDER BY position LIMIT $3`,
		[]any{library, done, compactionBatch}, func(r *sql.Rows) error {
			var e row
			err := r.Scan(&e.position, &e.event, &e.entity, &e.hasPayload)
			rows = append(rows, e)
			return err
		})
	if err != nil || len(rows) == 0 {
		return 0, false, err
	}
	for _, e := range rows {
		text, args := "", []any{e.entity, library, e.position}
		switch kind := string(e.event); {
		case strings.HasSuffix(kind, "_deleted"), strings.HasSuffix(kind, "_removed"):
			// The metadata of an asset has its ID, and goes with it.
			text = `DELETE FROM events WHERE entity_id = $1 AND library_id = $2 AND position < $3`
		case strings.HasSuffix(kind, "_updated") && e.hasPayload:
			text, args = `DELETE FROM events WHERE entity_id = $1 AND library_id = $2 AND position < $3 AND event_type = $4`, append(args, e.event)
		case strings.HasSuffix(kind, "_updated"):
			text, args = `DELETE FROM events WHERE entity_id = $1 AND library_id = $2 AND position < $3 AND event_type = $4 AND payload IS NULL`, append(args, e.event)
		default:
			continue
		}
		result, err := tx.Exec(text, args...)
		if err != nil {
			return 0, false, err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return 0, false, err
		}
		removed += n
	}
	last := rows[len(rows)-1].position
	_, err = tx.Exec(`UPDATE event_logs SET compacted_position = $1 WHERE library_id = $2`, last, library)
	return removed, len(rows) == compactionBatch, err
}
