package store

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
)

// behaviour 7.28, 7.29 and 7.31: counts and map cells agree with the listing
// over the same filter.
func TestGroupsAgreeWithReference(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	s := open(t)
	clock := epoch
	s.now = func() time.Time { clock = clock.Add(time.Millisecond); return clock }
	l := newTestLibrary(t, s)
	l.populate(t, r, 2, 2, 3)
	l.write(t, func(tx *Tx) error {
		for range 400 {
			if err := l.add(t, tx, r); err != nil {
				return err
			}
		}
		return nil
	})
	for range 20 {
		l.churn(t, r, true)
	}
	byID := map[banksia.AssetID]*testAsset{}
	for _, a := range l.assets {
		byID[a.id] = a
	}
	for range 150 {
		f := l.randomFilter(r)
		f.Ascending = false
		want := map[int64]int64{}
		for _, id := range l.reference(f) {
			wall := time.UnixMicro(byID[id].local.Wall).UTC()
			want[time.Date(wall.Year(), wall.Month(), 1, 0, 0, 0, 0, time.UTC).UnixMicro()]++
		}
		f.Limit = 1 + r.IntN(3)
		months, last := 0, int64(math.MaxInt64)
		for page := f; ; { // paged as behaviour 7.28 says
			counts, more, err := l.CountAssetsByMonth(t.Context(), l.scope, page)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range counts {
				if c.Month.Wall >= last || c.Count != want[c.Month.Wall] {
					t.Fatalf("%+v: month %s counts %d, want %d", f, c.Month, c.Count, want[c.Month.Wall])
				}
				last = c.Month.Wall
				months++
			}
			if !more {
				break
			}
			if page.Before != nil && page.Before.Offset != nil {
				break // the cursor would replace the filter's own bound, of the other kind
			}
			page.Before = &banksia.LocalTime{Wall: last}
		}
		if months != len(want) && (f.Before == nil || f.Before.Offset == nil) {
			t.Fatalf("%+v: %d months, want %d", f, months, len(want))
		}
	}
	for range 150 {
		f := l.randomFilter(r)
		f.Ascending, f.State = false, []State{Live, All}[r.IntN(2)]
		if box, ok := f.Area.(Box); !ok || box.MinLon > box.MaxLon && r.IntN(2) == 0 {
			f.Area = Box{-180, -90, 180, 90}
		}
		size := []float64{0.01, 1, 10, 45, 360}[r.IntN(5)]
		type cell struct{ row, column float64 }
		members := map[cell][]banksia.AssetID{}
		for _, id := range l.reference(f) { // newest first, the larger ID among equals
			a := byID[id]
			key := cell{math.Floor((*a.lat + 90) / size), math.Floor((*a.lon + 180) / size)}
			members[key] = append(members[key], id)
		}
		clusters, err := l.ClusterAssets(t.Context(), l.scope, f, size)
		if err != nil {
			t.Fatal(err)
		}
		if len(clusters) != len(members) {
			t.Fatalf("%+v: %d cells of %g, want %d", f, len(clusters), size, len(members))
		}
		for _, c := range clusters {
			a := byID[c.RepresentativeAssetID]
			ids := members[cell{math.Floor((*a.lat + 90) / size), math.Floor((*a.lon + 180) / size)}]
			if int(c.Count) != len(ids) || ids[0] != c.RepresentativeAssetID {
				t.Fatalf("%+v: a cell has %d assets and %s, want %d and %s", f, c.Count, c.RepresentativeAssetID, len(ids), ids[0])
			}
			var lat, lon float64
			for _, id := range ids {
				lat, lon = lat+*byID[id].lat/float64(len(ids)), lon+*byID[id].lon/float64(len(ids))
			}
			if math.Abs(lat-c.Latitude) > 1e-6 || math.Abs(lon-c.Longitude) > 1e-6 {
				t.Fatalf("%+v: a cell is at %g, %g, want %g, %g", f, c.Latitude, c.Longitude, lat, lon)
			}
		}
	}
}

func TestClusterAssetsRefusesTooManyCells(t *testing.T) {
	t.Parallel()
	s := open(t)
	l := newTestLibrary(t, s)
	r := rand.New(rand.NewPCG(7, 8))
	l.write(t, func(tx *Tx) error {
		for len(l.assets) < 2400 { // about two thirds have coordinates
			if err := l.add(t, tx, r); err != nil {
				return err
			}
		}
		return nil
	})
	cells := map[[2]float64]bool{}
	for _, a := range l.assets {
		if a.lat != nil {
			cells[[2]float64{math.Floor((*a.lat + 90) / 0.0001), math.Floor((*a.lon + 180) / 0.0001)}] = true
		}
	}
	if len(cells) <= MaxGeoClusters {
		t.Fatalf("only %d cells", len(cells))
	}
	f := AssetFilter{LibraryID: l.id, State: Live, Area: Box{-180, -90, 180, 90}}
	if _, err := l.ClusterAssets(t.Context(), l.scope, f, 0.0001); banksia.ErrorCode(err) != banksia.CodeValidation {
		t.Errorf("more than %d cells: %v", MaxGeoClusters, err)
	}
	if clusters, err := l.ClusterAssets(t.Context(), l.scope, f, 30); err != nil || len(clusters) == 0 || !slices.IsSortedFunc(clusters, func(a, b GeoCluster) int { return int(b.Count - a.Count) }) {
		t.Errorf("%d cells, %v", len(clusters), err)
	}
}
