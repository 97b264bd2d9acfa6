package api

import (
	"context"
	"net/http"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api/wire"
	"github.com/banksia-photos/banksia/internal/store"
)

// listStacks is GET /api/stacks.
func (s *Server) listStacks(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	p := newParams(r.URL.RawQuery)
	page := store.StackPage{Paging: paging[banksia.StackID](p), PrimaryAssetID: id[banksia.AssetID](p, "primary_asset_id"),
		Origin: choice(p, "origin", "", banksia.StackAutoBurst, banksia.StackUser)}
	return writePage(s, w, r, scope, p, func(ctx context.Context, library banksia.LibraryID) ([]banksia.Stack, bool, error) {
		page.LibraryID = library
		return s.store.ListStacks(ctx, scope, page)
	}, wire.NewStack)
}

// createStack is POST /api/stacks.
func (s *Server) createStack(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	var body struct {
		assetIDsBody
		LibraryID *string `json:"library_id"`
		Cover     *string `json:"primary_asset_id"`
	}
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	assets, err := bodyIDs[banksia.AssetID]("asset_ids", body.AssetIDs)
	if err != nil {
		return err
	}
	library, err := bodyLibrary(body.LibraryID)
	if err != nil {
		return err
	}
	var cover *banksia.AssetID
	if body.Cover != nil {
		one, err := bodyID[banksia.AssetID]("primary_asset_id", *body.Cover)
		if err != nil {
			return err
		}
		cover = &one
	}
	stack, err := s.catalog.CreateStack(r.Context(), scope, library, assets, cover)
	if err != nil {
		return err
	}
	return write(w, http.StatusCreated, wire.NewStack(&stack))
}

// getStack is GET /api/stacks/{stack_id}.
func (s *Server) getStack(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	id, err := pathID[banksia.StackID](r, "stack_id", "Stack")
	if err != nil {
		return err
	}
	stack, err := s.store.GetStack(r.Context(), scope, id)
	if err != nil {
		return err
	}
	return write(w, http.StatusOK, wire.NewStack(&stack))
}

// setStackCover is PATCH /api/stacks/{stack_id}.
func (s *Server) setStackCover(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	id, err := pathID[banksia.StackID](r, "stack_id", "Stack")
	if err != nil {
		return err
	}
	var body struct {
		Cover string `json:"primary_asset_id"`
	}
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	cover, err := bodyID[banksia.AssetID]("primary_asset_id", body.Cover) // null is refused as ""
	if err != nil {
		return err
	}
	stack, err := s.catalog.SetStackCover(r.Context(), scope, id, cover)
	if err != nil {
		return err
	}
	return write(w, http.StatusOK, wire.NewStack(&stack))
}

// deleteStack is DELETE /api/stacks/{stack_id}.
func (s *Server) deleteStack(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	id, err := pathID[banksia.StackID](r, "stack_id", "Stack")
	if err == nil {
		err = s.catalog.DeleteStack(r.Context(), scope, id)
	}
	if err != nil {
		return err
	}
	return acknowledge(w)
}

// addStackAssets is POST /api/stacks/{stack_id}/assets.
func (s *Server) addStackAssets(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	id, err := pathID[banksia.StackID](r, "stack_id", "Stack")
	if err != nil {
		return err
	}
	assets, err := readAssetIDs(w, r)
	if err != nil {
		return err
	}
	stack, err := s.catalog.AddToStack(r.Context(), scope, id, assets)
	if err != nil {
		return err
	}
	return write(w, http.StatusOK, wire.NewStack(&stack))
}

// removeStackAssets is DELETE /api/stacks/{stack_id}/assets, with a body.
func (s *Server) removeStackAssets(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	id, err := pathID[banksia.StackID](r, "stack_id", "Stack")
	if err != nil {
		return err
	}
	assets, err := readAssetIDs(w, r)
	if err == nil {
		err = s.catalog.RemoveFromStack(r.Context(), scope, id, assets)
	}
	if err != nil {
		return err
	}
	return acknowledge(w)
}
