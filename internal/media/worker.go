package media

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// workerVariable names the environment variable that makes this program a media
// worker; its value is workerConfig as JSON.
const workerVariable = "BANKSIA_MEDIA_WORKER"

// workerConfig is the part of Config that a worker applies itself.
type workerConfig struct {
	MaxPixels   int64
	MaxFrames   int
	MemoryLimit int64
	Seconds     int64  // that a job may take
	Desk        string // the worker's own folder
}

type work string

const (
	workDescribe  work = "describe"
	workDraw      work = "draw"
	workThumbHash work = "thumbhash"
	workCrop      work = "crop"
)

// request is one job. A worker says with an empty answer that it is ready, then
// to each job with another that it has begun, before the answer itself.
type request struct {
	Work   work
	Path   string
	Format string
	Orders []Order `json:",omitempty"`
	Crop   *Crop   `json:",omitempty"`
}

type answer struct {
	Info      *Info    `json:",omitempty"`
	Drawn     []Drawn  `json:",omitempty"`
	ThumbHash []byte   `json:",omitempty"`
	Failure   *failure `json:",omitempty"`
	Resident  int64    // bytes of memory after the job
	// Missing says, in the first message, what the kernel cannot take away from the
	// worker.
	Missing string `json:",omitempty"`
}

// fits fails when an answer cannot be the one to a job: a worker that a file took
// over says what it likes, and what it says is kept and served.
func (a *answer) fits(job request) error {
	if a.Failure != nil {
		return nil
	}
	pictures := 0
	switch job.Work {
	case workDescribe:
		if a.Info == nil || a.Info.Width < 0 || a.Info.Height < 0 || a.Info.VariantMIMEType != "" && !slices.Contains(drawnTypes, a.Info.VariantMIMEType) {
			return errors.New("the worker's description is none")
		}
	case workDraw:
		pictures = len(job.Orders)
	case workCrop:
		pictures = 1
	case workThumbHash:
		if len(a.ThumbHash) > maxThumbHash {
			return fmt.Errorf("the worker's ThumbHash has %d bytes", len(a.ThumbHash))
		}
	}
	if len(a.Drawn) != pictures {
		return fmt.Errorf("the worker drew %d pictures instead of %d", len(a.Drawn), pictures)
	}
	for _, d := range a.Drawn {
		if d.Width < 1 || d.Height < 1 || !slices.Contains(drawnTypes, d.MIMEType) {
			return errors.New("the worker's picture is none")
		}
	}
	return nil
}

// drawnTypes are the types of what is drawn.
var drawnTypes = []string{"image/jpeg", "image/webp"}

// maxThumbHash is the longest ThumbHash.
const maxThumbHash = 37

// failure is a problem on its way between the processes.
type failure struct {
	Kind    string
	Message string
	Detail  string
}

var failureKinds = append([]error{ErrCorrupt, ErrUnsupported, ErrTooLarge, ErrTimeout, ErrWorkerCrashed}, diskErrors...)

func newFailure(err error) *failure {
	p, ok := errors.AsType[*problem](err)
	if !ok {
		p = &problem{kind: cmp.Or(diskError(err), ErrWorkerCrashed), message: "The file could not be read.", detail: err.Error()}
	}
	return &failure{Kind: p.kind.Error(), Message: p.message, Detail: p.detail}
}

func (f *failure) problem() *problem {
	p := &problem{kind: ErrWorkerCrashed, message: f.Message, detail: f.Detail}
	for _, kind := range failureKinds {
		if kind.Error() == f.Kind {
			p.kind = kind
		}
	}
	return p
}

// worker is a child process, seen from the server.
type worker struct {
	pid     int
	command *exec.Cmd
	desk    desk
	input   *os.File
	output  *os.File
	answers *bufio.Reader
	words   *tail         // the end of its standard error
	gone    chan struct{} // closed when it is reaped

	ready     bool   // its first message has come
	missing   string // of its isolation; known when it is ready
	jobs      atomic.Int64
	idleTimer *time.Timer // set while idle, under the pool's lock

	mu     sync.Mutex
	reaped bool
}

var (
	// errNotStarted: the job did not reach the worker.
	errNotStarted = errors.New("the worker is gone")
	// errNotReady: the worker could not begin to serve.
	errNotReady    = errors.New("the worker did not start")
	errOutOfMemory = errors.New("the worker ran out of memory")
)

// startWorker runs this executable again. /proc/self/exe is the very file that
// runs now, also after an upgrade has replaced it.
func startWorker(cfg Config) (w *worker, err error) {
	desk, err := newDesk(cfg.TempDir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, desk.remove())
		}
	}()
	config, err := json.Marshal(workerConfig{MaxPixels: cfg.MaxPixels, MaxFrames: cfg.MaxFrames, MemoryLimit: cfg.MemoryLimit,
		Seconds: int64(math.Ceil(cfg.Timeout.Seconds())), Desk: desk.folder})
	if err != nil {
		return nil, err
	}
	childInput, input, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	output, childOutput, err := os.Pipe()
	if err != nil {
		childInput.Close()
		input.Close()
		return nil, err
	}
	w = &worker{desk: desk, input: input, output: output, answers: bufio.NewReader(output), words: &tail{limit: 4 << 10}, gone: make(chan struct{})}
	w.command = &exec.Cmd{
		Path:   "/proc/self/exe",
		Args:   []string{"banksia-media-worker"},
		Env:    workerEnvironment(cfg, desk, string(config)),
		Dir:    desk.out(),
		Stdin:  childInput,
		Stdout: childOutput,
		Stderr: w.words,
		// A group of its own, so that ffmpeg ends together with its worker.
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
		WaitDelay:   time.Second,
	}
	err = w.command.Start()
	childInput.Close()
	childOutput.Close()
	if err != nil {
		input.Close()
		output.Close()
		return nil, err
	}
	w.pid = w.command.Process.Pid
	return w, nil
}

// workerEnvironment passes on what finds programs and libraries, and nothing
// that could be a secret.
func workerEnvironment(cfg Config, d desk, config string) []string {
	env := []string{
		workerVariable + "=" + config,
		"LC_ALL=C.UTF-8",
		"VIPS_CONCURRENCY=1",
		"VIPS_WARNING=0", // any value keeps libvips from printing what it also returns
		// glibc gives each thread its own arena, which only wastes memory here.
		"MALLOC_ARENA_MAX=2",
		// Pixels that exceed this go to a file in TMPDIR.
		"VIPS_DISC_THRESHOLD=" + strconv.FormatInt(cfg.MemoryLimit/4, 10),
		"GOMAXPROCS=2",
		"GOGC=50",
		"TMPDIR=" + d.out(),
	}
	for _, name := range []string{"PATH", "LD_LIBRARY_PATH"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	// The race detector and coverage of tests.
	for _, name := range []string{"GORACE", "GOCOVERDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// run sends one job and waits for its answer. When it fails the worker is dead
// and reaped: nothing is written to any file afterwards.
func (w *worker) run(ctx context.Context, job request) (answer, error) {
	stop := context.AfterFunc(ctx, w.kill)
	defer stop()
	if !w.ready {
		w.output.SetReadDeadline(time.Now().Add(startTime))
		var hello answer
		if err := readFrame(w.answers, &hello); err != nil {
			return answer{}, w.bury(fmt.Errorf("%w: %w", errNotReady, err))
		}
		w.output.SetReadDeadline(time.Time{})
		w.ready, w.missing = true, hello.Missing
	}
	if err := writeFrame(w.input, job); err != nil {
		return answer{}, w.bury(fmt.Errorf("%w: %w", errNotStarted, err))
	}
	var begun, result answer
	if err := readFrame(w.answers, &begun); err != nil {
		return answer{}, w.bury(fmt.Errorf("%w: %w", errNotStarted, err))
	}
	if err := readFrame(w.answers, &result); err != nil {
		return answer{}, w.bury(err)
	}
	if !stop() {
		return answer{}, w.bury(ctx.Err())
	}
	w.jobs.Add(1)
	return result, nil
}

// bury kills the worker, waits for its end and adds its last words to err.
func (w *worker) bury(err error) error {
	w.kill()
	<-w.gone
	words := w.words.String()
	for _, sign := range []string{"out of memory", "cannot allocate memory", "failed to allocate", "std::bad_alloc"} {
		if strings.Contains(strings.ToLower(words), sign) {
			return fmt.Errorf("%w: %w", errOutOfMemory, err)
		}
	}
	return fmt.Errorf("%w; its last words: %q", err, words)
}

// kill ends the worker and the programs it started. It may be called at any time.
func (w *worker) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.reaped {
		unix.Kill(-w.pid, unix.SIGKILL)
	}
}

// reap waits for the end of the worker, kills what it left behind, and frees
// what the server holds of it.
func (w *worker) reap() (reason string) {
	// WNOWAIT keeps the process, and so its group's number, until the group is dead.
	for {
		err := unix.Waitid(unix.P_PID, w.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			break
		}
	}
	w.mu.Lock()
	unix.Kill(-w.pid, unix.SIGKILL)
	w.reaped = true
	w.mu.Unlock()
	err := w.command.Wait()
	w.input.Close()
	w.output.Close()
	err = errors.Join(err, w.desk.remove())
	close(w.gone)
	if err != nil {
		return err.Error()
	}
	return "done"
}

// tail keeps the end of what is written to it.
type tail struct {
	limit int

	mu   sync.Mutex
	text []byte
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - t.limit; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

// ServeWorkerIfAsked must be the first line of main, and of TestMain in tests
// that use a Pool. If this process was started as a media worker it serves until
// its server ends and never returns; else it does nothing.
func ServeWorkerIfAsked() {
	value := os.Getenv(workerVariable)
	if value == "" {
		return
	}
	os.Unsetenv(workerVariable)
	if err := serveWorker(value); err != nil && !errors.Is(err, io.EOF) {
		fmt.Fprintln(os.Stderr, err)
		endGroup()
	}
	endGroup()
}

// endGroup ends this worker with the programs it started.
func endGroup() {
	unix.Kill(0, unix.SIGKILL)
	os.Exit(1)
}

func serveWorker(config string) error {
	var cfg workerConfig
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		return fmt.Errorf("media worker: read its settings: %w", err)
	}
	if err := errors.Join(closeInherited(), confine(cfg)); err != nil {
		return fmt.Errorf("media worker: %w", err)
	}
	output, err := takeOutput()
	if err != nil {
		return fmt.Errorf("media worker: %w", err)
	}
	runtime.LockOSThread() // libvips keeps buffers for each thread
	if err := startVips(); err != nil {
		return fmt.Errorf("media worker: %w", err)
	}
	missing := isolate(desk{cfg.Desk})
	requests := make(chan request)
	go func() {
		// This reader also sees the server's end while the decoder is at work.
		from := bufio.NewReader(os.Stdin)
		for {
			var job request
			if err := readFrame(from, &job); err != nil {
				if !errors.Is(err, io.EOF) {
					fmt.Fprintln(os.Stderr, "media worker: read a job:", err)
				}
				endGroup()
			}
			requests <- job
		}
	}()
	if err := writeFrame(output, answer{Missing: missing}); err != nil {
		return err
	}
	for job := range requests {
		if err := allowTime(cfg.Seconds); err != nil {
			return fmt.Errorf("media worker: %w", err)
		}
		if err := writeFrame(output, answer{}); err != nil {
			return err
		}
		result := cfg.serve(job)
		result.Resident = residentBytes()
		if err := writeFrame(output, result); err != nil {
			return err
		}
	}
	return nil
}

// takeOutput moves the channel of answers away from descriptor 1, where a C
// library may print, and keeps it from the programs that the worker starts.
func takeOutput() (*os.File, error) {
	fd, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("move standard output: %w", err)
	}
	if err := unix.Dup3(2, 1, 0); err != nil {
		return nil, fmt.Errorf("move standard output: %w", err)
	}
	return os.NewFile(uintptr(fd), "answers"), nil
}

// residentBytes is the memory that the process holds now; 0: unknown.
func residentBytes() int64 { return statm(1) }

// dataBytes is what counts against RLIMIT_DATA, and the main stack; 0: unknown.
func dataBytes() int64 { return statm(5) }

// statm is one column of /proc/self/statm (proc(5)) in bytes.
func statm(column int) int64 {
	content, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(content))
	if len(fields) <= column {
		return 0
	}
	pages, err := strconv.ParseInt(fields[column], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// serve does one job.
func (cfg workerConfig) serve(job request) answer {
	format, ok := formatNamed(job.Format)
	if !ok {
		return answer{Failure: newFailure(unsupported("", "The format %q is not known.", job.Format))}
	}
	var result answer
	var err error
	ctx := context.Background() // the server ends the process when time is over
	switch job.Work {
	case workDescribe:
		result.Info, err = cfg.describe(ctx, job.Path, format)
	case workDraw:
		result.Drawn, err = cfg.draw(ctx, job.Path, format, job.Orders)
	case workThumbHash:
		result.ThumbHash, err = cfg.thumbHash(ctx, job.Path, format)
	case workCrop:
		result.Drawn, err = cfg.crop(ctx, job.Path, format, job.Crop)
	default:
		err = fmt.Errorf("no work is called %q", job.Work)
	}
	if err != nil {
		return answer{Failure: newFailure(err)}
	}
	return result
}

func formatNamed(name string) (Format, bool) {
	for _, f := range Formats {
		if f.Name == name {
			return f, true
		}
	}
	return Format{}, false
}
