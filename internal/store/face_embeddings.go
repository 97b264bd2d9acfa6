package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/banksia-photos/banksia"
)

const (
	// maxCandidates bounds the people named for one face.
	maxCandidates = 100
	// metricsSample is how many faces of a person are compared pair by pair.
	metricsSample = 64
)

// SetFaceEmbedding stores where a model places a face, instead of what was there.
// A vector of another length, with values that are no numbers, or without direction
// is an error; CodeNotFound without the face.
func (tx *Tx) SetFaceEmbedding(e banksia.FaceEmbedding) error {
	vector, err := unit(e.Vector)
	if err != nil {
		return fmt.Errorf("embedding of face %s: %w", e.FaceID, err)
	}
	var library banksia.LibraryID
	var person sql.Null[banksia.PersonID]
	err = tx.QueryRow(`SELECT library_id, person_id FROM faces WHERE id = $1`, e.FaceID).Scan(&library, &person)
	if errors.Is(err, sql.ErrNoRows) {
		return banksia.NotFound("Face")
	}
	if err != nil {
		return fmt.Errorf("face %s: %w", e.FaceID, err)
	}
	if err := tx.moveEmbedding(library, e.FaceID, pointer(person), nil); err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO face_embeddings (face_id, model, embedding) VALUES ($1, $2, $3)
		ON CONFLICT (face_id) DO UPDATE SET model = excluded.model, embedding = excluded.embedding`, e.FaceID, e.Model, packFloat32(vector))
	if err != nil {
		return fmt.Errorf("store embedding of face %s: %w", e.FaceID, err)
	}
	return tx.moveEmbedding(library, e.FaceID, nil, pointer(person))
}

// moveEmbedding takes the embedding of a face, if it has one, from the centroid of
// a person to that of another; nil: none.
func (tx *Tx) moveEmbedding(library banksia.LibraryID, face banksia.FaceID, from, to *banksia.PersonID) error {
	if from == nil && to == nil {
		return nil
	}
	var model string
	var packed []byte
	err := tx.QueryRow(`SELECT model, embedding FROM face_embeddings WHERE face_id = $1`, face).Scan(&model, &packed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("embedding of face %s: %w", face, err)
	}
	vector, sum := unpackFloat32(packed), make([]float64, banksia.EmbeddingSize)
	if len(vector) != banksia.EmbeddingSize {
		return fmt.Errorf("the stored embedding of face %s has %d values", face, len(vector))
	}
	for i, x := range vector {
		sum[i] = float64(x)
	}
	if from != nil {
		negative := make([]float64, len(sum))
		for i := range sum {
			negative[i] = -sum[i]
		}
		if err := tx.addToCentroid(library, *from, model, -1, negative); err != nil {
			return err
		}
	}
	if to != nil {
		return tx.addToCentroid(library, *to, model, 1, sum)
	}
	return nil
}

// addToCentroid adds to the sum of the embeddings of a person by one model, and
// makes the centroid follow.
func (tx *Tx) addToCentroid(library banksia.LibraryID, person banksia.PersonID, model string, faces int, sum []float64) error {
	fail := func(err error) error { return fmt.Errorf("centroid of person %s: %w", person, err) }
	var packed []byte
	var count int
	err := tx.QueryRow(`SELECT face_count, embedding_sum FROM person_embeddings WHERE person_id = $1 AND model = $2`, person, model).Scan(&count, &packed)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fail(err)
	}
	total := slices.Clone(sum)
	for i, x := range unpackFloat64(packed) {
		total[i] += x
	}
	if count += faces; count <= 0 {
		for _, table := range []string{"person_embeddings", "person_centroids"} {
			if _, err := tx.Exec(`DELETE FROM `+table+` WHERE person_id = $1 AND model = $2`, person, model); err != nil {
				return fail(err)
			}
		}
		return nil
	}
	_, err = tx.Exec(`INSERT INTO person_embeddings (person_id, model, face_count, embedding_sum) VALUES ($1, $2, $3, $4)
		ON CONFLICT (person_id, model) DO UPDATE SET face_count = excluded.face_count, embedding_sum = excluded.embedding_sum`, person, model, count, packFloat64(total))
	if err == nil {
		_, err = tx.Exec(`INSERT INTO person_centroids (library_id, model, person_id, centroid) VALUES ($1, $2, $3, $4)
			ON CONFLICT (library_id, model, person_id) DO UPDATE SET centroid = excluded.centroid`, library, model, person, packFloat32(direction(total)))
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

// mergeEmbeddings adds the sums of a person to those of another.
func (tx *Tx) mergeEmbeddings(library banksia.LibraryID, source, target banksia.PersonID) error {
	type part struct {
		model string
		faces int
		sum   []float64
	}
	var parts []part
	err := tx.each(`SELECT model, face_count, embedding_sum FROM person_embeddings WHERE person_id = $1`, []any{source}, func(rows *sql.Rows) error {
		var p part
		var packed []byte
		err := rows.Scan(&p.model, &p.faces, &packed)
		p.sum = unpackFloat64(packed)
		parts = append(parts, p)
		return err
	})
	for _, p := range parts {
		if err == nil {
			err = tx.addToCentroid(library, target, p.model, p.faces, p.sum)
		}
	}
	return err
}

// unit is a vector at length 1.
func unit(vector []float32) ([]float32, error) {
	if len(vector) != banksia.EmbeddingSize {
		return nil, fmt.Errorf("an embedding has %d values, not %d", banksia.EmbeddingSize, len(vector))
	}
	sum := make([]float64, len(vector))
	for i, x := range vector {
		if sum[i] = float64(x); math.IsNaN(sum[i]) || math.IsInf(sum[i], 0) {
			return nil, errors.New("an embedding has a value that is no number")
		}
	}
	result := direction(sum)
	if !slices.ContainsFunc(result, func(x float32) bool { return x != 0 }) {
		return nil, errors.New("an embedding has no direction")
	}
	return result, nil
}

// direction is a sum at length 1; zeros when it has no length.
func direction(sum []float64) []float32 {
	square := 0.0
	for _, x := range sum {
		square += x * x
	}
	result := make([]float32, len(sum))
	if square > 0 {
		scale := 1 / math.Sqrt(square)
		for i, x := range sum {
			result[i] = float32(x * scale)
		}
	}
	return result
}

func packFloat32(vector []float32) []byte {
	packed := make([]byte, 0, 4*len(vector))
	for _, x := range vector {
		packed = binary.LittleEndian.AppendUint32(packed, math.Float32bits(x))
	}
	return packed
}

func unpackFloat32(packed []byte) []float32 {
	vector := make([]float32, len(packed)/4)
	for i := range vector {
		vector[i] = math.Float32frombits(binary.LittleEndian.Uint32(packed[4*i:]))
	}
	return vector
}

func packFloat64(vector []float64) []byte {
	packed := make([]byte, 0, 8*len(vector))
	for _, x := range vector {
		packed = binary.LittleEndian.AppendUint64(packed, math.Float64bits(x))
	}
	return packed
}

func unpackFloat64(packed []byte) []float64 {
	vector := make([]float64, len(packed)/8)
	for i := range vector {
		vector[i] = math.Float64frombits(binary.LittleEndian.Uint64(packed[8*i:]))
	}
	return vector
}

// cosine is the cosine distance of two unit vectors, 0 to 2.
func cosine(a, b []float32) float64 {
	// Four sums, which do not wait for each other.
	var s0, s1, s2, s3 float32
	b = b[:len(a)]
	for i := 0; i+3 < len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	return min(max(1-float64(s0+s1+s2+s3), 0), 2)
}

// embeddingsOf reads the embeddings of faces with their models.
func (tx *Tx) embeddingsOf(ids []banksia.FaceID) (map[banksia.FaceID]banksia.FaceEmbedding, error) {
	result := map[banksia.FaceID]banksia.FaceEmbedding{}
	for chunk := range chunks(ids) {
		var q query
		err := tx.each(`SELECT face_id, model, embedding FROM face_embeddings WHERE face_id IN (`+list(&q, chunk)+`)`, q.args, func(rows *sql.Rows) error {
			var e banksia.FaceEmbedding
			var packed []byte
			err := rows.Scan(&e.FaceID, &e.Model, &packed)
			e.Vector = unpackFloat32(packed)
			result[e.FaceID] = e
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return result, nil
}

// ClusterAssignments compares faces of a library, which the caller has found to be
// in its scope, with everybody in it.
func (s *Store) ClusterAssignments(ctx context.Context, library banksia.LibraryID, faces []banksia.Face) (map[banksia.FaceID]banksia.ClusterAssignment, error) {
	result := map[banksia.FaceID]banksia.ClusterAssignment{}
	err := s.Read(ctx, func(tx *Tx) error {
		ids := make([]banksia.FaceID, len(faces))
		byID := map[banksia.FaceID]*banksia.Face{}
		for i := range faces {
			ids[i], byID[faces[i].ID] = faces[i].ID, &faces[i]
			result[faces[i].ID] = banksia.ClusterAssignment{Candidates: []banksia.ClusterCandidate{}}
		}
		embeddings, err := tx.embeddingsOf(ids)
		if err != nil {
			return err
		}
		byModel := map[string][]banksia.FaceEmbedding{}
		for _, e := range embeddings {
			byModel[e.Model] = append(byModel[e.Model], e)
		}
		for model, all := range byModel {
			c := comparison{faces: all, own: make([]*banksia.PersonID, len(all)), results: make([]banksia.ClusterAssignment, len(all))}
			for i, e := range all {
				c.own[i] = byID[e.FaceID].PersonID
			}
			if err := c.run(tx, library, model); err != nil {
				return err
			}
			for i, e := range all {
				result[e.FaceID] = c.results[i]
			}
		}
		return tx.nameCandidates(result)
	})
	if err != nil {
		return nil, fmt.Errorf("compare faces: %w", err)
	}
	return result, nil
}

// comparison finds out who is near to faces whose embeddings are of one model.
type comparison struct {
	faces []banksia.FaceEmbedding
	own   []*banksia.PersonID // of each face

	mu      sync.Mutex
	results []banksia.ClusterAssignment // for each face
}

// block is a run of people with their centroids, one after the other.
type block struct {
	people    []banksia.PersonID
	centroids []float32
}

// blockPeople is how many people are compared at a time: their centroids stay in
// the cache of a core while all faces pass by.
const blockPeople = 128

// run reads the centroids of a library while others are compared.
func (c *comparison) run(tx *Tx, library banksia.LibraryID, model string) error {
	var comparing errgroup.Group
	comparing.SetLimit(runtime.GOMAXPROCS(0))
	blocks := sync.Pool{New: func() any {
		return &block{make([]banksia.PersonID, 0, blockPeople), make([]float32, 0, blockPeople*banksia.EmbeddingSize)}
	}}
	b := blocks.Get().(*block)
	compare := func(b *block) {
		comparing.Go(func() error {
			c.compare(b)
			b.people, b.centroids = b.people[:0], b.centroids[:0]
			blocks.Put(b)
			return nil
		})
	}
	err := tx.each(`SELECT person_id, centroid FROM person_centroids WHERE library_id = $1 AND model = $2`, []any{library, model}, func(rows *sql.Rows) error {
		var person banksia.PersonID
		var packed sql.RawBytes
		if err := rows.Scan(&person, &packed); err != nil {
			return err
		}
		if len(packed) != 4*banksia.EmbeddingSize {
			return fmt.Errorf("the centroid of person %s has %d bytes", person, len(packed))
		}
		b.people = append(b.people, person)
		for i := 0; i < len(packed); i += 4 {
			b.centroids = append(b.centroids, math.Float32frombits(binary.LittleEndian.Uint32(packed[i:])))
		}
		if len(b.people) == blockPeople {
			compare(b)
			b = blocks.Get().(*block)
		}
		return nil
	})
	compare(b)
	comparing.Wait() // nobody fails
	for i := range c.results {
		nearestFirst(&c.results[i])
	}
	return err
}

// compare adds the near ones of a block to the results.
func (c *comparison) compare(b *block) {
	for i := range c.faces {
		var near []banksia.ClusterCandidate
		var own *float64
		for k, person := range b.people {
			d := cosine(c.faces[i].Vector, b.centroids[k*banksia.EmbeddingSize:(k+1)*banksia.EmbeddingSize])
			if c.own[i] != nil && *c.own[i] == person {
				own = &d
			} else if d <= banksia.CandidateWindow {
				near = append(near, banksia.ClusterCandidate{PersonID: person, Distance: d})
			}
		}
		if own == nil && near == nil {
			continue
		}
		c.mu.Lock()
		r := &c.results[i]
		r.Candidates = append(r.Candidates, near...)
		if own != nil {
			r.DistanceToPerson = own
		}
		c.mu.Unlock()
	}
}

// nearestFirst keeps the nearest candidates, nearest first.
func nearestFirst(a *banksia.ClusterAssignment) {
	slices.SortFunc(a.Candidates, func(x, y banksia.ClusterCandidate) int {
		return cmp.Or(cmp.Compare(x.Distance, y.Distance), slices.Compare(x.PersonID[:], y.PersonID[:]))
	})
	a.Candidates = append([]banksia.ClusterCandidate{}, a.Candidates[:min(len(a.Candidates), maxCandidates)]...)
}

// nameCandidates fills in the names.
func (tx *Tx) nameCandidates(assignments map[banksia.FaceID]banksia.ClusterAssignment) error {
	names := map[banksia.PersonID]*string{}
	var ids []banksia.PersonID
	for _, a := range assignments {
		for _, c := range a.Candidates {
			if _, seen := names[c.PersonID]; !seen {
				names[c.PersonID] = nil
				ids = append(ids, c.PersonID)
			}
		}
	}
	for chunk := range chunks(ids) {
		var q query
		err := tx.each(`SELECT id, name FROM people WHERE id IN (`+list(&q, chunk)+`)`, q.args, func(rows *sql.Rows) error {
			var id banksia.PersonID
			var name *string
			err := rows.Scan(&id, &name)
			names[id] = name
			return err
		})
		if err != nil {
			return err
		}
	}
	for _, a := range assignments {
		for i := range a.Candidates {
			a.Candidates[i].Name = names[a.Candidates[i].PersonID]
		}
	}
	return nil
}

// ClusterMetrics measures people, whom the caller has found to be in its scope, by
// the model that knows most of their faces. Who has no centroid is left out.
func (s *Store) ClusterMetrics(ctx context.Context, people []banksia.PersonID) (map[banksia.PersonID]banksia.ClusterMetrics, error) {
	result := map[banksia.PersonID]banksia.ClusterMetrics{}
	err := s.Read(ctx, func(tx *Tx) error {
		for _, person := range people {
			m, found, err := tx.clusterMetrics(person)
			if err != nil {
				return fmt.Errorf("measure person %s: %w", person, err)
			}
			if found {
				result[person] = m
			}
		}
		return nil
	})
	return result, err
}

func (tx *Tx) clusterMetrics(person banksia.PersonID) (m banksia.ClusterMetrics, found bool, err error) {
	var model string
	var embedded int
	var packed []byte
	err = tx.QueryRow(`SELECT model, face_count, embedding_sum FROM person_embeddings WHERE person_id = $1 ORDER BY face_count DESC, model LIMIT 1`, person).Scan(&model, &embedded, &packed)
	if errors.Is(err, sql.ErrNoRows) {
		return m, false, nil
	}
	if err != nil {
		return m, false, err
	}
	faces, err := idsFrom[banksia.FaceID](tx, `SELECT id FROM faces WHERE person_id = $1 ORDER BY created_at, id`, person)
	if err != nil {
		return m, false, err
	}
	m.FaceCount = len(faces)
	if embedded < 2 {
		return m, true, nil
	}
	// The sum of unit vectors knows the mean of all pairs: its square is the sum
	// of all products, of which each face with itself gives 1.
	square := 0.0
	for _, x := range unpackFloat64(packed) {
		square += x * x
	}
	n := float64(embedded)
	m.PairwiseMean = min(max(1-(square-n)/(n*(n-1)), 0), 2)
	// The sample is spread evenly over the faces, the same at every call.
	sample := faces
	if len(faces) > metricsSample {
		sample = make([]banksia.FaceID, metricsSample)
		for i := range sample {
			sample[i] = faces[i*len(faces)/metricsSample]
		}
	}
	embeddings, err := tx.embeddingsOf(sample)
	if err != nil {
		return m, false, err
	}
	var vectors [][]float32
	for _, id := range sample {
		if e, ok := embeddings[id]; ok && e.Model == model {
			vectors = append(vectors, e.Vector)
		}
	}
	var distances []float64
	for i := range vectors {
		for j := range i {
			distances = append(distances, cosine(vectors[i], vectors[j]))
		}
	}
	m.PairwiseP90 = percentile(distances, 0.9)
	return m, true, nil
}

// wrongCentroids counts the sums and centroids that are not what the embeddings of
// the faces give when added anew.
func (tx *Tx) wrongCentroids() (wrong int64, err error) {
	type key struct {
		person banksia.PersonID
		model  string
	}
	sums := map[key][]float64{}
	err = tx.each(`SELECT f.person_id, e.model, e.embedding FROM face_embeddings e JOIN faces f ON f.id = e.face_id WHERE f.person_id IS NOT NULL`, nil, func(rows *sql.Rows) error {
		var k key
		var packed []byte
		err := rows.Scan(&k.person, &k.model, &packed)
		if sums[k] == nil {
			sums[k] = make([]float64, banksia.EmbeddingSize)
		}
		for i, x := range unpackFloat32(packed) {
			sums[k][i] += float64(x)
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("add embeddings: %w", err)
	}
	err = tx.each(`SELECT pe.person_id, pe.model, pe.embedding_sum, c.centroid FROM person_embeddings pe JOIN person_centroids c ON c.person_id = pe.person_id AND c.model = pe.model`, nil, func(rows *sql.Rows) error {
		var k key
		var sum, centroid []byte
		if err := rows.Scan(&k.person, &k.model, &sum, &centroid); err != nil {
			return err
		}
		differs := func(a, b float64) bool { return math.Abs(a-b) > 1e-6 }
		if !slices.EqualFunc(unpackFloat64(sum), sums[k], func(a, b float64) bool { return !differs(a, b) }) ||
			!slices.EqualFunc(unpackFloat32(centroid), direction(sums[k]), func(a, b float32) bool { return !differs(float64(a), float64(b)) }) {
			wrong++
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("compare centroids: %w", err)
	}
	return wrong, nil
}

// percentile interpolates between the neighbours of a rank; 0 without values. It
// sorts them.
func percentile(values []float64, share float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	rank := share * float64(len(values)-1)
	low := int(rank)
	high := min(low+1, len(values)-1)
	return values[low] + (values[high]-values[low])*(rank-float64(low))
}
