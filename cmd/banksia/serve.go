package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/auth"
)

const serveUsage = `Usage: banksia serve [flags]

Serves the library. Without any flag: on http://localhost:8000, with all data in
./data. The first start makes the owner, a library and an API key, and prints the
key.

SIGTERM or Ctrl-C stops the server after what is under way; a second one at once.
Nothing that was acknowledged is lost either way.
`

// grace is how long a stopping server waits for uploads and tasks under way.
const grace = 20 * time.Second

func serveCommand() command {
	return command{"serve", "serve the library", runServe}
}

func runServe(ctx context.Context, args []string, std stdio) error {
	cfg := defaultSettings()
	set := newFlags("serve", serveUsage, std)
	cfg.addFlags(set)
	if err := cfg.parse(set, args); err != nil {
		return err
	}
	// The server's own heap is small; collecting a little more often keeps it so.
	debug.SetGCPercent(50)
	listener, err := net.Listen("tcp", cfg.listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is in use by another program; choose another address with --listen", cfg.listen)
	}
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer listener.Close()
	a, err := newApp(ctx, cfg, cfg.logger(std))
	if err != nil {
		return err
	}
	baseURL := "http://" + displayHost(listener)
	remove, err := a.announce(baseURL)
	if err == nil {
		err = a.start(ctx, listener)
	}
	if err != nil {
		return errors.Join(err, a.close())
	}
	if err := a.greet(ctx, baseURL, std); err != nil {
		return errors.Join(err, a.shutdown(ctx))
	}
	<-ctx.Done()
	a.logger.Info("stopping")
	remove()
	ending, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	return a.shutdown(ending)
}

// displayHost is an address that a browser on this machine can open.
func displayHost(listener net.Listener) string {
	address := listener.Addr().(*net.TCPAddr)
	if address.IP.IsLoopback() || address.IP.IsUnspecified() {
		return fmt.Sprintf("localhost:%d", address.Port)
	}
	return address.String()
}

// greet says where the server is and, the first time, prints the key.
func (a *app) greet(ctx context.Context, baseURL string, std stdio) error {
	fmt.Fprintf(std.out, "Banksia serves %s (docs at %s/docs), data in %s\n", baseURL, baseURL, a.settings.data)
	if !a.newOwner {
		return nil
	}
	_, secret, err := auth.NewAPIKey(ctx, a.store, a.owner.ID, "first key", banksia.Actions, nil)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.out, `
Your API key, shown only this once:

    %s

It may do everything. Make more with "banksia keys create". Next, in another
terminal in this folder:

    banksia import ~/Pictures

`, secret)
	return nil
}

// announcement is what a running server tells programs of the same user on the
// same machine, in the file server.json of the data folder.
type announcement struct {
	URL        string `json:"url"`
	Credential string `json:"credential"`
	PID        int    `json:"pid"`
}

const announcementFile = "server.json"

// announce writes the file, which only the user may read.
func (a *app) announce(baseURL string) (remove func(), err error) {
	path := filepath.Join(a.settings.data, announcementFile)
	text, err := json.Marshal(announcement{baseURL, a.auth.AllowLocal(a.owner.ID), os.Getpid()})
	if err != nil {
		return nil, err
	}
	os.Remove(path) // one of a crashed server may have other permissions
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return nil, fmt.Errorf("announce the server: %w", err)
	}
	return func() { os.Remove(path) }, nil
}
