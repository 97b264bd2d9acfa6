package api

import (
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api/wire"
)

// validText tells whether every database keeps a text as it is.
func validText(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsRune(text, 0)
}

// getMe is GET /api/users/me: always the caller (behaviour 4.9).
func (s *Server) getMe(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	user, err := s.store.GetUser(r.Context(), scope.UserID)
	if err != nil {
		return err
	}
	return write(w, http.StatusOK, wire.NewUser(&user))
}
