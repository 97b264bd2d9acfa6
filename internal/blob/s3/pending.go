package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/blob"
)

// notes begins the names of the notes of uploads under way. They are objects beside
// the blobs, because a process that ends may never come back, nor its disk.
const notes = "tmp/pending-"

// MarkPending implements blob.Store. Every upload has a note of its own: that of
// another process stays when this one is done.
func (s *Store) MarkPending(ctx context.Context, digest banksia.Digest) (blob.Note, error) {
	note := blob.Note{SHA256: digest, Name: notes + hex.EncodeToString(digest) + "-" + strings.ToLower(rand.Text())}
	empty := sha256.Sum256(nil)
	_, err := s.client.PutObject(ctx, s.cfg.Bucket, s.cfg.Prefix+note.Name, bytes.NewReader(nil), 0, "", hex.EncodeToString(empty[:]), minio.PutObjectOptions{DisableContentSha256: true})
	return note, s.explain(ctx, "mark pending", blob.Key(note.Name), err)
}

// Settle implements blob.Store.
func (s *Store) Settle(ctx context.Context, note blob.Note) error {
	return s.remove(ctx, blob.Key(note.Name), s.cfg.Prefix+note.Name)
}

// Pending implements blob.Store: what is younger than the grace may belong to
// another process that is at work on it.
func (s *Store) Pending(ctx context.Context, before time.Time) (pending []blob.Note, err error) {
	before = s.latest(before)
	err = s.list(ctx, notes, func(name string, object minio.ObjectInfo) error {
		text, _, _ := strings.Cut(strings.TrimPrefix(name, notes), "-")
		digest, err := hex.DecodeString(text)
		if err == nil && len(digest) == sha256.Size && !modTime(object.LastModified).After(before) {
			pending = append(pending, blob.Note{SHA256: digest, Name: name})
		}
		return nil
	})
	return pending, err
}

// latest is the time before which something must have been begun to be abandoned.
func (s *Store) latest(before time.Time) time.Time {
	if latest := time.Now().Add(-s.cfg.Grace); latest.Before(before) {
		return latest
	}
	return before
}

// Sweep implements blob.Store: it removes the parts of uploads that nobody
// finished, which are invisible and cost room.
func (s *Store) Sweep(ctx context.Context, before time.Time) (removed int, err error) {
	before = s.latest(before)
	var key, id string
	for {
		page, err := s.client.ListMultipartUploads(ctx, s.cfg.Bucket, s.cfg.Prefix, key, id, "", 1000)
		if minio.ToErrorResponse(err).Code == minio.NotImplemented { // then it cleans up by itself, or not at all
			return removed, nil
		}
		if err != nil {
			return removed, s.explain(ctx, "list unfinished uploads", "", err)
		}
		for _, u := range page.Uploads {
			name, ours := strings.CutPrefix(u.Key, s.cfg.Prefix)
			if !ours || blob.CheckKey(blob.Key(name)) != nil || u.Initiated.After(before) {
				continue
			}
			err := s.explain(ctx, "remove an unfinished upload", blob.Key(name), s.client.AbortMultipartUpload(ctx, s.cfg.Bucket, u.Key, u.UploadID))
			if err != nil && !errors.Is(err, blob.ErrNotExist) && minio.ToErrorResponse(err).Code != "NoSuchUpload" {
				return removed, err
			}
			removed++
		}
		if !page.IsTruncated {
			return removed, nil
		}
		key, id = page.NextKeyMarker, page.NextUploadIDMarker
	}
}
