package task

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/store"
)

// Runner claims tasks and runs their handlers. Its workers do the work; one loop
// does all writing: each turn stores the results that have come in and claims
// what there is room for, in one transaction, because a durable write costs as
// much as a small task.
type Runner struct {
	cfg      Config
	store    *store.Store
	handlers map[banksia.TaskType]Handler
	wake     chan struct{}

	mu       sync.Mutex
	stopping context.CancelFunc // take nothing new; nil before Start
	abort    context.CancelFunc // end what runs
	done     chan struct{}
	held     map[string]store.Delivery // by delivery id: claimed by this process and not stored
}

// New returns a runner that has not been started.
func New(cfg Config, s *store.Store) (*Runner, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("task runner: %w", err)
	}
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	return &Runner{cfg: cfg, store: s, handlers: map[banksia.TaskType]Handler{}, wake: make(chan struct{}, 1), held: map[string]store.Delivery{}}, nil
}

// Handle names the handler of a type. Call it before Start.
func (r *Runner) Handle(t banksia.TaskType, handler Handler) { r.handlers[t] = handler }

// Enqueue makes a task pending within a transaction, and wakes the runner once
// that has committed.
func (r *Runner) Enqueue(tx *store.Tx, t *banksia.Task) error { return r.EnqueueWith(tx, t, "") }

// EnqueueWith is Enqueue for work that needs more than its asset's id: the handler
// finds the payload in its delivery.
func (r *Runner) EnqueueWith(tx *store.Tx, t *banksia.Task, payload string) error {
	if err := tx.EnqueueTask(t, payload); err != nil {
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

// Start takes over what a dead process left behind, begins to work and returns.
// Call it once. The end of ctx does not stop the runner.
func (r *Runner) Start(ctx context.Context) {
	running, abort := context.WithCancel(context.WithoutCancel(ctx))
	taking, stop := context.WithCancel(running)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done != nil {
		panic("task: Start was called twice")
	}
	r.stopping, r.abort, r.done = stop, abort, make(chan struct{})
	if !r.cfg.Shared {
		rescued, err := r.store.RescueTasks(ctx)
		if err != nil { // their leases end by themselves
			r.cfg.Logger.Error("rescue tasks", "error", err)
		} else if rescued > 0 {
			r.cfg.Logger.Info("tasks of the previous run go on", "count", rescued)
		}
	}
	go func() {
		defer close(r.done)
		r.loop(taking, running)
	}()
}

// Stop takes nothing new, lets what runs finish until ctx ends, and then gives
// the rest back. It returns when everything is stored. Calling it again is safe;
// without Start it does nothing.
func (r *Runner) Stop(ctx context.Context) {
	r.mu.Lock()
	done, stop, abort := r.done, r.stopping, r.abort
	r.mu.Unlock()
	if done == nil {
		return
	}
	stop()
	select {
	case <-done:
	case <-ctx.Done():
		abort()
		<-done
	}
	abort()
}

// result is what became of one run.
type result struct {
	delivery store.Delivery
	commit   Commit
	err      error
	released bool // stopped before its end
	late     bool // it no longer counts
	duration time.Duration
}

// longestWait bounds how late work is noticed that another process enqueued.
const longestWait = 5 * time.Second

func (r *Runner) loop(taking, running context.Context) {
	capacity := 2 * r.cfg.Workers // in memory: as many wait as run
	queue := make(chan store.Delivery, capacity)
	results := make(chan result, capacity)
	var workers sync.WaitGroup
	for range r.cfg.Workers {
		workers.Go(func() {
			for d := range queue {
				results <- r.run(running, d)
			}
		})
	}
	renewal := time.NewTicker(r.cfg.Lease / 3)
	defer renewal.Stop()
	look := time.NewTimer(0)
	defer look.Stop()
	stop := taking.Done()
	var finished []result
	outstanding, kept, more := 0, 0, true // kept: of finished, those that could not be stored
	for {
		select {
		case one := <-results:
			finished = append(finished, one)
		case <-r.wake:
			more = true
		case <-look.C:
			more = true
		case <-renewal.C:
			r.renew(running)
			continue
		case <-stop:
			stop = nil
			close(queue)
			for d := range queue { // others may have them at once
				finished = append(finished, result{delivery: d, released: true})
			}
		}
		for gathering := true; gathering; {
			select {
			case one := <-results:
				finished = append(finished, one)
			default:
				gathering = false
			}
		}
		room := 0
		if more && stop != nil {
			room = capacity - outstanding + len(finished) - kept
		}
		if len(finished) > 0 || room > 0 {
			turn, err := r.turn(running, finished, room)
			if stop == nil { // what is not stored by now is done again after the next start
				turn.kept = nil
			}
			outstanding -= len(finished) - len(turn.kept)
			finished, kept = turn.kept, len(turn.kept)
			if room > 0 {
				more = len(turn.claimed) == room
			}
			if err != nil {
				r.cfg.Logger.Error("task runner", "error", err)
				more, turn.wait = false, time.Second // rather than again at once
			}
			if !more || room == 0 { // kept results may have left no room until now
				look.Reset(turn.wait)
			}
			for _, d := range turn.claimed {
				outstanding++
				queue <- d // has room for all
			}
		}
		if stop == nil && outstanding == 0 {
			break
		}
	}
	workers.Wait()
}

// turned is what one turn brought.
type turned struct {
	claimed []store.Delivery
	kept    []result      // could not be stored because the database is away or full
	wait    time.Duration // until the next task is due
}

// turn stores results and claims up to room tasks, in one transaction. When that
// fails, each result is stored by itself, so that one that cannot be stored does
// not keep the others back.
func (r *Runner) turn(ctx context.Context, finished []result, room int) (t turned, err error) {
	ctx = context.WithoutCancel(ctx) // results are stored also while the program stops
	claim := func(tx *store.Tx) error {
		t = turned{kept: t.kept, wait: longestWait}
		if room > 0 {
			var err error
			if t.claimed, err = tx.ClaimTasks(room, r.cfg.Lease); err != nil {
				return err
			}
		}
		due, ok, err := tx.NextTaskDue()
		if ok {
			t.wait = min(max(due.Sub(tx.Now()), 0), longestWait)
		}
		return err
	}
	owners := make([]banksia.UserID, len(finished))
	r.mu.Lock()
	for i := range finished {
		owners[i] = finished[i].delivery.UserID
		if newest, ok := r.held[finished[i].delivery.DeliveryID]; ok {
			finished[i].delivery = newest
		}
	}
	r.mu.Unlock()
	err = r.store.ChangeAll(ctx, owners, func(tx *store.Tx) error {
		for i := range finished {
			if err := r.settle(tx, &finished[i]); err != nil {
				return err
			}
		}
		return claim(tx)
	})
	if err != nil {
		var errs []error
		settled := make([]result, 0, len(finished))
		for i := range finished {
			err := r.settleAlone(ctx, &finished[i])
			if errs = append(errs, err); isOutage(err) {
				t.kept = append(t.kept, finished[i])
			} else {
				settled = append(settled, finished[i])
			}
		}
		finished = settled
		if err = r.store.ChangeAll(ctx, nil, claim); err != nil {
			t.claimed = nil
		}
		err = errors.Join(append(errs, err)...)
	}
	for i := range finished {
		r.log(&finished[i])
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range finished {
		delete(r.held, finished[i].delivery.DeliveryID)
	}
	fresh := t.claimed[:0]
	for _, d := range t.claimed {
		// After the machine slept, leases of tasks that still run have ended; their results
		// count for the new claim.
		if _, runs := r.held[d.DeliveryID]; !runs {
			fresh = append(fresh, d)
		}
		r.held[d.DeliveryID] = d
	}
	t.claimed = fresh
	return t, err
}

// settle stores one result, unless another process has the task by now: this one
// was paused or cut off for longer than its lease, and what the other did counts.
func (r *Runner) settle(tx *store.Tx, one *result) error {
	t := one.delivery.Task
	held, err := tx.HoldTask(one.delivery)
	if one.late = !held; err != nil || !held {
		return err
	}
	if one.released {
		return tx.ReleaseTask(t)
	}
	message, _ := explain(one.err)
	if r.outcome(one) == Retried {
		return tx.RetryTask(t, message, r.backoff(t.RetryCount))
	}
	summary := "done"
	if one.commit != nil {
		if summary, err = one.commit(tx); err != nil {
			return err
		}
	}
	if one.err != nil {
		return tx.FailTask(t, message)
	}
	return tx.FinishTask(t, summary)
}

// settleAlone stores one result; when its commit fails, that is its result, unless
// nothing can be stored.
func (r *Runner) settleAlone(ctx context.Context, one *result) error {
	owner := one.delivery.UserID
	err := r.store.Change(ctx, owner, func(tx *store.Tx) error { return r.settle(tx, one) })
	if err == nil || one.commit == nil || isOutage(err) {
		return err
	}
	one.commit, one.err = nil, errors.Join(one.err, fmt.Errorf("store the result: %w", err))
	return r.store.Change(ctx, owner, func(tx *store.Tx) error { return r.settle(tx, one) })
}

// backoff doubles up to sixteen times the first wait, so that what waits for the end
// of an outage does not wait for long after it.
func (r *Runner) backoff(retries int) time.Duration {
	wait := r.cfg.Backoff << min(retries, 4)
	return wait + time.Duration(rand.Int64N(int64(wait)/2+1))
}

// renew keeps the leases of held tasks alive.
func (r *Runner) renew(ctx context.Context) {
	r.mu.Lock()
	held := make([]store.Delivery, 0, len(r.held))
	for _, d := range r.held {
		held = append(held, d)
	}
	r.mu.Unlock()
	if len(held) == 0 {
		return
	}
	if err := r.store.RenewTasks(context.WithoutCancel(ctx), held, r.cfg.Lease); err != nil {
		r.cfg.Logger.Error("renew tasks", "error", err)
	}
}

// run does one task, on behalf of whoever enqueued it.
func (r *Runner) run(ctx context.Context, d store.Delivery) (one result) {
	ctx = banksia.WithCause(ctx, d.Cause)
	if r.cfg.Observer != nil {
		observed, done := r.cfg.Observer(ctx, d)
		ctx = observed
		defer func() { done(r.outcome(&one), one.err) }()
	}
	begin := time.Now()
	commit, err := r.handle(ctx, d)
	if err != nil && ctx.Err() != nil {
		return result{delivery: d, released: true, duration: time.Since(begin)}
	}
	return result{delivery: d, commit: commit, err: err, duration: time.Since(begin)}
}

// outcome is what becomes of a task after a run.
func (r *Runner) outcome(one *result) Outcome {
	_, verdict := explain(one.err)
	switch {
	case one.released:
		return Released
	case one.err == nil:
		return Success
	case verdict == patient, verdict == again && one.delivery.RetryCount+1 < r.cfg.Attempts:
		return Retried
	}
	return Failure
}

// handle calls the handler. A panic in it is a failure: it would come again.
func (r *Runner) handle(ctx context.Context, d store.Delivery) (commit Commit, err error) {
	handler := r.handlers[d.Type]
	if handler == nil {
		return nil, Final("This server does not know this kind of task.", fmt.Errorf("no handler for %q", d.Type))
	}
	defer func() {
		if cause := recover(); cause != nil {
			commit, err = nil, Final("An internal error stopped the work; the log of the server says more.", fmt.Errorf("panic: %v\n%s", cause, debug.Stack()))
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	return handler(ctx, d)
}

// log writes the one line of a run.
func (r *Runner) log(one *result) {
	t := one.delivery.Task
	attributes := []slog.Attr{slog.String("task_id", t.ID.String()), slog.String("task_type", string(t.Type))}
	if t.AssetID != nil {
		attributes = append(attributes, slog.String("asset_id", t.AssetID.String()))
	}
	level := slog.LevelInfo
	if one.err != nil {
		level = slog.LevelWarn
	}
	attributes = append(attributes, slog.String("outcome", string(r.outcome(one))), slog.Int("attempt", t.RetryCount+1), slog.Int64("duration_ms", one.duration.Milliseconds()))
	if one.late {
		attributes = append(attributes, slog.Bool("late", true)) // and changed nothing
	}
	if one.err != nil {
		attributes = append(attributes, slog.Any("error", one.err))
	}
	r.cfg.Logger.LogAttrs(banksia.WithCause(context.Background(), one.delivery.Cause), level, "task", attributes...)
}
