package catalog

import (
	"context"
	"errors"
	"io"
	"time"
	"unicode/utf8"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/media"
	"github.com/banksia-photos/banksia/internal/store"
)

// maxFileName is the longest stored file name, in characters (behaviour 6.3).
const maxFileName = 1024

// UploadRequest is what a client says of a file that it sends.
type UploadRequest struct {
	LibraryID      *banksia.LibraryID // nil: the only one
	FileName       string
	DeviceAssetID  string
	DeviceID       string
	FileCreatedAt  banksia.LocalTime
	FileModifiedAt banksia.LocalTime
}

// Receive stores the bytes of an upload on their way in. The result is discarded
// or committed.
func (c *Catalog) Receive(ctx context.Context, content io.Reader) (*blob.Incoming, error) {
	in, err := blob.Receive(ctx, c.blobs, content)
	if err != nil {
		return nil, blob.ForClients(err)
	}
	return in, nil
}

// CheckUpload tells before any byte is received whether the file could be taken:
// the name (behaviour 6.3), the library (6.7) and the caps (6.6).
func (c *Catalog) CheckUpload(ctx context.Context, scope banksia.Scope, r UploadRequest) error {
	if _, _, err := checkName(r.FileName); err != nil {
		return err
	}
	return c.store.Read(ctx, func(tx *store.Tx) error {
		library, err := tx.ResolveLibrary(scope, r.LibraryID)
		if err != nil || library == nil {
			return err
		}
		return checkCaps(tx, library, 0)
	})
}

// checkName returns the name to store and the format that it promises.
func checkName(given string) (name string, format media.Format, err error) {
	if utf8.RuneCountInString(given) > maxFileName {
		return "", format, banksia.Invalid("body", "asset_data", "the file name has more than %d characters", maxFileName)
	}
	name = cleanFileName(given)
	format, ok := media.FormatByName(name)
	if !ok {
		return "", format, banksia.Invalid("body", "asset_data", "the extension of the file name is not that of a photo or a video this server takes")
	}
	return name, format, nil
}

// checkCaps compares the storage used with the limits of the library and of its
// user.
func checkCaps(tx *store.Tx, library *banksia.Library, more int64) error {
	user, err := tx.User(library.UserID)
	if err != nil {
		return err
	}
	over := func(used int64, limit *int64) bool {
		return limit != nil && (used >= *limit || used+more > *limit)
	}
	if over(library.StorageUsedBytes, library.StorageLimitBytes) || over(user.StorageUsedBytes, user.StorageLimitBytes) {
		return errOverLimit
	}
	return nil
}

// checkUsed fails when more is stored by now than the limits allow.
func checkUsed(tx *store.Tx, library *banksia.Library) error {
	user, err := tx.User(library.UserID)
	if err != nil {
		return err
	}
	over := func(used int64, limit *int64) bool { return limit != nil && used > *limit }
	if over(library.StorageUsedBytes, library.StorageLimitBytes) || over(user.StorageUsedBytes, user.StorageLimitBytes) {
		return errOverLimit
	}
	return nil
}

// errOverLimit says that the storage that a user or a library may use is used up.
var errOverLimit = &banksia.Error{Code: banksia.CodeInsufficientStorage, Message: "The storage limit is reached.", Final: true}

// Commit makes a received file an asset, or finds the asset that has the same
// bytes already, in which case created is false and nothing changes (behaviour
// 6.4, 21.17). The received file is used up either way.
func (c *Catalog) Commit(ctx context.Context, scope banksia.Scope, in *blob.Incoming, r UploadRequest) (id banksia.AssetID, created bool, err error) {
	defer in.Discard()
	name, format, err := checkName(r.FileName)
	if err != nil {
		return id, false, err
	}
	r.FileName = name
	if in.Size == 0 {
		return id, false, banksia.Invalid("body", "asset_data", "the file is empty")
	}
	if !format.Sniff(in.Head) {
		return id, false, banksia.Invalid("body", "asset_data", "the content is not what the extension of the file name says (%s)", format.MIMEType)
	}
	// Duplicates are common (a phone sends its whole roll again): look before the
	// costly part. The unique index decides in the end.
	existing, err := c.duplicate(ctx, scope, in, r)
	if err != nil || existing != nil {
		if existing != nil {
			id = *existing
		}
		return id, false, err
	}
	asset, metadata := c.describe(ctx, in, format, r)
	defer c.content.lock(in.SHA256)()
	note, removals, err := c.keep(ctx, in)
	if err != nil {
		return id, false, err
	}
	err = c.store.Change(ctx, scope.UserID, func(tx *store.Tx) error {
		library, err := c.writeLibrary(tx, scope, r.LibraryID)
		if err != nil {
			return err
		}
		if err := checkCaps(tx, library, in.Size); err != nil {
			return err
		}
		asset.LibraryID = library.ID
		if err := tx.CheckRemovals(in.SHA256, removals); err != nil {
			return removedError(err)
		}
		if err := tx.InsertAsset(asset, metadata); err != nil {
			return err
		}
		for _, taskType := range tasksAfterUpload(asset, metadata) {
			err := c.runner.Enqueue(tx, &banksia.Task{UserID: library.UserID, LibraryID: &library.ID, AssetID: &asset.ID, Type: taskType})
			if err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case err == nil:
		c.settled(ctx, note)
		return asset.ID, true, nil
	case errors.Is(err, store.ErrDuplicate): // another upload of the same bytes was faster
		existing, findErr := c.duplicate(ctx, scope, in, r)
		if findErr == nil && existing != nil {
			c.settled(ctx, note)
			return *existing, false, nil
		}
		c.dropUnreferenced(ctx, note)
		if findErr == nil { // and is gone again
			findErr = removedError(store.ErrRemoved)
		}
		return id, false, errors.Join(findErr, err)
	}
	c.dropUnreferenced(ctx, note)
	return id, false, err
}

// duplicate finds the asset with the same bytes in the library that the upload
// goes to, after the caps (behaviour 6.6).
func (c *Catalog) duplicate(ctx context.Context, scope banksia.Scope, in *blob.Incoming, r UploadRequest) (existing *banksia.AssetID, err error) {
	err = c.store.Read(ctx, func(tx *store.Tx) error {
		library, err := tx.ResolveLibrary(scope, r.LibraryID)
		if err != nil || library == nil {
			return err
		}
		if err := checkCaps(tx, library, 0); err != nil {
			return err
		}
		id, found, err := tx.AssetIDByChecksum(library.ID, in.SHA256)
		if found {
			existing = &id
		}
		return err
	})
	return existing, err
}

// describe makes the rows of a new asset. What cannot be read is left empty: the
// bytes are kept whatever they are.
func (c *Catalog) describe(ctx context.Context, in *blob.Incoming, format media.Format, r UploadRequest) (*banksia.Asset, *banksia.Metadata) {
	now := c.store.Now()
	info := media.Info{MIMEType: format.MIMEType, MediaType: format.MediaType}
	if format.MediaType == banksia.Video {
		info.VariantMIMEType = "image/jpeg" // stills come later (behaviour 6.11)
	} else {
		// The time counts for one file, also while the server is busy.
		ctx, cancel := context.WithTimeout(media.WithPriority(ctx), 30*time.Second)
		defer cancel()
		described, err := c.media.Describe(ctx, in.Path, format)
		if err != nil {
			c.logger.WarnContext(ctx, "describe upload", "mime_type", format.MIMEType, "error", err)
			described = info
			if !errors.Is(err, media.ErrUnsupported) && !errors.Is(err, media.ErrCorrupt) && !errors.Is(err, media.ErrTooLarge) {
				described.VariantMIMEType = "image/jpeg" // perhaps its task has more luck
			}
		}
		info = described
	}
	metadata := info.Metadata
	asset := &banksia.Asset{
		ID: banksia.NewID[banksia.AssetID](now), MediaType: format.MediaType, CreatedAt: now, UpdatedAt: now,
		LocalDateTime: store.CaptureTime(&metadata, r.FileCreatedAt), OriginalFileName: r.FileName, Duration: info.Duration,
		File: banksia.FileData{DeviceAssetID: r.DeviceAssetID, DeviceID: r.DeviceID, CreatedAt: r.FileCreatedAt, ModifiedAt: r.FileModifiedAt,
			SizeBytes: in.Size, SHA256: in.SHA256, SHA1: in.SHA1},
		Version: banksia.Version{ID: banksia.NewID[banksia.VersionID](now), Kind: banksia.KindOriginal, MIMEType: format.MIMEType, Width: info.Width, Height: info.Height,
			SizeBytes: in.Size, SHA256: in.SHA256, CreatedAt: now, VariantMIMEType: info.VariantMIMEType, Displayable: info.Displayable},
	}
	return asset, &metadata
}

// tasksAfterUpload are the tasks of a new asset.
func tasksAfterUpload(a *banksia.Asset, m *banksia.Metadata) []banksia.TaskType {
	if a.MediaType == banksia.Video {
		return []banksia.TaskType{banksia.TaskVideoMetadata, banksia.TaskVideoThumbnails, banksia.TaskThumbHash}
	}
	types := []banksia.TaskType{banksia.TaskDisplayProxy, banksia.TaskThumbHash}
	if m.Latitude != nil && m.Longitude != nil {
		types = append(types, banksia.TaskReverseGeocode)
	}
	return types
}

// keep notes that an upload is under way and moves its file into the storage. It
// tells which removals of the same bytes have been, for store.CheckRemovals. The
// caller holds the content lock; when the row is not made, it calls
// dropUnreferenced.
func (c *Catalog) keep(ctx context.Context, in *blob.Incoming) (note blob.Note, seen store.Removals, err error) {
	seen, err = c.store.Removals(ctx, in.SHA256)
	if errors.Is(err, store.ErrRemoved) { // one that could not be finished, perhaps
		if _, err := c.removeUnreferenced(ctx, in.SHA256); err != nil {
			return note, seen, removedError(blob.ForClients(err))
		}
		seen, err = c.store.Removals(ctx, in.SHA256)
	}
	if err != nil {
		return note, seen, removedError(err)
	}
	if note, err = c.blobs.MarkPending(ctx, in.SHA256); err != nil {
		return note, seen, blob.ForClients(err)
	}
	if err := c.blobs.Adopt(ctx, blob.Original(in.SHA256), in.Path); err != nil {
		c.dropUnreferenced(ctx, note) // it may have failed after the file was there
		return note, seen, blob.ForClients(err)
	}
	return note, seen, nil
}

// removedError is what a client is told whose upload met a removal of the same
// bytes in another process.
func removedError(err error) error {
	if !errors.Is(err, store.ErrRemoved) && !errors.Is(err, store.ErrRemoving) {
		return err
	}
	return &banksia.Error{Code: banksia.CodeStorage, Message: "An equal file is being deleted. Send this one again.", Retry: time.Second, Err: err}
}

// dropUnreferenced removes the file of an upload whose row could not be written,
// also when that is because the client left. The caller holds the content lock.
func (c *Catalog) dropUnreferenced(ctx context.Context, note blob.Note) {
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if _, err := c.removeUnreferenced(limited, note.SHA256); err != nil {
		c.logger.WarnContext(ctx, "remove the file of a failed upload", "error", err) // a sweep tries again, or the next upload of it
		return
	}
	c.settled(ctx, note)
}

func (c *Catalog) settled(ctx context.Context, note blob.Note) {
	if err := c.blobs.Settle(context.WithoutCancel(ctx), note); err != nil { // a sweep will find that all is well
		c.logger.WarnContext(ctx, "settle an upload", "error", err)
	}
}
