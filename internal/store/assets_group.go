package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
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
	candidates := selection.candidates(f, func(string) string { return " AND s.local_datetime < " + selection.q.arg(below) })
	text := "SELECT k.time FROM " + selection.from(candidates+" ORDER BY time DESC LIMIT "+selection.q.arg(int64(math.MaxInt64)), candidatesOnly)
	err = tx.QueryRow(text+" ORDER BY k.time DESC LIMIT 1", selection.q.args...).Scan(&newest)
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
	candidates := selection.candidates(f, func(string) string {
		return " AND s.local_datetime BETWEEN " + selection.q.arg(from) + " AND " + selection.q.arg(to)
	})
	err = tx.QueryRow("SELECT COUNT(*) FROM "+selection.from(candidates, candidatesOnly), selection.q.args...).Scan(&count)
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
		clusters, err = tx.clusterAssets(f, cellSize)
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

// clusterAssets counts the cells in one pass, then looks each one's newest asset
// up by its time.
func (tx *Tx) clusterAssets(f AssetFilter, cellSize float64) ([]GeoCluster, error) {
	selection, err := newSelection(tx, f)
	if err != nil {
		return nil, err
	}
	row, column := selection.grid(cellSize)
	type cell struct {
		row, column float64
		newest      int64
	}
	var cells []cell
	var clusters []GeoCluster
	at := selection.at()
	text := "SELECT " + row + " AS cell_row, " + column + " AS cell_column, COUNT(*) AS n, AVG(" + at + ".latitude), AVG(" + at + ".longitude), MAX(k.time) FROM " +
		selection.from(selection.candidates(f, nil), selection.reach()) + " GROUP BY cell_row, cell_column ORDER BY n DESC, cell_row, cell_column LIMIT " + selection.q.arg(MaxGeoClusters+1)
	err = tx.each(text, selection.q.args, func(rows *sql.Rows) error {
		var c cell
		var cluster GeoCluster
		err := rows.Scan(&c.row, &c.column, &cluster.Count, &cluster.Latitude, &cluster.Longitude, &c.newest)
		cells, clusters = append(cells, c), append(clusters, cluster)
		return err
	})
	if err != nil || len(clusters) > MaxGeoClusters {
		return clusters, err
	}
	for i, c := range cells {
		selection, err := newSelection(tx, f)
		if err != nil {
			return nil, err
		}
		q := &selection.q
		row, column := selection.grid(cellSize)
		candidates := selection.candidates(f, func(string) string { return " AND s.local_datetime = " + q.arg(c.newest) })
		text := "SELECT k.id FROM " + selection.from(candidates, selection.reach()) + " AND " + row + " = " + q.arg(c.row) + " AND " + column + " = " + q.arg(c.column) + " ORDER BY k.id DESC LIMIT 1"
		if err := tx.QueryRow(text, q.args...).Scan(&clusters[i].RepresentativeAssetID); err != nil {
			return nil, err
		}
	}
	return clusters, nil
}

// at is the alias that has the coordinates: map cells carry them.
func (s *selection) at() string {
	if s.cells {
		return "k"
	}
	return "a"
}

// reach is as far as the coordinates are.
func (s *selection) reach() reach {
	if s.cells {
		return candidatesOnly
	}
	return withAssets
}

// grid is the row and the column of a candidate on a grid of squares.
func (s *selection) grid(cellSize float64) (row, column string) {
	size := s.q.arg(cellSize)
	return "floor((" + s.at() + ".latitude+90)/" + size + ")", "floor((" + s.at() + ".longitude+180)/" + size + ")"
}
