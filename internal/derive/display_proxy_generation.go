package derive

import (
	"context"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/task"
)

// displayProxy makes the variants of an image: preview, small and thumbnail, and
// fullsize where browsers cannot show the original.
func (d *Deriver) displayProxy(ctx context.Context, a banksia.Asset) (task.Commit, error) {
	return nil, d.variants(ctx, &a.Version)
}

func (d *Deriver) variants(ctx context.Context, v *banksia.Version) error {
	largest := banksia.VariantPreview
	if !v.Displayable {
		largest = banksia.VariantFullsize
	}
	if err := d.ensure(ctx, v, largest); err != nil {
		return d.undrawable(ctx, v, err)
	}
	return nil
}
