package catalog

import (
	"context"
	"fmt"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/store"
)

// AssetUpdate is what a user says of one asset.
type AssetUpdate struct {
	ID   banksia.AssetID
	Edit store.AssetEdit
}

// UpdateAssets layers what a user says over what the files say, in all assets or,
// when one of them is not within the scope, in none (behaviour 8.1 to 8.4). Trashed
// assets are edited like live ones. The names of new places are found afterwards.
func (c *Catalog) UpdateAssets(ctx context.Context, scope banksia.Scope, updates []AssetUpdate) error {
	return c.store.Change(ctx, scope.UserID, func(tx *store.Tx) error {
		libraries, err := tx.Libraries(scope, store.Live)
		if err != nil {
			return err
		}
		for i, update := range updates {
			library, err := libraryOf(tx, libraries, update.ID)
			if err != nil {
				return fmt.Errorf("updates.%d: %w", i, err)
			}
			moved, err := tx.EditAsset(library, update.ID, update.Edit)
			if err != nil {
				return err
			}
			if !moved {
				continue
			}
			err = c.runner.Enqueue(tx, &banksia.Task{UserID: scope.UserID, LibraryID: &library, AssetID: &update.ID, Type: banksia.TaskReverseGeocode})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// libraryOf finds which of some libraries an asset is in.
func libraryOf(tx *store.Tx, libraries []banksia.Library, asset banksia.AssetID) (banksia.LibraryID, error) {
	for i := range libraries {
		found, err := tx.HasAsset(libraries[i].ID, asset)
		if err != nil || found {
			return libraries[i].ID, err
		}
	}
	return banksia.LibraryID{}, banksia.NotFound("Asset " + asset.String())
}
