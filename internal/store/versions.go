package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/banksia-photos/banksia"
)

// ListVersions reads the renderings of an asset, the original first and the current
// one last.
func (s *Store) ListVersions(ctx context.Context, scope banksia.Scope, asset banksia.AssetID) (versions []banksia.Version, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		versions, err = tx.Versions(scope, asset)
		return err
	})
	return versions, err
}

// Versions is Store.ListVersions within a transaction.
func (tx *Tx) Versions(scope banksia.Scope, asset banksia.AssetID) (versions []banksia.Version, err error) {
	var q query
	text := `SELECT v.id, v.asset_id, v.position, v.kind, v.mime_type, v.width, v.height, v.file_size_bytes, v.checksum, v.params, v.variant_mime_type, v.displayable, v.thumbhash, v.created_at
		FROM asset_versions v JOIN assets a ON a.id = v.asset_id WHERE v.asset_id = ` + q.arg(asset) + ` AND ` + q.visible(scope, "a.library_id") + ` ORDER BY v.position`
	err = tx.each(text, q.args, func(rows *sql.Rows) error {
		var v banksia.Version
		var params *string
		var created int64
		err := rows.Scan(&v.ID, &v.AssetID, &v.Position, &v.Kind, &v.MIMEType, &v.Width, &v.Height, &v.SizeBytes, (*[]byte)(&v.SHA256), &params, &v.VariantMIMEType, &v.Displayable, &v.ThumbHash, &created)
		if params != nil {
			v.Params = []byte(*params)
		}
		v.CreatedAt = timeOf(created)
		versions = append(versions, v)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("versions of asset %s: %w", asset, err)
	}
	if len(versions) == 0 {
		return nil, banksia.NotFound("Asset")
	}
	return versions, nil
}

// InsertVersion adds a rendering that becomes the current one, and counts it.
func (tx *Tx) InsertVersion(library banksia.LibraryID, v *banksia.Version) error {
	_, err := tx.Exec(`INSERT INTO asset_versions (id, asset_id, position, kind, mime_type, width, height, file_size_bytes, checksum, params, variant_mime_type, displayable, thumbhash, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		v.ID, v.AssetID, v.Position, v.Kind, v.MIMEType, v.Width, v.Height, v.SizeBytes, []byte(v.SHA256), textOrNil(string(v.Params)), v.VariantMIMEType, v.Displayable, bytesOrNil(v.ThumbHash), v.CreatedAt.UnixMicro())
	if err != nil {
		return fmt.Errorf("insert version: %w", err)
	}
	if err := tx.setCurrent(library, v.AssetID, v.ID); err != nil {
		return err
	}
	return tx.countStorage(library, 0, v.SizeBytes)
}

// setCurrent makes a version the current one of its asset.
func (tx *Tx) setCurrent(library banksia.LibraryID, asset banksia.AssetID, version banksia.VersionID) error {
	_, err := tx.Exec(`UPDATE assets SET current_version_id = $1, updated_at = $2 WHERE id = $3`, version, tx.Now().UnixMicro(), asset)
	if err != nil {
		return fmt.Errorf("current version of asset %s: %w", asset, err)
	}
	return tx.emitAsset(library, asset)
}

// SetVersionOrigin stores what a client says of how a version was made.
func (tx *Tx) SetVersionOrigin(library banksia.LibraryID, v *banksia.Version) error {
	_, err := tx.Exec(`UPDATE asset_versions SET kind = $1, params = $2 WHERE id = $3`, v.Kind, textOrNil(string(v.Params)), v.ID)
	if err != nil {
		return fmt.Errorf("update version: %w", err)
	}
	return tx.setCurrent(library, v.AssetID, v.ID)
}

// DeleteVersions deletes the last versions of an asset, so that current becomes the
// current one, and returns what their files were.
func (tx *Tx) DeleteVersions(library banksia.LibraryID, current *banksia.Version, later []banksia.Version) ([]Freed, error) {
	if err := tx.setCurrent(library, current.AssetID, current.ID); err != nil {
		return nil, err
	}
	var freed []Freed
	for i := range later {
		v := &later[i]
		if _, err := tx.Exec(`DELETE FROM asset_versions WHERE id = $1`, v.ID); err != nil {
			return nil, fmt.Errorf("delete version: %w", err)
		}
		if err := tx.countStorage(library, 0, -v.SizeBytes); err != nil {
			return nil, err
		}
		freed = append(freed, Freed{AssetID: v.AssetID, VersionID: v.ID, SHA256: v.SHA256})
	}
	return freed, nil
}

// ShowsVersion tells whether there is a version in a library outside of the trash.
func (s *Store) ShowsVersion(ctx context.Context, id banksia.VersionID) (shown bool, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		shown, err = tx.exists(`SELECT 1 FROM asset_versions v JOIN assets a ON a.id = v.asset_id JOIN libraries l ON l.id = a.library_id WHERE v.id = $1 AND l.trashed_at IS NULL`, id)
		return err
	})
	return shown, err
}

// StoredVersion is what a version says of its bytes.
type StoredVersion struct {
	ID      banksia.VersionID
	AssetID banksia.AssetID
	SHA256  banksia.Digest
	Size    int64
}

// EachVersion calls f for every version of every asset, as they are at one moment,
// until f fails.
func (s *Store) EachVersion(ctx context.Context, f func(StoredVersion) error) error {
	err := s.Read(ctx, func(tx *Tx) error {
		return tx.each(`SELECT id, asset_id, checksum, file_size_bytes FROM asset_versions`, nil, func(rows *sql.Rows) error {
			var v StoredVersion
			if err := rows.Scan(&v.ID, &v.AssetID, &v.SHA256, &v.Size); err != nil {
				return err
			}
			return f(v)
		})
	})
	if err != nil {
		return fmt.Errorf("read versions: %w", err)
	}
	return nil
}
