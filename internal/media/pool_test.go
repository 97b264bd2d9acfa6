package media

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/banksia-photos/banksia"
)

// serverVariable makes the test program a server whose sudden end is tested.
const serverVariable = "BANKSIA_MEDIA_TEST_SERVER"

func TestMain(m *testing.M) {
	ServeWorkerIfAsked()
	if folder := os.Getenv(attackVariable); folder != "" {
		attack(folder)
	}
	if path := os.Getenv(serverVariable); path != "" {
		serveForever(path)
	}
	os.Exit(m.Run())
}

// newPool is a pool that ends with the test.
func newPool(t testing.TB, change func(*Config)) *Pool {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Workers = 2
	if change != nil {
		change(&cfg)
	}
	pool, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	return pool
}

// workers are the process numbers of all workers that live.
func (p *Pool) workers() (pids []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.alive {
		pids = append(pids, w.pid)
	}
	return pids
}

// writing tells whether a worker has begun to write a result.
func (p *Pool) writing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.alive {
		if results, err := filepath.Glob(filepath.Join(w.desk.out(), "[0-9]*")); err == nil && len(results) > 0 {
			return true
		}
	}
	return false
}

// poll waits until a condition holds.
func poll(t *testing.T, what string, holds func() bool) {
	t.Helper()
	timeout := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("waited for %s", what)
		}
	}
}

// checkServes tells whether the pool still works.
func checkServes(t *testing.T, pool *Pool) {
	t.Helper()
	dir := t.TempDir()
	path := write(t, dir, "good.png", encodePNG(t, quarters(40, 30, cornerColours)))
	drawn, err := pool.Draw(t.Context(), path, Formats[1], []Order{{banksia.VariantThumbnail, filepath.Join(dir, "t")}})
	if err != nil || len(drawn) != 1 || drawn[0].Width != 40 {
		t.Errorf("a good file is drawn as %+v, %v", drawn, err)
	}
}

// slowFile takes seconds to draw and little room: a large blank PNG.
func slowFile(t testing.TB, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "slow.png")
	tool(t, "vips", "black", path+"[compression=1]", "20000", "20000", "--bands", "3")
	return path
}

// drawSlowly starts a job and returns when a worker is at it.
func drawSlowly(ctx context.Context, t *testing.T, pool *Pool, path string) (order Order, result <-chan error) {
	t.Helper()
	order = Order{banksia.VariantFullsize, filepath.Join(t.TempDir(), "slow.jpg")}
	done := make(chan error, 1)
	go func() {
		_, err := pool.Draw(ctx, path, Formats[1], []Order{order})
		done <- err
	}()
	poll(t, "the file that is written", func() bool {
		return pool.writing()
	})
	return order, done
}

func checkGone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the unfinished file is there, %v", err)
	}
}

func TestPoolSurvivesCrash(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(c *Config) { c.Workers = 1 })
	order, done := drawSlowly(t.Context(), t, pool, slowFile(t, t.TempDir()))
	for _, pid := range pool.workers() {
		unix.Kill(pid, unix.SIGSEGV)
	}
	if err := <-done; !errors.Is(err, ErrWorkerCrashed) {
		t.Errorf("the error is %v", err)
	}
	checkGone(t, order.Path)
	checkServes(t, pool)
	// One that dies between two jobs costs nothing.
	for _, pid := range pool.workers() {
		unix.Kill(pid, unix.SIGKILL)
	}
	checkServes(t, pool)
}

func TestPoolStopsHangingJob(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(c *Config) { c.Workers, c.Timeout = 1, time.Second })
	order := Order{banksia.VariantFullsize, filepath.Join(t.TempDir(), "slow.jpg")}
	path := slowFile(t, t.TempDir())
	done := make(chan error, 1)
	go func() {
		_, err := pool.Draw(t.Context(), path, Formats[1], []Order{order})
		done <- err
	}()
	poll(t, "a worker", func() bool { return len(pool.workers()) == 1 })
	unix.Kill(pool.workers()[0], unix.SIGSTOP)
	if err := <-done; !errors.Is(err, ErrTimeout) {
		t.Errorf("the error is %v", err)
	}
	checkGone(t, order.Path)
	poll(t, "the end of the worker", func() bool { return len(pool.workers()) == 0 })
}

func TestPoolCancelsJob(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(c *Config) { c.Workers = 1 })
	ctx, cancel := context.WithCancel(t.Context())
	order, done := drawSlowly(ctx, t, pool, slowFile(t, t.TempDir()))
	waiting := make(chan error, 1)
	go func() {
		_, err := pool.ThumbHash(ctx, "none", Formats[1])
		waiting <- err
	}()
	poll(t, "the second job to wait", func() bool {
		pool.mu.Lock()
		defer pool.mu.Unlock()
		return len(pool.patient) == 1
	})
	cancel()
	for _, result := range []<-chan error{done, waiting} {
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v", err)
		}
	}
	checkGone(t, order.Path)
	checkServes(t, pool)
}

func TestPoolCloses(t *testing.T) {
	t.Parallel()
	pool := newPool(t, nil)
	_, done := drawSlowly(t.Context(), t, pool, slowFile(t, t.TempDir()))
	pids := pool.workers()
	if err := pool.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("the error is %v", err)
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, 0); err != unix.ESRCH {
			t.Errorf("worker %d lives, %v", pid, err)
		}
	}
	if _, err := pool.ThumbHash(t.Context(), "none", Formats[1]); !errors.Is(err, ErrClosed) {
		t.Errorf("the error is %v", err)
	}
}

func TestPoolServesUrgentWorkFirst(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(c *Config) { c.Workers = 1 })
	urgent := WithPriority(t.Context())
	for _, ctx := range []context.Context{t.Context(), urgent} { // the second has a place of its own
		if err := pool.acquire(ctx); err != nil {
			t.Fatal(err)
		}
	}
	order := make(chan string, 2)
	start := func(name string, ctx context.Context, queue *[]*waiter) {
		go func() {
			if err := pool.acquire(ctx); err != nil {
				t.Error(err)
			}
			order <- name
		}()
		poll(t, name+" work to wait", func() bool {
			pool.mu.Lock()
			defer pool.mu.Unlock()
			return len(*queue) == 1
		})
	}
	start("background", t.Context(), &pool.patient)
	start("urgent", urgent, &pool.urgent)
	pool.release()
	if first := <-order; first != "urgent" {
		t.Errorf("%s work went first", first)
	}
	pool.release()
	pool.release()
	<-order
}

func TestPoolRefusesTooMuch(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(c *Config) { c.Workers = 1 })
	if err := pool.acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	for range maxWaiting {
		go func() { done <- pool.acquire(ctx) }()
	}
	poll(t, "all jobs to wait", func() bool {
		pool.mu.Lock()
		defer pool.mu.Unlock()
		return len(pool.patient) == maxWaiting
	})
	if _, err := pool.ThumbHash(t.Context(), "none", Formats[1]); !errors.Is(err, ErrBusy) {
		t.Errorf("the error is %v", err)
	}
	cancel()
	for range maxWaiting {
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Fatalf("the error is %v", err)
		}
	}
	pool.release()
	checkServes(t, pool)
}

// TestWorkerIsReplaced after its share of jobs.
func TestWorkerIsReplaced(t *testing.T) {
	t.Parallel()
	pool := newPool(t, func(c *Config) { c.Workers = 1 })
	checkServes(t, pool)
	first := pool.workers()[0]
	pool.mu.Lock()
	for w := range pool.alive {
		w.jobs.Store(maxJobs)
	}
	pool.mu.Unlock()
	checkServes(t, pool)
	poll(t, "the old worker to end", func() bool { return unix.Kill(first, 0) == unix.ESRCH })
	checkServes(t, pool)
}

// serveForever is the server of TestWorkerEndsWithServer.
func serveForever(path string) {
	pool, err := New(DefaultConfig())
	if err != nil {
		panic(err)
	}
	go pool.Draw(context.Background(), path, Formats[1], []Order{{banksia.VariantFullsize, path + ".jpg"}})
	for !pool.writing() {
		time.Sleep(time.Millisecond) // between two looks
	}
	fmt.Println(pool.workers()[0])
	select {}
}

// TestWorkerEndsWithServer, also in the middle of a job and without a farewell.
func TestWorkerEndsWithServer(t *testing.T) {
	t.Parallel()
	server := exec.Command("/proc/self/exe")
	server.Env = append(os.Environ(), serverVariable+"="+slowFile(t, t.TempDir()))
	output, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	server.Wait()
	poll(t, "the worker to end", func() bool {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(state), ") Z ") // nobody may be there to reap it
	})
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Config){
		"Workers":     func(c *Config) { c.Workers = 0 },
		"Timeout":     func(c *Config) { c.Timeout = 0 },
		"MaxPixels":   func(c *Config) { c.MaxPixels = 0 },
		"MaxFrames":   func(c *Config) { c.MaxFrames = 0 },
		"MemoryLimit": func(c *Config) { c.MemoryLimit = 1 << 20 },
		"TempDir":     func(c *Config) { c.TempDir = "/nowhere/at/all" },
	} {
		cfg := DefaultConfig()
		if err := cfg.Validate(); err != nil {
			t.Errorf("the default is refused: %v", err)
		}
		change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}

// What a worker says is taken only when it can be true: it may have been taken over.
func TestAnswersThatFit(t *testing.T) {
	t.Parallel()
	draw := request{Work: workDraw, Orders: make([]Order, 2)}
	drawn := []Drawn{{MIMEType: "image/jpeg", Width: 1, Height: 1}, {MIMEType: "image/webp", Width: 1, Height: 1}}
	for name, row := range map[string]struct {
		job    request
		answer answer
		fits   bool
	}{
		"a description":              {request{Work: workDescribe}, answer{Info: &Info{VariantMIMEType: "image/webp", Width: 1, Height: 1}}, true},
		"a file that cannot be read": {request{Work: workDescribe}, answer{Failure: &failure{}}, true},
		"no description":             {request{Work: workDescribe}, answer{}, false},
		"a page for a preview":       {request{Work: workDescribe}, answer{Info: &Info{VariantMIMEType: "text/html"}}, false},
		"a size below nothing":       {request{Work: workDescribe}, answer{Info: &Info{Width: -1}}, false},
		"variants":                   {draw, answer{Drawn: drawn}, true},
		"too few variants":           {draw, answer{Drawn: drawn[:1]}, false},
		"too many variants":          {draw, answer{Drawn: append(drawn, drawn...)}, false},
		"a variant that is a page":   {draw, answer{Drawn: []Drawn{drawn[0], {MIMEType: "text/html", Width: 1, Height: 1}}}, false},
		"a variant of no size":       {draw, answer{Drawn: []Drawn{drawn[0], {MIMEType: "image/jpeg"}}}, false},
		"a crop":                     {request{Work: workCrop, Crop: &Crop{}}, answer{Drawn: drawn[:1]}, true},
		"no crop":                    {request{Work: workCrop, Crop: &Crop{}}, answer{}, false},
		"a hash":                     {request{Work: workThumbHash}, answer{ThumbHash: make([]byte, 25)}, true},
		"a hash as long as a file":   {request{Work: workThumbHash}, answer{ThumbHash: make([]byte, 1000)}, false},
	} {
		if err := row.answer.fits(row.job); (err == nil) != row.fits {
			t.Errorf("%s: %v", name, err)
		}
	}
}
