package media

import (
	"math"
	"regexp"
	"strconv"
	"strings"
)

var iso6709 = regexp.MustCompile(`^([+-]\d{2,6}(?:\.\d*)?)([+-]\d{3,7}(?:\.\d*)?)([+-]\d+(?:\.\d*)?)?(?:CRS[^/]*)?/?$`)

// parseISO6709 reads a point such as +40.6892-074.0445+012.3/ (ISO 6709, annex H)
// in degrees, degrees and minutes, or degrees, minutes and seconds; nil where
// the text is something else or out of range.
func parseISO6709(text string) (latitude, longitude, altitude *float64) {
	match := iso6709.FindStringSubmatch(strings.TrimSpace(text))
	if match == nil {
		return nil, nil, nil
	}
	north, ok1 := sexagesimal(match[1], 2)
	east, ok2 := sexagesimal(match[2], 3)
	if !ok1 || !ok2 {
		return nil, nil, nil
	}
	latitude, longitude = validPosition(north, east)
	if up, err := strconv.ParseFloat(match[3], 64); latitude != nil && err == nil {
		altitude = validAltitude(up)
	}
	return latitude, longitude, altitude
}

// sexagesimal reads ±D, ±DMM or ±DMMSS with a decimal fraction in its last part;
// degrees is how many digits the degrees have.
func sexagesimal(text string, degrees int) (value float64, ok bool) {
	sign := 1.0
	if text[0] == '-' {
		sign = -1
	}
	digits := text[1:]
	whole, _, _ := strings.Cut(digits, ".")
	scale := 1.0
	for at := 0; at < len(whole); {
		width := 2
		if at == 0 {
			width = degrees
		}
		end := at + width
		if end > len(whole) {
			return 0, false
		}
		part := digits[at:end]
		if end == len(whole) {
			part = digits[at:]
		}
		number, err := strconv.ParseFloat(part, 64)
		if err != nil || at > 0 && number >= 60 {
			return 0, false
		}
		value += number / scale
		scale *= 60
		at = end
	}
	return sign * value, true
}

// validPosition checks degrees of latitude and longitude; both nil when either
// is impossible.
func validPosition(latitude, longitude float64) (*float64, *float64) {
	if math.IsNaN(latitude) || math.IsNaN(longitude) || math.Abs(latitude) > 90 || math.Abs(longitude) > 180 {
		return nil, nil
	}
	return &latitude, &longitude
}

// validAltitude checks metres above sea level: from below the deepest trench to
// above any satellite that carries a camera for people.
func validAltitude(metres float64) *float64 {
	if math.IsNaN(metres) || metres < -12_000 || metres > 2_000_000 {
		return nil
	}
	return &metres
}
