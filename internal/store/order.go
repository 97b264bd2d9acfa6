package store

import (
	"fmt"

	"github.com/banksia-photos/banksia"
)

// placeAsset writes where an asset stands: its order (live, local_datetime) in
// the membership tables, its map cells, and its share of the running totals. It
// is the only writer of those; call it after the asset row or its metadata
// changed.
func (tx *Tx) placeAsset(id banksia.AssetID) error {
	fail := func(err error) error { return fmt.Errorf("place asset %s: %w", id, err) }
	s, err := tx.standing(id)
	if err != nil {
		return fail(err)
	}
	for _, table := range []string{"album_assets", "asset_people"} {
		if _, err := tx.Exec(`UPDATE `+table+` SET live = $1, local_datetime = $2 WHERE asset_id = $3`, s.live, s.local, id); err != nil {
			return fail(err)
		}
	}
	if err := tx.addTotals(id, &s, 1); err != nil {
		return fail(err)
	}
	if !s.onMap() {
		return nil
	}
	var q query
	library := q.arg(s.library)
	rest := q.arg(s.live) + ", " + q.arg(s.local) + ", " + q.arg(id) + ", " + q.arg(*s.latitude) + ", " + q.arg(*s.longitude)
	values := ""
	for i, cell := range cellsOf(*s.latitude, *s.longitude) {
		if i > 0 {
			values += ", "
		}
		values += "(" + library + ", " + q.arg(cell) + ", " + rest + ")"
	}
	if _, err := tx.Exec(`INSERT INTO asset_cells (library_id, cell, live, local_datetime, asset_id, latitude, longitude) VALUES `+values, q.args...); err != nil {
		return fail(err)
	}
	return nil
}

// unplaceAsset removes an asset from the map cells and the running totals; call
// it before its library, live, local_datetime or coordinates change or its row is
// deleted, since those say where it is counted.
func (tx *Tx) unplaceAsset(id banksia.AssetID) error {
	fail := func(err error) error { return fmt.Errorf("unplace asset %s: %w", id, err) }
	s, err := tx.standing(id)
	if err != nil {
		return fail(err)
	}
	if !s.onMap() {
		if err := tx.addTotals(id, &s, -1); err != nil {
			return fail(err)
		}
		return nil
	}
	var q query
	_, err = tx.Exec(`DELETE FROM asset_cells WHERE library_id = `+q.arg(s.library)+` AND live = `+q.arg(s.live)+` AND local_datetime = `+q.arg(s.local)+
		` AND asset_id = `+q.arg(id)+` AND cell IN (`+list(&q, cellsOf(*s.latitude, *s.longitude))+`)`, q.args...)
	if err == nil {
		err = tx.addTotals(id, &s, -1)
	}
	if err != nil {
		return fail(err)
	}
	return nil
}
