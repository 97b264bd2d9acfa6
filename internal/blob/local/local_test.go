package local

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/blob/blobtest"
)

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return open(t) })
}

func TestOpenAgain(t *testing.T) {
	root := t.TempDir()
	for range 2 {
		if _, err := Open(root); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file); err == nil {
		t.Error("a file was opened as a store")
	}
}

func TestSweepTemp(t *testing.T) {
	s := open(t)
	now := time.Now()
	for name, age := range map[string]time.Duration{"upload-old": 2 * time.Hour, "draw-old/thumbnail": 2 * time.Hour, "upload-new": time.Minute, blob.NotePrefix + "old": 2 * time.Hour} {
		path := filepath.Join(s.TempDir(), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if filepath.Dir(path) != s.TempDir() {
			path = filepath.Dir(path)
		}
		if err := os.Chtimes(path, now, now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if removed, err := blob.SweepTemp(s, now.Add(-time.Hour)); err != nil || removed != 2 {
		t.Errorf("swept %d, %v; want 2", removed, err)
	}
	entries, err := os.ReadDir(s.TempDir())
	if err != nil || len(entries) != 2 || entries[0].Name() != blob.NotePrefix+"old" || entries[1].Name() != "upload-new" {
		t.Errorf("left: %v, %v", entries, err)
	}
}
