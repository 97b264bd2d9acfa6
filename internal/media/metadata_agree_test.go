package media

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/banksia-photos/banksia"
)

// difference is why Banksia and exiftool justly differ, and in which fields of
// which files of which corpus.
type difference struct {
	corpus, reason string
	files          []string // each a file name, a blank-separated list of fields behind a colon
}

const (
	gpsReason = "the file gives no offset for the time; Banksia takes it from the GPS clock, which is UTC"
	ownNotes  = "only in a maker's private notes, which are read for Apple and Canon alone"
	noFix     = "0°N 0°E without a status is what a receiver writes that has no fix"
	oldHeader = "only in a header from before EXIF (CIFF, Agfa PictureInfo)"
)

// justified is every difference; TestMetadataAgreesWithExiftool fails on any
// other, and on one that is gone.
var justified = []difference{
	{"imagemeta", gpsReason, []string{
		"bep/jølstravatnet.pef: original_datetime digitized_datetime modified_datetime",
		"bep/sunrise.avif: original_datetime digitized_datetime",
		"bep/sunrise.jpg: original_datetime digitized_datetime",
		"bep/sunrise.png: original_datetime digitized_datetime",
		"bep/sunrise.tif: original_datetime digitized_datetime",
		"bep/sunrise.webp: original_datetime digitized_datetime",
		"bep/sunset.avif: original_datetime digitized_datetime",
		"goexif/2011-05-07-13-02-49-sep-2011-05-07-13-02-49a.jpg: original_datetime digitized_datetime",
		"goexif/2012-12-19-21-38-40-sep-temple_square1.jpg: original_datetime digitized_datetime",
		"hugo-issue-12669.jpg: original_datetime digitized_datetime modified_datetime",
		"metadata-extractor/withPanasonicFaces.jpg: original_datetime digitized_datetime modified_datetime",
	}},
	{"imagemeta", ownNotes, []string{
		"goexif/2007-05-12-08-19-07-sep-2007-05-12-08-19-07a.jpg: iso",
		"metadata-extractor/withPanasonicFaces.jpg: city state country",
		"sample.arw: rating raw_width raw_height",
	}},
	{"imagemeta", noFix, []string{
		"goexif/2011-05-07-13-02-49-sep-2011-05-07-13-02-49a.jpg: latitude longitude",
		"hugo-issue-12669.jpg: latitude longitude",
	}},
	{"imagemeta", "the angle is text with decimal commas, 52,00000,50,00000,34,01180; exiftool takes 52, 00000 and 50 for its three parts", []string{
		"goexif/geodegrees_as_string.jpg: latitude longitude",
	}},
	{"imagemeta", "ImageMagick's text copy of a position whose EXIF the file has lost", []string{
		"metadata-extractor/issue-590.png: latitude longitude",
	}},
	{"imagemeta", "orientation 0 is outside 1 to 8", []string{
		"corrupt/huge_tag_exif.jpg: orientation",
		"corrupt/max_uint32_exif.jpg: orientation",
	}},
	{"imagemeta", "the JPEG has no frame header; the size in its EXIF describes a picture that is not there", []string{
		"corrupt/huge_tag_exif.jpg: raw_width raw_height",
		"corrupt/max_uint32_exif.jpg: raw_width raw_height",
	}},
	{"generated", "the file gives no altitude; exiftool says 0", []string{
		"android.mp4: altitude", "phone.3gp: altitude",
	}},
	{"generated", "the size is that of the sensor image; exiftool gives that of the embedded preview", []string{
		"raw.raf: raw_width raw_height",
	}},
	{"samples", gpsReason, []string{
		"exif-samples/jpg/hdr/iphone_hdr_NO.jpg: original_datetime digitized_datetime modified_datetime",
		"exif-samples/jpg/hdr/iphone_hdr_YES.jpg: original_datetime digitized_datetime modified_datetime",
	}},
	{"samples", ownNotes, []string{
		"exif-samples/jpg/Reconyx_HC500_Hyperfire.jpg: original_datetime",
		"exif-samples/jpg/tests/35-empty.jpg: iso",
		"exif-samples/jpg/tests/42_IndexError.jpg: lens_model",
	}},
	{"samples", "Canon's notes were moved by an editor; exiftool guesses from where", []string{
		"exif-samples/jpg/tests/11-tests.jpg: iso",
		"exif-samples/jpg/tests/28-hex_value.jpg: iso",
	}},
	{"samples", "65535 stands for a sensitivity that does not fit the tag", []string{
		"exif-samples/jpg/exif-org/kodak-dc240.jpg: iso",
	}},
	{"samples", oldHeader, []string{
		"exif-samples/jpg/exif-org/olympus-d320l.jpg: original_datetime f_number exposure_time",
		"exif-samples/jpg/exif-org/sony-powershota5.jpg: make model original_datetime focal_length exposure_bias",
	}},
}

// justifiedIn gives the reasons of a corpus by file, blank, field.
func justifiedIn(t *testing.T, corpus string) map[string]string {
	t.Helper()
	reasons := map[string]string{}
	for _, d := range justified {
		if d.corpus != corpus {
			continue
		}
		for _, line := range d.files {
			name, fields, ok := strings.Cut(line, ": ")
			if !ok {
				t.Fatalf("no fields in %q", line)
			}
			for _, field := range strings.Split(fields, " ") {
				reasons[name+" "+field] = d.reason
			}
		}
	}
	return reasons
}

// TestMetadataAgreesWithExiftool compares every field of every sample with what
// exiftool reads, and the result with docs/metadata.md.
func TestMetadataAgreesWithExiftool(t *testing.T) {
	t.Parallel()
	samples := append(imagemetaSamples(t), generatedSamples(t)...)
	samples = withoutRepeats(t, append(samples, sharedSamples(t)...))
	oracle := readOracle(t, samples)

	for _, corpus := range []string{"imagemeta", "generated", "samples"} {
		var files []sample
		for _, s := range samples {
			if s.corpus == corpus {
				files = append(files, s)
			}
		}
		if len(files) == 0 {
			continue // the samples beside the checkout
		}
		t.Run(corpus, func(t *testing.T) {
			table := compareCorpus(t, files, oracle)
			checkDocs(t, corpus, table)
		})
	}
}

// compareCorpus reports differences that are not justified and justified ones
// that are none, and gives the table for the documentation.
func compareCorpus(t *testing.T, files []sample, oracle map[string]map[string]string) string {
	t.Helper()
	reasons := justifiedIn(t, files[0].corpus)
	agree, either := map[string]int{}, map[string]int{}
	var rows []string
	for _, s := range files {
		facts := ourFacts(t, s)
		format, _ := FormatByName(s.path)
		video := format.MediaType == banksia.Video
		for _, field := range comparedFields {
			if field.videos && !video || field.stills && video {
				continue
			}
			ours, theirs := field.ours(facts), field.oracleValue(oracle[s.path])
			if ours == nil && theirs == nil {
				continue
			}
			either[field.name]++
			if sameValue(ours, theirs) {
				agree[field.name]++
				continue
			}
			place := s.name + " " + field.name
			reason, ok := reasons[place]
			if !ok {
				t.Errorf("%s: %s is %s, exiftool says %s", s.name, field.name, shown(ours), shown(theirs))
				continue
			}
			delete(reasons, place)
			rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s | %s |", s.name, field.name, shown(ours), shown(theirs), reason))
		}
	}
	for place := range reasons {
		t.Errorf("%s: listed as a difference, but there is none", place)
	}

	var table strings.Builder
	fmt.Fprintf(&table, "%d files.\n\n| field | agree | of |\n| --- | ---: | ---: |\n", len(files))
	for _, field := range comparedFields {
		if either[field.name] > 0 {
			fmt.Fprintf(&table, "| %s | %d | %d |\n", field.name, agree[field.name], either[field.name])
		}
	}
	if len(rows) > 0 {
		slices.Sort(rows)
		fmt.Fprintf(&table, "\n| file | field | Banksia | exiftool | why |\n| --- | --- | --- | --- | --- |\n%s\n", strings.Join(rows, "\n"))
	}
	return table.String()
}

func shown(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case float64:
		return fmt.Sprintf("%.8g", v)
	}
	return strings.ReplaceAll(fmt.Sprint(v), "|", "\\|")
}

// checkDocs compares the part of docs/metadata.md between the marks of the
// corpus with the table, or replaces it under -update.
func checkDocs(t *testing.T, corpus, table string) {
	t.Helper()
	path := filepath.Join("..", "..", "docs", "metadata.md")
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := fmt.Sprintf("<!-- begin %s -->\n", corpus), fmt.Sprintf("<!-- end %s -->", corpus)
	before, rest, ok1 := bytes.Cut(page, []byte(begin))
	old, after, ok2 := bytes.Cut(rest, []byte(end))
	if !ok1 || !ok2 {
		t.Fatalf("%s has no marks for %s", path, corpus)
	}
	if *updateDocs {
		writeFile(t, path, slices.Concat(before, []byte(begin), []byte(table), []byte(end), after))
		return
	}
	if string(old) != table {
		t.Errorf("%s is out of date; run go test ./internal/media -run AgreesWithExiftool -update", path)
	}
}
