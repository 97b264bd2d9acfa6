package banksia

import "time"

// MediaType is the coarse kind of an asset.
type MediaType string

const (
	Image MediaType = "image"
	Video MediaType = "video"
)

// KindOriginal is the Version.Kind of an upload; everything else is an edit.
const KindOriginal = "original"

// Asset is one photo or video of a library with its current rendering.
type Asset struct {
	ID        AssetID
	LibraryID LibraryID
	MediaType MediaType
	CreatedAt time.Time // UTC, to the microsecond
	UpdatedAt time.Time

	// LocalDateTime is the capture time that orders the library: the file's own
	// original time, else FileCreatedAt, else CreatedAt (behaviour 7.3).
	LocalDateTime LocalTime
	TrashedAt     *time.Time
	Description   *string // machine-written: nil not run, "" declined
	StackID       *StackID
	Duration      *float64 // seconds; nil for images and while unknown
	Metrics       map[string]*float64

	OriginalFileName string
	File             FileData
	Version          Version // the current one
}

// FileData is what is known of the uploaded file and the device it came from.
type FileData struct {
	DeviceAssetID string
	DeviceID      string
	CreatedAt     LocalTime
	ModifiedAt    LocalTime
	SizeBytes     int64
	SHA256        Digest
	SHA1          Digest
}

// Digest is a raw checksum; it travels as standard base64 with padding.
type Digest []byte

// Version is one rendering of an asset. Position 0 is the upload.
type Version struct {
	ID        VersionID
	AssetID   AssetID
	Position  int // 0: the original; the last is current
	Kind      string
	MIMEType  string
	Width     int // display space, after orientation; 0: unknown
	Height    int
	SizeBytes int64
	SHA256    Digest
	Params    []byte // a JSON object that says how it was made; nil: the original
	CreatedAt time.Time

	// VariantMIMEType is the type in which its derived variants are drawn; ""
	// when nothing can be drawn from it.
	VariantMIMEType string
	// Displayable tells that browsers show the stored bytes themselves, so that
	// fullsize needs no rendering of its own.
	Displayable bool
	ThumbHash   []byte
}

// VariantName is one size of a version (behaviour 7.21).
type VariantName string

const (
	VariantOriginal  VariantName = "original"
	VariantFullsize  VariantName = "fullsize"
	VariantPreview   VariantName = "preview"
	VariantSmall     VariantName = "small"
	VariantThumbnail VariantName = "thumbnail"
)

// LongestEdge is the limit in pixels of each derived variant; fullsize has none.
var LongestEdge = map[VariantName]int{VariantThumbnail: 360, VariantSmall: 720, VariantPreview: 1440}

// Metadata is what a file says of itself and what was found out from that. A nil
// field is unknown.
type Metadata struct {
	AssetID   AssetID
	CreatedAt time.Time
	UpdatedAt time.Time

	Make               *string
	Model              *string
	LensModel          *string
	Orientation        *int // EXIF, 1 to 8
	ModifiedDateTime   *LocalTime
	OriginalDateTime   *LocalTime
	DigitizedDateTime  *LocalTime
	FNumber            *float64
	FocalLength        *float64 // millimetres
	ISO                *int
	ExposureTime       *float64 // seconds
	ExposureBias       *float64 // EV
	Latitude           *float64 // degrees
	Longitude          *float64
	Altitude           *float64 // metres
	City               *string
	State              *string
	Country            *string
	CountryCode        *string // ISO 3166-1 alpha-2
	Sublocation        *string
	PlaceName          *string
	Timezone           *string // IANA
	Description        *string // the caption in the file
	FPS                *float64
	LivePhotoCID       *string // content identifier that pairs a still with its clip
	ProjectionType     *string
	ProfileDescription *string // colour profile
	AutoStackID        *string // the camera's burst identifier
	Rating             *int    // -1 rejected, 0 to 5
	RawWidth           *int    // encoded size before orientation; nil for videos
	RawHeight          *int

	// DerivedOffsets tells which offsets follow from the place, not from the file:
	// bits as in Times.
	DerivedOffsets int
}

// Times are the times of a camera, by the bit that DerivedOffsets has for each.
func (m *Metadata) Times() map[int]**LocalTime {
	return map[int]**LocalTime{1: &m.OriginalDateTime, 2: &m.DigitizedDateTime, 4: &m.ModifiedDateTime}
}

// DisplayLabel is the most specific of place name, sublocation, city and
// country, followed by the city and then the state or the country; nil when
// none is known (behaviour 7.10).
func (m *Metadata) DisplayLabel() *string {
	var parts []string
	add := func(part *string) bool {
		if part == nil || *part == "" {
			return false
		}
		for _, p := range parts {
			if p == *part {
				return true
			}
		}
		parts = append(parts, *part)
		return true
	}
	_ = add(m.PlaceName) || add(m.Sublocation)
	add(m.City)
	_ = len(parts) > 0 && add(m.State) || add(m.Country)
	if len(parts) == 0 {
		return nil
	}
	label := parts[0]
	for _, p := range parts[1:] {
		label += ", " + p
	}
	return &label
}

// BoundingBox is integer pixels in the display space of the original.
type BoundingBox struct {
	X int `json:"x"`
	Y int `json:"y"`
	W int `json:"w"`
	H int `json:"h"`
}

// FaceSource tells who found a face.
type FaceSource string

const (
	FaceAutomatic FaceSource = "automatic"
	FaceManual    FaceSource = "manual"
)

// Face is a face in an asset.
type Face struct {
	ID          FaceID
	LibraryID   LibraryID
	AssetID     AssetID
	PersonID    *PersonID
	BoundingBox BoundingBox
	Source      FaceSource
	Confidence  *float64
	TimestampMS *int
	CreatedAt   time.Time
	UpdatedAt   time.Time

	Thumbnail *FaceThumbnail // the store fills it in; nil inside a transaction
}

// Person is somebody whose faces are grouped.
type Person struct {
	ID              PersonID
	LibraryID       LibraryID
	Name            *string
	BirthDate       *string // YYYY-MM-DD
	IsFavorite      bool
	IsHidden        bool
	ThumbnailFaceID *FaceID // that the user chose; nil: the server picks
	AssetCount      int     // live assets that show the person
	CreatedAt       time.Time
	UpdatedAt       time.Time

	// ByUser tells that a user made it: it stays without name and faces
	// (behaviour 11.5), where the group of a clustering goes (21.15).
	ByUser bool
	// Thumbnail is the chosen face, else the best of a live asset; the store fills
	// it in.
	Thumbnail *FaceThumbnail
}

// Album is a collection of assets that a user made.
type Album struct {
	ID           AlbumID
	LibraryID    LibraryID
	Name         string
	Description  *string
	CoverAssetID *AssetID // that the user chose; nil: the server picks
	CreatedAt    time.Time
	UpdatedAt    time.Time

	// What follows from the live assets; the store fills it in.
	AssetCount         int64
	Cover              *Asset     // the chosen one, else the oldest; nil without any
	StartDate, EndDate *LocalTime // of the oldest and the newest
}

// AlbumAsset is the link of an album to one of its assets.
type AlbumAsset struct {
	ID        AlbumAssetID
	AlbumID   AlbumID
	AssetID   AssetID
	CreatedAt time.Time
	UpdatedAt time.Time
}

// StackOrigin tells who made a stack.
type StackOrigin string

const (
	StackAutoBurst StackOrigin = "auto_burst"
	StackUser      StackOrigin = "user"
)

// Stack is a group of assets shown as one tile.
type Stack struct {
	ID             StackID
	LibraryID      LibraryID
	Origin         StackOrigin
	PrimaryAssetID *AssetID // the pinned cover; the server picks none
	AssetCount     int64    // live members; the store fills it in
	CreatedAt      time.Time
	UpdatedAt      time.Time
}
