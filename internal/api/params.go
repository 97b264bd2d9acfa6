package api

import (
	"math"
	"net/url"
	"strconv"
	"strings"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api/wire"
	"github.com/banksia-photos/banksia/internal/store"
)

// params reads query parameters and collects every problem, so that a client
// learns of all at once. A blank value counts as absent, unknown keys are
// ignored, and of a repeated single value the last one counts.
type params struct {
	values   url.Values
	problems []banksia.FieldError
}

// newParams reads a query. One that is not properly encoded is a problem: which
// parameters it holds is anybody's guess.
func newParams(query string) *params {
	values, err := url.ParseQuery(query)
	p := &params{values: values}
	if err != nil {
		p.problems = append(p.problems, banksia.FieldError{Loc: []string{"query"}, Msg: "is not properly encoded", Type: "value_error"})
	}
	return p
}

func (p *params) bad(name, message string) {
	p.problems = append(p.problems, banksia.FieldError{Loc: []string{"query", name}, Msg: message, Type: "value_error"})
}

// err is the validation error of all problems together; nil when there are none.
func (p *params) err() error {
	if len(p.problems) == 0 {
		return nil
	}
	texts := make([]string, len(p.problems))
	for i, f := range p.problems {
		texts[i] = f.Loc[len(f.Loc)-1] + ": " + f.Msg
	}
	return &banksia.Error{Code: banksia.CodeValidation, Message: strings.Join(texts, "; "), Fields: p.problems}
}

func (p *params) text(name string) string {
	all := p.values[name]
	if len(all) == 0 {
		return ""
	}
	return strings.TrimSpace(all[len(all)-1])
}

// list takes repeated keys, keys ending in [], and comma-separated values alike
// (behaviour 2.2). present tells whether there was any value.
func (p *params) list(name string) (values []string, present bool) {
	for _, key := range []string{name, name + "[]"} {
		for _, text := range p.values[key] {
			for _, value := range strings.Split(text, ",") {
				if value = strings.TrimSpace(value); value != "" {
					values = append(values, value)
				}
			}
		}
	}
	return values, len(values) > 0
}

// id reads one identifier.
func id[T interface {
	~[16]byte
	Prefix() string
}](p *params, name string) *T {
	text := p.text(name)
	if text == "" {
		return nil
	}
	value, err := banksia.ParseID[T](text)
	if err != nil {
		p.bad(name, err.Error())
		return nil
	}
	return &value
}

// ids reads up to 200 identifiers (behaviour 3.5).
func ids[T interface {
	~[16]byte
	Prefix() string
}](p *params, name string) []T {
	texts, present := p.list(name)
	if !present {
		return nil
	}
	if len(texts) > maxIDs {
		p.bad(name, "at most 200 values")
		return nil
	}
	values := make([]T, 0, len(texts))
	for _, text := range texts {
		value, err := banksia.ParseID[T](text)
		if err != nil {
			p.bad(name, err.Error())
			return nil
		}
		values = append(values, value)
	}
	return values
}

// maxIDs bounds every list of identifiers in a request.
const maxIDs = 200

// choice reads one of a few words.
func choice[T ~string](p *params, name string, fallback T, allowed ...T) T {
	text := p.text(name)
	if text == "" {
		return fallback
	}
	names := make([]string, len(allowed))
	for i, value := range allowed {
		if T(text) == value {
			return value
		}
		names[i] = string(value)
	}
	p.bad(name, "must be one of "+strings.Join(names, ", "))
	return fallback
}

func (p *params) integer(name string, fallback, smallest, largest int) int {
	text := p.text(name)
	if text == "" {
		return fallback
	}
	value, err := strconv.Atoi(text)
	if err != nil || value < smallest || value > largest {
		p.bad(name, "must be a whole number from "+strconv.Itoa(smallest)+" to "+strconv.Itoa(largest))
		return fallback
	}
	return value
}

// limit is the page size (behaviour 3.4, 7.15).
func (p *params) limit() int { return p.integer("limit", 20, 1, 200) }

// number reads a finite decimal number.
func number(text string) (float64, bool) {
	value, err := strconv.ParseFloat(text, 64)
	return value, err == nil && !math.IsNaN(value) && !math.IsInf(value, 0) && !strings.ContainsAny(text, "xXpP_")
}

func (p *params) time(name string) *banksia.LocalTime {
	text := p.text(name)
	if text == "" {
		return nil
	}
	t, err := banksia.ParseLocalTime(text)
	if err != nil {
		p.bad(name, err.Error())
		return nil
	}
	return &t
}

// bounds reads the capture time bounds; both must carry an offset or neither
// (behaviour 7.17).
func (p *params) bounds(f *store.AssetFilter) {
	f.After, f.Before = p.time("local_datetime_after"), p.time("local_datetime_before")
	if f.After != nil && f.Before != nil && (f.After.Offset == nil) != (f.Before.Offset == nil) {
		p.bad("local_datetime_before", "must carry an offset exactly if local_datetime_after does")
	}
}

// coordinates reads n comma-separated numbers, longitude and latitude in turn.
func (p *params) coordinates(name string, n int) []float64 {
	text := p.text(name)
	if text == "" {
		return nil
	}
	parts := strings.Split(text, ",")
	if len(parts) != n {
		p.bad(name, "must be "+strconv.Itoa(n)+" numbers separated by commas")
		return nil
	}
	values := make([]float64, n)
	for i, part := range parts {
		value, ok := number(strings.TrimSpace(part))
		limit := 180.0
		if i%2 == 1 {
			limit = 90
		}
		if !ok || value < -limit || value > limit {
			p.bad(name, "longitudes are from -180 to 180 and latitudes from -90 to 90, each longitude first")
			return nil
		}
		values[i] = value
	}
	return values
}

// box reads a bounding box (behaviour 7.19).
func (p *params) box() *store.Box {
	c := p.coordinates("bbox", 4)
	if c == nil {
		return nil
	}
	if c[1] > c[3] {
		p.bad("bbox", "the smaller latitude comes first")
		return nil
	}
	return &store.Box{MinLon: c[0], MinLat: c[1], MaxLon: c[2], MaxLat: c[3]}
}

// area reads bbox, or center and radius.
func (p *params) area(f *store.AssetFilter) {
	box, center, radius := p.box(), p.coordinates("center", 2), p.text("radius")
	hasCenter := p.text("center") != ""
	switch {
	case p.text("bbox") != "" && (hasCenter || radius != ""):
		p.bad("bbox", "cannot be combined with center and radius")
	case hasCenter != (radius != ""):
		p.bad("center", "center and radius go together")
	case box != nil:
		f.Area = *box
	case hasCenter:
		metres, ok := number(radius)
		if !ok || metres <= 0 || metres > 50000 {
			p.bad("radius", "must be more than 0 and at most 50000 metres")
			return
		}
		if center != nil {
			f.Area = store.Circle{Lon: center[0], Lat: center[1], Radius: metres}
		}
	}
}

// people reads person_ids and its older, singular form.
func (p *params) people(f *store.AssetFilter) {
	f.PersonIDs = ids[banksia.PersonID](p, "person_ids")
	one := id[banksia.PersonID](p, "person_id")
	if one == nil {
		return
	}
	if _, several := p.list("person_ids"); several {
		p.bad("person_id", "cannot be combined with person_ids")
		return
	}
	f.PersonIDs = []banksia.PersonID{*one}
}

// albums reads the two album filters.
func (p *params) albums(f *store.AssetFilter) {
	f.AlbumID = id[banksia.AlbumID](p, "album_id")
	f.AlbumFilter = choice(p, "album_filter", "all", "all", store.InAlbum, store.NotInAlbum)
	if f.AlbumFilter == "all" {
		f.AlbumFilter = store.AnyAlbum
	}
	if f.AlbumFilter == store.NotInAlbum && f.AlbumID != nil {
		p.bad("album_filter", "not_in_album cannot be combined with album_id")
	}
}

func (p *params) state() store.State {
	return choice(p, "state", store.Live, store.Live, store.Trashed, store.All)
}

// include reads the include parameter. Its presence alone, even when empty, asks
// for the lean shape.
func (p *params) include() wire.Include {
	_, plain := p.values["include"]
	_, bracketed := p.values["include[]"]
	if !plain && !bracketed {
		return wire.FullShape
	}
	var include wire.Include
	values, _ := p.list("include")
	for _, value := range values {
		group := include.Token(value)
		if group == nil {
			p.bad("include", "unknown value; known are metadata, faces, people, metrics, file_data, variants")
			break
		}
		*group = true
	}
	return include
}

// assetFilter reads every parameter of GET /api/assets but the library.
func (p *params) assetFilter() store.AssetFilter {
	f := store.AssetFilter{
		IDs:           ids[banksia.AssetID](p, "ids"),
		StackID:       id[banksia.StackID](p, "stack_id"),
		MediaType:     choice(p, "media_type", "", banksia.Image, banksia.Video),
		State:         p.state(),
		Ascending:     choice(p, "order", "desc", "asc", "desc") == "asc",
		StartingAfter: id[banksia.AssetID](p, "starting_after_id"),
		Limit:         p.limit(),
	}
	p.albums(&f)
	p.people(&f)
	p.bounds(&f)
	p.area(&f)
	return f
}
