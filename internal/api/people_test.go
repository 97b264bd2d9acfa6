package api_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/banksiatest"
)

// person is what the tests read of an answer.
type person struct {
	ID              string             `json:"id"`
	Name            *string            `json:"name"`
	BirthDate       *string            `json:"birth_date"`
	IsFavorite      bool               `json:"is_favorite"`
	IsHidden        bool               `json:"is_hidden"`
	AssetCount      int                `json:"asset_count"`
	ThumbnailFaceID *string            `json:"thumbnail_face_id"`
	AssetURLs       map[string]variant `json:"asset_urls"`
	OlderURL        *string            `json:"thumbnail_face_url"`
	ClusterMetrics  *struct {
		FaceCount    int     `json:"face_count"`
		PairwiseMean float64 `json:"pairwise_mean"`
		PairwiseP90  float64 `json:"pairwise_p90"`
	} `json:"cluster_metrics"`
	CreatedAt, UpdatedAt string
}

// face is what the tests read of an answer.
type face struct {
	ID                string              `json:"id"`
	AssetID           string              `json:"asset_id"`
	PersonID          *string             `json:"person_id"`
	Source            string              `json:"source"`
	Confidence        *float64            `json:"confidence"`
	BoundingBox       banksia.BoundingBox `json:"bounding_box"`
	TimestampMS       *int                `json:"timestamp_ms"`
	AssetURLs         map[string]variant  `json:"asset_urls"`
	OlderURL          *string             `json:"thumbnail_url"`
	ClusterAssignment *struct {
		DistanceToPerson *float64 `json:"distance_to_person"`
		Candidates       []struct {
			PersonID string  `json:"person_id"`
			Name     *string `json:"name"`
			Distance float64 `json:"distance"`
		} `json:"candidates"`
	} `json:"cluster_assignment"`
}

type listOf[T any] struct {
	Data    []T  `json:"data"`
	HasMore bool `json:"has_more"`
}

// get calls the server, expects a status and decodes the answer.
func get[T any](t testing.TB, s *banksiatest.Server, status int, method, target string, body any) (result T) {
	t.Helper()
	want(t, s, status, method, target, body).JSON(t, &result)
	return result
}

func newPerson(t testing.TB, s *banksiatest.Server, name any) person {
	t.Helper()
	return get[person](t, s, 201, "POST", "/api/people", bodyOf{"name": name})
}

// newFace draws a face of a person, "" for nobody.
func newFace(t testing.TB, s *banksiatest.Server, asset, person string, box banksia.BoundingBox) face {
	t.Helper()
	body := bodyOf{"asset_id": asset, "bounding_box": box}
	if person != "" {
		body["person_id"] = person
	}
	return get[face](t, s, 201, "POST", "/api/faces", body)
}

func plain(*banksia.Asset, *banksia.Metadata) {}

var small = banksia.BoundingBox{X: 10, Y: 20, W: 100, H: 120}

func unknownID[T interface {
	~[16]byte
	Prefix() string
	fmt.Stringer
}]() string {
	return banksia.NewID[T](time.Now()).String()
}

// types reads the types and payloads of the events after a cursor.
func eventsAfter(t testing.TB, s *banksiatest.Server, cursor string) (lines []string, last string) {
	t.Helper()
	last = cursor
	for more := true; more; {
		target := "/api/events?limit=200"
		if last != "" {
			target += "&after_cursor=" + last
		}
		p := get[listOf[map[string]any]](t, s, 200, "GET", target, nil)
		for _, e := range p.Data {
			line := fmt.Sprint(e["event_type"], " ", e["entity_id"])
			if e["payload"] != nil {
				line += " " + jsonText(e["payload"])
			}
			lines, last = append(lines, line), e["cursor"].(string)
		}
		more = p.HasMore
	}
	return lines, last
}

// behaviour 11: a person from its beginning without faces to its end.
func TestPeople(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	nobody := newPerson(t, s, nil)
	if nobody.Name != nil || nobody.AssetCount != 0 || nobody.ThumbnailFaceID != nil || nobody.AssetURLs != nil {
		t.Errorf("%+v", nobody)
	}
	photo := s.AddAsset(t, plain)
	loose := newFace(t, s, photo.ID.String(), "", small)
	// behaviour 11.8: the face need not be the person's.
	ada := get[person](t, s, 201, "POST", "/api/people?x=1", bodyOf{"name": "Ada", "birth_date": "1815-12-10", "is_favorite": true, "is_hidden": true, "library_id": s.Library.String(), "thumbnail_face_id": loose.ID})
	if *ada.Name != "Ada" || *ada.BirthDate != "1815-12-10" || !ada.IsFavorite || !ada.IsHidden || *ada.ThumbnailFaceID != loose.ID || ada.AssetURLs["thumbnail"].URL == "" || !strings.HasSuffix(*ada.OlderURL, "/api/faces/"+loose.ID+"/thumbnail") {
		t.Errorf("%+v", ada)
	}
	again := get[person](t, s, 200, "GET", "/api/people/"+ada.ID+"?include=cluster_metrics", nil)
	if again.ClusterMetrics != nil || again.OlderURL != nil || !again.IsHidden { // behaviour 11.4
		t.Errorf("%+v", again)
	}
	// behaviour 2.11: what is absent stays, null clears.
	changed := get[person](t, s, 200, "PATCH", "/api/people/"+ada.ID, bodyOf{"is_favorite": false, "is_hidden": nil})
	if *changed.Name != "Ada" || changed.IsFavorite || !changed.IsHidden || *changed.BirthDate != "1815-12-10" {
		t.Errorf("%+v", changed)
	}
	changed = get[person](t, s, 200, "PATCH", "/api/people/"+ada.ID, bodyOf{"name": nil, "birth_date": nil, "is_hidden": false, "thumbnail_face_id": nil})
	if changed.Name != nil || changed.BirthDate != nil || changed.IsHidden || changed.ThumbnailFaceID != nil {
		t.Errorf("%+v", changed)
	}
	if blank := get[person](t, s, 200, "PATCH", "/api/people/"+ada.ID, bodyOf{"name": " \u3000 "}); blank.Name != nil {
		t.Errorf("a blank name: %q", *blank.Name)
	}
	for name, body := range map[string]bodyOf{
		"a date that is none":     {"birth_date": "2001-02-29"},
		"a time":                  {"birth_date": "2001-02-28T00:00:00Z"},
		"NUL":                     {"name": "a\x00b"},
		"a long name":             {"name": strings.Repeat("a", 1001)},
		"no name":                 {"name": 5},
		"no flag":                 {"is_favorite": "yes"},
		"another kind of ID":      {"thumbnail_face_id": photo.ID.String()},
		"an ID that cannot be":    {"thumbnail_face_id": "face_"},
		"a library of no form":    {"library_id": "mine"},
		"something else entirely": {"name": []int{1}},
	} {
		want(t, s, 422, "POST", "/api/people", body)
		if name != "a library of no form" {
			want(t, s, 422, "PATCH", "/api/people/"+ada.ID, body)
		}
	}
	want(t, s, 404, "POST", "/api/people", bodyOf{"library_id": unknownID[banksia.LibraryID]()})
	want(t, s, 404, "POST", "/api/people", bodyOf{"thumbnail_face_id": unknownID[banksia.FaceID]()})
	want(t, s, 404, "PATCH", "/api/people/"+ada.ID, bodyOf{"thumbnail_face_id": unknownID[banksia.FaceID]()})
	want(t, s, 422, "GET", "/api/people/"+ada.ID+"?include=faces", nil)
	for _, id := range []string{unknownID[banksia.PersonID]()} {
		want(t, s, 404, "GET", "/api/people/"+id, nil)
		want(t, s, 404, "PATCH", "/api/people/"+id, bodyOf{})
		want(t, s, 404, "DELETE", "/api/people/"+id, nil)
		want(t, s, 404, "POST", "/api/people/"+id+"/merge", bodyOf{"source_person_ids": []string{nobody.ID}})
	}
	reader := s.NewKey(t, []banksia.Action{banksia.Read}, nil)
	for target, method := range map[string]string{"/api/people": "POST", "/api/people/" + ada.ID: "PATCH", "/api/people/" + ada.ID + "?": "DELETE", "/api/people/" + ada.ID + "/merge": "POST"} {
		if got := s.CallAs(t, reader, method, target, bodyOf{}); got.Status != 403 {
			t.Errorf("%s %s with a key for reading: %d", method, target, got.Status)
		}
	}
	want(t, s, 422, "DELETE", "/api/faces/"+loose.ID+"?library_id=x", nil)
	if answer := want(t, s, 200, "DELETE", "/api/people/"+ada.ID, nil); strings.TrimSpace(string(answer.Body)) != "{}" {
		t.Errorf("%s", answer.Body)
	}
	want(t, s, 404, "GET", "/api/people/"+ada.ID, nil)
	get[person](t, s, 200, "GET", "/api/people/"+nobody.ID, nil) // behaviour 11.5
}

// behaviour 10.1, 10.5, 21.14: several libraries, foreign ones, and none.
func TestPeopleOfLibraries(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	photo := s.AddAsset(t, plain).ID.String()
	mine := newPerson(t, s, "Mine")
	drawn := newFace(t, s, photo, mine.ID, small)
	second := get[struct{ ID string }](t, s, 201, "POST", "/api/libraries", bodyOf{"name": "Second"}).ID
	want(t, s, 400, "GET", "/api/people", nil)
	want(t, s, 400, "POST", "/api/people", bodyOf{})
	want(t, s, 400, "GET", "/api/faces", nil)
	want(t, s, 400, "POST", "/api/faces", bodyOf{"asset_id": photo, "bounding_box": small})
	want(t, s, 400, "GET", "/api/faces/"+drawn.ID, nil)
	want(t, s, 400, "PATCH", "/api/faces/"+drawn.ID, bodyOf{"person_id": nil})
	want(t, s, 400, "DELETE", "/api/faces/"+drawn.ID, nil)
	first := "library_id=" + s.Library.String()
	get[face](t, s, 200, "GET", "/api/faces/"+drawn.ID+"?"+first, nil)
	get[face](t, s, 200, "PATCH", "/api/faces/"+drawn.ID+"?"+first, bodyOf{"person_id": mine.ID})
	get[person](t, s, 200, "GET", "/api/people/"+mine.ID, nil) // needs no library
	other := get[person](t, s, 201, "POST", "/api/people", bodyOf{"name": "Other", "library_id": second})
	// Nothing mixes.
	want(t, s, 404, "GET", "/api/faces/"+drawn.ID+"?library_id="+second, nil)
	want(t, s, 404, "DELETE", "/api/faces/"+drawn.ID+"?library_id="+second, nil)
	want(t, s, 404, "PATCH", "/api/faces/"+drawn.ID+"?"+first, bodyOf{"person_id": other.ID})
	want(t, s, 404, "POST", "/api/faces", bodyOf{"asset_id": photo, "bounding_box": small, "library_id": second})
	want(t, s, 404, "POST", "/api/faces", bodyOf{"asset_id": photo, "bounding_box": small, "library_id": s.Library.String(), "person_id": other.ID})
	want(t, s, 404, "POST", "/api/people", bodyOf{"library_id": second, "thumbnail_face_id": drawn.ID})
	want(t, s, 404, "PATCH", "/api/people/"+other.ID, bodyOf{"thumbnail_face_id": drawn.ID})
	want(t, s, 404, "POST", "/api/people/"+mine.ID+"/merge", bodyOf{"source_person_ids": []string{other.ID}})
	for _, filter := range []string{"ids=" + mine.ID, "asset_id=" + photo} {
		if p := get[listOf[person]](t, s, 200, "GET", "/api/people?name_filter=all&library_id="+second+"&"+filter, nil); len(p.Data) != 0 {
			t.Errorf("%s shows %v in another library", filter, p.Data)
		}
	}
	for _, filter := range []string{"ids=" + drawn.ID, "asset_id=" + photo, "person_id=" + mine.ID} {
		if p := get[listOf[face]](t, s, 200, "GET", "/api/faces?library_id="+second+"&"+filter, nil); len(p.Data) != 0 {
			t.Errorf("%s shows %v in another library", filter, p.Data)
		}
	}
	want(t, s, 422, "GET", "/api/people?library_id="+second+"&starting_after_id="+mine.ID, nil)
	want(t, s, 422, "GET", "/api/faces?library_id="+second+"&starting_after_id="+drawn.ID, nil)
	key := s.NewKey(t, banksia.Actions, []banksia.LibraryID{mustID[banksia.LibraryID](t, second)})
	for _, target := range []string{"/api/people/" + mine.ID, "/api/faces/" + drawn.ID, "/api/faces/" + drawn.ID + "/thumbnail"} {
		if got := s.CallAs(t, key, "GET", target, nil); got.Status != 404 {
			t.Errorf("a key for another library: %s: %d", target, got.Status)
		}
	}
	want(t, s, 200, "POST", "/api/libraries/"+second+"/trash", nil)
	want(t, s, 404, "GET", "/api/people/"+other.ID, nil)
	want(t, s, 200, "POST", "/api/libraries/"+s.Library.String()+"/trash", nil)
	for _, target := range []string{"/api/people?name_filter=all", "/api/faces"} {
		if p := get[listOf[face]](t, s, 200, "GET", target, nil); len(p.Data) != 0 {
			t.Errorf("without a library: %s: %v", target, p.Data)
		}
	}
	want(t, s, 404, "GET", "/api/faces/"+drawn.ID, nil)
	want(t, s, 404, "POST", "/api/faces", bodyOf{"asset_id": photo, "bounding_box": small})
	newPerson(t, s, "First of a new library")
}

func mustID[T interface {
	~[16]byte
	Prefix() string
}](t testing.TB, text string) T {
	t.Helper()
	id, err := banksia.ParseID[T](text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// behaviour 11.1, 11.2: every order with every filter and page size is what a plain
// sort of all people gives.
func TestPeopleOrders(t *testing.T) {
	t.Parallel()
	var tick time.Duration
	var mu sync.Mutex
	s := banksiatest.NewServerWith(t, banksiatest.Config{Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		tick += 700 * time.Microsecond
		return time.Now().Add(tick)
	}})
	names := []any{"Ada", "ada", "ÉMILE", "émile", "Zoë", nil, nil, nil, "straße", "STRASSE", "100% \\ _", "İpek", "ﬁona", "Ωmega", nil, "a_b", "aXb"}
	var all []person
	photos := s.AddAssets(t, 4, func(int, *banksia.Asset, *banksia.Metadata) {})
	for i, name := range names {
		p := newPerson(t, s, name)
		for n := range i % 4 {
			newFace(t, s, photos[n].ID.String(), p.ID, small)
		}
		p.AssetCount = i % 4
		all = append(all, p)
	}
	key := func(p person) string {
		if p.Name == nil {
			return ""
		}
		return map[string]string{"ÉMILE": "émile", "STRASSE": "strasse", "straße": "strasse", "Ada": "ada", "Zoë": "zoë", "ﬁona": "fiona", "Ωmega": "ωmega", "İpek": "i̇pek", "aXb": "axb"}[*p.Name] + map[bool]string{true: "", false: *p.Name}[strings.ContainsAny(*p.Name, "ÉSßAZﬁΩİX")]
	}
	for i := range all { // names that are their own key
		if n := all[i].Name; n != nil && key(all[i]) == "" {
			t.Fatalf("no key for %q", *n)
		}
	}
	compare := map[string]func(a, b person) int{
		"created_at": func(a, b person) int { return 0 },
		"name":       func(a, b person) int { return strings.Compare(key(a), key(b)) },
		"asset_count": func(a, b person) int {
			return cmp.Compare(a.AssetCount, b.AssetCount)
		},
	}
	order := map[string]int{}
	for i, p := range all {
		order[p.ID] = i // they were created in this order, and IDs rise
	}
	for sort, by := range compare {
		for _, direction := range []string{"asc", "desc"} {
			for _, filter := range []string{"named", "unnamed", "all", ""} {
				query := "/api/people?sort=" + sort + "_" + direction + "&name_filter=" + filter
				if sort == "name" && filter == "unnamed" {
					want(t, s, 422, "GET", query, nil)
					continue
				}
				var expected []string
				sorted := slices.Clone(all)
				slices.SortFunc(sorted, func(a, b person) int {
					if sort == "name" && (a.Name == nil) != (b.Name == nil) {
						if a.Name == nil {
							return 1
						}
						return -1
					}
					c := cmp.Or(by(a, b), cmp.Compare(order[a.ID], order[b.ID]))
					if direction == "desc" {
						return -c
					}
					return c
				})
				for _, p := range sorted {
					if filter == "all" || (p.Name == nil) == (filter == "unnamed") {
						expected = append(expected, p.ID)
					}
				}
				for _, limit := range []int{1, 4, 200} {
					var got []string
					after := ""
					for more := true; more && len(got) <= len(all); {
						target := fmt.Sprintf("%s&limit=%d", query, limit)
						if after != "" {
							target += "&starting_after_id=" + after
						}
						p := get[listOf[person]](t, s, 200, "GET", target, nil)
						for _, one := range p.Data {
							got, after = append(got, one.ID), one.ID
						}
						more = p.HasMore
					}
					if !slices.Equal(got, expected) {
						t.Errorf("%s by %d: %v, not %v", query, limit, got, expected)
					}
				}
			}
		}
	}
	find := func(query string) (found []string) {
		t.Helper()
		if !strings.Contains(query, "sort=") {
			query += "&sort=created_at_asc"
		}
		for _, p := range get[listOf[person]](t, s, 200, "GET", "/api/people?"+query, nil).Data {
			if p.Name == nil {
				found = append(found, "-")
			} else {
				found = append(found, *p.Name)
			}
		}
		return found
	}
	photo := photos[2].ID.String() // shows those with three faces
	for query, expected := range map[string]string{
		banksiatest.Query("name", "ADA"):                                  "Ada ada",
		banksiatest.Query("name", "émi"):                                  "ÉMILE émile",
		banksiatest.Query("name", "E\u0301MILE"):                          "ÉMILE émile",
		banksiatest.Query("name", "strasse"):                              "straße STRASSE",
		banksiatest.Query("name", "FI"):                                   "ﬁona",
		banksiatest.Query("name", "%"):                                    "100% \\ _",
		banksiatest.Query("name", "\\"):                                   "100% \\ _",
		banksiatest.Query("name", "a_"):                                   "a_b",
		banksiatest.Query("name", "a", "name_filter", "unnamed"):          "",
		banksiatest.Query("name", "zoe"):                                  "",
		banksiatest.Query("has_name", "true", "name", "ada"):              "Ada ada",
		banksiatest.Query("has_name", "false"):                            "- - - -",
		banksiatest.Query("ids", all[5].ID+","+all[0].ID):                 "Ada -", // all, when ids are given
		banksiatest.Query("ids", all[5].ID, "ids", all[0].ID):             "Ada -",
		banksiatest.Query("ids", all[5].ID, "name_filter", "named"):       "",
		banksiatest.Query("ids", unknownID[banksia.PersonID]()):           "",
		banksiatest.Query("asset_id", photo, "name_filter", "all"):        "émile - İpek a_b",
		banksiatest.Query("asset_id", photo, "ids", all[3].ID):            "émile",
		banksiatest.Query("asset_id", unknownID[banksia.AssetID]()):       "",
		banksiatest.Query("album_id", unknownID[banksia.AlbumID]()):       "",
		banksiatest.Query("asset_id", photo, "sort", "name_asc"):          "a_b İpek émile",
		banksiatest.Query("name", "a", "sort", "name_desc", "limit", "2"): "Ωmega STRASSE",
	} {
		got := strings.Join(find(query[1:]), " ")
		if got != expected {
			t.Errorf("%s finds %s, not %s", query, got, expected)
		}
	}
	// An album shows who is in its live assets.
	album := get[struct{ ID string }](t, s, 201, "POST", "/api/albums", bodyOf{"name": "a"}).ID
	want(t, s, 200, "POST", "/api/albums/"+album+"/assets", bodyOf{"asset_ids": []string{photo}})
	if got := strings.Join(find("name_filter=all&album_id="+album), " "); got != "émile - İpek a_b" {
		t.Errorf("the album shows %s", got)
	}
	want(t, s, 200, "POST", "/api/assets/trash", bodyOf{"ids": []string{photo}})
	if got := find("name_filter=all&album_id=" + album); len(got) != 0 {
		t.Errorf("the album without live assets shows %s", got)
	}
	for _, query := range []string{"sort=age", "name_filter=some", "has_name=maybe", "limit=0", "limit=201", "include=faces", "ids=x", "starting_after_id=" + unknownID[banksia.PersonID](), "name=%FF",
		"has_name=false&sort=name_asc", "album_id=x", "asset_id=x"} {
		want(t, s, 422, "GET", "/api/people?"+query, nil)
	}
}

func jsonText(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
