package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api/wire"
	"github.com/banksia-photos/banksia/internal/store"
)

// expansion reads the include parameter of people and faces, which knows one word.
// Without the parameter the fields of older clients are there as well: older.
func (p *params) expansion(word string) (wanted, older bool) {
	_, plain := p.values["include"]
	_, bracketed := p.values["include[]"]
	values, _ := p.list("include")
	for _, value := range values {
		if value != word {
			p.bad("include", "unknown value; known is "+word)
		}
		wanted = true
	}
	return wanted, !plain && !bracketed
}

// facesURL is where the byte route of older clients begins.
func (u urls) facesURL(older bool) string {
	if !older {
		return ""
	}
	return u.origin + "/api/faces/"
}

// personFilter reads the parameters of GET /api/people but the library.
func (p *params) personFilter() store.PersonPage {
	f := store.PersonPage{
		Paging:  paging[banksia.PersonID](p),
		AlbumID: id[banksia.AlbumID](p, "album_id"), AssetID: id[banksia.AssetID](p, "asset_id"), Name: p.text("name"),
		Order: choice(p, "sort", store.PeopleByTimeDesc, store.PeopleByTimeDesc, store.PeopleByTimeAsc,
			store.PeopleByNameAsc, store.PeopleByNameDesc, store.PeopleByCountDesc, store.PeopleByCountAsc),
	}
	if !validText(f.Name) || len(f.Name) > 4*maxName {
		p.bad("name", "is no text, or too long")
	}
	byDefault := store.Named
	if f.IDs != nil { // behaviour 11.1
		byDefault = store.AnyNamed
	}
	switch older := choice(p, "has_name", "", "true", "false"); older {
	case "true":
		byDefault = store.Named
	case "false":
		byDefault = store.Unnamed
	}
	f.NameFilter = choice(p, "name_filter", byDefault, store.Named, store.Unnamed, store.AnyNamed)
	if strings.HasPrefix(string(f.Order), "name_") && f.NameFilter == store.Unnamed {
		p.bad("sort", "people without a name cannot be sorted by it")
	}
	return f
}

// listPeople is GET /api/people.
func (s *Server) listPeople(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	p := newParams(r.URL.RawQuery)
	filter := p.personFilter()
	withMetrics, older := p.expansion("cluster_metrics")
	var metrics map[banksia.PersonID]banksia.ClusterMetrics
	urls := s.urls(r)
	list := func(ctx context.Context, library banksia.LibraryID) ([]banksia.Person, bool, error) {
		filter.LibraryID = library
		people, more, err := s.store.ListPeople(ctx, scope, filter)
		if err == nil && withMetrics {
			metrics, err = s.clusterMetrics(ctx, people)
		}
		return people, more, err
	}
	return writePage(s, w, r, scope, p, list, func(person *banksia.Person) wire.Person {
		return newPerson(person, metrics, urls, older)
	})
}

func (s *Server) clusterMetrics(ctx context.Context, people []banksia.Person) (map[banksia.PersonID]banksia.ClusterMetrics, error) {
	ids := make([]banksia.PersonID, len(people))
	for i := range people {
		ids[i] = people[i].ID
	}
	return s.store.ClusterMetrics(ctx, ids)
}

func newPerson(p *banksia.Person, metrics map[banksia.PersonID]banksia.ClusterMetrics, urls urls, older bool) wire.Person {
	body := wire.NewPerson(p, urls, urls.facesURL(older))
	if m, ok := metrics[p.ID]; ok {
		measured := wire.ClusterMetrics(m)
		body.ClusterMetrics = &measured
	}
	return body
}

// getPerson is GET /api/people/{person_id}.
func (s *Server) getPerson(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	p := newParams(r.URL.RawQuery)
	withMetrics, older := p.expansion("cluster_metrics")
	if err := p.err(); err != nil {
		return err
	}
	id, err := pathID[banksia.PersonID](r, "person_id", "Person")
	if err != nil {
		return err
	}
	person, err := s.store.GetPerson(r.Context(), scope, id)
	if err != nil {
		return err
	}
	var metrics map[banksia.PersonID]banksia.ClusterMetrics
	if withMetrics {
		if metrics, err = s.clusterMetrics(r.Context(), []banksia.Person{person}); err != nil {
			return err
		}
	}
	return write(w, http.StatusOK, newPerson(&person, metrics, s.urls(r), older))
}

// personBody is what a client may say of a person. A flag that is null is left as
// it is.
type personBody struct {
	BirthDate       optional[string] `json:"birth_date"`
	IsFavorite      *bool            `json:"is_favorite"`
	IsHidden        *bool            `json:"is_hidden"`
	Name            optional[string] `json:"name"`
	ThumbnailFaceID optional[string] `json:"thumbnail_face_id"`
}

// change checks the body and returns what it does to a person.
func (b *personBody) change() (func(*banksia.Person), error) {
	if err := checkText("name", b.Name.Value, maxName); err != nil {
		return nil, err
	}
	if b.Name.Value != nil && strings.TrimSpace(*b.Name.Value) == "" {
		b.Name.Value = nil // a blank name is none
	}
	if date := b.BirthDate.Value; date != nil {
		if _, err := time.Parse(time.DateOnly, *date); err != nil {
			return nil, banksia.Invalid("body", "birth_date", "must be a date like 1815-12-10")
		}
	}
	var face *banksia.FaceID
	if b.ThumbnailFaceID.Value != nil {
		id, err := bodyID[banksia.FaceID]("thumbnail_face_id", *b.ThumbnailFaceID.Value)
		if err != nil {
			return nil, err
		}
		face = &id
	}
	return func(p *banksia.Person) {
		if b.Name.Set {
			p.Name = b.Name.Value
		}
		if b.BirthDate.Set {
			p.BirthDate = b.BirthDate.Value
		}
		if b.ThumbnailFaceID.Set {
			p.ThumbnailFaceID = face
		}
		if b.IsFavorite != nil {
			p.IsFavorite = *b.IsFavorite
		}
		if b.IsHidden != nil {
			p.IsHidden = *b.IsHidden
		}
	}, nil
}

// createPerson is POST /api/people.
func (s *Server) createPerson(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	var body struct {
		personBody
		LibraryID *string `json:"library_id"`
	}
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	library, err := bodyLibrary(body.LibraryID)
	if err != nil {
		return err
	}
	change, err := body.change()
	if err != nil {
		return err
	}
	var p banksia.Person
	change(&p)
	person, err := s.catalog.CreatePerson(r.Context(), scope, library, p)
	if err != nil {
		return err
	}
	return write(w, http.StatusCreated, newPerson(&person, nil, s.urls(r), true))
}

// updatePerson is PATCH /api/people/{person_id}.
func (s *Server) updatePerson(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	id, err := pathID[banksia.PersonID](r, "person_id", "Person")
	if err != nil {
		return err
	}
	var body personBody
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	change, err := body.change()
	if err != nil {
		return err
	}
	person, err := s.catalog.UpdatePerson(r.Context(), scope, id, change)
	if err != nil {
		return err
	}
	return write(w, http.StatusOK, newPerson(&person, nil, s.urls(r), true))
}

// deletePerson is DELETE /api/people/{person_id}.
func (s *Server) deletePerson(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	id, err := pathID[banksia.PersonID](r, "person_id", "Person")
	if err != nil {
		return err
	}
	if err := s.catalog.DeletePerson(r.Context(), scope, id); err != nil {
		return err
	}
	return acknowledge(w)
}

// mergePeople is POST /api/people/{person_id}/merge: 204 when nobody is left
// (behaviour 2.6).
func (s *Server) mergePeople(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	id, err := pathID[banksia.PersonID](r, "person_id", "Person")
	if err != nil {
		return err
	}
	var body struct {
		SourcePersonIDs []string `json:"source_person_ids"`
	}
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	sources, err := bodyIDs[banksia.PersonID]("source_person_ids", body.SourcePersonIDs)
	if err != nil {
		return err
	}
	person, gone, err := s.catalog.MergePeople(r.Context(), scope, id, sources)
	if err != nil {
		return err
	}
	if gone {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return write(w, http.StatusOK, newPerson(&person, nil, s.urls(r), true))
}
