package api

import (
	"context"
	"net/http"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api/wire"
	"github.com/banksia-photos/banksia/internal/store"
)

// listFaces is GET /api/faces.
func (s *Server) listFaces(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	p := newParams(r.URL.RawQuery)
	filter := store.FacePage{Paging: paging[banksia.FaceID](p), AssetID: id[banksia.AssetID](p, "asset_id"), PersonID: id[banksia.PersonID](p, "person_id")}
	withAssignment, older := p.expansion("cluster_assignment")
	var assignments map[banksia.FaceID]banksia.ClusterAssignment
	urls := s.urls(r)
	list := func(ctx context.Context, library banksia.LibraryID) ([]banksia.Face, bool, error) {
		filter.LibraryID = library
		faces, more, err := s.store.ListFaces(ctx, scope, filter)
		if err == nil && withAssignment {
			assignments, err = s.store.ClusterAssignments(ctx, library, faces)
		}
		return faces, more, err
	}
	return writePage(s, w, r, scope, p, list, func(face *banksia.Face) wire.Face { return newFace(face, assignments, urls, older) })
}

func newFace(f *banksia.Face, assignments map[banksia.FaceID]banksia.ClusterAssignment, urls urls, older bool) wire.Face {
	body := wire.NewFace(f, urls, urls.facesURL(older))
	if a, ok := assignments[f.ID]; ok {
		body.ClusterAssignment = wire.NewClusterAssignment(a)
	}
	return body
}

// pathFace reads the face of the path and the library of the query, which is
// needed with several (behaviour 12.8).
func (s *Server) pathFace(r *http.Request, p *params, scope banksia.Scope) (library banksia.LibraryID, face banksia.FaceID, err error) {
	library, ok, err := s.library(r.Context(), p, scope)
	if err == nil && !ok {
		err = banksia.NotFound("Face")
	}
	if err == nil {
		face, err = pathID[banksia.FaceID](r, "face_id", "Face")
	}
	return library, face, err
}

// getFace is GET /api/faces/{face_id}.
func (s *Server) getFace(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	p := newParams(r.URL.RawQuery)
	withAssignment, older := p.expansion("cluster_assignment")
	library, id, err := s.pathFace(r, p, scope)
	if err != nil {
		return err
	}
	face, err := s.store.GetFace(r.Context(), scope, library, id)
	if err != nil {
		return err
	}
	var assignments map[banksia.FaceID]banksia.ClusterAssignment
	if withAssignment {
		if assignments, err = s.store.ClusterAssignments(r.Context(), library, []banksia.Face{face}); err != nil {
			return err
		}
	}
	return write(w, http.StatusOK, newFace(&face, assignments, s.urls(r), older))
}

// boxBody is a bounding box of a body, all of which is required.
type boxBody struct {
	X *int `json:"x"`
	Y *int `json:"y"`
	W *int `json:"w"`
	H *int `json:"h"`
}

// createFace is POST /api/faces.
func (s *Server) createFace(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	var body struct {
		AssetID     *string  `json:"asset_id"`
		BoundingBox *boxBody `json:"bounding_box"`
		LibraryID   *string  `json:"library_id"`
		PersonID    *string  `json:"person_id"`
	}
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	if body.AssetID == nil {
		return banksia.Invalid("body", "asset_id", "is required")
	}
	asset, err := bodyID[banksia.AssetID]("asset_id", *body.AssetID)
	if err != nil {
		return err
	}
	b := body.BoundingBox
	if b == nil || b.X == nil || b.Y == nil || b.W == nil || b.H == nil {
		return banksia.Invalid("body", "bounding_box", "is required, with x, y, w and h")
	}
	person, err := bodyPerson(body.PersonID)
	if err != nil {
		return err
	}
	given, err := bodyLibrary(body.LibraryID)
	if err != nil {
		return err
	}
	p := newParams(r.URL.RawQuery) // other face calls name the library there
	if given == nil {
		given = id[banksia.LibraryID](p, "library_id")
	}
	if err := p.err(); err != nil {
		return err
	}
	library, err := s.store.ResolveLibrary(r.Context(), scope, given)
	if err == nil && library == nil {
		err = banksia.NotFound("Asset")
	}
	if err != nil {
		return err
	}
	face, err := s.catalog.CreateFace(r.Context(), scope, library.ID, asset, banksia.BoundingBox{X: *b.X, Y: *b.Y, W: *b.W, H: *b.H}, person)
	if err != nil {
		return err
	}
	return write(w, http.StatusCreated, newFace(&face, nil, s.urls(r), true))
}

func bodyPerson(text *string) (*banksia.PersonID, error) {
	if text == nil {
		return nil, nil
	}
	id, err := bodyID[banksia.PersonID]("person_id", *text)
	return &id, err
}

// updateFace is PATCH /api/faces/{face_id}: only the person can change (behaviour
// 12.3).
func (s *Server) updateFace(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	library, id, err := s.pathFace(r, newParams(r.URL.RawQuery), scope)
	if err != nil {
		return err
	}
	var body struct {
		PersonID optional[string] `json:"person_id"`
	}
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	var face banksia.Face
	if body.PersonID.Set {
		person, err := bodyPerson(body.PersonID.Value)
		if err != nil {
			return err
		}
		face, err = s.catalog.AssignFace(r.Context(), scope, library, id, person)
		if err != nil {
			return err
		}
	} else if face, err = s.store.GetFace(r.Context(), scope, library, id); err != nil {
		return err
	}
	return write(w, http.StatusOK, newFace(&face, nil, s.urls(r), true))
}

// deleteFace is DELETE /api/faces/{face_id}.
func (s *Server) deleteFace(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	library, id, err := s.pathFace(r, newParams(r.URL.RawQuery), scope)
	if err != nil {
		return err
	}
	if err := s.catalog.DeleteFace(r.Context(), scope, library, id); err != nil {
		return err
	}
	return acknowledge(w)
}
