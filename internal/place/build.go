package place

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// town is a line of the GeoNames table while the file is being built.
type town struct {
	name       string
	feature    string // GeoNames feature code: PPL a populated place, PPLX a section of one, PPLA* a seat, PPLC a capital
	country    string
	admin      [4]string // codes from the first-order division down; "" unknown
	population int
	position   vector
	latitude   float64
	longitude  float64
	city       int // the town whose district this is, or itself
}

// gone are the feature codes of places nobody lives in any more, and of former
// capitals, which the table lists a second time.
var gone = []string{"PPLH", "PPLQ", "PPLW", "PPLCH"}

// Build packs a GeoNames table of populated places (cities500.txt) and the names
// of first-order divisions (a JSON array of {"code": "FR.11", "name":
// "Île-de-France"}) into the file that the program embeds.
func Build(out io.Writer, cities, divisions io.Reader) error {
	towns, err := readTowns(cities)
	if err != nil {
		return err
	}
	var named []struct{ Code, Name string }
	if err := json.NewDecoder(divisions).Decode(&named); err != nil {
		return fmt.Errorf("read names of divisions: %w", err)
	}
	stateNames := make(map[string]string, len(named))
	for _, division := range named {
		stateNames[division.Code] = division.Name
	}
	findCities(towns)
	zones, err := countriesOfZones(towns)
	if err != nil {
		return err
	}
	_, err = out.Write(pack(towns, stateNames, zones))
	return err
}

func readTowns(table io.Reader) ([]town, error) {
	var towns []town
	lines := bufio.NewScanner(table)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		fields := strings.Split(lines.Text(), "\t")
		if len(fields) != 19 {
			return nil, fmt.Errorf("read places: line %d has %d fields, want 19", n, len(fields))
		}
		t := town{name: fields[1], feature: fields[7], country: fields[8], city: len(towns)}
		if slices.Contains(gone, t.feature) || len(t.country) != 2 {
			continue
		}
		copy(t.admin[:], fields[10:14])
		if t.admin[0] == "00" { // GeoNames' code for none
			t.admin[0] = ""
		}
		var errs [3]error
		t.latitude, errs[0] = strconv.ParseFloat(fields[4], 64)
		t.longitude, errs[1] = strconv.ParseFloat(fields[5], 64)
		t.population, errs[2] = strconv.Atoi(fields[14])
		if err := cmp.Or(errs[0], errs[1], errs[2]); err != nil {
			return nil, fmt.Errorf("read places: line %d: %w", n, err)
		}
		t.position = vectorOf(t.latitude, t.longitude)
		towns = append(towns, t)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read places: %w", err)
	}
	return towns, nil
}

// radius is how far, in km, a city of a population reaches at so many people a
// square kilometre.
func radius(population int, density float64) float64 {
	return math.Sqrt(float64(population) / (math.Pi * density))
}

// findCities tells districts from cities. GeoNames lists both; it marks sections
// (PPLX) but not what they are sections of, and seats of districts look like
// towns. Three rules, the first that holds:
//
//   - a section belongs to a larger place that is not one: that of its
//     municipality where the codes name it, else the one with the greatest pull
//     (square root of population over distance) in its division;
//   - a place whose codes go on where those of a city of half a million stop
//     belongs to it, for such a city spans these divisions: Tokyo and its wards,
//     New York City and its boroughs;
//   - a settlement of the municipality of a city of 100,000 belongs to it when
//     it is near and small.
func findCities(towns []town) {
	grid := make(map[[2]int][]int) // towns that may be cities, by degree
	cellOf := func(t *town) [2]int {
		return [2]int{int(math.Floor(t.latitude)), int(math.Floor(t.longitude))}
	}
	for i := range towns {
		if towns[i].feature != "PPLX" && towns[i].population > 0 {
			cell := cellOf(&towns[i])
			grid[cell] = append(grid[cell], i)
		}
	}
	for i := range towns {
		t := &towns[i]
		best, bestPull := -1, 0.0
		cell := cellOf(t)
		// One degree east is 50 km or more up to 63 degrees; no big city lies beyond.
		for row := cell[0] - 1; row <= cell[0]+1; row++ {
			for column := cell[1] - 1; column <= cell[1]+1; column++ {
				for _, j := range grid[[2]int{row, column}] {
					city := &towns[j]
					if i == j || city.country != t.country || city.admin[0] != t.admin[0] || city.population <= t.population {
						continue
					}
					if pull := pull(t, city); pull > bestPull {
						best, bestPull = j, pull
					}
				}
			}
		}
		if best >= 0 {
			t.city = best
		}
	}
	for i := range towns { // a ward's section belongs to the city; populations grow, so this ends
		for city := towns[i].city; towns[city].city != city; city = towns[i].city {
			towns[i].city = towns[city].city
		}
	}
}

// pull is how strongly a larger place of the same first-order division claims t
// as a district of its own; 0 is not at all.
func pull(t, city *town) float64 {
	km := t.position.distance(city.position)
	shared, conflict := 0, false // levels of codes that agree; whether both go on and differ
	for ; shared < 4 && t.admin[shared] != "" && city.admin[shared] != ""; shared++ {
		if t.admin[shared] != city.admin[shared] {
			conflict = true
			break
		}
	}
	pull := math.Sqrt(float64(city.population)) / (km + 1)
	sameMunicipality := shared >= 3
	spans := !conflict && city.population >= 500_000 && shared < 4 && t.admin[shared] != "" && km <= radius(city.population, 8000)
	switch {
	case t.feature == "PPLX" && sameMunicipality && km <= 30:
		return pull * 1000
	case spans:
		return pull * 100
	case t.feature == "PPLX" && !(conflict && shared < 2) && km <= 30 && km <= 3*radius(city.population, 1000):
		return pull
	case sameMunicipality && city.population >= 100_000 && t.population*10 < city.population && km <= radius(city.population, 2000):
		return pull
	}
	return 0
}

// countriesOfZones returns the country of each time zone that has only one: the
// polygons of a zone end at borders, so a zone tells on which side a point lies.
func countriesOfZones(towns []town) (map[string]string, error) {
	index, err := loadZones()
	if err != nil {
		return nil, err
	}
	counts := make(map[string]map[string]int)
	for _, t := range towns {
		if id := index.find(t.latitude, t.longitude); id >= 0 {
			zone := index.names[id]
			if counts[zone] == nil {
				counts[zone] = make(map[string]int)
			}
			counts[zone][t.country]++
		}
	}
	countries := make(map[string]string)
	for zone, byCountry := range counts {
		if isSea(zone) {
			continue
		}
		total, most, country := 0, 0, ""
		for code, n := range byCountry {
			total += n
			if n > most {
				most, country = n, code
			}
		}
		// Polygons are simplified, so a few places fall on the wrong side. Where
		// another country has as much as one in twenty, the zone is shared.
		if most*20 >= total*19 {
			countries[zone] = country
		}
	}
	for _, name := range index.names {
		if strings.HasPrefix(name, "Antarctica/") { // no towns there
			countries[name] = "AQ"
		}
	}
	return countries, nil
}

// pack lays the towns out as a k-d tree and writes the file described at
// gazetteerMagic.
func pack(towns []town, stateNames, zoneCountries map[string]string) []byte {
	order := make([]int, len(towns))
	for i := range order {
		order[i] = i
	}
	sortTree(order, towns, 0)
	place := make([]uint32, len(towns)) // town -> record
	for i, town := range order {
		place[town] = uint32(i)
	}

	names := []byte{0}
	offsets := map[string]uint32{"": 0}
	nameOf := func(text string) uint32 {
		offset, ok := offsets[text]
		if !ok {
			offset = uint32(len(names))
			offsets[text] = offset
			size := min(len(text), math.MaxUint8)
			names = append(append(names, byte(size)), text[:size]...)
		}
		return offset
	}
	var states, countries, records, zones []byte
	states = binary.LittleEndian.AppendUint32(states, 0)
	stateIDs := map[string]uint16{"": 0}
	countryIDs := map[string]uint16{"": 0}
	countryOf := func(code string) uint16 {
		id, ok := countryIDs[code]
		if !ok {
			id = uint16(len(countryIDs))
			countryIDs[code] = id
			countries = append(countries, code...)
		}
		return id
	}
	for _, i := range order {
		t := &towns[i]
		state := t.country + "." + t.admin[0]
		id, ok := stateIDs[state]
		if !ok {
			id = uint16(len(stateIDs))
			stateIDs[state] = id
			states = binary.LittleEndian.AppendUint32(states, nameOf(stateNames[state]))
		}
		for _, coordinate := range t.position {
			records = binary.LittleEndian.AppendUint32(records, math.Float32bits(coordinate))
		}
		records = binary.LittleEndian.AppendUint32(records, nameOf(t.name))
		records = binary.LittleEndian.AppendUint32(records, place[t.city])
		records = binary.LittleEndian.AppendUint16(records, id)
		records = binary.LittleEndian.AppendUint16(records, countryOf(t.country))
		// A third of what a dense city covers: enough that the centre of a town
		// beats a hamlet at its edge, not enough to swallow its neighbours.
		reach := min(radius(t.population, 8000)/2, maxReach)
		records = binary.LittleEndian.AppendUint32(records, math.Float32bits(float32(reach)))
	}
	for _, zone := range slices.Sorted(maps.Keys(zoneCountries)) {
		zones = binary.LittleEndian.AppendUint32(zones, nameOf(zone))
		zones = binary.LittleEndian.AppendUint32(zones, uint32(countryOf(zoneCountries[zone])))
	}

	file := []byte(gazetteerMagic)
	for _, size := range []int{len(towns), len(states) / 4, len(countries) / 2, len(zones) / 8, len(names), 0} {
		file = binary.LittleEndian.AppendUint32(file, uint32(size))
	}
	for _, section := range [][]byte{records, states, countries, zones, names} {
		file = append(file, section...)
	}
	return file
}

// sortTree puts the median along axis in the middle, and so on in both halves.
// Ties are broken by index, so the same table always gives the same file.
func sortTree(order []int, towns []town, axis int) {
	if len(order) < 2 {
		return
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(towns[a].position[axis], towns[b].position[axis]), cmp.Compare(a, b))
	})
	middle := len(order) / 2
	sortTree(order[:middle], towns, (axis+1)%3)
	sortTree(order[middle+1:], towns, (axis+1)%3)
}
