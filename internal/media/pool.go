package media

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/banksia-photos/banksia"
)

// Pool runs jobs on files in worker processes. Workers start when the first jobs
// come, are replaced when they crash, hang, grow or grow old, and leave when there
// is nothing to do. All methods may be called at the same time.
type Pool struct {
	cfg Config
	log *slog.Logger

	mu       sync.Mutex
	idle     []*worker // last used last
	alive    map[*worker]struct{}
	running  int // jobs that hold a slot
	urgent   []*waiter
	patient  []*waiter
	closed   bool
	counts   Stats          // of what has happened so far
	stopping sync.WaitGroup // the reapers of all workers
	warned   sync.Once      // of what the workers' isolation lacks
}

// Stats is what the workers do, and how many ended since the pool was made.
type Stats struct {
	Workers int // processes alive
	Running int // jobs that have a slot
	Waiting int // jobs that wait for one
	Started int
	// Jobs ended well, or with a finding about the file.
	Jobs int
	// Why workers were killed in the middle of a job, or died.
	TimedOut, OutOfMemory, Crashed, Cancelled int
	// Replaced had grown or grown old.
	Replaced int
}

// Stats may be called at any time.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.counts
	s.Workers, s.Running, s.Waiting = len(p.alive), p.running, len(p.urgent)+len(p.patient)
	return s
}

// count changes the statistics.
func (p *Pool) count(change func(*Stats)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.counts)
}

// waiter is a job without a slot.
type waiter struct {
	granted chan struct{} // closed when the job may run, or the pool was closed
}

const (
	maxWaiting = 4096             // jobs without a slot before ErrBusy
	idleTime   = time.Minute      // until an unused worker gives its memory back
	maxJobs    = 1000             // until a worker is replaced, against slow leaks
	maxResting = 192 << 20        // resident bytes after a job until it is replaced
	maxFrame   = 16 << 20         // bytes of one message between the processes
	startTime  = 30 * time.Second // until a worker says that it is ready
)

// New checks the settings; it starts no process yet.
func New(cfg Config) (*Pool, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("media: %w", err)
	}
	if os.Getenv(workerVariable) != "" {
		return nil, errors.New("media: this process is a media worker: main must begin with media.ServeWorkerIfAsked")
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Pool{cfg: cfg, log: log, alive: map[*worker]struct{}{}}, nil
}

// Close kills the workers and waits until they are gone. Jobs under way and jobs
// asked for later fail with ErrClosed. Closing twice is safe.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	for _, w := range slices.Concat(p.urgent, p.patient) {
		close(w.granted)
	}
	p.urgent, p.patient, p.idle = nil, nil, nil
	for w := range p.alive {
		w.kill()
	}
	p.mu.Unlock()
	p.stopping.Wait()
	return nil
}

type priorityKey struct{}

// WithPriority marks work that somebody waits for: it goes before background
// work, and does not wait until that is done.
func WithPriority(ctx context.Context) context.Context {
	return context.WithValue(ctx, priorityKey{}, true)
}

// Info is what the headers of a file say.
type Info struct {
	MIMEType  string
	MediaType banksia.MediaType
	// Width and Height are pixels in display space; 0: unknown.
	Width, Height int
	// Duration is seconds; nil for images and where the file does not say.
	Duration *float64
	Metadata banksia.Metadata
	// VariantMIMEType is the type that Draw writes: "image/webp" for an image with
	// transparency, else "image/jpeg"; "" when nothing can be drawn.
	VariantMIMEType string
	// Displayable tells that browsers show the stored image as it is, so that
	// fullsize needs no drawing; false for videos.
	Displayable bool
	// Problem is a sentence on why nothing can be drawn; "" when it can.
	Problem string
}

// Order asks for one variant in one file, which is created or replaced.
type Order struct {
	Variant banksia.VariantName
	Path    string
}

// Drawn is one variant that was written.
type Drawn struct {
	Variant       banksia.VariantName
	MIMEType      string
	Width, Height int
	SizeBytes     int64
}

// Describe reads type, size and metadata from the headers of the file at path;
// no pixel is decoded. Damaged metadata is no error, and a file that cannot be
// drawn is described with a Problem. Even with an error, which says that nothing
// could be read at all, the types in Info are set.
func (p *Pool) Describe(ctx context.Context, path string, format Format) (Info, error) {
	answer, err := p.do(ctx, request{Work: workDescribe, Path: path, Format: format.Name})
	if err != nil || answer.Info == nil {
		return Info{MIMEType: format.MIMEType, MediaType: format.MediaType}, err
	}
	return *answer.Info, nil
}

// Draw writes variants of the image or of a still of the video at path: upright,
// in sRGB, without metadata, and never larger than the original. Each variant is
// drawn from the next larger one. The result is in the order of orders. After an
// error none of the files is left.
//
// The longest side of fullsize is the original's, but at most 65500 pixels for
// JPEG and 16383 for WebP, which is what these formats can hold.
func (p *Pool) Draw(ctx context.Context, path string, format Format, orders []Order) ([]Drawn, error) {
	for _, o := range orders {
		if _, limited := banksia.LongestEdge[o.Variant]; !limited && o.Variant != banksia.VariantFullsize {
			return nil, fmt.Errorf("media: cannot draw the variant %q", o.Variant)
		}
	}
	if len(orders) == 0 {
		return nil, nil
	}
	answer, err := p.do(ctx, request{Work: workDraw, Path: path, Format: format.Name, Orders: orders})
	if err != nil {
		for _, o := range orders {
			os.Remove(o.Path)
		}
		return nil, err
	}
	return answer.Drawn, nil
}

// ThumbHash is the ThumbHash (https://evanw.github.io/thumbhash/) of the image or
// of a still of the video at path, 5 to 37 bytes. Given the thumbnail variant
// instead of the original it gives the same picture to the eye at a twentieth of
// the cost.
func (p *Pool) ThumbHash(ctx context.Context, path string, format Format) ([]byte, error) {
	answer, err := p.do(ctx, request{Work: workThumbHash, Path: path, Format: format.Name})
	if err != nil {
		return nil, err
	}
	return answer.ThumbHash, nil
}

// do runs one job: it waits for a slot, then for the answer of a worker.
func (p *Pool) do(ctx context.Context, job request) (answer, error) {
	if err := p.acquire(ctx); err != nil {
		return answer{}, err
	}
	defer p.release()
	ctx, cancel := context.WithTimeoutCause(ctx, p.cfg.Timeout, errJobTime)
	defer cancel()
	for attempt := 1; ; attempt++ {
		w, err := p.takeWorker(ctx)
		if err != nil {
			return answer{}, p.explain(ctx, job, err)
		}
		laid, err := w.desk.lay(job)
		if err != nil {
			p.putWorker(w, 0)
			return answer{}, err
		}
		result, err := w.run(ctx, laid)
		if errors.Is(err, errNotStarted) && attempt == 1 && ctx.Err() == nil {
			continue // the worker died while it was idle; that says nothing about the file
		}
		if err != nil {
			return answer{}, p.explain(ctx, job, err)
		}
		if err := result.fits(job); err != nil {
			return answer{}, p.explain(ctx, job, w.bury(err))
		}
		if w.missing != "" {
			p.warned.Do(func() { p.log.Warn("media workers are less isolated than they could be", "missing", w.missing) })
		}
		if err := w.desk.take(job, laid, result.Failure == nil); err != nil {
			w.kill()
			return answer{}, fmt.Errorf("media: %w", err)
		}
		p.count(func(s *Stats) { s.Jobs++ })
		p.putWorker(w, result.Resident)
		if result.Failure != nil {
			failure := result.Failure.problem()
			p.log.DebugContext(ctx, "media job failed", "work", job.Work, "format", job.Format,
				"error", failure.message, "detail", failure.detail)
			return answer{}, failure
		}
		return result, nil
	}
}

var errJobTime = errors.New("job time is over")

// explain turns the end of a worker into what the caller should know.
func (p *Pool) explain(ctx context.Context, job request, err error) error {
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	switch {
	case closed:
		return ErrClosed
	case context.Cause(ctx) == errJobTime:
		p.count(func(s *Stats) { s.TimedOut++ })
		return &problem{kind: ErrTimeout, message: fmt.Sprintf("Reading the file took longer than %s.", p.cfg.Timeout)}
	case ctx.Err() != nil:
		p.count(func(s *Stats) { s.Cancelled++ })
		return ctx.Err()
	case diskError(err) != nil:
		return fmt.Errorf("media: %w", err)
	case errors.Is(err, errNotReady):
		p.count(func(s *Stats) { s.Crashed++ })
		return fmt.Errorf("media: %w", err)
	case errors.Is(err, errOutOfMemory):
		p.count(func(s *Stats) { s.OutOfMemory++ })
		return tooLarge("", "Decoding the file takes more memory than is allowed.")
	}
	p.count(func(s *Stats) { s.Crashed++ })
	p.log.WarnContext(ctx, "media worker crashed", "work", job.Work, "format", job.Format, "error", err)
	return &problem{kind: ErrWorkerCrashed, message: "The decoder crashed while it read the file."}
}

// acquire waits for a slot.
func (p *Pool) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return ctx.Err()
	}
	urgent, _ := ctx.Value(priorityKey{}).(bool)
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return ErrClosed
	}
	if p.running < p.slots(urgent) {
		p.running++
		p.mu.Unlock()
		return nil
	}
	if len(p.urgent)+len(p.patient) >= maxWaiting {
		p.mu.Unlock()
		return &problem{kind: ErrBusy, message: "Too many images are waiting to be read. Try again later."}
	}
	w := &waiter{granted: make(chan struct{})}
	queue := &p.patient
	if urgent {
		queue = &p.urgent
	}
	*queue = append(*queue, w)
	p.mu.Unlock()

	select {
	case <-w.granted:
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.closed {
			return ErrClosed
		}
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	if at := slices.Index(*queue, w); at >= 0 {
		*queue = slices.Delete(*queue, at, at+1)
		p.mu.Unlock()
		return ctx.Err()
	}
	closed := p.closed
	p.mu.Unlock()
	if !closed {
		p.release() // the slot came at the same moment
	}
	return ctx.Err()
}

// slots is how many jobs may run before one of this kind has to wait.
func (p *Pool) slots(urgent bool) int {
	if urgent {
		return p.cfg.Workers + 1
	}
	return p.cfg.Workers
}

func (p *Pool) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	for {
		queue := &p.urgent
		if len(*queue) == 0 {
			queue = &p.patient
		}
		if len(*queue) == 0 || p.running >= p.slots(queue == &p.urgent) {
			return
		}
		p.running++
		close((*queue)[0].granted)
		*queue = slices.Delete(*queue, 0, 1)
	}
}

// takeWorker gives the worker used last, whose memory is warm, or a new one.
func (p *Pool) takeWorker(ctx context.Context) (*worker, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	if n := len(p.idle); n > 0 {
		w := p.idle[n-1]
		p.idle = p.idle[:n-1]
		w.idleTimer.Stop()
		return w, nil
	}
	w, err := startWorker(p.cfg)
	if err != nil {
		return nil, fmt.Errorf("start media worker: %w", err)
	}
	p.log.DebugContext(ctx, "media worker started", "pid", w.pid)
	p.alive[w] = struct{}{}
	p.counts.Started++
	p.stopping.Go(func() {
		reason := w.reap()
		p.log.Debug("media worker ended", "pid", w.pid, "jobs", w.jobs.Load(), "reason", reason)
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.alive, w)
		if at := slices.Index(p.idle, w); at >= 0 {
			p.idle = slices.Delete(p.idle, at, at+1)
		}
	})
	return w, nil
}

// putWorker takes back a worker that has answered.
func (p *Pool) putWorker(w *worker, resident int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || w.jobs.Load() >= maxJobs || resident > maxResting {
		p.counts.Replaced++
		w.kill()
		return
	}
	if _, ok := p.alive[w]; !ok {
		return
	}
	p.idle = append(p.idle, w)
	w.idleTimer = time.AfterFunc(idleTime, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if at := slices.Index(p.idle, w); at >= 0 {
			p.idle = slices.Delete(p.idle, at, at+1)
			w.kill()
		}
	})
}

// writeFrame and readFrame carry JSON after its length as four bytes, big endian.
func writeFrame(to io.Writer, message any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return err
	}
	_, err = to.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
	return err
}

func readFrame(from *bufio.Reader, message any) error {
	var length [4]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > maxFrame {
		return fmt.Errorf("a message of %d bytes", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(from, body); err != nil {
		return err
	}
	return json.Unmarshal(body, message)
}
