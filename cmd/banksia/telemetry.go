package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/banksia-photos/banksia/internal/api"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/telemetry"
)

// newTelemetry measures what the settings and the standard variables of
// OpenTelemetry ask for.
func (a *app) newTelemetry(ctx context.Context) (err error) {
	a.telemetry, err = telemetry.New(ctx, telemetry.Config{Version: version, Metrics: a.settings.metricsListen != "", Getenv: os.Getenv, Logger: a.logger})
	return err
}

// checks are what must answer before the server is ready.
func (a *app) checks() []api.Check {
	return []api.Check{
		{Name: "database", Ask: a.store.Ping},
		{Name: "storage", Ask: func(ctx context.Context) error { return blob.Check(ctx, a.blobs) }},
	}
}

// watch adds the state of the parts to the metrics.
func (a *app) watch() {
	a.telemetry.Watch(telemetry.Parts{Store: a.store, Media: a.media, Checks: a.checks(),
		Folders: map[string]string{"data": a.settings.data, "blobs": a.blobs.TempDir()}})
}

// listenMetrics takes the address of the metrics; nil when there is none.
func (s *settings) listenMetrics() (net.Listener, error) {
	if s.metricsListen == "" {
		return nil, nil
	}
	listener, err := net.Listen("tcp", s.metricsListen)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", explainListen(s.metricsListen, err))
	}
	return listener, nil
}

// serveMetrics answers scrapes until the app is shut down.
func (a *app) serveMetrics(listener net.Listener) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.telemetry.Handler())
	a.metrics = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute}
	a.background.Go(func() {
		if err := a.metrics.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.logger.Error("serve metrics", "error", err)
		}
	})
	a.logger.Info("metrics", "url", "http://"+listener.Addr().String()+"/metrics")
}

// drain tells load balancers to send nothing more, and gives them the time of the
// settings to notice. All requests are answered meanwhile.
func (a *app) drain() {
	a.handler.Drain()
	if a.settings.drain > 0 {
		a.server.SetKeepAlivesEnabled(false) // clients that stay connected go elsewhere
		time.Sleep(a.settings.drain)         // a second signal ends the process
	}
}
