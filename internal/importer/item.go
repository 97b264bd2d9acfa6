package importer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sync/semaphore"
)

type digest = [sha256.Size]byte

// item is one source file on its way through the pipeline. One stage owns it at
// a time.
type item struct {
	key      string // names the file in the journal: an absolute path
	label    string // names the file to people
	name     string // the last element of its path, as it is
	place    string // slash-separated path below the imported root, with the root's name
	size     int64
	modified time.Time
	folder   *folder
	archived bool // modified is when the archive was packed, more often than not
	// open gives exactly the content that size and modified belong to, or an
	// error, at the latest when the end is read.
	open func() (io.ReadCloser, error)

	sidecars     []sidecarFile
	sidecarsDone bool // by an earlier run

	checksum digest // zero until known
	data     []byte // the content, when it is in memory
	missing  bool   // the server was asked and does not have it
	recalled bool   // known from the journal and on the server
	assetID  string // on the server
	counted  int64  // bytes that progress has already been told of
}

// errChanged tells that a file is not what it was when it was found.
var errChanged = errors.New("the file changed while it was being imported")

// load reads the content into memory, of which it takes its share, and hashes it.
func (it *item) load(ctx context.Context, memory *semaphore.Weighted) error {
	if err := memory.Acquire(ctx, it.size); err != nil {
		return err
	}
	data, err := it.readAll()
	if err != nil {
		memory.Release(it.size)
		return err
	}
	it.data = data
	it.checksum = sha256.Sum256(data)
	return nil
}

func (it *item) readAll() ([]byte, error) {
	r, err := it.open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	// One byte more shows that the file has grown, without a growing buffer.
	data := make([]byte, it.size+1)
	n, err := io.ReadFull(r, data)
	switch {
	case err == nil:
		return nil, errChanged
	case err != io.EOF && err != io.ErrUnexpectedEOF:
		return nil, err
	case int64(n) != it.size:
		return nil, errChanged
	}
	return data[:n:n], nil
}

// unload gives the memory back; it may be called twice.
func (it *item) unload(memory *semaphore.Weighted) {
	if it.data != nil {
		it.data = nil
		memory.Release(it.size)
	}
}

// hash computes the checksum without keeping the content.
func (it *item) hash(ctx context.Context) error {
	r, err := it.open()
	if err != nil {
		return err
	}
	defer r.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, contextReader{ctx, r})
	if err != nil {
		return err
	}
	if n != it.size {
		return errChanged
	}
	sum.Sum(it.checksum[:0])
	return nil
}

// contextReader ends a long read when the import is stopped.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

// maxUploadText bounds the names that are sent along, in characters: the
// contract's limit of a file name (behaviour 6.3).
const maxUploadText = 1024

// uploadName is the file name that the server is told: the title that a Takeout
// gives if it is a name for the same kind of file, since Takeout shortens and
// numbers the names in the archive.
func (it *item) uploadName(title string) string {
	own := cleanText(it.name)
	title = cleanText(title)
	if title == "" || strings.ContainsAny(title, `/\`) || utf8.RuneCountInString(title) > maxUploadText ||
		!strings.EqualFold(path.Ext(title), path.Ext(own)) || isEdited(it.name) {
		return own
	}
	return title
}

// deviceAssetID is the path below the root; of an overlong one the end.
func (it *item) deviceAssetID() string {
	text := []rune(cleanText(it.place))
	return string(text[max(0, len(text)-maxUploadText):])
}

// cleanText makes a name from outside fit for headers, JSON and terminals: valid
// UTF-8 without control characters.
func cleanText(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(text, string(utf8.RuneError)))
}

func formatSize(bytes int64) string {
	value, unit := float64(bytes), 0
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	for value >= 1024 && unit < len(units)-1 {
		value /= 1024
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}
