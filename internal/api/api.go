// Package api serves the contract over HTTP. routes.go is the whole table of
// operations; errors.go is where errors become statuses; one file holds the
// handlers of one resource.
package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/auth"
	"github.com/banksia-photos/banksia/internal/catalog"
	"github.com/banksia-photos/banksia/internal/derive"
	"github.com/banksia-photos/banksia/internal/store"
)

// Config is what the operator may say about serving.
type Config struct {
	// PublicURL is the origin that media URLs begin with, such as
	// https://photos.example.org; "": the one that each request was sent to.
	PublicURL string
	// TrustForwarded takes the origin from X-Forwarded-Proto and -Host, which
	// only a reverse proxy may set.
	TrustForwarded bool
	// Pages answers what is no operation of the contract; nil: nobody does.
	Pages  *http.ServeMux
	Logger *slog.Logger
}

// Validate names the first setting that is out of range.
func (c Config) Validate() error {
	if c.PublicURL == "" {
		return nil
	}
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" {
		return fmt.Errorf("PublicURL must be like https://photos.example.org, got %q", c.PublicURL)
	}
	return nil
}

// Server answers the operations of the contract.
type Server struct {
	cfg      Config
	store    *store.Store
	catalog  *catalog.Catalog
	deriver  *derive.Deriver
	auth     *auth.Authenticator
	signer   *auth.Signer
	mux      *http.ServeMux
	document []byte // openapi.yaml as JSON
}

// New returns the handler of the whole program.
func New(cfg Config, s *store.Store, c *catalog.Catalog, d *derive.Deriver, a *auth.Authenticator, signer *auth.Signer) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	document, err := documentJSON()
	if err != nil {
		return nil, err
	}
	server := &Server{cfg: cfg, store: s, catalog: c, deriver: d, auth: a, signer: signer, mux: http.NewServeMux(), document: document}
	for _, row := range server.routes() {
		server.handle(row)
	}
	return server, nil
}

// route is one row of the table. An empty action means that anybody may call.
type route struct {
	pattern string
	action  banksia.Action
	handler func(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error
}

// handle registers a row in both spellings, with and without a slash at the end
// (behaviour 2.3): a redirect could lose the body or the credential.
func (s *Server) handle(row route) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var scope banksia.Scope
		if row.action != "" {
			var err error
			scope, err = s.auth.Scope(r.Context(), r.Header.Get("Authorization"))
			if err == nil && !scope.Allows(row.action) {
				err = banksia.Errorf(banksia.CodeForbidden, "This credential lacks the action %s.", row.action)
			}
			if err != nil {
				s.fail(w, r, err)
				return
			}
		}
		if err := row.handler(w, r, scope); err != nil {
			s.fail(w, r, err)
		}
	})
	s.mux.Handle(row.pattern, handler)
	if path := row.pattern[strings.Index(row.pattern, "/"):]; path != "/" && !strings.HasSuffix(path, "...}") {
		if strings.HasSuffix(path, "/{$}") {
			s.mux.Handle(strings.TrimSuffix(row.pattern, "/{$}"), handler)
		} else {
			s.mux.Handle(row.pattern+"/{$}", handler)
		}
	}
}

// requestIDHeader names a request in the response and in every log line
// (behaviour 3.7).
const requestIDHeader = "X-Request-Id"

type requestIDKey struct{}

// ServeHTTP does what every request needs: an id, CORS, a log line, and an answer
// in the envelope whatever happens.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	id := requestID(r.Header.Get(requestIDHeader))
	r = r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id))
	recorder := &recorder{ResponseWriter: w}
	header := recorder.Header()
	header.Set(requestIDHeader, id)
	header.Set("X-Content-Type-Options", "nosniff")
	defer func() {
		if problem := recover(); problem != nil {
			if problem == http.ErrAbortHandler {
				panic(problem)
			}
			s.fail(recorder, r, fmt.Errorf("panic: %v\n%s", problem, debug.Stack()))
		}
		level := slog.LevelInfo
		if recorder.status >= 500 {
			level = slog.LevelError
		}
		s.cfg.Logger.Log(r.Context(), level, "request", "request_id", id, "method", r.Method, "path", r.URL.Path, "status", recorder.status,
			"bytes", recorder.bytes, "duration_ms", float64(time.Since(begin).Microseconds())/1000)
	}()
	cors(header, r)
	if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
		recorder.WriteHeader(http.StatusNoContent)
		return
	}
	handler, pattern := s.mux.Handler(r)
	if pattern == "" && s.cfg.Pages != nil {
		if page, found := s.cfg.Pages.Handler(r); found != "" {
			page.ServeHTTP(recorder, r)
			return
		}
	}
	if pattern == "" {
		s.noRoute(recorder, r, handler)
		return
	}
	s.mux.ServeHTTP(recorder, r) // not handler: the mux also fills in path values
}

// noRoute answers unknown paths and methods in the envelope (behaviour 21.19); the
// mux knows which of both it is, and the methods that are allowed.
func (s *Server) noRoute(w http.ResponseWriter, r *http.Request, handler http.Handler) {
	probe := &recorder{ResponseWriter: discard{http.Header{}}}
	handler.ServeHTTP(probe, r)
	if probe.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", probe.Header().Get("Allow"))
		s.fail(w, r, banksia.Errorf(banksia.CodeMethodNotAllowed, "This path does not answer %s.", r.Method))
		return
	}
	s.fail(w, r, banksia.Errorf(banksia.CodeNotFound, "There is nothing at this path."))
}

// cors lets pages of any origin call: credentials travel in a header that a page
// must know, never in cookies (behaviour 2.16).
func cors(header http.Header, r *http.Request) {
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("Access-Control-Expose-Headers", "X-Request-Id, X-New-Access-Token, Retry-After, Content-Disposition")
	if r.Method == http.MethodOptions {
		header.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PATCH, DELETE, OPTIONS")
		header.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Accept, Range, X-Request-Id, "+stainlessHeaders)
		header.Set("Access-Control-Max-Age", "86400")
	}
}

// stainlessHeaders are sent by the official SDKs (behaviour 2.12).
const stainlessHeaders = "X-Stainless-Lang, X-Stainless-Package-Version, X-Stainless-OS, X-Stainless-Arch, X-Stainless-Runtime, X-Stainless-Runtime-Version, X-Stainless-Retry-Count, X-Stainless-Timeout, X-Stainless-Read-Timeout, X-Stainless-Async, X-Stainless-Raw-Response"

// requestID takes the caller's id when it can do no harm in a log.
func requestID(given string) string {
	sane := len(given) >= 8 && len(given) <= 128
	for _, c := range []byte(given) {
		sane = sane && (c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_' || c == '.')
	}
	if sane {
		return given
	}
	var random [12]byte
	rand.Read(random[:]) // never fails, says crypto/rand
	return hex.EncodeToString(random[:])
}

// write sends a JSON body.
func write(w http.ResponseWriter, status int, body any) error {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false) // the type is JSON, and nosniff says so
	if err := encoder.Encode(body); err != nil {
		return fmt.Errorf("encode response: %w", err)
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", strconv.Itoa(buffer.Len()))
	w.WriteHeader(status)
	_, err := w.Write(buffer.Bytes())
	if err != nil {
		return fmt.Errorf("%w: %w", errClientGone, err)
	}
	return nil
}

// errClientGone marks answers that nobody waits for any more.
var errClientGone = errors.New("the client went away")

// recorder remembers what was answered, for the log.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController find the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// discard is an answer that nobody reads.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}
