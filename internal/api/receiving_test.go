package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/banksiatest"
	"github.com/banksia-photos/banksia/internal/store"
)

// send posts a body as it is.
func send(t *testing.T, s *banksiatest.Server, contentType string, body io.Reader) banksiatest.Answer {
	t.Helper()
	request, err := http.NewRequest("POST", s.URL+"/api/assets", body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+s.Key)
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	return s.Do(t, request)
}

// behaviour 6.1: parts in every order of the file among the texts, and parts that
// nobody asked for.
func TestUploadOrders(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	extra := []banksiatest.Part{
		{Name: "sidecar", FileName: "a.xmp", Content: bytes.Repeat([]byte("x"), 200<<10)}, // larger than a text may be
		{Name: "sidecar", FileName: "b.xmp", Content: []byte("y")},
		{Name: "", Content: []byte("z")},
	}
	for place := range 5 {
		parts := banksiatest.UploadParts("a.jpg", banksiatest.JPEG(t, 20+place, 20, 1))
		file := parts[4]
		parts = slices.Insert(parts[:4:4], place, file)
		if place%2 == 1 {
			parts = slices.Concat(extra, parts, extra)
		}
		if answer := s.Upload(t, parts); answer.Status != http.StatusCreated {
			t.Errorf("the file as part %d: %d %s", place, answer.Status, answer.Body)
		}
	}
}

// behaviour 6.5, 6.7, 10.1: the library may be named before or after the file.
func TestUploadLibraries(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	photo := banksiatest.JPEG(t, 20, 20, 2)
	second := banksia.Library{ID: banksia.NewID[banksia.LibraryID](s.Store.Now()), UserID: s.Owner.ID, Name: "Second", CreatedAt: s.Store.Now(), UpdatedAt: s.Store.Now()}
	if err := s.Store.Change(t.Context(), s.Owner.ID, func(tx *store.Tx) error { return tx.InsertLibrary(&second) }); err != nil {
		t.Fatal(err)
	}
	library := func(id string) banksiatest.Part { return banksiatest.Part{Name: "library_id", Content: []byte(id)} }
	parts := banksiatest.UploadParts("a.jpg", photo)
	for _, test := range []struct {
		name   string
		parts  []banksiatest.Part
		status int
	}{
		{"none named", parts, 400},
		{"blank", append(slices.Clone(parts), library("")), 400},
		{"the first, after the file", append(slices.Clone(parts), library(s.Library.String())), 201},
		{"the second, before the file", slices.Insert(slices.Clone(parts), 0, library(second.ID.String())), 201},
		{"the second again", append(slices.Clone(parts), library(second.ID.String())), 200},
		{"twice", append(slices.Clone(parts), library(second.ID.String()), library(second.ID.String())), 422},
	} {
		if answer := s.Upload(t, test.parts); answer.Status != test.status {
			t.Errorf("%s: %d %s", test.name, answer.Status, answer.Body)
		}
	}
	key := s.NewKey(t, banksia.Actions, []banksia.LibraryID{second.ID})
	body, contentType := banksiatest.UploadBody(t, banksiatest.UploadParts("b.jpg", banksiatest.JPEG(t, 21, 20, 2)))
	request, err := http.NewRequest("POST", s.URL+"/api/assets/", bytes.NewReader(body)) // a slash more (2.3)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+key)
	request.Header.Set("Content-Type", contentType)
	if answer := s.Do(t, request); answer.Status != http.StatusCreated {
		t.Errorf("a key for one library: %d %s", answer.Status, answer.Body)
	}
	for id, want := range map[string]int{s.Library.String(): 1, second.ID.String(): 2} {
		if p := list(t, s, "library_id", id); len(p.Data) != want {
			t.Errorf("%d assets in %s", len(p.Data), id)
		}
	}
}

// issue section 7: requests that are hardly uploads.
func TestUploadMalformed(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	file := "--x\r\nContent-Disposition: form-data; name=\"asset_data\"; filename=\"a.jpg\"\r\n\r\n"
	for _, test := range []struct{ name, contentType, body string }{
		{"no content type", "", file + "--x--\r\n"},
		{"JSON", "application/json", "{}"},
		{"urlencoded", "application/x-www-form-urlencoded", "asset_data=x"},
		{"no boundary", "multipart/form-data", file + "--x--\r\n"},
		{"empty boundary", `multipart/form-data; boundary=""`, file + "--x--\r\n"},
		{"other boundary", "multipart/form-data; boundary=y", file + "--x--\r\n"},
		{"broken content type", "multipart/form-data; boundary=x; boundary=y", file + "--x--\r\n"},
		{"no body", "multipart/form-data; boundary=x", ""},
		{"only the end", "multipart/form-data; boundary=x", "--x--\r\n"},
		{"no end", "multipart/form-data; boundary=x", file + "\xff\xd8\xff"},
		{"raw newline in the name", "multipart/form-data; boundary=x", strings.Replace(file, "a.jpg", "a\nb.jpg", 1) + "\xff\xd8\xff\r\n--x--\r\n"},
		{"no disposition", "multipart/form-data; boundary=x", "--x\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8\xff\r\n--x--\r\n"},
		{"name given twice", "multipart/form-data; boundary=x", strings.Replace(file, "filename", "name=\"b\"; filename", 1) + "\xff\xd8\xff\r\n--x--\r\n"},
		{"nameless file", "multipart/form-data; boundary=x", strings.Replace(file, "a.jpg", "", 1) + "\xff\xd8\xff\r\n--x--\r\n"},
		{"file as text", "multipart/form-data; boundary=x", strings.Replace(file, "; filename=\"a.jpg\"", "", 1) + "\xff\xd8\xff\r\n--x--\r\n"},
		{"nested", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"asset_data\"\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\n--y--\r\n--x--\r\n"},
		{"many headers", "multipart/form-data; boundary=x", "--x\r\n" + strings.Repeat("A: b\r\n", 20000) + "\r\n\r\n--x--\r\n"},
	} {
		answer := send(t, s, test.contentType, strings.NewReader(test.body))
		if answer.Status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", test.name, answer.Status, answer.Body)
		}
	}
	if p := list(t, s); len(p.Data) != 0 {
		t.Errorf("%d assets", len(p.Data))
	}
}

// behaviour 6.12: a client that leaves in the middle leaves nothing behind.
func TestUploadAborted(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	body, contentType := banksiatest.UploadBody(t, banksiatest.UploadParts("a.jpg", banksiatest.JPEG(t, 500, 500, 3)))
	for _, cut := range []int{10, len(body) / 2, len(body) - 3} {
		c := dial(t, s)
		c.say(t, fmt.Sprintf("POST /api/assets HTTP/1.1\r\nHost: x\r\nX-Request-Id: aborted-%d\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
			cut, s.Key, contentType, len(body), body[:cut]))
		c.Close()
		s.Logged(t, fmt.Sprintf("msg=request request_id=aborted-%d", cut)) // so it is over
	}
	if p := list(t, s); len(p.Data) != 0 {
		t.Errorf("%d assets", len(p.Data))
	}
	entries, err := os.ReadDir(s.Blobs.TempDir())
	if err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// behaviour 3.1: whatever is missing is told at once, in FastAPI's form.
func TestUploadProblems(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	answer := s.Upload(t, []banksiatest.Part{{Name: "asset_data", FileName: "a.jpg", Content: banksiatest.JPEG(t, 9, 9, 4)}, {Name: "file_created_at", Content: []byte("x")}})
	var body struct {
		Detail []struct {
			Loc  []string
			Type string
		}
	}
	answer.JSON(t, &body)
	got := map[string]string{}
	for _, d := range body.Detail {
		got[strings.Join(d.Loc, ".")] = d.Type
	}
	want := map[string]string{"body.device_asset_id": "missing", "body.device_id": "missing", "body.file_modified_at": "missing", "body.file_created_at": "value_error"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s", answer.Body)
	}
}

// JSON bodies of every wrong kind.
func TestJSONBodies(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	for name, body := range map[string]string{
		"empty": "", "null": "null", "a list": "[]", "a text": `"x"`, "two values": "{}{}", "cut off": `{"checksums":[`, "invalid UTF-8": "{\"checksums\":[\"\xff\"]}",
		"deep": strings.Repeat("[", 100000), "numbers": `{"checksums":[1]}`, "null items are texts": `{"deviceId":null,"deviceAssetIds":["a"]}`,
		"too large": `{"checksums":["` + strings.Repeat("A", 5<<20) + `"]}`, "two criteria": `{"checksums":["a"],"deviceId":"a","deviceAssetIds":["a"]}`,
	} {
		if answer := s.Call(t, "POST", "/api/assets/exist", strings.NewReader(body)); answer.Status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %.300s", name, answer.Status, answer.Body)
		}
	}
	many := make([]string, 5000)
	for i := range many {
		many[i] = fmt.Sprintf("device-%d", i)
	}
	upload(t, s, "4999.jpg", banksiatest.JPEG(t, 9, 9, 5))
	text, err := json.Marshal(map[string]any{"device_id": "test", "device_asset_ids": append(many[:4999:4999], "device-4999.jpg")})
	if err != nil {
		t.Fatal(err)
	}
	var found struct{ Assets []asset }
	s.Call(t, "POST", "/api/assets/exist", bytes.NewReader(text)).JSON(t, &found)
	if len(found.Assets) != 1 {
		t.Errorf("%+v", found)
	}
}
