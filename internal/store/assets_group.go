package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/banksia-photos/banksia"
)

// MonthCount is how many assets a month of the wall clock holds.
type MonthCount struct {
	Month banksia.LocalTime // its first instant, without an offset
	Count int64
}

// CountAssetsByMonth counts the assets of a filter by month, newest first,
// leaving out empty months; f.Limit is in months. It steps from month to month
// along the index, so its cost is that of the months it returns.
func (s *Store) CountAssetsByMonth(ctx context.Context, scope banksia.Scope, f AssetFilter) (counts []MonthCount, more bool, err error) {
	f.Ascending, f.StartingAfter = false, nil
	err = s.Read(ctx, func(tx *Tx) error {
		if visible, err := tx.sees(scope, f.LibraryID); err != nil || !visible {
			return err
		}
		below := int64(math.MaxInt64)
		for {
			newest, found, err := tx.newestBelow(f, below)
			if err != nil {
				return fmt.Errorf("count assets: %w", err)
			}
			if !found {
				return nil
			}
			if len(counts) == f.Limit {
				more = true
				return nil
			}
			wall := time.UnixMicro(newest).UTC()
			month := time.Date(wall.Year(), wall.Month(), 1, 0, 0, 0, 0, time.UTC).UnixMicro()
			count, err := tx.countBetween(f, month, newest)
			if err != nil {
				return fmt.Errorf("count assets: %w", err)
			}
			counts = append(counts, MonthCount{banksia.LocalTime{Wall: month}, count})
			below = month
		}
	})
	return counts, more, err
}

// newestBelow finds the newest wall clock before a time.
func (tx *Tx) newestBelow(f AssetFilter, below int64) (newest int64, found bool, err error) {
	selection, err := newSelection(tx, f)
	if err != nil {
		return 0, false, err
	}
	text := selection.selects(f, func(time, id string) string { return time + " AS time" }, func(time, id string) string {
		return " AND " + time + " < " + selection.q.arg(below)
	})
	err = tx.QueryRow(text+" ORDER BY time DESC LIMIT 1", selection.q.args...).Scan(&newest)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return newest, err == nil, err
}

// countBetween counts the assets between two wall clocks, both included.
func (tx *Tx) countBetween(f AssetFilter, from, to int64) (count int64, err error) {
	selection, err := newSelection(tx, f)
	if err != nil {
		return 0, err
	}
	text := selection.selects(f, func(time, id string) string { return "COUNT(*) AS n" }, func(time, id string) string {
		return " AND " + time + " BETWEEN " + selection.q.arg(from) + " AND " + selection.q.arg(to)
	})
	err = tx.QueryRow("SELECT SUM(n) FROM ("+text+") x", selection.q.args...).Scan(&count)
	return count, err
}

// GeoCluster is one cell of a map grid that holds assets.
type GeoCluster struct {
	Count                 int64
	Latitude, Longitude   float64 // the mean of its members
	RepresentativeAssetID banksia.AssetID
}

// MaxGeoClusters bounds the cells of one answer.
const MaxGeoClusters = 1000

// ClusterAssets groups the geotagged assets of a filter, whose Area is a Box, on
// a grid of squares of cellSize degrees from -180, -90. More than MaxGeoClusters
// cells are a validation error. A cell is represented by its newest asset, the
// larger ID among equals.
func (s *Store) ClusterAssets(ctx context.Context, scope banksia.Scope, f AssetFilter, cellSize float64) (clusters []GeoCluster, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		if visible, err := tx.sees(scope, f.LibraryID); err != nil || !visible {
			return err
		}
		selection, err := newSelection(tx, f)
		if err != nil {
			return err
		}
		q := &selection.q
		// A stream of map cells has the coordinates itself.
		at := func(st stream) string {
			if strings.HasPrefix(st.from, "asset_cells ") {
				return "s"
			}
			return "a"
		}(selection.streams[0])
		size := q.arg(cellSize)
		row, column := "floor(("+at+".latitude+90)/"+size+")", "floor(("+at+".longitude+180)/"+size+")"
		texts := selection.selects(f, func(time, id string) string {
			return row + " AS cell_row, " + column + " AS cell_column, " + at + ".latitude AS latitude, " + at + ".longitude AS longitude, " + time + " AS time, " + id + " AS id"
		}, nil)
		members := "WITH members AS (" + texts + "), cells AS (SELECT cell_row, cell_column, COUNT(*) AS n, AVG(latitude) AS latitude, AVG(longitude) AS longitude, MAX(time) AS newest FROM members GROUP BY cell_row, cell_column)"
		err = tx.each(members+" SELECT cells.n, cells.latitude, cells.longitude, MAX(m.id) FROM cells JOIN members m ON m.cell_row = cells.cell_row AND m.cell_column = cells.cell_column AND m.time = cells.newest"+
			" GROUP BY cells.cell_row, cells.cell_column, cells.n, cells.latitude, cells.longitude ORDER BY cells.n DESC, MAX(m.id) LIMIT "+q.arg(MaxGeoClusters+1), q.args, func(rows *sql.Rows) error {
			var c GeoCluster
			err := rows.Scan(&c.Count, &c.Latitude, &c.Longitude, &c.RepresentativeAssetID)
			clusters = append(clusters, c)
			return err
		})
		if err != nil {
			return fmt.Errorf("cluster assets: %w", err)
		}
		if len(clusters) > MaxGeoClusters {
			return banksia.Invalid("query", "cell_size", "the view has more than %d cells; ask for larger cells or a smaller box", MaxGeoClusters)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return clusters, nil
}
