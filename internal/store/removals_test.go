package store

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
)

// The rules of removals.go, in the order in which two processes may meet.
func TestRemovals(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "banksia.db"), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	sum := banksia.Digest("0123456789abcdef0123456789abcdef")
	look := func() (Removals, error) {
		t.Helper()
		return s.Removals(t.Context(), sum)
	}
	check := func(seen Removals) error {
		return s.Write(t.Context(), func(tx *Tx) error { return tx.CheckRemovals(sum, seen) })
	}
	numbers := map[string]int64{}
	begin := func(owner string) error {
		t.Helper()
		s.process = owner
		number, err := s.BeginRemoval(t.Context(), sum)
		if err == nil {
			numbers[owner] = number
		}
		return err
	}
	end := func(owner string) {
		t.Helper()
		if err := s.EndRemoval(t.Context(), sum, numbers[owner]); err != nil {
			t.Fatal(err)
		}
	}
	before, err := look()
	if err != nil || check(before) != nil {
		t.Fatalf("nothing was removed: %v, %v", err, check(before))
	}
	if err := begin("a"); err != nil {
		t.Fatal(err)
	}
	if _, err := look(); !errors.Is(err, ErrRemoved) {
		t.Errorf("an upload that comes during a removal: %v", err)
	}
	if err := check(before); !errors.Is(err, ErrRemoved) {
		t.Errorf("an upload that came before a removal: %v", err)
	}
	if err := begin("b"); !errors.Is(err, ErrRemoving) {
		t.Errorf("two at a time: %v", err)
	}
	if err := begin("a"); err != nil {
		t.Errorf("the same again: %v", err)
	}
	now = now.Add(removalTime + time.Second)
	if err := begin("b"); err != nil {
		t.Errorf("after the first has died: %v", err)
	}
	end("a")
	if _, err := look(); !errors.Is(err, ErrRemoved) {
		t.Errorf("who has lost a removal ended it: %v", err)
	}
	end("b")
	if err := check(before); !errors.Is(err, ErrRemoved) {
		t.Errorf("an upload that came before an ended removal: %v", err)
	}
	after, err := look()
	if err != nil || check(after) != nil {
		t.Errorf("an upload that came after: %v, %v", err, check(after))
	}
	now = now.Add(removalMemory + time.Second)
	other := banksia.Digest("another checksum, another removal")
	if _, err := s.BeginRemoval(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if forgotten, err := look(); err != nil || forgotten != (Removals{}) {
		t.Errorf("after days: %+v, %v", forgotten, err)
	}
}
