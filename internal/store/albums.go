package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/search"
)

// InsertAlbum adds an album.
func (tx *Tx) InsertAlbum(a *banksia.Album) error {
	_, err := tx.Exec(`INSERT INTO albums (id, library_id, name, description, album_cover_asset_id, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		a.ID, a.LibraryID, a.Name, a.Description, a.CoverAssetID, a.CreatedAt.UnixMicro(), a.UpdatedAt.UnixMicro())
	if err != nil {
		return fmt.Errorf("insert album: %w", err)
	}
	if err := tx.setDocument(albumDocument, a.ID, a.LibraryID, search.Document(a.Name)); err != nil {
		return err
	}
	return tx.emit(a.LibraryID, banksia.AlbumCreated, a.ID, nil)
}

// AlbumPage says which albums of a library a list holds.
type AlbumPage struct {
	Paging[banksia.AlbumID]
	LibraryID banksia.LibraryID
	AssetID   *banksia.AssetID // only those that hold this asset
}

// ListAlbums reads a page of the albums of a library, newest created first.
func (s *Store) ListAlbums(ctx context.Context, scope banksia.Scope, p AlbumPage) (albums []banksia.Album, more bool, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		if visible, err := tx.sees(scope, p.LibraryID); err != nil || !visible {
			return err
		}
		var q query
		source := p.rows(&q, "albums")
		conditions := []string{"r.library_id = " + q.arg(p.LibraryID)}
		if p.AssetID != nil {
			holding := "SELECT album_id FROM album_assets WHERE asset_id = " + q.arg(p.AssetID)
			if p.IDs == nil {
				source = fence("SELECT * FROM albums WHERE id IN ("+holding+")") + " r"
			} else {
				conditions = append(conditions, "r.id IN ("+holding+")")
			}
		}
		end, err := newestFirst(tx, &q, p.Paging, "albums", p.LibraryID, conditions)
		if err != nil {
			return err
		}
		albums, err = tx.albumsFrom(source+end, q.args...)
		if err != nil {
			return fmt.Errorf("list albums: %w", err)
		}
		albums, more = cut(albums, p.Limit)
		return nil
	})
	return albums, more, err
}

// GetAlbum reads one album.
func (s *Store) GetAlbum(ctx context.Context, scope banksia.Scope, id banksia.AlbumID) (a banksia.Album, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		a, err = tx.Album(scope, id)
		return err
	})
	return a, err
}

// Album is Store.GetAlbum within a transaction.
func (tx *Tx) Album(scope banksia.Scope, id banksia.AlbumID) (a banksia.Album, err error) {
	var q query
	albums, err := tx.albumsFrom("albums r WHERE r.id = "+q.arg(id)+" AND "+q.visible(scope, "r.library_id"), q.args...)
	if err != nil {
		return a, fmt.Errorf("album %s: %w", id, err)
	}
	if len(albums) == 0 {
		return a, banksia.NotFound("Album")
	}
	return albums[0], nil
}

// albumsFrom reads albums from rows r, each with what follows from its live
// members: three lookups in the index of its order.
func (tx *Tx) albumsFrom(source string, args ...any) ([]banksia.Album, error) {
	const oldest = `(SELECT asset_id FROM album_assets m WHERE m.album_id = r.id AND m.live = TRUE ORDER BY m.local_datetime, m.asset_id LIMIT 1)`
	const newest = `(SELECT asset_id FROM album_assets m WHERE m.album_id = r.id AND m.live = TRUE ORDER BY m.local_datetime DESC, m.asset_id DESC LIMIT 1)`
	const chosen = `(SELECT asset_id FROM album_assets m WHERE m.asset_id = r.album_cover_asset_id AND m.album_id = r.id AND m.live = TRUE)`
	type ends struct{ first, last, cover sql.Null[banksia.AssetID] }
	var albums []banksia.Album
	var all []ends
	var wanted []banksia.AssetID
	err := tx.each(`SELECT r.id, r.library_id, r.name, r.description, r.album_cover_asset_id, r.created_at, r.updated_at, r.asset_count, `+oldest+`, `+newest+`, `+chosen+` FROM `+source, args, func(rows *sql.Rows) error {
		var a banksia.Album
		var e ends
		var explicit sql.Null[banksia.AssetID]
		var created, updated int64
		if err := rows.Scan(&a.ID, &a.LibraryID, &a.Name, &a.Description, &explicit, &created, &updated, &a.AssetCount, &e.first, &e.last, &e.cover); err != nil {
			return err
		}
		a.CoverAssetID, a.CreatedAt, a.UpdatedAt = pointer(explicit), timeOf(created), timeOf(updated)
		if e.first.Valid {
			if !e.cover.Valid {
				e.cover = e.first // behaviour 9.3
			}
			wanted = append(wanted, e.first.V, e.last.V, e.cover.V)
		}
		albums, all = append(albums, a), append(all, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	assets, err := tx.assetsByID(wanted)
	if err != nil {
		return nil, err
	}
	for i := range albums {
		if e := all[i]; e.first.Valid {
			first, last, cover := assets[e.first.V], assets[e.last.V], assets[e.cover.V]
			albums[i].StartDate, albums[i].EndDate, albums[i].Cover = &first.LocalDateTime, &last.LocalDateTime, &cover
		}
	}
	return albums, nil
}

// assetsByID reads assets with their current versions, whoever's they are.
func (tx *Tx) assetsByID(ids []banksia.AssetID) (map[banksia.AssetID]banksia.Asset, error) {
	assets := map[banksia.AssetID]banksia.Asset{}
	err := tx.eachOf(`SELECT `+assetColumns+` FROM assets a CROSS JOIN asset_versions v WHERE a.id IN (%s) AND v.id = a.current_version_id`, ids, func(rows *sql.Rows) error {
		a, err := scanAsset(rows)
		assets[a.ID] = a
		return err
	})
	return assets, err
}

// UpdateAlbum stores the name, the description and the chosen cover of an album.
func (tx *Tx) UpdateAlbum(a *banksia.Album) error {
	_, err := tx.Exec(`UPDATE albums SET name = $1, description = $2, album_cover_asset_id = $3, updated_at = $4 WHERE id = $5`,
		a.Name, a.Description, a.CoverAssetID, tx.Now().UnixMicro(), a.ID)
	if err != nil {
		return fmt.Errorf("update album: %w", err)
	}
	if err := tx.setDocument(albumDocument, a.ID, a.LibraryID, search.Document(a.Name)); err != nil {
		return err
	}
	return tx.emitAlbum(a.LibraryID, a.ID)
}

// HoldsLive tells whether a live asset is in an album.
func (tx *Tx) HoldsLive(album banksia.AlbumID, asset banksia.AssetID) (bool, error) {
	return tx.exists(`SELECT 1 FROM album_assets WHERE asset_id = $1 AND album_id = $2 AND live = TRUE`, asset, album)
}

// InAlbum tells whether an asset is in an album, live or trashed.
func (tx *Tx) InAlbum(album banksia.AlbumID, asset banksia.AssetID) (bool, error) {
	return tx.exists(`SELECT 1 FROM album_assets WHERE asset_id = $1 AND album_id = $2`, asset, album)
}

// exists tells whether a query has a row.
func (tx *Tx) exists(text string, args ...any) (bool, error) {
	var one int
	err := tx.QueryRow(text, args...).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// HasAsset tells whether an asset is in a library, live or trashed.
func (tx *Tx) HasAsset(library banksia.LibraryID, asset banksia.AssetID) (bool, error) {
	return tx.exists(`SELECT 1 FROM assets WHERE id = $1 AND library_id = $2`, asset, library)
}

// DeleteAlbum deletes an album with its links; its assets stay. The links go in a
// few statements, since there may be many.
func (tx *Tx) DeleteAlbum(a *banksia.Album) error {
	err := tx.each(`SELECT id, asset_id FROM album_assets WHERE album_id = $1 ORDER BY created_at, id`, []any{a.ID}, func(rows *sql.Rows) error {
		var link banksia.AlbumAssetID
		payload := albumAssetPayload{AlbumID: a.ID}
		if err := rows.Scan(&link, &payload.AssetID); err != nil {
			return err
		}
		return tx.emit(a.LibraryID, banksia.AlbumAssetRemoved, link, payload)
	})
	for _, statement := range []string{
		`UPDATE assets SET in_album = FALSE WHERE id IN (SELECT asset_id FROM album_assets WHERE album_id = $1)
			AND NOT EXISTS (SELECT 1 FROM album_assets o WHERE o.asset_id = assets.id AND o.album_id <> $1)`,
		`DELETE FROM album_assets WHERE album_id = $1`,
		`DELETE FROM albums WHERE id = $1`,
	} {
		if err == nil {
			_, err = tx.Exec(statement, a.ID)
		}
	}
	if err == nil {
		err = tx.setDocument(albumDocument, a.ID, a.LibraryID, "")
	}
	if err != nil {
		return fmt.Errorf("delete album: %w", err)
	}
	return tx.emit(a.LibraryID, banksia.AlbumDeleted, a.ID, nil)
}

// InsertAlbumAsset links an asset to an album; ErrDuplicate when it is there.
func (tx *Tx) InsertAlbumAsset(id banksia.AlbumAssetID, album banksia.AlbumID, asset banksia.AssetID) error {
	now := tx.Now().UnixMicro()
	_, err := tx.Exec(`INSERT INTO album_assets (id, library_id, album_id, asset_id, live, local_datetime, created_at, updated_at)
		SELECT $1, library_id, $2, id, live, local_datetime, $3, $3 FROM assets WHERE id = $4`, id, album, now, asset)
	if err == nil {
		_, err = tx.Exec(`UPDATE assets SET in_album = TRUE WHERE id = $1`, asset)
	}
	var library banksia.LibraryID
	if err == nil {
		err = tx.QueryRow(`UPDATE albums SET updated_at = $1, asset_count = asset_count + CASE WHEN EXISTS (SELECT 1 FROM assets WHERE id = $2 AND live = TRUE) THEN 1 ELSE 0 END WHERE id = $3 RETURNING library_id`, now, asset, album).Scan(&library)
	}
	if err == nil {
		err = tx.emit(library, banksia.AlbumAssetAdded, id, albumAssetPayload{album, asset})
	}
	if err == nil {
		err = tx.emitAlbum(library, album)
	}
	if err != nil {
		return fmt.Errorf("add asset %s to album: %w", asset, err)
	}
	return nil
}

// RemoveAlbumAssets takes assets out of an album; others are left alone. A chosen
// cover that leaves is chosen no more.
func (tx *Tx) RemoveAlbumAssets(a *banksia.Album, assets []banksia.AssetID) error {
	removed := false
	for _, asset := range assets {
		var link banksia.AlbumAssetID
		var live bool
		err := tx.QueryRow(`DELETE FROM album_assets WHERE asset_id = $1 AND album_id = $2 RETURNING id, live`, asset, a.ID).Scan(&link, &live)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		removed = true
		if err == nil {
			_, err = tx.Exec(`UPDATE assets SET in_album = EXISTS (SELECT 1 FROM album_assets WHERE asset_id = $1) WHERE id = $1`, asset)
		}
		if err == nil {
			_, err = tx.Exec(`UPDATE albums SET updated_at = $1, asset_count = asset_count - CASE WHEN $2 THEN 1 ELSE 0 END WHERE id = $3`, tx.Now().UnixMicro(), live, a.ID)
		}
		if err == nil {
			err = tx.emit(a.LibraryID, banksia.AlbumAssetRemoved, link, albumAssetPayload{a.ID, asset})
		}
		if err != nil {
			return fmt.Errorf("remove asset %s from album: %w", asset, err)
		}
	}
	if !removed {
		return nil
	}
	_, err := tx.Exec(`UPDATE albums SET album_cover_asset_id = NULL WHERE id = $1 AND album_cover_asset_id IS NOT NULL
		AND NOT EXISTS (SELECT 1 FROM album_assets m WHERE m.asset_id = albums.album_cover_asset_id AND m.album_id = albums.id)`, a.ID)
	if err != nil {
		return fmt.Errorf("remove assets from album: %w", err)
	}
	return tx.emitAlbum(a.LibraryID, a.ID)
}

// AlbumAssetPage says which links of a library a list holds.
type AlbumAssetPage struct {
	Paging[banksia.AlbumAssetID]
	LibraryID banksia.LibraryID
	AlbumID   *banksia.AlbumID
	AssetID   *banksia.AssetID
}

// ListAlbumAssets reads a page of the links of albums to assets, newest created
// first.
func (s *Store) ListAlbumAssets(ctx context.Context, scope banksia.Scope, p AlbumAssetPage) (links []banksia.AlbumAsset, more bool, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		if visible, err := tx.sees(scope, p.LibraryID); err != nil || !visible {
			return err
		}
		// Each condition alone has an index in the order of the list. That of the
		// library is left out where another is narrower, or it would be taken.
		var q query
		source := p.rows(&q, "album_assets")
		var conditions []string
		if p.AlbumID != nil {
			inside, err := tx.exists(`SELECT 1 FROM albums WHERE id = $1 AND library_id = $2`, p.AlbumID, p.LibraryID)
			if err != nil || !inside {
				return err
			}
			conditions = append(conditions, "r.album_id = "+q.arg(p.AlbumID))
		}
		if p.AssetID != nil {
			inside, err := tx.HasAsset(p.LibraryID, *p.AssetID)
			if err != nil || !inside {
				return err
			}
			conditions = append(conditions, "r.asset_id = "+q.arg(p.AssetID))
		}
		if p.AlbumID == nil && p.AssetID == nil {
			conditions = append(conditions, "r.library_id = "+q.arg(p.LibraryID))
		}
		end, err := newestFirst(tx, &q, p.Paging, "album_assets", p.LibraryID, conditions)
		if err != nil {
			return err
		}
		links, err = tx.albumAssetsFrom(source+end, q.args...)
		if err != nil {
			return fmt.Errorf("list album links: %w", err)
		}
		links, more = cut(links, p.Limit)
		return nil
	})
	return links, more, err
}

// GetAlbumAsset reads one link.
func (s *Store) GetAlbumAsset(ctx context.Context, scope banksia.Scope, id banksia.AlbumAssetID) (link banksia.AlbumAsset, err error) {
	var q query
	source := "album_assets r WHERE r.id = " + q.arg(id) + " AND " + q.visible(scope, "r.library_id")
	err = s.Read(ctx, func(tx *Tx) error {
		links, err := tx.albumAssetsFrom(source, q.args...)
		if err != nil {
			return fmt.Errorf("album link %s: %w", id, err)
		}
		if len(links) == 0 {
			return banksia.NotFound("Album asset")
		}
		link = links[0]
		return nil
	})
	return link, err
}

func (tx *Tx) albumAssetsFrom(source string, args ...any) (links []banksia.AlbumAsset, err error) {
	err = tx.each(`SELECT r.id, r.album_id, r.asset_id, r.created_at, r.updated_at FROM `+source, args, func(rows *sql.Rows) error {
		var l banksia.AlbumAsset
		var created, updated int64
		err := rows.Scan(&l.ID, &l.AlbumID, &l.AssetID, &created, &updated)
		l.CreatedAt, l.UpdatedAt = timeOf(created), timeOf(updated)
		links = append(links, l)
		return err
	})
	return links, err
}
