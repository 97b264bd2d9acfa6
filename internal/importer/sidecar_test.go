package importer

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func xmp(description, created, latitude, longitude string) string {
	return `<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 exif:DateTimeOriginal="` + created + `" exif:GPSLatitude="` + latitude + `" exif:GPSLongitude="` + longitude + `">
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">` + description + `</rdf:li></rdf:Alt></dc:description>
</rdf:Description></rdf:RDF></x:xmpmeta>`
}

func TestXMPSidecars(t *testing.T) {
	s := newContractServer(t)
	root := tree(t, map[string]string{
		"a.jpg":     "a",
		"a.xmp":     xmp("by stem", "2019-01-01T10:00:00", "1,0N", "2,0E"),
		"a.jpg.xmp": xmp("by name", "2018-01-01T10:00:00", "48,30N", "2,15W"),
		"b.NEF":     "b",
		"b.xmp":     xmp("raw", "2018-06-01T10:00:00+09:00", "48,30N", "2,15W"),
		"c.jpg":     "c",
		"c.jpg.xmp": "no XML",
	})
	state := t.TempDir()
	summary := newRun(t, s, state, root).mustDo(t)
	if got := countsOf(summary); got != (counts{imported: 3}) || summary.SidecarsApplied != 2 || summary.SidecarsNotApplied != 1 {
		t.Errorf("the summary is %+v", summary)
	}
	if a := s.asset("a"); describe(a.Metadata) != " by name 48.5 -2.25 2018-01-01T10:00:00" || a.Created != "2018-01-01T10:00:00+02:00" {
		t.Errorf("a has%s, made at %s", describe(a.Metadata), a.Created)
	}
	if b := s.asset("b"); describe(b.Metadata) != " raw 48.5 -2.25 2018-06-01T10:00:00+09:00" || b.Created != "2018-06-01T10:00:00+09:00" {
		t.Errorf("b has%s, made at %s", describe(b.Metadata), b.Created)
	}

	// A sidecar that comes later is applied without reading the photo again.
	if err := os.WriteFile(filepath.Join(root, "c.jpg.xmp"), []byte(xmp("mended", "2017-01-01T00:00:00", "1,0N", "2,0E")), 0o644); err != nil {
		t.Fatal(err)
	}
	second := newRun(t, s, state, root)
	if got := second.mustDo(t); got.SidecarsApplied != 1 || got.Recalled != 3 || len(second.opened) != 0 {
		t.Errorf("the second run counts %+v and opens %v", got, second.opened)
	}
	if c := s.asset("c"); describe(c.Metadata) != " mended 1 2 2017-01-01T00:00:00" {
		t.Errorf("c has%s", describe(c.Metadata))
	}
}

func TestServerWithoutPatch(t *testing.T) {
	s := newContractServer(t)
	s.noPatch = true
	root := tree(t, map[string]string{"a.jpg": "a", "a.jpg.json": sidecarJSON("a.jpg", "Sea", 1588327200, 1, 2)})
	state := t.TempDir()
	r := newRun(t, s, state, root)
	summary := r.mustDo(t)
	if summary.Imported != 1 || summary.Failed != 0 || summary.SidecarsNotApplied != 1 || !strings.Contains(r.out.String(), "sidecars not applied") {
		t.Errorf("the summary is %+v", summary)
	}
	if a := s.asset("a"); a.Created != "2020-05-01T12:00:00+02:00" {
		t.Errorf("the upload was made at %s", a.Created)
	}
	// A newer server gets the facts from the next run.
	s.noPatch = false
	if summary := newRun(t, s, state, root).mustDo(t); summary.SidecarsApplied != 1 || describe(s.asset("a").Metadata) != " Sea 1 2 2020-05-01T12:00:00+02:00" {
		t.Errorf("the next run counts %+v, a has%s", summary, describe(s.asset("a").Metadata))
	}
}

// TestInterruptedBeforeSidecar stops between the upload and its sidecar: the next
// run finds the file there and completes it.
func TestInterruptedBeforeSidecar(t *testing.T) {
	s := newContractServer(t)
	root := tree(t, map[string]string{"a.jpg": "a", "a.jpg.json": sidecarJSON("a.jpg", "Sea", 1588327200, 1, 2)})
	ctx, cancel := context.WithCancel(t.Context())
	s.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == "PATCH" {
			cancel()
			panic(http.ErrAbortHandler)
		}
		return false
	}
	state := t.TempDir()
	if _, err := newRun(t, s, state, root).do(t, ctx); err == nil {
		t.Fatal("the first run was not interrupted")
	}
	s.before = nil
	summary := newRun(t, s, state, root).mustDo(t)
	if countsOf(summary) != (counts{duplicates: 1}) || summary.SidecarsApplied != 1 || describe(s.asset("a").Metadata) != " Sea 1 2 2020-05-01T12:00:00+02:00" {
		t.Errorf("the second run counts %+v, a has%s", summary, describe(s.asset("a").Metadata))
	}
}
