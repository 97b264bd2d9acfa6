package store

import (
	"fmt"

	"github.com/banksia-photos/banksia"
)

// InsertAlbum adds an album.
func (tx *Tx) InsertAlbum(a *banksia.Album) error {
	_, err := tx.Exec(`INSERT INTO albums (id, library_id, name, description, album_cover_asset_id, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		a.ID, a.LibraryID, a.Name, a.Description, a.CoverAssetID, a.CreatedAt.UnixMicro(), a.UpdatedAt.UnixMicro())
	if err != nil {
		return fmt.Errorf("insert album: %w", err)
	}
	return tx.emit(a.LibraryID, banksia.AlbumCreated, a.ID, nil)
}

// InsertAlbumAsset links an asset to an album; ErrDuplicate when it is there.
func (tx *Tx) InsertAlbumAsset(id banksia.AlbumAssetID, album banksia.AlbumID, asset banksia.AssetID) error {
	now := tx.Now().UnixMicro()
	_, err := tx.Exec(`INSERT INTO album_assets (id, album_id, asset_id, live, local_datetime, created_at, updated_at)
		SELECT $1, $2, id, live, local_datetime, $3, $3 FROM assets WHERE id = $4`, id, album, now, asset)
	if err == nil {
		_, err = tx.Exec(`UPDATE assets SET in_album = TRUE WHERE id = $1`, asset)
	}
	var library banksia.LibraryID
	if err == nil {
		err = tx.QueryRow(`UPDATE albums SET asset_count = asset_count + CASE WHEN EXISTS (SELECT 1 FROM assets WHERE id = $1 AND live = TRUE) THEN 1 ELSE 0 END WHERE id = $2 RETURNING library_id`, asset, album).Scan(&library)
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

// InsertStack adds a stack with its members.
func (tx *Tx) InsertStack(s *banksia.Stack, members []banksia.AssetID) error {
	_, err := tx.Exec(`INSERT INTO stacks (id, library_id, origin, primary_asset_id, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		s.ID, s.LibraryID, s.Origin, s.PrimaryAssetID, s.CreatedAt.UnixMicro(), s.UpdatedAt.UnixMicro())
	for _, asset := range members {
		if err != nil {
			break
		}
		_, err = tx.Exec(`UPDATE assets SET stack_id = $1 WHERE id = $2 AND library_id = $3`, s.ID, asset, s.LibraryID)
		if err == nil {
			err = tx.emit(s.LibraryID, banksia.AssetUpdated, asset, stackPayload{&s.ID})
		}
	}
	if err != nil {
		return fmt.Errorf("insert stack: %w", err)
	}
	return tx.emit(s.LibraryID, banksia.StackCreated, s.ID, nil)
}
