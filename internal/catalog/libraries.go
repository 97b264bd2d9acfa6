package catalog

import (
	"context"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/store"
)

// CreateLibrary makes a library. A credential for selected libraries would not see
// it, and may not.
func (c *Catalog) CreateLibrary(ctx context.Context, scope banksia.Scope, name string, description *string) (library banksia.Library, err error) {
	if scope.LibraryIDs != nil {
		return library, banksia.Errorf(banksia.CodeForbidden, "A key for selected libraries cannot make one.")
	}
	err = c.store.Change(ctx, scope.UserID, func(tx *store.Tx) error {
		now := tx.Now()
		library = banksia.Library{ID: banksia.NewID[banksia.LibraryID](now), UserID: scope.UserID, Name: name, Description: description, CreatedAt: now, UpdatedAt: now}
		return tx.InsertLibrary(&library)
	})
	return library, err
}

// writeLibrary is the library that something new goes to; a user who has none gets
// one (behaviour 6.7, 21.14), unless the credential is for selected libraries.
func (c *Catalog) writeLibrary(tx *store.Tx, scope banksia.Scope, given *banksia.LibraryID) (*banksia.Library, error) {
	library, err := tx.ResolveLibrary(scope, given)
	if err != nil || library != nil {
		return library, err
	}
	if scope.LibraryIDs != nil {
		return nil, banksia.Errorf(banksia.CodeInvalidRequest, "None of the libraries of this key is live.")
	}
	return c.addLibrary(tx, scope.UserID)
}

// LibraryChange says what of a library becomes otherwise.
type LibraryChange struct {
	Name           *string // nil: unchanged
	SetDescription bool
	Description    *string
}

// UpdateLibrary changes a library, in the trash or not.
func (c *Catalog) UpdateLibrary(ctx context.Context, scope banksia.Scope, id banksia.LibraryID, change LibraryChange) (library banksia.Library, err error) {
	err = c.store.Change(ctx, scope.UserID, func(tx *store.Tx) error {
		if library, err = tx.LibraryIn(scope, id); err != nil {
			return err
		}
		if change.Name != nil {
			library.Name = *change.Name
		}
		if change.SetDescription {
			library.Description = change.Description
		}
		return tx.UpdateLibrary(&library)
	})
	return library, err
}

// TrashLibrary hides a library with everything in it (behaviour 10.3).
func (c *Catalog) TrashLibrary(ctx context.Context, scope banksia.Scope, id banksia.LibraryID) error {
	return c.changeLibrary(ctx, scope, id, func(tx *store.Tx) error { return tx.TrashLibrary(id) })
}

// RestoreLibrary shows a library again; one whose purge has begun comes back with
// what is left of it.
func (c *Catalog) RestoreLibrary(ctx context.Context, scope banksia.Scope, id banksia.LibraryID) error {
	return c.changeLibrary(ctx, scope, id, func(tx *store.Tx) error { return tx.RestoreLibrary(id) })
}

// DeleteLibrary purges a trashed library, in the background (behaviour 10.3).
func (c *Catalog) DeleteLibrary(ctx context.Context, scope banksia.Scope, id banksia.LibraryID) error {
	return c.changeLibrary(ctx, scope, id, func(tx *store.Tx) error {
		trashed, err := tx.RequestPurge(id)
		if err == nil && !trashed {
			return &banksia.Error{Code: banksia.CodeConflict, Message: "Only a library in the trash can be deleted.", Final: true}
		}
		tx.AfterCommit(c.wakeMaintenance)
		return err
	})
}

func (c *Catalog) changeLibrary(ctx context.Context, scope banksia.Scope, id banksia.LibraryID, f func(*store.Tx) error) error {
	return c.store.Change(ctx, scope.UserID, func(tx *store.Tx) error {
		if _, err := tx.LibraryIn(scope, id); err != nil {
			return err
		}
		return f(tx)
	})
}
