package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api"
	"github.com/banksia-photos/banksia/internal/store"
	"github.com/banksia-photos/banksia/internal/task"
)

// The variables are those of the OpenTelemetry specification, "Environment Variable
// Specification" and "OpenTelemetry Protocol Exporter". The SDK reads those that
// are not named here: the sampler, limits, headers, timeouts, batches.
const (
	exporterVariable       = "OTEL_TRACES_EXPORTER"
	endpointVariable       = "OTEL_EXPORTER_OTLP_ENDPOINT"
	tracesEndpointVariable = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	protocolVariable       = "OTEL_EXPORTER_OTLP_PROTOCOL"
	tracesProtocolVariable = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
	headersVariable        = "OTEL_EXPORTER_OTLP_HEADERS"
	tracesHeadersVariable  = "OTEL_EXPORTER_OTLP_TRACES_HEADERS"
	propagatorsVariable    = "OTEL_PROPAGATORS"
	disabledVariable       = "OTEL_SDK_DISABLED"
)

// wanted tells whether traces are asked for: an exporter is named, or where it
// sends to.
func wanted(getenv func(string) string) (bool, error) {
	if strings.EqualFold(getenv(disabledVariable), "true") {
		return false, nil
	}
	switch exporter := getenv(exporterVariable); exporter {
	case "none":
		return false, nil
	case "":
		if getenv(endpointVariable) == "" && getenv(tracesEndpointVariable) == "" {
			return false, nil
		}
	case "otlp":
	default:
		return false, fmt.Errorf("%s must be otlp or none, got %q", exporterVariable, exporter)
	}
	for _, name := range []string{protocolVariable, tracesProtocolVariable} {
		if protocol := getenv(name); protocol != "" && protocol != "http/protobuf" {
			return false, fmt.Errorf("%s must be http/protobuf, got %q", name, protocol)
		}
	}
	for _, name := range []string{headersVariable, tracesHeadersVariable} {
		for header := range strings.SplitSeq(getenv(name), ",") {
			if getenv(name) != "" && !validHeader(header) {
				return false, fmt.Errorf("%s must be like name=value,other=value, with percent signs for what is special", name)
			}
		}
	}
	return true, nil
}

// validHeader tells whether the SDK will understand a header. What it does not, it
// logs, and headers hold the password of the receiver.
func validHeader(header string) bool {
	name, value, found := strings.Cut(header, "=")
	name = strings.TrimSpace(name)
	_, err := url.PathUnescape(value)
	return found && err == nil && name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// startTracing makes the tracer when traces are asked for. No connection is made
// until there is something to send.
func (t *Telemetry) startTracing(ctx context.Context, cfg Config) error {
	on, err := wanted(cfg.Getenv)
	if err != nil || !on {
		return err
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return err
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "banksia"), attribute.String("service.version", cfg.Version)),
		resource.WithHost(), resource.WithProcessPID(), resource.WithTelemetrySDK(),
		resource.WithFromEnv()) // last, for what the operator says counts
	if err != nil {
		return err
	}
	t.traces = sdktrace.NewTracerProvider(sdktrace.WithBatcher(&patientExporter{SpanExporter: exporter, logger: cfg.Logger}), sdktrace.WithResource(about))
	t.tracer = t.traces.Tracer("github.com/banksia-photos/banksia", trace.WithInstrumentationVersion(cfg.Version))
	if named := cfg.Getenv(propagatorsVariable); named != "" && !strings.Contains(named, "tracecontext") {
		t.ignore = true
	}
	return nil
}

// patientExporter logs what the SDK would give to a handler that belongs to the
// whole process. Spans that could not be sent are lost.
type patientExporter struct {
	sdktrace.SpanExporter
	logger *slog.Logger
	failed bool // the last time; a batch is sent at a time
}

func (e *patientExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if failed := err != nil; failed != e.failed {
		e.failed = failed
		if failed {
			e.logger.Warn("traces cannot be sent", "spans", len(spans), "error", err)
		} else {
			e.logger.Info("traces can be sent again")
		}
	}
	return nil
}

// none is a span that records nothing.
var none = trace.SpanFromContext(context.Background())

// propagator reads and writes W3C traceparent and tracestate.
var propagator propagation.TraceContext

// startRequest begins the span of a request, within that of its caller.
func (t *Telemetry) startRequest(r *http.Request, method string) (context.Context, trace.Span) {
	ctx := r.Context()
	if t.tracer == nil {
		return ctx, none
	}
	if !t.ignore {
		ctx = propagator.Extract(ctx, propagation.HeaderCarrier(r.Header))
	}
	cause := banksia.CauseOf(ctx)
	ctx, span := t.tracer.Start(ctx, method, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", method), attribute.String("banksia.request_id", cause.RequestID)))
	cause.Trace = traceParent(span.SpanContext())
	return banksia.WithCause(ctx, cause), span
}

// traceParent is the value of the header traceparent.
func traceParent(span trace.SpanContext) string {
	header := propagation.MapCarrier{}
	propagator.Inject(trace.ContextWithSpanContext(context.Background(), span), header)
	return header["traceparent"]
}

// endRequest names the span after the route, which is known only now. The path
// stays out: it may hold a file name.
func endRequest(span trace.Span, method string, served api.Served) {
	if served.Route != "" && span.IsRecording() {
		span.SetName(method + " " + served.Route)
		span.SetAttributes(attribute.String("http.route", served.Route))
	}
	span.SetAttributes(attribute.Int("http.response.status_code", served.Status),
		attribute.Int64("http.request.body.size", served.Received), attribute.Int64("http.response.body.size", served.Sent))
	if served.Status >= 500 {
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

// startInner begins a span within that of a request or of a task. What happens
// outside both, such as the queue's looking for work, has none.
func (t *Telemetry) startInner(ctx context.Context, name string) (context.Context, trace.Span) {
	if t.tracer == nil || !trace.SpanFromContext(ctx).IsRecording() {
		return ctx, none
	}
	return t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient))
}

func endInner(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

func endTransaction(span trace.Span, waited time.Duration, err error) {
	if waited >= 0 {
		span.SetAttributes(attribute.Float64("banksia.waited_seconds", waited.Seconds()))
	}
	// A refusal, such as one of a foreign id, is no fault of the database.
	if e := banksia.ErrorCode(err); err != nil && (e == banksia.CodeInternal || e == banksia.CodeUnavailable || e == banksia.CodeStorage || e == banksia.CodeInsufficientStorage) {
		endInner(span, err)
		return
	}
	endInner(span, nil)
}

// startTask begins the span of a run, within that of the request that enqueued the
// task, or on its own.
func (t *Telemetry) startTask(ctx context.Context, d store.Delivery) (context.Context, trace.Span) {
	if t.tracer == nil {
		return ctx, none
	}
	if d.Cause.Trace != "" {
		ctx = propagator.Extract(ctx, propagation.MapCarrier{"traceparent": d.Cause.Trace})
	}
	attributes := []attribute.KeyValue{attribute.String("banksia.task_id", d.ID.String()), attribute.String("banksia.task_type", string(d.Type)),
		attribute.Int("banksia.attempt", d.RetryCount+1), attribute.String("banksia.request_id", d.Cause.RequestID)}
	if d.AssetID != nil {
		attributes = append(attributes, attribute.String("banksia.asset_id", d.AssetID.String()))
	}
	ctx, span := t.tracer.Start(ctx, "task "+string(d.Type), trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(attributes...))
	cause := d.Cause
	cause.Trace = traceParent(span.SpanContext())
	return banksia.WithCause(ctx, cause), span
}

func endTask(span trace.Span, outcome task.Outcome, err error) {
	span.SetAttributes(attribute.String("banksia.outcome", string(outcome)))
	endInner(span, err)
}
