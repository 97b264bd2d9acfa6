-- Removals of originals from the blob storage, for uploads of the same bytes at the
-- same time: what is being removed (ended_at is null), and what was lately.
CREATE TABLE original_removals (
	checksum   BYTEA PRIMARY KEY NOT NULL,
	owner      TEXT NOT NULL, -- the process that removes
	number     BIGINT NOT NULL, -- of removals of these bytes so far
	started_at BIGINT NOT NULL,
	ended_at   BIGINT
);
CREATE INDEX original_removals_by_end ON original_removals (ended_at);
