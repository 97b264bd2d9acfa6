package place

import (
	"encoding/binary"
	"fmt"
	"math"
	"sort"
	"unsafe"
)

// earthRadius is the mean radius in km.
const earthRadius = 6371.0088

// The packed file holds, little-endian, after an eight-byte magic: six uint32
// (counts of records, states, countries and zones; bytes of names; zero), the
// records as a k-d tree, the states (uint32 name), the countries (two letters),
// the zones (uint32 name, uint32 country) sorted by name, and the names, each a
// length byte and its bytes. A name is its offset; offset 0 is the empty name.
const (
	gazetteerMagic = "BKPLACE1"
	headerSize     = len(gazetteerMagic) + 6*4
	recordSize     = 28
)

// record is one populated place.
type record struct {
	position vector // on the unit sphere; float32 is 0.4 m here
	name     uint32
	city     uint32 // the record whose district this is, or itself
	state    uint16
	country  uint16  // 1 and up; 0 is none
	reach    float32 // km from its centre that count as its own, by population
}

// vector is a point in space, the unit being the earth's radius. Distance along
// a straight line orders points as the great circle does, so a k-d tree over it
// has neither poles nor an antimeridian.
type vector [3]float32

func vectorOf(latitude, longitude float64) vector {
	sinLat, cosLat := math.Sincos(latitude * math.Pi / 180)
	sinLng, cosLng := math.Sincos(longitude * math.Pi / 180)
	return vector{float32(cosLat * cosLng), float32(cosLat * sinLng), float32(sinLat)}
}

// distance is the great-circle distance in km.
func (v vector) distance(w vector) float64 {
	return 2 * earthRadius * math.Asin(min(1, v.chord(w)/2))
}

func (v vector) chord(w vector) float64 {
	x, y, z := float64(v[0]-w[0]), float64(v[1]-w[1]), float64(v[2]-w[2])
	return math.Sqrt(x*x + y*y + z*z)
}

// gazetteer is the packed file, read in place: nothing is unpacked.
type gazetteer struct {
	records   []byte // recordSize each; the middle one of a range is the root of its k-d tree
	states    []byte
	countries []byte
	zones     []byte
	names     []byte
}

func openGazetteer(data []byte) (*gazetteer, error) {
	if len(data) < headerSize || string(data[:len(gazetteerMagic)]) != gazetteerMagic {
		return nil, fmt.Errorf("open place names: not a file of this version")
	}
	var sizes [5]int
	for i := range sizes {
		sizes[i] = int(binary.LittleEndian.Uint32(data[len(gazetteerMagic)+4*i:]))
	}
	g := &gazetteer{}
	rest := data[headerSize:]
	for i, section := range []*[]byte{&g.records, &g.states, &g.countries, &g.zones, &g.names} {
		size := sizes[i] * [...]int{recordSize, 4, 2, 8, 1}[i]
		if size > len(rest) {
			return nil, fmt.Errorf("open place names: the file is cut off")
		}
		*section, rest = rest[:size], rest[size:]
	}
	return g, nil
}

func (g *gazetteer) len() int { return len(g.records) / recordSize }

func (g *gazetteer) record(i int) record {
	b := g.records[i*recordSize : (i+1)*recordSize]
	return record{
		position: g.position(i),
		name:     binary.LittleEndian.Uint32(b[12:]),
		city:     binary.LittleEndian.Uint32(b[16:]),
		state:    binary.LittleEndian.Uint16(b[20:]),
		country:  binary.LittleEndian.Uint16(b[22:]),
		reach:    math.Float32frombits(binary.LittleEndian.Uint32(b[24:])),
	}
}

func (g *gazetteer) position(i int) vector {
	b := g.records[i*recordSize : i*recordSize+12]
	return vector{
		math.Float32frombits(binary.LittleEndian.Uint32(b)),
		math.Float32frombits(binary.LittleEndian.Uint32(b[4:])),
		math.Float32frombits(binary.LittleEndian.Uint32(b[8:])),
	}
}

// name returns the text at an offset; it shares the file's memory.
func (g *gazetteer) name(offset uint32) string {
	size := int(g.names[offset])
	if size == 0 {
		return ""
	}
	return unsafe.String(&g.names[offset+1], size)
}

func (g *gazetteer) state(i uint16) string {
	return g.name(binary.LittleEndian.Uint32(g.states[4*int(i):]))
}

// countryCode returns the two letters of a country, "" for 0.
func (g *gazetteer) countryCode(i uint16) string {
	if i == 0 {
		return ""
	}
	return string(g.countries[2*int(i)-2 : 2*int(i)])
}

// zoneCountry returns the one country of a time zone, 0 where it has several or
// is unknown.
func (g *gazetteer) zoneCountry(zone string) uint16 {
	at := func(i int) string { return g.name(binary.LittleEndian.Uint32(g.zones[8*i:])) }
	n := len(g.zones) / 8
	i := sort.Search(n, func(i int) bool { return at(i) >= zone })
	if i == n || at(i) != zone {
		return 0
	}
	return uint16(binary.LittleEndian.Uint32(g.zones[8*i+4:]))
}

// maxReach bounds record.reach, in km: past it, a place of another name is nearer
// than the edge of a big city would suggest.
const maxReach = 2

// nearest returns the place whose reach is nearest to a point, among those of a
// country (0: any) within limit km of the point; -1 where there is none.
func (g *gazetteer) nearest(at vector, country uint16, limit float64) int {
	search := search{gazetteer: g, at: at, country: country, city: anyCity, limit: limit, best: -1, score: math.Inf(1)}
	search.visit(0, g.len(), 0)
	return search.best
}

// district returns the place nearest to a point among a city and its districts,
// -1 where none lies within limit km.
func (g *gazetteer) district(at vector, city uint32, limit float64) int {
	search := search{gazetteer: g, at: at, city: city, limit: limit, best: -1, score: math.Inf(1)}
	search.visit(0, g.len(), 0)
	return search.best
}

const anyCity = math.MaxUint32

type search struct {
	*gazetteer
	at      vector
	country uint16 // 0: any
	city    uint32 // a record, or anyCity; with a city, reach does not count
	limit   float64
	best    int
	score   float64 // km to the best place, less its reach
}

// consider takes record i where it is better than the best so far.
func (s *search) consider(i int, position vector) {
	b := s.records[i*recordSize : (i+1)*recordSize]
	if s.country != 0 && s.country != binary.LittleEndian.Uint16(b[22:]) {
		return
	}
	if s.city != anyCity && s.city != binary.LittleEndian.Uint32(b[16:]) {
		return
	}
	km := s.at.distance(position)
	if km > s.limit {
		return
	}
	score := km
	if s.city == anyCity {
		score -= float64(math.Float32frombits(binary.LittleEndian.Uint32(b[24:])))
	}
	if score < s.score {
		s.best, s.score = i, score
	}
}

// visit walks the k-d tree of the records from lo to hi, split along axis.
func (s *search) visit(lo, hi, axis int) {
	if lo >= hi {
		return
	}
	middle := (lo + hi) / 2
	position := s.position(middle)
	s.consider(middle, position)
	next := (axis + 1) % 3
	apart := float64(s.at[axis]) - float64(position[axis])
	if apart < 0 {
		s.visit(lo, middle, next)
	} else {
		s.visit(middle+1, hi, next)
	}
	// The other side is at least that far away in a straight line.
	if km := math.Abs(apart) * earthRadius; km <= s.limit && km-maxReach < s.score {
		if apart < 0 {
			s.visit(middle+1, hi, next)
		} else {
			s.visit(lo, middle, next)
		}
	}
}
