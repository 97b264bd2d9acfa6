-- The links of an asset are listed newest first.
CREATE INDEX album_assets_by_asset_time ON album_assets (asset_id, created_at, id);
