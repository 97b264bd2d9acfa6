package media

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"os/exec"
	"path/filepath"
	"testing"
	"unicode/utf16"
)

// tiffEntry is one directory entry of a block that a test builds.
type tiffEntry struct {
	tag, kind uint16
	count     uint32
	data      []byte
}

var le = binary.LittleEndian

func ascii(tag uint16, s string) tiffEntry {
	return tiffEntry{tag, 2, uint32(len(s) + 1), append([]byte(s), 0)}
}

func short(tag, n uint16) tiffEntry {
	return tiffEntry{tag, 3, 1, le.AppendUint16(nil, n)}
}

func long(tag uint16, n uint32) tiffEntry {
	return tiffEntry{tag, 4, 1, le.AppendUint32(nil, n)}
}

func undefined(tag uint16, data []byte) tiffEntry {
	return tiffEntry{tag, 7, uint32(len(data)), data}
}

// rationals takes numerators and denominators in turn.
func rationals(tag uint16, numbers ...uint32) tiffEntry {
	e := tiffEntry{tag: tag, kind: 5, count: uint32(len(numbers) / 2)}
	for _, n := range numbers {
		e.data = le.AppendUint32(e.data, n)
	}
	return e
}

// appendDirectory writes the entries and then their values behind block, with
// offsets from its start, and gives the place of the directory.
func appendDirectory(block []byte, entries []tiffEntry) (grown []byte, at uint32) {
	at = uint32(len(block))
	block = le.AppendUint16(block, uint16(len(entries)))
	valuesAt := int(at) + 2 + 12*len(entries) + 4
	var values []byte
	for _, e := range entries {
		block = le.AppendUint16(block, e.tag)
		block = le.AppendUint16(block, e.kind)
		block = le.AppendUint32(block, e.count)
		if len(e.data) <= 4 {
			block = append(block, append(bytes.Clone(e.data), 0, 0, 0, 0)[:4]...)
			continue
		}
		block = le.AppendUint32(block, uint32(valuesAt+len(values)))
		values = append(values, e.data...)
	}
	block = le.AppendUint32(block, 0) // no next directory
	return append(block, values...), at
}

// buildTIFF is a block with a main, an EXIF and a GPS directory; the last two
// may be nil.
func buildTIFF(main, photo, gps []tiffEntry) []byte {
	block := []byte("II*\x00\x00\x00\x00\x00")
	var at uint32
	if photo != nil {
		block, at = appendDirectory(block, photo)
		main = append(main, long(tagExifIFD, at))
	}
	if gps != nil {
		block, at = appendDirectory(block, gps)
		main = append(main, long(tagGPSIFD, at))
	}
	block, at = appendDirectory(block, main)
	le.PutUint32(block[4:], at)
	return block
}

// jpegWith is a small picture with the APP1 and other segments given: marker,
// then content.
func jpegWith(t testing.TB, segments ...[]byte) []byte {
	t.Helper()
	var plain bytes.Buffer
	if err := jpeg.Encode(&plain, testPicture(48, 32), nil); err != nil {
		t.Fatal(err)
	}
	file := bytes.Clone(plain.Bytes()[:2])
	for _, s := range segments {
		file = append(file, 0xff, s[0])
		file = binary.BigEndian.AppendUint16(file, uint16(len(s)+1))
		file = append(file, s[1:]...)
	}
	return append(file, plain.Bytes()[2:]...)
}

func exifSegment(block []byte) []byte {
	return append([]byte("\xe1Exif\x00\x00"), block...)
}

func testPicture(width, height int) image.Image {
	picture := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			picture.Set(x, y, color.NRGBA{uint8(x * 5), uint8(y * 7), 128, 255})
		}
	}
	return picture
}

func runTool(t *testing.T, name string, arguments ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, arguments...)
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, arguments, err, output)
	}
}

// everyTag sets every field that exiftool can write into a still. Fractions,
// offsets and charsets are the awkward ones.
var everyTag = []string{
	"-IFD0:Make=Banksia Optics", "-IFD0:Model=B 1", "-ExifIFD:LensModel=Menziesii 35mm f/2", "-IFD0:Orientation#=6",
	"-IFD0:ModifyDate=2021:03:04 05:06:07", "-ExifIFD:SubSecTime=5", "-ExifIFD:OffsetTime=-03:30",
	"-ExifIFD:DateTimeOriginal=2020:02:29 23:59:58", "-ExifIFD:SubSecTimeOriginal=012345", "-ExifIFD:OffsetTimeOriginal=+05:45",
	"-ExifIFD:CreateDate=2020:02:29 23:59:59", "-ExifIFD:SubSecTimeDigitized=99", "-ExifIFD:OffsetTimeDigitized=+05:45",
	"-ExifIFD:FNumber=2.8", "-ExifIFD:FocalLength=35.5", "-ExifIFD:ISO=320", "-ExifIFD:ExposureTime=1/125", "-ExifIFD:ExposureCompensation=-0.66",
	"-GPS:GPSLatitude=33.856784", "-GPS:GPSLatitudeRef=S", "-GPS:GPSLongitude=151.215297", "-GPS:GPSLongitudeRef=E",
	"-GPS:GPSAltitude=12.5", "-GPS:GPSAltitudeRef#=1",
	"-XMP-photoshop:City=Zürich", "-XMP-photoshop:State=ZH", "-XMP-photoshop:Country=Schweiz", "-XMP-iptcCore:CountryCode=CHE",
	"-XMP-iptcCore:Location=Lindenhof", "-XMP-iptcExt:LocationCreated={LocationName=Grossmünster,City=Zürich}",
	"-XMP-dc:Description=Grüße aus 北京 & <elsewhere>", "-XMP-xmp:Rating=4", "-XMP-GPano:ProjectionType=equirectangular",
	"-XMP-GCamera:BurstID=9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d", "-IFD0:ImageDescription=B 1 DIGITAL CAMERA",
}

// generatedSamples makes files that hold what the photos in the module cache do
// not, so that every field and container is compared.
func generatedSamples(t *testing.T) []sample {
	t.Helper()
	folder := t.TempDir()
	path := func(name string) string { return filepath.Join(folder, name) }
	var plain bytes.Buffer
	if err := png.Encode(&plain, testPicture(48, 32)); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path("all.jpg"), jpegWith(t))
	writeFile(t, path("all.png"), plain.Bytes())
	var palette bytes.Buffer
	if err := gif.Encode(&palette, testPicture(48, 32), nil); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path("xmp.gif"), palette.Bytes())
	ffmpeg := func(arguments ...string) {
		t.Helper()
		runTool(t, "ffmpeg", append([]string{"-nostdin", "-v", "error", "-y"}, arguments...)...)
	}
	for _, name := range []string{"all.webp", "all.tif", "all.jxl", "all.avif"} {
		ffmpeg("-i", path("all.png"), "-frames:v", "1", path(name))
	}
	arguments := append([]string{"-q", "-m", "-overwrite_original"}, everyTag...) // -m: put JPEG XL into its container
	for _, name := range []string{"all.jpg", "all.png", "all.webp", "all.tif", "all.avif", "all.jxl", "xmp.gif"} {
		arguments = append(arguments, path(name))
	}
	runTool(t, "exiftool", arguments...)

	writeFile(t, path("old.icc"), iccProfile(t, iccASCII("Banksia RGB")))
	writeFile(t, path("new.icc"), iccProfile(t, iccLocalized("deDEBanksia-Grün", "enUSBanksia green 绿")))
	runTool(t, "exiftool", "-q", "-overwrite_original", "-ICC_Profile<="+path("old.icc"), path("all.jpg"), path("all.webp"))
	runTool(t, "exiftool", "-q", "-overwrite_original", "-ICC_Profile<="+path("new.icc"), path("all.png"), path("all.tif"))

	writeFile(t, path("iptc.jpg"), jpegWith(t))
	runTool(t, "exiftool", "-q", "-overwrite_original", "-codedcharacterset=utf8",
		"-IPTC:City=København", "-IPTC:Province-State=Hovedstaden", "-IPTC:Country-PrimaryLocationName=Danmark",
		"-IPTC:Country-PrimaryLocationCode=DNK", "-IPTC:Sub-location=Nyhavn", "-IPTC:Caption-Abstract=Blå båd",
		"-IPTC:DateCreated=2019:05:06", "-IPTC:TimeCreated=07:08:09+02:00",
		"-IPTC:DigitalCreationDate=2019:05:07", "-IPTC:DigitalCreationTime=08:09:10+02:00", path("iptc.jpg"))
	writeFile(t, path("latin1.jpg"), jpegWith(t))
	runTool(t, "exiftool", "-q", "-overwrite_original", "-charset", "iptc=latin", "-IPTC:City=Málaga", "-IPTC:Caption-Abstract=Año nuevo", path("latin1.jpg"))
	writeFile(t, path("comment.jpg"), jpegWith(t))
	runTool(t, "exiftool", "-q", "-overwrite_original", "-UserComment=Свобода", "-XPComment=Не та", "-RatingPercent=75", path("comment.jpg"))
	writeFile(t, path("xmponly.jpg"), jpegWith(t))
	runTool(t, "exiftool", "-q", "-overwrite_original", "-XMP-tiff:Make=Banksia", "-XMP-tiff:Model=X", "-XMP-aux:Lens=70mm", "-XMP-tiff:Orientation#=8",
		"-XMP-exif:DateTimeOriginal=2001:02:03 04:05:06.789-07:00", "-XMP-xmp:CreateDate=2001:02:03 04:05", "-XMP-xmp:ModifyDate=2002:02:03",
		"-XMP-exif:FNumber=5.6", "-XMP-exif:FocalLength=70", "-XMP-exif:ISO=1600", "-XMP-exif:ExposureTime=0.5", "-XMP-exif:ExposureCompensation=1",
		"-XMP-exif:GPSLatitude=-12.5", "-XMP-exif:GPSLongitude=-77.25", "-XMP-exif:GPSAltitude=154", "-XMP-exif:GPSAltitudeRef#=0",
		"-XMP-iptcExt:LocationShown={City=Lima,ProvinceState=Lima Province,CountryName=Peru,CountryCode=PE,Sublocation=Barranco,LocationName=Puente}",
		"-XMP-xmp:Rating=-1", path("xmponly.jpg"))

	writeFile(t, path("apple.jpg"), jpegWith(t, exifSegment(appleBlock())))
	generateRaw(t, path)
	generateClips(t, path, ffmpeg)
	return walkSamples(t, "generated", folder)
}

// iccProfile is a profile that holds nothing but its description.
func iccProfile(t testing.TB, description []byte) []byte {
	t.Helper()
	profile := make([]byte, 128)
	copy(profile[8:], "\x04\x00\x00\x00mntrRGB XYZ ")
	copy(profile[36:], "acsp")
	profile = binary.BigEndian.AppendUint32(profile, 1)
	profile = append(profile, "desc"...)
	profile = binary.BigEndian.AppendUint32(profile, 144)
	profile = binary.BigEndian.AppendUint32(profile, uint32(len(description)))
	profile = append(profile, description...)
	binary.BigEndian.PutUint32(profile, uint32(len(profile)))
	return profile
}

func iccASCII(text string) []byte {
	description := binary.BigEndian.AppendUint32([]byte("desc\x00\x00\x00\x00"), uint32(len(text)+1))
	return append(append(description, text...), make([]byte, 79)...) // the empty Unicode and ScriptCode forms
}

// iccLocalized takes texts that begin with their language and country.
func iccLocalized(texts ...string) []byte {
	description := binary.BigEndian.AppendUint32([]byte("mluc\x00\x00\x00\x00"), uint32(len(texts)))
	description = binary.BigEndian.AppendUint32(description, 12)
	var strings []byte
	for _, text := range texts {
		units := utf16.Encode([]rune(text[4:]))
		description = append(description, text[:4]...)
		description = binary.BigEndian.AppendUint32(description, uint32(2*len(units)))
		description = binary.BigEndian.AppendUint32(description, uint32(16+12*len(texts)+len(strings)))
		for _, unit := range units {
			strings = binary.BigEndian.AppendUint16(strings, unit)
		}
	}
	return append(description, strings...)
}

// appleBlock is what an iPhone writes into the stills of a burst with a clip.
func appleBlock() []byte {
	note, _ := appendDirectory([]byte("Apple iOS\x00\x00\x01II"), []tiffEntry{
		ascii(0x000b, "5D1C7C36-6C9B-4B5A-9B1B-0A5C0B2E7E11"), ascii(0x0011, "E2B4A1F7-0F3C-4C1F-8E73-6F1D5A0C9B22"),
	})
	return buildTIFF([]tiffEntry{ascii(0x010f, "Apple"), ascii(0x0110, "iPhone 12")}, []tiffEntry{undefined(tagMakerNote, note)}, nil)
}

// generateRaw wraps metadata in the containers of cameras whose files cannot be
// had here. They hold no picture.
func generateRaw(t *testing.T, path func(string) string) {
	t.Helper()
	photo := []tiffEntry{
		rationals(0x829a, 1, 60), rationals(0x829d, 4, 1), short(0x8827, 800),
		ascii(0x9003, "2022:11:12 13:14:15"), ascii(0x9004, "2022:11:12 13:14:15"), ascii(0x9010, "+01:00"), ascii(0x9011, "+01:00"), ascii(0x9012, "+01:00"),
		rationals(0x920a, 50, 1), ascii(0xa434, "50mm"),
	}
	gps := []tiffEntry{
		ascii(0x0001, "N"), rationals(0x0002, 59, 1, 20, 1, 30, 1), ascii(0x0003, "W"), rationals(0x0004, 18, 1, 3, 1, 0, 1),
		{0x0005, 1, 1, []byte{0}}, rationals(0x0006, 28, 1),
	}
	camera := func(name string) []tiffEntry {
		return []tiffEntry{short(0x0100, 6000), short(0x0101, 4000), ascii(0x010f, name), ascii(0x0110, name+" 1"), short(0x0112, 8), ascii(0x0132, "2022:11:12 13:14:15")}
	}

	orf := buildTIFF(camera("OLYMPUS"), photo, gps)
	copy(orf[2:], "RO")
	writeFile(t, path("raw.orf"), orf)

	preview := jpegWith(t, exifSegment(buildTIFF(camera("Panasonic"), photo, gps)))
	rw2 := buildTIFF([]tiffEntry{
		short(0x0002, 6016), short(0x0003, 4016), short(0x0004, 8), short(0x0005, 8), short(0x0006, 4008), short(0x0007, 6008),
		undefined(tagPanasonicJPEG, preview), ascii(0x010f, "Panasonic"), ascii(0x0110, "Panasonic 1"), short(0x0112, 8),
	}, nil, nil)
	copy(rw2[2:], "U\x00")
	writeFile(t, path("raw.rw2"), rw2)

	preview = jpegWith(t, exifSegment(buildTIFF(camera("FUJIFILM"), photo, gps)))
	raf := make([]byte, 148)
	copy(raf, "FUJIFILMCCD-RAW 0201FF159503X-T1")
	binary.BigEndian.PutUint32(raf[84:], 148)
	binary.BigEndian.PutUint32(raf[88:], uint32(len(preview)))
	directory := []byte("\x00\x00\x00\x01\x01\x00\x00\x04")
	directory = binary.BigEndian.AppendUint16(directory, 4032)
	directory = binary.BigEndian.AppendUint16(directory, 6032)
	binary.BigEndian.PutUint32(raf[92:], uint32(148+len(preview)))
	binary.BigEndian.PutUint32(raf[96:], uint32(len(directory)))
	writeFile(t, path("raw.raf"), append(append(raf, preview...), directory...))

	main := append(camera("Canon"), ascii(0x013b, "nobody"))
	blocks := isoBox("CMT1", buildTIFF(main, nil, nil))
	blocks = append(blocks, isoBox("CMT2", buildTIFF(photo, nil, nil))...)
	blocks = append(blocks, isoBox("CMT3", buildTIFF([]tiffEntry{ascii(0x0095, "RF50mm F1.8 STM")}, nil, nil))...)
	blocks = append(blocks, isoBox("CMT4", buildTIFF(gps, nil, nil))...)
	moov := isoBox("moov", isoBox("uuid", append([]byte(canonUUID), blocks...)))
	cr3 := append(isoBox("ftyp", []byte("crx \x00\x00\x00\x01crx isom")), moov...)
	xmp := `<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="3"/></rdf:RDF></x:xmpmeta>`
	writeFile(t, path("raw.cr3"), append(cr3, isoBox("uuid", append([]byte(xmpUUID), xmp...))...))
}

func isoBox(kind string, content []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(content)+8))
	return append(append(b, kind...), content...)
}

// generateClips makes a second of video in each container with all that it can
// say of itself.
func generateClips(t *testing.T, path func(string) string, ffmpeg func(...string)) {
	t.Helper()
	source := []string{"-f", "lavfi", "-i", "testsrc=size=64x48:rate=30000/1001:duration=1"}
	clip := func(name string, arguments ...string) {
		t.Helper()
		ffmpeg(append(append(append([]string{}, source...), arguments...), path(name))...)
	}
	clip("phone.mov", "-c:v", "mpeg4", "-movflags", "use_metadata_tags",
		"-metadata", "com.apple.quicktime.location.ISO6709=+48.8584+002.2945+035.000/",
		"-metadata", "com.apple.quicktime.creationdate=2021-07-14T22:30:05+0200",
		"-metadata", "com.apple.quicktime.content.identifier=E2B4A1F7-0F3C-4C1F-8E73-6F1D5A0C9B22",
		"-metadata", "com.apple.quicktime.make=Apple", "-metadata", "com.apple.quicktime.model=iPhone 12",
		"-metadata", "com.apple.quicktime.description=Feu d'artifice",
		"-metadata", "creation_time=2021-07-14T20:30:06Z")
	clip("android.mp4", "-c:v", "mpeg4", "-metadata", "location=-33.8568+151.2153/", "-metadata", "creation_time=2020-01-02T03:04:05Z")
	clip("tagged.m4v", "-c:v", "mpeg4", "-metadata", "comment=A comment", "-metadata", "make=GoPro", "-metadata", "model=HERO", "-metadata", "creation_time=2019-08-07T06:05:04Z")
	clip("unset.mp4", "-c:v", "mpeg4")
	clip("tagged.mkv", "-c:v", "mpeg4", "-metadata", "creation_time=2018-01-02T03:04:05Z", "-metadata", "description=Matroska")
	clip("tagged.webm", "-c:v", "libvpx", "-metadata", "creation_time=2018-01-02T03:04:05Z")
	clip("tagged.avi", "-c:v", "mpeg4", "-metadata", "comment=AVI comment", "-metadata", "date=2017-06-05 04:03:02")
	clip("phone.3gp", "-c:v", "mpeg4", "-metadata", "location=+59.3293+018.0686/", "-metadata", "creation_time=2016-05-04T03:02:01Z")
	for name, degrees := range map[string]string{"phone.mov": "90", "android.mp4": "180", "phone.3gp": "270"} {
		runTool(t, "exiftool", "-q", "-overwrite_original", "-Rotation="+degrees, path(name))
	}
}
