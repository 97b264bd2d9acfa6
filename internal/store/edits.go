package store

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/banksia-photos/banksia"
)

// AssetEdit says what of an asset becomes otherwise. A set field without a value
// takes the user's word back, and that of the file shows again (behaviour 8.1).
type AssetEdit struct {
	SetDescription   bool
	Description      *string
	SetLocation      bool
	Latitude         *float64 // degrees; nil exactly if Longitude is
	Longitude        *float64
	SetDateTime      bool
	OriginalDateTime *banksia.LocalTime
}

// edits is what users said of an asset, and the facts of the file that it hides.
type edits struct {
	description         *string
	latitude, longitude *float64
	originalDateTime    *banksia.LocalTime
	file                fileFacts
}

// fileFacts are the fields of the file that edits may hide. The names of the place
// go with the coordinates.
type fileFacts struct {
	Description      *string            `json:"description,omitempty"`
	Latitude         *float64           `json:"latitude,omitempty"`
	Longitude        *float64           `json:"longitude,omitempty"`
	City             *string            `json:"city,omitempty"`
	State            *string            `json:"state,omitempty"`
	Country          *string            `json:"country,omitempty"`
	CountryCode      *string            `json:"country_code,omitempty"`
	Sublocation      *string            `json:"sublocation,omitempty"`
	PlaceName        *string            `json:"place_name,omitempty"`
	Timezone         *string            `json:"timezone,omitempty"`
	OriginalDateTime *banksia.LocalTime `json:"original_datetime,omitempty"`
}

func (e *edits) located() bool { return e.latitude != nil }

func (e *edits) empty() bool {
	return e.description == nil && !e.located() && e.originalDateTime == nil
}

// lift shows the file's facts in metadata instead of the edits.
func (e *edits) lift(m *banksia.Metadata) {
	f := &e.file
	if e.description != nil {
		m.Description = f.Description
	}
	if e.located() {
		m.Latitude, m.Longitude = f.Latitude, f.Longitude
		m.City, m.State, m.Country, m.CountryCode, m.Sublocation, m.PlaceName, m.Timezone = f.City, f.State, f.Country, f.CountryCode, f.Sublocation, f.PlaceName, f.Timezone
	}
	if e.originalDateTime != nil {
		m.OriginalDateTime = f.OriginalDateTime
	}
}

// keep remembers the facts of the file that the edits will hide.
func (e *edits) keep(m *banksia.Metadata) {
	f := fileFacts{}
	if e.description != nil {
		f.Description = m.Description
	}
	if e.located() {
		f.Latitude, f.Longitude = m.Latitude, m.Longitude
		f.City, f.State, f.Country, f.CountryCode, f.Sublocation, f.PlaceName, f.Timezone = m.City, m.State, m.Country, m.CountryCode, m.Sublocation, m.PlaceName, m.Timezone
	}
	if e.originalDateTime != nil {
		f.OriginalDateTime = m.OriginalDateTime
	}
	e.file = f
}

// lay shows the edits in metadata. The names of the place are those that were found
// for the edited coordinates, if any.
func (e *edits) lay(m *banksia.Metadata, names *banksia.Metadata) {
	if e.description != nil {
		m.Description = e.description
	}
	if e.located() {
		m.Latitude, m.Longitude = e.latitude, e.longitude
		m.City, m.State, m.Country, m.CountryCode, m.Sublocation, m.PlaceName, m.Timezone = names.City, names.State, names.Country, names.CountryCode, names.Sublocation, names.PlaceName, names.Timezone
	}
	if e.originalDateTime != nil {
		at := *e.originalDateTime
		m.OriginalDateTime = &at
	}
}

// edits reads the edits of an asset; edited is false when there are none.
func (tx *Tx) edits(id banksia.AssetID) (e edits, edited bool, err error) {
	var original optionalLocalTime
	var facts string
	err = tx.QueryRow(`SELECT description, latitude, longitude, original_datetime, original_datetime_offset, file_facts FROM asset_edits WHERE asset_id = $1`, id).
		Scan(&e.description, &e.latitude, &e.longitude, &original.wall, &original.offset, &facts)
	if errors.Is(err, sql.ErrNoRows) {
		return e, false, nil
	}
	if err == nil {
		e.originalDateTime = original.join()
		err = json.Unmarshal([]byte(facts), &e.file)
	}
	if err != nil {
		return e, false, fmt.Errorf("edits of asset %s: %w", id, err)
	}
	return e, true, nil
}

func (tx *Tx) writeEdits(id banksia.AssetID, e *edits) error {
	if e.empty() {
		_, err := tx.Exec(`DELETE FROM asset_edits WHERE asset_id = $1`, id)
		if err != nil {
			return fmt.Errorf("delete edits of asset %s: %w", id, err)
		}
		return nil
	}
	facts, err := json.Marshal(e.file)
	if err != nil {
		return fmt.Errorf("edits of asset %s: %w", id, err)
	}
	original := splitLocalTime(e.originalDateTime)
	_, err = tx.Exec(`INSERT INTO asset_edits (asset_id, description, latitude, longitude, original_datetime, original_datetime_offset, file_facts) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (asset_id) DO UPDATE SET description = excluded.description, latitude = excluded.latitude, longitude = excluded.longitude,
			original_datetime = excluded.original_datetime, original_datetime_offset = excluded.original_datetime_offset, file_facts = excluded.file_facts`,
		id, e.description, e.latitude, e.longitude, original.wall, original.offset, string(facts))
	if err != nil {
		return fmt.Errorf("write edits of asset %s: %w", id, err)
	}
	return nil
}

// EditAsset layers what a user says over what the file says. It tells whether the
// place has to be looked up: its names, or the offset of a time. A missing asset is a
// banksia.Error with CodeNotFound.
func (tx *Tx) EditAsset(library banksia.LibraryID, id banksia.AssetID, edit AssetEdit) (moved bool, err error) {
	if found, err := tx.HasAsset(library, id); err != nil || !found {
		return false, errors.Join(err, banksia.NotFound("Asset"))
	}
	e, _, err := tx.edits(id)
	if err != nil {
		return false, err
	}
	err = tx.changeMetadata(id, func(m *banksia.Metadata) {
		before := *m
		e.lift(m)
		if edit.SetDescription {
			e.description = edit.Description
		}
		if edit.SetLocation {
			e.latitude, e.longitude = edit.Latitude, edit.Longitude
		}
		if edit.SetDateTime {
			e.originalDateTime = edit.OriginalDateTime
		}
		latitude, longitude := m.Latitude, m.Longitude
		if e.located() {
			latitude, longitude = e.latitude, e.longitude
		}
		names := before
		if !same(latitude, before.Latitude) || !same(longitude, before.Longitude) {
			names = banksia.Metadata{}
			moved = latitude != nil
			for bit, t := range m.Times() { // the offsets of another place
				if m.DerivedOffsets&bit != 0 && *t != nil {
					(*t).Offset = nil
				}
			}
			m.DerivedOffsets = 0
		}
		if uncovered := m.OriginalDateTime; edit.SetDateTime && e.originalDateTime == nil && uncovered != nil && uncovered.Offset == nil {
			moved = latitude != nil // its offset was not looked for while it was hidden
		}
		e.keep(m)
		e.lay(m, &names)
	})
	if err != nil {
		return false, err
	}
	return moved, tx.writeEdits(id, &e)
}

// same compares two optional values.
func same[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

// UpdateFileMetadata changes what the file says of itself, under what users say.
// A missing asset is a banksia.Error with CodeNotFound.
func (tx *Tx) UpdateFileMetadata(id banksia.AssetID, change func(*banksia.Metadata)) error {
	e, edited, err := tx.edits(id)
	if err != nil {
		return err
	}
	err = tx.changeMetadata(id, func(m *banksia.Metadata) {
		shown := *m
		e.lift(m)
		change(m)
		e.keep(m)
		e.lay(m, &shown)
	})
	if err == nil && edited {
		err = tx.writeEdits(id, &e)
	}
	return err
}

// UpdatePlace changes the metadata that follows from the shown coordinates: the
// names of the place and the offsets of its times. A time that a user gave is left
// (behaviour 8.3). A missing asset is a banksia.Error with CodeNotFound.
func (tx *Tx) UpdatePlace(id banksia.AssetID, change func(*banksia.Metadata)) error {
	e, _, err := tx.edits(id)
	if err != nil {
		return err
	}
	return tx.changeMetadata(id, func(m *banksia.Metadata) {
		derived := m.DerivedOffsets
		change(m)
		found := *m
		e.lay(m, &found)
		if e.originalDateTime != nil {
			m.DerivedOffsets = m.DerivedOffsets&^1 | derived&1
		}
	})
}
