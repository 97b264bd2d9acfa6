package derive

import (
	"context"
	"errors"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/place"
	"github.com/banksia-photos/banksia/internal/store"
	"github.com/banksia-photos/banksia/internal/task"
)

// reverseGeocode finds the names and the time zone of an asset's coordinates. It
// keeps the names that the file itself has, and fills in the offset of the zone
// where the file has none.
func (d *Deriver) reverseGeocode(ctx context.Context, a banksia.Asset) (task.Commit, error) {
	all, err := d.store.MetadataOf(ctx, []banksia.AssetID{a.ID})
	if err != nil {
		return nil, err
	}
	m, ok := all[a.ID]
	if !ok || m.Latitude == nil || m.Longitude == nil {
		return nil, nil
	}
	latitude, longitude := *m.Latitude, *m.Longitude
	found, err := d.places.Lookup(ctx, latitude, longitude)
	if errors.Is(err, place.ErrCoordinates) {
		return nil, task.Final("The coordinates are out of range.", err)
	}
	if err != nil {
		return nil, err
	}
	return func(tx *store.Tx) (string, error) {
		summary := "no place is near"
		err := tx.UpdatePlace(a.ID, func(m *banksia.Metadata) {
			if m.Latitude == nil || *m.Latitude != latitude || m.Longitude == nil || *m.Longitude != longitude {
				return // moved meanwhile, so another task is on its way
			}
			// The names of the file belong together: one of them from here beside
			// another from there could name a city of the wrong country.
			if m.City == nil && m.State == nil && m.Country == nil && m.CountryCode == nil {
				m.City, m.State, m.Country, m.CountryCode = known(found.City), known(found.State), known(found.Country), known(found.CountryCode)
				if m.Sublocation == nil {
					m.Sublocation = known(found.Sublocation)
				}
			}
			m.Timezone = known(found.Timezone)
			for bit, t := range m.Times() {
				if *t == nil || (*t).Offset != nil {
					continue
				}
				if minutes, ok := d.places.OffsetAt(latitude, longitude, time.UnixMicro((*t).Wall).UTC()); ok {
					(*t).Offset = &minutes
					m.DerivedOffsets |= bit
				}
			}
			if label := m.DisplayLabel(); label != nil {
				summary = *label
			}
		})
		return summary, err
	}, nil
}

func known(name string) *string {
	if name == "" {
		return nil
	}
	return &name
}
