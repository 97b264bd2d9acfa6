package banksia

// EmbeddingSize is the number of values in the embedding of a face.
const EmbeddingSize = 512

// How near faces are in the space of their embeddings, as cosine distances
// (behaviour 12.6).
const (
	AssignmentGate  = 0.35 // a face this near to a person is assigned to it
	PairwiseP90Cap  = 0.65 // people whose faces lie further apart do not grow
	SiblingMargin   = 0.05 // how much nearer the nearest person must be than the next
	CandidateWindow = 0.6  // who is this near is named as a candidate
)

// FaceEmbedding is where a model places a face: EmbeddingSize values of any length
// but zero. Embeddings of different models are not comparable.
type FaceEmbedding struct {
	FaceID FaceID
	Model  string
	Vector []float32
}

// ClusterCandidate is a person whose faces are near to a face.
type ClusterCandidate struct {
	PersonID PersonID
	Name     *string
	Distance float64 // cosine, to the centroid of the person
}

// ClusterAssignment says how well a face fits its person, and who else is near.
type ClusterAssignment struct {
	DistanceToPerson *float64 // nil: unassigned, or nothing to compare
	Candidates       []ClusterCandidate
}

// ClusterMetrics says how alike the faces of a person are.
type ClusterMetrics struct {
	FaceCount    int
	PairwiseMean float64 // cosine distances of all pairs; 0 for a single face
	PairwiseP90  float64
}

// FaceThumbnail is what the crop of a face is drawn from: a square of the original.
type FaceThumbnail struct {
	FaceID  FaceID
	Version Version // position 0
	Media   MediaType
	Box     BoundingBox
	At      *int // milliseconds into a video
}

// FaceCropEdge is the longest edge of the crop of a face in pixels.
const FaceCropEdge = 256

// Square is the part of the original that the crop shows: the box with a margin, as
// far as the image reaches. It is empty while the size of the original is unknown.
func (t *FaceThumbnail) Square() BoundingBox {
	edge := min(max(t.Box.W, t.Box.H)*3/2, t.Version.Width, t.Version.Height)
	if edge <= 0 {
		return BoundingBox{}
	}
	place := func(at, size, limit int) int { return min(max(at+size/2-edge/2, 0), limit-edge) }
	return BoundingBox{X: place(t.Box.X, t.Box.W, t.Version.Width), Y: place(t.Box.Y, t.Box.H, t.Version.Height), W: edge, H: edge}
}

// Variant names the crop among the derived files of the version.
func (t *FaceThumbnail) Variant() VariantName { return FaceVariant(t.FaceID) }

// FaceVariant is the variant of a version that shows one face.
func FaceVariant(id FaceID) VariantName { return VariantName(id.String()) }
