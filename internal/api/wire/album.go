package wire

import "github.com/banksia-photos/banksia"

// Album is a collection of assets.
type Album struct {
	ID           banksia.AlbumID    `json:"id"`
	AssetCount   int64              `json:"asset_count"`
	CreatedAt    Time               `json:"created_at"`
	Name         string             `json:"name"`
	UpdatedAt    Time               `json:"updated_at"`
	CoverAssetID *banksia.AssetID   `json:"album_cover_asset_id"`
	AssetURLs    map[string]Variant `json:"asset_urls"`
	Description  *string            `json:"description"`
	EndDate      *banksia.LocalTime `json:"end_date"`
	StartDate    *banksia.LocalTime `json:"start_date"`
	// CoverThumbnailURL is what clients before asset_urls read (history.md).
	CoverThumbnailURL *string `json:"album_cover_thumbnail_url,omitempty"`
}

// NewAlbum writes an album with the thumbnail of its cover (behaviour 9.4).
func NewAlbum(a *banksia.Album, urls URLs) Album {
	album := Album{ID: a.ID, AssetCount: a.AssetCount, CreatedAt: Time(a.CreatedAt), Name: a.Name, UpdatedAt: Time(a.UpdatedAt),
		Description: a.Description, EndDate: a.EndDate, StartDate: a.StartDate}
	if a.Cover != nil {
		album.CoverAssetID = &a.Cover.ID
		for _, thumbnail := range assetURLs(a.Cover, false, urls) { // also of a video, where it has another name
			album.AssetURLs = map[string]Variant{string(banksia.VariantThumbnail): thumbnail}
			album.CoverThumbnailURL = &thumbnail.URL
		}
	}
	return album
}

// AlbumAsset is the link of an album to one of its assets.
type AlbumAsset struct {
	ID        banksia.AlbumAssetID `json:"id"`
	AlbumID   banksia.AlbumID      `json:"album_id"`
	AssetID   banksia.AssetID      `json:"asset_id"`
	CreatedAt Time                 `json:"created_at"`
	UpdatedAt Time                 `json:"updated_at"`
}

// NewAlbumAsset writes a link.
func NewAlbumAsset(l *banksia.AlbumAsset) AlbumAsset {
	return AlbumAsset{l.ID, l.AlbumID, l.AssetID, Time(l.CreatedAt), Time(l.UpdatedAt)}
}

// AlbumAdded is what became of each asset that was to be added to an album.
type AlbumAdded struct {
	Added     []string `json:"added_assets"`
	Duplicate []string `json:"duplicate_assets"`
	NotFound  []string `json:"not_found_assets"`
}
