package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"
)

// migrations are applied in the order of their numbers and never edited after a
// release: NNNN_what.sql.
//
//go:embed migrations/*.sql
var migrations embed.FS

// newestVersion stands for all migrations that this program knows.
const newestVersion = math.MaxInt

// migrate brings the database to a version, each step in its own transaction. Of several nodes that start at once, one does a
// step and the others wait for it.
func (s *Store) migrate(ctx context.Context, upTo int) error {
	entries, err := fs.ReadDir(migrations, "migrations") // sorted by name
	if err != nil {
		return err
	}
	var current int
	err = s.patiently(ctx, func(tx *Tx) error {
		if _, err := tx.Exec(`CREATE TABLE IF NOT EXISTS schema_migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)`); err != nil {
			return err
		}
		return tx.QueryRow(`SELECT COALESCE(MAX(version), 0) FROM schema_migrations`).Scan(&current)
	})
	if err != nil {
		return err
	}
	newest := 0
	for _, entry := range entries {
		number, _, _ := strings.Cut(entry.Name(), "_")
		version, err := strconv.Atoi(number)
		if err != nil {
			return fmt.Errorf("migration %s has no number", entry.Name())
		}
		newest = max(newest, version)
		if version <= current || version > upTo {
			continue
		}
		text, err := migrations.ReadFile("migrations/" + entry.Name())
		if err != nil {
			return err
		}
		err = s.migrateStep(ctx, version, entry.Name(), string(text))
		if err != nil {
			return fmt.Errorf("%s: %w", entry.Name(), err)
		}
	}
	if current > newest {
		return fmt.Errorf("%w: it is at version %d, this program knows up to %d", ErrNewerDatabase, current, newest)
	}
	return nil
}

func (s *Store) migrateStep(ctx context.Context, version int, name, text string) error {
	return s.patiently(ctx, func(tx *Tx) error {
		if done, err := tx.exists(`SELECT 1 FROM schema_migrations WHERE version = $1`, version); err != nil || done {
			return err // another node was faster
		}
		if err := tx.takeTime(); err != nil {
			return err
		}
		if err := tx.execScript(s.dialect.schema.Replace(text)); err != nil {
			return err
		}
		if version == 8 { // SQL has no Unicode case folding that engines share
			if err := tx.fillNameKeys(); err != nil {
				return err
			}
		}
		if version == 5 { // the words are cut in Go, for every engine alike
			if err := tx.fillSearch(); err != nil {
				return err
			}
		}
		_, err := tx.Exec(`INSERT INTO schema_migrations (version, name, applied_at) VALUES ($1, $2, $3)`, version, name, tx.Now().UnixMicro())
		return err
	})
}

// patiently is Write for as long as another node's migration takes.
func (s *Store) patiently(ctx context.Context, f func(*Tx) error) error {
	for {
		if err := s.Write(ctx, f); !errors.Is(err, ErrBusy) || ctx.Err() != nil {
			return err
		}
	}
}
