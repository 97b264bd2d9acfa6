package media

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
)

// box is one box of an ISO base media file (ISO/IEC 14496-12): its four letters,
// its extended type if that is "uuid", and where its content lies.
type box struct {
	kind       string
	uuid       string
	start, end int64
}

// boxes lists the boxes between two offsets, at most maxBoxes, up to the first
// that does not fit.
func boxes(file *io.SectionReader, start, end int64) []box {
	const maxBoxes = 4096
	var list []box
	for at := start; at+8 <= end && len(list) < maxBoxes; {
		head := readPart(file, at, 8, 8)
		if head == nil {
			break
		}
		size, header := uint64(binary.BigEndian.Uint32(head)), int64(8)
		b := box{kind: string(head[4:8])}
		switch size {
		case 0: // to the end
			size = uint64(end - at)
		case 1:
			wide := readPart(file, at+8, 8, 8)
			if wide == nil {
				return list
			}
			size, header = binary.BigEndian.Uint64(wide), 16
		}
		if size < uint64(header) || size > math.MaxInt64 {
			break
		}
		if b.kind == "uuid" {
			b.uuid = string(readPart(file, at+header, 16, 16))
			header += 16
		}
		b.start, b.end = at+header, end
		if size < uint64(end-at) {
			b.end = at + int64(size)
		}
		if b.start > b.end {
			break
		}
		list = append(list, b)
		at = b.end
	}
	return list
}

func (p *metadataParts) content(file *io.SectionReader, b box, limit int64) []byte {
	return p.part(file, b.start, b.end-b.start, limit)
}

// cursor reads big-endian numbers; past the end it gives zeros and says so.
type cursor struct {
	data  []byte
	short bool
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.data) {
		c.short, c.data = true, nil
		return make([]byte, max(0, min(n, 8)))
	}
	taken := c.data[:n]
	c.data = c.data[n:]
	return taken
}

func (c *cursor) number(size int) uint64 {
	value := uint64(0)
	for _, b := range c.take(size) {
		value = value<<8 | uint64(b)
	}
	return value
}

func (c *cursor) string() string {
	text, rest, ok := bytes.Cut(c.data, []byte{0})
	if !ok {
		c.short = true
	}
	c.data = rest
	return string(text)
}

// heifItem is an item of a HEIF meta box: where its bytes are and which
// properties it has (ISO/IEC 14496-12, 8.11; ISO/IEC 23008-12).
type heifItem struct {
	kind, contentType string
	inside            bool // extents count from the idat box
	extents           [][2]uint64
	properties        []int // from 1
	describes         []uint32
}

type heifMeta struct {
	primary    uint32
	items      map[uint32]*heifItem
	order      []uint32 // of the items in the file
	properties []box
	idat       box
}

func (m *heifMeta) item(id uint32) *heifItem {
	const maxItems = 1 << 16
	item := m.items[id]
	if item == nil {
		item = &heifItem{}
		if len(m.items) < maxItems {
			m.items[id] = item
			m.order = append(m.order, id)
		}
	}
	return item
}

// heif reads HEIC, HEIF and AVIF: EXIF and XMP are items that describe the
// primary one, size and colour profile are properties of it.
func (p *metadataParts) heif(file *io.SectionReader) {
	for _, b := range boxes(file, 0, file.Size()) {
		if b.kind == "meta" {
			p.heifItems(file, p.heifMeta(file, b))
			return
		}
	}
}

func (p *metadataParts) heifMeta(file *io.SectionReader, meta box) *heifMeta {
	m := &heifMeta{items: map[uint32]*heifItem{}}
	for _, b := range boxes(file, meta.start+4, meta.end) { // version and flags first
		if b.kind == "idat" {
			m.idat = b
			continue
		}
		if b.kind == "iprp" {
			for _, inner := range boxes(file, b.start, b.end) {
				switch inner.kind {
				case "ipco":
					m.properties = boxes(file, inner.start, inner.end)
				case "ipma":
					m.associations(p.content(file, inner, maxIPTC))
				}
			}
			continue
		}
		data := p.content(file, b, maxIPTC)
		if len(data) < 4 {
			continue
		}
		c := &cursor{data: data[4:]}
		version := data[0]
		switch b.kind {
		case "pitm":
			m.primary = uint32(c.number(wide(version > 0, 2, 4)))
		case "iinf":
			c.number(wide(version > 0, 2, 4)) // how many; the boxes tell
			at := b.end - int64(len(c.data))
			for _, entry := range boxes(file, at, b.end) {
				m.itemInfo(p.content(file, entry, maxText))
			}
		case "iloc":
			m.locations(c, version)
		case "iref":
			m.references(c, version)
		}
	}
	return m
}

func wide(large bool, small, big int) int {
	if large {
		return big
	}
	return small
}

func (m *heifMeta) itemInfo(data []byte) {
	if len(data) < 4 || data[0] < 2 {
		return
	}
	c := &cursor{data: data[4:]}
	id := uint32(c.number(wide(data[0] > 2, 2, 4)))
	c.take(2) // protection
	kind := string(c.take(4))
	if c.short {
		return
	}
	item := m.item(id)
	item.kind = kind
	if kind == "mime" {
		_ = c.string() // name
		item.contentType = c.string()
	}
}

func (m *heifMeta) locations(c *cursor, version byte) {
	sizes := c.number(2)
	offsetSize, lengthSize := int(sizes>>12), int(sizes>>8&15)
	baseSize, indexSize := int(sizes>>4&15), int(sizes&15)
	if version == 0 {
		indexSize = 0
	}
	for range c.number(wide(version > 1, 2, 4)) {
		if c.short {
			return
		}
		id := uint32(c.number(wide(version > 1, 2, 4)))
		method := uint64(0)
		if version > 0 {
			method = c.number(2) & 15
		}
		c.take(2) // data reference
		base := c.number(baseSize)
		item := m.item(id)
		item.inside = method == 1
		for range c.number(2) {
			c.number(indexSize)
			offset, length := c.number(offsetSize), c.number(lengthSize)
			if c.short {
				return
			}
			if method < 2 {
				item.extents = append(item.extents, [2]uint64{base + offset, length})
			}
		}
	}
}

func (m *heifMeta) references(c *cursor, version byte) {
	size := wide(version > 0, 2, 4)
	for len(c.data) >= 8 {
		length := c.number(4)
		kind := string(c.take(4))
		if length < 8 || length-8 > uint64(len(c.data)) {
			return
		}
		inner := &cursor{data: c.take(int(length - 8))}
		if kind != "cdsc" {
			continue
		}
		from := m.item(uint32(inner.number(size)))
		for range inner.number(2) {
			to := uint32(inner.number(size))
			if inner.short {
				break
			}
			from.describes = append(from.describes, to)
		}
	}
}

func (m *heifMeta) associations(data []byte) {
	if len(data) < 8 {
		return
	}
	version, largeIndex := data[0], data[3]&1 == 1
	c := &cursor{data: data[4:]}
	for range c.number(4) {
		if c.short {
			return
		}
		item := m.item(uint32(c.number(wide(version > 0, 2, 4))))
		for range c.number(1) {
			index := c.number(wide(largeIndex, 1, 2))
			if largeIndex {
				index &= 0x7fff
			} else {
				index &= 0x7f
			}
			item.properties = append(item.properties, int(index))
		}
	}
}

func (p *metadataParts) item(file *io.SectionReader, m *heifMeta, item *heifItem, limit int64) []byte {
	var data []byte
	for _, extent := range item.extents {
		offset, length := extent[0], extent[1]
		end := uint64(file.Size())
		if item.inside {
			offset += uint64(m.idat.start)
			end = uint64(m.idat.end)
		}
		if offset > end {
			return nil
		}
		if length == 0 || length > end-offset {
			length = end - offset
		}
		if uint64(len(data))+length > uint64(limit) {
			return nil
		}
		data = append(data, p.part(file, int64(offset), int64(length), limit)...)
	}
	return data
}

func (p *metadataParts) heifItems(file *io.SectionReader, m *heifMeta) {
	// What describes the primary item counts before what describes its gain map
	// or its thumbnail.
	describesPrimary := func(item *heifItem) bool {
		for _, id := range item.describes {
			if id == m.primary {
				return true
			}
		}
		return false
	}
	for _, first := range []bool{true, false} {
		for _, id := range m.order {
			item := m.items[id]
			if describesPrimary(item) != first {
				continue
			}
			switch {
			case item.kind == "Exif" && len(p.exif) == 0:
				p.addEXIF(heifEXIF(p.item(file, m, item, maxEXIF)))
			case item.kind == "mime" && item.contentType == "application/rdf+xml" && (first || len(p.xmp) == 0):
				p.addXMP(p.item(file, m, item, maxXMP))
			}
		}
	}
	primary := m.items[m.primary]
	if primary == nil {
		return
	}
	for _, index := range primary.properties {
		if index < 1 || index > len(m.properties) {
			continue
		}
		switch property := m.properties[index-1]; property.kind {
		case "ispe":
			if data := p.content(file, property, 64); len(data) >= 12 {
				p.width = int(binary.BigEndian.Uint32(data[4:]))
				p.height = int(binary.BigEndian.Uint32(data[8:]))
			}
		case "colr":
			p.colourBox(p.content(file, property, maxICC))
		}
	}
	for _, property := range m.properties {
		if property.kind == "colr" && p.icc == nil { // on the tiles only
			p.colourBox(p.content(file, property, maxICC))
		}
	}
}

func (p *metadataParts) colourBox(data []byte) {
	if len(data) > 4 && p.icc == nil && (string(data[:4]) == "prof" || string(data[:4]) == "rICC") {
		p.icc = data[4:]
	}
}

// heifEXIF skips what the first four bytes say lies before the TIFF block.
func heifEXIF(data []byte) []byte {
	if len(data) < 8 {
		return nil
	}
	skip := uint64(binary.BigEndian.Uint32(data)) + 4
	if skip >= uint64(len(data)) {
		return nil
	}
	return data[skip:]
}

const (
	canonUUID = "\x85\xc0\xb6\x87\x82\x0f\x11\xe0\x81\x11\xf4\xce\x46\x2b\x6a\x48"
	xmpUUID   = "\xbe\x7a\xcf\xcb\x97\xa9\x42\xe8\x9c\x71\x99\x94\x91\xe3\xaf\xac"
)

// cr3 reads Canon's RAW container: a box in moov holds the directories, each as
// a TIFF block of its own.
func (p *metadataParts) cr3(file *io.SectionReader) {
	for _, outer := range boxes(file, 0, file.Size()) {
		switch {
		case outer.kind == "uuid" && outer.uuid == xmpUUID:
			p.addXMP(p.content(file, outer, maxXMP))
		case outer.kind == "moov":
			for _, b := range boxes(file, outer.start, outer.end) {
				if b.kind == "uuid" && b.uuid == canonUUID {
					p.canonBlocks(file, boxes(file, b.start, b.end))
				}
			}
		}
	}
}

func (p *metadataParts) canonBlocks(file *io.SectionReader, blocks []box) {
	var joined exifBlock
	for _, b := range blocks {
		block, ok := readEXIF(sectionOf(p.content(file, b, maxEXIF)))
		if !ok {
			continue
		}
		switch b.kind {
		case "CMT1":
			joined.main, joined.order = block.main, block.order
		case "CMT2":
			joined.photo = block.main
		case "CMT3":
			joined.canon = block.main
		case "CMT4":
			joined.gps = block.main
		}
	}
	if joined.order == nil {
		joined.order = binary.LittleEndian
	}
	p.exif = append(p.exif, joined)
	p.width, p.height = joined.size(true)
}

// jxl reads a JPEG XL container (ISO/IEC 18181-2) or the size out of a bare
// codestream. Boxes compressed with Brotli are passed over.
func (p *metadataParts) jxl(file *io.SectionReader) {
	if head := readPart(file, 0, 2, 2); bytes.Equal(head, []byte{0xff, 0x0a}) {
		p.jxlSize(readPart(file, 0, min(file.Size(), 16), 16))
		return
	}
	for _, b := range boxes(file, 0, file.Size()) {
		switch b.kind {
		case "Exif":
			p.addEXIF(heifEXIF(p.content(file, b, maxEXIF)))
		case "xml ":
			p.addXMP(p.content(file, b, maxXMP))
		case "jxlc", "jxlp":
			start := b.start
			if b.kind == "jxlp" {
				start += 4 // its number
			}
			if p.width == 0 {
				p.jxlSize(readPart(file, start, min(b.end-start, 16), 16))
			}
		}
	}
}

// jxlSize reads the size header of a codestream (ISO/IEC 18181-1, D.2), least
// significant bit first.
func (p *metadataParts) jxlSize(stream []byte) {
	if len(stream) < 12 || stream[0] != 0xff || stream[1] != 0x0a {
		return
	}
	at := 16
	bits := func(n int) int {
		value := 0
		for i := range n {
			if at/8 < len(stream) {
				value |= int(stream[at/8]>>(at%8)&1) << i
			}
			at++
		}
		return value
	}
	small := bits(1) == 1
	side := func() int {
		if small {
			return 8 * (bits(5) + 1)
		}
		return 1 + bits([4]int{9, 13, 18, 30}[bits(2)])
	}
	height := side()
	ratios := [8][2]int{{}, {1, 1}, {12, 10}, {4, 3}, {3, 2}, {16, 9}, {5, 4}, {2, 1}}
	if ratio := bits(3); ratio == 0 {
		p.width = side()
	} else {
		p.width = height * ratios[ratio][0] / ratios[ratio][1]
	}
	p.height = height
}
