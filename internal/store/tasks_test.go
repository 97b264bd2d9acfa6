package store

import (
	"cmp"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
)

// TestListTasks compares every combination of filters with a naive one (behaviour
// 17.1).
func TestListTasks(t *testing.T) {
	t.Parallel()
	s := open(t)
	now := s.Now()
	var users []banksia.UserID
	var libraries []banksia.LibraryID
	err := s.Write(t.Context(), func(tx *Tx) error {
		for range 2 {
			user := banksia.User{ID: banksia.NewID[banksia.UserID](now), IsActive: true, CreatedAt: now, UpdatedAt: now}
			users = append(users, user.ID)
			if err := tx.InsertUser(&user); err != nil {
				return err
			}
			for range 2 {
				library := banksia.Library{ID: banksia.NewID[banksia.LibraryID](now), UserID: user.ID, Name: "L", CreatedAt: now, UpdatedAt: now}
				libraries = append(libraries, library.ID)
				if err := tx.InsertLibrary(&library); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	statuses := []banksia.TaskStatus{banksia.TaskPending, banksia.TaskStarted, banksia.TaskSuccess, banksia.TaskFailure}
	types := []banksia.TaskType{banksia.TaskDisplayProxy, banksia.TaskThumbHash}
	var all []banksia.Task
	var assets []banksia.AssetID
	err = s.Write(t.Context(), func(tx *Tx) error {
		for i := range 64 {
			asset := banksia.NewID[banksia.AssetID](now)
			assets = append(assets, asset)
			for k, taskType := range types {
				one := banksia.Task{UserID: users[i%4/2], LibraryID: &libraries[i%4], AssetID: &asset, Type: taskType}
				if err := tx.EnqueueTask(&one, ""); err != nil {
					return err
				}
				one.Status = statuses[(i/4+k)%4]
				finished := one.Status == banksia.TaskSuccess || one.Status == banksia.TaskFailure
				due := sql.Null[int64]{V: 1, Valid: !finished}
				if _, err := tx.Exec(`UPDATE tasks SET status = $1, due_at = $2 WHERE id = $3`, one.Status, due, one.ID); err != nil {
					return err
				}
				all = append(all, one)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b banksia.Task) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), strings.Compare(b.ID.String(), a.ID.String()))
	})
	found := 0
	for _, scope := range []banksia.Scope{{UserID: users[0]}, {UserID: users[1]}, {UserID: users[0], LibraryIDs: libraries[:1]}, {UserID: users[0], LibraryIDs: []banksia.LibraryID{}}, {UserID: users[0], LibraryIDs: libraries}} {
		for _, library := range []*banksia.LibraryID{nil, &libraries[0], &libraries[3]} {
			for _, asset := range []*banksia.AssetID{nil, &assets[0], &assets[1]} {
				for _, status := range append(statuses, "") {
					for _, taskType := range append(types, "", "unknown") {
						for _, limit := range []int{3, 1000} {
							f := TaskFilter{LibraryID: library, AssetID: asset, Status: status, Type: taskType, Limit: limit}
							var want []string
							for _, one := range all {
								if one.UserID == scope.UserID && scope.Sees(*one.LibraryID) && (library == nil || *one.LibraryID == *library) && (asset == nil || *one.AssetID == *asset) &&
									(status == "" || one.Status == status) && (taskType == "" || one.Type == taskType) && len(want) < limit {
									want = append(want, one.ID.String())
								}
							}
							for _, few := range []bool{true, false} {
								if few && (asset != nil || status != banksia.TaskPending && status != banksia.TaskStarted) {
									continue
								}
								if scope.LibraryIDs != nil && len(scope.LibraryIDs) == 0 {
									continue // answered without a query
								}
								var got []string
								err := s.Read(t.Context(), func(tx *Tx) error {
									text, args := listTasksQuery(scope, f, few)
									tasks, err := tx.tasks(text, args...)
									for _, one := range tasks {
										got = append(got, one.ID.String())
									}
									return err
								})
								if err != nil || !slices.Equal(got, want) {
									t.Fatalf("%+v in %+v, few %v: %d tasks, %v; want %d", f, scope, few, len(got), err, len(want))
								}
							}
							tasks, err := s.ListTasks(t.Context(), scope, f)
							if err != nil || len(tasks) != len(want) {
								t.Fatalf("%+v in %+v: %d tasks, %v; want %d", f, scope, len(tasks), err, len(want))
							}
							found += len(tasks)
						}
					}
				}
			}
		}
	}
	if found < 1000 {
		t.Errorf("the filters found only %d tasks together", found)
	}
}

// The plans that keep the cost of a list apart from how many tasks are finished.
func TestListTasksPlans(t *testing.T) {
	t.Parallel()
	s := openFile(t)
	asset, library := banksia.AssetID{1}, banksia.LibraryID{2}
	for index, c := range map[string]struct {
		filter TaskFilter
		few    bool
	}{
		"tasks_by_asset":   {TaskFilter{AssetID: &asset, Limit: 20}, false},
		"tasks_by_failure": {TaskFilter{Status: banksia.TaskFailure, Limit: 20}, false},
		"tasks_by_due":     {TaskFilter{Status: banksia.TaskPending, Limit: 20}, true},
		"tasks_by_user":    {TaskFilter{Limit: 20}, false},
		"tasks_by_library": {TaskFilter{LibraryID: &library, Limit: 20}, false},
	} {
		text, args := listTasksQuery(banksia.Scope{}, c.filter, c.few)
		plan := ""
		err := s.Read(t.Context(), func(tx *Tx) error {
			return tx.each(`EXPLAIN QUERY PLAN `+text, args, func(rows *sql.Rows) error {
				var id, parent, unused int
				var detail string
				err := rows.Scan(&id, &parent, &unused, &detail)
				plan += detail + "\n"
				return err
			})
		})
		if err != nil || !strings.Contains(plan, index) {
			t.Errorf("%+v does not use %s: %v\n%s", c.filter, index, err, plan)
		}
	}
}

// A delivery that is no longer the task's may neither end nor renew nor release
// it.
func TestOldDelivery(t *testing.T) {
	t.Parallel()
	s := open(t)
	user := banksia.User{ID: banksia.NewID[banksia.UserID](s.Now()), IsActive: true, CreatedAt: s.Now(), UpdatedAt: s.Now()}
	asset := banksia.NewID[banksia.AssetID](s.Now())
	first := banksia.Task{UserID: user.ID, AssetID: &asset, Type: banksia.TaskThumbHash}
	second := first
	var old []Delivery
	err := s.Write(t.Context(), func(tx *Tx) (err error) {
		if err := errors.Join(tx.InsertUser(&user), tx.EnqueueTask(&first, "old")); err != nil {
			return err
		}
		if old, err = tx.ClaimTasks(10, time.Hour); err != nil {
			return err
		}
		return tx.EnqueueTask(&second, "new")
	})
	if err != nil || len(old) != 1 || old[0].Payload != "old" || second.ID != first.ID {
		t.Fatalf("claimed %+v, %v", old, err)
	}
	if err := s.RenewTasks(t.Context(), old, time.Hour); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Tx) error{
		"finish":  func(tx *Tx) error { return tx.FinishTask(old[0].Task, "done") },
		"fail":    func(tx *Tx) error { return tx.FailTask(old[0].Task, "failed") },
		"retry":   func(tx *Tx) error { return tx.RetryTask(old[0].Task, "later", time.Hour) },
		"release": func(tx *Tx) error { return tx.ReleaseTask(old[0].Task) },
	} {
		if err := s.Write(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		got, err := s.GetTask(t.Context(), banksia.Scope{UserID: user.ID}, &first.ID, "")
		if err != nil || got.Status != banksia.TaskPending || got.RetryCount != 0 || got.ErrorMessage != nil || got.DeliveryID != second.DeliveryID {
			t.Errorf("after %s of the old delivery: %+v, %v", name, got, err)
		}
	}
	var claimed []Delivery
	err = s.Write(t.Context(), func(tx *Tx) (err error) {
		claimed, err = tx.ClaimTasks(10, time.Hour)
		return err
	})
	if err != nil || len(claimed) != 1 || claimed[0].Payload != "new" {
		t.Errorf("claimed %+v, %v", claimed, err)
	}
	if n, err := s.RescueTasks(t.Context()); err != nil || n != 1 {
		t.Errorf("rescued %d, %v", n, err)
	}
}
