package place

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
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
	feature    string // GeoNames feature code: PPL a populated place, PPLX a section of one, PPLA* a seat, PPLC a capital; "" unknown
	country    string
	admin      [4]string // codes from the first-order division down; "" unknown
	newerState string    // the first of them in a newer edition, "" unknown
	population int
	position   vector
	latitude   float64
	longitude  float64
	spot       spot
	city       int // the town whose district this is, or itself
}

// gone are the feature codes of places nobody lives in any more, and of former
// capitals, which the table lists a second time.
var gone = []string{"PPLH", "PPLQ", "PPLW", "PPLCH"}

// cityStates are countries that are one city, though their divisions have codes.
var cityStates = []string{"HK", "MC", "MO", "SG"}

// Build packs GeoNames data into the file that the program embeds: a table of
// populated places (cities500.txt); a newer list of some of them with fewer
// columns, a JSON array of {"name": "Tromsø", "country": "NO", "lat": "69.6489",
// "lng": "18.95508", "admin1": "32", "admin2": "5501"}; and the names of
// divisions, JSON arrays of {"code": "NO.32", "name": "Troms"}.
func Build(out io.Writer, table, newer io.Reader, divisions ...io.Reader) error {
	towns, err := readTowns(table)
	if err != nil {
		return err
	}
	if towns, err = addNewer(towns, newer); err != nil {
		return err
	}
	divisionNames := make(map[string]string)
	for _, list := range divisions {
		var named []struct{ Code, Name string }
		if err := json.NewDecoder(list).Decode(&named); err != nil {
			return fmt.Errorf("read names of divisions: %w", err)
		}
		for _, division := range named {
			divisionNames[division.Code] = division.Name
		}
	}
	findCities(towns, divisionNames)
	zones, err := countriesOfZones(towns)
	if err != nil {
		return err
	}
	_, err = out.Write(pack(towns, stateNames(towns, divisionNames), zones))
	return err
}

// spot identifies a place in two editions of GeoNames.
type spot struct{ country, latitude, longitude string }

// addNewer takes new names and codes of divisions from a newer edition, and the
// places that only it has; of those it tells neither population nor kind.
func addNewer(towns []town, list io.Reader) ([]town, error) {
	var entries []struct{ Name, Country, Lat, Lng, Admin1, Admin2 string }
	if err := json.NewDecoder(list).Decode(&entries); err != nil {
		return nil, fmt.Errorf("read newer places: %w", err)
	}
	type area struct {
		name, country       string
		latitude, longitude float64 // in tenths of a degree
	}
	areaOf := func(t *town) area {
		return area{t.name, t.country, math.Round(t.latitude * 10), math.Round(t.longitude * 10)}
	}
	bySpot := make(map[spot]int, len(towns))
	byArea := make(map[area]int, len(towns))
	for i := range towns {
		bySpot[towns[i].spot] = i
		byArea[areaOf(&towns[i])] = i
	}
	for _, entry := range entries {
		t := town{
			name: entry.Name, country: entry.Country, newerState: entry.Admin1,
			spot: spot{entry.Country, entry.Lat, entry.Lng}, city: len(towns),
		}
		var errs [2]error
		t.latitude, errs[0] = strconv.ParseFloat(entry.Lat, 64)
		t.longitude, errs[1] = strconv.ParseFloat(entry.Lng, 64)
		if err := errors.Join(errs[:]...); err != nil {
			return nil, fmt.Errorf("read newer places: %s: %w", entry.Name, err)
		}
		known, ok := bySpot[t.spot]
		if ok {
			towns[known].name = t.name
		} else {
			known, ok = byArea[areaOf(&t)] // moved a little
		}
		if ok {
			towns[known].newerState = t.newerState
			continue
		}
		if len(t.country) != 2 || t.name == "" {
			continue
		}
		t.admin = [4]string{entry.Admin1, entry.Admin2}
		if t.admin[0] == "00" {
			t.admin[0] = ""
		}
		t.position = vectorOf(t.latitude, t.longitude)
		towns = append(towns, t)
	}
	return towns, nil
}

// stateNames names the first-order division of each town. Countries redraw their
// divisions, so a newer code wins, and where neither has a name, most towns of the
// same old code tell the new one.
func stateNames(towns []town, divisionNames map[string]string) []string {
	names := make([]string, len(towns))
	votes := make(map[string]map[string]int)
	for i := range towns {
		t := &towns[i]
		code := t.country + "." + cmp.Or(t.newerState, t.admin[0])
		names[i] = divisionNames[code]
		// Taiwan's first order is the whole country; there, the second.
		if second := divisionNames[code+"."+t.admin[1]]; second != "" && names[i] == countryName(t.country) {
			names[i] = second
		}
		if old := t.country + "." + t.admin[0]; names[i] != "" && t.admin[0] != "" {
			if votes[old] == nil {
				votes[old] = make(map[string]int)
			}
			votes[old][names[i]]++
		}
	}
	for i := range towns {
		if names[i] == "" {
			names[i], _ = mostFrequent(votes[towns[i].country+"."+towns[i].admin[0]])
		}
	}
	return names
}

// mostFrequent returns the name with the highest count, the first of equals.
func mostFrequent(counts map[string]int) (name string, count int) {
	for _, candidate := range slices.Sorted(maps.Keys(counts)) {
		if counts[candidate] > count {
			name, count = candidate, counts[candidate]
		}
	}
	return name, count
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
		t := town{name: fields[1], feature: fields[7], country: fields[8], spot: spot{fields[8], fields[4], fields[5]}, city: len(towns)}
		if slices.Contains(gone, t.feature) || len(t.country) != 2 {
			continue
		}
		copy(t.admin[:], fields[10:14])
		if t.admin[0] == "00" { // GeoNames' code for none
			t.admin[0] = ""
		}
		if t.country == "BR" && t.name == "São Paulo" && t.admin[1] == "" {
			t.admin[1] = "3550308" // its municipality, which the table leaves out
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
// towns. A place belongs to a larger one of the same first-order division when,
// the first rule that holds for any larger one deciding:
//
//   - it is a section, and the codes name the other as its municipality;
//   - its codes go on where those of a city of half a million stop, within the
//     city's area: such a city spans these divisions, as New York City its
//     boroughs. Where the codes stop at the first order, the division must also
//     bear the city's name, or a gap in the table would swallow neighbours (but
//     for places of unknown kind, which are seldom seats);
//   - it is a section, and the other has the greatest pull (square root of
//     population over distance), of places in its second-order division if any;
//   - it is a settlement in the municipality of a city of 100,000, near and small;
//   - it is a place of unknown population with the codes of a city of a million,
//     within the city's area, as the districts of Shanghai; a place of unknown
//     kind, too, with those of a city of 20,000.
//
// A place of unknown kind whose name starts with the city's (Paris 16 Passy)
// counts as a section.
func findCities(towns []town, divisionNames map[string]string) {
	grid := make(map[[2]int][]int) // towns that may be cities, by degree
	cellOf := func(t *town) [2]int {
		return [2]int{int(math.Floor(t.latitude)), int(math.Floor(t.longitude))}
	}
	for i := range towns {
		if towns[i].feature != "PPLX" && towns[i].population > 0 { // also not of unknown kind
			cell := cellOf(&towns[i])
			grid[cell] = append(grid[cell], i)
		}
	}
	for i := range towns {
		t := &towns[i]
		if t.feature == "PPLC" {
			continue
		}
		stateName := divisionNames[t.country+"."+t.admin[0]]
		best, bestPull := -1, 0.0
		cell := cellOf(t)
		// One degree east is 50 km or more up to 63 degrees; no big city lies beyond.
		for row := cell[0] - 1; row <= cell[0]+1; row++ {
			for column := cell[1] - 1; column <= cell[1]+1; column++ {
				for _, j := range grid[[2]int{row, column}] {
					city := &towns[j]
					if i == j || city.country != t.country || city.population <= t.population {
						continue
					}
					if pull := pull(t, city, stateName); pull > bestPull {
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

// pull is how strongly a larger place claims t as a district of its own; 0 is not
// at all. A rule that goes before another weighs more than any distance.
func pull(t, city *town, stateName string) float64 {
	if city.feature == "PPLC" && slices.Contains(cityStates, city.country) {
		return math.MaxFloat64
	}
	section := t.feature == "PPLX" || t.feature == "" && strings.HasPrefix(t.name, city.name+" ") && city.population >= 100_000
	if city.admin[0] != t.admin[0] || city.population < 20_000 || !section && t.feature != "" && city.population < 100_000 {
		return 0
	}
	shared := 0 // levels of codes that agree
	for shared < 4 && t.admin[shared] != "" && t.admin[shared] == city.admin[shared] {
		shared++
	}
	conflict := shared < 4 && t.admin[shared] != "" && city.admin[shared] != ""
	goesOn := shared < 4 && t.admin[shared] != "" && city.admin[shared] == ""
	sameMunicipality := shared >= 3 && !conflict
	if t.country == "US" && !strings.HasSuffix(t.admin[2], "000") {
		sameMunicipality = false // a township around the city; cities have the round codes
	}
	named := shared > 1 || stateName != "" && (strings.HasPrefix(city.name, stateName) || strings.HasPrefix(stateName, city.name))

	density := 6000.0 // people a km², of a city that spans divisions
	if t.feature == "" {
		density = 3000 // likelier a part of the city than a town with a seat
	}
	km := t.position.distance(city.position)
	pull := math.Sqrt(float64(city.population)) / (km + 1)
	switch {
	case section && sameMunicipality && km <= 30:
		return pull * 1e12
	case goesOn && (named || t.feature == "") && city.population >= 500_000 && km <= radius(city.population, density):
		return pull * 1e9
	case section && km <= min(45, 3*radius(city.population, 1000)):
		if conflict && shared < 2 {
			return pull
		}
		return pull * 1e6
	case sameMunicipality && city.population >= 100_000 && t.population*10 < city.population && km <= radius(city.population, 2000):
		return pull
	case t.feature == "" && !conflict && !goesOn && (shared > 1 || named) && km <= radius(city.population, 4000):
		return pull
	case t.population == 0 && !conflict && !goesOn && city.population >= 1_000_000 && km <= radius(city.population, 8000):
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
		country, most := mostFrequent(byCountry)
		total := 0
		for _, n := range byCountry {
			total += n
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
func pack(towns []town, stateNames []string, zoneCountries map[string]string) []byte {
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
		state := stateNames[i]
		id, ok := stateIDs[state]
		if !ok {
			id = uint16(len(stateIDs))
			stateIDs[state] = id
			states = binary.LittleEndian.AppendUint32(states, nameOf(state))
		}
		for _, coordinate := range t.position {
			records = binary.LittleEndian.AppendUint32(records, math.Float32bits(coordinate))
		}
		records = binary.LittleEndian.AppendUint32(records, nameOf(t.name))
		records = binary.LittleEndian.AppendUint32(records, place[t.city])
		records = binary.LittleEndian.AppendUint16(records, id)
		records = binary.LittleEndian.AppendUint16(records, countryOf(t.country))
		// A part of what a dense city covers: enough that the centre of a town beats
		// a hamlet at its edge, not enough to swallow its neighbours.
		reach := min(radius(t.population, 8000)/4, maxReach)
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
