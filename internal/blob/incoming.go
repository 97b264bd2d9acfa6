package blob

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"
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
	Head   []byte // the first bytes, for recognising the format
}

// Discard removes the temporary file; after Adopt it does nothing.
func (in *Incoming) Discard() { os.Remove(in.Path) }

// headLength is how many leading bytes an Incoming remembers.
const headLength = 512

// Receive writes a stream to a temporary file of the store while hashing it, in
// constant memory, and makes it durable. When it fails, nothing is left.
func Receive(ctx context.Context, store Store, content io.Reader) (*Incoming, error) {
	file, err := os.CreateTemp(store.TempDir(), "upload-*")
	if err != nil {
		return nil, Explain(fmt.Errorf("receive: %w", err))
	}
	in := &Incoming{Path: file.Name()}
	err = in.receive(ctx, file, content)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		in.Discard()
		return nil, Explain(fmt.Errorf("receive: %w", err))
	}
	return in, nil
}

// receive reads into a ring of buffers; each is written and hashed by three
// goroutines side by side, so that the slowest of them sets the pace, not their
// sum.
func (in *Incoming) receive(ctx context.Context, file *os.File, content io.Reader) error {
	const bufferSize, buffers = 1 << 20, 4
	type block struct {
		data    []byte
		pending sync.WaitGroup
	}
	sum256, sum1 := sha256.New(), sha1.New()
	var writeErr error
	consumers := []func([]byte){
		func(data []byte) {
			if writeErr == nil {
				_, writeErr = file.Write(data)
			}
		},
		func(data []byte) { sum256.Write(data) },
		func(data []byte) { sum1.Write(data) },
	}
	queues := make([]chan *block, len(consumers))
	var running sync.WaitGroup
	for i, consume := range consumers {
		queues[i] = make(chan *block, buffers)
		running.Go(func() {
			for b := range queues[i] {
				consume(b.data)
				b.pending.Done()
			}
		})
	}
	ring := make([]*block, buffers)
	for i := range ring {
		ring[i] = &block{}
	}
	var err error
	for turn := 0; err == nil; turn++ {
		b := ring[turn%buffers]
		b.pending.Wait() // for the round before
		if b.data == nil {
			b.data = make([]byte, bufferSize)
		}
		if err = ctx.Err(); err != nil {
			break
		}
		var n int
		n, err = io.ReadFull(content, b.data[:bufferSize])
		if n == 0 {
			break
		}
		b.data = b.data[:n]
		if len(in.Head) < headLength {
			in.Head = append(in.Head, b.data[:min(n, headLength-len(in.Head))]...)
		}
		in.Size += int64(n)
		b.pending.Add(len(queues))
		for _, queue := range queues {
			queue <- b
		}
	}
	for _, queue := range queues {
		close(queue)
	}
	running.Wait()
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	// ReadFull says ErrUnexpectedEOF both for a short last block and for a body
	// that broke off; only the latter comes again.
	if err == io.ErrUnexpectedEOF {
		if _, again := content.Read(make([]byte, 1)); again != io.EOF {
			return io.ErrUnexpectedEOF
		}
	}
	if writeErr != nil {
		return writeErr
	}
	in.SHA256, in.SHA1 = digest(sum256), digest(sum1)
	return file.Sync()
}

func digest(h hash.Hash) banksia.Digest { return h.Sum(nil) }

// Explain marks a failure of the local disk as ErrFull or ErrUnavailable where
// it is one of these.
func Explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", ErrFull, err)
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EIO), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}
