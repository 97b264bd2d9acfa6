package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/banksia-photos/banksia/internal/blob"
)

// fetches are the temporary copies in use: the tasks of one video, say, each want
// its file at the same time.
type fetches struct {
	mu  sync.Mutex
	all map[blob.Key]*fetched
}

// fetched is a temporary copy. path and err are set when done is closed.
type fetched struct {
	users int
	done  chan struct{}
	path  string
	err   error
}

// join takes part in a copy; first says that the caller has to make it.
func (f *fetches) join(key blob.Key) (one *fetched, first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one = f.all[key]; one == nil {
		one, first = &fetched{done: make(chan struct{})}, true
		f.all[key] = one
	}
	one.users++
	return one, first
}

// leave removes the copy after the last of its users.
func (f *fetches) leave(key blob.Key, one *fetched) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one.users--; one.users > 0 {
		return
	}
	f.forget(key, one)
	if one.path != "" {
		os.Remove(one.path)
	}
}

// forget keeps others from joining; the caller holds mu.
func (f *fetches) forget(key blob.Key, one *fetched) {
	if f.all[key] == one {
		delete(f.all, key)
	}
}

// finish tells those who wait.
func (f *fetches) finish(key blob.Key, one *fetched, path string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one.path, one.err = path, err
	if err != nil {
		f.forget(key, one)
	}
	close(one.done)
}

// Fetch implements blob.Store: a temporary copy, which those who want the same at
// the same time share. That of an original has the SHA-256 that its key tells.
func (s *Store) Fetch(ctx context.Context, key blob.Key) (path string, release func(), err error) {
	for {
		one, first := s.fetches.join(key)
		if first {
			path, err := s.download(ctx, key)
			s.fetches.finish(key, one, path, err)
		}
		select {
		case <-one.done:
		case <-ctx.Done():
			s.fetches.leave(key, one)
			return "", nil, fmt.Errorf("fetch %s: %w", key, ctx.Err())
		}
		if one.err == nil {
			return one.path, sync.OnceFunc(func() { s.fetches.leave(key, one) }), nil
		}
		s.fetches.leave(key, one)
		if first || !errors.Is(one.err, context.Canceled) && !errors.Is(one.err, context.DeadlineExceeded) {
			return "", nil, one.err
		} // else who made it has gone, and somebody else has to
	}
}

// download makes a temporary copy.
func (s *Store) download(ctx context.Context, key blob.Key) (path string, err error) {
	r, info, err := s.Open(ctx, key)
	if err != nil {
		return "", err
	}
	defer r.Close()
	file, err := os.CreateTemp(s.cfg.TempDir, "fetch-*")
	if err != nil {
		return "", blob.Explain(fmt.Errorf("fetch %s: %w", key, err))
	}
	defer func() {
		if err != nil {
			os.Remove(file.Name())
		}
	}()
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(file, sum), r)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return "", blob.Explain(fmt.Errorf("fetch %s: %w", key, err))
	}
	if digest, ok := blob.OriginalDigest(key); ok && !bytes.Equal(digest, sum.Sum(nil)) {
		return "", fmt.Errorf("fetch %s: %w: %d bytes with SHA-256 %x", key, blob.ErrDamaged, info.Size, sum.Sum(nil))
	}
	if err := os.Chtimes(file.Name(), time.Time{}, info.ModTime); err != nil {
		return "", blob.Explain(fmt.Errorf("fetch %s: %w", key, err))
	}
	return file.Name(), nil
}
