package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/banksia-photos/banksia"
)

// allVariants orders each variant in a file of its own.
func allVariants(dir string) []Order {
	var orders []Order
	for _, name := range []banksia.VariantName{
		banksia.VariantThumbnail, banksia.VariantSmall, banksia.VariantPreview, banksia.VariantFullsize,
	} {
		orders = append(orders, Order{Variant: name, Path: filepath.Join(dir, string(name))})
	}
	return orders
}

// decode reads a drawn file; libvips' own program translates WebP.
func decode(t *testing.T, path string) image.Image {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.HasPrefix(content, []byte("RIFF")) {
		translated := filepath.Join(t.TempDir(), "webp.png")
		tool(t, "vips", "copy", path, translated)
		file, err := os.Open(translated)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		picture, err := png.Decode(file)
		if err != nil {
			t.Fatal(err)
		}
		return picture
	}
	picture, err := jpeg.Decode(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

// checkCorners compares the middle of each quarter.
func checkCorners(t *testing.T, picture image.Image, want [4]color.NRGBA, tolerance float64) {
	t.Helper()
	width, height := picture.Bounds().Dx(), picture.Bounds().Dy()
	for i, w := range want {
		at := picture.At(width*(1+i%2*2)/4, height*(1+i/2*2)/4)
		got := color.NRGBAModel.Convert(at).(color.NRGBA)
		distance := math.Abs(float64(got.A) - float64(w.A))
		if w.A > 0 {
			for _, d := range []int{int(got.R) - int(w.R), int(got.G) - int(w.G), int(got.B) - int(w.B)} {
				distance = max(distance, math.Abs(float64(d)))
			}
		}
		if distance > tolerance {
			t.Errorf("quarter %d of %d × %d is %v, want %v", i, width, height, got, w)
		}
	}
}

// TestDrawEveryFormat draws every variant of every format (behaviour 7.21, 7.26
// and decision 12: longest edges 360, 720 and 1440, never larger than the
// original, JPEG or WebP).
func TestDrawEveryFormat(t *testing.T) {
	t.Parallel()
	pool := newPool(t, nil)
	dir := t.TempDir()
	const width, height = 1500, 1000
	picture := quarters(width, height, cornerColours)
	base := write(t, dir, "base.png", encodePNG(t, picture))
	seeThrough := cornerColours
	seeThrough[3].A = 0
	transparent := write(t, dir, "transparent.png", encodePNG(t, quarters(width, height, seeThrough)))
	camera := encodeJPEG(t, picture)
	small := encodeJPEG(t, quarters(150, 100, [4]color.NRGBA{})) // black, and not the largest
	animation := write(t, dir, "animation.gif", encodeGIF(t, paletted(picture), 3))

	deep := image.NewNRGBA64(picture.Bounds())
	grey := image.NewGray16(picture.Bounds())
	for y := range height {
		for x := range width {
			deep.Set(x, y, picture.At(x, y))
			grey.Set(x, y, picture.At(x, y))
		}
	}
	var greys [4]color.NRGBA
	for i, c := range cornerColours {
		luma := color.GrayModel.Convert(c).(color.Gray).Y
		greys[i] = color.NRGBA{luma, luma, luma, 255}
	}
	vips := func(name string, options string, args ...string) string {
		path := filepath.Join(dir, name)
		tool(t, "vips", append([]string{"copy", base, path + options}, args...)...)
		return path
	}
	video := func(name string, args ...string) string {
		path := filepath.Join(dir, name)
		args = append([]string{"-v", "error", "-nostdin", "-loop", "1", "-i", base, "-t", "1.5", "-r", "10", "-pix_fmt", "yuv420p"}, args...)
		tool(t, "ffmpeg", append(args, path)...)
		return path
	}
	printed := filepath.Join(dir, "cmyk.jpg")
	tool(t, "vips", "icc_transform", base, printed+"[Q=95,profile=cmyk]", "cmyk", "--input-profile", "srgb")
	unprofiled := filepath.Join(dir, "cmyk-without-profile.jpg")
	tool(t, "vips", "copy", printed, unprofiled+"[Q=95,strip]")
	seeThroughWebP := filepath.Join(dir, "alpha.webp")
	tool(t, "vips", "copy", transparent, seeThroughWebP)
	moving := filepath.Join(dir, "moving.webp")
	tool(t, "vips", "copy", animation+"[n=-1]", moving)

	for name, row := range map[string]struct {
		path      string
		webp      bool
		corners   [4]color.NRGBA
		tolerance float64
	}{
		"jpeg":                {write(t, dir, "a.jpg", camera), false, cornerColours, 12},
		"progressive jpeg":    {vips("b.jpg", "[interlace]"), false, cornerColours, 12},
		"cmyk jpeg":           {printed, false, cornerColours, 110}, // what ink can show
		"cmyk jpeg unnamed":   {unprofiled, false, cornerColours, 110},
		"grey jpeg":           {vips("grey.jpg", "[profile=none]"), false, cornerColours, 12},
		"png":                 {base, false, cornerColours, 12},
		"png of 16 bits":      {write(t, dir, "deep.png", encodePNG(t, deep)), false, cornerColours, 12},
		"png grey of 16 bits": {write(t, dir, "grey.png", encodePNG(t, grey)), false, greys, 12},
		"png with alpha":      {transparent, true, seeThrough, 12},
		"png with palette":    {write(t, dir, "palette.png", encodePNG(t, paletted(picture))), true, cornerColours, 12},
		"gif":                 {animation, true, cornerColours, 12},
		"webp":                {vips("a.webp", "[Q=90]"), false, cornerColours, 12},
		"webp with alpha":     {seeThroughWebP, true, seeThrough, 12},
		"animated webp":       {moving, false, cornerColours, 12},
		"heic":                {vips("a.heic", "[Q=80,effort=0]"), false, cornerColours, 12},
		"avif":                {vips("a.avif", "[Q=80,effort=0]"), false, cornerColours, 12},
		"jxl":                 {vips("a.jxl", "[effort=3]"), false, cornerColours, 12},
		"tiff":                {vips("a.tif", "[compression=deflate]"), false, cornerColours, 12},
		"tiled tiff":          {vips("b.tif", "[compression=jpeg,tile]"), false, cornerColours, 12},
		"bmp":                 {write(t, dir, "a.bmp", encodeBMP(picture)), false, cornerColours, 12},

		"dng": {write(t, dir, "a.dng", tiffFile("II*\x00", []rawField{partField(rawStripOffsets, rawStripByteCounts, camera)})), false, cornerColours, 12},
		"nef": {write(t, dir, "a.nef", tiffFile("II*\x00", []rawField{shortField(rawImageWidth, 160)}, []rawField{partField(rawJPEGOffset, rawJPEGLength, camera)})), false, cornerColours, 12},
		"cr2": {write(t, dir, "a.cr2", tiffFile("II*\x00", []rawField{partField(rawStripOffsets, rawStripByteCounts, camera)}, []rawField{partField(rawJPEGOffset, rawJPEGLength, small)})), false, cornerColours, 12},
		"arw": {write(t, dir, "a.arw", tiffFile("II*\x00", []rawField{partField(rawJPEGOffset, rawJPEGLength, small)}, []rawField{partField(rawJPEGOffset, rawJPEGLength, camera)})), false, cornerColours, 12},
		"pef": {write(t, dir, "a.pef", tiffFile("II*\x00", []rawField{shortField(rawImageWidth, width), shortField(rawImageLength, height)}, nil, []rawField{partField(rawJPEGOffset, rawJPEGLength, camera)})), false, cornerColours, 12},
		"srw": {write(t, dir, "a.srw", tiffFile("II*\x00", []rawField{longField(rawSubIFDs, 8+2+12+4)}, []rawField{partField(rawJPEGOffset, rawJPEGLength, camera)})), false, cornerColours, 12},
		"rw2": {write(t, dir, "a.rw2", tiffFile("IIU\x00", []rawField{blobField(rawPanasonicJPEG, camera)})), false, cornerColours, 12},
		"orf": {write(t, dir, "a.orf", olympusFile(camera)), false, cornerColours, 12},
		"raf": {write(t, dir, "a.raf", fujiFile(camera)), false, cornerColours, 12},
		"cr3": {write(t, dir, "a.cr3", canonFile(camera, 1)), false, cornerColours, 12},

		"mp4":  {video("a.mp4", "-c:v", "libx264", "-preset", "ultrafast"), false, cornerColours, 20},
		"mov":  {video("a.mov", "-c:v", "libx264", "-preset", "ultrafast"), false, cornerColours, 20},
		"3gp":  {video("a.3gp", "-c:v", "mpeg4", "-q:v", "3"), false, cornerColours, 20},
		"webm": {video("a.webm", "-c:v", "libvpx", "-deadline", "realtime", "-b:v", "2M"), false, cornerColours, 20},
		"mkv":  {video("a.mkv", "-c:v", "libx264", "-preset", "ultrafast"), false, cornerColours, 20},
		"avi":  {video("a.avi", "-c:v", "mpeg4", "-q:v", "3"), false, cornerColours, 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			format, ok := FormatByName(row.path)
			if !ok {
				t.Fatal("no format has this extension")
			}
			info, err := pool.Describe(t.Context(), row.path, format)
			if err != nil {
				t.Fatal(err)
			}
			mimeType := "image/jpeg"
			if row.webp {
				mimeType = "image/webp"
			}
			if info.Problem != "" || info.Width != width || info.Height != height || info.VariantMIMEType != mimeType ||
				info.MIMEType != format.MIMEType || info.MediaType != format.MediaType {
				t.Errorf("described as %+v", info)
			}
			if want := format.Displayable && format.MediaType == banksia.Image; info.Displayable != want {
				t.Errorf("displayable is %t, want %t", info.Displayable, want)
			}
			if (info.Duration != nil) != (format.MediaType == banksia.Video) {
				t.Errorf("the duration is %v", info.Duration)
			}
			orders := allVariants(t.TempDir())
			drawn, err := pool.Draw(t.Context(), row.path, format, orders)
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range []Drawn{
				{Variant: banksia.VariantThumbnail, Width: 360, Height: 240},
				{Variant: banksia.VariantSmall, Width: 720, Height: 480},
				{Variant: banksia.VariantPreview, Width: 1440, Height: 960},
				{Variant: banksia.VariantFullsize, Width: width, Height: height},
			} {
				content, err := os.ReadFile(orders[i].Path)
				if err != nil {
					t.Fatal(err)
				}
				want.MIMEType, want.SizeBytes = mimeType, int64(len(content))
				if drawn[i] != want {
					t.Errorf("drawn %+v, want %+v", drawn[i], want)
				}
				result := decode(t, orders[i].Path)
				if size := result.Bounds().Size(); size.X != want.Width || size.Y != want.Height {
					t.Errorf("%s is %v in its file", want.Variant, size)
				}
				checkCorners(t, result, row.corners, row.tolerance)
			}
			hash, err := pool.ThumbHash(t.Context(), row.path, format)
			if err != nil || len(hash) < 5 || len(hash) > 25 {
				t.Errorf("the ThumbHash is %x, %v", hash, err)
			}
		})
	}
}

// The eight orientations of EXIF: which stored quarter is seen at the top left,
// top right, bottom left and bottom right.
var orientations = map[int][4]int{
	1: {0, 1, 2, 3}, 2: {1, 0, 3, 2}, 3: {3, 2, 1, 0}, 4: {2, 3, 0, 1},
	5: {0, 2, 1, 3}, 6: {2, 0, 3, 1}, 7: {3, 1, 2, 0}, 8: {1, 3, 0, 2},
}

func seen(orientation int) (colours [4]color.NRGBA) {
	for i, quarter := range orientations[orientation] {
		colours[i] = cornerColours[quarter]
	}
	return colours
}

// TestDrawUpright: pictures are drawn and measured in display space (behaviour
// 7.2), and nothing of the metadata is left in what is drawn.
func TestDrawUpright(t *testing.T) {
	t.Parallel()
	pool := newPool(t, nil)
	camera := encodeJPEG(t, quarters(600, 400, cornerColours))
	for orientation := range orientations {
		tag := shortField(rawOrientation, uint32(orientation))
		for name, content := range map[string][]byte{
			"a.jpg": withExif(camera, orientation),
			"a.dng": tiffFile("II*\x00", []rawField{tag, partField(rawStripOffsets, rawStripByteCounts, camera)}),
			// The orientation in the preview says the same as that of the file.
			"b.nef": tiffFile("II*\x00", []rawField{tag}, []rawField{partField(rawJPEGOffset, rawJPEGLength, withExif(camera, orientation))}),
			"a.raf": fujiFile(withExif(camera, orientation)),
			"a.cr3": canonFile(camera, orientation),
		} {
			t.Run(fmt.Sprint(name, orientation), func(t *testing.T) {
				t.Parallel()
				path := write(t, t.TempDir(), name, content)
				format, _ := FormatByName(name)
				width, height := 600, 400
				if orientation > 4 {
					width, height = height, width
				}
				info, err := pool.Describe(t.Context(), path, format)
				if err != nil || info.Width != width || info.Height != height {
					t.Errorf("described as %+v, %v", info, err)
				}
				if raw := info.Metadata; raw.RawWidth == nil || *raw.RawWidth != 600 || raw.RawHeight == nil || *raw.RawHeight != 400 {
					t.Errorf("the size before orientation is %v × %v", raw.RawWidth, raw.RawHeight)
				}
				orders := allVariants(t.TempDir())
				if _, err := pool.Draw(t.Context(), path, format, orders); err != nil {
					t.Fatal(err)
				}
				for _, o := range orders {
					result := decode(t, o.Path)
					if size := result.Bounds().Size(); (size.X > size.Y) != (width > height) {
						t.Errorf("%s is %v", o.Variant, size)
					}
					checkCorners(t, result, seen(orientation), 16)
					content, err := os.ReadFile(o.Path)
					if err != nil || bytes.Contains(content, []byte("Exif")) {
						t.Errorf("%s holds EXIF data, %v", o.Variant, err)
					}
				}
			})
		}
	}
}

func TestDrawVideoUpright(t *testing.T) {
	t.Parallel()
	pool := newPool(t, nil)
	dir := t.TempDir()
	base := write(t, dir, "base.png", encodePNG(t, quarters(600, 400, cornerColours)))
	lying, turned := filepath.Join(dir, "lying.mp4"), filepath.Join(dir, "turned.mp4")
	// Shorter than a second, so that the still is the first frame.
	tool(t, "ffmpeg", "-v", "error", "-nostdin", "-loop", "1", "-i", base, "-t", "0.4", "-r", "10", "-pix_fmt", "yuv420p", "-c:v", "libx264", lying)
	// The tag was how ffmpeg wrote a rotation up to 6, the option is since 6.
	if help, _ := exec.Command("ffmpeg", "-hide_banner", "-h", "full").Output(); strings.Contains(string(help), "-display_rotation") {
		tool(t, "ffmpeg", "-v", "error", "-nostdin", "-display_rotation", "-90", "-i", lying, "-c", "copy", turned)
	} else {
		tool(t, "ffmpeg", "-v", "error", "-nostdin", "-i", lying, "-c", "copy", "-metadata:s:v", "rotate=90", turned)
	}
	format, _ := FormatByName(turned)
	info, err := pool.Describe(t.Context(), turned, format)
	if err != nil || info.Width != 400 || info.Height != 600 {
		t.Errorf("described as %+v, %v", info, err)
	}
	orders := []Order{{banksia.VariantPreview, filepath.Join(dir, "still")}}
	if _, err := pool.Draw(t.Context(), turned, format, orders); err != nil {
		t.Fatal(err)
	}
	result := decode(t, orders[0].Path)
	if size := result.Bounds().Size(); size != image.Pt(400, 600) {
		t.Errorf("the still is %v", size)
	}
	checkCorners(t, result, seen(8), 20) // ffmpeg counts against the clock
}

// TestDrawInSRGB converts a wide colour space: the same numbers in Display P3 are
// stronger colours.
func TestDrawInSRGB(t *testing.T) {
	t.Parallel()
	pool := newPool(t, nil)
	dir := t.TempDir()
	colours := [4]color.NRGBA{{200, 100, 100, 255}, {100, 200, 100, 255}, {100, 100, 200, 255}, {128, 128, 128, 255}}
	base := write(t, dir, "base.png", encodePNG(t, quarters(800, 600, colours)))
	wide := filepath.Join(dir, "wide.png")
	tool(t, "vips", "copy", base, wide+"[profile=p3]")
	orders := allVariants(dir)
	if _, err := pool.Draw(t.Context(), wide, Formats[1], orders); err != nil {
		t.Fatal(err)
	}
	var want [4]color.NRGBA
	for i, c := range colours {
		want[i] = fromDisplayP3(c)
	}
	for _, o := range orders {
		checkCorners(t, decode(t, o.Path), want, 8)
		if content, err := os.ReadFile(o.Path); err != nil || bytes.Contains(content, []byte("ICC_PROFILE")) {
			t.Errorf("%s holds a colour profile, %v", o.Variant, err)
		}
	}
	// A damaged profile is ignored.
	content, err := os.ReadFile(write(t, dir, "damaged.jpg", withProfile(encodeJPEG(t, quarters(800, 600, colours)), []byte("no profile at all"))))
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, dir, "damaged.jpg", content)
	if _, err := pool.Draw(t.Context(), path, Formats[0], orders); err != nil {
		t.Fatal(err)
	}
	checkCorners(t, decode(t, orders[0].Path), colours, 8)
}

// withProfile puts a colour profile into a JPEG (ICC.1:2022, annex B.4).
func withProfile(picture, profile []byte) []byte {
	content := append([]byte("ICC_PROFILE\x00\x01\x01"), profile...)
	segment := binary.BigEndian.AppendUint16([]byte{0xff, 0xe2}, uint16(len(content)+2))
	return bytes.Join([][]byte{picture[:2], segment, content, picture[2:]}, nil)
}

// fromDisplayP3 converts by the primaries of both colour spaces (SMPTE RP 431-2
// with D65, IEC 61966-2-1), whose transfer function is the same.
func fromDisplayP3(c color.NRGBA) color.NRGBA {
	linear := func(v uint8) float64 {
		x := float64(v) / 255
		if x <= 0.04045 {
			return x / 12.92
		}
		return math.Pow((x+0.055)/1.055, 2.4)
	}
	coded := func(x float64) uint8 {
		x = min(max(x, 0), 1)
		if x <= 0.0031308 {
			return uint8(math.Round(255 * 12.92 * x))
		}
		return uint8(math.Round(255 * (1.055*math.Pow(x, 1/2.4) - 0.055)))
	}
	r, g, b := linear(c.R), linear(c.G), linear(c.B)
	return color.NRGBA{
		coded(1.2249*r - 0.2247*g), coded(-0.0420*r + 1.0419*g), coded(-0.0197*r - 0.0786*g + 1.0979*b), c.A,
	}
}

func TestDrawNeverEnlarges(t *testing.T) {
	t.Parallel()
	pool := newPool(t, nil)
	dir := t.TempDir()
	path := write(t, dir, "small.png", encodePNG(t, quarters(40, 30, cornerColours)))
	drawn, err := pool.Draw(t.Context(), path, Formats[1], allVariants(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range drawn {
		if d.Width != 40 || d.Height != 30 {
			t.Errorf("drawn %+v", d)
		}
	}
	if _, err := pool.Draw(t.Context(), path, Formats[1], []Order{{banksia.VariantOriginal, filepath.Join(dir, "o")}}); err == nil {
		t.Error("the original is drawn")
	}
}

// TestDrawNameWithBrackets: libvips reads options out of such names elsewhere.
func TestDrawNameWithBrackets(t *testing.T) {
	t.Parallel()
	pool := newPool(t, nil)
	dir := filepath.Join(t.TempDir(), "[Q=1]\n")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := write(t, dir, "a.png[page=7]", encodePNG(t, quarters(40, 30, cornerColours)))
	order := Order{banksia.VariantThumbnail, filepath.Join(dir, "b.jpg[Q=1]")}
	if _, err := pool.Draw(t.Context(), path, Formats[1], []Order{order}); err != nil {
		t.Fatal(err)
	}
	checkCorners(t, decode(t, order.Path), cornerColours, 16)
}

// TestDrawCorrupt leaves nothing behind.
func TestDrawCorrupt(t *testing.T) {
	t.Parallel()
	pool := newPool(t, nil)
	dir := t.TempDir()
	path := write(t, dir, "a.png", encodePNG(t, quarters(400, 300, cornerColours))[:45])
	orders := allVariants(dir)
	_, err := pool.Draw(t.Context(), path, Formats[1], orders)
	if !errors.Is(err, ErrCorrupt) || strings.Contains(err.Error(), dir) {
		t.Errorf("the error is %v", err)
	}
	for _, o := range orders {
		if _, err := os.Stat(o.Path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there, %v", o.Variant, err)
		}
	}
}

// olympusFile is an ORF whose preview is found through the maker's notes.
func olympusFile(preview []byte) []byte {
	settings := tiffFile("II*\x00", []rawField{partField(rawOlympusPreviewAt, rawOlympusPreview, preview)})[8:]
	// Offsets count from the start of the notes: a header of 12 bytes, a directory
	// of one entry, then the settings, of which the offset is corrected.
	const settingsAt = 12 + 2 + 12 + 4
	binary.LittleEndian.PutUint32(settings[2+8:], settingsAt+2+24+4)
	notes := append([]byte("OLYMPUS\x00II\x03\x00"), tiffFile("II*\x00", []rawField{{tag: rawOlympusSettings, kind: 13, count: 1, value: settingsAt}})[8:]...)
	return tiffFile("IIRO", []rawField{longField(rawExifIFD, 8+2+12+4)}, []rawField{blobField(rawMakerNote, append(notes, settings...))})
}

// fujiFile is a RAF: a header with the position of its JPEG.
func fujiFile(preview []byte) []byte {
	head := make([]byte, 148)
	copy(head, "FUJIFILMCCD-RAW 0201")
	binary.BigEndian.PutUint32(head[84:], uint32(len(head)))
	binary.BigEndian.PutUint32(head[88:], uint32(len(preview)))
	return append(head, preview...)
}

// canonFile is a CR3 with a picture in its first track and a small one in a box.
func canonFile(preview []byte, orientation int) []byte {
	be := binary.BigEndian
	head := canonBox("ftyp", []byte("crx \x00\x00\x00\x01crx isom"))
	directory := tiffFile("II*\x00", []rawField{shortField(rawOrientation, uint32(orientation))})
	movie := func(offset uint64) []byte {
		sizes := canonBox("stsz", make([]byte, 4), be.AppendUint32(nil, uint32(len(preview))), be.AppendUint32(nil, 1))
		places := canonBox("co64", make([]byte, 4), be.AppendUint32(nil, 1), be.AppendUint64(nil, offset))
		return canonBox("moov", canonBox("uuid", cr3Metadata, canonBox("CMT1", directory)),
			canonBox("trak", canonBox("mdia", canonBox("minf", canonBox("stbl", sizes, places)))))
	}
	offset := uint64(len(head) + len(movie(0)) + 8)
	return bytes.Join([][]byte{head, movie(offset), canonBox("mdat", preview)}, nil)
}
