package wire

import (
	"encoding/json"
	"strconv"

	"github.com/banksia-photos/banksia"
)

// Event is one change of a library.
type Event struct {
	CreatedAt  Time               `json:"created_at"`
	Cursor     string             `json:"cursor"`
	EntityID   string             `json:"entity_id"`
	EntityType banksia.EntityType `json:"entity_type"`
	EventType  banksia.EventType  `json:"event_type"`
	Payload    json.RawMessage    `json:"payload"`
}

// NewEvent writes an event. Its cursor is its position, which clients take as
// opaque; it holds no separator of theirs (behaviour 16.1).
func NewEvent(e *banksia.Event) Event {
	return Event{Time(e.RecordedAt), strconv.FormatInt(e.Position, 10), e.EntityID, e.Type.Entity(), e.Type, json.RawMessage(e.Payload)}
}
