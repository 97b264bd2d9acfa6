package api

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"

	"github.com/banksia-photos/banksia"
)

// statuses is the one place where errors become HTTP (behaviour 3.3).
var statuses = map[banksia.Code]int{
	banksia.CodeInvalidRequest:      http.StatusBadRequest,
	banksia.CodeUnauthorized:        http.StatusUnauthorized,
	banksia.CodeForbidden:           http.StatusForbidden,
	banksia.CodeNotFound:            http.StatusNotFound,
	banksia.CodeMethodNotAllowed:    http.StatusMethodNotAllowed,
	banksia.CodeConflict:            http.StatusConflict,
	banksia.CodeValidation:          http.StatusUnprocessableEntity,
	banksia.CodeRateLimited:         http.StatusTooManyRequests,
	banksia.CodeStorage:             http.StatusBadGateway,
	banksia.CodeUnavailable:         http.StatusServiceUnavailable,
	banksia.CodeInsufficientStorage: http.StatusInsufficientStorage,
	banksia.CodeInternal:            http.StatusInternalServerError,
}

// envelope is the body of every error: clients read detail, then message, then
// error (behaviour 3.2).
type envelope struct {
	Detail  any    `json:"detail"`
	Error   string `json:"error"`
	Message string `json:"message"`
}

// problem is one invalid input, in FastAPI's form (behaviour 3.1).
type problem struct {
	Loc  []string `json:"loc"`
	Msg  string   `json:"msg"`
	Type string   `json:"type"`
}

// fail answers with an error. What is not a *banksia.Error is an internal one:
// its text goes to the log, not to the client.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, errClientGone) || r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		return
	}
	e, ok := errors.AsType[*banksia.Error](err)
	if !ok {
		e = banksia.Errorf(banksia.CodeInternal, "Something went wrong on the server. Its log names this request's id.")
	}
	status := statuses[e.Code]
	if status == 0 {
		status = http.StatusInternalServerError
	}
	if status >= 500 || e.Err != nil {
		id, _ := r.Context().Value(requestIDKey{}).(string)
		s.cfg.Logger.WarnContext(r.Context(), "request failed", "request_id", id, "method", r.Method, "path", r.URL.Path, "status", status, "error", err)
	}
	if recorder, ok := w.(*recorder); ok && recorder.status != 0 {
		// Half an answer is out. Cutting the connection is all that tells the
		// client.
		panic(http.ErrAbortHandler)
	}
	header := w.Header()
	if e.Retry > 0 {
		header.Set("Retry-After", strconv.Itoa(min(int(math.Ceil(e.Retry.Seconds())), 60)))
	}
	if e.Final { // or the SDKs would repeat a 409 or a 5xx (behaviour 2.13)
		header.Set("X-Should-Retry", "false")
	}
	if status == http.StatusUnauthorized {
		header.Set("WWW-Authenticate", `Bearer realm="banksia"`)
	}
	header.Del("Content-Disposition")
	body := envelope{Detail: e.Message, Error: string(e.Code), Message: e.Message}
	if len(e.Fields) > 0 {
		problems := make([]problem, len(e.Fields))
		for i, f := range e.Fields {
			problems[i] = problem{f.Loc, f.Msg, f.Type}
		}
		body.Detail = problems
	}
	if err := write(w, status, body); err != nil && !errors.Is(err, errClientGone) {
		s.cfg.Logger.ErrorContext(r.Context(), "write error", "error", err)
	}
}
