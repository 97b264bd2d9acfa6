package banksia

import "testing"

func TestParseLocalTime(t *testing.T) {
	for in, want := range map[string]string{
		"2023-11-07":                       "2023-11-07T00:00:00",
		"2023-11-07T05:31":                 "2023-11-07T05:31:00",
		"2023-11-07T05:31:56":              "2023-11-07T05:31:56",
		"2023-11-07T05:31:56Z":             "2023-11-07T05:31:56+00:00",
		"2023-11-07 05:31:56.5-03:30":      "2023-11-07T05:31:56.5-03:30",
		"2023-11-07T05:31:56.123456+00:00": "2023-11-07T05:31:56.123456+00:00",
		"2023-11-07T05:31:56.1234567 0200": "2023-11-07T05:31:56.123456+02:00",
		"0001-01-01T00:00:00":              "0001-01-01T00:00:00",
	} {
		if got, err := ParseLocalTime(in); err != nil || got.String() != want {
			t.Errorf("%q is read as %s, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "now", "2023-13-01", "2023-02-30T00:00:00", "2023-11-07T24:00:00", "2023-11-07T05:31:56+19:00",
		"2023-11-07T05:31:56+", "0000-01-01", "10000-01-01", "2023-11-07T05:31:56ZZ"} {
		if got, err := ParseLocalTime(in); err == nil {
			t.Errorf("%q is read as %s", in, got)
		}
	}
}

// Every offset is written so that it is read back.
func TestLocalTimeOffsets(t *testing.T) {
	for minutes := -MaxOffsetMinutes; minutes <= MaxOffsetMinutes; minutes++ {
		text := LocalTime{Wall: 1, Offset: &minutes}.String()
		got, err := ParseLocalTime(text)
		if err != nil || got.Offset == nil || *got.Offset != minutes || got.Wall != 1 {
			t.Errorf("%d minutes are written %s and read %s, %v", minutes, text, got, err)
		}
	}
}

func FuzzParseLocalTime(f *testing.F) {
	f.Add("2023-11-07T05:31:56.123456+00:00")
	f.Add("2023-11-07")
	f.Fuzz(func(t *testing.T, in string) {
		first, err := ParseLocalTime(in)
		if err != nil {
			return
		}
		second, err := ParseLocalTime(first.String())
		if err != nil || second.String() != first.String() || second.Instant() != first.Instant() {
			t.Errorf("%q is read as %s, which is read as %s, %v", in, first, second, err)
		}
	})
}
