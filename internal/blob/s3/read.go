package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/banksia-photos/banksia/internal/blob"
)

// headLength is how much of a blob is read when it is opened, so that most derived
// files take one request.
const headLength = 512 << 10

// Open implements blob.Store. A blob that is replaced while it is read fails the
// reader rather than give a mixture.
func (s *Store) Open(ctx context.Context, key blob.Key) (blob.Reader, blob.Info, error) {
	object, err := s.object(key)
	if err != nil {
		return nil, blob.Info{}, err
	}
	var last error
	for range s.cfg.Attempts {
		r := &reader{store: s, ctx: ctx, key: key, object: object}
		if last = r.open(); last == nil {
			return r, r.info, nil
		}
		if ctx.Err() != nil || errors.Is(last, blob.ErrNotExist) || errors.Is(last, errRepeated) {
			break
		}
	}
	return nil, blob.Info{}, last
}

// reader reads an object: the beginning from memory, what follows from one request
// as long as it is read in order.
type reader struct {
	store  *Store
	ctx    context.Context
	key    blob.Key
	object string
	info   blob.Info
	etag   string
	head   []byte

	at     int64 // of the next Read
	body   io.ReadCloser
	bodyAt int64
}

// errRepeated marks what has been tried as often as it may be.
var errRepeated = errors.New("after several attempts")

func (r *reader) open() error {
	options := minio.GetObjectOptions{}
	if err := options.SetRange(0, headLength-1); err != nil {
		return err
	}
	body, found, header, err := r.store.client.GetObject(r.ctx, r.store.cfg.Bucket, r.object, options)
	if minio.ToErrorResponse(err).Code == minio.InvalidRange { // an empty object has no first byte
		r.info, err = r.store.Stat(r.ctx, r.key)
		if err == nil && r.info.Size > 0 {
			err = fmt.Errorf("open %s: %w: it changes", r.key, blob.ErrUnavailable)
		}
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errRepeated, r.store.explain(r.ctx, "open", r.key, err))
	}
	defer body.Close()
	size := found.Size
	if _, total, ok := strings.Cut(header.Get("Content-Range"), "/"); ok {
		if size, err = strconv.ParseInt(total, 10, 64); err != nil {
			return fmt.Errorf("open %s: %w: the server says %q", r.key, blob.ErrUnavailable, header.Get("Content-Range"))
		}
	}
	r.info = blob.Info{Key: r.key, Size: size, ModTime: modTime(found.LastModified)}
	r.etag = found.ETag
	r.head = make([]byte, min(size, headLength))
	if _, err := io.ReadFull(body, r.head); err != nil {
		return r.store.explain(r.ctx, "open", r.key, err)
	}
	return nil
}

// from requests the bytes from one place up to another, or to the end (-1).
func (r *reader) from(start, end int64) (io.ReadCloser, error) {
	options := minio.GetObjectOptions{}
	err := options.SetMatchETag(r.etag)
	if err == nil {
		if end < 0 {
			end = r.info.Size
		}
		err = options.SetRange(start, end-1)
	}
	if err != nil {
		return nil, err
	}
	body, _, _, err := r.store.client.GetObject(r.ctx, r.store.cfg.Bucket, r.object, options)
	return body, err
}

func (r *reader) Read(p []byte) (int, error) {
	if r.at >= r.info.Size {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if r.at < int64(len(r.head)) {
		n := copy(p, r.head[r.at:])
		r.at += int64(n)
		return n, nil
	}
	var last error
	for range r.store.cfg.Attempts {
		n, err := r.next(p)
		if n > 0 {
			r.at += int64(n)
			return n, nil // what has failed fails again
		}
		last = err
		if r.ctx.Err() != nil || minio.ToErrorResponse(err).StatusCode > 0 {
			break // the request itself was repeated already
		}
	}
	return 0, r.store.explain(r.ctx, "read", r.key, last)
}

// next reads from the running request, or from a new one at the place.
func (r *reader) next(p []byte) (n int, err error) {
	if r.body != nil && r.bodyAt != r.at {
		r.stop()
	}
	if r.body == nil {
		if r.body, err = r.from(r.at, -1); err != nil {
			return 0, err
		}
		r.bodyAt = r.at
	}
	n, err = r.body.Read(p[:min(int64(len(p)), r.info.Size-r.at)])
	r.bodyAt += int64(n)
	if n == 0 {
		r.stop()
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}

func (r *reader) stop() {
	if r.body != nil {
		r.body.Close()
		r.body = nil
	}
}

func (r *reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.info.Size
	}
	if offset < 0 {
		return r.at, fmt.Errorf("seek in %s: %w", r.key, os.ErrInvalid)
	}
	r.at = offset
	return offset, nil
}

// ReadAt is a request of its own beyond the beginning. It may be called
// concurrently.
func (r *reader) ReadAt(p []byte, offset int64) (n int, err error) {
	if offset < 0 {
		return 0, fmt.Errorf("read %s: %w", r.key, os.ErrInvalid)
	}
	if offset >= r.info.Size {
		return 0, io.EOF
	}
	wanted := p[:min(int64(len(p)), r.info.Size-offset)]
	if offset < int64(len(r.head)) {
		n = copy(wanted, r.head[offset:])
	}
	for failures := 0; n < len(wanted); {
		body, err := r.from(offset+int64(n), offset+int64(len(wanted)))
		if err != nil {
			return n, r.store.explain(r.ctx, "read", r.key, err)
		}
		more, err := io.ReadFull(body, wanted[n:])
		body.Close()
		if n += more; err == nil {
			continue
		}
		if failures++; failures == r.store.cfg.Attempts || r.ctx.Err() != nil {
			return n, r.store.explain(r.ctx, "read", r.key, err)
		}
	}
	if len(wanted) < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (r *reader) Close() error {
	r.stop()
	return nil
}
