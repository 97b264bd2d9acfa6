package place

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	tzfrellite "github.com/ringsaturn/tzf-rel-lite"
)

// point is a vertex in units of 1e-5 degrees, the precision of the source.
type point struct{ lng, lat int32 }

const unitsPerDegree = 1e5

// chunkSize is how many edges share one bounding box. Small enough that a ray
// meets few chunks, large enough that the boxes take little memory.
const chunkSize = 32

// chunk bounds the edges points[from:to] of one ring, where edge i runs from
// vertex i to vertex i+1.
type chunk struct {
	from, to               uint32
	minLat, maxLat, maxLng int32
}

// polygon is one outer ring with its holes; a point is inside when a ray from it
// crosses their edges an odd number of times, so one list of chunks serves all.
type polygon struct {
	zone               uint16
	firstChunk, chunks uint32
	min, max           point
}

// zoneCell is the side of the cells that list the polygons near them, in degrees.
const zoneCell = 5

// zoneIndex finds the time zone that holds a point.
type zoneIndex struct {
	names    []string // in the order of the source
	points   []point
	chunks   []chunk
	polygons []polygon
	cells    [(180 / zoneCell) * (360 / zoneCell)][]uint16
}

func loadZones() (*zoneIndex, error) { return parseZones(tzfrellite.LiteCompressData) }

// parseZones reads the compressed zones of github.com/ringsaturn/tzf
// (message tzf.v1.CompressedTimezones): Protocol Buffers whose rings are encoded
// as Google polylines. The general decoder takes 150 MB for it; this one keeps
// eight bytes a vertex.
func parseZones(data []byte) (*zoneIndex, error) {
	index := &zoneIndex{points: make([]point, 0, len(data)/4)}
	err := eachField(data, func(field int, zone []byte) error {
		if field != 2 {
			return nil
		}
		id := uint16(len(index.names))
		name := ""
		err := eachField(zone, func(field int, value []byte) error {
			switch field {
			case 1:
				return index.addPolygon(id, value)
			case 2:
				name = string(value)
			}
			return nil
		})
		index.names = append(index.names, name)
		if err != nil {
			return fmt.Errorf("read time zone %q: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(index.names) == 0 || len(index.polygons) > math.MaxUint16 {
		return nil, fmt.Errorf("read time zones: %d zones with %d polygons", len(index.names), len(index.polygons))
	}
	index.points, index.chunks = slices.Clip(index.points), slices.Clip(index.chunks)
	for id, polygon := range index.polygons {
		firstRow, firstColumn := cellOf(polygon.min)
		lastRow, lastColumn := cellOf(polygon.max)
		for row := firstRow; row <= lastRow; row++ {
			for column := firstColumn; column <= lastColumn; column++ {
				cell := &index.cells[row*(360/zoneCell)+column]
				*cell = append(*cell, uint16(id))
			}
		}
	}
	return index, nil
}

func cellOf(p point) (row, column int) {
	row = int(math.Floor((float64(p.lat)/unitsPerDegree + 90) / zoneCell))
	column = int(math.Floor((float64(p.lng)/unitsPerDegree + 180) / zoneCell))
	return min(max(row, 0), 180/zoneCell-1), min(max(column, 0), 360/zoneCell-1)
}

func (index *zoneIndex) addPolygon(zone uint16, data []byte) error {
	added := polygon{
		zone: zone, firstChunk: uint32(len(index.chunks)),
		min: point{math.MaxInt32, math.MaxInt32}, max: point{math.MinInt32, math.MinInt32},
	}
	var read func([]byte) error
	read = func(ring []byte) error { // an outer ring and, in field 2, its holes
		return eachField(ring, func(field int, value []byte) error {
			switch field {
			case 1:
				return index.addRing(&added, value)
			case 2:
				return read(value)
			}
			return nil
		})
	}
	if err := read(data); err != nil {
		return err
	}
	added.chunks = uint32(len(index.chunks)) - added.firstChunk
	if added.chunks > 0 {
		index.polygons = append(index.polygons, added)
	}
	return nil
}

func (index *zoneIndex) addRing(polygon *polygon, encoded []byte) error {
	first := len(index.points)
	for at := (point{}); len(encoded) > 0; {
		var err error
		var lng, lat int32
		if lng, encoded, err = polylineNumber(encoded); err != nil {
			return err
		}
		if lat, encoded, err = polylineNumber(encoded); err != nil {
			return err
		}
		at.lng, at.lat = at.lng+lng, at.lat+lat
		index.points = append(index.points, at)
		polygon.min = point{min(polygon.min.lng, at.lng), min(polygon.min.lat, at.lat)}
		polygon.max = point{max(polygon.max.lng, at.lng), max(polygon.max.lat, at.lat)}
	}
	if last := len(index.points) - 1; last > first && index.points[first] != index.points[last] {
		index.points = append(index.points, index.points[first])
	}
	for from, end := first, len(index.points)-1; from < end; from += chunkSize {
		added := chunk{
			from: uint32(from), to: uint32(min(from+chunkSize, end)),
			minLat: math.MaxInt32, maxLat: math.MinInt32, maxLng: math.MinInt32,
		}
		for _, p := range index.points[added.from : added.to+1] {
			added.minLat, added.maxLat = min(added.minLat, p.lat), max(added.maxLat, p.lat)
			added.maxLng = max(added.maxLng, p.lng)
		}
		index.chunks = append(index.chunks, added)
	}
	return nil
}

// find returns the index of the zone at a point in range, -1 where the
// simplified polygons leave a gap that a search 0.02 degrees around cannot close.
// Where polygons overlap (disputed areas) the first by name wins.
func (index *zoneIndex) find(latitude, longitude float64) int {
	for _, offset := range [...][2]float64{{0, 0}, {0, -.02}, {0, .02}, {-.02, 0}, {.02, 0}, {-.02, -.02}, {-.02, .02}, {.02, -.02}, {.02, .02}} {
		p := point{
			lng: int32(math.Round((longitude + offset[0]) * unitsPerDegree)),
			lat: int32(math.Round((latitude + offset[1]) * unitsPerDegree)),
		}
		row, column := cellOf(p)
		for _, id := range index.cells[row*(360/zoneCell)+column] {
			if index.contains(&index.polygons[id], p) {
				return int(index.polygons[id].zone)
			}
		}
	}
	return -1
}

// contains counts the edges that a ray from p towards the east crosses.
func (index *zoneIndex) contains(polygon *polygon, p point) bool {
	if p.lat < polygon.min.lat || p.lat > polygon.max.lat || p.lng < polygon.min.lng || p.lng > polygon.max.lng {
		return false
	}
	inside := false
	for _, chunk := range index.chunks[polygon.firstChunk : polygon.firstChunk+polygon.chunks] {
		if p.lat < chunk.minLat || p.lat > chunk.maxLat || p.lng > chunk.maxLng {
			continue
		}
		a := index.points[chunk.from]
		for _, b := range index.points[chunk.from+1 : chunk.to+1] {
			if (a.lat > p.lat) != (b.lat > p.lat) {
				// Exact in 64 bits: each factor is below 2^26.
				cross := int64(b.lng-a.lng)*int64(p.lat-a.lat) - int64(p.lng-a.lng)*int64(b.lat-a.lat)
				if (cross > 0) == (b.lat > a.lat) {
					inside = !inside
				}
			}
			a = b
		}
	}
	return inside
}

var errMalformed = errors.New("malformed data")

// eachField calls visit for each field of a Protocol Buffers message. Fields that
// are not length-delimited are skipped: none is needed here.
func eachField(message []byte, visit func(field int, value []byte) error) error {
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 {
			return errMalformed
		}
		message = message[n:]
		number, n := binary.Uvarint(message)
		if n <= 0 {
			return errMalformed
		}
		message = message[n:]
		switch tag & 7 {
		case 0: // a number
		case 2: // bytes, a text or a message
			if number > uint64(len(message)) {
				return errMalformed
			}
			if err := visit(int(tag>>3), message[:number]); err != nil {
				return err
			}
			message = message[number:]
		default:
			return errMalformed
		}
	}
	return nil
}

// polylineNumber reads one signed number of Google's Encoded Polyline Algorithm
// Format: five bits a byte, lowest first, each byte 63 higher than its value.
func polylineNumber(encoded []byte) (value int32, rest []byte, err error) {
	var bits uint64
	for i, c := range encoded {
		if c < 63 || c > 63+63 || i > 6 {
			break
		}
		bits |= uint64(c-63) & 31 << (5 * i)
		if c-63 < 32 {
			value = int32(bits >> 1)
			if bits&1 != 0 {
				value = ^value
			}
			return value, encoded[i+1:], nil
		}
	}
	return 0, nil, errMalformed
}
