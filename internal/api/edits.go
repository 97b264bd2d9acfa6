package api

import (
	"fmt"
	"net/http"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api/wire"
	"github.com/banksia-photos/banksia/internal/catalog"
	"github.com/banksia-photos/banksia/internal/store"
)

// assetBody is what a user may say of an asset.
type assetBody struct {
	Description      optional[string]  `json:"description"`
	Latitude         optional[float64] `json:"latitude"`
	Longitude        optional[float64] `json:"longitude"`
	OriginalDateTime optional[string]  `json:"original_datetime"`
}

// edit reads the body; where names it in errors, as in "updates.3.".
func (b *assetBody) edit(where string) (edit store.AssetEdit, err error) {
	if err := checkText(where+"description", b.Description.Value, maxDescription); err != nil {
		return edit, err
	}
	edit.SetDescription, edit.Description = b.Description.Set, b.Description.Value
	if b.Latitude.Set != b.Longitude.Set || (b.Latitude.Value == nil) != (b.Longitude.Value == nil) {
		return edit, banksia.Invalid("body", where+"latitude", "latitude and longitude are given, or null, together")
	}
	if v := b.Latitude.Value; v != nil && (*v < -90 || *v > 90) {
		return edit, banksia.Invalid("body", where+"latitude", "must be from -90 to 90")
	}
	if v := b.Longitude.Value; v != nil && (*v < -180 || *v > 180) {
		return edit, banksia.Invalid("body", where+"longitude", "must be from -180 to 180")
	}
	edit.SetLocation, edit.Latitude, edit.Longitude = b.Latitude.Set, b.Latitude.Value, b.Longitude.Value
	edit.SetDateTime = b.OriginalDateTime.Set
	if text := b.OriginalDateTime.Value; text != nil {
		at, err := banksia.ParseLocalTime(*text)
		if err != nil {
			return edit, banksia.Invalid("body", where+"original_datetime", "%s", err)
		}
		edit.OriginalDateTime = &at
	}
	return edit, nil
}

// updateAsset is PATCH /api/assets/{asset_id}; it answers in full (R4 of
// seed-vs-current.md).
func (s *Server) updateAsset(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	asset, err := s.pathAsset(r, scope)
	if err != nil {
		return err
	}
	var body assetBody
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	edit, err := body.edit("")
	if err != nil {
		return err
	}
	if edit.SetDescription || edit.SetLocation || edit.SetDateTime {
		err := s.catalog.UpdateAssets(r.Context(), scope, []catalog.AssetUpdate{{ID: asset.ID, Edit: edit}})
		if err != nil {
			return err
		}
	}
	return s.answerAsset(w, r, scope)
}

// answerAsset answers the asset of the path as it is now, in full.
func (s *Server) answerAsset(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	asset, err := s.pathAsset(r, scope)
	if err != nil {
		return err
	}
	return s.writeAsset(w, r, http.StatusOK, asset, wire.FullShape)
}

// bulkUpdateAssets is POST /api/assets/bulk-update: all or nothing (behaviour 8.4).
func (s *Server) bulkUpdateAssets(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	var body struct {
		Updates []struct {
			ID     string     `json:"id"`
			Change *assetBody `json:"change"`
		} `json:"updates"`
	}
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	if len(body.Updates) == 0 || len(body.Updates) > maxIDs {
		return banksia.Invalid("body", "updates", "must hold 1 to %d updates", maxIDs)
	}
	updates := make([]catalog.AssetUpdate, len(body.Updates))
	for i, update := range body.Updates {
		where := fmt.Sprintf("updates.%d.", i)
		id, err := bodyID[banksia.AssetID](where+"id", update.ID)
		if err != nil {
			return err
		}
		if update.Change == nil {
			return banksia.Invalid("body", where+"change", "is required")
		}
		edit, err := update.Change.edit(where + "change.")
		if err != nil {
			return err
		}
		updates[i] = catalog.AssetUpdate{ID: id, Edit: edit}
	}
	if err := s.catalog.UpdateAssets(r.Context(), scope, updates); err != nil {
		return err
	}
	return acknowledge(w)
}
