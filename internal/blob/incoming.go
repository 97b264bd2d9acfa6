package blob

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/banksia-photos/banksia"
)

// Incoming is an upload that has been received whole but is not yet part of the
// store: a durable temporary file and its checksums.
type Incoming struct {
	Path   string
	Size   int64
	SHA256 banksia.Digest
	SHA1   banksia.Digest
	Head   []byte // the first bytes, up to HeadLength, for recognising the format
}

// Discard removes the temporary file; after Adopt, and again, it does nothing.
func (in *Incoming) Discard() { os.Remove(in.Path) }

// HeadLength is how many leading bytes an Incoming remembers.
const HeadLength = 512

// Receive writes a stream to a temporary file of the store while hashing it, in
// constant memory, and makes it durable. When it fails, also because ctx or the
// stream ends early, nothing is left. Failures of the disk are ErrFull or
// ErrUnavailable; those of the stream are returned as they are.
func Receive(ctx context.Context, store Store, content io.Reader) (*Incoming, error) {
	file, err := os.CreateTemp(store.TempDir(), "upload-*")
	if err != nil {
		return nil, Explain(fmt.Errorf("receive: %w", err))
	}
	in := &Incoming{Path: file.Name()}
	kept := false
	defer func() { // also when the stream panics, as aborted HTTP handlers do
		if !kept {
			file.Close()
			in.Discard()
		}
	}()
	if err := in.receive(ctx, file, content); err != nil {
		return nil, err
	}
	if err := file.Sync(); err != nil {
		return nil, Explain(fmt.Errorf("receive: %w", err))
	}
	if err := file.Close(); err != nil {
		return nil, Explain(fmt.Errorf("receive: %w", err))
	}
	kept = true
	return in, nil
}

const (
	blockSize = 256 << 10
	blocks    = 8 // of one upload in flight
	// writebackEvery is how many bytes are written before the kernel is told to
	// begin storing them, so that the final sync has little left to wait for.
	writebackEvery = 16 << 20
)

// block is one piece of a stream on its way through the consumers.
type block struct {
	data    []byte
	pending sync.WaitGroup // consumers that have not seen it
}

var freeBlocks = sync.Pool{New: func() any { return &block{data: make([]byte, blockSize)} }}

// receive reads into a ring of blocks; each is written and hashed by three
// goroutines side by side, so that the slowest of them sets the pace, not their
// sum.
func (in *Incoming) receive(ctx context.Context, file *os.File, content io.Reader) error {
	sum256, sum1 := sha256.New(), sha1.New()
	write := &writer{file: file}
	consumers := []func([]byte){
		write.write,
		func(data []byte) { sum256.Write(data) },
		func(data []byte) { sum1.Write(data) },
	}
	queues := make([]chan *block, len(consumers))
	var running sync.WaitGroup
	for i, consume := range consumers {
		queues[i] = make(chan *block, blocks)
		running.Go(func() {
			for b := range queues[i] {
				consume(b.data)
				b.pending.Done()
			}
		})
	}
	var ring [blocks]*block
	finish := sync.OnceFunc(func() {
		for _, queue := range queues {
			close(queue)
		}
		running.Wait()
		for _, b := range ring {
			if b != nil {
				b.data = b.data[:blockSize]
				freeBlocks.Put(b)
			}
		}
	})
	defer finish() // before the file is closed, whatever happens
	for turn := 0; ; turn++ {
		if ring[turn%blocks] == nil {
			ring[turn%blocks] = freeBlocks.Get().(*block)
		}
		b := ring[turn%blocks]
		b.pending.Wait() // for the round before
		if write.failed.Load() {
			break
		}
		n, err := readBlock(ctx, content, b.data[:blockSize])
		if n > 0 {
			b.data = b.data[:n]
			if missing := HeadLength - len(in.Head); missing > 0 {
				in.Head = append(in.Head, b.data[:min(n, missing)]...)
			}
			in.Size += int64(n)
			b.pending.Add(len(queues))
			for _, queue := range queues {
				queue <- b
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
	}
	finish()
	if write.err != nil {
		return Explain(fmt.Errorf("receive: %w", write.err))
	}
	in.SHA256, in.SHA1 = sum256.Sum(nil), sum1.Sum(nil)
	return nil
}

// readBlock fills data unless the stream ends. Unlike io.ReadFull it keeps apart
// the end of the stream and io.ErrUnexpectedEOF, which multipart readers give
// for a body that broke off.
func readBlock(ctx context.Context, content io.Reader, data []byte) (n int, err error) {
	for empty := 0; n < len(data) && err == nil; {
		if err = ctx.Err(); err != nil {
			return n, err
		}
		var more int
		more, err = content.Read(data[n:])
		n += more
		if more > 0 {
			empty = 0
		} else if empty++; empty > 100 && err == nil {
			err = io.ErrNoProgress
		}
	}
	return n, err
}

// writer writes until it fails once.
type writer struct {
	file    *os.File
	written int64
	started int64 // bytes whose storing has begun
	err     error
	failed  atomic.Bool
}

func (w *writer) write(data []byte) {
	if w.err != nil {
		return
	}
	if _, w.err = w.file.Write(data); w.err != nil {
		w.failed.Store(true)
		return
	}
	w.written += int64(len(data))
	if w.written-w.started >= writebackEvery {
		startWriteback(w.file, w.started, w.written-w.started)
		w.started = w.written
	}
}

// Explain marks a failure of the local disk as ErrFull or ErrUnavailable where
// it is one of these.
func Explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrFull), errors.Is(err, ErrUnavailable):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", ErrFull, err)
	case isAny(err, syscall.EROFS, syscall.EIO, syscall.EMFILE, syscall.ENFILE, syscall.EACCES, syscall.EPERM,
		syscall.ENOENT, syscall.ENOTDIR, syscall.ESTALE, syscall.ENXIO, syscall.ENODEV, syscall.ETIMEDOUT, syscall.EFBIG):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

func isAny(err error, numbers ...syscall.Errno) bool {
	for _, number := range numbers {
		if errors.Is(err, number) {
			return true
		}
	}
	return false
}
