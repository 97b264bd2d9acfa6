package web_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// browser is a page in a headless Chromium, driven through its DevTools protocol:
// JSON messages, each ended by a zero byte, over a pair of pipes.
type browser struct {
	t       *testing.T
	in      io.Writer
	session string
	ended   chan struct{} // closed when Chromium has hung up

	mu      sync.Mutex
	last    int
	waiting map[int]chan message
}

type message struct {
	ID        int                       `json:"id,omitempty"`
	SessionID string                    `json:"sessionId,omitempty"`
	Method    string                    `json:"method,omitempty"`
	Params    any                       `json:"params,omitempty"`
	Result    json.RawMessage           `json:"result,omitempty"`
	Error     *struct{ Message string } `json:"error,omitempty"`
}

// openBrowser starts Chromium with an empty page of a width and height in pixels.
// The test ends it.
func openBrowser(t *testing.T, width, height int) *browser {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--user-data-dir="+t.TempDir(), fmt.Sprintf("--window-size=%d,%d", width, height), "--remote-debugging-pipe", "about:blank")
	fromTest, toChromium, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromChromium, toTest, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd.Stderr = &log
	cmd.ExtraFiles = []*os.File{fromTest, toTest} // its file descriptors 3 and 4
	if err := cmd.Start(); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	fromTest.Close()
	toTest.Close()
	b := &browser{t: t, in: toChromium, ended: make(chan struct{}), waiting: map[int]chan message{}}
	go b.read(fromChromium)
	t.Cleanup(func() {
		b.session = ""
		b.call("Browser.close", nil, nil)
		toChromium.Close()
		<-b.ended
		cancel()
		_ = cmd.Wait() // ends by a signal or not: it was asked to
		if t.Failed() {
			t.Logf("chromium said: %s", log.String())
		}
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	b.call("Page.enable", nil, nil)
	return b
}

func (b *browser) read(from io.ReadCloser) {
	defer close(b.ended)
	defer from.Close()
	decoder := json.NewDecoder(zeroToSpace{from})
	for {
		var m message
		if decoder.Decode(&m) != nil {
			return
		}
		b.mu.Lock()
		waiting := b.waiting[m.ID]
		delete(b.waiting, m.ID)
		b.mu.Unlock()
		if waiting != nil {
			waiting <- m
		}
	}
}

// zeroToSpace makes the protocol a stream of JSON values.
type zeroToSpace struct{ io.Reader }

func (z zeroToSpace) Read(p []byte) (int, error) {
	n, err := z.Reader.Read(p)
	for i := range p[:n] {
		if p[i] == 0 {
			p[i] = ' '
		}
	}
	return n, err
}

// call sends a command and waits for its result.
func (b *browser) call(method string, params, result any) {
	b.t.Helper()
	b.mu.Lock()
	b.last++
	answer := make(chan message, 1)
	b.waiting[b.last] = answer
	text, err := json.Marshal(message{ID: b.last, SessionID: b.session, Method: method, Params: params})
	if err == nil {
		_, err = b.in.Write(append(text, 0))
	}
	b.mu.Unlock()
	if err != nil {
		b.t.Errorf("%s: %v", method, err)
		return
	}
	select {
	case m := <-answer:
		if m.Error != nil {
			b.t.Fatalf("%s: %s", method, m.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(m.Result, result); err != nil {
				b.t.Fatalf("%s: %v", method, err)
			}
		}
	case <-b.ended:
		if method != "Browser.close" {
			b.t.Fatalf("%s: chromium ended", method)
		}
	}
}

// run is a subtest on the page as it is.
func (b *browser) run(name string, test func(t *testing.T)) {
	parent := b.t
	defer func() { b.t = parent }()
	parent.Run(name, func(t *testing.T) {
		b.t = t
		test(t)
	})
}

func (b *browser) open(url string) {
	b.t.Helper()
	b.call("Page.navigate", map[string]any{"url": url}, nil)
}

// eval runs an expression in the page, awaits it if it is a promise, and decodes
// its value.
func (b *browser) eval(expression string, value any) {
	b.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct{ Exception struct{ Description string } }
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &answer)
	if answer.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, answer.ExceptionDetails.Exception.Description)
	}
	if value != nil {
		if err := json.Unmarshal(answer.Result.Value, value); err != nil {
			b.t.Fatalf("%s: %v in %q", expression, err, answer.Result.Value)
		}
	}
}

// until waits for an expression to become true.
func (b *browser) until(expression string) {
	b.t.Helper()
	const patience = 30 * time.Second // a busy machine; it costs nothing when the page is quick
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var is bool
		b.eval("Boolean("+expression+")", &is)
		if is {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			var text string
			b.eval("document.body.innerText", &text)
			b.t.Fatalf("%s did not become true; the page says: %.2000s", expression, text)
		}
	}
}

// screenshot returns the page as PNG.
func (b *browser) screenshot() []byte {
	b.t.Helper()
	var answer struct{ Data string }
	b.call("Page.captureScreenshot", nil, &answer)
	picture, err := base64.StdEncoding.DecodeString(answer.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	return picture
}
