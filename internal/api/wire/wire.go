// Package wire is what travels: the JSON of requests and responses, and how it is
// made from the entities. Field names are the contract's.
package wire

import (
	"encoding/base64"
	"time"

	"github.com/banksia-photos/banksia"
)

// Page is one page of a list with a cursor.
type Page[T any] struct {
	Data    []T  `json:"data"`
	HasMore bool `json:"has_more"`
}

// Time writes row times: UTC to the microsecond (behaviour 2.8).
type Time time.Time

func (t Time) MarshalText() ([]byte, error) {
	const longest = len("2006-01-02T15:04:05.999999Z")
	return time.Time(t).UTC().AppendFormat(make([]byte, 0, longest), "2006-01-02T15:04:05.999999Z07:00"), nil
}

func timeOf(t *time.Time) *Time {
	if t == nil {
		return nil
	}
	at := Time(*t)
	return &at
}

// Digest writes checksums: standard base64 with padding (behaviour 7.1).
type Digest banksia.Digest

func (d Digest) MarshalText() ([]byte, error) {
	return base64.StdEncoding.AppendEncode(nil, d), nil
}

// Variant is one rendition.
type Variant struct {
	URL      string `json:"url"`
	MIMEType string `json:"mimetype"`
	Width    *int   `json:"width"`
}

// URLs makes the media URLs of versions.
type URLs interface {
	// Variant is the URL of a variant.
	Variant(version banksia.VersionID, variant banksia.VariantName) string
}

// Library is a library.
type Library struct {
	ID                banksia.LibraryID `json:"id"`
	AssetCount        int64             `json:"asset_count"`
	CreatedAt         Time              `json:"created_at"`
	Name              string            `json:"name"`
	StorageUsedBytes  int64             `json:"storage_used_bytes"`
	UpdatedAt         Time              `json:"updated_at"`
	UserID            banksia.UserID    `json:"user_id"`
	Description       *string           `json:"description"`
	StorageLimitBytes *int64            `json:"storage_limit_bytes"`
}

// NewLibrary writes a library.
func NewLibrary(l *banksia.Library) Library {
	return Library{l.ID, l.AssetCount, Time(l.CreatedAt), l.Name, l.StorageUsedBytes, Time(l.UpdatedAt), l.UserID, l.Description, l.StorageLimitBytes}
}

// User is the profile of the caller.
type User struct {
	ID                banksia.UserID `json:"id"`
	CreatedAt         Time           `json:"created_at"`
	IsActive          bool           `json:"is_active"`
	IsSuperuser       bool           `json:"is_superuser"`
	IsVerified        bool           `json:"is_verified"`
	StorageLimitBytes int64          `json:"storage_limit_bytes"`
	StorageUsedBytes  int64          `json:"storage_used_bytes"`
	UpdatedAt         Time           `json:"updated_at"`
	Email             *string        `json:"email"`
	FirstName         *string        `json:"first_name"`
	LastName          *string        `json:"last_name"`
	Timezone          *string        `json:"timezone"`
}

// noLimit stands for no storage limit in a user, where the SDKs want a number: the
// largest that JavaScript keeps exact.
const noLimit = 1<<53 - 1

// NewUser writes a user.
func NewUser(u *banksia.User) User {
	limit := int64(noLimit)
	if u.StorageLimitBytes != nil {
		limit = *u.StorageLimitBytes
	}
	return User{u.ID, Time(u.CreatedAt), u.IsActive, u.IsSuperuser, u.IsVerified, limit, u.StorageUsedBytes, Time(u.UpdatedAt), u.Email, u.FirstName, u.LastName, u.Timezone}
}

// Task is a background task.
type Task struct {
	ID           banksia.TaskID     `json:"id"`
	AssetID      *banksia.AssetID   `json:"asset_id"`
	DeliveryID   string             `json:"celery_task_id"`
	CompletedAt  *Time              `json:"completed_at"`
	CreatedAt    Time               `json:"created_at"`
	ErrorMessage *string            `json:"error_message"`
	Result       *string            `json:"result"`
	RetryCount   int                `json:"retry_count"`
	StartedAt    *Time              `json:"started_at"`
	Status       banksia.TaskStatus `json:"status"`
	TaskType     banksia.TaskType   `json:"task_type"`
}

// NewTask writes a task.
func NewTask(t *banksia.Task) Task {
	return Task{t.ID, t.AssetID, t.DeliveryID, timeOf(t.CompletedAt), Time(t.CreatedAt), t.ErrorMessage, t.Result, t.RetryCount, timeOf(t.StartedAt), t.Status, t.Type}
}

// AssetLite is the short record of existence checks.
type AssetLite struct {
	ID            banksia.AssetID `json:"id"`
	Checksum      Digest          `json:"checksum"`
	DeviceAssetID string          `json:"device_asset_id"`
	DeviceID      string          `json:"device_id"`
	ChecksumSHA1  Digest          `json:"checksum_sha1"`
}

// NewAssetLite writes the short record of an asset.
func NewAssetLite(a *banksia.Asset) AssetLite {
	return AssetLite{a.ID, Digest(a.File.SHA256), a.File.DeviceAssetID, a.File.DeviceID, Digest(a.File.SHA1)}
}

// Existence answers an existence check.
type Existence struct {
	Assets []AssetLite `json:"assets"`
}

// CountBucket is how many assets a month holds.
type CountBucket struct {
	Count      int64             `json:"count"`
	TimeBucket banksia.LocalTime `json:"time_bucket"`
}

// GeoCluster is one cell of the map.
type GeoCluster struct {
	Count                 int64           `json:"count"`
	Latitude              float64         `json:"latitude"`
	Longitude             float64         `json:"longitude"`
	RepresentativeAssetID banksia.AssetID `json:"representative_asset_id"`
}

// GeoClusters is all cells of a view.
type GeoClusters struct {
	Data []GeoCluster `json:"data"`
}
