package api_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api"
	"github.com/banksia-photos/banksia/internal/banksiatest"
	"github.com/banksia-photos/banksia/internal/store"
)

// filled is a library in which every filter finds something. Assets are numbered
// by time; the names of the sets tell what is in them.
type filled struct {
	*banksiatest.Server
	assets                []banksia.Asset
	album, person, second string
	stack                 string
}

// newFilled makes ten assets, one a day at noon from 1 January 2020, the even ones
// with the offset +02:00. 0 to 2 are in an album, 1 to 4 show a person, 2 to 5 a
// second one, 5 and 6 are a stack, 7 is a video, 8 and 9 lie in Fiji on both sides
// of the antimeridian, 0 in Paris. 9 is in the trash.
func newFilled(t *testing.T) *filled {
	t.Helper()
	f := &filled{Server: banksiatest.NewServer(t)}
	begin := time.Date(2020, 1, 1, 12, 0, 0, 0, time.FixedZone("", 7200))
	f.assets = f.AddAssets(t, 10, func(i int, a *banksia.Asset, m *banksia.Metadata) {
		at := banksia.NewLocalTime(begin.AddDate(0, 0, i))
		if i%2 == 1 {
			at = at.Naive()
		}
		a.File.CreatedAt, a.File.ModifiedAt = at, at
		switch i {
		case 0:
			m.Latitude, m.Longitude = pointer(48.8583), pointer(2.2944)
		case 7:
			a.MediaType, a.Version.MIMEType = banksia.Video, "video/mp4"
		case 8:
			m.Latitude, m.Longitude = pointer(-17.0), pointer(179.5)
		case 9:
			m.Latitude, m.Longitude = pointer(-17.0), pointer(-179.5)
		}
	})
	now := f.Store.Now()
	album := banksia.Album{ID: banksia.NewID[banksia.AlbumID](now), LibraryID: f.Library, CreatedAt: now, UpdatedAt: now}
	stack := banksia.Stack{ID: banksia.NewID[banksia.StackID](now), LibraryID: f.Library, Origin: banksia.StackUser, CreatedAt: now, UpdatedAt: now}
	people := [2]banksia.Person{}
	err := f.Store.Change(t.Context(), f.Owner.ID, func(tx *store.Tx) error {
		if err := tx.InsertAlbum(&album); err != nil {
			return err
		}
		for _, a := range f.assets[:3] {
			if err := tx.InsertAlbumAsset(banksia.NewID[banksia.AlbumAssetID](now), album.ID, a.ID); err != nil {
				return err
			}
		}
		for n := range people {
			people[n] = banksia.Person{ID: banksia.NewID[banksia.PersonID](now), LibraryID: f.Library, CreatedAt: now, UpdatedAt: now}
			if err := tx.InsertPerson(&people[n]); err != nil {
				return err
			}
			for _, a := range f.assets[1+n : 5+n] {
				face := banksia.Face{ID: banksia.NewID[banksia.FaceID](now), LibraryID: f.Library, AssetID: a.ID, PersonID: &people[n].ID, Source: banksia.FaceManual, BoundingBox: banksia.BoundingBox{W: 9, H: 9}, CreatedAt: now, UpdatedAt: now}
				if err := tx.InsertFace(&face); err != nil {
					return err
				}
			}
		}
		return tx.InsertStack(&stack, []banksia.AssetID{f.assets[5].ID, f.assets[6].ID})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Catalog.TrashAssets(t.Context(), f.Scope, f.Library, []banksia.AssetID{f.assets[9].ID}); err != nil {
		t.Fatal(err)
	}
	f.album, f.person, f.second, f.stack = album.ID.String(), people[0].ID.String(), people[1].ID.String(), stack.ID.String()
	return f
}

// numbers are the numbers of the assets of a page, as text.
func (f *filled) numbers(p page) string {
	text := ""
	for _, a := range p.Data {
		text += fmt.Sprint(slices.IndexFunc(f.assets, func(b banksia.Asset) bool { return b.ID.String() == a.ID }))
	}
	return text
}

// behaviour 7.13 to 7.20: every filter alone and together, with the order.
func TestFilters(t *testing.T) {
	t.Parallel()
	f := newFilled(t)
	for query, want := range map[string]string{
		"":                           "876543210",
		"state=trashed":              "9",
		"state=all":                  "9876543210",
		"order=asc":                  "012345678",
		"state=all&order=asc":        "0123456789",
		"album_id=" + f.album:        "210",
		"album_filter=in_album":      "210",
		"album_filter=not_in_album":  "876543",
		"album_filter=all&limit=200": "876543210",
		"album_filter=in_album&album_id=" + f.album:                                       "210",
		"person_id=" + f.person:                                                           "4321",
		"person_ids=" + f.person:                                                          "4321",
		"person_ids=" + f.person + "," + f.second:                                         "432",
		"person_ids=" + f.person + "&person_ids=" + f.second:                              "432",
		"person_ids=" + f.person + "&album_id=" + f.album:                                 "21",
		"person_ids=" + f.person + "," + f.second + "&album_id=" + f.album + "&order=asc": "2",
		"stack_id=" + f.stack:                                                             "65",
		"media_type=video":                                                                "7",
		"media_type=image&state=all":                                                      "986543210",
		"bbox=-180,-90,180,90":                                                            "80", // exactly the geotagged ones
		"bbox=179,-20,-179,-10&state=all":                                                 "98",
		"bbox=2,48,3,49":                                                                  "0",
		"bbox=2.2944,48.8583,2.2944,48.8583":                                              "0",
		"center=2.2944,48.8583&radius=1":                                                  "0",
		"center=-179.9,-17&radius=50000&state=all":                                        "9", // 42.6 km to 9, 63.8 km to 8
		"center=180,-17&radius=50000":                                                     "",  // 53.2 km to both
		"center=2.3,48.8583&radius=50000&media_type=video":                                "",
		"local_datetime_after=2020-01-08T12:00:00":                                        "8",
		"local_datetime_after=2020-01-08T11:59:59.999999":                                 "87",
		"local_datetime_before=2020-01-02":                                                "0",
		"local_datetime_before=2020-01-02T12:00:00":                                       "0",
		"local_datetime_before=2020-01-02T12:00:00.000001":                                "10",
		"local_datetime_after=2020-01-02&local_datetime_before=2020-01-04":                "21",
		// 0, 2, 4... were taken at 10:00 UTC; the others count as wall clock.
		"local_datetime_before=2020-01-03T10:00:00Z":                                        "10",
		"local_datetime_before=2020-01-03T12:00:00%2B02:00":                                 "10",
		"local_datetime_before=2020-01-03T12:00:00.000001%2B02:00":                          "210",
		"local_datetime_before=2020-01-03T12:00:00.000001+02:00":                            "210", // an unencoded plus is a space
		"local_datetime_after=2020-01-07T11:00:00Z":                                         "87",
		"local_datetime_after=2020-01-07T09:59:59.999999Z":                                  "876",
		"ids=" + f.assets[3].ID.String() + "," + f.assets[9].ID.String():                    "3",
		"ids=" + f.assets[3].ID.String() + "&ids=" + f.assets[9].ID.String() + "&state=all": "93",
		"ids=" + f.assets[3].ID.String() + "&media_type=video":                              "",
		"limit=3": "876",
		"limit=3&starting_after_id=" + f.assets[6].ID.String():                  "543",
		"order=asc&starting_after_id=" + f.assets[6].ID.String():                "78",
		"starting_after_id=" + f.assets[9].ID.String():                          "876543210", // trashed (21.6)
		"starting_after_id=" + f.assets[7].ID.String() + "&media_type=image":    "6543210",   // not in the set (21.6)
		"starting_after_id=" + f.assets[3].ID.String() + "&album_id=" + f.album: "210",
	} {
		answer := f.Call(t, "GET", "/api/assets?"+query, nil)
		if answer.Status != http.StatusOK {
			t.Errorf("%s: %d %s", query, answer.Status, answer.Body)
			continue
		}
		var p page
		answer.JSON(t, &p)
		if got := f.numbers(p); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
		if more := strings.Contains(query, "limit=3"); p.HasMore != more {
			t.Errorf("%s: has_more is %t", query, p.HasMore)
		}
	}
}

// behaviour 7.28 to 7.31: counts and clusters agree with the list.
func TestCountsAgree(t *testing.T) {
	t.Parallel()
	f := newFilled(t)
	for _, filter := range []string{"", "state=trashed", "state=all", "album_id=" + f.album, "album_filter=not_in_album", "person_id=" + f.person, "person_ids=" + f.person + "," + f.second,
		"local_datetime_before=2020-01-05", "local_datetime_after=2020-01-05T00:00:00Z"} {
		var counts struct {
			Data []struct {
				Count      int
				TimeBucket string `json:"time_bucket"`
			}
		}
		f.Call(t, "GET", "/api/assets/counts?"+filter, nil).JSON(t, &counts)
		var p page
		f.Call(t, "GET", "/api/assets?"+filter, nil).JSON(t, &p)
		if len(counts.Data) != 1 || counts.Data[0].Count != len(p.Data) || counts.Data[0].TimeBucket != "2020-01-01T00:00:00" {
			t.Errorf("%s: %+v, but %d assets", filter, counts, len(p.Data))
		}
	}
	var last struct{ Data []any }
	f.Call(t, "GET", "/api/assets/counts?local_datetime_before=2020-01-01T00:00:00", nil).JSON(t, &last) // the bucket as a cursor
	if len(last.Data) != 0 {
		t.Errorf("%+v", last)
	}
	for filter, want := range map[string]int{"": 2, "state=all": 3, "state=trashed": 1, "album_id=" + f.album: 1, "person_ids=" + f.person: 0, "local_datetime_after=2020-01-05": 1} {
		var clusters struct{ Data []struct{ Count int } }
		f.Call(t, "GET", "/api/assets/geo-clusters?bbox=-180,-90,180,90&cell_size=0.5&"+filter, nil).JSON(t, &clusters)
		if len(clusters.Data) != want {
			t.Errorf("clusters %s: %+v", filter, clusters)
		}
	}
}

// behaviour 7.14: a walk neither skips nor repeats while assets around it, and its
// own cursor, come and go.
func TestPagesWhileChanging(t *testing.T) {
	t.Parallel()
	f := newFilled(t)
	first := list(t, f.Server, "limit", "3")
	if f.numbers(first) != "876" {
		t.Fatal(f.numbers(first))
	}
	cursor := f.assets[6].ID
	change := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	second := func() string { return f.numbers(list(t, f.Server, "limit", "3", "starting_after_id", cursor.String())) }
	f.AddAsset(t, func(a *banksia.Asset, m *banksia.Metadata) { a.File.CreatedAt = f.assets[8].LocalDateTime }) // before the cursor
	if got := second(); got != "543" {
		t.Errorf("after an upload: %s", got)
	}
	change(f.Catalog.TrashAssets(t.Context(), f.Scope, f.Library, []banksia.AssetID{cursor}))
	if got := second(); got != "543" {
		t.Errorf("with a trashed cursor: %s", got)
	}
	change(f.Catalog.PurgeAssets(t.Context(), f.Scope, f.Library, []banksia.AssetID{cursor, f.assets[4].ID}))
	if got := second(); got != "532" {
		t.Errorf("with a purged cursor: %s", got)
	}
}

// Every parameter that the document names is read: nonsense in it is refused.
func TestDocumentedParametersAreRead(t *testing.T) {
	t.Parallel()
	f := newFilled(t)
	type parameter struct{ Name, In string }
	var document struct {
		Paths map[string]map[string]yaml.Node
	}
	if err := yaml.Unmarshal(api.Document, &document); err != nil {
		t.Fatal(err)
	}
	read := 0
	for path, valid := range map[string]string{
		"/api/assets": "", "/api/assets/counts": "", "/api/assets/geo-clusters": "bbox=0,0,1,1&cell_size=1", "/api/assets/{asset_id}": "", "/api/libraries": "", "/api/tasks/": "",
	} {
		var operation struct{ Parameters []parameter }
		get := document.Paths[path]["get"]
		if err := get.Decode(&operation); err != nil {
			t.Fatal(err)
		}
		for _, p := range operation.Parameters {
			if p.In != "query" {
				continue
			}
			read++
			values, err := url.ParseQuery(valid)
			if err != nil {
				t.Fatal(err)
			}
			values.Set(p.Name, "nonsense\xff\x00")
			answer := f.Call(t, "GET", strings.ReplaceAll(path, "{asset_id}", f.assets[0].ID.String())+"?"+values.Encode(), nil)
			var body struct {
				Detail []struct {
					Loc       []string
					Msg, Type string
				}
				Error, Message string
			}
			answer.JSON(t, &body)
			if answer.Status != http.StatusUnprocessableEntity || body.Error != "validation_error" || body.Message == "" || len(body.Detail) == 0 {
				t.Errorf("%s of %s: %d %s", p.Name, path, answer.Status, answer.Body)
				continue
			}
			if d := body.Detail[0]; d.Msg == "" || d.Type == "" || !slices.Equal(d.Loc, []string{"query", p.Name}) && p.Name != "radius" {
				t.Errorf("%s of %s: %+v", p.Name, path, d)
			}
		}
	}
	if read < 40 {
		t.Errorf("only %d parameters were found", read)
	}
}

// All problems are told at once (behaviour 3.1), and a query that cannot be decoded
// is not guessed at.
func TestProblemsTogether(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	answer := s.Call(t, "GET", "/api/assets?limit=0&state=x&bbox=1&ids=y&order=z", nil)
	var body struct{ Detail []struct{ Loc []string } }
	answer.JSON(t, &body)
	if answer.Status != http.StatusUnprocessableEntity || len(body.Detail) != 5 {
		t.Errorf("%d %s", answer.Status, answer.Body)
	}
	for _, query := range []string{"limit=%zz", "include=faces;people", "%=1"} {
		if answer := s.Call(t, "GET", "/api/assets?"+query, nil); answer.Status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", query, answer.Status)
		}
	}
	for _, query := range []string{"limit=&order=%20&ids=&ids=,&bbox=&state=", "limit=999&limit=1", "=1", "&&&"} { // blank is absent, the last one counts
		if answer := s.Call(t, "GET", "/api/assets?"+query, nil); answer.Status != http.StatusOK {
			t.Errorf("%s: %d %s", query, answer.Status, answer.Body)
		}
	}
}
