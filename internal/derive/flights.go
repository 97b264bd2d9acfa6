package derive

import (
	"context"
	"slices"
	"sync"

	"github.com/banksia-photos/banksia"
)

// flights lets callers that want the same drawing share it.
type flights struct {
	mu      sync.Mutex
	running []*flight // a handful at a time
}

type flight struct {
	version banksia.VersionID
	wanted  []banksia.VariantName
	urgent  bool
	callers int
	cancel  context.CancelFunc
	done    chan struct{}
	err     error // once done
}

// do runs draw, or waits for one that runs already and covers what is wanted. The
// drawing goes on as long as any of its callers waits.
func (f *flights) do(ctx context.Context, version banksia.VersionID, wanted []banksia.VariantName, urgent bool, draw func(context.Context) error) error {
	f.mu.Lock()
	var one *flight
	for _, other := range f.running {
		covers := !slices.ContainsFunc(wanted, func(v banksia.VariantName) bool { return !slices.Contains(other.wanted, v) })
		if other.version == version && covers && (other.urgent || !urgent) {
			one = other
		}
	}
	if one == nil {
		var drawing context.Context
		one = &flight{version: version, wanted: wanted, urgent: urgent, done: make(chan struct{})}
		drawing, one.cancel = context.WithCancel(context.WithoutCancel(ctx))
		f.running = append(f.running, one)
		go func() {
			err := draw(drawing)
			f.mu.Lock()
			f.leave(one)
			one.err = err
			close(one.done)
			f.mu.Unlock()
			one.cancel()
		}()
	}
	one.callers++
	f.mu.Unlock()
	select {
	case <-one.done:
		return one.err
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if one.callers--; one.callers == 0 {
		f.leave(one) // a new caller must not join what is being cancelled
		one.cancel()
	}
	return ctx.Err()
}

// leave takes a flight off the list; the caller holds the lock.
func (f *flights) leave(one *flight) {
	if at := slices.Index(f.running, one); at >= 0 {
		f.running = slices.Delete(f.running, at, at+1)
	}
}
