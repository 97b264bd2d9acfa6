package api

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/banksia-photos/banksia"
)

// Check asks a part of the server whether it works.
type Check struct {
	Name string // as in the answer of /readyz: database, storage
	Ask  func(context.Context) error
}

const (
	// checkTime is how long all parts together have to answer: load balancers wait
	// a few seconds.
	checkTime = 2 * time.Second
	// checkAge is how long an answer counts. Anybody may ask, and asking must not
	// cost more the more do.
	checkAge = time.Second
)

// readiness is whether requests should be sent here.
type readiness struct {
	stopping atomic.Bool

	mu      sync.Mutex // held while the parts are asked
	parts   map[string]string
	well    bool
	asked   time.Time
	failed  map[string]bool       // those whose failure is in the log
	pending map[string]chan error // asked, and no answer yet
}

// Drain makes /readyz say that no more requests should be sent here. All others are
// answered as before.
func (s *Server) Drain() { s.ready.stopping.Store(true) }

// healthz tells that the process serves, whatever its parts do: a restart would
// help against nothing else.
func (s *Server) healthz(w http.ResponseWriter, r *http.Request, _ banksia.Scope) error {
	return write(w, http.StatusOK, map[string]string{"status": "ok"})
}

// readyz tells whether requests should be sent here: every part answers and the
// server is not stopping. The migrations have run before anything is served, and
// the check of the database sees to it that they still have.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request, _ banksia.Scope) error {
	parts, well := s.ready.ask(r.Context(), s.cfg.Checks, s.cfg.Logger)
	body := map[string]string{"status": "ready"}
	status := http.StatusOK
	if !well {
		status, body["status"] = http.StatusServiceUnavailable, "not ready"
	}
	if s.ready.stopping.Load() {
		status, body["status"] = http.StatusServiceUnavailable, "stopping"
	}
	for name, part := range parts {
		body[name] = part
	}
	return write(w, status, body)
}

// ask asks all parts at once. What is wrong goes to the log, once, and not to
// whoever asks.
func (r *readiness) ask(ctx context.Context, checks []Check, logger *slog.Logger) (parts map[string]string, well bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.parts != nil && time.Since(r.asked) < checkAge {
		return r.parts, r.well
	}
	if r.pending == nil {
		r.failed, r.pending = map[string]bool{}, map[string]chan error{}
	}
	// Who asked may leave; the answer is for the others, too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTime)
	defer cancel()
	for _, check := range checks {
		// A part that is stuck in a system call does not notice the end of its
		// context, and is not asked again until it has answered.
		if r.pending[check.Name] == nil {
			answer := make(chan error, 1)
			r.pending[check.Name] = answer
			go func() { answer <- check.Ask(ctx) }()
		}
	}
	r.parts, r.well = map[string]string{}, true
	for _, check := range checks {
		state, err := "ok", context.DeadlineExceeded
		select {
		case err = <-r.pending[check.Name]:
			delete(r.pending, check.Name)
		case <-ctx.Done():
		}
		switch {
		case err == nil:
		case ctx.Err() != nil:
			state = "no answer"
		default:
			state = "failed"
		}
		r.parts[check.Name], r.well = state, r.well && err == nil
		if failed := err != nil; failed != r.failed[check.Name] {
			r.failed[check.Name] = failed
			if failed {
				logger.WarnContext(ctx, "not ready", "part", check.Name, "error", err)
			} else {
				logger.InfoContext(ctx, "ready again", "part", check.Name)
			}
		}
	}
	r.asked = time.Now()
	return r.parts, r.well
}
