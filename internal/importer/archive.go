package importer

import (
	"archive/zip"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/banksia-photos/banksia/internal/media"
)

// Limits of an archive. Contents are never unpacked to disk and never held in
// memory beyond wholeFileLimit, so these guard the server and the waiting time.
const (
	maxEntries = 2_000_000
	// Photos and videos hardly shrink; a big entry that shrinks this much is a
	// bomb (deflate reaches 1032 at most).
	bombSize  = 100 << 20
	bombRatio = 200
)

// walkArchives finds the files of all archives. The sidecars of all are indexed
// first, because a Takeout spreads one folder over several archives.
func (w *walker) walkArchives() error {
	index := newArchiveIndex()
	var usable []string
	for _, name := range w.archives {
		err := w.eachEntry(name, index.addSidecar)
		if w.ctx.Err() != nil {
			return context.Cause(w.ctx)
		}
		if err != nil {
			w.failed(cleanText(name), err)
			continue
		}
		usable = append(usable, name)
	}
	index.sort()
	for _, name := range usable {
		err := w.eachEntry(name, func(e entry) error { return w.entry(e, index) })
		if err != nil {
			return err
		}
	}
	return nil
}

// entry is one file of an archive, with all that is needed to read it: the
// directory of the archive need not be kept.
type entry struct {
	archive     string
	archiveInfo fs.FileInfo
	path        string // clean and slash-separated; only a name, never a place
	modified    time.Time
	offset      int64 // of the compressed content
	compressed  int64
	size        int64
	method      uint16
	crc         uint32
	problem     error // why it cannot be read
}

// eachEntry calls do for each regular file in the archive, in its order.
func (w *walker) eachEntry(name string, do func(entry) error) error {
	f, err := w.openFile(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := checkDirectorySize(f, info.Size()); err != nil {
		return err
	}
	archive, err := zip.NewReader(f, info.Size())
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return fmt.Errorf("read the archive: %w", err)
	}
	if len(archive.File) > maxEntries {
		return fmt.Errorf("read the archive: it has more than %d entries", maxEntries)
	}
	var total uint64
	for _, zf := range archive.File {
		if total += zf.CompressedSize64; total > uint64(info.Size()) || zf.CompressedSize64 > uint64(info.Size()) {
			return errors.New("read the archive: its entries overlap, as in a zip bomb")
		}
	}
	for _, zf := range archive.File {
		if w.ctx.Err() != nil {
			return context.Cause(w.ctx)
		}
		if !zf.Mode().IsRegular() || strings.HasSuffix(zf.Name, "/") {
			continue
		}
		e := entry{
			archive:     name,
			archiveInfo: info,
			path:        cleanEntryPath(zf.Name),
			modified:    zf.Modified,
			compressed:  int64(zf.CompressedSize64),
			size:        int64(zf.UncompressedSize64),
			method:      zf.Method,
			crc:         zf.CRC32,
		}
		switch {
		case e.modified.Year() < 1980: // the format cannot say that: not given
			e.modified = info.ModTime()
		case e.modified.Location() == time.UTC: // a wall clock of unknown place
			e.modified = inLocation(e.modified, w.location)
		}
		if slices.ContainsFunc(strings.Split(e.path, "/"), ignored) {
			continue
		}
		switch {
		case zf.Flags&1 != 0:
			e.problem = errors.New("the entry is encrypted")
		case e.method != zip.Store && e.method != zip.Deflate:
			e.problem = fmt.Errorf("the entry is compressed in an unsupported way (method %d)", e.method)
		case e.size < 0:
			e.problem = errors.New("the entry claims an impossible size")
		case e.size > bombSize && e.size/bombRatio > e.compressed:
			e.problem = fmt.Errorf("the entry claims to unpack from %s to %s, as in a zip bomb", formatSize(e.compressed), formatSize(e.size))
		default:
			if e.offset, err = zf.DataOffset(); err != nil {
				e.problem = fmt.Errorf("find the entry: %w", err)
			}
		}
		if err := do(e); err != nil {
			return err
		}
	}
	return nil
}

// cleanEntryPath turns any entry name into path elements. Programs on Windows
// have written backslashes; "..", "." and empty elements carry no meaning here.
func cleanEntryPath(name string) string {
	parts := strings.Split(strings.ReplaceAll(name, `\`, "/"), "/")
	parts = slices.DeleteFunc(parts, func(part string) bool { return part == "" || part == "." || part == ".." })
	if len(parts) > maxDepth {
		parts = parts[len(parts)-maxDepth:]
	}
	return strings.Join(parts, "/")
}

// checkDirectorySize reads the number of entries out of the end record of a zip
// archive (APPNOTE.TXT 4.3.14 to 4.3.16), before anything is allocated for them.
func checkDirectorySize(r io.ReaderAt, size int64) error {
	const endLength, locatorLength, end64Length = 22, 20, 56
	tail := make([]byte, min(size, endLength+locatorLength+1<<16))
	if _, err := r.ReadAt(tail, size-int64(len(tail))); err != nil && err != io.EOF {
		return fmt.Errorf("read the archive: %w", err)
	}
	at := strings.LastIndex(string(tail), "PK\x05\x06")
	if at < 0 || at+endLength > len(tail) {
		return errors.New("read the archive: it is no zip archive, or cut off")
	}
	entries := uint64(binary.LittleEndian.Uint16(tail[at+10:]))
	if locator := at - locatorLength; locator >= 0 && string(tail[locator:locator+4]) == "PK\x06\x07" {
		end64 := make([]byte, end64Length)
		if offset := binary.LittleEndian.Uint64(tail[locator+8:]); offset < uint64(size) {
			if _, err := r.ReadAt(end64, int64(offset)); err == nil && string(end64[:4]) == "PK\x06\x06" {
				entries = binary.LittleEndian.Uint64(end64[32:])
			}
		}
	}
	if entries > maxEntries {
		return fmt.Errorf("read the archive: it claims %d entries, more than %d", entries, maxEntries)
	}
	return nil
}

func (w *walker) entry(e entry, index *archiveIndex) error {
	name := path.Base(e.path)
	if e.path == "" {
		return nil
	}
	label := cleanText(e.archive + ": " + e.path)
	if _, ok := media.FormatByName(name); !ok {
		if !isSidecarName(name) {
			w.unsupported(name)
		}
		return nil
	}
	if e.problem != nil {
		w.failed(label, e.problem)
		return nil
	}
	return w.media(&item{
		// The archive may be replaced by another of the same name, whose entry
		// has the same name, size and time; the checksum tells them apart.
		key:      fmt.Sprintf("%s!/%s#%08x", e.archive, e.path, e.crc),
		label:    label,
		name:     name,
		place:    path.Base(e.archive) + "/" + e.path,
		size:     e.size,
		modified: e.modified,
		folder:   index.folder(e),
		archived: true,
		open:     func() (io.ReadCloser, error) { return e.open(w.openFile) },
	})
}

func (e entry) open(openFile func(string) (*os.File, error)) (io.ReadCloser, error) {
	if e.problem != nil {
		return nil, e.problem
	}
	f, err := openFile(e.archive)
	if err != nil {
		return nil, err
	}
	now, err := f.Stat()
	if err == nil && (!os.SameFile(e.archiveInfo, now) || !unchanged(e.archiveInfo, now)) {
		err = errChanged
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	r := &entryReader{file: f, left: e.size, want: e.crc, sum: crc32.NewIEEE()}
	r.content = io.NewSectionReader(f, e.offset, e.compressed)
	if e.method == zip.Deflate {
		r.content = flate.NewReader(r.content)
	}
	return r, nil
}

// entryReader gives the content of an entry and fails where it is not what the
// archive's directory says of it: longer, shorter or with another checksum.
type entryReader struct {
	file    *os.File
	content io.Reader
	left    int64
	sum     hash.Hash32
	want    uint32
}

func (r *entryReader) Read(p []byte) (int, error) {
	n, err := r.content.Read(p)
	if int64(n) > r.left {
		return 0, errors.New("the entry is longer than the archive says")
	}
	r.left -= int64(n)
	r.sum.Write(p[:n])
	switch {
	case err == nil:
		return n, nil
	case err != io.EOF:
		return n, fmt.Errorf("unpack: %w", err)
	case r.left > 0:
		return n, errors.New("the entry is shorter than the archive says")
	case r.sum.Sum32() != r.want:
		return n, errors.New("the checksum of the entry is wrong: the archive is damaged")
	}
	return n, io.EOF
}

func (r *entryReader) Close() error { return r.file.Close() }

// archiveIndex knows the sidecars of all archives by folder.
type archiveIndex struct {
	folders map[string]*archiveFolder // by archive and path, and for Takeouts by path alone
	shared  map[*archiveFolder]*folder
}

type archiveFolder struct {
	path    string
	entries []entry // sorted by path
}

func newArchiveIndex() *archiveIndex {
	return &archiveIndex{folders: map[string]*archiveFolder{}, shared: map[*archiveFolder]*folder{}}
}

// folderKey joins folders of equal path in the archives of a Takeout, where they
// are parts of the same folder; elsewhere an archive stands for itself.
func folderKey(e entry) (key, dir string) {
	dir = path.Dir(e.path)
	if strings.HasPrefix(dir, "Takeout/") {
		return dir, dir
	}
	return e.archive + "\x00" + dir, dir
}

func (x *archiveIndex) addSidecar(e entry) error {
	if isSidecarName(e.path) && e.path != "" {
		key, dir := folderKey(e)
		at := x.folders[key]
		if at == nil {
			at = &archiveFolder{path: dir}
			x.folders[key] = at
		}
		at.entries = append(at.entries, e)
	}
	return nil
}

func (x *archiveIndex) sort() {
	for _, f := range x.folders {
		// Stable: of equal names the first archive's wins.
		slices.SortStableFunc(f.entries, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	}
}

// folder is the folder of a file, with the sidecars of all archives that share it.
func (x *archiveIndex) folder(e entry) *folder {
	key, dir := folderKey(e)
	at := x.folders[key]
	if at == nil {
		at = &archiveFolder{path: dir}
		x.folders[key] = at
	}
	if f := x.shared[at]; f != nil {
		return f
	}
	f := &folder{name: path.Base(dir)}
	if dir == "." {
		f.name = strings.TrimSuffix(path.Base(e.archive), path.Ext(e.archive))
	}
	for _, s := range at.entries {
		f.sidecars = append(f.sidecars, path.Base(s.path))
	}
	f.file = func(name string) (sidecarFile, error) {
		i, ok := slices.BinarySearchFunc(at.entries, name, func(s entry, name string) int {
			return strings.Compare(path.Base(s.path), name)
		})
		if !ok {
			return sidecarFile{}, fs.ErrNotExist
		}
		s := at.entries[i]
		return sidecarFile{
			name: name,
			mark: fmt.Sprintf("%s %d %08x", name, s.size, s.crc),
			open: func() (io.ReadCloser, error) { return s.open(os.Open) },
		}, nil
	}
	x.shared[at] = f
	return f
}
