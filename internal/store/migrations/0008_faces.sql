-- People are listed by name, by count and by time; named and unnamed ones are two
-- streams of each order. name_key is the name as it is compared, '' without one.
ALTER TABLE people ADD COLUMN name_key TEXT NOT NULL DEFAULT '';
ALTER TABLE people ADD COLUMN named BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE people ADD COLUMN by_user BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX people_by_time ON people (library_id, named, created_at, id);
CREATE INDEX people_by_name ON people (library_id, named, name_key, id);
CREATE INDEX people_by_count ON people (library_id, named, asset_count, id);
DROP INDEX people_by_library;

-- How well a face shows its person: pixels of the box, times the confidence.
ALTER TABLE faces ADD COLUMN quality DOUBLE PRECISION NOT NULL DEFAULT 0;
UPDATE faces SET quality = w * h * COALESCE(confidence, 1);
CREATE INDEX faces_by_quality ON faces (person_id, quality, id);

-- Embeddings are float32, the sums over the faces of a person float64, both little
-- endian; a centroid is the sum at unit length, as float32 for fast reading.
CREATE TABLE face_embeddings (
	face_id BYTEA PRIMARY KEY REFERENCES faces (id),
	model TEXT NOT NULL,
	embedding BYTEA NOT NULL
);
CREATE TABLE person_embeddings (
	person_id BYTEA NOT NULL REFERENCES people (id),
	model TEXT NOT NULL,
	face_count BIGINT NOT NULL,
	embedding_sum BYTEA NOT NULL,
	PRIMARY KEY (person_id, model)
);
CREATE TABLE person_centroids (
	library_id BYTEA NOT NULL,
	model TEXT NOT NULL,
	person_id BYTEA NOT NULL REFERENCES people (id),
	centroid BYTEA NOT NULL,
	PRIMARY KEY (library_id, model, person_id)
){{without_rowid}};
