package derive

import (
	"context"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/task"
)

// videoThumbnails draws the still of a video in all sizes.
func (d *Deriver) videoThumbnails(ctx context.Context, a banksia.Asset) (task.Commit, error) {
	return nil, d.variants(ctx, &a.Version)
}
