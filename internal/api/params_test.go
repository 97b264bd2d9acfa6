package api

import (
	"math"
	"testing"

	"github.com/banksia-photos/banksia/internal/store"
)

// Whatever a query says, the filter that comes out of it is one that the store
// may run, or there is an error.
func FuzzAssetFilter(f *testing.F) {
	for _, query := range []string{
		"", "limit=20&state=trashed&order=asc", "bbox=170,-10,-170,10", "center=2,48&radius=1e4", "bbox=NaN,0,1,1&radius=Inf",
		"ids=asset_BM3nUmJ6fkBqBADyz5FEiu,asset_BM3nUmJ6fkBqBADyz5FEiu&include=faces,,metadata", "person_id=x&person_ids[]=y",
		"local_datetime_after=2020-01-01T00:00:00.000001%2B01:00&local_datetime_before=2020-01-01", "limit=%00", "album_filter=not_in_album&album_id=album_2222222222222222222222",
		"media_type=video&stack_id=asset_stack_2222222222222222222222&starting_after_id=asset_2222222222222222222222", "%zz=1;&=&&limit=1&limit=2",
	} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		p := newParams(query)
		filter := p.assetFilter()
		p.include()
		if p.err() != nil {
			return
		}
		if filter.Limit < 1 || filter.Limit > 200 || len(filter.IDs) > maxIDs || len(filter.PersonIDs) > maxIDs {
			t.Errorf("%q: %+v", query, filter)
		}
		if filter.After != nil && filter.Before != nil && (filter.After.Offset == nil) != (filter.Before.Offset == nil) {
			t.Errorf("%q: bounds of two kinds", query)
		}
		finite := func(values ...float64) {
			for _, value := range values {
				if math.IsNaN(value) || math.Abs(value) > 50000 {
					t.Errorf("%q: %+v", query, filter.Area)
				}
			}
		}
		switch area := filter.Area.(type) {
		case store.Box:
			finite(area.MinLon, area.MinLat, area.MaxLon, area.MaxLat)
		case store.Circle:
			finite(area.Lon, area.Lat, area.Radius)
		}
	})
}
