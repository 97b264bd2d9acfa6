package place

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
)

// shared is loaded once for all tests.
var shared = New()

// TestLookup checks points on which an atlas leaves no doubt; "*" stands for
// what the data may name in several right ways.
func TestLookup(t *testing.T) {
	if !shared.HasNames() {
		t.Fatal("built without place names: run go generate ./internal/place")
	}
	for name, test := range map[string]struct {
		latitude, longitude float64
		want                Place
	}{
		// City centres.
		"Paris, Hôtel de Ville":   {48.8566, 2.3522, Place{"Paris", "Île-de-France", "France", "FR", "*", "Europe/Paris"}},
		"London, Charing Cross":   {51.5074, -0.1278, Place{"London", "England", "United Kingdom", "GB", "*", "Europe/London"}},
		"Berlin, Mitte":           {52.5200, 13.4050, Place{"Berlin", "State of Berlin", "Germany", "DE", "*", "Europe/Berlin"}},
		"Madrid, Sol":             {40.4168, -3.7038, Place{"Madrid", "Madrid", "Spain", "ES", "*", "Europe/Madrid"}},
		"Rome, centre":            {41.9028, 12.4964, Place{"Rome", "Lazio", "Italy", "IT", "*", "Europe/Rome"}},
		"Vienna, Stephansplatz":   {48.2085, 16.3731, Place{"Vienna", "Vienna", "Austria", "AT", "*", "Europe/Vienna"}},
		"Zurich, station":         {47.3779, 8.5403, Place{"Zürich", "Zurich", "Switzerland", "CH", "*", "Europe/Zurich"}},
		"Warsaw, Old Town":        {52.2497, 21.0122, Place{"Warsaw", "Mazovia", "Poland", "PL", "*", "Europe/Warsaw"}},
		"Athens, Syntagma":        {37.9755, 23.7348, Place{"Athens", "Attica", "Greece", "GR", "*", "Europe/Athens"}},
		"Moscow, Kremlin":         {55.7520, 37.6175, Place{"Moscow", "Moscow", "Russia", "RU", "*", "Europe/Moscow"}},
		"Istanbul, Hagia Sophia":  {41.0086, 28.9802, Place{"Istanbul", "Istanbul", "Turkey", "TR", "*", "Europe/Istanbul"}},
		"Tokyo, Shibuya crossing": {35.6595, 139.7005, Place{"Tokyo", "Tokyo", "Japan", "JP", "*", "Asia/Tokyo"}},
		"Kyoto, Kinkaku-ji":       {35.0394, 135.7292, Place{"Kyoto", "Kyoto", "Japan", "JP", "*", "Asia/Tokyo"}},
		"Seoul, city hall":        {37.5665, 126.9780, Place{"Seoul", "Seoul", "South Korea", "KR", "*", "Asia/Seoul"}},
		"Beijing, Tiananmen":      {39.9087, 116.3975, Place{"Beijing", "Beijing", "China", "CN", "*", "Asia/Shanghai"}},
		"Shanghai, Bund":          {31.2400, 121.4900, Place{"Shanghai", "Shanghai", "China", "CN", "*", "Asia/Shanghai"}},
		"Hong Kong, Central":      {22.2819, 114.1580, Place{"Hong Kong", "Central and Western", "Hong Kong", "HK", "Central", "Asia/Hong_Kong"}},
		"Taipei 101":              {25.0340, 121.5645, Place{"Taipei", "Taipei City", "Taiwan", "TW", "*", "Asia/Taipei"}},
		"Singapore, Merlion":      {1.2868, 103.8545, Place{"Singapore", "*", "Singapore", "SG", "*", "Asia/Singapore"}},
		"Bangkok, Grand Palace":   {13.7500, 100.4913, Place{"Bangkok", "Bangkok", "Thailand", "TH", "*", "Asia/Bangkok"}},
		"Delhi, India Gate":       {28.6129, 77.2295, Place{"New Delhi", "Delhi", "India", "IN", "*", "Asia/Kolkata"}},
		"Agra, Taj Mahal":         {27.1751, 78.0421, Place{"Agra", "Uttar Pradesh", "India", "IN", "*", "Asia/Kolkata"}},
		"Dubai, Burj Khalifa":     {25.1972, 55.2744, Place{"Dubai", "Dubai", "United Arab Emirates", "AE", "*", "Asia/Dubai"}},
		"Kathmandu":               {27.7172, 85.3240, Place{"Kathmandu", "*", "Nepal", "NP", "*", "Asia/Kathmandu"}},
		"Cairo, Tahrir":           {30.0444, 31.2357, Place{"Cairo", "Cairo", "Egypt", "EG", "*", "Africa/Cairo"}},
		"Giza, pyramids":          {29.9792, 31.1342, Place{"*", "Giza", "Egypt", "EG", "*", "Africa/Cairo"}},
		"Nairobi":                 {-1.2864, 36.8172, Place{"Nairobi", "*", "Kenya", "KE", "*", "Africa/Nairobi"}},
		"Cape Town, city bowl":    {-33.9249, 18.4241, Place{"Cape Town", "Western Cape", "South Africa", "ZA", "*", "Africa/Johannesburg"}},
		"Lagos":                   {6.4541, 3.3947, Place{"Lagos", "Lagos", "Nigeria", "NG", "*", "Africa/Lagos"}},
		"New York, Times Square":  {40.7580, -73.9855, Place{"New York City", "New York", "United States", "US", "*", "America/New_York"}},
		"Brooklyn Heights":        {40.6960, -73.9950, Place{"New York City", "New York", "United States", "US", "Brooklyn Heights", "America/New_York"}},
		"San Francisco":           {37.7749, -122.4194, Place{"San Francisco", "California", "United States", "US", "*", "America/Los_Angeles"}},
		"Los Angeles, Hollywood":  {34.1016, -118.3267, Place{"Los Angeles", "California", "United States", "US", "Hollywood", "America/Los_Angeles"}},
		"Santa Monica pier":       {34.0094, -118.4973, Place{"Santa Monica", "California", "United States", "US", "*", "America/Los_Angeles"}},
		"Chicago, the Bean":       {41.8827, -87.6233, Place{"Chicago", "Illinois", "United States", "US", "Chicago Loop", "America/Chicago"}},
		"Washington, White House": {38.8977, -77.0365, Place{"Washington", "District of Columbia", "United States", "US", "*", "America/New_York"}},
		"Toronto, CN Tower":       {43.6426, -79.3871, Place{"Toronto", "Ontario", "Canada", "CA", "*", "America/Toronto"}},
		"Mexico City, Zócalo":     {19.4326, -99.1332, Place{"Mexico City", "Mexico City", "Mexico", "MX", "*", "America/Mexico_City"}},
		"Buenos Aires, Obelisco":  {-34.6037, -58.3816, Place{"Buenos Aires", "*", "Argentina", "AR", "*", "America/Argentina/Buenos_Aires"}},
		"São Paulo":               {-23.5505, -46.6333, Place{"São Paulo", "São Paulo", "Brazil", "BR", "*", "America/Sao_Paulo"}},
		"Lima":                    {-12.0464, -77.0428, Place{"Lima", "*", "Peru", "PE", "*", "America/Lima"}},
		"Sydney, Opera House":     {-33.8568, 151.2153, Place{"Sydney", "New South Wales", "Australia", "AU", "*", "Australia/Sydney"}},
		"Auckland":                {-36.8485, 174.7633, Place{"Auckland", "Auckland", "New Zealand", "NZ", "*", "Pacific/Auckland"}},
		// Landmarks.
		"Eiffel Tower":              {48.8584, 2.2945, Place{"Paris", "Île-de-France", "France", "FR", "Paris 16 Passy", "Europe/Paris"}},
		"Stade de France":           {48.9245, 2.3602, Place{"Saint-Denis", "Île-de-France", "France", "FR", "*", "Europe/Paris"}},
		"Versailles, palace":        {48.8049, 2.1204, Place{"Versailles", "Île-de-France", "France", "FR", "*", "Europe/Paris"}},
		"Louvre":                    {48.8606, 2.3376, Place{"Paris", "Île-de-France", "France", "FR", "*", "Europe/Paris"}},
		"Neuschwanstein":            {47.5576, 10.7498, Place{"Hohenschwangau", "Bavaria", "Germany", "DE", "*", "Europe/Berlin"}},
		"Sagrada Família":           {41.4036, 2.1744, Place{"Barcelona", "Catalonia", "Spain", "ES", "Sagrada Família", "Europe/Madrid"}},
		"Rio, Christ":               {-22.9519, -43.2105, Place{"Rio de Janeiro", "Rio de Janeiro", "Brazil", "BR", "*", "America/Sao_Paulo"}},
		"Greenwich, meridian":       {51.4779, 0.0000, Place{"London", "England", "United Kingdom", "GB", "Greenwich", "Europe/London"}},
		"Statue of Liberty":         {40.6892, -74.0445, Place{"*", "*", "United States", "US", "*", "America/New_York"}},
		"Machu Picchu":              {-13.1631, -72.5450, Place{"Machupicchu", "Cuzco Department", "Peru", "PE", "*", "America/Lima"}},
		"Vatican":                   {41.9022, 12.4539, Place{"Vatican City", "*", "Vatican City", "VA", "*", "Europe/Vatican"}},
		"Cambridge, MIT":            {42.3601, -71.0942, Place{"Cambridge", "Massachusetts", "United States", "US", "*", "America/New_York"}},
		"Munich, Marienplatz":       {48.1374, 11.5755, Place{"Munich", "Bavaria", "Germany", "DE", "*", "Europe/Berlin"}},
		"Sydney, Bondi Beach":       {-33.8908, 151.2743, Place{"Sydney", "New South Wales", "Australia", "AU", "Bondi Beach", "Australia/Sydney"}},
		"Berlin, Tegel":             {52.5588, 13.2884, Place{"Berlin", "State of Berlin", "Germany", "DE", "Tegel", "Europe/Berlin"}},
		"Cologne, Deutz":            {50.9380, 6.9750, Place{"Köln", "North Rhine-Westphalia", "Germany", "DE", "Deutz", "Europe/Berlin"}},
		"New York, JFK":             {40.6413, -73.7781, Place{"New York City", "New York", "United States", "US", "Springfield Gardens", "America/New_York"}},
		"Hoboken":                   {40.7440, -74.0324, Place{"Hoboken", "New Jersey", "United States", "US", "", "America/New_York"}},
		"Oakland":                   {37.8044, -122.2712, Place{"Oakland", "California", "United States", "US", "", "America/Los_Angeles"}},
		"Potsdam":                   {52.4009, 13.0591, Place{"Potsdam", "Brandenburg", "Germany", "DE", "", "Europe/Berlin"}},
		"Hạ Long, newer division":   {20.9101, 107.1839, Place{"Hạ Long", "Quảng Ninh", "Vietnam", "VN", "", "Asia/Bangkok"}},
		"Tromsø, newer division":    {69.6492, 18.9553, Place{"Tromsø", "Troms", "Norway", "NO", "", "Europe/Oslo"}},
		"Osasco, not in São Paulo":  {-23.5325, -46.7917, Place{"Osasco", "São Paulo", "Brazil", "BR", "*", "America/Sao_Paulo"}},
		"Iztapalapa in Mexico City": {19.3553, -99.0622, Place{"Mexico City", "Mexico City", "Mexico", "MX", "*", "America/Mexico_City"}},
		// Both sides of borders.
		"Basel":                     {47.5596, 7.5886, Place{"Basel", "Basel-City", "Switzerland", "CH", "*", "Europe/Zurich"}},
		"Saint-Louis, next to it":   {47.5850, 7.5650, Place{"Saint-Louis", "Grand Est", "France", "FR", "", "Europe/Paris"}},
		"Weil am Rhein, next to it": {47.5930, 7.6200, Place{"Weil am Rhein", "Baden-Wurttemberg", "Germany", "DE", "", "Europe/Berlin"}},
		"Görlitz":                   {51.1560, 14.9880, Place{"Görlitz", "Saxony", "Germany", "DE", "", "Europe/Berlin"}},
		"Zgorzelec":                 {51.1520, 15.0080, Place{"Zgorzelec", "Lower Silesia", "Poland", "PL", "", "Europe/Warsaw"}},
		"Gibraltar":                 {36.1408, -5.3536, Place{"Gibraltar", "", "Gibraltar", "GI", "", "Europe/Gibraltar"}},
		"La Línea":                  {36.1681, -5.3478, Place{"La Línea de la Concepción", "Andalusia", "Spain", "ES", "", "Europe/Madrid"}},
		"Detroit":                   {42.3314, -83.0458, Place{"Detroit", "Michigan", "United States", "US", "*", "America/Detroit"}},
		"Windsor":                   {42.3149, -83.0364, Place{"Windsor", "Ontario", "Canada", "CA", "", "America/Toronto"}},
		"Jerusalem":                 {31.7767, 35.2345, Place{"Jerusalem", "*", "Israel", "IL", "*", "Asia/Jerusalem"}},
		"Bethlehem":                 {31.7054, 35.2024, Place{"Bethlehem", "West Bank", "Palestine", "PS", "", "Asia/Hebron"}},
		"Konstanz":                  {47.6603, 9.1758, Place{"Konstanz", "Baden-Wurttemberg", "Germany", "DE", "*", "Europe/Berlin"}},
		"Kreuzlingen":               {47.6458, 9.1783, Place{"Kreuzlingen", "Thurgau", "Switzerland", "CH", "*", "Europe/Zurich"}},
		"Strasbourg":                {48.5734, 7.7521, Place{"Strasbourg", "Grand Est", "France", "FR", "*", "Europe/Paris"}},
		"Kehl":                      {48.5729, 7.8150, Place{"Kehl", "Baden-Wurttemberg", "Germany", "DE", "*", "Europe/Berlin"}},
		"El Paso":                   {31.7619, -106.4850, Place{"El Paso", "Texas", "United States", "US", "*", "America/Denver"}},
		"Ciudad Juárez":             {31.7200, -106.4600, Place{"Ciudad Juárez", "Chihuahua", "Mexico", "MX", "*", "America/Ciudad_Juarez"}},
		"Niagara Falls, US":         {43.0962, -79.0377, Place{"Niagara Falls", "New York", "United States", "US", "*", "America/New_York"}},
		"Niagara Falls, CA":         {43.0896, -79.0949, Place{"Niagara Falls", "Ontario", "Canada", "CA", "*", "America/Toronto"}},
		"Copenhagen":                {55.6761, 12.5683, Place{"Copenhagen", "Capital Region", "Denmark", "DK", "*", "Europe/Copenhagen"}},
		"Malmö":                     {55.6050, 13.0038, Place{"Malmö", "Skåne", "Sweden", "SE", "*", "Europe/Stockholm"}},
		"Monaco, casino":            {43.7393, 7.4278, Place{"Monaco", "*", "Monaco", "MC", "Monte-Carlo", "Europe/Monaco"}},
		"Foz do Iguaçu":             {-25.5478, -54.5882, Place{"Foz do Iguaçu", "Paraná", "Brazil", "BR", "*", "America/Sao_Paulo"}},
		"Puerto Iguazú":             {-25.5972, -54.5786, Place{"Puerto Iguazú", "Misiones", "Argentina", "AR", "*", "America/Argentina/Cordoba"}},
		"Geneva":                    {46.2044, 6.1432, Place{"Geneva", "Geneva", "Switzerland", "CH", "*", "Europe/Zurich"}},
		// Country, islands and far places.
		"Hallstatt":                   {47.5622, 13.6493, Place{"Hallstatt", "Upper Austria", "Austria", "AT", "", "Europe/Vienna"}},
		"Zermatt":                     {46.0207, 7.7491, Place{"Zermatt", "Valais", "Switzerland", "CH", "", "Europe/Zurich"}},
		"Grand Canyon, South Rim":     {36.0544, -112.1401, Place{"Grand Canyon", "Arizona", "United States", "US", "*", "America/Phoenix"}},
		"Reykjavík":                   {64.1466, -21.9426, Place{"Reykjavík", "Capital Region", "Iceland", "IS", "*", "Atlantic/Reykjavik"}},
		"Honolulu, Waikiki":           {21.2767, -157.8275, Place{"Honolulu", "Hawaii", "United States", "US", "*", "Pacific/Honolulu"}},
		"Easter Island, Hanga Roa":    {-27.1500, -109.4333, Place{"Hanga Roa", "Valparaiso", "Chile", "CL", "", "Pacific/Easter"}},
		"Bora Bora, Vaitape":          {-16.5067, -151.7500, Place{"Vaitape", "*", "French Polynesia", "PF", "", "Pacific/Tahiti"}},
		"Galápagos, Puerto Ayora":     {-0.7432, -90.3135, Place{"Puerto Ayora", "Galápagos", "Ecuador", "EC", "", "Pacific/Galapagos"}},
		"Fiji, Taveuni (180°)":        {-16.8500, 179.9900, Place{"", "", "Fiji", "FJ", "*", "Pacific/Fiji"}},
		"Chatham Islands, Waitangi":   {-43.9520, -176.5590, Place{"Waitangi", "Chatham Islands", "New Zealand", "NZ", "", "Pacific/Chatham"}},
		"Longyearbyen":                {78.2232, 15.6267, Place{"Longyearbyen", "Svalbard", "Svalbard & Jan Mayen", "SJ", "", "Arctic/Longyearbyen"}},
		"Ushuaia":                     {-54.8019, -68.3030, Place{"Ushuaia", "Tierra del Fuego", "Argentina", "AR", "", "America/Argentina/Ushuaia"}},
		"Pristina":                    {42.6629, 21.1655, Place{"Pristina", "Pristina", "Kosovo", "XK", "*", "Europe/Belgrade"}},
		"Uluru":                       {-25.3444, 131.0369, Place{"Yulara", "Northern Territory", "Australia", "AU", "*", "Australia/Darwin"}},
		"Great Victoria Desert":       {-29.0000, 129.5000, Place{"", "", "Australia", "AU", "", "Australia/Adelaide"}},
		"Sahara, Tanezrouft":          {24.0000, 0.5000, Place{"", "", "Algeria", "DZ", "", "Africa/Algiers"}},
		"Greenland, ice sheet":        {75.0000, -40.0000, Place{"", "", "Greenland", "GL", "", "America/Nuuk"}},
		"South Pole":                  {-90.0000, 0.0000, Place{"", "", "Antarctica", "AQ", "", "Antarctica/McMurdo"}},
		"McMurdo":                     {-77.8463, 166.6683, Place{"McMurdo Station", "", "Antarctica", "AQ", "", "Antarctica/McMurdo"}},
		"North Pole":                  {90, 0, Place{"", "", "", "", "", "Etc/GMT"}},
		"Null Island":                 {0, 0, Place{"", "", "", "", "", "Etc/GMT"}},
		"Mid-Atlantic":                {30, -40, Place{"", "", "", "", "", "Etc/GMT+3"}},
		"Mid-Pacific":                 {10, -140, Place{"", "", "", "", "", "Etc/GMT+9"}},
		"Point Nemo":                  {-48.8767, -123.3933, Place{"", "", "", "", "", "Etc/GMT+8"}},
		"Indian Ocean":                {-25, 80, Place{"", "", "", "", "", "Etc/GMT-5"}},
		"Antimeridian, from the east": {0.5, 180, Place{"", "", "", "", "", "Etc/GMT-12"}},
		"Antimeridian, from the west": {0.5, -180, Place{"", "", "", "", "", "Etc/GMT+12"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := shared.Lookup(context.Background(), test.latitude, test.longitude)
			if err != nil {
				t.Fatal(err)
			}
			for _, field := range []struct{ name, got, want string }{
				{"city", got.City, test.want.City},
				{"state", got.State, test.want.State},
				{"country", got.Country, test.want.Country},
				{"country code", got.CountryCode, test.want.CountryCode},
				{"sublocation", got.Sublocation, test.want.Sublocation},
				{"time zone", got.Timezone, test.want.Timezone},
			} {
				if field.got != field.want && field.want != "*" {
					t.Errorf("%s is %q, want %q", field.name, field.got, field.want)
				}
			}
		})
	}
}

func TestLookupOutOfRange(t *testing.T) {
	for _, point := range [][2]float64{
		{90.0001, 0}, {-90.0001, 0}, {0, 180.0001}, {0, -180.0001}, {math.NaN(), 0}, {0, math.NaN()},
		{math.Inf(1), 0}, {math.Inf(-1), 0}, {0, math.Inf(1)}, {0, math.Inf(-1)}, {1e308, -1e308},
	} {
		if got, err := shared.Lookup(context.Background(), point[0], point[1]); !errors.Is(err, ErrCoordinates) {
			t.Errorf("%v gives %+v and error %v, want ErrCoordinates", point, got, err)
		}
		if zone := shared.Timezone(point[0], point[1]); zone != "" {
			t.Errorf("%v is in zone %q, want none", point, zone)
		}
		if _, ok := shared.OffsetAt(point[0], point[1], time.Now()); ok {
			t.Errorf("%v has an offset, want none", point)
		}
	}
}

func FuzzLookup(f *testing.F) {
	for _, point := range [][2]float64{{48.8566, 2.3522}, {90, 180}, {-90, -180}, {0, 0}, {89.99, -179.99}, {math.NaN(), 0}, {0, math.Inf(1)}, {math.Copysign(0, -1), 5e-324}} {
		f.Add(point[0], point[1])
	}
	f.Fuzz(func(t *testing.T, latitude, longitude float64) {
		inRange := math.Abs(latitude) <= 90 && math.Abs(longitude) <= 180
		got, err := shared.Lookup(context.Background(), latitude, longitude)
		if (err == nil) != inRange {
			t.Fatalf("error is %v", err)
		}
		if inRange && got.Timezone == "" {
			t.Errorf("no time zone in %+v", got)
		}
		if (got.Country == "") != (got.CountryCode == "") || got.City != "" && got.CountryCode == "" || got.Sublocation != "" && got.City == "" {
			t.Errorf("a part without its whole: %+v", got)
		}
	})
}

func TestEveryPointHasAZoneThatLoads(t *testing.T) {
	zones := make(map[string]bool)
	for latitude := -90.0; latitude <= 90; latitude += 1.25 {
		for longitude := -180.0; longitude <= 180; longitude += 1.25 {
			zone := shared.Timezone(latitude, longitude)
			if zone == "" {
				t.Errorf("%g, %g has no zone", latitude, longitude)
			}
			zones[zone] = true
		}
	}
	for _, zone := range shared.zones().names {
		zones[zone] = true
	}
	if len(zones) < 400 {
		t.Errorf("%d zones, want more than 400", len(zones))
	}
	for zone := range zones {
		if _, ok := shared.location(zone); !ok {
			t.Errorf("zone %q is not in the zone database", zone)
		}
	}
}

func TestOffsetAt(t *testing.T) {
	for name, test := range map[string]struct {
		latitude, longitude float64
		wall                string
		want                int
	}{
		"Paris, winter":                      {48.8566, 2.3522, "2024-01-15T12:00:00", 60},
		"Paris, summer":                      {48.8566, 2.3522, "2024-07-15T12:00:00", 120},
		"Paris, just before summer time":     {48.8566, 2.3522, "2024-03-31T01:59:59", 60},
		"Paris, just after summer time":      {48.8566, 2.3522, "2024-03-31T03:00:00", 120},
		"Paris, mean time of 0:09:21":        {48.8566, 2.3522, "1900-06-01T12:00:00", 9},
		"Monrovia, mean time of -0:44:30":    {6.3005, -10.7969, "1960-06-01T12:00:00", -45},
		"Kathmandu":                          {27.7172, 85.3240, "2024-01-15T12:00:00", 345},
		"Kathmandu, before 1986":             {27.7172, 85.3240, "1980-01-15T12:00:00", 330},
		"St. John's, summer":                 {47.5615, -52.7126, "2024-07-15T12:00:00", -150},
		"Sydney, southern summer":            {-33.8568, 151.2153, "2024-01-15T12:00:00", 660},
		"Chatham Islands, southern summer":   {-43.9520, -176.5590, "2024-01-15T12:00:00", 825},
		"Apia, before it changed sides":      {-13.8333, -171.7667, "2011-06-01T12:00:00", -660},
		"Apia, after":                        {-13.8333, -171.7667, "2012-06-01T12:00:00", 780},
		"Kiritimati, the highest":            {1.8721, -157.4278, "2024-01-15T12:00:00", 840},
		"mid-Atlantic":                       {30, -40, "2024-07-15T12:00:00", -180},
		"Pacific, just east of the dateline": {0.5, -179.9, "2024-07-15T12:00:00", -720},
		"Phoenix keeps no summer time":       {33.4484, -112.0740, "2024-07-15T12:00:00", -420},
		"Navajo Nation does":                 {36.1529, -109.5520, "2024-07-15T12:00:00", -360},
	} {
		wall, err := time.Parse("2006-01-02T15:04:05", test.wall)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := shared.OffsetAt(test.latitude, test.longitude, wall); !ok || got != test.want {
			t.Errorf("%s: %d minutes, %t, want %d", name, got, ok, test.want)
		}
		// Only the wall clock counts, not the location that carries it.
		elsewhere := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), 0, time.FixedZone("", -9*3600))
		if got, _ := shared.OffsetAt(test.latitude, test.longitude, elsewhere); got != test.want {
			t.Errorf("%s: %d minutes from a wall clock in another location, want %d", name, got, test.want)
		}
	}
}

func TestConcurrentFirstUse(t *testing.T) {
	geocoder := New()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			got, err := geocoder.Lookup(context.Background(), 47.5622, 13.6493)
			if err != nil || got.City != "Hallstatt" || got.Timezone != "Europe/Vienna" {
				t.Errorf("%+v, %v", got, err)
			}
			if minutes, ok := geocoder.OffsetAt(47.5622, 13.6493, time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)); !ok || minutes != 60 {
				t.Errorf("offset %d, %t", minutes, ok)
			}
		})
	}
	group.Wait()
}

func TestLookupWithoutNames(t *testing.T) {
	geocoder := New()
	geocoder.gazetteer = func() *gazetteer { return nil }
	got, err := geocoder.Lookup(context.Background(), 48.8566, 2.3522)
	if want := (Place{Timezone: "Europe/Paris"}); err != nil || got != want || geocoder.HasNames() {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}

// randomPoint is uniform over the sphere.
func randomPoint(random *rand.Rand) (latitude, longitude float64) {
	return math.Asin(2*random.Float64()-1) * 180 / math.Pi, random.Float64()*360 - 180
}

func BenchmarkLookup(b *testing.B) {
	shared.Lookup(context.Background(), 0, 0)
	names := shared.gazetteer()
	random := rand.New(rand.NewPCG(1, 2))
	points := make([][2]float64, 1<<12) // near places, as photos are
	for i := range points {
		at := names.position(random.IntN(names.len()))
		latitude := math.Asin(float64(at[2])) * 180 / math.Pi
		longitude := math.Atan2(float64(at[1]), float64(at[0])) * 180 / math.Pi
		points[i] = [2]float64{min(max(latitude+random.NormFloat64()*.05, -90), 90), min(max(longitude+random.NormFloat64()*.05, -180), 180)}
	}
	b.Run("all", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			p := points[i%len(points)]
			shared.Lookup(context.Background(), p[0], p[1])
		}
	})
	b.Run("zone", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			p := points[i%len(points)]
			shared.Timezone(p[0], p[1])
		}
	})
	b.Run("ocean", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			shared.Lookup(context.Background(), float64(i%60), -35)
		}
	})
}

// BenchmarkFirstUse also reports the heap that a loaded Geocoder keeps.
func BenchmarkFirstUse(b *testing.B) {
	heap := func() float64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return float64(stats.HeapAlloc) / (1 << 20)
	}
	for b.Loop() {
		b.StopTimer()
		before := heap()
		b.StartTimer()
		geocoder := New()
		geocoder.Lookup(context.Background(), 48.8566, 2.3522)
		b.StopTimer()
		b.ReportMetric(heap()-before, "MiB-kept")
		runtime.KeepAlive(geocoder)
		b.StartTimer()
	}
}
