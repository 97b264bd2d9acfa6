package banksia

import "time"

// TaskType names one kind of background work, in the contract's words.
type TaskType string

const (
	TaskDisplayProxy    TaskType = "display_proxy_generation" // variants of an image
	TaskThumbHash       TaskType = "thumbhash"
	TaskReverseGeocode  TaskType = "reverse_geocoding"
	TaskVideoMetadata   TaskType = "video_metadata_extract"
	TaskVideoThumbnails TaskType = "video_thumbnail_extract"       // stills of a video
	TaskStorageCleanup  TaskType = "asset_storage_cleanup"         // files of a purged asset
	TaskVersionCleanup  TaskType = "asset_version_storage_cleanup" // files of deleted versions
)

// TaskTypes are all of them.
var TaskTypes = []TaskType{TaskDisplayProxy, TaskThumbHash, TaskReverseGeocode, TaskVideoMetadata, TaskVideoThumbnails, TaskStorageCleanup, TaskVersionCleanup}

// TaskStatus is the state of a task: pending -> started -> success or failure.
// A task that waits for a retry stays started.
type TaskStatus string

const (
	TaskPending TaskStatus = "pending"
	TaskStarted TaskStatus = "started"
	TaskSuccess TaskStatus = "success"
	TaskFailure TaskStatus = "failure"
)

// Task is one piece of background work. At most one exists for an asset and a
// type: enqueueing it again starts the same row anew.
type Task struct {
	ID           TaskID
	DeliveryID   string // changes with each enqueueing; the contract's celery_task_id
	UserID       UserID
	LibraryID    *LibraryID
	AssetID      *AssetID
	Type         TaskType
	Status       TaskStatus
	RetryCount   int
	ErrorMessage *string
	Result       *string
	CreatedAt    time.Time
	StartedAt    *time.Time
	CompletedAt  *time.Time
}
