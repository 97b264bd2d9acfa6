package api

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api/wire"
	"github.com/banksia-photos/banksia/internal/store"
)

// listEvents is GET /api/events, and GET /api/v2/events of older clients.
func (s *Server) listEvents(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	p := newParams(r.URL.RawQuery)
	filter := store.EventFilter{
		EntityTypes: p.entityTypes(),
		After:       p.cursor("after_cursor"),
		From:        p.instant("created_at_gte"),
		Before:      p.instant("created_at_lt"),
		Limit:       p.limit(),
	}
	library, ok, err := s.library(r.Context(), p, scope)
	if err != nil {
		return err
	}
	page := wire.Page[wire.Event]{Data: []wire.Event{}}
	if ok {
		filter.LibraryID = library
		events, more, err := s.store.ListEvents(r.Context(), scope, filter)
		if err != nil {
			return err
		}
		for i := range events {
			page.Data = append(page.Data, wire.NewEvent(&events[i]))
		}
		page.HasMore = more
	}
	return write(w, http.StatusOK, page)
}

// entityTypes reads entity_types; exif is what metadata was called (history.md).
func (p *params) entityTypes() []banksia.EntityType {
	var types []banksia.EntityType
	texts, _ := p.list("entity_types")
	for _, text := range texts {
		entity := banksia.EntityType(text)
		if entity == "exif" {
			entity = banksia.EntityMetadata
		}
		if !slices.Contains(banksia.EntityTypes, entity) {
			p.bad("entity_types", "unknown value; known are asset, album, person, face, album_asset, metadata, stack")
			return nil
		}
		if !slices.Contains(types, entity) {
			types = append(types, entity)
		}
	}
	return types
}

// cursor reads the position of an event; 0 when there is none.
func (p *params) cursor(name string) int64 {
	text := p.text(name)
	if text == "" {
		return 0
	}
	position, err := strconv.ParseInt(text, 10, 64)
	if err != nil || position < 1 {
		p.bad(name, "is not the cursor of an event")
		return 0
	}
	return position
}

// instant reads a moment; one without an offset is in UTC, as row times are
// (behaviour 2.8).
func (p *params) instant(name string) *time.Time {
	local := p.time(name)
	if local == nil {
		return nil
	}
	at := time.UnixMicro(local.Instant())
	return &at
}
