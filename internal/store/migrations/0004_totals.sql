-- Running totals, kept by placeAsset and unplaceAsset. A row whose count falls to
-- zero is deleted.

CREATE TABLE asset_months (
	library_id BYTEA NOT NULL,
	live BOOLEAN NOT NULL,
	month BIGINT NOT NULL,              -- of local_datetime: 12 * year + month - 1
	asset_count BIGINT NOT NULL,
	PRIMARY KEY (library_id, live, month)
){{without_rowid}};

-- The geotagged assets of a cell of asset_cells, found by the cell that holds it
-- one level up (see cells.go); the cell of level 0 has no row.
CREATE TABLE cell_totals (
	library_id BYTEA NOT NULL,
	live BOOLEAN NOT NULL,
	parent BIGINT NOT NULL,
	cell BIGINT NOT NULL,
	asset_count BIGINT NOT NULL,
	latitude_sum BIGINT NOT NULL,       -- in 1e-7 degrees, each rounded
	longitude_sum BIGINT NOT NULL,
	newest_datetime BIGINT NOT NULL,    -- of the newest asset, the larger ID among equals
	newest_asset_id BYTEA NOT NULL,
	PRIMARY KEY (library_id, live, parent, cell)
){{without_rowid}};

-- The month of a day count since 0000-03-01, in the proleptic Gregorian calendar:
-- eras of 400 years, years from March, months of 153 days in five.
INSERT INTO asset_months (library_id, live, month, asset_count)
SELECT library_id, live, 12 * (400 * era + year) + (5 * (doe - (365 * year + year / 4 - year / 100)) + 2) / 153 + 2 AS month, SUM(n)
FROM (
	SELECT library_id, live, era, doe, (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365 AS year, n
	FROM (
		SELECT library_id, live, day / 146097 AS era, day % 146097 AS doe, n
		FROM (
			SELECT library_id, live, (local_datetime + 62162035200000000) / 86400000000 AS day, COUNT(*) AS n
			FROM assets GROUP BY library_id, live, day
		) AS days
	) AS eras
) AS years
GROUP BY library_id, live, month;

INSERT INTO cell_totals (library_id, live, parent, cell, asset_count, latitude_sum, longitude_sum, newest_datetime, newest_asset_id)
SELECT library_id, live, (((cell >> 40) - 3) << 40) | ((((cell >> 20) & 1048575) >> 3) << 20) | ((cell & 1048575) >> 3), cell, n, latitude_sum, longitude_sum, newest_datetime,
	(SELECT asset_id FROM asset_cells m WHERE m.library_id = t.library_id AND m.cell = t.cell AND m.live = t.live ORDER BY local_datetime DESC, asset_id DESC LIMIT 1)
FROM (
	SELECT library_id, cell, live, COUNT(*) AS n, MAX(local_datetime) AS newest_datetime,
		SUM(CAST(floor(latitude * 10000000 + 0.5) AS BIGINT)) AS latitude_sum, SUM(CAST(floor(longitude * 10000000 + 0.5) AS BIGINT)) AS longitude_sum
	FROM asset_cells WHERE cell > 0 GROUP BY library_id, cell, live
) AS t;
