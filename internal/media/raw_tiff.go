package media

import (
	"bytes"
	"encoding/binary"
)

// Tags of TIFF 6.0, TIFF/EP, EXIF 2.32, DNG 1.7 and, where named so, of makers.
const (
	rawSubfileType      = 0x00fe
	rawImageWidth       = 0x0100
	rawImageLength      = 0x0101
	rawPhotometric      = 0x0106
	rawStripOffsets     = 0x0111
	rawOrientation      = 0x0112
	rawStripByteCounts  = 0x0117
	rawSubIFDs          = 0x014a
	rawJPEGOffset       = 0x0201
	rawJPEGLength       = 0x0202
	rawExifIFD          = 0x8769
	rawMakerNote        = 0x927c
	rawPixelXDimension  = 0xa002
	rawPixelYDimension  = 0xa003
	rawDefaultCropSize  = 0xc620
	rawPanasonicTop     = 0x0004 // sensor borders: top, left, bottom, right
	rawPanasonicRight   = 0x0007
	rawPanasonicJPEG    = 0x002e
	rawOlympusSettings  = 0x2020
	rawOlympusPreviewAt = 0x0101
	rawOlympusPreview   = 0x0102 // its length

	photometricRGB       = 2
	photometricYCbCr     = 6
	photometricCFA       = 32803
	photometricLinearRaw = 34892
)

// rawWalk visits directories, each once.
type rawWalk struct {
	raw   *rawFile
	base  int64 // offsets count from here
	order binary.ByteOrder
	seen  map[int64]bool
	queue []int64 // offsets of directories from base

	exifWidth, exifHeight     int
	sensorWidth, sensorHeight int // of the largest directory with sensor data
	firstWidth, firstHeight   int
}

// readTIFF collects orientation, size and previews from the TIFF structure at base.
func (raw *rawFile) readTIFF(base int64, format Format) error {
	head := raw.read(base, 8)
	if len(head) < 8 {
		return corrupt("", "The %s is truncated.", formatTitle(format))
	}
	walk := &rawWalk{raw: raw, base: base, seen: map[int64]bool{}}
	switch string(head[:2]) {
	case "II":
		walk.order = binary.LittleEndian
	case "MM":
		walk.order = binary.BigEndian
	default:
		return corrupt("", "The content is not %s.", formatTitle(format))
	}
	walk.queue = []int64{int64(walk.order.Uint32(head[4:]))}
	for first := true; len(walk.queue) > 0 && len(walk.seen) < maxDirectories; first = false {
		offset := walk.queue[0]
		walk.queue = walk.queue[1:]
		if !walk.seen[offset] {
			walk.seen[offset] = true
			walk.visit(offset, first, format)
		}
	}
	for _, size := range [][2]int{
		{walk.exifWidth, walk.exifHeight}, {walk.sensorWidth, walk.sensorHeight}, {walk.firstWidth, walk.firstHeight},
	} {
		if raw.width < 1 && size[0] > 0 && size[1] > 0 {
			raw.width, raw.height = size[0], size[1]
		}
	}
	return nil
}

// rawEntry is one field of a directory.
type rawEntry struct {
	kind  uint16
	count uint32
	value [4]byte // the values, or where they are
}

// directory reads the entries at offset, and the offset of the next directory.
func (w *rawWalk) directory(base, offset int64) (entries map[uint16]rawEntry, next int64) {
	head := w.raw.read(base+offset, 2)
	if offset <= 0 || len(head) < 2 {
		return nil, 0
	}
	count := int(w.order.Uint16(head))
	if count > maxEntries {
		return nil, 0
	}
	body := w.raw.read(base+offset+2, count*12+4)
	entries = make(map[uint16]rawEntry, count)
	for i := range min(count, len(body)/12) {
		field := body[i*12 : i*12+12]
		entries[w.order.Uint16(field)] = rawEntry{kind: w.order.Uint16(field[2:]), count: w.order.Uint32(field[4:]), value: [4]byte(field[8:12])}
	}
	if len(body) == count*12+4 {
		next = int64(w.order.Uint32(body[count*12:]))
	}
	return entries, next
}

// rawSizes are the bytes of one value of each type; 13 is IFD.
var rawSizes = map[uint16]int{1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 13: 4}

// numbers reads at most 64 values of an entry; of rationals the whole part.
func (w *rawWalk) numbers(e rawEntry) []int64 {
	size := rawSizes[e.kind]
	if size == 0 || e.count == 0 {
		return nil
	}
	count := int(min(e.count, 64))
	data := e.value[:]
	if int64(e.count)*int64(size) > 4 {
		data = w.raw.read(w.base+int64(w.order.Uint32(data)), count*size)
	}
	var values []int64
	for i := range min(count, len(data)/size) {
		at := data[i*size:]
		switch e.kind {
		case 3, 8:
			values = append(values, int64(w.order.Uint16(at)))
		case 4, 9, 13:
			values = append(values, int64(w.order.Uint32(at)))
		case 5, 10:
			if denominator := int64(w.order.Uint32(at[4:])); denominator > 0 {
				values = append(values, int64(w.order.Uint32(at))/denominator)
			}
		default:
			values = append(values, int64(at[0]))
		}
	}
	return values
}

// visit takes what one directory says and queues those it points to.
func (w *rawWalk) visit(offset int64, first bool, format Format) {
	entries, next := w.directory(w.base, offset)
	one := func(tag uint16) int64 {
		if values := w.numbers(entries[tag]); len(values) > 0 {
			return values[0]
		}
		return 0
	}
	for _, tag := range []uint16{rawSubIFDs, rawExifIFD} {
		w.queue = append(w.queue, w.numbers(entries[tag])...)
	}
	if next > 0 {
		w.queue = append(w.queue, next)
	}
	width, height := int(min(one(rawImageWidth), 1<<20)), int(min(one(rawImageLength), 1<<20))
	photometric := one(rawPhotometric)
	if first {
		if o := one(rawOrientation); o >= 1 && o <= 8 {
			w.raw.orientation = int(o)
		}
		w.firstWidth, w.firstHeight = width, height
		w.raw.rgb = width > 0 && (photometric == photometricRGB || photometric == photometricYCbCr)
	}
	if x, y := one(rawPixelXDimension), one(rawPixelYDimension); x > 0 && y > 0 && x < 1<<20 && y < 1<<20 {
		w.exifWidth, w.exifHeight = int(x), int(y)
	}
	sensor := photometric == photometricCFA || photometric == photometricLinearRaw ||
		entries[rawSubfileType].count == 1 && one(rawSubfileType) == 0
	if sensor && width*height > w.sensorWidth*w.sensorHeight {
		w.sensorWidth, w.sensorHeight = width, height
		if crop := w.numbers(entries[rawDefaultCropSize]); len(crop) == 2 && crop[0] > 0 && crop[1] > 0 &&
			crop[0] <= int64(width) && crop[1] <= int64(height) {
			w.sensorWidth, w.sensorHeight = int(crop[0]), int(crop[1])
		}
	}
	w.raw.add(w.base+one(rawJPEGOffset), one(rawJPEGLength))
	if strips := entries[rawStripOffsets]; strips.count == 1 {
		w.raw.add(w.base+one(rawStripOffsets), one(rawStripByteCounts))
	}
	if format.Name == "rw2" && first {
		if jpeg := entries[rawPanasonicJPEG]; jpeg.count > 4 {
			w.raw.add(w.base+int64(w.order.Uint32(jpeg.value[:])), int64(jpeg.count))
		}
		top, left := one(rawPanasonicTop), one(rawPanasonicTop+1)
		bottom, right := one(rawPanasonicTop+2), one(rawPanasonicRight)
		w.sensorWidth, w.sensorHeight = int(max(right-left, 0)), int(max(bottom-top, 0))
	}
	if note := entries[rawMakerNote]; note.count > 16 && format.Name == "orf" {
		w.visitOlympus(int64(w.order.Uint32(note.value[:])))
	}
}

// visitOlympus finds the preview in the notes of Olympus and OM System cameras:
// a directory whose offsets count from the start of the notes.
func (w *rawWalk) visitOlympus(offset int64) {
	base := w.base + offset
	var directoryAt int64
	switch head := w.raw.read(base, 16); {
	case bytes.HasPrefix(head, []byte("OLYMPUS\x00")):
		directoryAt = 12
	case bytes.HasPrefix(head, []byte("OM SYSTEM\x00")):
		directoryAt = 16
	case bytes.HasPrefix(head, []byte("OLYMP\x00")): // old: offsets count from the file
		directoryAt, base = offset+8, w.base
	default:
		return
	}
	inner := &rawWalk{raw: w.raw, base: base, order: w.order}
	notes, _ := inner.directory(base, directoryAt)
	settingsAt, ok := notes[rawOlympusSettings]
	if !ok {
		return
	}
	settings, _ := inner.directory(base, int64(w.order.Uint32(settingsAt.value[:])))
	at, length := inner.numbers(settings[rawOlympusPreviewAt]), inner.numbers(settings[rawOlympusPreview])
	if len(at) == 1 && len(length) == 1 && at[0] > 0 {
		w.raw.add(base+at[0], length[0])
	}
}
