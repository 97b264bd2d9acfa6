package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/banksia-photos/banksia"
)

// stream is one index that holds assets of a set in the order of the list:
// (set, live, local_datetime, id). A page is the merge of the streams of a
// filter, so its cost does not depend on how many rows there are.
type stream struct {
	table string // aliased s
	id    string // the column of the asset's ID
	where string // selects the set
}

// selection is a filter turned into SQL: the streams that hold its candidates,
// and the conditions that candidates must meet.
type selection struct {
	q       query
	streams []stream
	cells   bool     // the streams are map cells, which carry the coordinates
	rest    []string // conditions on candidates k
	assets  []string // conditions on assets a, joined to k
}

// newSelection picks the narrowest index for the filter. Every other part of the
// filter becomes a condition.
func newSelection(tx *Tx, f AssetFilter) (*selection, error) {
	s := &selection{}
	q := &s.q
	// An argument that the text does not use is an error on PostgreSQL.
	library := sync.OnceValue(func() string { return q.arg(f.LibraryID) })
	own := func(where string) stream { return stream{"assets", "id", where} }
	ofLibrary := func(where string) stream {
		if s.streams != nil {
			return stream{} // not needed
		}
		return own("s.library_id = " + library() + where)
	}
	// use takes the streams of the first part of the filter, and the conditions
	// of the others.
	use := func(condition string, streams ...stream) {
		if s.streams == nil {
			s.streams = streams
		} else {
			s.assets = append(s.assets, condition)
		}
	}
	// Sets that are named by an ID may be of another library.
	ofTheLibrary := func(table string, id any) error {
		ok, err := tx.inLibrary(table, id, f.LibraryID)
		if err == nil && !ok {
			s.rest = append(s.rest, "FALSE")
		}
		return err
	}
	if f.IDs != nil {
		if len(f.IDs) == 0 {
			s.rest = append(s.rest, "FALSE")
		}
		for chunk := range chunks(f.IDs) { // one run: the contract caps them at 200
			// The limit keeps SQLite from moving conditions inside, after which
			// it would walk the time index.
			table := "(SELECT id, live, local_datetime, library_id FROM assets WHERE id IN (" + list(q, chunk) + ") LIMIT " + q.arg(len(chunk)) + ")"
			use("", stream{table, "id", "s.library_id = " + library()})
		}
	}
	if f.StackID != nil {
		if err := ofTheLibrary("stacks", *f.StackID); err != nil {
			return nil, err
		}
		id := q.arg(*f.StackID)
		use("a.stack_id = "+id, own("s.stack_id = "+id))
	}
	people, known, err := tx.rarestFirst(f.LibraryID, f.PersonIDs)
	if err != nil {
		return nil, err
	}
	if !known {
		s.rest = append(s.rest, "FALSE")
	}
	for _, person := range people {
		id := q.arg(person)
		use("EXISTS (SELECT 1 FROM asset_people x WHERE x.asset_id = a.id AND x.person_id = "+id+")", stream{"asset_people", "asset_id", "s.person_id = " + id})
	}
	if f.AlbumID != nil {
		if err := ofTheLibrary("albums", *f.AlbumID); err != nil {
			return nil, err
		}
		id := q.arg(*f.AlbumID)
		use("EXISTS (SELECT 1 FROM album_assets x WHERE x.asset_id = a.id AND x.album_id = "+id+")", stream{"album_assets", "asset_id", "s.album_id = " + id})
	}
	for _, album := range f.AlsoInAlbums {
		if err := ofTheLibrary("albums", album); err != nil {
			return nil, err
		}
		s.assets = append(s.assets, "EXISTS (SELECT 1 FROM album_assets x WHERE x.asset_id = a.id AND x.album_id = "+q.arg(album)+")")
	}
	if f.Area != nil {
		if s.streams == nil {
			// The exact condition comes after the merge: within one stream it
			// would read a whole cell of which only an empty corner lies in the area.
			s.cells = true
			s.rest = append(s.rest, f.Area.condition(q, "k"))
			for _, cell := range cover(f.Area) {
				s.streams = append(s.streams, stream{"asset_cells", "asset_id", "s.library_id = " + library() + " AND s.cell = " + q.arg(cell)})
			}
		} else {
			use("a.latitude IS NOT NULL AND " + f.Area.condition(q, "a"))
		}
	}
	if f.MediaType != "" {
		media := q.arg(string(f.MediaType))
		use("a.media_type = "+media, ofLibrary(" AND s.media_type = "+media))
	}
	if f.AlbumFilter != AnyAlbum {
		in := q.arg(f.AlbumFilter == InAlbum)
		use("a.in_album = "+in, ofLibrary(" AND s.in_album = "+in))
	}
	if s.streams == nil {
		s.streams = []stream{ofLibrary("")}
	}
	s.captured(f)
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

// rarestFirst orders people of a library by how many assets show them, so that the
// fewest drive the list. known is false, and the order any, when some of them are
// not of the library.
func (tx *Tx) rarestFirst(library banksia.LibraryID, people []banksia.PersonID) (ordered []banksia.PersonID, known bool, err error) {
	wanted := map[banksia.PersonID]bool{}
	for _, id := range people {
		wanted[id] = true
	}
	for chunk := range chunks(people) {
		var q query
		text := `SELECT id FROM people WHERE library_id = ` + q.arg(library) + ` AND id IN (` + list(&q, chunk) + `) ORDER BY asset_count`
		err := tx.each(text, q.args, func(rows *sql.Rows) error {
			var id banksia.PersonID
			err := rows.Scan(&id)
			ordered = append(ordered, id)
			return err
		})
		if err != nil {
			return nil, false, fmt.Errorf("order people: %w", err)
		}
	}
	if len(ordered) < len(wanted) {
		return people, false, nil
	}
	return ordered, true, nil
}

// maxOffset is the widest difference between a wall clock and UTC.
const maxOffset = banksia.MaxOffsetMinutes * int64(time.Minute/time.Microsecond)

// walls are the bounds as they limit the wall clock of a stream.
func (s *selection) walls(f AssetFilter) (conditions string) {
	add := func(bound *banksia.LocalTime, operator string, slack int64) {
		switch {
		case bound == nil:
		case bound.Offset == nil:
			conditions += " AND s.local_datetime" + operator + s.q.arg(bound.Wall)
		default:
			conditions += " AND s.local_datetime" + operator + s.q.arg(bound.Instant()+slack)
		}
	}
	add(f.After, " > ", -maxOffset)
	add(f.Before, " < ", maxOffset)
	return conditions
}

// captured adds the exact conditions of bounds that carry an offset.
func (s *selection) captured(f AssetFilter) {
	if f.After != nil && f.After.Offset != nil {
		s.assets = append(s.assets, "a.captured_at > "+s.q.arg(f.After.Instant()))
	}
	if f.Before != nil && f.Before.Offset != nil {
		s.assets = append(s.assets, "a.captured_at < "+s.q.arg(f.Before.Instant()))
	}
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

// candidates merges the streams: one SELECT for each and each value of live, of
// the columns time, id and, from map cells, latitude and longitude. more limits
// the streams further, given the column of the ID. order is that of columns time and
// id; "" for any.
func (s *selection) candidates(d *dialect, f AssetFilter, order string, more func(id string) string) string {
	var texts []string
	for _, st := range s.streams {
		columns := "s.local_datetime AS time, s." + st.id + " AS id"
		if s.cells {
			columns += ", s.latitude AS latitude, s.longitude AS longitude"
		}
		for _, live := range lives(f.State) {
			text := "SELECT " + columns + " FROM " + st.table + " s WHERE " + st.where + " AND s.live = " + s.q.arg(live) + s.walls(f)
			if more != nil {
				text += more("s." + st.id)
			}
			texts = append(texts, text)
		}
	}
	if len(texts) > 1 && order != "" {
		for i := range texts {
			texts[i] = d.stream(texts[i], order)
		}
	}
	return strings.Join(texts, " UNION ALL ")
}

// reach says how far candidates are joined: not at all, to assets a, or also to
// their current versions v.
type reach int

const (
	candidatesOnly reach = iota
	withAssets
	withVersions
)

// from is the candidates k that meet all conditions, joined as far as asked for
// or as the conditions need. CROSS JOIN keeps SQLite from reading assets first.
func (s *selection) from(candidates string, to reach) string {
	text, conditions := "("+candidates+") k", append([]string{"TRUE"}, s.rest...)
	if to >= withAssets || len(s.assets) > 0 {
		text += " CROSS JOIN assets a"
		conditions = append(append(conditions, "a.id = k.id"), s.assets...)
	}
	if to == withVersions {
		text += " CROSS JOIN asset_versions v"
		conditions = append(conditions, "v.id = a.current_version_id")
	}
	return text + " WHERE " + strings.Join(conditions, " AND ")
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
	if f.State == Trashed {
		text = selection.trashed(f, after, beyond)
	} else {
		candidates := selection.candidates(&tx.store.dialect, f, order, func(id string) string {
			if f.StartingAfter == nil {
				return ""
			}
			return " AND (s.local_datetime, " + id + ")" + beyond + "(" + q.arg(after.local) + ", " + q.arg(*f.StartingAfter) + ")"
		})
		text = selection.from(candidates+tx.store.dialect.merged(order), withVersions)
	}
	text = `SELECT ` + assetColumns + ` FROM ` + text + ` ORDER BY k.time` + direction + `, k.id` + direction + ` LIMIT ` + q.arg(f.Limit+1)
	if f.Offset > 0 {
		text += ` OFFSET ` + q.arg(f.Offset)
	}
	return text, q.args, nil
}

// trashed selects by the time of trashing. The trash is small beside a library,
// so its own index drives, and each row looks itself up in the streams.
func (s *selection) trashed(f AssetFilter, after position, beyond string) string {
	q := &s.q
	coordinates := ""
	if s.cells {
		coordinates = ", t.latitude AS latitude, t.longitude AS longitude"
	}
	text := "SELECT t.trashed_at AS time, t.id AS id" + coordinates + " FROM assets t WHERE t.library_id = " + q.arg(f.LibraryID) + " AND t.trashed_at IS NOT NULL"
	if f.StartingAfter != nil {
		text += " AND (t.trashed_at, t.id)" + beyond + "(" + q.arg(*after.trashed) + ", " + q.arg(*f.StartingAfter) + ")"
	}
	var within []string
	for _, st := range s.streams {
		within = append(within, "EXISTS (SELECT 1 FROM "+st.table+" s WHERE "+st.where+" AND s.live = FALSE AND s.local_datetime = t.local_datetime AND s."+st.id+" = t.id"+s.walls(f)+")")
	}
	return s.from(text+" AND ("+strings.Join(within, " OR ")+")", withVersions)
}
