package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// pngHeader is a PNG of any size with the pixel data given.
func pngHeader(width, height uint32, depth, kind byte, data []byte) []byte {
	file := []byte("\x89PNG\r\n\x1a\n")
	chunk := func(name string, content []byte) {
		file = binary.BigEndian.AppendUint32(file, uint32(len(content)))
		body := append([]byte(name), content...)
		file = append(file, body...)
		file = binary.BigEndian.AppendUint32(file, crc32.ChecksumIEEE(body))
	}
	size := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, width), height)
	chunk("IHDR", append(size, depth, kind, 0, 0, 0))
	chunk("IDAT", data)
	chunk("IEND", nil)
	return file
}

// checkVerdict runs all work on a file: each ends with a result or with one of
// the errors, which says nothing about where the file lies.
func checkVerdict(t *testing.T, pool *Pool, path string, format Format) (Info, error) {
	t.Helper()
	dir := t.TempDir()
	info, err := pool.Describe(t.Context(), path, format)
	if err != nil || info.MIMEType != format.MIMEType || info.MediaType != format.MediaType {
		t.Errorf("described as %+v, %v", info, err)
	}
	orders := allVariants(dir)
	drawn, drawErr := pool.Draw(t.Context(), path, format, orders)
	_, hashErr := pool.ThumbHash(t.Context(), path, format)
	for _, err := range []error{drawErr, hashErr, errors.New(info.Problem)} {
		if err != nil && strings.Contains(err.Error(), filepath.Dir(path)) {
			t.Errorf("the error names a path: %v", err)
		}
	}
	for _, err := range []error{drawErr, hashErr} {
		if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) && !errors.Is(err, ErrTooLarge) {
			t.Errorf("the error is %v", err)
		}
	}
	if drawErr == nil {
		if len(drawn) != len(orders) || info.Problem != "" || info.VariantMIMEType != drawn[0].MIMEType {
			t.Errorf("described as %+v but drawn as %+v", info, drawn)
		}
	}
	return info, drawErr
}

// TestHostileFiles: each has its verdict, and the pool serves on.
func TestHostileFiles(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(c *Config) { c.MemoryLimit, c.MaxFrames = 512<<20, 1000 })
	dir := t.TempDir()
	camera := encodeJPEG(t, quarters(64, 48, cornerColours))
	giant := bytes.Clone(camera)
	frame := bytes.Index(giant, []byte{0xff, 0xc0})
	copy(giant[frame+5:], []byte{0xff, 0xff, 0xff, 0xff}) // 65535 × 65535
	tall := bytes.Clone(camera)
	copy(tall[frame+5:], []byte{0xff, 0xff, 0, 16}) // more than libjpeg decodes
	frames := encodeGIF(t, paletted(image.NewNRGBA(image.Rect(0, 0, 2, 2))), 20_000)
	giantVideo := filepath.Join(dir, "giant.avi")
	tool(t, "ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc=s=64x48:d=1", "-c:v", "mjpeg", giantVideo)
	patchFrames(t, giantVideo)
	wide := filepath.Join(dir, "wide.png")
	tool(t, "vips", "black", wide, "65535", "20")
	interlaced := filepath.Join(dir, "interlaced.png")
	tool(t, "vips", "black", filepath.Join(dir, "black.v"), "16000", "16000", "--bands", "4")
	tool(t, "vips", "copy", filepath.Join(dir, "black.v"), interlaced+"[interlace,compression=1]")

	for name, row := range map[string]struct {
		path    string
		content []byte
		want    error
	}{
		"empty":                       {"a.jpg", nil, ErrCorrupt},
		"one byte":                    {"b.jpg", []byte{0xff}, ErrCorrupt},
		"only a magic number":         {"c.jpg", []byte{0xff, 0xd8, 0xff, 0xe0}, ErrCorrupt},
		"page in disguise":            {"d.jpg", []byte("<!DOCTYPE html><script>alert(1)</script>"), ErrCorrupt},
		"vector graphics in disguise": {"e.png", []byte("<svg xmlns='http://www.w3.org/2000/svg' width='10' height='10'/>"), ErrCorrupt},
		"playlist in disguise":        {"f.mp4", []byte("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"), ErrCorrupt},
		"list of files in disguise":   {"f2.mp4", []byte("ffconcat version 1.0\nfile '/etc/passwd'\n"), ErrCorrupt},
		"playlist as a transport":     {"f3.mkv", []byte("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1,\nhttp://127.0.0.1/\n"), ErrCorrupt},
		"video of giant frames":       {giantVideo, nil, ErrCorrupt},
		"another format":              {"g.png", camera, ErrCorrupt},
		"png of 3.6 gigapixels":       {"h.png", pngHeader(60000, 60000, 8, 2, []byte{0x78, 0x9c}), ErrTooLarge},
		"png of no pixels":            {"i.png", pngHeader(0, 0, 8, 2, nil), ErrCorrupt},
		"jpeg of 4 gigapixels":        {"j.jpg", giant, ErrTooLarge},
		"jpeg of 65535 lines":         {"k.jpg", tall, ErrTooLarge},
		"gif of 20000 frames":         {"l.gif", frames, ErrTooLarge},
		"bmp of 4 gigapixels":         {"m.bmp", bigBitmap(65535, 65535), ErrTooLarge},
		"bmp without pixels":          {"n.bmp", bigBitmap(10, 10)[:54], ErrCorrupt},
		"tiff of 4 gigapixels": {"o.tif", tiffFile("II*\x00", []rawField{
			longField(rawImageWidth, 65535), longField(rawImageLength, 65535), shortField(0x102, 8), shortField(0x103, 1),
			shortField(rawPhotometric, 1), partField(rawStripOffsets, rawStripByteCounts, []byte("xy")), longField(0x116, 65535),
		}), ErrTooLarge},
		"raw without a preview": {"p.nef", tiffFile("II*\x00", []rawField{shortField(rawImageWidth, 4000)}), ErrUnsupported},
		"raw that points at itself": {"q.dng", tiffFile("II*\x00", []rawField{
			longField(rawSubIFDs, 8), longField(rawExifIFD, 8), longField(rawJPEGOffset, 8), longField(rawJPEGLength, 1<<31),
		}), ErrUnsupported},
		"raw with a giant preview":  {"r.nef", tiffFile("II*\x00", []rawField{partField(rawJPEGOffset, rawJPEGLength, giant)}), ErrUnsupported},
		"cr3 of boxes in boxes":     {"s.cr3", append(canonBox("ftyp", []byte("crx \x00\x00\x00\x01crx isom")), nestedBoxes(60)...), ErrUnsupported},
		"raf that is cut off":       {"t.raf", []byte("FUJIFILMCCD-RAW 0201"), ErrCorrupt},
		"video of nothing":          {"u.mp4", canonBox("ftyp", []byte("isom\x00\x00\x02\x00isom")), ErrCorrupt},
		"heic of nothing":           {"v.heic", canonBox("ftyp", []byte("heic\x00\x00\x00\x00mif1heic")), ErrCorrupt},
		"side of 65535":             {wide, nil, nil},
		"more memory than there is": {interlaced, nil, ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			path := row.path
			if !filepath.IsAbs(path) {
				path = write(t, dir, path, row.content)
			}
			format, _ := FormatByName(path)
			info, err := checkVerdict(t, pool, path, format)
			if name == "png of 3.6 gigapixels" && (info.Width != 60000 || info.Height != 60000 || info.Problem == "") {
				t.Errorf("described as %+v", info)
			}
			if !errors.Is(err, row.want) || err != nil && row.want == nil {
				detail := ""
				if p, ok := errors.AsType[*problem](err); ok {
					detail = p.detail
				}
				t.Errorf("the error is %v (%s), want %v", err, detail, row.want)
			}
			checkServes(t, pool)
		})
	}
}

// patchFrames makes all JPEG frames of a video say that they have 65535 × 65535 pixels.
func patchFrames(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; ; {
		next := bytes.Index(content[at:], []byte{0xff, 0xc0, 0, 17, 8})
		if next < 0 {
			break
		}
		at += next + 5
		copy(content[at:], []byte{0xff, 0xff, 0xff, 0xff})
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func bigBitmap(width, height uint32) []byte {
	file := encodeBMP(image.NewNRGBA(image.Rect(0, 0, 1, 1)))
	binary.LittleEndian.PutUint32(file[18:], width)
	binary.LittleEndian.PutUint32(file[22:], height)
	return file
}

func nestedBoxes(depth int) []byte {
	inner := []byte{}
	for range depth {
		inner = canonBox("moov", inner)
	}
	return inner
}

// TestTruncatedFiles cuts a file of each format at many places, and breaks some
// of its bytes.
func TestTruncatedFiles(t *testing.T) {
	t.Parallel()
	pool := newPool(t, nil)
	dir := t.TempDir()
	picture := quarters(200, 160, cornerColours)
	base := write(t, dir, "base.png", encodePNG(t, picture))
	for _, name := range []string{"a.jpg", "a.png", "a.gif", "a.webp", "a.heic", "a.avif", "a.jxl", "a.tif", "a.bmp", "a.mp4", "a.webm", "a.avi", "a.raf", "a.cr3", "a.dng"} {
		path := filepath.Join(dir, name)
		switch filepath.Ext(name) {
		case ".bmp":
			write(t, dir, name, encodeBMP(picture))
		case ".gif":
			write(t, dir, name, encodeGIF(t, paletted(picture), 2))
		case ".mp4", ".webm", ".avi":
			tool(t, "ffmpeg", "-v", "error", "-nostdin", "-loop", "1", "-i", base, "-t", "0.5", "-pix_fmt", "yuv420p", path)
		case ".raf":
			write(t, dir, name, fujiFile(encodeJPEG(t, picture)))
		case ".cr3":
			write(t, dir, name, canonFile(encodeJPEG(t, picture), 1))
		case ".dng":
			write(t, dir, name, tiffFile("II*\x00", []rawField{partField(rawStripOffsets, rawStripByteCounts, encodeJPEG(t, picture))}))
		default:
			tool(t, "vips", "copy", base, path)
		}
		t.Run(name, func(t *testing.T) {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			format, _ := FormatByName(name)
			try := func(content []byte) {
				t.Helper()
				checkVerdict(t, pool, write(t, t.TempDir(), name, content), format)
			}
			for _, share := range []int{1, 10, 40, 80, 99} {
				try(content[:len(content)*share/100])
			}
			for at := 7; at < len(content); at += len(content)/4 + 1 {
				broken := bytes.Clone(content)
				for i := at; i < min(at+8, len(broken)); i++ {
					broken[i] ^= 0x5a
				}
				try(broken)
			}
			checkServes(t, pool)
		})
	}
}

// TestCameraSamples describes and draws photos of the metadata reader's module.
func TestCameraSamples(t *testing.T) {
	t.Parallel()
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/bep/imagemeta").Output()
	if err != nil {
		t.Fatal(err)
	}
	pool := newPool(t, nil)
	count := 0
	err = filepath.WalkDir(filepath.Join(strings.TrimSpace(string(module)), "testdata", "images"), func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		format, ok := FormatByName(path)
		if entry.IsDir() || !ok {
			return nil
		}
		count++
		t.Run(entry.Name(), func(t *testing.T) {
			info, err := checkVerdict(t, pool, path, format)
			if err == nil && (info.Width < 1 || info.Height < 1) {
				t.Errorf("described as %+v", info)
			}
			// A photo with a tone map, which older versions of libheif refuse.
			if entry.Name() == "iphone.heic" && (err != nil || info.Width != 5712 || info.Height != 4284) {
				t.Errorf("described as %+v, %v", info, err)
			}
		})
		return nil
	})
	if err != nil || count < 20 {
		t.Errorf("%d samples were found, %v", count, err)
	}
	checkServes(t, pool)
}

// FuzzReadRaw walks the structures of camera files.
func FuzzReadRaw(f *testing.F) {
	camera := []byte{0xff, 0xd8, 0xff, 0xe0, 0, 4, 0, 0, 0xff, 0xc0, 0, 11, 8, 0, 16, 0, 16, 1, 1, 0x11, 0, 0xff, 0xd9}
	f.Add("dng", tiffFile("II*\x00", []rawField{shortField(rawOrientation, 6), partField(rawJPEGOffset, rawJPEGLength, camera)}))
	f.Add("nef", tiffFile("II*\x00", []rawField{longField(rawSubIFDs, 8)}))
	f.Add("orf", olympusFile(camera))
	f.Add("rw2", tiffFile("IIU\x00", []rawField{blobField(rawPanasonicJPEG, camera)}))
	f.Add("raf", fujiFile(camera))
	f.Add("cr3", canonFile(camera, 6))
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		format, ok := formatNamed(name)
		if !ok || !format.Raw {
			return
		}
		raw, err := readRaw(bytes.NewReader(content), int64(len(content)), format)
		if err != nil {
			return
		}
		best := raw.largestPreview(1e6)
		if best.length == 0 {
			return
		}
		if best.offset < 0 || best.offset+best.length > int64(len(content)) || int64(best.width)*int64(best.height) > 1e6 {
			t.Errorf("the preview is %+v of %d bytes", best, len(content))
		}
	})
}

// FuzzHideDescriptions changes nothing but the names of references.
func FuzzHideDescriptions(f *testing.F) {
	reference := canonBox("cdsc", []byte{0, 1, 0, 1, 0, 2})
	f.Add(canonBox("meta", make([]byte, 4), canonBox("iref", make([]byte, 4), reference, reference)))
	f.Fuzz(func(t *testing.T, content []byte) {
		hidden := bytes.Clone(content)
		hideDescriptions(hidden)
		if bytes.Count(hidden, []byte("cdsc")) == bytes.Count(content, []byte("cdsc")) && !bytes.Equal(hidden, content) {
			t.Errorf("%q has become %q", content, hidden)
		}
	})
}

// FuzzDecodeBMP decodes bitmaps of at most a megapixel.
func FuzzDecodeBMP(f *testing.F) {
	f.Add(encodeBMP(image.NewNRGBA(image.Rect(0, 0, 3, 2))))
	le := binary.LittleEndian
	runs := le.AppendUint32([]byte("BM\x00\x00\x00\x00\x00\x00\x00\x00"), 54+16*4)
	for _, v := range []uint32{40, 8, 4, 1 | 4<<16, bmpRLE4, 0, 0, 0, 0, 0} {
		runs = le.AppendUint32(runs, v)
	}
	f.Add(append(append(runs, make([]byte, 64)...), 5, 0x12, 0, 3, 0x12, 0x30, 0, 0, 0, 2, 1, 1, 0, 1))
	f.Fuzz(func(t *testing.T, content []byte) {
		b, pixels, err := decodeBMP(bytes.NewReader(content), int64(len(content)), 1e6)
		if err == nil && len(pixels) != b.width*b.height*3 {
			t.Errorf("%d bytes of pixels for %d × %d", len(pixels), b.width, b.height)
		}
	})
}
