package api

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"os"
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

// errClientGone marks what only the client's leaving has caused.
var errClientGone = errors.New("the client went away")

// broken tells why a body could not be read: it is malformed, or nothing more came.
func broken(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w: %w", errClientGone, err)
	}
	return &banksia.Error{Code: banksia.CodeValidation, Message: "The body is malformed or broke off.", Err: err,
		Fields: []banksia.FieldError{{Loc: []string{"body"}, Msg: "malformed or cut off", Type: "value_error"}}}
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
	if errors.Is(err, errClientGone) || r.Context().Err() != nil {
		s.cfg.Logger.DebugContext(r.Context(), "request cut off", "error", err)
		// Returning would send an empty 200, and the client may still be there
		// to take it for a success, as when the server is stopping.
		panic(http.ErrAbortHandler)
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
		level := slog.LevelInfo
		if status >= 500 {
			level = slog.LevelError
		}
		s.cfg.Logger.Log(r.Context(), level, "request failed", "status", status, "error", err)
	}
	if recorder, ok := w.(*recorder); ok && recorder.status != 0 {
		// Half an answer is out. Cutting the connection is all that tells the
		// client.
		panic(http.ErrAbortHandler)
	}
	if body, ok := r.Body.(*incomingBody); ok {
		body.drain()
	}
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	if e.Retry > 0 { // SDKs ignore a longer one (behaviour 21.10)
		header.Set("Retry-After", strconv.Itoa(min(int(math.Ceil(e.Retry.Seconds())), 60)))
	}
	if e.Final || status == http.StatusInsufficientStorage { // or the SDKs would repeat it (behaviour 2.13)
		header.Set("X-Should-Retry", "false")
	}
	if status == http.StatusUnauthorized {
		header.Set("WWW-Authenticate", `Bearer realm="banksia"`)
	}
	if err := write(w, status, newEnvelope(e)); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func newEnvelope(e *banksia.Error) envelope {
	body := envelope{Detail: e.Message, Error: string(e.Code), Message: e.Message}
	if len(e.Fields) > 0 {
		problems := make([]problem, len(e.Fields))
		for i, f := range e.Fields {
			problems[i] = problem{f.Loc, f.Msg, f.Type}
		}
		body.Detail = problems
	}
	return body
}
