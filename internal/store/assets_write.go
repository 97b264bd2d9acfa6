package store

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/banksia-photos/banksia"
)

// InsertAsset adds an asset, its first version and its metadata, and counts it
// for its library and user. a.Version is the current version; m may be nil. It
// fails with ErrDuplicate when the library has the same bytes already.
func (tx *Tx) InsertAsset(a *banksia.Asset, m *banksia.Metadata) error {
	if m == nil {
		m = &banksia.Metadata{}
	}
	metrics, err := encodeMetrics(a.Metrics)
	if err != nil {
		return err
	}
	v, f := a.Version, a.File
	_, err = tx.Exec(`INSERT INTO assets (id, library_id, media_type, live, in_album, local_datetime, local_datetime_offset, captured_at,
			latitude, longitude, created_at, updated_at, trashed_at, description, stack_id, duration, metrics, original_file_name,
			device_asset_id, device_id, file_created_at, file_created_at_offset, file_modified_at, file_modified_at_offset,
			file_size_bytes, checksum, checksum_sha1, current_version_id)
		VALUES ($1, $2, $3, $4, FALSE, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27)`,
		a.ID, a.LibraryID, a.MediaType, a.TrashedAt == nil, a.LocalDateTime.Wall, a.LocalDateTime.Offset, a.LocalDateTime.Instant(),
		m.Latitude, m.Longitude, a.CreatedAt.UnixMicro(), a.UpdatedAt.UnixMicro(), microsOf(a.TrashedAt), a.Description, a.StackID, a.Duration, metrics, a.OriginalFileName,
		f.DeviceAssetID, f.DeviceID, f.CreatedAt.Wall, f.CreatedAt.Offset, f.ModifiedAt.Wall, f.ModifiedAt.Offset,
		f.SizeBytes, []byte(f.SHA256), []byte(f.SHA1), v.ID)
	if err != nil {
		return fmt.Errorf("insert asset: %w", err)
	}
	_, err = tx.Exec(`INSERT INTO asset_versions (id, asset_id, position, kind, mime_type, width, height, file_size_bytes, checksum, variant_mime_type, displayable, thumbhash, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
		v.ID, a.ID, v.Position, v.Kind, v.MIMEType, v.Width, v.Height, v.SizeBytes, []byte(v.SHA256), v.VariantMIMEType, v.Displayable, bytesOrNil(v.ThumbHash), v.CreatedAt.UnixMicro())
	if err != nil {
		return fmt.Errorf("insert version: %w", err)
	}
	m.AssetID, m.CreatedAt, m.UpdatedAt = a.ID, a.CreatedAt, a.UpdatedAt
	if err := tx.writeMetadata(m); err != nil {
		return err
	}
	if err := tx.placeAsset(a.ID); err != nil {
		return err
	}
	if err := tx.indexAsset(a.ID); err != nil {
		return err
	}
	live := 0
	if a.TrashedAt == nil {
		live = 1
	}
	if err := tx.countStorage(a.LibraryID, live, v.SizeBytes); err != nil {
		return err
	}
	if err := tx.emit(a.LibraryID, banksia.AssetCreated, a.ID, nil); err != nil {
		return err
	}
	return tx.emit(a.LibraryID, banksia.MetadataUpdated, a.ID, nil)
}

// countStorage changes the counters of a library and of its user.
func (tx *Tx) countStorage(library banksia.LibraryID, assets int, bytes int64) error {
	_, err := tx.Exec(`UPDATE libraries SET asset_count = asset_count + $1, storage_used_bytes = storage_used_bytes + $2 WHERE id = $3`, assets, bytes, library)
	if err == nil && bytes != 0 {
		_, err = tx.Exec(`UPDATE users SET storage_used_bytes = storage_used_bytes + $1 WHERE id = (SELECT user_id FROM libraries WHERE id = $2)`, bytes, library)
	}
	if err != nil {
		return fmt.Errorf("count storage: %w", err)
	}
	return nil
}

// AssetIDByChecksum finds the asset of a library that holds the same bytes.
func (tx *Tx) AssetIDByChecksum(library banksia.LibraryID, sha256 banksia.Digest) (id banksia.AssetID, found bool, err error) {
	err = tx.QueryRow(`SELECT id FROM assets WHERE library_id = $1 AND checksum = $2`, library, []byte(sha256)).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return id, false, nil
	}
	return id, err == nil, err
}

// IsReferenced tells whether any version, of any user, has these stored bytes.
func (tx *Tx) IsReferenced(sha256 banksia.Digest) (bool, error) {
	var one int
	err := tx.QueryRow(`SELECT 1 FROM asset_versions WHERE checksum = $1 LIMIT 1`, []byte(sha256)).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// changeMetadata changes the shown metadata of an asset and everything that follows
// from it: the capture time, the order, the place on the map. A missing asset is
// a banksia.Error with CodeNotFound.
func (tx *Tx) changeMetadata(id banksia.AssetID, change func(*banksia.Metadata)) error {
	m, err := tx.metadata(id)
	if err != nil {
		return err
	}
	var library banksia.LibraryID
	var fileCreated, local banksia.LocalTime
	var latitude, longitude *float64
	err = tx.QueryRow(`SELECT library_id, file_created_at, file_created_at_offset, local_datetime, local_datetime_offset, latitude, longitude FROM assets WHERE id = $1`, id).
		Scan(&library, &fileCreated.Wall, &fileCreated.Offset, &local.Wall, &local.Offset, &latitude, &longitude)
	if err != nil {
		return fmt.Errorf("asset %s: %w", id, err)
	}
	change(&m)
	now := tx.Now()
	m.AssetID, m.UpdatedAt = id, now
	captured := CaptureTime(&m, fileCreated)
	if captured.Wall == local.Wall && same(captured.Offset, local.Offset) && same(m.Latitude, latitude) && same(m.Longitude, longitude) {
		// Its place in every order stays.
		if err := tx.writeMetadata(&m); err != nil {
			return err
		}
		if _, err := tx.Exec(`UPDATE assets SET updated_at = $1 WHERE id = $2`, now.UnixMicro(), id); err != nil {
			return fmt.Errorf("update asset %s: %w", id, err)
		}
		if err := tx.indexAsset(id); err != nil {
			return err
		}
		return errors.Join(tx.emit(library, banksia.MetadataUpdated, id, nil), tx.emit(library, banksia.AssetUpdated, id, nil))
	}
	if err := tx.unplaceAsset(id); err != nil {
		return err
	}
	if err := tx.writeMetadata(&m); err != nil {
		return err
	}
	_, err = tx.Exec(`UPDATE assets SET local_datetime = $1, local_datetime_offset = $2, captured_at = $3, latitude = $4, longitude = $5, updated_at = $6 WHERE id = $7`,
		captured.Wall, captured.Offset, captured.Instant(), m.Latitude, m.Longitude, now.UnixMicro(), id)
	if err != nil {
		return fmt.Errorf("update asset %s: %w", id, err)
	}
	if err := errors.Join(tx.placeAsset(id), tx.indexAsset(id)); err != nil {
		return err
	}
	if err := tx.emit(library, banksia.MetadataUpdated, id, nil); err != nil {
		return err
	}
	return tx.emitAsset(library, id)
}

// CaptureTime is the time that orders an asset: the original time of its
// metadata, else the creation time of the file (behaviour 7.3; uploads always
// carry the latter).
func CaptureTime(m *banksia.Metadata, fileCreated banksia.LocalTime) banksia.LocalTime {
	if m.OriginalDateTime != nil {
		return *m.OriginalDateTime
	}
	return fileCreated
}

// SetDuration stores the length of a video in seconds.
func (tx *Tx) SetDuration(id banksia.AssetID, seconds *float64) error {
	library, err := tx.touchAsset(id)
	if err == nil {
		_, err = tx.Exec(`UPDATE assets SET duration = $1 WHERE id = $2`, seconds, id)
	}
	if err != nil {
		return fmt.Errorf("duration of asset %s: %w", id, err)
	}
	return tx.emit(library, banksia.AssetUpdated, id, nil)
}

// touchAsset writes that an asset changed now and returns its library. A missing
// asset is a banksia.Error with CodeNotFound.
func (tx *Tx) touchAsset(id banksia.AssetID) (library banksia.LibraryID, err error) {
	err = tx.QueryRow(`UPDATE assets SET updated_at = $1 WHERE id = $2 RETURNING library_id`, tx.Now().UnixMicro(), id).Scan(&library)
	if errors.Is(err, sql.ErrNoRows) {
		return library, banksia.NotFound("Asset")
	}
	return library, err
}

// SetVersionFacts changes what is known of a version's pixels: its size in
// display space, its thumbhash, and how it can be drawn. Other fields are left.
func (tx *Tx) SetVersionFacts(id banksia.VersionID, change func(*banksia.Version)) error {
	v := banksia.Version{ID: id}
	err := tx.QueryRow(`SELECT asset_id, width, height, variant_mime_type, displayable, thumbhash FROM asset_versions WHERE id = $1`, id).
		Scan(&v.AssetID, &v.Width, &v.Height, &v.VariantMIMEType, &v.Displayable, &v.ThumbHash)
	if errors.Is(err, sql.ErrNoRows) {
		return banksia.NotFound("Version")
	}
	if err != nil {
		return fmt.Errorf("version %s: %w", id, err)
	}
	change(&v)
	_, err = tx.Exec(`UPDATE asset_versions SET width = $1, height = $2, variant_mime_type = $3, displayable = $4, thumbhash = $5 WHERE id = $6`,
		v.Width, v.Height, v.VariantMIMEType, v.Displayable, bytesOrNil(v.ThumbHash), id)
	var library banksia.LibraryID
	if err == nil {
		library, err = tx.touchAsset(v.AssetID)
	}
	if err != nil {
		return fmt.Errorf("version %s: %w", id, err)
	}
	return tx.emitAsset(library, v.AssetID)
}

// TrashAssets moves assets of a library to the trash and returns those that were
// live; ids that are unknown or already there are left alone.
func (tx *Tx) TrashAssets(library banksia.LibraryID, ids []banksia.AssetID) ([]banksia.AssetID, error) {
	now := tx.Now().UnixMicro()
	return tx.move(library, ids, true, func(id banksia.AssetID) error {
		_, err := tx.Exec(`UPDATE assets SET live = FALSE, trashed_at = $1, last_trashed_at = $1, updated_at = $1 WHERE id = $2`, now, id)
		return err
	})
}

// RestoreAssets moves assets of a library out of the trash and returns those that
// were in it.
func (tx *Tx) RestoreAssets(library banksia.LibraryID, ids []banksia.AssetID) ([]banksia.AssetID, error) {
	now := tx.Now().UnixMicro()
	return tx.move(library, ids, false, func(id banksia.AssetID) error {
		_, err := tx.Exec(`UPDATE assets SET live = TRUE, trashed_at = NULL, updated_at = $1 WHERE id = $2`, now, id)
		return err
	})
}

// move changes live for those assets whose live is as said.
func (tx *Tx) move(library banksia.LibraryID, ids []banksia.AssetID, live bool, change func(banksia.AssetID) error) ([]banksia.AssetID, error) {
	delta := 1
	if live {
		delta = -1
	}
	var moved []banksia.AssetID
	for _, id := range ids {
		var one int
		err := tx.QueryRow(`SELECT 1 FROM assets WHERE id = $1 AND library_id = $2 AND live = $3`, id, library, live).Scan(&one)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err == nil {
			err = tx.unplaceAsset(id)
		}
		if err == nil {
			err = change(id)
		}
		if err == nil {
			err = tx.placeAsset(id)
		}
		if err == nil {
			err = tx.indexAsset(id)
		}
		if err == nil {
			err = tx.countForSets(id, delta)
		}
		if err == nil {
			err = tx.emitAsset(library, id)
		}
		if err != nil {
			return nil, fmt.Errorf("move asset %s: %w", id, err)
		}
		moved = append(moved, id)
	}
	return moved, tx.countStorage(library, delta*len(moved), 0)
}

// Freed is what a purge leaves behind in blob storage.
type Freed struct {
	AssetID       banksia.AssetID
	VersionID     banksia.VersionID
	SHA256        banksia.Digest
	LastReference bool // no other version, of any user, has these bytes
}

// PurgeAssets deletes assets of a library with all their rows and returns what
// their files were; unknown ids are left alone. The position of each stays, so
// that cursors outlive it. The caller holds the lock that keeps uploads of the
// same content away until the files are gone.
func (tx *Tx) PurgeAssets(library banksia.LibraryID, ids []banksia.AssetID) ([]Freed, error) {
	var freed []Freed
	for _, id := range ids {
		one, err := tx.purgeAsset(library, id)
		if err != nil {
			return nil, fmt.Errorf("purge asset %s: %w", id, err)
		}
		freed = append(freed, one...)
	}
	for i := range freed {
		referenced, err := tx.IsReferenced(freed[i].SHA256)
		if err != nil {
			return nil, err
		}
		freed[i].LastReference = !referenced
	}
	return freed, nil
}

func (tx *Tx) purgeAsset(library banksia.LibraryID, id banksia.AssetID) ([]Freed, error) {
	var live bool
	var size int64
	var stack sql.Null[banksia.StackID]
	err := tx.QueryRow(`SELECT live, (SELECT SUM(file_size_bytes) FROM asset_versions WHERE asset_id = assets.id), stack_id FROM assets WHERE id = $1 AND library_id = $2`, id, library).Scan(&live, &size, &stack)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var freed []Freed
	err = tx.each(`SELECT id, checksum FROM asset_versions WHERE asset_id = $1`, []any{id}, func(rows *sql.Rows) error {
		f := Freed{AssetID: id}
		err := rows.Scan(&f.VersionID, (*[]byte)(&f.SHA256))
		freed = append(freed, f)
		return err
	})
	if err != nil {
		return nil, err
	}
	count := 0
	if live {
		count = -1
	}
	if err := errors.Join(tx.countForSets(id, count), tx.unplaceAsset(id)); err != nil {
		return nil, err
	}
	for _, statement := range []string{
		`UPDATE albums SET album_cover_asset_id = NULL WHERE album_cover_asset_id = $1`,
		`UPDATE stacks SET primary_asset_id = NULL WHERE primary_asset_id = $1`,
	} {
		if _, err := tx.Exec(statement, id); err != nil {
			return nil, err
		}
	}
	if err := tx.emitPurge(library, id); err != nil {
		return nil, err
	}
	if err := tx.purgeFaces(library, id); err != nil {
		return nil, err
	}
	for _, statement := range []string{
		`INSERT INTO purged_assets (id, library_id, local_datetime, trashed_at) SELECT id, library_id, local_datetime, COALESCE(trashed_at, last_trashed_at) FROM assets WHERE id = $1`,
		`DELETE FROM album_assets WHERE asset_id = $1`,
		`DELETE FROM asset_edits WHERE asset_id = $1`,
		`DELETE FROM asset_metadata WHERE asset_id = $1`,
		`DELETE FROM asset_versions WHERE asset_id = $1`,
		`DELETE FROM tasks WHERE asset_id = $1`,
		`DELETE FROM assets WHERE id = $1`,
	} {
		if _, err := tx.Exec(statement, id); err != nil {
			return nil, err
		}
	}
	if err := tx.setDocument(assetDocument, id, library, ""); err != nil {
		return nil, err
	}
	if stack.Valid {
		if err := tx.settleStack(library, stack.V, false); err != nil {
			return nil, err
		}
	}
	return freed, tx.countStorage(library, count, -size)
}

func microsOf(t *time.Time) *int64 {
	if t == nil {
		return nil
	}
	micros := t.UnixMicro()
	return &micros
}

func bytesOrNil(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}

func encodeMetrics(metrics map[string]*float64) (*string, error) {
	if len(metrics) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(metrics)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	result := string(text)
	return &result, nil
}
