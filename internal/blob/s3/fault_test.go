package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/banksiatest/services"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/blob/blobtest"
)

// openThrough opens a bucket through a cable.
func openThrough(t *testing.T, attempts int) (*Store, *services.Cable) {
	t.Helper()
	var cable *services.Cable
	s := open(t, func(cfg *Config) {
		cable = services.Proxy(t, strings.TrimPrefix(cfg.Endpoint, "http://"))
		cfg.Endpoint, cfg.Attempts, cfg.PartSize = "http://"+cable.Address, attempts, 5<<20
	})
	return s, cable
}

// file makes a file in the temporary folder of a store.
func file(t *testing.T, s *Store, content []byte) (path string) {
	t.Helper()
	path = filepath.Join(s.TempDir(), "upload-1")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func wantBytes(t *testing.T, s *Store, key blob.Key, content []byte) {
	t.Helper()
	path, release, err := s.Fetch(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%s holds %d bytes, %v; want %d", key, len(got), err, len(content))
	}
}

func unfinished(t *testing.T, s *Store) int {
	t.Helper()
	page, err := s.client.ListMultipartUploads(t.Context(), s.cfg.Bucket, "", "", "", "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	return len(page.Uploads)
}

// A file of many parts, from a disk and from a stream, and ranges of it.
func TestLargeBlobs(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	content := blobtest.Bytes(110<<20+12345, 1)
	sum := digest(content)
	if err := s.Adopt(t.Context(), blob.Original(sum), file(t, s, content)); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, s, blob.Original(sum), content)
	if err := s.Put(t.Context(), "a/stream", onlyReader{bytes.NewReader(content[:40<<20])}); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, s, "a/stream", content[:40<<20])
	exactly := content[:2*s.cfg.PartSize]
	if err := s.Put(t.Context(), "a/exactly", bytes.NewReader(exactly)); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, s, "a/exactly", exactly)
	if n := unfinished(t, s); n != 0 {
		t.Errorf("%d unfinished uploads", n)
	}

	r, _, err := s.Open(t.Context(), blob.Original(sum))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, at := range []int64{0, 1, headLength - 1, headLength, 60 << 20, 59 << 20, int64(len(content)) - 10} {
		if _, err := r.Seek(at, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		length := min(2<<20, int64(len(content))-at)
		part := make([]byte, length)
		if _, err := io.ReadFull(r, part); err != nil || !bytes.Equal(part, content[at:at+length]) {
			t.Errorf("from %d: %v", at, err)
		}
		if n, err := r.ReadAt(part, at); err != nil || n != len(part) || !bytes.Equal(part, content[at:at+length]) {
			t.Errorf("at %d: %d, %v", at, n, err)
		}
	}
	if n, err := r.ReadAt(make([]byte, 20), int64(len(content))-10); n != 10 || err != io.EOF {
		t.Errorf("beyond the end: %d, %v", n, err)
	}
	// What is replaced meanwhile is not mixed with what was there.
	if err := s.Put(t.Context(), blob.Original(sum), bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	other := "a/exactly"
	r2, _, err := s.Open(t.Context(), blob.Key(other))
	if err != nil {
		t.Fatal(err)
	}
	defer r2.Close()
	if err := s.Put(t.Context(), blob.Key(other), bytes.NewReader(content[1:2*s.cfg.PartSize+1])); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r2); !errors.Is(err, blob.ErrUnavailable) || !bytes.Equal(got, exactly[:len(got)]) {
		t.Errorf("a reader of a replaced blob got %d bytes, %v", len(got), err)
	}
}

type onlyReader struct{ io.Reader }

func digest(content []byte) banksia.Digest { return blobtest.Digest(content) }

// The server is cut off at many moments of storing a blob of one part and of many.
// Each time the key names nothing or the whole, nothing is acknowledged that is not
// stored, and it works again by itself.
func TestCutWhileStoring(t *testing.T) {
	t.Parallel()
	s, cable := openThrough(t, 1)
	acknowledged := 0
	for i, size := range []int{100_000, 12 << 20} {
		for step := range 12 {
			content := blobtest.Bytes(size, uint64(100*i+step))
			key := blob.Original(digest(content))
			path := file(t, s, content)
			cable.CutAfter(int64(size * (step + 1) / 10)) // the last ones beyond the end
			err := s.Adopt(t.Context(), key, path)
			cable.Cut()
			cable.Mend()
			if err == nil {
				acknowledged++
			} else if !errors.Is(err, blob.ErrUnavailable) {
				t.Errorf("%d bytes, step %d: %v", size, step, err)
			} else if _, statErr := os.Stat(path); statErr != nil {
				t.Errorf("%d bytes, step %d: the file is gone: %v", size, step, statErr)
			}
			_, statErr := s.Stat(t.Context(), key)
			if statErr == nil {
				wantBytes(t, s, key, content)
			} else if err == nil || !errors.Is(statErr, blob.ErrNotExist) {
				t.Errorf("%d bytes, step %d: stored with %v, found with %v", size, step, err, statErr)
			}
			if err != nil {
				if err := s.Adopt(t.Context(), key, path); err != nil {
					t.Errorf("%d bytes, step %d, again: %v", size, step, err)
				}
				wantBytes(t, s, key, content)
			}
		}
	}
	if acknowledged == 0 || acknowledged == 24 {
		t.Errorf("%d of 24 were acknowledged: the cuts met nothing", acknowledged)
	}
	left := unfinished(t, s)
	if removed, err := s.Sweep(t.Context(), time.Now().Add(-time.Hour)); err != nil || removed != 0 {
		t.Errorf("swept %d of the last hour, %v", removed, err)
	}
	if removed, err := s.Sweep(t.Context(), time.Now()); err != nil || removed != left {
		t.Errorf("swept %d of %d, %v", removed, left, err)
	}
	if n := unfinished(t, s); n != 0 {
		t.Errorf("%d unfinished uploads", n)
	}
	t.Logf("%d acknowledged, %d uploads in parts left by cuts", acknowledged, left)
}

// While the server is away everything is ErrUnavailable, and then works again.
func TestCutOff(t *testing.T) {
	t.Parallel()
	s, cable := openThrough(t, 2)
	content := blobtest.Bytes(3<<20, 1)
	blobtest.Put(t, s, "a/b", content)
	running, _, err := s.Open(t.Context(), "a/b")
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	cable.Cut()
	_, _, openErr := s.Open(t.Context(), "a/b")
	_, statErr := s.Stat(t.Context(), "a/b")
	_, fetchErr := func() (string, error) { path, _, err := s.Fetch(t.Context(), "a/b"); return path, err }()
	_, pendingErr := s.Pending(t.Context(), time.Now())
	_, sweepErr := s.Sweep(t.Context(), time.Now())
	_, noteErr := s.MarkPending(t.Context(), digest(content))
	_, readErr := io.ReadAll(running)
	for name, err := range map[string]error{
		"open": openErr, "stat": statErr, "fetch": fetchErr, "pending": pendingErr, "sweep": sweepErr, "mark": noteErr, "read": readErr,
		"put": s.Put(t.Context(), "a/b", bytes.NewReader(content)), "delete": s.Delete(t.Context(), "a/b"), "check": s.Check(t.Context()),
		"list": s.List(t.Context(), "", func(blob.Info) error { return nil }),
	} {
		if !errors.Is(err, blob.ErrUnavailable) || errors.Is(err, blob.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Stat(cancelled, "a/b"); !errors.Is(err, context.Canceled) || errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := Open(t.Context(), s.cfg); err != nil {
		t.Errorf("the store does not open while the server is away: %v", err)
	}
	cable.Mend()
	wantBytes(t, s, "a/b", content)
}

// What servers say that are full, too busy, or do not want.
func TestAnswers(t *testing.T) {
	t.Parallel()
	cfg := open(t, func(cfg *Config) { cfg.Attempts = 1 }).cfg
	for code, want := range map[string]struct {
		status  int
		meaning error
	}{
		"XMinioStorageFull": {http.StatusInsufficientStorage, blob.ErrFull},
		"QuotaExceeded":     {http.StatusForbidden, blob.ErrFull},
		"SlowDown":          {http.StatusServiceUnavailable, blob.ErrUnavailable},
		"InternalError":     {http.StatusInternalServerError, blob.ErrUnavailable},
		"AccessDenied":      {http.StatusForbidden, blob.ErrUnavailable},
		"NoSuchBucket":      {http.StatusNotFound, blob.ErrUnavailable},
		"NoSuchKey":         {http.StatusNotFound, blob.ErrNotExist},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			if r.URL.Query().Has("list-type") && want.status >= 500 { // not for Check to refuse
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(want.status)
			fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>no</Message></Error>`, code)
		}))
		defer server.Close()
		cfg.Endpoint = server.URL
		s, err := Open(t.Context(), cfg)
		if refused := err != nil; refused != (want.status < 500) {
			t.Errorf("%s: opened with %v", code, err)
		}
		if s == nil { // it was refused; ask anyway
			s = &Store{cfg: cfg, fetches: fetches{all: map[blob.Key]*fetched{}}}
			client, err := minio.New(strings.TrimPrefix(server.URL, "http://"), &minio.Options{Creds: cfg.credentials(http.DefaultTransport, os.Getenv), Region: cfg.Region, MaxRetries: 1})
			if err != nil {
				t.Fatal(err)
			}
			s.client.Client = client
		}
		if err := s.Put(t.Context(), "a/b", strings.NewReader("x")); !errors.Is(err, want.meaning) {
			t.Errorf("%s: put: %v", code, err)
		}
		if _, _, err := s.Open(t.Context(), "a/b"); !errors.Is(err, want.meaning) {
			t.Errorf("%s: open: %v", code, err)
		}
	}
}

// A server that takes connections and then says nothing does not hold anybody up.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	cfg := open(t, nil).cfg
	cfg.Endpoint, cfg.Stall, cfg.Attempts, cfg.TempDir = "http://"+silent.Addr().String(), 50*time.Millisecond, 2, t.TempDir()
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	large := blobtest.Bytes(6<<20, 1)
	_, statErr := s.Stat(t.Context(), "a/b")
	_, _, openErr := s.Open(t.Context(), "a/b")
	for name, err := range map[string]error{"stat": statErr, "open": openErr, "put": s.Put(t.Context(), "a/b", bytes.NewReader(large)), "delete": s.Delete(t.Context(), "a/b")} {
		if !errors.Is(err, blob.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A download goes on where a connection broke.
func TestCutWhileReading(t *testing.T) {
	t.Parallel()
	s, cable := openThrough(t, 2)
	content := blobtest.Bytes(32<<20, 1)
	blobtest.Put(t, s, "a/b", content)
	r, _, err := s.Open(t.Context(), "a/b")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := make([]byte, len(content))
	for at := 0; at < len(got); at += 8 << 20 {
		if _, err := io.ReadFull(r, got[at:at+8<<20]); err != nil {
			t.Fatal(err)
		}
		cable.Cut()
		cable.Mend()
	}
	if !bytes.Equal(got, content) {
		t.Error("other bytes")
	}
}

// Those who fetch the same at the same time share one copy, which goes with the
// last of them; one who gives up takes nothing from the others.
func TestFetchShared(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	content := blobtest.Bytes(8<<20, 1)
	blobtest.Put(t, s, "a/b", content)
	temporary := func() int {
		t.Helper()
		entries, err := os.ReadDir(s.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	var fetching sync.WaitGroup
	releases := make(chan func(), 20)
	for i := range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if i%4 == 0 {
			go cancel()
		}
		fetching.Go(func() {
			path, release, err := s.Fetch(ctx, "a/b")
			if err != nil {
				if i%4 != 0 || !errors.Is(err, context.Canceled) {
					t.Errorf("fetch %d: %v", i, err)
				}
				return
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
				t.Errorf("fetch %d: %d bytes, %v", i, len(got), err)
			}
			releases <- release
		})
	}
	fetching.Wait()
	if n := temporary(); n != 1 {
		t.Errorf("%d copies", n)
	}
	close(releases)
	for release := range releases {
		release()
		release()
	}
	if n := temporary(); n != 0 {
		t.Errorf("%d copies are left", n)
	}
	if len(s.fetches.all) != 0 {
		t.Errorf("remembered: %v", s.fetches.all)
	}
}

// What is damaged in the bucket is not taken for the original.
func TestDamagedOriginal(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	content := blobtest.Bytes(1000, 1)
	key := blob.Original(digest(content))
	blobtest.Put(t, s, key, content)
	if _, err := s.client.Client.PutObject(t.Context(), s.cfg.Bucket, string(key), strings.NewReader("damaged"), 7, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	if path, _, err := s.Fetch(t.Context(), key); !errors.Is(err, blob.ErrDamaged) {
		t.Errorf("fetched %s, %v", path, err)
	}
	entries, err := os.ReadDir(s.TempDir())
	if err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
	if err := s.Put(t.Context(), key, strings.NewReader("damaged")); !errors.Is(err, blob.ErrDamaged) {
		t.Errorf("put: %v", err)
	}
}

// Notes and unfinished uploads of other processes stay for the grace.
func TestGrace(t *testing.T) {
	t.Parallel()
	s := open(t, func(cfg *Config) { cfg.Grace = time.Hour })
	if _, err := s.MarkPending(t.Context(), blobtest.Bytes(32, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.NewMultipartUpload(t.Context(), s.cfg.Bucket, "a/b", minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	for grace, want := range map[time.Duration]int{time.Hour: 0, 0: 1} {
		s.cfg.Grace = grace
		if found, err := s.Pending(t.Context(), time.Now()); err != nil || len(found) != want {
			t.Errorf("with %s of grace: %v, %v", grace, found, err)
		}
	}
	for _, step := range []struct {
		grace time.Duration
		want  int
	}{{time.Hour, 0}, {0, 1}, {0, 0}} {
		s.cfg.Grace = step.grace
		if removed, err := s.Sweep(t.Context(), time.Now()); err != nil || removed != step.want {
			t.Errorf("with %s of grace: %d, %v", step.grace, removed, err)
		}
	}
}

// Settings that cannot work are told at once, without secrets.
func TestOpenRefused(t *testing.T) {
	t.Parallel()
	works := open(t, nil).cfg
	for name, change := range map[string]func(*Config){
		"no bucket":    func(c *Config) { c.Bucket = "nobody-has-this" },
		"wrong key":    func(c *Config) { c.AccessKey = "nobody" },
		"wrong secret": func(c *Config) { c.SecretKey = "hunter2-secret" },
		"no endpoint":  func(c *Config) { c.Endpoint = "" },
		"bad name":     func(c *Config) { c.Bucket = "a" },
		"small parts":  func(c *Config) { c.PartSize = 1 << 20 },
	} {
		cfg := works
		change(&cfg)
		_, err := Open(t.Context(), cfg)
		if err == nil || strings.Contains(err.Error(), string(cfg.SecretKey)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{fmt.Sprint(works), fmt.Sprintf("%+v %#v", works, works.SecretKey), works.String()} {
		if strings.Contains(text, string(works.SecretKey)) {
			t.Errorf("the secret shows: %s", text)
		}
	}
}

func TestParseLocation(t *testing.T) {
	t.Parallel()
	none := func(string) string { return "" }
	cfg, err := ParseLocation("s3://photos/a/b/?endpoint=http://127.0.0.1:9000&region=eu-1&path-style=true&profile=home&public-endpoint=https://s3.example.org", none)
	if err != nil || cfg.Bucket != "photos" || cfg.Prefix != "a/b/" || cfg.Endpoint != "http://127.0.0.1:9000" || cfg.Region != "eu-1" || cfg.PathStyle == nil || !*cfg.PathStyle ||
		cfg.Profile != "home" || cfg.PublicEndpoint != "https://s3.example.org" {
		t.Errorf("%+v, %v", cfg, err)
	}
	if cfg, err := ParseLocation("s3://photos", none); err != nil || cfg.Prefix != "" || cfg.Region != "us-east-1" || cfg.PathStyle != nil || cfg.Endpoint != "https://s3.amazonaws.com" {
		t.Errorf("%+v, %v", cfg, err)
	}
	environment := map[string]string{"AWS_REGION": "eu-2", "AWS_ENDPOINT_URL_S3": "https://s3.example.org"}
	if cfg, err := ParseLocation("s3://photos", func(name string) string { return environment[name] }); err != nil || cfg.Region != "eu-2" || cfg.Endpoint != "https://s3.example.org" {
		t.Errorf("%+v, %v", cfg, err)
	}
	for _, text := range []string{"photos", "s3:photos", "s3://", "s3://key:secret@photos", "s3://photos?bucket=x", "s3://photos?path-style=perhaps", "s3://photos?endpoint=example.org",
		"s3://photos?endpoint=https://example.org/path", "s3://photos/a%20b", "s3://photos/../x", "s3://photos/tmp", "s3://a", "s3://photos#x"} {
		if cfg, err := ParseLocation(text, none); err == nil {
			t.Errorf("%s is read as %+v", text, cfg)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A URL for others gives the bytes with the headers that were asked for, in ranges
// too, and only for its key.
func TestPresign(t *testing.T) {
	t.Parallel()
	s := open(t, nil)
	content := blobtest.Bytes(100, 1)
	blobtest.Put(t, s, "a/b", content)
	blobtest.Put(t, s, "a/c", content)
	target, err := s.Presign(t.Context(), "a/b", blob.PresignOptions{Expiry: time.Minute, ContentType: "image/jpeg", ContentDisposition: `attachment; filename="a.jpg"`, CacheControl: "private"})
	if err != nil {
		t.Fatal(err)
	}
	get := func(target string) (*http.Response, []byte) {
		t.Helper()
		request, err := http.NewRequest(http.MethodGet, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Range", "bytes=10-19")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response, body
	}
	response, body := get(target)
	if response.StatusCode != http.StatusPartialContent || !bytes.Equal(body, content[10:20]) || response.Header.Get("Content-Type") != "image/jpeg" ||
		response.Header.Get("Content-Disposition") != `attachment; filename="a.jpg"` {
		t.Errorf("%d %v, %d bytes", response.StatusCode, response.Header, len(body))
	}
	if response, _ := get(strings.Replace(target, "a/b", "a/c", 1)); response.StatusCode != http.StatusForbidden {
		t.Errorf("another key: %d", response.StatusCode)
	}
	if strings.Contains(target, string(s.cfg.SecretKey)) {
		t.Error("the secret is in the URL")
	}
	cfg := s.cfg
	cfg.PublicEndpoint = "https://photos.example.org"
	outside, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if target, err := outside.Presign(t.Context(), "a/b", blob.PresignOptions{Expiry: time.Minute}); err != nil || !strings.HasPrefix(target, "https://photos.example.org/"+cfg.Bucket+"/a/b?") {
		t.Errorf("for clients elsewhere: %s, %v", target, err)
	}
}

func FuzzParseLocation(f *testing.F) {
	for _, text := range []string{"s3://photos/a/b?endpoint=http://127.0.0.1:9000&path-style=true", "s3://me:hunter2@photos", "s3://photos/../x", "s3://photos?endpoint=http://me:hunter2@h", "s3://photos/%2e%2e/x", "s3://[::1]/x"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cfg, err := ParseLocation(text, func(string) string { return "" })
		if err != nil {
			return
		}
		u, err := url.Parse(cfg.Endpoint)
		if err != nil || u.User != nil || u.Host == "" || strings.ContainsAny(cfg.Bucket, "/?#@:") || strings.HasPrefix(cfg.Prefix, "/") || slices.Contains(strings.Split(cfg.Prefix, "/"), "..") {
			t.Errorf("%q is read as %+v", text, cfg)
		}
	})
}
