-- What is to be purged without waiting for the retention: assets that were in the
-- trash when it was emptied, and libraries whose deletion was asked for.
ALTER TABLE libraries ADD COLUMN trash_emptied_at BIGINT;
ALTER TABLE libraries ADD COLUMN purge_requested_at BIGINT;

-- For purging the rows of a library in pieces.
CREATE INDEX purged_assets_by_library ON purged_assets (library_id);
