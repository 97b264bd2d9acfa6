package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/banksiatest/services"
)

// database is a new database, on the engine that the tests are run for.
func database(t testing.TB) Config {
	t.Helper()
	if services.Engine() == "sqlite" {
		return Config{Path: filepath.Join(t.TempDir(), "banksia.db")}
	}
	return Config{URL: services.Postgres(t, func(url string) error {
		s, err := Open(context.Background(), Config{URL: url})
		if err == nil {
			err = s.Close()
		}
		return err
	})}
}

// emptyDatabase is database without any table.
func emptyDatabase(t testing.TB) Config {
	t.Helper()
	if services.Engine() == "sqlite" {
		return Config{Path: filepath.Join(t.TempDir(), "banksia.db")}
	}
	return Config{URL: services.Postgres(t, nil)}
}

func open(t testing.TB) *Store {
	t.Helper()
	return openWith(t, database(t))
}

// openFile opens a new SQLite database whatever the tests are run for: for tests of
// its plans, which follow from the text of a query alone.
func openFile(t testing.TB) *Store {
	t.Helper()
	return openWith(t, Config{Path: filepath.Join(t.TempDir(), "banksia.db")})
}

func openWith(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestOpenRefusesNewerDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a folder with ? and #", "banksia.db")
	if _, err := Open(t.Context(), Config{Path: path}); err == nil {
		t.Fatal("a database was opened in a folder that does not exist")
	}
	path = filepath.Join(t.TempDir(), "a ? and #.db")
	for range 2 { // the second opening finds nothing to do
		s, err := Open(t.Context(), Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	s, err := Open(t.Context(), Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Write(t.Context(), func(tx *Tx) error {
		_, err := tx.Exec(`INSERT INTO schema_migrations (version, name, applied_at) VALUES (9999, 'future', 0)`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := Open(t.Context(), Config{Path: path}); !errors.Is(err, ErrNewerDatabase) {
		t.Errorf("opening a newer database: %v", err)
	}
}

func TestWriteKeepsNothingOfAFailure(t *testing.T) {
	s := open(t)
	boom := errors.New("boom")
	set := func(tx *Tx) error {
		_, err := tx.Exec(`INSERT INTO settings (name, value) VALUES ($1, $2)`, "a", []byte{1})
		return err
	}
	if err := s.Write(t.Context(), func(tx *Tx) error { return errors.Join(set(tx), boom) }); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	func() {
		defer func() { recover() }()
		s.Write(t.Context(), func(tx *Tx) error { set(tx); panic("boom") })
	}()
	ctx, cancel := context.WithCancel(t.Context())
	if err := s.Write(ctx, func(tx *Tx) error { defer cancel(); return set(tx) }); !errors.Is(err, context.Canceled) {
		t.Fatalf("a commit after cancellation: %v", err)
	}
	if err := s.Write(t.Context(), set); err != nil {
		t.Fatalf("something remained: %v", err)
	}
	if err := s.Write(t.Context(), set); !errors.Is(err, ErrDuplicate) {
		t.Fatalf("a second row of the same name: %v", err)
	}
}

// The last connection takes the log back into the database file, so that a closed
// library is one file.
func TestCloseLeavesOneFile(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	s, err := Open(t.Context(), Config{Path: filepath.Join(folder, "banksia.db")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ListLibraries(t.Context(), banksia.Scope{}, Live); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
	if _, err := s.ListLibraries(t.Context(), banksia.Scope{}, Live); err == nil {
		t.Error("a closed store answers")
	}
}
