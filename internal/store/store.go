// Package store keeps the rows of a library: SQL, written by hand, once for
// every engine. Reads are methods of Store; changes are methods of Tx, which
// the catalog composes into transactions.
//
// A Scope is the first argument of every read of somebody's data, and the SQL
// looks only inside it, so a foreign row is a missing row.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"time"

	"github.com/banksia-photos/banksia"
)

// Sentinels of this package, for errors.Is.
var (
	// ErrDuplicate says that a unique value is already there.
	ErrDuplicate = errors.New("already there")
	// ErrBusy says that a change did not get its turn.
	ErrBusy = errors.New("other changes took too long")
	// ErrNewerDatabase says that the database was written by a newer program.
	ErrNewerDatabase = errors.New("the database was written by a newer version of Banksia")
)

// Config says where the database is.
type Config struct {
	// Path of the SQLite file; it is made when absent.
	Path string
	// Readers is how many reads run at once; 0: one for each core, at least 4.
	Readers int
	// Now is the clock; nil: the system's.
	Now func() time.Time
	// Patience is how long a change waits for its turn; 0: half a minute.
	Patience time.Duration
	// Process names this process to others that use the database at the same time;
	// "" where there is one at a time, so that it takes over what the one before left.
	Process string
}

// Store is an open database. It is safe for concurrent use.
type Store struct {
	dialect dialect
	now     func() time.Time
	process string // Config.Process
	readers *pool
	writer  *pool
	// writing is held for a whole write transaction: SQLite has one writer, and
	// waiting here is fair and cheap where its busy handler sleeps.
	writing  chan struct{}
	patience time.Duration
}

// Open opens the database, making and migrating it as needed. It fails with
// ErrNewerDatabase rather than touch what a newer program wrote.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Path == "" {
		return nil, errors.New("open store: no path")
	}
	if cfg.Readers == 0 {
		cfg.Readers = max(4, runtime.NumCPU())
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Patience == 0 {
		cfg.Patience = 30 * time.Second
	}
	s := &Store{dialect: sqliteDialect, now: cfg.Now, writing: make(chan struct{}, 1), patience: cfg.Patience, process: cfg.Process}
	// synchronous(FULL): an acknowledged upload survives a power cut.
	writer, err := openSQLite(cfg.Path, 1, "BEGIN IMMEDIATE", "_pragma=synchronous(FULL)", "_pragma=cache_size(-16000)")
	if err != nil {
		return nil, err
	}
	s.writer = writer
	if err := s.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("migrate %s: %w", cfg.Path, err), s.Close())
	}
	s.readers, err = openSQLite(cfg.Path, cfg.Readers, "BEGIN", "_pragma=query_only(1)", "_pragma=cache_size(-8000)")
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func openSQLite(path string, connections int, begin string, options ...string) (*pool, error) {
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=foreign_keys(1)&_pragma=temp_store(MEMORY)"
	for _, option := range options {
		dsn += "&" + option
	}
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return newPool(db, connections, begin), nil
}

// Close ends all connections. Calling it twice is safe.
func (s *Store) Close() error {
	var errs []error
	for _, p := range []*pool{s.readers, s.writer} {
		if p != nil {
			errs = append(errs, p.close())
		}
	}
	return errors.Join(errs...)
}

// Now is the clock of the store, to the microsecond that rows keep.
func (s *Store) Now() time.Time { return s.now().UTC().Truncate(time.Microsecond) }

// Tx is one transaction. Its methods take SQL with $1 placeholders that must
// mean the same on every engine.
type Tx struct {
	ctx   context.Context
	conn  *conn
	store *Store
	after []func()

	events  []pendingEvent
	emitted map[pendingEvent]bool
}

// Now is the clock of the store.
func (tx *Tx) Now() time.Time { return tx.store.Now() }

// AfterCommit runs f once the transaction has committed.
func (tx *Tx) AfterCommit(f func()) { tx.after = append(tx.after, f) }

// Query runs a query of several rows. The rows must be closed.
func (tx *Tx) Query(text string, args ...any) (*sql.Rows, error) {
	statement, err := tx.conn.prepare(tx.ctx, text)
	if err != nil {
		return nil, err
	}
	return statement.QueryContext(tx.ctx, args...)
}

// Row is the result of QueryRow.
type Row struct {
	rows *sql.Row
	err  error
}

// Scan reads the row; sql.ErrNoRows when there is none.
func (r Row) Scan(to ...any) error {
	if r.err != nil {
		return r.err
	}
	return r.rows.Scan(to...)
}

// QueryRow runs a query of at most one row.
func (tx *Tx) QueryRow(text string, args ...any) Row {
	statement, err := tx.conn.prepare(tx.ctx, text)
	if err != nil {
		return Row{err: err}
	}
	return Row{rows: statement.QueryRowContext(tx.ctx, args...)}
}

// Exec runs a change. A unique violation is ErrDuplicate; a full disk is a
// banksia.Error with CodeInsufficientStorage.
func (tx *Tx) Exec(text string, args ...any) (sql.Result, error) {
	statement, err := tx.conn.prepare(tx.ctx, text)
	if err != nil {
		return nil, err
	}
	result, err := statement.ExecContext(tx.ctx, args...)
	return result, tx.store.explain(err)
}

// execScript runs several statements separated by semicolons.
func (tx *Tx) execScript(text string) error {
	_, err := tx.conn.ExecContext(tx.ctx, text)
	return tx.store.explain(err)
}

// explain turns what an engine says into what the callers know.
func (s *Store) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case s.dialect.isUnique(err):
		return fmt.Errorf("%w: %w", ErrDuplicate, err)
	case s.dialect.isFull(err):
		return &banksia.Error{Code: banksia.CodeInsufficientStorage, Message: "The disk is full.", Err: err}
	}
	return err
}

// Read runs f in a transaction that sees one state of the database.
func (s *Store) Read(ctx context.Context, f func(*Tx) error) error {
	return s.run(ctx, s.readers, f)
}

// Write runs f in a transaction that excludes other writers. When f fails,
// nothing of it remains. When its turn does not come, it fails with ErrBusy.
func (s *Store) Write(ctx context.Context, f func(*Tx) error) error {
	select {
	case s.writing <- struct{}{}:
	default:
		timer := time.NewTimer(s.patience)
		defer timer.Stop()
		select {
		case s.writing <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return &banksia.Error{Code: banksia.CodeUnavailable, Message: "Other changes took too long. Try again.", Retry: time.Second, Err: ErrBusy}
		}
	}
	var tx *Tx
	err := func() error {
		defer func() { <-s.writing }()
		return s.run(ctx, s.writer, func(t *Tx) error {
			tx = t
			return f(t)
		})
	}()
	if err != nil {
		return err
	}
	for _, done := range tx.after {
		done()
	}
	return nil
}

func (s *Store) run(ctx context.Context, p *pool, f func(*Tx) error) error {
	c, err := p.take(ctx)
	if err != nil {
		return fmt.Errorf("connect to the database: %w", s.explain(err))
	}
	committed := false
	if err := c.exec(ctx, p.begin); err != nil {
		p.drop(c)
		return fmt.Errorf("begin: %w", s.explain(err))
	}
	// Also after a panic in f. A cancelled request must not keep the rollback
	// from happening.
	defer func() {
		if !committed && c.exec(context.WithoutCancel(ctx), "ROLLBACK") != nil {
			p.drop(c)
			return
		}
		p.give(c)
	}()
	tx := &Tx{ctx: ctx, conn: c, store: s}
	if err := f(tx); err != nil {
		return err
	}
	if err := tx.flushEvents(); err != nil {
		return err
	}
	// Cancelled before the commit: nothing happened. Cancelled during it: the
	// commit decides, not the race between the two.
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.exec(context.WithoutCancel(ctx), "COMMIT"); err != nil {
		return fmt.Errorf("commit: %w", s.explain(err))
	}
	committed = true
	return nil
}
