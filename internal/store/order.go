package store

import (
	"fmt"

	"github.com/banksia-photos/banksia"
)

// placeAsset writes where an asset stands: its order (live, local_datetime), its
// map cells, and the copies of the order in the membership tables. It is the only
// writer of those copies; call it after the asset row or its metadata changed.
func (tx *Tx) placeAsset(id banksia.AssetID) error {
	fail := func(err error) error { return fmt.Errorf("place asset %s: %w", id, err) }
	var library banksia.LibraryID
	var live bool
	var local int64
	var latitude, longitude *float64
	err := tx.QueryRow(`SELECT library_id, live, local_datetime, latitude, longitude FROM assets WHERE id = $1`, id).
		Scan(&library, &live, &local, &latitude, &longitude)
	if err != nil {
		return fail(err)
	}
	for _, table := range []string{"album_assets", "asset_people"} {
		if _, err := tx.Exec(`UPDATE `+table+` SET live = $1, local_datetime = $2 WHERE asset_id = $3`, live, local, id); err != nil {
			return fail(err)
		}
	}
	if latitude == nil || longitude == nil {
		return nil
	}
	return tx.insertCells(id, library, live, local, *latitude, *longitude)
}

func (tx *Tx) insertCells(id banksia.AssetID, library banksia.LibraryID, live bool, local int64, latitude, longitude float64) error {
	for _, cell := range cellsOf(latitude, longitude) {
		_, err := tx.Exec(`INSERT INTO asset_cells (library_id, cell, live, local_datetime, asset_id, latitude, longitude) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			library, cell, live, local, id, latitude, longitude)
		if err != nil {
			return fmt.Errorf("map cell of asset %s: %w", id, err)
		}
	}
	return nil
}

// unplaceAsset removes the map cells of an asset; call it before its order or its
// coordinates change, since they are the key of those rows.
func (tx *Tx) unplaceAsset(id banksia.AssetID) error {
	fail := func(err error) error { return fmt.Errorf("unplace asset %s: %w", id, err) }
	var library banksia.LibraryID
	var live bool
	var local int64
	var latitude, longitude *float64
	err := tx.QueryRow(`SELECT library_id, live, local_datetime, latitude, longitude FROM assets WHERE id = $1`, id).
		Scan(&library, &live, &local, &latitude, &longitude)
	if err != nil {
		return fail(err)
	}
	if latitude == nil || longitude == nil {
		return nil
	}
	for _, cell := range cellsOf(*latitude, *longitude) {
		_, err := tx.Exec(`DELETE FROM asset_cells WHERE library_id = $1 AND cell = $2 AND live = $3 AND local_datetime = $4 AND asset_id = $5`,
			library, cell, live, local, id)
		if err != nil {
			return fail(err)
		}
	}
	return nil
}
