-- What assets, people and albums are found by: the words of their texts (package
-- search), and the engine's index of them.
CREATE TABLE search_documents (
	document {{serial_key}},
	kind TEXT NOT NULL,                 -- asset, person, album
	entity_id BYTEA NOT NULL UNIQUE,
	library_id BYTEA NOT NULL,
	words TEXT NOT NULL
);
CREATE INDEX search_documents_by_library ON search_documents (library_id);
{{search_index}}
