package place

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // zones must resolve on hosts without a zone database

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

// Place is what is known of a point; "" is unknown.
type Place struct {
	City        string // town or city
	State       string // first-order division: state, region, province
	Country     string // in English
	CountryCode string // ISO 3166-1 alpha-2, and XK for Kosovo
	Sublocation string // district or section of City
	Timezone    string // IANA name, at sea Etc/GMT±n
}

// ErrCoordinates is returned for coordinates that are no point on the earth.
var ErrCoordinates = errors.New("latitude must be within ±90 and longitude within ±180")

// Within these distances, in km, of the nearest place its names hold.
const (
	cityLimit     = 30
	districtLimit = 5
	stateLimit    = 50
	seaLimit      = 10 // outside territorial waters, where a coast is simplified
)

// Geocoder finds places. It is safe for concurrent use. Its data is read on first
// use, in about 0.1 s, and then takes about 20 MB.
type Geocoder struct {
	zones     func() *zoneIndex
	gazetteer func() *gazetteer
	locations sync.Map // zone name -> *time.Location
}

//go:embed data
var data embed.FS

// New returns a Geocoder over the data in the program.
func New() *Geocoder {
	return &Geocoder{
		zones: sync.OnceValue(func() *zoneIndex {
			index, err := loadZones()
			if err != nil {
				panic(err) // the data is part of the program
			}
			return index
		}),
		gazetteer: sync.OnceValue(func() *gazetteer {
			packed, err := data.ReadFile("data/places.bin")
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			var names *gazetteer
			if err == nil {
				names, err = openGazetteer(packed)
			}
			if err != nil {
				panic(err)
			}
			return names
		}),
	}
}

// HasNames tells whether the program was built with place names. Without them
// Lookup finds time zones only.
func (g *Geocoder) HasNames() bool { return g.gazetteer() != nil }

// Lookup describes the point at a latitude and longitude in degrees (WGS 84). The
// only error is ErrCoordinates; a point far from everything has a zone alone.
func (g *Geocoder) Lookup(_ context.Context, latitude, longitude float64) (Place, error) {
	if !valid(latitude, longitude) {
		return Place{}, fmt.Errorf("look up %g, %g: %w", latitude, longitude, ErrCoordinates)
	}
	found := Place{Timezone: g.Timezone(latitude, longitude)}
	names := g.gazetteer()
	if names == nil {
		return found, nil
	}
	at := vectorOf(latitude, longitude)
	country, limit := names.zoneCountry(found.Timezone), float64(stateLimit)
	if isSea(found.Timezone) {
		limit = seaLimit
	}
	if nearest := names.nearest(at, country, limit); nearest >= 0 {
		record := names.record(nearest)
		country = record.country
		km := at.distance(record.position)
		found.State = names.state(record.state)
		if km <= cityLimit {
			found.City = names.name(names.record(int(record.city)).name)
			district := names.district(at, record.city, districtLimit)
			if district >= 0 && uint32(district) != record.city {
				found.Sublocation = names.name(names.record(district).name)
			}
		}
	}
	found.CountryCode = names.countryCode(country)
	found.Country = countryName(found.CountryCode)
	return found, nil
}

// Timezone returns the IANA name of the zone at a point, "" for coordinates that
// are none.
func (g *Geocoder) Timezone(latitude, longitude float64) string {
	if !valid(latitude, longitude) {
		return ""
	}
	index := g.zones()
	if id := index.find(latitude, longitude); id >= 0 {
		return index.names[id]
	}
	return ""
}

// OffsetAt returns the offset from UTC, in minutes east, that clocks at a point
// showed when they showed wall, of which only the date and the clock count. Local
// mean times are rounded to the minute. A wall clock that a change of offset
// repeats or skips gets the offset before or after it, as time.Date has it. ok is
// false where the zone is unknown.
func (g *Geocoder) OffsetAt(latitude, longitude float64, wall time.Time) (minutes int, ok bool) {
	zone := g.Timezone(latitude, longitude)
	if zone == "" {
		return 0, false
	}
	location, ok := g.location(zone)
	if !ok {
		return 0, false
	}
	year, month, day := wall.Date()
	hour, minute, second := wall.Clock()
	_, seconds := time.Date(year, month, day, hour, minute, second, wall.Nanosecond(), location).Zone()
	return int(math.Round(float64(seconds) / 60)), true
}

func (g *Geocoder) location(zone string) (*time.Location, bool) {
	if known, ok := g.locations.Load(zone); ok {
		return known.(*time.Location), true
	}
	location, err := time.LoadLocation(zone)
	if err != nil {
		return nil, false
	}
	g.locations.Store(zone, location)
	return location, true
}

func valid(latitude, longitude float64) bool { // false for NaN
	return latitude >= -90 && latitude <= 90 && longitude >= -180 && longitude <= 180
}

// isSea tells zones of international waters, which follow the meridians.
func isSea(zone string) bool { return strings.HasPrefix(zone, "Etc/") }

// countryName is the English name of a country in the Unicode CLDR, but for
// those that it gives in a form made for lists.
func countryName(code string) string {
	switch code {
	case "":
		return ""
	case "CD":
		return "Democratic Republic of the Congo"
	case "CG":
		return "Republic of the Congo"
	case "HK":
		return "Hong Kong"
	case "MK":
		return "North Macedonia"
	case "MM":
		return "Myanmar"
	case "MO":
		return "Macao"
	case "PS":
		return "Palestine"
	case "SZ":
		return "Eswatini"
	}
	region, err := language.ParseRegion(code)
	if err != nil {
		return ""
	}
	return display.English.Regions().Name(region)
}
