package media

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"
	"strings"

	"github.com/banksia-photos/banksia"
)

// metadata decodes the directories (CIPA DC-008, Exif 3.0).
func (e *exifBlock) metadata() banksia.Metadata {
	var m banksia.Metadata
	// Some RAW formats follow TIFF/EP (ISO 12234-2), which has the exposure in
	// the main directory.
	value := func(tag uint16) tiffValue {
		if v, ok := e.photo[tag]; ok {
			return v
		}
		return e.main[tag]
	}
	m.Make = or(tagText(e.main[0x010f]), tagText(e.photo[0x010f]))
	m.Model = or(tagText(e.main[0x0110]), tagText(e.photo[0x0110]))
	m.LensModel = or(tagText(value(0xa434)), tagText(e.canon[0x0095]))
	if o, ok := e.main[0x0112].integer(0); ok && o >= 1 && o <= 8 {
		m.Orientation = &o
	}

	m.FNumber = or(positiveTag(value(0x829d)), apex(value(0x9202), func(v float64) float64 { return math.Exp2(v / 2) }))
	m.ExposureTime = or(positiveTag(value(0x829a)), apex(value(0x9201), func(v float64) float64 { return math.Exp2(-v) }))
	m.FocalLength = positiveTag(value(0x920a))
	if bias, ok := value(0x9204).float(0); ok && math.Abs(bias) < 100 {
		m.ExposureBias = &bias
	}
	m.ISO = e.iso(value)
	m.Rating = e.rating()

	e.times(&m)
	m.Latitude, m.Longitude = e.position()
	m.Altitude = e.altitude()
	m.Description = or(tagText(e.main[0x010e]), text(e.userComment(value(0x9286))), text(windowsText(e.main[0x9c9c])))
	m.LivePhotoCID = tagText(e.apple[0x0011])
	m.AutoStackID = tagText(e.apple[0x000b])
	return m
}

func tagText(v tiffValue) *string {
	if v.kind != 2 && v.kind != 129 { // ASCII, UTF-8 of Exif 3.0
		return nil
	}
	s, _ := v.text()
	return text(s)
}

// positiveTag takes zero for unknown: lenses without contacts report it.
func positiveTag(v tiffValue) *float64 {
	number, ok := v.float(0)
	if !ok || number <= 0 {
		return nil
	}
	return &number
}

// apex converts a value of the additive system of photographic exposure.
func apex(v tiffValue, convert func(float64) float64) *float64 {
	number, ok := v.float(0)
	if !ok || math.Abs(number) > 64 {
		return nil
	}
	number = convert(number)
	return &number
}

// iso is the sensitivity. PhotographicSensitivity ends at 65535; above, the
// tags that came with Exif 2.3 tell.
func (e *exifBlock) iso(value func(uint16) tiffValue) *int {
	const panasonicISO = 0x0017
	for _, v := range []tiffValue{value(0x8827), value(0x8833), value(0x8832), value(0x8831), e.main[panasonicISO]} {
		if iso, ok := v.integer(0); ok && iso > 0 && iso != math.MaxUint16 && iso < math.MaxInt32 {
			return &iso
		}
	}
	return e.canonISO()
}

// canonISO is the sensitivity in Canon's notes, which is all that PowerShots up
// to about 2007 tell: the setting of the camera, or what its automatic chose as
// a base and a percentage of it, both in 32nds of a stop (found by the authors
// of ExifTool, "Canon tags": CameraSettings 16, ShotInfo 1 and 2).
func (e *exifBlock) canonISO() *int {
	const cameraSettings, shotInfo = 0x0001, 0x0004
	if setting, ok := e.canon[cameraSettings].integer(16); ok {
		if setting >= 16 && setting <= 20 {
			return new(50 << (setting - 16))
		}
		if iso := setting &^ 0x4000; setting&0x4000 != 0 && setting < 0x7fff { // 0x7fff: unknown
			return &iso
		}
	}
	automatic, ok1 := e.canon[shotInfo].integer(1)
	base, ok2 := e.canon[shotInfo].integer(2)
	if !ok1 || !ok2 || base <= 0 || base > 1000 || automatic > 1000 {
		return nil
	}
	stops := float64(base+automatic) / 32
	return new(int(math.Round(100 * math.Exp2(stops) / 32)))
}

// rating reads the tags that Windows writes: stars, or percent.
func (e *exifBlock) rating() *int {
	if stars, ok := e.main[0x4746].integer(0); ok && stars >= 0 && stars <= 5 {
		return &stars
	}
	if percent, ok := e.main[0x4749].float(0); ok {
		return percentRating(percent)
	}
	return nil
}

// percentRating is stars for Windows' 1, 25, 50, 75, 99.
func percentRating(percent float64) *int {
	if percent < 0 || percent > 100 {
		return nil
	}
	stars := 0
	if percent >= 1 {
		stars = int(math.Round(percent/25)) + 1
		stars = min(stars, 5)
	}
	return &stars
}

// times reads the three moments with their fractions and offsets. Where the
// file gives no offset for a moment, that of the same wall clock time counts,
// then the difference from GPS time, which is UTC.
func (e *exifBlock) times(m *banksia.Metadata) {
	moments := []struct {
		target                 **banksia.LocalTime
		time, fraction, offset tiffValue
	}{
		{&m.OriginalDateTime, e.photo[0x9003], e.photo[0x9291], e.photo[0x9011]},
		{&m.DigitizedDateTime, e.photo[0x9004], e.photo[0x9292], e.photo[0x9012]},
		{&m.ModifiedDateTime, e.main[0x0132], e.photo[0x9290], e.photo[0x9010]},
	}
	if _, ok := e.photo[0x9003]; !ok {
		moments[0].time = e.main[0x9003] // TIFF/EP
	}
	offsets := map[int64]int{} // by wall clock second
	for _, moment := range moments {
		written, _ := moment.time.text()
		t, ok := parseDateTime(written)
		if !ok {
			continue
		}
		if digits, ok := moment.fraction.text(); ok && t.Wall%1e6 == 0 {
			t.Wall += microseconds(digits)
		}
		if zone, ok := moment.offset.text(); ok && t.Offset == nil {
			if minutes, err := banksia.ParseOffset(zone); err == nil {
				t.Offset = &minutes
			}
		}
		if t.Offset != nil {
			offsets[t.Wall/1e6] = *t.Offset
		}
		*moment.target = &t
	}
	if m.OriginalDateTime != nil && m.OriginalDateTime.Offset == nil {
		if utc, ok := e.gpsTime(); ok {
			if minutes, ok := offsetFromUTC(m.OriginalDateTime.Wall, utc); ok {
				if _, known := offsets[m.OriginalDateTime.Wall/1e6]; !known {
					offsets[m.OriginalDateTime.Wall/1e6] = minutes
				}
			}
		}
	}
	for _, moment := range moments {
		if t := *moment.target; t != nil && t.Offset == nil {
			if minutes, ok := offsets[t.Wall/1e6]; ok {
				t.Offset = &minutes
			}
		}
	}
}

// gpsTime is the GPS clock in microseconds since the Unix epoch.
func (e *exifBlock) gpsTime() (utc int64, ok bool) {
	date, _ := e.gps[0x001d].text()
	day, ok := parseDateTime(date)
	if !ok || day.Wall%(24*3600e6) != 0 {
		return 0, false
	}
	var parts [3]float64
	for i, limit := range []float64{24, 60, 61} {
		part, ok := e.gps[0x0007].float(i)
		if !ok || part < 0 || part >= limit {
			return 0, false
		}
		parts[i] = part
	}
	return day.Wall + int64((parts[0]*3600+parts[1]*60+parts[2])*1e6), true
}

// position is degrees north and east. Without the letters of the hemispheres it
// is unknown; 0,0 is what receivers write that had no fix, unless they say that
// they had one.
func (e *exifBlock) position() (latitude, longitude *float64) {
	north, ok1 := e.angle(0x0002, 0x0001, 'N', 'S')
	east, ok2 := e.angle(0x0004, 0x0003, 'E', 'W')
	status, _ := e.gps[0x0009].text()
	if !ok1 || !ok2 || north == 0 && east == 0 && status != "A" {
		return nil, nil
	}
	return validPosition(north, east)
}

func (e *exifBlock) angle(tag, hemisphere uint16, plus, minus byte) (degrees float64, ok bool) {
	v := e.gps[tag]
	letter, ok := e.gps[hemisphere].text()
	if !ok {
		return 0, false
	}
	written, isText := v.text()
	for i, scale := range []float64{1, 60, 3600} {
		part, ok := v.float(i)
		if isText && v.kind == 2 {
			part, ok = writtenAngle(written, i)
		}
		if !ok {
			if i == 0 || v.kind == 2 || int64(i) < v.count && !v.zeroOverZero(i) {
				return 0, false
			}
			break // degrees alone, or degrees and minutes
		}
		degrees += part / scale
	}
	switch letter[0] &^ 0x20 {
	case plus:
		return degrees, degrees >= 0
	case minus:
		return -degrees, degrees >= 0
	}
	return 0, false
}

// writtenAngle is part i of an angle that was written as text, with commas
// between the parts and in front of their fractions: "52,00000,50,00000,34,01180"
// of some HTC phones is 52 degrees, 50 minutes, 34.0118 seconds.
func writtenAngle(text string, i int) (number float64, ok bool) {
	parts := strings.Split(text, ",")
	if len(parts) != 6 {
		return 0, false
	}
	number, err := strconv.ParseFloat(parts[2*i]+"."+parts[2*i+1], 64)
	return number, err == nil
}

// zeroOverZero tells that item i is the 0/0 with which some writers fill unused
// seconds.
func (v tiffValue) zeroOverZero(i int) bool {
	return v.kind == 5 && len(v.data) >= 8*(i+1) && bytes.Equal(v.data[8*i:8*i+8], make([]byte, 8))
}

func (e *exifBlock) altitude() *float64 {
	metres, ok := e.gps[0x0006].float(0)
	if !ok {
		return nil
	}
	if below, ok := e.gps[0x0005].float(0); ok && (below == 1 || below == 3) { // 3: below the ellipsoid
		metres = -metres
	}
	return validAltitude(metres)
}

// userComment decodes the comment by the name of the character code in its
// first eight bytes. Cameras without keyboards leave blanks or rubbish in it, so
// a comment without a name counts only if it is text.
func (e *exifBlock) userComment(v tiffValue) string {
	if len(v.data) < 8 {
		return ""
	}
	code, body := string(bytes.TrimRight(v.data[:8], "\x00 ")), v.data[8:]
	switch strings.ToUpper(code) {
	case "ASCII":
		return cleanText(body)
	case "UNICODE":
		if bytes.Equal(bytes.Trim(body, "\x00 "), nil) {
			return ""
		}
		return cleanString(unicodeText(body, e.order))
	case "JIS":
		return ""
	}
	if code != "" {
		body = v.data // the name was forgotten
	}
	comment := cleanText(body)
	for _, r := range toUTF8(bytes.TrimRight(body, "\x00")) {
		if r < ' ' && r != '\n' && r != '\r' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return ""
		}
	}
	return comment
}

// unicodeText decodes UTF-16 whose byte order nobody agreed on: a mark decides,
// then which order gives more characters of the first page, then the block's.
func unicodeText(data []byte, order binary.ByteOrder) string {
	data = data[:min(len(data), maxText)]
	switch {
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}):
		return decodeUTF16(data[2:], binary.LittleEndian)
	case bytes.HasPrefix(data, []byte{0xfe, 0xff}):
		return decodeUTF16(data[2:], binary.BigEndian)
	}
	zeros := [2]int{}
	for i, b := range data[:len(data)&^1] {
		if b == 0 {
			zeros[i&1]++
		}
	}
	switch {
	case zeros[0] > zeros[1]:
		order = binary.BigEndian
	case zeros[1] > zeros[0]:
		order = binary.LittleEndian
	}
	decoded := decodeUTF16(data, order)
	if end := strings.IndexByte(decoded, 0); end >= 0 {
		decoded = decoded[:end]
	}
	return decoded
}

// windowsText decodes the XP tags: UTF-16 as bytes, always little endian.
func windowsText(v tiffValue) string {
	if v.kind != 1 && v.kind != 7 {
		return ""
	}
	decoded, _, _ := strings.Cut(decodeUTF16(v.data, binary.LittleEndian), "\x00")
	return cleanString(decoded)
}
