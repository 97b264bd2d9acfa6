package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/banksia-photos/banksia/internal/auth"
	"github.com/banksia-photos/banksia/internal/config"
)

const serveUsage = `Usage: banksia serve [flags]

Serves the library. Without any flag: on http://localhost:8000 for this computer
alone, with all data in ./data. The first start makes the owner, a library and an
API key, and prints the key, which cannot be read again.

To open the server to your network, give --listen :8000 and call it by the name
or address of this computer. It speaks HTTP; beyond a network that you trust, put
a reverse proxy with TLS before it.

To keep originals and previews on another disk, make blobs in the data folder a
symbolic link to a folder there.

SIGTERM or Ctrl-C stops the server after what is under way; a second one at once.
Nothing that was acknowledged is lost either way.
`

func serveCommand() command {
	return command{"serve", "serve the library", runServe}
}

func runServe(ctx context.Context, args []string, std stdio) error {
	err := serve(ctx, args, std)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // stopped while it was starting
	}
	return err
}

func serve(ctx context.Context, args []string, std stdio) error {
	cfg := defaultSettings()
	set := flag.NewFlagSet("serve", flag.ContinueOnError)
	cfg.addFlags(set)
	if err := cfg.loadAll(set, serveUsage, args, std); err != nil {
		return err
	}
	if cfg.role != roleAll && cfg.databaseURL == "" {
		return &usageError{set.Name(), fmt.Errorf("--role %s is for several servers on one PostgreSQL database; give --database-url", cfg.role)}
	}
	tuneMemory()
	logger := cfg.logger(std)
	if unknown := config.Unknown(os.Environ(), fileSettings()); len(unknown) > 0 {
		logger.Warn("environment variables that are no settings", "names", strings.Join(unknown, " "))
	}
	lock, running, err := lockOrFind(ctx, cfg.data)
	if err != nil {
		return err
	}
	if lock == nil {
		return fmt.Errorf("%w (%s): banksia %s, process %d", errInUse, cfg.data, running.Command, running.PID)
	}
	// Before the database is touched: a port in use is the commonest mistake.
	// Whoever connects already is answered once all is ready.
	listener, err := net.Listen("tcp", cfg.listen)
	if err != nil {
		return errors.Join(explainListen(cfg.listen, err), lock.Close())
	}
	defer listener.Close()
	metrics, err := cfg.listenMetrics()
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	a, err := newApp(ctx, cfg, logger, lock)
	if err != nil {
		return err
	}
	if err := a.start(ctx, listener); err != nil {
		return err
	}
	if metrics != nil {
		a.serveMetrics(metrics)
	}
	if err := a.welcome(ctx, listener.Addr().(*net.TCPAddr), std); err != nil {
		return errors.Join(err, a.shutdownWithin())
	}
	select {
	case <-ctx.Done():
		logger.Info("stopping", "drain", cfg.drain, "grace", cfg.grace)
		a.drain()
	case err = <-a.failed:
	}
	return errors.Join(err, a.shutdownWithin())
}

func explainListen(address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s is in use by another program; choose another address with --listen, such as 127.0.0.1:8001", address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("user %d may not listen at %s; choose a port above 1023 with --listen", os.Getuid(), address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("this computer does not have the address %s; choose another with --listen", address)
	}
	return fmt.Errorf("listen: %w", err)
}

// welcome says where the server is, to people and to programs beside it. As long
// as no key was ever made, it makes one and prints it.
func (a *app) welcome(ctx context.Context, address *net.TCPAddr, std stdio) error {
	// The literal address: another program could answer to another meaning of
	// localhost and would be sent the credential.
	host := address.IP
	if host.IsUnspecified() {
		host = net.IPv4(127, 0, 0, 1)
	}
	local := net.TCPAddr{IP: host, Port: address.Port, Zone: address.Zone}
	err := announce(a.settings.data, announcement{"serve", version, os.Getpid(), "http://" + local.String(), a.credential})
	if err != nil {
		return err
	}
	folder, err := filepath.Abs(a.settings.data)
	if err != nil {
		return fmt.Errorf("find the data folder: %w", err)
	}
	if a.settings.role != roleWorker {
		if err := a.printFirstKey(ctx, std); err != nil {
			return err
		}
	}
	baseURL := "http://" + local.String()
	if host.IsLoopback() {
		baseURL = fmt.Sprintf("http://localhost:%d", address.Port)
	}
	_, err = fmt.Fprintf(std.out, "Banksia serves %s (docs at %s/docs), data in %s\n", baseURL, baseURL, folder)
	return err
}

// printFirstKey makes the first key, if there is none yet.
func (a *app) printFirstKey(ctx context.Context, std stdio) error {
	secret, made, err := auth.NewFirstAPIKey(ctx, a.store, a.owner.ID)
	if err != nil || !made {
		return err
	}
	// As the person called it: the program need not be on the search path.
	program, data := cmp.Or(os.Args[0], "banksia"), ""
	if a.settings.data != defaultSettings().data {
		data = " --data " + a.settings.data
	}
	_, err = fmt.Fprintf(std.out, `Your API key, shown only this once:

    %s

It may do everything; "%s keys" makes and revokes others. Next, bring your
photos in, from another terminal in this folder:

    %s import%s ~/Pictures

`, secret, program, program, data)
	return err
}
