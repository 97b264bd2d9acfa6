package media

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	_ "github.com/bep/imagemeta" // its photos are read from the module cache
)

var updateDocs = flag.Bool("update", false, "rewrite the tables of docs/metadata.md")

// sample is one file that both readers read.
type sample struct {
	corpus, name, path string // name is relative to its corpus, with slashes
}

// comparedField is one field of Metadata with its value in a file, nil for none,
// and what exiftool calls it: tags in order of preference by group and name, and
// then any tag with one of the last names, whatever its group.
type comparedField struct {
	name    string
	ours    func(Facts) any
	oracle  []string
	anyName []string
	parse   func(string) any // nil for the text itself
	special func(tags map[string]string) any
	videos  bool // only videos have it
	stills  bool
}

func value[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

func number(text string) any {
	f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return nil
	}
	return f
}

// known drops the zero with which lenses and cameras say that they do not know.
func known(text string) any {
	if f, ok := number(text).(float64); ok && f > 0 {
		return f
	}
	return nil
}

// whole rounds what exiftool computes from Canon's 32nds of a stop.
func whole(text string) any {
	if f, ok := known(text).(float64); ok {
		return math.Round(f)
	}
	return nil
}

func word(at int) func(string) any {
	return func(text string) any {
		words := strings.Fields(text)
		if at >= len(words) {
			return nil
		}
		return number(words[at])
	}
}

func moment(text string) any {
	text = strings.TrimSpace(text)
	for _, layout := range []string{
		"2006:01:02 15:04:05Z07:00", "2006:01:02 15:04:05", "2006:01:02 15:04Z07:00", "2006:01:02 15:04", "2006:01:02",
	} {
		t, err := time.Parse(layout, text)
		if err != nil || t.Year() < 2 {
			continue
		}
		local := banksia.NewLocalTime(t)
		if !strings.Contains(layout, "Z07") {
			local = local.Naive()
		}
		return local.String()
	}
	return nil
}

func rotation(text string) any {
	degrees, ok := number(text).(float64)
	if !ok {
		return nil
	}
	return map[float64]any{90: 6.0, 180: 3.0, 270: 8.0}[degrees]
}

// stars reads stars, and the percent that Windows writes beside them.
func stars(text string) any {
	if n, ok := map[string]any{"25": 2.0, "50": 3.0, "75": 4.0, "99": 5.0}[text]; ok {
		return n
	}
	return number(text)
}

func integer(p *int) any {
	if p == nil {
		return nil
	}
	return float64(*p)
}

func local(p *banksia.LocalTime) any {
	if p == nil {
		return nil
	}
	return p.String()
}

// videoMoment is the date that a phone wrote with its offset, or else the
// container's, which is UTC.
func videoMoment(tags map[string]string) any {
	if m := moment(tags["Keys:CreationDate"]); m != nil {
		return m
	}
	for _, utc := range []string{"QuickTime:CreateDate", "Matroska:DateTimeOriginal"} {
		if m := moment(strings.TrimSuffix(tags[utc], "Z") + "Z"); m != nil {
			return m
		}
	}
	return moment(tags["RIFF:DateCreated"])
}

// displaySide is side 0 (width) or 1 (height) after rotation.
func displaySide(side int) func(map[string]string) any {
	return func(tags map[string]string) any {
		if r := tags["Composite:Rotation"]; r == "90" || r == "270" {
			return word(1 - side)(tags["Composite:ImageSize"])
		}
		return word(side)(tags["Composite:ImageSize"])
	}
}

// seconds reads seconds or hours:minutes:seconds, to the millisecond.
func seconds(text string) any {
	total := 0.0
	for part := range strings.SplitSeq(text, ":") {
		n, ok := number(part).(float64)
		if !ok {
			return nil
		}
		total = total*60 + n
	}
	return milliseconds(total)
}

func milliseconds(v any) any {
	if f, ok := v.(float64); ok {
		return math.Round(f*1000) / 1000
	}
	return nil
}

func country(text string) any {
	if code := countryCode(text); code != nil {
		return *code
	}
	return nil
}

// comparedFields is every field of Metadata but the IDs and what no file holds
// (Timezone), and the facts of videos.
var comparedFields = []comparedField{
	{name: "make", ours: func(f Facts) any { return value(f.Metadata.Make) },
		oracle: []string{"IFD0:Make", "Keys:Make", "XMP-tiff:Make"}, anyName: []string{"Make"}},
	{name: "model", ours: func(f Facts) any { return value(f.Metadata.Model) },
		oracle: []string{"IFD0:Model", "Keys:Model", "XMP-tiff:Model"}, anyName: []string{"Model"}},
	{name: "lens_model", ours: func(f Facts) any { return value(f.Metadata.LensModel) },
		oracle: []string{"ExifIFD:LensModel", "Canon:LensModel", "XMP-exifEX:LensModel", "XMP-aux:Lens"}, anyName: []string{"LensModel"}},
	{name: "orientation", ours: func(f Facts) any { return integer(f.Metadata.Orientation) },
		oracle: []string{"IFD0:Orientation", "XMP-tiff:Orientation"}, parse: number, stills: true},
	{name: "orientation of videos", ours: func(f Facts) any { return integer(f.Metadata.Orientation) },
		anyName: []string{"Rotation"}, parse: rotation, videos: true},
	{name: "display width", ours: func(f Facts) any { return float64(f.Width) }, special: displaySide(0), videos: true},
	{name: "display height", ours: func(f Facts) any { return float64(f.Height) }, special: displaySide(1), videos: true},
	{name: "original_datetime", ours: func(f Facts) any { return local(f.Metadata.OriginalDateTime) },
		oracle: []string{"Composite:SubSecDateTimeOriginal", "ExifIFD:DateTimeOriginal", "IFD0:DateTimeOriginal", "XMP-exif:DateTimeOriginal", "XMP-photoshop:DateCreated", "Composite:DateTimeCreated", "IPTC:DateCreated"}, anyName: []string{"DateTimeOriginal"}, parse: moment, stills: true},
	{name: "original_datetime of videos", ours: func(f Facts) any { return local(f.Metadata.OriginalDateTime) }, special: videoMoment, videos: true},
	{name: "digitized_datetime", ours: func(f Facts) any { return local(f.Metadata.DigitizedDateTime) },
		oracle: []string{"Composite:SubSecCreateDate", "ExifIFD:CreateDate", "XMP-exif:DateTimeDigitized", "XMP-xmp:CreateDate", "Composite:DigitalCreationDateTime", "IPTC:DigitalCreationDate"}, anyName: []string{"CreateDate"}, parse: moment, stills: true},
	{name: "modified_datetime", ours: func(f Facts) any { return local(f.Metadata.ModifiedDateTime) },
		oracle: []string{"Composite:SubSecModifyDate", "IFD0:ModifyDate", "XMP-xmp:ModifyDate", "XMP-tiff:DateTime"}, parse: moment, stills: true},
	{name: "f_number", ours: func(f Facts) any { return value(f.Metadata.FNumber) },
		oracle: []string{"ExifIFD:FNumber", "IFD0:FNumber", "ExifIFD:ApertureValue", "XMP-exif:FNumber"}, anyName: []string{"FNumber"}, parse: known},
	{name: "focal_length", ours: func(f Facts) any { return value(f.Metadata.FocalLength) },
		oracle: []string{"ExifIFD:FocalLength", "IFD0:FocalLength", "XMP-exif:FocalLength"}, anyName: []string{"FocalLength"}, parse: known},
	{name: "iso", ours: func(f Facts) any { return integer(f.Metadata.ISO) },
		oracle: []string{"ExifIFD:ISO", "IFD0:ISO", "XMP-exif:ISO", "XMP-exifEX:PhotographicSensitivity", "Composite:ISO"}, anyName: []string{"ISO"}, parse: whole},
	{name: "exposure_time", ours: func(f Facts) any { return value(f.Metadata.ExposureTime) },
		oracle: []string{"ExifIFD:ExposureTime", "IFD0:ExposureTime", "ExifIFD:ShutterSpeedValue", "XMP-exif:ExposureTime"}, anyName: []string{"ExposureTime"}, parse: known},
	{name: "exposure_bias", ours: func(f Facts) any { return value(f.Metadata.ExposureBias) },
		oracle: []string{"ExifIFD:ExposureCompensation", "IFD0:ExposureCompensation", "XMP-exif:ExposureCompensation"}, anyName: []string{"ExposureCompensation"}, parse: number},
	{name: "latitude", ours: func(f Facts) any { return value(f.Metadata.Latitude) },
		oracle: []string{"Composite:GPSLatitude", "XMP-exif:GPSLatitude"}, anyName: []string{"GPSLatitude"}, parse: number},
	{name: "longitude", ours: func(f Facts) any { return value(f.Metadata.Longitude) },
		oracle: []string{"Composite:GPSLongitude", "XMP-exif:GPSLongitude"}, anyName: []string{"GPSLongitude"}, parse: number},
	{name: "altitude", ours: func(f Facts) any { return value(f.Metadata.Altitude) },
		oracle: []string{"Composite:GPSAltitude", "XMP-exif:GPSAltitude"}, anyName: []string{"GPSAltitude"}, parse: number},
	{name: "city", ours: func(f Facts) any { return value(f.Metadata.City) },
		oracle: []string{"XMP-photoshop:City", "XMP-iptcExt:LocationCreatedCity", "XMP-iptcExt:LocationShownCity", "IPTC:City"}, anyName: []string{"City"}},
	{name: "state", ours: func(f Facts) any { return value(f.Metadata.State) },
		oracle: []string{"XMP-photoshop:State", "XMP-iptcExt:LocationCreatedProvinceState", "XMP-iptcExt:LocationShownProvinceState", "IPTC:Province-State"}, anyName: []string{"State"}},
	{name: "country", ours: func(f Facts) any { return value(f.Metadata.Country) },
		oracle: []string{"XMP-photoshop:Country", "XMP-iptcExt:LocationCreatedCountryName", "XMP-iptcExt:LocationShownCountryName", "IPTC:Country-PrimaryLocationName"}, anyName: []string{"Country"}},
	{name: "country_code", ours: func(f Facts) any { return value(f.Metadata.CountryCode) },
		oracle: []string{"XMP-iptcCore:CountryCode", "XMP-iptcExt:LocationCreatedCountryCode", "XMP-iptcExt:LocationShownCountryCode", "IPTC:Country-PrimaryLocationCode"}, anyName: []string{"CountryCode"}, parse: country},
	{name: "sublocation", ours: func(f Facts) any { return value(f.Metadata.Sublocation) },
		oracle: []string{"XMP-iptcCore:Location", "XMP-iptcExt:LocationCreatedSublocation", "XMP-iptcExt:LocationShownSublocation", "IPTC:Sub-location"}, anyName: []string{"Sub-location"}},
	{name: "place_name", ours: func(f Facts) any { return value(f.Metadata.PlaceName) },
		oracle: []string{"XMP-iptcExt:LocationCreatedLocationName", "XMP-iptcExt:LocationShownLocationName"}},
	{name: "description", ours: func(f Facts) any { return value(f.Metadata.Description) },
		oracle:  []string{"XMP-dc:Description", "XMP-tiff:ImageDescription", "XMP-exif:UserComment", "IPTC:Caption-Abstract", "IFD0:ImageDescription", "ExifIFD:UserComment", "IFD0:UserComment", "IFD0:XPComment", "PNG:Description", "RIFF:Comment", "ItemList:Comment"},
		anyName: []string{"Description", "ImageDescription", "Caption-Abstract"}},
	{name: "live_photo_cid", ours: func(f Facts) any { return value(f.Metadata.LivePhotoCID) },
		anyName: []string{"ContentIdentifier", "MediaGroupUUID"}},
	{name: "auto_stack_id", ours: func(f Facts) any { return value(f.Metadata.AutoStackID) },
		anyName: []string{"BurstUUID", "BurstID"}},
	{name: "projection_type", ours: func(f Facts) any { return value(f.Metadata.ProjectionType) },
		anyName: []string{"ProjectionType"}},
	{name: "profile_description", ours: func(f Facts) any { return value(f.Metadata.ProfileDescription) },
		oracle: []string{"ICC_Profile:ProfileDescription", "ICC_Profile:ProfileDescriptionML"}, anyName: []string{"ProfileDescription"}},
	{name: "rating", ours: func(f Facts) any { return integer(f.Metadata.Rating) },
		oracle: []string{"IFD0:Rating", "XMP-xmp:Rating", "IFD0:RatingPercent", "XMP-microsoft:RatingPercent"}, anyName: []string{"Rating"}, parse: stars},
	{name: "raw_width", ours: func(f Facts) any { return integer(f.Metadata.RawWidth) },
		oracle: []string{"Composite:ImageSize"}, parse: word(0), stills: true},
	{name: "raw_height", ours: func(f Facts) any { return integer(f.Metadata.RawHeight) },
		oracle: []string{"Composite:ImageSize"}, parse: word(1), stills: true},
	{name: "fps", ours: func(f Facts) any { return value(f.Metadata.FPS) },
		anyName: []string{"VideoFrameRate"}, parse: known, videos: true},
	{name: "duration", ours: func(f Facts) any { return milliseconds(value(f.Duration)) },
		oracle: []string{"QuickTime:Duration"}, anyName: []string{"Duration"}, parse: seconds, videos: true},
}

// oracleValue is exiftool's answer for the field: what its table names, else any
// tag of that name that does not speak of a thumbnail.
func (c comparedField) oracleValue(tags map[string]string) any {
	if c.special != nil {
		return c.special(tags)
	}
	parse := func(text string) any {
		text = cleanString(text)
		if c.parse != nil {
			return c.parse(text)
		}
		if text == "" {
			return nil
		}
		return text
	}
	for _, tag := range c.oracle {
		if text, ok := tags[tag]; ok {
			if v := parse(text); v != nil {
				return v
			}
		}
	}
	var others []string
	for tag := range tags {
		group, name, _ := strings.Cut(tag, ":")
		if slices.Contains(c.anyName, name) && group != "IFD1" {
			others = append(others, tag)
		}
	}
	slices.Sort(others)
	for _, tag := range others {
		if v := parse(tags[tag]); v != nil {
			return v
		}
	}
	return nil
}

func sameValue(a, b any) bool {
	x, ok1 := a.(float64)
	y, ok2 := b.(float64)
	if ok1 && ok2 {
		return math.Abs(x-y) <= 1e-9+1e-6*math.Max(math.Abs(x), math.Abs(y))
	}
	return a == b
}

// askExiftool reads all files in one run; tags by path, then by group and name.
func askExiftool(t *testing.T, samples []sample) map[string]map[string]string {
	t.Helper()
	var names bytes.Buffer
	for _, s := range samples {
		fmt.Fprintln(&names, s.path)
	}
	command := exec.CommandContext(t.Context(), "exiftool", "-json", "-n", "-G1", "-a", "-q", "-q",
		"-charset", "filename=utf8", "-api", "QuickTimeUTC=0", "-@", "-")
	command.Stdin = &names
	var complaint bytes.Buffer
	command.Stderr = &complaint
	output, err := command.Output() // it exits with 1 for a single corrupt file
	if len(output) == 0 {
		t.Fatalf("run exiftool (Debian: libimage-exiftool-perl): %v: %s", err, complaint.String())
	}
	var files []map[string]json.RawMessage
	if err := json.Unmarshal(output, &files); err != nil {
		t.Fatalf("decode exiftool's output: %v", err)
	}
	result := map[string]map[string]string{}
	for _, file := range files {
		tags := map[string]string{}
		for name, raw := range file {
			tags[name] = oracleText(raw)
		}
		result[tags["SourceFile"]] = tags
	}
	if len(result) != len(samples) {
		t.Fatalf("exiftool read %d of %d files: %s", len(result), len(samples), complaint.String())
	}
	return result
}

// readOracle asks exiftool, and asks again about JPEG files that end with their
// headers: exiftool takes nothing from those, so it gets a copy with an end.
func readOracle(t *testing.T, samples []sample) map[string]map[string]string {
	t.Helper()
	tags := askExiftool(t, samples)
	var repaired []sample
	folder := t.TempDir()
	for i, s := range samples {
		if tags[s.path]["ExifTool:Warning"] == "JPEG format error" || tags[s.path]["ExifTool:Error"] == "JPEG format error" {
			copied := sample{s.corpus, s.path, filepath.Join(folder, fmt.Sprintf("%d.jpg", i))}
			writeFile(t, copied.path, endJPEG(t, s.path))
			repaired = append(repaired, copied)
		}
	}
	if len(repaired) > 0 {
		for path, found := range askExiftool(t, repaired) {
			i := slices.IndexFunc(repaired, func(s sample) bool { return s.path == path })
			tags[repaired[i].name] = found
		}
	}
	return tags
}

// endJPEG is the file up to its last whole segment before the scan, and the
// marker of the end.
func endJPEG(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := 2
	for at+4 <= len(data) && data[at] == 0xff && data[at+1] != 0xda {
		next := at + 2 + int(data[at+2])<<8 + int(data[at+3])
		if next > len(data) {
			break
		}
		at = next
	}
	return append(data[:at:at], 0xff, 0xd9)
}

func writeFile(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// oracleText is the text, the number or the first item that exiftool wrote.
func oracleText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil && len(list) > 0 {
		return oracleText(list[0])
	}
	return string(raw)
}

// imagemetaSamples are the photos in the module cache.
func imagemetaSamples(t *testing.T) []sample {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/bep/imagemeta").Output()
	if err != nil {
		t.Fatalf("find the module cache: %v", err)
	}
	return walkSamples(t, "imagemeta", filepath.Join(strings.TrimSpace(string(output)), "testdata", "images"))
}

func walkSamples(t *testing.T, corpus, root string) []sample {
	t.Helper()
	var samples []sample
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if _, ok := FormatByName(path); ok {
			name, err := filepath.Rel(root, path)
			samples = append(samples, sample{corpus, filepath.ToSlash(name), path})
			return err
		}
		return nil
	})
	if err != nil || len(samples) == 0 {
		t.Fatalf("walk %s: %v, %d samples", root, err, len(samples))
	}
	return samples
}

// sharedSamples are photos that lie beside some checkouts, never in them.
func sharedSamples(t *testing.T) []sample {
	t.Helper()
	root := os.Getenv("BANKSIA_SAMPLES")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared", "samples")
		if _, err := os.Stat(root); err != nil {
			return nil
		}
	}
	root, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	return walkSamples(t, "samples", root)
}

// withoutRepeats keeps the first of equal files.
func withoutRepeats(t *testing.T, samples []sample) []sample {
	t.Helper()
	seen := map[[32]byte]bool{}
	return slices.DeleteFunc(samples, func(s sample) bool {
		data, err := os.ReadFile(s.path)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		repeated := seen[sum]
		seen[sum] = true
		return repeated
	})
}

// ourFacts reads the sample as the server does.
func ourFacts(t *testing.T, s sample) Facts {
	t.Helper()
	format, ok := FormatByName(s.path)
	if !ok {
		t.Fatalf("%s: unknown extension", s.name)
	}
	if format.MediaType == banksia.Video {
		facts, err := ReadVideoFacts(context.WithoutCancel(t.Context()), s.path)
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
		return facts
	}
	meta, err := readImageMetadata(s.path, format)
	if err != nil {
		t.Logf("%s: %v", s.name, err)
	}
	return Facts{Metadata: meta}
}
