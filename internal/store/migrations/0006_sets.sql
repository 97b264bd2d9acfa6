-- Links are listed by library as well, newest first.
ALTER TABLE album_assets ADD COLUMN library_id BYTEA;
UPDATE album_assets SET library_id = (SELECT library_id FROM albums WHERE id = album_assets.album_id);
CREATE INDEX album_assets_by_library ON album_assets (library_id, created_at, id);

CREATE INDEX stacks_by_origin ON stacks (library_id, origin, id);
