package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/banksia-photos/banksia/internal/banksiatest/faultfs"
)

// newDiskPoint is a server on a disk that can be made to fail.
func newDiskPoint(t *testing.T, from *scene) *point {
	t.Helper()
	at := t.TempDir()
	disk, err := faultfs.Mount(at, from.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := disk.Close(); err != nil {
			t.Error(err)
		}
	})
	p := &point{workspace: &workspace{dir: at, cache: filepath.Join(at, "cache")}, disk: disk, scene: *from}
	p.scene.facts, p.scene.ids = maps.Clone(from.facts), maps.Clone(from.ids)
	return p
}

// refusal is an answer to a request of which a broken disk may be the reason.
type refusal struct {
	what   string
	status int
	header http.Header
	body   string
}

// ask sends a request and keeps its answer.
func (p *point) ask(t *testing.T, method, path, contentType string, body io.Reader) refusal {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, p.server.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+p.scene.key)
	request.Header.Set("Content-Type", contentType)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", method, path, err, p.server.log)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return refusal{method + " " + path, response.StatusCode, response.Header, string(answer)}
}

func (p *point) askJSON(t *testing.T, method, path string, body any) refusal {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return p.ask(t, method, path, "application/json", bytes.NewReader(text))
}

// sendPhoto uploads, and notes what must be there when that is acknowledged.
func (p *point) sendPhoto(t *testing.T, number int) refusal {
	t.Helper()
	content := photo(number, 80, 60)
	contentType, head, tail := form(t, fmt.Sprintf("%d.jpg", number))
	r := p.ask(t, "POST", "/api/assets", contentType, bytes.NewReader(slices.Concat(head, content, tail)))
	if r.status/100 == 2 {
		p.scene.added(sumOf(content), "", true)
	}
	return r
}

// change asks for changes of every kind of row, and notes those that were made.
func (p *point) changes(t *testing.T, round string) (answers []refusal) {
	t.Helper()
	sums := p.scene.sums
	ask := func(method, path string, body any, fact, value string) {
		r := p.askJSON(t, method, path, body)
		if r.status/100 == 2 && fact != "" {
			p.scene.facts.set(fact, value, true)
		}
		answers = append(answers, r)
	}
	asset := func(n int) string { return p.scene.ids[sums[n]] }
	ask("PATCH", "/api/assets/"+asset(0), map[string]any{"description": round}, photoFact(sums[0], "description"), round)
	ask("POST", "/api/albums", map[string]any{"name": round}, albumFact(round), "there")
	ask("POST", "/api/assets/trash", map[string]any{"ids": []string{asset(2)}}, photoFact(sums[2], "state"), "trashed")
	ask("POST", "/api/assets/restore", map[string]any{"ids": []string{asset(6)}}, photoFact(sums[6], "state"), "live")
	ask("POST", "/api/people", map[string]any{"name": round}, "", "")
	ask("POST", "/api/stacks", map[string]any{"asset_ids": []string{asset(0), asset(1)}}, "", "")
	return answers
}

// reads asks for what needs no change.
func (p *point) reads(t *testing.T) (answers []refusal) {
	t.Helper()
	var list struct{ Data []listedAsset }
	r := p.askJSON(t, "GET", "/api/assets?limit=200&include=variants", nil)
	answers = append(answers, r)
	if r.status == http.StatusOK {
		if err := json.Unmarshal([]byte(r.body), &list); err != nil || len(list.Data) < 6 {
			t.Errorf("a page has %d photos: %v", len(list.Data), err)
		}
	}
	for _, a := range list.Data {
		for _, variant := range []string{"original", "thumbnail"} {
			answers = append(answers, p.ask(t, "GET", strings.TrimPrefix(a.URLs[variant].URL, p.server.url), "", nil))
		}
	}
	return append(answers, p.askJSON(t, "GET", "/api/albums", nil), p.askJSON(t, "GET", "/api/search?query=sea", nil), p.askJSON(t, "GET", "/api/events?limit=5", nil))
}

// polite fails the test for answers other than the wanted ones, and for those that do
// not tell clients what to do.
func polite(t *testing.T, during string, answers []refusal, wanted ...int) {
	t.Helper()
	for _, r := range answers {
		if !slices.Contains(wanted, r.status) {
			t.Errorf("%s: %s answers %d %s, want one of %v", during, r.what, r.status, r.body, wanted)
		}
		if r.status >= 500 && r.header.Get("Retry-After") == "" {
			t.Errorf("%s: %s answers %d without Retry-After", during, r.what, r.status)
		}
		// The SDKs would repeat at once what cannot be stored for a while (behaviour 2.13).
		if final := r.header.Get("X-Should-Retry") == "false"; r.status >= 500 && final != (r.status == http.StatusInsufficientStorage) {
			t.Errorf("%s: %s answers %d with X-Should-Retry %q", during, r.what, r.status, r.header.Get("X-Should-Retry"))
		}
	}
}

// The disk is full, read-only or broken, wholly or in part, while the server runs.
// Reading goes on, changes are refused in a way that clients understand, and once the
// disk is well again everything works, with no restart and nothing lost.
func TestBrokenDisk(t *testing.T) {
	t.Parallel()
	full := fullScene(t)
	const ok, created, badGateway, noRoom, unready = http.StatusOK, http.StatusCreated, http.StatusBadGateway, http.StatusInsufficientStorage, http.StatusServiceUnavailable
	changed := []int{ok, created}
	for _, test := range []struct {
		name    string
		trouble faultfs.Trouble
		under   []string
		upload  []int
		changes []int
		reads   []int
		ready   int
	}{
		{"full", faultfs.Full, nil, []int{noRoom}, []int{noRoom}, []int{ok}, ok},
		{"full for blobs", faultfs.Full, []string{"data/blobs"}, []int{noRoom}, changed, []int{ok}, ok},
		{"full for the database", faultfs.Full, []string{"data/banksia.db"}, []int{noRoom}, []int{noRoom}, []int{ok}, ok},
		{"read-only", faultfs.ReadOnly, nil, []int{badGateway}, []int{badGateway}, []int{ok}, unready},
		{"read-only for blobs", faultfs.ReadOnly, []string{"data/blobs"}, []int{badGateway}, changed, []int{ok}, unready},
		{"read-only for the database", faultfs.ReadOnly, []string{"data/banksia.db"}, []int{badGateway}, []int{badGateway}, []int{ok}, ok},
		{"no writes", faultfs.FailWrites, nil, []int{badGateway}, []int{badGateway}, []int{ok}, ok},
		{"no writes of blobs", faultfs.FailWrites, []string{"data/blobs"}, []int{badGateway}, changed, []int{ok}, ok},
		{"no writes of the database", faultfs.FailWrites, []string{"data/banksia.db"}, []int{badGateway}, []int{badGateway}, []int{ok}, ok},
		{"no syncs", faultfs.FailSyncs, nil, []int{badGateway}, []int{badGateway}, []int{ok}, ok},
		{"no syncs of blobs", faultfs.FailSyncs, []string{"data/blobs"}, []int{badGateway}, changed, []int{ok}, ok},
		{"no syncs of the database", faultfs.FailSyncs, []string{"data/banksia.db"}, []int{badGateway}, []int{badGateway}, []int{ok}, ok},
		{"no reads of blobs", faultfs.FailReads, []string{"data/blobs/originals", "data/blobs/derived"}, []int{created, badGateway}, changed, []int{ok, badGateway}, ok},
		{"no reads of the database", faultfs.FailReads, []string{"data/banksia.db"}, []int{created, badGateway}, []int{ok, created, badGateway}, []int{ok, badGateway}, ok},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := newDiskPoint(t, full)
			p.server = p.serve(t, "--workers", "1")
			p.server.idle(t, p.scene.key)
			before := p.reads(t)
			polite(t, "before", before, ok)

			p.disk.Break(test.trouble, test.under...)
			for round := range 2 {
				polite(t, "broken", []refusal{p.sendPhoto(t, 400+round)}, test.upload...)
				polite(t, "broken", p.changes(t, fmt.Sprint("broken ", round)), test.changes...)
				polite(t, "broken", p.reads(t), test.reads...)
			}
			until(t, fmt.Sprintf("/readyz answers %d", test.ready), func() bool { return p.askJSON(t, "GET", "/readyz", nil).status == test.ready })

			p.disk.Mend()
			until(t, "/readyz answers 200", func() bool { return p.askJSON(t, "GET", "/readyz", nil).status == ok })
			for round := range 2 { // those that were refused, and new ones
				polite(t, "mended", []refusal{p.sendPhoto(t, 400+round), p.sendPhoto(t, 410+round)}, changed...)
			}
			polite(t, "mended", p.changes(t, "mended"), changed...)
			polite(t, "mended", p.reads(t), ok)
			p.server.idle(t, p.scene.key)
			p.scene.facts.compare(t, p.server.observe(t, p.scene.key, &score{}))
			if status, out, errOut := p.run(t, "check", "--read-data"); status != 0 {
				t.Errorf("the check ends with %d: %s%s", status, out, errOut)
			}
			if status := p.server.end(t, syscall.SIGTERM); status != 0 || t.Failed() {
				t.Errorf("the server ends with %d: %s", status, p.server.log)
			}
		})
	}
}

// Previews that cannot be drawn or stored wait until the disk is well again. That a
// decoder cannot read a file says nothing about the file then.
func TestTasksOnBrokenDisk(t *testing.T) {
	t.Parallel()
	undrawn := undrawnScene(t, fullScene(t))
	for _, test := range []struct {
		name    string
		trouble faultfs.Trouble
		under   []string
		tried   string // in the log, before the disk is well again
	}{
		{"full", faultfs.Full, nil, "task runner"},
		{"full for blobs", faultfs.Full, []string{"data/blobs"}, "outcome=retry"},
		{"full for the database", faultfs.Full, []string{"data/banksia.db"}, "task runner"},
		{"no writes", faultfs.FailWrites, nil, "task runner"},
		{"no reads of originals", faultfs.FailReads, []string{"data/blobs/originals"}, "outcome=retry attempt=2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := newDiskPoint(t, undrawn)
			p.disk.Break(faultfs.Full, "data/blobs/derived") // nothing is drawn too soon
			p.server = p.serve(t, "--workers", "1")
			p.disk.Break(test.trouble, test.under...)
			if test.trouble == faultfs.Full { // thumbnails are drawn when they are asked for
				polite(t, "full", p.reads(t), http.StatusOK, http.StatusInsufficientStorage)
			}
			until(t, "tasks have tried", func() bool { return strings.Contains(p.server.log.String(), test.tried) })
			p.disk.Mend()
			p.server.idle(t, p.scene.key)
			var failed []struct{}
			if p.server.get(t, "/api/tasks/?status=failure", p.scene.key, &failed); len(failed) > 0 {
				t.Errorf("%d tasks have failed", len(failed))
			}
			p.scene.facts.compare(t, p.server.observe(t, p.scene.key, &score{}))
			if t.Failed() {
				t.Log(p.server.log)
			}
		})
	}
}
