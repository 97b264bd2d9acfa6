// Package local keeps blobs as files in a folder.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/banksia-photos/banksia/internal/blob"
)

// Store is a folder of blobs. Its layout is the keys, beside a folder tmp for
// files that are not yet part of it.
type Store struct {
	root string

	mu   sync.Mutex
	made map[string]bool // folders known to be there and durable
}

// Open makes the folder if needed.
func Open(root string) (*Store, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	s := &Store{root: root, made: map[string]bool{}}
	if err := os.MkdirAll(s.TempDir(), 0o700); err != nil {
		return nil, fmt.Errorf("open blob folder: %w", err)
	}
	return s, syncFolder(root)
}

// TempDir is on the same file system as the blobs, so that a rename can move a
// file in.
func (s *Store) TempDir() string { return filepath.Join(s.root, "tmp") }

// path refuses keys that could leave the folder.
func (s *Store) path(key blob.Key) (string, error) {
	if !fs.ValidPath(string(key)) || strings.HasPrefix(string(key), "tmp") || strings.ContainsAny(string(key), "\\:\x00") || key == "." {
		return "", fmt.Errorf("%q is not a blob key", key)
	}
	return filepath.Join(s.root, filepath.FromSlash(string(key))), nil
}

// Put implements blob.Store.
func (s *Store) Put(ctx context.Context, key blob.Key, content io.Reader) error {
	file, err := os.CreateTemp(s.TempDir(), "put-*")
	if err != nil {
		return blob.Explain(fmt.Errorf("put %s: %w", key, err))
	}
	defer os.Remove(file.Name()) // fails once it has been renamed
	_, err = io.Copy(file, contextReader{ctx, content})
	if err == nil {
		err = file.Sync()
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = s.rename(key, file.Name())
	}
	if err != nil {
		return blob.Explain(fmt.Errorf("put %s: %w", key, err))
	}
	return nil
}

// Adopt implements blob.Store. Incoming files are already durable; others are
// made so.
func (s *Store) Adopt(ctx context.Context, key blob.Key, path string) error {
	err := ctx.Err()
	if err == nil && !strings.HasPrefix(string(key), "originals/") {
		err = syncFile(path)
	}
	if err == nil {
		err = s.rename(key, path)
	}
	if err != nil {
		return blob.Explain(fmt.Errorf("adopt %s: %w", key, err))
	}
	return nil
}

// rename moves a durable file to its key and makes the move durable.
func (s *Store) rename(key blob.Key, from string) error {
	to, err := s.path(key)
	if err != nil {
		return err
	}
	if err := s.makeFolder(filepath.Dir(to)); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(to))
}

// makeFolder makes a folder and its parents; each new entry is made durable in
// the folder that holds it.
func (s *Store) makeFolder(path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var missing []string
	for at := path; at != s.root && !s.made[at]; at = filepath.Dir(at) {
		missing = append(missing, at)
	}
	for i := len(missing) - 1; i >= 0; i-- {
		if err := os.Mkdir(missing[i], 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := syncFolder(filepath.Dir(missing[i])); err != nil {
			return err
		}
		// The last folder of a derived file is its own; only shared ones are
		// worth remembering.
		if len(filepath.Base(missing[i])) <= len("originals") {
			s.made[missing[i]] = true
		}
	}
	return nil
}

// Open implements blob.Store.
func (s *Store) Open(ctx context.Context, key blob.Key) (blob.Reader, blob.Info, error) {
	path, err := s.path(key)
	if err != nil {
		return nil, blob.Info{}, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, blob.Info{}, explain("open", key, err)
	}
	stat, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, blob.Info{}, explain("open", key, err)
	}
	return file, blob.Info{Key: key, Size: stat.Size(), ModTime: stat.ModTime()}, nil
}

// Fetch implements blob.Store: the file itself.
func (s *Store) Fetch(ctx context.Context, key blob.Key) (string, func(), error) {
	if _, err := s.Stat(ctx, key); err != nil {
		return "", nil, err
	}
	path, err := s.path(key)
	return path, func() {}, err
}

// Stat implements blob.Store.
func (s *Store) Stat(ctx context.Context, key blob.Key) (blob.Info, error) {
	path, err := s.path(key)
	if err != nil {
		return blob.Info{}, err
	}
	stat, err := os.Stat(path)
	if err != nil {
		return blob.Info{}, explain("stat", key, err)
	}
	return blob.Info{Key: key, Size: stat.Size(), ModTime: stat.ModTime()}, nil
}

// Delete implements blob.Store.
func (s *Store) Delete(ctx context.Context, key blob.Key) error {
	path, err := s.path(key)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return explain("delete", key, err)
	}
	return nil
}

// List implements blob.Store.
func (s *Store) List(ctx context.Context, prefix blob.Key, f func(blob.Info) error) error {
	return filepath.WalkDir(s.root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted meanwhile
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		name, err := filepath.Rel(s.root, path)
		if err != nil {
			return err
		}
		key := filepath.ToSlash(name)
		if entry.IsDir() {
			outside := !strings.HasPrefix(key, string(prefix)) && !strings.HasPrefix(string(prefix), key)
			if key == "tmp" || key != "." && outside {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasPrefix(key, string(prefix)) {
			return nil
		}
		stat, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return f(blob.Info{Key: blob.Key(key), Size: stat.Size(), ModTime: stat.ModTime()})
	})
}

// SweepTemp removes temporary files last touched before a time: uploads that a
// crash cut off.
func (s *Store) SweepTemp(before time.Time) (removed int, err error) {
	entries, err := os.ReadDir(s.TempDir())
	if err != nil {
		return 0, fmt.Errorf("sweep temporary files: %w", err)
	}
	for _, entry := range entries {
		stat, err := entry.Info()
		if err != nil || stat.ModTime().After(before) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(s.TempDir(), entry.Name())); err != nil {
			return removed, fmt.Errorf("sweep temporary files: %w", err)
		}
		removed++
	}
	return removed, nil
}

func explain(doing string, key blob.Key, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s %s: %w", doing, key, blob.ErrNotExist)
	}
	return blob.Explain(fmt.Errorf("%s %s: %w", doing, key, err))
}

func syncFile(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = file.Sync()
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return err
}

// syncFolder makes the entries of a folder durable.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	err = folder.Sync()
	if closeErr := folder.Close(); err == nil {
		err = closeErr
	}
	return err
}

// contextReader stops reading when the context ends.
type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
