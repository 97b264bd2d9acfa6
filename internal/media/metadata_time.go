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
