package importer

import (
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/banksia-photos/banksia"
)

// How Google Takeout names the JSON of a photo is undocumented. The rules here
// are what importers have observed (ente/ente#4956, simulot/immich-go,
// TheLastGimbus/GooglePhotosTakeoutHelper#449):
//   - since 2024 NAME.supplemental-metadata.json, before that NAME.json;
//   - all before .json is cut to 46 characters;
//   - the number of equally named photos stands in front of the photo's extension,
//     but in front of .json in its sidecar, and is not cut: IMG(1).jpg goes with
//     IMG.jpg(1).json or IMG.jpg.supplemental-metadata(1).json;
//   - an edited photo has no JSON of its own;
//   - the clip of a live photo shares the JSON of the still.
const (
	supplemental   = "supplemental-metadata"
	takeoutNameMax = 46
	// takeoutStemMax is where the names of the photos themselves are cut.
	takeoutStemMax = 47
)

// editedSuffixes mark edited copies, in the languages that importers have met.
var editedSuffixes = []string{
	"-edited", "-effects", "-smile", "-mix", "-bearbeitet", "-editado", "-editada", "-modifié", "-modificato",
	"-bewerkt", "-edytowane", "-redigerad", "-redigert", "-redigeret", "-muokattu", "-upraveno", "-编辑", "-已修改", "-編集済み", "-편집됨", "-изменено",
}

// stillExtensions are those of the photos that a clip may belong to.
var stillExtensions = []string{".HEIC", ".heic", ".JPG", ".jpg", ".JPEG", ".jpeg", ".MP.jpg", ".MP.JPG"}

var clipExtensions = map[string]bool{".mp4": true, ".mov": true, ".m4v": true, ".mp": true, ".mv": true}

// takeoutSidecar is the name of the JSON that belongs to a file, "" if there is
// none; has tells whether the folder holds a name.
func takeoutSidecar(has func(string) bool, name string) string {
	for _, of := range append([]string{name}, uneditedNames(name)...) {
		if found := ownTakeoutSidecar(has, of); found != "" {
			return found
		}
	}
	if extension := path.Ext(name); clipExtensions[strings.ToLower(extension)] {
		for _, still := range stillExtensions {
			if found := ownTakeoutSidecar(has, strings.TrimSuffix(name, extension)+still); found != "" {
				return found
			}
		}
	}
	return ""
}

func ownTakeoutSidecar(has func(string) bool, name string) string {
	// A number may also be part of the title, and then the sidecar says it as it is.
	if found := numberedTakeoutSidecar(has, name, ""); found != "" {
		return found
	}
	if plain, number, ok := splitNumber(name); ok {
		return numberedTakeoutSidecar(has, plain, number)
	}
	return ""
}

func numberedTakeoutSidecar(has func(string) bool, name, number string) string {
	tail := number + ".json"
	candidates := []string{
		cutTo(name+"."+supplemental, takeoutNameMax) + tail,
		cutTo(name, takeoutNameMax) + tail,
	}
	// Archives have been seen that cut earlier.
	for n := len(supplemental); n >= 0; n-- {
		candidates = append(candidates, name+"."+supplemental[:n]+tail)
	}
	for _, candidate := range append(candidates, name+tail) {
		if has(candidate) {
			return candidate
		}
	}
	return ""
}

func cutTo(text string, characters int) string {
	if utf8.RuneCountInString(text) <= characters {
		return text
	}
	return string([]rune(text)[:characters])
}

// splitNumber splits IMG(1).jpg into IMG.jpg and (1).
func splitNumber(name string) (plain, number string, ok bool) {
	extension := path.Ext(name)
	stem := strings.TrimSuffix(name, extension)
	open := strings.LastIndexByte(stem, '(')
	if open < 1 || !strings.HasSuffix(stem, ")") {
		return "", "", false
	}
	digits := stem[open+1 : len(stem)-1]
	if len(digits) == 0 || len(digits) > 6 || strings.Trim(digits, "0123456789") != "" {
		return "", "", false
	}
	return stem[:open] + extension, stem[open:], true
}

func isEdited(name string) bool { return len(uneditedNames(name)) > 0 }

// uneditedNames are the names that the original of an edited copy may have.
func uneditedNames(name string) []string {
	number := ""
	if plain, n, ok := splitNumber(name); ok {
		name, number = plain, n
	}
	extension := path.Ext(name)
	stem := strings.TrimSuffix(name, extension)
	cut := utf8.RuneCountInString(stem) >= takeoutStemMax
	var names []string
	for _, suffix := range editedSuffixes {
		marks := []rune(suffix)
		for n := len(marks); n >= 2; n-- {
			if original, ok := strings.CutSuffix(stem, string(marks[:n])); ok && original != "" {
				names = append(names, original+number+extension)
				break
			}
			if !cut { // only a name at the limit ends within the mark
				break
			}
		}
	}
	return names
}

// maxSidecar bounds what is read of a sidecar, in bytes.
const maxSidecar = 4 << 20

// readTakeout reads the JSON of a Takeout: the title is the photo's own name.
func readTakeout(r io.Reader, in *time.Location) (facts, error) {
	var doc struct {
		Title       string      `json:"title"`
		Description string      `json:"description"`
		Taken       takeoutTime `json:"photoTakenTime"`
		Geo         takeoutGeo  `json:"geoData"`
		GeoEXIF     takeoutGeo  `json:"geoDataExif"`
		People      []struct {
			Name string `json:"name"`
		} `json:"people"`
	}
	if err := json.NewDecoder(io.LimitReader(r, maxSidecar)).Decode(&doc); err != nil {
		return facts{}, fmt.Errorf("read the Takeout sidecar: %w", err)
	}
	about := facts{title: doc.Title}
	if doc.Description != "" {
		about.description = &doc.Description
	}
	for _, geo := range []takeoutGeo{doc.Geo, doc.GeoEXIF} {
		// Takeout writes 0, 0 where it knows no place.
		if (geo.Latitude != 0 || geo.Longitude != 0) && validCoordinates(geo.Latitude, geo.Longitude) {
			about.latitude, about.longitude = &geo.Latitude, &geo.Longitude
			break
		}
	}
	if seconds, err := strconv.ParseInt(string(doc.Taken.Timestamp), 10, 64); err == nil && seconds != 0 {
		at := time.Unix(seconds, 0).In(in)
		if at.Year() >= 1 && at.Year() <= 9999 {
			local := banksia.NewLocalTime(at)
			about.original = &local
		}
	}
	for _, person := range doc.People {
		if person.Name != "" {
			about.people = append(about.people, person.Name)
		}
	}
	return about, nil
}

type takeoutTime struct {
	Timestamp digits `json:"timestamp"` // seconds since 1970 UTC
}

// digits is a number, written as one or as a string.
type digits string

func (d *digits) UnmarshalJSON(text []byte) error {
	*d = digits(strings.Trim(string(text), `"`))
	return nil
}

type takeoutGeo struct {
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
}

func validCoordinates(latitude, longitude float64) bool {
	return latitude >= -90 && latitude <= 90 && longitude >= -180 && longitude <= 180
}

// albumTitle is the album that a folder stands for: the title that a Takeout
// gives it, else its name. The folders by year of a Takeout are no albums.
func (f *folder) albumTitle() string {
	f.titleOnce.Do(func() {
		f.title = cleanText(f.name)
		if title, ok := f.takeoutTitle(); ok {
			f.title = cleanText(title)
		} else if rest, ok := strings.CutPrefix(f.name, "Photos from "); ok && len(rest) == 4 && strings.Trim(rest, "0123456789") == "" {
			f.title = ""
		}
	})
	return f.title
}

func (f *folder) takeoutTitle() (string, bool) {
	if !f.has("metadata.json") {
		return "", false
	}
	s, err := f.file("metadata.json")
	if err != nil {
		return "", false
	}
	r, err := s.open()
	if err != nil {
		return "", false
	}
	defer r.Close()
	var doc struct {
		Title string `json:"title"`
	}
	if err := json.NewDecoder(io.LimitReader(r, maxSidecar)).Decode(&doc); err != nil || doc.Title == "" {
		return "", false
	}
	return doc.Title, true
}
