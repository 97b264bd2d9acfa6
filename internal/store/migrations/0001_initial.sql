-- Times are microseconds: UTC since the Unix epoch, or, for *_datetime columns,
-- of the wall clock. *_offset columns are minutes east of UTC, NULL when unknown.
-- IDs are the 16 bytes of the UUID. Type names are PostgreSQL's; SQLite takes them.

CREATE TABLE settings (
	name TEXT PRIMARY KEY,
	value BYTEA NOT NULL
);

CREATE TABLE users (
	id BYTEA PRIMARY KEY,
	email TEXT,
	first_name TEXT,
	last_name TEXT,
	is_active BOOLEAN NOT NULL,
	is_superuser BOOLEAN NOT NULL,
	is_verified BOOLEAN NOT NULL,
	storage_limit_bytes BIGINT,
	storage_used_bytes BIGINT NOT NULL DEFAULT 0,
	timezone TEXT,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL
);

CREATE TABLE libraries (
	id BYTEA PRIMARY KEY,
	user_id BYTEA NOT NULL REFERENCES users (id),
	name TEXT NOT NULL,
	description TEXT,
	asset_count BIGINT NOT NULL DEFAULT 0,
	storage_used_bytes BIGINT NOT NULL DEFAULT 0,
	storage_limit_bytes BIGINT,
	trashed_at BIGINT,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL
);
CREATE INDEX libraries_by_user ON libraries (user_id, created_at, id);

CREATE TABLE api_keys (
	id BYTEA PRIMARY KEY,
	user_id BYTEA NOT NULL REFERENCES users (id),
	name TEXT,
	secret_hash BYTEA NOT NULL UNIQUE,
	is_active BOOLEAN NOT NULL,
	actions TEXT NOT NULL,
	library_scope_mode TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	last_used_at BIGINT
);
CREATE INDEX api_keys_by_user ON api_keys (user_id, created_at, id);

CREATE TABLE api_key_libraries (
	api_key_id BYTEA NOT NULL REFERENCES api_keys (id),
	library_id BYTEA NOT NULL REFERENCES libraries (id),
	PRIMARY KEY (api_key_id, library_id)
){{without_rowid}};

CREATE TABLE stacks (
	id BYTEA PRIMARY KEY,
	library_id BYTEA NOT NULL REFERENCES libraries (id),
	origin TEXT NOT NULL,
	primary_asset_id BYTEA,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL
);
CREATE INDEX stacks_by_library ON stacks (library_id, id);

CREATE TABLE assets (
	id BYTEA PRIMARY KEY,
	library_id BYTEA NOT NULL REFERENCES libraries (id),
	media_type TEXT NOT NULL,
	live BOOLEAN NOT NULL,              -- trashed_at IS NULL
	in_album BOOLEAN NOT NULL,          -- some row of album_assets exists
	local_datetime BIGINT NOT NULL,
	local_datetime_offset BIGINT,
	captured_at BIGINT NOT NULL,        -- local_datetime in UTC where the offset is known, else the wall clock
	latitude DOUBLE PRECISION,          -- of the metadata, for the map
	longitude DOUBLE PRECISION,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	trashed_at BIGINT,
	last_trashed_at BIGINT,             -- survives a restore: where a cursor over the trash stood
	description TEXT,
	stack_id BYTEA REFERENCES stacks (id),
	duration DOUBLE PRECISION,
	metrics TEXT,                       -- JSON object
	original_file_name TEXT NOT NULL,
	device_asset_id TEXT NOT NULL,
	device_id TEXT NOT NULL,
	file_created_at BIGINT NOT NULL,
	file_created_at_offset BIGINT,
	file_modified_at BIGINT NOT NULL,
	file_modified_at_offset BIGINT,
	file_size_bytes BIGINT NOT NULL,
	checksum BYTEA NOT NULL,            -- SHA-256
	checksum_sha1 BYTEA NOT NULL,
	current_version_id BYTEA NOT NULL
);
CREATE UNIQUE INDEX assets_by_checksum ON assets (library_id, checksum);
CREATE INDEX assets_by_checksum_sha1 ON assets (library_id, checksum_sha1);
CREATE INDEX assets_by_device ON assets (library_id, device_id, device_asset_id);
-- The streams that pages merge: (set, live, local_datetime, id).
CREATE INDEX assets_by_time ON assets (library_id, live, local_datetime, id);
CREATE INDEX assets_by_media_type ON assets (library_id, media_type, live, local_datetime, id);
CREATE INDEX assets_by_album_membership ON assets (library_id, in_album, live, local_datetime, id);
CREATE INDEX assets_by_stack ON assets (stack_id, live, local_datetime, id) WHERE stack_id IS NOT NULL;
CREATE INDEX assets_by_trash_time ON assets (library_id, trashed_at, id) WHERE trashed_at IS NOT NULL;

CREATE TABLE asset_versions (
	id BYTEA PRIMARY KEY,
	asset_id BYTEA NOT NULL REFERENCES assets (id),
	position BIGINT NOT NULL,
	kind TEXT NOT NULL,
	mime_type TEXT NOT NULL,
	width BIGINT NOT NULL,
	height BIGINT NOT NULL,
	file_size_bytes BIGINT NOT NULL,
	checksum BYTEA NOT NULL,
	params TEXT,                        -- JSON object; NULL for the original
	variant_mime_type TEXT NOT NULL,
	displayable BOOLEAN NOT NULL,
	thumbhash BYTEA,
	created_at BIGINT NOT NULL,
	UNIQUE (asset_id, position)
);
CREATE INDEX asset_versions_by_checksum ON asset_versions (checksum);

CREATE TABLE asset_metadata (
	asset_id BYTEA PRIMARY KEY REFERENCES assets (id),
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	make TEXT,
	model TEXT,
	lens_model TEXT,
	orientation BIGINT,
	modified_datetime BIGINT,
	modified_datetime_offset BIGINT,
	original_datetime BIGINT,
	original_datetime_offset BIGINT,
	digitized_datetime BIGINT,
	digitized_datetime_offset BIGINT,
	f_number DOUBLE PRECISION,
	focal_length DOUBLE PRECISION,
	iso BIGINT,
	exposure_time DOUBLE PRECISION,
	exposure_bias DOUBLE PRECISION,
	latitude DOUBLE PRECISION,
	longitude DOUBLE PRECISION,
	altitude DOUBLE PRECISION,
	city TEXT,
	state TEXT,
	country TEXT,
	country_code TEXT,
	sublocation TEXT,
	place_name TEXT,
	timezone TEXT,
	description TEXT,
	fps DOUBLE PRECISION,
	live_photo_cid TEXT,
	projection_type TEXT,
	profile_description TEXT,
	auto_stack_id TEXT,
	rating BIGINT,
	raw_width BIGINT,
	raw_height BIGINT
);

CREATE TABLE albums (
	id BYTEA PRIMARY KEY,
	library_id BYTEA NOT NULL REFERENCES libraries (id),
	name TEXT NOT NULL,
	description TEXT,
	album_cover_asset_id BYTEA,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL
);
CREATE INDEX albums_by_library ON albums (library_id, created_at, id);

-- live and local_datetime in the three membership tables copy those of the asset.
CREATE TABLE album_assets (
	id BYTEA PRIMARY KEY,
	album_id BYTEA NOT NULL REFERENCES albums (id),
	asset_id BYTEA NOT NULL REFERENCES assets (id),
	live BOOLEAN NOT NULL,
	local_datetime BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX album_assets_by_asset ON album_assets (asset_id, album_id);
CREATE INDEX album_assets_by_time ON album_assets (album_id, live, local_datetime, asset_id);

CREATE TABLE people (
	id BYTEA PRIMARY KEY,
	library_id BYTEA NOT NULL REFERENCES libraries (id),
	name TEXT,
	birth_date TEXT,
	is_favorite BOOLEAN NOT NULL,
	is_hidden BOOLEAN NOT NULL,
	thumbnail_face_id BYTEA,
	asset_count BIGINT NOT NULL DEFAULT 0,  -- live assets
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL
);
CREATE INDEX people_by_library ON people (library_id, created_at, id);

CREATE TABLE faces (
	id BYTEA PRIMARY KEY,
	library_id BYTEA NOT NULL REFERENCES libraries (id),
	asset_id BYTEA NOT NULL REFERENCES assets (id),
	person_id BYTEA REFERENCES people (id),
	x BIGINT NOT NULL,
	y BIGINT NOT NULL,
	w BIGINT NOT NULL,
	h BIGINT NOT NULL,
	source TEXT NOT NULL,
	confidence DOUBLE PRECISION,
	timestamp_ms BIGINT,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL
);
CREATE INDEX faces_by_asset ON faces (asset_id, created_at, id);
CREATE INDEX faces_by_person ON faces (person_id, created_at, id);
CREATE INDEX faces_by_library ON faces (library_id, created_at, id);

-- Which people an asset shows: the distinct pairs of faces.
CREATE TABLE asset_people (
	asset_id BYTEA NOT NULL REFERENCES assets (id),
	person_id BYTEA NOT NULL REFERENCES people (id),
	live BOOLEAN NOT NULL,
	local_datetime BIGINT NOT NULL,
	PRIMARY KEY (asset_id, person_id)
){{without_rowid}};
CREATE INDEX asset_people_by_time ON asset_people (person_id, live, local_datetime, asset_id);

-- Where a geotagged asset lies, once for each grid level (see cells.go).
CREATE TABLE asset_cells (
	library_id BYTEA NOT NULL,
	cell BIGINT NOT NULL,
	live BOOLEAN NOT NULL,
	local_datetime BIGINT NOT NULL,
	asset_id BYTEA NOT NULL REFERENCES assets (id),
	latitude DOUBLE PRECISION NOT NULL,
	longitude DOUBLE PRECISION NOT NULL,
	PRIMARY KEY (library_id, cell, live, local_datetime, asset_id)
){{without_rowid}};

-- Where a purged asset stood, so that a cursor outlives it.
CREATE TABLE purged_assets (
	id BYTEA PRIMARY KEY,
	library_id BYTEA NOT NULL,
	local_datetime BIGINT NOT NULL,
	trashed_at BIGINT
){{without_rowid}};

CREATE TABLE tasks (
	id BYTEA PRIMARY KEY,
	delivery_id TEXT NOT NULL UNIQUE,
	user_id BYTEA NOT NULL REFERENCES users (id),
	library_id BYTEA REFERENCES libraries (id),
	asset_id BYTEA,
	task_type TEXT NOT NULL,
	status TEXT NOT NULL,
	retry_count BIGINT NOT NULL DEFAULT 0,
	error_message TEXT,
	result TEXT,
	payload TEXT,                       -- JSON, for work whose asset is gone
	created_at BIGINT NOT NULL,
	started_at BIGINT,
	completed_at BIGINT,
	due_at BIGINT                       -- when it may be claimed; NULL once finished
);
CREATE UNIQUE INDEX tasks_by_asset ON tasks (asset_id, task_type);
CREATE INDEX tasks_by_due ON tasks (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX tasks_by_user ON tasks (user_id, created_at, id);
CREATE INDEX tasks_by_library ON tasks (library_id, created_at, id);
CREATE INDEX tasks_by_failure ON tasks (user_id, created_at, id) WHERE status = 'failure';
