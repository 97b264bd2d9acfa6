package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// migrations are applied in the order of their numbers and never edited after a
// release: NNNN_what.sql.
//
//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the database to the newest version this program knows, each
// step in its own transaction.
func (s *Store) migrate(ctx context.Context) error {
	entries, err := fs.ReadDir(migrations, "migrations") // sorted by name
	if err != nil {
		return err
	}
	var current int
	err = s.Write(ctx, func(tx *Tx) error {
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
		if version <= current {
			continue
		}
		text, err := migrations.ReadFile("migrations/" + entry.Name())
		if err != nil {
			return err
		}
		err = s.Write(ctx, func(tx *Tx) error {
			if err := tx.execScript(s.dialect.schema(string(text))); err != nil {
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
			_, err := tx.Exec(`INSERT INTO schema_migrations (version, name, applied_at) VALUES ($1, $2, $3)`, version, entry.Name(), tx.Now().UnixMicro())
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", entry.Name(), err)
		}
	}
	if current > newest {
		return fmt.Errorf("%w: it is at version %d, this program knows up to %d", ErrNewerDatabase, current, newest)
	}
	return nil
}
