// Package storetest gives tests databases of the engine that they are run for.
package storetest

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/banksia-photos/banksia/internal/banksiatest/services"
	"github.com/banksia-photos/banksia/internal/store"
)

// Database is a new database, which goes with the test: a SQLite file, or one on a
// PostgreSQL server where services.Engine says so.
func Database(t testing.TB) store.Config {
	t.Helper()
	if services.Engine() == "sqlite" {
		return File(t)
	}
	return Postgres(t)
}

// File is a new SQLite database.
func File(t testing.TB) store.Config {
	t.Helper()
	return store.Config{Path: filepath.Join(t.TempDir(), "banksia.db")}
}

// Postgres is a new database on a PostgreSQL server.
func Postgres(t testing.TB) store.Config {
	t.Helper()
	return store.Config{URL: services.Postgres(t, func(url string) error {
		s, err := store.Open(context.Background(), store.Config{URL: url})
		if err == nil {
			err = s.Close()
		}
		return err
	})}
}
