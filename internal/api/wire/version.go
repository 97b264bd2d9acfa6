package wire

import (
	"encoding/json"

	"github.com/banksia-photos/banksia"
)

// Version is one rendering of an asset.
type Version struct {
	ID            banksia.VersionID  `json:"id"`
	FileSizeBytes int64              `json:"file_size_bytes"`
	Height        int                `json:"height"`
	Kind          string             `json:"kind"`
	MIMEType      string             `json:"mime_type"`
	Position      int                `json:"position"`
	Width         int                `json:"width"`
	Checksum      Digest             `json:"checksum"`
	Params        json.RawMessage    `json:"params"`
	VersionURLs   map[string]Variant `json:"version_urls"`
}

// NewVersion writes a version of an asset; all adds every variant to the thumbnail
// (behaviour 15.2).
func NewVersion(a *banksia.Asset, v *banksia.Version, all bool, urls URLs) Version {
	rendering := banksia.Asset{MediaType: a.MediaType, Version: *v}
	return Version{v.ID, v.SizeBytes, v.Height, v.Kind, v.MIMEType, v.Position, v.Width, Digest(v.SHA256), v.Params, assetURLs(&rendering, all, urls)}
}
