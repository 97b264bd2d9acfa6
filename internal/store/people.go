package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/search"
)

// nameKey is a name as it is searched and ordered: without differences of case and
// of the forms of Unicode (UAX 15 NFKC, and full case folding).
func nameKey(name *string) string {
	if name == nil {
		return ""
	}
	return cases.Fold().String(norm.NFKC.String(*name))
}

// fillNameKeys writes the keys of names that are older than the keys.
func (tx *Tx) fillNameKeys() error {
	names := map[banksia.PersonID]string{}
	err := tx.each(`SELECT id, name FROM people WHERE name IS NOT NULL`, nil, func(rows *sql.Rows) error {
		var id banksia.PersonID
		var name string
		err := rows.Scan(&id, &name)
		names[id] = name
		return err
	})
	for id, name := range names {
		if err == nil {
			key := nameKey(&name)
			_, err = tx.Exec(`UPDATE people SET name_key = $1, named = $2 WHERE id = $3`, key, key != "", id)
		}
	}
	return err
}

// InsertPerson adds a person.
func (tx *Tx) InsertPerson(p *banksia.Person) error {
	key := nameKey(p.Name)
	_, err := tx.Exec(`INSERT INTO people (id, library_id, name, name_key, named, birth_date, is_favorite, is_hidden, thumbnail_face_id, by_user, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		p.ID, p.LibraryID, p.Name, key, key != "", p.BirthDate, p.IsFavorite, p.IsHidden, p.ThumbnailFaceID, p.ByUser, p.CreatedAt.UnixMicro(), p.UpdatedAt.UnixMicro())
	if err != nil {
		return fmt.Errorf("insert person: %w", err)
	}
	if err := tx.indexPerson(p); err != nil {
		return err
	}
	return tx.emit(p.LibraryID, banksia.PersonCreated, p.ID, nil)
}

// UpdatePerson stores what a user may say of a person.
func (tx *Tx) UpdatePerson(p *banksia.Person) error {
	p.UpdatedAt = tx.Now()
	key := nameKey(p.Name)
	_, err := tx.Exec(`UPDATE people SET name = $1, name_key = $2, named = $3, birth_date = $4, is_favorite = $5, is_hidden = $6, thumbnail_face_id = $7, updated_at = $8 WHERE id = $9`,
		p.Name, key, key != "", p.BirthDate, p.IsFavorite, p.IsHidden, p.ThumbnailFaceID, p.UpdatedAt.UnixMicro(), p.ID)
	if err != nil {
		return fmt.Errorf("update person %s: %w", p.ID, err)
	}
	if err := tx.indexPerson(p); err != nil {
		return err
	}
	return tx.emit(p.LibraryID, banksia.PersonUpdated, p.ID, nil)
}

// LockPerson keeps other transactions from changing a person of a library until
// this one ends; CodeNotFound without the person.
func (tx *Tx) LockPerson(library banksia.LibraryID, id banksia.PersonID) error {
	result, err := tx.Exec(`UPDATE people SET updated_at = updated_at WHERE id = $1 AND library_id = $2`, id, library)
	if err != nil {
		return fmt.Errorf("lock person %s: %w", id, err)
	}
	n, err := result.RowsAffected()
	if err == nil && n == 0 {
		err = banksia.NotFound("Person")
	}
	return err
}

// deleteAbandoned deletes a person without name and faces, unless a user made it.
func (tx *Tx) deleteAbandoned(library banksia.LibraryID, id banksia.PersonID) error {
	result, err := tx.Exec(`DELETE FROM people WHERE id = $1 AND named = FALSE AND by_user = FALSE AND NOT EXISTS (SELECT 1 FROM faces WHERE person_id = $1)`, id)
	if err != nil {
		return fmt.Errorf("delete abandoned person %s: %w", id, err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return err
	}
	return tx.emit(library, banksia.PersonDeleted, id, nil)
}

// DeletePerson deletes a person; the faces become nobody's.
func (tx *Tx) DeletePerson(library banksia.LibraryID, id banksia.PersonID) error {
	if err := tx.emitFaces(library, id, nil); err != nil {
		return err
	}
	if err := tx.emit(library, banksia.PersonDeleted, id, nil); err != nil {
		return err
	}
	if _, err := tx.Exec(`UPDATE faces SET person_id = NULL, updated_at = $1 WHERE person_id = $2`, tx.Now().UnixMicro(), id); err != nil {
		return fmt.Errorf("unassign the faces of person %s: %w", id, err)
	}
	return tx.deletePersonRows(id)
}

// deletePersonRows deletes a person whom no face names any more.
func (tx *Tx) deletePersonRows(id banksia.PersonID) error {
	for _, statement := range []string{
		`DELETE FROM asset_people WHERE person_id = $1`,
		`DELETE FROM person_embeddings WHERE person_id = $1`,
		`DELETE FROM person_centroids WHERE person_id = $1`,
		`DELETE FROM people WHERE id = $1`,
	} {
		if _, err := tx.Exec(statement, id); err != nil {
			return fmt.Errorf("delete person %s: %w", id, err)
		}
	}
	return tx.setDocument(personDocument, id, banksia.LibraryID{}, "")
}

// indexPerson makes the assets of a person found by the name.
func (tx *Tx) indexPerson(p *banksia.Person) error {
	name := ""
	if p.Name != nil {
		name = *p.Name
	}
	return tx.setDocument(personDocument, p.ID, p.LibraryID, search.Document(name))
}

// emitFaces records that the faces of a person become those of another, or of
// nobody, and that their assets show it.
func (tx *Tx) emitFaces(library banksia.LibraryID, from banksia.PersonID, to *banksia.PersonID) error {
	faces, err := tx.facesFrom(`faces f WHERE f.person_id = $1 ORDER BY f.created_at, f.id`, from)
	for i := range faces {
		if err == nil {
			err = tx.emit(library, banksia.FaceUpdated, faces[i].ID, personPayload{to})
		}
		if err == nil {
			err = tx.emit(library, banksia.AssetUpdated, faces[i].AssetID, nil)
		}
	}
	if err != nil {
		return fmt.Errorf("faces of person %s: %w", from, err)
	}
	return nil
}

// MergePerson moves all faces of a person to another of the same library and
// deletes the former.
func (tx *Tx) MergePerson(library banksia.LibraryID, source, target banksia.PersonID) error {
	fail := func(err error) error { return fmt.Errorf("merge person %s: %w", source, err) }
	if err := tx.emitFaces(library, source, &target); err != nil {
		return err
	}
	if _, err := tx.Exec(`UPDATE faces SET person_id = $1, updated_at = $2 WHERE person_id = $3`, target, tx.Now().UnixMicro(), source); err != nil {
		return fail(err)
	}
	_, err := tx.Exec(`INSERT INTO asset_people (asset_id, person_id, live, local_datetime) SELECT asset_id, $1, live, local_datetime FROM asset_people WHERE person_id = $2
		ON CONFLICT (asset_id, person_id) DO NOTHING`, target, source)
	if err == nil {
		err = tx.mergeEmbeddings(library, source, target)
	}
	if err == nil {
		err = tx.deletePersonRows(source)
	}
	if err == nil {
		_, err = tx.Exec(`UPDATE people SET asset_count = (SELECT COUNT(*) FROM asset_people WHERE person_id = $1 AND live = TRUE) WHERE id = $1`, target)
	}
	if err != nil {
		return fail(err)
	}
	if err := tx.emit(library, banksia.PersonDeleted, source, nil); err != nil {
		return err
	}
	return tx.emit(library, banksia.PersonUpdated, target, nil)
}

// HasFaces tells whether some face is of a person.
func (tx *Tx) HasFaces(id banksia.PersonID) (bool, error) {
	return tx.exists(`SELECT 1 FROM faces WHERE person_id = $1 LIMIT 1`, id)
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

// personColumns are those of a person p. The last one is the face that shows it:
// the chosen one, else the largest and clearest of a live asset.
const personColumns = `p.id, p.library_id, p.name, p.birth_date, p.is_favorite, p.is_hidden, p.thumbnail_face_id, p.asset_count, p.by_user, p.created_at, p.updated_at,
	COALESCE(p.thumbnail_face_id, (SELECT f.id FROM faces f JOIN assets fa ON fa.id = f.asset_id WHERE f.person_id = p.id AND fa.live = TRUE ORDER BY f.quality DESC, f.id DESC LIMIT 1))`

// scanPerson reads a person, whose thumbnail has only the face's ID yet.
func scanPerson(rows *sql.Rows, more ...any) (banksia.Person, error) {
	var p banksia.Person
	var chosen, shown sql.Null[banksia.FaceID]
	var created, updated int64
	err := rows.Scan(append(more, &p.ID, &p.LibraryID, &p.Name, &p.BirthDate, &p.IsFavorite, &p.IsHidden, &chosen, &p.AssetCount, &p.ByUser, &created, &updated, &shown)...)
	p.CreatedAt, p.UpdatedAt, p.ThumbnailFaceID = timeOf(created), timeOf(updated), pointer(chosen)
	if shown.Valid {
		p.Thumbnail = &banksia.FaceThumbnail{FaceID: shown.V}
	}
	return p, err
}

// showPeople completes the thumbnails of people.
func (tx *Tx) showPeople(people []*banksia.Person) error {
	var ids []banksia.FaceID
	asked := map[banksia.FaceID]bool{} // the same person may be in many assets
	for _, p := range people {
		if p.Thumbnail != nil && !asked[p.Thumbnail.FaceID] {
			asked[p.Thumbnail.FaceID] = true
			ids = append(ids, p.Thumbnail.FaceID)
		}
	}
	thumbnails, err := tx.faceThumbnails(ids)
	for _, p := range people {
		if p.Thumbnail != nil {
			p.Thumbnail = thumbnails[p.Thumbnail.FaceID]
		}
	}
	return err
}

// peopleFrom reads people from rows p.
func (tx *Tx) peopleFrom(source string, args ...any) ([]banksia.Person, error) {
	var people []banksia.Person
	err := tx.each(`SELECT `+personColumns+` FROM `+source, args, func(rows *sql.Rows) error {
		p, err := scanPerson(rows)
		people = append(people, p)
		return err
	})
	if err != nil {
		return nil, err
	}
	pointers := make([]*banksia.Person, len(people))
	for i := range people {
		pointers[i] = &people[i]
	}
	return people, tx.showPeople(pointers)
}

// PeopleOf reads the distinct people of several assets, which the caller has
// already found to be in its scope.
func (s *Store) PeopleOf(ctx context.Context, ids []banksia.AssetID) (map[banksia.AssetID][]banksia.Person, error) {
	result := map[banksia.AssetID][]banksia.Person{}
	err := s.Read(ctx, func(tx *Tx) error {
		err := tx.eachOf(`SELECT ap.asset_id, `+personColumns+` FROM asset_people ap JOIN people p ON p.id = ap.person_id WHERE ap.asset_id IN (%s) ORDER BY ap.asset_id, p.id`, ids, func(rows *sql.Rows) error {
			var asset banksia.AssetID
			p, err := scanPerson(rows, &asset)
			result[asset] = append(result[asset], p)
			return err
		})
		if err != nil {
			return err
		}
		var all []*banksia.Person
		for _, people := range result {
			for i := range people {
				all = append(all, &people[i])
			}
		}
		return tx.showPeople(all)
	})
	if err != nil {
		return nil, fmt.Errorf("read people: %w", err)
	}
	return result, nil
}

// GetPerson reads one person.
func (s *Store) GetPerson(ctx context.Context, scope banksia.Scope, id banksia.PersonID) (p banksia.Person, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		p, err = tx.Person(scope, id)
		return err
	})
	return p, err
}

// Person is Store.GetPerson within a transaction.
func (tx *Tx) Person(scope banksia.Scope, id banksia.PersonID) (p banksia.Person, err error) {
	var q query
	people, err := tx.peopleFrom("people p WHERE p.id = "+q.arg(id)+" AND "+q.visible(scope, "p.library_id"), q.args...)
	if err != nil {
		return p, fmt.Errorf("person %s: %w", id, err)
	}
	if len(people) == 0 {
		return p, banksia.NotFound("Person")
	}
	return people[0], nil
}

// NameFilter chooses people by whether they have a name.
type NameFilter string

const (
	Named    NameFilter = "named"
	Unnamed  NameFilter = "unnamed"
	AnyNamed NameFilter = "all"
)

// PersonOrder is the order of a list of people; those without a name come last in
// the orders by name.
type PersonOrder string

const (
	PeopleByTimeDesc  PersonOrder = "created_at_desc"
	PeopleByTimeAsc   PersonOrder = "created_at_asc"
	PeopleByNameAsc   PersonOrder = "name_asc"
	PeopleByNameDesc  PersonOrder = "name_desc"
	PeopleByCountDesc PersonOrder = "asset_count_desc"
	PeopleByCountAsc  PersonOrder = "asset_count_asc"
)

// column is the indexed column of the order.
func (o PersonOrder) column() string {
	switch o {
	case PeopleByNameAsc, PeopleByNameDesc:
		return "name_key"
	case PeopleByCountDesc, PeopleByCountAsc:
		return "asset_count"
	}
	return "created_at"
}

// PersonPage says which people of a library a list holds.
type PersonPage struct {
	Paging[banksia.PersonID]
	LibraryID  banksia.LibraryID
	AssetID    *banksia.AssetID // only those with a face in this asset
	AlbumID    *banksia.AlbumID // only those in a live asset of this album
	Name       string           // part of the name, in any case; "": any
	NameFilter NameFilter
	Order      PersonOrder
}

// ListPeople reads a page of the people of a library.
func (s *Store) ListPeople(ctx context.Context, scope banksia.Scope, p PersonPage) (people []banksia.Person, more bool, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		if visible, err := tx.sees(scope, p.LibraryID); err != nil || !visible {
			return err
		}
		people, err = tx.listPeople(p)
		if err != nil {
			return fmt.Errorf("list people: %w", err)
		}
		people, more = cut(people, p.Limit)
		return nil
	})
	return people, more, err
}

// listPeople reads one person more than the limit.
func (tx *Tx) listPeople(p PersonPage) ([]banksia.Person, error) {
	source, args, err := tx.peopleQuery(p)
	if err != nil || source == "" {
		return nil, err
	}
	return tx.peopleFrom(source, args...)
}

// peopleQuery selects the rows p of a page, "" for none. The named and the unnamed
// are a stream each, in the order of the list, so that leaving one out costs
// nothing.
func (tx *Tx) peopleQuery(p PersonPage) (source string, args []any, err error) {
	column := p.Order.column()
	direction, beyond := " DESC", " < "
	if strings.HasSuffix(string(p.Order), "_asc") {
		direction, beyond = " ASC", " > "
	}
	var afterKey any
	afterNamed := true
	if p.StartingAfter != nil {
		var name string
		var created, count int64
		err := tx.QueryRow(`SELECT named, name_key, created_at, asset_count FROM people WHERE id = $1 AND library_id = $2`, *p.StartingAfter, p.LibraryID).Scan(&afterNamed, &name, &created, &count)
		if errors.Is(err, sql.ErrNoRows) {
			return "", nil, unknownCursor()
		}
		if err != nil {
			return "", nil, err
		}
		afterKey = map[string]any{"name_key": name, "created_at": created, "asset_count": count}[column]
	}
	var q query
	var streams []string
	for _, named := range []bool{true, false} {
		after := p.StartingAfter != nil
		if column == "name_key" && after {
			if named && !afterNamed {
				continue
			}
			after = named == afterNamed
		}
		if named && p.NameFilter == Unnamed || !named && (p.NameFilter == Named || p.Name != "") {
			continue
		}
		text := `SELECT r.* FROM ` + p.source(&q) + ` WHERE r.library_id = ` + q.arg(p.LibraryID) + ` AND r.named = ` + q.arg(named)
		if p.Name != "" {
			text += ` AND r.name_key LIKE ` + q.arg("%"+likeEscaper.Replace(nameKey(&p.Name))+"%") + ` ESCAPE '\'`
		}
		if after {
			text += ` AND (r.` + column + `, r.id)` + beyond + `(` + q.arg(afterKey) + `, ` + q.arg(*p.StartingAfter) + `)`
		}
		streams = append(streams, `SELECT * FROM (`+text+` ORDER BY r.`+column+direction+`, r.id`+direction+` LIMIT `+q.arg(p.Limit+1)+`) AS s`)
	}
	if len(streams) == 0 {
		return "", nil, nil
	}
	order := `p.` + column + direction + `, p.id` + direction
	if column == "name_key" {
		order = `p.named DESC, ` + order
	}
	return `(` + strings.Join(streams, ` UNION ALL `) + `) p ORDER BY ` + order + ` LIMIT ` + q.arg(p.Limit+1), q.args, nil
}

var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// source is the narrowest set of rows r that the filter names.
func (p *PersonPage) source(q *query) string {
	var sets []string
	if p.AssetID != nil {
		sets = append(sets, "SELECT person_id FROM asset_people WHERE asset_id = "+q.arg(p.AssetID))
	}
	if p.AlbumID != nil {
		sets = append(sets, "SELECT ap.person_id FROM album_assets m CROSS JOIN asset_people ap WHERE ap.asset_id = m.asset_id AND m.album_id = "+q.arg(p.AlbumID)+" AND m.live = TRUE")
	}
	if p.IDs == nil && len(sets) == 0 {
		return "people r"
	}
	text := "SELECT * FROM people WHERE TRUE"
	if p.IDs != nil {
		text += " AND id IN (" + list(q, p.IDs) + ")"
	}
	for _, set := range sets {
		text += " AND id IN (" + set + ")"
	}
	return fence(text) + " r"
}
