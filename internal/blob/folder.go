package blob

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// MakeFolder makes a folder, for the user alone, and those above it that are
// missing, and makes their entries durable: what is stored in a folder is lost in a
// power cut together with its entry. That of one that was there already may be as
// young, so it is made durable as well where the user may read the folder above.
func MakeFolder(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	made := 1
	for above := filepath.Dir(path); ; above = filepath.Dir(above) {
		if _, err := os.Stat(above); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		made++
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	for range made {
		path = filepath.Dir(path)
		if err := SyncFolder(path); err != nil && !errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("make the entries of %s durable: %w", path, err)
		}
	}
	return nil
}

// SyncFolder makes the entries of a folder durable.
func SyncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
