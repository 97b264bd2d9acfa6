package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/auth"
)

// authorizationRequest reads what a program asks of a user.
func authorizationRequest(values url.Values) *auth.AuthorizationRequest {
	return &auth.AuthorizationRequest{ResponseType: values.Get("response_type"), ClientID: values.Get("client_id"), RedirectURI: values.Get("redirect_uri"),
		Scope: values.Get("scope"), State: values.Get("state"), CodeChallenge: values.Get("code_challenge"), Method: values.Get("code_challenge_method")}
}

// hidden are the fields that carry a request through a form.
func hidden(a *auth.AuthorizationRequest) map[string]string {
	return map[string]string{"response_type": a.ResponseType, "client_id": a.ClientID, "redirect_uri": a.RedirectURI, "scope": a.Scope, "state": a.State,
		"code_challenge": a.CodeChallenge, "code_challenge_method": a.Method}
}

// callbackPath is where an OpenID Connect issuer sends a user who is to allow
// something; it is registered there.
const callbackPath = "/oauth/callback"

// authorizePage is GET /oauth/authorize: a program asks a user (RFC 6749, section
// 4.1.1).
func (s *Server) authorizePage(w http.ResponseWriter, r *http.Request, _ banksia.Scope) error {
	request := authorizationRequest(r.URL.Query())
	client, err := s.oauth.Check(r.Context(), request)
	if err != nil {
		return s.refuse(w, request, err)
	}
	if s.login.External() {
		target, err := s.oauth.BeginAtIssuer(r.Context(), s.origin(r), s.origin(r)+callbackPath, request)
		if err != nil {
			return s.brokenPage(w, err)
		}
		if err := s.remember(w, r, target); err != nil {
			return err
		}
		return seeOther(w, target)
	}
	return s.page(w, http.StatusOK, request.RedirectURI, consentForm(request, &client, hidden(request), true))
}

// remember marks the browser that is sent to the issuer, so that only it can come
// back: else somebody could make another's browser come back signed in as himself
// (RFC 6749, section 10.12). It is the server's only cookie.
func (s *Server) remember(w http.ResponseWriter, r *http.Request, target string) error {
	u, err := url.Parse(target)
	if err != nil {
		return fmt.Errorf("send to the issuer: %w", err)
	}
	state := u.Query().Get("state")
	http.SetCookie(w, &http.Cookie{Name: cookieOf(state), Value: state, Path: callbackPath, MaxAge: int(auth.LoginLife.Seconds()),
		Secure: strings.HasPrefix(s.origin(r), "https:"), HttpOnly: true, SameSite: http.SameSiteLaxMode})
	return nil
}

// remembered tells whether this browser was sent to the issuer with a state.
func remembered(r *http.Request, state string) bool {
	cookie, err := r.Cookie(cookieOf(state))
	return err == nil && subtle.ConstantTimeCompare([]byte(cookie.Value), []byte(state)) == 1
}

// cookieOf is the name of the cookie of a state: a browser may be on several ways.
func cookieOf(state string) string {
	sum := sha256.Sum256([]byte(state))
	return "banksia_" + hex.EncodeToString(sum[:8])
}

func consentForm(request *auth.AuthorizationRequest, client *banksia.OAuthClient, fields map[string]string, signIn bool) form {
	f := form{Title: "Allow access", Action: "/oauth/authorize", Hidden: fields, SignIn: signIn, Program: client.Name}
	if f.Program == "" {
		f.Program = "A program without a name"
	}
	if u, err := url.Parse(request.RedirectURI); err == nil {
		f.Target = u.Host
		if f.Target == "" {
			f.Target = u.Scheme
		}
	}
	actions, _ := auth.ActionsOf(request.Scope)
	for action, words := range map[banksia.Action]string{banksia.Read: "see your photos, albums and people", banksia.Write: "upload and change them", banksia.Delete: "move them to the trash", banksia.DeletePermanently: "delete them for good"} {
		if slices.Contains(actions, action) {
			f.Wants = append(f.Wants, words)
		}
	}
	slices.SortFunc(f.Wants, func(a, b string) int { return len(b) - len(a) })
	return f
}

// refuse tells the program, or where that is not safe the user, why nothing is
// allowed.
func (s *Server) refuse(w http.ResponseWriter, request *auth.AuthorizationRequest, err error) error {
	if e, ok := errors.AsType[*auth.OAuthError](err); ok {
		return seeOther(w, request.Refuse(e))
	}
	return s.brokenPage(w, err)
}

// authorizeCallback is GET /oauth/callback: the user comes back from the issuer
// and is asked.
func (s *Server) authorizeCallback(w http.ResponseWriter, r *http.Request, _ banksia.Scope) error {
	query := r.URL.Query()
	if !remembered(r, query.Get("state")) {
		return s.brokenPage(w, banksia.Errorf(banksia.CodeInvalidRequest, "This was not begun in this browser, or too long ago. Please start it again in the program that you use."))
	}
	user, request, err := s.oauth.Return(r.Context(), query.Get("state"), query.Get("code"))
	if err != nil {
		return s.brokenPage(w, err)
	}
	client, err := s.oauth.Check(r.Context(), request)
	if err != nil {
		return s.refuse(w, request, err)
	}
	consent, err := s.oauth.Consent(r.Context(), user.ID, request)
	if err != nil {
		return err
	}
	return s.page(w, http.StatusOK, request.RedirectURI, consentForm(request, &client, map[string]string{"consent": consent}, false))
}

// authorize is POST /oauth/authorize: the user allows or refuses.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request, _ banksia.Scope) error {
	if err := s.ownForm(w, r); err != nil {
		return err
	}
	request := authorizationRequest(r.PostForm)
	var user banksia.UserID
	if consent := r.PostForm.Get("consent"); consent != "" {
		var err error
		if user, request, err = s.oauth.Consented(r.Context(), consent); err != nil {
			return s.brokenPage(w, err)
		}
	}
	client, err := s.oauth.Check(r.Context(), request)
	if err != nil {
		return s.refuse(w, request, err)
	}
	if r.PostForm.Get("answer") != "allow" {
		return seeOther(w, request.Refuse(&auth.OAuthError{Code: "access_denied", Description: "the user refused"}))
	}
	if user.IsZero() {
		if s.login.External() {
			return s.brokenPage(w, banksia.Errorf(banksia.CodeInvalidRequest, "This server signs people in elsewhere."))
		}
		found, answered, err := s.checkPassword(w, r, request.RedirectURI, consentForm(request, &client, hidden(request), true))
		if err != nil || answered {
			return err
		}
		user = found.ID
	}
	target, err := s.oauth.Grant(r.Context(), request, user)
	if err != nil {
		return s.refuse(w, request, err)
	}
	return seeOther(w, target)
}

// oauthFailure answers an error in the words of OAuth.
func oauthFailure(w http.ResponseWriter, err error) error {
	e, ok := errors.AsType[*auth.OAuthError](err)
	if !ok {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return write(w, http.StatusBadRequest, e)
}

// oauthToken is POST /oauth/token (RFC 6749, section 4.1.3 and 6).
func (s *Server) oauthToken(w http.ResponseWriter, r *http.Request, _ banksia.Scope) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	form := r.PostForm
	var tokens auth.Tokens
	var err error
	switch form.Get("grant_type") {
	case "authorization_code":
		tokens, err = s.oauth.Redeem(r.Context(), form.Get("client_id"), form.Get("code"), form.Get("redirect_uri"), form.Get("code_verifier"))
	case "refresh_token":
		tokens, err = s.oauth.Refresh(r.Context(), form.Get("client_id"), form.Get("refresh_token"))
	default:
		err = &auth.OAuthError{Code: "unsupported_grant_type", Description: "grant_type must be authorization_code or refresh_token"}
	}
	if err != nil {
		return oauthFailure(w, err)
	}
	w.Header().Set("Cache-Control", "no-store")
	return write(w, http.StatusOK, tokens)
}

// oauthRevoke is POST /oauth/revoke (RFC 7009).
func (s *Server) oauthRevoke(w http.ResponseWriter, r *http.Request, _ banksia.Scope) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	if err := s.oauth.Revoke(r.Context(), r.PostForm.Get("token")); err != nil {
		return err
	}
	return acknowledge(w)
}

// oauthRegister is POST /oauth/register (RFC 7591).
func (s *Server) oauthRegister(w http.ResponseWriter, r *http.Request, _ banksia.Scope) error {
	var body struct {
		ClientName   string   `json:"client_name"`
		RedirectURIs []string `json:"redirect_uris"`
	}
	if err := readJSON(w, r, &body); err != nil {
		return oauthFailure(w, &auth.OAuthError{Code: "invalid_client_metadata", Description: "the body is not the JSON of a client", Err: err})
	}
	client, err := s.oauth.Register(r.Context(), body.ClientName, body.RedirectURIs)
	if err != nil {
		return oauthFailure(w, err)
	}
	w.Header().Set("Cache-Control", "no-store")
	return write(w, http.StatusCreated, struct {
		ClientID      string   `json:"client_id"`
		IssuedAt      int64    `json:"client_id_issued_at"`
		Name          string   `json:"client_name"`
		RedirectURIs  []string `json:"redirect_uris"`
		Method        string   `json:"token_endpoint_auth_method"`
		GrantTypes    []string `json:"grant_types"`
		ResponseTypes []string `json:"response_types"`
	}{client.ID, client.CreatedAt.Unix(), client.Name, client.RedirectURIs, "none", []string{"authorization_code", "refresh_token"}, []string{"code"}})
}

// authorizationServer is GET /.well-known/oauth-authorization-server (RFC 8414).
func (s *Server) authorizationServer(w http.ResponseWriter, r *http.Request, _ banksia.Scope) error {
	origin := s.origin(r)
	return write(w, http.StatusOK, map[string]any{
		"issuer": origin, "authorization_endpoint": origin + "/oauth/authorize", "token_endpoint": origin + "/oauth/token",
		"revocation_endpoint": origin + "/oauth/revoke", "registration_endpoint": origin + "/oauth/register",
		"scopes_supported": auth.Scopes, "response_types_supported": []string{"code"}, "grant_types_supported": []string{"authorization_code", "refresh_token"},
		"code_challenge_methods_supported": []string{"S256"}, "token_endpoint_auth_methods_supported": []string{"none"},
		"revocation_endpoint_auth_methods_supported": []string{"none"},
	})
}

// protectedResource is GET /.well-known/oauth-protected-resource, and the same of
// /mcp (RFC 9728).
func (s *Server) protectedResource(w http.ResponseWriter, r *http.Request, _ banksia.Scope) error {
	origin := s.origin(r)
	resource := origin
	if strings.HasSuffix(strings.TrimSuffix(r.URL.Path, "/"), "/mcp") {
		resource += "/mcp"
	}
	return write(w, http.StatusOK, map[string]any{"resource": resource, "authorization_servers": []string{origin},
		"scopes_supported": auth.Scopes, "bearer_methods_supported": []string{"header"}, "resource_name": "Banksia"})
}
