package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/banksiatest"
	"github.com/banksia-photos/banksia/internal/store"
)

// edited is what the tests of edits read of an asset.
type edited struct {
	asset
	Kind             string  `json:"kind"`
	CurrentVersionID string  `json:"current_version_id"`
	FileSizeBytes    int64   `json:"file_size_bytes"`
	UpdatedAt        string  `json:"updated_at"`
	Description      *string `json:"description"`
	Metadata         struct {
		Description *string  `json:"description"`
		Latitude    *float64 `json:"latitude"`
		Longitude   *float64 `json:"longitude"`
		City        *string  `json:"city"`
		Original    *string  `json:"original_datetime"`
		Timezone    *string  `json:"timezone"`
	} `json:"metadata"`
}

// behaviour 8.1 to 8.3: users' words are layered over the file's, and taken back.
func TestEdits(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	when, err := banksia.ParseLocalTime("2020-05-06T07:08:09+02:00")
	if err != nil {
		t.Fatal(err)
	}
	one := s.AddAsset(t, func(a *banksia.Asset, m *banksia.Metadata) {
		m.Description, m.Latitude, m.Longitude, m.City, m.OriginalDateTime = pointer("caption of the file"), pointer(48.8583), pointer(2.2944), pointer("Paris"), &when
		a.Description = pointer("A tower.")
	})
	other := s.AddAsset(t, func(a *banksia.Asset, m *banksia.Metadata) { a.File.CreatedAt = when })
	path := "/api/assets/" + one.ID.String()
	get := func() (e edited) {
		t.Helper()
		s.Finished(t)
		want(t, s, 200, "GET", path, nil).JSON(t, &e)
		return e
	}
	edit := func(body bodyOf) (e edited) {
		t.Helper()
		want(t, s, 200, "PATCH", path, body).JSON(t, &e)
		return e
	}
	before := get()
	last := lastEvent(t, s)
	if e := edit(bodyOf{"description": "mine"}); *e.Metadata.Description != "mine" || *e.Description != "A tower." || e.UpdatedAt == before.UpdatedAt || e.Checksum == "" {
		t.Errorf("described: %+v", e)
	}
	if got := kinds(events(t, s, last)); got != "metadata_updated asset_updated" {
		t.Errorf("events: %s", got)
	}
	// What the file says may still be found later; the user's word stays above it.
	err = s.Store.Change(t.Context(), s.Owner.ID, func(tx *store.Tx) error {
		return tx.UpdateFileMetadata(one.ID, func(m *banksia.Metadata) {
			if *m.Description != "caption of the file" {
				t.Errorf("the file said %q", *m.Description)
			}
			m.Description, m.City = pointer("another caption"), pointer("Paris 7e")
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if e := get(); *e.Metadata.Description != "mine" || *e.Metadata.City != "Paris 7e" {
		t.Errorf("after reading the file again: %+v", e.Metadata)
	}
	if e := edit(bodyOf{"description": nil}); *e.Metadata.Description != "another caption" {
		t.Errorf("taken back: %+v", e.Metadata)
	}
	// Another place has other names, found in the background (behaviour 8.2).
	if e := edit(bodyOf{"latitude": -33.8568, "longitude": 151.2153}); *e.Metadata.Latitude != -33.8568 || e.Metadata.City != nil {
		t.Errorf("moved: %+v", e.Metadata)
	}
	if e := get(); e.Metadata.City == nil || !strings.Contains(*e.Metadata.City, "Sydney") || *e.Metadata.Timezone != "Australia/Sydney" {
		t.Errorf("named: %+v", e.Metadata)
	}
	var p page
	want(t, s, 200, "GET", "/api/assets?bbox=151,-34,152,-33", nil).JSON(t, &p)
	if len(p.Data) != 1 || p.Data[0].ID != one.ID.String() {
		t.Errorf("in Sydney: %+v", p)
	}
	if e := edit(bodyOf{"latitude": nil, "longitude": nil}); *e.Metadata.Latitude != 48.8583 || *e.Metadata.City != "Paris 7e" {
		t.Errorf("moved back: %+v", e.Metadata)
	}
	// The capture time decides the order; one without an offset keeps none.
	order := func() string {
		t.Helper()
		var p page
		want(t, s, 200, "GET", "/api/assets", nil).JSON(t, &p)
		return map[bool]string{true: "one, other", false: "other, one"}[p.Data[0].ID == one.ID.String()]
	}
	if e := edit(bodyOf{"original_datetime": "2021-01-01T00:00:00"}); e.LocalDateTime != "2021-01-01T00:00:00" || *e.Metadata.Original != "2021-01-01T00:00:00" || order() != "one, other" {
		t.Errorf("later: %s, %s", e.LocalDateTime, order())
	}
	if e := get(); e.LocalDateTime != "2021-01-01T00:00:00" {
		t.Errorf("the place gave the user's time an offset: %s", e.LocalDateTime)
	}
	if e := edit(bodyOf{"original_datetime": "2019-01-01T00:00:00.5-05:30", "latitude": 0, "longitude": 0}); e.LocalDateTime != "2019-01-01T00:00:00.5-05:30" || order() != "other, one" {
		t.Errorf("earlier: %s, %s", e.LocalDateTime, order())
	}
	if e := edit(bodyOf{"original_datetime": nil}); e.LocalDateTime != "2020-05-06T07:08:09+02:00" || *e.Metadata.Latitude != 0 {
		t.Errorf("taken back: %s %v", e.LocalDateTime, *e.Metadata.Latitude)
	}
	edit(bodyOf{}) // changes nothing
	for _, body := range []any{bodyOf{"latitude": 1}, bodyOf{"longitude": 1}, bodyOf{"latitude": 1, "longitude": nil}, bodyOf{"latitude": 91, "longitude": 1}, bodyOf{"latitude": 1, "longitude": -180.1},
		bodyOf{"original_datetime": "yesterday"}, bodyOf{"original_datetime": 3}, bodyOf{"description": "a\x00"}, bodyOf{"description": strings.Repeat("x", 100_001)}, "text"} {
		want(t, s, 422, "PATCH", path, body)
	}
	want(t, s, 404, "PATCH", "/api/assets/"+unknownAsset(), bodyOf{"description": "x"})
	// Trashed ones are edited like live ones, and a purge takes the edits along.
	want(t, s, 200, "POST", "/api/assets/trash", bodyOf{"ids": []string{one.ID.String()}})
	edit(bodyOf{"description": "in the trash"})
	want(t, s, 200, "DELETE", path, nil)
	want(t, s, 200, "GET", "/api/assets/"+other.ID.String(), nil)
}

// behaviour 8.4: all or nothing.
func TestBulkUpdate(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	assets := s.AddAssets(t, 3, func(int, *banksia.Asset, *banksia.Metadata) {})
	item := func(n int, change any) bodyOf { return bodyOf{"id": assets[n].ID.String(), "change": change} }
	bulk := func(status int, updates ...bodyOf) string {
		t.Helper()
		answer := want(t, s, status, "POST", "/api/assets/bulk-update", bodyOf{"updates": updates})
		return string(answer.Body)
	}
	captions := func() (text string) {
		t.Helper()
		for _, a := range assets {
			var e edited
			want(t, s, 200, "GET", "/api/assets/"+a.ID.String(), nil).JSON(t, &e)
			if e.Metadata.Description != nil {
				text += *e.Metadata.Description
			}
			text += ";"
		}
		return text
	}
	want(t, s, 200, "POST", "/api/assets/trash", bodyOf{"ids": []string{assets[2].ID.String()}})
	if body := bulk(200, item(0, bodyOf{"description": "a"}), item(2, bodyOf{"description": "c"}), item(0, bodyOf{"latitude": 1, "longitude": 2})); strings.TrimSpace(body) != "{}" || captions() != "a;;c;" {
		t.Errorf("%s, %s", body, captions())
	}
	bulk(404, item(1, bodyOf{"description": "x"}), bodyOf{"id": unknownAsset(), "change": bodyOf{}})
	if body := bulk(422, item(1, bodyOf{"description": "x"}), item(0, bodyOf{"latitude": 200, "longitude": 0})); !strings.Contains(body, "updates.1.change.latitude") {
		t.Errorf("which one was bad is not said: %s", body)
	}
	bulk(422, item(1, bodyOf{"description": "x"}), bodyOf{"id": "x", "change": bodyOf{}})
	bulk(422, item(1, nil))
	bulk(422)
	bulk(422, slices.Repeat([]bodyOf{item(1, bodyOf{})}, 201)...)
	want(t, s, 422, "POST", "/api/assets/bulk-update", bodyOf{"updates": "x"})
	if captions() != "a;;c;" {
		t.Errorf("something was written: %s", captions())
	}
	// Assets of several libraries go together, hidden ones are unknown.
	var library struct{ ID string }
	want(t, s, 201, "POST", "/api/libraries", bodyOf{"name": "Other"}).JSON(t, &library)
	parts := append([]banksiatest.Part{{Name: "library_id", Content: []byte(library.ID)}}, banksiatest.UploadParts("a.jpg", banksiatest.JPEG(t, 16, 16, 1))...)
	var foreign asset
	s.Upload(t, parts).JSON(t, &foreign)
	bulk(200, item(1, bodyOf{"description": "b"}), bodyOf{"id": foreign.ID, "change": bodyOf{"description": "d"}})
	want(t, s, 200, "POST", "/api/libraries/"+library.ID+"/trash", nil)
	bulk(404, bodyOf{"id": foreign.ID, "change": bodyOf{"description": "e"}})
}

type version struct {
	ID       string             `json:"id"`
	Kind     string             `json:"kind"`
	MIMEType string             `json:"mime_type"`
	Position int                `json:"position"`
	Width    int                `json:"width"`
	Height   int                `json:"height"`
	Size     int64              `json:"file_size_bytes"`
	Checksum string             `json:"checksum"`
	Params   map[string]any     `json:"params"`
	URLs     map[string]variant `json:"version_urls"`
}

// sendVersion sends a rendering.
func sendVersion(t testing.TB, s *banksiatest.Server, target string, parts ...banksiatest.Part) banksiatest.Answer {
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

func rendering(content []byte, kind, params string) []banksiatest.Part {
	return []banksiatest.Part{{Name: "kind", Content: []byte(kind)}, {Name: "params", Content: []byte(params)}, {Name: "file", FileName: "edit.jpg", Content: content}}
}

func pngOf(t testing.TB, width, height int) []byte {
	t.Helper()
	var buffer bytes.Buffer
	if err := png.Encode(&buffer, image.NewGray(image.Rect(0, 0, width, height))); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

// behaviour 15: the chain of renderings.
func TestVersions(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	original := banksiatest.JPEG(t, 400, 300, 1)
	photo := upload(t, s, "photo.jpg", original)
	path := "/api/assets/" + photo.ID
	chain := func(query string) (versions []version) {
		t.Helper()
		want(t, s, 200, "GET", path+"/versions"+query, nil).JSON(t, &versions)
		return versions
	}
	get := func() (e edited) {
		t.Helper()
		want(t, s, 200, "GET", path, nil).JSON(t, &e)
		return e
	}
	bytesAt := func(url string) []byte {
		t.Helper()
		answer := s.CallAs(t, "", "GET", url, nil)
		if answer.Status != 200 {
			t.Errorf("%s: %d", url, answer.Status)
		}
		return answer.Body
	}
	used := func() (bytes int64) {
		t.Helper()
		var me struct {
			Used int64 `json:"storage_used_bytes"`
		}
		want(t, s, 200, "GET", "/api/users/me", nil).JSON(t, &me)
		return me.Used
	}
	first := chain("")
	if len(first) != 1 || first[0].Position != 0 || first[0].Kind != "original" || first[0].Params != nil || len(first[0].URLs) != 1 || first[0].URLs["thumbnail"].URL == "" {
		t.Errorf("of an upload: %+v", first)
	}
	if all := chain("?include=variants"); len(all[0].URLs) != 5 || !bytes.Equal(bytesAt(all[0].URLs["original"].URL), original) {
		t.Errorf("with variants: %+v", all)
	}
	// The bytes of the original are no edit.
	var made version
	answer := sendVersion(t, s, path+"/versions", rendering(original, "edit", "{}")...)
	if answer.JSON(t, &made); answer.Status != 201 || made.ID != first[0].ID {
		t.Errorf("the original again: %d %s", answer.Status, answer.Body)
	}
	crop := banksiatest.JPEG(t, 200, 100, 2)
	last := lastEvent(t, s)
	answer = sendVersion(t, s, path+"/versions?include=variants", rendering(crop, "edit", `{"crop": [0, 1], "by": "me"}`)...)
	if answer.JSON(t, &made); answer.Status != 201 || made.Position != 1 || made.Width != 200 || made.Height != 100 || made.Params["by"] != "me" || made.Size != int64(len(crop)) || !bytes.Equal(bytesAt(made.URLs["original"].URL), crop) {
		t.Errorf("appended: %d %s", answer.Status, answer.Body)
	}
	if got := kinds(events(t, s, last)); !strings.HasPrefix(got, "asset_updated") {
		t.Errorf("events: %s", got)
	}
	// The asset follows the current version; its file is still the upload's (behaviour 15.5).
	e := get()
	if e.Kind != "edit" || e.CurrentVersionID != made.ID || e.Width != 200 || e.OriginalFileName != "photo.jpg" || e.FileSizeBytes != int64(len(original)) || e.Checksum != photo.Checksum ||
		!bytes.Equal(bytesAt(e.AssetURLs["original"].URL), crop) || bytes.Equal(bytesAt(e.AssetURLs["thumbnail"].URL), nil) {
		t.Errorf("with an edit: %+v", e)
	}
	if used() != int64(len(original)+len(crop)) {
		t.Errorf("%d bytes are used", used())
	}
	// Only the original is edited, a rendering is replaced.
	if answer := sendVersion(t, s, path+"/versions", rendering(pngOf(t, 30, 40), "edit", "{}")...); answer.Status != 409 || answer.Header.Get("X-Should-Retry") != "false" {
		t.Errorf("appended to an edit: %d", answer.Status)
	}
	replace := func(id string) string { return path + "/versions/" + id + "/replace" }
	if answer := sendVersion(t, s, replace(first[0].ID), rendering(crop, "edit", "{}")...); answer.Status != 422 {
		t.Errorf("replaced the original: %d", answer.Status)
	}
	var replaced version
	answer = sendVersion(t, s, replace(made.ID), rendering(crop, "external:studio", `{}`)...)
	if answer.JSON(t, &replaced); answer.Status != 200 || replaced.ID != made.ID || replaced.Kind != "external:studio" {
		t.Errorf("replaced by the same bytes: %d %s", answer.Status, answer.Body)
	}
	drawing := pngOf(t, 30, 40)
	answer = sendVersion(t, s, replace(made.ID), rendering(drawing, "edit", `{"n": 2}`)...)
	if answer.JSON(t, &replaced); answer.Status != 200 || replaced.ID == made.ID || replaced.Position != 1 || replaced.MIMEType != "image/png" {
		t.Errorf("replaced: %d %s", answer.Status, answer.Body)
	}
	if e := get(); e.MIMEType != "image/png" || e.Height != 40 || used() != int64(len(original)+len(drawing)) {
		t.Errorf("with another edit: %+v, %d bytes", e, used())
	}
	if answer := sendVersion(t, s, replace(made.ID), rendering(crop, "edit", "{}")...); answer.Status != 404 {
		t.Errorf("replaced what is gone: %d", answer.Status)
	}
	s.Finished(t)
	s.Await(t, "the replaced files stay", func() bool { return len(originals(t, s)) == 2 })
	// Deleting falls back to the one before; a stale idea of the current one is told.
	stale := "?expected_current_version_id=" + made.ID
	if answer := want(t, s, 409, "DELETE", path+"/versions/"+replaced.ID+stale, nil); answer.Header.Get("X-Should-Retry") != "false" {
		t.Errorf("%v", answer.Header)
	}
	want(t, s, 409, "POST", path+"/versions/"+first[0].ID+"/revert"+stale, nil)
	want(t, s, 422, "DELETE", path+"/versions/"+first[0].ID, nil)
	want(t, s, 404, "DELETE", path+"/versions/"+made.ID, nil)
	want(t, s, 404, "POST", path+"/versions/"+made.ID+"/revert", nil)
	want(t, s, 422, "DELETE", path+"/versions/"+replaced.ID+"?expected_current_version_id=x", nil)
	want(t, s, 200, "POST", path+"/versions/"+replaced.ID+"/revert", nil).JSON(t, &e) // it is current
	if e.CurrentVersionID != replaced.ID {
		t.Errorf("reverted to the current one: %+v", e)
	}
	want(t, s, 200, "DELETE", path+"/versions/"+replaced.ID+"?expected_current_version_id="+replaced.ID, nil).JSON(t, &e)
	if e.Kind != "original" || e.CurrentVersionID != first[0].ID || e.Width != 400 || used() != int64(len(original)) {
		t.Errorf("without the edit: %+v", e)
	}
	// A longer chain, as an import may bring: what is buried stays buried.
	answer = sendVersion(t, s, path+"/versions", rendering(crop, "edit", "{}")...)
	answer.JSON(t, &made)
	third := version{}
	err := s.Store.Change(t.Context(), s.Owner.ID, func(tx *store.Tx) error {
		id, err := banksia.ParseID[banksia.AssetID](photo.ID)
		if err != nil {
			return err
		}
		now := tx.Now()
		v := banksia.Version{ID: banksia.NewID[banksia.VersionID](now), AssetID: id, Position: 2, Kind: "edit", MIMEType: "image/jpeg", Width: 1, Height: 1, SizeBytes: 1, SHA256: make([]byte, 32), CreatedAt: now, Params: []byte("{}")}
		third.ID = v.ID.String()
		return tx.InsertVersion(s.Library, &v)
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, s, 409, "DELETE", path+"/versions/"+made.ID, nil)
	if answer := sendVersion(t, s, replace(made.ID), rendering(drawing, "edit", "{}")...); answer.Status != 409 {
		t.Errorf("replaced a buried version: %d", answer.Status)
	}
	want(t, s, 200, "POST", path+"/versions/"+first[0].ID+"/revert?expected_current_version_id="+third.ID, nil).JSON(t, &e)
	if e.CurrentVersionID != first[0].ID || len(chain("")) != 1 {
		t.Errorf("reverted: %+v", e)
	}
	s.Finished(t)
	s.Await(t, "files of versions stay", func() bool { return len(originals(t, s)) == 1 })
	if !bytes.Equal(bytesAt(get().AssetURLs["original"].URL), original) {
		t.Error("the original changed")
	}
}

// originals lists the stored originals.
func originals(t *testing.T, s *banksiatest.Server) (keys []string) {
	t.Helper()
	for _, key := range blobKeys(t, s) {
		if isOriginal(key) {
			keys = append(keys, string(key))
		}
	}
	return keys
}

func TestVersionsRefuse(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	photo := upload(t, s, "photo.jpg", banksiatest.JPEG(t, 40, 30, 1))
	clip := s.AddAsset(t, func(a *banksia.Asset, _ *banksia.Metadata) {
		a.MediaType, a.Version.MIMEType = banksia.Video, "video/mp4"
	})
	path := "/api/assets/" + photo.ID + "/versions"
	good := banksiatest.JPEG(t, 20, 20, 3)
	broken := append([]byte{0xff, 0xd8, 0xff, 0xe0}, bytes.Repeat([]byte{1}, 200)...)
	for name, parts := range map[string][]banksiatest.Part{
		"a gif":             rendering([]byte("GIF89a and so on"), "edit", "{}"),
		"an empty file":     rendering(nil, "edit", "{}"),
		"a broken file":     rendering(broken, "edit", "{}"),
		"no kind":           rendering(good, "", "{}"),
		"kind original":     rendering(good, "original", "{}"),
		"kind of nobody":    rendering(good, "external:", "{}"),
		"a strange kind":    rendering(good, "external:a b", "{}"),
		"no params":         rendering(good, "edit", ""),
		"params of a list":  rendering(good, "edit", "[]"),
		"params null":       rendering(good, "edit", "null"),
		"broken params":     rendering(good, "edit", "{"),
		"too large params":  rendering(good, "edit", `{"a":"`+strings.Repeat("x", 70000)+`"}`),
		"params with NUL":   rendering(good, "edit", "{\"a\":\"\x00\"}"),
		"no file":           rendering(good, "edit", "{}")[:2],
		"a missing part":    rendering(good, "edit", "{}")[1:],
		"a part twice":      append(rendering(good, "edit", "{}"), rendering(good, "edit", "{}")[0]),
		"many parts":        slices.Repeat([]banksiatest.Part{{Name: "other"}}, 70),
		"a file, but twice": append(rendering(good, "edit", "{}"), rendering(good, "edit", "{}")[2]),
	} {
		if answer := sendVersion(t, s, path, parts...); answer.Status != 422 {
			t.Errorf("%s: %d %s", name, answer.Status, answer.Body)
		}
	}
	declared := func(contentType string) int {
		body := fmt.Sprintf("--x\r\nContent-Disposition: form-data; name=\"kind\"\r\n\r\nedit\r\n--x\r\nContent-Disposition: form-data; name=\"params\"\r\n\r\n{}\r\n--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\nContent-Type: %s\r\n\r\n%s\r\n--x--\r\n", contentType, good)
		request, err := http.NewRequest("POST", s.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+s.Key)
		request.Header.Set("Content-Type", "multipart/form-data; boundary=x")
		return s.Do(t, request).Status
	}
	if got := declared("image/png"); got != 422 {
		t.Errorf("a JPEG declared as PNG: %d", got)
	}
	for target, status := range map[string]int{path + "?include=faces": 422, "/api/assets/" + clip.ID.String() + "/versions": 422, "/api/assets/" + unknownAsset() + "/versions": 404, "/api/assets/x/versions": 422} {
		if answer := sendVersion(t, s, target, rendering(good, "edit", "{}")...); answer.Status != status {
			t.Errorf("%s: %d", target, answer.Status)
		}
	}
	want(t, s, 422, "POST", path, bodyOf{"kind": "edit"})
	want(t, s, 422, "GET", path+"?include=x", nil)
	want(t, s, 404, "GET", "/api/assets/"+unknownAsset()+"/versions", nil)
	if got := originals(t, s); len(got) != 1 {
		t.Errorf("refused files are kept: %v", got)
	}
	if got := declared("image/jpeg"); got != 201 {
		t.Errorf("a JPEG declared as such: %d", got)
	}
}

// Two writers on one asset: counters, chain and files agree in the end.
func TestEditRaces(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	photo := upload(t, s, "photo.jpg", banksiatest.JPEG(t, 40, 30, 1))
	path := "/api/assets/" + photo.ID
	var wait sync.WaitGroup
	for n := range 3 {
		wait.Go(func() {
			for i := range 8 {
				var e edited
				answer := s.Call(t, "GET", path, nil)
				if err := json.Unmarshal(answer.Body, &e); err != nil {
					t.Error(err)
				}
				file := rendering(banksiatest.JPEG(t, 20, 20, uint8(i%3)), "edit", "{}")
				switch (n + i) % 4 {
				case 0:
					sendVersion(t, s, path+"/versions", file...)
				case 1:
					sendVersion(t, s, path+"/versions/"+e.CurrentVersionID+"/replace", file...)
				case 2:
					s.Call(t, "DELETE", path+"/versions/"+e.CurrentVersionID, nil)
				case 3:
					s.Call(t, "PATCH", path, bodyOf{"description": time.Now().String(), "original_datetime": fmt.Sprintf("201%d-01-01T00:00:00", i)})
					s.Call(t, "POST", "/api/assets/trash", bodyOf{"ids": []string{photo.ID}})
					s.Call(t, "POST", "/api/assets/restore", bodyOf{"ids": []string{photo.ID}})
				}
			}
		})
	}
	wait.Wait()
	s.Finished(t)
	var versions []version
	want(t, s, 200, "GET", path+"/versions?include=variants", nil).JSON(t, &versions)
	s.Await(t, "the files are not those of the versions", func() bool { return len(originals(t, s)) == len(versions) })
	for _, v := range versions {
		if answer := s.CallAs(t, "", "GET", v.URLs["original"].URL, nil); answer.Status != 200 || int64(len(answer.Body)) != v.Size {
			t.Errorf("version %d: %d", v.Position, answer.Status)
		}
	}
}

// The offset of a naive time follows the place: it changes with an edited one, and
// comes back with that of the file.
func TestOffsetsFollowThePlace(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	naive, err := banksia.ParseLocalTime("2020-07-01T12:00:00")
	if err != nil {
		t.Fatal(err)
	}
	a := s.AddAsset(t, func(_ *banksia.Asset, m *banksia.Metadata) {
		m.OriginalDateTime, m.DigitizedDateTime = pointer(naive), pointer(naive)
	})
	path := "/api/assets/" + a.ID.String()
	edit := func(body bodyOf) string {
		t.Helper()
		want(t, s, 200, "PATCH", path, body)
		s.Finished(t)
		var e edited
		want(t, s, 200, "GET", path, nil).JSON(t, &e)
		return e.LocalDateTime
	}
	for _, step := range []struct {
		body bodyOf
		want string
	}{
		{bodyOf{"latitude": 35.68, "longitude": 139.69}, "2020-07-01T12:00:00+09:00"},
		{bodyOf{"latitude": 48.86, "longitude": 2.35}, "2020-07-01T12:00:00+02:00"},
		{bodyOf{"latitude": nil, "longitude": nil}, "2020-07-01T12:00:00"},
		{bodyOf{"original_datetime": "2021-01-01T00:00:00"}, "2021-01-01T00:00:00"},
		{bodyOf{"latitude": 48.86, "longitude": 2.35}, "2021-01-01T00:00:00"},
		{bodyOf{"original_datetime": nil}, "2020-07-01T12:00:00+02:00"},
		{bodyOf{"original_datetime": "2021-01-01T00:00:00Z"}, "2021-01-01T00:00:00+00:00"},
		{bodyOf{"latitude": 35.68, "longitude": 139.69}, "2021-01-01T00:00:00+00:00"},
		{bodyOf{"original_datetime": nil}, "2020-07-01T12:00:00+09:00"},
	} {
		if got := edit(step.body); got != step.want {
			t.Errorf("after %v it is %s, not %s", step.body, got, step.want)
		}
	}
}
