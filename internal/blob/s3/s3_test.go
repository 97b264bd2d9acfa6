package s3

import (
	"testing"

	"github.com/banksia-photos/banksia/internal/banksiatest/services"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/blob/blobtest"
)

// open opens a bucket of its own, after change.
func open(t *testing.T, change func(*Config)) *Store {
	t.Helper()
	cfg := DefaultConfig()
	var secret string
	cfg.Endpoint, cfg.Bucket, cfg.AccessKey, secret = services.S3(t)
	cfg.SecretKey = Secret(secret)
	cfg.TempDir, cfg.Grace = t.TempDir(), 0
	if change != nil {
		change(&cfg)
	}
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, nil) })
}

// Two libraries share a bucket.
func TestStoreWithPrefix(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) blob.Store {
		s := open(t, func(cfg *Config) { cfg.Prefix = "photos/mine/" })
		other := s.cfg
		other.Prefix = "photos/mine2/"
		o, err := Open(t.Context(), other)
		if err != nil {
			t.Fatal(err)
		}
		blobtest.Put(t, o, "a/b", []byte("another library"))
		return s
	})
}
