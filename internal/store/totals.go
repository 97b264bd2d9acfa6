package store

import (
	"fmt"
	"math"
	"time"

	"github.com/banksia-photos/banksia"
)

// Running totals of a library: asset_months by month, cell_totals by map cell.
// Both lose their rows with the last asset. A purge that deletes the
// assets of a library without unplaceAsset must delete its rows of asset_cells,
// asset_months and cell_totals.

// coordinateUnit is how many units of the sums of cell_totals are one degree.
const coordinateUnit = 1e7

// standing is what decides where an asset is counted and listed.
type standing struct {
	library             banksia.LibraryID
	live                bool
	local               int64
	latitude, longitude *float64
}

func (tx *Tx) standing(id banksia.AssetID) (s standing, err error) {
	err = tx.QueryRow(`SELECT library_id, live, local_datetime, latitude, longitude FROM assets WHERE id = $1`, id).
		Scan(&s.library, &s.live, &s.local, &s.latitude, &s.longitude)
	return s, err
}

// onMap tells whether the asset has coordinates.
func (s *standing) onMap() bool { return s.latitude != nil && s.longitude != nil }

// addTotals counts an asset (delta 1), or stops counting it (-1) once its map
// cells are gone.
func (tx *Tx) addTotals(id banksia.AssetID, s *standing, delta int64) error {
	_, err := tx.Exec(`INSERT INTO asset_months (library_id, live, month, asset_count) VALUES ($1, $2, $3, $4)
		ON CONFLICT (library_id, live, month) DO UPDATE SET asset_count = asset_months.asset_count + excluded.asset_count`,
		s.library, s.live, monthOf(s.local), delta)
	if err == nil && delta < 0 {
		_, err = tx.Exec(`DELETE FROM asset_months WHERE library_id = $1 AND live = $2 AND month = $3 AND asset_count = 0`, s.library, s.live, monthOf(s.local))
	}
	if err != nil {
		return fmt.Errorf("count month: %w", err)
	}
	if !s.onMap() {
		return nil
	}
	cells := cellsOf(*s.latitude, *s.longitude)
	var q query
	library, live := q.arg(s.library), q.arg(s.live)
	sums := q.arg(delta) + ", " + q.arg(delta*coordinateUnits(*s.latitude)) + ", " + q.arg(delta*coordinateUnits(*s.longitude)) + ", " + q.arg(s.local) + ", " + q.arg(id)
	values := ""
	for i, cell := range cells[1:] {
		if i > 0 {
			values += ", "
		}
		values += "(" + library + ", " + live + ", " + q.arg(cells[i]) + ", " + q.arg(cell) + ", " + sums + ")"
	}
	_, err = tx.Exec(`INSERT INTO cell_totals (library_id, live, parent, cell, asset_count, latitude_sum, longitude_sum, newest_datetime, newest_asset_id) VALUES `+values+`
		ON CONFLICT (library_id, live, parent, cell) DO UPDATE SET asset_count = cell_totals.asset_count + excluded.asset_count,
			latitude_sum = cell_totals.latitude_sum + excluded.latitude_sum, longitude_sum = cell_totals.longitude_sum + excluded.longitude_sum,
			newest_datetime = CASE WHEN (excluded.newest_datetime, excluded.newest_asset_id) > (cell_totals.newest_datetime, cell_totals.newest_asset_id) THEN excluded.newest_datetime ELSE cell_totals.newest_datetime END,
			newest_asset_id = CASE WHEN (excluded.newest_datetime, excluded.newest_asset_id) > (cell_totals.newest_datetime, cell_totals.newest_asset_id) THEN excluded.newest_asset_id ELSE cell_totals.newest_asset_id END`, q.args...)
	if err == nil && delta < 0 {
		var q query
		_, err = tx.Exec(`DELETE FROM cell_totals WHERE library_id = `+q.arg(s.library)+` AND live = `+q.arg(s.live)+` AND asset_count = 0 AND parent IN (`+list(&q, cells[:len(cells)-1])+`)`, q.args...)
	}
	if err == nil && delta < 0 {
		// The rows are locked since they were counted, so nothing newer appears
		// between the look and the change.
		const newest = ` FROM asset_cells m WHERE m.library_id = cell_totals.library_id AND m.cell = cell_totals.cell AND m.live = cell_totals.live ORDER BY m.local_datetime DESC, m.asset_id DESC LIMIT 1)`
		var q query
		_, err = tx.Exec(`UPDATE cell_totals SET newest_datetime = (SELECT m.local_datetime`+newest+`, newest_asset_id = (SELECT m.asset_id`+newest+
			` WHERE library_id = `+q.arg(s.library)+` AND live = `+q.arg(s.live)+` AND newest_asset_id = `+q.arg(id)+` AND parent IN (`+list(&q, cells[:len(cells)-1])+`)`, q.args...)
	}
	if err != nil {
		return fmt.Errorf("count map cells: %w", err)
	}
	return nil
}

// monthOf numbers the month of a wall clock: 12 * year + month - 1.
func monthOf(wall int64) int64 {
	t := time.UnixMicro(wall).UTC()
	return int64(t.Year())*12 + int64(t.Month()) - 1
}

// monthStart is the first instant of a month that monthOf numbers.
func monthStart(month int64) int64 {
	return time.Date(0, time.Month(month+1), 1, 0, 0, 0, 0, time.UTC).UnixMicro()
}

// coordinateUnits rounds degrees as the migration does in SQL. The conversion
// keeps the compiler from fusing the two operations.
func coordinateUnits(degrees float64) int64 {
	return int64(math.Floor(float64(degrees*coordinateUnit) + 0.5))
}
