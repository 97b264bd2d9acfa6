// Package store keeps the rows of a library: SQL, written by hand, once for
// every engine. Reads are methods of Store; changes are methods of Tx, which
// the catalog composes into transactions.
//
// A Scope is the first argument of every read of somebody's data, and the SQL
// looks only inside it, so a foreign row is a missing row.
package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
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
	// URL of a PostgreSQL database (postgres://...), 15 or newer, instead of Path.
	URL string
	// Readers is how many reads run at once; 0: one for each core, at least 4.
	Readers int
	// Writers is how many changes run at once, on PostgreSQL; 0: as many as readers.
	Writers int
	// Now is the clock; nil: the system's.
	Now func() time.Time
	// Patience is how long a change waits for its turn; 0: half a minute.
	Patience time.Duration
	// Process names this process to others that use the database at the same time;
	// "": a name at random with URL, and none with Path, where there is one process at
	// a time and takes over what the one before has left.
	Process string
	// Target says that the database is to be filled by Copy, so that one which a copy
	// that was cut off has left is no error.
	Target   bool
	Observer Observer // nil: nobody
}

// Store is an open database. It is safe for concurrent use.
type Store struct {
	dialect dialect
	now     func() time.Time
	process string
	readers *pool
	writer  *pool
	turns   turns

	observer Observer
}

// Open opens the database, making and migrating it as needed. It fails with
// ErrNewerDatabase rather than touch what a newer program wrote.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s, err := connect(cfg)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	if err := s.prepare(ctx); err != nil {
		if s.dialect.advice != nil {
			if advice := s.dialect.advice(err); advice != "" {
				err = fmt.Errorf("%w: %s", err, advice)
			}
		}
		return nil, errors.Join(err, s.Close())
	}
	if err := s.refuseCopies(ctx, cfg.Target); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// prepare brings a database up to date that can be used.
func (s *Store) prepare(ctx context.Context) error {
	if s.dialect.usable != nil {
		if err := s.Read(ctx, s.dialect.usable); err != nil {
			return fmt.Errorf("use the database: %w", err)
		}
	}
	if err := s.migrate(ctx, newestVersion); err != nil {
		return fmt.Errorf("migrate the database: %w", err)
	}
	return nil
}

// connect opens the database as it is.
func connect(cfg Config) (*Store, error) {
	if (cfg.Path == "") == (cfg.URL == "") {
		return nil, errors.New("a path or a URL is needed, and not both")
	}
	if cfg.Readers == 0 {
		cfg.Readers = max(4, runtime.NumCPU())
	}
	if cfg.Writers == 0 {
		cfg.Writers = cfg.Readers
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Patience == 0 {
		cfg.Patience = 30 * time.Second
	}
	s := &Store{now: cfg.Now, process: cfg.Process, observer: cfg.Observer, turns: turns{patience: cfg.Patience, waiting: map[int64]*turn{}}}
	open := s.openSQLite
	if cfg.URL != "" {
		s.process = cmp.Or(cfg.Process, rand.Text())
		open = s.openPostgres
	}
	if err := open(cfg); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
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

	renewed bool // the transaction was opened when the one before it ended, and has read nothing
	owned   bool // the transaction has the turn of the owner of what it changes
	events  []pendingEvent
	emitted map[pendingEvent]bool
}

// Now is the clock of the store.
func (tx *Tx) Now() time.Time { return tx.store.Now() }

// AfterCommit runs f once the transaction has committed.
func (tx *Tx) AfterCommit(f func()) { tx.after = append(tx.after, f) }

// Query runs a query of several rows. The rows must be closed.
func (tx *Tx) Query(text string, args ...any) (*sql.Rows, error) {
	for {
		rows, err := tx.query(text, args)
		if err == nil || !tx.reconnect(err) {
			return rows, err
		}
	}
}

func (tx *Tx) query(text string, args []any) (*sql.Rows, error) {
	if tx.conn == nil {
		return nil, driver.ErrBadConn
	}
	statement, err := tx.conn.prepare(tx.ctx, text)
	if err != nil {
		return nil, err
	}
	rows, err := statement.QueryContext(tx.ctx, args...)
	if err == nil {
		tx.renewed = false
	}
	return rows, err
}

// reconnect puts another connection in the place of one that broke while it waited
// inside of a transaction; false when the error is another, or when the transaction
// has read something already.
func (tx *Tx) reconnect(err error) bool {
	if !tx.renewed || tx.ctx.Err() != nil || tx.store.dialect.trouble(err) != unreachable {
		return false
	}
	tx.store.readers.drop(tx.conn)
	tx.conn = nil
	c, err := tx.store.begin(tx.ctx, tx.store.readers)
	if err != nil {
		return false
	}
	tx.conn, tx.renewed, c.begun = c, c.begun, false
	return true
}

// Row is the result of QueryRow.
type Row struct {
	rows *sql.Rows
	err  error
}

// Scan reads the row; sql.ErrNoRows when there is none.
func (r Row) Scan(to ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return sql.ErrNoRows
	}
	if err := r.rows.Scan(to...); err != nil {
		return err
	}
	return r.rows.Close()
}

// QueryRow runs a query of at most one row, which must be scanned.
func (tx *Tx) QueryRow(text string, args ...any) Row {
	rows, err := tx.Query(text, args...)
	return Row{rows, err}
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
	return tx.store.explain(tx.store.dialect.script(tx.ctx, tx.conn, text))
}

// explain turns what an engine says into what the callers know.
func (s *Store) explain(err error) error {
	if err == nil {
		return nil
	}
	switch s.dialect.trouble(err) {
	case duplicate:
		return fmt.Errorf("%w: %w", ErrDuplicate, err)
	case full:
		return &banksia.Error{Code: banksia.CodeInsufficientStorage, Message: "The disk is full.", Retry: banksia.FullRetry, Final: true, Err: err}
	case readOnly:
		return &banksia.Error{Code: banksia.CodeStorage, Message: "The database cannot be written for now.", Retry: 10 * time.Second, Err: err}
	case sealed:
		return &banksia.Error{Code: banksia.CodeUnavailable, Message: "The library was moved to another database.", Retry: 5 * time.Second, Err: errors.Join(ErrMoved, err)} // until the servers are started with that one
	case busy:
		return errors.Join(errTurn(), err)
	case noText:
		return &banksia.Error{Code: banksia.CodeValidation, Message: "A text holds a character that cannot be stored.", Err: err}
	case unreachable:
		return &banksia.Error{Code: banksia.CodeStorage, Message: "The database cannot be reached for now.", Retry: 2 * time.Second, Err: err}
	}
	return err
}

// Read runs f in a transaction that sees one state of the database.
func (s *Store) Read(ctx context.Context, f func(*Tx) error) error {
	return s.observed(ctx, "read", f, func(ctx context.Context, f func(*Tx) error) error { return s.run(ctx, s.readers, nil, &Tx{}, f) })
}

// Write runs f in a transaction for rows that are of no library: accounts,
// sessions, settings. It excludes other calls of Write. When f fails, nothing of
// it remains. When its turn does not come, it fails with ErrBusy.
func (s *Store) Write(ctx context.Context, f func(*Tx) error) error {
	return s.write(ctx, []int64{commonTurn}, &Tx{}, f)
}

// Change is Write for a change of what a user owns; it excludes other changes of
// the same owner, and on SQLite all others. So f may decide on what it reads.
func (s *Store) Change(ctx context.Context, owner banksia.UserID, f func(*Tx) error) error {
	return s.ChangeAll(ctx, []banksia.UserID{owner}, f)
}

// ChangeAll is Change for several owners at once.
func (s *Store) ChangeAll(ctx context.Context, owners []banksia.UserID, f func(*Tx) error) error {
	return s.write(ctx, turnKeys(owners), &Tx{owned: true}, f)
}

// ChangeAsset is Change for the owner of an asset. A missing asset is a
// banksia.Error with CodeNotFound.
func (s *Store) ChangeAsset(ctx context.Context, id banksia.AssetID, f func(*Tx) error) error {
	return s.changeOwned(ctx, `SELECT l.user_id FROM assets a JOIN libraries l ON l.id = a.library_id WHERE a.id = $1`, "Asset", id, f)
}

// ChangeLibrary is Change for the owner of a library. A missing library is a
// banksia.Error with CodeNotFound.
func (s *Store) ChangeLibrary(ctx context.Context, id banksia.LibraryID, f func(*Tx) error) error {
	return s.changeOwned(ctx, `SELECT user_id FROM libraries WHERE id = $1`, "Library", id, f)
}

func (s *Store) changeOwned(ctx context.Context, ownerOf, what string, id any, f func(*Tx) error) error {
	var owner banksia.UserID
	err := s.Read(ctx, func(tx *Tx) error { return tx.QueryRow(ownerOf, id).Scan(&owner) })
	if errors.Is(err, sql.ErrNoRows) {
		return banksia.NotFound(what)
	}
	if err != nil {
		return fmt.Errorf("find the owner: %w", err)
	}
	return s.Change(ctx, owner, f)
}

func (s *Store) write(ctx context.Context, keys []int64, tx *Tx, f func(*Tx) error) error {
	return s.observed(ctx, "write", f, func(ctx context.Context, f func(*Tx) error) error { return s.inTurn(ctx, keys, tx, f) })
}

func (s *Store) inTurn(ctx context.Context, keys []int64, tx *Tx, f func(*Tx) error) error {
	local, locks := keys, keys
	if s.dialect.lock == "" {
		local, locks = []int64{commonTurn}, nil
	}
	release, err := s.turns.take(ctx, local)
	if err != nil {
		return err
	}
	err = func() error {
		defer release()
		return s.run(ctx, s.writer, locks, tx, f)
	}()
	if err != nil {
		return err
	}
	for _, done := range tx.after {
		done()
	}
	return nil
}

// begin takes a connection and opens a transaction on it. Nothing has been done
// when that fails, so a connection that broke while it was idle is replaced.
func (s *Store) begin(ctx context.Context, p *pool) (*conn, error) {
	for {
		c, err := p.take(ctx)
		if err != nil {
			return nil, fmt.Errorf("connect to the database: %w", s.explain(err))
		}
		if c.begun {
			return c, nil
		}
		used := len(c.statements) > 0
		err = c.exec(ctx, p.begin)
		if err == nil {
			return c, nil
		}
		p.drop(c)
		if !used || ctx.Err() != nil || s.dialect.trouble(err) != unreachable {
			return nil, fmt.Errorf("begin: %w", s.explain(err))
		}
	}
}

func (s *Store) run(ctx context.Context, p *pool, locks []int64, tx *Tx, f func(*Tx) error) error {
	c, err := s.begin(ctx, p)
	if err != nil {
		return err
	}
	committed := false
	tx.ctx, tx.conn, tx.store = ctx, c, s
	tx.renewed, c.begun = c.begun, false
	// Also after a panic in f. A cancelled request must not keep the rollback
	// from happening.
	defer func() {
		c := tx.conn // perhaps another
		switch {
		case c == nil:
		case p.renew != "":
			p.giveRenewed(ctx, c)
		case !committed && c.exec(context.WithoutCancel(ctx), "ROLLBACK") != nil:
			p.drop(c)
		default:
			p.give(c)
		}
	}()
	for _, key := range locks {
		if _, err := tx.Exec(s.dialect.lock, key); err != nil {
			return fmt.Errorf("wait for a turn: %w", err)
		}
	}
	if err := f(tx); err != nil {
		return s.explainOnce(err)
	}
	if err := tx.flushEvents(); err != nil {
		return err
	}
	// Cancelled before the commit: nothing happened. Cancelled during it: the
	// commit decides, not the race between the two.
	if err := ctx.Err(); err != nil || p.renew != "" {
		return err
	}
	if err := c.exec(context.WithoutCancel(ctx), "COMMIT"); err != nil {
		return fmt.Errorf("commit: %w", s.explain(err))
	}
	committed = true
	return nil
}

// explainOnce explains an error that the statements of a transaction returned as
// it came.
func (s *Store) explainOnce(err error) error {
	if _, known := errors.AsType[*banksia.Error](err); known || errors.Is(err, ErrDuplicate) || s.dialect.trouble(err) == duplicate {
		return err
	}
	return s.explain(err)
}
