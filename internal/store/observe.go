package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/banksia-photos/banksia"
)

// Observer is told of each transaction before it waits for its turn: kind is
// "read" or "write". The transaction runs in the context that it returns. It calls
// done at the end: waited is the time until the first statement of the transaction
// could run, negative when it came to none; err is why nothing was committed.
type Observer func(ctx context.Context, kind string) (in context.Context, done func(waited time.Duration, err error))

// observed lets run make a transaction of f and tells the observer of it.
func (s *Store) observed(ctx context.Context, kind string, f func(*Tx) error, run func(context.Context, func(*Tx) error) error) (err error) {
	if s.observer == nil {
		return run(ctx, f)
	}
	begin, waited := time.Now(), time.Duration(-1)
	ctx, done := s.observer(ctx, kind)
	finished := false
	defer func() {
		if !finished {
			err = errPanic
		}
		done(waited, err)
	}()
	err = run(ctx, func(tx *Tx) error {
		waited = time.Since(begin)
		return f(tx)
	})
	finished = true
	return err
}

var errPanic = errors.New("a panic ended the transaction")

// PoolUse is how many connections may serve transactions of a kind at once, and
// how many do.
type PoolUse struct {
	Kind         string // as an Observer is told
	Limit, InUse int
}

// PoolUse tells how busy the connections are.
func (s *Store) PoolUse() []PoolUse {
	use := func(kind string, p *pool) PoolUse { return PoolUse{kind, cap(p.idle), cap(p.idle) - len(p.idle)} }
	return []PoolUse{use("read", s.readers), use("write", s.writer)}
}

// ClockAhead is how far the clock of this process is before that of the database, of
// which other processes may be as far away: negative when it is behind. Leases of
// tasks and the lives of sessions are by the clock of each.
func (s *Store) ClockAhead(ctx context.Context) (ahead time.Duration, err error) {
	if s.dialect.clock == "" {
		return 0, nil
	}
	err = s.Read(ctx, func(tx *Tx) error {
		var there int64
		begin := tx.Now()
		if err := tx.QueryRow(s.dialect.clock).Scan(&there); err != nil {
			return err
		}
		end := tx.Now()
		ahead = begin.Add(end.Sub(begin) / 2).Sub(timeOf(there))
		return nil
	})
	return ahead, err
}

// Ping fails when the database does not answer, or when a migration that this
// program needs is missing.
func (s *Store) Ping(ctx context.Context) error {
	newest, err := newestMigration()
	if err != nil {
		return err
	}
	var current int
	if err := s.Read(ctx, func(tx *Tx) error {
		return tx.QueryRow(`SELECT COALESCE(MAX(version), 0) FROM schema_migrations`).Scan(&current)
	}); err != nil {
		return fmt.Errorf("ask the database: %w", err)
	}
	if current < newest {
		return fmt.Errorf("the database is at version %d, this program needs %d", current, newest)
	}
	return nil
}

func newestMigration() (newest int, err error) {
	entries, err := fs.ReadDir(migrations, "migrations")
	for _, entry := range entries {
		number, _, _ := strings.Cut(entry.Name(), "_")
		version, err := strconv.Atoi(number)
		if err != nil {
			return 0, fmt.Errorf("migration %s has no number", entry.Name())
		}
		newest = max(newest, version)
	}
	return newest, err
}

// QueueLength is how many tasks of a type and status are not finished.
type QueueLength struct {
	Type   banksia.TaskType
	Status banksia.TaskStatus
	Count  int
	// OldestDue is when the one that has waited longest could have been claimed:
	// a pending one since it was enqueued or since its wait for another attempt
	// ended, a started one since its lease ran out. Zero when none could.
	OldestDue time.Time
}

// MaxQueueLength is where QueueLengths stops counting, so that looking costs
// little when millions of tasks wait: the tasks that are due last are left out.
const MaxQueueLength = 50_000

// QueueLengths counts the unfinished tasks.
func (s *Store) QueueLengths(ctx context.Context) (lengths []QueueLength, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		now := tx.Now().UnixMicro()
		return tx.each(`SELECT task_type, status, COUNT(*), MIN(due_at) FROM (SELECT task_type, status, due_at FROM tasks WHERE due_at IS NOT NULL ORDER BY due_at LIMIT $1) AS unfinished GROUP BY task_type, status`, []any{MaxQueueLength}, func(rows *sql.Rows) error {
			var l QueueLength
			var due int64
			if err := rows.Scan(&l.Type, &l.Status, &l.Count, &due); err != nil {
				return err
			}
			if due <= now {
				l.OldestDue = timeOf(due)
			}
			lengths = append(lengths, l)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("count the queue: %w", err)
	}
	return lengths, nil
}

// Usage is what all libraries hold together.
type Usage struct {
	Users, Libraries int
	Assets           int64 // outside the trash
	StoredBytes      int64 // of originals and versions, the trash included
}

// Usage adds up the counters of the libraries; it does not count assets.
func (s *Store) Usage(ctx context.Context) (u Usage, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		if err := tx.QueryRow(`SELECT COUNT(*) FROM users`).Scan(&u.Users); err != nil {
			return err
		}
		return tx.QueryRow(`SELECT COUNT(*), CAST(COALESCE(SUM(asset_count), 0) AS BIGINT), CAST(COALESCE(SUM(storage_used_bytes), 0) AS BIGINT) FROM libraries`).
			Scan(&u.Libraries, &u.Assets, &u.StoredBytes)
	})
	if err != nil {
		return u, fmt.Errorf("add up the libraries: %w", err)
	}
	return u, nil
}
