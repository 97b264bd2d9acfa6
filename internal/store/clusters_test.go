package store

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
)

// behaviour 7.29: the totals of map cells and the assets themselves give the same
// clusters, for boxes and grids on and off the borders of map cells, after every
// kind of change.
func TestTotalsAgreeWithAssets(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(11, 12))
	s := open(t)
	clock := epoch
	s.now = func() time.Time { clock = clock.Add(time.Millisecond); return clock }
	l := newTestLibrary(t, s)
	l.populate(t, r, 1, 1, 1)
	l.write(t, func(tx *Tx) error {
		for range 700 {
			if err := l.add(t, tx, r); err != nil {
				return err
			}
		}
		return nil
	})
	latitudes := []float64{-90, -89.999999999, -45, -5.625, 0, 5e-324, 1e-12, 45, 48.85, 48.8671875, 89.9999999999, 90}
	longitudes := []float64{-180, -179.9999999999, -135, 0, -1e-15, 2.35, 2.8125, 45, 179.9999999, 180}
	sizes := []float64{0.0001, 0.001, 0.01, 0.1, 0.3, 360.0 / (1 << 18), 360.0 / (1 << 12), 0.703125, 1, 5.625, 7, 10, 45, 90, 100, 360, 1e6}
	agreed := 0
	for round := range 60 {
		if round%3 == 0 {
			l.churn(t, r, true)
			// Corners, where rounding decides.
			l.write(t, func(tx *Tx) error {
				a := l.assets[r.IntN(len(l.assets))]
				if a.purged {
					return nil
				}
				latitude, longitude := latitudes[r.IntN(len(latitudes))], longitudes[r.IntN(len(longitudes))]
				a.lat, a.lon = &latitude, &longitude
				return tx.UpdateFileMetadata(a.id, func(m *banksia.Metadata) { m.Latitude, m.Longitude = a.lat, a.lon })
			})
		}
		for range 12 {
			pick := func(from []float64, end float64) float64 {
				if r.IntN(2) == 0 {
					return from[r.IntN(len(from))]
				}
				return (r.Float64()*2 - 1) * end
			}
			box := Box{pick(longitudes, 180), pick(latitudes, 90), pick(longitudes, 180), pick(latitudes, 90)}
			box.MinLat, box.MaxLat = min(box.MinLat, box.MaxLat), max(box.MinLat, box.MaxLat)
			if r.IntN(4) == 0 {
				box = Box{-180, -90, 180, 90}
			}
			f := AssetFilter{LibraryID: l.id, Area: box, State: []State{Live, Trashed, All}[r.IntN(3)]}
			size := sizes[r.IntN(len(sizes))]
			slow := &grid{cellSize: size, cells: map[gridCell]*gridTotal{}}
			if err := l.Read(t.Context(), func(tx *Tx) error { return tx.gatherAssets(slow, f) }); err != nil {
				t.Fatal(err)
			}
			got, err := l.ClusterAssets(t.Context(), l.scope, f, size)
			if err != nil {
				t.Fatal(err)
			}
			same := slices.EqualFunc(got, slow.clusters(), func(a, b GeoCluster) bool {
				return a.Count == b.Count && a.RepresentativeAssetID == b.RepresentativeAssetID &&
					math.Abs(a.Latitude-b.Latitude) < 1e-6 && math.Abs(a.Longitude-b.Longitude) < 1e-6
			})
			if !same {
				t.Fatalf("%+v in cells of %g: %+v, want %+v", f, size, got, slow.clusters())
			}
			agreed += len(got)
		}
	}
	if agreed < 1000 {
		t.Errorf("only %d clusters compared", agreed)
	}
	for _, a := range l.assets { // nothing stays of what is gone
		if !a.purged {
			l.write(t, func(tx *Tx) error { _, err := tx.PurgeAssets(l.id, []banksia.AssetID{a.id}); return err })
		}
	}
	var rows int
	err := l.Read(t.Context(), func(tx *Tx) error {
		return tx.QueryRow(`SELECT (SELECT COUNT(*) FROM asset_months) + (SELECT COUNT(*) FROM cell_totals) + (SELECT COUNT(*) FROM asset_cells)`).Scan(&rows)
	})
	if err != nil || rows != 0 {
		t.Errorf("%d totals of nothing, %v", rows, err)
	}
}

// Every float that cellOf puts into a band lies between its ends, and the next
// ones do not.
func TestBandIsExact(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(13, 14))
	for range 20000 {
		level := cellLevels[1+r.IntN(len(cellLevels)-1)]
		side := 360 / math.Exp2(float64(level))
		index := r.Int64N(1 << level)
		least, greatest := band(index, side, 1000)
		for x, want := range map[float64]int64{least: index, greatest: index, math.Nextafter(greatest, 1000): index + 1} {
			if got := int64(math.Floor(x / side)); got != want {
				t.Fatalf("%v is in band %d of level %d, want %d", x, got, level, want)
			}
		}
		if before := math.Nextafter(least, -1); index > 0 && int64(math.Floor(before/side)) != index-1 {
			t.Fatalf("band %d of level %d begins before %v", index, level, least)
		}
	}
}

func TestMonths(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"0001-01-01", "0004-02-29", "1900-02-28", "1969-12-31", "1970-01-01", "2000-02-29", "2024-12-31", "9999-12-31"} {
		day, err := time.Parse(time.DateOnly, text)
		if err != nil {
			t.Fatal(err)
		}
		month := monthOf(day.UnixMicro())
		if start := time.UnixMicro(monthStart(month)).UTC(); start.Year() != day.Year() || start.Month() != day.Month() || start.Day() != 1 {
			t.Errorf("%s: month %d starts on %s", text, month, start)
		}
	}
}

// Totals that the migration counts are those that are kept.
func TestTotalsOfOlderDatabase(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(15, 16))
	l := newTestLibrary(t, open(t))
	l.write(t, func(tx *Tx) error {
		for range 300 {
			if err := l.add(t, tx, r); err != nil {
				return err
			}
		}
		for i, year := range []int{1, 4, 1582, 1899, 1969, 1970, 2000, 2100, 9999} {
			wall := banksia.LocalTime{Wall: time.Date(year, time.Month(1+i), 28, 23, 59, 59, 0, time.UTC).UnixMicro()}
			if err := tx.UpdateFileMetadata(l.assets[i].id, func(m *banksia.Metadata) { m.OriginalDateTime = &wall }); err != nil {
				return err
			}
		}
		return nil
	})
	text, err := migrations.ReadFile("migrations/0004_totals.sql")
	if err != nil {
		t.Fatal(err)
	}
	l.write(t, func(tx *Tx) error {
		return tx.execScript(`ALTER TABLE asset_months RENAME TO kept_months; ALTER TABLE cell_totals RENAME TO kept_totals;` + l.dialect.schema.Replace(string(text)))
	})
	for kept, counted := range map[string]string{"kept_months": "asset_months", "kept_totals": "cell_totals"} {
		var n, different int
		err := l.Read(t.Context(), func(tx *Tx) error {
			return tx.QueryRow(`SELECT (SELECT COUNT(*) FROM `+kept+`), (SELECT COUNT(*) FROM (SELECT * FROM `+kept+` EXCEPT SELECT * FROM `+counted+`) AS missing) + (SELECT COUNT(*) FROM (SELECT * FROM `+counted+` EXCEPT SELECT * FROM `+kept+`) AS extra)`).Scan(&n, &different)
		})
		if err != nil || n == 0 || different > 0 {
			t.Errorf("%s: %d of %d rows differ, %v", counted, different, n, err)
		}
	}
}
