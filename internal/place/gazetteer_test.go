package place

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// The k-d tree must find exactly what a look at every place finds, at the poles
// and across the antimeridian too.
func TestNearestAgainstEveryPlace(t *testing.T) {
	names := shared.gazetteer()
	if names == nil {
		t.Fatal("built without place names: run go generate ./internal/place")
	}
	random := rand.New(rand.NewPCG(3, 4))
	points := [][2]float64{{90, 0}, {-90, 0}, {-16.8, 180}, {-16.8, -180}, {65, 179.99}, {0, 0}}
	for range 60 {
		latitude, longitude := randomPoint(random)
		points = append(points, [2]float64{latitude, longitude})
	}
	for _, point := range points {
		at := vectorOf(point[0], point[1])
		for _, country := range []uint16{0, 1, uint16(1 + random.IntN(200))} {
			limit := 10 + random.Float64()*3000
			want, score := -1, math.Inf(1)
			for i := range names.len() {
				record := names.record(i)
				km := at.distance(record.position)
				if country != 0 && record.country != country || km > limit {
					continue
				}
				if s := km - float64(record.reach); s < score {
					want, score = i, s
				}
			}
			got := names.nearest(at, country, limit)
			if got != want && (got < 0 || want < 0 || math.Abs(at.distance(names.position(got))-float64(names.record(got).reach)-score) > 1e-6) {
				t.Errorf("nearest to %v in country %d within %g km is record %d, want %d", point, country, limit, got, want)
			}
		}
	}
}

func TestPackedFileIsWhole(t *testing.T) {
	names := shared.gazetteer()
	if names == nil {
		t.Fatal("built without place names: run go generate ./internal/place")
	}
	if names.len() < 150_000 {
		t.Errorf("%d places, want more than 150,000", names.len())
	}
	unnamed, stateless := 0, 0
	for i := range names.len() {
		record := names.record(i)
		if names.name(record.name) == "" || countryName(names.countryCode(record.country)) == "" {
			unnamed++
		}
		if names.state(record.state) == "" {
			stateless++
		}
		city := names.record(int(record.city))
		if int(city.city) != int(record.city) || city.country != record.country {
			t.Errorf("%s is a district of %s, which is a district itself or in another country", names.name(record.name), names.name(city.name))
		}
		if record.reach < 0 || record.reach > maxReach {
			t.Errorf("%s reaches %g km", names.name(record.name), record.reach)
		}
	}
	if unnamed > 0 || stateless > names.len()/500 {
		t.Errorf("%d places have no name or country, %d no state", unnamed, stateless)
	}
}

// The country that the zone of a place tells must be the place's own, but for
// the few that simplified borders put on the wrong side.
func TestZonesTellCountries(t *testing.T) {
	names := shared.gazetteer()
	if names == nil {
		t.Fatal("built without place names: run go generate ./internal/place")
	}
	wrong, untold := 0, 0
	for i := range names.len() {
		record := names.record(i)
		x, y, z := float64(record.position[0]), float64(record.position[1]), float64(record.position[2])
		zone := shared.Timezone(math.Asin(z)*180/math.Pi, math.Atan2(y, x)*180/math.Pi)
		switch names.zoneCountry(zone) {
		case 0:
			untold++
		case record.country:
		default:
			wrong++
		}
	}
	t.Logf("of %d places, %d get another country and %d none from their zone", names.len(), wrong, untold)
	if wrong > names.len()/1000 || untold > names.len()/50 {
		t.Errorf("of %d places, %d get another country and %d none from their zone", names.len(), wrong, untold)
	}
}

// line writes a row of the GeoNames table.
func line(name, latitude, longitude, feature, country, admin, population string) string {
	codes := strings.Split(admin+"....", ".")
	return strings.Join([]string{"1", name, name, "", latitude, longitude, "P", feature, country, "",
		codes[0], codes[1], codes[2], codes[3], population, "", "", "", ""}, "\t") + "\n"
}

func TestBuildTellsDistrictsFromCities(t *testing.T) {
	table := line("Berlin", "52.52437", "13.41053", "PPLC", "DE", "16.00.11000.11000000", "3426354") +
		line("Tegel", "52.58", "13.29", "PPLX", "DE", "16.00.11000.11000000", "34000") +
		line("Potsdam", "52.39886", "13.06566", "PPLA", "DE", "11.00.12054.12054000", "145292") +
		line("New York City", "40.71427", "-74.00597", "PPL", "US", "NY", "8804190") +
		line("Brooklyn", "40.6501", "-73.94958", "PPLA2", "US", "NY.047", "2736074") +
		line("Bushwick", "40.69427", "-73.91875", "PPLX", "US", "NY.047", "112620") +
		line("Hoboken", "40.74399", "-74.03236", "PPL", "US", "NJ.017", "53635") +
		line("Yonkers", "40.93121", "-73.89875", "PPL", "US", "NY.119", "201116") +
		line("Lost Town", "40.7", "-74.0", "PPLQ", "US", "NY.061", "0")
	var out, again bytes.Buffer
	build := func(out *bytes.Buffer) error {
		return Build(out, strings.NewReader(table),
			strings.NewReader(`[{"name":"Hoboken-on-Hudson","country":"US","lat":"40.74399","lng":"-74.03236","admin1":"NEW"},
				{"name":"Yonkers","country":"US","lat":"40.94","lng":"-73.89","admin1":"NY"},
				{"name":"Berlin 99 Neustadt","country":"DE","lat":"52.5","lng":"13.5","admin1":"16","admin2":"00"},
				{"name":"Newtown","country":"US","lat":"43","lng":"-75","admin1":"NY","admin2":"001"}]`),
			strings.NewReader(`[{"code":"US.NY","name":"New York"},{"code":"US.NJ","name":"New Jersey"},{"code":"US.NEW","name":"New Division"}]`),
			strings.NewReader(`[{"code":"DE.16","name":"Berlin"}]`))
	}
	if err := build(&out); err != nil {
		t.Fatal(err)
	}
	if err := build(&again); err != nil || !bytes.Equal(out.Bytes(), again.Bytes()) {
		t.Errorf("a second build differs, or fails with %v", err)
	}
	names, err := openGazetteer(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for i := range names.len() {
		record := names.record(i)
		got[names.name(record.name)] = names.name(names.record(int(record.city)).name) + ", " + names.state(record.state) + ", " + names.countryCode(record.country)
	}
	want := map[string]string{
		"Berlin": "Berlin, Berlin, DE", "Tegel": "Berlin, Berlin, DE", "Potsdam": "Potsdam, , DE",
		"New York City": "New York City, New York, US", "Brooklyn": "New York City, New York, US", "Bushwick": "New York City, New York, US",
		"Hoboken-on-Hudson": "Hoboken-on-Hudson, New Division, US", "Yonkers": "Yonkers, New York, US", "Newtown": "Newtown, New York, US", "Berlin 99 Neustadt": "Berlin, Berlin, DE",
	}
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s is in %q, want %q", name, got[name], want[name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("the file holds %v", got)
	}
	if country := names.countryCode(names.zoneCountry("Europe/Berlin")); country != "DE" {
		t.Errorf("Europe/Berlin is in %q", country)
	}
	if country := names.countryCode(names.zoneCountry("Antarctica/Troll")); country != "AQ" {
		t.Errorf("Antarctica/Troll is in %q", country)
	}
	if country := names.zoneCountry("Mars/Olympus"); country != 0 {
		t.Errorf("an unknown zone is in country %d", country)
	}
}

func TestBuildRejects(t *testing.T) {
	good := line("Berlin", "52.5", "13.4", "PPLC", "DE", "16", "1")
	for name, test := range map[string]struct{ table, newer, divisions string }{
		"a row cut off":         {"1\tBerlin\n", "[]", "[]"},
		"a latitude in words":   {strings.Replace(good, "52.5", "north", 1), "[]", "[]"},
		"a population in words": {strings.Replace(good, "\t1\t\t", "\tmany\t\t", 1), "[]", "[]"},
		"newer cut off":         {good, "[{", "[]"},
		"newer without a place": {good, `[{"name":"Berlin","country":"DE"}]`, "[]"},
		"names cut off":         {good, "[]", "["},
	} {
		if err := Build(&bytes.Buffer{}, strings.NewReader(test.table), strings.NewReader(test.newer), strings.NewReader(test.divisions)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestOpenGazetteerRejects(t *testing.T) {
	var out bytes.Buffer
	if err := Build(&out, strings.NewReader(line("Berlin", "52.5", "13.4", "PPLC", "DE", "16", "1")), strings.NewReader("[]")); err != nil {
		t.Fatal(err)
	}
	file := out.Bytes()
	for size := range len(file) {
		if _, err := openGazetteer(file[:size]); err == nil {
			t.Fatalf("a file cut off after %d of %d bytes is accepted", size, len(file))
		}
	}
	file[0] ^= 1
	if _, err := openGazetteer(file); err == nil {
		t.Error("another magic is accepted")
	}
}
