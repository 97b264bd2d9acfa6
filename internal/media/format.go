// Package media finds out what is in a photo or video file and draws it. A file
// goes in as a path, a struct or a file comes out; nothing here knows HTTP or
// the database.
//
// Decoders see hostile input, so they run in worker processes (see Pool) that
// hold no secret and are bounded in time, memory and pixels. A worker that
// crashes or hangs costs one request and is replaced.
package media

import (
	"bytes"
	"path/filepath"
	"strings"

	"github.com/banksia-photos/banksia"
)

// Format is one kind of file that a library takes.
type Format struct {
	Name       string // short, unique: "jpeg", "cr2"
	MIMEType   string
	MediaType  banksia.MediaType
	Extensions []string // lower case, without the dot; the first is the usual one
	// Displayable tells that every current browser shows the bytes as they are.
	Displayable bool
	// Raw marks camera formats, drawn from their embedded preview.
	Raw bool

	// family groups formats whose containers cannot be told apart for certain:
	// a name and its content agree when the families agree.
	family string
}

// Formats is every format, in the order in which content is recognised.
var Formats = []Format{
	{Name: "jpeg", MIMEType: "image/jpeg", MediaType: banksia.Image, Extensions: []string{"jpg", "jpeg", "jpe", "jfif", "mpo"}, Displayable: true, family: "jpeg"},
	{Name: "png", MIMEType: "image/png", MediaType: banksia.Image, Extensions: []string{"png", "apng"}, Displayable: true, family: "png"},
	{Name: "gif", MIMEType: "image/gif", MediaType: banksia.Image, Extensions: []string{"gif"}, Displayable: true, family: "gif"},
	{Name: "webp", MIMEType: "image/webp", MediaType: banksia.Image, Extensions: []string{"webp"}, Displayable: true, family: "webp"},
	{Name: "heic", MIMEType: "image/heic", MediaType: banksia.Image, Extensions: []string{"heic", "heics"}, family: "heif"},
	{Name: "heif", MIMEType: "image/heif", MediaType: banksia.Image, Extensions: []string{"heif", "heifs", "hif"}, family: "heif"},
	{Name: "avif", MIMEType: "image/avif", MediaType: banksia.Image, Extensions: []string{"avif"}, Displayable: true, family: "heif"},
	{Name: "jxl", MIMEType: "image/jxl", MediaType: banksia.Image, Extensions: []string{"jxl"}, family: "jxl"},
	{Name: "bmp", MIMEType: "image/bmp", MediaType: banksia.Image, Extensions: []string{"bmp", "dib"}, Displayable: true, family: "bmp"},
	{Name: "cr3", MIMEType: "image/x-canon-cr3", MediaType: banksia.Image, Extensions: []string{"cr3"}, Raw: true, family: "cr3"},
	{Name: "cr2", MIMEType: "image/x-canon-cr2", MediaType: banksia.Image, Extensions: []string{"cr2"}, Raw: true, family: "tiff"},
	{Name: "raf", MIMEType: "image/x-fuji-raf", MediaType: banksia.Image, Extensions: []string{"raf"}, Raw: true, family: "raf"},
	{Name: "orf", MIMEType: "image/x-olympus-orf", MediaType: banksia.Image, Extensions: []string{"orf"}, Raw: true, family: "orf"},
	{Name: "rw2", MIMEType: "image/x-panasonic-rw2", MediaType: banksia.Image, Extensions: []string{"rw2"}, Raw: true, family: "rw2"},
	{Name: "tiff", MIMEType: "image/tiff", MediaType: banksia.Image, Extensions: []string{"tif", "tiff"}, family: "tiff"},
	{Name: "dng", MIMEType: "image/x-adobe-dng", MediaType: banksia.Image, Extensions: []string{"dng"}, Raw: true, family: "tiff"},
	{Name: "nef", MIMEType: "image/x-nikon-nef", MediaType: banksia.Image, Extensions: []string{"nef", "nrw"}, Raw: true, family: "tiff"},
	{Name: "arw", MIMEType: "image/x-sony-arw", MediaType: banksia.Image, Extensions: []string{"arw", "sr2", "srf"}, Raw: true, family: "tiff"},
	{Name: "pef", MIMEType: "image/x-pentax-pef", MediaType: banksia.Image, Extensions: []string{"pef"}, Raw: true, family: "tiff"},
	{Name: "srw", MIMEType: "image/x-samsung-srw", MediaType: banksia.Image, Extensions: []string{"srw"}, Raw: true, family: "tiff"},
	{Name: "mov", MIMEType: "video/quicktime", MediaType: banksia.Video, Extensions: []string{"mov", "qt"}, family: "isobmff-video"},
	{Name: "mp4", MIMEType: "video/mp4", MediaType: banksia.Video, Extensions: []string{"mp4", "m4v"}, Displayable: true, family: "isobmff-video"},
	{Name: "3gp", MIMEType: "video/3gpp", MediaType: banksia.Video, Extensions: []string{"3gp", "3g2", "3gpp"}, family: "isobmff-video"},
	{Name: "webm", MIMEType: "video/webm", MediaType: banksia.Video, Extensions: []string{"webm"}, Displayable: true, family: "matroska"},
	{Name: "mkv", MIMEType: "video/x-matroska", MediaType: banksia.Video, Extensions: []string{"mkv"}, family: "matroska"},
	{Name: "avi", MIMEType: "video/x-msvideo", MediaType: banksia.Video, Extensions: []string{"avi"}, family: "avi"},
}

// SniffLength is how many leading bytes Sniff wants to see.
const SniffLength = 512

// FormatByName is the format that the extension of a file name promises; ok is
// false for an unknown extension.
func FormatByName(name string) (format Format, ok bool) {
	extension := strings.ToLower(strings.TrimPrefix(filepath.Ext(name), "."))
	for _, f := range Formats {
		for _, e := range f.Extensions {
			if e == extension {
				return f, true
			}
		}
	}
	return Format{}, false
}

// FormatByType is the format stored under a MIME type.
func FormatByType(mimeType string) (format Format, ok bool) {
	for _, f := range Formats {
		if f.MIMEType == mimeType {
			return f, true
		}
	}
	return Format{}, false
}

// FormatByContent is the likeliest format of the leading bytes of a file without a
// name; ok is false for none of Formats. Camera formats that are TIFF files inside
// are taken for TIFF.
func FormatByContent(head []byte) (format Format, ok bool) {
	family := sniffFamily(head)
	name := map[string]string{"tiff": "tiff", "heif": "heic", "isobmff-video": "mp4", "matroska": "mkv"}[family]
	has := func(at int, text string) bool { return len(head) >= at && bytes.HasPrefix(head[at:], []byte(text)) }
	switch {
	case family == "tiff" && has(8, "CR\x02"):
		name = "cr2"
	case family == "heif" && (has(8, "avif") || has(8, "avis")):
		name = "avif"
	case family == "isobmff-video" && (has(8, "qt  ") || !has(4, "ftyp")):
		name = "mov"
	case family == "isobmff-video" && has(8, "3g"):
		name = "3gp"
	case family == "matroska" && bytes.Contains(head, []byte("webm")):
		name = "webm"
	}
	for _, f := range Formats {
		if f.family == family && (name == "" || f.Name == name) {
			return f, true
		}
	}
	return Format{}, false
}

// Sniff tells whether the leading bytes of a file can be of the format.
func (f Format) Sniff(head []byte) bool {
	return sniffFamily(head) == f.family
}

// sniffFamily reads magic numbers: the registered ones of each format, and for
// ISO base media files (ISO/IEC 14496-12) the brands of the first box.
func sniffFamily(head []byte) string {
	has := func(at int, magic string) bool {
		return len(head) >= at+len(magic) && string(head[at:at+len(magic)]) == magic
	}
	switch {
	case has(0, "\xff\xd8\xff"):
		return "jpeg"
	case has(0, "\x89PNG\r\n\x1a\n"):
		return "png"
	case has(0, "GIF87a"), has(0, "GIF89a"):
		return "gif"
	case has(0, "RIFF") && has(8, "WEBP"):
		return "webp"
	case has(0, "RIFF") && has(8, "AVI "):
		return "avi"
	case has(0, "BM"):
		return "bmp"
	case has(0, "FUJIFILMCCD-RAW"):
		return "raf"
	case has(0, "IIRO"), has(0, "IIRS"), has(0, "MMOR"):
		return "orf"
	case has(0, "IIU\x00"):
		return "rw2"
	case has(0, "II*\x00"), has(0, "MM\x00*"), has(0, "II+\x00"), has(0, "MM\x00+"):
		return "tiff"
	case has(0, "\xff\x0a"), has(0, "\x00\x00\x00\x0cJXL \r\n\x87\n"):
		return "jxl"
	case has(0, "\x1a\x45\xdf\xa3"):
		return "matroska"
	case has(4, "ftyp"):
		return isobmffFamily(head)
	case has(4, "moov"), has(4, "mdat"), has(4, "wide"), has(4, "free"), has(4, "skip"), has(4, "pnot"):
		return "isobmff-video" // QuickTime files from before the ftyp box
	}
	return ""
}

func isobmffFamily(head []byte) string {
	if len(head) < 12 {
		return ""
	}
	if bytes.Equal(head[8:12], []byte("crx ")) {
		return "cr3"
	}
	brands := head[8:min(len(head), 64)]
	for _, brand := range []string{"heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1", "avif", "avis", "mif2"} {
		for at := 0; at+4 <= len(brands); at += 4 {
			if at != 4 && string(brands[at:at+4]) == brand { // 4 to 8 is the minor version
				return "heif"
			}
		}
	}
	return "isobmff-video"
}
