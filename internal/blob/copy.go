package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// CopyOptions say how Copy works.
type CopyOptions struct {
	Parallel int // blobs at once, 1 or more
	// Verify also reads what is at the destination with the right size, and compares
	// it: originals with their checksum, others with the source.
	Verify bool
	// Progress is called now and then, by one goroutine at a time; may be nil.
	Progress func(CopyResult)
}

// CopyResult is what came of a copy.
type CopyResult struct {
	Copied, CopiedBytes int64
	There, ThereBytes   int64 // at the destination already
	Replaced            []Key // those of Copied that were there and different
	Extra               int64 // only at the destination
	Folders, AllFolders int   // done, of how many
	Problems            []CopyProblem
}

// CopyProblem is a blob that is at the source and not, or not the same, at the
// destination.
type CopyProblem struct {
	Key Key
	Err error
}

// Folders are the beginnings of all keys that Original and Derived give: 512, with
// about as many blobs each.
func Folders() []Key {
	var folders []Key
	for _, kind := range []string{"originals", "derived"} {
		for i := range 256 {
			folders = append(folders, Key(fmt.Sprintf("%s/%02x/", kind, i)))
		}
	}
	return folders
}

// progressInterval is how often progress is told at most.
const progressInterval = 200 * time.Millisecond

// Copy copies all originals and derived files that are not at the destination with
// the same size. Originals whose bytes are not those of their key are not copied
// but told as problems. It can be stopped at any time and goes on when it is called
// again. An error means that it did not come to an end.
func Copy(ctx context.Context, from, to Store, o CopyOptions) (CopyResult, error) {
	folders := Folders()
	c := &copier{from: from, to: to, options: o, result: CopyResult{AllFolders: len(folders)}}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(o.Parallel)
	for _, folder := range folders {
		group.Go(func() error { return c.folder(ctx, folder) })
	}
	err := group.Wait()
	slices.SortFunc(c.result.Problems, func(a, b CopyProblem) int { return bytes.Compare([]byte(a.Key), []byte(b.Key)) })
	return c.result, err
}

type copier struct {
	from, to Store
	options  CopyOptions

	mu     sync.Mutex
	result CopyResult
	told   time.Time
}

// count changes the result.
func (c *copier) count(change func(*CopyResult)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.result)
	if now := time.Now(); c.options.Progress != nil && now.Sub(c.told) >= progressInterval {
		c.told = now
		c.options.Progress(c.result)
	}
}

func (c *copier) folder(ctx context.Context, folder Key) error {
	list := func(s Store) (map[Key]int64, error) {
		sizes := map[Key]int64{}
		err := s.List(ctx, folder, func(info Info) error {
			sizes[info.Key] = info.Size
			return nil
		})
		return sizes, err
	}
	there, err := list(c.to)
	if err != nil {
		return fmt.Errorf("destination: %w", err)
	}
	here, err := list(c.from)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	for _, key := range slices.Sorted(maps.Keys(here)) {
		size, exists := there[key]
		delete(there, key)
		err := c.blob(ctx, key, here[key], exists, size)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrFull):
			return fmt.Errorf("destination: %w", err)
		case err != nil:
			c.count(func(r *CopyResult) { r.Problems = append(r.Problems, CopyProblem{key, err}) })
		}
	}
	c.count(func(r *CopyResult) { r.Extra += int64(len(there)); r.Folders++ })
	return nil
}

func (c *copier) blob(ctx context.Context, key Key, size int64, exists bool, sizeThere int64) error {
	if exists && size == sizeThere {
		same, err := !c.options.Verify, error(nil)
		if !same {
			if same, err = c.same(ctx, key); err != nil {
				return err
			}
		}
		if same {
			c.count(func(r *CopyResult) { r.There++; r.ThereBytes += size })
			return nil
		}
	}
	reader, info, err := c.from.Open(ctx, key)
	if errors.Is(err, ErrNotExist) {
		return nil // removed meanwhile
	}
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	defer reader.Close()
	if err := c.to.Put(ctx, key, Verified(reader, key)); err != nil {
		return err
	}
	c.count(func(r *CopyResult) {
		r.Copied++
		r.CopiedBytes += info.Size
		if exists {
			r.Replaced = append(r.Replaced, key)
		}
	})
	return nil
}

// same tells whether the destination has the right bytes.
func (c *copier) same(ctx context.Context, key Key) (bool, error) {
	there, err := sumOf(ctx, c.to, key)
	if err != nil {
		return false, fmt.Errorf("destination: %w", err)
	}
	if digest, ok := OriginalDigest(key); ok {
		return bytes.Equal(there, digest), nil
	}
	here, err := sumOf(ctx, c.from, key)
	if err != nil {
		return false, fmt.Errorf("source: %w", err)
	}
	return bytes.Equal(here, there), nil
}

func sumOf(ctx context.Context, s Store, key Key) ([]byte, error) {
	reader, _, err := s.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, reader); err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return sum.Sum(nil), nil
}

// Verified reads what is to be stored under a key. In the place of the end it fails
// with ErrDamaged when an original is not what its key says, so that it is not stored.
func Verified(content io.Reader, key Key) io.Reader {
	return &verified{Reader: content, key: key, sum: sha256.New()}
}

// verified ends with ErrDamaged when what it has read is not the original that the
// key names, so that a Put from it fails.
type verified struct {
	io.Reader
	key Key
	sum hash.Hash
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.Reader.Read(p)
	v.sum.Write(p[:n])
	if digest, ok := OriginalDigest(v.key); ok && err == io.EOF {
		if sum := v.sum.Sum(nil); !bytes.Equal(sum, digest) {
			return n, fmt.Errorf("source: read %s: %w: they have SHA-256 %x", v.key, ErrDamaged, sum)
		}
	}
	return n, err
}
