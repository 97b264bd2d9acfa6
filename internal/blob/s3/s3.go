// Package s3 keeps blobs as objects in a bucket of a server that speaks the
// protocol of Amazon S3. Any number of processes may share a bucket.
//
// An object is written whole or not at all, and what was written is compared, by
// size and SHA-256, with what was to be written. Requests are repeated a few times;
// what then still fails is blob.ErrUnavailable.
package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/banksia-photos/banksia/internal/blob"
)

// Store is a bucket, or the part of one whose keys have a prefix.
type Store struct {
	cfg    Config
	client minio.Core
	slow   minio.Core    // for the request that puts parts together
	public *minio.Client // signs URLs for clients

	fetches fetches
}

// completionStalls is how many times longer than other requests one may be silent
// that puts the parts of a file together: some servers copy all its bytes.
const completionStalls = 20

// Open looks at the bucket and makes the temporary folder. A server that does not
// answer is no error here, because it may come back; settings that cannot work are.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("open %s: %w", cfg, err)
	}
	temporary, err := filepath.Abs(cfg.TempDir) // decoders run elsewhere
	if err == nil {
		err = os.MkdirAll(temporary, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("make the temporary folder: %w", err)
	}
	cfg.TempDir = temporary
	transport := newTransport(cfg.Stall)
	slow := newTransport(completionStalls * cfg.Stall)
	lookup := minio.BucketLookupAuto
	if cfg.PathStyle != nil {
		if lookup = minio.BucketLookupDNS; *cfg.PathStyle {
			lookup = minio.BucketLookupPath
		}
	}
	keys := cfg.credentials(transport, os.Getenv)
	newClient := func(endpoint string, transport http.RoundTripper) (*minio.Client, error) {
		u, err := url.Parse(endpoint)
		if err != nil {
			return nil, err
		}
		return minio.New(u.Host, &minio.Options{
			Creds: keys, Secure: u.Scheme == "https", Transport: transport, Region: cfg.Region, BucketLookup: lookup, MaxRetries: cfg.Attempts,
		})
	}
	s := &Store{cfg: cfg, fetches: fetches{all: map[blob.Key]*fetched{}}}
	client, err := newClient(cfg.Endpoint, transport)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", cfg, err)
	}
	patient, err := newClient(cfg.Endpoint, slow)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", cfg, err)
	}
	s.client, s.slow, s.public = minio.Core{Client: client}, minio.Core{Client: patient}, client
	if cfg.PublicEndpoint != "" {
		if s.public, err = newClient(cfg.PublicEndpoint, transport); err != nil {
			return nil, fmt.Errorf("open %s: %w", cfg, err)
		}
	}
	found, err := keys.GetWithContext(client.CredContext())
	if err != nil || found.AccessKeyID == "" {
		return nil, errors.Join(fmt.Errorf("open %s: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE for one of ~/.aws/credentials", cfg), err)
	}
	if err := s.Check(ctx); err != nil && (!errors.Is(err, blob.ErrUnavailable) || isRefusal(err)) {
		return nil, err
	}
	return s, nil
}

// Check asks the server whether the bucket can be read.
func (s *Store) Check(ctx context.Context) error {
	// Listing one key fails where HEAD would not say why.
	result, cancel := context.WithTimeout(ctx, s.cfg.Stall)
	defer cancel()
	for object := range s.client.ListObjectsIter(result, s.cfg.Bucket, minio.ListObjectsOptions{Prefix: s.cfg.Prefix, Recursive: true, MaxKeys: 1}) {
		if object.Err != nil {
			return s.explain(ctx, "look at", blob.Key(s.cfg.String()), object.Err)
		}
		break
	}
	return nil
}

// TempDir implements blob.Store.
func (s *Store) TempDir() string { return s.cfg.TempDir }

func (s *Store) object(key blob.Key) (string, error) {
	return s.cfg.Prefix + string(key), blob.CheckKey(key)
}

// Stat implements blob.Store.
func (s *Store) Stat(ctx context.Context, key blob.Key) (blob.Info, error) {
	object, err := s.object(key)
	if err != nil {
		return blob.Info{}, err
	}
	found, err := s.client.StatObject(ctx, s.cfg.Bucket, object, minio.StatObjectOptions{})
	if err != nil {
		return blob.Info{}, s.explain(ctx, "stat", key, err)
	}
	return blob.Info{Key: key, Size: found.Size, ModTime: modTime(found.LastModified)}, nil
}

// modTime cuts to whole seconds: a listing tells more than other requests do.
func modTime(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// Delete implements blob.Store.
func (s *Store) Delete(ctx context.Context, key blob.Key) error {
	object, err := s.object(key)
	if err != nil {
		return err
	}
	return s.remove(ctx, key, object)
}

func (s *Store) remove(ctx context.Context, key blob.Key, object string) error {
	err := s.client.RemoveObject(ctx, s.cfg.Bucket, object, minio.RemoveObjectOptions{})
	if err = s.explain(ctx, "delete", key, err); errors.Is(err, blob.ErrNotExist) {
		return nil
	}
	return err
}

// List implements blob.Store.
func (s *Store) List(ctx context.Context, prefix blob.Key, f func(blob.Info) error) error {
	return s.list(ctx, string(prefix), func(name string, object minio.ObjectInfo) error {
		key := blob.Key(name)
		if blob.CheckKey(key) != nil {
			return nil // notes of uploads, or somebody else's
		}
		return f(blob.Info{Key: key, Size: object.Size, ModTime: modTime(object.LastModified)})
	})
}

// list calls f with the name, without the prefix of the store, of every object.
func (s *Store) list(ctx context.Context, prefix string, f func(string, minio.ObjectInfo) error) error {
	listing, cancel := context.WithCancel(ctx)
	defer cancel()
	for object := range s.client.ListObjectsIter(listing, s.cfg.Bucket, minio.ListObjectsOptions{Prefix: s.cfg.Prefix + prefix, Recursive: true}) {
		if object.Err != nil {
			return s.explain(ctx, "list", blob.Key(prefix), object.Err)
		}
		if err := f(strings.TrimPrefix(object.Key, s.cfg.Prefix), object); err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("list %s: %w", prefix, err)
	}
	return nil
}

// Presign implements blob.Presigner. It asks nobody.
func (s *Store) Presign(ctx context.Context, key blob.Key, p blob.PresignOptions) (string, error) {
	object, err := s.object(key)
	if err != nil {
		return "", err
	}
	answer := url.Values{}
	for name, value := range map[string]string{"response-content-type": p.ContentType, "response-content-disposition": p.ContentDisposition, "response-cache-control": p.CacheControl} {
		if value != "" {
			answer.Set(name, value)
		}
	}
	u, err := s.public.PresignedGetObject(ctx, s.cfg.Bucket, object, p.Expiry, answer)
	if err != nil {
		return "", s.explain(ctx, "presign", key, err)
	}
	return u.String(), nil
}

// explain gives an error of the client the meaning that package blob knows.
func (s *Store) explain(ctx context.Context, doing string, key blob.Key, err error) error {
	if err == nil {
		return nil
	}
	if cause := ctx.Err(); cause != nil {
		return fmt.Errorf("%s %s: %w", doing, key, cause)
	}
	meaning := blob.ErrUnavailable
	response := minio.ToErrorResponse(err)
	switch {
	case fullCodes[response.Code] || response.StatusCode == http.StatusInsufficientStorage:
		meaning = blob.ErrFull
	case response.Code == "NoSuchKey" || response.StatusCode == http.StatusNotFound && response.Code != "NoSuchBucket" && response.Code != "NoSuchUpload":
		meaning = blob.ErrNotExist
	}
	return fmt.Errorf("%s %s: %w: %w", doing, key, meaning, err)
}

// fullCodes are what servers say that have no room left, or none for this account.
var fullCodes = map[string]bool{
	"XMinioStorageFull": true, "XMinioAdminBucketQuotaExceeded": true, "QuotaExceeded": true, "InsufficientCapacity": true,
	"ServiceQuotaExceededException": true, "StorageFull": true, "NotEnoughSpace": true,
}

// isRefusal tells whether the server has understood and does not want, or is not
// the one that was meant, so that a repeat helps nothing.
func isRefusal(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return true
	}
	response, ok := errors.AsType[minio.ErrorResponse](err)
	return ok && response.StatusCode >= 300 && response.StatusCode < 500 &&
		response.StatusCode != http.StatusRequestTimeout && response.StatusCode != http.StatusTooManyRequests
}
