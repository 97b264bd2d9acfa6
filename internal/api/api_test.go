package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/banksiatest"
	"github.com/banksia-photos/banksia/internal/media"
	"github.com/banksia-photos/banksia/internal/store"
)

// impossible is what the document has and no server can give, and why.
var impossible = map[string]string{
	"APIKeyCreateResponse: field last_used_at": "a key that has just been made has not been used",
	"legacyListApiKeys: status 404":            "a list of one's own keys names nothing that could be unknown",
}

// TestMain runs the tests and then, when all of them ran, names what the document
// has and none of them has exercised against a server.
func TestMain(m *testing.M) {
	media.ServeWorkerIfAsked()
	status := m.Run()
	if partial := flag.Lookup("test.run").Value.String() + flag.Lookup("test.skip").Value.String() + flag.Lookup("test.bench").Value.String() + flag.Lookup("test.list").Value.String() + flag.Lookup("test.fuzz").Value.String(); status == 0 && partial == "" {
		exercised, err := banksiatest.Exercised()
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		missing := slices.DeleteFunc(exercised.Missing(), func(name string) bool { return impossible[name] != "" })
		if len(missing) > 0 {
			fmt.Printf("%d things of the OpenAPI document are not exercised by the tests of this package:\n%s\n", len(missing), strings.Join(missing, "\n"))
			status = 1
		}
	}
	os.Exit(status)
}

// asset is what the tests read of an answer.
type asset struct {
	ID               string             `json:"id"`
	MIMEType         string             `json:"mime_type"`
	OriginalFileName string             `json:"original_file_name"`
	LocalDateTime    string             `json:"local_datetime"`
	Width            int                `json:"width"`
	Height           int                `json:"height"`
	ThumbHash        *string            `json:"thumbhash"`
	Checksum         string             `json:"checksum"`
	AssetURLs        map[string]variant `json:"asset_urls"`
}

type variant struct {
	URL      string `json:"url"`
	MIMEType string `json:"mimetype"`
	Width    *int   `json:"width"`
}

type page struct {
	Data    []asset `json:"data"`
	HasMore bool    `json:"has_more"`
}

func upload(t *testing.T, s *banksiatest.Server, name string, content []byte) asset {
	t.Helper()
	answer := s.Upload(t, banksiatest.UploadParts(name, content))
	if answer.Status != http.StatusCreated {
		t.Fatalf("%d: %s", answer.Status, answer.Body)
	}
	var a asset
	answer.JSON(t, &a)
	return a
}

func list(t *testing.T, s *banksiatest.Server, pairs ...string) page {
	t.Helper()
	answer := s.Call(t, "GET", "/api/assets"+banksiatest.Query(pairs...), nil)
	if answer.Status != http.StatusOK {
		t.Fatalf("%v: %d: %s", pairs, answer.Status, answer.Body)
	}
	var p page
	answer.JSON(t, &p)
	return p
}

func ids(p page) []string {
	result := []string{}
	for _, a := range p.Data {
		result = append(result, a.ID)
	}
	return result
}

// behaviour 6.1 to 6.11 and 7.21 to 7.27: from the upload to the bytes of every
// variant.
func TestUploadAndServe(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	content := banksiatest.JPEG(t, 2000, 1000, 1)
	parts := banksiatest.UploadParts("tree.jpg", content)
	answer := s.Upload(t, parts)
	if answer.Status != http.StatusCreated {
		t.Fatalf("%d: %s", answer.Status, answer.Body)
	}
	var a asset
	answer.JSON(t, &a)
	if a.Width != 2000 || a.Height != 1000 || a.MIMEType != "image/jpeg" || a.LocalDateTime != "2020-02-03T04:05:06+01:00" {
		t.Errorf("%+v", a)
	}
	var full map[string]any
	answer.JSON(t, &full)
	for _, key := range []string{"exif", "metadata", "file_data", "faces", "people", "metrics", "checksum_sha1"} { // behaviour 6.10
		if full[key] == nil {
			t.Errorf("%s is missing in %s", key, answer.Body)
		}
	}
	// The order of the parts does not matter, and the same bytes are the same
	// asset (behaviour 6.1, 6.4).
	slices.Reverse(parts)
	again := s.Upload(t, parts)
	var b asset
	again.JSON(t, &b)
	if again.Status != http.StatusOK || b.ID != a.ID {
		t.Errorf("the second upload: %d, %s", again.Status, b.ID)
	}
	limits := map[string]int{"thumbnail": 360, "small": 720, "preview": 1440, "fullsize": 2000, "original": 2000}
	if len(a.AssetURLs) != len(limits) {
		t.Errorf("variants: %v", a.AssetURLs)
	}
	for name, limit := range limits { // right after 201 (behaviour 6.11), without a credential (7.23)
		v := a.AssetURLs[name]
		if !strings.HasPrefix(v.URL, s.URL+"/") || v.Width == nil || *v.Width != limit {
			t.Errorf("%s: %+v", name, v)
		}
		got := s.CallAs(t, "", "GET", v.URL, nil)
		if got.Status != http.StatusOK || got.Header.Get("Content-Type") != v.MIMEType || got.Header.Get("ETag") == "" || got.Header.Get("Last-Modified") == "" ||
			!strings.Contains(got.Header.Get("Cache-Control"), "max-age") || got.Header.Get("Content-Length") != fmt.Sprint(len(got.Body)) {
			t.Errorf("%s: %d %v", name, got.Status, got.Header)
		}
		if policy := got.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "sandbox") || got.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s could run as script: %v", name, got.Header)
		}
		if name == "original" {
			if !bytes.Equal(got.Body, content) || got.Header.Get("Content-Disposition") != `attachment; filename="tree.jpg"` {
				t.Errorf("the original: %d bytes, %v", len(got.Body), got.Header)
			}
			if withKey := s.Call(t, "GET", v.URL, nil); withKey.Status != http.StatusOK { // 7.23
				t.Errorf("with a credential: %d", withKey.Status)
			}
		}
		request, _ := http.NewRequest("GET", v.URL, nil)
		request.Header.Set("Range", "bytes=10-19")
		if part := s.Do(t, request); part.Status != http.StatusPartialContent || len(part.Body) != 10 || !bytes.Equal(part.Body, got.Body[10:20]) {
			t.Errorf("%s: range: %d, %d bytes", name, part.Status, len(part.Body))
		}
		request.Header.Set("Range", "bytes=99999999-")
		if part := s.Do(t, request); part.Status != http.StatusRequestedRangeNotSatisfiable || part.Header.Get("Content-Range") == "" {
			t.Errorf("%s: range: %d", name, part.Status)
		}
		request.Header.Del("Range")
		request.Header.Set("If-None-Match", got.Header.Get("ETag"))
		if same := s.Do(t, request); same.Status != http.StatusNotModified {
			t.Errorf("%s: cached: %d", name, same.Status)
		}
		broken := strings.Replace(v.URL, "signature=", "signature=A", 1)
		if got := s.CallAs(t, "", "GET", broken, nil); got.Status != http.StatusForbidden {
			t.Errorf("%s: bad signature: %d", name, got.Status)
		}
		if other := s.CallAs(t, "", "GET", strings.Replace(v.URL, "/"+name+"/", "/other/", 1), nil); other.Status != http.StatusForbidden {
			t.Errorf("%s: signature of another variant: %d", name, other.Status)
		}
	}
	// behaviour 17: the work ends, and its results show.
	s.Finished(t)
	var tasks []struct {
		ID, Status string
		TaskType   string `json:"task_type"`
		DeliveryID string `json:"celery_task_id"`
	}
	s.Call(t, "GET", "/api/tasks/asset/"+a.ID, nil).JSON(t, &tasks)
	if len(tasks) != 2 {
		t.Fatalf("tasks: %+v", tasks)
	}
	for _, task := range tasks {
		if task.Status != "success" {
			t.Errorf("%+v\n%s", task, s.Log)
		}
		for _, id := range []string{task.ID, task.DeliveryID} { // behaviour 1.8
			if got := s.Call(t, "GET", "/api/tasks/"+id, nil); got.Status != http.StatusOK {
				t.Errorf("task %s: %d", id, got.Status)
			}
		}
	}
	s.Call(t, "GET", "/api/assets/"+a.ID, nil).JSON(t, &a)
	if a.ThumbHash == nil {
		t.Error("no thumbhash")
	}
	for _, path := range []string{"/download", "/thumbnail", "/thumbnail?size=preview"} { // history.md
		if got := s.Call(t, "GET", "/api/assets/"+a.ID+path, nil); got.Status != http.StatusOK || len(got.Body) == 0 {
			t.Errorf("%s: %d", path, got.Status)
		}
	}
}

// behaviour 6.2: a body without a length.
func TestUploadChunked(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	body, contentType := banksiatest.UploadBody(t, banksiatest.UploadParts("a.jpg", banksiatest.JPEG(t, 50, 50, 2)))
	request, _ := http.NewRequest("POST", s.URL+"/api/assets", io.MultiReader(bytes.NewReader(body)))
	request.Header.Set("Authorization", "Bearer "+s.Key)
	request.Header.Set("Content-Type", contentType)
	if answer := s.Do(t, request); answer.Status != http.StatusCreated {
		t.Errorf("%d: %s", answer.Status, answer.Body)
	}
}

// behaviour 6.3 and issue section 7: each bad upload gets its status, and nothing
// of it stays.
func TestUploadRefuses(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	photo := banksiatest.JPEG(t, 20, 20, 3)
	with := func(change func([]banksiatest.Part) []banksiatest.Part) []banksiatest.Part {
		return change(banksiatest.UploadParts("a.jpg", photo))
	}
	set := func(name, value string) []banksiatest.Part {
		return with(func(parts []banksiatest.Part) []banksiatest.Part {
			for i := range parts {
				if parts[i].Name == name {
					parts[i].Content = []byte(value)
				}
			}
			return parts
		})
	}
	type row struct {
		name   string
		parts  []banksiatest.Part
		status int
	}
	rows := []row{
		{"unknown extension", banksiatest.UploadParts("a.txt", photo), 422},
		{"no extension", banksiatest.UploadParts("a", photo), 422},
		{"SVG", banksiatest.UploadParts("a.svg", []byte("<svg onload=alert(1)>")), 422},
		{"HTML as JPEG", banksiatest.UploadParts("a.jpg", []byte("<html><script>alert(1)</script>")), 422},
		{"JPEG as PNG", banksiatest.UploadParts("a.png", photo), 422},
		{"zero bytes", banksiatest.UploadParts("a.jpg", nil), 422},
		{"long name", banksiatest.UploadParts(strings.Repeat("é", 10000)+".jpg", photo), 422},
		{"bad time", set("file_created_at", "yesterday"), 422},
		{"NUL in a text", set("device_id", "a\x00b"), 422},
		{"invalid UTF-8 in a text", set("device_id", "a\xffb"), 422},
		{"huge text", set("device_id", strings.Repeat("x", 1<<20)), 422},
		{"library of another form", append(banksiatest.UploadParts("a.jpg", photo), banksiatest.Part{Name: "library_id", Content: []byte("album_BM3nUmJ6fkBqBADyz5FEiu")}), 422},
		{"unknown library", append(banksiatest.UploadParts("a.jpg", photo), banksiatest.Part{Name: "library_id", Content: []byte("lib_BM3nUmJ6fkBqBADyz5FEiu")}), 404},
		{"no parts", nil, 422},
		{"file twice", append(banksiatest.UploadParts("a.jpg", photo), banksiatest.UploadParts("b.jpg", photo)...), 422},
	}
	for i, p := range banksiatest.UploadParts("a.jpg", photo) {
		rows = append(rows, row{"without " + p.Name, with(func(parts []banksiatest.Part) []banksiatest.Part { return slices.Delete(parts, i, i+1) }), 422})
	}
	for _, row := range rows {
		answer := s.Upload(t, row.parts)
		// The contract names no 404 for uploads.
		if answer.Status != row.status {
			t.Errorf("%s: %d: %s", row.name, answer.Status, answer.Body)
		}
	}
	for name, body := range map[string]string{
		"cut off":         "--x\r\nContent-Disposition: form-data; name=\"asset_data\"; filename=\"a.jpg\"\r\n\r\n\xff\xd8\xff",
		"not multipart":   "hello",
		"header too long": "--x\r\nContent-Disposition: form-data; name=\"" + strings.Repeat("y", 20<<20) + "\"\r\n\r\n\r\n--x--\r\n",
		"many parts":      strings.Repeat("--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n", 100) + "--x--\r\n",
	} {
		request, _ := http.NewRequest("POST", s.URL+"/api/assets", strings.NewReader(body))
		request.Header.Set("Authorization", "Bearer "+s.Key)
		request.Header.Set("Content-Type", "multipart/form-data; boundary=x")
		if answer := s.Do(t, request); answer.Status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d: %s", name, answer.Status, answer.Body)
		}
	}
	if p := list(t, s); len(p.Data) != 0 {
		t.Errorf("%d assets after refused uploads", len(p.Data))
	}
	entries, err := os.ReadDir(s.Blobs.TempDir())
	if err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// Names are stored as names, whatever they try to be.
func TestUploadNames(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	for i, test := range []struct{ sent, stored string }{
		{"../../etc/passwd.jpg", "passwd.jpg"}, {`C:\photos\a.jpg`, "a.jpg"}, {"new\nline.jpg", "new_line.jpg"},
		{"日本 é.jpg", "日本 é.jpg"}, {"bad\xff.jpg", "bad_.jpg"}, {strings.Repeat("n", 1020) + ".jpg", strings.Repeat("n", 1020) + ".jpg"},
	} {
		body := fmt.Sprintf("--x\r\nContent-Disposition: form-data; name=\"asset_data\"; filename=\"%s\"\r\n\r\n%s\r\n", strings.NewReplacer(`\`, `\\`, "\n", "%0A").Replace(test.sent), banksiatest.JPEG(t, 10+i, 10, 4))
		for _, p := range banksiatest.UploadParts("", nil)[:4] {
			body += fmt.Sprintf("--x\r\nContent-Disposition: form-data; name=%q\r\n\r\n%s\r\n", p.Name, p.Content)
		}
		request, _ := http.NewRequest("POST", s.URL+"/api/assets", strings.NewReader(body+"--x--\r\n"))
		request.Header.Set("Authorization", "Bearer "+s.Key)
		request.Header.Set("Content-Type", "multipart/form-data; boundary=x")
		answer := s.Do(t, request)
		if answer.Status != http.StatusCreated {
			t.Errorf("%q: %d: %s", test.sent, answer.Status, answer.Body)
			continue
		}
		var a asset
		answer.JSON(t, &a)
		if stored := strings.ReplaceAll(a.OriginalFileName, "%0A", "_"); stored != test.stored {
			t.Errorf("%q is stored as %q, want %q", test.sent, a.OriginalFileName, test.stored)
		}
		got := s.CallAs(t, "", "GET", a.AssetURLs["original"].URL, nil)
		if disposition := got.Header.Get("Content-Disposition"); !strings.HasPrefix(disposition, "attachment; filename=") || strings.ContainsAny(disposition, "\r\n") {
			t.Errorf("%q is served as %q", test.sent, disposition)
		}
	}
}

// behaviour 6.6: caps come before the duplicate lookup, and are final.
func TestUploadCaps(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	photo := banksiatest.JPEG(t, 30, 30, 5)
	upload(t, s, "a.jpg", photo)
	err := s.Store.Change(t.Context(), s.Owner.ID, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE libraries SET storage_limit_bytes = 10`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range [][]byte{photo, banksiatest.JPEG(t, 30, 30, 6)} {
		answer := s.Upload(t, banksiatest.UploadParts("a.jpg", content))
		if answer.Status != http.StatusInsufficientStorage || answer.Header.Get("X-Should-Retry") != "false" || answer.Header.Get("Retry-After") != "" { // waiting cannot help
			t.Errorf("%d: %v", answer.Status, answer.Header)
		}
	}
}

// behaviour 6.16.
func TestExist(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	a := upload(t, s, "a.jpg", banksiatest.JPEG(t, 40, 40, 7))
	var full struct {
		SHA1 string `json:"checksum_sha1"`
	}
	s.Call(t, "GET", "/api/assets/"+a.ID, nil).JSON(t, &full)
	for _, test := range []struct {
		body   string
		status int
		found  int
	}{
		{fmt.Sprintf(`{"checksums":[%q,"AAAA",""]}`, a.Checksum), 200, 1},
		{fmt.Sprintf(`{"checksum_sha1s":["",%q,%q]}`, full.SHA1, full.SHA1), 200, 1},
		{`{"checksum_sha1s":[""]}`, 200, 0},
		{`{"deviceId":"test","deviceAssetIds":["device-a.jpg","other"]}`, 200, 1},
		{`{"deviceId":"other","deviceAssetIds":["device-a.jpg"]}`, 200, 0},
		{`{"deviceId":"test","deviceAssetIds":["\u0000","device-a.jpg"]}`, 200, 1},
		{`{"deviceId":"\u0000","deviceAssetIds":["device-a.jpg"]}`, 200, 0},
		{`{}`, 422, 0},
		{`{"deviceId":"test"}`, 422, 0},
		{`{"deviceAssetIds":["a"]}`, 422, 0},
		{`{"checksums":[],"checksum_sha1s":[]}`, 422, 0},
		{`{"checksums":"x"}`, 422, 0},
		{`nonsense`, 422, 0},
		{`{"checksums":[` + strings.Repeat(`"AAAA",`, 5000) + `"AAAA"]}`, 422, 0},
	} {
		answer := s.Call(t, "POST", "/api/assets/exist", strings.NewReader(test.body))
		var body struct{ Assets []asset }
		answer.JSON(t, &body)
		if answer.Status != test.status || len(body.Assets) != test.found {
			t.Errorf("%.80s: %d, %d found: %.300s", test.body, answer.Status, len(body.Assets), answer.Body)
		}
	}
}

// seed-vs-current.md R1 to R5: the shape follows from the presence of include.
func TestShapes(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	a := upload(t, s, "a.jpg", banksiatest.JPEG(t, 40, 40, 8))
	s.Finished(t) // or a task could change the asset between two looks at it
	lean := []string{"id", "mime_type", "original_file_name", "local_datetime", "created_at", "updated_at", "width", "height", "description", "thumbhash",
		"asset_urls", "kind", "current_version_id", "stack_id", "duration", "trashed_at"}
	groups := []string{"file_data", "metadata", "metrics", "faces", "people"}
	flat := []string{"checksum", "device_asset_id", "device_id", "file_created_at", "file_modified_at", "file_size_bytes", "checksum_sha1"}
	for _, test := range []struct {
		query  string
		filled []string
		flat   bool
		exif   bool
		urls   int
	}{
		{"", groups, true, true, 5},
		{"?include=", nil, false, false, 1},
		{"?include", nil, false, false, 1},
		{"?include=metadata", []string{"metadata"}, false, false, 1},
		{"?include=faces,people", []string{"faces", "people"}, false, false, 1},
		{"?include=faces&include=metrics", []string{"faces", "metrics"}, false, false, 1},
		{"?include[]=faces", []string{"faces"}, false, false, 1},
		{"?include=file_data", []string{"file_data"}, true, false, 1},
		{"?include=variants", nil, false, false, 5},
		{"?include=metadata,faces,people,metrics,file_data,variants", groups, true, false, 5},
	} {
		single := s.Call(t, "GET", "/api/assets/"+a.ID+test.query, nil)
		var body map[string]json.RawMessage
		single.JSON(t, &body)
		var listed struct{ Data []map[string]json.RawMessage }
		s.Call(t, "GET", "/api/assets"+test.query, nil).JSON(t, &listed)
		if fmt.Sprint(listed.Data[0]) != fmt.Sprint(body) {
			t.Errorf("%s: the list has another body than the asset", test.query)
		}
		want := slices.Concat(lean, groups)
		if test.flat {
			want = slices.Concat(want, flat)
		}
		if test.exif {
			want = append(want, "exif", "download_url", "thumbnail_url")
		}
		for key := range body {
			if !slices.Contains(want, key) {
				t.Errorf("%s: %s is there", test.query, key)
			}
		}
		for _, key := range want {
			if _, ok := body[key]; !ok {
				t.Errorf("%s: %s is not there", test.query, key)
			}
		}
		for _, group := range groups {
			if null := string(body[group]) == "null"; null == slices.Contains(test.filled, group) {
				t.Errorf("%s: %s is %s", test.query, group, body[group])
			}
		}
		var urls map[string]variant
		json.Unmarshal(body["asset_urls"], &urls)
		if len(urls) != test.urls || urls["thumbnail"].URL == "" {
			t.Errorf("%s: urls %v", test.query, urls)
		}
	}
	if answer := s.Call(t, "GET", "/api/assets?include=nonsense", nil); answer.Status != http.StatusUnprocessableEntity {
		t.Errorf("an unknown token: %d", answer.Status)
	}
}

// Every parameter, within its range and out of it.
func TestListParameters(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	a := upload(t, s, "a.jpg", banksiatest.JPEG(t, 40, 40, 9))
	id := func(prefix string) string { return prefix + "BM3nUmJ6fkBqBADyz5FEiu" }
	many := func(n int) string { return strings.TrimSuffix(strings.Repeat(id("asset_")+",", n), ",") }
	for _, test := range []struct {
		query  string
		status int
		found  int
	}{
		{"", 200, 1}, {"limit=1", 200, 1}, {"limit=200", 200, 1}, {"limit=0", 422, 0}, {"limit=201", 422, 0}, {"limit=x", 422, 0}, {"limit=", 200, 1}, {"limit=1e1", 422, 0},
		{"library_id=" + s.Library.String(), 200, 1}, {"library_id=" + id("lib_"), 404, 0}, {"library_id=" + id("album_"), 422, 0},
		{"album_id=" + id("album_"), 200, 0}, {"album_id=x", 422, 0},
		{"album_filter=all", 200, 1}, {"album_filter=in_album", 200, 0}, {"album_filter=not_in_album", 200, 1}, {"album_filter=x", 422, 0},
		{"album_filter=not_in_album&album_id=" + id("album_"), 422, 0},
		{"person_id=" + id("person_"), 200, 0}, {"person_ids=" + id("person_"), 200, 0}, {"person_ids[]=" + id("person_"), 200, 0}, {"person_id=" + id("person_") + "&person_ids=" + id("person_"), 422, 0},
		{"person_ids=" + id("asset_"), 422, 0},
		{"ids=" + a.ID, 200, 1}, {"ids=" + a.ID + "," + id("asset_"), 200, 1}, {"ids=" + a.ID + "&ids=" + id("asset_"), 200, 1}, {"ids=" + id("asset_"), 200, 0},
		{"ids=" + many(100), 200, 0}, {"ids=" + many(200), 200, 0}, {"ids=" + many(201), 422, 0}, {"ids=x", 422, 0},
		{"stack_id=" + id("asset_stack_"), 200, 0}, {"stack_id=" + id("asset_"), 422, 0},
		{"media_type=image", 200, 1}, {"media_type=video", 200, 0}, {"media_type=x", 422, 0},
		{"state=live", 200, 1}, {"state=trashed", 200, 0}, {"state=all", 200, 1}, {"state=x", 422, 0},
		{"order=asc", 200, 1}, {"order=desc", 200, 1}, {"order=x", 422, 0},
		{"starting_after_id=" + a.ID, 200, 0}, {"starting_after_id=" + id("asset_"), 422, 0}, {"starting_after_id=x", 422, 0},
		// The asset was made at 04:05:06 +01:00, so 03:05:06 UTC; bounds are
		// exclusive (behaviour 7.17, 7.18).
		{"local_datetime_after=2020-02-03T04:05:06", 200, 0}, {"local_datetime_after=2020-02-03T04:05:05.999999", 200, 1},
		{"local_datetime_after=2020-02-03T03:05:06Z", 200, 0}, {"local_datetime_after=2020-02-03T03:05:05.999999%2B00:00", 200, 1},
		{"local_datetime_before=2020-02-03T04:05:06", 200, 0}, {"local_datetime_before=2020-02-03T04:05:06.000001", 200, 1},
		{"local_datetime_before=2020-02-03T03:05:06Z", 200, 0}, {"local_datetime_before=2020-02-03T03:05:06.000001Z", 200, 1},
		{"local_datetime_after=2020-02-03", 200, 1}, {"local_datetime_after=x", 422, 0},
		{"local_datetime_after=2020-01-01T00:00:00Z&local_datetime_before=2021-01-01T00:00:00", 422, 0},
		{"bbox=-180,-90,180,90", 200, 0}, {"bbox=170,-10,-170,10", 200, 0}, {"bbox=1,2,3", 422, 0}, {"bbox=1,50,2,40", 422, 0}, {"bbox=-181,0,0,0", 422, 0}, {"bbox=0,-91,0,0", 422, 0},
		{"bbox=NaN,0,1,1", 422, 0}, {"bbox=0,0,Inf,1", 422, 0}, {"bbox=a,b,c,d", 422, 0},
		{"center=2,48&radius=1000", 200, 0}, {"center=2,48", 422, 0}, {"radius=10", 422, 0}, {"center=2,48&radius=0", 422, 0}, {"center=2,48&radius=50001", 422, 0}, {"center=2,48&radius=NaN", 422, 0},
		{"center=200,48&radius=1", 422, 0}, {"bbox=0,0,1,1&center=2,48&radius=1", 422, 0},
		{"unknown=1", 200, 1}, {"limit=20&limit=1", 200, 1},
		{"ids=" + strings.Repeat("x", 100000), 422, 0},
	} {
		answer := s.Call(t, "GET", "/api/assets?"+test.query, nil)
		var p page
		answer.JSON(t, &p)
		if answer.Status != test.status || len(p.Data) != test.found {
			t.Errorf("%.100s: %d with %d assets: %.300s", test.query, answer.Status, len(p.Data), answer.Body)
		}
	}
}

// behaviour 7.14: a walk over HTTP, in both orders.
func TestPages(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	for i := range 7 {
		upload(t, s, "a.jpg", banksiatest.JPEG(t, 10+i, 10, 10))
	}
	all := ids(list(t, s))
	for _, order := range []string{"desc", "asc"} {
		var walked []string
		cursor := ""
		for {
			p := list(t, s, "limit", "3", "order", order, "starting_after_id", cursor)
			walked = append(walked, ids(p)...)
			if !p.HasMore {
				break
			}
			cursor = p.Data[len(p.Data)-1].ID
		}
		if order == "asc" {
			slices.Reverse(walked)
		}
		if !slices.Equal(walked, all) || len(all) != 7 {
			t.Errorf("%s: %v, want %v", order, walked, all)
		}
	}
}

// behaviour 7.11 and 7.20: trashed assets.
func TestTrashed(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	a := upload(t, s, "a.jpg", banksiatest.JPEG(t, 40, 40, 11))
	id, _ := banksia.ParseID[banksia.AssetID](a.ID)
	if err := s.Catalog.TrashAssets(t.Context(), s.Scope, s.Library, []banksia.AssetID{id}); err != nil {
		t.Fatal(err)
	}
	for query, found := range map[string]int{"": 0, "state=trashed": 1, "state=all": 1, "ids=" + a.ID: 0, "state=all&ids=" + a.ID: 1} {
		values, _ := url.ParseQuery(query)
		var pairs []string
		for name := range values {
			pairs = append(pairs, name, values.Get(name))
		}
		if p := list(t, s, pairs...); len(p.Data) != found {
			t.Errorf("%s: %d assets", query, len(p.Data))
		}
	}
	if answer := s.Call(t, "GET", "/api/assets/"+a.ID, nil); answer.Status != http.StatusOK {
		t.Errorf("a trashed asset: %d", answer.Status)
	}
	again := s.Upload(t, banksiatest.UploadParts("a.jpg", banksiatest.JPEG(t, 40, 40, 11))) // behaviour 21.17
	if again.Status != http.StatusOK || !strings.Contains(string(again.Body), `"trashed_at":"`) {
		t.Errorf("a duplicate of a trashed asset: %d: %s", again.Status, again.Body)
	}
}

func TestCountsAndClusters(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	upload(t, s, "a.jpg", banksiatest.JPEG(t, 40, 40, 12))
	for query, status := range map[string]int{"": 200, "?group_by=month": 200, "?group_by=day": 422, "?limit=0": 422, "?person_id=person_BM3nUmJ6fkBqBADyz5FEiu&person_ids=person_BM3nUmJ6fkBqBADyz5FEiu": 422} {
		if answer := s.Call(t, "GET", "/api/assets/counts"+query, nil); answer.Status != status {
			t.Errorf("counts%s: %d", query, answer.Status)
		}
	}
	if answer := s.Call(t, "GET", "/api/assets/counts", nil); !strings.Contains(string(answer.Body), `{"count":1,"time_bucket":"2020-02-01T00:00:00"}`) {
		t.Errorf("counts: %s", answer.Body) // behaviour 7.28
	}
	for query, status := range map[string]int{"": 422, "?bbox=0,0,1,1": 422, "?cell_size=1": 422, "?bbox=0,0,1,1&cell_size=0.00001": 422, "?bbox=0,0,1,1&cell_size=NaN": 422, "?bbox=-180,-90,180,90&cell_size=1": 200} {
		if answer := s.Call(t, "GET", "/api/assets/geo-clusters"+query, nil); answer.Status != status {
			t.Errorf("geo-clusters%s: %d", query, answer.Status)
		}
	}
}

// behaviour 3, 4.1, 4.6, 4.7, 4.12, 10.1: who may do what.
func TestAccess(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	a := upload(t, s, "a.jpg", banksiatest.JPEG(t, 40, 40, 13))
	reader := s.NewKey(t, []banksia.Action{banksia.Read}, nil)
	second := &banksia.Library{ID: banksia.NewID[banksia.LibraryID](s.Store.Now()), UserID: s.Owner.ID, Name: "Second", CreatedAt: s.Store.Now(), UpdatedAt: s.Store.Now()}
	if err := s.Store.Change(t.Context(), s.Owner.ID, func(tx *store.Tx) error { return tx.InsertLibrary(second) }); err != nil {
		t.Fatal(err)
	}
	narrow := s.NewKey(t, banksia.Actions, []banksia.LibraryID{second.ID})
	stranger := banksiatest.NewServer(t)
	for _, test := range []struct {
		name, key, method, path string
		status                  int
	}{
		{"ping needs no key", "", "GET", "/api/server/ping", 200},
		{"no key", "", "GET", "/api/assets", 401},
		{"wrong key", "apikey_nonsense", "GET", "/api/assets", 401},
		{"key of another server", stranger.Key, "GET", "/api/assets", 401},
		{"reader reads", reader, "GET", "/api/users/me", 200},
		{"reader may not write", reader, "POST", "/api/assets", 403},
		{"two libraries, none named", s.Key, "GET", "/api/assets", 400},
		{"narrow key means its library", narrow, "GET", "/api/assets", 200},
		{"narrow key sees one library", narrow, "GET", "/api/libraries", 200},
		{"narrow key, other library", narrow, "GET", "/api/assets?library_id=" + s.Library.String(), 404},
		{"narrow key, other asset", narrow, "GET", "/api/assets/" + a.ID, 404},
		{"narrow key, other tasks", narrow, "GET", "/api/tasks/?library_id=" + s.Library.String(), 404},
		{"unknown asset", s.Key, "GET", "/api/assets/asset_BM3nUmJ6fkBqBADyz5FEiu", 404},
		{"id of another kind", s.Key, "GET", "/api/assets/album_BM3nUmJ6fkBqBADyz5FEiu", 422},
		{"unknown task", s.Key, "GET", "/api/tasks/nonsense", 404},
		{"no such path", s.Key, "GET", "/api/nonsense", 404},
		{"no such method", s.Key, "PUT", "/api/assets", 405},
		{"slash at the end", s.Key, "GET", "/api/libraries/", 200},
		{"no slash at the end", s.Key, "GET", "/api/tasks", 200},
	} {
		answer := s.CallAs(t, test.key, test.method, test.path, nil)
		if answer.Status != test.status {
			t.Errorf("%s: %d: %s", test.name, answer.Status, answer.Body)
		}
		if test.status >= 400 { // behaviour 3.2
			var body struct{ Detail, Error, Message any }
			answer.JSON(t, &body)
			if body.Detail == nil || body.Error == nil || body.Message == nil {
				t.Errorf("%s: %s", test.name, answer.Body)
			}
		}
		if test.status == 405 && !strings.Contains(answer.Header.Get("Allow"), "GET") {
			t.Errorf("%s: Allow is %q", test.name, answer.Header.Get("Allow"))
		}
	}
	var libraries []struct{ ID string }
	s.CallAs(t, narrow, "GET", "/api/libraries", nil).JSON(t, &libraries)
	if len(libraries) != 1 || libraries[0].ID != second.ID.String() {
		t.Errorf("a narrow key sees %v", libraries)
	}
	keys, err := s.Store.ListAPIKeys(t.Context(), s.Owner.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys { // behaviour 4.4: at once
		if err := s.Store.Change(t.Context(), s.Owner.ID, func(tx *store.Tx) error { return tx.RevokeAPIKey(s.Owner.ID, k.ID) }); err != nil {
			t.Fatal(err)
		}
	}
	if answer := s.Call(t, "GET", "/api/users/me", nil); answer.Status != http.StatusUnauthorized {
		t.Errorf("a revoked key: %d", answer.Status)
	}
}

// behaviour 2.16: a page of another origin may call, its preflight needs no key.
func TestCORS(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	request, _ := http.NewRequest("OPTIONS", s.URL+"/api/assets", nil)
	request.Header.Set("Origin", "https://example.org")
	request.Header.Set("Access-Control-Request-Method", "DELETE")
	answer := s.Do(t, request)
	if answer.Status != http.StatusNoContent || answer.Header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(answer.Header.Get("Access-Control-Allow-Headers"), "Authorization") ||
		!strings.Contains(answer.Header.Get("Access-Control-Allow-Headers"), "Content-Type") || !strings.Contains(answer.Header.Get("Access-Control-Allow-Methods"), "DELETE") {
		t.Errorf("%d %v", answer.Status, answer.Header)
	}
	if answer := s.CallAs(t, "", "GET", "/api/assets", nil); answer.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("an error cannot be read by a page: %v", answer.Header)
	}
}

// behaviour 3.7 and 2.15.
func TestRequestIDAndDocument(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	request, _ := http.NewRequest("GET", s.URL+"/api/server/ping", nil)
	request.Header.Set("X-Request-Id", "from-the-client-1")
	if answer := s.Do(t, request); answer.Header.Get("X-Request-Id") != "from-the-client-1" || string(answer.Body) != "pong" {
		t.Errorf("%v %s", answer.Header, answer.Body)
	}
	request.Header.Set("X-Request-Id", "two words and more")
	if answer := s.Do(t, request); strings.Contains(answer.Header.Get("X-Request-Id"), " ") {
		t.Errorf("%v", answer.Header)
	}
	if log := s.Log.String(); !strings.Contains(log, "request_id=from-the-client-1") {
		t.Errorf("the log does not name the request:\n%s", log)
	}
	if strings.Contains(s.Log.String(), s.Key) {
		t.Error("the log has the key")
	}
	var document struct{ OpenAPI string }
	s.CallAs(t, "", "GET", "/openapi.json", nil).JSON(t, &document)
	if document.OpenAPI != "3.1.0" {
		t.Errorf("%+v", document)
	}
}
