package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api"
	"github.com/banksia-photos/banksia/internal/auth"
	"github.com/banksia-photos/banksia/internal/banksiatest"
	"github.com/banksia-photos/banksia/internal/banksiatest/spec"
	"github.com/banksia-photos/banksia/internal/store"
)

// sampleIDs are well-formed identifiers that nothing has, by the name of what they
// identify.
var sampleIDs = map[string]string{
	"asset_id": "asset_BM3nUmJ6fkBqBADyz5FEiu", "album_id": "album_BM3nUmJ6fkBqBADyz5FEiu", "album_asset_id": "album_asset_BM3nUmJ6fkBqBADyz5FEiu", "person_id": "person_BM3nUmJ6fkBqBADyz5FEiu",
	"face_id": "face_BM3nUmJ6fkBqBADyz5FEiu", "stack_id": "asset_stack_BM3nUmJ6fkBqBADyz5FEiu", "library_id": "lib_BM3nUmJ6fkBqBADyz5FEiu", "key_id": "apikey_BM3nUmJ6fkBqBADyz5FEiu",
	"task_id": "btask_BM3nUmJ6fkBqBADyz5FEiu", "version_id": "asset_version_BM3nUmJ6fkBqBADyz5FEiu",
	// A second asset, in a stack, and a second person.
	"member_id": "asset_H9cNmGXLEc8NWcZzSThA9S", "source_person_id": "person_H9cNmGXLEc8NWcZzSThA9S",
	// Checksums of no file.
	"checksum": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "sha1": "AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
}

// requestOf is a request of an operation that names what does not exist, otherwise
// valid; change may spoil it.
type requestOf struct {
	query  url.Values
	path   map[string]string
	body   map[string]any
	parts  []banksiatest.Part
	method string
}

// newRequest makes a request for an operation from the document that names nothing
// that exists.
func newRequest(o spec.Operation, inputs spec.Parameters) requestOf {
	return newRequestWith(o, inputs, sampleIDs)
}

// newRequestWith is newRequest with other identifiers.
func newRequestWith(o spec.Operation, inputs spec.Parameters, ids map[string]string) requestOf {
	r := requestOf{query: url.Values{}, path: map[string]string{}, method: o.Method}
	for _, name := range inputs.PathValues {
		r.path[name] = ids[name]
	}
	for _, name := range inputs.Required {
		r.query.Set(name, sampleOf(name, inputs.Query[name]))
	}
	if inputs.Body != nil {
		r.body = map[string]any{}
		required, _ := inputs.Body["required"].([]any)
		properties, _ := inputs.Body["properties"].(map[string]any)
		for _, name := range required {
			schema, _ := properties[name.(string)].(map[string]any)
			r.body[name.(string)] = sampleValue(name.(string), schema, ids)
		}
		switch o.ID { // what the document says in words only
		case "checkAssetsExist":
			r.body["checksums"] = []any{"x"}
		case "bulkUpdateAssets":
			r.body["updates"] = []any{map[string]any{"id": ids["asset_id"], "change": map[string]any{}}}
		case "createStack":
			r.body["asset_ids"] = []any{ids["asset_id"], ids["member_id"]}
		}
	}
	if inputs.Multipart {
		switch {
		case o.ID == "createAsset":
			r.parts = banksiatest.UploadParts("a.jpg", []byte("\xff\xd8\xff not much of a photo"))
		case o.ID == "searchByImage":
			r.parts = []banksiatest.Part{{Name: "query", Content: []byte("x")}}
		default:
			r.parts = rendering([]byte("\xff\xd8\xff"), "edit", "{}")
		}
	}
	if o.ID == "search" {
		r.query.Set("query", "x")
	}
	return r
}

func sampleOf(name string, schema map[string]any) string {
	switch name {
	case "bbox":
		return "0,0,1,1"
	case "cell_size":
		return "1"
	case "redirect_uri":
		return returnTo
	}
	if schema["type"] == "integer" {
		return "1"
	}
	return "x"
}

func sampleValue(name string, schema map[string]any, ids map[string]string) any {
	switch {
	case name == "ids" || name == "asset_ids":
		return []any{ids["asset_id"]}
	case name == "source_person_ids":
		return []any{ids["source_person_id"]}
	case name == "actions":
		return []any{"read"}
	case name == "library_scope_mode":
		return "all_libraries"
	case name == "primary_asset_id":
		return ids["member_id"]
	case name == "bounding_box":
		return map[string]any{"x": 0, "y": 0, "w": 1, "h": 1}
	case ids[name] != "":
		return ids[name]
	case schema["type"] == "array":
		return []any{}
	}
	return "x"
}

// http is the request with a credential; "" is none.
func (r requestOf) http(t testing.TB, s *banksiatest.Server, o spec.Operation, key string) *http.Request {
	t.Helper()
	target := s.URL + o.Target(r.path)
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	var body []byte
	contentType := ""
	if r.parts != nil {
		body, contentType = banksiatest.UploadBody(t, r.parts)
	} else if r.body != nil {
		var err error
		if body, err = json.Marshal(r.body); err != nil {
			t.Fatal(err)
		}
		contentType = "application/json"
	}
	request, err := http.NewRequest(r.method, target, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	return request
}

// send sends the request with a credential.
func (r requestOf) send(t testing.TB, s *banksiatest.Server, o spec.Operation, key string) banksiatest.Answer {
	t.Helper()
	return s.Do(t, r.http(t, s, o, key))
}

// Every refusal that the document names is given, to requests that are made from
// the document: so a new operation cannot be forgotten, and nothing that anybody
// sends is an internal error.
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	two := banksiatest.NewServer(t) // whose owner has two libraries
	want(t, two, 201, "POST", "/api/libraries", bodyOf{"name": "second"})
	limited := banksiatest.NewServerWith(t, banksiatest.Config{API: api.Config{RateLimit: 1}})
	limited.CallAs(t, "", "GET", "/api/oauth/logout-endpoint", nil) // uses it up, for whoever has no key
	limited.Call(t, "GET", "/api/users/me", nil)
	powerless := s.NewKey(t, []banksia.Action{}, nil)
	exercised, err := banksiatest.Exercised()
	if err != nil {
		t.Fatal(err)
	}
	document, err := spec.Load(api.Document)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range document.Operations() {
		inputs := exercised.Inputs(o)
		documents := func(status int) bool { return slices.Contains(o.Statuses(), status) }
		expect := func(status int, what string, answer banksiatest.Answer) {
			t.Helper()
			if answer.Status != status {
				t.Errorf("%s, %s: %d, not %d: %.300s", o.ID, what, answer.Status, status, answer.Body)
			}
		}
		// Whom keys are for is more than the server's owner: a person manages them.
		credential := func(s *banksiatest.Server) string {
			if strings.Contains(o.Path, "api-keys") {
				return s.Local
			}
			return s.Key
		}
		public := strings.HasPrefix(o.Path, "/api/oauth/") || o.ID == "ping"
		if documents(401) && !public {
			expect(401, "without a credential", newRequest(o, inputs).send(t, s, o, ""))
			expect(401, "with a wrong key", newRequest(o, inputs).send(t, s, o, "apikey_wrong"))
		}
		if documents(403) && !public {
			expect(403, "with a key for nothing", newRequest(o, inputs).send(t, s, o, powerless))
		}
		if documents(429) {
			key := limited.Key
			if public {
				key = ""
			}
			expect(429, "beyond the limit", newRequest(o, inputs).send(t, limited, o, key))
		}
		_, byQuery := inputs.Query["library_id"]
		properties, _ := inputs.Body["properties"].(map[string]any)
		_, byBody := properties["library_id"]
		if documents(400) && (byQuery || byBody || o.ID == "createAsset" || o.ID == "searchByImage") {
			expect(400, "with two libraries", newRequest(o, inputs).send(t, two, o, two.Key))
		}
		if documents(404) {
			r := newRequest(o, inputs)
			switch {
			case len(r.path) > 0:
			case byQuery:
				r.query.Set("library_id", sampleIDs["library_id"])
			case byBody:
				r.body["library_id"] = sampleIDs["library_id"]
			case r.parts != nil:
				r.parts = append([]banksiatest.Part{{Name: "library_id", Content: []byte(sampleIDs["library_id"])}}, r.parts...)
			case o.ID == "createApiKey":
				r.body["library_scope_mode"], r.body["library_ids"] = "selected_libraries", []any{sampleIDs["library_id"]}
			case o.ID == "bulkUpdateAssets":
			default:
				continue // nothing that it takes can be unknown
			}
			expect(404, "of what is not there", r.send(t, s, o, credential(s)))
		}
		if !documents(422) {
			continue
		}
		for name := range pathNames(inputs) { // each identifier in the path
			if name == "task_id" {
				continue // any text may be a delivery id (behaviour 1.8)
			}
			for _, bad := range []string{"x", "nonsense_BM3nUmJ6fkBqBADyz5FEiu", sampleIDs[name] + "2", "%00"} {
				r := newRequest(o, inputs)
				r.path[name] = bad
				expect(422, "with the "+name+" "+bad, r.send(t, s, o, credential(s)))
			}
		}
		for name, schema := range inputs.Query {
			for _, bad := range badValues(name, schema) {
				r := newRequest(o, inputs)
				r.query[name] = bad
				expect(422, fmt.Sprintf("with %s=%.60v", name, bad), r.send(t, s, o, credential(s)))
			}
		}
		for _, name := range inputs.Required {
			r := newRequest(o, inputs)
			r.query.Del(name)
			expect(422, "without "+name, r.send(t, s, o, credential(s)))
		}
		for name := range newRequest(o, inputs).body {
			legacy := o.ID == "createApiKey" && name != "name" || o.ID == "checkAssetsExist"
			for what, bad := range map[string]any{"a number": 3.5, "an object": map[string]any{"a": 1}, "a list of numbers": []any{1}} {
				r := newRequest(o, inputs)
				if _, object := r.body[name].(map[string]any); object && what == "an object" {
					continue
				}
				r.body[name] = bad
				if len(inputs.PathValues) == 0 { // else what the path names is missing first
					expect(422, "with "+what+" as "+name, r.send(t, s, o, credential(s)))
				}
			}
			if r := newRequest(o, inputs); len(inputs.PathValues) == 0 && !legacy {
				delete(r.body, name)
				expect(422, "without "+name, r.send(t, s, o, credential(s)))
			}
		}
	}
}

func pathNames(inputs spec.Parameters) map[string]bool {
	names := map[string]bool{}
	for _, name := range inputs.PathValues {
		names[name] = true
	}
	return names
}

// badValues are values of a parameter that its schema does not allow.
func badValues(name string, schema map[string]any) (bad [][]string) {
	items, _ := schema["items"].(map[string]any)
	switch {
	case name == "query" || name == "name" || name == "state" && schema["enum"] == nil || name == "size" || name == "cursor":
		return nil
	case name == "threshold":
		return [][]string{{"x"}, {"-1"}, {"2"}}
	case schema["enum"] != nil || items["enum"] != nil:
		return [][]string{{"nonsense"}}
	case schema["type"] == "integer":
		bad = [][]string{{"x"}, {"1.5"}, {"-1"}, {"99999999999999999999"}}
		if schema["maximum"] != nil {
			bad = append(bad, []string{"1000000"})
		}
		return bad
	case schema["type"] == "number":
		return [][]string{{"x"}, {"NaN"}, {"-1"}}
	case schema["format"] == "date-time":
		return [][]string{{"x"}, {"2020-13-01"}, {"1e9"}}
	case schema["type"] == "array":
		return [][]string{{"x"}, slices.Repeat([]string{sampleIDs["asset_id"]}, 201)}
	case schema["type"] == "boolean":
		return [][]string{{"perhaps"}}
	}
	return [][]string{{"x"}, {"\x00"}, {"\xff"}}
}

// The statuses of the document that need a story of their own: the storage fails,
// is full, or others are faster.
func TestUnusualStatuses(t *testing.T) {
	t.Parallel()
	for name, onS3 := range map[string]bool{"folder": false, "S3": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			unusualStatuses(t, banksiatest.NewServerWith(t, banksiatest.Config{S3: onS3}))
		})
	}
}

func unusualStatuses(t *testing.T, s *banksiatest.Server) {
	photo := upload(t, s, "a.jpg", banksiatest.JPEG(t, 16, 16, 1))
	versions := "/api/assets/" + photo.ID + "/versions"
	edit := rendering(banksiatest.JPEG(t, 8, 8, 1), "edit", "{}")
	var made version
	if answer := sendVersion(t, s, versions, edit...); answer.Status != 201 {
		t.Fatalf("%d", answer.Status)
	} else {
		answer.JSON(t, &made)
	}
	original := func() string {
		var all []version
		want(t, s, 200, "GET", versions, nil).JSON(t, &all)
		return all[0].ID
	}()
	tries := map[string]func() banksiatest.Answer{
		"upload": func() banksiatest.Answer {
			return s.Upload(t, banksiatest.UploadParts("b.jpg", banksiatest.JPEG(t, 16, 16, 2)))
		},
		"replace": func() banksiatest.Answer {
			return sendVersion(t, s, versions+"/"+made.ID+"/replace", rendering(banksiatest.JPEG(t, 90, 80, 3), "edit", "{}")...)
		},
	}
	refused := func(status int, header string) {
		t.Helper()
		for name, try := range tries {
			if answer := try(); answer.Status != status || answer.Header.Get(header) == "" {
				t.Errorf("%s: %d %v %s", name, answer.Status, answer.Header, answer.Body)
			}
		}
	}
	limit := func(bytes *int64) {
		t.Helper()
		if _, err := auth.ChangeUser(t.Context(), s.Store, "owner@localhost", func(u *banksia.User) { u.StorageLimitBytes = bytes }); err != nil {
			t.Fatal(err)
		}
	}
	limit(pointer(int64(1500)))
	refused(507, "X-Should-Retry")
	want(t, s, 200, "POST", versions+"/"+original+"/revert", nil)
	tries["append"] = func() banksiatest.Answer {
		return sendVersion(t, s, versions, rendering(banksiatest.JPEG(t, 90, 80, 4), "edit", "{}")...)
	}
	delete(tries, "replace")
	limit(pointer(int64(700)))
	refused(507, "X-Should-Retry")
	limit(nil)
	// The folder of originals is gone: for now nothing can be stored (behaviour 6.8).
	s.BreakStorage(t)
	refused(502, "Retry-After")
	s.MendStorage(t)
	for name, try := range tries {
		if answer := try(); answer.Status != 201 {
			t.Errorf("%s, later: %d %s", name, answer.Status, answer.Body)
		}
	}
	var all []version
	want(t, s, 200, "GET", versions, nil).JSON(t, &all)
	tries = map[string]func() banksiatest.Answer{"replace": func() banksiatest.Answer {
		return sendVersion(t, s, versions+"/"+all[1].ID+"/replace", rendering(banksiatest.JPEG(t, 91, 81, 5), "edit", "{}")...)
	}}
	s.BreakStorage(t)
	refused(502, "Retry-After")
	s.MendStorage(t)
}

// A change that waits too long for its turn is told that others were faster, where
// the document has a status for that, and may be sent again.
func TestRaces(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServerWith(t, banksiatest.Config{Patience: 20 * time.Millisecond})
	assets := s.AddAssets(t, 4, func(int, *banksia.Asset, *banksia.Metadata) {})
	ids := bodyOf{"asset_ids": []string{assets[0].ID.String(), assets[1].ID.String()}}
	one := newStack(t, s, ids)
	var person struct{ ID string }
	want(t, s, 201, "POST", "/api/people", bodyOf{"name": "Ada"}).JSON(t, &person)
	begun, end := make(chan bool), make(chan bool)
	done := make(chan error)
	go func() {
		done <- s.Store.Change(t.Context(), s.Owner.ID, func(*store.Tx) error { close(begun); <-end; return nil })
	}()
	<-begun
	for target, method := range map[string]string{"/api/people/" + person.ID: "DELETE", "/api/stacks/" + one.ID: "DELETE", "/api/stacks": "POST", "/api/stacks/" + one.ID + "/assets": "POST"} {
		answer := s.Call(t, method, target, ids)
		if answer.Status != http.StatusConflict || answer.Header.Get("X-Should-Retry") != "" || answer.Header.Get("Retry-After") == "" { // behaviour 21.22
			t.Errorf("%s %s: %d %v %s", method, target, answer.Status, answer.Header, answer.Body)
		}
	}
	if answer := s.Call(t, "POST", "/api/albums", bodyOf{}); answer.Status != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Errorf("elsewhere: %d %s", answer.Status, answer.Body)
	}
	close(end)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	want(t, s, 200, "DELETE", "/api/stacks/"+one.ID, nil)
	want(t, s, 200, "DELETE", "/api/people/"+person.ID, nil)
}

// What no other test of this package has a reason to send or to see.
func TestRestOfTheDocument(t *testing.T) {
	t.Parallel()
	f := newFilled(t)
	lib := f.Library.String()
	id := f.assets[0].ID.String()
	for target, wanted := range map[string]string{
		"/api/assets/counts?limit=1&library_id=" + lib: `"count":9`,
		"/api/assets/geo-clusters?bbox=-180,-90,180,90&cell_size=1&album_filter=in_album&library_id=" + lib + "&local_datetime_before=2020-02-01T00:00:00": `"count":1`,
		"/api/assets/geo-clusters?bbox=-180,-90,180,90&cell_size=1&person_id=" + f.person:                                                                  `"data":[]`,
		"/api/albums?library_id=" + lib: f.album, "/api/stacks?library_id=" + lib: f.stack, "/api/events?limit=1&library_id=" + lib: "asset_created",
		"/api/v2/events?entity_types=stack&created_at_gte=2020-01-01T00:00:00Z&created_at_lt=2100-01-01T00:00:00Z&library_id=" + lib: "stack_created",
		"/api/tasks/?library_id=" + lib + "&limit=5&status=success&task_type=thumbhash":                                              "[]",
	} {
		if answer := want(t, f.Server, 200, "GET", target, nil); !strings.Contains(string(answer.Body), wanted) {
			t.Errorf("%s: %s", target, answer.Body)
		}
	}
	if answer := want(t, f.Server, 200, "POST", "/api/assets/exist?library_id="+lib, bodyOf{"deviceId": "test", "deviceAssetIds": []string{"photo"}}); !strings.Contains(string(answer.Body), id) {
		t.Errorf("exist: %s", answer.Body)
	}
	want(t, f.Server, 200, "PATCH", "/api/albums/"+f.album, bodyOf{"description": "by the sea"})
	want(t, f.Server, 200, "PATCH", "/api/libraries/"+lib, bodyOf{"description": "everything"})
	want(t, f.Server, 200, "PATCH", "/api/people/"+f.person, bodyOf{"birth_date": "1815-12-10"})
	var face struct{ ID string }
	want(t, f.Server, 201, "POST", "/api/faces", bodyOf{"asset_id": id, "library_id": lib, "bounding_box": bodyOf{"x": 0, "y": 0, "w": 9, "h": 9}}).JSON(t, &face)
	want(t, f.Server, 200, "DELETE", "/api/faces/"+face.ID+"?library_id="+lib, nil)
	want(t, f.Server, 200, "POST", "/api/assets/trash?library_id="+lib, bodyOf{"ids": []string{id}})
	want(t, f.Server, 200, "DELETE", "/api/assets?library_id="+lib, bodyOf{"ids": []string{id}})
	for _, part := range []banksiatest.Part{{Name: "captured_after", Content: []byte("2020-01-08T00:00:00")}} {
		if answer := postSearch(t, f.Server, "/api/search", part); answer.Status != 200 || !strings.Contains(string(answer.Body), f.assets[8].ID.String()) {
			t.Errorf("search: %d %s", answer.Status, answer.Body)
		}
	}
	want(t, f.Server, 200, "GET", "/api/search?query=photo&include=metadata", nil)
	photo := upload(t, f.Server, "a.jpg", banksiatest.JPEG(t, 16, 16, 1))
	var made version
	sendVersion(t, f.Server, "/api/assets/"+photo.ID+"/versions", rendering(banksiatest.JPEG(t, 8, 8, 1), "edit", "{}")...).JSON(t, &made)
	if answer := sendVersion(t, f.Server, "/api/assets/"+photo.ID+"/versions/"+made.ID+"/replace?include=variants", rendering(banksiatest.JPEG(t, 8, 8, 2), "edit", "{}")...); answer.Status != 200 || !strings.Contains(string(answer.Body), `"original"`) {
		t.Errorf("replaced: %d %s", answer.Status, answer.Body)
	}
	// What the server knows of by itself, or by its operator.
	at := 1500
	err := f.Store.Change(t.Context(), f.Owner.ID, func(tx *store.Tx) error {
		now := tx.Now()
		library, err := tx.LibraryIn(f.Scope, f.Library)
		if err != nil {
			return err
		}
		library.StorageLimitBytes = pointer(int64(1 << 40))
		if err := tx.UpdateLibrary(&library); err != nil {
			return err
		}
		if err := tx.InsertFace(&banksia.Face{ID: banksia.NewID[banksia.FaceID](now), LibraryID: f.Library, AssetID: f.assets[7].ID, Source: banksia.FaceAutomatic, TimestampMS: &at, BoundingBox: banksia.BoundingBox{W: 9, H: 9}, CreatedAt: now, UpdatedAt: now}); err != nil {
			return err
		}
		return tx.SetDuration(f.assets[7].ID, pointer(12.5))
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := auth.ChangeUser(t.Context(), f.Store, "owner@localhost", func(u *banksia.User) {
		u.Timezone, u.FirstName, u.LastName = pointer("Europe/Paris"), pointer("Ada"), pointer("Lovelace")
	}); err != nil {
		t.Fatal(err)
	}
	for target, wanted := range map[string]string{"/api/users/me": "Europe/Paris", "/api/libraries/" + lib: "1099511627776", "/api/assets/" + f.assets[7].ID.String(): `"duration":12.5`, "/api/faces?asset_id=" + f.assets[7].ID.String(): `"timestamp_ms":1500`} {
		if answer := want(t, f.Server, 200, "GET", target, nil); !strings.Contains(string(answer.Body), wanted) {
			t.Errorf("%s: %s", target, answer.Body)
		}
	}
	// A credential where none is needed.
	for target, method := range map[string]string{"/api/oauth/auth-url?redirect_uri=" + returnTo: "GET", "/api/oauth/logout-endpoint": "GET", "/api/oauth/exchange": "POST"} {
		for credential, status := range map[string]int{"Basic eDp4": 401, "Bearer " + f.NewKey(t, []banksia.Action{}, nil): 403, "Bearer stale": 200} {
			request, err := http.NewRequest(method, f.URL+target, strings.NewReader(`{"state": "x", "error": "access_denied"}`))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", credential)
			request.Header.Set("Content-Type", "application/json")
			if method == "POST" && status == 200 {
				status = 400 // of the state
			}
			if got := f.Do(t, request); got.Status != status {
				t.Errorf("%s with %.10s: %d", target, credential, got.Status)
			}
		}
	}
	want(t, f.Server, 422, "GET", "/api/tasks/%00", nil)
}
