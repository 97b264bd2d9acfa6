package telemetry

import (
	"context"
	"log/slog"
	"strings"

	"github.com/banksia-photos/banksia"
)

// LogHandler returns a handler that adds to each record on whose behalf it was
// written: request_id, and trace_id where the request is traced. The cause is that
// of the context (banksia.CauseOf).
func LogHandler(next slog.Handler) slog.Handler { return causeHandler{next} }

type causeHandler struct{ slog.Handler }

func (h causeHandler) Handle(ctx context.Context, record slog.Record) error {
	cause := banksia.CauseOf(ctx)
	if cause.RequestID != "" {
		record.AddAttrs(slog.String("request_id", cause.RequestID))
	}
	if parts := strings.Split(cause.Trace, "-"); len(parts) == 4 { // version, trace, span, flags
		record.AddAttrs(slog.String("trace_id", parts[1]))
	}
	return h.Handler.Handle(ctx, record)
}

func (h causeHandler) WithAttrs(attributes []slog.Attr) slog.Handler {
	return causeHandler{h.Handler.WithAttrs(attributes)}
}

func (h causeHandler) WithGroup(name string) slog.Handler {
	return causeHandler{h.Handler.WithGroup(name)}
}
