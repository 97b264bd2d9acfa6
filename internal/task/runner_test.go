package task

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/banksiatest/storetest"
	"github.com/banksia-photos/banksia/internal/store"
)

// bench is a database with an owner and a library, on which runners work.
type bench struct {
	t       *testing.T
	store   *store.Store
	scope   banksia.Scope
	library banksia.LibraryID
}

func newBench(t *testing.T) *bench {
	t.Helper()
	s, err := store.Open(t.Context(), storetest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	now := s.Now()
	user := banksia.User{ID: banksia.NewID[banksia.UserID](now), IsActive: true, CreatedAt: now, UpdatedAt: now}
	library := banksia.Library{ID: banksia.NewID[banksia.LibraryID](now), UserID: user.ID, Name: "L", CreatedAt: now, UpdatedAt: now}
	err = s.Write(t.Context(), func(tx *store.Tx) error { return errors.Join(tx.InsertUser(&user), tx.InsertLibrary(&library)) })
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t, s, banksia.Scope{UserID: user.ID}, library.ID}
}

func (b *bench) runner(change func(*Config)) *Runner {
	b.t.Helper()
	cfg := DefaultConfig()
	cfg.Workers, cfg.Backoff, cfg.Logger = 3, time.Millisecond, slog.New(slog.DiscardHandler)
	if change != nil {
		change(&cfg)
	}
	r, err := New(cfg, b.store)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { b.stop(r) })
	return r
}

func (b *bench) stop(r *Runner) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r.Stop(ctx)
}

// enqueue adds a task for a new asset id; tasks need no asset row.
func (b *bench) enqueue(r *Runner, taskType banksia.TaskType, payload string) *banksia.Task {
	b.t.Helper()
	asset := banksia.NewID[banksia.AssetID](b.store.Now())
	return b.enqueueFor(r, asset, taskType, payload)
}

func (b *bench) enqueueFor(r *Runner, asset banksia.AssetID, taskType banksia.TaskType, payload string) *banksia.Task {
	b.t.Helper()
	t := &banksia.Task{UserID: b.scope.UserID, LibraryID: &b.library, AssetID: &asset, Type: taskType}
	if err := b.store.Write(context.Background(), func(tx *store.Tx) error { return r.EnqueueWith(tx, t, payload) }); err != nil {
		b.t.Fatal(err)
	}
	return t
}

func (b *bench) get(t *banksia.Task) banksia.Task {
	b.t.Helper()
	got, err := b.store.GetTask(context.Background(), b.scope, &t.ID, "")
	if err != nil {
		b.t.Fatal(err)
	}
	return got
}

// settled waits until nothing is pending or started.
func (b *bench) settled() {
	b.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		n, err := b.store.UnfinishedTasks(context.Background())
		if err != nil {
			b.t.Fatal(err)
		}
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%d tasks are not finished", n)
		}
		time.Sleep(time.Millisecond) // between two looks at the condition
	}
}

const kind = banksia.TaskThumbHash

// The states of behaviour 17.2, and the result in one transaction with them.
func TestSuccess(t *testing.T) {
	b := newBench(t)
	r := b.runner(nil)
	r.Handle(kind, func(ctx context.Context, d store.Delivery) (Commit, error) {
		if d.Status != banksia.TaskStarted || d.StartedAt == nil || d.Payload != "what to do" {
			t.Errorf("delivered as %+v", d)
		}
		return func(tx *store.Tx) (string, error) {
			_, err := tx.Exec(`INSERT INTO settings (name, value) VALUES ($1, $2)`, d.ID.String(), []byte{1})
			return "all is well", err
		}, nil
	})
	task := b.enqueue(r, kind, "what to do")
	if got := b.get(task); got.Status != banksia.TaskPending || got.StartedAt != nil || got.CompletedAt != nil || got.RetryCount != 0 || got.DeliveryID != task.DeliveryID {
		t.Errorf("enqueued as %+v", got)
	}
	r.Start(t.Context())
	b.settled()
	got := b.get(task)
	if got.Status != banksia.TaskSuccess || got.Result == nil || *got.Result != "all is well" || got.ErrorMessage != nil ||
		got.StartedAt == nil || got.CompletedAt == nil || got.CompletedAt.Before(*got.StartedAt) || got.StartedAt.Before(got.CreatedAt) {
		t.Errorf("finished as %+v", got)
	}
	if n := b.count(`SELECT COUNT(*) FROM settings WHERE name = $1`, task.ID.String()); n != 1 {
		t.Errorf("the commit left %d rows", n)
	}
}

func (b *bench) count(text string, args ...any) (n int) {
	b.t.Helper()
	if err := b.store.Read(context.Background(), func(tx *store.Tx) error { return tx.QueryRow(text, args...).Scan(&n) }); err != nil {
		b.t.Fatal(err)
	}
	return n
}

func TestFailures(t *testing.T) {
	b := newBench(t)
	boom := errors.New("secret detail")
	for name, c := range map[string]struct {
		err     func(attempt int) error
		commit  Commit
		status  banksia.TaskStatus
		retries int
		message string // "" for none
	}{
		"a final error is not tried again": {
			err:    func(int) error { return fmt.Errorf("wrapped: %w", Final("The image is damaged.", boom)) },
			status: banksia.TaskFailure, message: "The image is damaged.",
		},
		"a final error of the domain": {
			err:    func(int) error { return &banksia.Error{Code: banksia.CodeNotFound, Message: "Gone.", Final: true} },
			status: banksia.TaskFailure, message: "Gone.",
		},
		"a panic": {
			err:    func(int) error { panic(boom) },
			status: banksia.TaskFailure, message: "An internal error stopped the work; the log of the server says more.",
		},
		"an error is tried again until it fails for good": {
			err:    func(int) error { return boom },
			status: banksia.TaskFailure, retries: 2, message: "An internal error stopped the work; the log of the server says more.",
		},
		"an error with a sentence": {
			err:    func(int) error { return Retry("The decoder crashed.", boom) },
			status: banksia.TaskFailure, retries: 2, message: "The decoder crashed.",
		},
		"the message of an earlier attempt stays": { // behaviour 17.2
			err: func(attempt int) error {
				if attempt < 3 {
					return Retry("Later.", boom)
				}
				return nil
			},
			status: banksia.TaskSuccess, retries: 2, message: "Later.",
		},
		"what the work needs is away for longer than there are attempts": {
			err: func(attempt int) error {
				if attempt < 10 {
					return fmt.Errorf("wrapped: %w", Outage("The storage failed for now.", boom))
				}
				return nil
			},
			status: banksia.TaskSuccess, retries: 9, message: "The storage failed for now.",
		},
		"a result that cannot be stored": {
			err: func(int) error { return nil },
			commit: func(tx *store.Tx) (string, error) {
				tx.Exec(`INSERT INTO settings (name, value) VALUES ('half', $1)`, []byte{1})
				return "", boom
			},
			status: banksia.TaskFailure, retries: 2, message: "An internal error stopped the work; the log of the server says more.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := &bench{t, b.store, b.scope, b.library}
			r := b.runner(func(c *Config) { c.Attempts = 3 })
			var attempts atomic.Int32
			r.Handle(kind, func(context.Context, store.Delivery) (Commit, error) {
				return c.commit, c.err(int(attempts.Add(1)))
			})
			task := b.enqueue(r, kind, "")
			r.Start(t.Context())
			b.settled()
			got := b.get(task)
			message := ""
			if got.ErrorMessage != nil {
				message = *got.ErrorMessage
			}
			if got.Status != c.status || got.RetryCount != c.retries || int(attempts.Load()) != c.retries+1 || message != c.message {
				t.Errorf("%s after %d attempts, %d retries: %q", got.Status, attempts.Load(), got.RetryCount, message)
			}
			if got.CompletedAt == nil || strings.Contains(message, "secret") {
				t.Errorf("finished as %+v", got)
			}
			if n := b.count(`SELECT COUNT(*) FROM settings`); n != 0 {
				t.Errorf("%d rows of failed commits are left", n)
			}
			b.stop(r)
		})
	}
}

func TestUnknownType(t *testing.T) {
	b := newBench(t)
	r := b.runner(nil)
	task := b.enqueue(r, "burst_detection", "")
	r.Start(t.Context())
	b.settled()
	if got := b.get(task); got.Status != banksia.TaskFailure || got.RetryCount != 0 {
		t.Errorf("finished as %+v", got)
	}
}

// A commit that comes with a final error is stored with the failure.
func TestFailureWithCommit(t *testing.T) {
	b := newBench(t)
	r := b.runner(nil)
	r.Handle(kind, func(context.Context, store.Delivery) (Commit, error) {
		return func(tx *store.Tx) (string, error) {
			_, err := tx.Exec(`INSERT INTO settings (name, value) VALUES ('failed', $1)`, []byte{1})
			return "", err
		}, Final("No.", errors.New("no"))
	})
	task := b.enqueue(r, kind, "")
	r.Start(t.Context())
	b.settled()
	if got := b.get(task); got.Status != banksia.TaskFailure || b.count(`SELECT COUNT(*) FROM settings`) != 1 {
		t.Errorf("finished as %+v", got)
	}
}

// One commit that fails does not undo the results that came in with it.
func TestBadCommitAmongGoodOnes(t *testing.T) {
	b := newBench(t)
	r := b.runner(func(c *Config) { c.Workers, c.Attempts = 8, 1 })
	gate := make(chan struct{})
	r.Handle(kind, func(ctx context.Context, d store.Delivery) (Commit, error) {
		<-gate // so that many results come at once
		return func(tx *store.Tx) (string, error) {
			if d.Payload == "bad" {
				return "", errors.New("cannot be stored")
			}
			_, err := tx.Exec(`INSERT INTO settings (name, value) VALUES ($1, $2)`, d.ID.String(), []byte{1})
			return "good", err
		}, nil
	})
	tasks := map[*banksia.Task]string{}
	for i := range 40 {
		payload := "good"
		if i%10 == 3 {
			payload = "bad"
		}
		tasks[b.enqueue(r, kind, payload)] = payload
	}
	r.Start(t.Context())
	close(gate)
	b.settled()
	for task, payload := range tasks {
		want := banksia.TaskSuccess
		if payload == "bad" {
			want = banksia.TaskFailure
		}
		if got := b.get(task); got.Status != want {
			t.Errorf("a %s one finished as %s", payload, got.Status)
		}
	}
	if n := b.count(`SELECT COUNT(*) FROM settings`); n != 36 {
		t.Errorf("%d commits are stored, want 36", n)
	}
}

// Enqueueing again starts the same row anew under a new delivery id, also while
// the old delivery runs, whose result then no longer counts.
func TestEnqueueAgain(t *testing.T) {
	b := newBench(t)
	r := b.runner(nil)
	started, gate := make(chan string, 2), make(chan struct{})
	r.Handle(kind, func(ctx context.Context, d store.Delivery) (Commit, error) {
		started <- d.Payload
		<-gate
		if d.Payload == "first" {
			return nil, Final("Outdated.", errors.New("outdated"))
		}
		return func(*store.Tx) (string, error) { return d.Payload, nil }, nil
	})
	asset := banksia.NewID[banksia.AssetID](b.store.Now())
	first := b.enqueueFor(r, asset, kind, "first")
	r.Start(t.Context())
	if got := <-started; got != "first" {
		t.Fatalf("started with %q", got)
	}
	second := b.enqueueFor(r, asset, kind, "second")
	if second.ID != first.ID || second.DeliveryID == first.DeliveryID || !second.CreatedAt.Equal(first.CreatedAt) {
		t.Errorf("enqueued again as %+v, first as %+v", second, first)
	}
	if got := <-started; got != "second" {
		t.Fatalf("started with %q", got)
	}
	close(gate)
	b.settled()
	got := b.get(first)
	if got.Status != banksia.TaskSuccess || *got.Result != "second" || got.ErrorMessage != nil {
		t.Errorf("finished as %+v", got)
	}
	if byDelivery, err := b.store.GetTask(t.Context(), b.scope, nil, second.DeliveryID); err != nil || byDelivery.ID != first.ID { // behaviour 1.8
		t.Errorf("by delivery id: %+v, %v", byDelivery, err)
	}
}

// No more tasks run at once than there are workers; all of many run, each once.
func TestManyTasks(t *testing.T) {
	const tasks, workers = 300, 4
	b := newBench(t)
	r := b.runner(func(c *Config) { c.Workers = workers })
	var running, most, runs atomic.Int32
	var order sync.Map
	r.Handle(kind, func(ctx context.Context, d store.Delivery) (Commit, error) {
		defer running.Add(-1)
		now := running.Add(1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		runs.Add(1)
		if _, twice := order.LoadOrStore(d.ID, true); twice {
			t.Errorf("task %s ran twice", d.ID)
		}
		return nil, nil
	})
	for range tasks / 2 {
		b.enqueue(r, kind, "")
	}
	r.Start(t.Context())
	for range tasks / 2 { // while it runs: each must be noticed
		b.enqueue(r, kind, "")
	}
	b.settled()
	if runs.Load() != tasks || most.Load() > workers {
		t.Errorf("%d runs, up to %d at once", runs.Load(), most.Load())
	}
}

// Tasks begin in the order in which they were enqueued, so that the variants of
// an asset are there before its thumbhash asks for them.
func TestOrder(t *testing.T) {
	b := newBench(t)
	r := b.runner(func(c *Config) { c.Workers = 1 })
	var got []string
	for _, taskType := range []banksia.TaskType{banksia.TaskDisplayProxy, banksia.TaskThumbHash, banksia.TaskReverseGeocode} {
		r.Handle(taskType, func(ctx context.Context, d store.Delivery) (Commit, error) {
			got = append(got, d.Payload)
			return nil, nil
		})
	}
	var want []string
	for i := range 30 {
		err := b.store.Write(t.Context(), func(tx *store.Tx) error {
			asset := banksia.NewID[banksia.AssetID](tx.Now())
			for _, taskType := range []banksia.TaskType{banksia.TaskDisplayProxy, banksia.TaskThumbHash, banksia.TaskReverseGeocode} {
				want = append(want, fmt.Sprint(i, taskType))
				if err := r.EnqueueWith(tx, &banksia.Task{UserID: b.scope.UserID, AssetID: &asset, Type: taskType}, fmt.Sprint(i, taskType)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	r.Start(t.Context())
	b.settled()
	b.stop(r)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("ran in the order %v", got)
	}
}

// Stop lets what runs finish, gives back what waits, and takes nothing new.
func TestStop(t *testing.T) {
	b := newBench(t)
	r := b.runner(func(c *Config) { c.Workers = 1 })
	started, gate := make(chan struct{}, 10), make(chan struct{})
	r.Handle(kind, func(ctx context.Context, d store.Delivery) (Commit, error) {
		started <- struct{}{}
		<-gate
		return nil, ctx.Err()
	})
	running := b.enqueue(r, kind, "")
	waiting := b.enqueue(r, kind, "")
	r.Start(t.Context())
	<-started
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		b.stop(r)
	}()
	for b.get(waiting).Status != banksia.TaskPending {
		select {
		case <-stopped:
		case <-time.After(time.Millisecond):
		}
	}
	late := b.enqueue(r, kind, "")
	close(gate)
	<-stopped
	b.stop(r) // again
	if got := b.get(running); got.Status != banksia.TaskSuccess {
		t.Errorf("what ran is %s", got.Status)
	}
	for _, task := range []*banksia.Task{waiting, late} {
		if got := b.get(task); got.Status != banksia.TaskPending || got.RetryCount != 0 || got.StartedAt != nil {
			t.Errorf("what waited is %+v", got)
		}
	}
	next := b.runner(nil)
	next.Handle(kind, func(context.Context, store.Delivery) (Commit, error) { return nil, nil })
	next.Start(t.Context())
	b.settled()
}

// When the time for stopping is over, what runs is ended and given back.
func TestStopAborts(t *testing.T) {
	b := newBench(t)
	r := b.runner(nil)
	started := make(chan struct{})
	r.Handle(kind, func(ctx context.Context, d store.Delivery) (Commit, error) {
		close(started)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	task := b.enqueue(r, kind, "")
	r.Start(t.Context())
	<-started
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.Stop(ctx)
	if got := b.get(task); got.Status != banksia.TaskPending || got.RetryCount != 0 {
		t.Errorf("given back as %+v", got)
	}
}

// What a dead process was running goes on: at once when nobody else runs tasks,
// otherwise when its lease has ended.
func TestRescue(t *testing.T) {
	for _, shared := range []bool{false, true} {
		b := newBench(t)
		var dead []store.Delivery
		r := b.runner(func(c *Config) { c.Shared = shared })
		task := b.enqueue(r, kind, "")
		lease := time.Hour
		if shared {
			lease = 50 * time.Millisecond
		}
		err := b.store.Write(t.Context(), func(tx *store.Tx) (err error) {
			dead, err = tx.ClaimTasks(10, lease)
			return err
		})
		if err != nil || len(dead) != 1 || dead[0].ID != task.ID {
			t.Fatalf("claimed %+v, %v", dead, err)
		}
		r.Handle(kind, func(context.Context, store.Delivery) (Commit, error) { return nil, nil })
		r.Start(t.Context())
		b.settled()
		if got := b.get(task); got.Status != banksia.TaskSuccess {
			t.Errorf("shared %v: %+v", shared, got)
		}
	}
}

// A task that takes longer than its lease is not run twice.
func TestRenewal(t *testing.T) {
	b := newBench(t)
	r := b.runner(func(c *Config) { c.Lease = 30 * time.Millisecond })
	var runs atomic.Int32
	renewed := make(chan struct{})
	r.Handle(kind, func(ctx context.Context, d store.Delivery) (Commit, error) {
		runs.Add(1)
		<-renewed
		return nil, nil
	})
	task := b.enqueue(r, kind, "")
	r.Start(t.Context())
	for first := int64(0); ; { // until the lease has moved three times its length
		var due *int64
		err := b.store.Read(t.Context(), func(tx *store.Tx) error {
			return tx.QueryRow(`SELECT due_at FROM tasks WHERE id = $1 AND status = 'started'`, task.ID).Scan(&due)
		})
		if err == nil && due != nil {
			if first == 0 {
				first = *due
			}
			if *due > first+100_000 {
				break
			}
		}
	}
	close(renewed)
	b.settled()
	if runs.Load() != 1 {
		t.Errorf("ran %d times", runs.Load())
	}
}

// A run that takes too long is ended and counts as an attempt.
func TestTimeout(t *testing.T) {
	b := newBench(t)
	r := b.runner(func(c *Config) { c.Timeout, c.Attempts = time.Millisecond, 2 })
	r.Handle(kind, func(ctx context.Context, d store.Delivery) (Commit, error) {
		<-ctx.Done()
		return nil, fmt.Errorf("decode: %w", ctx.Err())
	})
	task := b.enqueue(r, kind, "")
	r.Start(t.Context())
	b.settled()
	if got := b.get(task); got.Status != banksia.TaskFailure || got.RetryCount != 1 || *got.ErrorMessage != "The work took too long." {
		t.Errorf("finished as %+v", got)
	}
}

func TestRollbackEnqueuesNothing(t *testing.T) {
	b := newBench(t)
	r := b.runner(nil)
	boom := errors.New("boom")
	asset := banksia.NewID[banksia.AssetID](b.store.Now())
	err := b.store.Write(t.Context(), func(tx *store.Tx) error {
		return errors.Join(r.Enqueue(tx, &banksia.Task{UserID: b.scope.UserID, AssetID: &asset, Type: kind}), boom)
	})
	if !errors.Is(err, boom) || b.count(`SELECT COUNT(*) FROM tasks`) != 0 {
		t.Errorf("left %d tasks, %v", b.count(`SELECT COUNT(*) FROM tasks`), err)
	}
}

func TestConfigValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for _, change := range []func(*Config){
		func(c *Config) { c.Workers = 0 }, func(c *Config) { c.Attempts = 0 }, func(c *Config) { c.Backoff = 0 },
		func(c *Config) { c.Lease = -1 }, func(c *Config) { c.Timeout = 0 },
	} {
		c := DefaultConfig()
		change(&c)
		if _, err := New(c, nil); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

// A process that was paused for longer than its lease brings a result for a task that
// another has run meanwhile, or runs now. It changes nothing, whatever the result.
func TestLateResult(t *testing.T) {
	b := newBench(t)
	for name, late := range map[string]result{
		"success": {commit: func(tx *store.Tx) (string, error) {
			_, err := tx.Exec(`INSERT INTO settings (name, value) VALUES ('late', $1)`, []byte{1})
			return "late", err
		}},
		"failure": {err: Final("Late.", errors.New("late"))},
		"retry":   {err: errors.New("late")},
		"release": {released: true},
	} {
		for _, ended := range []bool{true, false} {
			paused, other := b.runner(nil), b.runner(nil)
			task := b.enqueue(paused, kind, "")
			claim := func(lease time.Duration) (d []store.Delivery) {
				err := b.store.Write(t.Context(), func(tx *store.Tx) (err error) {
					d, err = tx.ClaimTasks(10, lease)
					return err
				})
				if err != nil || len(d) != 1 || d[0].ID != task.ID {
					t.Fatalf("%s: claimed %+v, %v", name, d, err)
				}
				return d
			}
			late.delivery = claim(0)[0]
			now := result{delivery: claim(time.Hour)[0], commit: func(*store.Tx) (string, error) { return "in time", nil }}
			want := banksia.TaskStarted
			if ended {
				want = banksia.TaskSuccess
				if _, err := other.turn(t.Context(), []result{now}, 0); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.store.RenewTasks(t.Context(), []store.Delivery{late.delivery}, 24*time.Hour); err != nil {
				t.Fatal(err)
			}
			before := b.get(task)
			if _, err := paused.turn(t.Context(), []result{late}, 0); err != nil {
				t.Fatal(err)
			}
			if got := b.get(task); got.Status != want || !reflect.DeepEqual(got, before) {
				t.Errorf("%s, ended %v: the task is %+v after, %+v before", name, ended, got, before)
			}
			if n := b.count(`SELECT COUNT(*) FROM settings`); n != 0 {
				t.Errorf("%s: the late result was stored", name)
			}
			if n := b.count(`SELECT COUNT(*) FROM tasks WHERE due_at > $1`, b.store.Now().Add(2*time.Hour).UnixMicro()); n != 0 {
				t.Errorf("%s: the lease of another was renewed", name)
			}
			if !ended {
				if _, err := other.turn(t.Context(), []result{now}, 0); err != nil {
					t.Fatal(err)
				}
			}
			if got := b.get(task); got.Status != banksia.TaskSuccess || *got.Result != "in time" {
				t.Errorf("%s, ended %v: finished as %+v", name, ended, got)
			}
		}
	}
}
