package derive

import (
	"context"
	"fmt"
	"reflect"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/media"
	"github.com/banksia-photos/banksia/internal/store"
	"github.com/banksia-photos/banksia/internal/task"
)

// displayProxy makes the variants of an image: preview, small and thumbnail, and
// fullsize where browsers cannot show the original.
func (d *Deriver) displayProxy(ctx context.Context, a banksia.Asset) (task.Commit, error) {
	if err := d.describeLate(ctx, &a); err != nil {
		return nil, err
	}
	return nil, d.variants(ctx, &a.Version)
}

func (d *Deriver) variants(ctx context.Context, v *banksia.Version) error {
	largest := banksia.VariantPreview
	if !v.Displayable {
		largest = banksia.VariantFullsize
	}
	return d.ensure(ctx, v, largest, false)
}

// describeLate describes an image whose upload could not be, because the server
// was too busy or a decoder crashed.
func (d *Deriver) describeLate(ctx context.Context, a *banksia.Asset) error {
	if a.MediaType != banksia.Image || a.Version.Width > 0 {
		return nil
	}
	info, err := d.describe(ctx, a)
	if err != nil {
		return err
	}
	if info.Problem != "" {
		return task.Final(info.Problem, media.ErrCorrupt)
	}
	a.Version.Width, a.Version.Height = info.Width, info.Height
	a.Version.VariantMIMEType, a.Version.Displayable = info.VariantMIMEType, info.Displayable
	return d.store.ChangeAsset(ctx, a.ID, func(tx *store.Tx) error { return d.storeInfo(tx, a, info) })
}

// describe reads the headers of an original.
func (d *Deriver) describe(ctx context.Context, a *banksia.Asset) (media.Info, error) {
	format, ok := media.FormatByType(a.Version.MIMEType)
	if !ok {
		return media.Info{}, task.Final("This kind of file is not known.", fmt.Errorf("describe %s: %w", a.Version.MIMEType, media.ErrUnsupported))
	}
	path, release, err := d.blobs.Fetch(ctx, blob.Original(a.Version.SHA256))
	if err != nil {
		return media.Info{}, err
	}
	defer release()
	info, err := d.media.Describe(ctx, path, format)
	if err != nil {
		return info, fmt.Errorf("describe: %w", err)
	}
	return info, nil
}

// storeInfo stores a description, and has the place looked up when there is one.
func (d *Deriver) storeInfo(tx *store.Tx, a *banksia.Asset, info media.Info) error {
	err := tx.SetVersionFacts(a.Version.ID, func(v *banksia.Version) {
		v.Width, v.Height, v.VariantMIMEType, v.Displayable = info.Width, info.Height, info.VariantMIMEType, info.Displayable
	})
	if err != nil {
		return err
	}
	if info.Duration != nil {
		if err := tx.SetDuration(a.ID, info.Duration); err != nil {
			return err
		}
	}
	if err := tx.UpdateFileMetadata(a.ID, func(m *banksia.Metadata) { take(m, info.Metadata) }); err != nil {
		return err
	}
	if info.Metadata.Latitude == nil || info.Metadata.Longitude == nil {
		return nil
	}
	library, err := tx.Library(a.LibraryID)
	if err != nil {
		return err
	}
	return d.runner.Enqueue(tx, &banksia.Task{UserID: library.UserID, LibraryID: &a.LibraryID, AssetID: &a.ID, Type: banksia.TaskReverseGeocode})
}

// take sets every field that the source knows.
func take(m *banksia.Metadata, source banksia.Metadata) {
	to, from := reflect.ValueOf(m).Elem(), reflect.ValueOf(source)
	for i := range to.NumField() {
		if field := from.Field(i); field.Kind() == reflect.Pointer && !field.IsNil() {
			to.Field(i).Set(field)
		}
	}
}
