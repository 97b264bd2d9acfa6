package media

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The corners of the test picture: red, green, blue and white quarters.
var cornerColours = [4]color.NRGBA{{220, 30, 30, 255}, {30, 200, 30, 255}, {30, 30, 220, 255}, {250, 250, 250, 255}}

// quarters is a picture of four quarters: top left, top right, bottom left and
// bottom right.
func quarters(width, height int, colours [4]color.NRGBA) *image.NRGBA {
	picture := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			picture.SetNRGBA(x, y, colours[y*2/height*2+x*2/width])
		}
	}
	return picture
}

// tool runs a program that the test command installs.
func tool(t testing.TB, name string, args ...string) []byte {
	t.Helper()
	output, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, output)
	}
	return output
}

func write(t testing.TB, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func encodePNG(t testing.TB, picture image.Image) []byte {
	t.Helper()
	var to bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&to, picture); err != nil {
		t.Fatal(err)
	}
	return to.Bytes()
}

func encodeJPEG(t testing.TB, picture image.Image) []byte {
	t.Helper()
	var to bytes.Buffer
	if err := jpeg.Encode(&to, picture, &jpeg.Options{Quality: 92}); err != nil {
		t.Fatal(err)
	}
	return to.Bytes()
}

// encodeGIF repeats the picture as frames of an animation.
func encodeGIF(t testing.TB, picture *image.Paletted, frames int) []byte {
	t.Helper()
	animation := &gif.GIF{}
	for range frames {
		animation.Image = append(animation.Image, picture)
		animation.Delay = append(animation.Delay, 10)
	}
	var to bytes.Buffer
	if err := gif.EncodeAll(&to, animation); err != nil {
		t.Fatal(err)
	}
	return to.Bytes()
}

// paletted is the picture in few colours; the last one is transparent.
func paletted(picture image.Image) *image.Paletted {
	var colours color.Palette
	for _, c := range cornerColours {
		colours = append(colours, c)
	}
	colours = append(colours, color.NRGBA{})
	result := image.NewPaletted(picture.Bounds(), colours)
	for y := range result.Rect.Dy() {
		for x := range result.Rect.Dx() {
			result.Set(x, y, picture.At(x, y))
		}
	}
	return result
}

// encodeBMP writes 24 bits bottom up, as most programs do.
func encodeBMP(picture image.Image) []byte {
	width, height := picture.Bounds().Dx(), picture.Bounds().Dy()
	le := binary.LittleEndian
	file := le.AppendUint32([]byte("BM\x00\x00\x00\x00\x00\x00\x00\x00"), 54)
	for _, v := range []uint32{40, uint32(width), uint32(height), 1 | 24<<16, 0, 0, 0, 0, 0, 0} {
		file = le.AppendUint32(file, v)
	}
	for y := height - 1; y >= 0; y-- {
		for x := range width {
			r, g, b, _ := picture.At(x, y).RGBA()
			file = append(file, byte(b>>8), byte(g>>8), byte(r>>8))
		}
		for len(file)%4 != 54%4 {
			file = append(file, 0)
		}
	}
	return file
}

// rawField is one entry of a TIFF directory. Of long values, data is stored behind
// the directories.
type rawField struct {
	tag, kind uint16
	count     uint32
	value     uint32
	data      []byte
}

func shortField(tag uint16, value uint32) rawField {
	return rawField{tag: tag, kind: 3, count: 1, value: value}
}
func longField(tag uint16, value uint32) rawField {
	return rawField{tag: tag, kind: 4, count: 1, value: value}
}

// blobField is an entry of undefined type.
func blobField(tag uint16, data []byte) rawField {
	return rawField{tag: tag, kind: 7, count: uint32(len(data)), data: data}
}

// tiffFile lays out directories one after the other, each linked to the next. A
// field of kind 0 becomes a LONG with the offset of its data, and is followed in
// its directory by the length under the tag in count.
func tiffFile(magic string, directories ...[]rawField) []byte {
	le := binary.LittleEndian
	size := 8
	for _, d := range directories {
		size += 2 + 12*countFields(d) + 4
	}
	file := append([]byte(magic), 8, 0, 0, 0)
	var behind []byte
	for i, d := range directories {
		file = le.AppendUint16(file, uint16(countFields(d)))
		entry := func(tag, kind uint16, count, value uint32) {
			file = le.AppendUint16(file, tag)
			file = le.AppendUint16(file, kind)
			file = le.AppendUint32(file, count)
			file = le.AppendUint32(file, value)
		}
		for _, f := range d {
			at := uint32(size + len(behind))
			switch {
			case f.kind == 0:
				entry(f.tag, 4, 1, at)
				entry(uint16(f.count), 4, 1, uint32(len(f.data)))
			case f.data != nil:
				entry(f.tag, f.kind, f.count, at)
			default:
				entry(f.tag, f.kind, f.count, f.value)
			}
			behind = append(behind, f.data...)
		}
		next := uint32(0)
		if i+1 < len(directories) {
			next = uint32(len(file) + 4)
		}
		file = le.AppendUint32(file, next)
	}
	return append(file, behind...)
}

func countFields(directory []rawField) (n int) {
	for _, f := range directory {
		if n++; f.kind == 0 {
			n++
		}
	}
	return n
}

// partField is data whose offset and length stand in two tags.
func partField(offsetTag, lengthTag uint16, data []byte) rawField {
	return rawField{tag: offsetTag, count: uint32(lengthTag), data: data}
}

// withExif puts an EXIF segment with an orientation and coordinates into a JPEG.
func withExif(picture []byte, orientation int) []byte {
	const gps = 0x8825
	exif := append([]byte("Exif\x00\x00"), tiffFile("II*\x00", []rawField{
		shortField(rawOrientation, uint32(orientation)), longField(gps, 38),
	}, []rawField{{tag: 1, kind: 2, count: 2, value: 'N'}})...)
	segment := binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(len(exif)+2))
	return bytes.Join([][]byte{picture[:2], segment, exif, picture[2:]}, nil)
}

// canonBox is a box of ISO/IEC 14496-12.
func canonBox(kind string, content ...[]byte) []byte {
	body := bytes.Join(content, nil)
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+8)), kind...), body...)
}
