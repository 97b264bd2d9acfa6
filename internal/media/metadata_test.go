package media

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/banksia-photos/banksia"
)

func metadataOf(t testing.TB, data []byte) banksia.Metadata {
	t.Helper()
	meta, err := readMetadata(sectionOf(data), Format{Name: "any"})
	if err != nil {
		t.Fatal(err)
	}
	return meta
}

func textOf(p *string) string {
	if p == nil {
		return "nothing"
	}
	return *p
}

func timeOf(p *banksia.LocalTime) string {
	if p == nil {
		return "nothing"
	}
	return p.String()
}

func TestReadImageMetadata(t *testing.T) {
	t.Parallel()
	t.Run("a missing file is an error", func(t *testing.T) {
		t.Parallel()
		if _, err := readImageMetadata(filepath.Join(t.TempDir(), "none.jpg"), Formats[0]); err == nil {
			t.Error("no error")
		}
	})
	t.Run("a file of another kind is an error", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "text.jpg")
		writeFile(t, path, []byte("no picture at all"))
		if _, err := readImageMetadata(path, Formats[0]); err == nil {
			t.Error("no error")
		}
	})
	t.Run("an empty file is an error", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "empty.heic")
		writeFile(t, path, nil)
		if _, err := readImageMetadata(path, Formats[4]); err == nil {
			t.Error("no error")
		}
	})
	t.Run("a picture without metadata has its size", func(t *testing.T) {
		t.Parallel()
		meta := metadataOf(t, jpegWith(t))
		if *meta.RawWidth != 48 || *meta.RawHeight != 32 || meta.Make != nil || meta.OriginalDateTime != nil {
			t.Errorf("got %+v", meta)
		}
	})
	t.Run("a corrupt part costs only itself", func(t *testing.T) {
		t.Parallel()
		meta := metadataOf(t, jpegWith(t, exifSegment([]byte("II*\x00\xff\xff\xff\xff")), xmpSegment(`xmp:Rating="5"`)))
		if meta.Rating == nil || *meta.Rating != 5 || *meta.RawWidth != 48 {
			t.Errorf("got %+v", meta)
		}
	})
}

func xmpSegment(attributes string) []byte {
	return append([]byte("\xe1http://ns.adobe.com/xap/1.0/\x00"), xmpPacket(attributes, "")...)
}

func xmpPacket(attributes, elements string) string {
	return `<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""` +
		` xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" ` +
		attributes + `>` + elements + `</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>`
}

// TestOffsets covers the order of issue and behaviour 2.8: the offset's own tag,
// then GPS time, else none and no suffix.
func TestOffsets(t *testing.T) {
	t.Parallel()
	const taken = "2023:05:06 18:00:00"
	gps := func(date string, hour, minute, second uint32) []tiffEntry {
		return []tiffEntry{ascii(0x001d, date), rationals(0x0007, hour, 1, minute, 1, second, 1)}
	}
	for _, test := range []struct {
		name  string
		photo []tiffEntry
		gps   []tiffEntry
		want  string
	}{
		{"none", nil, nil, "2023-05-06T18:00:00"},
		{"own tag", []tiffEntry{ascii(0x9011, "+09:30")}, nil, "2023-05-06T18:00:00+09:30"},
		{"own tag before GPS", []tiffEntry{ascii(0x9011, "+09:30")}, gps("2023:05:06", 16, 0, 0), "2023-05-06T18:00:00+09:30"},
		{"tag of the same moment", []tiffEntry{ascii(0x9004, taken), ascii(0x9012, "-02:00")}, nil, "2023-05-06T18:00:00-02:00"},
		{"tag of another moment", []tiffEntry{ascii(0x9004, "2023:05:06 18:00:01"), ascii(0x9012, "-02:00")}, nil, "2023-05-06T18:00:00"},
		{"blank tag", []tiffEntry{ascii(0x9011, "   :  ")}, nil, "2023-05-06T18:00:00"},
		{"GPS east", nil, gps("2023:05:06", 12, 29, 40), "2023-05-06T18:00:00+05:30"},
		{"GPS in Nepal", nil, gps("2023:05:06", 12, 15, 3), "2023-05-06T18:00:00+05:45"},
		{"GPS west over midnight", nil, gps("2023:05:07", 3, 58, 0), "2023-05-06T18:00:00-10:00"},
		{"GPS at the date line", nil, gps("2023:05:06", 4, 0, 0), "2023-05-06T18:00:00+14:00"},
		{"GPS beyond the world", nil, gps("2023:05:06", 3, 30, 0), "2023-05-06T18:00:00"},
		{"GPS of another day", nil, gps("2023:05:04", 16, 0, 0), "2023-05-06T18:00:00"},
		{"GPS at an offset nobody uses", nil, gps("2023:05:06", 16, 45, 0), "2023-05-06T18:00:00"},
		{"GPS without a date", nil, gps("", 16, 0, 0), "2023-05-06T18:00:00"},
		{"GPS hour 25", nil, gps("2023:05:06", 25, 0, 0), "2023-05-06T18:00:00"},
		{"GPS over zero", nil, []tiffEntry{ascii(0x001d, "2023:05:06"), rationals(0x0007, 16, 0, 0, 1, 0, 1)}, "2023-05-06T18:00:00"},
		{"fraction with leading zero", []tiffEntry{ascii(0x9291, "05")}, nil, "2023-05-06T18:00:00.05"},
		{"fraction beyond microseconds", []tiffEntry{ascii(0x9291, "123456789")}, nil, "2023-05-06T18:00:00.123456"},
		{"fraction of blanks", []tiffEntry{ascii(0x9291, "    ")}, nil, "2023-05-06T18:00:00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			block := buildTIFF(nil, append([]tiffEntry{ascii(0x9003, taken)}, test.photo...), test.gps)
			if got := timeOf(metadataOf(t, block).OriginalDateTime); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestParseDateTime(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2021:02:03 04:05:06":        "2021-02-03T04:05:06",
		"2021-02-03T04:05:06.25Z":    "2021-02-03T04:05:06.25+00:00",
		"2021:02:03 04:05":           "2021-02-03T04:05:00",
		"2021:02:03":                 "2021-02-03T00:00:00",
		"2021:02:03   :  :  ":        "2021-02-03T00:00:00",
		"2015-01-22T00:00:00 +01:00": "2015-01-22T00:00:00+01:00",
		"2021-07-14T22:30:05+0200":   "2021-07-14T22:30:05+02:00",
		"2021/02/03 04:05:06\x00":    "2021-02-03T04:05:06",
		"0000:00:00 00:00:00":        "",
		"    :  :     :  :  ":        "",
		"2021:02:30 04:05:06":        "",
		"2021:02:03 25:05:06":        "",
		"9":                          "",
		"":                           "",
		strings.Repeat("2", 1<<20):   "",
	} {
		got := ""
		if parsed, ok := parseDateTime(text); ok {
			got = parsed.String()
		}
		if got != want {
			t.Errorf("%.40q: got %q, want %q", text, got, want)
		}
	}
}

func TestPosition(t *testing.T) {
	t.Parallel()
	north, east := ascii(0x0001, "N"), ascii(0x0003, "E")
	for _, test := range []struct {
		name string
		gps  []tiffEntry
		want string
	}{
		{"north east", []tiffEntry{north, rationals(0x0002, 10, 1, 30, 1, 0, 1), east, rationals(0x0004, 20, 1, 15, 1, 36, 1)}, "10.5 20.26"},
		{"south west", []tiffEntry{ascii(0x0001, "S"), rationals(0x0002, 10, 1, 30, 1, 0, 1), ascii(0x0003, "west"), rationals(0x0004, 20, 1, 15, 1, 0, 0)}, "-10.5 -20.25"},
		{"degrees alone", []tiffEntry{north, rationals(0x0002, 105, 10), east, rationals(0x0004, 20, 1)}, "10.5 20"},
		{"no hemisphere", []tiffEntry{rationals(0x0002, 10, 1, 0, 1, 0, 1), east, rationals(0x0004, 20, 1, 0, 1, 0, 1)}, "nothing"},
		{"zero denominator", []tiffEntry{north, rationals(0x0002, 10, 0, 0, 1, 0, 1), east, rationals(0x0004, 20, 1, 0, 1, 0, 1)}, "nothing"},
		{"minutes over zero", []tiffEntry{north, rationals(0x0002, 10, 1, 5, 0, 0, 1), east, rationals(0x0004, 20, 1, 0, 1, 0, 1)}, "nothing"},
		{"beyond the pole", []tiffEntry{north, rationals(0x0002, 90, 1, 1, 1, 0, 1), east, rationals(0x0004, 20, 1, 0, 1, 0, 1)}, "nothing"},
		{"beyond the date line", []tiffEntry{north, rationals(0x0002, 9, 1, 1, 1, 0, 1), east, rationals(0x0004, 180, 1, 1, 1, 0, 1)}, "nothing"},
		{"null island without a fix", []tiffEntry{north, rationals(0x0002, 0, 1, 0, 1, 0, 1), east, rationals(0x0004, 0, 1, 0, 1, 0, 1), ascii(0x0009, "V")}, "nothing"},
		{"null island with a fix", []tiffEntry{north, rationals(0x0002, 0, 1, 0, 1, 0, 1), east, rationals(0x0004, 0, 1, 0, 1, 0, 1), ascii(0x0009, "A")}, "0 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			meta := metadataOf(t, buildTIFF([]tiffEntry{ascii(0x0131, "test")}, nil, test.gps))
			got := "nothing"
			if meta.Latitude != nil {
				got = fmt.Sprintf("%.8g %.8g", *meta.Latitude, *meta.Longitude)
			}
			if got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestParseISO6709(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"+48.8584+002.2945+035.000/":       "48.8584 2.2945 35",
		"-33.8568+151.2153/":               "-33.8568 151.2153",
		"+27.5916+086.5640+8850CRSWGS_84/": "27.5916 86.564 8850",
		"+4042.6-07400.5/":                 "40.71 -74.008333",
		"+404243.2-0740021.5-12/":          "40.712 -74.005972 -12",
		"+91.0+000.0/":                     "nothing",
		"+45.0+181.0/":                     "nothing",
		"+4099.0+00100.0/":                 "nothing",
		"+404+001/":                        "nothing",
		"45 N 3 E":                         "nothing",
		"":                                 "nothing",
	} {
		latitude, longitude, altitude := parseISO6709(text)
		got := "nothing"
		if latitude != nil {
			got = fmt.Sprintf("%.8g %.8g", *latitude, *longitude)
			if altitude != nil {
				got += fmt.Sprintf(" %.8g", *altitude)
			}
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	block := buildTIFF([]tiffEntry{short(0x0112, 9), short(0x4746, 6)}, []tiffEntry{
		rationals(0x829d, 0, 0), rationals(0x829a, 1, 0), rationals(0x920a, 0, 1), short(0x8827, 65535), long(0x8833, 102400),
		{0x9204, 10, 1, []byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}},
	}, []tiffEntry{rationals(0x0006, 0xffffffff, 1), {0x0005, 1, 1, []byte{0}}})
	meta := metadataOf(t, block)
	for name, set := range map[string]bool{
		"orientation 9": meta.Orientation != nil, "rating 6": meta.Rating != nil, "f/0 over 0": meta.FNumber != nil,
		"exposure over 0": meta.ExposureTime != nil, "focal length 0": meta.FocalLength != nil,
		"bias over 0": meta.ExposureBias != nil, "altitude beyond orbit": meta.Altitude != nil,
	} {
		if set {
			t.Errorf("%s counts", name)
		}
	}
	if meta.ISO == nil || *meta.ISO != 102400 {
		t.Errorf("ISO above 65535: got %v", meta.ISO)
	}
}

func TestTexts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, written, want string }{
		{"blanks and NULs", "  Canon \x00\x00rest", "Canon"},
		{"only blanks", "     ", "nothing"},
		{"UTF-8", "Grüße 绿", "Grüße 绿"},
		{"Latin-1", "Gr\xfc\xdfe", "Grüße"},
		{"control characters", "a\x01b\x1bc", "abc"},
		{"longer than any caption", strings.Repeat("ü", 1<<17), strings.Repeat("ü", maxText/2)},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := cleanText([]byte(test.written)); textOf(text(got)) != test.want {
				t.Errorf("got %.60q, want %.60q", got, test.want)
			}
		})
	}
	comment := func(data string) string {
		return textOf(metadataOf(t, buildTIFF(nil, []tiffEntry{undefined(0x9286, []byte(data))}, nil)).Description)
	}
	for data, want := range map[string]string{
		"ASCII\x00\x00\x00a comment":                           "a comment",
		"UNICODE\x00\x1f\x043\x04":                             "Пг",
		"UNICODE\x00\xfe\xff\x00h\x00i":                        "hi",
		"UNICODE\x00\x00h\x00i":                                "hi",
		"\x00\x00\x00\x00\x00\x00\x00\x00typed":                "typed",
		"\x00\x00\x00\x00\x00\x00\x00\x00\x80\x01\x00\x07\x9f": "nothing",
		"ASCII\x00\x00\x00        ":                            "nothing",
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00":     "nothing",
		"short": "nothing",
	} {
		if got := comment(data); got != want {
			t.Errorf("user comment %q: got %q, want %q", data, got, want)
		}
	}
}

func TestICCDescription(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		profile []byte
		want    string
	}{
		{"version 2", iccProfile(t, iccASCII("Display P3")), "Display P3"},
		{"version 4, English of several", iccProfile(t, iccLocalized("deDEGrün", "enUSGreen")), "Green"},
		{"version 4, the only one", iccProfile(t, iccLocalized("jaJP緑")), "緑"},
		{"none", nil, ""},
		{"no profile", bytes.Repeat([]byte{0xff}, 4096), ""},
		{"cut in the description", iccProfile(t, iccASCII("Display P3"))[:160], "Disp"},
		{"giant tag", iccProfile(t, []byte("desc\x00\x00\x00\x00\xff\xff\xff\xffA")), "A"},
		{"giant record count", iccProfile(t, []byte("mluc\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00\x00\x0cenUS\x00\x00\x00\x02\xff\xff\xff\xff")), ""},
	} {
		if got := iccDescription(test.profile); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}

	t.Run("spread over segments in any order", func(t *testing.T) {
		t.Parallel()
		profile := iccProfile(t, iccASCII("Spread"))
		segment := func(number byte, part []byte) []byte {
			return append(append([]byte("\xe2ICC_PROFILE\x00"), number, 2), part...)
		}
		file := jpegWith(t, segment(2, profile[150:]), segment(1, profile[:150]))
		if got := textOf(metadataOf(t, file).ProfileDescription); got != "Spread" {
			t.Errorf("got %q", got)
		}
	})
}

func TestReadSidecar(t *testing.T) {
	t.Parallel()
	read := func(t *testing.T, packet string) banksia.Metadata {
		t.Helper()
		meta, err := ReadSidecar(strings.NewReader(packet))
		if err != nil {
			t.Fatal(err)
		}
		return meta
	}
	t.Run("attributes and elements", func(t *testing.T) {
		t.Parallel()
		meta := read(t, xmpPacket(`xmp:Rating="3" photoshop:City="Kraków" exif:GPSLatitude="50,3.8N" exif:GPSLongitude="19,56,24W"`,
			`<dc:description><rdf:Alt><rdf:li xml:lang="pl-PL">Rynek</rdf:li><rdf:li xml:lang="x-default">Main square</rdf:li></rdf:Alt></dc:description>
			 <exif:DateTimeOriginal>2020-01-02T03:04:05.6+01:00</exif:DateTimeOriginal><exif:ISOSpeedRatings><rdf:Seq><rdf:li>200</rdf:li></rdf:Seq></exif:ISOSpeedRatings>`))
		if textOf(meta.City) != "Kraków" || textOf(meta.Description) != "Main square" || timeOf(meta.OriginalDateTime) != "2020-01-02T03:04:05.6+01:00" ||
			*meta.Rating != 3 || *meta.ISO != 200 || math.Abs(*meta.Latitude-50.0633333) > 1e-6 || math.Abs(*meta.Longitude+19.94) > 1e-6 {
			t.Errorf("got %+v", meta)
		}
	})
	t.Run("UTF-16", func(t *testing.T) {
		t.Parallel()
		var packet []byte
		for _, r := range "\ufeff" + xmpPacket(`photoshop:City="Kraków"`, "") {
			packet = binary.LittleEndian.AppendUint16(packet, uint16(r))
		}
		if meta := read(t, string(packet)); textOf(meta.City) != "Kraków" {
			t.Errorf("got %+v", meta)
		}
	})
	t.Run("cut short keeps what came before", func(t *testing.T) {
		t.Parallel()
		packet := xmpPacket(`photoshop:City="Kraków"`, "<dc:title>")
		if meta := read(t, packet[:len(packet)-65]); textOf(meta.City) != "Kraków" {
			t.Errorf("got %+v", meta)
		}
	})
	t.Run("deep nesting ends", func(t *testing.T) {
		t.Parallel()
		packet := xmpPacket(`photoshop:City="Kraków"`, strings.Repeat("<dc:a><rdf:Bag><rdf:li>", 100_000))
		if meta := read(t, packet); textOf(meta.City) != "Kraków" {
			t.Errorf("got %+v", meta)
		}
	})
	t.Run("entities are not expanded", func(t *testing.T) {
		t.Parallel()
		bomb := `<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>`
		if meta := read(t, bomb+xmpPacket("", "<dc:description>&b;</dc:description>")); len(textOf(meta.Description)) > 10 {
			t.Errorf("got %.60q", *meta.Description)
		}
	})
	for name, packet := range map[string]string{"nothing": "", "other XML": "<html><body/></html>", "a picture": string(jpegWith(t))} {
		t.Run(name+" is an error", func(t *testing.T) {
			t.Parallel()
			if _, err := ReadSidecar(strings.NewReader(packet)); err == nil {
				t.Error("no error")
			}
		})
	}
}

// hostileFiles break the rules of their containers.
func hostileFiles(t testing.TB) map[string][]byte {
	t.Helper()
	// The EXIF, GPS and sub-directories are the main directory itself.
	looped, _ := appendDirectory([]byte("II*\x00\x08\x00\x00\x00"), []tiffEntry{
		ascii(0x010f, "Loop"), long(tagExifIFD, 8), long(tagGPSIFD, 8), {tagSubIFDs, 4, 1000, bytes.Repeat([]byte{8, 0, 0, 0}, 1000)},
	})

	giant, _ := appendDirectory([]byte("II*\x00\x08\x00\x00\x00"), []tiffEntry{
		{0x010f, 2, 0xffffffff, []byte{8, 0, 0, 0}}, {0x0110, 5, 0xffffffff, []byte{8, 0, 0, 0}}, {0x9999, 12, 0x7fffffff, []byte{0, 0, 0, 0}},
		{tagXMP, 1, 0xfffffff0, []byte{8, 0, 0, 0}}, {0xfff0, 200, 1, []byte{1, 2, 3, 4}}, ascii(0x010e, "kept"),
	})

	var overlapping []tiffEntry
	for i := range 4000 {
		overlapping = append(overlapping, tiffEntry{uint16(i + 0x1000), 1, 60_000, []byte{8, 0, 0, 0}})
	}
	many, _ := appendDirectory([]byte("II*\x00\x08\x00\x00\x00"), overlapping)
	many = append(many, make([]byte, 60_000)...)

	big := []byte("II+\x00\x08\x00\x00\x00")
	big = le.AppendUint64(big, 16)
	big = le.AppendUint64(big, math.MaxUint64)

	png := []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xffeXIf")
	heif := isoBox("ftyp", []byte("heic\x00\x00\x00\x00mif1heic"))
	meta := append([]byte{0, 0, 0, 0}, isoBox("iloc", []byte("\x02\x00\x00\x00\x44\x40\xff\xff\xff\xff\x00\x00\x00\x01"))...)
	meta = append(meta, isoBox("iinf", []byte("\x01\x00\x00\x00\xff\xff\xff\xff"))...)
	meta = append(meta, isoBox("iprp", isoBox("ipma", []byte("\x00\x00\x00\x00\xff\xff\xff\xff\x00\x01\xff")))...)
	nested := []byte{}
	for range 2000 {
		nested = isoBox("moov", nested)
	}

	return map[string][]byte{
		"directory loop.tif":        looped,
		"directory loop.jpg":        jpegWith(t, exifSegment(looped)),
		"giant counts.tif":          giant,
		"overlapping values.tif":    many,
		"overlapping values.jpg":    jpegWith(t, exifSegment(many[:60_000])),
		"BigTIFF giant.tif":         big,
		"giant chunk.png":           png,
		"endless text.png":          append(bytes.Clone(png[:33]), bytes.Repeat([]byte("\x00\x00\x00\x00tEXt\x00\x00\x00\x00"), 10_000)...),
		"giant items.heic":          append(bytes.Clone(heif), isoBox("meta", meta)...),
		"box of size 1.heic":        append(bytes.Clone(heif), "\x00\x00\x00\x01meta\xff\xff\xff\xff\xff\xff\xff\xff"...),
		"nested boxes.cr3":          append(isoBox("ftyp", []byte("crx \x00\x00\x00\x01crx ")), nested...),
		"markers without end.jpg":   append([]byte{0xff, 0xd8}, bytes.Repeat([]byte{0x00, 0xff, 0xd0}, 100_000)...),
		"segment of length 0.jpg":   append([]byte{0xff, 0xd8}, bytes.Repeat([]byte{0xff, 0xe1, 0, 0}, 100_000)...),
		"giant chunk.webp":          []byte("RIFF\xff\xff\xff\xffWEBPEXIF\xff\xff\xff\xffII*\x00"),
		"blocks without end.gif":    append([]byte("GIF89a\x01\x00\x01\x00\x00\x00\x00!\xff\x0bXMP DataXMP"), bytes.Repeat([]byte{255}, 100_000)...),
		"offset beyond the end.raf": append([]byte("FUJIFILMCCD-RAW 0201FF159503"), bytes.Repeat([]byte{0xff}, 200)...),
		"boxes of size 8.jxl":       append([]byte("\x00\x00\x00\x0cJXL \r\n\x87\n"), bytes.Repeat([]byte("\x00\x00\x00\x08Exif"), 10_000)...),
		"Photoshop of any size.jpg": jpegWith(t, append([]byte("\xedPhotoshop 3.0\x008BIM\x04\x04\x00\x00\xff\xff\xff\xff\x1c\x02\x5a\x80\x04\xff\xff\xff\xff"), 'x')),
	}
}

func TestHostileMetadata(t *testing.T) {
	t.Parallel()
	for name, data := range hostileFiles(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkMetadata(t, data)
		})
	}
	t.Run("giant counts leave the rest", func(t *testing.T) {
		t.Parallel()
		if meta := metadataOf(t, hostileFiles(t)["giant counts.tif"]); textOf(meta.Description) != "kept" || meta.Make != nil {
			t.Errorf("got %+v", meta)
		}
	})
	t.Run("a loop leaves the rest", func(t *testing.T) {
		t.Parallel()
		if meta := metadataOf(t, hostileFiles(t)["directory loop.tif"]); textOf(meta.Make) != "Loop" {
			t.Errorf("got %+v", meta)
		}
	})
	t.Run("unpacking is bounded", func(t *testing.T) {
		t.Parallel()
		parts := metadataParts{used: maxRead - 1000}
		if got := len(parts.inflate(deflated(t, make([]byte, 1<<20)), maxXMP)); got != 1000 {
			t.Errorf("unpacked %d bytes of the 1000 that were left", got)
		}
	})
}

// TestTruncatedMetadata cuts real files of every container at many places.
func TestTruncatedMetadata(t *testing.T) {
	t.Parallel()
	cuts := 0
	for _, s := range imagemetaSamples(t) {
		data, err := os.ReadFile(s.path)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []int{1, 3, 11, 12, 13, 25, 40, 64, 100, 200, 333, 512, 1000, 2222, 5000, 9999, 20_000, 65_000} {
			if at < len(data) {
				checkMetadata(t, data[:at])
				cuts++
			}
		}
	}
	if cuts < 1000 {
		t.Errorf("only %d cuts", cuts)
	}
}

func deflated(t testing.TB, data []byte) []byte {
	t.Helper()
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// checkMetadata reads data and checks that no reader panics and that every
// value is in its range.
func checkMetadata(t testing.TB, data []byte) {
	t.Helper()
	meta, err := readMetadata(sectionOf(data), Format{Name: "any"})
	if err != nil && strings.Contains(err.Error(), "panic") {
		t.Fatal(err)
	}
	checkRanges(t, meta)
}

func checkRanges(t testing.TB, m banksia.Metadata) {
	t.Helper()
	for name, s := range map[string]*string{
		"make": m.Make, "model": m.Model, "lens_model": m.LensModel, "city": m.City, "state": m.State, "country": m.Country,
		"country_code": m.CountryCode, "sublocation": m.Sublocation, "place_name": m.PlaceName, "description": m.Description,
		"live_photo_cid": m.LivePhotoCID, "projection_type": m.ProjectionType, "profile_description": m.ProfileDescription, "auto_stack_id": m.AutoStackID,
	} {
		if s != nil && (*s == "" || len(*s) > 2*maxText || !utf8.ValidString(*s) || strings.ContainsRune(*s, 0)) {
			t.Errorf("%s is %.80q", name, *s)
		}
	}
	if m.CountryCode != nil && len(*m.CountryCode) != 2 {
		t.Errorf("country_code is %q", *m.CountryCode)
	}
	if m.Orientation != nil && (*m.Orientation < 1 || *m.Orientation > 8) {
		t.Errorf("orientation is %d", *m.Orientation)
	}
	if m.Rating != nil && (*m.Rating < -1 || *m.Rating > 5) {
		t.Errorf("rating is %d", *m.Rating)
	}
	if (m.Latitude == nil) != (m.Longitude == nil) || m.Latitude != nil && (!(math.Abs(*m.Latitude) <= 90) || !(math.Abs(*m.Longitude) <= 180)) {
		t.Errorf("the position is %v %v", m.Latitude, m.Longitude)
	}
	for name, f := range map[string]*float64{"f_number": m.FNumber, "focal_length": m.FocalLength, "exposure_time": m.ExposureTime, "fps": m.FPS} {
		if f != nil && (!(*f > 0) || math.IsInf(*f, 0)) {
			t.Errorf("%s is %v", name, *f)
		}
	}
	for name, f := range map[string]*float64{"exposure_bias": m.ExposureBias, "altitude": m.Altitude} {
		if f != nil && (math.IsNaN(*f) || math.IsInf(*f, 0)) {
			t.Errorf("%s is %v", name, *f)
		}
	}
	for _, n := range []*int{m.ISO, m.RawWidth, m.RawHeight} {
		if n != nil && (*n <= 0 || *n > math.MaxUint32) {
			t.Errorf("a count is %d", *n)
		}
	}
	for _, moment := range []*banksia.LocalTime{m.OriginalDateTime, m.DigitizedDateTime, m.ModifiedDateTime} {
		if moment == nil {
			continue
		}
		if _, err := banksia.ParseLocalTime(moment.String()); err != nil {
			t.Errorf("the time %s: %v", moment, err)
		}
	}
}

func FuzzMetadata(f *testing.F) {
	for _, data := range hostileFiles(f) {
		f.Add(data[:min(len(data), 4096)])
	}
	photo := []tiffEntry{ascii(0x9003, "2022:11:12 13:14:15"), rationals(0x829d, 4, 1), undefined(0x9286, []byte("UNICODE\x00h\x00i\x00"))}
	gps := []tiffEntry{ascii(0x0001, "N"), rationals(0x0002, 59, 1, 20, 1, 30, 1), ascii(0x0003, "W"), rationals(0x0004, 18, 1, 3, 1, 0, 1), ascii(0x001d, "2022:11:12"), rationals(0x0007, 12, 1, 14, 1, 15, 1)}
	block := buildTIFF([]tiffEntry{ascii(0x010f, "Canon"), short(0x0112, 6)}, photo, gps)
	f.Add(block)
	f.Add(jpegWith(f, exifSegment(block), xmpSegment(`xmp:Rating="3"`))[:2048])
	f.Add(jpegWith(f, exifSegment(appleBlock()))[:1024])
	f.Add([]byte(xmpPacket(`xmp:Rating="3"`, "<dc:description><rdf:Alt><rdf:li>x</rdf:li></rdf:Alt></dc:description>")))
	f.Add(iccProfile(f, iccLocalized("deDEGrün", "enUSGreen")))
	f.Fuzz(func(t *testing.T, data []byte) {
		checkMetadata(t, data)
		if meta, err := ReadSidecar(bytes.NewReader(data)); err == nil {
			checkRanges(t, meta)
		} else if strings.Contains(err.Error(), "panic") {
			t.Fatal(err)
		}
		if name := iccDescription(data); !utf8.ValidString(name) {
			t.Errorf("the profile is called %q", name)
		}
		checkRanges(t, parseIPTC(data))
		for _, family := range []string{"jpeg", "png", "gif", "webp", "bmp", "tiff", "rw2", "raf", "heif", "cr3", "jxl"} {
			var parts metadataParts
			parts.collect(io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data))), family, true)
			checkRanges(t, parts.metadata())
		}
	})
}
