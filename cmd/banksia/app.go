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
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api"
	"github.com/banksia-photos/banksia/internal/auth"
	"github.com/banksia-photos/banksia/internal/blob/local"
	"github.com/banksia-photos/banksia/internal/catalog"
	"github.com/banksia-photos/banksia/internal/derive"
	"github.com/banksia-photos/banksia/internal/media"
	"github.com/banksia-photos/banksia/internal/place"
	"github.com/banksia-photos/banksia/internal/store"
	"github.com/banksia-photos/banksia/internal/task"
)

// app is the whole program on one data folder.
type app struct {
	settings settings
	logger   *slog.Logger
	lock     *os.File
	store    *store.Store
	blobs    *local.Store
	media    *media.Pool
	runner   *task.Runner
	catalog  *catalog.Catalog
	auth     *auth.Authenticator
	server   *http.Server

	owner    banksia.User
	newOwner bool // this start made the owner

	background sync.WaitGroup
	stop       context.CancelFunc
}

// errInUse says that another server runs on the data folder.
var errInUse = errors.New("another banksia is running on this data folder")

// newApp opens the data folder and puts the parts together. It takes the lock of
// the folder: a second program on the same SQLite file and the same queue would
// take the first one's work for abandoned.
func newApp(ctx context.Context, cfg settings, logger *slog.Logger) (a *app, err error) {
	a = &app{settings: cfg, logger: logger}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if err := os.MkdirAll(cfg.data, 0o700); err != nil {
		return a, fmt.Errorf("make the data folder: %w", err)
	}
	if a.lock, err = lockFolder(cfg.data); err != nil {
		return a, err
	}
	if a.store, err = store.Open(ctx, store.Config{Path: filepath.Join(cfg.data, "banksia.db")}); err != nil {
		return a, err
	}
	if a.blobs, err = local.Open(filepath.Join(cfg.data, "blobs")); err != nil {
		return a, err
	}
	cfg.media.Logger, cfg.media.TempDir, cfg.task.Logger = logger, a.blobs.TempDir(), logger
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
	deriver := derive.New(a.store, a.blobs, a.media, places, a.runner)
	a.catalog = catalog.New(a.store, a.blobs, a.media, a.runner, logger)
	if a.owner, a.newOwner, err = a.catalog.Setup(ctx); err != nil {
		return a, err
	}
	signer, err := auth.NewSigner(ctx, a.store)
	if err != nil {
		return a, err
	}
	a.auth = auth.NewAuthenticator(a.store, logger)
	handler, err := api.New(api.Config{PublicURL: cfg.publicURL, TrustForwarded: cfg.trustForwarded, Logger: logger}, a.store, a.catalog, deriver, a.auth, signer)
	if err != nil {
		return a, err
	}
	a.server = &http.Server{
		Handler: handler,
		// No limit on a whole request: an upload of gigabytes may take long.
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    256 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	return a, nil
}

// lockFolder takes an exclusive lock that ends with the process, however it ends.
func lockFolder(folder string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(folder, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errInUse
		}
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	return file, nil
}

// start sweeps what a crash left behind, begins the background work and serves.
func (a *app) start(ctx context.Context, listener net.Listener) error {
	begin := a.store.Now()
	if n, err := a.blobs.SweepTemp(begin); err != nil {
		return err
	} else if n > 0 {
		a.logger.Info("removed cut off uploads", "files", n)
	}
	if n, err := a.store.RescueTasks(ctx); err != nil {
		return err
	} else if n > 0 {
		a.logger.Info("took up interrupted tasks", "tasks", n)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	a.stop = stop
	a.runner.Start(running)
	a.background.Go(func() { a.auth.Run(running) })
	a.background.Go(func() {
		if n, err := a.catalog.SweepOriginals(running, begin); err != nil && running.Err() == nil {
			a.logger.Error("sweep originals", "error", err)
		} else if n > 0 {
			a.logger.Info("removed originals of unfinished uploads", "files", n)
		}
	})
	a.background.Go(func() {
		if err := a.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.logger.Error("serve", "error", err)
		}
	})
	return nil
}

// shutdown stops taking requests, lets those under way and the running tasks
// finish until ctx ends, and closes everything. What is cut off is as if it had
// never come, and tasks are taken up at the next start.
func (a *app) shutdown(ctx context.Context) error {
	if err := a.server.Shutdown(ctx); err != nil {
		a.server.Close()
	}
	a.runner.Stop(ctx)
	a.stop()
	a.background.Wait()
	return a.close()
}

func (a *app) close() error {
	var errs []error
	if a.media != nil {
		errs = append(errs, a.media.Close())
	}
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	if a.lock != nil {
		errs = append(errs, a.lock.Close())
	}
	return errors.Join(errs...)
}
