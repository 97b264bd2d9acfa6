package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/auth"
	"github.com/banksia-photos/banksia/internal/banksiatest"
	"github.com/banksia-photos/banksia/internal/store"
)

// behaviour 3.3: what belongs to another user of the same server looks as if it
// were not there.
func TestStrangers(t *testing.T) {
	t.Parallel()
	f := newFilled(t)
	owned := upload(t, f.Server, "a.jpg", banksiatest.JPEG(t, 30, 30, 1))
	f.Finished(t)
	var tasks []struct{ ID string }
	f.Call(t, "GET", "/api/tasks/", nil).JSON(t, &tasks)
	if len(tasks) == 0 {
		t.Fatal("no tasks to hide")
	}
	now := f.Store.Now()
	stranger := banksia.User{ID: banksia.NewID[banksia.UserID](now), IsActive: true, CreatedAt: now, UpdatedAt: now}
	if err := f.Store.Change(t.Context(), f.Owner.ID, func(tx *store.Tx) error { return tx.InsertUser(&stranger) }); err != nil {
		t.Fatal(err)
	}
	_, key, err := auth.NewAPIKey(t.Context(), f.Store, stranger.ID, "stranger", banksia.Actions, nil)
	if err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		for path, want := range map[string]string{
			"/api/assets/" + owned.ID:                             "404",
			"/api/assets/" + owned.ID + "/download":               "404",
			"/api/assets/" + owned.ID + "/thumbnail":              "404",
			"/api/tasks/" + tasks[0].ID:                           "404",
			"/api/assets?library_id=" + f.Library.String():        "404",
			"/api/assets/counts?library_id=" + f.Library.String(): "404",
			"/api/tasks/?library_id=" + f.Library.String():        "404",
			"/api/tasks/":                                               "[]",
			"/api/tasks/asset/" + owned.ID:                              "[]",
			"/api/assets":                                               `{"data":[],"has_more":false}`,
			"/api/assets?ids=" + owned.ID:                               `{"data":[],"has_more":false}`,
			"/api/assets?album_id=" + f.album:                           `{"data":[],"has_more":false}`,
			"/api/assets?person_ids=" + f.person:                        `{"data":[],"has_more":false}`,
			"/api/assets?stack_id=" + f.stack:                           `{"data":[],"has_more":false}`,
			"/api/assets/counts":                                        `{"data":[],"has_more":false}`,
			"/api/assets/geo-clusters?bbox=-180,-90,180,90&cell_size=1": `{"data":[]}`,
		} {
			answer := f.CallAs(t, key, "GET", path, nil)
			if got := strings.TrimSpace(string(answer.Body)); got != want && fmt.Sprint(answer.Status) != want {
				t.Errorf("%s: %d %s", path, answer.Status, got)
			}
		}
		body, err := json.Marshal(map[string]any{"checksums": []string{owned.Checksum}})
		if err != nil {
			t.Fatal(err)
		}
		if answer := f.CallAs(t, key, "POST", "/api/assets/exist", bytes.NewReader(body)); strings.TrimSpace(string(answer.Body)) != `{"assets":[]}` {
			t.Errorf("exist: %s", answer.Body)
		}
	}
	check() // without a library (21.14)
	library := banksia.Library{ID: banksia.NewID[banksia.LibraryID](now), UserID: stranger.ID, Name: "a", CreatedAt: now, UpdatedAt: now}
	if err := f.Store.Change(t.Context(), f.Owner.ID, func(tx *store.Tx) error { return tx.InsertLibrary(&library) }); err != nil {
		t.Fatal(err)
	}
	check() // and with one
	if answer := f.CallAs(t, key, "GET", "/api/assets?starting_after_id="+owned.ID, nil); answer.Status != http.StatusUnprocessableEntity {
		t.Errorf("a foreign cursor: %d %s", answer.Status, answer.Body)
	}
	// behaviour 6.5: the same bytes are an asset of their own.
	parts, contentType := banksiatest.UploadBody(t, banksiatest.UploadParts("a.jpg", banksiatest.JPEG(t, 30, 30, 1)))
	request, err := http.NewRequest("POST", f.URL+"/api/assets", bytes.NewReader(parts))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+key)
	request.Header.Set("Content-Type", contentType)
	answer := f.Do(t, request)
	var a asset
	answer.JSON(t, &a)
	if answer.Status != http.StatusCreated || a.ID == owned.ID {
		t.Errorf("%d %s", answer.Status, a.ID)
	}
	var me struct{ ID string }
	f.CallAs(t, key, "GET", "/api/users/me", nil).JSON(t, &me)
	if me.ID != stranger.ID.String() {
		t.Errorf("%+v", me)
	}
}

// behaviour 21.19, 2.3: unknown paths and methods have the envelope and never
// redirect; each known path works with a slash and without one.
func TestPaths(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	a := upload(t, s, "a.jpg", banksiatest.JPEG(t, 30, 30, 2))
	for _, test := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/api/nonsense", 404, ""}, {"GET", "/api", 404, ""}, {"GET", "/api/", 404, ""}, {"GET", "/", 404, ""},
		{"GET", "//api/assets", 404, ""}, {"GET", "/api//assets", 404, ""}, {"POST", "/api//assets", 404, ""}, {"GET", "/api/./assets", 404, ""}, {"GET", "/api/assets/../assets", 404, ""},
		{"GET", "/api/assets//", 404, ""}, {"GET", "/api/assets/%2e%2e/assets", 404, ""}, {"GET", "/API/assets", 404, ""}, {"GET", "/api/assets/%00", 422, ""}, {"GET", "/api/assets/%ff", 422, ""},
		{"GET", "/api/assets/a%2Fb", 422, ""}, {"GET", "/api/tasks/%00", 422, ""}, {"GET", "/api/tasks/" + strings.Repeat("x", 10000), 404, ""}, {"GET", "/media/x", 404, ""},
		{"PUT", "/api/assets", 405, "DELETE, GET, HEAD, POST"}, {"DELETE", "/api/libraries", 405, "GET, HEAD, POST"}, {"GET", "/api/assets/exist", 422, ""}, {"POST", "/api/server/ping", 405, "GET, HEAD"},
		{"BREW", "/api/assets", 405, "DELETE, GET, HEAD, POST"}, {"TRACE", "/api/assets", 405, "DELETE, GET, HEAD, POST"}, {"OPTIONS", "/api/assets", 405, "DELETE, GET, HEAD, POST"},
		{"GET", "/api/assets", 200, ""}, {"GET", "/api/assets/", 200, ""}, {"GET", "/api/assets/" + a.ID + "/", 200, ""}, {"GET", "/api/assets/counts/", 200, ""}, {"GET", "/api/users/me/", 200, ""},
		{"GET", "/api/tasks", 200, ""}, {"GET", "/api/tasks/", 200, ""}, {"GET", "/api/tasks/asset/" + a.ID + "/", 200, ""}, {"GET", "/api/server/ping/", 200, ""}, {"GET", "/openapi.json/", 200, ""},
		{"POST", "/api/assets/exist/", 422, ""}, {"HEAD", "/api/assets", 200, ""}, {"HEAD", "/api/nonsense", 404, ""},
	} {
		request, err := http.NewRequest(test.method, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.URL.Opaque = strings.TrimPrefix(s.URL, "http:") + test.path // sent as it is
		request.Header.Set("Authorization", "Bearer "+s.Key)
		answer := s.DoPath(t, request, test.path)
		if answer.Status != test.status || answer.Header.Get("Allow") != test.allow {
			t.Errorf("%s %.100s: %d, Allow %q: %.300s", test.method, test.path, answer.Status, answer.Header.Get("Allow"), answer.Body)
		}
		if test.status >= 400 && test.method != "HEAD" {
			var body struct{ Detail, Error, Message any }
			answer.JSON(t, &body)
			if body.Detail == nil || body.Error == nil || body.Message == nil {
				t.Errorf("%s %s: %s", test.method, test.path, answer.Body)
			}
		}
	}
}

// The envelope of each status, as clients read it (behaviour 3.1, 3.2, 21.11).
func TestEnvelopes(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	for _, test := range []struct {
		key, method, path string
		status            int
		want              string
	}{
		{"", "GET", "/api/assets", 401, `{"detail":"Send a credential as: Authorization: Bearer KEY.","error":"unauthorized","message":"Send a credential as: Authorization: Bearer KEY."}`},
		{s.NewKey(t, []banksia.Action{banksia.Read}, nil), "POST", "/api/assets", 403, `{"detail":"This credential lacks the action write.","error":"forbidden","message":"This credential lacks the action write."}`},
		{s.Key, "GET", "/api/assets/asset_BM3nUmJ6fkBqBADyz5FEiu", 404, `{"detail":"Asset not found.","error":"not_found","message":"Asset not found."}`},
		{s.Key, "PUT", "/api/assets", 405, `{"detail":"This path does not answer PUT.","error":"method_not_allowed","message":"This path does not answer PUT."}`},
		{s.Key, "GET", "/api/assets?limit=0", 422, `{"detail":[{"loc":["query","limit"],"msg":"must be a whole number from 1 to 200","type":"value_error"}],"error":"validation_error","message":"limit: must be a whole number from 1 to 200"}`},
	} {
		answer := s.CallAs(t, test.key, test.method, test.path, nil)
		if answer.Status != test.status || strings.TrimSpace(string(answer.Body)) != test.want || answer.Header.Get("Content-Type") != "application/json" || answer.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s: %d %s %v", test.method, test.path, answer.Status, answer.Body, answer.Header)
		}
		if asks := answer.Header.Get("WWW-Authenticate") != ""; asks != (test.status == 401) {
			t.Errorf("%s %s: %v", test.method, test.path, answer.Header)
		}
	}
}

// behaviour 2.15: the document is the contract's, for this server.
func TestDocument(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	answer := s.CallAs(t, "", "GET", "/openapi.json", nil)
	var document struct {
		OpenAPI string
		Info    struct{ Title, Version string }
		Servers []struct{ URL string }
		Paths   map[string]map[string]any
	}
	answer.JSON(t, &document)
	if document.OpenAPI != "3.1.0" || document.Info.Title != "Gumnut API" || document.Info.Version != "0.1.0" || len(document.Servers) != 1 || document.Servers[0].URL != "/" || document.Paths["/api/assets"]["get"] == nil {
		t.Errorf("%.500s", answer.Body)
	}
	if answer.Header.Get("Content-Type") != "application/json" || answer.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%v", answer.Header)
	}
}
