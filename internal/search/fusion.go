package search

import (
	"cmp"
	"slices"

	"github.com/banksia-photos/banksia"
)

// Hit is an asset that a search found.
type Hit struct {
	AssetID banksia.AssetID
	// Distance is the cosine distance of the meaning, if that was compared
	// (behaviour 13.5).
	Distance *float64
}

// fusionDamping keeps the first places of one ranking from deciding alone: k = 60
// in Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion", SIGIR 2009.
const fusionDamping = 60

// Fuse merges rankings, best first, by reciprocal rank. Who ranks equal keeps the
// order in which the rankings name them.
func Fuse(rankings ...[]Hit) []Hit {
	var fused []Hit
	scores := map[banksia.AssetID]float64{}
	at := map[banksia.AssetID]int{}
	for _, ranking := range rankings {
		for rank, hit := range ranking {
			if _, known := at[hit.AssetID]; !known {
				at[hit.AssetID] = len(fused)
				fused = append(fused, hit)
			}
			one := &fused[at[hit.AssetID]]
			if hit.Distance != nil && (one.Distance == nil || *hit.Distance < *one.Distance) {
				one.Distance = hit.Distance
			}
			scores[hit.AssetID] += 1 / float64(fusionDamping+rank+1)
		}
	}
	slices.SortStableFunc(fused, func(a, b Hit) int { return cmp.Compare(scores[b.AssetID], scores[a.AssetID]) })
	return fused
}
