package media

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/banksia-photos/banksia"
	"golang.org/x/text/language"
)

// parseIPTC reads data sets of the IPTC Information Interchange Model 4.2: its
// application record, and the character set of the envelope. Of a data set that
// comes twice the first counts.
func parseIPTC(data []byte) banksia.Metadata {
	const maxDataSets = 4096
	sets := map[[2]byte][]byte{}
	for range maxDataSets {
		for len(data) > 0 && data[0] != 0x1c { // padding
			data = data[1:]
		}
		if len(data) < 5 {
			break
		}
		id, size := [2]byte{data[1], data[2]}, int(binary.BigEndian.Uint16(data[3:]))
		data = data[5:]
		if size&0x8000 != 0 { // a long data set: the length of its length
			bytesOfLength := size & 0x7fff
			if bytesOfLength > 4 || bytesOfLength > len(data) {
				break
			}
			c := cursor{data: data}
			size = int(c.number(bytesOfLength))
			data = c.data
		}
		size = min(size, len(data))
		if _, seen := sets[id]; !seen {
			sets[id] = data[:size]
		}
		data = data[size:]
	}

	decode := cleanText
	if bytes.HasPrefix(sets[[2]byte{1, 90}], []byte("\x1b%G")) { // UTF-8 by ISO 2022
		decode = func(data []byte) string { return cleanString(string(bytes.TrimRight(data, "\x00"))) }
	}
	field := func(number byte) string { return decode(sets[[2]byte{2, number}]) }
	m := banksia.Metadata{
		City:        text(field(90)),
		Sublocation: text(field(92)),
		State:       text(field(95)),
		CountryCode: countryCode(field(100)),
		Country:     text(field(101)),
		Description: text(field(120)),
	}
	m.OriginalDateTime = iptcTime(field(55), field(60))
	m.DigitizedDateTime = iptcTime(field(62), field(63))
	return m
}

// iptcTime joins CCYYMMDD with HHMMSS±HHMM, the offset being optional in
// practice.
func iptcTime(date, clock string) *banksia.LocalTime {
	if len(date) != 8 {
		return nil
	}
	iso := date[:4] + "-" + date[4:6] + "-" + date[6:]
	if len(clock) >= 6 {
		iso += "T" + clock[:2] + ":" + clock[2:4] + ":" + clock[4:]
	}
	t, ok := parseDateTime(iso)
	if !ok {
		return nil
	}
	return &t
}

// countryCode is the two letters of ISO 3166-1 for its two, three letters or
// three digits: IPTC asks for three. nil for anything else.
func countryCode(code string) *string {
	code = strings.TrimSpace(code)
	if len(code) != 2 && len(code) != 3 {
		return nil
	}
	region, err := language.ParseRegion(code)
	if err != nil || !region.IsCountry() {
		return nil
	}
	return text(region.Canonicalize().String())
}
