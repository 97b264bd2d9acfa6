package derive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/media"
)

// FaceCrop opens the crop of a face, a JPEG or, where the original has
// transparency, a WebP. One that is not there yet is drawn on the spot; one that
// cannot be is CodeNotFound.
func (d *Deriver) FaceCrop(ctx context.Context, t *banksia.FaceThumbnail) (blob.Reader, blob.Info, error) {
	key := blob.Derived(t.Version.ID, t.Variant())
	reader, info, err := d.blobs.Open(ctx, key)
	if !errors.Is(err, blob.ErrNotExist) {
		return reader, info, blob.ForClients(err)
	}
	if t.Version.VariantMIMEType == "" || t.Square().W == 0 {
		return nil, blob.Info{}, banksia.NotFound("Crop")
	}
	err = d.draws.do(ctx, t.Version.ID, []banksia.VariantName{t.Variant()}, true, func(ctx context.Context) error {
		return d.drawCrop(media.WithPriority(ctx), t)
	})
	if err != nil {
		return nil, blob.Info{}, refusal(err)
	}
	reader, info, err = d.blobs.Open(ctx, key)
	if errors.Is(err, blob.ErrNotExist) { // the face was deleted meanwhile
		err = banksia.NotFound("Face")
	}
	return reader, info, blob.ForClients(err)
}

func (d *Deriver) drawCrop(ctx context.Context, t *banksia.FaceThumbnail) error {
	key := blob.Derived(t.Version.ID, t.Variant())
	if _, err := d.blobs.Stat(ctx, key); !errors.Is(err, blob.ErrNotExist) {
		return err
	}
	folder, err := os.MkdirTemp(d.blobs.TempDir(), "crop-*")
	if err != nil {
		return blob.Explain(fmt.Errorf("crop: %w", err))
	}
	defer os.RemoveAll(folder)
	source, format, release, err := d.cropSource(ctx, t)
	if err != nil {
		return err
	}
	defer release()
	crop := media.Crop{Area: t.Square(), Width: t.Version.Width, Height: t.Version.Height, Edge: banksia.FaceCropEdge, At: t.At, Path: filepath.Join(folder, "crop")}
	if _, err := d.media.Crop(ctx, source, format, crop); err != nil {
		return fmt.Errorf("crop: %w", err)
	}
	ctx = context.WithoutCancel(ctx) // or the crop of a deleted face could stay
	if err := d.blobs.Adopt(ctx, key, crop.Path); err != nil {
		return err
	}
	if _, err := d.store.FaceThumbnail(ctx, t.FaceID); banksia.ErrorCode(err) != banksia.CodeNotFound {
		return err
	}
	return d.blobs.Delete(ctx, key)
}

// cropSource is the file that a crop is cut from: the preview where it has pixels
// enough, because it is decoded in a fraction of the time, else the original.
func (d *Deriver) cropSource(ctx context.Context, t *banksia.FaceThumbnail) (path string, format media.Format, release func(), err error) {
	v := &t.Version
	preview := banksia.LongestEdge[banksia.VariantPreview]
	if t.At == nil && t.Square().W*preview >= banksia.FaceCropEdge*max(v.Width, v.Height) {
		if format, ok := media.FormatByType(v.VariantMIMEType); ok {
			path, release, err = d.blobs.Fetch(ctx, blob.Derived(v.ID, banksia.VariantPreview))
			if !errors.Is(err, blob.ErrNotExist) {
				return path, format, release, err
			}
		}
	}
	format, ok := media.FormatByType(v.MIMEType)
	if !ok {
		return "", format, nil, fmt.Errorf("crop %s: %w", v.MIMEType, media.ErrUnsupported)
	}
	path, release, err = d.blobs.Fetch(ctx, blob.Original(v.SHA256))
	return path, format, release, err
}
