package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/store"
)

// at sends a request to one node.
func (s *server) at(t *testing.T, method, path, key string, body any, to any) (status int) {
	text, err := json.Marshal(body)
	if err != nil {
		t.Error(err)
		return 0
	}
	status, answer := s.call(t, method, path, key, strings.NewReader(string(text)))
	if to != nil && status/100 == 2 {
		if err := json.Unmarshal(answer, to); err != nil {
			t.Errorf("%s %s: %v in %s", method, path, err, answer)
		}
	}
	return status
}

// What one node has acknowledged, every other knows at once: no node keeps rows in
// memory. A revoked key is refused by all.
func TestNodesAgree(t *testing.T) {
	t.Parallel()
	c := newNodes(t, 2)
	for i := range 2 {
		here, there := c.node[i%2], c.node[1-i%2]
		name := fmt.Sprint("key", i)
		key := strings.TrimSpace(c.mustRun(t, "keys", "create", "--name", name, "--data", "other"))
		var album struct {
			ID   string `json:"id"`
			Name string `json:"name"`
		}
		if status := there.at(t, "POST", "/api/albums", key, map[string]any{"name": "old"}, &album); status != http.StatusCreated {
			t.Errorf("a new key answers %d", status)
		}
		here.at(t, "PATCH", "/api/albums/"+album.ID, key, map[string]any{"name": "new"}, nil)
		if there.at(t, "GET", "/api/albums/"+album.ID, key, nil, &album); album.Name != "new" {
			t.Errorf("an album that the other renamed is %q", album.Name)
		}
		there.at(t, "DELETE", "/api/albums/"+album.ID, c.key, nil, nil)
		if status := here.at(t, "GET", "/api/albums/"+album.ID, c.key, nil, nil); status != http.StatusNotFound {
			t.Errorf("an album that the other deleted answers %d", status)
		}
		for _, line := range strings.Split(c.mustRun(t, "keys", "list", "--data", "other"), "\n") {
			if strings.Contains(line, name) {
				c.mustRun(t, "keys", "revoke", strings.Fields(line)[0], "--data", "other")
			}
		}
		if status := there.at(t, "GET", "/api/albums", key, nil, nil); status != http.StatusUnauthorized {
			t.Errorf("a revoked key answers %d", status)
		}
	}
}

// Whoever follows the events of a library, by whatever node, misses none and sees each
// once, while all nodes write.
func TestFollowNodes(t *testing.T) {
	t.Parallel()
	c := newNodes(t, 3)
	const albums = 40 // of each writer
	var writing sync.WaitGroup
	var mu sync.Mutex
	made := map[string]bool{}
	for i, s := range c.node {
		for writer := range 2 {
			writing.Go(func() {
				for n := range albums {
					var album struct {
						ID string `json:"id"`
					}
					if status := s.at(t, "POST", "/api/albums", c.key, map[string]any{"name": fmt.Sprint(i, writer, n)}, &album); status != http.StatusCreated {
						t.Errorf("an album answers %d", status)
						return
					}
					mu.Lock()
					made[album.ID] = true
					mu.Unlock()
				}
			})
		}
	}
	written := make(chan struct{})
	go func() {
		writing.Wait()
		close(written)
	}()
	seen, cursor := map[string]int{}, ""
	for last := false; ; {
		var page struct {
			Data []struct {
				Cursor    string `json:"cursor"`
				EntityID  string `json:"entity_id"`
				EventType string `json:"event_type"`
			} `json:"data"`
		}
		path := "/api/events?limit=7&entity_types=album"
		if cursor != "" {
			path += "&after_cursor=" + cursor
		}
		c.any().get(t, path, c.key, &page)
		for _, event := range page.Data {
			cursor = event.Cursor
			if event.EventType == "album_created" {
				seen[event.EntityID]++
			}
		}
		if len(page.Data) == 0 && last {
			break
		}
		select {
		case <-written:
			last = true // one more look
		default:
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(made) != 6*albums || len(seen) != len(made) {
		t.Errorf("%d albums were made, the follower saw %d", len(made), len(seen))
	}
	for id := range made {
		if seen[id] != 1 {
			t.Errorf("album %s was seen %d times", id, seen[id])
		}
	}
}

// A node stands still for longer than its lease, in the middle of its tasks, and goes
// on. Another has done them meanwhile, and what comes late changes nothing.
func TestPausedNode(t *testing.T) {
	t.Parallel()
	c := newNodes(t, 2)
	database, err := store.Open(t.Context(), store.Config{URL: c.direct()})
	if err != nil {
		t.Fatal(err)
	}
	defer database.Close()
	unfinished := func() (n int) {
		n, err := database.UnfinishedTasks(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	started := func() (n int) {
		err := database.Read(t.Context(), func(tx *store.Tx) error {
			return tx.QueryRow(`SELECT COUNT(*) FROM tasks WHERE status = $1`, banksia.TaskStarted).Scan(&n)
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	paused, other := c.node[0], c.node[1]
	number := 0
	for range 2 {
		for range 12 {
			number++
			if status, _ := paused.upload(t, c.key, fmt.Sprintf("%d.jpg", number), strings.NewReader(string(photo(number, 900, 700)))); status != http.StatusCreated {
				t.Fatalf("an upload answers %d", status)
			}
		}
		until(t, "tasks run", func() bool { return started() > 0 || unfinished() == 0 })
		if err := paused.process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		until(t, "the other does all tasks", func() bool { return unfinished() == 0 })
		if err := paused.process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		until(t, "the paused one answers again", func() bool {
			var page struct{}
			paused.get(t, "/api/assets?limit=1", c.key, &page)
			return true
		})
	}
	if status := paused.end(t, syscall.SIGTERM); status != 0 { // with all that it still has to say
		t.Errorf("the paused node ends with %d: %s", status, paused.log)
	}
	if n := len(other.assets(t, c.key)); n != number {
		t.Errorf("%d assets are there, want %d", n, number)
	}
	err = database.Read(t.Context(), func(tx *store.Tx) error {
		var wrong int
		err := tx.QueryRow(`SELECT COUNT(*) FROM tasks WHERE status <> $1 OR due_at IS NOT NULL`, banksia.TaskSuccess).Scan(&wrong)
		if wrong > 0 {
			t.Errorf("%d tasks are not done", wrong)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if out := c.mustRun(t, "check", "--read-data", "--data", "checking"); !strings.Contains(out, "Everything is there") {
		t.Error(out)
	}
}
