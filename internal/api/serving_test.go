package api_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/banksiatest"
)

// clock is a time that a test moves.
type clock struct{ micros atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.micros.Store(time.Date(2026, 4, 29, 10, 11, 12, 0, time.UTC).UnixMicro())
	return c
}

func (c *clock) now() time.Time          { return time.UnixMicro(c.micros.Load()) }
func (c *clock) advance(d time.Duration) { c.micros.Add(d.Microseconds()) }

// behaviour 7.23 and 21.7: a URL stays the same for days, works for at least 24 h
// after it was given out, and then is 403.
func TestMediaURLsAge(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := banksiatest.NewServerWith(t, banksiatest.Config{Now: clock.now})
	a := upload(t, s, "a.jpg", banksiatest.JPEG(t, 20, 20, 1))
	original := func() string {
		t.Helper()
		return list(t, s, "ids", a.ID).Data[0].AssetURLs["original"].URL
	}
	get := func(target string) int {
		t.Helper()
		return s.CallAs(t, "", "GET", target, nil).Status
	}
	first, changes := original(), 0
	previous := first
	for hour := range 24 * 28 {
		clock.advance(time.Hour)
		if hour%6 != 0 { // to keep the log short
			continue
		}
		now := original()
		if now != previous {
			changes++
			clock.advance(24 * time.Hour) // it may have been given out just before
			if status := get(previous); status != http.StatusOK {
				t.Errorf("hour %d: a URL of yesterday: %d", hour, status)
			}
			clock.advance(-24 * time.Hour)
			previous = now
		}
		if status := get(now); status != http.StatusOK {
			t.Errorf("hour %d: %d", hour, status)
		}
	}
	if changes < 3 || changes > 5 {
		t.Errorf("the URL changed %d times in four weeks", changes)
	}
	if status := get(first); status != http.StatusForbidden {
		t.Errorf("a URL of four weeks ago: %d", status)
	}
}

// Nothing about a signed URL can be changed.
func TestMediaURLsAreSigned(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	a, b := upload(t, s, "a.jpg", banksiatest.JPEG(t, 20, 20, 1)), upload(t, s, "b.jpg", banksiatest.JPEG(t, 20, 20, 2))
	good, other := a.AssetURLs["original"].URL, b.AssetURLs["original"].URL
	version := func(target string) string { return strings.Split(target, "/")[4] }
	u, err := url.Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{
		"another version":    strings.Replace(good, version(good), version(other), 1),
		"another variant":    strings.Replace(good, "/original/", "/preview/", 1),
		"a later expiry":     strings.Replace(good, "expires=", "expires=9", 1),
		"no signature":       good[:strings.Index(good, "&signature=")],
		"no query":           good[:strings.Index(good, "?")],
		"a longer signature": good + "A",
		"signature of b":     good[:strings.Index(good, "&signature=")] + other[strings.Index(other, "&signature="):],
		"huge expiry":        good[:strings.Index(good, "?")] + "?expires=999999999999999999999999&signature=" + u.Query().Get("signature"),
		"empty values":       good[:strings.Index(good, "?")] + "?expires=&signature=",
	} {
		answer := s.CallAs(t, "", "GET", target, nil)
		if answer.Status != http.StatusForbidden || answer.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s", name, answer.Status, answer.Body)
		}
	}
	for name, target := range map[string]string{
		"an ID of another kind": strings.Replace(good, version(good), a.ID, 1),
		"no ID":                 strings.Replace(good, version(good), "x", 1),
	} {
		if answer := s.CallAs(t, "", "GET", target, nil); answer.Status != http.StatusNotFound {
			t.Errorf("%s: %d %s", name, answer.Status, answer.Body)
		}
	}
	if answer := s.CallAs(t, "", "POST", good, nil); answer.Status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", answer.Status)
	}
	id, _ := banksia.ParseID[banksia.AssetID](a.ID)
	if err := s.Catalog.PurgeAssets(t.Context(), s.Scope, s.Library, []banksia.AssetID{id}); err != nil {
		t.Fatal(err)
	}
	if answer := s.CallAs(t, "", "GET", good, nil); answer.Status != http.StatusNotFound {
		t.Errorf("a purged asset: %d", answer.Status)
	}
}

// behaviour 7.24: what HTTP clients of media ask for.
func TestMediaRequests(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	content := banksiatest.JPEG(t, 400, 300, 3)
	a := upload(t, s, "a.jpg", content)
	target := a.AssetURLs["original"].URL
	plain := s.CallAs(t, "", "GET", target, nil)
	for _, test := range []struct {
		method string
		header [2]string
		status int
		body   []byte
	}{
		{"HEAD", [2]string{}, 200, nil},
		{"GET", [2]string{"Range", "bytes=0-"}, 206, content},
		{"GET", [2]string{"Range", "bytes=-10"}, 206, content[len(content)-10:]},
		{"GET", [2]string{"Range", "bytes=5-5"}, 206, content[5:6]},
		{"GET", [2]string{"Range", "bytes=0-0,9-9"}, 206, nil},
		// Each range is a read of the storage and a part of the answer.
		{"GET", [2]string{"Range", "bytes=0-0" + strings.Repeat(",9-9", 50)}, 200, content},
		{"GET", [2]string{"Range", "bytes=9999999-"}, 416, nil},
		{"GET", [2]string{"Range", "nonsense"}, 416, nil},
		{"GET", [2]string{"If-None-Match", plain.Header.Get("ETag")}, 304, nil},
		{"GET", [2]string{"If-None-Match", `"other"`}, 200, content},
		{"GET", [2]string{"If-Modified-Since", plain.Header.Get("Last-Modified")}, 304, nil},
		{"GET", [2]string{"If-Match", `"other"`}, 412, nil},
		{"GET", [2]string{"Authorization", "Bearer nonsense"}, 200, content}, // behaviour 7.23
		{"GET", [2]string{"Origin", "https://example.org"}, 200, content},
	} {
		request, err := http.NewRequest(test.method, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		if test.header[0] != "" {
			request.Header.Set(test.header[0], test.header[1])
		}
		answer := s.Do(t, request)
		if answer.Status != test.status || test.body != nil && !bytes.Equal(answer.Body, test.body) {
			t.Errorf("%s %v: %d with %d bytes", test.method, test.header, answer.Status, len(answer.Body))
		}
		header := answer.Header
		if header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Access-Control-Allow-Origin") != "*" || header.Get("Cross-Origin-Resource-Policy") != "cross-origin" {
			t.Errorf("%s %v: %v", test.method, test.header, header)
		}
		if answer.Status == 416 {
			var body struct{ Detail, Error, Message string }
			answer.JSON(t, &body)
			if body.Detail == "" || header.Get("Content-Range") != fmt.Sprintf("bytes */%d", len(content)) || strings.Contains(header.Get("Cache-Control"), "max-age") || header.Get("Content-Disposition") != "" {
				t.Errorf("%v: %s %v", test.header, answer.Body, header)
			}
		}
	}
}

// behaviour 6.11 and 7.21: what cannot be drawn has no variants, only the original.
func TestUndrawable(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	broken := append([]byte("\xff\xd8\xff\xe0\x00\x10JFIF\x00"), bytes.Repeat([]byte("broken "), 100)...)
	a := upload(t, s, "a.jpg", broken)
	s.Finished(t)
	full := list(t, s, "ids", a.ID).Data[0]
	if len(full.AssetURLs) != 1 || full.Width != 0 {
		t.Errorf("%+v", full)
	}
	if got := s.CallAs(t, "", "GET", full.AssetURLs["original"].URL, nil); !bytes.Equal(got.Body, broken) {
		t.Errorf("%d, %d bytes", got.Status, len(got.Body))
	}
	if got := s.Call(t, "GET", "/api/assets/"+a.ID+"/thumbnail?size=nonsense", nil); got.Status != http.StatusNotFound {
		t.Errorf("%d", got.Status)
	}
	var tasks []struct {
		Status       string
		ErrorMessage *string `json:"error_message"`
	}
	s.Call(t, "GET", "/api/tasks/asset/"+a.ID, nil).JSON(t, &tasks)
	for _, task := range tasks { // behaviour 17.2
		if task.Status != "failure" || task.ErrorMessage == nil || *task.ErrorMessage == "" {
			t.Errorf("%+v", task)
		}
	}
}

// The older byte routes follow the asset, so that caches must ask again.
func TestLegacyRoutes(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	content := banksiatest.JPEG(t, 800, 400, 4)
	a := upload(t, s, "a.jpg", content)
	sizes := map[string]int{}
	for _, path := range []string{"/download", "/thumbnail", "/thumbnail?size=thumbnail", "/thumbnail?size=small", "/thumbnail?size=fullsize", "/thumbnail?size=original", "/thumbnail/?size=x%zz"} {
		answer := s.Call(t, "GET", "/api/assets/"+a.ID+path, nil)
		if answer.Status != http.StatusOK || answer.Header.Get("Content-Type") != "image/jpeg" || answer.Header.Get("Cache-Control") != "private, no-cache" || answer.Header.Get("ETag") == "" {
			t.Errorf("%s: %d %v", path, answer.Status, answer.Header)
		}
		sizes[path] = len(answer.Body)
		if none := s.CallAs(t, "", "GET", "/api/assets/"+a.ID+path, nil); none.Status != http.StatusUnauthorized {
			t.Errorf("%s without a key: %d", path, none.Status)
		}
	}
	if sizes["/download"] != len(content) || sizes["/thumbnail"] != sizes["/thumbnail?size=original"] || sizes["/thumbnail"] != sizes["/thumbnail/?size=x%zz"] || sizes["/thumbnail"] >= sizes["/thumbnail?size=small"] {
		t.Errorf("%v", sizes)
	}
	if answer := s.Call(t, "GET", "/api/assets/asset_BM3nUmJ6fkBqBADyz5FEiu/download", nil); answer.Status != http.StatusNotFound {
		t.Errorf("%d", answer.Status)
	}
}
