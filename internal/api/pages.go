package api

import (
	"context"
	"net/http"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api/wire"
	"github.com/banksia-photos/banksia/internal/store"
)

// paging reads what every list but that of assets has in common.
func paging[T interface {
	~[16]byte
	Prefix() string
}](p *params) store.Paging[T] {
	return store.Paging[T]{IDs: ids[T](p, "ids"), StartingAfter: id[T](p, "starting_after_id"), Limit: p.limit()}
}

// writePage answers a page of a library: what list reads of it, each written by
// one. Without any library the page is empty.
func writePage[Row, Wire any](s *Server, w http.ResponseWriter, r *http.Request, scope banksia.Scope, p *params,
	list func(context.Context, banksia.LibraryID) ([]Row, bool, error), one func(*Row) Wire) error {
	library, ok, err := s.library(r.Context(), p, scope)
	if err != nil {
		return err
	}
	page := wire.Page[Wire]{Data: []Wire{}}
	if ok {
		rows, more, err := list(r.Context(), library)
		if err != nil {
			return err
		}
		page.HasMore = more
		for i := range rows {
			page.Data = append(page.Data, one(&rows[i]))
		}
	}
	return write(w, http.StatusOK, page)
}
