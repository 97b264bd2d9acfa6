package blob

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// NotePrefix begins the names of notes among a store's temporary files.
const NotePrefix = "pending-"

// SweepTemp removes temporary files and folders of a store last touched before a
// time: uploads and drawings that a crash cut off. Notes stay.
func SweepTemp(store Store, before time.Time) (removed int, err error) {
	entries, err := os.ReadDir(store.TempDir())
	if err != nil {
		return 0, fmt.Errorf("sweep temporary files: %w", err)
	}
	for _, entry := range entries {
		stat, err := entry.Info()
		if err != nil || stat.ModTime().After(before) || strings.HasPrefix(entry.Name(), NotePrefix) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(store.TempDir(), entry.Name())); err != nil {
			return removed, fmt.Errorf("sweep temporary files: %w", err)
		}
		removed++
	}
	return removed, nil
}
