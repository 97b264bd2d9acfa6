package media

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
)

// bitmap is the header of a Windows bitmap: BITMAPFILEHEADER and one of
// BITMAPCOREHEADER, BITMAPINFOHEADER and its successors, as Microsoft documents
// them (learn.microsoft.com/windows/win32/gdi/bitmap-structures).
type bitmap struct {
	width, height int
	topDown       bool
	depth         int // bits of a pixel: 1, 2, 4, 8, 16, 24, 32
	compression   uint32
	masks         [3]uint32 // of red, green and blue, for 16 and 32 bits
	palette       [][3]byte
	pixelsAt      int64
}

const (
	bmpRGB       = 0
	bmpRLE8      = 1
	bmpRLE4      = 2
	bmpBitfields = 3
	// bmpAlphaBitfields is the last of BITFIELDS with a mask for alpha.
	bmpAlphaBitfields = 6
)

func readBitmap(file io.ReaderAt) (bitmap, error) {
	damaged := func() (bitmap, error) { return bitmap{}, corrupt("", "The header of the BMP is damaged.") }
	head := make([]byte, 14+124+3*4)
	n, err := file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return bitmap{}, fmt.Errorf("read the file: %w", err)
	}
	if head = head[:n]; n < 14+12 {
		return damaged()
	}
	le := binary.LittleEndian
	b := bitmap{pixelsAt: int64(le.Uint32(head[10:]))}
	infoSize := int64(le.Uint32(head[14:]))
	paletteAt, entry, colours := 14+infoSize, 4, 0
	switch {
	case infoSize == 12: // OS/2
		b.width, b.height = int(le.Uint16(head[18:])), int(le.Uint16(head[20:]))
		b.depth, entry = int(le.Uint16(head[24:])), 3
	case infoSize >= 40 && infoSize <= 124 && n >= 14+40:
		b.width, b.height = int(int32(le.Uint32(head[18:]))), int(int32(le.Uint32(head[22:])))
		b.depth, b.compression = int(le.Uint16(head[28:])), le.Uint32(head[30:])
		colours = int(min(le.Uint32(head[46:]), 256))
	default:
		return damaged()
	}
	if b.height < 0 {
		b.height, b.topDown = -b.height, true
	}
	if b.width < 1 || b.height < 1 {
		return damaged()
	}
	switch {
	case b.depth == 16:
		b.masks = [3]uint32{0x7c00, 0x03e0, 0x001f}
	case b.depth == 32:
		b.masks = [3]uint32{0xff0000, 0x00ff00, 0x0000ff}
	}
	switch b.compression {
	case bmpRGB:
	case bmpRLE8, bmpRLE4:
		if b.compression == bmpRLE8 && b.depth != 8 || b.compression == bmpRLE4 && b.depth != 4 || b.topDown {
			return damaged()
		}
	case bmpBitfields, bmpAlphaBitfields:
		if b.depth != 16 && b.depth != 32 || n < 14+40+12 {
			return damaged()
		}
		for c := range b.masks { // they follow the first 40 bytes in every version
			b.masks[c] = le.Uint32(head[14+40+4*c:])
		}
	default:
		return bitmap{}, unsupported("", "This kind of BMP cannot be decoded.")
	}
	switch b.depth {
	case 1, 2, 4, 8:
		if colours == 0 || colours > 1<<b.depth {
			colours = 1 << b.depth
		}
		// Files may say less than they have; the pixels begin after the palette.
		if room := (b.pixelsAt - paletteAt) / int64(entry); room >= 0 && room < int64(colours) {
			colours = int(room)
		}
		raw := make([]byte, colours*entry)
		n, err := file.ReadAt(raw, paletteAt)
		if err != nil && !errors.Is(err, io.EOF) {
			return bitmap{}, fmt.Errorf("read the file: %w", err)
		}
		b.palette = make([][3]byte, 256) // what is missing is black
		for i := range n / entry {
			b.palette[i] = [3]byte{raw[i*entry+2], raw[i*entry+1], raw[i*entry]}
		}
	case 16, 24, 32:
	default:
		return damaged()
	}
	return b, nil
}

// bmpHeader is the size of the bitmap at path.
func bmpHeader(path string) (header, error) {
	file, err := os.Open(path)
	if err != nil {
		return header{}, fmt.Errorf("read the file: %w", err)
	}
	defer file.Close()
	b, err := readBitmap(file)
	if err != nil {
		return header{}, err
	}
	return header{width: b.width, height: b.height, orientation: 1, pages: 1}, nil
}

func (cfg workerConfig) openBMP(path string) (*raster, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	b, pixels, err := decodeBMP(file, info.Size(), min(cfg.MaxPixels, cfg.MemoryLimit/2/3))
	if err != nil {
		return nil, err
	}
	return imageOf(pixels, b.width, b.height, 3)
}

// decodeBMP gives rows of RGB. Transparency is ignored, since most programs leave
// the fourth byte zero. Rows that a truncated file lacks stay black.
func decodeBMP(file io.ReaderAt, size, maxPixels int64) (b bitmap, pixels []byte, err error) {
	if b, err = readBitmap(file); err != nil {
		return b, nil, err
	}
	if err := checkSize(b.width, b.height, maxPixels); err != nil {
		return b, nil, err
	}
	if b.pixelsAt >= size {
		return b, nil, corrupt("", "The BMP has no pixels.")
	}
	pixels = make([]byte, b.width*b.height*3)
	from := bufio.NewReaderSize(io.NewSectionReader(file, b.pixelsAt, size-b.pixelsAt), 64<<10)
	if b.compression == bmpRLE8 || b.compression == bmpRLE4 {
		err = b.decodeRuns(from, pixels)
	} else {
		err = b.decodeRows(from, pixels)
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return b, nil, fmt.Errorf("read the file: %w", err)
	}
	return b, pixels, nil
}

// row is where row y, counted from the first in the file, goes.
func (b *bitmap) row(pixels []byte, y int) []byte {
	if !b.topDown {
		y = b.height - 1 - y
	}
	return pixels[y*b.width*3 : (y+1)*b.width*3]
}

func (b *bitmap) decodeRows(from io.Reader, pixels []byte) error {
	line := make([]byte, (int64(b.width)*int64(b.depth)+31)/32*4)
	for y := range b.height {
		if _, err := io.ReadFull(from, line); err != nil {
			return err
		}
		row := b.row(pixels, y)
		for x := range b.width {
			var colour [3]byte
			switch b.depth {
			case 16:
				colour = b.unmask(uint32(binary.LittleEndian.Uint16(line[2*x:])))
			case 24:
				colour = [3]byte{line[3*x+2], line[3*x+1], line[3*x]}
			case 32:
				colour = b.unmask(binary.LittleEndian.Uint32(line[4*x:]))
			default:
				shift := 8 - b.depth - x*b.depth%8
				colour = b.palette[int(line[x*b.depth/8]>>shift)&(1<<b.depth-1)]
			}
			copy(row[3*x:], colour[:])
		}
	}
	return nil
}

// unmask stretches each colour's bits to eight.
func (b *bitmap) unmask(value uint32) (colour [3]byte) {
	for c, mask := range b.masks {
		if mask == 0 {
			continue
		}
		shift := bits.TrailingZeros32(mask)
		most := uint64(mask >> shift)
		colour[c] = byte(uint64(value&mask>>shift) * 255 / most)
	}
	return colour
}

// decodeRuns reads BI_RLE8 and BI_RLE4: pairs of a count and a value, where the
// count 0 introduces an end of line (0), an end (1), a jump (2) or literal pixels.
func (b *bitmap) decodeRuns(from io.ByteReader, pixels []byte) error {
	x, y := 0, 0
	put := func(index byte) {
		if x < b.width && y < b.height {
			copy(b.row(pixels, y)[3*x:], b.palette[index][:])
		}
		x++
	}
	nibbles := b.compression == bmpRLE4
	var pair [2]byte
	read := func() (err error) {
		for i := range pair {
			if pair[i], err = from.ReadByte(); err != nil {
				return err
			}
		}
		return nil
	}
	for y < b.height {
		if err := read(); err != nil {
			return err
		}
		count, value := int(pair[0]), pair[1]
		switch {
		case count > 0:
			for i := range count {
				switch {
				case !nibbles:
					put(value)
				case i%2 == 0:
					put(value >> 4)
				default:
					put(value & 15)
				}
			}
		case value == 0:
			x, y = 0, y+1
		case value == 1:
			return nil
		case value == 2:
			if err := read(); err != nil {
				return err
			}
			x, y = x+int(pair[0]), y+int(pair[1])
		default:
			bytes := int(value)
			if nibbles {
				bytes = (bytes + 1) / 2
			}
			left := int(value)
			for range (bytes + 1) / 2 { // literals fill 16 bit words
				if err := read(); err != nil {
					return err
				}
				for _, literal := range pair {
					if nibbles {
						if left > 0 {
							put(literal >> 4)
							left--
						}
						literal &= 15
					}
					if left > 0 {
						put(literal)
						left--
					}
				}
			}
		}
	}
	return nil
}
