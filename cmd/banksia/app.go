package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api"
	"github.com/banksia-photos/banksia/internal/auth"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/catalog"
	"github.com/banksia-photos/banksia/internal/derive"
	"github.com/banksia-photos/banksia/internal/media"
	"github.com/banksia-photos/banksia/internal/place"
	"github.com/banksia-photos/banksia/internal/store"
	"github.com/banksia-photos/banksia/internal/task"
	"github.com/banksia-photos/banksia/internal/telemetry"
	"github.com/banksia-photos/banksia/internal/web"
)

// app is the whole program on one data folder.
type app struct {
	settings  *settings
	logger    *slog.Logger
	lock      *os.File
	telemetry *telemetry.Telemetry
	store     *store.Store
	blobs     blob.Store
	blobLock  *os.File // of the folder of originals; nil: they are in S3
	media     *media.Pool
	runner    *task.Runner
	catalog   *catalog.Catalog
	auth      *auth.Authenticator
	handler   *api.Server
	server    *http.Server
	metrics   *http.Server // nil: nobody asks

	owner      banksia.User
	credential string // of the owner, while this process runs

	requests   requests
	background sync.WaitGroup
	stop       context.CancelFunc // ends requests and background work
	failed     chan error         // gets why the server ended by itself
}

// newApp opens the data folder, whose lock it takes over, and puts the parts
// together. A second program on the same SQLite file and the same queue would take
// the first one's work for abandoned, hence the lock; nodes that share a PostgreSQL
// database each have a data folder of their own.
func newApp(ctx context.Context, cfg *settings, logger *slog.Logger, lock *os.File) (a *app, err error) {
	a = &app{settings: cfg, logger: logger, lock: lock, failed: make(chan error, 1)}
	defer func() {
		if err != nil {
			a, err = nil, errors.Join(err, a.close())
		}
	}()
	if err := withdraw(cfg.data); err != nil {
		return a, err
	}
	if err := a.newTelemetry(ctx); err != nil {
		return a, err
	}
	if a.store, err = openStore(ctx, cfg, a.telemetry.Transactions()); err != nil {
		return a, err
	}
	if ahead, err := a.store.ClockAhead(ctx); err == nil && ahead.Abs() > clockTolerance {
		logger.Warn("the clock of this machine differs from that of the database; tasks may run twice, and links and sessions end at other times", "ahead", ahead.Round(time.Millisecond))
	}
	if a.blobs, err = openBlobs(ctx, cfg); err != nil {
		return a, err
	}
	if cfg.blobs == "" {
		if a.blobLock, err = lockBlobs(cfg.data); err != nil {
			return a, err
		}
	}
	blobs := blob.Observed(a.blobs, a.telemetry.Blobs())
	cfg.media.Logger, cfg.media.TempDir, cfg.task.Logger, cfg.task.Observer = logger, a.blobs.TempDir(), logger, a.telemetry.Tasks()
	cfg.task.Shared = cfg.databaseURL != ""
	if a.media, err = media.New(cfg.media); err != nil {
		return a, err
	}
	if a.runner, err = task.New(cfg.task, a.store); err != nil {
		return a, err
	}
	places := place.New()
	if !places.HasNames() {
		logger.Warn("this build has no place names; only time zones are found")
	}
	deriver := derive.New(a.store, blobs, a.media, places, a.runner)
	a.catalog = catalog.New(a.store, blobs, a.media, a.runner, logger)
	if a.owner, _, err = a.catalog.Setup(ctx); err != nil {
		return a, err
	}
	signer, err := auth.NewSigner(ctx, a.store)
	if err != nil {
		return a, err
	}
	if a.auth, err = auth.NewAuthenticator(ctx, a.store, logger); err != nil {
		return a, err
	}
	a.credential = a.auth.AllowLocal(a.owner.ID)
	a.handler, err = api.New(api.Config{Checks: a.checks(), Observer: a.telemetry.Requests(), RateLimit: cfg.rateLimit, PublicURL: cfg.publicURL, RedirectMedia: cfg.redirectMedia, TrustForwarded: cfg.trustForwarded, Pages: web.Handler(), Logger: logger}, a.store, a.catalog, deriver, a.auth, auth.NewLogin(cfg.login, a.store, a.auth), signer)
	if err != nil {
		return a, err
	}
	a.watch()
	a.server = &http.Server{
		Handler: a.requests.count(a.answering()),
		// No limit on a whole request: an upload of gigabytes may take long.
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    256 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	return a, nil
}

// clockTolerance is how far the clocks of nodes may be apart without a warning.
const clockTolerance = 2 * time.Second

// answering is what this server answers in its role.
func (a *app) answering() http.Handler {
	if a.settings.role != roleWorker {
		return a.handler
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" && r.URL.Path != "/readyz" {
			http.Error(w, "This server runs tasks; others answer requests.", http.StatusNotFound)
			return
		}
		a.handler.ServeHTTP(w, r)
	})
}

// openStore opens the database and says what to do about a newer one.
func openStore(ctx context.Context, cfg *settings, observer store.Observer) (*store.Store, error) {
	database := cfg.database()
	database.Observer = observer
	if err := makeForOwner(database.Path); err != nil {
		return nil, err
	}
	s, err := store.Open(ctx, database)
	if errors.Is(err, store.ErrNewerDatabase) {
		return nil, fmt.Errorf("%w; start that version again (this is %s), nothing was changed", err, version)
	}
	if errors.Is(err, store.ErrMoved) {
		return nil, fmt.Errorf("%w; start the servers with that one", err)
	}
	return s, explainDatabase(err)
}

// explainDatabase says what to do when PostgreSQL cannot be used.
func explainDatabase(err error) error {
	if refusal, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err); ok {
		switch refusal.SQLState() {
		case "28000", "28P01":
			return fmt.Errorf("PostgreSQL refuses the user or the password of the database URL: %w", refusal)
		case "3D000":
			return fmt.Errorf("%w; make it first, with createdb", refusal)
		}
	}
	if away, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("PostgreSQL cannot be reached; is it running, and is the database URL right? %w", away)
	}
	return err
}

// start sweeps what a crash left behind, begins the background work and serves.
// After an error the app is closed.
func (a *app) start(ctx context.Context, listener net.Listener) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if n, err := blob.SweepTemp(a.blobs, time.Now()); err != nil {
		return err
	} else if n > 0 {
		a.logger.Info("removed cut off uploads", "files", n)
	}
	// A signal begins an orderly end; it does not cut off what is under way.
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	a.stop = stop
	a.server.BaseContext = func(net.Listener) context.Context { return running }
	a.background.Go(func() { a.auth.Run(running) })
	if a.settings.role != roleAPI {
		a.runner.Start(running)
		a.background.Go(func() { a.catalog.Maintain(running, time.Duration(a.settings.retentionDays)*24*time.Hour) })
		a.background.Go(func() { a.catalog.SweepUploads(running) })
	}
	a.background.Go(func() {
		if err := a.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.failed <- fmt.Errorf("serve: %w", err)
		}
	})
	return nil
}

// shutdown takes no more requests, lets those under way and the running tasks
// finish until ctx ends, and closes everything. What is cut off is as if it had
// never come, and tasks are taken up at the next start.
func (a *app) shutdown(ctx context.Context) error {
	var tasks sync.WaitGroup
	tasks.Go(func() { a.runner.Stop(ctx) })
	if err := a.server.Shutdown(ctx); err != nil {
		a.logger.Warn("cut off requests that did not finish in time", "requests", a.requests.underWay(), "grace", a.settings.grace)
	}
	tasks.Wait()
	a.stop()
	closeErr := a.server.Close() // ends the connections, and so their handlers
	a.requests.wait()
	if a.metrics != nil {
		closeErr = errors.Join(closeErr, a.metrics.Close())
	}
	a.background.Wait()
	return errors.Join(closeErr, withdraw(a.settings.data), a.close())
}

// shutdownWithin is shutdown with the grace time of the settings.
func (a *app) shutdownWithin() error {
	ctx, cancel := context.WithTimeout(context.Background(), a.settings.grace)
	defer cancel()
	return a.shutdown(ctx)
}

// lastTraces is how long a stopping server waits for the receiver of its traces.
const lastTraces = 2 * time.Second

// close frees what newApp opened, the lock last.
func (a *app) close() error {
	var errs []error
	if a.telemetry != nil {
		ctx, cancel := context.WithTimeout(context.Background(), lastTraces)
		defer cancel()
		errs = append(errs, a.telemetry.Close(ctx))
	}
	if a.media != nil {
		errs = append(errs, a.media.Close())
	}
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	if a.blobLock != nil {
		errs = append(errs, a.blobLock.Close())
	}
	return errors.Join(append(errs, a.lock.Close())...)
}

// requests counts the handlers at work: http.Server.Close does not wait for them,
// and they need the store until they return.
type requests struct {
	mu      sync.Mutex
	n       int
	closed  bool
	drained chan struct{} // made by wait
}

func (r *requests) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if !r.enter() {
			panic(http.ErrAbortHandler) // its connection has just been closed
		}
		defer r.leave()
		next.ServeHTTP(w, request)
	})
}

func (r *requests) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.n++
	return true
}

func (r *requests) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n--; r.n == 0 && r.closed {
		close(r.drained)
	}
}

func (r *requests) underWay() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}

// wait admits no more and returns when the last has left. It is called once.
func (r *requests) wait() {
	r.mu.Lock()
	r.closed, r.drained = true, make(chan struct{})
	if r.n == 0 {
		close(r.drained)
	}
	r.mu.Unlock()
	<-r.drained
}

// tuneMemory keeps the process small on a small computer, unless the operator has
// told the Go runtime otherwise. Most of its memory is garbage of requests, and
// SQLite's caches, which do not count here.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(128 << 20) // soft: the collector works harder beyond it
	}
}
