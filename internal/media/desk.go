package media

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// desk is the folder of one worker. The file of the job under way lies in "in",
// which the worker may only read; in "out" it works, writes its results and keeps
// what does not fit into memory. Of all other files it sees programs and libraries
// alone (see isolate), so a hostile photo cannot reach the photos beside it.
type desk struct{ folder string }

// deskPrefix begins the name of a desk. The server sweeps those that a crash left.
const deskPrefix = "media-"

func newDesk(parent string) (desk, error) {
	if parent == "" {
		parent = os.TempDir()
	}
	folder, err := os.MkdirTemp(parent, deskPrefix+"*")
	if err != nil {
		return desk{}, fmt.Errorf("make the folder of a worker: %w", err)
	}
	d := desk{folder}
	for _, name := range []string{d.in(), d.out()} {
		if err := os.Mkdir(name, 0o700); err != nil {
			return desk{}, errors.Join(fmt.Errorf("make the folder of a worker: %w", err), d.remove())
		}
	}
	return d, nil
}

func (d desk) in() string  { return filepath.Join(d.folder, "in") }
func (d desk) out() string { return filepath.Join(d.folder, "out") }

func (d desk) remove() error { return os.RemoveAll(d.folder) }

// lay puts the file of a job on the desk and returns the job as the worker sees it.
func (d desk) lay(job request) (request, error) {
	input := filepath.Join(d.in(), "file")
	if err := lend(job.Path, input); err != nil {
		return job, &problem{kind: cmp.Or(diskError(err), ErrWorkerCrashed), message: "The file could not be read.", detail: err.Error()}
	}
	job.Path = input
	orders := make([]Order, len(job.Orders))
	for i, o := range job.Orders {
		orders[i] = Order{o.Variant, filepath.Join(d.out(), strconv.Itoa(i))}
	}
	job.Orders = orders
	if job.Crop != nil {
		crop := *job.Crop
		crop.Path = filepath.Join(d.out(), "crop")
		job.Crop = &crop
	}
	return job, nil
}

// take brings the results of a job, which laid was made of, to where it wants them,
// and clears the desk.
func (d desk) take(job, laid request, done bool) error {
	var err error
	if done {
		for i := range job.Orders {
			err = errors.Join(err, accept(laid.Orders[i].Path, job.Orders[i].Path))
		}
		if job.Crop != nil {
			err = errors.Join(err, accept(laid.Crop.Path, job.Crop.Path))
		}
	}
	return errors.Join(err, empty(d.in()), empty(d.out()))
}

// lend makes a file readable under another name, without a copy where the file
// system allows.
func lend(path, name string) error {
	path, err := filepath.EvalSymlinks(path) // a link to a link would lead off the desk
	if err != nil {
		return err
	}
	if err := os.Link(path, name); err == nil || errors.Is(err, os.ErrNotExist) {
		return err
	}
	return copyFile(path, name)
}

// accept takes a result: an ordinary file, for a link could make the server read
// for the worker what that may not.
func accept(result, path string) error {
	info, err := os.Lstat(result)
	if err != nil {
		return fmt.Errorf("take a result: %w", err)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !info.Mode().IsRegular() || !ok || stat.Nlink != 1 {
		return errors.New("take a result: it is no ordinary file")
	}
	if err := os.Rename(result, path); !errors.Is(err, syscall.EXDEV) {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return copyFile(result, path)
}

// copyFile makes a new file: to write into one that is there could be to write into
// an original that was lent.
func copyFile(from, to string) (err error) {
	source, err := os.OpenFile(from, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	_, err = io.Copy(target, source)
	return err
}

func empty(folder string) error {
	entries, err := os.ReadDir(folder)
	for _, entry := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(folder, entry.Name())))
	}
	return err
}
