package media

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/banksia-photos/banksia"
)

// drawable is what variants are drawn from: a file for libvips, or pixels.
type drawable interface {
	header() (header, error)
	// shrink decodes so that neither side exceeds edge.
	shrink(edge int) (*raster, error)
	close()
}

// The largest sides that the encoders take: JPEG_MAX_DIMENSION of libjpeg and
// WEBP_MAX_DIMENSION of libwebp.
const (
	maxJPEGSide = 65500
	maxWebPSide = 16383
)

const (
	typeJPEG = "image/jpeg"
	typeWebP = "image/webp"
)

// open finds the picture in a file and checks its size, before any pixel is
// decoded.
func (cfg workerConfig) open(ctx context.Context, path string, format Format) (drawable, header, error) {
	if err := checkContent(path, format); err != nil {
		return nil, header{}, err
	}
	var source drawable
	var h header
	var err error
	switch {
	case format.MediaType == banksia.Video:
		source, err = cfg.videoStill(ctx, path, format)
	case format.Raw:
		source, err = cfg.openRaw(path, format)
	case format.Name == "bmp":
		source, err = cfg.openBMP(path)
	default:
		return cfg.openEncoded(path, format)
	}
	if err != nil {
		return nil, header{}, err
	}
	if h, err = source.header(); err != nil {
		source.close()
		return nil, header{}, explainDecoder(err, path, format)
	}
	if err := cfg.check(h); err != nil {
		source.close()
		return nil, header{}, err
	}
	return source, h, nil
}

// openEncoded opens a file that libvips reads by itself.
func (cfg workerConfig) openEncoded(path string, format Format) (source *encoded, h header, err error) {
	if format.family == "heif" {
		source, h, err = cfg.openHEIF(path)
	} else {
		source = &encoded{path: path}
		h, err = source.header()
	}
	if err != nil {
		return nil, header{}, explainDecoder(err, path, format)
	}
	return source, h, cfg.check(h)
}

func (cfg workerConfig) check(h header) error {
	if err := checkSize(h.width, h.height, cfg.MaxPixels); err != nil {
		return err
	}
	if h.pages > cfg.MaxFrames {
		return tooLarge("", "The image has %d frames; at most %d are read.", h.pages, cfg.MaxFrames)
	}
	return nil
}

// checkContent compares the magic number with the format.
func checkContent(path string, format Format) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read the file: %w", err)
	}
	defer file.Close()
	head := make([]byte, SniffLength)
	n, err := io.ReadFull(file, head)
	if n == 0 && errors.Is(err, io.EOF) {
		return corrupt("", "The file is empty.")
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("read the file: %w", err)
	}
	if !format.Sniff(head[:n]) {
		return corrupt("", "The content is not %s.", formatTitle(format))
	}
	return nil
}

// formatTitle is the name of a format in a sentence.
func formatTitle(format Format) string {
	if format.Raw {
		return strings.ToUpper(format.Name) + " camera data"
	}
	return strings.ToUpper(format.Name)
}

// explainDecoder makes a sentence of the words of libvips.
func explainDecoder(err error, path string, format Format) error {
	if _, ok := errors.AsType[*problem](err); ok {
		return err
	}
	detail := decoderWords(err, path)
	if disk := diskErrorIn(detail); disk != nil {
		return disk
	}
	lower := strings.ToLower(detail)
	contains := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(lower, part) })
	}
	switch {
	case contains("out of memory", "unable to allocate", "insufficient memory", "cannot allocate", "memory allocation", "failed to allocate", "exceeds the maximum", "security limit"):
		return tooLarge(detail, "Decoding the %s takes more memory than is allowed.", formatTitle(format))
	case contains("too large", "too big", "exceeds", "maximum supported image dimension"):
		return tooLarge(detail, "The %s is too large to be decoded.", formatTitle(format))
	case contains("unsupported", "not supported", "unimplemented", "known format", "no codec", "not implemented"):
		return unsupported(detail, "This kind of %s cannot be decoded.", formatTitle(format))
	}
	return corrupt(detail, "The %s is damaged and cannot be decoded.", formatTitle(format))
}

// decoderWords is one printable line of at most 300 characters without the path.
func decoderWords(err error, path string) string {
	text := strings.ReplaceAll(err.Error(), path, "the file")
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > 300 {
		text = string(runes[:300])
	}
	return text
}

// draw writes the orders.
func (cfg workerConfig) draw(ctx context.Context, path string, format Format, orders []Order) (drawn []Drawn, err error) {
	source, h, err := cfg.open(ctx, path, format)
	if err != nil {
		return nil, err
	}
	defer source.close()
	err = savingRest(source, path, format, func() error {
		drawn, err = cfg.drawFrom(source, h, orders)
		return err
	})
	return drawn, err
}

// decodesByRow lists the formats of which a part can be drawn. The others decode
// as a whole, and libvips would try that again for each row.
var decodesByRow = []string{"jpeg", "png", "gif", "tiff"}

// savingRest runs work on a source. Of a truncated file it uses the pixels that
// are there, unless those are none.
func savingRest(source drawable, path string, format Format, work func() error) error {
	clearVips()
	err := work()
	if err == nil {
		return nil
	}
	err = explainDecoder(err, path, format)
	file, ok := source.(*encoded)
	if !ok || !errors.Is(err, ErrCorrupt) || !format.Raw && !slices.Contains(decodesByRow, format.Name) {
		return err
	}
	file.lenient = true
	if blank, blankErr := isBlank(file); blankErr != nil || blank || work() != nil {
		return err
	}
	return nil
}

// isBlank tells whether all pixels are alike.
func isBlank(source drawable) (bool, error) {
	small, err := source.shrink(thumbHashEdge)
	if err != nil {
		return false, err
	}
	defer small.close()
	pixels, err := small.rgba()
	if err != nil {
		return false, err
	}
	for i := range pixels {
		if pixels[i] != pixels[i%4] {
			return false, nil
		}
	}
	return true, nil
}

// drawFrom draws the largest first, and each other from the one before.
func (cfg workerConfig) drawFrom(source drawable, h header, orders []Order) ([]Drawn, error) {
	webp := h.alpha
	mimeType, maxSide := typeJPEG, maxJPEGSide
	if webp {
		mimeType, maxSide = typeWebP, maxWebPSide
	}
	edge := func(o Order) int {
		if limit, ok := banksia.LongestEdge[o.Variant]; ok {
			return limit
		}
		return maxSide
	}
	sequence := make([]int, len(orders))
	for i := range sequence {
		sequence[i] = i
	}
	slices.SortStableFunc(sequence, func(a, b int) int { return cmp.Compare(edge(orders[b]), edge(orders[a])) })

	drawn := make([]Drawn, len(orders))
	var last *raster // the variant before, if it is in memory
	defer func() { last.close() }()
	for _, i := range sequence {
		var next *raster
		var err error
		if last != nil {
			next, err = last.shrink(edge(orders[i]))
		} else {
			next, err = source.shrink(edge(orders[i]))
		}
		if err != nil {
			return nil, err
		}
		// Larger pixels than these are decoded a second time rather than kept.
		if next.bytes() <= cfg.MemoryLimit/4 {
			kept, err := next.keep()
			next.close()
			if err != nil {
				return nil, err
			}
			last.close()
			last, next = kept, nil
		}
		picture := last
		if next != nil {
			picture = next
		}
		drawn[i] = Drawn{Variant: orders[i].Variant, MIMEType: mimeType, Width: picture.width(), Height: picture.height()}
		err = picture.save(orders[i].Path, webp)
		next.close()
		if err != nil {
			return nil, err
		}
		written, err := os.Stat(orders[i].Path)
		if err != nil {
			return nil, fmt.Errorf("look at the variant: %w", err)
		}
		drawn[i].SizeBytes = written.Size()
	}
	return drawn, nil
}

// thumbHashEdge is the largest side that ThumbHash is defined for.
const thumbHashEdge = 100

func (cfg workerConfig) thumbHash(ctx context.Context, path string, format Format) (hash []byte, err error) {
	source, _, err := cfg.open(ctx, path, format)
	if err != nil {
		return nil, err
	}
	defer source.close()
	err = savingRest(source, path, format, func() error {
		small, err := source.shrink(thumbHashEdge)
		if err != nil {
			return err
		}
		defer small.close()
		pixels, err := small.rgba()
		if err != nil {
			return err
		}
		hash, err = thumbHash(small.width(), small.height(), pixels)
		return err
	})
	return hash, err
}
