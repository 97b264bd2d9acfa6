package web_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/banksia-photos/banksia/internal/web"
)

func TestHandler(t *testing.T) {
	t.Parallel()
	tests := []struct {
		method, path string
		status       int
		contentType  string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8"},
		{"GET", "/docs", 200, "text/html; charset=utf-8"},
		{"GET", "/docs/", 200, "text/html; charset=utf-8"},
		{"HEAD", "/docs", 200, "text/html; charset=utf-8"},
		{"GET", "/docs/docs.js", 200, "text/javascript; charset=utf-8"},
		{"GET", "/docs/style.css", 200, "text/css; charset=utf-8"},
		{"GET", "/docs/icon.svg", 200, "image/svg+xml"},
		{"GET", "/docs/web.go", 404, ""},
		{"GET", "/docs/../docs/script/docs.ts", 307, ""},
		{"GET", "/elsewhere", 404, ""},
		{"POST", "/docs", 405, ""},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			t.Parallel()
			recorder := httptest.NewRecorder()
			web.Handler().ServeHTTP(recorder, httptest.NewRequest(tt.method, tt.path, nil))
			if recorder.Code != tt.status {
				t.Fatalf("status %d, want %d", recorder.Code, tt.status)
			}
			if tt.status != http.StatusOK {
				return
			}
			header := recorder.Header()
			if got := header.Get("Content-Type"); got != tt.contentType {
				t.Errorf("Content-Type %q, want %q", got, tt.contentType)
			}
			if header.Get("X-Content-Type-Options") != "nosniff" {
				t.Error("nosniff is missing")
			}
			policy := header.Get("Content-Security-Policy")
			if !strings.HasPrefix(policy, "default-src 'none'; ") || strings.Contains(policy, "unsafe") {
				t.Errorf("policy is %q", policy)
			}
			if got := recorder.Body.Len(); (got == 0) != (tt.method == "HEAD") {
				t.Errorf("body of %d bytes", got)
			}
			again := httptest.NewRequest(tt.method, tt.path, nil)
			again.Header.Set("If-None-Match", header.Get("ETag"))
			second := httptest.NewRecorder()
			web.Handler().ServeHTTP(second, again)
			if second.Code != http.StatusNotModified {
				t.Errorf("asked again with its ETag: status %d", second.Code)
			}
		})
	}
}

// site is the pages beside a server that answers as the API does, and keeps what
// it was asked.
type site struct {
	*httptest.Server
	operations int

	mu       sync.Mutex
	requests []string // method, target and credential
}

func (s *site) asked(request string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.requests, request)
}

const hostileName = `<img src=x onerror="document.title='broken'">.jpg`

func newSite(t *testing.T) *site {
	t.Helper()
	text, err := os.ReadFile("../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Paths map[string]map[string]any
	}
	var whole any
	if err := yaml.Unmarshal(text, &whole); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	s := &site{}
	for _, item := range document.Paths {
		for method := range item {
			if slices.Contains([]string{"get", "post", "put", "patch", "delete"}, method) {
				s.operations++
			}
		}
	}
	asJSON, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", web.Handler())
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(asJSON)
	})
	mux.HandleFunc("GET /media/thumbnail.png", func(w http.ResponseWriter, r *http.Request) {
		picture := image.NewPaletted(image.Rect(0, 0, 36, 24), color.Palette{color.RGBA{31, 107, 79, 255}})
		w.Header().Set("Content-Type", "image/png")
		if err := png.Encode(w, picture); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r.Method+" "+r.RequestURI+" "+r.Header.Get("Authorization"))
		s.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Header.Get("Authorization") == "":
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"detail":"No credential.","error":"unauthorized","message":"No credential."}`)
		case r.Method == "POST" && r.URL.Path == "/api/assets":
			file, header, err := r.FormFile("asset_data")
			if err != nil {
				w.WriteHeader(http.StatusUnprocessableEntity)
				return
			}
			defer file.Close()
			w.WriteHeader(http.StatusCreated)
			json.NewEncoder(w).Encode(map[string]any{"original_file_name": header.Filename, "file_size_bytes": header.Size, "device_id": r.FormValue("device_id")})
		default:
			// The server names itself by another origin, as behind a proxy.
			json.NewEncoder(w).Encode(map[string]any{"has_more": false, "data": []any{map[string]any{
				"id": "asset_2222222222222222222222", "original_file_name": hostileName,
				"asset_urls": map[string]any{"thumbnail": map[string]any{"url": "http://photos.example.org/media/thumbnail.png"}},
			}}})
		}
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// The page shows every operation of the document and sends requests, under its own
// policy, in a real browser.
func TestDocsInBrowser(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := openBrowser(t, 1200, 900)
	b.open(s.URL + "/docs")
	b.until(`document.querySelector("#operations")?.dataset.ready`)
	var shown int
	b.eval(`document.querySelectorAll("details.operation").length`, &shown)
	if shown != s.operations {
		t.Errorf("%d operations are shown, the document has %d", shown, s.operations)
	}

	b.run("parameters and schemas", func(t *testing.T) {
		b.eval(`location.hash = "#listAssets"`, nil)
		b.until(`document.querySelector("#listAssets").open && document.querySelector("#listAssets form")`)
		var fields []string
		b.eval(`[...document.querySelectorAll("#listAssets form .field label code")].map(e => e.textContent)`, &fields)
		for _, name := range []string{"album_id", "limit", "person_ids", "state", "starting_after_id"} {
			if !slices.Contains(fields, name) {
				t.Errorf("parameter %s is not shown, only %q", name, fields)
			}
		}
		b.eval(`document.querySelectorAll("#listAssets details").forEach(d => d.open = true)`, nil)
		b.until(`document.querySelector("#listAssets ul.schema")?.innerText.includes("has_more")`)
	})
	b.run("without a key", func(t *testing.T) {
		b.eval(`document.querySelector("#listAssets .send").click()`, nil)
		b.until(`document.querySelector("#listAssets .status")?.dataset.status === "401"`)
	})
	b.run("with a key", func(t *testing.T) {
		b.eval(`(() => {
			const key = document.querySelector("#key");
			key.value = "apikey_test";
			key.dispatchEvent(new Event("input"));
			document.querySelector("#listAssets-limit").value = "5";
			document.querySelector("#listAssets-state").value = "all";
			document.querySelector("#listAssets .send").click();
		})()`, nil)
		b.until(`document.querySelector("#listAssets .status")?.dataset.status === "200"`)
		if !s.asked("GET /api/assets?limit=5&state=all Bearer apikey_test") {
			t.Errorf("the server was asked %q", s.requests)
		}
		b.until(`document.querySelector("#listAssets .thumbnails")`)
		b.eval(`document.querySelector("#listAssets .thumbnails").scrollIntoView()`, nil) // pictures load when they are seen
		b.until(`document.querySelector("#listAssets .thumbnails img")?.naturalWidth === 36`)
		var stored, body, title string
		b.eval(`sessionStorage.getItem("banksia.api-key")`, &stored)
		b.eval(`document.querySelector("#listAssets pre.body").textContent`, &body)
		b.eval(`document.title`, &title)
		if stored != "apikey_test" {
			t.Errorf("kept key is %q", stored)
		}
		if !json.Valid([]byte(body)) || !strings.Contains(body, "onerror") {
			t.Errorf("body is shown as %q", body)
		}
		if title != "Banksia API" {
			t.Errorf("a name in the answer ran as script: title %q", title)
		}
	})
	b.run("path parameter", func(t *testing.T) {
		b.eval(`location.hash = "#getAsset"`, nil)
		b.until(`document.querySelector("#getAsset form")`)
		b.eval(`(() => {
			document.querySelector("#getAsset-asset_id").value = "../x?y";
			document.querySelector("#getAsset .send").click();
		})()`, nil)
		b.until(`document.querySelector("#getAsset .status")?.dataset.status === "200"`)
		if !s.asked("GET /api/assets/..%2Fx%3Fy Bearer apikey_test") {
			t.Errorf("the server was asked %q", s.requests)
		}
	})
	b.run("upload", func(t *testing.T) {
		b.eval(`location.hash = "#createAsset"`, nil)
		b.until(`document.querySelector("#createAsset form")`)
		b.eval(`(() => {
			const files = new DataTransfer();
			files.items.add(new File(["12345"], "photo.jpg"));
			document.querySelector("#createAsset-asset_data").files = files.files;
			document.querySelector("#createAsset .send").click();
		})()`, nil)
		b.until(`document.querySelector("#createAsset .status")?.dataset.status === "201"`)
		var body string
		b.eval(`document.querySelector("#createAsset pre.body").textContent`, &body)
		for _, want := range []string{`"photo.jpg"`, `"file_size_bytes": 5`, `"device_id": "docs"`} {
			if !strings.Contains(body, want) {
				t.Errorf("answer %q lacks %s", body, want)
			}
		}
	})
	b.run("search", func(t *testing.T) {
		b.eval(`(() => {
			const search = document.querySelector("#search");
			search.value = "get geo-clusters";
			search.dispatchEvent(new Event("input"));
		})()`, nil)
		var visible []string
		b.eval(`[...document.querySelectorAll("details.operation")].filter(e => e.offsetParent).map(e => e.id)`, &visible)
		if len(visible) != 1 || visible[0] != "clusterAssetsByGeo" {
			t.Errorf("shown: %q", visible)
		}
	})
}

// On a phone nothing is wider than the screen.
func TestDocsOnPhone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := openBrowser(t, 390, 844)
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": true}, nil)
	b.open(s.URL + "/docs#listAssets")
	b.until(`document.querySelector("#listAssets form")`)
	var width int
	b.eval(`document.documentElement.scrollWidth`, &width)
	if width > 390 {
		t.Errorf("the page is %d pixels wide", width)
	}
	if picture, err := png.DecodeConfig(bytes.NewReader(b.screenshot())); err != nil || picture.Width != 390 {
		t.Errorf("screenshot: %+v, %v", picture, err)
	}
}
