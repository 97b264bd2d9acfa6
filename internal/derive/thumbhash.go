package derive

import (
	"context"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/media"
	"github.com/banksia-photos/banksia/internal/store"
	"github.com/banksia-photos/banksia/internal/task"
)

// thumbHash computes the ThumbHash from the thumbnail, which it makes when it is
// not there yet.
func (d *Deriver) thumbHash(ctx context.Context, a banksia.Asset) (task.Commit, error) {
	v := &a.Version
	if err := d.variants(ctx, v); err != nil {
		return nil, err
	}
	path, release, err := d.blobs.Fetch(ctx, blob.Derived(v.ID, banksia.VariantThumbnail))
	if err != nil {
		return nil, err
	}
	defer release()
	format, _ := media.FormatByType(v.VariantMIMEType)
	hash, err := d.media.ThumbHash(ctx, path, format)
	if err != nil {
		return nil, explain(err)
	}
	return func(tx *store.Tx) (string, error) {
		return "computed", tx.SetVersionFacts(v.ID, func(v *banksia.Version) { v.ThumbHash = hash })
	}, nil
}
