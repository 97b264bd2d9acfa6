package media

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/banksia-photos/banksia"
)

// Crop asks for a part of an image, or of a still of a video, in one file, which is
// created or replaced.
type Crop struct {
	// Area is the part, in pixels of an upright image of Width by Height; a file of
	// another size, such as a variant, is cut at the same place.
	Area          banksia.BoundingBox
	Width, Height int
	Edge          int  // the longest that a side becomes; it never grows
	At            *int // milliseconds into a video; nil: the usual still
	Path          string
}

// Crop writes a part of the image or video at path: upright, in sRGB, without
// metadata, in the type that Draw would write. After an error the file is gone.
func (p *Pool) Crop(ctx context.Context, path string, format Format, crop Crop) (Drawn, error) {
	a := crop.Area
	if a.X < 0 || a.Y < 0 || a.W < 1 || a.H < 1 || a.W > crop.Width || a.H > crop.Height || a.X > crop.Width-a.W || a.Y > crop.Height-a.H || crop.Edge < 1 {
		return Drawn{}, errors.New("media: the area to crop is not within the image")
	}
	answer, err := p.do(ctx, request{Work: workCrop, Path: path, Format: format.Name, Crop: &crop})
	if err != nil {
		os.Remove(crop.Path)
		return Drawn{}, err
	}
	return answer.Drawn[0], nil
}

// crop draws the whole image as small as the crop allows, which decoders do fast,
// and cuts the part out.
func (cfg workerConfig) crop(ctx context.Context, path string, format Format, crop *Crop) (drawn []Drawn, err error) {
	if crop == nil {
		return nil, errors.New("no crop")
	}
	source, h, err := cfg.openAt(ctx, path, format, crop.At)
	if err != nil {
		return nil, err
	}
	defer source.close()
	err = savingRest(source, path, format, func() error {
		one, err := crop.from(source, h)
		drawn = []Drawn{one}
		return err
	})
	return drawn, err
}

// openAt opens a file like open, but a video at a time of it.
func (cfg workerConfig) openAt(ctx context.Context, path string, format Format, at *int) (drawable, header, error) {
	if at == nil || format.MediaType != banksia.Video {
		return cfg.open(ctx, path, format)
	}
	if err := checkContent(path, format); err != nil {
		return nil, header{}, err
	}
	still, err := cfg.frameAt(ctx, path, format, strconv.FormatFloat(float64(*at)/1000, 'f', 3, 64))
	if err != nil {
		return nil, header{}, err
	}
	if still == nil { // the time is beyond the end
		return cfg.open(ctx, path, format)
	}
	h, err := still.header()
	if err == nil {
		err = cfg.check(h)
	}
	if err != nil {
		still.close()
		return nil, header{}, err
	}
	return still, h, nil
}

func (c *Crop) from(source drawable, h header) (Drawn, error) {
	width, height := h.width, h.height
	if h.orientation >= 5 { // turned by a quarter
		width, height = height, width
	}
	// The side of the part in this file, and the edge that the whole file may have
	// for the part to come out right.
	side := max(1, max(c.Area.W*width/c.Width, c.Area.H*height/c.Height))
	edge := max(width, height)
	if side > c.Edge {
		edge = max(1, (edge*c.Edge+side-1)/side)
	}
	whole, err := source.shrink(edge)
	if err != nil {
		return Drawn{}, err
	}
	defer whole.close()
	left, across := scaled(c.Area.X, c.Area.W, c.Width, whole.width(), c.Edge)
	top, down := scaled(c.Area.Y, c.Area.H, c.Height, whole.height(), c.Edge)
	part, err := whole.crop(left, top, across, down)
	if err != nil {
		return Drawn{}, err
	}
	defer part.close()
	mimeType := typeJPEG
	if h.alpha {
		mimeType = typeWebP
	}
	if err := part.save(c.Path, h.alpha); err != nil {
		return Drawn{}, err
	}
	written, err := os.Stat(c.Path)
	if err != nil {
		return Drawn{}, fmt.Errorf("look at the crop: %w", err)
	}
	return Drawn{MIMEType: mimeType, Width: across, Height: down, SizeBytes: written.Size()}, nil
}

// scaled is a stretch of a side at another length of that side, rounded and within
// it, and no longer than edge.
func scaled(at, size, from, to, edge int) (start, length int) {
	length = min(max(1, (size*to+from/2)/from), to, edge)
	return min((at*to+from/2)/from, to-length), length
}
