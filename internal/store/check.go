package store

import (
	"context"
	"fmt"
)

// invariant is something that must hold of all rows at every commit. Its query
// counts the rows for which it does not.
type invariant struct{ name, violations string }

// invariants are what the transactions of this package keep true by themselves,
// beyond what the schema enforces: counters, copies, memberships, covers, and the
// events that tell of it all.
var invariants = []invariant{
	{"a library counts its live assets", `SELECT COUNT(*) FROM libraries l WHERE asset_count <> (SELECT COUNT(*) FROM assets WHERE library_id = l.id AND live = TRUE)`},
	{"a library counts its bytes", `SELECT COUNT(*) FROM libraries l WHERE storage_used_bytes <> (SELECT COALESCE(SUM(v.file_size_bytes), 0) FROM assets a JOIN asset_versions v ON v.asset_id = a.id WHERE a.library_id = l.id)`},
	{"a user counts the bytes of the libraries", `SELECT COUNT(*) FROM users u WHERE storage_used_bytes <> (SELECT COALESCE(SUM(storage_used_bytes), 0) FROM libraries WHERE user_id = u.id)`},
	{"an album counts its live assets", `SELECT COUNT(*) FROM albums b WHERE asset_count <> (SELECT COUNT(*) FROM album_assets WHERE album_id = b.id AND live = TRUE)`},
	{"a person counts the live assets that show it", `SELECT COUNT(*) FROM people p WHERE asset_count <> (SELECT COUNT(*) FROM asset_people WHERE person_id = p.id AND live = TRUE)`},

	{"an asset is live or has a trash time", `SELECT COUNT(*) FROM assets WHERE live <> (trashed_at IS NULL)`},
	{"an asset knows whether it is in an album", `SELECT COUNT(*) FROM assets a WHERE in_album <> EXISTS (SELECT 1 FROM album_assets WHERE asset_id = a.id)`},
	{"an album link copies the order of its asset", `SELECT COUNT(*) FROM album_assets m JOIN assets a ON a.id = m.asset_id WHERE m.live <> a.live OR m.local_datetime <> a.local_datetime`},
	{"a person link copies the order of its asset", `SELECT COUNT(*) FROM asset_people m JOIN assets a ON a.id = m.asset_id WHERE m.live <> a.live OR m.local_datetime <> a.local_datetime`},
	{"a map cell copies the order of its asset", `SELECT COUNT(*) FROM asset_cells m LEFT JOIN assets a ON a.id = m.asset_id WHERE a.id IS NULL OR m.live <> a.live OR m.local_datetime <> a.local_datetime OR m.library_id <> a.library_id OR m.latitude <> a.latitude OR m.longitude <> a.longitude`},
	{"a month counts its assets", `SELECT COUNT(*) FROM libraries l WHERE COALESCE((SELECT SUM(asset_count) FROM asset_months WHERE library_id = l.id AND live = TRUE), 0) <> l.asset_count`},
	{"all months count all assets", `SELECT COUNT(*) FROM libraries l WHERE COALESCE((SELECT SUM(asset_count) FROM asset_months WHERE library_id = l.id), 0) <> (SELECT COUNT(*) FROM assets WHERE library_id = l.id)`},
	{"a map cell counts its assets", `SELECT COUNT(*) FROM cell_totals t WHERE asset_count <> (SELECT COUNT(*) FROM asset_cells m WHERE m.library_id = t.library_id AND m.cell = t.cell AND m.live = t.live)`},
	{"a map cell sums the coordinates of its assets", `SELECT COUNT(*) FROM cell_totals t WHERE latitude_sum <> (SELECT SUM(CAST(floor(latitude * 10000000 + 0.5) AS BIGINT)) FROM asset_cells m WHERE m.library_id = t.library_id AND m.cell = t.cell AND m.live = t.live)
		OR longitude_sum <> (SELECT SUM(CAST(floor(longitude * 10000000 + 0.5) AS BIGINT)) FROM asset_cells m WHERE m.library_id = t.library_id AND m.cell = t.cell AND m.live = t.live)`},
	{"a map cell knows its newest asset", `SELECT COUNT(*) FROM cell_totals t WHERE newest_asset_id <> (SELECT asset_id FROM asset_cells m WHERE m.library_id = t.library_id AND m.cell = t.cell AND m.live = t.live ORDER BY m.local_datetime DESC, m.asset_id DESC LIMIT 1)`},
	{"a map cell with assets has totals", `SELECT COUNT(*) FROM asset_cells m WHERE cell > 0 AND NOT EXISTS (SELECT 1 FROM cell_totals t WHERE t.library_id = m.library_id AND t.live = m.live AND t.cell = m.cell AND t.parent = (((m.cell >> 40) - 3) << 40) | ((((m.cell >> 20) & 1048575) >> 3) << 20) | ((m.cell & 1048575) >> 3))`},
	{"an asset shows the people of its faces", `SELECT COUNT(*) FROM faces f WHERE person_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM asset_people WHERE asset_id = f.asset_id AND person_id = f.person_id)`},
	{"an asset shows only the people of its faces", `SELECT COUNT(*) FROM asset_people m WHERE NOT EXISTS (SELECT 1 FROM faces WHERE asset_id = m.asset_id AND person_id = m.person_id)`},
	{"an asset has metadata", `SELECT COUNT(*) FROM assets a WHERE NOT EXISTS (SELECT 1 FROM asset_metadata WHERE asset_id = a.id)`},
	{"an asset has one original", `SELECT COUNT(*) FROM assets a WHERE (SELECT COUNT(*) FROM asset_versions WHERE asset_id = a.id AND position = 0) <> 1`},
	{"the current version of an asset is its last", `SELECT COUNT(*) FROM assets a WHERE current_version_id <> (SELECT id FROM asset_versions WHERE asset_id = a.id ORDER BY position DESC LIMIT 1)`},

	{"an album holds assets of its library", `SELECT COUNT(*) FROM album_assets m JOIN albums b ON b.id = m.album_id JOIN assets a ON a.id = m.asset_id WHERE a.library_id <> b.library_id`},
	{"the cover of an album is a member", `SELECT COUNT(*) FROM albums b WHERE album_cover_asset_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM album_assets WHERE album_id = b.id AND asset_id = b.album_cover_asset_id)`},
	{"a face is in the library of its asset and person", `SELECT COUNT(*) FROM faces f JOIN assets a ON a.id = f.asset_id LEFT JOIN people p ON p.id = f.person_id WHERE f.library_id <> a.library_id OR f.library_id <> p.library_id`},
	{"the thumbnail of a person is a face", `SELECT COUNT(*) FROM people p WHERE thumbnail_face_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM faces WHERE id = p.thumbnail_face_id)`},
	{"a stack has two members", `SELECT COUNT(*) FROM stacks s WHERE (SELECT COUNT(*) FROM assets WHERE stack_id = s.id) < 2`},
	{"the name of a person has a key", `SELECT COUNT(*) FROM people WHERE named <> (name_key <> '') OR named <> (name IS NOT NULL)`},
	{"a person counts the embeddings of the faces", `SELECT COUNT(*) FROM person_embeddings pe WHERE face_count <> (SELECT COUNT(*) FROM faces f JOIN face_embeddings e ON e.face_id = f.id WHERE f.person_id = pe.person_id AND e.model = pe.model)`},
	{"a face with an embedding is part of its person's sum", `SELECT COUNT(*) FROM face_embeddings e JOIN faces f ON f.id = e.face_id WHERE f.person_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM person_embeddings WHERE person_id = f.person_id AND model = e.model)`},
	{"a sum of embeddings has a centroid", `SELECT COUNT(*) FROM person_embeddings pe WHERE NOT EXISTS (SELECT 1 FROM person_centroids c JOIN people p ON p.id = c.person_id AND p.library_id = c.library_id WHERE c.person_id = pe.person_id AND c.model = pe.model)`},
	{"a centroid has a sum of embeddings", `SELECT COUNT(*) FROM person_centroids c WHERE NOT EXISTS (SELECT 1 FROM person_embeddings WHERE person_id = c.person_id AND model = c.model)`},
	{"a stack holds assets of its library", `SELECT COUNT(*) FROM assets a JOIN stacks s ON s.id = a.stack_id WHERE a.library_id <> s.library_id`},
	{"the cover of a stack is a member", `SELECT COUNT(*) FROM stacks s WHERE primary_asset_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM assets WHERE id = s.primary_asset_id AND stack_id = s.id)`},

	{"a live asset has a search document", `SELECT COUNT(*) FROM assets a WHERE a.live <> EXISTS (SELECT 1 FROM search_documents WHERE entity_id = a.id AND library_id = a.library_id)`},
	{"a search document is of something", `SELECT COUNT(*) FROM search_documents d WHERE NOT EXISTS (SELECT 1 FROM assets WHERE id = d.entity_id) AND NOT EXISTS (SELECT 1 FROM people WHERE id = d.entity_id) AND NOT EXISTS (SELECT 1 FROM albums WHERE id = d.entity_id)`},

	{"events are numbered up to the last", `SELECT COUNT(*) FROM events e WHERE position < 1 OR position > COALESCE((SELECT last_position FROM event_logs WHERE library_id = e.library_id), 0)`},
	{"an asset has a created event", created("assets", "asset_created")},
	{"an album has a created event", created("albums", "album_created")},
	{"an album link has an added event", created("album_assets", "album_asset_added")},
	{"a person has a created event", created("people", "person_created")},
	{"a face has a created event", created("faces", "face_created")},
	{"a stack has a created event", created("stacks", "stack_created")},
	{"a purged asset has a deleted event", deleted("assets", "asset_created", "asset_deleted")},
	{"a deleted album has a deleted event", deleted("albums", "album_created", "album_deleted")},
	{"a removed album link has a removed event", deleted("album_assets", "album_asset_added", "album_asset_removed")},
	{"a deleted person has a deleted event", deleted("people", "person_created", "person_deleted")},
	{"a deleted face has a deleted event", deleted("faces", "face_created", "face_deleted")},
	{"a dissolved stack has a deleted event", deleted("stacks", "stack_created", "stack_deleted")},
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
		for _, i := range invariants {
			var n int64
			if err := tx.QueryRow(i.violations).Scan(&n); err != nil {
				return fmt.Errorf("check that %s: %w", i.name, err)
			}
			if n > 0 {
				problems = append(problems, fmt.Sprintf("not for %d: %s", n, i.name))
			}
		}
		wrong, err := tx.wrongCentroids()
		if wrong > 0 {
			problems = append(problems, fmt.Sprintf("not for %d: a centroid is the mean of the embeddings", wrong))
		}
		return err
	})
	return problems, err
}
