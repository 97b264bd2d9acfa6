package local

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/blob"
)

// MarkPending implements blob.Store.
//
// The note is not synced: it is made in the folder from which the original is
// then renamed, and journals keep that order.
func (s *Store) MarkPending(_ context.Context, sha256 banksia.Digest) (blob.Note, error) {
	note := blob.Note{SHA256: sha256, Name: blob.NotePrefix + hex.EncodeToString(sha256)}
	file, err := os.OpenFile(s.notePath(note), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return note, blob.Explain(fmt.Errorf("mark pending: %w", err))
	}
	if err := errors.Join(file.Close(), blob.GiveToOwnerOf(s.root, s.notePath(note))); err != nil {
		return note, blob.Explain(fmt.Errorf("mark pending: %w", err))
	}
	return note, nil
}

// Settle implements blob.Store.
func (s *Store) Settle(_ context.Context, note blob.Note) error {
	if err := os.Remove(s.notePath(note)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return blob.Explain(fmt.Errorf("settle pending: %w", err))
	}
	return nil
}

// Pending implements blob.Store.
func (s *Store) Pending(_ context.Context, before time.Time) ([]blob.Note, error) {
	entries, err := os.ReadDir(s.TempDir())
	if err != nil {
		return nil, blob.Explain(fmt.Errorf("list pending: %w", err))
	}
	var notes []blob.Note
	for _, entry := range entries {
		text, marked := strings.CutPrefix(entry.Name(), blob.NotePrefix)
		sum, err := hex.DecodeString(text)
		if !marked || err != nil || len(sum) != 32 {
			continue
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // settled meanwhile
		}
		if err != nil {
			return nil, blob.Explain(fmt.Errorf("list pending: %w", err))
		}
		if !info.ModTime().After(before) {
			notes = append(notes, blob.Note{SHA256: sum, Name: entry.Name()})
		}
	}
	return notes, nil
}

func (s *Store) notePath(note blob.Note) string { return filepath.Join(s.TempDir(), note.Name) }

// Sweep implements blob.Store: all that this store leaves unfinished is in the
// temporary folder.
func (s *Store) Sweep(context.Context, time.Time) (removed int, err error) { return 0, nil }
