package media

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"strconv"
)

// Tags that are followed or taken whole.
const (
	tagXMP           = 0x02bc
	tagSubIFDs       = 0x014a
	tagIPTC          = 0x83bb
	tagPhotoshop     = 0x8649
	tagExifIFD       = 0x8769
	tagICC           = 0x8773
	tagGPSIFD        = 0x8825
	tagMakerNote     = 0x927c
	tagPanasonicJPEG = 0x002e
)

// exifBlock is the directories of one TIFF structure (TIFF 6.0; Exif 3.0, 4.6).
type exifBlock struct {
	order            binary.ByteOrder
	main, photo, gps directory
	full             []directory // sub-directories, where RAW formats keep the sensor image
	apple, canon     directory   // makers' notes
}

type directory map[uint16]tiffValue

// tiffValue is one entry. data holds its bytes unless they are more than
// maxTiffValue, the tag is one of those that nobody reads, or the file is short.
type tiffValue struct {
	kind   uint16
	count  int64
	offset int64 // of the bytes in the block
	order  binary.ByteOrder
	data   []byte
}

// kindSizes is how many bytes one item of each TIFF type has; 13 is IFD, 16 to
// 18 are BigTIFF's.
var kindSizes = [19]int64{0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8}

func (v tiffValue) size() int64 {
	if int(v.kind) >= len(kindSizes) {
		return 0
	}
	return v.count * kindSizes[v.kind]
}

// tiffReader reads directories. How deep it goes is fixed by its callers, so a
// loop of directories leads nowhere.
type tiffReader struct {
	r     *io.SectionReader
	order binary.ByteOrder
	big   bool
	room  int64 // bytes that may still be read: the values of a sound block fit into it
}

// readEXIF reads a TIFF block; ok is false where it is none.
func readEXIF(r *io.SectionReader) (block exifBlock, ok bool) {
	head := readPart(r, 0, 8, 8)
	if head == nil {
		return block, false
	}
	t := tiffReader{r: r, room: min(r.Size(), maxRead)}
	switch string(head[:2]) {
	case "II":
		t.order = binary.LittleEndian
	case "MM":
		t.order = binary.BigEndian
	default:
		return block, false
	}
	first := int64(t.order.Uint32(head[4:]))
	if t.order.Uint16(head[2:]) == 43 { // BigTIFF
		t.big = true
		wide := readPart(r, 8, 8, 8)
		if wide == nil {
			return block, false
		}
		first = int64(t.order.Uint64(wide))
	}
	block.order = t.order
	block.main = t.directory(first)
	if block.main == nil {
		return block, false
	}
	if at, ok := block.main[tagExifIFD].integer(0); ok {
		block.photo = t.directory(int64(at))
	}
	if at, ok := block.main[tagGPSIFD].integer(0); ok {
		block.gps = t.directory(int64(at))
	}
	const maxSubIFDs = 8
	for i := range min(block.main[tagSubIFDs].count, maxSubIFDs) {
		if at, ok := block.main[tagSubIFDs].integer(int(i)); ok {
			block.full = append(block.full, t.directory(int64(at)))
		}
	}
	block.makerNotes(t)
	return block, true
}

// makerNotes reads the notes whose layout is simple and whose content is wanted:
// Apple's begins with its name and counts offsets from there, Canon's is a bare
// directory with offsets of the whole block.
func (e *exifBlock) makerNotes(t tiffReader) {
	note, ok := e.photo[tagMakerNote]
	if !ok {
		return
	}
	if bytes.HasPrefix(note.data, []byte("Apple iOS\x00")) && len(note.data) > 14 {
		inner := tiffReader{r: sectionOf(note.data), order: binary.BigEndian, room: int64(len(note.data))}
		if string(note.data[12:14]) == "II" {
			inner.order = binary.LittleEndian
		}
		e.apple = inner.directory(14)
		return
	}
	if make, _ := e.main[0x010f].text(); make == "Canon" {
		e.canon = t.directory(note.offset)
	}
}

// directory reads the entries at offset; nil where there are none. A directory
// that is cut short keeps what is there.
func (t *tiffReader) directory(offset int64) directory {
	const maxEntries = 4096
	header, entry, inline := int64(2), int64(12), int64(4)
	if t.big {
		header, entry, inline = 8, 20, 8
	}
	head := readPart(t.r, offset, header, header)
	if head == nil || offset <= 0 {
		return nil
	}
	count := int64(0)
	if t.big {
		count = int64(min(t.order.Uint64(head), maxEntries))
	} else {
		count = min(int64(t.order.Uint16(head)), maxEntries)
	}
	count = min(count, (t.r.Size()-offset-header)/entry)
	table := readPart(t.r, offset+header, count*entry, maxEntries*entry)
	entries := make(directory, count)
	for i := range count {
		raw := table[i*entry : (i+1)*entry]
		tag := t.order.Uint16(raw)
		value := tiffValue{kind: t.order.Uint16(raw[2:]), order: t.order}
		place := offset + header + i*entry + entry - inline
		if t.big {
			value.count = int64(min(t.order.Uint64(raw[4:]), 1<<40))
		} else {
			value.count = int64(t.order.Uint32(raw[4:]))
		}
		size := value.size()
		if size <= 0 {
			continue
		}
		value.offset = place
		if size > inline {
			if t.big {
				value.offset = int64(min(t.order.Uint64(raw[12:]), 1<<60))
			} else {
				value.offset = int64(t.order.Uint32(raw[8:]))
			}
		}
		if limit := valueLimit(tag); size <= limit && size <= t.room {
			value.data = readPart(t.r, value.offset, size, limit)
			t.room -= int64(len(value.data))
		}
		// No directory has a tag twice; in broken ones the last is usually whole.
		if _, seen := entries[tag]; !seen || value.data != nil {
			entries[tag] = value
		}
	}
	return entries
}

// valueLimit is how many bytes of a tag are read. Tags that hold pixels and
// their tables are of no use here.
func valueLimit(tag uint16) int64 {
	switch tag {
	case tagXMP:
		return maxXMP
	case tagICC:
		return maxICC
	case tagIPTC, tagPhotoshop, tagMakerNote:
		return maxIPTC
	case 0x0111, 0x0117, 0x0144, 0x0145, tagPanasonicJPEG: // strips, tiles
		return 0
	}
	return maxText
}

// float is item i as a number; ok is false for text, a zero denominator and
// what is not finite.
func (v tiffValue) float(i int) (number float64, ok bool) {
	size := int64(0)
	if int(v.kind) < len(kindSizes) {
		size = kindSizes[v.kind]
	}
	if i < 0 || size == 0 || int64(i+1)*size > int64(len(v.data)) {
		return 0, false
	}
	item := v.data[int64(i)*size:]
	switch v.kind {
	case 1, 7:
		number = float64(item[0])
	case 6:
		number = float64(int8(item[0]))
	case 3:
		number = float64(v.order.Uint16(item))
	case 8:
		number = float64(int16(v.order.Uint16(item)))
	case 4, 13:
		number = float64(v.order.Uint32(item))
	case 9:
		number = float64(int32(v.order.Uint32(item)))
	case 16, 18:
		number = float64(v.order.Uint64(item))
	case 17:
		number = float64(int64(v.order.Uint64(item)))
	case 5:
		number = float64(v.order.Uint32(item)) / float64(v.order.Uint32(item[4:]))
	case 10:
		number = float64(int32(v.order.Uint32(item))) / float64(int32(v.order.Uint32(item[4:])))
	case 11:
		number = float64(math.Float32frombits(v.order.Uint32(item)))
	case 12:
		number = math.Float64frombits(v.order.Uint64(item))
	case 2:
		text, _ := v.text()
		parsed, err := strconv.ParseFloat(text, 64)
		if err != nil || i > 0 {
			return 0, false
		}
		number = parsed
	}
	if math.IsNaN(number) || math.IsInf(number, 0) {
		return 0, false
	}
	return number, true
}

// integer is item i as a whole number.
func (v tiffValue) integer(i int) (number int, ok bool) {
	f, ok := v.float(i)
	if !ok || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int(f), true
}

// text is the entry as UTF-8; ok is false where it is blank.
func (v tiffValue) text() (string, bool) {
	if v.kind != 2 && v.kind != 1 && v.kind != 7 && v.kind != 129 {
		return "", false
	}
	s := cleanText(v.data)
	return s, s != ""
}

// size is the largest picture that the block describes: RAW formats keep a
// preview in the main directory, the sensor image in a sub-directory or in a
// form of their own, and the size of the developed picture with the EXIF. In
// other files that size may be from before an edit.
func (e *exifBlock) size(raw bool) (width, height int) {
	consider := func(d directory, wide, high uint16) {
		w, ok1 := d[wide].integer(0)
		h, ok2 := d[high].integer(0)
		if ok1 && ok2 && w > 0 && h > 0 && w < 1<<31 && h < 1<<31 && w*h > width*height {
			width, height = w, h
		}
	}
	consider(e.main, 0x0100, 0x0101)
	for _, sub := range e.full {
		consider(sub, 0x0100, 0x0101)
	}
	if raw || width == 0 {
		consider(e.photo, 0xa002, 0xa003)
	}
	return width, height
}
