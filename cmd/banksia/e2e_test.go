package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"io/fs"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/banksia-photos/banksia/internal/media"
	"github.com/banksia-photos/banksia/internal/store"
)

// asProgram makes the test binary be banksia itself, in the folder that it names. The
// new process goes there by itself: on a file system that this process serves, one
// that is not yet running would keep it from serving.
const asProgram = "TEST_IS_BANKSIA"

func TestMain(m *testing.M) {
	media.ServeWorkerIfAsked()
	if folder := os.Getenv(asProgram); folder != "" {
		if err := os.Chdir(folder); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		main()
	}
	os.Exit(m.Run())
}

// workspace is a folder in which commands run, with their data in the folder data.
type workspace struct {
	dir   string
	cache string
	env   []string
	began func(*os.Process) // is told of each process; may be nil
}

func newWorkspace(t *testing.T) *workspace {
	t.Helper()
	return &workspace{dir: t.TempDir(), cache: t.TempDir()}
}

func (p *workspace) data(names ...string) string {
	return filepath.Join(append([]string{p.dir, "data"}, names...)...)
}

func (p *workspace) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, os.Args[0], args...)
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "BANKSIA_") {
			c.Env = append(c.Env, pair)
		}
	}
	c.Env = append(append(c.Env, asProgram+"="+p.dir, "XDG_CACHE_HOME="+p.cache), p.env...)
	c.WaitDelay = 10 * time.Second
	return c
}

func (p *workspace) begin(c *exec.Cmd) error {
	err := c.Start()
	if err == nil && p.began != nil {
		p.began(c.Process)
	}
	return err
}

// run runs a command to its end.
func (p *workspace) run(t *testing.T, args ...string) (status int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	c := p.command(t.Context(), args...)
	c.Stdout, c.Stderr = &o, &e
	err := p.begin(c)
	if err == nil {
		err = c.Wait()
	}
	if err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			t.Fatalf("banksia %q: %v", args, err)
		}
	}
	return c.ProcessState.ExitCode(), o.String(), e.String()
}

// mustRun is run for a command that succeeds.
func (p *workspace) mustRun(t *testing.T, args ...string) (out string) {
	t.Helper()
	status, out, errOut := p.run(t, args...)
	if status != 0 {
		t.Fatalf("banksia %q ends with %d:\n%s%s", args, status, out, errOut)
	}
	return out
}

// server is a running banksia serve.
type server struct {
	url, key string
	greeting string
	log      *safeBuffer
	process  *os.Process
	ended    chan struct{}
	state    *os.ProcessState // once ended
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

var (
	servesLine = regexp.MustCompile(`^Banksia serves (http://\S+) `)
	keyText    = regexp.MustCompile(`apikey_[A-Za-z0-9_-]{40,}`)
)

// serve starts a server on any free port and waits until it serves.
func (p *workspace) serve(t *testing.T, args ...string) *server {
	t.Helper()
	s := p.tryServe(t, args...)
	if s.url == "" {
		t.Fatalf("the server ended: %s%s", s.greeting, s.log)
	}
	return s
}

// tryServe is serve for one that may end before it serves: it has no URL then.
func (p *workspace) tryServe(t *testing.T, args ...string) *server {
	t.Helper()
	c := p.command(t.Context(), append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	s := &server{log: &safeBuffer{}, ended: make(chan struct{})}
	c.Stderr = s.log
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.begin(c); err != nil {
		t.Fatal(err)
	}
	s.process = c.Process
	lines := bufio.NewReader(out)
	for s.url == "" {
		line, err := lines.ReadString('\n')
		s.greeting += line
		if match := servesLine.FindStringSubmatch(line); match != nil {
			s.url = match[1]
		}
		if err != nil {
			break
		}
	}
	s.key = keyText.FindString(s.greeting)
	go func() {
		io.Copy(io.Discard, lines)
		c.Wait() // its status is in ProcessState
		s.state = c.ProcessState
		close(s.ended)
	}()
	if s.url == "" {
		<-s.ended
	}
	t.Cleanup(func() {
		s.process.Kill()
		<-s.ended
	})
	return s
}

// end sends a signal and returns the exit status, -1 for an end by signal.
func (s *server) end(t *testing.T, signal os.Signal) int {
	t.Helper()
	if err := s.process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	<-s.ended
	return s.state.ExitCode()
}

func (s *server) call(t *testing.T, method, path, key string, body io.Reader) (status int, answer []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+key)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", method, path, err, s.log)
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, answer
}

func (s *server) get(t *testing.T, path, key string, to any) {
	t.Helper()
	status, answer := s.call(t, http.MethodGet, path, key, nil)
	if status != http.StatusOK {
		t.Fatalf("GET %s answers %d: %s", path, status, answer)
	}
	if err := json.Unmarshal(answer, to); err != nil {
		t.Fatalf("GET %s: %v in %s", path, err, answer)
	}
}

type listedAsset struct {
	ID       string `json:"id"`
	Name     string `json:"original_file_name"`
	FileData struct {
		Checksum string `json:"checksum"`
	} `json:"file_data"`
	URLs map[string]struct {
		URL string `json:"url"`
	} `json:"asset_urls"`
}

// assets reads the whole library.
func (s *server) assets(t *testing.T, key string) (all []listedAsset) {
	t.Helper()
	after := ""
	for {
		var page struct {
			Data    []listedAsset `json:"data"`
			HasMore bool          `json:"has_more"`
		}
		s.get(t, "/api/assets?include=file_data,variants&limit=200"+after, key, &page)
		all = append(all, page.Data...)
		if !page.HasMore {
			return all
		}
		after = "&starting_after_id=" + all[len(all)-1].ID
	}
}

// photo is a JPEG of w times h pixels that differs with its number.
func photo(number, w, h int) []byte {
	picture := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			picture.Set(x, y, color.RGBA{uint8(x*3 + number), uint8(y*5 + number>>8), uint8(number * 7), 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, picture, nil); err != nil {
		panic(err) // into memory it cannot fail
	}
	// The pixels of two numbers may be equal after compression: a comment is not.
	return append(b.Bytes()[:2:2], append(append([]byte{0xff, 0xfe, 0, 14}, fmt.Sprintf("photo%07d", number)...), b.Bytes()[2:]...)...)
}

// writePhotos fills folders with photos.
func writePhotos(t *testing.T, folder string, n int) {
	t.Helper()
	for i := range n {
		dir := filepath.Join(folder, fmt.Sprintf("folder %d", i%3))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("IMG_%04d.jpg", i)), photo(i, 80, 60), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// form is the body of an upload. What comes after the head is the content of the
// file and then the tail.
func form(t *testing.T, name string) (contentType string, head, tail []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, field := range []string{"device_asset_id", "device_id"} {
		w.WriteField(field, name)
	}
	w.WriteField("file_created_at", "2024-05-06T07:08:09Z")
	w.WriteField("file_modified_at", "2024-05-06T07:08:09Z")
	if _, err := w.CreateFormFile("asset_data", name); err != nil {
		t.Fatal(err)
	}
	head = bytes.Clone(b.Bytes())
	w.Close()
	return w.FormDataContentType(), head, b.Bytes()[len(head):]
}

// upload sends a photo; it gives 0 when the connection broke.
func (s *server) upload(t *testing.T, key, name string, content io.Reader) (status int, id string) {
	contentType, head, tail := form(t, name)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/api/assets", io.MultiReader(bytes.NewReader(head), content, bytes.NewReader(tail)))
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	request.Header.Set("Authorization", "Bearer "+key)
	request.Header.Set("Content-Type", contentType)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	var answer struct {
		ID string `json:"id"`
	}
	if json.NewDecoder(response.Body).Decode(&answer) != nil {
		return 0, ""
	}
	return response.StatusCode, answer.ID
}

// until polls a condition that must come true.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("it did not come true that %s", what)
		}
	}
}

// files counts the files below a folder; there are none in one that is absent.
func files(t *testing.T, folder string) (n int) {
	t.Helper()
	err := filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			n++
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// refuses tells whether nobody listens at the server's address any more.
func (s *server) refuses() bool {
	connection, err := net.Dial("tcp", strings.TrimPrefix(strings.Replace(s.url, "localhost", "127.0.0.1", 1), "http://"))
	if err != nil {
		return true
	}
	connection.Close()
	return false
}

func contains(t *testing.T, what, text string, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			t.Errorf("%s lacks %q:\n%s", what, want, text)
		}
	}
}

func TestFirstStart(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	s := p.serve(t)
	if got := keyText.FindAllString(s.greeting, -1); len(got) != 1 {
		t.Fatalf("%d keys are printed:\n%s", len(got), s.greeting)
	}
	contains(t, "the greeting", s.greeting, "http://localhost:", p.data(), "import ~/Pictures")
	for name, mode := range map[string]fs.FileMode{"": 0o700, "banksia.db": 0o600, "server.json": 0o600, "blobs": 0o700} {
		stat, err := os.Stat(p.data(name))
		if err != nil {
			t.Error(err)
		} else if stat.Mode().Perm() != mode {
			t.Errorf("%q has the mode %v, want %v", name, stat.Mode().Perm(), mode)
		}
	}
	if status, answer := s.call(t, "GET", "/api/server/ping", "", nil); status != 200 || string(answer) != "pong" {
		t.Errorf("ping answers %d %s", status, answer)
	}
	if status, answer := s.call(t, "GET", "/docs", "", nil); status != 200 || !bytes.Contains(answer, []byte("<html")) {
		t.Errorf("the docs answer %d", status)
	}
	if status, answer := s.call(t, "GET", "/docs/no-such", "", nil); status != 404 || !json.Valid(answer) {
		t.Errorf("a page that is not there answers %d %s", status, answer)
	}
	if status, _ := s.call(t, "GET", "/api/users/me", "apikey_no", nil); status != 401 {
		t.Errorf("a made-up key is answered with %d", status)
	}
	var libraries []struct {
		Name string `json:"name"`
	}
	s.get(t, "/api/libraries", s.key, &libraries)
	if len(libraries) != 1 || libraries[0].Name != "My Library" { // behaviour 21.14
		t.Errorf("libraries: %+v", libraries)
	}
	announced, err := readAnnouncement(p.data())
	if err != nil || announced.Command != "serve" || announced.PID != s.process.Pid || !strings.HasPrefix(announced.URL, "http://127.0.0.1:") {
		t.Errorf("announced: %+v, %v", announced, err)
	}
	var me struct {
		ID string `json:"id"`
	}
	s.get(t, "/api/users/me", announced.Credential, &me)
	if status := s.end(t, syscall.SIGTERM); status != 0 {
		t.Errorf("SIGTERM ends it with %d: %s", status, s.log)
	}
	for _, name := range []string{"server.json", "banksia.db-wal"} {
		if _, err := os.Stat(p.data(name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", name, err)
		}
	}

	again := p.serve(t)
	if again.key != "" {
		t.Error("the second start prints a key")
	}
	again.get(t, "/api/users/me", s.key, &me)
	if status, _ := again.call(t, "GET", "/api/users/me", announced.Credential, nil); status != 401 {
		t.Errorf("the local credential of the first process is answered with %d", status)
	}
	if status := again.end(t, os.Interrupt); status != 0 {
		t.Errorf("Ctrl-C ends it with %d", status)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	s := p.serve(t)
	out := p.mustRun(t, "keys", "create", "--name", "reader", "--actions", "read")
	reader := strings.TrimSuffix(out, "\n")
	if !keyText.MatchString(reader) || keyText.FindString(reader) != reader {
		t.Fatalf("create prints %q", out)
	}
	var me any
	s.get(t, "/api/users/me", reader, &me)
	if status, _ := s.upload(t, reader, "a.jpg", bytes.NewReader(photo(1, 8, 8))); status != 403 { // behaviour 4.6
		t.Errorf("a key without write uploads: %d", status)
	}
	limited := strings.TrimSpace(p.mustRun(t, "keys", "create", "--library", "My Library", "--name", "limited"))
	if status, id := s.upload(t, limited, "a.jpg", bytes.NewReader(photo(1, 8, 8))); status != 201 || id == "" {
		t.Errorf("a key for the library uploads: %d", status)
	}

	list := p.mustRun(t, "keys", "list", "--data", "data")
	contains(t, "the list", list, `"first key"`, `"reader"`, `"limited"`, "read,write,delete,delete_permanently")
	if strings.Contains(list, reader) || strings.Contains(list, "revoked") {
		t.Errorf("the list: %s", list)
	}
	id := ""
	for line := range strings.Lines(list) {
		if strings.Contains(line, `"reader"`) {
			id, _, _ = strings.Cut(line, " ")
		}
	}
	p.mustRun(t, "keys", "revoke", id, "--data", "data")
	if status, _ := s.call(t, "GET", "/api/users/me", reader, nil); status != 401 { // behaviour 4.4
		t.Errorf("a revoked key is answered with %d", status)
	}
	contains(t, "the list", p.mustRun(t, "keys", "list"), "revoked")

	// Signing keys change beneath a running server, and nobody notices.
	var page struct {
		Data []struct {
			URLs map[string]struct{ URL string } `json:"asset_urls"`
		}
	}
	s.get(t, "/api/assets?include=variants", limited, &page)
	original := strings.TrimPrefix(page.Data[0].URLs["original"].URL, s.url)
	for _, when := range []string{"before", "after"} {
		if status, _ := s.call(t, "GET", original, "", nil); status != 200 {
			t.Errorf("%s the signing keys change, a media URL is answered with %d", when, status)
		}
		contains(t, "rotate-signing", p.mustRun(t, "keys", "rotate-signing"), "notice within 10s")
	}

	for _, row := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"create"}, 2, "--name is missing"},
		{[]string{"create", "--name", "x", "--actions", "write"}, 2, "read"},
		{[]string{"create", "--name", "x", "--actions", "read,fly"}, 2, "fly"},
		{[]string{"create", "--name", "x\ny"}, 2, "control characters"},
		{[]string{"create", "--name", "x", "--library", "Nobody's"}, 1, `no library "Nobody's"`},
		{[]string{"create", "--name", "x", "extra"}, 2, "unexpected argument"},
		{[]string{"revoke"}, 2, "ID of one key"},
		{[]string{"revoke", reader}, 2, "is not the ID of a key"},
		{[]string{"revoke", "apikey_2222222222222222222222"}, 1, "no key with the ID"},
		{[]string{"list", "--data", "elsewhere"}, 1, "no library in elsewhere"},
		{[]string{"rotate-signing", "--data", "elsewhere"}, 1, "no library in elsewhere"},
		{[]string{"rotate-signing", "now"}, 2, "unexpected argument"},
		{[]string{"destroy"}, 2, "create, list, revoke or rotate-signing"},
		{nil, 2, "create, list, revoke or rotate-signing"},
	} {
		status, out, errOut := p.run(t, append([]string{"keys"}, row.args...)...)
		if status != row.status || out != "" || !strings.Contains(errOut, row.want) {
			t.Errorf("keys %q ends with %d, prints %q and %q; want %d, %q", row.args, status, out, errOut, row.status, row.want)
		}
	}
	if _, err := os.Stat(filepath.Join(p.dir, "elsewhere")); err == nil {
		t.Error("listing the keys of a folder that is not there makes it")
	}
}

// A key can be made before the first start, which then prints none.
func TestKeyBeforeFirstStart(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	key := strings.TrimSpace(p.mustRun(t, "keys", "create", "--name", "first"))
	s := p.serve(t)
	if s.key != "" {
		t.Error("the first start prints another key")
	}
	var me any
	s.get(t, "/api/users/me", key, &me)
}

var summaryLine = regexp.MustCompile(`(?m)^(imported|duplicates|unsupported|failed)\s+(\d+)`)

// summary is the table that an import ends with.
func summary(out string) string {
	var rows []string
	for _, match := range summaryLine.FindAllStringSubmatch(out, -1) {
		rows = append(rows, match[1]+" "+match[2])
	}
	return strings.Join(rows, ", ")
}

func TestImportWithServer(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	s := p.serve(t)
	writePhotos(t, filepath.Join(p.dir, "pictures"), 20)
	if err := os.WriteFile(filepath.Join(p.dir, "pictures", "notes.txt"), []byte("not a photo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := summary(p.mustRun(t, "import", "pictures", "--dry-run")); !strings.HasPrefix(got, "imported 20") || len(s.assets(t, s.key)) != 0 {
		t.Errorf("a dry run: %s", got)
	}
	if got := summary(p.mustRun(t, "import", "pictures")); !strings.HasPrefix(got, "imported 20, duplicates 0") || !strings.HasSuffix(got, "failed 0") {
		t.Errorf("through server.json: %s", got)
	}
	if got := summary(p.mustRun(t, "import", "--url", s.url, "--api-key", s.key, "pictures")); !strings.HasPrefix(got, "imported 0, duplicates 20") {
		t.Errorf("again, by URL: %s", got)
	}
	p.env = []string{"BANKSIA_URL=" + s.url, "BANKSIA_API_KEY=" + s.key}
	if got := summary(p.mustRun(t, "import", "pictures")); !strings.HasPrefix(got, "imported 0, duplicates 20") {
		t.Errorf("again, by the environment: %s", got)
	}
	settings := filepath.Join(p.dir, "elsewhere.conf")
	if err := os.WriteFile(settings, []byte("BANKSIA_URL="+s.url+"\nBANKSIA_API_KEY="+s.key+"\nBANKSIA_WORKERS=3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.env = []string{"BANKSIA_CONFIG=" + settings, "BANKSIA_DATA=nowhere"}
	if got := summary(p.mustRun(t, "import", "pictures")); !strings.HasPrefix(got, "imported 0, duplicates 20") {
		t.Errorf("again, by a file: %s", got)
	}
	assets := s.assets(t, s.key)
	if len(assets) != 20 {
		t.Fatalf("%d assets", len(assets))
	}
	// Signed URLs of variants work without a credential right away (behaviour 6.11).
	status, thumbnail := s.call(t, "GET", strings.TrimPrefix(assets[0].URLs["thumbnail"].URL, s.url), "", nil)
	if _, err := jpeg.Decode(bytes.NewReader(thumbnail)); status != 200 || err != nil {
		t.Errorf("thumbnail %s: %d, %v", assets[0].URLs["thumbnail"].URL, status, err)
	}
}

// Folders become albums; a second import, and one into one album, add what is known
// already to them, and nothing twice.
func TestImportIntoAlbums(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	s := p.serve(t)
	writePhotos(t, filepath.Join(p.dir, "pictures", "Rome"), 3)
	writePhotos(t, filepath.Join(p.dir, "pictures", "Oslo"), 5) // three of them are those of Rome
	for range 2 {
		p.mustRun(t, "import", "--album-per-folder", "pictures")
	}
	for range 2 {
		p.mustRun(t, "import", "--album", "Everything", "pictures")
	}
	var albums struct {
		Data []struct {
			Name       string `json:"name"`
			AssetCount int    `json:"asset_count"`
		} `json:"data"`
	}
	status, body := s.call(t, "GET", "/api/albums", s.key, nil)
	if err := json.Unmarshal(body, &albums); err != nil || status != 200 {
		t.Fatalf("%d %v: %s", status, err, body)
	}
	counts := map[string]int{}
	for _, album := range albums.Data {
		counts[album.Name] = album.AssetCount
	}
	// Folders of the same name share an album.
	if fmt.Sprint(counts) != "map[Everything:5 folder 0:2 folder 1:2 folder 2:1]" || len(albums.Data) != 4 {
		t.Errorf("albums: %v of %d", counts, len(albums.Data))
	}
}

func TestImportWithoutServer(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	writePhotos(t, filepath.Join(p.dir, "pictures"), 20)
	out := p.mustRun(t, "import", "pictures")
	if got := summary(out); !strings.HasPrefix(got, "imported 20") {
		t.Errorf("%s", got)
	}
	if keyText.MatchString(out) {
		t.Error("an import prints a key")
	}
	// It has waited for the work that follows.
	st, err := store.Open(t.Context(), store.Config{Path: p.data("banksia.db")})
	if err != nil {
		t.Fatal(err)
	}
	unfinished, err := st.UnfinishedTasks(t.Context())
	if closeErr := st.Close(); err != nil || closeErr != nil || unfinished != 0 {
		t.Errorf("%d tasks are left, %v, %v", unfinished, err, closeErr)
	}
	if n := files(t, p.data("blobs", "derived")); n < 20 {
		t.Errorf("%d derived files", n)
	}
	if n := files(t, p.data("blobs", "tmp")); n != 0 {
		t.Errorf("%d temporary files are left", n)
	}
	s := p.serve(t)
	if s.key == "" {
		t.Fatal("the first start of the server prints no key, and nobody has one")
	}
	if n := len(s.assets(t, s.key)); n != 20 {
		t.Errorf("%d assets", n)
	}
}

// Ctrl-C ends an import at once and in order; the same command goes on.
func TestInterruptedImportGoesOn(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	const n = 300
	writePhotos(t, filepath.Join(p.dir, "pictures"), n)
	c := p.command(t.Context(), "import", "pictures")
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "one is stored", func() bool { return files(t, p.data("blobs", "originals")) > 0 })
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	c.Wait() // its status is in ProcessState
	if c.ProcessState.ExitCode() != 1 || !strings.Contains(out.String(), "interrupted") {
		t.Errorf("ends with %v:\n%s", c.ProcessState, out.String())
	}
	for _, name := range []string{"server.json", "banksia.db-wal"} {
		if _, err := os.Stat(p.data(name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
	if left := files(t, p.data("blobs", "tmp")); left != 0 {
		t.Errorf("%d temporary files are left", left)
	}
	if got := summary(p.mustRun(t, "import", "pictures")); !strings.HasSuffix(got, "failed 0") {
		t.Errorf("the second import: %s", got)
	}
	if s := p.serve(t); len(s.assets(t, s.key)) != n {
		t.Errorf("%d of %d photos are there", len(s.assets(t, s.key)), n)
	}
}

func TestBlobsOnAnotherDisk(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	disk := t.TempDir()
	if err := errors.Join(os.Mkdir(p.data(), 0o700), os.Symlink(disk, p.data("blobs"))); err != nil {
		t.Fatal(err)
	}
	writePhotos(t, filepath.Join(p.dir, "pictures"), 2)
	p.mustRun(t, "import", "pictures")
	if n := files(t, filepath.Join(disk, "originals")); n != 2 {
		t.Errorf("%d originals are on the other disk", n)
	}
	s := p.serve(t)
	if status, id := s.upload(t, s.key, "a.jpg", bytes.NewReader(photo(9, 8, 8))); status != 201 || id == "" {
		t.Errorf("an upload is answered with %d", status)
	}
	if n := files(t, filepath.Join(disk, "originals")); n != 3 {
		t.Errorf("%d originals are on the other disk", n)
	}
}

func TestKilledImportGoesOn(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	const n = 60
	writePhotos(t, filepath.Join(p.dir, "pictures"), n)
	for _, stored := range []int{1, n / 3, n / 2} {
		c := p.command(t.Context(), "import", "pictures")
		var out bytes.Buffer
		c.Stdout, c.Stderr = &out, &out
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		until(t, "some are stored", func() bool { return files(t, p.data("blobs", "originals")) >= stored })
		c.Process.Kill()
		c.Wait() // killed
		if c.ProcessState.Success() {
			t.Logf("the import was faster than the kill at %d", stored)
		}
	}
	if got := summary(p.mustRun(t, "import", "pictures")); !strings.HasSuffix(got, "failed 0") {
		t.Errorf("the last import: %s", got)
	}
	key := strings.TrimSpace(p.mustRun(t, "keys", "create", "--name", "look"))
	s := p.serve(t)
	names := map[string]int{}
	for _, a := range s.assets(t, key) {
		names[a.Name]++
	}
	if len(names) != n {
		t.Errorf("%d of %d photos are there", len(names), n)
	}
	for name, times := range names {
		if times != 1 {
			t.Errorf("%s is there %d times", name, times)
		}
	}
}

// What was acknowledged is there after kill -9, bytes included, and what was not
// is either whole or not there.
func TestKilledServerLosesNothing(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	key := strings.TrimSpace(p.mustRun(t, "keys", "create", "--name", "test"))
	var mu sync.Mutex
	acknowledged := map[string][]byte{} // id -> content
	next := 0
	for round := range 4 {
		s := p.serve(t)
		target := len(acknowledged) + 5 + 10*round
		var clients sync.WaitGroup
		for range 6 {
			clients.Go(func() {
				for {
					mu.Lock()
					number := next
					next++
					mu.Unlock()
					content := photo(number, 200, 150)
					status, id := s.upload(t, key, fmt.Sprintf("IMG_%d.jpg", number), bytes.NewReader(content))
					if status == 0 {
						return
					}
					if status != 201 {
						t.Errorf("upload answers %d", status)
						return
					}
					mu.Lock()
					acknowledged[id] = content
					mu.Unlock()
				}
			})
		}
		until(t, "enough are acknowledged", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(acknowledged) >= target || t.Failed()
		})
		s.end(t, syscall.SIGKILL)
		clients.Wait()
	}
	if _, err := os.Stat(p.data("server.json")); err != nil {
		t.Errorf("kill -9 left no announcement to get over: %v", err)
	}

	s := p.serve(t)
	there := map[string]listedAsset{}
	for _, a := range s.assets(t, key) {
		there[a.ID] = a
		// Rows without bytes would be worse than lost uploads.
		status, content := s.call(t, "GET", strings.TrimPrefix(a.URLs["original"].URL, s.url), "", nil)
		sum := sha256.Sum256(content)
		if status != 200 || base64.StdEncoding.EncodeToString(sum[:]) != a.FileData.Checksum {
			t.Errorf("%s: the original answers %d with other bytes", a.ID, status)
		}
		if sent := acknowledged[a.ID]; sent != nil && !bytes.Equal(sent, content) {
			t.Errorf("%s is not what was sent", a.ID)
		}
	}
	for id := range acknowledged {
		if _, ok := there[id]; !ok {
			t.Errorf("%s was acknowledged and is lost", id)
		}
	}
	until(t, "originals without a row are swept", func() bool { return files(t, p.data("blobs", "originals")) == len(there) })
	// No task is lost either.
	st, err := store.Open(t.Context(), store.Config{Path: p.data("banksia.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	until(t, "all tasks are done", func() bool {
		n, err := st.UnfinishedTasks(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n == 0
	})
	if n := files(t, p.data("blobs", "tmp")); n != 0 {
		t.Errorf("%d temporary files are left", n)
	}
	// The announcement of the dead servers misleads nobody.
	s.end(t, syscall.SIGKILL)
	writePhotos(t, filepath.Join(p.dir, "pictures"), 1)
	p.mustRun(t, "import", "pictures")
}

// slowUpload sends all but the end of a photo and returns how to end it.
func (s *server) slowUpload(t *testing.T, key string, content []byte) (sendRest func(), status <-chan int) {
	t.Helper()
	reader, writer := io.Pipe()
	answer := make(chan int, 1)
	go func() {
		status, _ := s.upload(t, key, "slow.jpg", reader)
		reader.Close()
		answer <- status
	}()
	go func() {
		<-s.ended
		writer.CloseWithError(io.ErrUnexpectedEOF) // the client reads its body before it gives up
	}()
	if _, err := writer.Write(content[:len(content)/2]); err != nil {
		t.Fatal(err)
	}
	return func() {
		writer.Write(content[len(content)/2:]) // fails when the server cut it off
		writer.Close()
	}, answer
}

func TestStopDuringUpload(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	s := p.serve(t, "--grace", "1m")
	key := s.key
	sendRest, status := s.slowUpload(t, key, photo(1, 600, 400))
	until(t, "the upload has begun", func() bool { return files(t, p.data("blobs", "tmp")) == 1 })
	if err := s.process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until(t, "the server takes nothing new", s.refuses)
	sendRest()
	if got := <-status; got != 201 {
		t.Errorf("the upload under way is answered with %d", got)
	}
	<-s.ended
	if s.state.ExitCode() != 0 {
		t.Errorf("ends with %v: %s", s.state, s.log)
	}

	// One that never ends is cut off.
	s = p.serve(t, "--grace", "100ms")
	if n := len(s.assets(t, key)); n != 1 {
		t.Errorf("%d assets, want the one that was acknowledged", n)
	}
	_, status = s.slowUpload(t, key, photo(2, 600, 400))
	until(t, "the upload has begun", func() bool { return files(t, p.data("blobs", "tmp")) == 1 })
	if got := s.end(t, syscall.SIGTERM); got != 0 {
		t.Errorf("ends with %d: %s", got, s.log)
	}
	if got := <-status; got == 200 || got == 201 {
		t.Errorf("a part of a file is answered with %d", got)
	}
	if n := files(t, p.data("blobs", "tmp")); n != 0 {
		t.Errorf("%d temporary files are left", n)
	}

	// A second signal does not wait.
	s = p.serve(t, "--grace", "1h")
	if n := len(s.assets(t, key)); n != 1 {
		t.Errorf("%d assets after an upload was cut off", n)
	}
	_, status = s.slowUpload(t, key, photo(3, 600, 400))
	until(t, "the upload has begun", func() bool { return files(t, p.data("blobs", "tmp")) == 1 })
	if err := s.process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until(t, "the server takes nothing new", s.refuses)
	if got := s.end(t, syscall.SIGTERM); got != -1 {
		t.Errorf("the second signal ends it with %d", got)
	}
	<-status
	p.serve(t)
	until(t, "the leftover is swept", func() bool { return files(t, p.data("blobs", "tmp")) == 0 })
}

func TestOneServerPerFolder(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	s := p.serve(t)
	status, _, errOut := p.run(t, "serve", "--listen", "127.0.0.1:0")
	if status != 1 {
		t.Errorf("a second server ends with %d", status)
	}
	contains(t, "the message", errOut, "another banksia runs", fmt.Sprintf("process %d", s.process.Pid))
	var me any
	s.get(t, "/api/users/me", s.key, &me) // unharmed

	port := s.url[strings.LastIndexByte(s.url, ':')+1:]
	status, _, errOut = p.run(t, "serve", "--data", "other", "--listen", "127.0.0.1:"+port)
	if status != 1 {
		t.Errorf("a second server at a port ends with %d", status)
	}
	contains(t, "the message", errOut, "in use by another program", "--listen")
	if _, err := os.Stat(filepath.Join(p.dir, "other", "banksia.db")); err == nil {
		t.Error("a server that cannot listen makes a database")
	}
}

func TestNewerDatabase(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	p.mustRun(t, "keys", "create", "--name", "x")
	st, err := store.Open(t.Context(), store.Config{Path: p.data("banksia.db")})
	if err != nil {
		t.Fatal(err)
	}
	err = st.ChangeAll(t.Context(), nil, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO schema_migrations (version, name, applied_at) VALUES (9999, 'from the future', 0)`)
		return err
	})
	if err := errors.Join(err, st.Close()); err != nil {
		t.Fatal(err)
	}
	writePhotos(t, filepath.Join(p.dir, "pictures"), 1)
	for _, args := range [][]string{{"serve", "--listen", "127.0.0.1:0"}, {"keys", "list"}, {"import", "pictures"}} {
		status, _, errOut := p.run(t, args...)
		if status != 1 {
			t.Errorf("%q ends with %d", args, status)
		}
		contains(t, "the message", errOut, "newer version of Banksia", "9999", "nothing was changed")
	}
}

func TestUnusableFolder(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	if err := os.WriteFile(filepath.Join(p.dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	status, _, errOut := p.run(t, "serve", "--data", "file/data", "--listen", "127.0.0.1:0")
	if status != 1 {
		t.Errorf("ends with %d", status)
	}
	contains(t, "the message", errOut, "make the data folder", "file")
	err := explainAccess("use the data folder", &fs.PathError{Op: "open", Path: "/srv/photos/lock", Err: syscall.EACCES})
	contains(t, "the message", err.Error(), "use the data folder", "/srv/photos", "must be able to write", "--data")
}

// The settings of a server, as its log shows them.
func TestSettingsPrecedence(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	if err := os.MkdirAll(p.data(), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(p.data("banksia.conf"), "# in the data folder\nBANKSIA_LOG_FORMAT=json\nBANKSIA_LISTEN=127.0.0.1:1\nBANKSIA_API_KEY=of-the-import\n")
	other := filepath.Join(p.dir, "other.conf")
	write(other, "BANKSIA_LOG_FORMAT=text\n")
	logOf := func(args ...string) string {
		t.Helper()
		s := p.serve(t, args...)
		if status := s.end(t, syscall.SIGTERM); status != 0 {
			t.Fatalf("ends with %d: %s", status, s.log)
		}
		return s.log.String()
	}
	contains(t, "with the file of the data folder", logOf(), `"msg":"stopping"`)
	contains(t, "with another file", logOf("--config", other), `msg=stopping`)
	p.env = []string{"BANKSIA_CONFIG=" + other}
	contains(t, "with another file by variable", logOf(), `msg=stopping`)
	p.env = []string{"BANKSIA_LOG_FORMAT=text", "BANKSIA_LISTN=:80"}
	contains(t, "with a variable", logOf(), `msg=stopping`, "BANKSIA_LISTN")
	contains(t, "with a flag", logOf("--log-format=json"), `"msg":"stopping"`)

	for _, row := range []struct {
		env    string
		args   []string
		status int
		want   string
	}{
		{"BANKSIA_WORKERS=0", nil, 2, "BANKSIA_WORKERS cannot be \"0\": must be a whole number from 1 to 1024"},
		{"BANKSIA_LISTEN=8000", nil, 2, "BANKSIA_LISTEN"},
		{"", []string{"--max-pixels", "many"}, 2, "max-pixels"},
		{"", []string{"--no-such"}, 2, "no-such"},
		{"", []string{"extra"}, 2, "unexpected argument"},
		{"", []string{"--config", "absent.conf"}, 2, "absent.conf"},
		{"", []string{"--public-url", "photos.example.org"}, 2, "public-url"},
	} {
		p.env = nil
		if row.env != "" {
			p.env = []string{row.env}
		}
		status, out, errOut := p.run(t, append([]string{"serve"}, row.args...)...)
		if status != row.status || out != "" || !strings.Contains(errOut, row.want) {
			t.Errorf("%s %q ends with %d, prints %q and %q; want %d, %q", row.env, row.args, status, out, errOut, row.status, row.want)
		}
	}
	p.env = nil
	write(p.data("banksia.conf"), "\nBANKSIA_LISTN=:80\n")
	for _, args := range [][]string{{"serve"}, {"keys", "list"}, {"healthcheck"}} {
		status, _, errOut := p.run(t, args...)
		if status != 2 {
			t.Errorf("%q with a misspelt setting ends with %d", args, status)
		}
		contains(t, "the message", errOut, "line 2", "BANKSIA_LISTN", "--help")
	}
}

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	s := p.serve(t)
	address := strings.TrimPrefix(s.url, "http://")
	if out := p.mustRun(t, "healthcheck", "--listen", address); out != "ok\n" {
		t.Errorf("prints %q", out)
	}
	p.mustRun(t, "healthcheck", "--listen", "127.0.0.1:0") // of the data folder
	p.env = []string{"BANKSIA_LISTEN=0.0.0.0" + address[strings.LastIndexByte(address, ':'):], "http_proxy=http://127.0.0.1:1"}
	p.mustRun(t, "healthcheck")
	s.end(t, syscall.SIGTERM)
	if status, out, errOut := p.run(t, "healthcheck"); status != 1 || out != "" || errOut == "" {
		t.Errorf("without a server it ends with %d, prints %q and %q", status, out, errOut)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	whole := p.mustRun(t, "--help")
	for _, c := range commands() {
		contains(t, "the help", whole, c.name, c.summary)
		out := p.mustRun(t, c.name, "--help")
		contains(t, "help of "+c.name, out, "Usage: banksia "+c.name)
		if out != p.mustRun(t, "help", c.name) {
			t.Errorf("help %s is not %s --help", c.name, c.name)
		}
	}
	contains(t, "help of serve", strings.Join(strings.Fields(p.mustRun(t, "serve", "--help")), " "), "--listen ADDRESS", "default 127.0.0.1:8000; BANKSIA_LISTEN", "BANKSIA_DATA", "BANKSIA_MAX_PIXELS", "--listen :8000")
	contains(t, "help of keys create", p.mustRun(t, "keys", "create", "--help"), "--name NAME", "--actions LIST", "--library LIBRARY")
	contains(t, "version", p.mustRun(t, "version"), "banksia "+version, "commit", "go1.", "libvips 8.")
	if p.mustRun(t, "--version") != p.mustRun(t, "version") {
		t.Error("--version is not version")
	}
	for _, args := range [][]string{nil, {"fly"}, {"version", "x"}, {"import"}, {"import", "--no-such"}} {
		if status, out, errOut := p.run(t, args...); status != 2 || out != "" || errOut == "" {
			t.Errorf("banksia %q ends with %d, prints %q and %q", args, status, out, errOut)
		}
	}
	if entries, err := os.ReadDir(p.dir); err != nil || len(entries) > 0 {
		t.Errorf("asking for help makes %v, %v", entries, err)
	}
}

// A program that has the lock and has not announced itself is waited for.
func TestLockOrFind(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "data")
	lock, _, err := lockOrFind(t.Context(), folder)
	if err != nil || lock == nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := lockOrFind(cancelled, folder); !errors.Is(err, errInUse) {
		t.Errorf("a locked folder: %v", err)
	}
	found := make(chan announcement, 1)
	go func() {
		_, running, err := lockOrFind(t.Context(), folder)
		if err != nil {
			t.Error(err)
		}
		found <- running
	}()
	want := announcement{Command: "serve", Version: version, PID: os.Getpid(), URL: "http://127.0.0.1:1", Credential: "secret"}
	if err := announce(folder, want); err != nil {
		t.Fatal(err)
	}
	if got := <-found; got != want {
		t.Errorf("found %+v", got)
	}
	// Beside an import nothing else runs, but the folder is not lost to it.
	want.Command, want.URL, want.Credential = "import", "", ""
	if err := announce(folder, want); err != nil {
		t.Fatal(err)
	}
	if _, _, _, _, err := openLocal(t.Context(), folder, ""); !errors.Is(err, errInUse) || !strings.Contains(err.Error(), "banksia import") {
		t.Errorf("an import beside an import: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if lock, _, err = lockOrFind(t.Context(), folder); err != nil || lock == nil {
		t.Errorf("the stale announcement is believed: %v", err)
	}
	lock.Close()
	if n := files(t, folder); n != 2 {
		t.Errorf("the folder holds %d files, want lock and server.json", n)
	}
}
