package banksia

import (
	"fmt"
	"strings"
	"time"
)

// LocalTime is a moment as a camera tells it: the wall clock of the place, and
// the offset from UTC where it is known. Its zero value is 1970-01-01 00:00:00
// without an offset.
type LocalTime struct {
	// Wall is the wall clock as microseconds since 1970-01-01 00:00:00 of the
	// same wall clock.
	Wall int64
	// Offset is minutes east of UTC, nil when unknown.
	Offset *int
}

// MaxOffsetMinutes bounds every offset: EXIF and ISO 8601 allow less than a day,
// and the world uses -12:00 to +14:00.
const MaxOffsetMinutes = 18 * 60

// NewLocalTime reads the wall clock and the offset out of t.
func NewLocalTime(t time.Time) LocalTime {
	_, seconds := t.Zone()
	minutes := seconds / 60
	return LocalTime{Wall: t.UnixMicro() + int64(minutes)*60e6, Offset: &minutes}
}

// Naive returns the same wall clock without its offset.
func (t LocalTime) Naive() LocalTime { return LocalTime{Wall: t.Wall} }

// Instant is microseconds since the Unix epoch; where the offset is unknown the
// wall clock is taken as UTC.
func (t LocalTime) Instant() int64 {
	if t.Offset == nil {
		return t.Wall
	}
	return t.Wall - int64(*t.Offset)*60e6
}

// ParseLocalTime reads an ISO 8601 date, or a date and time separated by T, t or
// a space, with up to nine fraction digits (kept to the microsecond) and an
// optional Z or ±hh:mm, ±hhmm or ±hh. Years 1 to 9999.
func ParseLocalTime(text string) (LocalTime, error) {
	fail := func() (LocalTime, error) {
		return LocalTime{}, fmt.Errorf("not an ISO 8601 date and time")
	}
	if len(text) > 40 {
		return fail()
	}
	if date, err := time.Parse("2006-01-02", text); err == nil {
		return checkYear(LocalTime{Wall: date.UnixMicro()})
	}
	if len(text) < len("2006-01-02T15:04") || !strings.ContainsRune("Tt ", rune(text[10])) {
		return fail()
	}
	clock := text[11:]
	zoneAt := strings.IndexAny(clock, "Zz+- ")
	zone := ""
	if zoneAt >= 0 {
		clock, zone = clock[:zoneAt], clock[zoneAt:]
	}
	if len(clock) == len("15:04") {
		clock += ":00"
	}
	wall, err := time.Parse("2006-01-02T15:04:05", text[:10]+"T"+clock) // also takes a fraction
	if err != nil {
		return fail()
	}
	result := LocalTime{Wall: wall.UnixMicro()}
	if zone == "" {
		return checkYear(result)
	}
	offset, err := ParseOffset(zone)
	if err != nil {
		return LocalTime{}, err
	}
	result.Offset = &offset
	return checkYear(result)
}

// ParseOffset reads Z, ±hh:mm, ±hhmm or ±hh and returns minutes east of UTC. A
// leading space counts as the plus sign that form decoding took for one.
func ParseOffset(zone string) (minutes int, err error) {
	if zone == "Z" || zone == "z" {
		return 0, nil
	}
	if strings.HasPrefix(zone, " ") {
		zone = "+" + zone[1:]
	}
	for _, layout := range []string{"-07:00", "-0700", "-07"} {
		if len(layout) != len(zone) {
			continue
		}
		if t, err := time.Parse(layout, zone); err == nil {
			_, seconds := t.Zone()
			if minutes = seconds / 60; minutes >= -MaxOffsetMinutes && minutes <= MaxOffsetMinutes {
				return minutes, nil
			}
		}
	}
	return 0, fmt.Errorf("not an offset from UTC such as +02:00")
}

func checkYear(t LocalTime) (LocalTime, error) {
	if year := time.UnixMicro(t.Wall).UTC().Year(); year < 1 || year > 9999 {
		return LocalTime{}, fmt.Errorf("the year must be between 1 and 9999")
	}
	return t, nil
}

// String writes ISO 8601 with the offset when it is known and no suffix when it
// is not (behaviour 2.8); the fraction only when there is one.
func (t LocalTime) String() string {
	text, _ := t.MarshalText()
	return string(text)
}

// MarshalText and UnmarshalText carry the text form through JSON.
func (t LocalTime) MarshalText() ([]byte, error) {
	const longest = len("2006-01-02T15:04:05.999999+00:00")
	text := time.UnixMicro(t.Wall).UTC().AppendFormat(make([]byte, 0, longest), "2006-01-02T15:04:05.999999")
	if t.Offset == nil {
		return text, nil
	}
	sign, minutes := byte('+'), *t.Offset
	if minutes < 0 {
		sign, minutes = '-', -minutes
	}
	digit := func(n int) byte { return '0' + byte(n%10) }
	return append(text, sign, digit(minutes/600), digit(minutes/60), ':', digit(minutes%60/10), digit(minutes%60)), nil
}

func (t *LocalTime) UnmarshalText(text []byte) (err error) {
	*t, err = ParseLocalTime(string(text))
	return err
}
