package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/banksia-photos/banksia"
)

// metadataColumns are the columns of asset_metadata in the order of
// metadataFields.
const metadataColumns = `asset_id, created_at, updated_at, make, model, lens_model, orientation,
	modified_datetime, modified_datetime_offset, original_datetime, original_datetime_offset, digitized_datetime, digitized_datetime_offset,
	f_number, focal_length, iso, exposure_time, exposure_bias, latitude, longitude, altitude,
	city, state, country, country_code, sublocation, place_name, timezone, description, fps, live_photo_cid,
	projection_type, profile_description, auto_stack_id, rating, raw_width, raw_height, derived_offsets`

// metadataRow is Metadata with its times as columns.
type metadataRow struct {
	m                             *banksia.Metadata
	created, updated              int64
	modified, original, digitized optionalLocalTime
}

// optionalLocalTime is a nullable wall clock and its nullable offset.
type optionalLocalTime struct {
	wall   *int64
	offset *int
}

func splitLocalTime(t *banksia.LocalTime) optionalLocalTime {
	if t == nil {
		return optionalLocalTime{}
	}
	return optionalLocalTime{&t.Wall, t.Offset}
}

func (t optionalLocalTime) join() *banksia.LocalTime {
	if t.wall == nil {
		return nil
	}
	return &banksia.LocalTime{Wall: *t.wall, Offset: t.offset}
}

// fields are pointers to every column, for scanning and for writing alike.
func (r *metadataRow) fields() []any {
	m := r.m
	return []any{&m.AssetID, &r.created, &r.updated, &m.Make, &m.Model, &m.LensModel, &m.Orientation,
		&r.modified.wall, &r.modified.offset, &r.original.wall, &r.original.offset, &r.digitized.wall, &r.digitized.offset,
		&m.FNumber, &m.FocalLength, &m.ISO, &m.ExposureTime, &m.ExposureBias, &m.Latitude, &m.Longitude, &m.Altitude,
		&m.City, &m.State, &m.Country, &m.CountryCode, &m.Sublocation, &m.PlaceName, &m.Timezone, &m.Description, &m.FPS, &m.LivePhotoCID,
		&m.ProjectionType, &m.ProfileDescription, &m.AutoStackID, &m.Rating, &m.RawWidth, &m.RawHeight, &m.DerivedOffsets}
}

func scanMetadata(scan func(...any) error) (banksia.Metadata, error) {
	row := metadataRow{m: &banksia.Metadata{}}
	if err := scan(row.fields()...); err != nil {
		return banksia.Metadata{}, err
	}
	m := row.m
	m.CreatedAt, m.UpdatedAt = timeOf(row.created), timeOf(row.updated)
	m.ModifiedDateTime, m.OriginalDateTime, m.DigitizedDateTime = row.modified.join(), row.original.join(), row.digitized.join()
	return *m, nil
}

// writeMetadata inserts or replaces the metadata of an asset.
func (tx *Tx) writeMetadata(m *banksia.Metadata) error {
	for bit, t := range m.Times() { // an offset that is not there follows from nothing
		if *t == nil || (*t).Offset == nil {
			m.DerivedOffsets &^= bit
		}
	}
	row := metadataRow{m: m, created: m.CreatedAt.UnixMicro(), updated: m.UpdatedAt.UnixMicro(),
		modified: splitLocalTime(m.ModifiedDateTime), original: splitLocalTime(m.OriginalDateTime), digitized: splitLocalTime(m.DigitizedDateTime)}
	var q query
	text := `INSERT INTO asset_metadata (` + metadataColumns + `) VALUES (` + list(&q, row.fields()) + `) ON CONFLICT (asset_id) DO UPDATE SET ` + metadataUpdate
	if _, err := tx.Exec(text, q.args...); err != nil {
		return fmt.Errorf("write metadata of asset %s: %w", m.AssetID, err)
	}
	return nil
}

var metadataUpdate = func() string {
	var set []string
	for _, column := range strings.Split(metadataColumns, ",") {
		column = strings.TrimSpace(column)
		set = append(set, column+" = excluded."+column)
	}
	return strings.Join(set, ", ")
}()

func (tx *Tx) metadata(id banksia.AssetID) (banksia.Metadata, error) {
	m, err := scanMetadata(tx.QueryRow(`SELECT `+metadataColumns+` FROM asset_metadata WHERE asset_id = $1`, id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return m, banksia.NotFound("Asset")
	}
	if err != nil {
		return m, fmt.Errorf("metadata of asset %s: %w", id, err)
	}
	return m, nil
}

// MetadataOf reads the metadata of several assets, which the caller has already
// found to be in its scope.
func (s *Store) MetadataOf(ctx context.Context, ids []banksia.AssetID) (map[banksia.AssetID]banksia.Metadata, error) {
	result := make(map[banksia.AssetID]banksia.Metadata, len(ids))
	err := s.eachOf(ctx, `SELECT `+metadataColumns+` FROM asset_metadata WHERE asset_id IN (%s)`, ids, func(rows *sql.Rows) error {
		m, err := scanMetadata(rows.Scan)
		result[m.AssetID] = m
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read metadata: %w", err)
	}
	return result, nil
}
