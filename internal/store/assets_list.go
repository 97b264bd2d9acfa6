package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/banksia-photos/banksia"
)

// stream is one index that holds assets of a set in the order of the list:
// (set, live, local_datetime, id). A page is the merge of the streams of a
// filter, so its cost does not depend on how many rows there are.
type stream struct {
	from  string // ends with assets a, which is where conditions look
	key   string // the alias of the columns live and local_datetime
	id    string // the column of the asset's ID, with its alias
	where string // selects the set and joins a to it
}

// own is a stream over an index of assets itself.
func own(where string) stream {
	return stream{from: "assets a", key: "a", id: "a.id", where: where}
}

// joined is a stream over a membership table s. CROSS JOIN keeps SQLite from
// reading assets first; where is about s.
func joined(table, library, where string) stream {
	return stream{from: table + " s CROSS JOIN assets a", key: "s", id: "s.asset_id", where: where + " AND a.id = s.asset_id AND a.library_id = " + library}
}

// selection is a filter turned into SQL: the streams that hold its candidates
// and the conditions that remain.
type selection struct {
	q       query
	streams []stream
	rest    []string // conditions on assets a
}

// newSelection picks the narrowest index for the filter. Every other part of the
// filter becomes a condition.
func newSelection(tx *Tx, f AssetFilter) (*selection, error) {
	s := &selection{}
	q := &s.q
	library := q.arg(f.LibraryID)
	// use takes the streams of the first part of the filter, and the conditions
	// of the others.
	use := func(condition string, streams ...stream) {
		if s.streams == nil {
			s.streams = streams
		} else {
			s.rest = append(s.rest, condition)
		}
	}
	if f.IDs != nil && len(f.IDs) == 0 {
		s.rest = append(s.rest, "FALSE")
	}
	for chunk := range chunks(f.IDs) { // one run: the contract caps them at 200
		// DISTINCT keeps SQLite from merging this with assets a, whose time
		// index it would then walk.
		from := "(SELECT DISTINCT id AS asset_id FROM assets WHERE id IN (" + list(q, chunk) + ")) s CROSS JOIN assets a"
		use("", stream{from: from, key: "a", id: "a.id", where: "a.id = s.asset_id AND a.library_id = " + library})
	}
	if f.StackID != nil {
		known, err := tx.inLibrary("stacks", *f.StackID, f.LibraryID)
		if err != nil {
			return nil, err
		}
		if !known {
			s.rest = append(s.rest, "FALSE")
		}
		condition := "a.stack_id = " + q.arg(*f.StackID)
		use(condition, own(condition))
	}
	people, err := tx.rarestFirst(f.PersonIDs)
	if err != nil {
		return nil, err
	}
	for _, person := range people {
		id := q.arg(person)
		use("EXISTS (SELECT 1 FROM asset_people x WHERE x.asset_id = a.id AND x.person_id = "+id+")", joined("asset_people", library, "s.person_id = "+id))
	}
	if f.AlbumID != nil {
		id := q.arg(*f.AlbumID)
		use("EXISTS (SELECT 1 FROM album_assets x WHERE x.asset_id = a.id AND x.album_id = "+id+")", joined("album_assets", library, "s.album_id = "+id))
	}
	if f.Area != nil {
		var cells []stream
		if s.streams == nil {
			inside := f.Area.condition(q, "s")
			for _, cell := range cover(f.Area) {
				cells = append(cells, joined("asset_cells", library, "s.library_id = "+library+" AND s.cell = "+q.arg(cell)+" AND "+inside))
			}
		}
		use("a.latitude IS NOT NULL AND "+f.Area.condition(q, "a"), cells...)
	}
	if f.MediaType != "" {
		condition := "a.media_type = " + q.arg(string(f.MediaType))
		use(condition, own("a.library_id = "+library+" AND "+condition))
	}
	if f.AlbumFilter != AnyAlbum {
		condition := "a.in_album = " + q.arg(f.AlbumFilter == InAlbum)
		use(condition, own("a.library_id = "+library+" AND "+condition))
	}
	if s.streams == nil {
		s.streams = []stream{own("a.library_id = " + library)}
	}
	return s, nil
}

// inLibrary tells whether a row of the table belongs to the library.
func (tx *Tx) inLibrary(table string, id any, library banksia.LibraryID) (bool, error) {
	var one int
	err := tx.QueryRow(`SELECT 1 FROM `+table+` WHERE id = $1 AND library_id = $2`, id, library).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// rarestFirst orders people by how many assets show them, so that the fewest
// drive the list.
func (tx *Tx) rarestFirst(people []banksia.PersonID) ([]banksia.PersonID, error) {
	if len(people) < 2 {
		return people, nil
	}
	ordered := make([]banksia.PersonID, 0, len(people))
	for chunk := range chunks(people) {
		var q query
		err := tx.each(`SELECT id FROM people WHERE id IN (`+list(&q, chunk)+`) ORDER BY asset_count`, q.args, func(rows *sql.Rows) error {
			var id banksia.PersonID
			err := rows.Scan(&id)
			ordered = append(ordered, id)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("order people: %w", err)
		}
	}
	for _, id := range people { // somebody unknown empties the list
		if !slices.Contains(ordered, id) {
			return []banksia.PersonID{id}, nil
		}
	}
	return ordered, nil
}

// maxOffset is the widest difference between a wall clock and UTC.
const maxOffset = banksia.MaxOffsetMinutes * int64(time.Minute/time.Microsecond)

// bounds are the conditions of After and Before: on the wall clock of the stream
// where they limit what is read, and on captured_at where they carry an offset.
func (s *selection) bounds(f AssetFilter, local, captured string) (conditions []string) {
	add := func(bound *banksia.LocalTime, operator string, slack int64) {
		if bound == nil {
			return
		}
		if bound.Offset == nil {
			conditions = append(conditions, local+operator+s.q.arg(bound.Wall))
			return
		}
		conditions = append(conditions, local+operator+s.q.arg(bound.Instant()+slack), captured+operator+s.q.arg(bound.Instant()))
	}
	add(f.After, " > ", -maxOffset)
	add(f.Before, " < ", maxOffset)
	return conditions
}

// lives are the values of live that a state wants.
func lives(state State) []bool {
	switch state {
	case All:
		return []bool{true, false}
	case Trashed:
		return []bool{false}
	}
	return []bool{true}
}

// selects returns one SELECT for each stream and each value of live. columns and
// more are given the names of the columns that hold the wall clock and the ID.
func (s *selection) selects(f AssetFilter, columns, more func(time, id string) string) string {
	var texts []string
	for _, st := range s.streams {
		for _, live := range lives(f.State) {
			time := st.key + ".local_datetime"
			conditions := append([]string{st.where, st.key + ".live = " + s.q.arg(live)}, s.bounds(f, time, "a.captured_at")...)
			conditions = append(conditions, s.rest...)
			text := "SELECT " + columns(time, st.id) + " FROM " + st.from + " WHERE " + strings.Join(conditions, " AND ")
			if more != nil {
				text += more(time, st.id)
			}
			texts = append(texts, text)
		}
	}
	return strings.Join(texts, " UNION ALL ")
}

// ListAssets reads one page of a library, newest first unless the filter says
// otherwise, and tells whether more follows. An unknown cursor is a validation
// error; a library outside the scope is empty.
func (s *Store) ListAssets(ctx context.Context, scope banksia.Scope, f AssetFilter) (assets []banksia.Asset, more bool, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		if visible, err := tx.sees(scope, f.LibraryID); err != nil || !visible {
			return err
		}
		assets, err = tx.listAssets(f)
		if err != nil {
			return fmt.Errorf("list assets: %w", err)
		}
		if more = len(assets) > f.Limit; more {
			assets = assets[:f.Limit]
		}
		return nil
	})
	return assets, more, err
}

// sees tells whether a library is live and within the scope.
func (tx *Tx) sees(scope banksia.Scope, library banksia.LibraryID) (bool, error) {
	if !scope.Sees(library) {
		return false, nil
	}
	var one int
	err := tx.QueryRow(`SELECT 1 FROM libraries WHERE id = $1 AND user_id = $2 AND trashed_at IS NULL`, library, scope.UserID).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// listAssets reads one asset more than the limit.
func (tx *Tx) listAssets(f AssetFilter) ([]banksia.Asset, error) {
	text, args, err := tx.listQuery(f)
	if err != nil {
		return nil, err
	}
	return tx.assetsFrom(text, args...)
}

func (tx *Tx) listQuery(f AssetFilter) (text string, args []any, err error) {
	var after position
	if f.StartingAfter != nil {
		if after, err = tx.positionOf(f); err != nil {
			return "", nil, err
		}
	}
	direction, beyond := " DESC", " < "
	if f.Ascending {
		direction, beyond = " ASC", " > "
	}
	selection, err := newSelection(tx, f)
	if err != nil {
		return "", nil, err
	}
	q := &selection.q
	order := " ORDER BY time" + direction + ", id" + direction
	var keys string
	if f.State == Trashed {
		keys = selection.trashed(f, after, beyond)
	} else {
		columns := func(time, id string) string { return time + " AS time, " + id + " AS id" }
		keys = selection.selects(f, columns, func(time, id string) string {
			if f.StartingAfter == nil {
				return ""
			}
			return " AND (" + time + ", " + id + ")" + beyond + "(" + q.arg(after.local) + ", " + q.arg(*f.StartingAfter) + ")"
		})
	}
	text = `SELECT ` + assetColumns + ` FROM (` + keys + order + ` LIMIT ` + q.arg(f.Limit+1) + `) k CROSS JOIN assets a CROSS JOIN asset_versions v
		WHERE a.id = k.id AND v.id = a.current_version_id ORDER BY k.time` + direction + `, k.id` + direction
	return text, q.args, nil
}

// trashed selects by the time of trashing. The trash is small beside a library,
// so its own index drives, and the filter's streams become conditions.
func (s *selection) trashed(f AssetFilter, after position, beyond string) string {
	q := &s.q
	conditions := append([]string{"t.library_id = " + q.arg(f.LibraryID), "t.trashed_at IS NOT NULL"}, s.bounds(f, "t.local_datetime", "t.captured_at")...)
	var within []string
	for _, st := range s.streams {
		where := strings.Join(append([]string{st.where, "a.id = t.id", st.key + ".live = FALSE", st.key + ".local_datetime = t.local_datetime"}, s.rest...), " AND ")
		within = append(within, "EXISTS (SELECT 1 FROM "+st.from+" WHERE "+where+")")
	}
	conditions = append(conditions, "("+strings.Join(within, " OR ")+")")
	if f.StartingAfter != nil {
		conditions = append(conditions, "(t.trashed_at, t.id)"+beyond+"("+q.arg(*after.trashed)+", "+q.arg(*f.StartingAfter)+")")
	}
	return "SELECT t.trashed_at AS time, t.id AS id FROM assets t WHERE " + strings.Join(conditions, " AND ")
}
