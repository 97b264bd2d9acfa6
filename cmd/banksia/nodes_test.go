package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/banksia-photos/banksia/internal/banksiatest/services"
	"github.com/banksia-photos/banksia/internal/store"
)

// nodes are servers on one PostgreSQL database and one bucket.
type nodes struct {
	*workspace
	flags    []string
	key      string
	url      string // of the database
	blobs    string // where the originals are
	database *services.Cable
	storage  *services.Cable

	mu   sync.Mutex
	node []*server
}

func newNodes(t *testing.T, n int, flags ...string) *nodes {
	t.Helper()
	c := &nodes{workspace: newWorkspace(t), flags: flags, node: make([]*server, n)}
	c.url, c.database = services.PostgresThrough(t)
	endpoint, bucket, accessKey, secret := services.S3(t)
	c.storage = services.Proxy(t, strings.TrimPrefix(endpoint, "http://"))
	c.blobs = "s3://" + bucket + "/photos?endpoint=http://" + c.storage.Address
	c.env = append(c.env, "AWS_ACCESS_KEY_ID="+accessKey, "AWS_SECRET_ACCESS_KEY="+secret,
		"BANKSIA_DATABASE_URL="+c.url, "BANKSIA_BLOBS="+c.blobs, "BANKSIA_TASK_LEASE=3s")
	// All at once: one migrates the database and makes its owner and the first key.
	var starting sync.WaitGroup
	for i := range n {
		starting.Go(func() { c.start(t, i) })
	}
	starting.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for _, s := range c.node {
		if s.key != "" && c.key != "" {
			t.Error("two nodes made a first key")
		}
		c.key += s.key
	}
	return c
}

// alone is the same place for a server on one folder.
func (c *nodes) alone() *workspace {
	w := *c.workspace
	w.env = slices.DeleteFunc(slices.Clone(w.env), func(pair string) bool {
		return strings.HasPrefix(pair, "BANKSIA_DATABASE_URL=") || strings.HasPrefix(pair, "BANKSIA_BLOBS=")
	})
	return &w
}

func (c *nodes) start(t *testing.T, i int) {
	s := c.serve(t, append([]string{"--data", fmt.Sprintf("node%d", i)}, c.flags...)...)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.node[i] = s
}

// direct is the URL of the database past the cable.
func (c *nodes) direct() string {
	return strings.Replace(c.url, c.database.Address, c.database.Target, 1)
}

// abandon lets the twenty minutes be over for which others leave alone what a killed
// node was about to remove.
func (c *nodes) abandon(t *testing.T, database *store.Store) {
	t.Helper()
	err := database.ChangeAll(t.Context(), nil, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE original_removals SET started_at = 0 WHERE ended_at IS NULL`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (c *nodes) any() *server {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.node[rand.IntN(len(c.node))]
}

// ask sends a request to any node; status is 0 when no answer came, and so nobody
// knows what became of it.
func (c *nodes) ask(ctx context.Context, method, path string, body any) (status int, header http.Header, answer []byte) {
	text, err := json.Marshal(body)
	if err != nil {
		return 0, nil, nil
	}
	request, err := http.NewRequestWithContext(ctx, method, c.any().url+path, bytes.NewReader(text))
	if err != nil {
		return 0, nil, nil
	}
	request.Header.Set("Authorization", "Bearer "+c.key)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, nil
	}
	defer response.Body.Close()
	if answer, err = io.ReadAll(response.Body); err != nil {
		return 0, nil, nil
	}
	return response.StatusCode, response.Header, answer
}

// told is what the servers have acknowledged.
type told struct {
	mu      sync.Mutex
	photos  map[string][32]byte // by asset, of those that must be there
	deleted map[string]bool     // of those that must not
	unsure  map[string]bool     // of those whose deletion got no answer
	albums  map[string]map[string]bool

	requests, refused, lost atomic.Int64
}

// live is the asset of some acknowledged photo, which it takes out of the list.
func (k *told) take() (id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id = range k.photos {
		delete(k.photos, id)
		k.unsure[id] = true
		return id
	}
	return ""
}

// use loads the nodes until ctx ends, and keeps what they acknowledge.
func (c *nodes) use(ctx context.Context, t *testing.T, k *told, seed int) {
	r := rand.New(rand.NewPCG(uint64(seed), 99))
	count := func(status int, header http.Header) {
		k.requests.Add(1)
		switch {
		case status == 0:
			k.lost.Add(1)
		case status >= 500:
			k.refused.Add(1)
			time.Sleep(100 * time.Millisecond) // as clients do, who obey Retry-After for longer
			if status == http.StatusInternalServerError {
				t.Errorf("a node answers 500 for what is not its fault")
			} else if header.Get("Retry-After") == "" && status != http.StatusInsufficientStorage {
				t.Errorf("a node answers %d without Retry-After", status)
			}
		}
	}
	for n := 0; ctx.Err() == nil; n++ {
		switch choice := r.IntN(20); {
		case choice < 12:
			number := seed*1_000_000 + n
			content := photo(number, 60+r.IntN(200), 50)
			status, header, id := c.send(t, fmt.Sprintf("%d.jpg", number), content)
			count(status, header)
			if status == http.StatusCreated || status == http.StatusOK {
				k.mu.Lock()
				k.photos[id] = sha256.Sum256(content)
				k.mu.Unlock()
			}
		case choice < 14:
			id := k.take()
			if id == "" {
				continue
			}
			status, header, _ := c.ask(context.Background(), "DELETE", "/api/assets/"+id, nil)
			count(status, header)
			if status == http.StatusNoContent || status == http.StatusOK || status == http.StatusNotFound {
				k.mu.Lock()
				delete(k.unsure, id)
				k.deleted[id] = true
				k.mu.Unlock()
			}
		case choice < 15:
			status, header, answer := c.ask(context.Background(), "POST", "/api/albums", map[string]any{"name": fmt.Sprint("album ", n)})
			count(status, header)
			var album struct {
				ID string `json:"id"`
			}
			if status == http.StatusCreated && json.Unmarshal(answer, &album) == nil {
				k.mu.Lock()
				k.albums[album.ID] = map[string]bool{}
				k.mu.Unlock()
			}
		case choice < 17:
			album, asset := "", ""
			k.mu.Lock()
			for album = range k.albums {
				break
			}
			for asset = range k.photos {
				break
			}
			k.mu.Unlock()
			if album == "" || asset == "" {
				continue
			}
			status, header, answer := c.ask(context.Background(), "POST", "/api/albums/"+album+"/assets", map[string]any{"asset_ids": []string{asset}})
			count(status, header)
			if status/100 == 2 && !bytes.Contains(answer, []byte("not_found")) {
				k.mu.Lock()
				k.albums[album][asset] = true
				k.mu.Unlock()
			}
		default:
			status, header, answer := c.ask(ctx, "GET", "/api/assets?limit=50&include=", nil)
			if ctx.Err() == nil {
				count(status, header)
			}
			if status == http.StatusOK && !json.Valid(answer) {
				t.Errorf("a page is broken: %.100s", answer)
			}
		}
	}
}

// send uploads to any node.
func (c *nodes) send(t *testing.T, name string, content []byte) (status int, header http.Header, id string) {
	contentType, head, tail := form(t, name)
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, c.any().url+"/api/assets", io.MultiReader(bytes.NewReader(head), bytes.NewReader(content), bytes.NewReader(tail)))
	if err != nil {
		return 0, nil, ""
	}
	request.Header.Set("Authorization", "Bearer "+c.key)
	request.Header.Set("Content-Type", contentType)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, ""
	}
	defer response.Body.Close()
	var answer struct {
		ID string `json:"id"`
	}
	if json.NewDecoder(response.Body).Decode(&answer) != nil {
		return 0, nil, ""
	}
	return response.StatusCode, response.Header, answer.ID
}

// rounds is how many faults a test injects: few in the usual run, as many as
// BANKSIA_TEST_FAULTS says in the long one (make faults).
func rounds(t *testing.T, usual int) int {
	t.Helper()
	text := os.Getenv("BANKSIA_TEST_FAULTS")
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("BANKSIA_TEST_FAULTS: %v", err)
	}
	return n
}

// Three nodes are killed in turn, and cut off from the database and the storage,
// while they are used. At the end nothing that one of them acknowledged is missing,
// nothing that was deleted is back, and no task was lost.
func TestNodes(t *testing.T) {
	t.Parallel()
	c := newNodes(t, 3)
	k := &told{photos: map[string][32]byte{}, deleted: map[string]bool{}, unsure: map[string]bool{}, albums: map[string]map[string]bool{}}
	loading, stop := context.WithCancel(t.Context())
	var users sync.WaitGroup
	for seed := range 4 {
		users.Go(func() { c.use(loading, t, k, seed+1) })
	}
	acknowledged := func() int {
		k.mu.Lock()
		defer k.mu.Unlock()
		return len(k.photos) + len(k.deleted)
	}
	progress := func() { // so that each fault comes in the middle of work
		before := acknowledged()
		until(t, "uploads go on", func() bool { return acknowledged() > before+3 })
	}
	var kills, cuts [2]int
	progress()
	for round := range rounds(t, 8) {
		switch round % 4 {
		case 0, 2:
			i := rand.IntN(3)
			c.mu.Lock()
			victim := c.node[i]
			c.mu.Unlock()
			victim.end(t, syscall.SIGKILL)
			kills[0]++
			if round%4 == 2 { // the others do its work meanwhile
				time.Sleep(500 * time.Millisecond)
			}
			c.start(t, i)
		case 1:
			c.database.Cut()
			cuts[0]++
			time.Sleep(time.Duration(100+rand.IntN(700)) * time.Millisecond)
			c.database.Mend()
		case 3:
			c.storage.Cut()
			cuts[1]++
			time.Sleep(time.Duration(100+rand.IntN(700)) * time.Millisecond)
			c.storage.Mend()
		}
		progress()
	}
	stop()
	users.Wait()

	s, err := store.Open(t.Context(), store.Config{URL: c.url})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c.abandon(t, s)
	// A task that met several outages waits for some minutes before it tries again.
	for begin := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		n, err := s.UnfinishedTasks(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		if time.Since(begin) > 4*time.Minute {
			lengths, err := s.QueueLengths(t.Context())
			t.Fatalf("%d tasks do not end: %+v, %v", n, lengths, err)
		}
	}
	there := map[string]listedAsset{}
	for _, a := range c.any().assets(t, c.key) {
		there[a.ID] = a
	}
	checked := int64(0)
	for id, sum := range k.photos {
		a, ok := there[id]
		if !ok {
			t.Errorf("the acknowledged asset %s is lost", id)
			continue
		}
		response, err := http.Get(a.URLs["original"].URL)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(response.Body)
		response.Body.Close()
		if got := sha256.Sum256(data); err != nil || got != sum || a.FileData.Checksum != base64.StdEncoding.EncodeToString(sum[:]) {
			t.Errorf("the original of %s: %d, %d bytes, %v", id, response.StatusCode, len(data), err)
		}
		checked += int64(len(data))
	}
	for id := range k.deleted {
		if _, ok := there[id]; ok {
			t.Errorf("the deleted asset %s is back", id)
		}
	}
	for album, assets := range k.albums {
		status, _, answer := c.ask(t.Context(), "GET", "/api/album-assets?limit=200&album_id="+album, nil)
		if status != http.StatusOK {
			t.Errorf("album %s answers %d: %s", album, status, answer)
		}
		for id := range assets {
			if _, live := k.photos[id]; live && !bytes.Contains(answer, []byte(id)) {
				t.Errorf("album %s lost asset %s", album, id)
			}
		}
	}
	// Every asset has the tasks of an upload, each done and none twice.
	err = s.Read(t.Context(), func(tx *store.Tx) error {
		var without, failed int
		err := tx.QueryRow(`SELECT COUNT(*) FROM assets a WHERE NOT EXISTS (SELECT 1 FROM tasks WHERE asset_id = a.id AND task_type = 'display_proxy_generation' AND status = 'success')`).Scan(&without)
		if err == nil {
			err = tx.QueryRow(`SELECT COUNT(*) FROM tasks WHERE status <> 'success'`).Scan(&failed)
		}
		if without > 0 || failed > 0 {
			t.Errorf("%d assets have no finished preview, %d tasks failed", without, failed)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if out := c.mustRun(t, "check", "--read-data", "--data", "checking"); !strings.Contains(out, "Everything is there") {
		t.Error(out)
	}
	t.Logf("%d kills, %d cuts of the database, %d of the storage; %d requests, of which %d got no answer and %d were refused; %d photos there (%d bytes compared over HTTP), %d deleted, %d of which nobody knows",
		kills[0], cuts[0], cuts[1], k.requests.Load(), k.lost.Load(), k.refused.Load(), len(k.photos), checked, len(k.deleted), len(k.unsure))
}

// Nodes are restarted one after the other behind something that asks whether they
// are ready, and no request fails.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	c := newNodes(t, 2, "--drain", "500ms")
	ready := func(s *server) bool {
		response, err := http.Get(s.url + "/readyz")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	}
	// A balancer as small as can be: it asks every 50 ms.
	var open atomic.Pointer[[]*server]
	look := func() {
		var up []*server
		c.mu.Lock()
		all := append([]*server{}, c.node...)
		c.mu.Unlock()
		for _, s := range all {
			if ready(s) {
				up = append(up, s)
			}
		}
		open.Store(&up)
	}
	look()
	working, stop := context.WithCancel(t.Context())
	var background sync.WaitGroup
	background.Go(func() {
		for working.Err() == nil {
			look()
			time.Sleep(50 * time.Millisecond) // between two looks
		}
	})
	var sent atomic.Int64
	for seed := range 3 {
		background.Go(func() {
			for n := 0; working.Err() == nil; n++ {
				up := *open.Load()
				if len(up) == 0 {
					t.Error("no node is ready")
					return
				}
				s := up[rand.IntN(len(up))]
				if n%5 == 0 {
					if status, _ := s.upload(t, c.key, fmt.Sprintf("%d-%d.jpg", seed, n), bytes.NewReader(photo(seed*10_000+n, 50, 40))); status != http.StatusCreated && working.Err() == nil {
						t.Errorf("an upload answers %d", status)
					}
				} else if request, err := http.NewRequest("GET", s.url+"/api/assets?limit=20", nil); err == nil {
					request.Header.Set("Authorization", "Bearer "+c.key)
					response, err := http.DefaultClient.Do(request)
					if err != nil {
						t.Errorf("a page: %v", err)
						continue
					}
					response.Body.Close()
					if response.StatusCode != http.StatusOK {
						t.Errorf("a page answers %d", response.StatusCode)
					}
				}
				sent.Add(1)
			}
		})
	}
	for range 2 {
		for i := range c.node {
			before := sent.Load()
			c.mu.Lock()
			s := c.node[i]
			c.mu.Unlock()
			if status := s.end(t, syscall.SIGTERM); status != 0 {
				t.Errorf("a node ends with %d: %s", status, s.log)
			}
			c.start(t, i)
			until(t, "the node is ready", func() bool { return ready(c.node[i]) && sent.Load() > before+20 })
			time.Sleep(100 * time.Millisecond) // the balancer looks every 50 ms
		}
	}
	stop()
	background.Wait()
	t.Logf("%d requests while each node was restarted twice", sent.Load())
}

// A node that only answers requests leaves the work to one that does nothing else.
func TestRoles(t *testing.T) {
	t.Parallel()
	c := newNodes(t, 1, "--role", "api")
	if status, _, errOut := c.alone().run(t, "serve", "--role", "worker", "--data", "alone"); status == 0 || !strings.Contains(errOut, "role") {
		t.Errorf("a worker without a shared database: %d %s", status, errOut)
	}
	front := c.node[0]
	status, id := front.upload(t, c.key, "a.jpg", bytes.NewReader(photo(1, 80, 60)))
	if status != http.StatusCreated {
		t.Fatal(status)
	}
	tasks := func() (pending, done int) {
		var list []struct {
			Status string `json:"status"`
		}
		front.get(t, "/api/tasks?asset_id="+id, c.key, &list)
		for _, task := range list {
			switch task.Status {
			case "pending":
				pending++
			case "success":
				done++
			}
		}
		return pending, done
	}
	if pending, done := tasks(); pending == 0 || done != 0 {
		t.Errorf("a node for requests has done %d tasks, %d wait", done, pending)
	}
	worker := c.serve(t, "--data", "worker", "--role", "worker")
	until(t, "a worker does the tasks", func() bool { pending, done := tasks(); return pending == 0 && done > 0 })
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/api/assets": 404, "/docs": 404} {
		if status, _ := worker.call(t, "GET", path, c.key, nil); status != want {
			t.Errorf("a worker answers %s with %d", path, status)
		}
	}
}
