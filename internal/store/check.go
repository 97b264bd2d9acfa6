package store

import (
	"context"
	"database/sql"
	"fmt"
)

// invariant is something that must hold of all rows at every commit. Its query
// counts the rows for which it does not; mend makes it hold, out of what is not in
// doubt: nil where only a person can.
type invariant struct {
	name, violations string
	mend             func(*Tx) error
}

// invariants are what the transactions of this package keep true by themselves,
// beyond what the schema enforces: counters, copies, memberships, covers, and the
// events that tell of it all.
var invariants = []invariant{
	{"a library counts its live assets", `SELECT COUNT(*) FROM libraries l WHERE asset_count <> (SELECT COUNT(*) FROM assets WHERE library_id = l.id AND live = TRUE)`, mendSQL(`UPDATE libraries SET asset_count = (SELECT COUNT(*) FROM assets WHERE library_id = libraries.id AND live = TRUE)`)},
	{"a library counts its bytes", `SELECT COUNT(*) FROM libraries l WHERE storage_used_bytes <> (SELECT COALESCE(SUM(v.file_size_bytes), 0) FROM assets a JOIN asset_versions v ON v.asset_id = a.id WHERE a.library_id = l.id)`, mendSQL(`UPDATE libraries SET storage_used_bytes = (SELECT COALESCE(SUM(v.file_size_bytes), 0) FROM assets a JOIN asset_versions v ON v.asset_id = a.id WHERE a.library_id = libraries.id)`)},
	{"a user counts the bytes of the libraries", `SELECT COUNT(*) FROM users u WHERE storage_used_bytes <> (SELECT COALESCE(SUM(storage_used_bytes), 0) FROM libraries WHERE user_id = u.id)`, mendSQL(`UPDATE users SET storage_used_bytes = (SELECT COALESCE(SUM(storage_used_bytes), 0) FROM libraries WHERE user_id = users.id)`)},
	{"an album counts its live assets", `SELECT COUNT(*) FROM albums b WHERE asset_count <> (SELECT COUNT(*) FROM album_assets WHERE album_id = b.id AND live = TRUE)`, mendSQL(`UPDATE albums SET asset_count = (SELECT COUNT(*) FROM album_assets WHERE album_id = albums.id AND live = TRUE)`)},
	{"a person counts the live assets that show it", `SELECT COUNT(*) FROM people p WHERE asset_count <> (SELECT COUNT(*) FROM asset_people WHERE person_id = p.id AND live = TRUE)`, mendSQL(`UPDATE people SET asset_count = (SELECT COUNT(*) FROM asset_people WHERE person_id = people.id AND live = TRUE)`)},

	{"an asset is live or has a trash time", `SELECT COUNT(*) FROM assets WHERE live <> (trashed_at IS NULL)`, mendSQL(`UPDATE assets SET live = (trashed_at IS NULL) WHERE live <> (trashed_at IS NULL)`)},
	{"an asset knows whether it is in an album", `SELECT COUNT(*) FROM assets a WHERE in_album <> EXISTS (SELECT 1 FROM album_assets WHERE asset_id = a.id)`, mendSQL(`UPDATE assets SET in_album = EXISTS (SELECT 1 FROM album_assets WHERE asset_id = assets.id) WHERE in_album <> EXISTS (SELECT 1 FROM album_assets WHERE asset_id = assets.id)`)},
	{"an album link copies the order of its asset", `SELECT COUNT(*) FROM album_assets m JOIN assets a ON a.id = m.asset_id WHERE m.live <> a.live OR m.local_datetime <> a.local_datetime`, mendSQL(copyOrder("album_assets"))},
	{"a person link copies the order of its asset", `SELECT COUNT(*) FROM asset_people m JOIN assets a ON a.id = m.asset_id WHERE m.live <> a.live OR m.local_datetime <> a.local_datetime`, mendSQL(copyOrder("asset_people"))},
	{"a map cell copies the order of its asset", `SELECT COUNT(*) FROM asset_cells m LEFT JOIN assets a ON a.id = m.asset_id WHERE a.id IS NULL OR m.live <> a.live OR m.local_datetime <> a.local_datetime OR m.library_id <> a.library_id OR m.latitude <> a.latitude OR m.longitude <> a.longitude`, (*Tx).mendPlaces},
	{"a month counts its assets", `SELECT COUNT(*) FROM libraries l WHERE COALESCE((SELECT SUM(asset_count) FROM asset_months WHERE library_id = l.id AND live = TRUE), 0) <> l.asset_count`, (*Tx).mendPlaces},
	{"all months count all assets", `SELECT COUNT(*) FROM libraries l WHERE COALESCE((SELECT SUM(asset_count) FROM asset_months WHERE library_id = l.id), 0) <> (SELECT COUNT(*) FROM assets WHERE library_id = l.id)`, (*Tx).mendPlaces},
	{"a map cell counts its assets", `SELECT COUNT(*) FROM cell_totals t WHERE asset_count <> (SELECT COUNT(*) FROM asset_cells m WHERE m.library_id = t.library_id AND m.cell = t.cell AND m.live = t.live)`, (*Tx).mendPlaces},
	{"a map cell sums the coordinates of its assets", `SELECT COUNT(*) FROM cell_totals t WHERE latitude_sum <> (SELECT SUM(CAST(floor(latitude * 10000000 + 0.5) AS BIGINT)) FROM asset_cells m WHERE m.library_id = t.library_id AND m.cell = t.cell AND m.live = t.live)
		OR longitude_sum <> (SELECT SUM(CAST(floor(longitude * 10000000 + 0.5) AS BIGINT)) FROM asset_cells m WHERE m.library_id = t.library_id AND m.cell = t.cell AND m.live = t.live)`, (*Tx).mendPlaces},
	{"a map cell knows its newest asset", `SELECT COUNT(*) FROM cell_totals t WHERE newest_asset_id <> (SELECT asset_id FROM asset_cells m WHERE m.library_id = t.library_id AND m.cell = t.cell AND m.live = t.live ORDER BY m.local_datetime DESC, m.asset_id DESC LIMIT 1)`, (*Tx).mendPlaces},
	{"a map cell with assets has totals", `SELECT COUNT(*) FROM asset_cells m WHERE cell > 0 AND NOT EXISTS (SELECT 1 FROM cell_totals t WHERE t.library_id = m.library_id AND t.live = m.live AND t.cell = m.cell AND t.parent = (((m.cell >> 40) - 3) << 40) | ((((m.cell >> 20) & 1048575) >> 3) << 20) | ((m.cell & 1048575) >> 3))`, (*Tx).mendPlaces},
	{"an asset shows the people of its faces", `SELECT COUNT(*) FROM faces f WHERE person_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM asset_people WHERE asset_id = f.asset_id AND person_id = f.person_id)`, mendSQL(`INSERT INTO asset_people (asset_id, person_id, live, local_datetime) SELECT DISTINCT f.asset_id, f.person_id, a.live, a.local_datetime FROM faces f JOIN assets a ON a.id = f.asset_id
		WHERE f.person_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM asset_people WHERE asset_id = f.asset_id AND person_id = f.person_id)`)},
	{"an asset shows only the people of its faces", `SELECT COUNT(*) FROM asset_people m WHERE NOT EXISTS (SELECT 1 FROM faces WHERE asset_id = m.asset_id AND person_id = m.person_id)`, mendSQL(`DELETE FROM asset_people WHERE NOT EXISTS (SELECT 1 FROM faces WHERE asset_id = asset_people.asset_id AND person_id = asset_people.person_id)`)},
	{"an asset has metadata", `SELECT COUNT(*) FROM assets a WHERE NOT EXISTS (SELECT 1 FROM asset_metadata WHERE asset_id = a.id)`, mendSQL(`INSERT INTO asset_metadata (asset_id, created_at, updated_at) SELECT id, created_at, updated_at FROM assets a WHERE NOT EXISTS (SELECT 1 FROM asset_metadata WHERE asset_id = a.id)`)},
	{"an asset has one original", `SELECT COUNT(*) FROM assets a WHERE (SELECT COUNT(*) FROM asset_versions WHERE asset_id = a.id AND position = 0) <> 1`, nil},
	{"the current version of an asset is its last", `SELECT COUNT(*) FROM assets a WHERE current_version_id <> (SELECT id FROM asset_versions WHERE asset_id = a.id ORDER BY position DESC LIMIT 1)`, mendSQL(`UPDATE assets SET current_version_id = (SELECT id FROM asset_versions WHERE asset_id = assets.id ORDER BY position DESC LIMIT 1) WHERE EXISTS (SELECT 1 FROM asset_versions WHERE asset_id = assets.id)`)},

	{"an album holds assets of its library", `SELECT COUNT(*) FROM album_assets m JOIN albums b ON b.id = m.album_id JOIN assets a ON a.id = m.asset_id WHERE a.library_id <> b.library_id`, mendSQL(`DELETE FROM album_assets WHERE (SELECT library_id FROM albums WHERE id = album_id) <> (SELECT library_id FROM assets WHERE id = asset_id)`)},
	{"the cover of an album is a member", `SELECT COUNT(*) FROM albums b WHERE album_cover_asset_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM album_assets WHERE album_id = b.id AND asset_id = b.album_cover_asset_id)`, mendSQL(`UPDATE albums SET album_cover_asset_id = NULL WHERE album_cover_asset_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM album_assets WHERE album_id = albums.id AND asset_id = albums.album_cover_asset_id)`)},
	{"a face is in the library of its asset and person", `SELECT COUNT(*) FROM faces f JOIN assets a ON a.id = f.asset_id LEFT JOIN people p ON p.id = f.person_id WHERE f.library_id <> a.library_id OR f.library_id <> p.library_id`, mendSQL(`UPDATE faces SET person_id = NULL WHERE person_id IS NOT NULL AND (SELECT library_id FROM people WHERE id = faces.person_id) <> (SELECT library_id FROM assets WHERE id = faces.asset_id)`,
		`UPDATE faces SET library_id = (SELECT library_id FROM assets WHERE id = faces.asset_id) WHERE library_id <> (SELECT library_id FROM assets WHERE id = faces.asset_id)`)},
	{"the thumbnail of a person is a face", `SELECT COUNT(*) FROM people p WHERE thumbnail_face_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM faces WHERE id = p.thumbnail_face_id)`, mendSQL(`UPDATE people SET thumbnail_face_id = NULL WHERE thumbnail_face_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM faces WHERE id = people.thumbnail_face_id)`)},
	{"a stack has two members", `SELECT COUNT(*) FROM stacks s WHERE (SELECT COUNT(*) FROM assets WHERE stack_id = s.id) < 2`, mendSQL(`UPDATE assets SET stack_id = NULL WHERE stack_id IN (SELECT id FROM stacks s WHERE (SELECT COUNT(*) FROM assets WHERE stack_id = s.id) < 2)`,
		`DELETE FROM stacks WHERE NOT EXISTS (SELECT 1 FROM assets WHERE stack_id = stacks.id)`)},
	{"the name of a person has a key", `SELECT COUNT(*) FROM people WHERE named <> (name_key <> '') OR named <> (name IS NOT NULL)`, mendSQLThen((*Tx).fillNameKeys, `UPDATE people SET name_key = '', named = FALSE WHERE name IS NULL`)},
	{"a person counts the embeddings of the faces", `SELECT COUNT(*) FROM person_embeddings pe WHERE face_count <> (SELECT COUNT(*) FROM faces f JOIN face_embeddings e ON e.face_id = f.id WHERE f.person_id = pe.person_id AND e.model = pe.model)`, (*Tx).mendCentroids},
	{"a face with an embedding is part of its person's sum", `SELECT COUNT(*) FROM face_embeddings e JOIN faces f ON f.id = e.face_id WHERE f.person_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM person_embeddings WHERE person_id = f.person_id AND model = e.model)`, (*Tx).mendCentroids},
	{"a sum of embeddings has a centroid", `SELECT COUNT(*) FROM person_embeddings pe WHERE NOT EXISTS (SELECT 1 FROM person_centroids c JOIN people p ON p.id = c.person_id AND p.library_id = c.library_id WHERE c.person_id = pe.person_id AND c.model = pe.model)`, (*Tx).mendCentroids},
	{"a centroid has a sum of embeddings", `SELECT COUNT(*) FROM person_centroids c WHERE NOT EXISTS (SELECT 1 FROM person_embeddings WHERE person_id = c.person_id AND model = c.model)`, (*Tx).mendCentroids},
	{"a stack holds assets of its library", `SELECT COUNT(*) FROM assets a JOIN stacks s ON s.id = a.stack_id WHERE a.library_id <> s.library_id`, mendSQL(`UPDATE assets SET stack_id = NULL WHERE stack_id IS NOT NULL AND library_id <> (SELECT library_id FROM stacks WHERE id = assets.stack_id)`)},
	{"the cover of a stack is a member", `SELECT COUNT(*) FROM stacks s WHERE primary_asset_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM assets WHERE id = s.primary_asset_id AND stack_id = s.id)`, mendSQL(`UPDATE stacks SET primary_asset_id = NULL WHERE primary_asset_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM assets WHERE id = stacks.primary_asset_id AND stack_id = stacks.id)`)},

	{"a live asset has a search document", `SELECT COUNT(*) FROM assets a WHERE a.live <> EXISTS (SELECT 1 FROM search_documents WHERE entity_id = a.id AND library_id = a.library_id)`, (*Tx).mendSearch},
	{"a search document is of something", `SELECT COUNT(*) FROM search_documents d WHERE NOT EXISTS (SELECT 1 FROM assets WHERE id = d.entity_id) AND NOT EXISTS (SELECT 1 FROM people WHERE id = d.entity_id) AND NOT EXISTS (SELECT 1 FROM albums WHERE id = d.entity_id)`, (*Tx).mendSearch},

	{"events are numbered up to the last", `SELECT COUNT(*) FROM events e WHERE position < 1 OR position > COALESCE((SELECT last_position FROM event_logs WHERE library_id = e.library_id), 0)`, mendSQL(`DELETE FROM events WHERE position < 1`,
		`INSERT INTO event_logs (library_id, last_position, last_recorded_at, compacted_position) SELECT library_id, MAX(position), MAX(recorded_at), 0 FROM events e WHERE NOT EXISTS (SELECT 1 FROM event_logs WHERE library_id = e.library_id) GROUP BY library_id`,
		`UPDATE event_logs SET last_position = (SELECT MAX(position) FROM events WHERE library_id = event_logs.library_id) WHERE last_position < (SELECT MAX(position) FROM events WHERE library_id = event_logs.library_id)`)},
	{"events go on after what was lost", `SELECT COUNT(*) FROM event_gaps g WHERE until_position > COALESCE((SELECT last_position FROM event_logs WHERE library_id = g.library_id), 0) OR EXISTS (SELECT 1 FROM events e WHERE e.library_id = g.library_id AND position > after_position AND position <= until_position)`,
		mendSQL(`DELETE FROM event_gaps WHERE EXISTS (SELECT 1 FROM events e WHERE e.library_id = event_gaps.library_id AND position > after_position AND position <= until_position)`,
			`UPDATE event_logs SET last_position = (SELECT MAX(until_position) FROM event_gaps g WHERE g.library_id = event_logs.library_id) WHERE last_position < (SELECT MAX(until_position) FROM event_gaps g WHERE g.library_id = event_logs.library_id)`,
			`DELETE FROM event_gaps WHERE NOT EXISTS (SELECT 1 FROM event_logs WHERE library_id = event_gaps.library_id)`)},
	{"an asset has a created event", created("assets", "asset_created"), mendCreated("assets", "asset_created")},
	{"an album has a created event", created("albums", "album_created"), mendCreated("albums", "album_created")},
	{"an album link has an added event", created("album_assets", "album_asset_added"), mendCreated("album_assets", "album_asset_added")},
	{"a person has a created event", created("people", "person_created"), mendCreated("people", "person_created")},
	{"a face has a created event", created("faces", "face_created"), mendCreated("faces", "face_created")},
	{"a stack has a created event", created("stacks", "stack_created"), mendCreated("stacks", "stack_created")},
	{"a purged asset has a deleted event", deleted("assets", "asset_created", "asset_deleted"), mendDeleted("assets", "asset_created", "asset_deleted")},
	{"a deleted album has a deleted event", deleted("albums", "album_created", "album_deleted"), mendDeleted("albums", "album_created", "album_deleted")},
	{"a removed album link has a removed event", deleted("album_assets", "album_asset_added", "album_asset_removed"), mendDeleted("album_assets", "album_asset_added", "album_asset_removed")},
	{"a deleted person has a deleted event", deleted("people", "person_created", "person_deleted"), mendDeleted("people", "person_created", "person_deleted")},
	{"a deleted face has a deleted event", deleted("faces", "face_created", "face_deleted"), mendDeleted("faces", "face_created", "face_deleted")},
	{"a dissolved stack has a deleted event", deleted("stacks", "stack_created", "stack_deleted"), mendDeleted("stacks", "stack_created", "stack_deleted")},
}

// created counts rows whose creation no event tells (behaviour 16.8).
func created(table, event string) string {
	return `SELECT COUNT(*) FROM ` + table + ` r WHERE NOT EXISTS (SELECT 1 FROM events WHERE entity_id = r.id AND event_type = '` + event + `')`
}

// deleted counts entities that are gone without an event that tells.
func deleted(table, created, deleted string) string {
	return `SELECT COUNT(*) FROM events e WHERE event_type = '` + created + `' AND NOT EXISTS (SELECT 1 FROM ` + table + ` WHERE id = e.entity_id)
		AND NOT EXISTS (SELECT 1 FROM events WHERE entity_id = e.entity_id AND event_type = '` + deleted + `')`
}

// Check reads the whole database and returns a sentence for everything that
// should hold of its rows but does not; none for a sound one.
func (s *Store) Check(ctx context.Context) (problems []string, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		problems = nil
		if tx.store.dialect.integrity != "" {
			// The check of SQLite's full-text index goes by what the connection last read of
			// the index's structure, which others may have changed; a search reads it anew.
			text, args, err := tx.store.dialect.matches(tx, "nobody", nil, 1)
			if err == nil {
				err = tx.each(text, args, func(*sql.Rows) error { return nil })
			}
			if err != nil {
				return fmt.Errorf("check the file: %w", err)
			}
			err = tx.each(tx.store.dialect.integrity, nil, func(rows *sql.Rows) error {
				var problem string
				err := rows.Scan(&problem)
				if problem != "ok" {
					problems = append(problems, "the file is damaged: "+problem)
				}
				return err
			})
			if err != nil {
				return fmt.Errorf("check the file: %w", err)
			}
		}
		broken, err := tx.brokenInvariants()
		for _, b := range broken {
			problems = append(problems, fmt.Sprintf("not for %d: %s", b.rows, b.name))
		}
		return err
	})
	return problems, err
}
