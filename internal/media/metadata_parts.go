package media

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/hex"
	"io"
	"strconv"
	"strings"
)

// Limits on what is taken into memory from one file, in bytes. Real files stay
// far below: EXIF in JPEG is 64 KiB at most, XMP with its edits a few hundred
// KiB, a printer's colour profile 2 MiB.
const (
	maxEXIF = 8 << 20
	maxXMP  = 4 << 20
	maxIPTC = 2 << 20
	maxICC  = 8 << 20
	// maxRead bounds all that is read or unpacked from one file, because small
	// pieces can be many and can lie on top of each other.
	maxRead = 64 << 20
	// maxPieces bounds how many segments, chunks or boxes of one file are looked
	// at; a PNG of a gigabyte has some hundred thousand.
	maxPieces = 1 << 20
)

// metadataParts is the metadata found in a container, in order of preference.
type metadataParts struct {
	exif          []exifBlock
	xmp           [][]byte
	iptc          []byte
	icc           []byte
	caption       string // of the container itself
	width, height int    // encoded, before orientation; 0: unknown
	used          int64  // of maxRead
}

// collect walks the container. It never fails: what does not fit the format
// ends the walk. raw tells that a TIFF structure is a camera's.
func (p *metadataParts) collect(file *io.SectionReader, family string, raw bool) {
	switch family {
	case "jpeg":
		p.jpeg(file)
	case "png":
		p.png(file)
	case "gif":
		p.gif(file)
	case "webp":
		p.webp(file)
	case "bmp":
		p.bmp(file)
	case "tiff", "orf":
		p.tiff(file, raw)
	case "rw2":
		p.rw2(file)
	case "raf":
		p.raf(file)
	case "heif":
		p.heif(file)
	case "cr3":
		p.cr3(file)
	case "jxl":
		p.jxl(file)
	}
}

// readPart reads length bytes at offset, or nil where the file ends before or
// the length is above the limit.
func readPart(r *io.SectionReader, offset, length, limit int64) []byte {
	if offset < 0 || length <= 0 || length > limit || offset > r.Size()-length {
		return nil
	}
	data := make([]byte, length)
	if _, err := r.ReadAt(data, offset); err != nil && err != io.EOF {
		return nil
	}
	return data
}

// part is readPart within the bound of the whole file.
func (p *metadataParts) part(r *io.SectionReader, offset, length, limit int64) []byte {
	if p.used+length > maxRead {
		return nil
	}
	data := readPart(r, offset, length, limit)
	p.used += int64(len(data))
	return data
}

func sectionOf(data []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data)))
}

// addEXIF takes a TIFF block, with or without the header that JPEG wants.
func (p *metadataParts) addEXIF(data []byte) {
	const maxBlocks = 8
	data = bytes.TrimPrefix(data, []byte("Exif\x00\x00"))
	if len(p.exif) >= maxBlocks {
		return
	}
	if block, ok := readEXIF(sectionOf(data)); ok {
		p.exif = append(p.exif, block)
	}
}

func (p *metadataParts) addXMP(data []byte) {
	const maxPackets = 8
	if len(data) > 0 && len(p.xmp) < maxPackets {
		p.xmp = append(p.xmp, data)
	}
}

// jpeg walks the marker segments up to the first scan (ITU-T T.81, annex B).
func (p *metadataParts) jpeg(file *io.SectionReader) {
	const xmpHeader = "http://ns.adobe.com/xap/1.0/\x00"
	var photoshop []byte
	profile := jpegProfile{}
	const maxGaps = 64
	gaps := 0
	at := int64(2)
	for range maxPieces {
		head := readPart(file, at, 4, 4)
		if head == nil {
			break
		}
		if head[0] != 0xff {
			gaps++
			next := nextMarker(file, at)
			if next < 0 || gaps > maxGaps {
				break
			}
			at = next
			continue
		}
		marker := head[1]
		if marker == 0xff { // fill byte
			at++
			continue
		}
		if marker == 0x01 || marker >= 0xd0 && marker <= 0xd8 || marker == 0 { // no length follows
			at += 2
			continue
		}
		if marker == 0xda || marker == 0xd9 { // scan or end
			break
		}
		length := int64(binary.BigEndian.Uint16(head[2:])) - 2
		at += 4
		if length < 0 {
			continue
		}
		body := func() []byte { return p.part(file, at, min(length, file.Size()-at), 1<<16) }
		switch {
		case marker == 0xe1:
			data := body()
			switch {
			case bytes.HasPrefix(data, []byte("Exif\x00")):
				p.addEXIF(data[min(6, len(data)):])
			case bytes.HasPrefix(data, []byte(xmpHeader)):
				p.addXMP(data[len(xmpHeader):])
			case bytes.Contains(data[:min(len(data), 64)], []byte("<?xpacket")): // a header of the writer's own
				p.addXMP(data)
			}
		case marker == 0xe2:
			profile.add(body())
		case marker == 0xed:
			if rest, ok := bytes.CutPrefix(body(), []byte("Photoshop 3.0\x00")); ok && len(photoshop) < maxIPTC {
				photoshop = append(photoshop, rest...)
			}
		case marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc:
			if data := body(); len(data) >= 5 && p.width == 0 {
				p.height = int(binary.BigEndian.Uint16(data[1:]))
				p.width = int(binary.BigEndian.Uint16(data[3:]))
			}
		}
		at += length
	}
	p.icc = profile.join()
	p.photoshop(photoshop)
}

// nextMarker finds the marker after bytes that belong to no segment: some
// cameras leave a few. -1 if none is near.
func nextMarker(file *io.SectionReader, at int64) int64 {
	const near = 64 << 10
	data := readPart(file, at, min(near, file.Size()-at), near)
	for i := range data {
		if data[i] == 0xff && i+1 < len(data) && data[i+1] != 0 && data[i+1] != 0xff {
			return at + int64(i)
		}
	}
	return -1
}

// jpegProfile gathers an ICC profile that is spread over APP2 segments
// (ICC.1:2022, B.4): each says its number and how many there are.
type jpegProfile struct {
	chunks [256][]byte
	total  int
}

func (j *jpegProfile) add(segment []byte) {
	rest, ok := bytes.CutPrefix(segment, []byte("ICC_PROFILE\x00"))
	if !ok || len(rest) < 2 || j.total+len(rest) > maxICC || j.chunks[rest[0]] != nil {
		return
	}
	j.chunks[rest[0]] = rest[2:]
	j.total += len(rest)
}

func (j *jpegProfile) join() []byte {
	var profile []byte
	for _, chunk := range j.chunks {
		profile = append(profile, chunk...)
	}
	return profile
}

// photoshop walks image resource blocks (Adobe Photoshop File Formats
// Specification, "Image resource blocks").
func (p *metadataParts) photoshop(data []byte) {
	for len(data) >= 12 && (string(data[:4]) == "8BIM" || string(data[:4]) == "MeSa") {
		id := binary.BigEndian.Uint16(data[4:])
		name := (int(data[6]) + 2) &^ 1 // a Pascal string, padded to even
		if len(data) < 6+name+4 {
			return
		}
		size := uint64(binary.BigEndian.Uint32(data[6+name:]))
		data = data[6+name+4:]
		if size > uint64(len(data)) {
			size = uint64(len(data))
		}
		body := data[:size]
		switch id {
		case 0x0404:
			if p.iptc == nil {
				p.iptc = body
			}
		case 0x040f:
			if p.icc == nil {
				p.icc = body
			}
		case 0x0422, 0x0423:
			p.addEXIF(body)
		case 0x0424:
			p.addXMP(body)
		}
		data = data[min(size+size&1, uint64(len(data))):]
	}
}

// png walks the chunks (W3C PNG, third edition).
func (p *metadataParts) png(file *io.SectionReader) {
	at := int64(8)
	for range maxPieces {
		head := readPart(file, at, 8, 8)
		if head == nil {
			return
		}
		length, kind := int64(binary.BigEndian.Uint32(head)), string(head[4:8])
		body := func(limit int64) []byte { return p.part(file, at+8, length, limit) }
		switch kind {
		case "IHDR":
			if data := body(64); len(data) >= 8 {
				p.width = int(binary.BigEndian.Uint32(data))
				p.height = int(binary.BigEndian.Uint32(data[4:]))
			}
		case "eXIf", "zxIf":
			p.addEXIF(body(maxEXIF))
		case "iCCP":
			if _, rest, ok := bytes.Cut(body(maxICC), []byte{0}); ok && len(rest) > 1 && p.icc == nil {
				p.icc = p.inflate(rest[1:], maxICC)
			}
		case "tEXt":
			if keyword, value, ok := bytes.Cut(body(maxXMP), []byte{0}); ok {
				p.pngText(string(keyword), value)
			}
		case "zTXt":
			if keyword, rest, ok := bytes.Cut(body(maxXMP), []byte{0}); ok && len(rest) > 1 {
				p.pngText(string(keyword), p.inflate(rest[1:], maxXMP))
			}
		case "iTXt":
			p.pngInternationalText(body(maxXMP))
		case "IEND":
			return
		}
		at += 12 + length
	}
}

func (p *metadataParts) pngInternationalText(data []byte) {
	keyword, rest, ok := bytes.Cut(data, []byte{0})
	if !ok || len(rest) < 2 {
		return
	}
	compressed := rest[0] == 1
	_, rest, _ = bytes.Cut(rest[2:], []byte{0}) // language
	_, value, _ := bytes.Cut(rest, []byte{0})   // translated keyword
	if compressed {
		value = p.inflate(value, maxXMP)
	}
	p.pngText(string(keyword), value)
}

func (p *metadataParts) pngText(keyword string, value []byte) {
	switch keyword {
	case "XML:com.adobe.xmp":
		p.addXMP(value)
	case "Raw profile type exif", "Raw profile type APP1":
		data := rawProfile(value)
		if xmp, ok := bytes.CutPrefix(data, []byte("http://ns.adobe.com/xap/1.0/\x00")); ok {
			p.addXMP(xmp)
			return
		}
		p.addEXIF(data)
	case "Raw profile type xmp":
		p.addXMP(rawProfile(value))
	case "Raw profile type iptc", "Raw profile type 8bim":
		data := rawProfile(value)
		if bytes.HasPrefix(data, []byte("8BIM")) {
			p.photoshop(data)
		} else if p.iptc == nil {
			p.iptc = data
		}
	case "Raw profile type icc", "Raw profile type icm":
		if p.icc == nil {
			p.icc = rawProfile(value)
		}
	case "Description":
		// Many writers put UTF-8 where the standard says Latin-1.
		if p.caption == "" {
			p.caption = cleanText(value)
		}
	}
}

// rawProfile decodes ImageMagick's form of a profile in a text chunk: a line
// with its name, a line with its length, then hexadecimal digits.
func rawProfile(value []byte) []byte {
	_, rest, _ := strings.Cut(strings.TrimSpace(string(value)), "\n")
	count, digits, _ := strings.Cut(strings.TrimSpace(rest), "\n")
	length, err := strconv.Atoi(strings.TrimSpace(count))
	if err != nil || length < 0 {
		return nil
	}
	data, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
	if err != nil {
		return nil
	}
	return data[:min(length, len(data))]
}

// inflate unpacks at most limit bytes; what was unpacked before an error counts.
func (p *metadataParts) inflate(data []byte, limit int64) []byte {
	r, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil
	}
	defer r.Close()
	unpacked, _ := io.ReadAll(io.LimitReader(r, min(limit, maxRead-p.used))) // a truncated profile still has its name
	p.used += int64(len(unpacked))
	return unpacked
}

// webp walks the RIFF chunks (RFC 9649).
func (p *metadataParts) webp(file *io.SectionReader) {
	at := int64(12)
	for range maxPieces {
		head := readPart(file, at, 8, 8)
		if head == nil {
			return
		}
		length := int64(binary.LittleEndian.Uint32(head[4:]))
		body := func(limit int64) []byte { return p.part(file, at+8, length, limit) }
		start := func() []byte { return readPart(file, at+8, 10, 10) }
		switch string(head[:4]) {
		case "VP8X":
			if d := start(); d != nil {
				p.width = 1 + int(uint32(d[4])|uint32(d[5])<<8|uint32(d[6])<<16)
				p.height = 1 + int(uint32(d[7])|uint32(d[8])<<8|uint32(d[9])<<16)
			}
		case "VP8 ":
			if d := start(); d != nil && p.width == 0 && bytes.Equal(d[3:6], []byte{0x9d, 0x01, 0x2a}) {
				p.width = int(binary.LittleEndian.Uint16(d[6:]) & 0x3fff)
				p.height = int(binary.LittleEndian.Uint16(d[8:]) & 0x3fff)
			}
		case "VP8L":
			if d := start(); d != nil && p.width == 0 && d[0] == 0x2f {
				bits := binary.LittleEndian.Uint32(d[1:])
				p.width, p.height = 1+int(bits&0x3fff), 1+int(bits>>14&0x3fff)
			}
		case "ICCP":
			p.icc = body(maxICC)
		case "EXIF":
			p.addEXIF(body(maxEXIF))
		case "XMP ", "XMP\x00":
			p.addXMP(body(maxXMP))
		}
		at += 8 + length + length&1
	}
}

// gif walks the blocks (GIF89a) to the application extension that holds XMP.
func (p *metadataParts) gif(file *io.SectionReader) {
	const maxWalk = 512 << 20 // every byte is passed over
	r := bufio.NewReaderSize(io.NewSectionReader(file, 0, min(file.Size(), maxWalk)), 64<<10)
	head := make([]byte, 13)
	if _, err := io.ReadFull(r, head); err != nil {
		return
	}
	p.width = int(binary.LittleEndian.Uint16(head[6:]))
	p.height = int(binary.LittleEndian.Uint16(head[8:]))
	skipColours := func(packed byte) bool {
		if packed&0x80 == 0 {
			return true
		}
		_, err := r.Discard(3 << (packed&7 + 1))
		return err == nil
	}
	if !skipColours(head[10]) {
		return
	}
	for range maxPieces {
		kind, err := r.ReadByte()
		if err != nil {
			return
		}
		switch kind {
		case 0x2c:
			descriptor := make([]byte, 9)
			if _, err := io.ReadFull(r, descriptor); err != nil || !skipColours(descriptor[8]) {
				return
			}
			if _, err := r.Discard(1); err != nil { // code size
				return
			}
			if _, ok := gifBlocks(r, false); !ok {
				return
			}
		case 0x21:
			label, err := r.ReadByte()
			if err != nil {
				return
			}
			name, _ := r.Peek(12)
			keep := label == 0xff && bytes.HasPrefix(name, []byte("\x0bXMP DataXMP"))
			data, ok := gifBlocks(r, keep)
			// The packet is stored bare, so that its text reads as block lengths;
			// 257 bytes of padding lead any reader to the end.
			const magic = 257
			if keep && len(data) > 12+magic {
				p.addXMP(data[12 : len(data)-magic])
			}
			if !ok {
				return
			}
		default:
			return
		}
	}
}

// gifBlocks passes over the data sub-blocks and gives their bytes, lengths
// included, when they are to be kept.
func gifBlocks(r *bufio.Reader, keep bool) (data []byte, ok bool) {
	for range maxPieces {
		length, err := r.ReadByte()
		if err != nil {
			return data, false
		}
		if keep {
			data = append(data, length)
		}
		if length == 0 {
			return data, true
		}
		if !keep {
			if _, err := r.Discard(int(length)); err != nil {
				return data, false
			}
			continue
		}
		if len(data) > maxXMP {
			return nil, false
		}
		at := len(data)
		data = append(data, make([]byte, length)...)
		if _, err := io.ReadFull(r, data[at:]); err != nil {
			return data[:at], false
		}
	}
	return data, false
}

// bmp reads the size out of the bitmap header; a negative height is a picture
// stored from the top.
func (p *metadataParts) bmp(file *io.SectionReader) {
	head := readPart(file, 14, 12, 12)
	if head == nil {
		return
	}
	if binary.LittleEndian.Uint32(head) == 12 { // OS/2
		p.width = int(binary.LittleEndian.Uint16(head[4:]))
		p.height = int(binary.LittleEndian.Uint16(head[6:]))
		return
	}
	p.width = int(int32(binary.LittleEndian.Uint32(head[4:])))
	p.height = int(int32(binary.LittleEndian.Uint32(head[8:])))
	if p.height < 0 {
		p.height = -p.height
	}
}

// tiff reads a file that is one TIFF block: TIFF itself and most RAW formats.
func (p *metadataParts) tiff(file *io.SectionReader, raw bool) {
	block, ok := readEXIF(file)
	if !ok {
		return
	}
	p.exif = append(p.exif, block)
	if packet := block.main[tagXMP].data; packet != nil {
		p.addXMP(packet)
	}
	p.icc = block.main[tagICC].data
	p.iptc = block.main[tagIPTC].data
	p.photoshop(block.main[tagPhotoshop].data)
	p.width, p.height = block.size(raw)
}

// rw2 reads Panasonic's TIFF: its own tags, and a whole JPEG with the EXIF that
// the outer directory lacks.
func (p *metadataParts) rw2(file *io.SectionReader) {
	p.tiff(file, true)
	if len(p.exif) == 0 {
		return
	}
	main := p.exif[0].main
	edge := func(tag uint16) int { n, _ := main[tag].integer(0); return n }
	if width, height := edge(0x0007)-edge(0x0005), edge(0x0006)-edge(0x0004); width > 0 && height > 0 {
		p.width, p.height = width, height // sensor borders: top, left, bottom, right
	}
	if preview := main[tagPanasonicJPEG]; preview.count > 0 {
		p.embeddedJPEG(io.NewSectionReader(file, preview.offset, preview.size()))
	}
}

// raf reads Fujifilm's container: a header with the place of a whole JPEG that
// carries the metadata, and a directory with the size of the sensor image.
func (p *metadataParts) raf(file *io.SectionReader) {
	head := readPart(file, 84, 16, 16)
	if head == nil {
		return
	}
	offset, length := int64(binary.BigEndian.Uint32(head)), int64(binary.BigEndian.Uint32(head[4:]))
	p.rafSize(file, int64(binary.BigEndian.Uint32(head[8:])))
	if offset < file.Size() {
		p.embeddedJPEG(io.NewSectionReader(file, offset, min(length, file.Size()-offset)))
	}
}

// rafSize reads the tag RawImageFullSize or RawImageSize: height, then width.
func (p *metadataParts) rafSize(file *io.SectionReader, at int64) {
	const maxTags = 256
	head := readPart(file, at, 4, 4)
	if head == nil {
		return
	}
	at += 4
	for range min(binary.BigEndian.Uint32(head), maxTags) {
		entry := readPart(file, at, 8, 8)
		if entry == nil {
			return
		}
		tag, length := binary.BigEndian.Uint16(entry), binary.BigEndian.Uint16(entry[2:])
		if (tag == 0x0100 || tag == 0x0121) && length == 4 && p.width == 0 {
			p.height = int(binary.BigEndian.Uint16(entry[4:]))
			p.width = int(binary.BigEndian.Uint16(entry[6:]))
		}
		at += 4 + int64(length)
	}
}

// embeddedJPEG adds the metadata of a preview; the size stays that of the file
// around it where that is known.
func (p *metadataParts) embeddedJPEG(preview *io.SectionReader) {
	var inner metadataParts
	inner.jpeg(preview)
	p.exif = append(p.exif, inner.exif...)
	p.xmp = append(p.xmp, inner.xmp...)
	if p.iptc == nil {
		p.iptc = inner.iptc
	}
	if p.icc == nil {
		p.icc = inner.icc
	}
	if p.width == 0 {
		p.width, p.height = inner.width, inner.height
	}
}
