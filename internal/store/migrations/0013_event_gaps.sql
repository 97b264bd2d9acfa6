-- Where the events of a library go on after a backup was put back. The positions
-- between are of events that the backup does not have, and of none since: who has
-- read one of them has seen what is no more, and is told so.
CREATE TABLE event_gaps (
	library_id BYTEA NOT NULL,
	after_position BIGINT NOT NULL,
	until_position BIGINT NOT NULL,
	PRIMARY KEY (library_id, after_position)
){{without_rowid}};
