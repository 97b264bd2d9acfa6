package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api/wire"
	"github.com/banksia-photos/banksia/internal/catalog"
)

// listLibraries is GET /api/libraries: a bare array (behaviour 10.2).
func (s *Server) listLibraries(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	p := newParams(r.URL.RawQuery)
	state := p.state()
	if err := p.err(); err != nil {
		return err
	}
	libraries, err := s.store.ListLibraries(r.Context(), scope, state)
	if err != nil {
		return err
	}
	bodies := make([]wire.Library, len(libraries))
	for i := range libraries {
		bodies[i] = wire.NewLibrary(&libraries[i])
	}
	return write(w, http.StatusOK, bodies)
}

// libraryBody is what a client may say of a library.
type libraryBody struct {
	Name        optional[string] `json:"name"`
	Description optional[string] `json:"description"`
}

func (b *libraryBody) check() error {
	if err := b.Name.required("name"); err != nil {
		return err
	}
	if b.Name.Value != nil && strings.TrimSpace(*b.Name.Value) == "" {
		return banksia.Invalid("body", "name", "cannot be empty")
	}
	if err := checkText("name", b.Name.Value, maxName); err != nil {
		return err
	}
	return checkText("description", b.Description.Value, maxDescription)
}

// createLibrary is POST /api/libraries.
func (s *Server) createLibrary(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	var body libraryBody
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	if !body.Name.Set {
		return banksia.Invalid("body", "name", "is required")
	}
	if err := body.check(); err != nil {
		return err
	}
	library, err := s.catalog.CreateLibrary(r.Context(), scope, *body.Name.Value, body.Description.Value)
	if err != nil {
		return err
	}
	return write(w, http.StatusCreated, wire.NewLibrary(&library))
}

// getLibrary is GET /api/libraries/{library_id}, in the trash or not (behaviour 10.3).
func (s *Server) getLibrary(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	id, err := pathID[banksia.LibraryID](r, "library_id", "Library")
	if err != nil {
		return err
	}
	library, err := s.store.GetLibrary(r.Context(), scope, id)
	if err != nil {
		return err
	}
	return write(w, http.StatusOK, wire.NewLibrary(&library))
}

// updateLibrary is PATCH /api/libraries/{library_id}.
func (s *Server) updateLibrary(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	id, err := pathID[banksia.LibraryID](r, "library_id", "Library")
	if err != nil {
		return err
	}
	var body libraryBody
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	if err := body.check(); err != nil {
		return err
	}
	library, err := s.catalog.UpdateLibrary(r.Context(), scope, id, catalog.LibraryChange{
		Name: body.Name.Value, SetDescription: body.Description.Set, Description: body.Description.Value})
	if err != nil {
		return err
	}
	return write(w, http.StatusOK, wire.NewLibrary(&library))
}

// trashLibrary is POST /api/libraries/{library_id}/trash.
func (s *Server) trashLibrary(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	return s.changeLibrary(w, r, scope, s.catalog.TrashLibrary)
}

// restoreLibrary is POST /api/libraries/{library_id}/restore; it answers the
// library.
func (s *Server) restoreLibrary(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	id, err := pathID[banksia.LibraryID](r, "library_id", "Library")
	if err != nil {
		return err
	}
	if err := s.catalog.RestoreLibrary(r.Context(), scope, id); err != nil {
		return err
	}
	return s.getLibrary(w, r, scope)
}

// deleteLibrary is DELETE /api/libraries/{library_id}: of a trashed one, whose
// purge then begins (behaviour 10.3).
func (s *Server) deleteLibrary(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	return s.changeLibrary(w, r, scope, s.catalog.DeleteLibrary)
}

func (s *Server) changeLibrary(w http.ResponseWriter, r *http.Request, scope banksia.Scope, change func(context.Context, banksia.Scope, banksia.LibraryID) error) error {
	id, err := pathID[banksia.LibraryID](r, "library_id", "Library")
	if err != nil {
		return err
	}
	if err := change(r.Context(), scope, id); err != nil {
		return err
	}
	return acknowledge(w)
}
