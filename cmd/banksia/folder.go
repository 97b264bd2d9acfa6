package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/banksia-photos/banksia/internal/blob"
)

// The data folder holds:
//
//	banksia.db      the database, with -wal and -shm beside it while it is open
//	banksia.conf    settings, if there are any
//	blobs/          originals and previews, and files on their way there; or a link
//	tmp/            files on their way, where originals and previews are in S3
//	lock            locked while a program runs on the folder
//	server.json     where that program is, for others of the same user

// databaseFile is the path of the database.
func databaseFile(folder string) string { return filepath.Join(folder, "banksia.db") }

// blobFolder may be a symbolic link to another disk. That is no setting, because
// every command on the data folder must agree on it.
func blobFolder(folder string) string { return filepath.Join(folder, "blobs") }

// errInUse says that another program runs on the data folder.
var errInUse = errors.New("another banksia runs on this data folder")

// lockFolder makes the data folder if needed and takes its lock, which ends with
// the process, however it ends. It fails with errInUse when somebody has it.
func lockFolder(folder string) (*os.File, error) {
	if err := blob.MakeFolder(folder); err != nil {
		return nil, explainAccess("make the data folder", err)
	}
	file, err := os.OpenFile(filepath.Join(folder, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, explainAccess("use the data folder", err)
	}
	if err := blob.GiveToOwnerOf(folder, file.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("use the data folder: %w", err), file.Close())
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errInUse
		}
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	return file, nil
}

// explainInUse adds what to do when lockFolder fails with errInUse.
func explainInUse(folder string, err error) error {
	if errors.Is(err, errInUse) {
		return fmt.Errorf("%w (%s); stop it first, or name another with --data", err, folder)
	}
	return err
}

// lockBlobs takes the lock of the folder of originals, which may be a link that
// another data folder has as well: a server sweeps what it takes for the remains of
// its own uploads.
func lockBlobs(folder string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(blobFolder(folder), "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, explainAccess("use the folder of originals", err)
	}
	if err := blob.GiveToOwnerOf(blobFolder(folder), file.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("use the folder of originals: %w", err), file.Close())
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		return nil, fmt.Errorf("another banksia uses the folder of originals %s; several servers need S3 (--blobs): %w", blobFolder(folder), err)
	}
	return file, nil
}

// makeForOwner makes an empty database file that belongs to the owner of its folder,
// where root would else make one of its own.
func makeForOwner(path string) error {
	if path == "" || os.Geteuid() != 0 {
		return nil
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return explainAccess("make the database", err)
	}
	return errors.Join(file.Close(), blob.GiveToOwnerOf(filepath.Dir(path), path))
}

// explainAccess adds who lacks the right.
func explainAccess(doing string, err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("%s: %w; user %d must be able to write there, or choose another folder with --data", doing, err, os.Getuid())
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// announcement is what a running program tells others of the same user on the
// same machine, in the file server.json of the data folder.
type announcement struct {
	Command    string `json:"command"` // serve or import
	Version    string `json:"version"`
	PID        int    `json:"pid"`
	URL        string `json:"url"`        // with a literal address: nobody else can answer to it
	Credential string `json:"credential"` // of the owner, while the program runs
}

func announcementFile(folder string) string { return filepath.Join(folder, "server.json") }

// announce writes the file, whole or not at all. Only the user may read it.
func announce(folder string, a announcement) error {
	text, err := json.MarshalIndent(a, "", "\t")
	if err != nil {
		return err
	}
	temporary := announcementFile(folder) + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("announce the server: %w", err)
	}
	if err := os.WriteFile(temporary, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("announce the server: %w", err)
	}
	if err := os.Rename(temporary, announcementFile(folder)); err != nil {
		return fmt.Errorf("announce the server: %w", err)
	}
	return nil
}

// withdraw removes the announcement, also one that a killed program left. Only who
// has the lock may call it.
func withdraw(folder string) error {
	if err := os.Remove(announcementFile(folder)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the announcement of the server: %w", err)
	}
	return nil
}

// readAnnouncement reads where the running program is. It says nothing of whether
// that still runs: the lock does.
func readAnnouncement(folder string) (a announcement, err error) {
	text, err := os.ReadFile(announcementFile(folder))
	if err == nil {
		err = json.Unmarshal(text, &a)
	}
	if err != nil {
		return a, fmt.Errorf("find the running server: %w", err)
	}
	return a, nil
}

// startTime is how long others wait for a program that has the lock and has not
// announced itself: it migrates the database, or is about to end.
const startTime = 15 * time.Second

// lockOrFind takes the lock of the data folder, or else finds who has it.
func lockOrFind(ctx context.Context, folder string) (lock *os.File, running announcement, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		lock, err = lockFolder(folder)
		if !errors.Is(err, errInUse) {
			return lock, running, err
		}
		running, readErr := readAnnouncement(folder)
		if readErr == nil {
			return nil, running, nil
		}
		if !errors.Is(readErr, fs.ErrNotExist) {
			return nil, running, readErr
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, running, fmt.Errorf("%w, and it is starting or stopping; try again when it is done", err)
		}
	}
}
