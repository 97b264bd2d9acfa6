package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/banksia-photos/banksia/internal/banksiatest/services"
	"github.com/banksia-photos/banksia/internal/store"
)

// A library moves to PostgreSQL and back while a server is used. The move is killed,
// and cut off from the database, at any point, and begun again: the old server is
// never stopped from working for long, and what it acknowledged is in the new
// database, no more and no less.
func TestMigrate(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	url, cable := services.PostgresThrough(t)
	key := strings.TrimSpace(w.mustRun(t, "keys", "create", "--name", "test"))
	var uploaded sync.Map // names of what was acknowledged
	next, count := 0, 0
	upload := func(s *server, n int) {
		for range n {
			next++
			name := fmt.Sprintf("%d.jpg", next)
			for status := 0; status != http.StatusCreated; {
				if status, _ = s.upload(t, key, name, bytes.NewReader(photo(next, 60, 50))); status != http.StatusCreated && status != http.StatusServiceUnavailable {
					t.Fatalf("an upload answers %d: %s", status, s.log)
				}
			}
			uploaded.Store(name, true)
			count++
		}
	}
	whole := func(s *server) {
		t.Helper()
		there := s.assets(t, key)
		for _, a := range there {
			if _, ok := uploaded.Load(a.Name); !ok {
				t.Errorf("%s was never acknowledged", a.Name)
			}
		}
		if len(there) != count {
			t.Errorf("%d assets are there, %d were acknowledged", len(there), count)
		}
	}

	old := w.serve(t)
	upload(old, 8)
	for range rounds(t, 4) {
		cut := cable.CutAfter(rand.Int64N(25_000)) // less than a whole move of these photos sends
		c := w.command(t.Context(), "migrate", "--from", "sqlite", "--to", url)
		var out bytes.Buffer
		c.Stdout, c.Stderr = &out, &out
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- c.Wait() }()
		select {
		case <-cut:
			c.Process.Kill()
			<-ended
			cable.Mend()
		case err := <-ended:
			t.Fatalf("the move ended before it was cut off: %v %s", err, &out)
		}
		upload(old, 1)
		half, err := store.Open(t.Context(), store.Config{URL: url})
		if err == nil { // cut off before the first row
			users, listErr := half.ListUsers(t.Context())
			if listErr != nil || len(users) > 0 {
				t.Errorf("half a copy can be opened, with %d users, %v", len(users), listErr)
			}
			half.Close()
		} else if !errors.Is(err, store.ErrUnfinishedCopy) {
			t.Error(err)
		}
	}
	whole(old)

	// With the server in use: reads are answered, changes wait or are refused.
	var reads, refused atomic.Int64
	var using sync.WaitGroup
	stop := make(chan struct{})
	loop := func(f func()) {
		using.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					f()
				}
			}
		})
	}
	loop(func() {
		if status, answer := old.call(t, "GET", "/api/assets?limit=5", key, nil); status != http.StatusOK {
			t.Errorf("a read answers %d: %s", status, answer)
		}
		reads.Add(1)
	})
	number := atomic.Int64{}
	number.Store(10_000)
	var during atomic.Int64
	loop(func() {
		n := int(number.Add(1))
		name := fmt.Sprintf("%d.jpg", n)
		switch status, _ := old.upload(t, key, name, bytes.NewReader(photo(n, 60, 50))); status {
		case http.StatusCreated:
			uploaded.Store(name, true)
			during.Add(1)
		case http.StatusServiceUnavailable:
			refused.Add(1)
			time.Sleep(20 * time.Millisecond) // as clients do before they repeat
		default:
			t.Errorf("an upload during the move answers %d", status)
		}
	})
	out := w.mustRun(t, "migrate", "--from", "sqlite", "--to", url)
	contains(t, "the move", out, "Every row was copied and compared")
	before := refused.Load()
	until(t, "changes are refused", func() bool { return refused.Load() > before+2 })
	close(stop)
	using.Wait()
	count += int(during.Load())
	whole(old)
	if status, answer := old.call(t, "POST", "/api/albums", key, strings.NewReader(`{"name":"late"}`)); status != http.StatusServiceUnavailable || !strings.Contains(string(answer), "moved") {
		t.Errorf("a change of what was moved answers %d: %s", status, answer)
	}
	old.end(t, syscall.SIGTERM)
	if status, _, problem := w.run(t, "serve", "--listen", "127.0.0.1:0"); status == 0 || !strings.Contains(problem, "moved to") {
		t.Errorf("a server on what was moved: %d %s", status, problem)
	}
	if status, _, problem := w.run(t, "migrate", "--from", url, "--to", "sqlite"); status == 0 || !strings.Contains(problem, "give an empty one") {
		t.Errorf("moving back into what was moved: %d %s", status, problem)
	}

	moved := w.serve(t, "--database-url", url)
	whole(moved)
	upload(moved, 3)
	until(t, "all tasks end", func() bool {
		var tasks []struct{}
		moved.get(t, "/api/tasks/?status=pending", key, &tasks)
		return len(tasks) == 0
	})
	// And back, into another file, while this server runs.
	w.mustRun(t, "migrate", "--from", url, "--to", "sqlite:back.db")
	if status, _ := moved.upload(t, key, "late.jpg", bytes.NewReader(photo(99_999, 60, 50))); status != http.StatusServiceUnavailable {
		t.Errorf("an upload to what was moved answers %d", status)
	}
	moved.end(t, syscall.SIGTERM)
	for _, suffix := range []string{"-wal", "-shm"} { // of what is replaced
		if err := os.Remove(w.data("banksia.db" + suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(w.dir, "back.db"), w.data("banksia.db")); err != nil {
		t.Fatal(err)
	}
	back := w.serve(t)
	upload(back, 2)
	whole(back)
	if out := w.mustRun(t, "check", "--read-data"); !strings.Contains(out, "Everything is there") {
		t.Error(out)
	}
	t.Logf("%d reads while the library moved, %d changes refused", reads.Load(), refused.Load())
}

// A move that was made is not made again, nor is a database where its target was.
func TestMigrateAgain(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	w.serve(t).end(t, syscall.SIGTERM)
	w.mustRun(t, "migrate", "--from", "sqlite", "--to", "sqlite:data/other.db")
	other := filepath.Join(w.dir, "data", "other.db")
	for _, there := range []bool{true, false} {
		status, out, errOut := w.run(t, "migrate", "--from", "sqlite", "--to", "sqlite:data/other.db")
		if status == 0 || !strings.Contains(errOut, "was moved to data/other.db") {
			t.Errorf("it ends with %d: %s%s", status, out, errOut)
		}
		if _, err := os.Stat(other); (err == nil) != there {
			t.Errorf("the other database: %v; there before: %v", err, there)
		}
		for _, suffix := range []string{"", "-wal", "-shm"} {
			os.Remove(other + suffix)
		}
	}
	if status, _, errOut := w.run(t, "check"); status == 0 || !strings.Contains(errOut, "start the servers with that one") {
		t.Errorf("the old database is used with %d: %s", status, errOut)
	}
}
