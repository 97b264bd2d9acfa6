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

// videoMetadata (video_metadata_extract) reads what the container says, and has
// the place looked up when that tells one.
func (d *Deriver) videoMetadata(ctx context.Context, a banksia.Asset) (task.Commit, error) {
	path, release, err := d.blobs.Fetch(ctx, blob.Original(a.Version.SHA256))
	if err != nil {
		return nil, explain(err)
	}
	defer release()
	format, ok := media.FormatByType(a.Version.MIMEType)
	if !ok {
		return nil, task.Final("This kind of video is not known.", media.ErrUnsupported)
	}
	info, err := d.media.Describe(ctx, path, format)
	if err != nil {
		return nil, explain(err)
	}
	if info.Problem != "" && info.Width == 0 && info.Duration == nil {
		return nil, task.Final(info.Problem, media.ErrCorrupt)
	}
	return func(tx *store.Tx) (string, error) {
		if err := tx.SetDuration(a.ID, info.Duration); err != nil {
			return "", err
		}
		err := tx.SetVersionFacts(a.Version.ID, func(v *banksia.Version) { v.Width, v.Height = info.Width, info.Height })
		if err != nil {
			return "", err
		}
		err = tx.UpdateMetadata(a.ID, func(m *banksia.Metadata) {
			created := m.CreatedAt
			*m = info.Metadata
			m.CreatedAt = created
		})
		if err == nil && info.Metadata.Latitude != nil {
			var library banksia.Library
			if library, err = tx.Library(a.LibraryID); err == nil {
				err = d.runner.Enqueue(tx, &banksia.Task{UserID: library.UserID, LibraryID: &a.LibraryID, AssetID: &a.ID, Type: banksia.TaskReverseGeocode})
			}
		}
		return fmt.Sprintf("%dx%d", info.Width, info.Height), err
	}, nil
}

// videoThumbnails (video_thumbnail_extract) draws the still of a video in all
// sizes.
func (d *Deriver) videoThumbnails(ctx context.Context, a banksia.Asset) (task.Commit, error) {
	return nil, d.variants(ctx, &a.Version)
}
