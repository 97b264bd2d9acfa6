package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"
)

// openLocal gives access to the library in a data folder, with a file of settings (""
// for the one in the folder): through the server that runs on it, or by running the
// whole program inside this process. closeLocal ends
// that; in process it first waits until the background work is done, telling how
// much is left, or until its context ends: the rest is done at the next start.
func openLocal(ctx context.Context, folder, file string) (baseURL, apiKey string, client *http.Client, closeLocal func(context.Context, func(pending int)) error, err error) {
	std := stdio{os.Stdin, os.Stdout, os.Stderr}
	cfg := defaultSettings()
	cfg.logLevel = slog.LevelError // the terminal shows the progress
	set := flag.NewFlagSet("import", flag.ContinueOnError)
	cfg.addFlags(set)
	if _, err := cfg.load(set, "", []string{"--data", folder, "--config", file}, std); err != nil {
		return "", "", nil, nil, err
	}
	lock, running, err := lockOrFind(ctx, folder)
	if err != nil {
		return "", "", nil, nil, err
	}
	if lock == nil {
		if running.Command != "serve" {
			return "", "", nil, nil, fmt.Errorf("%w: banksia %s, process %d; try again when it is done", errInUse, running.Command, running.PID)
		}
		nothing := func(context.Context, func(int)) error { return nil }
		return running.URL, running.Credential, directClient(), nothing, nil
	}
	tuneMemory()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", nil, nil, errors.Join(fmt.Errorf("listen: %w", err), lock.Close())
	}
	a, err := newApp(ctx, cfg, cfg.logger(std), lock)
	if err == nil {
		err = a.start(ctx, listener)
	}
	if err != nil {
		return "", "", nil, nil, errors.Join(err, listener.Close())
	}
	// Without a URL: this program may end while another import is under way.
	if err := announce(folder, announcement{Command: "import", Version: version, PID: os.Getpid()}); err != nil {
		return "", "", nil, nil, errors.Join(err, a.shutdownWithin())
	}
	return "http://" + listener.Addr().String(), a.credential, directClient(), a.finish, nil
}

// pollInterval is how often finish looks.
const pollInterval = 200 * time.Millisecond

// finish waits for the background work and stops the program.
func (a *app) finish(ctx context.Context, progress func(pending int)) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	var err error
	for pending := 1; pending > 0 && err == nil && ctx.Err() == nil; {
		if pending, err = a.store.UnfinishedTasks(ctx); err == nil {
			progress(pending)
		}
		if pending > 0 && err == nil {
			select {
			case <-ticker.C:
			case err = <-a.failed:
			case <-ctx.Done():
			}
		}
	}
	if ctx.Err() != nil {
		err = nil // the caller knows that it was interrupted
	}
	return errors.Join(err, a.shutdownWithin())
}
