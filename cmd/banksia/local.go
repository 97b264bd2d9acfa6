package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// openLocal gives access to the library in a data folder: through the server that
// runs on it, or by running the whole program inside this process. close ends
// that; in process it first waits until the background work is done, telling how
// much is left.
func openLocal(ctx context.Context, folder string) (baseURL, apiKey string, client *http.Client, close func(context.Context, func(pending int)) error, err error) {
	cfg := defaultSettings()
	set := newFlags("import", "", stdio{os.Stdin, os.Stdout, os.Stderr})
	cfg.addFlags(set)
	if err := cfg.parse(set, []string{"--data", folder}); err != nil {
		return "", "", nil, nil, err
	}
	if os.Getenv("BANKSIA_LOG_LEVEL") == "" {
		cfg.logLevel = 8 // errors only: the terminal shows the progress
	}
	a, err := newApp(ctx, cfg, cfg.logger(stdio{os.Stdin, os.Stdout, os.Stderr}))
	if errors.Is(err, errInUse) {
		running, err := readAnnouncement(folder)
		if err != nil {
			return "", "", nil, nil, err
		}
		nothing := func(context.Context, func(int)) error { return nil }
		return running.URL, running.Credential, http.DefaultClient, nothing, nil
	}
	if err != nil {
		return "", "", nil, nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		err = a.start(ctx, listener)
	}
	if err != nil {
		return "", "", nil, nil, errors.Join(err, a.close())
	}
	credential := a.auth.AllowLocal(a.owner.ID)
	if err := a.greetImport(ctx); err != nil {
		return "", "", nil, nil, errors.Join(err, a.shutdown(ctx))
	}
	return "http://" + listener.Addr().String(), credential, http.DefaultClient, a.finish, nil
}

// greetImport leaves a first start to the server: it has a key to print.
func (a *app) greetImport(ctx context.Context) error {
	if a.newOwner {
		fmt.Fprintln(os.Stderr, `A new library was made. "banksia keys create" makes API keys for it.`)
	}
	return nil
}

// readAnnouncement reads where the running server is.
func readAnnouncement(folder string) (announcement, error) {
	var running announcement
	text, err := os.ReadFile(filepath.Join(folder, announcementFile))
	if errors.Is(err, fs.ErrNotExist) {
		return running, fmt.Errorf("%w, and it is starting, stopping or importing; try again when it is done", errInUse)
	}
	if err == nil {
		err = json.Unmarshal(text, &running)
	}
	if err != nil {
		return running, fmt.Errorf("find the running server: %w", err)
	}
	return running, nil
}

// finish waits for the background work and stops the program. When ctx ends
// first, the rest is done at the next start.
func (a *app) finish(ctx context.Context, progress func(pending int)) error {
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for ctx.Err() == nil {
		pending, err := a.store.UnfinishedTasks(ctx)
		if err != nil || pending == 0 {
			break
		}
		progress(pending)
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
	if ctx.Err() == nil {
		progress(0)
	}
	ending, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	return a.shutdown(ending)
}
