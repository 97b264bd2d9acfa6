package banksia

import (
	"context"
	"strings"
)

// Cause says on whose behalf work is done. It travels in contexts and with the
// tasks that a request enqueues, so that logs and traces of what was done later
// name the request that asked for it.
type Cause struct {
	// RequestID names the request in its answer and in the log; "": no request.
	RequestID string
	// Trace is the W3C traceparent of the request; "": it is not traced.
	Trace string
}

type causeKey struct{}

// WithCause returns a context for work on behalf of a cause.
func WithCause(ctx context.Context, c Cause) context.Context {
	return context.WithValue(ctx, causeKey{}, c)
}

// CauseOf tells on whose behalf the work of a context is done; nobody's when
// WithCause has not been called.
func CauseOf(ctx context.Context) Cause {
	c, _ := ctx.Value(causeKey{}).(Cause)
	return c
}

// String is the form in which a cause is stored: the two parts with a space
// between them, "" for none. Neither part may contain a space.
func (c Cause) String() string {
	return strings.TrimSuffix(c.RequestID+" "+c.Trace, " ")
}

// ParseCause reads what String wrote.
func ParseCause(text string) Cause {
	id, trace, _ := strings.Cut(text, " ")
	return Cause{RequestID: id, Trace: trace}
}
