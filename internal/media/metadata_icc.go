package media

import (
	"encoding/binary"
	"unicode/utf16"
)

// iccDescription is the name of an ICC profile: its tag "desc", as
// textDescriptionType (ICC.1:2001-04, 6.5.17) or multiLocalizedUnicodeType
// (ICC.1:2022, 10.15), English if there is a choice; "" where there is none.
func iccDescription(profile []byte) string {
	const header, maxTags = 128, 256
	if len(profile) < header+4 || string(profile[36:40]) != "acsp" {
		return ""
	}
	tags := int(min(binary.BigEndian.Uint32(profile[header:]), maxTags))
	for i := range tags {
		at := header + 4 + 12*i
		if at+12 > len(profile) {
			return ""
		}
		if string(profile[at:at+4]) != "desc" {
			continue
		}
		offset := uint64(binary.BigEndian.Uint32(profile[at+4:]))
		size := uint64(binary.BigEndian.Uint32(profile[at+8:]))
		if offset > uint64(len(profile)) {
			return ""
		}
		return iccText(profile[offset:min(offset+size, uint64(len(profile)))])
	}
	return ""
}

func iccText(data []byte) string {
	if len(data) < 12 {
		return ""
	}
	switch string(data[:4]) {
	case "desc":
		size := uint64(binary.BigEndian.Uint32(data[8:]))
		return cleanText(data[12:min(12+size, uint64(len(data)))])
	case "text":
		return cleanText(data[8:])
	case "mluc":
		return iccLocalizedText(data)
	}
	return ""
}

func iccLocalizedText(data []byte) string {
	const maxRecords = 256
	if len(data) < 16 {
		return ""
	}
	first := ""
	for i := range int(min(binary.BigEndian.Uint32(data[8:]), maxRecords)) {
		at := 16 + 12*i
		if at+12 > len(data) {
			break
		}
		length := uint64(binary.BigEndian.Uint32(data[at+4:]))
		offset := uint64(binary.BigEndian.Uint32(data[at+8:]))
		if offset > uint64(len(data)) {
			continue
		}
		text := cleanString(decodeUTF16(data[offset:min(offset+length, uint64(len(data)))], binary.BigEndian))
		if string(data[at:at+2]) == "en" && text != "" {
			return text
		}
		if first == "" {
			first = text
		}
	}
	return first
}

func decodeUTF16(data []byte, order binary.ByteOrder) string {
	units := make([]uint16, len(data)/2)
	for i := range units {
		units[i] = order.Uint16(data[2*i:])
	}
	return string(utf16.Decode(units))
}
