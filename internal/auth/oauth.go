package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/store"
)

// OAuth lets programs act for users who allow it: OAuth 2.1 (draft-ietf-oauth-v2-1)
// for public clients, with PKCE and dynamic registration (RFC 7591), as AI
// assistants use it (behaviour 5.7).
type OAuth struct {
	store *store.Store
	login *Login
}

// NewOAuth returns the authorization server over the users that a login knows.
func NewOAuth(s *store.Store, l *Login) *OAuth { return &OAuth{s, l} }

const (
	accessPrefix  = "oat_"
	refreshPrefix = "ort_"
	accessLife    = time.Hour
	refreshLife   = 30 * 24 * time.Hour
	codeLife      = time.Minute
	// maxClients bounds what strangers can register. When there are so many, those
	// that nobody allowed anything within unusedLife make room.
	maxClients = 10_000
	unusedLife = time.Hour
)

// Scopes are what a program may ask for; each begins with its action.
var Scopes = []string{"read:assets", "write:assets", "delete:assets", "delete_permanently:assets"}

// OAuthError is an error in the words of OAuth (RFC 6749, sections 4.1.2.1 and
// 5.2).
type OAuthError struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
	Err         error  `json:"-"`
}

func (e *OAuthError) Error() string { return e.Code + ": " + e.Description }
func (e *OAuthError) Unwrap() error { return e.Err }

func oauthError(code, format string, args ...any) error {
	return &OAuthError{Code: code, Description: fmt.Sprintf(format, args...)}
}

// Register makes a program known (RFC 7591). Only public clients are: nobody keeps
// a secret in a program that people install.
func (o *OAuth) Register(ctx context.Context, name string, redirectURIs []string) (c banksia.OAuthClient, err error) {
	if len(redirectURIs) == 0 || len(redirectURIs) > 20 {
		return c, oauthError("invalid_redirect_uri", "give 1 to 20 redirect_uris")
	}
	for _, uri := range redirectURIs {
		if u, err := url.Parse(uri); err != nil || !mayRedirect(u) || len(uri) > 2000 {
			return c, oauthError("invalid_redirect_uri", "%.100q is neither https, nor of this machine, nor of an app's own scheme", uri)
		}
	}
	if !utf8.ValidString(name) || len(name) > 200 || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }) {
		return c, oauthError("invalid_client_metadata", "client_name has more than 200 bytes or control characters")
	}
	c = banksia.OAuthClient{ID: newSecret("client_"), Name: name, RedirectURIs: redirectURIs, CreatedAt: o.store.Now()}
	return c, o.store.Write(ctx, func(tx *store.Tx) error {
		n, err := tx.CountOAuthClients()
		if err == nil && n >= maxClients {
			var removed int
			removed, err = tx.DeleteUnusedOAuthClients(tx.Now().Add(-unusedLife))
			n -= removed
		}
		if err != nil || n >= maxClients {
			return errors.Join(err, oauthError("temporarily_unavailable", "too many programs are registered"))
		}
		return tx.InsertOAuthClient(&c)
	})
}

// mayRedirect tells whether codes may be sent to a URI: https, a loopback address,
// or a scheme that an app owns, which holds a dot (RFC 8252, section 7.1).
func mayRedirect(u *url.URL) bool {
	if u.Fragment != "" || u.User != nil || strings.ContainsFunc(u.Host, func(c rune) bool { return !isHostRune(c) }) {
		return false
	}
	return u.Scheme == "https" && u.Host != "" || isLoopback(u) || strings.Contains(u.Scheme, ".")
}

// isHostRune tells whether a character may be in the name, or address and port, of
// a host: what Go's parser takes beside these could add to the policy of the page
// that asks the user.
func isHostRune(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-._:[]", c)
}

// AuthorizationRequest is what a program asks of a user (RFC 6749, section 4.1.1).
type AuthorizationRequest struct {
	ResponseType  string `json:"response_type"`
	ClientID      string `json:"client_id"`
	RedirectURI   string `json:"redirect_uri"`
	Scope         string `json:"scope"`
	State         string `json:"state"`
	CodeChallenge string `json:"code_challenge"`
	Method        string `json:"code_challenge_method"`
}

// Check finds the program that asks. An OAuthError may be sent back to it by
// Refuse; any other error is for the user alone, since the program is not known to
// be at the other end.
func (o *OAuth) Check(ctx context.Context, r *AuthorizationRequest) (c banksia.OAuthClient, err error) {
	err = o.store.Read(ctx, func(tx *store.Tx) error {
		c, err = tx.OAuthClient(r.ClientID)
		return err
	})
	if banksia.ErrorCode(err) == banksia.CodeNotFound {
		return c, banksia.Errorf(banksia.CodeInvalidRequest, "This program is not registered here.")
	}
	if err != nil {
		return c, err
	}
	if r.RedirectURI == "" && len(c.RedirectURIs) == 1 {
		r.RedirectURI = c.RedirectURIs[0]
	}
	if !slices.ContainsFunc(c.RedirectURIs, func(known string) bool { return sameRedirect(known, r.RedirectURI) }) {
		return c, banksia.Errorf(banksia.CodeInvalidRequest, "The program wants to be answered at an address that it did not register.")
	}
	switch {
	case r.ResponseType != "code":
		return c, oauthError("unsupported_response_type", "response_type must be code")
	case r.Method != "S256" || !isChallenge(r.CodeChallenge):
		return c, oauthError("invalid_request", "PKCE with S256 is required")
	case len(r.State) > 2000 || len(r.Scope) > 2000:
		return c, oauthError("invalid_request", "state and scope have at most 2000 bytes")
	}
	return c, nil
}

// sameRedirect compares a redirect URI with a registered one; the port of a
// loopback address is the program's choice (RFC 8252, section 7.3).
func sameRedirect(known, given string) bool {
	if known == given {
		return true
	}
	a, err := url.Parse(known)
	if err != nil || !isLoopback(a) {
		return false
	}
	b, err := url.Parse(given)
	return err == nil && isLoopback(b) && a.Hostname() == b.Hostname() && a.Path == b.Path && a.RawQuery == b.RawQuery
}

// ActionsOf are the actions that a scope asks for. Reading comes with all; words
// that mean nothing here are left out.
func ActionsOf(scope string) (actions []banksia.Action, granted string) {
	actions, words := []banksia.Action{banksia.Read}, []string{}
	for _, word := range strings.Fields(scope) {
		verb, _, _ := strings.Cut(word, ":")
		if action := banksia.Action(verb); slices.Contains(banksia.Actions, action) {
			words = append(words, word)
			if !slices.Contains(actions, action) {
				actions = append(actions, action)
			}
		}
	}
	if len(words) == 0 {
		words = Scopes[:1]
	}
	return actions, strings.Join(words, " ")
}

// Refuse is the URL that tells the program why it gets nothing.
func (r *AuthorizationRequest) Refuse(e *OAuthError) string {
	return withQuery(r.RedirectURI, "error", e.Code, "error_description", e.Description, "state", r.State)
}

// Grant keeps that a user allowed what was asked, and returns the URL that brings
// the code to the program.
func (o *OAuth) Grant(ctx context.Context, r *AuthorizationRequest, user banksia.UserID) (string, error) {
	if _, err := o.Check(ctx, r); err != nil {
		return "", err
	}
	code, now := newSecret(""), o.store.Now()
	actions, scope := ActionsOf(r.Scope)
	grant := banksia.OAuthGrant{ID: banksia.NewID[banksia.GrantID](now), ClientID: r.ClientID, UserID: user, Actions: actions, Scope: scope, RedirectURI: r.RedirectURI,
		CodeHash: hash(code), CodeChallenge: r.CodeChallenge, CodeExpiresAt: now.Add(codeLife), CreatedAt: now}
	err := o.store.Write(ctx, func(tx *store.Tx) error { return tx.InsertOAuthGrant(&grant) })
	return withQuery(r.RedirectURI, "code", code, "state", r.State), err
}

// BeginAtIssuer sends a user who is to allow something to the OpenID Connect
// issuer; the issuer sends the browser to callback.
func (o *OAuth) BeginAtIssuer(ctx context.Context, origin, callback string, r *AuthorizationRequest) (string, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("authorization request: %w", err)
	}
	return o.login.begin(ctx, origin, banksia.Login{RedirectURI: callback, AuthorizationRequest: string(text)})
}

// Return ends a sign-in at the issuer: it finds who signed in and what was asked.
func (o *OAuth) Return(ctx context.Context, state, code string) (user banksia.User, r *AuthorizationRequest, err error) {
	var login banksia.Login
	err = o.store.Write(ctx, func(tx *store.Tx) error {
		if login, err = tx.Login(hash(state)); err != nil {
			return err
		}
		return tx.DeleteLogin(login.StateHash)
	})
	if banksia.ErrorCode(err) == banksia.CodeNotFound || err == nil && login.AuthorizationRequest == "" {
		return user, nil, stale(err)
	}
	if err != nil {
		return user, nil, err
	}
	if err := json.Unmarshal([]byte(login.AuthorizationRequest), &r); err != nil {
		return user, nil, fmt.Errorf("authorization request: %w", err)
	}
	user, err = o.login.fromIssuer(ctx, &login, code, "")
	return user, r, err
}

// Consent is a text that proves, for ten minutes, that a user signed in at the
// issuer to answer a request.
func (o *OAuth) Consent(ctx context.Context, user banksia.UserID, r *AuthorizationRequest) (string, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("authorization request: %w", err)
	}
	state := newSecret("")
	err = o.store.Write(ctx, func(tx *store.Tx) error {
		login := banksia.Login{StateHash: hash(state), AuthorizationRequest: string(text), ExpiresAt: tx.Now().Add(LoginLife)}
		if err := tx.InsertLogin(&login); err != nil {
			return err
		}
		return tx.FinishLogin(login.StateHash, hash(newSecret("")), user)
	})
	return state, err
}

// Consented redeems the text of Consent, once.
func (o *OAuth) Consented(ctx context.Context, consent string) (user banksia.UserID, r *AuthorizationRequest, err error) {
	err = o.store.Write(ctx, func(tx *store.Tx) error {
		login, err := tx.Login(hash(consent))
		if err == nil && (login.UserID == nil || login.AuthorizationRequest == "") {
			err = banksia.NotFound("Consent")
		}
		if err != nil {
			return err
		}
		user = *login.UserID
		if err := json.Unmarshal([]byte(login.AuthorizationRequest), &r); err != nil {
			return err
		}
		return tx.DeleteLogin(login.StateHash)
	})
	if banksia.ErrorCode(err) == banksia.CodeNotFound {
		return user, nil, stale(err)
	}
	return user, r, err
}

// Tokens is what a program gets (RFC 6749, section 5.1).
type Tokens struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"` // seconds
	RefreshToken string `json:"refresh_token"`
	Scope        string `json:"scope"`
}

// Redeem turns an authorization code into tokens. A code works once; one that comes
// a second time was stolen from somebody: all tokens of the grant end (OAuth 2.1,
// section 4.1.3).
func (o *OAuth) Redeem(ctx context.Context, client, code, redirectURI, verifier string) (tokens Tokens, err error) {
	invalid := oauthError("invalid_grant", "the code is not valid, has expired, or was not given for this")
	refused := false
	err = o.store.Write(ctx, func(tx *store.Tx) error {
		grant, used, err := tx.UseOAuthCode(hash(code))
		if banksia.ErrorCode(err) == banksia.CodeNotFound {
			return invalid
		}
		if err != nil {
			return err
		}
		if refused = used || grant.ClientID != client || redirectURI != "" && grant.RedirectURI != redirectURI || tx.Now().After(grant.CodeExpiresAt) || !fits(grant.CodeChallenge, verifier); refused {
			if used {
				return tx.RevokeOAuthGrant(grant.ID)
			}
			return nil // the code is used up all the same
		}
		tokens, err = issue(tx, &grant)
		return err
	})
	if refused {
		return tokens, invalid
	}
	return tokens, err
}

// Refresh turns a refresh token into new tokens. One that comes a second time was
// stolen from somebody: all tokens of the grant end.
func (o *OAuth) Refresh(ctx context.Context, client, token string) (tokens Tokens, err error) {
	invalid := oauthError("invalid_grant", "the refresh token is not valid, was used, or has expired")
	stolen := false
	err = o.store.Write(ctx, func(tx *store.Tx) error {
		grant, used, err := tx.OAuthToken(hash(token), true)
		if banksia.ErrorCode(err) == banksia.CodeNotFound || err == nil && client != "" && grant.ClientID != client {
			return invalid
		}
		if err != nil {
			return err
		}
		if stolen = used; stolen {
			return tx.RevokeOAuthGrant(grant.ID)
		}
		if err := tx.UseOAuthToken(hash(token)); err != nil {
			return err
		}
		tokens, err = issue(tx, &grant)
		return err
	})
	if stolen {
		return tokens, invalid
	}
	return tokens, err
}

func issue(tx *store.Tx, grant *banksia.OAuthGrant) (Tokens, error) {
	tokens := Tokens{AccessToken: newSecret(accessPrefix), TokenType: "Bearer", ExpiresIn: int(accessLife / time.Second), RefreshToken: newSecret(refreshPrefix), Scope: grant.Scope}
	now := tx.Now()
	err := tx.InsertOAuthToken(grant.ID, hash(tokens.AccessToken), false, now.Add(accessLife))
	return tokens, errors.Join(err, tx.InsertOAuthToken(grant.ID, hash(tokens.RefreshToken), true, now.Add(refreshLife)))
}

// Revoke ends the grant of a token (RFC 7009); an unknown token is no error.
func (o *OAuth) Revoke(ctx context.Context, token string) error {
	return o.store.Write(ctx, func(tx *store.Tx) error { return tx.RevokeOAuthToken(hash(token)) })
}
