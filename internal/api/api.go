// Package api serves the contract over HTTP. routes.go is the whole table of
// operations; errors.go is where errors become statuses; one file holds the
// handlers of one resource.
package api

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
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
	// TrustForwarded takes the origin from X-Forwarded-Proto and -Host, and the
	// caller's address from -For, which only a reverse proxy may set.
	TrustForwarded bool
	// RedirectMedia sends clients of large originals to the storage, where that gives
	// out URLs, instead of passing the bytes through.
	RedirectMedia bool
	// Pages answers what is no operation of the contract; nil: nobody does.
	Pages *http.ServeMux
	// Patience is how long a client may take to send or to take the next piece of
	// a body before it is cut off; 0: two minutes. A whole body may take any time.
	Patience time.Duration
	// RateLimit is how many units a caller may use up in a minute (see costs); 0:
	// any number.
	RateLimit int
	// Checks are the parts that must answer before the server is ready.
	Checks []Check
	// Observer is told of each request; nil: nobody.
	Observer Observer
	Logger   *slog.Logger // nil: the default one
}

// Observer is told of each request before it is served. The request is served in
// the context that it returns. It calls done at the end, also of a request that was
// cut off.
type Observer func(r *http.Request) (in context.Context, done func(Served))

// Served is what became of a request.
type Served struct {
	// Route is the path of the pattern that answered, such as
	// /api/assets/{asset_id}; "" when none did.
	Route string
	// Status is the one of the answer, 499 when there was none.
	Status int
	// Received and Sent are bytes of bodies.
	Received, Sent int64
	Duration       time.Duration
}

// Validate names the first setting that is out of range.
func (c Config) Validate() error {
	if c.Patience < 0 {
		return fmt.Errorf("setting Patience must not be negative, got %s", c.Patience)
	}
	if c.RateLimit < 0 {
		return fmt.Errorf("setting RateLimit must not be negative, got %d", c.RateLimit)
	}
	if c.PublicURL == "" {
		return nil
	}
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" {
		return fmt.Errorf("setting PublicURL must be like https://photos.example.org, got %q", c.PublicURL)
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
	login    *auth.Login
	oauth    *auth.OAuth
	signer   *auth.Signer
	limits   limits
	signIns  limits
	mux      *http.ServeMux
	muxes    []*http.ServeMux // in the order in which they are asked
	document []byte           // openapi.yaml as JSON
	ready    readiness
}

// New returns the handler of the whole program.
func New(cfg Config, s *store.Store, c *catalog.Catalog, d *derive.Deriver, a *auth.Authenticator, login *auth.Login, signer *auth.Signer) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Patience == 0 {
		cfg.Patience = 2 * time.Minute
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	document, err := documentJSON()
	if err != nil {
		return nil, err
	}
	server := &Server{cfg: cfg, store: s, catalog: c, deriver: d, auth: a, login: login, oauth: auth.NewOAuth(s, login), signer: signer, limits: limits{perMinute: cfg.RateLimit}, signIns: limits{perMinute: signInsPerMinute}, mux: http.NewServeMux(), document: document}
	for _, row := range server.routes() {
		server.handle(row)
	}
	server.muxes = []*http.ServeMux{server.mux}
	if cfg.Pages != nil {
		server.muxes = append(server.muxes, cfg.Pages)
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
		if row.action == "" && strings.Contains(row.pattern, " /api/oauth/") {
			if err := s.checkUnneeded(r); err != nil {
				s.fail(w, r, err)
				return
			}
		}
		if row.action != "" {
			var err error
			var renewed string
			scope, renewed, err = s.auth.Scope(r.Context(), r.Header.Get("Authorization"))
			if renewed != "" {
				w.Header().Set("X-New-Access-Token", renewed) // behaviour 4.8
			}
			if err == nil && !scope.Allows(row.action) {
				err = banksia.Errorf(banksia.CodeForbidden, "This credential lacks the action %s.", row.action)
			}
			if err != nil {
				s.fail(w, r, err)
				return
			}
		}
		caller := scope.UserID.String()
		if row.action == "" {
			caller = s.caller(r)
		}
		err := s.limits.check(w, row.pattern, caller, s.store.Now())
		if err == nil && signingIn[row.pattern] {
			err = s.signIns.check(w, row.pattern, caller, s.store.Now())
		}
		if err != nil {
			s.fail(w, r, err)
			return
		}
		err = row.handler(w, r, scope)
		if errors.Is(err, store.ErrBusy) && racing[row.pattern] {
			err = &banksia.Error{Code: banksia.CodeConflict, Message: "Another change was faster. Try again.", Retry: time.Second, Err: err}
		}
		if err != nil {
			s.fail(w, r, err)
		}
	})
	s.mux.Handle(row.pattern, handler)
	if other, slash := strings.CutSuffix(row.pattern, "/{$}"); slash {
		s.mux.Handle(other, handler)
	} else {
		s.mux.Handle(row.pattern+"/{$}", handler)
	}
}

// checkUnneeded refuses a credential that was sent where none is needed only when it
// is none, or one for nothing: who has an old one must be able to sign in anew.
func (s *Server) checkUnneeded(r *http.Request) error {
	authorization := r.Header.Get("Authorization")
	if authorization == "" {
		return nil
	}
	if scheme, _, _ := strings.Cut(authorization, " "); !strings.EqualFold(scheme, "Bearer") {
		return banksia.Errorf(banksia.CodeUnauthorized, "Send a credential as: Authorization: Bearer KEY, or none.")
	}
	if scope, _, err := s.auth.Scope(r.Context(), authorization); err == nil && !scope.Allows(banksia.Read) {
		return banksia.Errorf(banksia.CodeForbidden, "This credential allows nothing.")
	}
	return nil
}

// requestIDHeader names a request in the response and in every log line
// (behaviour 3.7).
const requestIDHeader = "X-Request-Id"

// ServeHTTP does what every request needs: an id, CORS, a log line, patience that
// ends, and an answer in the envelope whatever happens.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	id := requestID(r.Header.Get(requestIDHeader))
	r = r.WithContext(banksia.WithCause(r.Context(), banksia.Cause{RequestID: id}))
	done := func(Served) {}
	if s.cfg.Observer != nil {
		var observed context.Context
		observed, done = s.cfg.Observer(r)
		r = r.WithContext(observed)
	}
	answer := newRecorder(w, s.cfg.Patience)
	answer.receive(r)
	header := answer.Header()
	header.Set(requestIDHeader, id)
	header.Set("X-Content-Type-Options", "nosniff")
	// What a page needs beyond this, it says itself.
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	header.Set("Referrer-Policy", "no-referrer")
	cors(header, r)
	defer func() { // also of what is cut off
		served := Served{Route: routeOf(r), Status: cmp.Or(answer.status, statusCutOff), Received: answer.received(), Sent: answer.bytes, Duration: time.Since(begin)}
		s.logRequest(r, served)
		done(served)
	}()
	defer func() {
		if problem := recover(); problem == http.ErrAbortHandler {
			panic(problem)
		} else if problem != nil {
			s.fail(answer, r, fmt.Errorf("panic: %v\n%s", problem, debug.Stack()))
		}
	}()
	s.route(answer, r)
}

// maxLoggedPath bounds what a client can write into the log.
const maxLoggedPath = 300

// statusCutOff stands in the log for a request that got no answer, as nginx writes
// it.
const statusCutOff = 499

// quiet are the routes that are asked every few seconds by machines and tell
// nothing.
var quiet = map[string]bool{"/healthz": true, "/readyz": true, "/api/server/ping": true}

func (s *Server) logRequest(r *http.Request, served Served) {
	level, asked := slog.LevelInfo, r.URL.Path
	switch {
	case quiet[served.Route]:
		level = slog.LevelDebug
	case served.Status >= 500:
		level = slog.LevelError
	}
	if len(asked) > maxLoggedPath {
		asked = asked[:maxLoggedPath] + "…"
	}
	// Without the query, which holds the signatures of media URLs.
	s.cfg.Logger.Log(r.Context(), level, "request", "method", r.Method, "path", asked, "route", served.Route, "status", served.Status,
		"received", served.Received, "bytes", served.Sent, "duration_ms", float64(served.Duration.Microseconds())/1000)
}

// routeOf is the path of the pattern that answered. Both spellings of a path are
// one route.
func routeOf(r *http.Request) string {
	_, route, _ := strings.Cut(r.Pattern, " ")
	if route == "" {
		route = r.Pattern // of a page, for any method
	}
	route = strings.TrimSuffix(route, "{$}")
	if len(route) > 1 {
		route = strings.TrimSuffix(route, "/")
	}
	return route
}

// route finds who answers. Paths that are not in their shortest form are unknown:
// the mux would redirect them, and a redirect can lose the body or the credential
// (behaviour 2.3).
func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if cleanPath(r.URL.Path) != r.URL.Path {
		s.fail(w, r, errNoRoute)
		return
	}
	var allowed []string
	for _, mux := range s.muxes {
		handler, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r) // not handler: the mux also fills in path values
			return
		}
		// The mux knows whether the path or only the method is unknown.
		probe := discard{http.Header{}}
		handler.ServeHTTP(probe, r)
		allowed = append(allowed, probe.header.Values("Allow")...)
	}
	if len(allowed) > 0 {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		s.fail(w, r, banksia.Errorf(banksia.CodeMethodNotAllowed, "This path does not answer %s.", r.Method))
		return
	}
	s.fail(w, r, errNoRoute)
}

var errNoRoute = banksia.Errorf(banksia.CodeNotFound, "There is nothing at this path.")

// cleanPath is the shortest form of a path; a slash at its end stays.
func cleanPath(given string) string {
	clean := path.Clean("/" + given)
	if strings.HasSuffix(given, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

// cors lets pages of any origin call: credentials travel in a header that a page
// must know, never in cookies (behaviour 2.16).
func cors(header http.Header, r *http.Request) {
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("Access-Control-Expose-Headers", "X-Request-Id, X-New-Access-Token, X-Should-Retry, Retry-After, Retry-After-Ms, RateLimit-Limit, RateLimit-Remaining, Allow, Content-Disposition, Content-Range, Accept-Ranges, ETag")
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

// buffers are reused: a page of 200 whole assets has about a megabyte.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// write sends a JSON body.
func write(w http.ResponseWriter, status int, body any) error {
	buffer := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(buffer)
	buffer.Reset()
	encoder := json.NewEncoder(buffer)
	encoder.SetEscapeHTML(false) // the type is JSON, and nosniff says so
	if err := encoder.Encode(body); err != nil {
		return fmt.Errorf("encode response: %w", err)
	}
	return send(w, status, "application/json", buffer.Bytes())
}

// send sends a whole body. Answers depend on the credential and change, so that no
// cache may keep them unless the handler has said otherwise.
func send(w http.ResponseWriter, status int, contentType string, body []byte) error {
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if header.Get("Cache-Control") == "" {
		header.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		return fmt.Errorf("%w: %w", errClientGone, err)
	}
	return nil
}
