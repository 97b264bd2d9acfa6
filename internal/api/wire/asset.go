package wire

import (
	"encoding/base64"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/derive"
)

// Include says which groups of an asset a response holds. The rule is R1 of the
// contract's seed-vs-current.md: without the parameter everything, as the seed
// promises; with it, also an empty one, a lean core and what it names.
type Include struct {
	Full                                                 bool
	Metadata, Faces, People, Metrics, FileData, Variants bool
}

// FullShape is what a request without the include parameter gets.
var FullShape = Include{Full: true, Metadata: true, Faces: true, People: true, Metrics: true, FileData: true, Variants: true}

// Token is the group that a value of the include parameter names; nil for an
// unknown one.
func (i *Include) Token(value string) *bool {
	switch value {
	case "metadata":
		return &i.Metadata
	case "faces":
		return &i.Faces
	case "people":
		return &i.People
	case "metrics":
		return &i.Metrics
	case "file_data":
		return &i.FileData
	case "variants":
		return &i.Variants
	}
	return nil
}

// Asset is a photo or video. Keys that the current contract has are always there,
// null where they are not asked for; the seed's own keys are left out then (R5).
type Asset struct {
	ID               banksia.AssetID    `json:"id"`
	MIMEType         string             `json:"mime_type"`
	OriginalFileName string             `json:"original_file_name"`
	LocalDateTime    banksia.LocalTime  `json:"local_datetime"`
	CreatedAt        Time               `json:"created_at"`
	UpdatedAt        Time               `json:"updated_at"`
	Width            int                `json:"width"`
	Height           int                `json:"height"`
	Description      *string            `json:"description"`
	ThumbHash        *string            `json:"thumbhash"`
	AssetURLs        map[string]Variant `json:"asset_urls"`
	Kind             string             `json:"kind"`
	CurrentVersionID banksia.VersionID  `json:"current_version_id"`
	StackID          *banksia.StackID   `json:"stack_id"`
	Duration         *float64           `json:"duration"`
	TrashedAt        *Time              `json:"trashed_at"`

	FileData *FileData            `json:"file_data"`
	Metadata *Metadata            `json:"metadata"`
	Metrics  *map[string]*float64 `json:"metrics"`
	Faces    []Face               `json:"faces"`
	People   []Person             `json:"people"`

	*flatFileData // the same seven fields at the top level, for older clients (R2)
	*seedDetails  // only in the full shape
}

// flatFileData is FileData under another name, so that its fields can also be
// promoted to the top level of an asset.
type flatFileData FileData

// FileData is what is known of the uploaded file.
type FileData struct {
	Checksum       Digest            `json:"checksum"`
	DeviceAssetID  string            `json:"device_asset_id"`
	DeviceID       string            `json:"device_id"`
	FileCreatedAt  banksia.LocalTime `json:"file_created_at"`
	FileModifiedAt banksia.LocalTime `json:"file_modified_at"`
	FileSizeBytes  int64             `json:"file_size_bytes"`
	ChecksumSHA1   Digest            `json:"checksum_sha1"`
}

// seedDetails is what only the seed's shape has, and the URLs of clients before
// it (history.md).
type seedDetails struct {
	Exif         *Exif  `json:"exif"`
	DownloadURL  string `json:"download_url"`
	ThumbnailURL string `json:"thumbnail_url"`
}

// Camera is what metadata and the older exif share.
type Camera struct {
	AssetID           banksia.AssetID    `json:"asset_id"`
	CreatedAt         Time               `json:"created_at"`
	UpdatedAt         Time               `json:"updated_at"`
	Make              *string            `json:"make"`
	Model             *string            `json:"model"`
	Orientation       *int               `json:"orientation"`
	ModifiedDateTime  *banksia.LocalTime `json:"modified_datetime"`
	OriginalDateTime  *banksia.LocalTime `json:"original_datetime"`
	DigitizedDateTime *banksia.LocalTime `json:"digitized_datetime"`
	LensModel         *string            `json:"lens_model"`
	FNumber           *float64           `json:"f_number"`
	FocalLength       *float64           `json:"focal_length"`
	ISO               *int               `json:"iso"`
	ExposureTime      *float64           `json:"exposure_time"`
	ExposureBias      *float64           `json:"exposure_bias"`
	Latitude          *float64           `json:"latitude"`
	Longitude         *float64           `json:"longitude"`
	Altitude          *float64           `json:"altitude"`
	City              *string            `json:"city"`
	State             *string            `json:"state"`
	Country           *string            `json:"country"`
	Description       *string            `json:"description"`
	FPS               *float64           `json:"fps"`
	LivePhotoCID      *string            `json:"live_photo_cid"`
	ProjectionType    *string            `json:"projection_type"`
	AutoStackID       *string            `json:"auto_stack_id"`
	Rating            *int               `json:"rating"`
}

// Exif is the older twin of Metadata (R3).
type Exif struct {
	Camera
	ProfileDescription *string `json:"profile_description"`
}

// Metadata is the camera, place and time of an asset.
type Metadata struct {
	Camera
	CountryCode  *string `json:"country_code"`
	Sublocation  *string `json:"sublocation"`
	PlaceName    *string `json:"place_name"`
	Timezone     *string `json:"timezone"`
	DisplayLabel *string `json:"display_label"`
	RawWidth     *int    `json:"raw_width"`
	RawHeight    *int    `json:"raw_height"`
}

// AssetParts is what an asset's response is made from, beside the asset itself.
type AssetParts struct {
	Metadata banksia.Metadata
	Faces    []banksia.Face
	People   []banksia.Person
}

// NewAsset writes an asset in the shape that include asks for. legacyURL is the
// asset's own URL, which the byte routes of older clients extend.
func NewAsset(a *banksia.Asset, parts AssetParts, include Include, urls URLs, legacyURL string) Asset {
	v := &a.Version
	asset := Asset{
		ID: a.ID, MIMEType: v.MIMEType, OriginalFileName: a.OriginalFileName, LocalDateTime: a.LocalDateTime,
		CreatedAt: Time(a.CreatedAt), UpdatedAt: Time(a.UpdatedAt), Width: v.Width, Height: v.Height, Description: a.Description,
		AssetURLs: assetURLs(a, include.Variants, urls), Kind: v.Kind, CurrentVersionID: v.ID, StackID: a.StackID, Duration: a.Duration, TrashedAt: timeOf(a.TrashedAt),
	}
	if len(v.ThumbHash) > 0 {
		text := base64.StdEncoding.EncodeToString(v.ThumbHash)
		asset.ThumbHash = &text
	}
	if include.FileData {
		f := &a.File
		data := FileData{Digest(f.SHA256), f.DeviceAssetID, f.DeviceID, f.CreatedAt, f.ModifiedAt, f.SizeBytes, Digest(f.SHA1)}
		flat := flatFileData(data)
		asset.FileData, asset.flatFileData = &data, &flat
	}
	camera := newCamera(&parts.Metadata)
	if include.Metadata {
		m := &parts.Metadata
		asset.Metadata = &Metadata{camera, m.CountryCode, m.Sublocation, m.PlaceName, m.Timezone, m.DisplayLabel(), m.RawWidth, m.RawHeight}
	}
	if include.Full {
		asset.seedDetails = &seedDetails{&Exif{camera, parts.Metadata.ProfileDescription}, legacyURL + "/download", legacyURL + "/thumbnail"}
	}
	if include.Metrics {
		metrics := a.Metrics
		if metrics == nil {
			metrics = map[string]*float64{}
		}
		asset.Metrics = &metrics
	}
	if include.Faces {
		asset.Faces = make([]Face, len(parts.Faces))
		for i := range parts.Faces {
			asset.Faces[i] = NewFace(&parts.Faces[i], urls, "")
		}
	}
	if include.People {
		asset.People = make([]Person, len(parts.People))
		for i := range parts.People {
			asset.People[i] = NewPerson(&parts.People[i], urls, "")
		}
	}
	return asset
}

func newCamera(m *banksia.Metadata) Camera {
	return Camera{m.AssetID, Time(m.CreatedAt), Time(m.UpdatedAt), m.Make, m.Model, m.Orientation, m.ModifiedDateTime, m.OriginalDateTime, m.DigitizedDateTime,
		m.LensModel, m.FNumber, m.FocalLength, m.ISO, m.ExposureTime, m.ExposureBias, m.Latitude, m.Longitude, m.Altitude, m.City, m.State, m.Country,
		m.Description, m.FPS, m.LivePhotoCID, m.ProjectionType, m.AutoStackID, m.Rating}
}

// rungs are the variants in the order of the contract.
var rungs = []banksia.VariantName{banksia.VariantThumbnail, banksia.VariantSmall, banksia.VariantPreview, banksia.VariantFullsize, banksia.VariantOriginal}

// assetURLs names the variants: those of a video are stills, thumbnail_image and
// so on (behaviour 7.21). Without all, only the thumbnail is there.
func assetURLs(a *banksia.Asset, all bool, urls URLs) map[string]Variant {
	v := &a.Version
	result := make(map[string]Variant, len(rungs))
	for _, rung := range rungs {
		mimeType, ok := derive.VariantMIMEType(v, rung)
		if !ok || !all && rung != banksia.VariantThumbnail {
			continue
		}
		name := string(rung)
		if a.MediaType == banksia.Video && rung != banksia.VariantOriginal {
			name += "_image"
		}
		result[name] = Variant{urls.Variant(v.ID, rung), mimeType, variantWidth(v, rung)}
	}
	return result
}

// variantWidth is the width in pixels that a variant has, nil while the size of
// the version is unknown.
func variantWidth(v *banksia.Version, variant banksia.VariantName) *int {
	if v.Width <= 0 || v.Height <= 0 {
		return nil
	}
	width := v.Width
	if limit, limited := banksia.LongestEdge[variant]; limited && max(v.Width, v.Height) > limit {
		width = max(1, (v.Width*limit+max(v.Width, v.Height)/2)/max(v.Width, v.Height))
	}
	return &width
}
