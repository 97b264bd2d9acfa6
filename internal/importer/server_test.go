package importer

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
)

const testKey = "apikey_test"

// contractServer keeps what the contract says of the calls that an import makes
// (openapi.yaml: createAsset, checkAssetsExist, getAsset, updateAsset, albums).
// The program's own server is tried in cmd/banksia; this one can also be made to
// fail on purpose.
type contractServer struct {
	t   *testing.T
	url string

	mu        sync.Mutex
	assets    map[string]*contractAsset // by base64 SHA-256
	byID      map[string]*contractAsset
	albums    []*contractAlbum
	libraries []library
	calls     map[string]int // by method and path
	uploads   int            // bodies read to their end

	// before may answer a call itself; it returns whether it did.
	before   func(w http.ResponseWriter, r *http.Request) bool
	noPatch  bool
	noAlbums bool
	// extracted is the metadata that the server finds in a file of this name.
	extracted map[string]assetMetadata
}

type contractAsset struct {
	ID, Name, DeviceAssetID, DeviceID, Created, Modified, LibraryID string
	Content                                                         []byte
	Metadata                                                        assetMetadata
	Checksum                                                        string
}

type contractAlbum struct {
	album
	assets []string
}

func newContractServer(t *testing.T) *contractServer {
	s := &contractServer{
		t: t, assets: map[string]*contractAsset{}, byID: map[string]*contractAsset{},
		calls: map[string]int{}, extracted: map[string]assetMetadata{},
		libraries: []library{{banksia.NewID[banksia.LibraryID](time.Now()).String(), "My Library"}},
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *contractServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.calls[r.Method+" "+r.URL.Path]++
	before := s.before
	s.mu.Unlock()
	if before != nil && before(w, r) {
		return
	}
	if r.URL.Path == pingPath {
		io.WriteString(w, "pong")
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+testKey {
		s.fail(w, 401, "Unknown API key.")
		return
	}
	switch route := r.Method + " " + r.URL.Path; {
	case route == "POST /api/assets/exist":
		s.exist(w, r)
	case route == "POST /api/assets":
		s.create(w, r)
	case route == "GET /api/libraries":
		s.answer(w, 200, s.libraries)
	case strings.HasPrefix(route, "GET /api/assets/"):
		s.mu.Lock()
		defer s.mu.Unlock()
		if a := s.byID[strings.TrimPrefix(r.URL.Path, "/api/assets/")]; a != nil {
			s.answer(w, 200, assetAnswer{a.ID, a.Checksum, &a.Metadata})
			return
		}
		s.fail(w, 404, "Asset not found.")
	case strings.HasPrefix(route, "PATCH /api/assets/") && !s.noPatch:
		s.patch(w, r)
	case strings.HasPrefix(r.URL.Path, "/api/albums") && !s.noAlbums:
		s.serveAlbums(w, r)
	case strings.HasPrefix(route, "PATCH /api/assets/"):
		s.fail(w, 405, "Method not allowed.")
	default:
		s.fail(w, 404, "Not found.")
	}
}

func (s *contractServer) fail(w http.ResponseWriter, status int, detail string) {
	s.answer(w, status, map[string]string{"detail": detail})
}

func (s *contractServer) answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

// knownLibrary applies behaviour 10.1.
func (s *contractServer) knownLibrary(w http.ResponseWriter, id string) bool {
	if id == "" && len(s.libraries) != 1 {
		s.fail(w, 400, "There are several libraries.")
		return false
	}
	if id != "" && !slices.ContainsFunc(s.libraries, func(l library) bool { return l.ID == id }) {
		s.fail(w, 404, "Library not found.")
		return false
	}
	return true
}

func (s *contractServer) exist(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Checksums []string `json:"checksums"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || len(in.Checksums) == 0 || len(in.Checksums) > 5000 {
		s.fail(w, 422, fmt.Sprintf("%d checksums, %v", len(in.Checksums), err))
		return
	}
	if !s.knownLibrary(w, r.URL.Query().Get("library_id")) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []map[string]string{}
	for _, sum := range in.Checksums {
		if a := s.assets[sum]; a != nil {
			found = append(found, map[string]string{"id": a.ID, "checksum": a.Checksum, "device_id": a.DeviceID, "device_asset_id": a.DeviceAssetID})
		}
	}
	s.answer(w, 200, map[string]any{"assets": found})
}

func (s *contractServer) create(w http.ResponseWriter, r *http.Request) {
	parts, err := r.MultipartReader()
	if err != nil {
		s.fail(w, 422, err.Error())
		return
	}
	a := &contractAsset{ID: banksia.NewID[banksia.AssetID](time.Now()).String()}
	fields := map[string]*string{
		"device_asset_id": &a.DeviceAssetID, "device_id": &a.DeviceID, "library_id": &a.LibraryID,
		"file_created_at": &a.Created, "file_modified_at": &a.Modified,
	}
	var part *multipart.Part
	for {
		if part, err = parts.NextPart(); err != nil {
			break
		}
		content, readErr := io.ReadAll(part)
		if err = readErr; err != nil {
			break
		}
		if part.FormName() == "asset_data" {
			a.Name, a.Content = part.FileName(), content
		} else if field := fields[part.FormName()]; field != nil {
			*field = string(content)
		} else {
			s.t.Errorf("the upload has a part %q", part.FormName())
		}
	}
	if err != io.EOF {
		return // the client gave up; nothing is stored (behaviour 6.12)
	}
	if a.Name == "" || a.DeviceAssetID == "" || a.DeviceID == "" || a.Created == "" || a.Modified == "" {
		s.fail(w, 422, fmt.Sprintf("a part is missing: %+v", a))
		return
	}
	for _, at := range []string{a.Created, a.Modified} {
		if local, err := banksia.ParseLocalTime(at); err != nil || local.Offset == nil {
			s.t.Errorf("the upload of %q carries the time %q, want one with offset", a.Name, at)
		}
	}
	if !s.knownLibrary(w, a.LibraryID) {
		return
	}
	if len(a.Content) == 0 {
		s.fail(w, 422, "The file is empty.")
		return
	}
	sum := sha256.Sum256(a.Content)
	a.Checksum = base64.StdEncoding.EncodeToString(sum[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uploads++
	status := 200
	if old := s.assets[a.Checksum]; old != nil {
		a = old
	} else {
		a.Metadata = s.extracted[a.Name]
		s.assets[a.Checksum], s.byID[a.ID], status = a, a, 201
	}
	s.answer(w, status, assetAnswer{a.ID, a.Checksum, &a.Metadata})
}

func (s *contractServer) patch(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.byID[strings.TrimPrefix(r.URL.Path, "/api/assets/")]
	if a == nil {
		s.fail(w, 404, "Asset not found.")
		return
	}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&a.Metadata); err != nil || (a.Metadata.Latitude == nil) != (a.Metadata.Longitude == nil) {
		s.fail(w, 422, "Bad change.")
		return
	}
	s.answer(w, 200, assetAnswer{a.ID, a.Checksum, &a.Metadata})
}

func (s *contractServer) serveAlbums(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rest := strings.TrimPrefix(r.URL.Path, "/api/albums")
	switch {
	case r.Method == "GET" && rest == "":
		page := []album{}
		for _, a := range s.albums {
			page = append(page, a.album)
		}
		s.answer(w, 200, map[string]any{"data": page, "has_more": false})
	case r.Method == "POST" && rest == "":
		var in struct {
			Name      string `json:"name"`
			LibraryID string `json:"library_id"`
		}
		json.NewDecoder(r.Body).Decode(&in)
		made := &contractAlbum{album: album{banksia.NewID[banksia.AlbumID](time.Now()).String(), in.Name}}
		s.albums = append(s.albums, made)
		s.answer(w, 201, made.album)
	case r.Method == "POST" && strings.HasSuffix(rest, "/assets"):
		at := slices.IndexFunc(s.albums, func(a *contractAlbum) bool { return rest == "/"+a.ID+"/assets" })
		var in struct {
			IDs []string `json:"asset_ids"`
		}
		json.NewDecoder(r.Body).Decode(&in)
		if at < 0 || len(in.IDs) == 0 || len(in.IDs) > 200 {
			s.fail(w, 422, "Bad album or number of assets.")
			return
		}
		s.albums[at].assets = append(s.albums[at].assets, in.IDs...)
		s.answer(w, 200, map[string]any{"added_assets": in.IDs})
	default:
		s.fail(w, 404, "Not found.")
	}
}

// asset is the one whose content is text.
func (s *contractServer) asset(text string) *contractAsset {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := sha256.Sum256([]byte(text))
	a := s.assets[base64.StdEncoding.EncodeToString(sum[:])]
	if a == nil {
		s.t.Fatalf("nothing with the content %q was uploaded", text)
	}
	return a
}

func (s *contractServer) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for a := range maps.Values(s.assets) {
		names = append(names, a.Name)
	}
	slices.Sort(names)
	return names
}
