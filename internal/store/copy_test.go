package store

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
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
				_, err := tx.Exec(`INSERT INTO settings (name, value) VALUES ('odd', $1), ('nothing', $2)`, []byte{0, 255, 0, '\''}, []byte{})
				for i, number := range []float64{0.1 + 0.2, math.Copysign(0, -1), math.Inf(1), -math.MaxFloat64, math.SmallestNonzeroFloat64} {
					if err == nil {
						_, err = tx.Exec(`UPDATE asset_metadata SET make = $1, model = '', altitude = $2 WHERE asset_id = $3`, "1.50\t\\N\"né\u00e9'\r\n\U0001f98e"+strings.Repeat("x", 100_000), number, l.assets[i].id)
					}
				}
				return err
			})

			// A copy that is cut off cannot be mistaken for a whole one, and is begun anew,
			// wherever that was.
			toConfig.Target = true
			for _, last := range []string{"copying settings", "copying albums", "copying search_documents", "indexing search_documents", "comparing assets"} {
				to, err := Open(t.Context(), toConfig)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				err = Copy(ctx, from, to, CopyOptions{Progress: func(step, table string, _, _ int64) {
					if step+" "+table == last {
						cancel()
					}
				}})
				if err == nil {
					t.Fatalf("a copy that was cut off at %s succeeded", last)
				}
				to.Close()
				server := toConfig
				server.Target = false
				if _, err := Open(t.Context(), server); !errors.Is(err, ErrUnfinishedCopy) {
					t.Errorf("opening half a copy: %v", err)
				}
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
			err = server.Write(t.Context(), add)
			if e, ok := errors.AsType[*banksia.Error](err); !errors.Is(err, ErrMoved) || !ok || e.Code != banksia.CodeUnavailable || e.Retry == 0 {
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

// A move that is cut off after the source was closed leaves no two databases in use,
// nor none: its last step can be made later.
func TestMoveCutOffAtTheEnd(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{"SQLite": emptyFile(t), "PostgreSQL": emptyPostgres(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from := openWith(t, cfg)
			l := newTestLibrary(t, from)
			r := rand.New(rand.NewPCG(39, 40))
			l.write(t, func(tx *Tx) error { return l.add(t, tx, r) })
			target := emptyFile(t)
			to := openWith(t, target)
			trigger := func(text string) {
				t.Helper()
				if err := to.Write(t.Context(), func(tx *Tx) error { return tx.execScript(text) }); err != nil {
					t.Fatal(err)
				}
			}
			trigger(`CREATE TRIGGER cut BEFORE DELETE ON settings WHEN OLD.name = 'copy.unfinished' BEGIN SELECT RAISE(FAIL, 'cut off'); END`)
			if err := Copy(t.Context(), from, to, CopyOptions{MoveTo: "there"}); err == nil || !strings.Contains(err.Error(), "cut off") {
				t.Errorf("the move ends with %v", err)
			}
			_, err := Open(t.Context(), cfg)
			if moved, ok := errors.AsType[*MovedError](err); !ok || moved.To != "there" || !errors.Is(err, ErrMoved) {
				t.Errorf("opening the source: %v", err)
			}
			if _, err := Open(t.Context(), target); !errors.Is(err, ErrUnfinishedCopy) {
				t.Errorf("opening the target: %v", err)
			}
			trigger(`DROP TRIGGER cut`)
			target.Target = true
			for _, want := range []bool{true, false} {
				if done, err := openWith(t, target).FinishMove(t.Context()); err != nil || done != want {
					t.Errorf("finished: %v, %v; want %v", done, err, want)
				}
			}
			target.Target = false
			list, _, err := openWith(t, target).ListAssets(t.Context(), l.scope, AssetFilter{LibraryID: l.id, Limit: 20})
			if err != nil || len(list) == 0 {
				t.Errorf("the target lists %d assets, %v", len(list), err)
			}
		})
	}
}

// Of two copies into one database the later one goes on, and the other fails.
func TestCopyOvertaken(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{"SQLite": emptyFile(t), "PostgreSQL": emptyPostgres(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from := openFile(t)
			l := newTestLibrary(t, from)
			r := rand.New(rand.NewPCG(35, 36))
			l.write(t, func(tx *Tx) error { return l.add(t, tx, r) })
			cfg.Target = true
			to, again := openWith(t, cfg), openWith(t, cfg)
			var second error
			first := Copy(t.Context(), from, to, CopyOptions{Progress: func(step, table string, _, _ int64) {
				if step == "copying" && table == "assets" {
					second = Copy(t.Context(), from, again, CopyOptions{})
				}
			}})
			if second != nil || !errors.Is(first, ErrOvertaken) {
				t.Errorf("the first ends with %v, the second with %v", first, second)
			}
			if problems, err := to.Check(t.Context()); err != nil || len(problems) > 0 {
				t.Errorf("the copy is not sound: %v, %v", problems, err)
			}
		})
	}
}

// The limits of time that an operator or this program gives to requests are not
// those of a copy, which may take hours.
func TestCopyTakesItsTime(t *testing.T) {
	t.Parallel()
	cfg := emptyPostgres(t)
	to, watch := openFile(t), openWith(t, cfg)
	l := newTestLibrary(t, watch)
	r := rand.New(rand.NewPCG(37, 38))
	l.write(t, func(tx *Tx) error { return l.add(t, tx, r) })
	administer(t, cfg.URL, `ALTER DATABASE {{name}} SET statement_timeout = '1s'`)
	cfg.URL += "&idle_in_transaction_session_timeout=1s"
	from := openWith(t, cfg)
	wait := func(step, table string, _, _ int64) {
		if step != "copying" || table != "assets" {
			return
		}
		for idle := false; !idle; {
			err := watch.Read(t.Context(), func(tx *Tx) (err error) {
				idle, err = tx.exists(`WITH mover AS (SELECT pid FROM pg_locks WHERE relation = 'tasks'::REGCLASS AND mode = 'ShareLock')
					SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM mover)
					UNION ALL SELECT 1 FROM pg_stat_activity WHERE pid IN (SELECT pid FROM mover) AND state = 'idle in transaction' AND state_change < clock_timestamp() - INTERVAL '2 s'`)
				return err
			})
			if err != nil {
				t.Error(err)
				return
			}
		}
	}
	if err := Copy(t.Context(), from, to, CopyOptions{MoveTo: "there", Progress: wait}); err != nil {
		t.Error(err)
	}
}

// A text that PostgreSQL cannot keep is named.
func TestCopyNamesOddText(t *testing.T) {
	t.Parallel()
	from := openFile(t)
	l := newTestLibrary(t, from)
	l.write(t, func(tx *Tx) error {
		_, err := tx.Exec(`UPDATE libraries SET description = $1`, "zero\x00byte")
		return err
	})
	if err := Copy(t.Context(), from, openWith(t, emptyPostgres(t)), CopyOptions{}); err == nil || !strings.Contains(err.Error(), "column description of the row id = ") {
		t.Errorf("copying a zero byte: %v", err)
	}
}
