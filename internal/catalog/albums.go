package catalog

import (
	"context"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/store"
)

// CreateAlbum makes an empty album in a library; nil: the only one.
func (c *Catalog) CreateAlbum(ctx context.Context, scope banksia.Scope, library *banksia.LibraryID, name string, description *string) (album banksia.Album, err error) {
	err = c.store.Change(ctx, scope.UserID, func(tx *store.Tx) error {
		l, err := c.writeLibrary(tx, scope, library)
		if err != nil {
			return err
		}
		now := tx.Now()
		album = banksia.Album{ID: banksia.NewID[banksia.AlbumID](now), LibraryID: l.ID, Name: name, Description: description, CreatedAt: now, UpdatedAt: now}
		return tx.InsertAlbum(&album)
	})
	return album, err
}

// AlbumChange says what of an album becomes otherwise.
type AlbumChange struct {
	Name           *string // nil: unchanged
	SetDescription bool
	Description    *string
	SetCover       bool
	Cover          *banksia.AssetID // nil: the server picks
}

// UpdateAlbum changes an album. A cover must be a live member (behaviour 9.3).
func (c *Catalog) UpdateAlbum(ctx context.Context, scope banksia.Scope, id banksia.AlbumID, change AlbumChange) (album banksia.Album, err error) {
	err = c.changeAlbum(ctx, scope, id, func(tx *store.Tx, a *banksia.Album) error {
		if change.Name != nil {
			a.Name = *change.Name
		}
		if change.SetDescription {
			a.Description = change.Description
		}
		if change.SetCover {
			if change.Cover != nil {
				member, err := tx.HoldsLive(id, *change.Cover)
				if err != nil {
					return err
				}
				if !member {
					return banksia.Invalid("body", "album_cover_asset_id", "is not a live asset of the album")
				}
			}
			a.CoverAssetID = change.Cover
		}
		if err := tx.UpdateAlbum(a); err != nil {
			return err
		}
		album, err = tx.Album(scope, id)
		return err
	})
	return album, err
}

// DeleteAlbum deletes an album; its assets stay (behaviour 9.6).
func (c *Catalog) DeleteAlbum(ctx context.Context, scope banksia.Scope, id banksia.AlbumID) error {
	return c.changeAlbum(ctx, scope, id, (*store.Tx).DeleteAlbum)
}

// Added is what became of each asset that was to be added to an album.
type Added struct{ Added, Duplicate, NotFound []banksia.AssetID }

// AddToAlbum adds assets to an album. Those that are there already, and those that
// are not in its library, are told apart (behaviour 9.5, 10.5).
func (c *Catalog) AddToAlbum(ctx context.Context, scope banksia.Scope, id banksia.AlbumID, assets []banksia.AssetID) (result Added, err error) {
	err = c.changeAlbum(ctx, scope, id, func(tx *store.Tx, a *banksia.Album) error {
		result = Added{}
		for _, asset := range assets {
			found, err := tx.HasAsset(a.LibraryID, asset)
			if err != nil {
				return err
			}
			if !found {
				result.NotFound = append(result.NotFound, asset)
				continue
			}
			there, err := tx.InAlbum(id, asset)
			if err != nil {
				return err
			}
			if there {
				result.Duplicate = append(result.Duplicate, asset)
				continue
			}
			if err := tx.InsertAlbumAsset(banksia.NewID[banksia.AlbumAssetID](tx.Now()), id, asset); err != nil {
				return err
			}
			result.Added = append(result.Added, asset)
		}
		return nil
	})
	return result, err
}

// RemoveFromAlbum takes assets out of an album; others are left alone.
func (c *Catalog) RemoveFromAlbum(ctx context.Context, scope banksia.Scope, id banksia.AlbumID, assets []banksia.AssetID) error {
	return c.changeAlbum(ctx, scope, id, func(tx *store.Tx, a *banksia.Album) error { return tx.RemoveAlbumAssets(a, assets) })
}

func (c *Catalog) changeAlbum(ctx context.Context, scope banksia.Scope, id banksia.AlbumID, f func(*store.Tx, *banksia.Album) error) error {
	return c.store.Change(ctx, scope.UserID, func(tx *store.Tx) error {
		album, err := tx.Album(scope, id)
		if err != nil {
			return err
		}
		return f(tx, &album)
	})
}
