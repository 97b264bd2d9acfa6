package spec

import (
	"fmt"
	"time"
)

// checkDateTime accepts ISO 8601 with an offset, and without one where the offset
// is not known (behaviour 2.8), which RFC 3339 would refuse.
func checkDateTime(value any) error {
	text, ok := value.(string)
	if !ok {
		return nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"} {
		if _, err := time.Parse(layout, text); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%q is not a date and time as 2006-01-02T15:04:05, with or without a fraction and an offset", text)
}
