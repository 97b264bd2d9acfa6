package place

import (
	"testing"

	tzfrellite "github.com/ringsaturn/tzf-rel-lite"
)

// A square of 10 degrees around the origin with a square hole of 2 degrees, as
// polylines of longitude and latitude.
const (
	squareRing = "~po]~po]_c`|@??_c`|@~b`|@?"
	holeRing   = "~hbE~hbE_seK??_seK~reK?"
)

func message(field byte, value string) string {
	return string([]byte{field<<3 | 2, byte(len(value))}) + value
}

func TestParseZones(t *testing.T) {
	polygon := message(1, squareRing) + message(2, message(1, holeRing))
	index, err := parseZones([]byte("\x08\x01" + message(2, message(1, polygon)+message(2, "Test/Square")) + message(3, "2025b")))
	if err != nil {
		t.Fatal(err)
	}
	if len(index.names) != 1 || index.names[0] != "Test/Square" || len(index.polygons) != 1 {
		t.Fatalf("read %d polygons of %v", len(index.polygons), index.names)
	}
	for _, test := range []struct {
		latitude, longitude float64
		want                int
	}{
		{4, 4, 0}, {-4, -4, 0}, {4, -4, 0}, {0, 3, 0}, {3, 0, 0}, {4.99, 4.99, 0},
		{0, 0, -1}, {.5, -.5, -1}, {6, 0, -1}, {0, 6, -1}, {0, -6, -1}, {-6, 0, -1}, {90, 180, -1},
		{5.01, 0, 0}, // the zone is within 0.02 degrees
	} {
		if got := index.find(test.latitude, test.longitude); got != test.want {
			t.Errorf("%g, %g is in zone %d, want %d", test.latitude, test.longitude, got, test.want)
		}
	}
}

func FuzzParseZones(f *testing.F) {
	f.Add([]byte(message(2, message(1, message(1, squareRing))+message(2, "Test/Square"))))
	f.Add([]byte(message(2, message(2, "Test/Empty"))))
	f.Add([]byte{0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Add(tzfrellite.LiteCompressData[:2000])
	f.Fuzz(func(t *testing.T, data []byte) {
		if index, err := parseZones(data); err == nil {
			for _, point := range [][2]float64{{0, 0}, {90, 180}, {-90, -180}} {
				if id := index.find(point[0], point[1]); id >= len(index.names) {
					t.Errorf("zone %d of %d", id, len(index.names))
				}
			}
		}
	})
}
