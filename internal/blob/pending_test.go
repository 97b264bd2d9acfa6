package blob_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/blob/blobtest"
)

func TestPending(t *testing.T) {
	s := openLocal(t)
	first, second := banksia.Digest(blobtest.Bytes(32, 1)), banksia.Digest(blobtest.Bytes(32, 2))
	for _, sum := range []banksia.Digest{first, first, second} {
		if err := blob.MarkPending(s, sum); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"upload-1", blob.PendingPrefix + "zz", blob.PendingPrefix + "abcd"} {
		if err := os.WriteFile(filepath.Join(s.TempDir(), name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if sums, err := blob.Pending(s, time.Now().Add(-time.Minute)); err != nil || len(sums) != 0 {
		t.Errorf("pending for a minute: %x, %v", sums, err)
	}
	if sums, err := blob.Pending(s, time.Now().Add(time.Minute)); err != nil || len(sums) != 2 {
		t.Errorf("pending: %x, %v", sums, err)
	}
	for range 2 {
		if err := blob.Settled(s, first); err != nil {
			t.Fatal(err)
		}
	}
	if sums, err := blob.Pending(s, time.Now().Add(time.Minute)); err != nil || len(sums) != 1 || !bytes.Equal(sums[0], second) {
		t.Errorf("pending after one has settled: %x, %v", sums, err)
	}
}
