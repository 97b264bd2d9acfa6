package api

import (
	"context"
	"net/http"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api/wire"
	"github.com/banksia-photos/banksia/internal/catalog"
	"github.com/banksia-photos/banksia/internal/store"
)

// listAlbums is GET /api/albums.
func (s *Server) listAlbums(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	p := newParams(r.URL.RawQuery)
	page := store.AlbumPage{Paging: paging[banksia.AlbumID](p), AssetID: id[banksia.AssetID](p, "asset_id")}
	urls := s.urls(r)
	return writePage(s, w, r, scope, p, func(ctx context.Context, library banksia.LibraryID) ([]banksia.Album, bool, error) {
		page.LibraryID = library
		return s.store.ListAlbums(ctx, scope, page)
	}, func(a *banksia.Album) wire.Album { return wire.NewAlbum(a, urls) })
}

// albumBody is what a client may say of an album.
type albumBody struct {
	LibraryID   *string          `json:"library_id"`
	Name        optional[string] `json:"name"`
	Description optional[string] `json:"description"`
	Cover       optional[string] `json:"album_cover_asset_id"`
}

func readAlbum(w http.ResponseWriter, r *http.Request) (body albumBody, err error) {
	if err := readJSON(w, r, &body); err != nil {
		return body, err
	}
	if err := checkText("name", body.Name.Value, maxName); err != nil {
		return body, err
	}
	return body, checkText("description", body.Description.Value, maxDescription)
}

// createAlbum is POST /api/albums. The name may be left out (behaviour 9.1).
func (s *Server) createAlbum(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	body, err := readAlbum(w, r)
	if err != nil {
		return err
	}
	library, err := bodyLibrary(body.LibraryID)
	if err != nil {
		return err
	}
	name := ""
	if body.Name.Value != nil {
		name = *body.Name.Value
	}
	album, err := s.catalog.CreateAlbum(r.Context(), scope, library, name, body.Description.Value)
	if err != nil {
		return err
	}
	return write(w, http.StatusCreated, wire.NewAlbum(&album, s.urls(r)))
}

// getAlbum is GET /api/albums/{album_id}.
func (s *Server) getAlbum(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	id, err := pathID[banksia.AlbumID](r, "album_id", "Album")
	if err != nil {
		return err
	}
	album, err := s.store.GetAlbum(r.Context(), scope, id)
	if err != nil {
		return err
	}
	return write(w, http.StatusOK, wire.NewAlbum(&album, s.urls(r)))
}

// updateAlbum is PATCH /api/albums/{album_id}. A name cannot be null in answers,
// so null makes it empty.
func (s *Server) updateAlbum(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	id, err := pathID[banksia.AlbumID](r, "album_id", "Album")
	if err != nil {
		return err
	}
	body, err := readAlbum(w, r)
	if err != nil {
		return err
	}
	change := catalog.AlbumChange{Name: body.Name.Value, SetDescription: body.Description.Set, Description: body.Description.Value, SetCover: body.Cover.Set}
	if body.Name.Set && body.Name.Value == nil {
		change.Name = new(string)
	}
	if body.Cover.Value != nil {
		cover, err := bodyID[banksia.AssetID]("album_cover_asset_id", *body.Cover.Value)
		if err != nil {
			return err
		}
		change.Cover = &cover
	}
	album, err := s.catalog.UpdateAlbum(r.Context(), scope, id, change)
	if err != nil {
		return err
	}
	return write(w, http.StatusOK, wire.NewAlbum(&album, s.urls(r)))
}

// deleteAlbum is DELETE /api/albums/{album_id}.
func (s *Server) deleteAlbum(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	id, err := pathID[banksia.AlbumID](r, "album_id", "Album")
	if err == nil {
		err = s.catalog.DeleteAlbum(r.Context(), scope, id)
	}
	if err != nil {
		return err
	}
	return acknowledge(w)
}

// assetIDsBody names assets.
type assetIDsBody struct {
	AssetIDs []string `json:"asset_ids"`
}

// addAlbumAssets is POST /api/albums/{album_id}/assets. Every ID comes back in one
// of three lists, also one that cannot be (behaviour 9.5).
func (s *Server) addAlbumAssets(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	id, err := pathID[banksia.AlbumID](r, "album_id", "Album")
	if err != nil {
		return err
	}
	var body assetIDsBody
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	if len(body.AssetIDs) == 0 || len(body.AssetIDs) > maxIDs {
		return banksia.Invalid("body", "asset_ids", "must hold 1 to %d identifiers", maxIDs)
	}
	answer := wire.AlbumAdded{Added: []string{}, Duplicate: []string{}, NotFound: []string{}}
	var assets []banksia.AssetID
	seen := map[string]bool{}
	for _, text := range body.AssetIDs {
		if seen[text] {
			continue
		}
		seen[text] = true
		asset, err := banksia.ParseID[banksia.AssetID](text)
		if err != nil {
			answer.NotFound = append(answer.NotFound, text)
			continue
		}
		assets = append(assets, asset)
	}
	added, err := s.catalog.AddToAlbum(r.Context(), scope, id, assets)
	if err != nil {
		return err
	}
	for to, assets := range map[*[]string][]banksia.AssetID{&answer.Added: added.Added, &answer.Duplicate: added.Duplicate, &answer.NotFound: added.NotFound} {
		for _, asset := range assets {
			*to = append(*to, asset.String())
		}
	}
	return write(w, http.StatusOK, answer)
}

// removeAlbumAssets is DELETE /api/albums/{album_id}/assets, with a body.
func (s *Server) removeAlbumAssets(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	id, err := pathID[banksia.AlbumID](r, "album_id", "Album")
	if err != nil {
		return err
	}
	assets, err := readAssetIDs(w, r)
	if err == nil {
		err = s.catalog.RemoveFromAlbum(r.Context(), scope, id, assets)
	}
	if err != nil {
		return err
	}
	return acknowledge(w)
}

func readAssetIDs(w http.ResponseWriter, r *http.Request) ([]banksia.AssetID, error) {
	var body assetIDsBody
	if err := readJSON(w, r, &body); err != nil {
		return nil, err
	}
	return bodyIDs[banksia.AssetID]("asset_ids", body.AssetIDs)
}

// legacyAlbumAssets is GET /api/albums/{album_id}/assets of older clients: all
// live assets in a bare array (history.md).
func (s *Server) legacyAlbumAssets(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	id, err := pathID[banksia.AlbumID](r, "album_id", "Album")
	if err != nil {
		return err
	}
	album, err := s.store.GetAlbum(r.Context(), scope, id)
	if err != nil {
		return err
	}
	bodies := []wire.Asset{}
	filter := store.AssetFilter{LibraryID: album.LibraryID, AlbumID: &id, Limit: 1000}
	for more := true; more; {
		var assets []banksia.Asset
		if assets, more, err = s.store.ListAssets(r.Context(), scope, filter); err != nil {
			return err
		}
		page, err := s.assets(r, assets, wire.FullShape)
		if err != nil {
			return err
		}
		bodies = append(bodies, page...)
		if more {
			filter.StartingAfter = &assets[len(assets)-1].ID
		}
	}
	return write(w, http.StatusOK, bodies)
}

// listAlbumAssets is GET /api/album-assets.
func (s *Server) listAlbumAssets(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	p := newParams(r.URL.RawQuery)
	page := store.AlbumAssetPage{Paging: paging[banksia.AlbumAssetID](p), AlbumID: id[banksia.AlbumID](p, "album_id"), AssetID: id[banksia.AssetID](p, "asset_id")}
	return writePage(s, w, r, scope, p, func(ctx context.Context, library banksia.LibraryID) ([]banksia.AlbumAsset, bool, error) {
		page.LibraryID = library
		return s.store.ListAlbumAssets(ctx, scope, page)
	}, wire.NewAlbumAsset)
}

// getAlbumAsset is GET /api/album-assets/{album_asset_id}.
func (s *Server) getAlbumAsset(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	id, err := pathID[banksia.AlbumAssetID](r, "album_asset_id", "Album asset")
	if err != nil {
		return err
	}
	link, err := s.store.GetAlbumAsset(r.Context(), scope, id)
	if err != nil {
		return err
	}
	return write(w, http.StatusOK, wire.NewAlbumAsset(&link))
}
