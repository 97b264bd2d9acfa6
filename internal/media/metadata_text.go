package media

import (
	"strings"
	"unicode/utf8"
)

// maxText bounds every text kept from a file, in bytes: EXIF allows 64 KiB, and
// nobody reads a longer caption.
const maxText = 1 << 16

// cleanText makes UTF-8 of a text from a file: bytes that are not UTF-8 are
// taken for Latin-1. It ends at the first NUL and loses surrounding blanks.
func cleanText(data []byte) string {
	data = data[:min(len(data), maxText)]
	for i, b := range data {
		if b == 0 {
			data = data[:i]
			break
		}
	}
	return cleanString(toUTF8(data))
}

// cleanString trims blanks and NULs, drops the control characters that no text
// needs, and replaces invalid UTF-8.
func cleanString(text string) string {
	if len(text) > maxText {
		text = text[:maxText]
		for len(text) > 0 && !utf8.ValidString(text[len(text)-min(len(text), utf8.UTFMax):]) && !utf8.RuneStart(text[len(text)-1]) {
			text = text[:len(text)-1]
		}
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	text = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, text)
	return strings.TrimSpace(text)
}

func toUTF8(data []byte) string {
	if utf8.Valid(data) {
		return string(data)
	}
	return latin1(data)
}

// latin1 decodes ISO 8859-1, whose bytes are the first 256 code points.
func latin1(data []byte) string {
	runes := make([]rune, len(data))
	for i, b := range data {
		runes[i] = rune(b)
	}
	return string(runes)
}
