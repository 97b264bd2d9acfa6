-- The log of changes: one row for each change of an entity, numbered within its
-- library in the order of the commits. event_logs holds the last number; its row
-- is locked from there to the commit, so no later commit can get a smaller one.

CREATE TABLE event_logs (
	library_id BYTEA PRIMARY KEY REFERENCES libraries (id),
	last_position BIGINT NOT NULL,
	last_recorded_at BIGINT NOT NULL,
	compacted_position BIGINT NOT NULL  -- superseded events up to here are gone
);

CREATE TABLE events (
	library_id BYTEA NOT NULL,
	position BIGINT NOT NULL,
	entity_type TEXT NOT NULL,
	event_type TEXT NOT NULL,
	entity_id BYTEA NOT NULL,           -- of metadata: the asset
	payload TEXT,                       -- JSON object
	recorded_at BIGINT NOT NULL,        -- never falls as the position rises
	PRIMARY KEY (library_id, position)
){{without_rowid}};
CREATE INDEX events_by_entity_type ON events (library_id, entity_type, position);
CREATE INDEX events_by_entity ON events (entity_id, event_type);

-- Live members, counted as they change (behaviour 9.2).
ALTER TABLE albums ADD COLUMN asset_count BIGINT NOT NULL DEFAULT 0;
UPDATE albums SET asset_count = (SELECT COUNT(*) FROM album_assets WHERE album_id = albums.id AND live);
CREATE INDEX album_assets_by_album ON album_assets (album_id, created_at, id);

-- Everything that is there by now was created (behaviour 16.8).
INSERT INTO events (library_id, position, entity_type, event_type, entity_id, payload, recorded_at)
SELECT library_id, ROW_NUMBER() OVER (PARTITION BY library_id ORDER BY created_at, kind, entity_id), entity_type, event_type, entity_id, NULL, created_at
FROM (
	SELECT library_id, 1 AS kind, 'asset' AS entity_type, 'asset_created' AS event_type, id AS entity_id, created_at FROM assets
	UNION ALL SELECT library_id, 2, 'metadata', 'metadata_updated', id, created_at FROM assets
	UNION ALL SELECT library_id, 3, 'person', 'person_created', id, created_at FROM people
	UNION ALL SELECT library_id, 4, 'face', 'face_created', id, created_at FROM faces
	UNION ALL SELECT library_id, 5, 'album', 'album_created', id, created_at FROM albums
	UNION ALL SELECT a.library_id, 6, 'album_asset', 'album_asset_added', l.id, l.created_at FROM album_assets l JOIN albums a ON a.id = l.album_id
	UNION ALL SELECT library_id, 7, 'stack', 'stack_created', id, created_at FROM stacks
) AS entities;
INSERT INTO event_logs (library_id, last_position, last_recorded_at, compacted_position)
SELECT id, COALESCE((SELECT MAX(position) FROM events WHERE library_id = libraries.id), 0), COALESCE((SELECT MAX(recorded_at) FROM events WHERE library_id = libraries.id), 0), 0
FROM libraries;

-- Who shows an asset as a cover or a face as a thumbnail, for when it is purged.
CREATE INDEX albums_by_cover ON albums (album_cover_asset_id) WHERE album_cover_asset_id IS NOT NULL;
CREATE INDEX stacks_by_primary_asset ON stacks (primary_asset_id) WHERE primary_asset_id IS NOT NULL;
CREATE INDEX people_by_thumbnail_face ON people (thumbnail_face_id) WHERE thumbnail_face_id IS NOT NULL;
