package api_test

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/banksiatest"
	"github.com/banksia-photos/banksia/internal/store"
)

type hits struct {
	Data []struct {
		Asset    edited   `json:"asset"`
		Distance *float64 `json:"distance"`
	} `json:"data"`
}

// postSearch sends a search as a form.
func postSearch(t testing.TB, s *banksiatest.Server, target string, parts ...banksiatest.Part) banksiatest.Answer {
	t.Helper()
	body, contentType := banksiatest.UploadBody(t, parts)
	request, err := http.NewRequest("POST", s.URL+target, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+s.Key)
	request.Header.Set("Content-Type", contentType)
	return s.Do(t, request)
}

// behaviour 13: every criterion, by words and by filters, in both forms.
func TestSearch(t *testing.T) {
	t.Parallel()
	f := newFilled(t)
	words := []struct {
		n      int
		change func(*banksia.Metadata)
	}{
		{0, func(m *banksia.Metadata) {
			m.City, m.Country, m.Make = pointer("Paris"), pointer("France"), pointer("Canon")
		}},
		{1, func(m *banksia.Metadata) {
			m.City, m.Country, m.Make = pointer("Reykjavík"), pointer("Iceland"), pointer("Canon")
		}},
		{2, func(m *banksia.Metadata) {
			m.Model, m.LensModel, m.Make = pointer("EOS R5"), pointer("RF 50mm"), pointer("Canon")
		}},
		{3, func(m *banksia.Metadata) { m.Description = pointer("Grandma's garden, 東京タワー") }},
		{9, func(m *banksia.Metadata) { m.Description = pointer("garden in the trash") }},
	}
	err := f.Store.Change(t.Context(), f.Owner.ID, func(tx *store.Tx) error {
		for _, w := range words {
			if err := tx.UpdateFileMetadata(f.assets[w.n].ID, w.change); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, f.Server, 200, "PATCH", "/api/people/"+f.person, bodyOf{"name": "Ada Lovelace"})
	want(t, f.Server, 200, "PATCH", "/api/albums/"+f.album, bodyOf{"name": "Summer Voyage"})
	numbers := func(answer banksiatest.Answer) (text string) {
		t.Helper()
		if answer.Status != 200 {
			t.Errorf("%d: %s", answer.Status, answer.Body)
			return ""
		}
		var h hits
		answer.JSON(t, &h)
		for _, hit := range h.Data {
			if hit.Distance != nil { // behaviour 13.5
				t.Errorf("a distance without meaning: %v", *hit.Distance)
			}
			text += fmt.Sprint(slices.IndexFunc(f.assets, func(a banksia.Asset) bool { return a.ID.String() == hit.Asset.ID }))
		}
		return text
	}
	noon := "2020-01-03T12:00:00"
	for query, wanted := range map[string]string{
		"query=reykjavik": "1", "query=PARIS ": "0", "query=pari": "0", "query=gard": "3", "query=京タ": "3", "query=zebra": "",
		"query=canon": "210", "query=canon iceland": "120", "query=iceland zebra canon": "120", // OR, the better first (13.4)
		"query=ada": "4321", "query=voyage": "210", "query=lovelace canon": "21043",
		"query=photo": "876543210", "query=photo&limit=2": "87", "query=photo&limit=2&page=2": "65", "query=photo&page=2": "",
		"query=canon&album_id=" + f.album: "210", "query=canon&person_ids=" + f.person: "21", "query=garden&album_id=" + f.album: "",
		"query=canon&local_datetime_after=" + noon: "", "query=canon&captured_before=" + noon: "10",
		"query=photo&bbox=2,48,3,49": "0", "query=photo&center=2.3,48.85&radius=5000": "0",
		"query=\"' OR 1=1 -- *) NEAR(": "", "query=AND NOT OR": "", "query=%f0%9f%8e%89": "",
		"album_id=" + f.album: "210", "album_ids=" + f.album: "210", "album_ids=" + f.album + "&album_id=" + f.album: "210", "person_ids=" + f.person + "," + f.second: "432",
		"person_ids=" + f.person + "&limit=2&page=2": "21", "local_datetime_before=" + noon: "10", "captured_after=" + noon + "&limit=3": "876",
		"album_id=" + f.album + "&bbox=2,48,3,49": "0", "query=paris&threshold=0.5&include_debug=true": "0",
		"query=" + strings.Repeat("x", 5000): "",
	} {
		query = strings.NewReplacer(" ", "%20", "\"", "%22", "'", "%27", "(", "%28", "*", "%2a").Replace(query)
		if got := numbers(f.Call(t, "GET", "/api/search?"+query, nil)); got != wanted {
			t.Errorf("%.100s finds %s, not %s", query, got, wanted)
		}
	}
	for query, status := range map[string]int{
		"": 400, "query=": 400, "query=%20": 400, "bbox=2,48,3,49": 400, "center=2,48&radius=5": 400, "limit=5": 400, "threshold=0.1": 400, // behaviour 13.2, 13.7
		"query=x&bbox=2,48,3,49&center=2,48&radius=5": 422, "query=x&include=x": 422, "query=x&page=0": 422, "query=x&page=-1": 422, "query=x&page=x": 422, "query=x&limit=0": 422, "query=x&limit=201": 422,
		"query=x&threshold=2": 422, "query=x&threshold=x": 422, "query=a%00": 422, "query=%ff": 422, "query=x&person_ids=x": 422, "query=x&album_id=x": 422, "query=x&album_ids=x": 422,
		"captured_after=x": 422, "local_datetime_after=" + noon + "&captured_after=" + noon: 422, "local_datetime_after=" + noon + "&local_datetime_before=" + noon + "Z": 422,
		"query=x&library_id=x": 422, "query=x&library_id=" + banksia.NewID[banksia.LibraryID](time.Now()).String(): 404, "query=x&radius=5": 422,
	} {
		if got := f.Call(t, "GET", "/api/search?"+query, nil); got.Status != status {
			t.Errorf("%s: %d, not %d: %s", query, got.Status, status, got.Body)
		}
	}
	part := func(name, content string) banksiatest.Part {
		return banksiatest.Part{Name: name, Content: []byte(content)}
	}
	// The shape of the assets follows include (R4 of seed-vs-current.md).
	for target, full := range map[string]bool{"/api/search?query=paris": true, "/api/search?query=paris&include=": false} {
		if got := f.Call(t, "GET", target, nil); strings.Contains(string(got.Body), `"exif"`) != full {
			t.Errorf("%s: %s", target, got.Body)
		}
	}
	// As a form, whose lists may have brackets.
	for wanted, parts := range map[string][]banksiatest.Part{
		"210": {part("query", "canon"), part("library_id", f.Library.String()), part("threshold", "0.5"), part("limit", "10"), part("page", "1")},
		"21":  {part("query", "canon"), part("person_ids[]", f.person)},
		"432": {part("person_ids[]", f.person), part("person_ids[]", f.second)},
		"0":   {part("query", "canon"), part("bbox", "2,48,3,49"), part("album_id", f.album)},
		"10":  {part("captured_before", noon), part("album_ids[]", f.album)},
		"7":   {part("local_datetime_after", "2020-01-07T12:00:00"), part("local_datetime_before", "2020-01-09T12:00:00"), part("captured_after", "")},
		"8":   {part("query", "photo"), part("center", "179.5,-17"), part("radius", "100")},
	} {
		if got := numbers(postSearch(t, f.Server, "/api/search?include=metadata", parts...)); got != wanted {
			t.Errorf("%v finds %s, not %s", parts, got, wanted)
		}
	}
	for name, status := range map[string]int{"unknown": 400, "image": 400} { // an empty picture is none
		if got := postSearch(t, f.Server, "/api/search", banksiatest.Part{Name: name, FileName: "a.jpg"}); got.Status != status {
			t.Errorf("%s: %d", name, got.Status)
		}
	}
	if got := postSearch(t, f.Server, "/api/search?include=x", part("query", "x")); got.Status != 422 {
		t.Errorf("an unknown include: %d", got.Status)
	}
	if got := postSearch(t, f.Server, "/api/search", part("query", "x"), part("library_id", banksia.NewID[banksia.LibraryID](time.Now()).String())); got.Status != 404 {
		t.Errorf("an unknown library: %d", got.Status)
	}
	if got := postSearch(t, f.Server, "/api/search", part("query", strings.Repeat("x", 70000))); got.Status != 422 {
		t.Errorf("a long text: %d", got.Status)
	}
	want(t, f.Server, 422, "POST", "/api/search", bodyOf{"query": "x"})
	// What is renamed, trashed, restored or deleted is found accordingly.
	want(t, f.Server, 200, "PATCH", "/api/people/"+f.person, bodyOf{"name": "Grace Hopper"})
	want(t, f.Server, 200, "POST", "/api/assets/restore", bodyOf{"ids": []string{f.assets[9].ID.String()}})
	want(t, f.Server, 200, "POST", "/api/assets/trash", bodyOf{"ids": []string{f.assets[3].ID.String()}})
	want(t, f.Server, 200, "PATCH", "/api/assets/"+f.assets[5].ID.String(), bodyOf{"description": "lighthouse"})
	want(t, f.Server, 200, "DELETE", "/api/albums/"+f.album, nil)
	for query, wanted := range map[string]string{"ada": "", "hopper": "421", "garden": "9", "lighthouse": "5", "voyage": ""} {
		if got := numbers(f.Call(t, "GET", "/api/search?query="+query, nil)); got != wanted {
			t.Errorf("then %s finds %s, not %s", query, got, wanted)
		}
	}
	// Another library has its own.
	var other struct{ ID string }
	want(t, f.Server, 201, "POST", "/api/libraries", bodyOf{"name": "Other"}).JSON(t, &other)
	if got := numbers(f.Call(t, "GET", "/api/search?query=canon&library_id="+other.ID, nil)); got != "" {
		t.Errorf("in another library: %s", got)
	}
	want(t, f.Server, 400, "GET", "/api/search?query=canon", nil)
}

// A picture is a criterion: until pictures are compared by meaning, the same bytes
// are found.
func TestSearchByImage(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	picture := banksiatest.JPEG(t, 64, 48, 1)
	a := upload(t, s, "harbour.jpg", picture)
	b := upload(t, s, "harbour2.jpg", banksiatest.JPEG(t, 64, 48, 2))
	image := banksiatest.Part{Name: "image", FileName: "x.jpg", Content: picture}
	find := func(parts ...banksiatest.Part) (h hits) {
		t.Helper()
		answer := postSearch(t, s, "/api/search", parts...)
		if answer.JSON(t, &h); answer.Status != 200 {
			t.Errorf("%d: %s", answer.Status, answer.Body)
		}
		return h
	}
	if h := find(image); len(h.Data) != 1 || h.Data[0].Asset.ID != a.ID || h.Data[0].Distance == nil || *h.Data[0].Distance != 0 {
		t.Errorf("the same picture: %+v", h)
	}
	if h := find(image, banksiatest.Part{Name: "query", Content: []byte("harbour")}); len(h.Data) != 2 || h.Data[0].Asset.ID != a.ID || h.Data[1].Asset.ID != b.ID || h.Data[1].Distance != nil {
		t.Errorf("with words: %+v", h)
	}
	if h := find(banksiatest.Part{Name: "image", FileName: "x.jpg", Content: banksiatest.JPEG(t, 64, 48, 3)}); len(h.Data) != 0 {
		t.Errorf("another picture: %+v", h)
	}
	if got := len(originals(t, s)); got != 2 {
		t.Errorf("%d files are kept", got)
	}
}
