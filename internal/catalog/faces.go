package catalog

import (
	"context"
	"fmt"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/store"
)

// CreateFace draws a face on an asset of a library, in pixels of the original as it
// is shown; one that does not fit is a validation error (behaviour 12.1, 12.2).
func (c *Catalog) CreateFace(ctx context.Context, scope banksia.Scope, library banksia.LibraryID, asset banksia.AssetID, box banksia.BoundingBox, person *banksia.PersonID) (face banksia.Face, err error) {
	err = c.change(ctx, scope, library, func(tx *store.Tx) error {
		width, height, err := tx.OriginalSize(library, asset)
		if err != nil {
			return err
		}
		if width <= 0 || height <= 0 {
			return banksia.Invalid("body", "bounding_box", "the size of the asset is not known")
		}
		// Written so that no sum can overflow.
		if box.X < 0 || box.Y < 0 || box.W < 1 || box.H < 1 || box.W > width || box.H > height || box.X > width-box.W || box.Y > height-box.H {
			return banksia.Invalid("body", "bounding_box", "must lie within the %d by %d pixels of the asset", width, height)
		}
		if person != nil {
			if err := tx.LockPerson(library, *person); err != nil {
				return err
			}
		}
		now := tx.Now()
		f := banksia.Face{ID: banksia.NewID[banksia.FaceID](now), LibraryID: library, AssetID: asset, PersonID: person, BoundingBox: box, Source: banksia.FaceManual, CreatedAt: now, UpdatedAt: now}
		if err := tx.InsertFace(&f); err != nil {
			return err
		}
		face, err = tx.ReadFace(library, f.ID)
		return err
	})
	return face, err
}

// AssignFace makes a face one of a person, or of nobody.
func (c *Catalog) AssignFace(ctx context.Context, scope banksia.Scope, library banksia.LibraryID, id banksia.FaceID, person *banksia.PersonID) (face banksia.Face, err error) {
	err = c.change(ctx, scope, library, func(tx *store.Tx) error {
		f, err := tx.Face(library, id)
		if err != nil {
			return err
		}
		if person != nil {
			if err := tx.LockPerson(library, *person); err != nil {
				return err
			}
		}
		if err := tx.AssignFace(&f, person); err != nil {
			return err
		}
		face, err = tx.ReadFace(library, id)
		return err
	})
	return face, err
}

// DeleteFace deletes a face and its crop; the asset and the person stay. A crop
// that is left behind by a crash goes with the asset.
func (c *Catalog) DeleteFace(ctx context.Context, scope banksia.Scope, library banksia.LibraryID, id banksia.FaceID) error {
	thumbnail, err := c.store.FaceThumbnail(ctx, id)
	if err != nil {
		return err
	}
	err = c.change(ctx, scope, library, func(tx *store.Tx) error {
		f, err := tx.Face(library, id)
		if err != nil {
			return err
		}
		return tx.DeleteFace(&f)
	})
	if err != nil {
		return err
	}
	if err := c.blobs.Delete(context.WithoutCancel(ctx), blob.Derived(thumbnail.Version.ID, thumbnail.Variant())); err != nil {
		c.logger.WarnContext(ctx, "the crop of a deleted face stays until its asset goes", "face", id, "error", err)
	}
	return nil
}

// SetFaceEmbeddings stores where a model places faces of a user, all or none.
// People's centroids follow.
func (c *Catalog) SetFaceEmbeddings(ctx context.Context, owner banksia.UserID, embeddings []banksia.FaceEmbedding) error {
	return c.store.Change(ctx, owner, func(tx *store.Tx) error {
		for _, e := range embeddings {
			if err := tx.SetFaceEmbedding(e); err != nil {
				return fmt.Errorf("set embeddings: %w", err)
			}
		}
		return nil
	})
}

// removeCrops removes the crops of faces that were drawn from a version.
func (c *Catalog) removeCrops(ctx context.Context, version banksia.VersionID) error {
	var crops []blob.Key
	err := c.blobs.List(ctx, blob.Derived(version, banksia.VariantName(banksia.FaceID{}.Prefix())), func(info blob.Info) error {
		crops = append(crops, info.Key)
		return nil
	})
	for _, key := range crops {
		if err == nil {
			err = c.blobs.Delete(ctx, key)
		}
	}
	return err
}
