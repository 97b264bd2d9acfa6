// Package telemetry tells operators what a server does: metrics in the form of
// Prometheus, traces by OpenTelemetry, and log records that name the request on
// whose behalf they were written. Other packages know nothing of it: they have
// small hooks (their Observer types), which this package fills.
//
// Labels are bounded: a route is the pattern of a path, never the path; a method,
// a task type, an operation is one of a known few.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/banksia-photos/banksia/internal/api"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/store"
	"github.com/banksia-photos/banksia/internal/task"
)

// Config says what is measured.
type Config struct {
	Version string // of the program
	// Metrics are measured.
	Metrics bool
	// Getenv gives the standard variables of OpenTelemetry, which decide whether
	// there are traces and where they go; nil: none.
	Getenv func(string) string
	Logger *slog.Logger // nil: the default one
}

// Telemetry measures one server.
type Telemetry struct {
	logger   *slog.Logger
	registry *prometheus.Registry
	metrics  *metrics                 // nil: not measured
	tracer   trace.Tracer             // nil: not traced
	traces   *sdktrace.TracerProvider // nil: not traced
	ignore   bool                     // the traces of callers are not continued
}

// New begins to measure. Whatever it returns without an error is to be closed.
func New(ctx context.Context, cfg Config) (*Telemetry, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	t := &Telemetry{logger: cfg.Logger, registry: prometheus.NewRegistry()}
	if cfg.Metrics {
		t.metrics = newMetrics(t.registry, cfg.Version)
	}
	if cfg.Getenv != nil {
		if err := t.startTracing(ctx, cfg); err != nil {
			return nil, fmt.Errorf("tracing: %w", err)
		}
	}
	return t, nil
}

// Close sends what is left of the traces until ctx ends.
func (t *Telemetry) Close(ctx context.Context) error {
	if t == nil || t.traces == nil {
		return nil
	}
	if err := t.traces.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("send the last traces: %w", err)
	}
	return nil
}

// Tracing tells whether there are traces.
func (t *Telemetry) Tracing() bool { return t.tracer != nil }

// Handler answers a scrape by Prometheus, whatever its path.
func (t *Telemetry) Handler() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(t.logger.Handler(), slog.LevelWarn),
		MaxRequestsInFlight: 4,
		Timeout:             20 * time.Second,
		Registry:            t.registry,
	})
}

// on tells whether anything listens.
func (t *Telemetry) on() bool { return t != nil && (t.metrics != nil || t.tracer != nil) }

// Requests is the hook of the API; nil when nothing is measured, as are the others.
func (t *Telemetry) Requests() api.Observer {
	if !t.on() {
		return nil
	}
	return func(r *http.Request) (context.Context, func(api.Served)) {
		method := methodLabel(r.Method)
		if t.metrics != nil {
			t.metrics.underWay.Inc()
		}
		ctx, span := t.startRequest(r, method)
		return ctx, func(served api.Served) {
			if t.metrics != nil {
				t.metrics.request(method, served)
			}
			endRequest(span, method, served)
		}
	}
}

// methodLabel bounds what callers can write into labels.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

// Transactions is the hook of the store.
func (t *Telemetry) Transactions() store.Observer {
	if !t.on() {
		return nil
	}
	return func(ctx context.Context, kind string) (context.Context, func(time.Duration, error)) {
		begin := time.Now()
		ctx, span := t.startInner(ctx, "db "+kind)
		return ctx, func(waited time.Duration, err error) {
			if t.metrics != nil {
				t.metrics.transaction(kind, time.Since(begin), waited, err)
			}
			endTransaction(span, waited, err)
		}
	}
}

// Blobs is the hook of the blob store.
func (t *Telemetry) Blobs() blob.Observer {
	if !t.on() {
		return nil
	}
	return func(ctx context.Context, operation string) (context.Context, func(error)) {
		begin := time.Now()
		ctx, span := t.startInner(ctx, "blob "+operation)
		return ctx, func(err error) {
			if errors.Is(err, blob.ErrNotExist) { // an answer, not a failure
				err = nil
			}
			if t.metrics != nil {
				t.metrics.blob(operation, time.Since(begin), err)
			}
			endInner(span, err)
		}
	}
}

// Tasks is the hook of the task runner.
func (t *Telemetry) Tasks() task.Observer {
	if !t.on() {
		return nil
	}
	return func(ctx context.Context, d store.Delivery) (context.Context, func(task.Outcome, error)) {
		begin := time.Now()
		ctx, span := t.startTask(ctx, d)
		return ctx, func(outcome task.Outcome, err error) {
			if t.metrics != nil {
				t.metrics.task(string(d.Type), string(outcome), time.Since(begin))
			}
			endTask(span, outcome, err)
		}
	}
}
