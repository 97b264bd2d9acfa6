package blob

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// MakeFolder makes a folder, for the owner of the one above it alone, and those above
// it that are missing, and makes their entries durable: what is stored in a folder is
// lost in a power cut together with its entry. That of one that was there already may
// be as young, so it is made durable as well where the user may read the folder above.
func MakeFolder(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	above := filepath.Dir(path)
	if _, err := os.Stat(above); errors.Is(err, fs.ErrNotExist) {
		if err := MakeFolder(above); err != nil {
			return err
		}
	}
	switch err := os.Mkdir(path, 0o700); {
	case errors.Is(err, fs.ErrExist):
		err = os.MkdirAll(path, 0o700) // fails for a file
		if err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		if err := GiveToOwnerOf(above, path); err != nil {
			return err
		}
	}
	if err := SyncFolder(above); err != nil && !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("make the entry of %s durable: %w", path, err)
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

// GiveToOwnerOf gives a file that was made just now to whom a folder belongs, when
// this process is root's: a command of root on the folder of a server's user would
// else leave what that server cannot read. SQLite does the same.
func GiveToOwnerOf(folder, path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(folder)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid == 0 {
		return nil
	}
	return os.Lchown(path, int(owner.Uid), int(owner.Gid))
}
