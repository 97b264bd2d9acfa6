package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"

	"github.com/banksia-photos/banksia/internal/blob"
)

const (
	maxParts = 10_000 // limit of the protocol
	// partsAtOnce of one file are sent side by side.
	partsAtOnce = 4
	// cleanUpTime is for what has to be done although the caller has gone.
	cleanUpTime = 30 * time.Second

	checksumHeader    = "x-amz-checksum-sha256"
	checksumAlgorithm = "x-amz-checksum-algorithm"
)

// part is a piece of a blob; all but the last are of one length.
type part struct {
	content io.ReadSeeker
	size    int64
	sha256  []byte
	last    bool
	free    func() // gives its memory back
}

// parts gives the parts of a blob in order, and writes what they hold to a hash of
// the whole.
type parts func(whole io.Writer) (part, error)

// Put implements blob.Store. Of a long stream, two parts are in memory.
func (s *Store) Put(ctx context.Context, key blob.Key, content io.Reader) error {
	buffers := make(chan *bytes.Buffer, 2)
	buffers <- &bytes.Buffer{}
	buffers <- &bytes.Buffer{}
	return s.put(ctx, key, 1, func(whole io.Writer) (part, error) {
		buffer := <-buffers
		buffer.Reset()
		sum := sha256.New()
		n, err := io.Copy(io.MultiWriter(buffer, sum, whole), io.LimitReader(content, s.cfg.PartSize))
		p := part{bytes.NewReader(buffer.Bytes()), n, sum.Sum(nil), n < s.cfg.PartSize, func() { buffers <- buffer }}
		return p, err
	})
}

// Adopt implements blob.Store.
func (s *Store) Adopt(ctx context.Context, key blob.Key, path string) error {
	fail := func(err error) error { return blob.Explain(fmt.Errorf("adopt %s: %w", key, err)) }
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	file, err := os.Open(path)
	if err != nil {
		return fail(err)
	}
	defer file.Close()
	stat, err := file.Stat()
	if err != nil {
		return fail(err)
	}
	size, at := stat.Size(), int64(0)
	length := max(s.cfg.PartSize, (size+maxParts-1)/maxParts)
	// Each byte is read twice: for the checksum that goes ahead of it, from the page
	// cache, and to be sent.
	err = s.put(ctx, key, partsAtOnce, func(whole io.Writer) (part, error) {
		section := io.NewSectionReader(file, at, min(length, size-at))
		sum := sha256.New()
		n, err := io.Copy(io.MultiWriter(sum, whole), section)
		if err == nil && n != section.Size() {
			err = io.ErrUnexpectedEOF
		}
		at += n
		return part{section, n, sum.Sum(nil), at == size, func() {}}, blob.Explain(err)
	})
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return fail(err)
	}
	return nil
}

// put stores the parts under a key, up to parallel of them at a time, and does not
// return nil before the server has confirmed size and checksum of the whole.
func (s *Store) put(ctx context.Context, key blob.Key, parallel int, next parts) error {
	object, err := s.object(key)
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	limited, cancel := context.WithTimeout(ctx, s.cfg.UploadLimit)
	defer cancel()
	u := &upload{store: s, caller: ctx, ctx: limited, key: key, object: object, next: next, whole: sha256.New()}
	u.digest, u.isOriginal = blob.OriginalDigest(key)
	return u.run(parallel)
}

// upload is one blob on its way.
type upload struct {
	store       *Store
	caller, ctx context.Context // ctx has a limit
	key         blob.Key
	object      string
	next        parts
	whole       hash.Hash
	size        int64
	digest      []byte // that the key tells
	isOriginal  bool
}

func (u *upload) run(parallel int) error {
	first, err := u.take()
	if err != nil {
		return err
	}
	if first.last {
		return u.single(first)
	}
	return u.multipart(first, parallel)
}

// take gets the next part.
func (u *upload) take() (part, error) {
	p, err := u.next(u.whole)
	if err == nil {
		err = u.ctx.Err()
	}
	if err != nil {
		return p, fmt.Errorf("put %s: %w", u.key, err)
	}
	u.size += p.size
	return p, nil
}

func (u *upload) explain(doing string, err error) error {
	return u.store.explain(u.caller, doing, u.key, err)
}

// single sends a blob in one request. The server refuses what does not have the
// announced SHA-256, which is part of the signature.
func (u *upload) single(p part) error {
	if err := u.checkSource(); err != nil {
		return err
	}
	options := minio.PutObjectOptions{DisableContentSha256: true, UserMetadata: map[string]string{checksumHeader: encode(p.sha256)}}
	_, err := u.store.client.PutObject(u.ctx, u.store.cfg.Bucket, u.object, p.content, p.size, "", hex.EncodeToString(p.sha256), options)
	if err != nil {
		return u.explain("put", err)
	}
	if !u.isOriginal {
		return nil
	}
	return u.confirm(encode(p.sha256))
}

func encode(sum []byte) string { return base64.StdEncoding.EncodeToString(sum) }

// checkSource compares what was read with what the key of an original promises:
// the local file may have suffered since it was received.
func (u *upload) checkSource() error {
	if sum := u.whole.Sum(nil); u.isOriginal && !bytes.Equal(sum, u.digest) {
		return fmt.Errorf("put %s: %w: what was to be stored has SHA-256 %x", u.key, blob.ErrDamaged, sum)
	}
	return nil
}

// multipart sends a blob in parts. Until the last request, the key is as before;
// when something fails, the parts are removed again.
func (u *upload) multipart(first part, parallel int) error {
	s := u.store
	id, err := s.client.NewMultipartUpload(u.ctx, s.cfg.Bucket, u.object, minio.PutObjectOptions{UserMetadata: map[string]string{checksumAlgorithm: "SHA256"}})
	if err != nil {
		return u.explain("put", err)
	}
	composite, err := u.sendParts(id, first, parallel)
	if err == nil {
		return nil
	}
	if composite != "" && u.isStored(composite) { // the answer to the last request was lost
		return nil
	}
	after, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), cleanUpTime)
	defer cancel()
	// What cannot be removed now is removed by Sweep.
	s.client.AbortMultipartUpload(after, s.cfg.Bucket, u.object, id)
	return err
}

// sendParts sends everything. composite is the checksum that the object then has,
// and is empty when the last request was not sent.
func (u *upload) sendParts(id string, p part, parallel int) (composite string, err error) {
	s := u.store
	var sent []minio.CompletePart
	sums := sha256.New()
	group, ctx := errgroup.WithContext(u.ctx)
	group.SetLimit(parallel)
	var mu sync.Mutex // of sent
	for number := 1; ; number++ {
		if number > maxParts {
			group.Wait()
			return "", fmt.Errorf("put %s: more than %d parts of %d bytes", u.key, maxParts, s.cfg.PartSize)
		}
		sums.Write(p.sha256)
		piece := p
		group.Go(func() error {
			defer piece.free()
			answer, err := s.client.PutObjectPart(ctx, s.cfg.Bucket, u.object, id, number, piece.content, piece.size, minio.PutObjectPartOptions{
				Sha256Hex: hex.EncodeToString(piece.sha256), DisableContentSha256: true, CustomHeader: http.Header{http.CanonicalHeaderKey(checksumHeader): {encode(piece.sha256)}},
			})
			if err != nil {
				return u.explain("put", err)
			}
			mu.Lock()
			defer mu.Unlock()
			sent = append(sent, minio.CompletePart{PartNumber: number, ETag: answer.ETag, ChecksumSHA256: answer.ChecksumSHA256})
			return nil
		})
		if p.last || ctx.Err() != nil {
			break
		}
		var takeErr error
		if p, takeErr = u.take(); takeErr != nil {
			group.Wait()
			return "", takeErr
		}
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	if err := u.checkSource(); err != nil {
		return "", err
	}
	slices.SortFunc(sent, func(a, b minio.CompletePart) int { return a.PartNumber - b.PartNumber })
	composite = encode(sums.Sum(nil)) + "-" + strconv.Itoa(len(sent))
	_, err = s.slow.CompleteMultipartUpload(u.ctx, s.cfg.Bucket, u.object, id, sent, minio.PutObjectOptions{})
	if err != nil {
		return composite, u.explain("put", err)
	}
	return composite, u.confirm(composite)
}

// isStored tells whether the object is there although its last request failed.
func (u *upload) isStored(checksum string) bool {
	if u.ctx.Err() != nil {
		return false
	}
	return u.confirm(checksum) == nil
}

// confirm asks the server for size and checksum of what it has. Another process may
// have removed it meanwhile.
func (u *upload) confirm(checksum string) error {
	err := u.compare(checksum)
	if errors.Is(err, blob.ErrNotExist) {
		return fmt.Errorf("put %s: %w: what was stored is not there", u.key, blob.ErrUnavailable)
	}
	return err
}

func (u *upload) compare(checksum string) error {
	s := u.store
	found, err := s.client.StatObject(u.ctx, s.cfg.Bucket, u.object, minio.StatObjectOptions{Checksum: true})
	if err != nil {
		return u.explain("confirm", err)
	}
	if found.Size != u.size {
		return fmt.Errorf("put %s: %w: %d bytes are stored of %d", u.key, blob.ErrUnavailable, found.Size, u.size)
	}
	if found.ChecksumSHA256 != "" {
		// Some servers leave out the number of parts.
		if plain, _, _ := strings.Cut(checksum, "-"); found.ChecksumSHA256 != checksum && found.ChecksumSHA256 != plain {
			return fmt.Errorf("put %s: %w: the server has the checksum %s, not %s", u.key, blob.ErrUnavailable, found.ChecksumSHA256, checksum)
		}
		return nil
	}
	return u.readBack()
}

// readBack reads everything again, from a server that keeps no checksums.
func (u *upload) readBack() error {
	r, _, err := u.store.Open(u.ctx, u.key)
	if err != nil {
		return err
	}
	defer r.Close()
	stored := sha256.New()
	if _, err := io.Copy(stored, r); err != nil {
		return err
	}
	if sum := stored.Sum(nil); !bytes.Equal(sum, u.whole.Sum(nil)) {
		return fmt.Errorf("put %s: %w: what is stored has SHA-256 %x", u.key, blob.ErrUnavailable, sum)
	}
	return nil
}
