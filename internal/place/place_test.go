package place

import (
	"context"
	"testing"
)

var shared = New()

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
		"Berlin, Mitte":           {52.5200, 13.4050, Place{"Berlin", "Berlin", "Germany", "DE", "*", "Europe/Berlin"}},
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
		"Hong Kong, Central":      {22.2819, 114.1580, Place{"Hong Kong", "*", "Hong Kong", "HK", "*", "Asia/Hong_Kong"}},
		"Taipei 101":              {25.0340, 121.5645, Place{"Taipei", "Taipei City", "Taiwan", "TW", "*", "Asia/Taipei"}},
		"Singapore, Merlion":      {1.2868, 103.8545, Place{"Singapore", "*", "Singapore", "SG", "*", "Asia/Singapore"}},
		"Bangkok, Grand Palace":   {13.7500, 100.4913, Place{"Bangkok", "Bangkok", "Thailand", "TH", "*", "Asia/Bangkok"}},
		"Delhi, India Gate":       {28.6129, 77.2295, Place{"*", "Delhi", "India", "IN", "*", "Asia/Kolkata"}},
		"Agra, Taj Mahal":         {27.1751, 78.0421, Place{"Agra", "Uttar Pradesh", "India", "IN", "*", "Asia/Kolkata"}},
		"Dubai, Burj Khalifa":     {25.1972, 55.2744, Place{"Dubai", "Dubai", "United Arab Emirates", "AE", "*", "Asia/Dubai"}},
		"Kathmandu":               {27.7172, 85.3240, Place{"Kathmandu", "*", "Nepal", "NP", "*", "Asia/Kathmandu"}},
		"Cairo, Tahrir":           {30.0444, 31.2357, Place{"Cairo", "Cairo", "Egypt", "EG", "*", "Africa/Cairo"}},
		"Giza, pyramids":          {29.9792, 31.1342, Place{"*", "Giza", "Egypt", "EG", "*", "Africa/Cairo"}},
		"Nairobi":                 {-1.2864, 36.8172, Place{"Nairobi", "*", "Kenya", "KE", "*", "Africa/Nairobi"}},
		"Cape Town, city bowl":    {-33.9249, 18.4241, Place{"Cape Town", "Western Cape", "South Africa", "ZA", "*", "Africa/Johannesburg"}},
		"Lagos":                   {6.4541, 3.3947, Place{"Lagos", "Lagos", "Nigeria", "NG", "*", "Africa/Lagos"}},
		"New York, Times Square":  {40.7580, -73.9855, Place{"New York City", "New York", "United States", "US", "*", "America/New_York"}},
		"Brooklyn Heights":        {40.6960, -73.9950, Place{"New York City", "New York", "United States", "US", "*", "America/New_York"}},
		"San Francisco":           {37.7749, -122.4194, Place{"San Francisco", "California", "United States", "US", "*", "America/Los_Angeles"}},
		"Los Angeles, Hollywood":  {34.1016, -118.3267, Place{"Los Angeles", "California", "United States", "US", "Hollywood", "America/Los_Angeles"}},
		"Santa Monica pier":       {34.0094, -118.4973, Place{"Santa Monica", "California", "United States", "US", "*", "America/Los_Angeles"}},
		"Chicago, the Bean":       {41.8827, -87.6233, Place{"Chicago", "Illinois", "United States", "US", "*", "America/Chicago"}},
		"Washington, White House": {38.8977, -77.0365, Place{"Washington", "District of Columbia", "United States", "US", "*", "America/New_York"}},
		"Toronto, CN Tower":       {43.6426, -79.3871, Place{"Toronto", "Ontario", "Canada", "CA", "*", "America/Toronto"}},
		"Mexico City, Zócalo":     {19.4326, -99.1332, Place{"Mexico City", "Mexico City", "Mexico", "MX", "*", "America/Mexico_City"}},
		"Buenos Aires, Obelisco":  {-34.6037, -58.3816, Place{"Buenos Aires", "*", "Argentina", "AR", "*", "America/Argentina/Buenos_Aires"}},
		"São Paulo":               {-23.5505, -46.6333, Place{"São Paulo", "São Paulo", "Brazil", "BR", "*", "America/Sao_Paulo"}},
		"Lima":                    {-12.0464, -77.0428, Place{"Lima", "*", "Peru", "PE", "*", "America/Lima"}},
		"Sydney, Opera House":     {-33.8568, 151.2153, Place{"Sydney", "New South Wales", "Australia", "AU", "*", "Australia/Sydney"}},
		"Auckland":                {-36.8485, 174.7633, Place{"Auckland", "Auckland", "New Zealand", "NZ", "*", "Pacific/Auckland"}},
		// Landmarks.
		"Eiffel Tower":        {48.8584, 2.2945, Place{"Paris", "Île-de-France", "France", "FR", "*", "Europe/Paris"}},
		"Stade de France":     {48.9245, 2.3602, Place{"Saint-Denis", "Île-de-France", "France", "FR", "*", "Europe/Paris"}},
		"Versailles, palace":  {48.8049, 2.1204, Place{"Versailles", "Île-de-France", "France", "FR", "*", "Europe/Paris"}},
		"Louvre":              {48.8606, 2.3376, Place{"Paris", "Île-de-France", "France", "FR", "*", "Europe/Paris"}},
		"Neuschwanstein":      {47.5576, 10.7498, Place{"*", "Bavaria", "Germany", "DE", "*", "Europe/Berlin"}},
		"Sagrada Família":     {41.4036, 2.1744, Place{"Barcelona", "Catalonia", "Spain", "ES", "*", "Europe/Madrid"}},
		"Rio, Christ":         {-22.9519, -43.2105, Place{"Rio de Janeiro", "Rio de Janeiro", "Brazil", "BR", "*", "America/Sao_Paulo"}},
		"Greenwich, meridian": {51.4779, 0.0000, Place{"London", "England", "United Kingdom", "GB", "Greenwich", "Europe/London"}},
		"Statue of Liberty":   {40.6892, -74.0445, Place{"*", "*", "United States", "US", "*", "America/New_York"}},
		"Machu Picchu":        {-13.1631, -72.5450, Place{"*", "Cuzco", "Peru", "PE", "*", "America/Lima"}},
		"Vatican":             {41.9022, 12.4539, Place{"Vatican City", "*", "Vatican City", "VA", "*", "Europe/Vatican"}},
		"Cambridge, MIT":      {42.3601, -71.0942, Place{"Cambridge", "Massachusetts", "United States", "US", "*", "America/New_York"}},
		"Munich, Marienplatz": {48.1374, 11.5755, Place{"Munich", "Bavaria", "Germany", "DE", "*", "Europe/Berlin"}},
		// Both sides of borders.
		"Konstanz":          {47.6603, 9.1758, Place{"Konstanz", "Baden-Württemberg", "Germany", "DE", "*", "Europe/Berlin"}},
		"Kreuzlingen":       {47.6458, 9.1783, Place{"Kreuzlingen", "Thurgau", "Switzerland", "CH", "*", "Europe/Zurich"}},
		"Strasbourg":        {48.5734, 7.7521, Place{"Strasbourg", "Grand Est", "France", "FR", "*", "Europe/Paris"}},
		"Kehl":              {48.5729, 7.8150, Place{"Kehl", "Baden-Württemberg", "Germany", "DE", "*", "Europe/Berlin"}},
		"El Paso":           {31.7619, -106.4850, Place{"El Paso", "Texas", "United States", "US", "*", "America/Denver"}},
		"Ciudad Juárez":     {31.7200, -106.4600, Place{"Ciudad Juárez", "Chihuahua", "Mexico", "MX", "*", "America/Ciudad_Juarez"}},
		"Niagara Falls, US": {43.0962, -79.0377, Place{"Niagara Falls", "New York", "United States", "US", "*", "America/New_York"}},
		"Niagara Falls, CA": {43.0896, -79.0949, Place{"Niagara Falls", "Ontario", "Canada", "CA", "*", "America/Toronto"}},
		"Copenhagen":        {55.6761, 12.5683, Place{"Copenhagen", "Capital Region", "Denmark", "DK", "*", "Europe/Copenhagen"}},
		"Malmö":             {55.6050, 13.0038, Place{"Malmö", "Skåne", "Sweden", "SE", "*", "Europe/Stockholm"}},
		"Monaco, casino":    {43.7393, 7.4278, Place{"*", "*", "Monaco", "MC", "*", "Europe/Monaco"}},
		"Foz do Iguaçu":     {-25.5478, -54.5882, Place{"Foz do Iguaçu", "Paraná", "Brazil", "BR", "*", "America/Sao_Paulo"}},
		"Puerto Iguazú":     {-25.5972, -54.5786, Place{"Puerto Iguazú", "Misiones", "Argentina", "AR", "*", "America/Argentina/Cordoba"}},
		"Geneva":            {46.2044, 6.1432, Place{"Genève", "Geneva", "Switzerland", "CH", "*", "Europe/Zurich"}},
		// Country, islands and far places.
		"Hallstatt":                   {47.5622, 13.6493, Place{"Hallstatt", "Upper Austria", "Austria", "AT", "", "Europe/Vienna"}},
		"Zermatt":                     {46.0207, 7.7491, Place{"Zermatt", "Valais", "Switzerland", "CH", "", "Europe/Zurich"}},
		"Grand Canyon, South Rim":     {36.0544, -112.1401, Place{"*", "Arizona", "United States", "US", "*", "America/Phoenix"}},
		"Reykjavík":                   {64.1466, -21.9426, Place{"Reykjavík", "Capital Region", "Iceland", "IS", "*", "Atlantic/Reykjavik"}},
		"Honolulu, Waikiki":           {21.2767, -157.8275, Place{"Honolulu", "Hawaii", "United States", "US", "*", "Pacific/Honolulu"}},
		"Easter Island, Hanga Roa":    {-27.1500, -109.4333, Place{"Hanga Roa", "Valparaiso", "Chile", "CL", "", "Pacific/Easter"}},
		"Bora Bora, Vaitape":          {-16.5067, -151.7500, Place{"Vaitape", "*", "French Polynesia", "PF", "", "Pacific/Tahiti"}},
		"Galápagos, Puerto Ayora":     {-0.7432, -90.3135, Place{"Puerto Ayora", "Galápagos", "Ecuador", "EC", "", "Pacific/Galapagos"}},
		"Fiji, Taveuni (180°)":        {-16.8500, 179.9900, Place{"*", "Northern", "Fiji", "FJ", "*", "Pacific/Fiji"}},
		"Chatham Islands, Waitangi":   {-43.9520, -176.5590, Place{"Waitangi", "Chatham Islands", "New Zealand", "NZ", "", "Pacific/Chatham"}},
		"Longyearbyen":                {78.2232, 15.6267, Place{"Longyearbyen", "Svalbard", "Svalbard & Jan Mayen", "SJ", "", "Arctic/Longyearbyen"}},
		"Ushuaia":                     {-54.8019, -68.3030, Place{"Ushuaia", "Tierra del Fuego", "Argentina", "AR", "", "America/Argentina/Ushuaia"}},
		"Pristina":                    {42.6629, 21.1655, Place{"Pristina", "*", "Kosovo", "XK", "*", "Europe/Belgrade"}},
		"Uluru":                       {-25.3444, 131.0369, Place{"*", "Northern Territory", "Australia", "AU", "*", "Australia/Darwin"}},
		"Great Victoria Desert":       {-29.0000, 129.5000, Place{"", "", "Australia", "AU", "", "Australia/Adelaide"}},
		"Sahara, Tanezrouft":          {24.0000, 0.5000, Place{"", "", "Algeria", "DZ", "", "Africa/Algiers"}},
		"Greenland, ice sheet":        {75.0000, -40.0000, Place{"", "", "Greenland", "GL", "", "*"}},
		"South Pole":                  {-90.0000, 0.0000, Place{"", "", "Antarctica", "AQ", "", "*"}},
		"McMurdo":                     {-77.8463, 166.6683, Place{"", "", "Antarctica", "AQ", "", "Antarctica/McMurdo"}},
		"North Pole":                  {90, 0, Place{"", "", "", "", "", "Etc/GMT"}},
		"Null Island":                 {0, 0, Place{"", "", "", "", "", "Etc/GMT"}},
		"Mid-Atlantic":                {30, -40, Place{"", "", "", "", "", "Etc/GMT+3"}},
		"Mid-Pacific":                 {10, -140, Place{"", "", "", "", "", "Etc/GMT+9"}},
		"Point Nemo":                  {-48.8767, -123.3933, Place{"", "", "", "", "", "Etc/GMT+8"}},
		"Indian Ocean":                {-25, 80, Place{"", "", "", "", "", "Etc/GMT-5"}},
		"Antimeridian, from the east": {0.5, 180, Place{"", "", "", "", "", "*"}},
		"Antimeridian, from the west": {0.5, -180, Place{"", "", "", "", "", "*"}},
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
			t.Logf("%+v", got)
		})
	}
}
