package blob

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/banksia-photos/banksia"
)

// PendingPrefix begins the names of the marks among a store's temporary files.
// Sweeping those leaves marks alone.
const PendingPrefix = "pending-"

// MarkPending notes that an original is about to be stored whose row is not yet
// committed. Settled takes the note back. What is noted after a crash has to be
// compared with the database; without the notes, that would take a walk over
// every file.
//
// The mark is not synced: it is made in the folder from which the original is
// then renamed, and journals keep that order.
func MarkPending(store Store, sha256 banksia.Digest) error {
	file, err := os.OpenFile(pendingPath(store, sha256), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return Explain(fmt.Errorf("mark pending: %w", err))
	}
	return file.Close()
}

// Settled takes back what MarkPending noted; without a mark it does nothing.
func Settled(store Store, sha256 banksia.Digest) error {
	if err := os.Remove(pendingPath(store, sha256)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Explain(fmt.Errorf("settle pending: %w", err))
	}
	return nil
}

// Pending lists the marks that were made before a time.
func Pending(store Store, before time.Time) ([]banksia.Digest, error) {
	entries, err := os.ReadDir(store.TempDir())
	if err != nil {
		return nil, Explain(fmt.Errorf("list pending: %w", err))
	}
	var sums []banksia.Digest
	for _, entry := range entries {
		text, marked := strings.CutPrefix(entry.Name(), PendingPrefix)
		sum, err := hex.DecodeString(text)
		if !marked || err != nil || len(sum) != 32 {
			continue
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // settled meanwhile
		}
		if err != nil {
			return nil, Explain(fmt.Errorf("list pending: %w", err))
		}
		if !info.ModTime().After(before) {
			sums = append(sums, sum)
		}
	}
	return sums, nil
}

func pendingPath(store Store, sha256 banksia.Digest) string {
	return filepath.Join(store.TempDir(), PendingPrefix+hex.EncodeToString(sha256))
}
