package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
)

// An observer is told of each transaction, how long it waited, and what became of
// it, also when it panics or never comes to its turn.
func TestObserver(t *testing.T) {
	t.Parallel()
	type key struct{}
	var mu sync.Mutex
	var seen []string
	cfg := database(t)
	cfg.Patience = 10 * time.Millisecond
	cfg.Observer = func(ctx context.Context, kind string) (context.Context, func(time.Duration, error)) {
		return context.WithValue(ctx, key{}, kind), func(waited time.Duration, err error) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, fmt.Sprintf("%s began: %t, failed: %t", kind, waited >= 0, err != nil))
		}
	}
	s := openWith(t, cfg)
	mu.Lock()
	seen = nil // of the migrations
	mu.Unlock()
	within := func(want string) func(*Tx) error {
		return func(tx *Tx) error {
			if tx.ctx.Value(key{}) != want {
				t.Errorf("a transaction of the kind %v, want %s", tx.ctx.Value(key{}), want)
			}
			return nil
		}
	}
	refused := errors.New("refused")
	if err := errors.Join(s.Read(t.Context(), within("read")), s.Write(t.Context(), within("write"))); err != nil {
		t.Error(err)
	}
	if err := s.Write(t.Context(), func(*Tx) error { return refused }); !errors.Is(err, refused) {
		t.Error(err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is gone")
			}
		}()
		s.Read(t.Context(), func(*Tx) error { panic("oh") })
	}()
	err := s.Write(t.Context(), func(*Tx) error {
		if err := s.Write(t.Context(), func(*Tx) error { return nil }); !errors.Is(err, ErrBusy) {
			t.Errorf("a change within a change: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	want := []string{
		"read began: true, failed: false",
		"write began: true, failed: false",
		"write began: true, failed: true",
		"read began: true, failed: true",
		"write began: false, failed: true",
		"write began: true, failed: false",
	}
	if !slices.Equal(seen, want) {
		t.Errorf("seen %q, want %q", seen, want)
	}
}

func TestPing(t *testing.T) {
	t.Parallel()
	s := open(t)
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	// As when somebody puts an older database under the running server.
	err := s.Write(t.Context(), func(tx *Tx) error {
		_, err := tx.Exec(`DELETE FROM schema_migrations WHERE version = (SELECT MAX(version) FROM schema_migrations)`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("a database that lacks a migration is well")
	}
}

func TestQueueLengths(t *testing.T) {
	t.Parallel()
	s := open(t)
	now := s.Now()
	user := banksia.User{ID: banksia.NewID[banksia.UserID](now), IsActive: true, CreatedAt: now, UpdatedAt: now}
	at := func(ago time.Duration) any { return now.Add(-ago).UnixMicro() }
	err := s.Write(banksia.WithCause(t.Context(), banksia.Cause{RequestID: "r-1"}), func(tx *Tx) error {
		if err := tx.InsertUser(&user); err != nil {
			return err
		}
		for _, row := range []struct {
			taskType banksia.TaskType
			status   banksia.TaskStatus
			due      any
		}{
			{banksia.TaskThumbHash, banksia.TaskPending, at(time.Minute)},
			{banksia.TaskThumbHash, banksia.TaskPending, at(time.Hour)},
			{banksia.TaskThumbHash, banksia.TaskStarted, at(-time.Minute)}, // its lease lasts
			{banksia.TaskDisplayProxy, banksia.TaskStarted, at(time.Second)},
			{banksia.TaskDisplayProxy, banksia.TaskSuccess, nil},
		} {
			asset := banksia.NewID[banksia.AssetID](now)
			one := banksia.Task{UserID: user.ID, AssetID: &asset, Type: row.taskType}
			if err := tx.EnqueueTask(&one, ""); err != nil {
				return err
			}
			if _, err := tx.Exec(`UPDATE tasks SET status = $1, due_at = $2 WHERE id = $3`, row.status, row.due, one.ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	lengths, err := s.QueueLengths(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, l := range lengths {
		age := time.Duration(0)
		if !l.OldestDue.IsZero() {
			age = now.Sub(l.OldestDue)
		}
		got[fmt.Sprintf("%s %s %d %s", l.Type, l.Status, l.Count, age)] = true
	}
	for _, want := range []string{"thumbhash pending 2 1h0m0s", "thumbhash started 1 0s", "display_proxy_generation started 1 1s"} {
		if !got[want] || len(got) != 3 {
			t.Errorf("%q is not among %v", want, got)
		}
	}
	// Whoever runs them learns on whose behalf; what has ended forgets it.
	err = s.Write(t.Context(), func(tx *Tx) error {
		claimed, err := tx.ClaimTasks(10, time.Minute)
		if err != nil {
			return err
		}
		if len(claimed) != 3 {
			t.Errorf("%d tasks are claimed, want 3", len(claimed))
		}
		for _, d := range claimed {
			if d.Cause.RequestID != "r-1" {
				t.Errorf("the cause is %+v", d.Cause)
			}
			if err := tx.FinishTask(d.Task, "done"); err != nil {
				return err
			}
		}
		var n int
		if err := tx.QueryRow(`SELECT COUNT(*) FROM tasks WHERE cause IS NOT NULL AND due_at IS NULL AND result IS NOT NULL`).Scan(&n); err != nil {
			return err
		}
		if n != 0 {
			t.Errorf("%d ended tasks keep their cause", n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
