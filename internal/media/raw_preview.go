package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// Camera files are drawn from the largest JPEG that the camera put into them. It
// is found by walking the structure of the file: TIFF 6.0 directories (CR2, NEF,
// ARW, DNG, PEF, SRW, ORF, RW2), the header of RAF, or the boxes of CR3 (ISO/IEC
// 14496-12). Sizes and counts in the file are never trusted.

// span is a part of a file.
type span struct{ offset, length int64 }

// rawFile is what was found in a camera file.
type rawFile struct {
	previews    []span // what may be JPEGs, some of them compressed sensor data
	orientation int    // EXIF; 0: not said
	// width and height are of the developed picture as stored; 0: unknown.
	width, height int
	// rgb tells that the first directory holds a picture that libvips can draw.
	rgb bool

	from io.ReaderAt
	size int64
}

const (
	maxDirectories = 64
	maxEntries     = 4096 // of one directory; cameras write at most some hundred
	maxBoxes       = 4096
	maxPreview     = 128 << 20 // bytes
)

// rawHeader is the size of the developed picture, or of the preview where the
// file does not say. The error tells that there is nothing to draw.
func (cfg workerConfig) rawHeader(path string, format Format) (header, error) {
	file, raw, err := openRawFile(path, format)
	if err != nil {
		return header{}, err
	}
	defer file.Close()
	h := header{width: raw.width, height: raw.height, orientation: max(raw.orientation, 1), pages: 1}
	best := raw.largestPreview(cfg.MaxPixels)
	if best.length == 0 {
		if !raw.rgb {
			return h, noPreview(format)
		}
		small, err := (&encoded{path: path}).header()
		if err != nil {
			return h, explainDecoder(err, path, format)
		}
		best.width, best.height, h.alpha = small.width, small.height, small.alpha
	}
	if h.width < 1 || h.height < 1 {
		h.width, h.height = best.width, best.height
	}
	if raw.orientation == 0 {
		h.orientation = max(best.orientation, 1)
	}
	return h, nil
}

func noPreview(format Format) error {
	return unsupported("", "The %s holds no preview that can be drawn.", formatTitle(format))
}

// openRaw gives the largest preview with the orientation of the camera file.
func (cfg workerConfig) openRaw(path string, format Format) (drawable, error) {
	file, raw, err := openRawFile(path, format)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	best := raw.largestPreview(cfg.MaxPixels)
	if best.length == 0 {
		if raw.rgb {
			return &encoded{path: path, orientation: raw.orientation}, nil
		}
		return nil, noPreview(format)
	}
	if best.length > cfg.MemoryLimit/4 {
		return nil, tooLarge("", "The preview in the %s is too large.", formatTitle(format))
	}
	data := make([]byte, best.length)
	if _, err := io.ReadFull(io.NewSectionReader(file, best.offset, best.length), data); err != nil {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	return &encoded{data: data, orientation: raw.orientation}, nil
}

func openRawFile(path string, format Format) (*os.File, *rawFile, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read the file: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, nil, fmt.Errorf("read the file: %w", err)
	}
	raw, err := readRaw(file, info.Size(), format)
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, raw, nil
}

// readRaw walks the structure of a camera file.
func readRaw(file io.ReaderAt, size int64, format Format) (*rawFile, error) {
	raw := &rawFile{from: file, size: size}
	var err error
	switch format.Name {
	case "cr3":
		err = raw.readCR3()
	case "raf":
		err = raw.readRAF()
	default:
		err = raw.readTIFF(0, format)
	}
	if err != nil {
		return nil, err
	}
	return raw, nil
}

// read gives length bytes, fewer at the end of the file.
func (raw *rawFile) read(offset int64, length int) []byte {
	if offset < 0 || offset >= raw.size || length <= 0 {
		return nil
	}
	data := make([]byte, min(int64(length), raw.size-offset))
	n, err := raw.from.ReadAt(data, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	return data[:n]
}

// add notes a part that may be a JPEG, as far as the file reaches.
func (raw *rawFile) add(offset, length int64) {
	if offset <= 0 || offset >= raw.size || length < 16 {
		return
	}
	part := span{offset, min(length, raw.size-offset, maxPreview)}
	if !slices.Contains(raw.previews, part) {
		raw.previews = append(raw.previews, part)
	}
}

// preview is a JPEG in the file.
type preview struct {
	span
	width, height int
	orientation   int // EXIF, in the JPEG itself; 0: not said
}

// largestPreview is that of the most pixels, at most maxPixels; its length is 0
// when there is none.
func (raw *rawFile) largestPreview(maxPixels int64) (best preview) {
	for _, part := range raw.previews {
		p, ok := raw.probeJPEG(part)
		if !ok || checkSize(p.width, p.height, maxPixels) != nil {
			continue
		}
		if best.length == 0 || int64(p.width)*int64(p.height) > int64(best.width)*int64(best.height) {
			best = p
		}
	}
	return best
}

// probeJPEG reads the markers of ITU-T T.81 up to the frame header. Sensor data
// is also stored as JPEG, but lossless or with more than 8 bits; that is no
// preview.
func (raw *rawFile) probeJPEG(part span) (p preview, ok bool) {
	p.span = part
	at, end := part.offset, part.offset+part.length
	if start := raw.read(at, 2); !bytes.Equal(start, []byte{0xff, 0xd8}) {
		return p, false
	}
	at += 2
	for range 512 {
		marker := raw.read(at, 4)
		if len(marker) < 4 || marker[0] != 0xff || at >= end {
			return p, false
		}
		if marker[1] == 0xff { // padding
			at++
			continue
		}
		length := int64(binary.BigEndian.Uint16(marker[2:]))
		switch code := marker[1]; {
		case code >= 0xc0 && code <= 0xc2: // baseline, extended, progressive
			frame := raw.read(at+4, 6)
			if len(frame) < 6 || frame[0] != 8 || frame[5] != 1 && frame[5] != 3 {
				return p, false
			}
			p.height, p.width = int(binary.BigEndian.Uint16(frame[1:])), int(binary.BigEndian.Uint16(frame[3:]))
			return p, p.width > 0 && p.height > 0
		case code >= 0xc3 && code <= 0xcf && code != 0xc4 && code != 0xc8 && code != 0xcc,
			code == 0xd9, code == 0xda: // another process, or no frame header
			return p, false
		case code == 0xe1 && p.orientation == 0:
			if exif := raw.read(at+4, 6); string(exif) == "Exif\x00\x00" {
				inner := &rawFile{from: raw.from, size: min(at+2+length, raw.size)}
				if inner.readTIFF(at+10, Format{}) == nil {
					p.orientation = inner.orientation
				}
			}
		}
		at += 2 + length
	}
	return p, false
}

// readRAF reads the header of Fujifilm's files: at 84 the position and length of
// a JPEG with the EXIF data, at 92 those of a table of the sensor's properties.
func (raw *rawFile) readRAF() error {
	head := raw.read(84, 16)
	if len(head) < 16 {
		return corrupt("", "The RAF camera data is truncated.")
	}
	be := binary.BigEndian
	raw.add(int64(be.Uint32(head)), int64(be.Uint32(head[4:])))
	const croppedSize = 0x0111 // height, width
	at, end := int64(be.Uint32(head[8:])), int64(be.Uint32(head[8:]))+int64(be.Uint32(head[12:]))
	count := raw.read(at, 4)
	if len(count) < 4 {
		return nil
	}
	at += 4
	for range min(be.Uint32(count), maxEntries) {
		entry := raw.read(at, 8)
		if len(entry) < 8 || at >= end {
			return nil
		}
		if be.Uint16(entry) == croppedSize && be.Uint16(entry[2:]) == 4 {
			raw.height, raw.width = int(be.Uint16(entry[4:])), int(be.Uint16(entry[6:]))
		}
		at += 4 + int64(be.Uint16(entry[2:]))
	}
	return nil
}

// The boxes of CR3 that Canon identifies by a UUID (github.com/lclevy/canon_cr3
// describes them).
var (
	cr3Metadata = []byte{0x85, 0xc0, 0xb6, 0x87, 0x82, 0x0f, 0x11, 0xe0, 0x81, 0x11, 0xf4, 0xce, 0x46, 0x2b, 0x6a, 0x48}
	cr3Preview  = []byte{0xea, 0xf4, 0x2b, 0x5e, 0x1c, 0x98, 0x4b, 0x88, 0xb9, 0xfb, 0xb7, 0xdc, 0x40, 0x6e, 0x4d, 0x16}
)

func (raw *rawFile) readCR3() error {
	budget := maxBoxes
	raw.walkBoxes(0, raw.size, 0, &budget)
	return nil
}

// walkBoxes visits the boxes between two positions and what may be inside them.
func (raw *rawFile) walkBoxes(at, end int64, depth int, budget *int) {
	for at+8 <= end && *budget > 0 {
		*budget--
		head := raw.read(at, 32)
		if len(head) < 8 {
			return
		}
		length, body := int64(binary.BigEndian.Uint32(head)), at+8
		switch {
		case length == 1 && len(head) >= 16:
			length, body = int64(binary.BigEndian.Uint64(head[8:])), at+16
		case length == 0:
			length = end - at
		}
		if length < body-at || length > end-at {
			return
		}
		raw.visitBox(string(head[4:8]), body, at+length, depth, budget)
		at += length
	}
}

func (raw *rawFile) visitBox(kind string, body, end int64, depth int, budget *int) {
	if depth > 8 {
		return
	}
	switch kind {
	case "moov", "trak", "mdia", "minf":
		raw.walkBoxes(body, end, depth+1, budget)
	case "stbl":
		raw.addFirstSample(body, end, budget)
	case "uuid":
		switch id := raw.read(body, 16); {
		case bytes.Equal(id, cr3Metadata):
			raw.walkBoxes(body+16, end, depth+1, budget)
		case bytes.Equal(id, cr3Preview):
			raw.walkBoxes(body+24, end, depth+1, budget)
		}
	case "CMT1", "CMT2": // the first directory and that of EXIF, each as a TIFF file
		inner := &rawFile{from: raw.from, size: end}
		if inner.readTIFF(body, Format{}) == nil {
			raw.orientation = max(raw.orientation, inner.orientation)
			if inner.width > 0 {
				raw.width, raw.height = inner.width, inner.height
			}
		}
	case "THMB", "PRVW": // some numbers, then a JPEG to the end
		if start := bytes.Index(raw.read(body, 64), []byte{0xff, 0xd8, 0xff}); start >= 0 {
			raw.add(body+int64(start), end-body-int64(start))
		}
	}
}

// addFirstSample notes where the first sample of a track is: of the first track
// of a CR3 that is a JPEG in full size.
func (raw *rawFile) addFirstSample(body, end int64, budget *int) {
	var offset, length int64
	for at := body; at+8 <= end && *budget > 0; *budget-- {
		head := raw.read(at, 24)
		if len(head) < 24 {
			break
		}
		size := int64(binary.BigEndian.Uint32(head))
		if size < 8 || size > end-at {
			break
		}
		switch string(head[4:8]) {
		case "stsz": // version, size of all samples or 0, count, sizes
			if length = int64(binary.BigEndian.Uint32(head[12:])); length == 0 {
				length = int64(binary.BigEndian.Uint32(head[20:]))
			}
		case "co64": // version, count, offsets
			offset = int64(binary.BigEndian.Uint64(head[16:]) & (1<<62 - 1))
		case "stco":
			offset = int64(binary.BigEndian.Uint32(head[16:]))
		}
		at += size
	}
	raw.add(offset, length)
}
