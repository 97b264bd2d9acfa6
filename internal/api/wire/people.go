package wire

import "github.com/banksia-photos/banksia"

// Face is a face in an asset.
type Face struct {
	ID                banksia.FaceID      `json:"id"`
	AssetID           banksia.AssetID     `json:"asset_id"`
	BoundingBox       banksia.BoundingBox `json:"bounding_box"`
	CreatedAt         Time                `json:"created_at"`
	Source            banksia.FaceSource  `json:"source"`
	UpdatedAt         Time                `json:"updated_at"`
	AssetURLs         map[string]Variant  `json:"asset_urls"`
	ClusterAssignment *ClusterAssignment  `json:"cluster_assignment"` // null unless asked for
	Confidence        *float64            `json:"confidence"`
	PersonID          *banksia.PersonID   `json:"person_id"`
	TimestampMS       *int                `json:"timestamp_ms"`
	ThumbnailURL      string              `json:"thumbnail_url,omitempty"` // of older clients
}

// Person is somebody whose faces are grouped.
type Person struct {
	ID               banksia.PersonID   `json:"id"`
	CreatedAt        Time               `json:"created_at"`
	IsFavorite       bool               `json:"is_favorite"`
	IsHidden         bool               `json:"is_hidden"`
	UpdatedAt        Time               `json:"updated_at"`
	AssetCount       *int               `json:"asset_count"`
	AssetURLs        map[string]Variant `json:"asset_urls"` // null without a face to show
	BirthDate        *string            `json:"birth_date"`
	ClusterMetrics   *ClusterMetrics    `json:"cluster_metrics"` // null unless asked for
	Name             *string            `json:"name"`
	ThumbnailFaceID  *banksia.FaceID    `json:"thumbnail_face_id"`
	ThumbnailFaceURL string             `json:"thumbnail_face_url,omitempty"` // of older clients
}

// ClusterAssignment is how well a face fits, and who else is near.
type ClusterAssignment struct {
	DistanceToPerson *float64           `json:"distance_to_person"`
	Candidates       []ClusterCandidate `json:"candidates"`
}

// ClusterCandidate is a person near to a face.
type ClusterCandidate struct {
	PersonID banksia.PersonID `json:"person_id"`
	Name     *string          `json:"name"`
	Distance float64          `json:"distance"`
}

// ClusterMetrics is how alike the faces of a person are.
type ClusterMetrics struct {
	FaceCount    int     `json:"face_count"`
	PairwiseMean float64 `json:"pairwise_mean"`
	PairwiseP90  float64 `json:"pairwise_p90"`
}

// NewFace writes a face. facesURL is where the byte route of older clients begins;
// "" leaves their field out.
func NewFace(f *banksia.Face, urls URLs, facesURL string) Face {
	face := Face{ID: f.ID, AssetID: f.AssetID, BoundingBox: f.BoundingBox, CreatedAt: Time(f.CreatedAt), Source: f.Source, UpdatedAt: Time(f.UpdatedAt),
		AssetURLs: cropURLs(f.Thumbnail, urls), Confidence: f.Confidence, PersonID: f.PersonID, TimestampMS: f.TimestampMS}
	if facesURL != "" {
		face.ThumbnailURL = facesURL + f.ID.String() + "/thumbnail"
	}
	return face
}

// NewPerson writes a person; facesURL is as for NewFace.
func NewPerson(p *banksia.Person, urls URLs, facesURL string) Person {
	person := Person{ID: p.ID, CreatedAt: Time(p.CreatedAt), IsFavorite: p.IsFavorite, IsHidden: p.IsHidden, UpdatedAt: Time(p.UpdatedAt),
		AssetCount: &p.AssetCount, AssetURLs: cropURLs(p.Thumbnail, urls), BirthDate: p.BirthDate, Name: p.Name}
	if p.Thumbnail != nil {
		person.ThumbnailFaceID = &p.Thumbnail.FaceID
		if facesURL != "" {
			person.ThumbnailFaceURL = facesURL + p.Thumbnail.FaceID.String() + "/thumbnail"
		}
	}
	return person
}

// NewClusterAssignment writes how well a face fits.
func NewClusterAssignment(a banksia.ClusterAssignment) *ClusterAssignment {
	candidates := make([]ClusterCandidate, len(a.Candidates))
	for i, c := range a.Candidates {
		candidates[i] = ClusterCandidate(c)
	}
	return &ClusterAssignment{a.DistanceToPerson, candidates}
}

// cropURLs is the crop of a face (behaviour 12.7); nil when none can be drawn.
func cropURLs(t *banksia.FaceThumbnail, urls URLs) map[string]Variant {
	if t == nil || t.Version.VariantMIMEType == "" {
		return nil
	}
	var width *int
	if square := t.Square(); square.W > 0 {
		edge := min(square.W, banksia.FaceCropEdge)
		width = &edge
	}
	return map[string]Variant{"thumbnail": {urls.Variant(t.Version.ID, t.Variant()), t.Version.VariantMIMEType, width}}
}
