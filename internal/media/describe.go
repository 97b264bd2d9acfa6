package media

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/banksia-photos/banksia"
)

// describe reads headers. The error says that nothing at all could be read.
func (cfg workerConfig) describe(ctx context.Context, path string, format Format) (*Info, error) {
	info := &Info{MIMEType: format.MIMEType, MediaType: format.MediaType}
	if err := checkContent(path, format); err != nil {
		return undrawable(info, err)
	}
	if format.MediaType == banksia.Video {
		return describeVideo(ctx, path, info)
	}
	if metadata, err := readImageMetadata(path, format); err == nil && travels(metadata) {
		info.Metadata = metadata
	}
	h, err := cfg.imageHeader(path, format)
	if h.width > 0 { // known, though perhaps too large
		info.Width, info.Height = h.width, h.height
		if turned(h.orientation) {
			info.Width, info.Height = h.height, h.width
		}
		fillRawSize(info, h)
	}
	if err == nil {
		err = cfg.check(h)
	}
	if err != nil {
		return undrawable(info, err)
	}
	info.VariantMIMEType = typeJPEG
	if h.alpha {
		info.VariantMIMEType = typeWebP
	}
	info.Displayable = format.Displayable
	return info, nil
}

// imageHeader is the size of the whole picture, also where variants are drawn
// from a smaller preview in it.
func (cfg workerConfig) imageHeader(path string, format Format) (header, error) {
	if format.Raw {
		return cfg.rawHeader(path, format)
	}
	if format.Name == "bmp" {
		return bmpHeader(path)
	}
	_, h, err := cfg.openEncoded(path, format)
	return h, err
}

// fillRawSize adds the encoded size where the metadata reader left it out. HEIF
// decoders turn the picture themselves, so there the header is upright already.
func fillRawSize(info *Info, h header) {
	if info.Metadata.RawWidth != nil && info.Metadata.RawHeight != nil {
		return
	}
	width, height := h.width, h.height
	if o := info.Metadata.Orientation; o != nil && turned(*o) && !turned(h.orientation) {
		width, height = height, width
	}
	info.Metadata.RawWidth, info.Metadata.RawHeight = &width, &height
}

// turned tells whether an EXIF orientation exchanges width and height.
func turned(orientation int) bool { return orientation >= 5 && orientation <= 8 }

// undrawable describes a file whose problem is its own; other errors stay errors.
func undrawable(info *Info, err error) (*Info, error) {
	p, ok := errors.AsType[*problem](err)
	if !ok || diskError(err) != nil {
		return nil, err
	}
	info.Problem = p.message
	return info, nil
}

func describeVideo(ctx context.Context, path string, info *Info) (*Info, error) {
	facts, err := ReadVideoFacts(ctx, path)
	if errors.Is(err, ErrNotVideo) {
		return undrawable(info, corrupt(decoderWords(err, path), "The video is damaged and cannot be read."))
	}
	if err != nil {
		return nil, err
	}
	info.Width, info.Height, info.Duration = facts.Width, facts.Height, facts.Duration
	if travels(facts.Metadata) {
		info.Metadata = facts.Metadata
	}
	if !facts.HasVideoStream {
		return undrawable(info, unsupported("", "The file has no video stream."))
	}
	info.VariantMIMEType = typeJPEG
	return info, nil
}

// travels tells whether metadata survives the way to the server: a hostile file
// may have brought a number that is none, or a year without a text form.
func travels(metadata banksia.Metadata) bool {
	text, err := json.Marshal(metadata)
	if err != nil {
		return false
	}
	var back banksia.Metadata
	return json.Unmarshal(text, &back) == nil
}
