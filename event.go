package banksia

import "time"

// EventType says what happened to which kind of entity (behaviour 16.2).
type EventType string

const (
	AssetCreated      EventType = "asset_created"
	AssetUpdated      EventType = "asset_updated" // also of trashing and restoring (behaviour 21.3)
	AssetDeleted      EventType = "asset_deleted"
	MetadataUpdated   EventType = "metadata_updated" // its entity is the asset (behaviour 16.3)
	AlbumCreated      EventType = "album_created"
	AlbumUpdated      EventType = "album_updated"
	AlbumDeleted      EventType = "album_deleted"
	AlbumAssetAdded   EventType = "album_asset_added"
	AlbumAssetRemoved EventType = "album_asset_removed"
	PersonCreated     EventType = "person_created"
	PersonUpdated     EventType = "person_updated"
	PersonDeleted     EventType = "person_deleted"
	FaceCreated       EventType = "face_created"
	FaceUpdated       EventType = "face_updated"
	FaceDeleted       EventType = "face_deleted"
	StackCreated      EventType = "stack_created"
	StackUpdated      EventType = "stack_updated"
	StackDeleted      EventType = "stack_deleted"
)

// EntityType is the kind of entity that an event is about, as clients filter it.
type EntityType string

const (
	EntityAsset      EntityType = "asset"
	EntityAlbum      EntityType = "album"
	EntityPerson     EntityType = "person"
	EntityFace       EntityType = "face"
	EntityAlbumAsset EntityType = "album_asset"
	EntityMetadata   EntityType = "metadata"
	EntityStack      EntityType = "stack"
)

// EntityTypes lists every entity type.
var EntityTypes = []EntityType{EntityAsset, EntityAlbum, EntityPerson, EntityFace, EntityAlbumAsset, EntityMetadata, EntityStack}

// Entity is the kind of entity that the event is about.
func (t EventType) Entity() EntityType {
	switch t {
	case AssetCreated, AssetUpdated, AssetDeleted:
		return EntityAsset
	case MetadataUpdated:
		return EntityMetadata
	case AlbumCreated, AlbumUpdated, AlbumDeleted:
		return EntityAlbum
	case AlbumAssetAdded, AlbumAssetRemoved:
		return EntityAlbumAsset
	case PersonCreated, PersonUpdated, PersonDeleted:
		return EntityPerson
	case FaceCreated, FaceUpdated, FaceDeleted:
		return EntityFace
	case StackCreated, StackUpdated, StackDeleted:
		return EntityStack
	}
	return ""
}

// Event is one change of a library. Its position among the events of the library
// is also the order in which the changes were committed.
type Event struct {
	Position   int64
	Type       EventType
	EntityID   string
	Payload    []byte // a JSON object; nil: none
	RecordedAt time.Time
}
