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
// leaving out empty months; f.Limit is in months. Without a filter other than
// bounds of the wall clock it reads running totals. Else it steps from month to
// month along the index, so its cost is that of the months it returns.
func (s *Store) CountAssetsByMonth(ctx context.Context, scope banksia.Scope, f AssetFilter) (counts []MonthCount, more bool, err error) {
	f.Ascending, f.StartingAfter = false, nil
	err = s.Read(ctx, func(tx *Tx) error {
		if visible, err := tx.sees(scope, f.LibraryID); err != nil || !visible {
			return err
		}
		if f.isPlain() && f.Area == nil && isWall(f.After) && isWall(f.Before) {
			counts, more, err = tx.monthTotals(f)
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

// isPlain tells whether the filter names no set of assets: state, bounds of time
// and area are all it has.
func (f *AssetFilter) isPlain() bool {
	return f.AlbumID == nil && f.AlbumFilter == AnyAlbum && len(f.PersonIDs) == 0 && f.IDs == nil && f.StackID == nil && f.MediaType == ""
}

// isWall tells whether a bound is absent or of the wall clock.
func isWall(bound *banksia.LocalTime) bool { return bound == nil || bound.Offset == nil }

// monthTotals reads the running totals; the assets of a month that a bound cuts
// are counted.
func (tx *Tx) monthTotals(f AssetFilter) (counts []MonthCount, more bool, err error) {
	from, to := int64(math.MinInt64), int64(math.MaxInt64) // the first and last instant
	if f.After != nil {
		from = f.After.Wall + 1
	}
	if f.Before != nil {
		to = f.Before.Wall - 1
	}
	var q query
	where := "library_id = " + q.arg(f.LibraryID) + " AND live IN (" + list(&q, lives(f.State)) + ")"
	if f.After != nil {
		where += " AND month >= " + q.arg(monthOf(from))
	}
	if f.Before != nil {
		where += " AND month <= " + q.arg(monthOf(to))
	}
	// Two months may turn out empty once they are cut.
	text := "SELECT month, SUM(asset_count) FROM asset_months WHERE " + where + " GROUP BY month ORDER BY month DESC LIMIT " + q.arg(f.Limit+3)
	err = tx.each(text, q.args, func(rows *sql.Rows) error {
		var month int64
		var c MonthCount
		err := rows.Scan(&month, &c.Count)
		c.Month.Wall = monthStart(month)
		counts = append(counts, c)
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("count assets: %w", err)
	}
	kept := counts[:0]
	for _, c := range counts {
		first, last := c.Month.Wall, monthStart(monthOf(c.Month.Wall)+1)-1
		if first < from || last > to {
			if c.Count, err = tx.countBetween(f, max(first, from), min(last, to)); err != nil {
				return nil, false, fmt.Errorf("count assets: %w", err)
			}
		}
		if c.Count > 0 {
			kept = append(kept, c)
		}
	}
	if len(kept) > f.Limit {
		return kept[:f.Limit], true, nil
	}
	return kept, false, nil
}

// newestBelow finds the newest wall clock before a time.
func (tx *Tx) newestBelow(f AssetFilter, below int64) (newest int64, found bool, err error) {
	selection, err := newSelection(tx, f)
	if err != nil {
		return 0, false, err
	}
	const order = " ORDER BY time DESC"
	candidates := selection.candidates(&tx.store.dialect, f, order, func(string) string { return " AND s.local_datetime < " + selection.q.arg(below) })
	text := "SELECT k.time FROM " + selection.from(candidates+tx.store.dialect.merged(order), candidatesOnly)
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
	candidates := selection.candidates(&tx.store.dialect, f, "", func(string) string {
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
		g := &grid{cellSize: cellSize, cells: map[gridCell]*gridTotal{}}
		if box, ok := f.Area.(Box); ok && f.isPlain() && f.After == nil && f.Before == nil {
			for _, live := range lives(f.State) {
				if err = tx.gatherTotals(g, f.LibraryID, live, box); err != nil {
					break
				}
			}
		} else {
			err = tx.gatherAssets(g, f)
		}
		if errors.Is(err, errTooManyCells) {
			return banksia.Invalid("query", "cell_size", "the view has more than %d cells; ask for larger cells or a smaller box", MaxGeoClusters)
		}
		if err != nil {
			return fmt.Errorf("cluster assets: %w", err)
		}
		clusters = g.clusters()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return clusters, nil
}
