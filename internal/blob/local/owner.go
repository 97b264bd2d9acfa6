package local

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

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

// makeFolder makes a folder and those above it, as os.MkdirAll does.
func makeFolder(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := makeFolder(parent); err != nil {
			return err
		}
	}
	switch err := os.Mkdir(path, 0o700); {
	case errors.Is(err, fs.ErrExist):
		return os.MkdirAll(path, 0o700) // somebody else was faster, or it is a file
	case err != nil:
		return err
	}
	return GiveToOwnerOf(parent, path)
}
