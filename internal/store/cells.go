package store

import "math"

// A geotagged asset lies in one cell of each grid level. A cell of level z is a
// square of 360/2^z degrees; levels three apart make the sides of neighbouring
// levels differ by 8. Level 0 is the whole world: every geotagged asset.
var cellLevels = [...]int{0, 3, 6, 9, 12, 15, 18}

// maxCoverCells bounds how many cells cover a box, and so how many streams a
// page of it merges.
const maxCoverCells = 36

// cellAt numbers a cell: the level, then the row from the south, then the column
// from the west, 20 bits each.
func cellAt(level int, row, column int64) int64 {
	return int64(level)<<40 | row<<20 | column
}

// cellOf is the row and column of a coordinate. +180 and +90 belong to the last
// cell, not to one beyond it.
func cellOf(level int, latitude, longitude float64) (row, column int64) {
	side := 360 / math.Exp2(float64(level))
	last := int64(1)<<level - 1
	row = min(max(int64(math.Floor((latitude+90)/side)), 0), last)
	column = min(max(int64(math.Floor((longitude+180)/side)), 0), last)
	return row, column
}

// cellsOf are the cells of a coordinate, one for each level.
func cellsOf(latitude, longitude float64) []int64 {
	cells := make([]int64, len(cellLevels))
	for i, level := range cellLevels {
		row, column := cellOf(level, latitude, longitude)
		cells[i] = cellAt(level, row, column)
	}
	return cells
}

// Area is a part of the world.
type Area interface {
	// boxes are at most two boxes that do not cross the antimeridian and hold
	// the area together.
	boxes() []Box
	// condition is SQL over the columns latitude and longitude of a table's
	// alias that is true exactly inside the area.
	condition(q *query, alias string) string
}

// Box is a rectangle in degrees, its edges included; MinLon > MaxLon crosses the
// antimeridian.
type Box struct{ MinLon, MinLat, MaxLon, MaxLat float64 }

func (b Box) boxes() []Box {
	if b.MinLon <= b.MaxLon {
		return []Box{b}
	}
	return []Box{{b.MinLon, b.MinLat, 180, b.MaxLat}, {-180, b.MinLat, b.MaxLon, b.MaxLat}}
}

func (b Box) condition(q *query, alias string) string {
	latitude, longitude := alias+".latitude", alias+".longitude"
	if b == (Box{-180, -90, 180, 90}) {
		return "TRUE"
	}
	text := latitude + " BETWEEN " + q.arg(b.MinLat) + " AND " + q.arg(b.MaxLat)
	if b.MinLon <= b.MaxLon {
		return text + " AND " + longitude + " BETWEEN " + q.arg(b.MinLon) + " AND " + q.arg(b.MaxLon)
	}
	return text + " AND (" + longitude + " >= " + q.arg(b.MinLon) + " OR " + longitude + " <= " + q.arg(b.MaxLon) + ")"
}

// Circle is the set of points at most Radius metres from its centre over the
// surface of a sphere.
type Circle struct{ Lon, Lat, Radius float64 }

// earthRadius is the mean radius R1 of the Earth in metres (IUGG).
const earthRadius = 6371008.8

func (c Circle) boxes() []Box {
	const slack = 1e-9 // for rounding in the trigonometry
	angle := c.Radius/earthRadius + slack
	degrees := angle * 180 / math.Pi
	south, north := c.Lat-degrees, c.Lat+degrees
	if south <= -90 || north >= 90 { // holds a pole, so every longitude
		return []Box{{-180, max(south, -90), 180, min(north, 90)}}
	}
	width := math.Asin(min(1, math.Sin(angle)/math.Cos(c.Lat*math.Pi/180)))*180/math.Pi + slack
	west, east := c.Lon-width, c.Lon+width
	switch {
	case width >= 180:
		west, east = -180, 180
	case west < -180:
		west += 360
	case east > 180:
		east -= 360
	}
	return Box{west, south, east, north}.boxes()
}

// condition is the haversine formula, solved for the square of the half chord so
// that SQL needs no inverse function.
func (c Circle) condition(q *query, alias string) string {
	half := math.Sin(min(c.Radius/earthRadius, math.Pi) / 2)
	latitude, longitude := alias+".latitude*"+degree, alias+".longitude*"+degree
	lat, lon := q.arg(c.Lat*math.Pi/180), q.arg(c.Lon*math.Pi/180)
	square := func(text string) string { return text + "*" + text }
	return square("sin(("+latitude+"-"+lat+")/2)") + "+cos(" + latitude + ")*cos(" + lat + ")*" + square("sin(("+longitude+"-"+lon+")/2)") + " <= " + q.arg(half*half)
}

// degree is one degree in radians, for SQL.
const degree = "0.017453292519943295"

// cover returns cells of one level that hold the area together, at most
// maxCoverCells of them.
func cover(area Area) []int64 {
	var best []int64
	for _, level := range cellLevels {
		var cells []int64
		for _, box := range area.boxes() {
			south, west := cellOf(level, box.MinLat, box.MinLon)
			north, east := cellOf(level, box.MaxLat, box.MaxLon)
			if (north-south+1)*(east-west+1) > maxCoverCells {
				return best
			}
			for row := south; row <= north; row++ {
				for column := west; column <= east; column++ {
					cells = append(cells, cellAt(level, row, column))
				}
			}
		}
		if len(cells) > maxCoverCells {
			return best
		}
		best = dedupe(cells)
	}
	return best
}

// dedupe removes repeated cells: two boxes may meet in one.
func dedupe(cells []int64) []int64 {
	seen := map[int64]bool{}
	kept := cells[:0]
	for _, cell := range cells {
		if !seen[cell] {
			seen[cell] = true
			kept = append(kept, cell)
		}
	}
	return kept
}
