package derive

import (
	"context"
	"fmt"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/media"
	"github.com/banksia-photos/banksia/internal/store"
	"github.com/banksia-photos/banksia/internal/task"
)

// thumbHash computes the ThumbHash from the thumbnail, which it makes when it is
// not there yet.
func (d *Deriver) thumbHash(ctx context.Context, a banksia.Asset) (task.Commit, error) {
	if err := d.describeLate(ctx, &a); err != nil {
		return nil, err
	}
	v := &a.Version
	if err := d.variants(ctx, v); err != nil {
		return nil, err
	}
	stored, _, err := d.store.GetVersion(ctx, v.ID) // drawing may have corrected the type
	if banksia.ErrorCode(err) == banksia.CodeNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	path, release, err := d.blobs.Fetch(ctx, blob.Derived(v.ID, banksia.VariantThumbnail))
	if err != nil {
		return nil, err
	}
	defer release()
	format, ok := media.FormatByType(stored.VariantMIMEType)
	if !ok {
		return nil, fmt.Errorf("thumbhash of a thumbnail of type %q", stored.VariantMIMEType)
	}
	hash, err := d.media.ThumbHash(ctx, path, format)
	if err != nil {
		return nil, fmt.Errorf("thumbhash: %w", err)
	}
	return func(tx *store.Tx) (string, error) {
		return "computed", tx.SetVersionFacts(v.ID, func(v *banksia.Version) { v.ThumbHash = hash })
	}, nil
}
