package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/banksia-photos/banksia"
)

// pendingEvent is an event of a transaction that has not committed yet.
type pendingEvent struct {
	library banksia.LibraryID
	event   banksia.EventType
	entity  driver.Valuer // an ID
	payload string        // JSON object; "": none
}

// emit records a change of an entity. Every method that changes a row which
// clients see calls it, so that no caller can forget. The events of a transaction
// are written in the order of these calls; one that says nothing new is dropped.
// payload is nil or marshals to a JSON object.
func (tx *Tx) emit(library banksia.LibraryID, event banksia.EventType, entity driver.Valuer, payload any) error {
	if !tx.owned {
		return fmt.Errorf("%s outside of a change of its owner", event)
	}
	e := pendingEvent{library: library, event: event, entity: entity}
	if payload != nil {
		text, err := json.Marshal(payload)
		if err != nil {
			return fmt.Errorf("payload of %s: %w", event, err)
		}
		e.payload = string(text)
	}
	if tx.emitted == nil {
		tx.emitted = map[pendingEvent]bool{}
	}
	if tx.emitted[e] {
		return nil
	}
	tx.emitted[e] = true
	tx.events = append(tx.events, e)
	return nil
}

// Payloads of events (behaviour 16.4).
type (
	albumAssetPayload struct {
		AlbumID banksia.AlbumID `json:"album_id"`
		AssetID banksia.AssetID `json:"asset_id"`
	}
	stackPayload struct {
		StackID *banksia.StackID `json:"stack_id"`
	}
	personPayload struct {
		PersonID *banksia.PersonID `json:"person_id"`
	}
	coverPayload struct {
		CoverAssetID *banksia.AssetID `json:"album_cover_asset_id"`
	}
)

// eventRows is how many events one statement writes.
const eventRows = 16

// flushEvents writes the events of the transaction, just before its commit. The
// row of event_logs stays locked until then, which makes the order of positions
// the order of commits, and keeps the time from falling (behaviour 16.6).
func (tx *Tx) flushEvents() error {
	var libraries []banksia.LibraryID
	byLibrary := map[banksia.LibraryID][]pendingEvent{}
	for _, e := range tx.events {
		if byLibrary[e.library] == nil {
			libraries = append(libraries, e.library)
		}
		byLibrary[e.library] = append(byLibrary[e.library], e)
	}
	for _, library := range libraries {
		events := byLibrary[library]
		var last, recorded int64
		err := tx.QueryRow(`INSERT INTO event_logs (library_id, last_position, last_recorded_at, compacted_position) VALUES ($1, $2, $3, 0)
			ON CONFLICT (library_id) DO UPDATE SET last_position = event_logs.last_position + excluded.last_position,
				last_recorded_at = CASE WHEN event_logs.last_recorded_at > excluded.last_recorded_at THEN event_logs.last_recorded_at ELSE excluded.last_recorded_at END
			RETURNING last_position, last_recorded_at`, library, len(events), tx.Now().UnixMicro()).Scan(&last, &recorded)
		if err != nil {
			return fmt.Errorf("number events: %w", tx.store.explain(err))
		}
		position := last - int64(len(events))
		for len(events) > 0 {
			n := 1 // many at once, or one by one: there should be few different statements
			if len(events) >= eventRows {
				n = eventRows
			}
			var q query
			values := ""
			for i, e := range events[:n] {
				if i > 0 {
					values += ", "
				}
				position++
				values += "(" + list(&q, []any{library, position, e.event.Entity(), e.event, e.entity, textOrNil(e.payload), recorded}) + ")"
			}
			if _, err := tx.Exec(`INSERT INTO events (library_id, position, entity_type, event_type, entity_id, payload, recorded_at) VALUES `+values, q.args...); err != nil {
				return fmt.Errorf("write events: %w", err)
			}
			events = events[n:]
		}
	}
	return nil
}

// emitAsset records that an asset changed in a way that its albums, people and
// stack show as well: their counts, dates and covers follow from it.
func (tx *Tx) emitAsset(library banksia.LibraryID, id banksia.AssetID) error {
	if err := tx.emit(library, banksia.AssetUpdated, id, nil); err != nil {
		return err
	}
	return tx.emitSets(library, id)
}

// emitSets records that the albums, people and stack of an asset changed.
func (tx *Tx) emitSets(library banksia.LibraryID, id banksia.AssetID) error {
	albums, err := idsFrom[banksia.AlbumID](tx, `SELECT album_id FROM album_assets WHERE asset_id = $1`, id)
	for _, album := range albums {
		if err == nil {
			err = tx.emitAlbum(library, album)
		}
	}
	if err != nil {
		return fmt.Errorf("albums of asset %s: %w", id, err)
	}
	people, err := idsFrom[banksia.PersonID](tx, `SELECT person_id FROM asset_people WHERE asset_id = $1`, id)
	for _, person := range people {
		if err == nil {
			err = tx.emit(library, banksia.PersonUpdated, person, nil)
		}
	}
	if err != nil {
		return fmt.Errorf("people of asset %s: %w", id, err)
	}
	stacks, err := idsFrom[banksia.StackID](tx, `SELECT stack_id FROM assets WHERE id = $1 AND stack_id IS NOT NULL`, id)
	for _, stack := range stacks {
		if err == nil {
			err = tx.emit(library, banksia.StackUpdated, stack, nil)
		}
	}
	if err != nil {
		return fmt.Errorf("stack of asset %s: %w", id, err)
	}
	return nil
}

// emitPurge records everything that goes when an asset is purged, before its rows
// are deleted (behaviour 8.9). Its sets come last: they change, or lose their cover.
func (tx *Tx) emitPurge(library banksia.LibraryID, id banksia.AssetID) error {
	err := tx.each(`SELECT id, album_id FROM album_assets WHERE asset_id = $1 ORDER BY id`, []any{id}, func(rows *sql.Rows) error {
		var link banksia.AlbumAssetID
		payload := albumAssetPayload{AssetID: id}
		if err := rows.Scan(&link, &payload.AlbumID); err != nil {
			return err
		}
		return tx.emit(library, banksia.AlbumAssetRemoved, link, payload)
	})
	if err != nil {
		return fmt.Errorf("albums of asset %s: %w", id, err)
	}
	faces, err := idsFrom[banksia.FaceID](tx, `SELECT id FROM faces WHERE asset_id = $1 ORDER BY id`, id)
	for _, face := range faces {
		if err == nil {
			err = tx.emit(library, banksia.FaceDeleted, face, nil)
		}
	}
	if err != nil {
		return fmt.Errorf("faces of asset %s: %w", id, err)
	}
	if err := tx.emit(library, banksia.AssetDeleted, id, nil); err != nil {
		return err
	}
	return tx.emitSets(library, id)
}

// emitAlbum records that an album changed, with the cover that its creator chose.
func (tx *Tx) emitAlbum(library banksia.LibraryID, album banksia.AlbumID) error {
	var cover sql.Null[banksia.AssetID]
	if err := tx.QueryRow(`SELECT album_cover_asset_id FROM albums WHERE id = $1`, album).Scan(&cover); err != nil {
		return fmt.Errorf("cover of album %s: %w", album, err)
	}
	return tx.emit(library, banksia.AlbumUpdated, album, coverPayload{pointer(cover)})
}

// pointer is nil for NULL.
func pointer[T any](value sql.Null[T]) *T {
	if !value.Valid {
		return nil
	}
	return &value.V
}

// idsFrom runs a query of one column of IDs.
func idsFrom[T ~[16]byte](tx *Tx, text string, args ...any) (ids []T, err error) {
	err = tx.each(text, args, func(rows *sql.Rows) error {
		var raw []byte
		if err := rows.Scan(&raw); err != nil {
			return err
		}
		if len(raw) != 16 {
			return fmt.Errorf("a stored ID has 16 bytes, not %d", len(raw))
		}
		ids = append(ids, T(raw))
		return nil
	})
	return ids, err
}

// EventFilter says which events of a library a list holds.
type EventFilter struct {
	LibraryID   banksia.LibraryID
	EntityTypes []banksia.EntityType // empty: all
	// After is the position of the last event seen, exclusive; 0 begins at the
	// first. It stays valid when compaction removes the event itself.
	After int64
	// From is an inclusive and Before an exclusive bound of the time of record.
	From, Before *time.Time
	Limit        int
}

// ListEvents reads one page of a library's events in the order of their commits
// and tells whether more follow. A position beyond the last event, or of one that was
// lost when a backup was put back, is a validation error: such a cursor is of another
// library, or of what is no more, and would silently miss what happens next.
func (s *Store) ListEvents(ctx context.Context, scope banksia.Scope, f EventFilter) (events []banksia.Event, more bool, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		if visible, err := tx.sees(scope, f.LibraryID); err != nil || !visible {
			return err
		}
		events, err = tx.listEvents(f)
		if err != nil {
			return fmt.Errorf("list events: %w", err)
		}
		if more = len(events) > f.Limit; more {
			events = events[:f.Limit]
		}
		return nil
	})
	return events, more, err
}

// listEvents reads one event more than the limit.
func (tx *Tx) listEvents(f EventFilter) ([]banksia.Event, error) {
	last, lost, err := tx.lastEvent(f.LibraryID, f.After)
	if err != nil {
		return nil, err
	}
	if f.After > last {
		return nil, banksia.Invalid("query", "after_cursor", "no such position in the events of this library")
	}
	if lost {
		return nil, banksia.Invalid("query", "after_cursor", "a backup was put back that does not have this event; read the library anew")
	}
	after, until := f.After, int64(math.MaxInt64)
	if f.From != nil {
		from, err := tx.eventsSince(f.LibraryID, *f.From, last)
		if err != nil {
			return nil, err
		}
		after = max(after, from-1)
	}
	if f.Before != nil {
		if until, err = tx.eventsSince(f.LibraryID, *f.Before, last); err != nil {
			return nil, err
		}
	}
	var q query
	const columns = `position, event_type, entity_id, payload, recorded_at`
	types := f.EntityTypes
	if len(types) == 0 {
		types = []banksia.EntityType{""}
	}
	// One stream for each type, so that a rare one needs no walk through the others.
	text := ""
	for i, entity := range types {
		if i > 0 {
			text += " UNION ALL "
		}
		library := q.arg(f.LibraryID)
		where := "library_id = " + library + " AND position > " + q.arg(after) + " AND position < " + q.arg(until)
		page := " ORDER BY position LIMIT " + q.arg(f.Limit+1)
		if entity == "" {
			text += "SELECT * FROM (SELECT " + columns + " FROM events WHERE " + where + page + ") AS stream"
			continue
		}
		// The positions alone come from the index of the type; with all columns
		// SQLite would rather walk the events of every type.
		positions := "SELECT position AS at FROM events WHERE entity_type = " + q.arg(entity) + " AND " + where + page
		text += "SELECT " + columns + " FROM (" + positions + ") AS stream CROSS JOIN events WHERE library_id = " + library + " AND position = at"
	}
	var events []banksia.Event
	err = tx.each("SELECT "+columns+" FROM ("+text+") AS streams ORDER BY position LIMIT "+q.arg(f.Limit+1), q.args, func(rows *sql.Rows) error {
		e, err := scanEvent(rows)
		events = append(events, e)
		return err
	})
	return events, err
}

func scanEvent(rows *sql.Rows) (e banksia.Event, err error) {
	var entity []byte
	var payload *string
	var recorded int64
	if err := rows.Scan(&e.Position, &e.Type, &entity, &payload, &recorded); err != nil {
		return e, err
	}
	if e.EntityID, err = entityText(e.Type.Entity(), entity); err != nil {
		return e, err
	}
	if payload != nil {
		e.Payload = []byte(*payload)
	}
	e.RecordedAt = timeOf(recorded)
	return e, nil
}

// entityText writes the ID of an entity of a type.
func entityText(entity banksia.EntityType, raw []byte) (string, error) {
	if len(raw) != 16 {
		return "", fmt.Errorf("a stored ID has 16 bytes, not %d", len(raw))
	}
	switch entity {
	case banksia.EntityAsset, banksia.EntityMetadata:
		return banksia.AssetID(raw).String(), nil
	case banksia.EntityAlbum:
		return banksia.AlbumID(raw).String(), nil
	case banksia.EntityPerson:
		return banksia.PersonID(raw).String(), nil
	case banksia.EntityFace:
		return banksia.FaceID(raw).String(), nil
	case banksia.EntityAlbumAsset:
		return banksia.AlbumAssetID(raw).String(), nil
	case banksia.EntityStack:
		return banksia.StackID(raw).String(), nil
	}
	return "", fmt.Errorf("events of the unknown entity type %q", entity)
}

// lastEvent is the position of the last event of a library, 0 when it has none, and
// whether a position is of one that was lost.
func (tx *Tx) lastEvent(library banksia.LibraryID, position int64) (last int64, lost bool, err error) {
	err = tx.QueryRow(`SELECT COALESCE(MAX(last_position), 0), EXISTS (SELECT 1 FROM event_gaps WHERE library_id = $1 AND after_position < $2 AND until_position >= $2)
		FROM event_logs WHERE library_id = $1`, library, position).Scan(&last, &lost)
	return last, lost, err
}

// eventGap is how many positions are left out after a backup was put back: more than
// changes can have been made since it.
const eventGap = 1 << 30

// ResumeEvents is for a database that was put back to what it was at an earlier
// moment: events from now on get positions that none of those had which are lost.
func (s *Store) ResumeEvents(ctx context.Context) error {
	return s.ChangeAll(ctx, nil, func(tx *Tx) error {
		_, err := tx.Exec(`INSERT INTO event_gaps (library_id, after_position, until_position) SELECT library_id, last_position, last_position + $1 FROM event_logs`, eventGap)
		if err == nil {
			_, err = tx.Exec(`UPDATE event_logs SET last_position = last_position + $1`, eventGap)
		}
		if err != nil {
			return fmt.Errorf("resume the events: %w", err)
		}
		return nil
	})
}

// eventsSince is the position of the first event recorded at a time or later; one
// beyond the last when there is none. The time never falls as the position rises,
// so halving finds it without an index on the time.
func (tx *Tx) eventsSince(library banksia.LibraryID, since time.Time, last int64) (int64, error) {
	low, high := int64(1), last+1 // the answer is in [low, high]
	for low < high {
		middle := low + (high-low)/2
		// Compaction leaves gaps: the next event speaks for the gap before it.
		position, recorded := high, int64(math.MaxInt64)
		err := tx.each(`SELECT position, recorded_at FROM events WHERE library_id = $1 AND position >= $2 ORDER BY position LIMIT 1`, []any{library, middle}, func(rows *sql.Rows) error {
			return rows.Scan(&position, &recorded)
		})
		if err != nil {
			return 0, err
		}
		if recorded >= since.UnixMicro() {
			high = middle
		} else {
			low = position + 1
		}
	}
	return low, nil
}
