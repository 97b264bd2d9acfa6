package store

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/banksia-photos/banksia"
)

// grid gathers geotagged assets by the square of a map grid, cellSize degrees
// wide, from -180, -90.
type grid struct {
	cellSize float64
	cells    map[gridCell]*gridTotal
}

// gridCell is the row from the south and the column from the west. Floats,
// since a small cell size makes many.
type gridCell struct{ row, column float64 }

// gridTotal is what a grid cell holds; newest and time are its representative.
type gridTotal struct {
	count               int64
	latitude, longitude float64 // sums
	newest              banksia.AssetID
	time                int64
}

// errTooManyCells ends the gathering as soon as one cell is too many.
var errTooManyCells = errors.New("too many grid cells")

// northing and easting are coordinates from the corner of the grid. Rounding
// keeps their order, which is all that bands depends on.
func northing(latitude float64) float64 { return latitude + 90 }
func easting(longitude float64) float64 { return longitude + 180 }

func (g *grid) add(c gridCell, t gridTotal) error {
	sum := g.cells[c]
	if sum == nil {
		if len(g.cells) == MaxGeoClusters {
			return errTooManyCells
		}
		g.cells[c] = &t
		return nil
	}
	sum.count += t.count
	sum.latitude += t.latitude
	sum.longitude += t.longitude
	if newer := cmp.Or(cmp.Compare(t.time, sum.time), slices.Compare(t.newest[:], sum.newest[:])); newer > 0 {
		sum.newest, sum.time = t.newest, t.time
	}
	return nil
}

func (g *grid) addAsset(id banksia.AssetID, time int64, latitude, longitude float64) error {
	c := gridCell{math.Floor(northing(latitude) / g.cellSize), math.Floor(easting(longitude) / g.cellSize)}
	return g.add(c, gridTotal{1, latitude, longitude, id, time})
}

// clusters are the cells, the fullest first.
func (g *grid) clusters() []GeoCluster {
	order := make([]gridCell, 0, len(g.cells))
	for c := range g.cells {
		order = append(order, c)
	}
	slices.SortFunc(order, func(a, b gridCell) int {
		return cmp.Or(cmp.Compare(g.cells[b].count, g.cells[a].count), cmp.Compare(a.row, b.row), cmp.Compare(a.column, b.column))
	})
	clusters := make([]GeoCluster, len(order))
	for i, c := range order {
		t := g.cells[c]
		n := float64(t.count)
		clusters[i] = GeoCluster{t.count, t.latitude / n, t.longitude / n, t.newest}
	}
	return clusters
}

// gatherAssets reads every asset of a filter.
func (tx *Tx) gatherAssets(g *grid, f AssetFilter) error {
	s, err := newSelection(tx, f)
	if err != nil {
		return err
	}
	at, to := "a", withAssets
	if s.cells {
		at, to = "k", candidatesOnly // map cells carry the coordinates
	}
	text := "SELECT k.id, k.time, " + at + ".latitude, " + at + ".longitude FROM " + s.from(s.candidates(&tx.store.dialect, f, "", nil), to)
	return tx.each(text, s.q.args, g.scan)
}

func (g *grid) scan(rows *sql.Rows) error {
	var id banksia.AssetID
	var time int64
	var latitude, longitude float64
	if err := rows.Scan(&id, &time, &latitude, &longitude); err != nil {
		return err
	}
	return g.addAsset(id, time, latitude, longitude)
}

// fewAssets is up to how many assets of a cell are read one by one rather than
// through the totals of the cells in it.
const fewAssets = 24

// gatherTotals reads the assets in a box through the totals of map cells: whole
// map cells where they fit into one grid cell and the box, their parts where they
// do not, and assets at the end.
func (tx *Tx) gatherTotals(g *grid, library banksia.LibraryID, live bool, box Box) error {
	const children = "SELECT cell, asset_count, latitude_sum, longitude_sum, newest_datetime, newest_asset_id FROM cell_totals WHERE library_id = $1 AND live = $2 AND parent IN (%s)"
	const members = "SELECT m.asset_id, m.local_datetime, m.latitude, m.longitude FROM asset_cells m WHERE m.library_id = $1 AND m.live = $2 AND m.cell IN (%s)"
	boxes := box.boxes()
	inBox := func(latitude, longitude float64) bool {
		return slices.ContainsFunc(boxes, func(b Box) bool {
			return b.MinLat <= latitude && latitude <= b.MaxLat && b.MinLon <= longitude && longitude <= b.MaxLon
		})
	}
	// Depth first, some cells at a time: a grid that is too fine shows early.
	const batch = 32
	parents, leaves := []int64{0}, []int64(nil)
	readLeaves := func(from int) error {
		for len(leaves) >= from && len(leaves) > 0 {
			n := min(batch, len(leaves))
			some := slices.Clone(leaves[len(leaves)-n:])
			leaves = leaves[:len(leaves)-n]
			for chunk := range chunks(some) {
				q := query{args: []any{library, live}}
				err := tx.each(fmt.Sprintf(members, list(&q, chunk)), q.args, func(rows *sql.Rows) error {
					var id banksia.AssetID
					var time int64
					var latitude, longitude float64
					if err := rows.Scan(&id, &time, &latitude, &longitude); err != nil {
						return err
					}
					if !inBox(latitude, longitude) {
						return nil
					}
					return g.addAsset(id, time, latitude, longitude)
				})
				if err != nil {
					return err
				}
			}
		}
		return nil
	}
	last := cellLevels[len(cellLevels)-1]
	for len(parents) > 0 {
		n := min(batch, len(parents))
		some := slices.Clone(parents[len(parents)-n:])
		parents = parents[:len(parents)-n]
		for chunk := range chunks(some) {
			q := query{args: []any{library, live}}
			err := tx.each(fmt.Sprintf(children, list(&q, chunk)), q.args, func(rows *sql.Rows) error {
				var cell, latitude, longitude int64
				var t gridTotal
				if err := rows.Scan(&cell, &t.count, &latitude, &longitude, &t.time, &t.newest); err != nil {
					return err
				}
				area := areaOf(cell)
				inside, outside := area.against(boxes)
				if outside {
					return nil
				}
				from, to := g.at(area.south, area.west), g.at(area.north, area.east)
				switch {
				case inside && from == to:
					t.latitude, t.longitude = float64(latitude)/coordinateUnit, float64(longitude)/coordinateUnit
					return g.add(from, t)
				case t.count <= fewAssets || int(cell>>40) == last:
					leaves = append(leaves, cell)
				default:
					parents = append(parents, cell)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		if err := readLeaves(batch); err != nil {
			return err
		}
	}
	return readLeaves(1)
}

// at is the grid cell at a northing and an easting.
func (g *grid) at(north, east float64) gridCell {
	return gridCell{math.Floor(north / g.cellSize), math.Floor(east / g.cellSize)}
}

// cellArea is the northings and eastings of the coordinates that cellOf puts
// into a cell: the first and the last number of each.
type cellArea struct{ south, north, west, east float64 }

func areaOf(cell int64) cellArea {
	level := int(cell >> 40)
	side := 360 / math.Exp2(float64(level))
	south, north := band(cell>>20&(1<<20-1), side, 180)
	west, east := band(cell&(1<<20-1), side, 360)
	if cell&(1<<20-1) == 1<<level-1 {
		east = 360 // the last column holds +180 as well
	}
	return cellArea{south, north, west, east}
}

// band is the least and the greatest number from 0 to end whose quotient by
// side, rounded as floats are, has the whole part index.
func band(index int64, side, end float64) (least, greatest float64) {
	first := func(index float64) float64 {
		x := index * side
		for x > 0 && math.Nextafter(x, 0)/side >= index {
			x = math.Nextafter(x, 0)
		}
		for x/side < index {
			x = math.Nextafter(x, math.Inf(1))
		}
		return x
	}
	return first(float64(index)), min(end, math.Nextafter(first(float64(index+1)), 0))
}

// against tells whether all coordinates of the area surely are in one of the
// boxes, or surely in none.
func (a cellArea) against(boxes []Box) (inside, outside bool) {
	// More than the rounding of a northing or easting. Poles and the
	// antimeridian have nothing beyond.
	const slack = 1e-9
	south, north, west, east := max(a.south-90-slack, -90), min(a.north-90+slack, 90), max(a.west-180-slack, -180), min(a.east-180+slack, 180)
	outside = true
	for _, b := range boxes {
		if b.MinLat <= south && north <= b.MaxLat && b.MinLon <= west && east <= b.MaxLon {
			inside = true
		}
		if south <= b.MaxLat && b.MinLat <= north && west <= b.MaxLon && b.MinLon <= east {
			outside = false
		}
	}
	return inside, outside
}
