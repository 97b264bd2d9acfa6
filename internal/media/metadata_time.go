package media

import (
	"strings"
	"time"

	"github.com/banksia-photos/banksia"
)

// parseDateTime reads a date and time as EXIF ("2006:01:02 15:04:05") or
// ISO 8601 writes it, with an optional fraction and offset. A date alone is its
// midnight. Blank, zero and impossible values give ok false.
func parseDateTime(text string) (t banksia.LocalTime, ok bool) {
	text = strings.TrimSpace(strings.TrimRight(text, "\x00 "))
	if len(text) < len("2006:01:02") || len(text) > 40 {
		return t, false
	}
	if !strings.ContainsRune(":-/.", rune(text[4])) || !strings.ContainsRune(":-/.", rune(text[7])) {
		return t, false
	}
	iso := text[:4] + "-" + text[5:7] + "-" + text[8:10]
	if clock := strings.Trim(text[10:], "Tt :"); clock != "" {
		clock = strings.TrimLeft(text[10:], "Tt ")
		if at := strings.IndexByte(clock, ' '); at > 0 { // a blank before the offset
			clock = clock[:at] + strings.TrimSpace(clock[at:])
		}
		iso += "T" + clock
	}
	t, err := banksia.ParseLocalTime(iso)
	if err != nil || time.UnixMicro(t.Wall).UTC().Year() < 2 {
		return t, false
	}
	return t, true
}

// microseconds reads the digits after the decimal point.
func microseconds(digits string) int64 {
	value, scale := int64(0), int64(1e5)
	for _, r := range strings.TrimSpace(digits) {
		if r < '0' || r > '9' {
			break
		}
		value += int64(r-'0') * scale
		scale /= 10
	}
	return value
}

// offsetFromUTC is the offset in minutes that turns a moment in UTC into the
// wall clock of the same moment, both in microseconds. Clocks and position
// fixes are minutes apart, so it is rounded to a quarter of an hour, and counts
// only if clocks somewhere on earth use it: whole and half hours from -12:00 to
// +14:00 and four odd quarters (IANA time zone database).
func offsetFromUTC(wall, utc int64) (minutes int, ok bool) {
	const quarter = int64(15 * time.Minute / time.Microsecond)
	quarters := (wall - utc + quarter/2) / quarter
	if wall-utc+quarter/2 < 0 {
		quarters = -((quarter/2 - (wall - utc)) / quarter)
	}
	if quarters < -12*4 || quarters > 14*4 {
		return 0, false
	}
	minutes = int(quarters) * 15
	switch minutes {
	case 5*60 + 45, 8*60 + 45, 12*60 + 45, 13*60 + 45: // Nepal, Eucla, Chatham
		return minutes, true
	}
	return minutes, minutes%30 == 0
}
