// Package derive makes what can be computed again from an original: variants,
// thumbhashes, place names, facts and stills of videos. One file holds one task
// type.
package derive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

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
	draws  flights
}

// New makes a deriver and names its handlers to the runner.
func New(s *store.Store, blobs blob.Store, pool *media.Pool, places *place.Geocoder, runner *task.Runner) *Deriver {
	d := &Deriver{store: s, blobs: blobs, media: pool, places: places, runner: runner}
	for taskType, handler := range map[banksia.TaskType]handler{
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

// handler does the work of a task for its asset.
type handler func(context.Context, banksia.Asset) (task.Commit, error)

// withAsset reads the asset of a task. A purged one needs no work any more.
func (d *Deriver) withAsset(work handler) task.Handler {
	return func(ctx context.Context, t store.Delivery) (task.Commit, error) {
		if t.AssetID == nil {
			return nil, task.Final("The task names no asset.", errors.New("no asset"))
		}
		asset, found, err := d.store.TaskAsset(ctx, *t.AssetID)
		if err != nil || !found {
			return nil, err
		}
		commit, err := work(ctx, asset)
		if err == nil {
			return forgiving(commit), nil
		}
		if err = explain(err, t.RetryCount); task.IsFinal(err) && isAbout(err, fileErrors) {
			// A decoder that meets a broken disk may say anything, or crash.
			if unread := d.read(ctx, &asset.Version); unread != nil {
				return nil, explain(unread, t.RetryCount)
			}
			commit = forgiving(undrawable(asset.Version.ID))
		}
		return commit, err
	}
}

// read reads the whole of an original, and fails when that cannot be done or gives
// other bytes.
func (d *Deriver) read(ctx context.Context, v *banksia.Version) error {
	key := blob.Original(v.SHA256)
	reader, _, err := d.blobs.Open(ctx, key)
	if err != nil {
		return err
	}
	defer reader.Close()
	_, err = io.Copy(io.Discard, blob.Verified(reader, key))
	return blob.Explain(err)
}

// forgiving lets a result go that belongs to an asset purged meanwhile.
func forgiving(commit task.Commit) task.Commit {
	if commit == nil {
		return nil
	}
	return func(tx *store.Tx) (string, error) {
		summary, err := commit(tx)
		if banksia.ErrorCode(err) == banksia.CodeNotFound {
			return "the asset is gone", nil
		}
		return summary, err
	}
}

// undrawable remembers that nothing can be drawn from a version: its URLs are no
// longer promised, and no request makes a decoder try again.
func undrawable(id banksia.VersionID) task.Commit {
	return func(tx *store.Tx) (string, error) {
		return "", tx.SetVersionFacts(id, func(v *banksia.Version) { v.VariantMIMEType = "" })
	}
}

var (
	// contentErrors are final: the same bytes will never be drawn.
	contentErrors = []error{media.ErrUnsupported, media.ErrCorrupt, media.ErrTooLarge}
	// decoderErrors may be the fault of the machine once, but hardly twice.
	decoderErrors = []error{media.ErrTimeout, media.ErrWorkerCrashed}
	fileErrors    = slices.Concat(contentErrors, decoderErrors)
)

func isAbout(err error, kinds []error) bool {
	return slices.ContainsFunc(kinds, func(kind error) bool { return errors.Is(err, kind) })
}

// explain says what went wrong to the people who see the task, and decides
// whether another attempt can help.
func explain(err error, retries int) error {
	if task.IsFinal(err) {
		return err
	}
	err = blob.Explain(err)
	switch {
	case isAbout(err, contentErrors), isAbout(err, decoderErrors) && retries > 0:
		return task.Final(sentence(err), err)
	case isAbout(err, decoderErrors), errors.Is(err, media.ErrBusy):
		return task.Retry(sentence(err), err)
	case errors.Is(err, blob.ErrNotExist):
		return task.Final("The original file is missing from the storage.", err)
	case errors.Is(err, blob.ErrDamaged):
		return task.Final("The original file is damaged in the storage.", err)
	case errors.Is(err, blob.ErrFull):
		return task.Outage("The storage is full.", err)
	case errors.Is(err, blob.ErrUnavailable):
		return task.Outage("The storage failed for now.", err)
	}
	return err
}

// sentence is the innermost error that knows one of the media package's kinds: its
// text is for people, what was wrapped around it is not.
func sentence(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil || slices.Contains(fileErrors, inner) || inner == media.ErrBusy {
			return err.Error()
		}
		err = inner
	}
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
	if errors.Is(err, blob.ErrNotExist) && key != blob.Original(v.SHA256) {
		if err := d.ensure(ctx, v, variant, true); err != nil {
			return nil, blob.Info{}, refusal(err)
		}
		reader, info, err = d.blobs.Open(ctx, key)
	}
	return reader, info, blob.ForClients(err)
}

// OriginalURL is where a client gets an original by itself, past this server; ""
// where the storage gives no such URLs.
func (d *Deriver) OriginalURL(ctx context.Context, v *banksia.Version, options blob.PresignOptions) (string, error) {
	url, err := blob.Presign(ctx, d.blobs, blob.Original(v.SHA256), options)
	return url, blob.ForClients(err)
}

// refusal is what a client is told when something cannot be drawn.
func refusal(err error) error {
	if isAbout(err, fileErrors) {
		return &banksia.Error{Code: banksia.CodeNotFound, Message: "This variant cannot be drawn.", Err: err}
	}
	if errors.Is(err, media.ErrBusy) {
		return &banksia.Error{Code: banksia.CodeUnavailable, Message: "The server is busy.", Retry: time.Second, Err: err}
	}
	return blob.ForClients(blob.Explain(err))
}

// ensure makes the variants of a version that are missing among those drawn
// together with the given one. Callers that want the same wait for one drawing,
// unless it is background work and they are urgent.
func (d *Deriver) ensure(ctx context.Context, v *banksia.Version, variant banksia.VariantName, urgent bool) error {
	wanted := drawn
	if variant == banksia.VariantFullsize { // one decoding serves all
		wanted = append([]banksia.VariantName{banksia.VariantFullsize}, drawn...)
	}
	return d.draws.do(ctx, v.ID, wanted, urgent, func(ctx context.Context) error {
		if urgent {
			ctx = media.WithPriority(ctx)
		}
		return d.draw(ctx, v, wanted)
	})
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
		return task.Final("This kind of file cannot be drawn.", fmt.Errorf("draw %s: %w", v.MIMEType, media.ErrUnsupported))
	}
	path, release, err := d.blobs.Fetch(ctx, blob.Original(v.SHA256))
	if err != nil {
		return err
	}
	defer release()
	made, err := d.media.Draw(ctx, path, format, orders)
	if err != nil {
		return fmt.Errorf("draw: %w", err)
	}
	return d.keep(ctx, v, orders, made[0].MIMEType)
}

// keep moves drawn files into the store, side by side because each move waits for
// the disk.
func (d *Deriver) keep(ctx context.Context, v *banksia.Version, orders []media.Order, mimeType string) error {
	ctx = context.WithoutCancel(ctx) // or files of a purged version could stay
	var moves errgroup.Group
	for _, order := range orders {
		moves.Go(func() error { return d.blobs.Adopt(ctx, blob.Derived(v.ID, order.Variant), order.Path) })
	}
	if err := moves.Wait(); err != nil {
		return err
	}
	stored, asset, err := d.store.GetVersion(ctx, v.ID)
	switch {
	case banksia.ErrorCode(err) == banksia.CodeNotFound:
		// Purged meanwhile, and its files may have been removed before these came.
		for _, order := range orders {
			if err := d.blobs.Delete(ctx, blob.Derived(v.ID, order.Variant)); err != nil {
				return err
			}
		}
		return nil
	case err != nil:
		return err
	case stored.VariantMIMEType == mimeType:
		return nil
	}
	return d.store.ChangeAsset(ctx, asset.ID, func(tx *store.Tx) error { // the description was a guess
		return tx.SetVersionFacts(v.ID, func(v *banksia.Version) { v.VariantMIMEType = mimeType })
	})
}
