package derive

import (
	"context"
	"fmt"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/media"
	"github.com/banksia-photos/banksia/internal/store"
	"github.com/banksia-photos/banksia/internal/task"
)

// videoMetadata reads what the container of a video says, and has the place looked
// up when that tells one.
func (d *Deriver) videoMetadata(ctx context.Context, a banksia.Asset) (task.Commit, error) {
	info, err := d.describe(ctx, &a)
	if err != nil {
		return nil, err
	}
	if info.Problem != "" && info.Width == 0 && info.Duration == nil {
		return nil, task.Final(info.Problem, media.ErrCorrupt)
	}
	return func(tx *store.Tx) (string, error) {
		return fmt.Sprintf("%d × %d pixels", info.Width, info.Height), d.storeInfo(tx, &a, info)
	}, nil
}
