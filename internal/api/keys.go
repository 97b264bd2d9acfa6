package api

import (
	"net/http"
	"slices"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api/wire"
	"github.com/banksia-photos/banksia/internal/auth"
	"github.com/banksia-photos/banksia/internal/store"
)

// maxKeyName bounds the name of a key, in characters.
const maxKeyName = 255

// inPerson refuses programs that were given a key or a token: they may not make
// more of them (behaviour 4.5).
func inPerson(scope banksia.Scope) error {
	if !scope.FirstParty {
		return banksia.Errorf(banksia.CodeForbidden, "Keys are managed only by a user who has signed in, or with the command banksia keys.")
	}
	return nil
}

// listAPIKeys is GET /api/api-keys/: a bare array, revoked keys included.
func (s *Server) listAPIKeys(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	if err := inPerson(scope); err != nil {
		return err
	}
	s.auth.Flush(r.Context()) // last_used_at up to now
	keys, err := s.store.ListAPIKeys(r.Context(), scope.UserID)
	if err != nil {
		return err
	}
	bodies := make([]wire.APIKey, len(keys))
	for i := range keys {
		bodies[i] = wire.NewAPIKey(&keys[i], "")
	}
	return write(w, http.StatusOK, bodies)
}

// keyBody is what a client says of a new key. Older ones say only a name, and get
// everything (history.md).
type keyBody struct {
	Name       *string   `json:"name"`
	Actions    *[]string `json:"actions"`
	Mode       *string   `json:"library_scope_mode"`
	LibraryIDs *[]string `json:"library_ids"`
}

// createAPIKey is POST /api/api-keys/.
func (s *Server) createAPIKey(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	return s.makeAPIKey(w, r, scope, http.StatusCreated)
}

// legacyCreateAPIKey is POST /api-keys/ of older clients, which expect a 200.
func (s *Server) legacyCreateAPIKey(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	return s.makeAPIKey(w, r, scope, http.StatusOK)
}

func (s *Server) makeAPIKey(w http.ResponseWriter, r *http.Request, scope banksia.Scope, status int) error {
	if err := inPerson(scope); err != nil {
		return err
	}
	var body keyBody
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	if err := checkKeyName(body.Name); err != nil {
		return err
	}
	actions := banksia.Actions
	if body.Actions != nil {
		actions = nil
		for _, text := range *body.Actions {
			action := banksia.Action(text)
			if !slices.Contains(banksia.Actions, action) {
				return banksia.Invalid("body", "actions", "must be of read, write, delete, delete_permanently")
			}
			if !slices.Contains(actions, action) {
				actions = append(actions, action)
			}
		}
		if !slices.Contains(actions, banksia.Read) {
			return banksia.Invalid("body", "actions", "must hold read")
		}
	}
	selected := false
	if body.Mode != nil {
		switch *body.Mode {
		case "all_libraries":
		case "selected_libraries":
			selected = true
		default:
			return banksia.Invalid("body", "library_scope_mode", "must be all_libraries or selected_libraries")
		}
	}
	if (body.LibraryIDs != nil) != selected {
		return banksia.Invalid("body", "library_ids", "are given exactly with selected_libraries")
	}
	var libraries []banksia.LibraryID
	if selected {
		var err error
		if libraries, err = bodyIDs[banksia.LibraryID]("library_ids", *body.LibraryIDs); err != nil {
			return err
		}
		for _, library := range libraries {
			if _, err := s.store.GetLibrary(r.Context(), scope, library); err != nil {
				return err
			}
		}
	}
	key, secret, err := auth.NewAPIKey(r.Context(), s.store, scope.UserID, *body.Name, actions, libraries)
	if err != nil {
		return err
	}
	return write(w, status, wire.NewAPIKey(&key, secret))
}

func checkKeyName(name *string) error {
	if name == nil || *name == "" {
		return banksia.Invalid("body", "name", "is required")
	}
	return checkText("name", name, maxKeyName)
}

// updateAPIKey is PATCH /api/api-keys/{key_id}: another name.
func (s *Server) updateAPIKey(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	if err := inPerson(scope); err != nil {
		return err
	}
	id, err := pathID[banksia.APIKeyID](r, "key_id", "API key")
	if err != nil {
		return err
	}
	var body keyBody
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	if err := checkKeyName(body.Name); err != nil {
		return err
	}
	var key banksia.APIKey
	err = s.store.Write(r.Context(), func(tx *store.Tx) error {
		key, err = tx.RenameAPIKey(scope.UserID, id, *body.Name)
		return err
	})
	if err != nil {
		return err
	}
	return write(w, http.StatusOK, wire.NewAPIKey(&key, ""))
}

// deleteAPIKey is DELETE /api/api-keys/{key_id}: it fails from now on, and stays
// listed (behaviour 4.4).
func (s *Server) deleteAPIKey(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	if err := inPerson(scope); err != nil {
		return err
	}
	id, err := pathID[banksia.APIKeyID](r, "key_id", "API key")
	if err == nil {
		err = s.store.Write(r.Context(), func(tx *store.Tx) error { return tx.RevokeAPIKey(scope.UserID, id) })
	}
	if err != nil {
		return err
	}
	return acknowledge(w)
}
