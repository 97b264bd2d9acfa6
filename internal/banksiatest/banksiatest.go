// Package banksiatest runs the whole program for tests: the real router over
// HTTP, a real database file, real media workers. Every answer is checked against
// the OpenAPI document, so that no test can forget it.
//
// A test binary that uses it calls media.ServeWorkerIfAsked first in TestMain.
package banksiatest

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/json"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api"
	"github.com/banksia-photos/banksia/internal/auth"
	"github.com/banksia-photos/banksia/internal/banksiatest/services"
	"github.com/banksia-photos/banksia/internal/banksiatest/spec"
	"github.com/banksia-photos/banksia/internal/banksiatest/storetest"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/blob/local"
	"github.com/banksia-photos/banksia/internal/blob/s3"
	"github.com/banksia-photos/banksia/internal/catalog"
	"github.com/banksia-photos/banksia/internal/derive"
	"github.com/banksia-photos/banksia/internal/media"
	"github.com/banksia-photos/banksia/internal/place"
	"github.com/banksia-photos/banksia/internal/store"
	"github.com/banksia-photos/banksia/internal/task"
	"github.com/banksia-photos/banksia/internal/telemetry"
)

// Server is a running program with an owner, who has one library.
type Server struct {
	URL     string
	Handler http.Handler // what answers at the URL
	Store   *store.Store
	Catalog *catalog.Catalog
	Blobs   blob.Store
	Owner   banksia.User
	Scope   banksia.Scope
	Library banksia.LibraryID
	Key     string // may do everything
	Local   string // the credential of the owner in person
	Log     *Log

	Telemetry *telemetry.Telemetry

	runner   *task.Runner
	folder   string
	database store.Config
	cfg      Config
	bucket   *s3.Config      // nil: a folder
	cable    *services.Cable // to the S3 server
	stops    []func()
	closed   bool // the database
}

// Log is what the server logged.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

var document = sync.OnceValues(func() (*spec.Document, error) { return spec.Load(api.Document) })

// Retention is how long what is in the trash stays.
const Retention = 90 * 24 * time.Hour

// Exercised is what the tests of this process have exercised of the document.
var Exercised = sync.OnceValues(func() (*spec.Coverage, error) {
	d, err := document()
	if err != nil {
		return nil, err
	}
	return spec.NewCoverage(api.Document, d)
})

func record(request *http.Request, path string, answer Answer) {
	coverage, err := Exercised()
	if err != nil {
		return // document() has failed, which every test tells
	}
	var sent []byte
	if request.GetBody != nil {
		if body, err := request.GetBody(); err == nil {
			sent, _ = io.ReadAll(body)
		}
	}
	coverage.Record(request, path, sent, answer.Status, answer.Body)
}

// Config is what a test may want otherwise.
type Config struct {
	API   api.Config       // its logger is set
	Login auth.LoginConfig // how people sign in
	Now   func() time.Time // the clock of the store and of signatures; nil: the system's
	// Patience is how long a change waits for its turn; 0: as long as usual.
	Patience  time.Duration
	Telemetry telemetry.Config // what is measured; its logger is set
	// S3 keeps the files in a bucket of a real server, see services.S3, instead of a
	// folder. S3Config may change how it is used.
	S3       bool
	S3Config func(*s3.Config)
}

// NewServer starts a program on a folder of its own; it ends with the test.
func NewServer(t testing.TB) *Server {
	t.Helper()
	return NewServerWith(t, Config{})
}

// NewServerWith is NewServer with another configuration.
func NewServerWith(t testing.TB, cfg Config) *Server {
	t.Helper()
	s := &Server{Log: &Log{}, folder: t.TempDir(), database: storetest.Database(t), cfg: cfg}
	if cfg.S3 {
		s.connectS3(t)
	}
	s.start(t)
	s.Key = s.NewKey(t, banksia.Actions, nil)
	return s
}

// Restart stops the server and starts another on the same folder, with the same
// owner, library and key but another URL.
func (s *Server) Restart(t testing.TB) *Server {
	t.Helper()
	s.stop()
	next := &Server{Log: s.Log, Key: s.Key, folder: s.folder, database: s.database, cfg: s.cfg, bucket: s.bucket, cable: s.cable}
	next.start(t)
	return next
}

// stop ends the parts of the server, the last one first. Calling it twice is safe.
func (s *Server) stop() {
	for len(s.stops) > 0 {
		last := s.stops[len(s.stops)-1]
		s.stops = s.stops[:len(s.stops)-1]
		last()
	}
}

// CloseStore takes the database away from the running server.
func (s *Server) CloseStore() {
	s.Store.Close()
	s.closed = true
}

// check proves at the end of every test that its rows agree with each other.
func (s *Server) check(t testing.TB) {
	if s.closed {
		return
	}
	problems, err := s.Store.Check(context.Background())
	if err != nil {
		t.Error(err)
	}
	for _, problem := range problems {
		t.Errorf("the database is not sound: %s", problem)
	}
}

func (s *Server) start(t testing.TB) {
	t.Helper()
	ctx, cfg, folder := context.Background(), s.cfg, s.folder
	t.Cleanup(s.stop)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	logger := slog.New(telemetry.LogHandler(slog.NewTextHandler(s.Log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	var err error
	cfg.Telemetry.Logger = logger
	s.Telemetry, err = telemetry.New(ctx, cfg.Telemetry)
	must(err)
	s.stops = append(s.stops, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Telemetry.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	database := s.database
	database.Now, database.Patience, database.Observer = cfg.Now, cfg.Patience, s.Telemetry.Transactions()
	s.Store, err = store.Open(ctx, database)
	must(err)
	s.stops = append(s.stops, s.CloseStore, func() { s.check(t) })
	s.Blobs, err = s.openBlobs(ctx)
	must(err)
	mediaConfig := media.DefaultConfig()
	mediaConfig.Logger, mediaConfig.TempDir = logger, s.Blobs.TempDir()
	pool, err := media.New(mediaConfig)
	must(err)
	s.stops = append(s.stops, func() { pool.Close() })
	taskConfig := task.DefaultConfig()
	taskConfig.Logger, taskConfig.Observer = logger, s.Telemetry.Tasks()
	runner, err := task.New(taskConfig, s.Store)
	must(err)
	s.runner = runner
	blobs := blob.Observed(s.Blobs, s.Telemetry.Blobs())
	deriver := derive.New(s.Store, blobs, pool, place.New(), runner)
	s.Catalog = catalog.New(s.Store, blobs, pool, runner, logger)
	s.Owner, _, err = s.Catalog.Setup(ctx)
	must(err)
	s.Scope = banksia.Scope{UserID: s.Owner.ID, Actions: banksia.Actions}
	libraries, err := s.Store.ListLibraries(ctx, s.Scope, store.Live)
	must(err)
	s.Library = libraries[0].ID
	signer, err := auth.NewSigner(ctx, s.Store)
	must(err)
	cfg.API.Logger, cfg.API.Observer = logger, s.Telemetry.Requests()
	cfg.API.Checks = append([]api.Check{{Name: "database", Ask: s.Store.Ping}, {Name: "storage", Ask: func(ctx context.Context) error { return blob.Check(ctx, blobs) }}}, cfg.API.Checks...)
	s.Telemetry.Watch(telemetry.Parts{Store: s.Store, Media: pool, Checks: cfg.API.Checks, Folders: map[string]string{"data": folder}})
	authenticator, err := auth.NewAuthenticator(ctx, s.Store, logger)
	must(err)
	s.Local = authenticator.AllowLocal(s.Owner.ID)
	handler, err := api.New(cfg.API, s.Store, s.Catalog, deriver, authenticator, auth.NewLogin(cfg.Login, s.Store, authenticator), signer)
	must(err)
	runner.Start(ctx)
	maintaining, stop := context.WithCancel(ctx)
	var background sync.WaitGroup
	background.Go(func() { s.Catalog.Maintain(maintaining, Retention) })
	s.stops = append(s.stops, func() { stop(); background.Wait() })
	s.stops = append(s.stops, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		runner.Stop(ctx)
	})
	s.Handler = handler
	server := httptest.NewServer(handler)
	s.stops = append(s.stops, server.Close)
	s.URL = server.URL
}

// connectS3 makes a bucket, which is reached through a cable that can be cut.
func (s *Server) connectS3(t testing.TB) {
	t.Helper()
	cfg := s3.DefaultConfig()
	endpoint, bucket, key, secret := services.S3(t)
	s.cable = services.Proxy(t, strings.TrimPrefix(endpoint, "http://"))
	cfg.Endpoint, cfg.Bucket, cfg.AccessKey, cfg.SecretKey = "http://"+s.cable.Address, bucket, key, s3.Secret(secret)
	cfg.TempDir = filepath.Join(s.folder, "tmp")
	if s.cfg.S3Config != nil {
		s.cfg.S3Config(&cfg)
	}
	s.bucket = &cfg
}

func (s *Server) openBlobs(ctx context.Context) (blob.Store, error) {
	if s.bucket != nil {
		return s3.Open(ctx, *s.bucket)
	}
	return local.Open(filepath.Join(s.folder, "blobs"))
}

// Cable is the connection to the S3 server.
func (s *Server) Cable() *services.Cable { return s.cable }

// BreakStorage makes all storing fail until MendStorage: it cuts off the S3 server,
// or puts a file where the folder of files is.
func (s *Server) BreakStorage(t testing.TB) {
	t.Helper()
	if s.cable != nil {
		s.cable.Cut()
		return
	}
	blobs := filepath.Join(s.folder, "blobs")
	err := os.Rename(blobs, blobs+".away")
	if err == nil {
		err = os.WriteFile(blobs, nil, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// MendStorage undoes BreakStorage.
func (s *Server) MendStorage(t testing.TB) {
	t.Helper()
	if s.cable != nil {
		s.cable.Mend()
		return
	}
	blobs := filepath.Join(s.folder, "blobs")
	err := os.Remove(blobs)
	if err == nil {
		err = os.Rename(blobs+".away", blobs)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// NewKey makes an API key of the owner; libraries nil: all.
func (s *Server) NewKey(t testing.TB, actions []banksia.Action, libraries []banksia.LibraryID) string {
	t.Helper()
	_, secret, err := auth.NewAPIKey(context.Background(), s.Store, s.Owner.ID, "test", actions, libraries)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// JSON decodes the body.
func (a Answer) JSON(t testing.TB, to any) {
	t.Helper()
	if err := json.Unmarshal(a.Body, to); err != nil {
		t.Fatalf("%v: %.500s", err, a.Body)
	}
}

// Do sends a request and checks the answer against the document.
func (s *Server) Do(t testing.TB, request *http.Request) Answer {
	t.Helper()
	return s.DoPath(t, request, request.URL.EscapedPath())
}

// DoPath is Do for a request whose URL is opaque, so that its path is sent as it is.
func (s *Server) DoPath(t testing.TB, request *http.Request, path string) Answer {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	answer := Answer{response.StatusCode, response.Header, body}
	record(request, path, answer)
	if answer.Header.Get("X-Request-Id") == "" {
		t.Errorf("%s %s: no request id", request.Method, path)
	}
	d, err := document()
	if err != nil {
		t.Fatal(err)
	}
	contract := strings.HasPrefix(path, "/api/") || path == "/openapi.json" && answer.Status >= 400
	if contract && request.Method != http.MethodOptions && request.Method != http.MethodHead {
		if err := d.CheckResponse(request.Method, path, answer.Status, answer.Header, answer.Body); err != nil {
			t.Error(err)
		}
	}
	return answer
}

// Call sends a request with the key; body may be nil, an io.Reader, or a value to
// send as JSON.
func (s *Server) Call(t testing.TB, method, target string, body any) Answer {
	t.Helper()
	return s.CallAs(t, s.Key, method, target, body)
}

// CallAs is Call with another credential; "" sends none.
func (s *Server) CallAs(t testing.TB, key, method, target string, body any) Answer {
	t.Helper()
	var reader io.Reader
	switch body := body.(type) {
	case nil:
	case io.Reader:
		reader = body
	default:
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		reader = bytes.NewReader(text)
	}
	if !strings.HasPrefix(target, "http") {
		target = s.URL + target
	}
	request, err := http.NewRequest(method, target, reader)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return s.Do(t, request)
}

// Part is one part of an upload.
type Part struct {
	Name, FileName string // FileName "": a text part
	Content        []byte
}

// UploadParts are the parts that every upload needs, the file last.
func UploadParts(name string, content []byte) []Part {
	return []Part{
		{Name: "device_asset_id", Content: []byte("device-" + name)},
		{Name: "device_id", Content: []byte("test")},
		{Name: "file_created_at", Content: []byte("2020-02-03T04:05:06+01:00")},
		{Name: "file_modified_at", Content: []byte("2020-02-03T04:05:06Z")},
		{Name: "asset_data", FileName: name, Content: content},
	}
}

// UploadBody writes parts as multipart/form-data.
func UploadBody(t testing.TB, parts []Part) (body []byte, contentType string) {
	t.Helper()
	var buffer bytes.Buffer
	writer := multipart.NewWriter(&buffer)
	for _, p := range parts {
		var to io.Writer
		var err error
		if p.FileName != "" {
			to, err = writer.CreateFormFile(p.Name, p.FileName)
		} else {
			to, err = writer.CreateFormField(p.Name)
		}
		if err == nil {
			_, err = to.Write(p.Content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes(), writer.FormDataContentType()
}

// Upload sends parts to POST /api/assets.
func (s *Server) Upload(t testing.TB, parts []Part) Answer {
	t.Helper()
	body, contentType := UploadBody(t, parts)
	request, err := http.NewRequest(http.MethodPost, s.URL+"/api/assets", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+s.Key)
	request.Header.Set("Content-Type", contentType)
	return s.Do(t, request)
}

// JPEG draws a photo whose content follows from the seed.
func JPEG(t testing.TB, width, height int, seed uint8) []byte {
	t.Helper()
	picture := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			picture.Set(x, y, color.RGBA{uint8(x * 255 / width), uint8(y * 255 / height), seed, 255})
		}
	}
	var buffer bytes.Buffer
	if err := jpeg.Encode(&buffer, picture, nil); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

// AddAsset stores the rows of a photo without its bytes; change makes it the one
// that a test needs.
func (s *Server) AddAsset(t testing.TB, change func(a *banksia.Asset, m *banksia.Metadata)) banksia.Asset {
	t.Helper()
	return s.AddAssets(t, 1, func(_ int, a *banksia.Asset, m *banksia.Metadata) { change(a, m) })[0]
}

// AddAssets is AddAsset for many, numbered from 0.
func (s *Server) AddAssets(t testing.TB, n int, change func(i int, a *banksia.Asset, m *banksia.Metadata)) []banksia.Asset {
	t.Helper()
	assets := make([]banksia.Asset, n)
	err := s.Store.Change(context.Background(), s.Owner.ID, func(tx *store.Tx) error {
		for i := range assets {
			now := s.Store.Now()
			sum256, sum1 := sha256.Sum256(strconv.AppendInt(nil, int64(i)+now.UnixNano(), 10)), sha1.Sum(strconv.AppendInt(nil, int64(i), 10))
			a, m := banksia.Asset{
				ID: banksia.NewID[banksia.AssetID](now), LibraryID: s.Library, MediaType: banksia.Image, CreatedAt: now, UpdatedAt: now, OriginalFileName: "photo.jpg",
				File: banksia.FileData{DeviceAssetID: "photo", DeviceID: "test", SizeBytes: 1000, SHA256: sum256[:], SHA1: sum1[:]},
				Version: banksia.Version{ID: banksia.NewID[banksia.VersionID](now), Kind: banksia.KindOriginal, MIMEType: "image/jpeg", Width: 4000, Height: 3000,
					SizeBytes: 1000, SHA256: sum256[:], CreatedAt: now, VariantMIMEType: "image/jpeg", Displayable: true},
			}, banksia.Metadata{}
			change(i, &a, &m)
			a.LocalDateTime = store.CaptureTime(&m, a.File.CreatedAt)
			if err := tx.InsertAsset(&a, &m); err != nil {
				return err
			}
			assets[i] = a
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return assets
}

// Enqueue makes a task of an asset pending.
func (s *Server) Enqueue(t testing.TB, asset banksia.AssetID, taskType banksia.TaskType) {
	t.Helper()
	err := s.Store.Write(context.Background(), func(tx *store.Tx) error {
		return s.runner.Enqueue(tx, &banksia.Task{UserID: s.Owner.ID, LibraryID: &s.Library, AssetID: &asset, Type: taskType})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Finished waits until all background work is done.
func (s *Server) Finished(t testing.TB) {
	t.Helper()
	s.Await(t, "the background work does not end", func() bool {
		n, err := s.Store.UnfinishedTasks(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return n == 0
	})
}

// Logged waits until the log holds a text.
func (s *Server) Logged(t testing.TB, text string) {
	t.Helper()
	s.Await(t, "this is never logged: "+text, func() bool { return strings.Contains(s.Log.String(), text) })
}

// Await waits until a condition holds; the problem is what is said when it never does.
func (s *Server) Await(t testing.TB, problem string, done func() bool) {
	t.Helper()
	for range 6000 {
		if done() {
			return
		}
		time.Sleep(10 * time.Millisecond) // between two looks at a condition
	}
	t.Fatalf("%s:\n%s", problem, s.Log)
}

// Query encodes pairs of names and values.
func Query(pairs ...string) string {
	values := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		values.Add(pairs[i], pairs[i+1])
	}
	return "?" + values.Encode()
}
