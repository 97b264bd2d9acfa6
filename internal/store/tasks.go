package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/banksia-photos/banksia"
)

// EnqueueTask makes a task of an asset pending: a new row, or the row of the same
// asset and type started anew under a new delivery id. It fills in what the store
// decides of t, and remembers the cause of the transaction's context. payload is
// for work that finds no asset any more; "" is none.
func (tx *Tx) EnqueueTask(t *banksia.Task, payload string) error {
	now := tx.Now()
	t.Status, t.DeliveryID = banksia.TaskPending, newDeliveryID(now)
	t.RetryCount, t.StartedAt, t.CompletedAt = 0, nil, nil
	var created int64
	err := tx.QueryRow(`INSERT INTO tasks (id, delivery_id, user_id, library_id, asset_id, task_type, status, payload, created_at, due_at, cause)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10)
		ON CONFLICT (asset_id, task_type) DO UPDATE SET delivery_id = excluded.delivery_id, status = excluded.status, payload = excluded.payload, cause = excluded.cause,
			retry_count = 0, started_at = NULL, completed_at = NULL, due_at = excluded.due_at
		RETURNING id, created_at`,
		banksia.NewID[banksia.TaskID](now), t.DeliveryID, t.UserID, t.LibraryID, t.AssetID, t.Type, t.Status, textOrNil(payload), now.UnixMicro(), textOrNil(banksia.CauseOf(tx.ctx).String())).Scan(&t.ID, &created)
	if err != nil {
		return fmt.Errorf("enqueue %s: %w", t.Type, tx.store.explain(err))
	}
	t.CreatedAt = timeOf(created)
	return nil
}

func textOrNil(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// newDeliveryID has the form of a UUID, as clients expect of the queue's own id.
func newDeliveryID(now time.Time) string {
	id := banksia.NewID[banksia.TaskID](now)
	text := hex.EncodeToString(id[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

const taskColumns = `id, delivery_id, user_id, library_id, asset_id, task_type, status, retry_count, error_message, result, created_at, started_at, completed_at`

func scanTask(rows *sql.Rows, more ...any) (t banksia.Task, err error) {
	var library sql.Null[banksia.LibraryID]
	var asset sql.Null[banksia.AssetID]
	var created int64
	var started, completed *int64
	err = rows.Scan(append([]any{&t.ID, &t.DeliveryID, &t.UserID, &library, &asset, &t.Type, &t.Status, &t.RetryCount, &t.ErrorMessage, &t.Result, &created, &started, &completed}, more...)...)
	t.CreatedAt = timeOf(created)
	if library.Valid {
		t.LibraryID = &library.V
	}
	if asset.Valid {
		t.AssetID = &asset.V
	}
	if started != nil {
		at := timeOf(*started)
		t.StartedAt = &at
	}
	if completed != nil {
		at := timeOf(*completed)
		t.CompletedAt = &at
	}
	return t, err
}

func (tx *Tx) tasks(text string, args ...any) (tasks []banksia.Task, err error) {
	err = tx.each(text, args, func(rows *sql.Rows) error {
		t, err := scanTask(rows)
		tasks = append(tasks, t)
		return err
	})
	return tasks, err
}

// Delivery is a task that was claimed, for one run. StartedAt tells claims of a task
// apart: it rises with each, whatever clocks say.
type Delivery struct {
	banksia.Task
	Payload string
	Cause   banksia.Cause // of whoever enqueued it
}

// ClaimTasks takes up to limit tasks whose time has come, in the order in which
// it came, until their lease ends. A task whose lease ran out is claimed again
// like any other.
func (tx *Tx) ClaimTasks(limit int, lease time.Duration) (claimed []Delivery, err error) {
	now := tx.Now()
	err = tx.each(`SELECT `+taskColumns+`, payload, cause FROM tasks WHERE due_at IS NOT NULL AND due_at <= $1 ORDER BY due_at LIMIT $2`+tx.store.dialect.claimable, []any{now.UnixMicro(), limit}, func(rows *sql.Rows) error {
		var payload, cause *string
		t, err := scanTask(rows, &payload, &cause)
		d := Delivery{Task: t}
		started := now
		if t.StartedAt != nil && !started.After(*t.StartedAt) {
			started = t.StartedAt.Add(time.Microsecond)
		}
		d.Status, d.StartedAt = banksia.TaskStarted, &started
		if payload != nil {
			d.Payload = *payload
		}
		if cause != nil {
			d.Cause = banksia.ParseCause(*cause)
		}
		claimed = append(claimed, d)
		return err
	})
	for _, d := range claimed {
		if err == nil {
			_, err = tx.Exec(`UPDATE tasks SET status = 'started', started_at = $1, due_at = $2 WHERE id = $3`, d.StartedAt.UnixMicro(), now.Add(lease).UnixMicro(), d.ID)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("claim tasks: %w", err)
	}
	return claimed, nil
}

// NextTaskDue tells when the next task may be claimed; ok is false when nothing
// waits.
func (tx *Tx) NextTaskDue() (due time.Time, ok bool, err error) {
	var at *int64
	if err := tx.QueryRow(`SELECT MIN(due_at) FROM tasks WHERE due_at IS NOT NULL`).Scan(&at); err != nil {
		return due, false, fmt.Errorf("next task: %w", err)
	}
	if at == nil {
		return due, false, nil
	}
	return timeOf(*at), true, nil
}

// HoldTask tells whether a delivery still counts: the task was neither enqueued anew
// nor claimed by another process after the lease had ended, as happens to one that
// was paused. Until the end of the transaction it stays so.
func (tx *Tx) HoldTask(d Delivery) (held bool, err error) {
	held, err = tx.exists(`SELECT 1 FROM tasks WHERE `+isHeld+tx.store.dialect.lockRows, d.ID, d.DeliveryID, d.StartedAt.UnixMicro())
	if err != nil {
		return false, fmt.Errorf("hold task %s: %w", d.ID, err)
	}
	return held, nil
}

const isHeld = `id = $1 AND delivery_id = $2 AND started_at = $3 AND status = 'started'`

// RenewTasks moves the end of the lease of deliveries that still run. It waits for
// nobody: a task that another transaction is changing now is left for the next time.
func (s *Store) RenewTasks(ctx context.Context, deliveries []Delivery, lease time.Duration) error {
	return s.Write(ctx, func(tx *Tx) error {
		due := tx.Now().Add(lease).UnixMicro()
		for _, d := range deliveries {
			_, err := tx.Exec(`UPDATE tasks SET due_at = $4 WHERE id IN (SELECT id FROM tasks WHERE `+isHeld+tx.store.dialect.claimable+`)`, d.ID, d.DeliveryID, d.StartedAt.UnixMicro(), due)
			if err != nil {
				return fmt.Errorf("renew task %s: %w", d.ID, err)
			}
		}
		return nil
	})
}

// RescueTasks makes every started task due at once. Only a process that is alone
// on its database may call it, at start: whoever ran them is dead.
func (s *Store) RescueTasks(ctx context.Context) (n int64, err error) {
	err = s.Write(ctx, func(tx *Tx) error {
		result, err := tx.Exec(`UPDATE tasks SET due_at = $1 WHERE status = 'started' AND due_at > $1`, tx.Now().UnixMicro())
		if err == nil {
			n, err = result.RowsAffected()
		}
		return err
	})
	return n, err
}

// FinishTask ends a task well, within the transaction that stores its result. A
// task that was enqueued anew meanwhile stays pending, and one whose asset was
// purged is no error.
func (tx *Tx) FinishTask(t banksia.Task, result string) error {
	return tx.endTask(t, `status = 'success', result = $1, completed_at = $2, due_at = NULL, cause = NULL`, result)
}

// FailTask ends a task for good; message is for the people who see the task.
func (tx *Tx) FailTask(t banksia.Task, message string) error {
	return tx.endTask(t, `status = 'failure', error_message = $1, completed_at = $2, due_at = NULL, cause = NULL`, message)
}

func (tx *Tx) endTask(t banksia.Task, set, text string) error {
	_, err := tx.Exec(`UPDATE tasks SET `+set+` WHERE id = $3 AND delivery_id = $4`, text, tx.Now().UnixMicro(), t.ID, t.DeliveryID)
	if err != nil {
		return fmt.Errorf("end task %s: %w", t.ID, err)
	}
	return nil
}

// RetryTask lets a task wait before it is claimed again.
func (tx *Tx) RetryTask(t banksia.Task, message string, wait time.Duration) error {
	_, err := tx.Exec(`UPDATE tasks SET retry_count = retry_count + 1, error_message = $1, due_at = $2 WHERE id = $3 AND delivery_id = $4`,
		message, tx.Now().Add(wait).UnixMicro(), t.ID, t.DeliveryID)
	if err != nil {
		return fmt.Errorf("retry task %s: %w", t.ID, err)
	}
	return nil
}

// ReleaseTask gives a claimed task back untouched.
func (tx *Tx) ReleaseTask(t banksia.Task) error {
	_, err := tx.Exec(`UPDATE tasks SET status = 'pending', started_at = NULL, due_at = $1 WHERE id = $2 AND delivery_id = $3`, tx.Now().UnixMicro(), t.ID, t.DeliveryID)
	if err != nil {
		return fmt.Errorf("release task %s: %w", t.ID, err)
	}
	return nil
}

// UnfinishedTasks counts the tasks that are neither done nor failed.
func (s *Store) UnfinishedTasks(ctx context.Context) (n int, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		return tx.QueryRow(`SELECT COUNT(*) FROM tasks WHERE due_at IS NOT NULL`).Scan(&n)
	})
	return n, err
}

// TaskFilter says which tasks a list holds.
type TaskFilter struct {
	LibraryID *banksia.LibraryID // nil: all within the scope
	AssetID   *banksia.AssetID
	Status    banksia.TaskStatus // "": any
	Type      banksia.TaskType   // "": any
	Limit     int
}

// ListTasks reads tasks within the scope, newest first.
func (s *Store) ListTasks(ctx context.Context, scope banksia.Scope, f TaskFilter) (tasks []banksia.Task, err error) {
	if scope.LibraryIDs != nil && len(scope.LibraryIDs) == 0 {
		return nil, nil
	}
	err = s.Read(ctx, func(tx *Tx) error {
		few := false
		if f.AssetID == nil && (f.Status == banksia.TaskPending || f.Status == banksia.TaskStarted) {
			var n int
			if err := tx.QueryRow(`SELECT COUNT(*) FROM (SELECT 1 FROM tasks WHERE due_at IS NOT NULL LIMIT $1) AS unfinished`, fewTasks+1).Scan(&n); err != nil {
				return err
			}
			few = n <= fewTasks
		}
		text, args := listTasksQuery(scope, f, few)
		tasks, err = tx.tasks(text, args...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list tasks: %w", err)
	}
	return tasks, nil
}

// fewTasks can be sorted for a page; more are walked in their order.
const fewTasks = 1000

// listTasksQuery makes a statement that looks at no more rows than it must among
// millions of finished ones. few tells that there are few unfinished tasks.
func listTasksQuery(scope banksia.Scope, f TaskFilter, few bool) (text string, args []any) {
	var q query
	from := `tasks`
	// A small set is read by its own index and then sorted, which engines would
	// rather avoid by walking all tasks of the user in order.
	switch {
	case f.AssetID != nil:
		text, from = `WITH chosen AS MATERIALIZED (SELECT * FROM tasks WHERE asset_id = `+q.arg(*f.AssetID)+`) `, `chosen`
	case few:
		text, from = `WITH chosen AS MATERIALIZED (SELECT * FROM tasks WHERE due_at IS NOT NULL) `, `chosen`
	}
	text += `SELECT ` + taskColumns + ` FROM ` + from + ` WHERE user_id = ` + q.arg(scope.UserID)
	if scope.LibraryIDs != nil {
		text += ` AND library_id IN (` + list(&q, scope.LibraryIDs) + `)`
	}
	if f.LibraryID != nil {
		text += ` AND library_id = ` + q.arg(*f.LibraryID)
	}
	switch f.Status {
	case "":
	case banksia.TaskFailure:
		text += ` AND status = 'failure'` // literally, for the partial index
	default:
		text += ` AND status = ` + q.arg(f.Status)
	}
	if f.Type != "" {
		text += ` AND task_type = ` + q.arg(f.Type)
	}
	return text + ` ORDER BY created_at DESC, id DESC LIMIT ` + q.arg(f.Limit), q.args
}

// GetTask reads a task by its id or by its delivery id.
func (s *Store) GetTask(ctx context.Context, scope banksia.Scope, id *banksia.TaskID, deliveryID string) (task banksia.Task, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		var tasks []banksia.Task
		var err error
		if id != nil {
			tasks, err = tx.tasks(`SELECT `+taskColumns+` FROM tasks WHERE id = $1 AND user_id = $2`, *id, scope.UserID)
		} else {
			tasks, err = tx.tasks(`SELECT `+taskColumns+` FROM tasks WHERE delivery_id = $1 AND user_id = $2`, deliveryID, scope.UserID)
		}
		if err != nil {
			return fmt.Errorf("get task: %w", err)
		}
		// What belongs to no library is not for a key of selected ones, as in lists.
		if len(tasks) == 0 || scope.LibraryIDs != nil && (tasks[0].LibraryID == nil || !scope.Sees(*tasks[0].LibraryID)) {
			return banksia.NotFound("Task")
		}
		task = tasks[0]
		return nil
	})
	return task, err
}

// TaskAsset reads the asset of a task, whatever its state; found is false when it
// was purged.
func (s *Store) TaskAsset(ctx context.Context, id banksia.AssetID) (asset banksia.Asset, found bool, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		assets, err := tx.assetsFrom(`SELECT `+assetColumns+` FROM assets a JOIN asset_versions v ON v.id = a.current_version_id WHERE a.id = $1`, id)
		if err != nil {
			return fmt.Errorf("asset of task: %w", err)
		}
		if len(assets) > 0 {
			asset, found = assets[0], true
		}
		return nil
	})
	return asset, found, err
}

// RepeatTasks makes the tasks of some types pending that were done well.
func (s *Store) RepeatTasks(ctx context.Context, types ...banksia.TaskType) error {
	return s.ChangeAll(ctx, nil, func(tx *Tx) error {
		for _, taskType := range types {
			_, err := tx.Exec(`UPDATE tasks SET status = 'pending', result = NULL, started_at = NULL, completed_at = NULL, due_at = $1 WHERE task_type = $2 AND status = 'success'`, tx.Now().UnixMicro(), taskType)
			if err != nil {
				return fmt.Errorf("repeat tasks: %w", err)
			}
		}
		return nil
	})
}
