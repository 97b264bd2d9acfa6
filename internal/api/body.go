package api

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/banksia-photos/banksia"
)

// optional is a field of a PATCH body: absent, null, or a value (behaviour 2.11).
type optional[T any] struct {
	Set   bool // the field is there
	Value *T   // nil: null
}

// UnmarshalJSON is called only for a field that is there, null included.
func (o *optional[T]) UnmarshalJSON(text []byte) error {
	o.Set, o.Value = true, nil
	if string(text) == "null" {
		return nil
	}
	o.Value = new(T)
	return json.Unmarshal(text, o.Value)
}

// required is the value of a field that may be left out but not null.
func (o *optional[T]) required(name string) error {
	if o.Set && o.Value == nil {
		return banksia.Invalid("body", name, "cannot be null")
	}
	return nil
}

// Longest texts that people write, in characters: the contract names none.
const (
	maxName        = 1000
	maxDescription = 100_000
)

// checkText refuses what no database keeps as it is, and what no person wrote.
func checkText(name string, text *string, longest int) error {
	switch {
	case text == nil:
		return nil
	case !validText(*text):
		return banksia.Invalid("body", name, "holds characters that are not text")
	case utf8.RuneCountInString(*text) > longest:
		return banksia.Invalid("body", name, "has more than %d characters", longest)
	}
	return nil
}

// bodyIDs reads 1 to 200 identifiers of a body (behaviour 3.5). Repeated ones
// count once.
func bodyIDs[T interface {
	~[16]byte
	Prefix() string
}](name string, texts []string) ([]T, error) {
	if len(texts) == 0 || len(texts) > maxIDs {
		return nil, banksia.Invalid("body", name, "must hold 1 to %d identifiers", maxIDs)
	}
	seen := map[T]bool{}
	values := make([]T, 0, len(texts))
	for i, text := range texts {
		value, err := banksia.ParseID[T](text)
		if err != nil {
			return nil, banksia.Invalid("body", name, "number %s: %s", strconv.Itoa(i), err)
		}
		if !seen[value] {
			seen[value] = true
			values = append(values, value)
		}
	}
	return values, nil
}

// bodyID reads one identifier of a body; "" and a malformed one are invalid.
func bodyID[T interface {
	~[16]byte
	Prefix() string
}](name, text string) (T, error) {
	value, err := banksia.ParseID[T](text)
	if err != nil {
		return value, banksia.Invalid("body", name, "%s", err)
	}
	return value, nil
}

// bodyLibrary reads the library that a body names; nil: the only one.
func bodyLibrary(text *string) (*banksia.LibraryID, error) {
	if text == nil {
		return nil, nil
	}
	library, err := bodyID[banksia.LibraryID]("library_id", *text)
	return &library, err
}

// oldForms are operations from before anything was invalid: there, what is not an
// identifier is unknown, as their documentation has it.
var oldForms = map[string]bool{"GET /api/assets/{asset_id}/download": true, "GET /api/assets/{asset_id}/thumbnail": true, "GET /api/faces/{face_id}/thumbnail": true,
	"GET /api/albums/{album_id}/assets": true, "PATCH /api-keys/{key_id}": true, "DELETE /api-keys/{key_id}": true}

// pathID reads the identifier in the path; one of another form is invalid.
func pathID[T interface {
	~[16]byte
	Prefix() string
}](r *http.Request, name, entity string) (T, error) {
	value, err := banksia.ParseID[T](r.PathValue(name))
	if err != nil && oldForms[strings.TrimSuffix(r.Pattern, "/{$}")] {
		return value, banksia.NotFound(entity)
	}
	if err != nil {
		return value, banksia.Invalid("path", name, "%s", err)
	}
	return value, nil
}

// acknowledge answers what was done and has nothing to say (behaviour 2.5).
func acknowledge(w http.ResponseWriter) error { return write(w, http.StatusOK, struct{}{}) }
