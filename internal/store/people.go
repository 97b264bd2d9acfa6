package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/banksia-photos/banksia"
)

// InsertPerson, InsertFace, InsertAlbum, InsertAlbumAsset and InsertStack add
// rows as they are given; rules are the catalog's.

// InsertPerson adds a person.
func (tx *Tx) InsertPerson(p *banksia.Person) error {
	_, err := tx.Exec(`INSERT INTO people (id, library_id, name, birth_date, is_favorite, is_hidden, thumbnail_face_id, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		p.ID, p.LibraryID, p.Name, p.BirthDate, p.IsFavorite, p.IsHidden, p.ThumbnailFaceID, p.CreatedAt.UnixMicro(), p.UpdatedAt.UnixMicro())
	if err != nil {
		return fmt.Errorf("insert person: %w", err)
	}
	return tx.emit(p.LibraryID, banksia.PersonCreated, p.ID, nil)
}

// InsertFace adds a face and links its asset to its person.
func (tx *Tx) InsertFace(f *banksia.Face) error {
	_, err := tx.Exec(`INSERT INTO faces (id, library_id, asset_id, person_id, x, y, w, h, source, confidence, timestamp_ms, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
		f.ID, f.LibraryID, f.AssetID, f.PersonID, f.BoundingBox.X, f.BoundingBox.Y, f.BoundingBox.W, f.BoundingBox.H,
		f.Source, f.Confidence, f.TimestampMS, f.CreatedAt.UnixMicro(), f.UpdatedAt.UnixMicro())
	if err != nil {
		return fmt.Errorf("insert face: %w", err)
	}
	if err := tx.emit(f.LibraryID, banksia.FaceCreated, f.ID, nil); err != nil || f.PersonID == nil {
		return err
	}
	linked, err := tx.Exec(`INSERT INTO asset_people (asset_id, person_id, live, local_datetime) SELECT id, $1, live, local_datetime FROM assets WHERE id = $2
		ON CONFLICT (asset_id, person_id) DO NOTHING`, f.PersonID, f.AssetID)
	if err == nil {
		var added int64
		if added, err = linked.RowsAffected(); added == 1 {
			_, err = tx.Exec(`UPDATE people SET asset_count = asset_count + 1 WHERE id = $1 AND EXISTS (SELECT 1 FROM assets WHERE id = $2 AND live = TRUE)`, f.PersonID, f.AssetID)
		}
	}
	if err != nil {
		return fmt.Errorf("link person: %w", err)
	}
	return tx.emit(f.LibraryID, banksia.PersonUpdated, *f.PersonID, nil)
}

// countForSets adds to the live assets of everybody whom an asset shows, and of
// the albums that hold it.
func (tx *Tx) countForSets(asset banksia.AssetID, delta int) error {
	_, err := tx.Exec(`UPDATE people SET asset_count = asset_count + $1 WHERE id IN (SELECT person_id FROM asset_people WHERE asset_id = $2)`, delta, asset)
	if err == nil {
		_, err = tx.Exec(`UPDATE albums SET asset_count = asset_count + $1 WHERE id IN (SELECT album_id FROM album_assets WHERE asset_id = $2)`, delta, asset)
	}
	if err != nil {
		return fmt.Errorf("count assets of people and albums: %w", err)
	}
	return nil
}

const faceColumns = `f.id, f.library_id, f.asset_id, f.person_id, f.x, f.y, f.w, f.h, f.source, f.confidence, f.timestamp_ms, f.created_at, f.updated_at`

func scanFace(rows *sql.Rows) (banksia.Face, error) {
	var f banksia.Face
	var person sql.Null[banksia.PersonID]
	var created, updated int64
	b := &f.BoundingBox
	err := rows.Scan(&f.ID, &f.LibraryID, &f.AssetID, &person, &b.X, &b.Y, &b.W, &b.H, &f.Source, &f.Confidence, &f.TimestampMS, &created, &updated)
	f.CreatedAt, f.UpdatedAt = timeOf(created), timeOf(updated)
	if person.Valid {
		f.PersonID = &person.V
	}
	return f, err
}

// FacesOf reads the faces of several assets, oldest first, which the caller has
// already found to be in its scope.
func (s *Store) FacesOf(ctx context.Context, ids []banksia.AssetID) (map[banksia.AssetID][]banksia.Face, error) {
	result := map[banksia.AssetID][]banksia.Face{}
	err := s.eachOf(ctx, `SELECT `+faceColumns+` FROM faces f WHERE f.asset_id IN (%s) ORDER BY f.asset_id, f.created_at, f.id`, ids, func(rows *sql.Rows) error {
		f, err := scanFace(rows)
		result[f.AssetID] = append(result[f.AssetID], f)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read faces: %w", err)
	}
	return result, nil
}

const personColumns = `p.id, p.library_id, p.name, p.birth_date, p.is_favorite, p.is_hidden, p.thumbnail_face_id, p.asset_count, p.created_at, p.updated_at`

func scanPerson(rows *sql.Rows, more ...any) (banksia.Person, error) {
	var p banksia.Person
	var face sql.Null[banksia.FaceID]
	var created, updated int64
	err := rows.Scan(append(more, &p.ID, &p.LibraryID, &p.Name, &p.BirthDate, &p.IsFavorite, &p.IsHidden, &face, &p.AssetCount, &created, &updated)...)
	p.CreatedAt, p.UpdatedAt = timeOf(created), timeOf(updated)
	if face.Valid {
		p.ThumbnailFaceID = &face.V
	}
	return p, err
}

// PeopleOf reads the distinct people of several assets, which the caller has
// already found to be in its scope.
func (s *Store) PeopleOf(ctx context.Context, ids []banksia.AssetID) (map[banksia.AssetID][]banksia.Person, error) {
	result := map[banksia.AssetID][]banksia.Person{}
	err := s.eachOf(ctx, `SELECT ap.asset_id, `+personColumns+` FROM asset_people ap JOIN people p ON p.id = ap.person_id WHERE ap.asset_id IN (%s) ORDER BY ap.asset_id, p.id`, ids, func(rows *sql.Rows) error {
		var asset banksia.AssetID
		p, err := scanPerson(rows, &asset)
		result[asset] = append(result[asset], p)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read people: %w", err)
	}
	return result, nil
}
