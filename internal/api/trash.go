package api

import (
	"context"
	"net/http"

	"github.com/banksia-photos/banksia"
)

// trashAssets is POST /api/assets/trash (behaviour 8.5).
func (s *Server) trashAssets(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	return s.changeAssets(w, r, scope, s.catalog.TrashAssets)
}

// restoreAssets is POST /api/assets/restore.
func (s *Server) restoreAssets(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	return s.changeAssets(w, r, scope, s.catalog.RestoreAssets)
}

// deleteAssets is DELETE /api/assets: for good, with a body.
func (s *Server) deleteAssets(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	return s.changeAssets(w, r, scope, s.catalog.PurgeAssets)
}

// changeAssets does something to the assets that a body names. Unknown ones are no
// error: a list may be sent again (behaviour 8.5).
func (s *Server) changeAssets(w http.ResponseWriter, r *http.Request, scope banksia.Scope, change func(context.Context, banksia.Scope, banksia.LibraryID, []banksia.AssetID) error) error {
	var body struct {
		IDs []string `json:"ids"`
	}
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	ids, err := bodyIDs[banksia.AssetID]("ids", body.IDs)
	if err != nil {
		return err
	}
	library, ok, err := s.library(r.Context(), newParams(r.URL.RawQuery), scope)
	if err == nil && ok {
		err = change(r.Context(), scope, library, ids)
	}
	if err != nil {
		return err
	}
	return acknowledge(w)
}

// deleteAsset is DELETE /api/assets/{asset_id}: for good.
func (s *Server) deleteAsset(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	asset, err := s.pathAsset(r, scope)
	if err != nil {
		return err
	}
	if err := s.catalog.PurgeAssets(r.Context(), scope, asset.LibraryID, []banksia.AssetID{asset.ID}); err != nil {
		return err
	}
	return acknowledge(w)
}

// emptyTrash is POST /api/assets/empty-trash.
func (s *Server) emptyTrash(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	library, ok, err := s.library(r.Context(), newParams(r.URL.RawQuery), scope)
	if err == nil && ok {
		err = s.catalog.EmptyTrash(r.Context(), scope, library)
	}
	if err != nil {
		return err
	}
	return acknowledge(w)
}
