package media

import "testing"

// A file without a name gets the extension that its content asks for.
func TestFormatByContent(t *testing.T) {
	t.Parallel()
	for head, want := range map[string]string{
		"\xff\xd8\xff\xe0":              "jpeg",
		"\x89PNG\r\n\x1a\n":             "png",
		"II*\x00\x10\x00\x00\x00CR\x02": "cr2",
		"II*\x00\x08\x00\x00\x00":       "tiff",
		"MM\x00*":                       "tiff",
		"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic": "heic",
		"\x00\x00\x00\x18ftypavif\x00\x00\x00\x00mif1avif": "avif",
		"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01crx isom": "cr3",
		"\x00\x00\x00\x14ftypqt  \x00\x00\x02\x00qt  ":     "mov",
		"\x00\x00\x00\x08wide\x00\x00":                     "mov",
		"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp41": "mp4",
		"\x00\x00\x00\x18ftyp3gp4\x00\x00\x02\x00isom3gp4": "3gp",
		"\x1a\x45\xdf\xa3\x01\x00\x42\x82\x84webm":         "webm",
		"\x1a\x45\xdf\xa3\x01\x00\x42\x82\x88matroska":     "mkv",
		"RIFF\x00\x00\x00\x00WEBPVP8 ":                     "webp",
		"RIFF\x00\x00\x00\x00AVI LIST":                     "avi",
		"plain text":                                       "",
		"":                                                 "",
	} {
		format, ok := FormatByContent([]byte(head))
		if format.Name != want || ok != (want != "") {
			t.Errorf("%q is %q, %v; want %q", head, format.Name, ok, want)
		}
		if ok && !format.Sniff([]byte(head)) {
			t.Errorf("%q is no %s to the server", head, format.Name)
		}
	}
}
