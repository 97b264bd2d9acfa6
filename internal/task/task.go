// Package task runs the background work of a library. A task is a row that is
// enqueued in the same transaction as the change that needs it; the row is also
// the queue (store.ClaimTasks), so a crash at any point loses no work: what was
// running is claimed again once its lease ends.
//
//	pending ──claim──> started ──result──> success
//	                     │  ▲ └──final error or last attempt──> failure
//	                     └──┘ error: waits, then is claimed again
//
// A handler may therefore run twice for one task and must not mind.
package task

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync"
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
	Logger  *slog.Logger
}

// DefaultConfig keeps every core busy: while one task of a core decodes, another
// reads or writes.
func DefaultConfig() Config {
	return Config{Workers: 2 * runtime.NumCPU(), Attempts: 5, Backoff: 5 * time.Second, Lease: 2 * time.Minute, Timeout: 10 * time.Minute, Logger: slog.Default()}
}

// Validate names the first setting that is out of range.
func (c Config) Validate() error {
	switch {
	case c.Workers < 1:
		return fmt.Errorf("Workers must be 1 or more, got %d", c.Workers)
	case c.Attempts < 1:
		return fmt.Errorf("Attempts must be 1 or more, got %d", c.Attempts)
	case c.Backoff <= 0 || c.Lease <= 0 || c.Timeout <= 0:
		return errors.New("Backoff, Lease and Timeout must be positive")
	}
	return nil
}

// Commit stores the result of a task; the runner calls it in the transaction that
// marks the task done and keeps the returned summary with it.
type Commit func(tx *store.Tx) (summary string, err error)

// Handler does the work of one task type. A nil Commit stores nothing. An error
// is retried unless it is Final.
type Handler func(ctx context.Context, t banksia.Task) (Commit, error)

// finalError is an error that another attempt cannot cure.
type finalError struct {
	message string
	err     error
}

func (e *finalError) Error() string { return e.message + ": " + e.err.Error() }
func (e *finalError) Unwrap() error { return e.err }

// Final marks an error as one that another attempt cannot cure. message is for
// the people who see the task.
func Final(message string, err error) error { return &finalError{message, err} }

// Runner claims tasks and runs their handlers.
type Runner struct {
	cfg      Config
	store    *store.Store
	handlers map[banksia.TaskType]Handler
	wake     chan struct{}

	stopping context.CancelFunc // take nothing new
	abort    context.CancelFunc // end what runs
	done     chan struct{}
	once     sync.Once

	mu   sync.Mutex
	held map[banksia.TaskID]banksia.Task // claimed by this process
}

// New returns a runner that has not been started.
func New(cfg Config, s *store.Store) (*Runner, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("task runner: %w", err)
	}
	return &Runner{cfg: cfg, store: s, handlers: map[banksia.TaskType]Handler{}, wake: make(chan struct{}, 1), held: map[banksia.TaskID]banksia.Task{}}, nil
}

// Handle names the handler of a type. Call it before Start.
func (r *Runner) Handle(t banksia.TaskType, handler Handler) { r.handlers[t] = handler }

// Enqueue makes a task pending within a transaction, and wakes the runner once
// that has committed.
func (r *Runner) Enqueue(tx *store.Tx, t *banksia.Task) error {
	if err := tx.EnqueueTask(t); err != nil {
		return err
	}
	tx.AfterCommit(r.Wake)
	return nil
}

// Wake makes the runner look for work now.
func (r *Runner) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Start begins to work and returns at once.
func (r *Runner) Start(ctx context.Context) {
	running, abort := context.WithCancel(context.WithoutCancel(ctx))
	taking, stop := context.WithCancel(running)
	r.stopping, r.abort, r.done = stop, abort, make(chan struct{})
	go func() {
		defer close(r.done)
		r.loop(taking, running)
	}()
}

// Stop takes nothing new, lets what runs finish until ctx ends, and then gives
// the rest back. Calling it again is safe; without Start it does nothing.
func (r *Runner) Stop(ctx context.Context) {
	if r.done == nil {
		return
	}
	r.once.Do(func() {
		r.stopping()
		select {
		case <-r.done:
		case <-ctx.Done():
			r.abort()
			<-r.done
		}
		r.abort()
	})
}

// loop claims as many tasks as keep the workers busy and hands them over. Tasks
// are claimed by the batch, because each claim is a durable write.
func (r *Runner) loop(taking, running context.Context) {
	queue := make(chan banksia.Task)
	var workers sync.WaitGroup
	for range r.cfg.Workers {
		workers.Go(func() {
			for t := range queue {
				r.run(running, t)
			}
		})
	}
	renewing, stopRenewing := context.WithCancel(running)
	var renewal sync.WaitGroup
	renewal.Go(func() { r.renew(renewing) })
	for taking.Err() == nil {
		claimed, err := r.store.ClaimTasks(taking, 2*r.cfg.Workers, r.cfg.Lease)
		if err != nil && taking.Err() == nil {
			r.cfg.Logger.Error("claim tasks", "error", err)
		}
		r.mu.Lock()
		for _, t := range claimed {
			r.held[t.ID] = t
		}
		r.mu.Unlock()
		for _, t := range claimed {
			select {
			case queue <- t:
			case <-taking.Done():
				r.release(t)
			}
		}
		if len(claimed) == 0 {
			r.wait(taking)
		}
	}
	close(queue)
	workers.Wait()
	stopRenewing()
	renewal.Wait()
}

// longestWait bounds how late work is noticed that another process enqueued.
const longestWait = 5 * time.Second

func (r *Runner) wait(ctx context.Context) {
	delay := longestWait
	if due, ok, err := r.store.NextTaskDue(ctx); err == nil && ok {
		delay = min(max(due.Sub(r.store.Now()), 10*time.Millisecond), longestWait)
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-r.wake:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// renew keeps the leases of held tasks alive.
func (r *Runner) renew(ctx context.Context) {
	ticker := time.NewTicker(r.cfg.Lease / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		r.mu.Lock()
		held := make([]banksia.Task, 0, len(r.held))
		for _, t := range r.held {
			held = append(held, t)
		}
		r.mu.Unlock()
		if len(held) == 0 {
			continue
		}
		if err := r.store.RenewTasks(ctx, held, r.cfg.Lease); err != nil && ctx.Err() == nil {
			r.cfg.Logger.Error("renew tasks", "error", err)
		}
	}
}

func (r *Runner) release(t banksia.Task) {
	defer r.drop(t)
	err := r.store.Write(context.Background(), func(tx *store.Tx) error { return tx.ReleaseTask(t) })
	if err != nil { // its lease ends by itself
		r.cfg.Logger.Error("release task", "task_id", t.ID.String(), "error", err)
	}
}

func (r *Runner) drop(t banksia.Task) {
	r.mu.Lock()
	delete(r.held, t.ID)
	r.mu.Unlock()
}

// run does one task and stores what became of it.
func (r *Runner) run(ctx context.Context, t banksia.Task) {
	begin := time.Now()
	commit, err := r.handle(ctx, t)
	if ctx.Err() != nil {
		r.release(t)
		return
	}
	defer r.drop(t)
	// The state must be stored also while the program is stopping.
	ctx = context.WithoutCancel(ctx)
	outcome := "success"
	if err == nil {
		err = r.store.Write(ctx, func(tx *store.Tx) error {
			summary := "done"
			if commit != nil {
				var err error
				if summary, err = commit(tx); err != nil {
					return err
				}
			}
			return tx.FinishTask(t, summary)
		})
	}
	if err != nil {
		message, final := explain(err)
		outcome = "retry"
		if final || t.RetryCount+1 >= r.cfg.Attempts {
			outcome = "failure"
		}
		storeErr := r.store.Write(ctx, func(tx *store.Tx) error {
			if outcome == "failure" {
				return tx.FailTask(t, message)
			}
			return tx.RetryTask(t, message, r.backoff(t.RetryCount))
		})
		if storeErr != nil {
			err = errors.Join(err, storeErr)
		}
	}
	attributes := []any{"task_id", t.ID.String(), "task_type", t.Type, "outcome", outcome, "attempt", t.RetryCount + 1, "duration_ms", time.Since(begin).Milliseconds()}
	if t.AssetID != nil {
		attributes = append(attributes, "asset_id", t.AssetID.String())
	}
	if err != nil {
		r.cfg.Logger.Warn("task", append(attributes, "error", err)...)
		return
	}
	r.cfg.Logger.Debug("task", attributes...)
}

func (r *Runner) backoff(retries int) time.Duration {
	wait := r.cfg.Backoff << min(retries, 16)
	return wait + time.Duration(rand.Int64N(int64(wait)/2+1))
}

// handle calls the handler; a panic in it is an error like another.
func (r *Runner) handle(ctx context.Context, t banksia.Task) (commit Commit, err error) {
	handler := r.handlers[t.Type]
	if handler == nil {
		return nil, Final("This server does not know this kind of task.", fmt.Errorf("no handler for %q", t.Type))
	}
	defer func() {
		if problem := recover(); problem != nil {
			err = fmt.Errorf("panic: %v\n%s", problem, debug.Stack())
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	return handler(ctx, t)
}

// explain returns the sentence that people see.
func explain(err error) (message string, final bool) {
	if e, ok := errors.AsType[*finalError](err); ok {
		return e.message, true
	}
	if e, ok := errors.AsType[*banksia.Error](err); ok {
		return e.Message, e.Final
	}
	return "The work failed for now and will be tried again; the log of the server says why.", false
}
