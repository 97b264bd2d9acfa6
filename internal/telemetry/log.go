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
	if cause == (banksia.Cause{}) {
		return h.Handler.Handle(ctx, record)
	}
	named := slog.NewRecord(record.Time, record.Level, record.Message, record.PC) // first, where eyes look
	if cause.RequestID != "" {
		named.AddAttrs(slog.String("request_id", cause.RequestID))
	}
	if parts := strings.Split(cause.Trace, "-"); len(parts) == 4 { // version, trace, span, flags
		named.AddAttrs(slog.String("trace_id", parts[1]))
	}
	record.Attrs(func(a slog.Attr) bool {
		named.AddAttrs(a)
		return true
	})
	return h.Handler.Handle(ctx, named)
}

func (h causeHandler) WithAttrs(attributes []slog.Attr) slog.Handler {
	return causeHandler{h.Handler.WithAttrs(attributes)}
}

func (h causeHandler) WithGroup(name string) slog.Handler {
	return causeHandler{h.Handler.WithGroup(name)}
}
