package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/banksia-photos/banksia/internal/media"
)

// ignoredNames are what systems and programs leave in folders of photos; names
// that begin with a dot are ignored as well.
var ignoredNames = map[string]bool{
	"thumbs.db": true, "ehthumbs.db": true, "desktop.ini": true, "icon\r": true,
	"@eadir": true, "#recycle": true, "@recycle": true, "#snapshot": true,
	"$recycle.bin": true, "system volume information": true, "lost+found": true, "__macosx": true,
}

func ignored(name string) bool {
	return strings.HasPrefix(name, ".") || ignoredNames[strings.ToLower(name)]
}

// isSidecarName tells files that are read along with a photo, never on their own.
func isSidecarName(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".xmp", ".json":
		return true
	}
	return false
}

// folder is what the files of one folder share.
type folder struct {
	name     string   // its own, as it is
	sidecars []string // names of its sidecars, sorted
	// file opens one of the sidecars; mark changes when its content does.
	file func(name string) (sidecarFile, error)

	titleOnce sync.Once
	title     string
}

func (f *folder) has(name string) bool {
	_, ok := slices.BinarySearch(f.sidecars, name)
	return ok
}

// findRoots makes the given paths absolute and real, in the given order, without
// those that lie in another one.
func findRoots(paths []string) ([]string, error) {
	var roots []string
	for _, p := range paths {
		absolute, err := filepath.Abs(p)
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", p, err)
		}
		real, err := filepath.EvalSymlinks(absolute)
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", p, err)
		}
		roots = append(roots, real)
	}
	all := make(map[string]bool, len(roots))
	for _, root := range roots {
		all[root] = true
	}
	seen := make(map[string]bool, len(roots))
	return slices.DeleteFunc(roots, func(root string) bool {
		if seen[root] {
			return true
		}
		seen[root] = true
		for at := root; ; {
			parent := filepath.Dir(at)
			if parent == at {
				return false
			}
			if at = parent; all[at] {
				return true
			}
		}
	}), nil
}

// walker finds source files: those of a folder by name, then its subfolders by
// name, then all archives. It follows no links: what a link inside the root
// points to is found at its own place, and what lies outside was not asked for.
type walker struct {
	ctx      context.Context
	openFile func(name string) (*os.File, error)
	location *time.Location // of times without an offset in archives

	media       func(*item) error // an error ends the walk
	unsupported func(name string)
	failed      func(label string, err error)
	link        func()

	archives []string
	last     *folder // of single files, which often come from one folder
	lastDir  string
}

func (im *importer) newWalker(ctx context.Context) *walker {
	return &walker{ctx: ctx, openFile: im.openFile, location: im.opts.Location}
}

func (w *walker) walk(roots []string) error {
	for _, root := range roots {
		info, err := os.Lstat(root)
		if err != nil {
			w.failed(cleanText(root), err)
			continue
		}
		switch {
		case info.IsDir():
			err = w.folder(root, filepath.Base(root), []fs.FileInfo{info})
		case info.Mode().IsRegular():
			err = w.single(root, info)
		default: // a pipe would be waited for
			w.failed(cleanText(root), errNotRegular)
		}
		if err != nil {
			return err
		}
	}
	return w.walkArchives()
}

// single is a file that was named itself.
func (w *walker) single(root string, info fs.FileInfo) error {
	dir := filepath.Dir(root)
	if w.last == nil || w.lastDir != dir {
		names, err := readNames(dir)
		if err != nil {
			names = nil // its sidecars are out of reach, it may be not
		}
		w.last, w.lastDir = w.newFolder(dir, names), dir
	}
	return w.file(root, filepath.Base(root), info, w.last)
}

var errNotRegular = errors.New("not a regular file")

// maxDepth ends a walk that some file system makes endless.
const maxDepth = 200

// folder walks dir; above is dir and the folders that hold it.
func (w *walker) folder(dir, place string, above []fs.FileInfo) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	names, err := readNames(dir)
	if err != nil {
		w.failed(cleanText(dir), err)
	}
	shared := w.newFolder(dir, names)
	var below []string
	for _, name := range names {
		if ignored(name) {
			continue
		}
		at := filepath.Join(dir, name)
		info, err := os.Lstat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist): // deleted meanwhile
		case err != nil:
			w.failed(cleanText(at), err)
		case info.IsDir():
			below = append(below, name)
		case info.Mode()&fs.ModeSymlink != 0:
			w.link()
		case info.Mode().IsRegular():
			if err := w.file(at, place+"/"+name, info, shared); err != nil {
				return err
			}
		}
	}
	for _, name := range below {
		at := filepath.Join(dir, name)
		info, err := os.Lstat(at)
		if err != nil || !info.IsDir() {
			continue // replaced meanwhile
		}
		// A mount can put a folder into itself without any link.
		if len(above) >= maxDepth || slices.ContainsFunc(above, func(a fs.FileInfo) bool { return os.SameFile(a, info) }) {
			w.failed(cleanText(at), errors.New("the folder contains itself or is nested too deep"))
			continue
		}
		if err := w.folder(at, place+"/"+name, append(slices.Clip(above), info)); err != nil {
			return err
		}
	}
	return nil
}

// readNames lists a folder by name. It asks for names alone, which take far less
// memory than entries where a folder holds millions.
func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

func (w *walker) newFolder(dir string, names []string) *folder {
	f := &folder{name: filepath.Base(dir)}
	for _, name := range names {
		if isSidecarName(name) {
			f.sidecars = append(f.sidecars, name)
		}
	}
	f.file = func(name string) (sidecarFile, error) {
		at := filepath.Join(dir, name)
		info, err := os.Lstat(at)
		if err != nil {
			return sidecarFile{}, err
		}
		if !info.Mode().IsRegular() {
			return sidecarFile{}, errNotRegular
		}
		return sidecarFile{
			name: name,
			mark: fmt.Sprintf("%s %d %d", name, info.Size(), info.ModTime().UnixNano()),
			open: func() (io.ReadCloser, error) { return openSame(os.Open, at, info) },
		}, nil
	}
	return f
}

func (w *walker) file(at, place string, info fs.FileInfo, in *folder) error {
	name := filepath.Base(at)
	if strings.EqualFold(path.Ext(name), ".zip") {
		w.archives = append(w.archives, at)
		return nil
	}
	if _, ok := media.FormatByName(name); !ok {
		if !isSidecarName(name) {
			w.unsupported(name)
		}
		return nil
	}
	return w.media(&item{
		key:      at,
		label:    cleanText(at),
		name:     name,
		place:    place,
		size:     info.Size(),
		modified: info.ModTime(),
		folder:   in,
		open:     func() (io.ReadCloser, error) { return openSame(w.openFile, at, info) },
	})
}

// openSame opens the very file that info describes, and fails at its end if the
// file was written to meanwhile.
func openSame(open func(string) (*os.File, error), name string, info fs.FileInfo) (io.ReadCloser, error) {
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	now, err := f.Stat()
	if err == nil && (!os.SameFile(info, now) || !unchanged(info, now)) {
		err = errChanged
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &sameReader{f, info}, nil
}

func unchanged(a, b fs.FileInfo) bool {
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// sameReader hides the other methods of the file, which would bypass Read.
type sameReader struct {
	file *os.File
	info fs.FileInfo
}

func (r *sameReader) Read(p []byte) (int, error) {
	n, err := r.file.Read(p)
	if err == io.EOF {
		if now, statErr := r.file.Stat(); statErr != nil || !unchanged(r.info, now) {
			return n, errChanged
		}
	}
	return n, err
}

func (r *sameReader) Close() error { return r.file.Close() }
