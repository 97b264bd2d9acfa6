package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/banksia-photos/banksia"
)

// State chooses between live and trashed assets.
type State string

const (
	Live    State = "live"    // not trashed, by capture time
	Trashed State = "trashed" // only trashed, by the time of trashing
	All     State = "all"     // both, by capture time
)

// AlbumFilter chooses assets by membership in any album.
type AlbumFilter string

const (
	AnyAlbum   AlbumFilter = ""
	InAlbum    AlbumFilter = "in_album"
	NotInAlbum AlbumFilter = "not_in_album"
)

// AssetFilter says which assets of one library a list holds; its parts combine
// with AND, and a zero part does not filter.
type AssetFilter struct {
	LibraryID   banksia.LibraryID
	AlbumID     *banksia.AlbumID
	AlbumFilter AlbumFilter
	PersonIDs   []banksia.PersonID // all of them
	IDs         []banksia.AssetID  // nil: no filter; empty: nothing
	StackID     *banksia.StackID
	MediaType   banksia.MediaType
	// After and Before are exclusive bounds of the capture time. One with an
	// offset is compared in UTC, where an asset without an offset counts by its
	// wall clock; one without is compared with the wall clock.
	After, Before *banksia.LocalTime
	Area          Area
	State         State // "" is Live
	Ascending     bool  // oldest first; the default is newest first
	// StartingAfter is the last asset of the previous page. It may be trashed or
	// purged by now: its position counts, not its row.
	StartingAfter *banksia.AssetID
	Offset        int // how many to skip; its cost grows with it
	Limit         int
	AlsoInAlbums  []banksia.AlbumID // and in all of these
}

// assetColumns are the columns of an asset with its current version, as read by
// scanAsset from assets a and asset_versions v.
const assetColumns = `a.id, a.library_id, a.media_type, a.local_datetime, a.local_datetime_offset, a.created_at, a.updated_at, a.trashed_at,
	a.description, a.stack_id, a.duration, a.metrics, a.original_file_name, a.device_asset_id, a.device_id,
	a.file_created_at, a.file_created_at_offset, a.file_modified_at, a.file_modified_at_offset, a.file_size_bytes, a.checksum, a.checksum_sha1,
	v.id, v.position, v.kind, v.mime_type, v.width, v.height, v.file_size_bytes, v.checksum, v.variant_mime_type, v.displayable, v.thumbhash, v.created_at`

func scanAsset(rows *sql.Rows) (banksia.Asset, error) {
	var a banksia.Asset
	var created, updated, versionCreated int64
	var trashed *int64
	var stack sql.Null[banksia.StackID]
	var metrics *string
	v, f := &a.Version, &a.File
	err := rows.Scan(&a.ID, &a.LibraryID, &a.MediaType, &a.LocalDateTime.Wall, &a.LocalDateTime.Offset, &created, &updated, &trashed,
		&a.Description, &stack, &a.Duration, &metrics, &a.OriginalFileName, &f.DeviceAssetID, &f.DeviceID,
		&f.CreatedAt.Wall, &f.CreatedAt.Offset, &f.ModifiedAt.Wall, &f.ModifiedAt.Offset, &f.SizeBytes, (*[]byte)(&f.SHA256), (*[]byte)(&f.SHA1),
		&v.ID, &v.Position, &v.Kind, &v.MIMEType, &v.Width, &v.Height, &v.SizeBytes, (*[]byte)(&v.SHA256), &v.VariantMIMEType, &v.Displayable, &v.ThumbHash, &versionCreated)
	if err != nil {
		return a, err
	}
	a.CreatedAt, a.UpdatedAt, v.CreatedAt, v.AssetID = timeOf(created), timeOf(updated), timeOf(versionCreated), a.ID
	if trashed != nil {
		at := timeOf(*trashed)
		a.TrashedAt = &at
	}
	if stack.Valid {
		a.StackID = &stack.V
	}
	if metrics != nil {
		if err := json.Unmarshal([]byte(*metrics), &a.Metrics); err != nil {
			return a, fmt.Errorf("metrics of asset %s: %w", a.ID, err)
		}
	}
	return a, nil
}

func timeOf(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

// assetsFrom runs a query whose rows scanAsset reads.
func (tx *Tx) assetsFrom(text string, args ...any) ([]banksia.Asset, error) {
	rows, err := tx.Query(text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var assets []banksia.Asset
	for rows.Next() {
		a, err := scanAsset(rows)
		if err != nil {
			return nil, err
		}
		assets = append(assets, a)
	}
	return assets, rows.Err()
}

// visible is the condition that a library, whose ID is the given SQL, is live and
// within the scope.
func (q *query) visible(scope banksia.Scope, libraryID string) string {
	text := `EXISTS (SELECT 1 FROM libraries l WHERE l.id = ` + libraryID + ` AND l.user_id = ` + q.arg(scope.UserID) + ` AND l.trashed_at IS NULL)`
	if scope.LibraryIDs == nil {
		return text
	}
	if len(scope.LibraryIDs) == 0 {
		return "FALSE"
	}
	return text + ` AND ` + libraryID + ` IN (` + list(q, scope.LibraryIDs) + `)`
}

// GetAsset reads one asset, live or trashed.
func (s *Store) GetAsset(ctx context.Context, scope banksia.Scope, id banksia.AssetID) (asset banksia.Asset, err error) {
	var q query
	text := `SELECT ` + assetColumns + ` FROM assets a JOIN asset_versions v ON v.id = a.current_version_id WHERE a.id = ` + q.arg(id) + ` AND ` + q.visible(scope, "a.library_id")
	err = s.Read(ctx, func(tx *Tx) error {
		assets, err := tx.assetsFrom(text, q.args...)
		if err != nil {
			return fmt.Errorf("get asset %s: %w", id, err)
		}
		if len(assets) == 0 {
			return banksia.NotFound("Asset")
		}
		asset = assets[0]
		return nil
	})
	return asset, err
}

// GetVersion reads a version and the asset it belongs to, whoever's they are: the
// caller has checked a signature that names the version.
func (s *Store) GetVersion(ctx context.Context, id banksia.VersionID) (version banksia.Version, asset banksia.Asset, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		assets, err := tx.assetsFrom(`SELECT `+assetColumns+` FROM asset_versions v JOIN assets a ON a.id = v.asset_id WHERE v.id = $1`, id)
		if err != nil {
			return fmt.Errorf("get version %s: %w", id, err)
		}
		if len(assets) == 0 {
			return banksia.NotFound("Version")
		}
		asset, version = assets[0], assets[0].Version
		return nil
	})
	return version, asset, err
}

// AssetsByChecksum finds the assets of a library with these SHA-256 checksums.
func (s *Store) AssetsByChecksum(ctx context.Context, scope banksia.Scope, library banksia.LibraryID, checksums []banksia.Digest) ([]banksia.Asset, error) {
	return s.assetsMatching(ctx, scope, library, "a.checksum", "", digestArgs(checksums))
}

// AssetsBySHA1 finds the assets of a library with these SHA-1 checksums.
func (s *Store) AssetsBySHA1(ctx context.Context, scope banksia.Scope, library banksia.LibraryID, checksums []banksia.Digest) ([]banksia.Asset, error) {
	return s.assetsMatching(ctx, scope, library, "a.checksum_sha1", "", digestArgs(checksums))
}

// AssetsByDevice finds the assets of a library that a device uploaded under these
// ids of its own.
func (s *Store) AssetsByDevice(ctx context.Context, scope banksia.Scope, library banksia.LibraryID, deviceID string, deviceAssetIDs []string) ([]banksia.Asset, error) {
	args := make([]any, 0, len(deviceAssetIDs))
	for _, id := range deviceAssetIDs {
		if isText(id) && isText(deviceID) {
			args = append(args, id)
		}
	}
	return s.assetsMatching(ctx, scope, library, "a.device_asset_id", deviceID, args)
}

func digestArgs(digests []banksia.Digest) []any {
	args := make([]any, 0, len(digests))
	for _, d := range digests {
		if len(d) > 0 { // an empty checksum matches nothing (behaviour 6.16)
			args = append(args, []byte(d))
		}
	}
	return args
}

// assetsMatching looks values up by the thousand, one index search each. Of the
// assets it reads what identifies them and their files, and nothing else.
func (s *Store) assetsMatching(ctx context.Context, scope banksia.Scope, library banksia.LibraryID, column, deviceID string, values []any) ([]banksia.Asset, error) {
	// Two readers side by side: one lookup waits for memory, not for the processor.
	half := (len(values) + 1) / 2
	parts := [][]any{values[:half], values[half:]}
	results := make([][]banksia.Asset, len(parts))
	group, ctx := errgroup.WithContext(ctx)
	for i, part := range parts {
		group.Go(func() (err error) {
			results[i], err = s.assetsMatchingPart(ctx, scope, library, column, deviceID, part)
			return err
		})
	}
	err := group.Wait()
	return slices.Concat(results...), err
}

func (s *Store) assetsMatchingPart(ctx context.Context, scope banksia.Scope, library banksia.LibraryID, column, deviceID string, values []any) (found []banksia.Asset, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		if visible, err := tx.sees(scope, library); err != nil || !visible {
			return err
		}
		for chunk := range chunks(values) {
			var q query
			text := `SELECT a.id, a.device_asset_id, a.device_id, a.checksum, a.checksum_sha1 FROM assets a WHERE a.library_id = ` + q.arg(library)
			if column == "a.device_asset_id" { // a device's ids mean nothing without it
				text += ` AND a.device_id = ` + q.arg(deviceID)
			}
			err := tx.each(text+` AND `+column+` IN (`+list(&q, chunk)+`)`, q.args, func(rows *sql.Rows) error {
				a := banksia.Asset{LibraryID: library}
				f := &a.File
				err := rows.Scan(&a.ID, &f.DeviceAssetID, &f.DeviceID, (*[]byte)(&f.SHA256), (*[]byte)(&f.SHA1))
				found = append(found, a)
				return err
			})
			if err != nil {
				return fmt.Errorf("look assets up: %w", err)
			}
		}
		return nil
	})
	return found, err
}

// chunkSize bounds the placeholders of one statement.
const chunkSize = 256

// chunks splits values into runs whose lengths are powers of two, so that few
// different statements serve any number of values; the last run is filled up by
// repeating its last value.
func chunks[T any](values []T) func(func([]T) bool) {
	return func(yield func([]T) bool) {
		for len(values) > 0 {
			n := min(len(values), chunkSize)
			chunk := values[:n:n]
			values = values[n:]
			size := 1
			for size < n {
				size *= 2
			}
			for len(chunk) < size {
				chunk = append(chunk, chunk[n-1])
			}
			if !yield(chunk) {
				return
			}
		}
	}
}

// eachOf runs a query over ids; %s in its text becomes their placeholders.
func (s *Store) eachOf(ctx context.Context, text string, ids []banksia.AssetID, each func(*sql.Rows) error) error {
	if len(ids) == 0 {
		return nil
	}
	return s.Read(ctx, func(tx *Tx) error { return tx.eachOf(text, ids, each) })
}

func (tx *Tx) eachOf(text string, ids []banksia.AssetID, each func(*sql.Rows) error) error {
	for chunk := range chunks(ids) {
		var q query
		placeholders := list(&q, chunk)
		err := tx.each(strings.ReplaceAll(text, "%s", placeholders), q.args, each)
		if err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) each(text string, args []any, each func(*sql.Rows) error) error {
	rows, err := tx.Query(text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// position is where an asset stands or stood.
type position struct {
	local   int64
	trashed *int64
}

// positionOf finds the position of a cursor, also that of a purged asset. An
// unknown id is a validation error (behaviour 21.6).
func (tx *Tx) positionOf(f AssetFilter) (position, error) {
	var p position
	id := *f.StartingAfter
	err := tx.QueryRow(`SELECT local_datetime, COALESCE(trashed_at, last_trashed_at) FROM assets WHERE id = $1 AND library_id = $2`, id, f.LibraryID).Scan(&p.local, &p.trashed)
	if errors.Is(err, sql.ErrNoRows) {
		err = tx.QueryRow(`SELECT local_datetime, trashed_at FROM purged_assets WHERE id = $1 AND library_id = $2`, id, f.LibraryID).Scan(&p.local, &p.trashed)
	}
	if errors.Is(err, sql.ErrNoRows) || err == nil && f.State == Trashed && p.trashed == nil {
		return p, banksia.Invalid("query", "starting_after_id", "no such position in this list")
	}
	return p, err
}
