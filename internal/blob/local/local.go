// Package local keeps blobs as files in a folder.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/banksia-photos/banksia/internal/blob"
)

// Store is a folder of blobs. Its layout is the keys, beside a folder tmp for
// files that are not yet part of it.
type Store struct {
	root string

	mu      sync.Mutex
	durable map[string]struct{} // folders whose entry in their parent is durable, by key
}

// Open makes the folder if needed.
func Open(root string) (*Store, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	s := &Store{root: root, durable: map[string]struct{}{}}
	for _, folder := range []string{root, s.TempDir()} {
		if err := blob.MakeFolder(folder); err != nil {
			return nil, fmt.Errorf("open blob folder: %w", err)
		}
	}
	return s, nil
}

// TempDir is on the same file system as the blobs, so that a rename can move a
// file in.
func (s *Store) TempDir() string { return filepath.Join(s.root, "tmp") }

func (s *Store) path(key blob.Key) (string, error) {
	return filepath.Join(s.root, filepath.FromSlash(string(key))), blob.CheckKey(key)
}

// Put implements blob.Store.
func (s *Store) Put(ctx context.Context, key blob.Key, content io.Reader) error {
	if err := s.put(ctx, key, content); err != nil {
		return blob.Explain(fmt.Errorf("put %s: %w", key, err))
	}
	return nil
}

func (s *Store) put(ctx context.Context, key blob.Key, content io.Reader) error {
	if _, err := s.path(key); err != nil {
		return err
	}
	file, err := os.CreateTemp(s.TempDir(), "put-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // fails once it has been renamed
	defer file.Close()
	if _, err := io.Copy(file, contextReader{ctx, content}); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.rename(key, file.Name())
}

// Adopt implements blob.Store.
func (s *Store) Adopt(ctx context.Context, key blob.Key, path string) error {
	err := ctx.Err()
	if err == nil {
		err = syncFile(path) // costs nothing after Receive
	}
	if err == nil {
		err = s.rename(key, path)
	}
	if err != nil {
		return blob.Explain(fmt.Errorf("adopt %s: %w", key, err))
	}
	return nil
}

// rename moves a durable file to its key and makes the move durable: the entry
// in its folder, and the entries of folders that are new, from the leaf up, so
// that a journal is committed once and finds nothing to do for the parents.
func (s *Store) rename(key blob.Key, from string) error {
	to, err := s.path(key)
	if err != nil {
		return err
	}
	folder := path.Dir(string(key))
	s.mu.Lock()
	_, known := s.durable[folder]
	s.mu.Unlock()
	if !known {
		if err := blob.MakeFolder(filepath.Dir(to)); err != nil {
			return err
		}
	}
	if err := blob.GiveToOwnerOf(s.root, from); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	if err := blob.SyncFolder(filepath.Dir(to)); err != nil {
		return err
	}
	if known {
		return nil
	}
	// Somebody else may have made the folders a moment ago and not synced them
	// yet: only what this process has synced itself counts.
	for at := folder; at != "."; at = path.Dir(at) {
		if err := blob.SyncFolder(filepath.Join(s.root, filepath.FromSlash(path.Dir(at)))); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.durable[folder] = struct{}{}
	s.mu.Unlock()
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
	if err == nil && !stat.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
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
	if err == nil && !stat.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return blob.Info{}, explain("stat", key, err)
	}
	return blob.Info{Key: key, Size: stat.Size(), ModTime: stat.ModTime()}, nil
}

// Delete implements blob.Store. Without the sync a power cut could bring the file
// back when nobody knows of it any more.
func (s *Store) Delete(ctx context.Context, key blob.Key) error {
	path, err := s.path(key)
	if err != nil {
		return err
	}
	err = os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = blob.SyncFolder(filepath.Dir(path))
	}
	if err != nil {
		return blob.Explain(fmt.Errorf("delete %s: %w", key, err))
	}
	return nil
}

// List implements blob.Store.
func (s *Store) List(ctx context.Context, prefix blob.Key, f func(blob.Info) error) error {
	folder := "."
	if at := strings.LastIndexByte(string(prefix), '/'); at >= 0 {
		folder = string(prefix[:at])
	}
	if folder != "." {
		if _, err := s.path(blob.Key(folder)); err != nil {
			return err
		}
	}
	if err := s.list(ctx, folder, string(prefix), f); err != nil {
		return fmt.Errorf("list %s: %w", prefix, err)
	}
	return nil
}

func (s *Store) list(ctx context.Context, folder, prefix string, f func(blob.Info) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	name := filepath.Join(s.root, filepath.FromSlash(folder))
	entries, err := os.ReadDir(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return blob.Explain(err)
	}
	for _, entry := range entries {
		key := path.Join(folder, entry.Name())
		switch {
		case entry.IsDir():
			if key == "tmp" || !strings.HasPrefix(key+"/", prefix) && !strings.HasPrefix(prefix, key+"/") {
				continue
			}
			if err := s.list(ctx, key, prefix, f); err != nil {
				return err
			}
		case entry.Type().IsRegular() && strings.HasPrefix(key, prefix):
			stat, err := entry.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // deleted meanwhile
			}
			if err != nil {
				return blob.Explain(err)
			}
			if err := f(blob.Info{Key: blob.Key(key), Size: stat.Size(), ModTime: stat.ModTime()}); err != nil {
				return err
			}
		}
	}
	return nil
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
