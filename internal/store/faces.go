package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/banksia-photos/banksia"
)

// InsertFace adds a face and links its asset to its person.
func (tx *Tx) InsertFace(f *banksia.Face) error {
	confidence := 1.0
	if f.Confidence != nil {
		confidence = *f.Confidence
	}
	_, err := tx.Exec(`INSERT INTO faces (id, library_id, asset_id, person_id, x, y, w, h, source, confidence, timestamp_ms, quality, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		f.ID, f.LibraryID, f.AssetID, f.PersonID, f.BoundingBox.X, f.BoundingBox.Y, f.BoundingBox.W, f.BoundingBox.H,
		f.Source, f.Confidence, f.TimestampMS, float64(f.BoundingBox.W)*float64(f.BoundingBox.H)*confidence, f.CreatedAt.UnixMicro(), f.UpdatedAt.UnixMicro())
	if err != nil {
		return fmt.Errorf("insert face: %w", err)
	}
	if err := tx.emit(f.LibraryID, banksia.FaceCreated, f.ID, nil); err != nil {
		return err
	}
	if f.PersonID != nil {
		if err := tx.linkPerson(f.LibraryID, f.AssetID, *f.PersonID); err != nil {
			return err
		}
	}
	return tx.emit(f.LibraryID, banksia.AssetUpdated, f.AssetID, nil)
}

// linkPerson notes that an asset shows a person.
func (tx *Tx) linkPerson(library banksia.LibraryID, asset banksia.AssetID, person banksia.PersonID) error {
	linked, err := tx.Exec(`INSERT INTO asset_people (asset_id, person_id, live, local_datetime) SELECT id, $1, live, local_datetime FROM assets WHERE id = $2
		ON CONFLICT (asset_id, person_id) DO NOTHING`, person, asset)
	if err == nil {
		var added int64
		if added, err = linked.RowsAffected(); added == 1 {
			_, err = tx.Exec(`UPDATE people SET asset_count = asset_count + 1 WHERE id = $1 AND EXISTS (SELECT 1 FROM assets WHERE id = $2 AND live = TRUE)`, person, asset)
		}
	}
	if err != nil {
		return fmt.Errorf("link person: %w", err)
	}
	return tx.emit(library, banksia.PersonUpdated, person, nil)
}

// unlinkPerson notes that one face fewer of a person is in an asset.
func (tx *Tx) unlinkPerson(library banksia.LibraryID, asset banksia.AssetID, person banksia.PersonID) error {
	var live bool
	err := tx.QueryRow(`DELETE FROM asset_people WHERE asset_id = $1 AND person_id = $2
		AND NOT EXISTS (SELECT 1 FROM faces WHERE asset_id = $1 AND person_id = $2) RETURNING live`, asset, person).Scan(&live)
	if err == nil && live {
		_, err = tx.Exec(`UPDATE people SET asset_count = asset_count - 1 WHERE id = $1`, person)
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("unlink person: %w", err)
	}
	return tx.emit(library, banksia.PersonUpdated, person, nil)
}

// Face reads a face of a library; CodeNotFound without one.
func (tx *Tx) Face(library banksia.LibraryID, id banksia.FaceID) (f banksia.Face, err error) {
	faces, err := tx.facesFrom(`faces f WHERE f.id = $1 AND f.library_id = $2`, id, library)
	if err != nil {
		return f, fmt.Errorf("face %s: %w", id, err)
	}
	if len(faces) == 0 {
		return f, banksia.NotFound("Face")
	}
	return faces[0], nil
}

// AssignFace makes a face one of a person, or of nobody. The person left behind
// goes when it was only a group of faces (behaviour 21.15).
func (tx *Tx) AssignFace(f *banksia.Face, to *banksia.PersonID) error {
	from := f.PersonID
	if from == nil && to == nil || from != nil && to != nil && *from == *to {
		return nil
	}
	f.PersonID, f.UpdatedAt = to, tx.Now()
	_, err := tx.Exec(`UPDATE faces SET person_id = $1, updated_at = $2 WHERE id = $3`, to, f.UpdatedAt.UnixMicro(), f.ID)
	if err != nil {
		return fmt.Errorf("assign face %s: %w", f.ID, err)
	}
	if err := tx.emit(f.LibraryID, banksia.FaceUpdated, f.ID, personPayload{to}); err != nil {
		return err
	}
	if err := tx.moveEmbedding(f.LibraryID, f.ID, from, to); err != nil {
		return err
	}
	if from != nil {
		if err := tx.unlinkPerson(f.LibraryID, f.AssetID, *from); err != nil {
			return err
		}
	}
	if to != nil {
		if err := tx.linkPerson(f.LibraryID, f.AssetID, *to); err != nil {
			return err
		}
	}
	if err := tx.emit(f.LibraryID, banksia.AssetUpdated, f.AssetID, nil); err != nil || from == nil {
		return err
	}
	return tx.deleteAbandoned(f.LibraryID, *from)
}

// DeleteFace deletes a face; its asset and its person stay, the latter unless it
// was only a group of faces.
func (tx *Tx) DeleteFace(f *banksia.Face) error {
	if err := tx.emit(f.LibraryID, banksia.FaceDeleted, f.ID, nil); err != nil {
		return err
	}
	if err := tx.moveEmbedding(f.LibraryID, f.ID, f.PersonID, nil); err != nil {
		return err
	}
	if err := tx.dropThumbnails(f.LibraryID, []banksia.FaceID{f.ID}); err != nil {
		return err
	}
	for _, statement := range []string{`DELETE FROM face_embeddings WHERE face_id = $1`, `DELETE FROM faces WHERE id = $1`} {
		if _, err := tx.Exec(statement, f.ID); err != nil {
			return fmt.Errorf("delete face %s: %w", f.ID, err)
		}
	}
	if f.PersonID != nil {
		if err := tx.unlinkPerson(f.LibraryID, f.AssetID, *f.PersonID); err != nil {
			return err
		}
	}
	if err := tx.emit(f.LibraryID, banksia.AssetUpdated, f.AssetID, nil); err != nil || f.PersonID == nil {
		return err
	}
	return tx.deleteAbandoned(f.LibraryID, *f.PersonID)
}

// dropThumbnails lets the server pick for those who chose one of these faces.
func (tx *Tx) dropThumbnails(library banksia.LibraryID, faces []banksia.FaceID) error {
	for _, face := range faces {
		people, err := idsFrom[banksia.PersonID](tx, `UPDATE people SET thumbnail_face_id = NULL WHERE thumbnail_face_id = $1 RETURNING id`, face)
		for _, person := range people {
			if err == nil {
				err = tx.emit(library, banksia.PersonUpdated, person, nil)
			}
		}
		if err != nil {
			return fmt.Errorf("thumbnails of face %s: %w", face, err)
		}
	}
	return nil
}

// purgeFaces deletes the faces of an asset, which is being purged, and its links
// to people. Their events are emitPurge's.
func (tx *Tx) purgeFaces(library banksia.LibraryID, asset banksia.AssetID) error {
	faces, err := tx.facesFrom(`faces f WHERE f.asset_id = $1 ORDER BY f.id`, asset)
	if err != nil {
		return fmt.Errorf("faces of asset %s: %w", asset, err)
	}
	var people []banksia.PersonID
	ids := make([]banksia.FaceID, len(faces))
	for i, f := range faces {
		ids[i] = f.ID
		if f.PersonID == nil {
			continue
		}
		people = append(people, *f.PersonID)
		if err := tx.moveEmbedding(library, f.ID, f.PersonID, nil); err != nil {
			return err
		}
	}
	if err := tx.dropThumbnails(library, ids); err != nil {
		return err
	}
	for _, statement := range []string{
		`DELETE FROM face_embeddings WHERE face_id IN (SELECT id FROM faces WHERE asset_id = $1)`,
		`DELETE FROM asset_people WHERE asset_id = $1`,
		`DELETE FROM faces WHERE asset_id = $1`,
	} {
		if _, err := tx.Exec(statement, asset); err != nil {
			return fmt.Errorf("purge faces: %w", err)
		}
	}
	for _, person := range people {
		if err := tx.deleteAbandoned(library, person); err != nil {
			return err
		}
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
	f.CreatedAt, f.UpdatedAt, f.PersonID = timeOf(created), timeOf(updated), pointer(person)
	return f, err
}

// facesFrom reads faces from rows f.
func (tx *Tx) facesFrom(source string, args ...any) (faces []banksia.Face, err error) {
	err = tx.each(`SELECT `+faceColumns+` FROM `+source, args, func(rows *sql.Rows) error {
		f, err := scanFace(rows)
		faces = append(faces, f)
		return err
	})
	return faces, err
}

// withThumbnails fills in what the crops of faces are drawn from.
func (tx *Tx) withThumbnails(faces []banksia.Face) error {
	ids := make([]banksia.FaceID, len(faces))
	for i := range faces {
		ids[i] = faces[i].ID
	}
	thumbnails, err := tx.faceThumbnails(ids)
	for i := range faces {
		faces[i].Thumbnail = thumbnails[faces[i].ID]
	}
	return err
}

// faceThumbnails reads what the crops of faces are drawn from.
func (tx *Tx) faceThumbnails(ids []banksia.FaceID) (map[banksia.FaceID]*banksia.FaceThumbnail, error) {
	result := make(map[banksia.FaceID]*banksia.FaceThumbnail, len(ids))
	for chunk := range chunks(ids) {
		var q query
		err := tx.each(`SELECT f.id, f.x, f.y, f.w, f.h, f.timestamp_ms, a.media_type, v.id, v.asset_id, v.kind, v.mime_type, v.width, v.height, v.checksum, v.variant_mime_type
			FROM faces f JOIN assets a ON a.id = f.asset_id JOIN asset_versions v ON v.asset_id = f.asset_id AND v.position = 0 WHERE f.id IN (`+list(&q, chunk)+`)`, q.args, func(rows *sql.Rows) error {
			t := &banksia.FaceThumbnail{}
			b, v := &t.Box, &t.Version
			err := rows.Scan(&t.FaceID, &b.X, &b.Y, &b.W, &b.H, &t.At, &t.Media, &v.ID, &v.AssetID, &v.Kind, &v.MIMEType, &v.Width, &v.Height, (*[]byte)(&v.SHA256), &v.VariantMIMEType)
			result[t.FaceID] = t
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read thumbnails of faces: %w", err)
		}
	}
	return result, nil
}

// FaceThumbnail reads what the crop of a face is drawn from, whoever's it is: the
// caller has checked a signature, or the scope.
func (s *Store) FaceThumbnail(ctx context.Context, id banksia.FaceID) (thumbnail banksia.FaceThumbnail, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		found, err := tx.faceThumbnails([]banksia.FaceID{id})
		if err != nil {
			return err
		}
		if found[id] == nil {
			return banksia.NotFound("Face")
		}
		thumbnail = *found[id]
		return nil
	})
	return thumbnail, err
}

// FacesOf reads the faces of several assets, oldest first, which the caller has
// already found to be in its scope.
func (s *Store) FacesOf(ctx context.Context, ids []banksia.AssetID) (map[banksia.AssetID][]banksia.Face, error) {
	result := map[banksia.AssetID][]banksia.Face{}
	err := s.Read(ctx, func(tx *Tx) error {
		var faces []banksia.Face
		err := tx.eachOf(`SELECT `+faceColumns+` FROM faces f WHERE f.asset_id IN (%s) ORDER BY f.asset_id, f.created_at, f.id`, ids, func(rows *sql.Rows) error {
			f, err := scanFace(rows)
			faces = append(faces, f)
			return err
		})
		if err == nil {
			err = tx.withThumbnails(faces)
		}
		for _, f := range faces {
			result[f.AssetID] = append(result[f.AssetID], f)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read faces: %w", err)
	}
	return result, nil
}

// FacePage says which faces of a library a list holds.
type FacePage struct {
	Paging[banksia.FaceID]
	LibraryID banksia.LibraryID
	AssetID   *banksia.AssetID  // only those in this asset
	PersonID  *banksia.PersonID // only those of this person
}

// ListFaces reads a page of the faces of a library, newest created first, those of
// trashed assets included (behaviour 21.16).
func (s *Store) ListFaces(ctx context.Context, scope banksia.Scope, p FacePage) (faces []banksia.Face, more bool, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		if visible, err := tx.sees(scope, p.LibraryID); err != nil || !visible {
			return err
		}
		var q query
		var conditions []string
		// Each way has its index; the planner, without statistics, is left no
		// choice between them.
		switch {
		case p.IDs != nil:
			conditions = append(conditions, "r.library_id = "+q.arg(p.LibraryID))
			if p.AssetID != nil {
				conditions = append(conditions, "r.asset_id = "+q.arg(p.AssetID))
			}
			if p.PersonID != nil {
				conditions = append(conditions, "r.person_id = "+q.arg(p.PersonID))
			}
		case p.AssetID != nil:
			if known, err := tx.inLibrary("assets", *p.AssetID, p.LibraryID); err != nil || !known {
				return err
			}
			conditions = append(conditions, "r.asset_id = "+q.arg(p.AssetID))
			if p.PersonID != nil { // of few rows
				conditions = append(conditions, "COALESCE(r.person_id, r.person_id) = "+q.arg(p.PersonID))
			}
		case p.PersonID != nil:
			if known, err := tx.inLibrary("people", *p.PersonID, p.LibraryID); err != nil || !known {
				return err
			}
			conditions = append(conditions, "r.person_id = "+q.arg(p.PersonID))
		default:
			conditions = append(conditions, "r.library_id = "+q.arg(p.LibraryID))
		}
		source := p.rows(&q, "faces")
		end, err := newestFirst(tx, &q, p.Paging, "faces", p.LibraryID, conditions)
		if err != nil {
			return err
		}
		err = tx.each(`SELECT `+strings.ReplaceAll(faceColumns, "f.", "r.")+` FROM `+source+end, q.args, func(rows *sql.Rows) error {
			f, err := scanFace(rows)
			faces = append(faces, f)
			return err
		})
		if err != nil {
			return fmt.Errorf("list faces: %w", err)
		}
		faces, more = cut(faces, p.Limit)
		return tx.withThumbnails(faces)
	})
	return faces, more, err
}

// GetFace reads one face of a library.
func (s *Store) GetFace(ctx context.Context, scope banksia.Scope, library banksia.LibraryID, id banksia.FaceID) (f banksia.Face, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		visible, err := tx.sees(scope, library)
		if err == nil && !visible {
			err = banksia.NotFound("Face")
		}
		if err == nil {
			f, err = tx.ReadFace(library, id)
		}
		return err
	})
	return f, err
}

// ReadFace is Face with what the crop is drawn from, for an answer.
func (tx *Tx) ReadFace(library banksia.LibraryID, id banksia.FaceID) (f banksia.Face, err error) {
	if f, err = tx.Face(library, id); err != nil {
		return f, err
	}
	one := []banksia.Face{f}
	err = tx.withThumbnails(one)
	return one[0], err
}

// FaceLibrary finds the library of a face that the scope sees.
func (s *Store) FaceLibrary(ctx context.Context, scope banksia.Scope, id banksia.FaceID) (library banksia.LibraryID, err error) {
	var q query
	text := `SELECT f.library_id FROM faces f WHERE f.id = ` + q.arg(id) + ` AND ` + q.visible(scope, "f.library_id")
	err = s.Read(ctx, func(tx *Tx) error {
		err := tx.QueryRow(text, q.args...).Scan(&library)
		if errors.Is(err, sql.ErrNoRows) {
			return banksia.NotFound("Face")
		}
		return err
	})
	return library, err
}

// OriginalSize reads the size in pixels of the original of an asset of a library,
// in display space; 0: not known. CodeNotFound without the asset.
func (tx *Tx) OriginalSize(library banksia.LibraryID, id banksia.AssetID) (width, height int, err error) {
	err = tx.QueryRow(`SELECT v.width, v.height FROM assets a JOIN asset_versions v ON v.asset_id = a.id AND v.position = 0 WHERE a.id = $1 AND a.library_id = $2`, id, library).Scan(&width, &height)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, 0, banksia.NotFound("Asset")
	}
	return width, height, err
}
