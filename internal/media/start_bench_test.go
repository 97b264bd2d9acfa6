package media

import "testing"

// BenchmarkStart is a small job for which a worker must be started.
func BenchmarkStart(b *testing.B) {
	pool := newPool(b, nil)
	path := write(b, b.TempDir(), "good.png", encodePNG(b, quarters(40, 30, cornerColours)))
	job := request{Work: workThumbHash, Path: path, Format: "png"}
	for b.Loop() {
		if _, err := pool.do(b.Context(), job); err != nil {
			b.Fatal(err)
		}
		pool.mu.Lock()
		for w := range pool.alive {
			w.jobs.Store(maxJobs) // the next job is its last
		}
		pool.mu.Unlock()
		if _, err := pool.do(b.Context(), job); err != nil {
			b.Fatal(err)
		}
	}
}
