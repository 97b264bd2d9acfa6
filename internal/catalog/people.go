package catalog

import (
	"context"
	"slices"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/store"
)

// CreatePerson makes a person without faces; given is the library, nil for the
// only one. p says the rest. A thumbnail face may be anybody's of the library
// (behaviour 11.5, 11.8).
func (c *Catalog) CreatePerson(ctx context.Context, scope banksia.Scope, given *banksia.LibraryID, p banksia.Person) (person banksia.Person, err error) {
	err = c.store.Change(ctx, scope.UserID, func(tx *store.Tx) error {
		l, err := c.writeLibrary(tx, scope, given)
		if err != nil {
			return err
		}
		library := l.ID
		if p.ThumbnailFaceID != nil {
			if _, err := tx.Face(library, *p.ThumbnailFaceID); err != nil {
				return err
			}
		}
		now := tx.Now()
		p.ID, p.LibraryID, p.ByUser, p.CreatedAt, p.UpdatedAt = banksia.NewID[banksia.PersonID](now), library, true, now, now
		if err := tx.InsertPerson(&p); err != nil {
			return err
		}
		person, err = tx.Person(scope, p.ID)
		return err
	})
	return person, err
}

// UpdatePerson changes what change does to a person.
func (c *Catalog) UpdatePerson(ctx context.Context, scope banksia.Scope, id banksia.PersonID, change func(*banksia.Person)) (person banksia.Person, err error) {
	err = c.store.Change(ctx, scope.UserID, func(tx *store.Tx) error {
		p, err := tx.Person(scope, id)
		if err != nil {
			return err
		}
		if err := tx.LockPerson(p.LibraryID, id); err != nil {
			return err
		}
		change(&p)
		if p.ThumbnailFaceID != nil {
			if _, err := tx.Face(p.LibraryID, *p.ThumbnailFaceID); err != nil {
				return err
			}
		}
		if err := tx.UpdatePerson(&p); err != nil {
			return err
		}
		person, err = tx.Person(scope, id)
		return err
	})
	return person, err
}

// DeletePerson deletes a person; the faces become nobody's (behaviour 11.5).
func (c *Catalog) DeletePerson(ctx context.Context, scope banksia.Scope, id banksia.PersonID) error {
	return c.store.Change(ctx, scope.UserID, func(tx *store.Tx) error {
		p, err := tx.Person(scope, id)
		if err != nil {
			return err
		}
		if err := tx.LockPerson(p.LibraryID, id); err != nil {
			return err
		}
		return tx.DeletePerson(p.LibraryID, id)
	})
}

// MergePeople moves the faces of the sources to a person and deletes the sources.
// Where nobody of them had a name or a face the person goes, too: gone (behaviour
// 11.6).
func (c *Catalog) MergePeople(ctx context.Context, scope banksia.Scope, id banksia.PersonID, sources []banksia.PersonID) (person banksia.Person, gone bool, err error) {
	if slices.Contains(sources, id) {
		return person, false, banksia.Invalid("body", "source_person_ids", "cannot hold the person that the others are merged into")
	}
	err = c.store.Change(ctx, scope.UserID, func(tx *store.Tx) error {
		target, err := tx.Person(scope, id)
		if err != nil {
			return err
		}
		all := append([]banksia.PersonID{id}, sources...)
		// In one order, so that two merges cannot wait for each other.
		slices.SortFunc(all, func(a, b banksia.PersonID) int { return slices.Compare(a[:], b[:]) })
		for _, one := range all {
			if err := tx.LockPerson(target.LibraryID, one); err != nil {
				return err
			}
		}
		anything := false
		for _, one := range all {
			p, err := tx.Person(scope, one)
			if err != nil {
				return err
			}
			faces, err := tx.HasFaces(one)
			if err != nil {
				return err
			}
			anything = anything || p.Name != nil || faces
		}
		for _, source := range sources {
			if err := tx.MergePerson(target.LibraryID, source, id); err != nil {
				return err
			}
		}
		if !anything {
			gone = true
			return tx.DeletePerson(target.LibraryID, id)
		}
		person, err = tx.Person(scope, id)
		return err
	})
	return person, gone, err
}
