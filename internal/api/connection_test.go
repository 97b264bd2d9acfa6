package api_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/banksia-photos/banksia/internal/api"
	"github.com/banksia-photos/banksia/internal/banksiatest"
)

// connection is a client that says exactly what a test wants.
type connection struct {
	net.Conn
	reader *bufio.Reader
}

func dial(t *testing.T, s *banksiatest.Server) *connection {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &connection{conn, bufio.NewReader(conn)}
}

func (c *connection) say(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func (c *connection) answer(t *testing.T) (status int, body string) {
	t.Helper()
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// A server that is told to stop in the middle of an upload must not end it with an
// empty 200, which clients take for a duplicate (behaviour 6.4).
func TestStoppingIsNoSuccess(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	running, stop := context.WithCancel(t.Context())
	defer stop()
	server := httptest.NewUnstartedServer(s.Handler)
	server.Config.BaseContext = func(net.Listener) context.Context { return running }
	server.Start()
	defer server.Close()
	body, contentType := banksiatest.UploadBody(t, banksiatest.UploadParts("a.jpg", banksiatest.JPEG(t, 300, 300, 1)))
	sent, sending := io.Pipe()
	request, err := http.NewRequest("POST", server.URL+"/api/assets", sent)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+s.Key)
	request.Header.Set("Content-Type", contentType)
	go func() {
		sending.Write(body[:len(body)/2])
		stop()
		sending.Write(body[len(body)/2:])
		sending.Close()
	}()
	response, err := http.DefaultClient.Do(request)
	if err == nil {
		defer response.Body.Close()
		t.Errorf("answered %s", response.Status)
	}
	if p := list(t, s); len(p.Data) != 0 {
		t.Errorf("%d assets", len(p.Data))
	}
}

// A client that sends nothing more is cut off, and nothing of its upload stays
// (behaviour 6.12).
func TestPatienceWithSenders(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServerWith(t, banksiatest.Config{API: api.Config{Patience: 50 * time.Millisecond}})
	body, contentType := banksiatest.UploadBody(t, banksiatest.UploadParts("a.jpg", banksiatest.JPEG(t, 300, 300, 1)))
	for name, rest := range map[string]string{
		"in the file":   fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body[:len(body)/2]),
		"before it":     fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)),
		"in a chunk":    "Transfer-Encoding: chunked\r\n\r\nff\r\nabc",
		"unread answer": "Transfer-Encoding: chunked\r\nAuthorization: none\r\n\r\nff\r\nabc",
	} {
		c := dial(t, s)
		c.say(t, "POST /api/assets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+s.Key+"\r\nContent-Type: "+contentType+"\r\n"+rest)
		text, err := io.ReadAll(c.reader) // ends when the server closes
		if err != nil || strings.Contains(string(text), " 20") {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	entries, err := os.ReadDir(s.Blobs.TempDir())
	if err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// A client that takes nothing more is cut off.
func TestPatienceWithReaders(t *testing.T) {
	t.Parallel()
	// Enough for the upload below on a busy machine.
	s := banksiatest.NewServerWith(t, banksiatest.Config{API: api.Config{Patience: time.Second}})
	const size = 32 << 20 // more than two sockets hold
	a := upload(t, s, "a.mkv", append([]byte("\x1a\x45\xdf\xa3"), make([]byte, size)...))
	c := dial(t, s)
	c.say(t, "GET "+strings.TrimPrefix(a.AssetURLs["original"].URL, s.URL)+" HTTP/1.1\r\nHost: x\r\n\r\n")
	s.Logged(t, "path=/media/") // so it is over
	c.SetReadDeadline(time.Now().Add(time.Minute))
	text, err := io.ReadAll(c.reader)
	if err == nil && len(text) >= size || os.IsTimeout(err) {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

// Refused bodies are read to their end, so that clients that first send everything
// see the answer, and the connection stays usable.
func TestRefusedBodies(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	body := strings.Repeat("x", 4<<20)
	c := dial(t, s)
	for _, test := range []struct {
		start  string
		status int
	}{
		{"POST /api/nonsense HTTP/1.1\r\n", 404},
		{"PUT /api/assets HTTP/1.1\r\n", 405},
		{"POST /api/assets HTTP/1.1\r\n", 401},
		{"POST /api/assets HTTP/1.1\r\nContent-Type: text/plain\r\nAuthorization: Bearer " + s.Key + "\r\n", 422},
		{"POST /api/assets HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=x\r\nAuthorization: Bearer " + s.Key + "\r\n", 422},
	} {
		c.say(t, test.start+fmt.Sprintf("Host: x\r\nContent-Length: %d\r\n\r\n", len(body))+body)
		if status, text := c.answer(t); status != test.status {
			t.Errorf("%s: %d %s", test.start, status, text)
		}
	}
	// Whoever asks before sending is told at once.
	c.say(t, "POST /api/assets HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000000000\r\n\r\n")
	if status, text := c.answer(t); status != http.StatusUnauthorized {
		t.Errorf("%d %s", status, text)
	}
}

// A body that is not even HTTP has an answer that is not a success.
func TestMalformedChunks(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	for _, start := range []string{"POST /api/assets/exist HTTP/1.1\r\n", "POST /api/assets HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"} {
		c := dial(t, s)
		c.say(t, start+"Host: x\r\nAuthorization: Bearer "+s.Key+"\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
		if status, text := c.answer(t); status != http.StatusUnprocessableEntity || !strings.Contains(text, `"detail":`) {
			t.Errorf("%s: %d %s", start, status, text)
		}
	}
}

// Whatever breaks inside, the client gets the envelope and no internals, and the
// log gets the rest; half an answer is cut off.
func TestInternalErrors(t *testing.T) {
	t.Parallel()
	pages := http.NewServeMux()
	pages.HandleFunc("GET /panic", func(http.ResponseWriter, *http.Request) { panic("a secret") })
	pages.HandleFunc("GET /late", func(w http.ResponseWriter, r *http.Request) {
		w.Write(bytes.Repeat([]byte("x"), 10000))
		panic("another secret")
	})
	s := banksiatest.NewServerWith(t, banksiatest.Config{API: api.Config{Pages: pages}})
	check := func(path, secret string) {
		t.Helper()
		answer := s.Call(t, "GET", path, nil)
		var body struct{ Detail, Error, Message string }
		answer.JSON(t, &body)
		if answer.Status != http.StatusInternalServerError || body.Error != "internal_error" || strings.Contains(string(answer.Body), secret) {
			t.Errorf("%s: %d %s", path, answer.Status, answer.Body)
		}
		if log := s.Log.String(); !strings.Contains(log, secret) || !strings.Contains(log, "request_id="+answer.Header.Get("X-Request-Id")) {
			t.Errorf("the log does not help: %s", log)
		}
	}
	check("/panic", "a secret")
	response, err := http.Get(s.URL + "/late")
	if err == nil {
		defer response.Body.Close()
		_, err = io.ReadAll(response.Body)
	}
	if err == nil {
		t.Error("half an answer looks like a whole one")
	}
	if answer := s.Call(t, "POST", "/panic", nil); answer.Status != http.StatusMethodNotAllowed || answer.Header.Get("Allow") == "" {
		t.Errorf("%d %v", answer.Status, answer.Header)
	}
	s.CloseStore()
	check("/api/users/me", "database is closed")
}
