package media

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/banksia-photos/banksia"
)

const rdfNamespace = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"

// xmpPrefixes names the namespaces whose properties are read (XMP part 2; IPTC
// photo metadata standard; CIPA DC-010; Google's and Microsoft's own).
var xmpPrefixes = map[string]string{
	"http://purl.org/dc/elements/1.1/":            "dc",
	"http://ns.adobe.com/xap/1.0/":                "xmp",
	"http://ns.adobe.com/tiff/1.0/":               "tiff",
	"http://ns.adobe.com/exif/1.0/":               "exif",
	"http://cipa.jp/exif/1.0/":                    "exifEX",
	"http://ns.adobe.com/exif/1.0/aux/":           "aux",
	"http://ns.adobe.com/photoshop/1.0/":          "photoshop",
	"http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/": "Iptc4xmpCore",
	"http://iptc.org/std/Iptc4xmpExt/2008-02-29/": "Iptc4xmpExt",
	"http://ns.google.com/photos/1.0/panorama/":   "GPano",
	"http://ns.google.com/photos/1.0/camera/":     "GCamera",
	"http://ns.microsoft.com/photo/1.0":           "MicrosoftPhoto",
	"http://ns.microsoft.com/photo/1.0/":          "MicrosoftPhoto",
}

// xmpValue is the value of a property: a text, the items of a list (of
// alternatives by language, the default first), or the fields of a structure.
type xmpValue struct {
	text   string
	items  []xmpValue
	fields xmpProperties
}

// xmpProperties is values by prefix and name, such as "dc:description".
type xmpProperties map[string]xmpValue

// xmpReader walks the XML of a packet with a bound on its depth and nodes.
type xmpReader struct {
	decoder *xml.Decoder
	nodes   int
}

const (
	maxXMPDepth = 32
	maxXMPNodes = 200_000
)

// parseXMP reads the properties of an XMP packet or sidecar (ISO 16684-1); nil
// where there is no rdf:RDF. What comes before an error counts.
func parseXMP(packet []byte) xmpProperties {
	r := &xmpReader{decoder: xml.NewDecoder(bytes.NewReader(xmpBytes(packet)))}
	r.decoder.Strict = false
	r.decoder.CharsetReader = func(_ string, input io.Reader) (io.Reader, error) {
		return input, nil // UTF-8 by now, whatever the declaration says
	}
	var properties xmpProperties
	depth := 0
	for depth < maxXMPDepth {
		token, err := r.decoder.Token()
		if err != nil {
			break
		}
		switch token := token.(type) {
		case xml.StartElement:
			depth++
			switch {
			case isRDF(token.Name, "RDF"):
				if properties == nil {
					properties = xmpProperties{}
				}
			case isRDF(token.Name, "Description") && properties != nil:
				r.description(token, properties, 0)
				depth--
			}
		case xml.EndElement:
			depth--
		}
	}
	return properties
}

// xmpBytes gives the packet as UTF-8 without what surrounds its XML.
func xmpBytes(packet []byte) []byte {
	switch {
	case bytes.HasPrefix(packet, []byte{0xef, 0xbb, 0xbf}):
		packet = packet[3:]
	case bytes.HasPrefix(packet, []byte{0xfe, 0xff}), bytes.HasPrefix(packet, []byte{0, '<'}):
		packet = []byte(decodeUTF16(packet, binary.BigEndian))
	case bytes.HasPrefix(packet, []byte{0xff, 0xfe}), bytes.HasPrefix(packet, []byte{'<', 0}):
		packet = []byte(decodeUTF16(packet, binary.LittleEndian))
	}
	packet = bytes.Trim(packet, "\x00")
	if start := bytes.IndexByte(packet, '<'); start > 0 {
		packet = packet[start:]
	}
	return []byte(toUTF8(packet))
}

func isRDF(name xml.Name, local string) bool {
	return name.Local == local && (name.Space == rdfNamespace || name.Space == "rdf")
}

// xmpName is "prefix:local", or "" for a namespace that is not read. A prefix
// that was never declared is taken by its usual meaning.
func xmpName(name xml.Name) string {
	prefix, known := xmpPrefixes[name.Space]
	if !known {
		for _, usual := range xmpPrefixes {
			if usual == name.Space {
				prefix = usual
			}
		}
	}
	if prefix == "" {
		return ""
	}
	return prefix + ":" + name.Local
}

func (p xmpProperties) set(name string, value xmpValue) {
	const maxProperties = 4096
	if _, seen := p[name]; name != "" && !seen && len(p) < maxProperties {
		p[name] = value
	}
}

// description reads the properties of an rdf:Description, which stand in its
// attributes and its elements, up to its end.
func (r *xmpReader) description(start xml.StartElement, into xmpProperties, depth int) {
	for _, attribute := range start.Attr {
		into.set(xmpName(attribute.Name), xmpValue{text: cleanString(attribute.Value)})
	}
	for {
		token, err := r.decoder.Token()
		if err != nil {
			return
		}
		switch token := token.(type) {
		case xml.StartElement:
			into.set(xmpName(token.Name), r.value(token, depth+1))
		case xml.EndElement:
			return
		}
	}
}

// value reads the element of a property or list item up to its end.
func (r *xmpReader) value(start xml.StartElement, depth int) xmpValue {
	var value xmpValue
	r.nodes++
	if depth > maxXMPDepth || r.nodes > maxXMPNodes {
		_ = r.decoder.Skip() // its error comes again with the next token
		return value
	}
	for _, attribute := range start.Attr {
		switch {
		case isRDF(attribute.Name, "resource"):
			value.text = cleanString(attribute.Value)
		case xmpName(attribute.Name) != "":
			value.field(xmpName(attribute.Name), xmpValue{text: cleanString(attribute.Value)})
		}
	}
	var characters strings.Builder
	for {
		token, err := r.decoder.Token()
		if err != nil {
			break
		}
		if data, ok := token.(xml.CharData); ok && characters.Len() < maxText {
			characters.Write(data)
		}
		if element, ok := token.(xml.StartElement); ok {
			switch {
			case isRDF(element.Name, "Description"):
				fields := xmpProperties{}
				r.description(element, fields, depth+1)
				for name, field := range fields {
					value.field(name, field)
				}
			case isRDF(element.Name, "Alt"), isRDF(element.Name, "Bag"), isRDF(element.Name, "Seq"):
				value.items = append(value.items, r.list(depth+1)...)
			case isRDF(element.Name, "value"):
				value.text = r.value(element, depth+1).text
			default: // rdf:parseType="Resource"
				name := xmpName(element.Name)
				if inner := r.value(element, depth+1); name != "" {
					value.field(name, inner)
				}
			}
		}
		if _, ok := token.(xml.EndElement); ok {
			break
		}
	}
	if written := cleanString(characters.String()); written != "" {
		value.text = written
	}
	return value
}

func (v *xmpValue) field(name string, field xmpValue) {
	if v.fields == nil {
		v.fields = xmpProperties{}
	}
	v.fields.set(name, field)
}

// list reads rdf:li elements; of language alternatives the default goes first.
func (r *xmpReader) list(depth int) []xmpValue {
	var items []xmpValue
	for {
		token, err := r.decoder.Token()
		if err != nil {
			return items
		}
		switch token := token.(type) {
		case xml.StartElement:
			item := r.value(token, depth+1)
			isDefault := false
			for _, attribute := range token.Attr {
				isDefault = isDefault || attribute.Name.Local == "lang" && attribute.Value == "x-default"
			}
			if isDefault {
				items = append([]xmpValue{item}, items...)
			} else {
				items = append(items, item)
			}
		case xml.EndElement:
			return items
		}
	}
}

// first is the text of the first of the properties that has one: its own, or
// that of its first item.
func (p xmpProperties) first(names ...string) string {
	for _, name := range names {
		v := p[name]
		if v.text != "" {
			return v.text
		}
		for _, item := range v.items {
			if item.text != "" {
				return item.text
			}
		}
	}
	return ""
}

func (p xmpProperties) time(names ...string) *banksia.LocalTime {
	for _, name := range names {
		if t, ok := parseDateTime(p.first(name)); ok {
			return &t
		}
	}
	return nil
}

// number reads a decimal number or a fraction such as 28/10.
func (p xmpProperties) number(names ...string) (number float64, ok bool) {
	over, under, fraction := strings.Cut(p.first(names...), "/")
	number, err := strconv.ParseFloat(strings.TrimSpace(over), 64)
	if err != nil {
		return 0, false
	}
	if fraction {
		divisor, err := strconv.ParseFloat(strings.TrimSpace(under), 64)
		if err != nil {
			return 0, false
		}
		number /= divisor
	}
	return number, !math.IsNaN(number) && !math.IsInf(number, 0)
}

func (p xmpProperties) positive(names ...string) *float64 {
	number, ok := p.number(names...)
	if !ok || number <= 0 {
		return nil
	}
	return &number
}

// place is the first structure of a list of places: where the picture was
// taken, or else what it shows.
func (p xmpProperties) place() xmpProperties {
	for _, name := range []string{"Iptc4xmpExt:LocationCreated", "Iptc4xmpExt:LocationShown"} {
		v := p[name]
		if v.fields != nil {
			return v.fields
		}
		for _, item := range v.items {
			if item.fields != nil {
				return item.fields
			}
		}
	}
	return nil
}

func (p xmpProperties) metadata() banksia.Metadata {
	place := p.place()
	m := banksia.Metadata{
		Make:              text(p.first("tiff:Make")),
		Model:             text(p.first("tiff:Model")),
		LensModel:         text(p.first("exifEX:LensModel", "aux:Lens")),
		ModifiedDateTime:  p.time("xmp:ModifyDate", "tiff:DateTime"),
		OriginalDateTime:  p.time("exif:DateTimeOriginal", "photoshop:DateCreated"),
		DigitizedDateTime: p.time("exif:DateTimeDigitized", "xmp:CreateDate"),
		FNumber:           p.positive("exif:FNumber"),
		FocalLength:       p.positive("exif:FocalLength"),
		ExposureTime:      p.positive("exif:ExposureTime"),
		City:              or(text(p.first("photoshop:City")), text(place.first("Iptc4xmpExt:City"))),
		State:             or(text(p.first("photoshop:State")), text(place.first("Iptc4xmpExt:ProvinceState"))),
		Country:           or(text(p.first("photoshop:Country")), text(place.first("Iptc4xmpExt:CountryName"))),
		CountryCode:       or(countryCode(p.first("Iptc4xmpCore:CountryCode")), countryCode(place.first("Iptc4xmpExt:CountryCode"))),
		Sublocation:       or(text(p.first("Iptc4xmpCore:Location")), text(place.first("Iptc4xmpExt:Sublocation"))),
		PlaceName:         text(place.first("Iptc4xmpExt:LocationName")),
		Description:       text(p.first("dc:description", "tiff:ImageDescription", "exif:UserComment")),
		ProjectionType:    text(p.first("GPano:ProjectionType")),
		AutoStackID:       text(p.first("GCamera:BurstID")),
	}
	if orientation, ok := p.number("tiff:Orientation"); ok && orientation >= 1 && orientation <= 8 && orientation == math.Trunc(orientation) {
		m.Orientation = new(int(orientation))
	}
	if bias, ok := p.number("exif:ExposureBiasValue"); ok && math.Abs(bias) < 100 {
		m.ExposureBias = &bias
	}
	if iso, ok := p.number("exifEX:PhotographicSensitivity", "exif:ISOSpeedRatings"); ok && iso > 0 && iso < math.MaxInt32 {
		m.ISO = new(int(iso))
	}
	if rating, ok := p.number("xmp:Rating"); ok && rating >= -1 && rating <= 5 {
		m.Rating = new(int(math.Round(rating)))
	} else if percent, ok := p.number("MicrosoftPhoto:Rating"); ok {
		m.Rating = percentRating(percent)
	}
	north, ok1 := xmpAngle(p.first("exif:GPSLatitude"), 'N', 'S')
	east, ok2 := xmpAngle(p.first("exif:GPSLongitude"), 'E', 'W')
	if ok1 && ok2 && (north != 0 || east != 0 || p.first("exif:GPSStatus") == "A") {
		m.Latitude, m.Longitude = validPosition(north, east)
	}
	if metres, ok := p.number("exif:GPSAltitude"); ok {
		if p.first("exif:GPSAltitudeRef") == "1" {
			metres = -metres
		}
		m.Altitude = validAltitude(metres)
	}
	return m
}

// xmpAngle reads "D,M.mN" or "D,M,SN" (XMP part 2, 2.6), and the signed decimal
// degrees that some programs write instead.
func xmpAngle(value string, plus, minus byte) (degrees float64, ok bool) {
	if value == "" {
		return 0, false
	}
	sign := 1.0
	switch last := value[len(value)-1] &^ 0x20; {
	case last == minus:
		sign = -1
		fallthrough
	case last == plus:
		value = value[:len(value)-1]
	}
	scale := 1.0
	for i, part := range strings.Split(value, ",") {
		number, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil || i > 2 || i > 0 && (number < 0 || number >= 60) {
			return 0, false
		}
		degrees += number / scale
		scale *= 60
	}
	return sign * degrees, !math.IsNaN(degrees)
}
