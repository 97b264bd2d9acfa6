package api

import (
	"embed"
	"errors"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"net/url"
	"strconv"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api/wire"
	"github.com/banksia-photos/banksia/internal/auth"
)

//go:embed pages/*.html
var pageFiles embed.FS

// pages are the ones that people see while they sign in.
var pages = template.Must(template.ParseFS(pageFiles, "pages/*.html"))

// authURL is GET /api/oauth/auth-url: where the browser goes to sign in (behaviour
// 5.1).
func (s *Server) authURL(w http.ResponseWriter, r *http.Request, _ banksia.Scope) error {
	p := newParams(r.URL.RawQuery)
	redirect := p.text("redirect_uri")
	if redirect == "" {
		p.bad("redirect_uri", "is required")
	}
	if err := p.err(); err != nil {
		return err
	}
	target, err := s.login.Begin(r.Context(), s.origin(r), redirect, p.text("code_challenge"), p.text("code_challenge_method"))
	if err != nil {
		return err
	}
	return write(w, http.StatusOK, map[string]string{"url": target})
}

// exchangeCode is POST /api/oauth/exchange: what the browser brought back becomes
// a session (behaviour 5.4).
func (s *Server) exchangeCode(w http.ResponseWriter, r *http.Request, _ banksia.Scope) error {
	var body struct {
		Code     *string `json:"code"`
		State    *string `json:"state"`
		Error    *string `json:"error"`
		Verifier *string `json:"code_verifier"`
	}
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	text := func(value *string) string {
		if value == nil {
			return ""
		}
		return *value
	}
	token, user, err := s.login.Exchange(r.Context(), text(body.State), text(body.Code), text(body.Verifier), text(body.Error))
	if err != nil {
		return err
	}
	return write(w, http.StatusOK, struct {
		AccessToken string            `json:"access_token"`
		User        wire.ExchangeUser `json:"user"`
	}{token, wire.NewExchangeUser(&user)})
}

// logoutEndpoint is GET /api/oauth/logout-endpoint.
func (s *Server) logoutEndpoint(w http.ResponseWriter, r *http.Request, _ banksia.Scope) error {
	target, err := s.login.LogoutURL(r.Context(), s.origin(r))
	if err != nil {
		return err
	}
	return write(w, http.StatusOK, map[string]string{"logout_endpoint": target})
}

// form is what a page of the sign-in shows.
type form struct {
	Title   string
	Problem string // what went wrong with the last try
	Action  string
	Email   string
	Hidden  map[string]string
	SignIn  bool     // ask for address and password
	Program string   // who asks for permission; "": nobody
	Target  string   // the host that gets the answer
	Wants   []string // what the program could do
}

// page answers a page that runs no script and loads nothing from elsewhere. After
// a form the browser may follow a redirect to target alone.
func (s *Server) page(w http.ResponseWriter, status int, target string, f form) error {
	allowed := "'self'"
	if u, err := url.Parse(target); err == nil && u.Scheme != "" && (u.Host == "" || validHost(u.Host)) {
		allowed += " " + u.Scheme + ":"
		if u.Host != "" {
			allowed += "//" + u.Host
		}
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; form-action "+allowed)
	header.Set("Referrer-Policy", "same-origin") // with no-referrer, browsers would not say where a form comes from
	header.Set("Cache-Control", "no-store")
	header.Del("Access-Control-Allow-Origin")
	w.WriteHeader(status)
	if err := pages.ExecuteTemplate(w, "login.html", f); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

// loginPage is GET /login: the built-in sign-in.
func (s *Server) loginPage(w http.ResponseWriter, r *http.Request, _ banksia.Scope) error {
	state := r.URL.Query().Get("state")
	if state == "" {
		return s.page(w, http.StatusOK, "", form{Title: "Signed out", Problem: "You are signed out. To sign in, begin in the program that you use."})
	}
	login, err := s.login.Pending(r.Context(), s.origin(r), state)
	if err != nil {
		return s.brokenPage(w, err)
	}
	return s.page(w, http.StatusOK, login.RedirectURI, form{Title: "Sign in", Action: auth.LoginPath, Hidden: map[string]string{"state": state}, SignIn: true})
}

// brokenPage shows an error of the sign-in to a person.
func (s *Server) brokenPage(w http.ResponseWriter, err error) error {
	e, ok := errors.AsType[*banksia.Error](err)
	if !ok || statuses[e.Code] >= 500 {
		return err
	}
	return s.page(w, statuses[e.Code], "", form{Title: "This did not work", Problem: e.Message})
}

// maxForm bounds the body of a page's form.
const maxForm = 64 << 10

func readForm(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return &banksia.Error{Code: banksia.CodeValidation, Message: "The form is malformed or too large.", Err: err}
	}
	return nil
}

// ownForm refuses the form of another site's page, which could sign somebody in as
// somebody else. A browser says where a form comes from in one of two headers;
// programs send neither.
func (s *Server) ownForm(w http.ResponseWriter, r *http.Request) error {
	var protection http.CrossOriginProtection
	if r.Header.Get("Sec-Fetch-Site") == "" && r.Header.Get("Origin") == s.origin(r) {
		return readForm(w, r) // a proxy may have changed the name in Host
	}
	if err := protection.Check(r); err != nil {
		return &banksia.Error{Code: banksia.CodeForbidden, Message: "This form was sent by a page of another site.", Err: err}
	}
	return readForm(w, r)
}

// signIn is POST /login: address and password of the built-in page.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request, _ banksia.Scope) error {
	if err := s.ownForm(w, r); err != nil {
		return err
	}
	state := r.PostForm.Get("state")
	login, err := s.login.Pending(r.Context(), s.origin(r), state)
	if err == nil && s.login.External() {
		err = banksia.Errorf(banksia.CodeInvalidRequest, "This server signs people in elsewhere.")
	}
	if err != nil {
		return s.brokenPage(w, err)
	}
	f := form{Title: "Sign in", Action: auth.LoginPath, Hidden: map[string]string{"state": state}, SignIn: true}
	user, answered, err := s.checkPassword(w, r, login.RedirectURI, f)
	if err != nil || answered {
		return err
	}
	target, err := s.login.Finish(r.Context(), state, user.ID)
	if err != nil {
		return s.brokenPage(w, err)
	}
	return seeOther(w, target)
}

func seeOther(w http.ResponseWriter, target string) error {
	w.Header().Set("Location", target)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// checkPassword finds who filled in the form; when it was wrong, the form is
// answered again.
func (s *Server) checkPassword(w http.ResponseWriter, r *http.Request, target string, f form) (user banksia.User, answered bool, err error) {
	f.Email = r.PostForm.Get("email")
	if !validText(f.Email) {
		f.Email = ""
	}
	user, err = s.login.CheckPassword(r.Context(), s.caller(r), f.Email, r.PostForm.Get("password"))
	if wait, ok := errors.AsType[*auth.TooManyGuessesError](err); ok {
		seconds := int(math.Ceil(wait.Wait.Seconds()))
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		f.Problem = fmt.Sprintf("That was wrong too often. Try again in %d seconds.", seconds)
		return user, true, s.page(w, http.StatusTooManyRequests, target, f)
	}
	if errors.Is(err, auth.ErrWrongPassword) {
		f.Problem = "Address and password do not go together."
		return user, true, s.page(w, http.StatusUnauthorized, target, f)
	}
	return user, false, err
}
