// Package derive makes what can be computed again from an original: variants,
// thumbhashes, place names, facts and stills of videos. One file holds one task
// type.
package derive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sync/singleflight"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/media"
	"github.com/banksia-photos/banksia/internal/place"
	"github.com/banksia-photos/banksia/internal/store"
	"github.com/banksia-photos/banksia/internal/task"
)

// Deriver does the work of every task type.
type Deriver struct {
	store  *store.Store
	blobs  blob.Store
	media  *media.Pool
	places *place.Geocoder
	runner *task.Runner
	draws  singleflight.Group
}

// New makes a deriver and names its handlers to the runner.
func New(s *store.Store, blobs blob.Store, pool *media.Pool, places *place.Geocoder, runner *task.Runner) *Deriver {
	d := &Deriver{store: s, blobs: blobs, media: pool, places: places, runner: runner}
	for taskType, handler := range map[banksia.TaskType]func(context.Context, banksia.Asset) (task.Commit, error){
		banksia.TaskDisplayProxy:    d.displayProxy,
		banksia.TaskThumbHash:       d.thumbHash,
		banksia.TaskReverseGeocode:  d.reverseGeocode,
		banksia.TaskVideoMetadata:   d.videoMetadata,
		banksia.TaskVideoThumbnails: d.videoThumbnails,
	} {
		runner.Handle(taskType, d.withAsset(handler))
	}
	return d
}

// withAsset reads the asset of a task. A purged one needs no work any more.
func (d *Deriver) withAsset(handler func(context.Context, banksia.Asset) (task.Commit, error)) task.Handler {
	return func(ctx context.Context, t store.Delivery) (task.Commit, error) {
		if t.AssetID == nil {
			return nil, task.Final("The task names no asset.", errors.New("no asset"))
		}
		asset, found, err := d.store.TaskAsset(ctx, *t.AssetID)
		if err != nil || !found {
			return nil, err
		}
		return handler(ctx, asset)
	}
}

// explain decides whether another attempt at drawing can help. A worker that was
// killed may have been the victim of its neighbours, so that is tried again.
func explain(err error) error {
	for _, final := range []error{media.ErrUnsupported, media.ErrCorrupt, media.ErrTooLarge} {
		if errors.Is(err, final) {
			return task.Final(err.Error(), err)
		}
	}
	if errors.Is(err, blob.ErrNotExist) {
		return task.Final("The original file is missing from the storage.", err)
	}
	return err
}

// drawn are the variants that are made together, each from the one before.
var drawn = []banksia.VariantName{banksia.VariantPreview, banksia.VariantSmall, banksia.VariantThumbnail}

// VariantMIMEType is the type of a variant of a version, and whether it exists at
// all: fullsize of a displayable version is the version itself.
func VariantMIMEType(v *banksia.Version, variant banksia.VariantName) (mimeType string, ok bool) {
	if variant == banksia.VariantOriginal || variant == banksia.VariantFullsize && v.Displayable {
		return v.MIMEType, true
	}
	return v.VariantMIMEType, v.VariantMIMEType != ""
}

// Variant opens a variant of a version. One that is not there yet is made on the
// spot, ahead of background work; an error that says it cannot be made is
// CodeNotFound.
func (d *Deriver) Variant(ctx context.Context, v *banksia.Version, variant banksia.VariantName) (blob.Reader, blob.Info, error) {
	if _, ok := VariantMIMEType(v, variant); !ok {
		return nil, blob.Info{}, banksia.NotFound("Variant")
	}
	key := blob.Derived(v.ID, variant)
	if variant == banksia.VariantOriginal || variant == banksia.VariantFullsize && v.Displayable {
		key = blob.Original(v.SHA256)
	}
	reader, info, err := d.blobs.Open(ctx, key)
	if !errors.Is(err, blob.ErrNotExist) || key == blob.Original(v.SHA256) {
		return reader, info, err
	}
	err = d.ensure(media.WithPriority(ctx), v, variant)
	for _, undrawable := range []error{media.ErrUnsupported, media.ErrCorrupt, media.ErrTooLarge} {
		if errors.Is(err, undrawable) {
			return nil, blob.Info{}, &banksia.Error{Code: banksia.CodeNotFound, Message: "This variant cannot be drawn.", Err: err}
		}
	}
	if err != nil {
		return nil, blob.Info{}, err
	}
	return d.blobs.Open(ctx, key)
}

// ensure makes the variants of a version that are missing among those drawn
// together with the given one. Callers that want the same wait for one drawing.
func (d *Deriver) ensure(ctx context.Context, v *banksia.Version, variant banksia.VariantName) error {
	wanted := drawn
	if variant == banksia.VariantFullsize {
		wanted = []banksia.VariantName{banksia.VariantFullsize}
		if !v.Displayable { // one decoding serves all
			wanted = append(wanted, drawn...)
		}
	}
	// The drawing goes on for the others when the first caller leaves.
	done := d.draws.DoChan(v.ID.String()+string(wanted[0]), func() (any, error) {
		return nil, d.draw(context.WithoutCancel(ctx), v, wanted)
	})
	select {
	case result := <-done:
		return result.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *Deriver) draw(ctx context.Context, v *banksia.Version, wanted []banksia.VariantName) error {
	folder, err := os.MkdirTemp(d.blobs.TempDir(), "draw-*")
	if err != nil {
		return blob.Explain(fmt.Errorf("draw: %w", err))
	}
	defer os.RemoveAll(folder)
	var orders []media.Order
	for _, variant := range wanted {
		_, err := d.blobs.Stat(ctx, blob.Derived(v.ID, variant))
		if errors.Is(err, blob.ErrNotExist) {
			orders = append(orders, media.Order{Variant: variant, Path: filepath.Join(folder, string(variant))})
		} else if err != nil {
			return err
		}
	}
	if len(orders) == 0 {
		return nil
	}
	format, ok := media.FormatByType(v.MIMEType)
	if !ok {
		return fmt.Errorf("draw %s: %w", v.MIMEType, media.ErrUnsupported)
	}
	path, release, err := d.blobs.Fetch(ctx, blob.Original(v.SHA256))
	if err != nil {
		return err
	}
	defer release()
	if _, err := d.media.Draw(ctx, path, format, orders); err != nil {
		return err
	}
	for _, order := range orders {
		if err := d.blobs.Adopt(ctx, blob.Derived(v.ID, order.Variant), order.Path); err != nil {
			return err
		}
	}
	return nil
}

// undrawable remembers that nothing can be drawn from a version, so that its URLs
// are no longer promised.
func (d *Deriver) undrawable(ctx context.Context, v *banksia.Version, err error) error {
	if err = explain(err); !errors.Is(err, media.ErrUnsupported) && !errors.Is(err, media.ErrCorrupt) && !errors.Is(err, media.ErrTooLarge) {
		return err
	}
	writeErr := d.store.Write(ctx, func(tx *store.Tx) error {
		return tx.SetVersionFacts(v.ID, func(v *banksia.Version) { v.VariantMIMEType = "" })
	})
	if writeErr != nil {
		return writeErr
	}
	return err
}
