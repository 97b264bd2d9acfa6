package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/banksia-photos/banksia/internal/api"
	"github.com/banksia-photos/banksia/internal/banksiatest"
)

// health asks without a credential, as load balancers do.
func health(t *testing.T, s *banksiatest.Server, path string) (status int, parts map[string]string) {
	t.Helper()
	answer := s.CallAs(t, "", "GET", path, nil)
	answer.JSON(t, &parts)
	return answer.Status, parts
}

// becomes waits until /readyz says what is wanted; what it said a moment ago may
// still count.
func becomes(t *testing.T, s *banksiatest.Server, status int, parts map[string]string) {
	t.Helper()
	s.Await(t, fmt.Sprintf("it does not become %d %v", status, parts), func() bool {
		gotStatus, got := health(t, s, "/readyz")
		return gotStatus == status && maps.Equal(got, parts)
	})
	if status, parts := health(t, s, "/healthz"); status != http.StatusOK || parts["status"] != "ok" {
		t.Errorf("meanwhile /healthz answers %d %v", status, parts)
	}
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	well := map[string]string{"status": "ready", "database": "ok", "storage": "ok"}
	becomes(t, s, http.StatusOK, well)
	s.BreakStorage(t)
	becomes(t, s, http.StatusServiceUnavailable, map[string]string{"status": "not ready", "database": "ok", "storage": "failed"})
	s.Logged(t, "not ready")
	s.MendStorage(t)
	becomes(t, s, http.StatusOK, well)
	s.Logged(t, "ready again")

	stopping := maps.Clone(well)
	stopping["status"] = "stopping"
	s.Handler.(*api.Server).Drain()
	becomes(t, s, http.StatusServiceUnavailable, stopping)
	if answer := s.Call(t, "GET", "/api/users/me", nil); answer.Status != http.StatusOK {
		t.Errorf("a request while it stops: %d %s", answer.Status, answer.Body)
	}
	// Machines ask every few seconds; the log is for what people ask for.
	for line := range strings.Lines(s.Log.String()) {
		if strings.Contains(line, "/readyz") && !strings.Contains(line, "level=DEBUG") {
			t.Errorf("logged: %s", line)
		}
	}
}

func TestReadinessWithoutDatabase(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	s.CloseStore()
	becomes(t, s, http.StatusServiceUnavailable, map[string]string{"status": "not ready", "database": "failed", "storage": "ok"})
}

// A part that is stuck neither blocks the answer nor costs more with each question.
func TestReadinessOfStuckPart(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 100)
	stuck := make(chan struct{})
	s := banksiatest.NewServerWith(t, banksiatest.Config{API: api.Config{Checks: []api.Check{{Name: "disk", Ask: func(context.Context) error {
		asked <- struct{}{}
		<-stuck
		return nil
	}}}}})
	want := map[string]string{"status": "not ready", "database": "ok", "storage": "ok", "disk": "no answer"}
	for range 2 {
		becomes(t, s, http.StatusServiceUnavailable, want)
	}
	close(stuck)
	becomes(t, s, http.StatusOK, map[string]string{"status": "ready", "database": "ok", "storage": "ok", "disk": "ok"})
	if n := len(asked); n > 2 {
		t.Errorf("the stuck part was asked %d times", n)
	}
}

// The answers say which part, and nothing else about it.
func TestReadinessTellsNoSecrets(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServerWith(t, banksiatest.Config{API: api.Config{Checks: []api.Check{{Name: "disk", Ask: func(context.Context) error {
		return fmt.Errorf("dial postgres://user:hunter2@db.internal")
	}}}}})
	answer := s.CallAs(t, "", "GET", "/readyz", nil)
	if !json.Valid(answer.Body) || strings.Contains(string(answer.Body), "hunter2") || answer.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v %s", answer.Header, answer.Body)
	}
}
