-- What users say of an asset instead of its file. asset_metadata holds what is
-- shown; file_facts keeps what it hides (JSON), to show again when the edit goes.
CREATE TABLE asset_edits (
	asset_id BYTEA PRIMARY KEY REFERENCES assets (id),
	description TEXT,
	latitude DOUBLE PRECISION,
	longitude DOUBLE PRECISION,
	original_datetime BIGINT,
	original_datetime_offset BIGINT,
	file_facts TEXT NOT NULL
);

-- Which offsets follow from the place: 1 that of original_datetime, 2 that of
-- digitized_datetime, 4 that of modified_datetime.
ALTER TABLE asset_metadata ADD COLUMN derived_offsets BIGINT NOT NULL DEFAULT 0;
