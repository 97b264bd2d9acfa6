package local

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/banksia-photos/banksia/internal/banksiatest/faultfs"
	"github.com/banksia-photos/banksia/internal/blob"
)

// What a store has answered holds after a power cut, also in folders that it has made
// itself a moment ago.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	at := t.TempDir()
	disk, err := faultfs.Mount(at, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := disk.Close(); err != nil {
			t.Error(err)
		}
	})
	s, err := Open(filepath.Join(at, "above", "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	content := strings.Repeat("a photo", 1000)
	adopted := filepath.Join(s.TempDir(), "drawn")
	for _, err := range []error{
		s.Put(t.Context(), "originals/aa/put", strings.NewReader(content)),
		s.Put(t.Context(), "originals/aa/again", strings.NewReader("before")),
		s.Put(t.Context(), "originals/aa/again", strings.NewReader(content)),
		s.Put(t.Context(), "originals/bb/deleted", strings.NewReader(content)),
		s.Delete(t.Context(), "originals/bb/deleted"),
		os.WriteFile(adopted, []byte(content), 0o600),
		s.Adopt(t.Context(), "derived/cc/adopted", adopted),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for seed := range uint64(50) {
		left := filepath.Join(t.TempDir(), "left")
		if err := disk.LosePower(left, seed, seed%2 == 0); err != nil {
			t.Fatal(err)
		}
		for key, want := range map[blob.Key]string{"originals/aa/put": content, "originals/aa/again": content, "derived/cc/adopted": content, "originals/bb/deleted": ""} {
			got, err := os.ReadFile(filepath.Join(left, "above", "blobs", filepath.FromSlash(string(key))))
			if !bytes.Equal(got, []byte(want)) || (want == "") != os.IsNotExist(err) {
				t.Errorf("seed %d: a power cut leaves %d bytes of %s: %v", seed, len(got), key, err)
			}
		}
	}
}
