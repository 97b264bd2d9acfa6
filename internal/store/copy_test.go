package store

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/banksiatest/services"
)

func emptyFile(t testing.TB) Config {
	t.Helper()
	return Config{Path: filepath.Join(t.TempDir(), "banksia.db")}
}

func emptyPostgres(t testing.TB) Config {
	t.Helper()
	return Config{URL: services.Postgres(t, nil)}
}

// A copy on any engine is the original, row by row, and works like it.
func TestCopy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ from, to func(testing.TB) Config }{
		"SQLite to PostgreSQL":     {emptyFile, emptyPostgres},
		"PostgreSQL to SQLite":     {emptyPostgres, emptyFile},
		"SQLite to SQLite":         {emptyFile, emptyFile},
		"PostgreSQL to PostgreSQL": {emptyPostgres, emptyPostgres},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fromConfig, toConfig := c.from(t), c.to(t)
			from := openWith(t, fromConfig)
			l := newTestLibrary(t, from)
			r := rand.New(rand.NewPCG(31, 32))
			l.populate(t, r, 5, 5, 5)
			l.write(t, func(tx *Tx) error {
				for range 300 {
					if err := l.add(t, tx, r); err != nil {
						return err
					}
				}
				// All bit patterns of numbers, and texts that look like other things.
				_, err := tx.Exec(`INSERT INTO settings (name, value) VALUES ('odd', $1)`, []byte{0, 255, 0, '\''})
				if err == nil {
					_, err = tx.Exec(`UPDATE asset_metadata SET make = $1, altitude = $2 WHERE asset_id = $3`, "1.50\t\\N\"né\u00e9'", 0.1+0.2, l.assets[0].id)
				}
				return err
			})

			// A copy that is cut off cannot be mistaken for a whole one.
			halfConfig := c.to(t)
			half := openWith(t, halfConfig)
			ctx, cancel := context.WithCancel(t.Context())
			err := Copy(ctx, from, half, CopyOptions{Progress: func(step, table string, _, _ int64) {
				if table == "albums" {
					cancel()
				}
			}})
			if err == nil {
				t.Fatal("a cancelled copy succeeded")
			}
			if _, err := Open(t.Context(), halfConfig); !errors.Is(err, ErrUnfinishedCopy) {
				t.Errorf("opening half a copy: %v", err)
			}

			to := openWith(t, toConfig)
			if err := Copy(t.Context(), from, to, CopyOptions{}); err != nil {
				t.Fatal(err)
			}
			if err := Copy(t.Context(), from, to, CopyOptions{}); !errors.Is(err, ErrNotEmpty) {
				t.Errorf("copying into a full database: %v", err)
			}
			if problems, err := to.Check(t.Context()); err != nil || len(problems) > 0 {
				t.Errorf("the copy is not sound: %v, %v", problems, err)
			}
			filter := AssetFilter{LibraryID: l.id, State: All, Limit: 200}
			want, _, err := from.ListAssets(t.Context(), l.scope, filter)
			if err != nil {
				t.Fatal(err)
			}
			got, _, err := to.ListAssets(t.Context(), l.scope, filter)
			if err != nil || !slices.EqualFunc(got, want, func(a, b banksia.Asset) bool { return a.ID == b.ID && a.OriginalFileName == b.OriginalFileName }) {
				t.Errorf("the copy lists %d assets, %v; want %d", len(got), err, len(want))
			}
			query := want[0].OriginalFileName
			found, err := to.RankByText(t.Context(), l.scope, AssetFilter{LibraryID: l.id, State: Live, Limit: 20}, query)
			original, err2 := from.RankByText(t.Context(), l.scope, AssetFilter{LibraryID: l.id, State: Live, Limit: 20}, query)
			if err != nil || err2 != nil || len(found) == 0 || len(found) != len(original) {
				t.Errorf("the copy finds %d by %q, the original %d: %v, %v", len(found), query, len(original), err, err2)
			}
			// It can be changed, and so can the original; what engines number goes on.
			for _, s := range []*Store{from, to} {
				copied := *l
				copied.Store = s
				copied.write(t, func(tx *Tx) error { return copied.add(t, tx, r) })
			}
		})
	}
}

// What was moved cannot be changed where it was, by whoever has it open.
func TestMove(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{"SQLite": emptyFile(t), "PostgreSQL": emptyPostgres(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, to := openWith(t, cfg), openFile(t)
			l := newTestLibrary(t, from)
			r := rand.New(rand.NewPCG(33, 34))
			l.write(t, func(tx *Tx) error { return l.add(t, tx, r) })
			impatient := cfg
			impatient.Patience = 1 // nanosecond
			server := openWith(t, impatient)
			add := func(tx *Tx) error {
				_, err := tx.Exec(`INSERT INTO settings (name, value) VALUES ('late', $1)`, []byte{1})
				return err
			}
			during := error(nil)
			mover := openWith(t, cfg)
			err := Copy(t.Context(), mover, to, CopyOptions{MoveTo: "there", Progress: func(step, table string, _, _ int64) {
				if step != "copying" || table != "assets" {
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), 100e6)
				defer cancel()
				during = server.Write(ctx, add)
				if _, _, err := server.ListAssets(t.Context(), l.scope, AssetFilter{LibraryID: l.id, Limit: 20}); err != nil {
					t.Errorf("reading during the move: %v", err)
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			if during == nil {
				t.Error("the source was changed while it was moved")
			}
			if err := server.Write(t.Context(), add); !errors.Is(err, ErrMoved) || banksia.ErrorCode(err) != banksia.CodeUnavailable {
				t.Errorf("changing what was moved: %v", err)
			}
			if _, err := Open(t.Context(), cfg); !errors.Is(err, ErrMoved) {
				t.Errorf("opening what was moved: %v", err)
			}
			if err := to.Write(t.Context(), add); err != nil {
				t.Errorf("changing the target: %v", err)
			}
		})
	}
}
