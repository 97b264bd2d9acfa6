package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/banksia-photos/banksia"
)

// copiedTables are all tables and their primary keys, each after those that its rows
// refer to. schema_migrations is not among them: it is each database's own.
var copiedTables = []struct{ name, key string }{
	{"settings", "name"},
	{"users", "id"},
	{"libraries", "id"},
	{"api_keys", "id"},
	{"api_key_libraries", "api_key_id, library_id"},
	{"logins", "state_hash"},
	{"sessions", "id"},
	{"oauth_clients", "id"},
	{"oauth_grants", "id"},
	{"oauth_tokens", "token_hash"},
	{"stacks", "id"},
	{"assets", "id"},
	{"asset_versions", "id"},
	{"asset_metadata", "asset_id"},
	{"asset_edits", "asset_id"},
	{"asset_cells", "library_id, cell, live, local_datetime, asset_id"},
	{"asset_months", "library_id, live, month"},
	{"cell_totals", "library_id, live, parent, cell"},
	{"purged_assets", "id"},
	{"albums", "id"},
	{"album_assets", "id"},
	{"people", "id"},
	{"faces", "id"},
	{"face_embeddings", "face_id"},
	{"person_embeddings", "person_id, model"},
	{"person_centroids", "library_id, model, person_id"},
	{"asset_people", "asset_id, person_id"},
	{"search_documents", "document"},
	{"events", "library_id, position"},
	{"event_logs", "library_id"},
	{"event_gaps", "library_id, after_position"},
	{"tasks", "id"},
	{"original_removals", "checksum"},
}

// Names of settings that a copy leaves.
const (
	settingUnfinished = "copy.unfinished" // in the target, until it may be used: which copy fills it, or whole
	settingMovedTo    = "copy.moved_to"   // in the source: where everything is now
)

// whole is the value of settingUnfinished of a target that was filled and compared and
// waits for its source to be closed.
var whole = []byte("whole")

// MovedError says that everything in a database was moved to another. It is ErrMoved.
type MovedError struct {
	To string // CopyOptions.MoveTo
}

func (e *MovedError) Error() string { return ErrMoved.Error() + " to " + e.To }

// Is implements what errors.Is asks for.
func (e *MovedError) Is(target error) bool { return target == ErrMoved }

var (
	// ErrUnfinishedCopy says that a copy into the database was cut off.
	ErrUnfinishedCopy = errors.New("the database is an unfinished copy; run the same command again")
	// ErrMoved says that everything in the database was moved to another.
	ErrMoved = errors.New("the database was moved")
	// ErrNotEmpty says that a database has users already.
	ErrNotEmpty = errors.New("the database is not empty")
	// ErrOvertaken says that another copy into the same database has begun.
	ErrOvertaken = errors.New("another copy into the database has begun")
)

// copyBatch is how many rows one transaction of a copy writes.
const copyBatch = 2000

// CopyOptions says how a database is copied.
type CopyOptions struct {
	// MoveTo closes the source to all changes while it is copied and for good when
	// the copy is complete; it is where the target is, for people to read. "": the
	// source is left as it is, and what changes during the copy is not in the target.
	MoveTo string
	// Progress, when not nil, is told how many of how many rows of a table have been
	// copied, or compared.
	Progress func(step, table string, done, total int64)
}

// copying is one copy under way.
type copying struct {
	to       *Store
	token    []byte // of settingUnfinished in the target
	progress func(step, table string, done, total int64)
}

// Copy fills an empty database with everything in another, on any engine, as it is
// at one moment, and then compares them row by row. While it runs the source can be
// read and, unless it is being moved, written. A target that was not finished can
// only be opened as Config.Target: to be filled anew, or for FinishMove.
func Copy(ctx context.Context, from, to *Store, o CopyOptions) error {
	c := &copying{to: to, token: []byte(rand.Text()), progress: o.Progress}
	if c.progress == nil {
		c.progress = func(string, string, int64, int64) {}
	}
	if err := c.begin(ctx); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	copyAll := func(source *Tx) error {
		columns, err := source.columnsOf()
		if err != nil {
			return err
		}
		for _, table := range copiedTables {
			if err := c.copyTable(ctx, source, table.name, columns[table.name]); err != nil {
				return fmt.Errorf("copy %s: %w", table.name, err)
			}
		}
		if err := c.fillSearchIndex(ctx); err != nil {
			return fmt.Errorf("copy the words: %w", err)
		}
		return to.Read(ctx, func(target *Tx) error {
			if err := target.takeTime(); err != nil {
				return err
			}
			for _, table := range copiedTables {
				if err := compareTable(source, target, table.name, table.key, columns[table.name], c.progress); err != nil {
					return fmt.Errorf("compare %s: %w", table.name, err)
				}
			}
			return nil
		})
	}
	if o.MoveTo == "" {
		err := from.Read(ctx, func(source *Tx) error {
			if err := source.takeTime(); err != nil {
				return err
			}
			return copyAll(source)
		})
		if err != nil {
			return err
		}
		return c.finish(ctx)
	}
	err := from.patientlyAlone(ctx, func(source *Tx) error {
		if err := source.closeToChanges(); err != nil {
			return fmt.Errorf("keep others from changing the source: %w", err)
		}
		if err := copyAll(source); err != nil {
			return err
		}
		// So that there is no moment at which both can be used, the target waits for
		// the source; see FinishMove for when that is cut off.
		if err := c.awaitSource(ctx); err != nil {
			return err
		}
		return source.seal(o.MoveTo)
	})
	if err != nil {
		return err
	}
	return c.finish(ctx)
}

// FinishMove opens the target of a move that was cut off after its source had been
// closed, which the caller has seen. done is false when the target is no such.
func (s *Store) FinishMove(ctx context.Context) (done bool, err error) {
	err = s.Write(ctx, func(tx *Tx) error {
		result, err := tx.Exec(`DELETE FROM settings WHERE name = $1 AND value = $2`, settingUnfinished, whole)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		done = n > 0
		return err
	})
	return done, err
}

// CanBeFilled fails with ErrNotEmpty when a copy into the database would.
func (s *Store) CanBeFilled(ctx context.Context) error { return s.Read(ctx, (*Tx).canBeFilled) }

func (tx *Tx) canBeFilled() error {
	unfinished, err := tx.exists(`SELECT 1 FROM settings WHERE name = $1`, settingUnfinished)
	if err != nil || unfinished {
		return err
	}
	some, err := tx.exists(`SELECT 1 FROM users LIMIT 1`)
	if err == nil && some {
		err = ErrNotEmpty
	}
	return err
}

// begin makes the target an unfinished copy, without what another that was cut off
// has left in it.
func (c *copying) begin(ctx context.Context) error {
	return c.to.patientlyAlone(ctx, func(tx *Tx) error {
		if err := tx.canBeFilled(); err != nil {
			return err
		}
		if err := tx.emptyTables(); err != nil {
			return fmt.Errorf("empty the target: %w", err)
		}
		_, err := tx.Exec(`INSERT INTO settings (name, value) VALUES ($1, $2)`, settingUnfinished, c.token)
		return err
	})
}

func (tx *Tx) emptyTables() error {
	if err := tx.takeTime(); err != nil {
		return err
	}
	names := make([]string, len(copiedTables))
	for i, table := range copiedTables {
		names[len(names)-1-i] = table.name
	}
	return tx.execScript(tx.store.dialect.emptyTables(names))
}

// write changes the target, as long as no other copy has begun to fill it.
func (c *copying) write(ctx context.Context, f func(*Tx) error) error {
	return c.to.Write(ctx, func(tx *Tx) error {
		if err := tx.takeTime(); err != nil {
			return err
		}
		result, err := tx.Exec(`UPDATE settings SET value = value WHERE name = $1 AND value = $2`, settingUnfinished, c.token)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, ErrOvertaken)
		}
		return f(tx)
	})
}

// awaitSource marks the target as whole.
func (c *copying) awaitSource(ctx context.Context) error {
	err := c.write(ctx, func(tx *Tx) error {
		_, err := tx.Exec(`UPDATE settings SET value = $1 WHERE name = $2`, whole, settingUnfinished)
		return err
	})
	if err == nil {
		c.token = whole
	}
	return err
}

// finish makes the target a database like any other.
func (c *copying) finish(ctx context.Context) error {
	return c.write(ctx, func(tx *Tx) error {
		_, err := tx.Exec(`DELETE FROM settings WHERE name = $1`, settingUnfinished)
		return err
	})
}

// patientlyAlone is Write without its bound on how long a statement waits for others.
func (s *Store) patientlyAlone(ctx context.Context, f func(*Tx) error) error {
	for {
		if err := s.Write(ctx, f); !errors.Is(err, ErrBusy) || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// takeTime lets the statements of a transaction, and the waits between them, last as
// long as they need, whatever an operator has set for those of requests.
func (tx *Tx) takeTime() error {
	if tx.store.dialect.takeTime == "" {
		return nil
	}
	return tx.execScript(tx.store.dialect.takeTime)
}

// closeToChanges keeps other transactions from changing any table until the end of
// this one.
func (tx *Tx) closeToChanges() error {
	if tx.store.dialect.closeTables == "" {
		return nil // the transaction excludes all others
	}
	if err := tx.takeTime(); err != nil {
		return err
	}
	names := make([]string, len(copiedTables))
	for i, table := range copiedTables {
		names[i] = table.name
	}
	_, err := tx.Exec(fmt.Sprintf(tx.store.dialect.closeTables, strings.Join(names, ", ")))
	return err
}

// seal makes every later change of the database fail.
func (tx *Tx) seal(movedTo string) error {
	_, err := tx.Exec(`INSERT INTO settings (name, value) VALUES ($1, $2)`, settingMovedTo, []byte(movedTo))
	for _, table := range copiedTables {
		if err == nil {
			err = tx.execScript(strings.ReplaceAll(tx.store.dialect.sealTable, "{{table}}", table.name))
		}
	}
	if err != nil {
		return fmt.Errorf("seal the source: %w", err)
	}
	return nil
}

// refuseCopies fails for a database that is not to be used; target says that it is
// about to be filled.
func (s *Store) refuseCopies(ctx context.Context, target bool) error {
	return s.Read(ctx, func(tx *Tx) error {
		return tx.each(`SELECT name, value FROM settings WHERE name IN ($1, $2)`, []any{settingUnfinished, settingMovedTo}, func(rows *sql.Rows) error {
			var name string
			var value []byte
			if err := rows.Scan(&name, &value); err != nil {
				return err
			}
			if name == settingUnfinished {
				if target {
					return nil
				}
				return ErrUnfinishedCopy
			}
			return &MovedError{To: string(value)}
		})
	})
}

// columnsOf reads the columns of each table that is copied; others than those are
// an error, so that no migration adds a table that is forgotten.
func (tx *Tx) columnsOf() (map[string][]Column, error) {
	all, err := tx.Columns()
	if err != nil {
		return nil, err
	}
	columns := map[string][]Column{}
	for _, table := range copiedTables {
		columns[table.name] = nil
	}
	for _, c := range all {
		if _, known := columns[c.Table]; !known && c.Table != "schema_migrations" {
			return nil, fmt.Errorf("the table %s is not known to the copy", c.Table)
		}
		columns[c.Table] = append(columns[c.Table], c)
	}
	return columns, nil
}

func columnNames(columns []Column) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	return strings.Join(names, ", ")
}

// scanRow reads a row as values that every engine takes back: nil, int64, bool,
// float64, string and []byte.
func scanRow(rows *sql.Rows, columns []Column) ([]any, error) {
	to := make([]any, len(columns))
	for i, c := range columns {
		switch c.Type {
		case "BIGINT":
			to[i] = new(sql.NullInt64)
		case "BOOLEAN":
			to[i] = new(sql.NullBool)
		case "DOUBLE PRECISION":
			to[i] = new(sql.NullFloat64)
		case "TEXT":
			to[i] = new(sql.NullString)
		case "BYTEA":
			to[i] = new(any) // drivers make no []byte of no bytes
		default:
			return nil, fmt.Errorf("column %s has the unknown type %s", c.Name, c.Type)
		}
	}
	if err := rows.Scan(to...); err != nil {
		return nil, err
	}
	for i := range to {
		switch v := to[i].(type) {
		case *sql.NullInt64:
			to[i], _ = v.Value()
		case *sql.NullBool:
			to[i], _ = v.Value()
		case *sql.NullFloat64:
			to[i], _ = v.Value()
		case *sql.NullString:
			to[i], _ = v.Value()
		case *any:
			if bytes, ok := (*v).([]byte); ok {
				to[i] = append([]byte{}, bytes...)
			} else {
				to[i] = *v // NULL, or what the comparison refuses
			}
		}
	}
	return to, nil
}

func (tx *Tx) count(table string) (n int64, err error) {
	err = tx.QueryRow(`SELECT COUNT(*) FROM ` + table).Scan(&n)
	return n, err
}

func (c *copying) copyTable(ctx context.Context, source *Tx, table string, columns []Column) error {
	total, err := source.count(table)
	if err != nil || total == 0 {
		return err
	}
	var batch [][]any
	done := int64(0)
	flush := func() error {
		err := c.write(ctx, func(tx *Tx) error { return c.to.dialect.load(tx, table, columns, batch) })
		if err != nil {
			return errors.Join(err, noTextAmong(columns, batch))
		}
		done += int64(len(batch))
		batch = nil
		c.progress("copying", table, done, total)
		return nil
	}
	where, args := "", []any{}
	if table == "settings" { // those of the copies are of one database
		where, args = " WHERE name NOT IN ($1, $2)", []any{settingUnfinished, settingMovedTo}
	}
	err = source.each(`SELECT `+columnNames(columns)+` FROM `+table+where, args, func(rows *sql.Rows) error {
		row, err := scanRow(rows, columns)
		if err != nil {
			return err
		}
		if batch = append(batch, row); len(batch) < copyBatch {
			return nil
		}
		return flush()
	})
	if err == nil && len(batch) > 0 {
		err = flush()
	}
	return err
}

// noTextAmong names a value that not every engine can keep.
func noTextAmong(columns []Column, rows [][]any) error {
	for _, row := range rows {
		for i, value := range row {
			if text, ok := value.(string); ok && !isText(text) {
				return fmt.Errorf("column %s of the row %s = %x holds a zero byte or what is no UTF-8: %q", columns[i].Name, columns[0].Name, row[0], text)
			}
		}
	}
	return nil
}

// insertRows writes rows one by one.
func insertRows(tx *Tx, table string, columns []Column, rows [][]any) error {
	var q query
	text := `INSERT INTO ` + table + ` (` + columnNames(columns) + `) VALUES (` + list(&q, columns) + `)`
	for _, row := range rows {
		if _, err := tx.Exec(text, row...); err != nil {
			return err
		}
	}
	return nil
}

// compareTable reads a table of both databases in the order of its key.
func compareTable(source, target *Tx, table, key string, columns []Column, progress func(string, string, int64, int64)) error {
	where, args := "", []any{}
	if table == "settings" {
		where, args = " WHERE name NOT IN ($1, $2)", []any{settingUnfinished, settingMovedTo}
	}
	text := `SELECT ` + columnNames(columns) + ` FROM ` + table + where + ` ORDER BY ` + key
	a, err := source.Query(text, args...)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := target.Query(text, args...)
	if err != nil {
		return err
	}
	defer b.Close()
	done := int64(0)
	for {
		more := a.Next()
		if b.Next() != more {
			return errors.Join(a.Err(), b.Err(), fmt.Errorf("one has more than %d rows and the other has not", done))
		}
		if !more {
			progress("comparing", table, done, done)
			return errors.Join(a.Err(), b.Err())
		}
		original, err := scanRow(a, columns)
		if err != nil {
			return err
		}
		copied, err := scanRow(b, columns)
		if err != nil {
			return err
		}
		for i := range columns {
			if !sameValue(original[i], copied[i]) {
				return fmt.Errorf("row %d differs in %s", done, columns[i].Name)
			}
		}
		if done++; done%(50*copyBatch) == 0 {
			progress("comparing", table, done, 0)
		}
	}
}

func sameValue(a, b any) bool {
	switch a := a.(type) {
	case []byte:
		b, ok := b.([]byte)
		return ok && bytes.Equal(a, b)
	case float64:
		b, ok := b.(float64)
		return ok && (a == b || math.IsNaN(a) && math.IsNaN(b)) // SQLite keeps no sign of zero
	}
	return a == b
}

// fillSearchIndex indexes all search documents of the target, whose index is empty.
func (c *copying) fillSearchIndex(ctx context.Context) error {
	var total, done int64
	err := c.to.Read(ctx, func(tx *Tx) (err error) {
		total, err = tx.count("search_documents")
		return err
	})
	for after, more := int64(math.MinInt64), true; more && err == nil; {
		err = c.write(ctx, func(tx *Tx) (err error) {
			after, more, err = tx.indexDocuments(after)
			return err
		})
		if done = min(done+copyBatch, total); total > 0 {
			c.progress("indexing", "search_documents", done, total)
		}
	}
	if err == nil && c.to.dialect.afterLoad != "" {
		err = c.write(ctx, func(tx *Tx) error { return tx.execScript(c.to.dialect.afterLoad) })
	}
	return err
}

// indexDocuments adds a batch of the documents after one to the index, and tells
// which was the last and whether more may follow.
func (tx *Tx) indexDocuments(after int64) (last int64, more bool, err error) {
	type document struct {
		number      int64
		kind, words string
		library     banksia.LibraryID
	}
	var batch []document
	last = after
	err = tx.each(`SELECT document, kind, library_id, words FROM search_documents WHERE document > $1 ORDER BY document LIMIT $2`, []any{after, copyBatch}, func(rows *sql.Rows) error {
		var d document
		err := rows.Scan(&d.number, &d.kind, &d.library, &d.words)
		batch = append(batch, d)
		return err
	})
	for _, d := range batch {
		if err == nil {
			err = tx.addToIndex(d.number, documentKind(d.kind), d.library, d.words)
		}
		last = d.number
	}
	return last, len(batch) == copyBatch, err
}
