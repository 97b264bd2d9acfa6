package media

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Config bounds what the worker processes may use.
type Config struct {
	// Workers is how many processes decode at the same time, 1 to 1024. One more
	// runs while somebody waits (WithPriority) and background work holds all.
	Workers int
	// Timeout is the wall time of one job once a worker has taken it.
	Timeout time.Duration
	// MaxPixels is the largest width times height that is decoded.
	MaxPixels int64
	// MaxFrames is the largest number of frames of an animation, or pages of a
	// document, that is opened.
	MaxFrames int
	// MemoryLimit is the private memory in bytes of one worker and of each program
	// it calls: their RLIMIT_DATA.
	MemoryLimit int64
	// TempDir holds the pixels of images that are too large for memory, in files
	// without a name; "" is the system's directory.
	TempDir string
	// Logger gets the start and the end of workers, and the decoder's own words
	// about files that could not be read; nil: nobody does.
	Logger *slog.Logger
}

// DefaultConfig uses every processor and takes the largest images that cameras make.
func DefaultConfig() Config {
	return Config{
		Workers:     runtime.NumCPU(),
		Timeout:     time.Minute,
		MaxPixels:   500e6,
		MaxFrames:   10_000,
		MemoryLimit: 1 << 30,
	}
}

// minMemory is what the Go runtime, libvips and their thread stacks reserve
// before the first pixel is read.
const minMemory = 256 << 20

// Validate names the first setting that is out of range.
func (c Config) Validate() error {
	switch {
	case c.Workers < 1 || c.Workers > 1024:
		return fmt.Errorf("setting Workers must be 1 to 1024, got %d", c.Workers)
	case c.Timeout < 10*time.Millisecond:
		return fmt.Errorf("setting Timeout must be 10 ms or more, got %s", c.Timeout)
	case c.MaxPixels < 1:
		return fmt.Errorf("setting MaxPixels must be 1 or more, got %d", c.MaxPixels)
	case c.MaxFrames < 1:
		return fmt.Errorf("setting MaxFrames must be 1 or more, got %d", c.MaxFrames)
	case c.MemoryLimit < minMemory:
		return fmt.Errorf("setting MemoryLimit must be %d bytes or more, got %d", int64(minMemory), c.MemoryLimit)
	}
	if c.TempDir != "" {
		if info, err := os.Stat(c.TempDir); err != nil {
			return fmt.Errorf("setting TempDir: %w", err)
		} else if !info.IsDir() {
			return fmt.Errorf("setting TempDir %s is not a directory", c.TempDir)
		}
	}
	return nil
}

// What can be wrong with a job, for errors.Is. The error that is returned prints
// as one sentence for the person who owns the file, without any path. When a disk
// fails, which says nothing about the file, it is one of diskErrors.
var (
	// ErrUnsupported: nothing here can decode this kind of file. Final.
	ErrUnsupported = errors.New("media: unsupported")
	// ErrCorrupt: the content is damaged or is not what it should be. Final.
	ErrCorrupt = errors.New("media: corrupt")
	// ErrTooLarge: a limit on pixels, frames or memory is exceeded. Final.
	ErrTooLarge = errors.New("media: too large")
	// ErrTimeout: the job took longer than Config.Timeout.
	ErrTimeout = errors.New("media: timeout")
	// ErrBusy: too many jobs wait already; later there may be room.
	ErrBusy = errors.New("media: busy")
	// ErrWorkerCrashed: the decoder died of this file, or was killed meanwhile.
	ErrWorkerCrashed = errors.New("media: worker crashed")
	// ErrClosed: Close was called.
	ErrClosed = errors.New("media: pool is closed")
)

// problem is a failure with its sentence.
type problem struct {
	kind    error  // one of the sentinels
	message string // for people
	detail  string // the decoder's words, for the log
}

func (p *problem) Error() string { return p.message }
func (p *problem) Unwrap() error { return p.kind }

func corrupt(detail, format string, args ...any) error {
	return &problem{kind: ErrCorrupt, message: fmt.Sprintf(format, args...), detail: detail}
}

func unsupported(detail, format string, args ...any) error {
	return &problem{kind: ErrUnsupported, message: fmt.Sprintf(format, args...), detail: detail}
}

func tooLarge(detail, format string, args ...any) error {
	return &problem{kind: ErrTooLarge, message: fmt.Sprintf(format, args...), detail: detail}
}

// diskErrors are how a disk fails.
var diskErrors = []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO}

// diskError is the failure of a disk that an error is about; nil: it is of another
// kind.
func diskError(err error) error {
	for _, kind := range diskErrors {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return nil
}

// diskErrorIn finds it in the words of libvips, which has no numbers for us. Those of
// ffmpeg tell nothing: a file that ends too soon is an "Input/output error" as well.
func diskErrorIn(words string) error {
	words = strings.ToLower(words)
	for _, kind := range diskErrors {
		if strings.Contains(words, kind.Error()) { // as strerror(3) says it
			return &problem{kind: kind, message: "The disk failed.", detail: words}
		}
	}
	return nil
}

// checkSize applies MaxPixels before anything is decoded.
func checkSize(width, height int, maxPixels int64) error {
	if width < 1 || height < 1 {
		return corrupt("", "The image has no pixels.")
	}
	if int64(width) > maxPixels/int64(height) {
		return tooLarge("", "The image is %d × %d pixels; at most %d million pixels are decoded.",
			width, height, maxPixels/1e6)
	}
	return nil
}
