package media

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/banksia-photos/banksia"
)

// Facts is what the headers of a file say, before anything is drawn.
type Facts struct {
	// Width and Height are pixels in display space, after orientation; 0: unknown.
	Width, Height int
	// Duration is seconds; nil for stills and where the file does not say.
	Duration *float64
	// Frames is how many frames the file says it has; 0: unknown.
	Frames int
	// HasVideoStream tells a clip from a file that holds only sound or a cover picture.
	HasVideoStream bool
	// VideoCodec is ffmpeg's name of the codec of the video stream, "" for stills.
	VideoCodec string
	// Metadata leaves AssetID, CreatedAt and UpdatedAt unset.
	Metadata banksia.Metadata
}

// readImageMetadata reads what the file at path says of itself: EXIF, IPTC and
// XMP, the name of the colour profile and the encoded size. What is corrupt is
// left out and the rest is returned. The error is for the log: the file cannot
// be read, or it is no picture of a known format and nothing was found in it.
//
// RawWidth and RawHeight are the size of the stored picture before orientation;
// for RAW formats that of the full sensor image, not of its preview.
func readImageMetadata(path string, format Format) (meta banksia.Metadata, err error) {
	file, err := os.Open(path)
	if err != nil {
		return meta, fmt.Errorf("read metadata: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return meta, fmt.Errorf("read metadata: %w", err)
	}
	return readMetadata(io.NewSectionReader(file, 0, info.Size()), format)
}

// ReadSidecar reads an XMP sidecar file. The error is for a sidecar that cannot
// be read or holds no RDF.
func ReadSidecar(r io.Reader) (meta banksia.Metadata, err error) {
	defer recoverAs(&err)
	packet, err := io.ReadAll(io.LimitReader(r, maxXMP))
	if err != nil {
		return meta, fmt.Errorf("read XMP sidecar: %w", err)
	}
	properties := parseXMP(packet)
	if properties == nil {
		return meta, errors.New("read XMP sidecar: it holds no RDF description")
	}
	return properties.metadata(), nil
}

func readMetadata(file *io.SectionReader, format Format) (meta banksia.Metadata, err error) {
	defer recoverAs(&err)
	head := make([]byte, SniffLength)
	n, err := file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return meta, fmt.Errorf("read metadata: %w", err)
	}
	family := sniffFamily(head[:n])
	known := family != ""
	if !known {
		family = format.family
	}

	var parts metadataParts
	parts.collect(file, family, format.Raw)
	meta = parts.metadata()
	if !known && meta == (banksia.Metadata{}) {
		return meta, fmt.Errorf("read metadata: the content is not %s", format.Name)
	}
	return meta, nil
}

// recoverAs turns a panic into an error. The readers check every length, so a
// panic is a bug; it must not take a worker with it all the same.
func recoverAs(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("read metadata: panic: %v", r)
	}
}

// metadata decodes the parts and joins them. EXIF comes first, because the
// camera wrote it, then XMP, then IPTC; except for captions and places, which
// people write, and write into XMP and IPTC, while cameras put their name into
// the EXIF caption.
func (p *metadataParts) metadata() banksia.Metadata {
	var meta, written banksia.Metadata
	var fromEXIF, fromXMP []banksia.Metadata
	for i := range p.exif {
		fromEXIF = append(fromEXIF, p.exif[i].metadata())
	}
	for _, packet := range p.xmp {
		if properties := parseXMP(packet); properties != nil {
			fromXMP = append(fromXMP, properties.metadata())
		}
	}
	fromIPTC := parseIPTC(p.iptc)

	for _, source := range append(fromXMP, fromIPTC) {
		written.Description = or(written.Description, source.Description)
	}
	meta.Description = written.Description
	for _, source := range append(append(fromEXIF, fromXMP...), fromIPTC) {
		fill(&meta, source)
	}
	meta.Description = or(meta.Description, text(cleanString(p.caption)))
	meta.ProfileDescription = text(iccDescription(p.icc))
	if p.width > 0 && p.height > 0 {
		meta.RawWidth, meta.RawHeight = &p.width, &p.height
	}
	return meta
}

// fill sets the unknown fields of meta from another source. A position is taken
// whole: a latitude of one source with the longitude of another is nowhere.
func fill(meta *banksia.Metadata, source banksia.Metadata) {
	meta.Make = or(meta.Make, source.Make)
	meta.Model = or(meta.Model, source.Model)
	meta.LensModel = or(meta.LensModel, source.LensModel)
	meta.Orientation = or(meta.Orientation, source.Orientation)
	meta.ModifiedDateTime = or(meta.ModifiedDateTime, source.ModifiedDateTime)
	meta.OriginalDateTime = or(meta.OriginalDateTime, source.OriginalDateTime)
	meta.DigitizedDateTime = or(meta.DigitizedDateTime, source.DigitizedDateTime)
	meta.FNumber = or(meta.FNumber, source.FNumber)
	meta.FocalLength = or(meta.FocalLength, source.FocalLength)
	meta.ISO = or(meta.ISO, source.ISO)
	meta.ExposureTime = or(meta.ExposureTime, source.ExposureTime)
	meta.ExposureBias = or(meta.ExposureBias, source.ExposureBias)
	if meta.Latitude == nil {
		meta.Latitude, meta.Longitude = source.Latitude, source.Longitude
	}
	meta.Altitude = or(meta.Altitude, source.Altitude)
	meta.City = or(meta.City, source.City)
	meta.State = or(meta.State, source.State)
	meta.Country = or(meta.Country, source.Country)
	meta.CountryCode = or(meta.CountryCode, source.CountryCode)
	meta.Sublocation = or(meta.Sublocation, source.Sublocation)
	meta.PlaceName = or(meta.PlaceName, source.PlaceName)
	meta.Description = or(meta.Description, source.Description)
	meta.LivePhotoCID = or(meta.LivePhotoCID, source.LivePhotoCID)
	meta.ProjectionType = or(meta.ProjectionType, source.ProjectionType)
	meta.AutoStackID = or(meta.AutoStackID, source.AutoStackID)
	meta.Rating = or(meta.Rating, source.Rating)
}

// or is the first that is known.
func or[T any](values ...*T) *T {
	for _, v := range values {
		if v != nil {
			return v
		}
	}
	return nil
}

// text is nil for an empty text.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
