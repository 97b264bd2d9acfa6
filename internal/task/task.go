// Package task runs the background work of a library. A task is a row that is
// enqueued in the same transaction as the change that needs it; the row is also
// the queue (store.Tx.ClaimTasks), so a crash at any point loses no work: what
// was running is claimed again once its lease ends, or at the next start.
//
//	pending ──claim──> started ──result──> success
//	   ▲                 │  ▲ └──final error or last attempt──> failure
//	   │                 └──┘ error: waits, then is claimed again
//	   └──stop────────────┘
//
// Enqueueing a task again makes it pending from any state. A handler may run
// twice for one task and must not mind.
package task

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/store"
)

// Config bounds the runner.
type Config struct {
	// Workers is how many tasks run at once, 1 or more.
	Workers int
	// Attempts is how often a task is tried before it fails for good, 1 or more.
	Attempts int
	// Backoff is the wait before the second attempt; it doubles each time, with
	// up to half of it added at random.
	Backoff time.Duration
	// Lease is how long a dead process keeps a task from others.
	Lease time.Duration
	// Timeout ends a run that takes longer.
	Timeout time.Duration
	// Shared tells that other processes run tasks of the same database. When it
	// is false, Start takes over at once what a dead process was running.
	Shared bool
	Logger *slog.Logger
	// Observer is told of each run; nil: nobody.
	Observer Observer
}

// Observer is told of each run of a task before it begins. The run gets the
// context that it returns. It calls done at the end of the work, before the result
// is stored: outcome is what becomes of the task by then.
type Observer func(ctx context.Context, d store.Delivery) (in context.Context, done func(outcome Outcome, err error))

// Outcome is what became of one run.
type Outcome string

const (
	Success  Outcome = "success"
	Failure  Outcome = "failure"  // for good
	Retried  Outcome = "retry"    // it will be tried again
	Released Outcome = "released" // the program stops; it was given back
)

// DefaultConfig keeps every core busy: while one task of a core decodes, another
// reads or writes.
func DefaultConfig() Config {
	return Config{Workers: 2 * runtime.NumCPU(), Attempts: 5, Backoff: 5 * time.Second, Lease: 2 * time.Minute, Timeout: 10 * time.Minute, Logger: slog.Default()}
}

// Validate names the first setting that is out of range.
func (c Config) Validate() error {
	switch {
	case c.Workers < 1:
		return fmt.Errorf("setting Workers must be 1 or more, got %d", c.Workers)
	case c.Attempts < 1:
		return fmt.Errorf("setting Attempts must be 1 or more, got %d", c.Attempts)
	case c.Backoff <= 0 || c.Lease <= 0 || c.Timeout <= 0:
		return errors.New("settings Backoff, Lease and Timeout must be positive")
	}
	return nil
}

// Commit stores the result of a task; the runner calls it in the transaction that
// marks the task done and keeps the returned summary with it. When that
// transaction fails, nothing of it remains and Commit may be called again.
type Commit func(tx *store.Tx) (summary string, err error)

// Handler does the work of one task type. A nil Commit stores nothing. An error
// is retried unless it is Final; with a final error a Commit may come along, which
// is called in the transaction that marks the task failed.
type Handler func(ctx context.Context, d store.Delivery) (Commit, error)

// problem is an error with a sentence for the people who see the task.
type problem struct {
	message string
	verdict verdict
	err     error
}

// verdict is how a task goes on after an error.
type verdict int

const (
	again   verdict = iota // until the attempts are used up
	patient                // however often it takes
	final                  // no more
)

func (p *problem) Error() string { return p.message + ": " + p.err.Error() }
func (p *problem) Unwrap() error { return p.err }

// Final marks an error as one that another attempt cannot cure. message is for
// the people who see the task.
func Final(message string, err error) error { return &problem{message, final, err} }

// Retry gives an error that another attempt may cure a message for the people who
// see the task.
func Retry(message string, err error) error { return &problem{message, again, err} }

// Outage gives an error a message that is the fault of neither task nor file: what
// the work needs is away. It is tried until that is back.
func Outage(message string, err error) error { return &problem{message, patient, err} }

// IsFinal tells whether another attempt cannot cure the error.
func IsFinal(err error) bool {
	_, verdict := explain(err)
	return verdict == final
}

// isOutage tells whether the database is away or full. No task asks for more than a
// user may store.
func isOutage(err error) bool {
	switch banksia.ErrorCode(err) {
	case banksia.CodeStorage, banksia.CodeInsufficientStorage, banksia.CodeUnavailable:
		return true
	}
	return false
}

// explain returns the sentence that people see, and how the task goes on.
func explain(err error) (message string, v verdict) {
	if p, ok := errors.AsType[*problem](err); ok {
		return p.message, p.verdict
	}
	if e, ok := errors.AsType[*banksia.Error](err); ok {
		switch {
		case isOutage(err):
			v = patient
		case e.Final:
			v = final
		}
		return e.Message, v
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "The work took too long.", again
	}
	return "An internal error stopped the work; the log of the server says more.", again
}
