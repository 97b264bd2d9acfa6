package importer

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTakeoutSidecar(t *testing.T) {
	long := strings.Repeat("x", 36) + "_DSCN0091" // 45 characters
	for _, row := range []struct{ name, want string }{
		{"IMG.jpg", "IMG.jpg.json"},
		{"IMG.jpg", "IMG.jpg.supplemental-metadata.json"},
		{"IMG.jpg", "IMG.jpg.supplemental-meta.json"},
		{"IMG.jpg", "IMG.jpg.s.json"},
		{"IMG.jpg", "IMG.jpg..json"},
		{"IMG(1).jpg", "IMG.jpg(1).json"},
		{"IMG(1).jpg", "IMG(1).jpg.json"},
		{"IMG(12).jpg", "IMG.jpg.supplemental-metadata(12).json"},
		{"IMG-edited.jpg", "IMG.jpg.json"},
		{"IMG-edited.jpg", "IMG.jpg.supplemental-metadata.json"},
		{"IMG-edited(2).jpg", "IMG.jpg(2).json"},
		{"IMG-bearbeitet.jpg", "IMG.jpg.json"},
		{long + ".JPG", long + "..json"},                                               // 46 characters before .json
		{long + ".JPG", long + ".json"},                                                // never that short
		{long + "12.JPG", long + "1.json"},                                             // the photo's name at its limit of 47
		{strings.Repeat("y", 42) + "-edit.jpg", strings.Repeat("y", 42) + ".jpg.json"}, // the mark is cut as well
		{"20200101_a.jpg.jpg", "20200101_a.jpg.jpg.supplemental-metadata.json"},
		{"PXL_1.MP4", "PXL_1.HEIC.supplemental-metadata.json"}, // the clip of a live photo
		{"ÄÖÜ" + strings.Repeat("é", 40) + ".jpg", "ÄÖÜ" + strings.Repeat("é", 40) + ".jp.json"},
	} {
		got := takeoutSidecar(func(name string) bool { return name == row.want }, row.name)
		if row.want == long+".json" {
			if got != "" {
				t.Errorf("%s goes with %s", row.name, got)
			}
		} else if got != row.want {
			t.Errorf("%s goes with %q, want %q", row.name, got, row.want)
		}
	}
	for _, row := range []struct{ name, other string }{
		{"IMG(1).jpg", "IMG.jpg.json"}, // belongs to IMG.jpg
		{"IMG.jpg", "IMG.jpg(1).json"},
		{"IMG.jpg", "IMG.png.json"},
		{"IMG.jpg", "metadata.json"},
		{"IMG_1.jpg", "IMG.jpg.json"},
		{"IMG.jpg", "IMG.jpg.supplemental-metadatax.json"},
		{"edited.jpg", ".jpg.json"},
	} {
		if got := takeoutSidecar(func(name string) bool { return name == row.other }, row.name); got != "" {
			t.Errorf("%s is taken for the sidecar of %s", got, row.name)
		}
	}
	// With both present each takes its own.
	both := []string{"IMG.jpg(1).json", "IMG.jpg.json"}
	for name, want := range map[string]string{"IMG.jpg": both[1], "IMG(1).jpg": both[0]} {
		if got := takeoutSidecar(func(name string) bool { return slices.Contains(both, name) }, name); got != want {
			t.Errorf("%s goes with %q, want %q", name, got, want)
		}
	}
}

func TestReadTakeout(t *testing.T) {
	zone := time.FixedZone("", 3600)
	for _, row := range []struct{ text, want string }{
		{`{"title":"a.jpg","description":"Sea & sky","photoTakenTime":{"timestamp":"1588327200","formatted":"x"},
			"geoData":{"latitude":48.5,"longitude":-2.25,"altitude":3},"people":[{"name":"Ada"},{"name":""}]}`,
			"a.jpg Sea & sky 48.5 -2.25 2020-05-01T11:00:00+01:00 [Ada]"},
		{`{"photoTakenTime":{"timestamp":-1588327200},"geoData":{"latitude":0,"longitude":0},"geoDataExif":{"latitude":1,"longitude":2}}`,
			" - 1 2 1919-09-02T15:00:00+01:00 []"},
		{`{"photoTakenTime":{"timestamp":"0"},"geoData":{"latitude":91,"longitude":0}}`, " - - - - []"},
		{`{"photoTakenTime":{"timestamp":"99999999999999999999"}}`, " - - - - []"},
		{`{"photoTakenTime":{"timestamp":"999999999999999"}}`, " - - - - []"},
		{`{"photoTakenTime":null,"geoData":null,"people":null}`, " - - - - []"},
	} {
		about, err := readTakeout(strings.NewReader(row.text), zone)
		text := func(v any, ok bool) string {
			if !ok {
				return "-"
			}
			return fmt.Sprint(v)
		}
		got := about.title + " "
		if about.description != nil {
			got += *about.description
		} else {
			got += "-"
		}
		if about.latitude != nil {
			got += fmt.Sprint(" ", *about.latitude, " ", *about.longitude)
		} else {
			got += " - -"
		}
		got += " " + text(about.original, about.original != nil) + " " + fmt.Sprint(about.people)
		if err != nil || got != row.want {
			t.Errorf("%s is read as %q, %v; want %q", row.text, got, err, row.want)
		}
	}
	for _, text := range []string{"", "[]", "{", `{"geoData":{"latitude":"x"}}`, "\xff\xd8"} {
		if about, err := readTakeout(strings.NewReader(text), zone); err == nil {
			t.Errorf("%q is read as %+v", text, about)
		}
	}
}

func FuzzReadTakeout(f *testing.F) {
	f.Add(`{"title":"a.jpg","photoTakenTime":{"timestamp":"1588327200"},"geoData":{"latitude":48.5,"longitude":-2.25}}`)
	f.Add(`{"photoTakenTime":{"timestamp":-62135596801}}`)
	f.Fuzz(func(t *testing.T, text string) {
		about, err := readTakeout(strings.NewReader(text), time.UTC)
		if err != nil {
			return
		}
		if about.latitude != nil && (math.Abs(*about.latitude) > 90 || math.Abs(*about.longitude) > 180) {
			t.Errorf("the place is %f, %f", *about.latitude, *about.longitude)
		}
		it := &item{name: "x.jpg", modified: time.Unix(0, 0)}
		if name := it.uploadName(about.title); name == "" || strings.ContainsAny(name, "/\\\x00\n") {
			t.Errorf("the title %q makes the name %q", about.title, name)
		}
		it.times(about, time.UTC)
	})
}

func sidecarJSON(title, description string, timestamp int64, latitude, longitude float64) string {
	return fmt.Sprintf(`{"title":%q,"description":%q,"photoTakenTime":{"timestamp":"%d"},"geoData":{"latitude":%g,"longitude":%g},"people":[{"name":"Ada"}]}`,
		title, description, timestamp, latitude, longitude)
}

// TestTakeout imports one Takeout that is spread over two archives, with sidecars
// in the other archive than their photos.
func TestTakeout(t *testing.T) {
	s := newContractServer(t)
	described, dated := "from the file", "2001-01-01T00:00:00"
	place := 10.0
	s.extracted["full.jpg"] = assetMetadata{Description: &described, OriginalDateTime: &dated, Latitude: &place, Longitude: &place}
	dir := t.TempDir()
	const year = "Takeout/Google Photos/Photos from 2020/"
	one := writeZip(t, filepath.Join(dir, "takeout-20240101T000000Z-001.zip"),
		zipEntry{name: year + "plain.jpg", content: "plain"},
		zipEntry{name: year + "plain-edited.jpg", content: "edited"},
		zipEntry{name: year + "plain(1).jpg", content: "numbered"},
		zipEntry{name: year + "full.jpg", content: "full"},
		zipEntry{name: year + "full.jpg.json", content: sidecarJSON("full.jpg", "other", 1588327200, 1, 2)},
		zipEntry{name: year + "broken.jpg", content: "broken"},
		zipEntry{name: year + "broken.jpg.json", content: "{"},
		zipEntry{name: year + "clip.mp4", content: "clip"},
		zipEntry{name: year + "clip.mp4.json", content: sidecarJSON("clip.mp4", "Clip", 1588327200, 0, 0)},
		zipEntry{name: "Takeout/archive_browser.html", content: "<html>"},
		zipEntry{name: "Takeout/Google Photos/Trip/plain.jpg", content: "plain"},
		zipEntry{name: "Takeout/Google Photos/Trip/metadata.json", content: `{"title":"Our trip"}`},
	)
	two := writeZip(t, filepath.Join(dir, "takeout-20240101T000000Z-002.zip"),
		zipEntry{name: year + "plain.jpg.supplemental-metadata.json", content: sidecarJSON("plain.jpg", "Sea", 1588327200, 48.5, -2.25)},
		zipEntry{name: year + "plain.jpg.supplemental-metadata(1).json", content: sidecarJSON("plain.jpg", "Other sea", 1588330800, 0, 0)},
		zipEntry{name: year + strings.Repeat("n", 47) + ".jpg", content: "long"},
		zipEntry{name: year + strings.Repeat("n", 46) + ".json", content: sidecarJSON(strings.Repeat("n", 60)+".jpg", "", 1588327200, 0, 0)},
	)
	state := t.TempDir()
	r := newRun(t, s, state, one, two)
	r.opts.AlbumPerFolder = true
	summary := r.mustDo(t)
	if got := countsOf(summary); got != (counts{imported: 7, duplicates: 1, unsupported: 1}) {
		t.Errorf("the counts are %+v\n%s", got, r.out.String())
	}
	if summary.SidecarsApplied != 5 || summary.SidecarsNotApplied != 1 || !strings.Contains(summary.SidecarNote, "broken.jpg.json") {
		t.Errorf("%d sidecars were applied and %d not: %s", summary.SidecarsApplied, summary.SidecarsNotApplied, summary.SidecarNote)
	}
	for content, want := range map[string]string{
		"plain":    "plain.jpg Sea 48.5 -2.25 2020-05-01T12:00:00+02:00",
		"edited":   "plain-edited.jpg Sea 48.5 -2.25 2020-05-01T12:00:00+02:00",
		"numbered": "plain.jpg Other sea - - 2020-05-01T13:00:00+02:00",
		"full":     "full.jpg from the file 10 10 2001-01-01T00:00:00",
		"clip":     "clip.mp4 Clip - - -",
		"long":     strings.Repeat("n", 60) + ".jpg - - - 2020-05-01T12:00:00+02:00",
		"broken":   "broken.jpg - - - -",
	} {
		a := s.asset(content)
		if got := a.Name + describe(a.Metadata); got != want {
			t.Errorf("%s became %q, want %q", content, got, want)
		}
		if content == "clip" && a.Created != "2020-05-01T12:00:00+02:00" {
			t.Errorf("the clip was made at %s", a.Created)
		}
	}
	if len(s.albums) != 1 || s.albums[0].Name != "Our trip" || !slices.Equal(s.albums[0].assets, []string{s.asset("plain").ID}) {
		t.Errorf("the albums are %+v", s.albums)
	}

	// What a user changes afterwards stays; only the broken sidecar is tried again.
	s.asset("plain").Metadata.Description = nil
	again := newRun(t, s, state, one, two)
	if got := again.mustDo(t); countsOf(got) != (counts{duplicates: 8, recalled: 8, unsupported: 1}) || got.SidecarsApplied != 0 || got.SidecarsNotApplied != 1 {
		t.Errorf("the second run counts %+v", got)
	}
}

func describe(m assetMetadata) string {
	text := " -"
	if m.Description != nil {
		text = " " + *m.Description
	}
	if m.Latitude != nil {
		text += fmt.Sprint(" ", *m.Latitude, " ", *m.Longitude)
	} else {
		text += " - -"
	}
	if m.OriginalDateTime != nil {
		return text + " " + *m.OriginalDateTime
	}
	return text + " -"
}
