package importer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// tree writes files below a new folder; the keys are slash-separated paths.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "Pictures")
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		at := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// run is one import with counted openings of source files and archives.
type run struct {
	opts   Options
	im     *importer
	out    bytes.Buffer
	mu     sync.Mutex
	opened []string
	slept  []time.Duration
}

func newRun(t *testing.T, s *contractServer, state string, paths ...string) *run {
	t.Helper()
	r := &run{opts: Options{
		BaseURL: s.url, APIKey: testKey, StateDir: state, Paths: paths, Parallel: 4,
		Location: time.FixedZone("", 2*3600), Now: func() time.Time { return time.Unix(1_700_000_000, 0) },
	}}
	return r
}

func (r *run) do(t *testing.T, ctx context.Context) (Summary, error) {
	t.Helper()
	im, err := newImporter(r.opts, &r.out)
	if err != nil {
		t.Fatal(err)
	}
	im.openFile = func(name string) (*os.File, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.opened = append(r.opened, name)
		return os.Open(name)
	}
	im.client.sleep = func(ctx context.Context, d time.Duration) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.slept = append(r.slept, d)
		return ctx.Err()
	}
	r.im = im
	return im.run(ctx)
}

func (r *run) mustDo(t *testing.T) Summary {
	t.Helper()
	summary, err := r.do(t, t.Context())
	if err != nil {
		t.Fatalf("import: %v\n%s", err, r.out.String())
	}
	return summary
}

// counts is the part of a summary that most tests look at.
type counts struct{ imported, duplicates, recalled, unsupported, failed int64 }

func countsOf(s Summary) counts {
	return counts{s.Imported, s.Duplicates, s.Recalled, s.Unsupported, s.Failed}
}

func TestImportFolder(t *testing.T) {
	s := newContractServer(t)
	root := tree(t, map[string]string{
		"b.JPG": "b", "a.jpg": "a", "same.png": "a", "2020/c.heic": "c", "2020/d.mov": "d",
		"notes.txt": "n", "2020/list": "l", "empty.jpg": "",
		".DS_Store": "x", "Thumbs.db": "x", "@eaDir/a.jpg": "thumb", ".hidden/e.jpg": "e",
	})
	big := strings.Repeat("0123456789abcdef", wholeFileLimit/16) + "!"
	if err := os.WriteFile(filepath.Join(root, "big.mp4"), []byte(big), 0o644); err != nil {
		t.Fatal(err)
	}
	taken := time.Date(2020, 5, 1, 10, 0, 0, 123456789, time.UTC)
	if err := os.Chtimes(filepath.Join(root, "a.jpg"), taken, taken); err != nil {
		t.Fatal(err)
	}
	r := newRun(t, s, t.TempDir(), root)
	summary := r.mustDo(t)
	if got, want := countsOf(summary), (counts{5, 1, 0, 2, 1}); got != want {
		t.Errorf("the counts are %+v, want %+v\n%s", got, want, r.out.String())
	}
	if len(summary.Failures) != 1 || summary.Failures[0] != (Failure{filepath.Join(root, "empty.jpg"), "The file is empty (422)"}) {
		t.Errorf("the failures are %v", summary.Failures)
	}
	if summary.Extensions[".txt"] != 1 || summary.Extensions["no extension"] != 1 {
		t.Errorf("the unsupported kinds are %v", summary.Extensions)
	}
	s.asset(big)
	c := s.asset("c")
	if c.Name != "c.heic" || c.DeviceAssetID != "Pictures/2020/c.heic" || c.DeviceID != "banksia-import" {
		t.Errorf("the upload says %q, %q, %q", c.Name, c.DeviceAssetID, c.DeviceID)
	}
	if a := s.asset("a"); a.Name == "a.jpg" && (a.Created != "2020-05-01T12:00:00.123456+02:00" || a.Modified != a.Created) {
		t.Errorf("the upload was made at %s and changed at %s", a.Created, a.Modified)
	}
	slices.Sort(r.opened)
	if len(r.opened) != 7 || len(slices.Compact(r.opened)) != 7 {
		t.Errorf("files were not opened once each: %v", r.opened)
	}
	for _, line := range []string{"imported                     5  32.0 MiB\n", "duplicates                   1\n", "unsupported                  2  1 .txt, 1 no extension\n", "failed                       1\n", "empty.jpg: The file is empty (422)"} {
		if !strings.Contains(r.out.String(), line) {
			t.Errorf("the table lacks %q:\n%s", line, r.out.String())
		}
	}
}

func TestSecondRunReadsNothing(t *testing.T) {
	s := newContractServer(t)
	files := map[string]string{}
	for i := range 300 {
		files[fmt.Sprintf("%d/%d.jpg", i%7, i)] = fmt.Sprint("photo ", i)
	}
	root, state := tree(t, files), t.TempDir()
	if got := countsOf(newRun(t, s, state, root).mustDo(t)); got != (counts{imported: 300}) {
		t.Fatalf("the first run counts %+v", got)
	}
	second := newRun(t, s, state, root)
	if got := countsOf(second.mustDo(t)); got != (counts{duplicates: 300, recalled: 300}) || len(second.opened) != 0 {
		t.Errorf("the second run counts %+v and opens %v", got, second.opened)
	}

	// Changed files are read again, and what the server lost is sent again.
	changed := filepath.Join(root, "0", "0.jpg")
	if err := os.WriteFile(changed, []byte("photo 0, but longer"), 0o644); err != nil {
		t.Fatal(err)
	}
	lost := s.asset("photo 1")
	delete(s.assets, lost.Checksum)
	third := newRun(t, s, state, root)
	if got := countsOf(third.mustDo(t)); got != (counts{imported: 2, duplicates: 298, recalled: 298}) {
		t.Errorf("the third run counts %+v", got)
	}
	slices.Sort(third.opened)
	if want := []string{changed, filepath.Join(root, "1", "1.jpg")}; !slices.Equal(third.opened, want) {
		t.Errorf("the third run opens %v, want %v", third.opened, want)
	}
	s.asset("photo 1")
	s.asset("photo 0, but longer")
}

func TestResumeAfterInterruption(t *testing.T) {
	s := newContractServer(t)
	files := map[string]string{}
	for i := range 100 {
		files[fmt.Sprintf("%02d.jpg", i)] = fmt.Sprint("photo ", i)
	}
	root, state := tree(t, files), t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	var uploads int
	s.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == "POST" && r.URL.Path == "/api/assets" {
			s.mu.Lock()
			defer s.mu.Unlock()
			if uploads++; uploads == 40 {
				cancel()
			}
		}
		return false
	}
	first := newRun(t, s, state, root)
	summary, err := first.do(t, ctx)
	if !errors.Is(err, context.Canceled) || !summary.Interrupted || summary.Imported < 30 || summary.Imported > 43 || summary.Failed != 0 {
		t.Fatalf("the interrupted run ends with %v and %+v", err, summary)
	}
	if !strings.Contains(first.out.String(), "goes on where it stopped") {
		t.Errorf("the table does not say what to do:\n%s", first.out.String())
	}
	s.before = nil
	// kill -9 may leave half a line.
	tearJournal(t, state)

	second := newRun(t, s, state, root)
	got := second.mustDo(t)
	if got.Imported+got.Duplicates != 100 || got.Recalled < summary.Imported-1 || len(second.opened) != 100-int(got.Recalled) {
		t.Errorf("the second run counts %+v and opens %d files, after %d had been imported", countsOf(got), len(second.opened), summary.Imported)
	}
	if len(s.names()) != 100 {
		t.Errorf("the server has %d files", len(s.names()))
	}
	// The line after the torn one is whole.
	third := newRun(t, s, state, root)
	if got := countsOf(third.mustDo(t)); got != (counts{duplicates: 100, recalled: 100}) {
		t.Errorf("the third run counts %+v", got)
	}
}

func tearJournal(t *testing.T, state string) {
	t.Helper()
	journals, err := filepath.Glob(filepath.Join(state, "*.jsonl"))
	if err != nil || len(journals) != 1 {
		t.Fatalf("the journals are %v, %v", journals, err)
	}
	text, err := os.ReadFile(journals[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(journals[0], text[:len(text)-20], 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	s := newContractServer(t)
	root, state := tree(t, map[string]string{"a.jpg": "a", "b.jpg": "b", "also-b.jpg": "b", "x.psd": "x"}), t.TempDir()
	first := newRun(t, s, state, filepath.Join(root, "a.jpg"))
	first.mustDo(t)
	r := newRun(t, s, state, root)
	r.opts.DryRun = true
	if got := countsOf(r.mustDo(t)); got != (counts{1, 2, 1, 1, 0}) {
		t.Errorf("the dry run counts %+v", got)
	}
	if names := s.names(); !slices.Equal(names, []string{"a.jpg"}) || !strings.Contains(r.out.String(), "Nothing was changed") {
		t.Errorf("the server has %v after\n%s", names, r.out.String())
	}
}

func TestRetries(t *testing.T) {
	const content = "photo"
	for _, row := range []struct {
		name string
		fail func(w http.ResponseWriter) // the first two uploads
		want func(slept []time.Duration) bool
	}{
		{"429 with seconds", func(w http.ResponseWriter) { w.Header().Set("Retry-After", "7"); w.WriteHeader(429) },
			func(d []time.Duration) bool {
				return slices.Equal(d, []time.Duration{7 * time.Second, 7 * time.Second})
			}},
		{"502 with a date", func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", time.Unix(1_700_000_009, 0).UTC().Format(http.TimeFormat))
			w.WriteHeader(502)
		}, func(d []time.Duration) bool {
			return slices.Equal(d, []time.Duration{9 * time.Second, 9 * time.Second})
		}},
		{"500 backs off", func(w http.ResponseWriter) { w.WriteHeader(500) },
			func(d []time.Duration) bool {
				return len(d) == 2 && d[0] >= firstDelay && d[1] >= 2*firstDelay && d[1] <= 3*firstDelay
			}},
		{"a wait without end is cut", func(w http.ResponseWriter) { w.Header().Set("Retry-After", "999999999"); w.WriteHeader(503) },
			func(d []time.Duration) bool { return len(d) == 2 && d[0] == longestRetryAfter }},
		{"lost connection", func(w http.ResponseWriter) { panic(http.ErrAbortHandler) },
			func(d []time.Duration) bool { return len(d) == 2 }},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newContractServer(t)
			s.before = func(w http.ResponseWriter, r *http.Request) bool {
				s.mu.Lock()
				n := s.calls["POST /api/assets"]
				s.mu.Unlock()
				if r.Method != "POST" || r.URL.Path != "/api/assets" || n > 2 {
					return false
				}
				io.Copy(io.Discard, r.Body)
				row.fail(w)
				return true
			}
			r := newRun(t, s, t.TempDir(), tree(t, map[string]string{"a.jpg": content}))
			if got := countsOf(r.mustDo(t)); got != (counts{imported: 1}) || !row.want(r.slept) {
				t.Errorf("counts %+v, waits %v", got, r.slept)
			}
			s.asset(content)
		})
	}
}

func TestStopsEarly(t *testing.T) {
	for _, row := range []struct {
		name   string
		status int // of every upload; 0: no answer
		want   string
	}{
		{"key refused", 401, "does not accept the API key"},
		{"key too weak", 403, "needs read and write"},
		{"full", 507, "no storage left: Cap reached (507)"},
		{"server down", 503, "is not available"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newContractServer(t)
			s.before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != "POST" || r.URL.Path != "/api/assets" {
					return false
				}
				io.Copy(io.Discard, r.Body)
				s.fail(w, row.status, "Cap reached.")
				return true
			}
			files := map[string]string{}
			for i := range 200 {
				files[fmt.Sprint(i, ".jpg")] = fmt.Sprint(i)
			}
			r := newRun(t, s, t.TempDir(), tree(t, files))
			summary, err := r.do(t, t.Context())
			if err == nil || !strings.Contains(err.Error(), row.want) || !summary.Interrupted || summary.Imported != 0 {
				t.Errorf("ends with %v, want %q; %+v", err, row.want, summary)
			}
			s.mu.Lock() // calls that were given up may still run
			defer s.mu.Unlock()
			if calls := s.calls["POST /api/assets"]; calls > r.opts.Parallel*attempts {
				t.Errorf("the server was still called %d times", calls)
			}
		})
	}

	t.Run("wrong key", func(t *testing.T) {
		s := newContractServer(t)
		r := newRun(t, s, t.TempDir(), tree(t, map[string]string{"a.jpg": "a"}))
		r.opts.APIKey = "apikey_other"
		_, err := r.do(t, t.Context())
		if err == nil || !strings.Contains(err.Error(), "does not accept the API key") || len(r.opened) != 0 {
			t.Errorf("ends with %v after reading %v", err, r.opened)
		}
	})
	t.Run("no server", func(t *testing.T) {
		s := newContractServer(t)
		r := newRun(t, s, t.TempDir(), tree(t, map[string]string{"a.jpg": "a"}))
		r.opts.BaseURL = "http://127.0.0.1:1"
		_, err := r.do(t, t.Context())
		if err == nil || !strings.Contains(err.Error(), "http://127.0.0.1:1 is not available") || len(r.slept) != startAttempts-1 {
			t.Errorf("ends with %v after waiting %v", err, r.slept)
		}
	})
	t.Run("another program", func(t *testing.T) {
		s := newContractServer(t)
		s.before = func(w http.ResponseWriter, r *http.Request) bool { http.NotFound(w, r); return true }
		_, err := newRun(t, s, t.TempDir(), t.TempDir()).do(t, t.Context())
		if err == nil || !strings.Contains(err.Error(), "does not answer like a Banksia server") {
			t.Errorf("ends with %v", err)
		}
	})
	t.Run("redirect", func(t *testing.T) {
		s := newContractServer(t)
		s.before = func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "https://photos.example/x", http.StatusMovedPermanently)
			return true
		}
		_, err := newRun(t, s, t.TempDir(), t.TempDir()).do(t, t.Context())
		if err == nil || !strings.Contains(err.Error(), "https://photos.example/x") {
			t.Errorf("ends with %v", err)
		}
	})
}

func TestChooseLibrary(t *testing.T) {
	s := newContractServer(t)
	one := s.libraries[0]
	two := library{"lib_BM3nUmJ6fkBqBADyz5FEiu", "Work"}
	s.libraries = append(s.libraries, two)
	root := tree(t, map[string]string{"a.jpg": "a"})
	for _, row := range []struct{ library, want, fails string }{
		{"", "", `there are several libraries; choose one: "My Library"`},
		{"Work", two.ID, ""},
		{one.ID, one.ID, ""},
		{"Nobody's", "", `there is no library "Nobody's"; there is "My Library"`},
		{"lib_H9cNmGXLEc8NWcZzSThA9S", "", "Library not found"},
	} {
		clear(s.assets)
		r := newRun(t, s, t.TempDir(), root)
		r.opts.Library = row.library
		_, err := r.do(t, t.Context())
		if row.fails != "" {
			if err == nil || !strings.Contains(err.Error(), row.fails) {
				t.Errorf("%q: ends with %v, want %q", row.library, err, row.fails)
			}
			continue
		}
		if err != nil || s.asset("a").LibraryID != row.want {
			t.Errorf("%q: ends with %v in %q, want %q", row.library, err, s.asset("a").LibraryID, row.want)
		}
	}
}

func TestAlbums(t *testing.T) {
	files := map[string]string{"top.jpg": "top", "Paris/1.jpg": "1", "Photos from 2020/2.jpg": "2", "T/3.jpg": "3", "T/metadata.json": `{"title":"Sea\u0007side"}`}
	for i := range 450 {
		files[fmt.Sprintf("Rome/%d.jpg", i)] = fmt.Sprint("rome ", i)
	}
	root := tree(t, files)

	t.Run("per folder", func(t *testing.T) {
		s := newContractServer(t)
		s.albums = []*contractAlbum{{album: album{"album_new", "Paris"}}, {album: album{"album_old", "Paris"}}}
		r := newRun(t, s, t.TempDir(), root)
		r.opts.AlbumPerFolder = true
		r.mustDo(t)
		got := map[string]int{}
		for _, a := range s.albums {
			got[a.Name+" "+strings.TrimPrefix(a.ID, "album_")[:3]] = len(a.assets)
			if !strings.HasPrefix(a.Name, "Paris") {
				got[a.Name] = len(a.assets)
			}
		}
		for name, want := range map[string]int{"Paris new": 0, "Paris old": 1, "Rome": 450, "Pictures": 1, "Sea_side": 1} {
			if got[name] != want {
				t.Errorf("the album %s has %d assets, want %d", name, got[name], want)
			}
		}
		if len(s.albums) != 5 {
			t.Errorf("there are %d albums: %v", len(s.albums), got)
		}
	})
	t.Run("one", func(t *testing.T) {
		s := newContractServer(t)
		state := t.TempDir()
		for range 2 { // the second run adds to the same album
			r := newRun(t, s, state, filepath.Join(root, "Paris"))
			r.opts.Album = "Holidays"
			r.mustDo(t)
		}
		if len(s.albums) != 1 || s.albums[0].Name != "Holidays" || s.albums[0].assets[0] != s.asset("1").ID {
			t.Errorf("the albums are %+v", s.albums)
		}
	})
	t.Run("server without albums", func(t *testing.T) {
		s := newContractServer(t)
		s.noAlbums = true
		r := newRun(t, s, t.TempDir(), root)
		r.opts.Album = "Holidays"
		_, err := r.do(t, t.Context())
		if err == nil || !strings.Contains(err.Error(), "no albums") || s.uploads != 0 {
			t.Errorf("ends with %v after %d uploads", err, s.uploads)
		}
	})
}

func TestFailuresListed(t *testing.T) {
	s := newContractServer(t)
	s.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == "POST" && r.URL.Path == "/api/assets" {
			io.Copy(io.Discard, r.Body)
			s.answer(w, 422, map[string]any{"detail": []map[string]any{{"msg": "not a\x1b photo", "loc": []string{"body"}}}})
			return true
		}
		return false
	}
	files := map[string]string{}
	for i := range 60 {
		files[fmt.Sprintf("bad\x1b]0;%02d.jpg", i)] = fmt.Sprint(i)
	}
	r := newRun(t, s, t.TempDir(), tree(t, files))
	summary := r.mustDo(t)
	if summary.Failed != 60 || len(summary.Failures) != failuresListed {
		t.Errorf("%d failed, %d listed", summary.Failed, len(summary.Failures))
	}
	text := r.out.String()
	if !strings.Contains(text, "and 10 more") || !strings.Contains(text, ".jpg: not a_ photo (422)") || strings.Contains(text, "\x1b") {
		t.Errorf("the table says\n%q", text)
	}
}

func TestLinksAndLoops(t *testing.T) {
	outside := tree(t, map[string]string{"secret.jpg": "secret"})
	root := tree(t, map[string]string{"in/a.jpg": "a"})
	for link, to := range map[string]string{"loop": root, "in/up": "..", "out": outside, "a.jpg": "in/a.jpg", "gone.jpg": "nowhere", "out.jpg": filepath.Join(outside, "secret.jpg")} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	s := newContractServer(t)
	// A root may be a link itself, and roots may overlap.
	rootLink := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(root, rootLink); err != nil {
		t.Fatal(err)
	}
	summary := newRun(t, s, t.TempDir(), rootLink, filepath.Join(root, "in"), root).mustDo(t)
	if got := countsOf(summary); got != (counts{imported: 1}) || summary.Links != 6 {
		t.Errorf("the counts are %+v with %d links, and the server has %v", got, summary.Links, s.names())
	}
}

// A pipe that nobody writes to would be waited for: in a folder it is passed by, and
// one that was named, as by a shell's *, is told.
func TestPipes(t *testing.T) {
	root := tree(t, map[string]string{"a.jpg": "a"})
	var named []string
	for _, name := range []string{"b.jpg", "b.zip", "a.jpg.json", "a.xmp"} {
		named = append(named, filepath.Join(root, name))
		if err := syscall.Mkfifo(named[len(named)-1], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := newContractServer(t)
	if got := countsOf(newRun(t, s, t.TempDir(), root).mustDo(t)); got != (counts{imported: 1}) {
		t.Errorf("of the folder: %+v", got)
	}
	summary := newRun(t, s, t.TempDir(), named...).mustDo(t)
	if got := countsOf(summary); got != (counts{failed: 4}) || !strings.Contains(fmt.Sprint(summary.Failures), "not a regular file") {
		t.Errorf("of the pipes: %+v, %v", got, summary.Failures)
	}
}

func TestFileChangesWhileItIsRead(t *testing.T) {
	s := newContractServer(t)
	root := tree(t, map[string]string{"a.jpg": "before", "b.jpg": "b"})
	r := newRun(t, s, t.TempDir(), root)
	im, err := newImporter(r.opts, &r.out)
	if err != nil {
		t.Fatal(err)
	}
	im.openFile = func(name string) (*os.File, error) {
		if filepath.Base(name) == "a.jpg" {
			if err := os.WriteFile(name, []byte("after, and longer"), 0o644); err != nil {
				t.Error(err)
			}
		}
		return os.Open(name)
	}
	summary, err := im.run(t.Context())
	if err != nil || summary.Imported != 1 || summary.Failed != 1 || summary.Failures[0].Reason != errChanged.Error() {
		t.Errorf("ends with %v and %+v", err, summary)
	}
}

func TestTerminalProgress(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(Options{Terminal: true, Width: 60, Now: func() time.Time { return time.Unix(0, 0) }}, &out)
	p.total(10, 100<<20)
	p.totalKnown()
	clock := time.Unix(0, 0)
	p.now = func() time.Time { return clock }
	p.show()
	p.done(25 << 20)
	clock = clock.Add(5 * time.Second)
	p.width = 200
	p.show()
	want := "\r\x1b[K[#####---------------] 1 of 10 files, 25.0 MiB of 100.0 MiB, 5.0 MiB/s, 15 s left"
	if !strings.HasSuffix(out.String(), want) {
		t.Errorf("the bar is %q, want %q", out.String(), want)
	}
}
