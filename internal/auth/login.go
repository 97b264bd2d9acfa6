package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/store"
)

// LoginConfig says how people sign in.
type LoginConfig struct {
	// RedirectURIs are where a sign-in may lead back to, beside this machine and the
	// usual paths of the server's own origin.
	RedirectURIs []string
	// Issuer is the URL of an OpenID Connect provider; "": the built-in page.
	Issuer       string
	ClientID     string
	ClientSecret string
	// CloseDoor keeps people whom the issuer knows but the server does not from
	// getting an account by signing in.
	CloseDoor bool
}

// LoginLife is how long a sign-in may take.
const LoginLife = 10 * time.Minute

// LoginPath is the built-in sign-in page.
const LoginPath = "/login"

// ownPaths lead back to clients that run at the origin of the server (behaviour
// 21.9).
var ownPaths = []string{"/auth/login", "/api/oauth/mobile-redirect"}

// Login signs people in: on the built-in page with a password, or at an OpenID
// Connect issuer.
type Login struct {
	cfg      LoginConfig
	store    *store.Store
	sessions *sessions
	guesses  guesses

	mu       sync.Mutex
	provider *oidc.Provider
}

// NewLogin returns the sign-in of a server.
func NewLogin(cfg LoginConfig, s *store.Store, a *Authenticator) *Login {
	return &Login{cfg: cfg, store: s, sessions: a.sessions, guesses: guesses{now: s.Now}}
}

// External tells whether an issuer signs people in, not the built-in page.
func (l *Login) External() bool { return l.cfg.Issuer != "" }

// issuerTime bounds each call of the issuer.
const issuerTime = 10 * time.Second

// toIssuer makes calls of the issuer follow no redirect and end in time. The issuer
// of the settings, and what its description names, is all that the server ever calls
// to sign people in.
func toIssuer(ctx context.Context) context.Context {
	return oidc.ClientContext(ctx, &http.Client{Timeout: issuerTime, CheckRedirect: func(*http.Request, []*http.Request) error {
		return errors.New("the issuer answers with a redirect")
	}})
}

// issuer is the provider, whose description is read on first use: the server
// starts without it.
func (l *Login) issuer(ctx context.Context) (*oidc.Provider, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.provider == nil {
		provider, err := oidc.NewProvider(toIssuer(context.WithoutCancel(ctx)), l.cfg.Issuer)
		if err != nil {
			return nil, &banksia.Error{Code: banksia.CodeUnavailable, Message: "The sign-in service cannot be reached.", Retry: 5 * time.Second, Err: err}
		}
		l.provider = provider
	}
	return l.provider, nil
}

func (l *Login) client(provider *oidc.Provider, redirectURI string) *oauth2.Config {
	return &oauth2.Config{ClientID: l.cfg.ClientID, ClientSecret: l.cfg.ClientSecret, Endpoint: provider.Endpoint(), RedirectURL: redirectURI, Scopes: []string{oidc.ScopeOpenID, "email", "profile"}}
}

// checkRedirect says whether a sign-in may lead back to a URI (behaviour 5.2): one
// of the settings, this machine (RFC 8252, section 7.3), or the usual paths of the
// origin.
func (l *Login) checkRedirect(redirectURI, origin string) error {
	u, err := url.Parse(redirectURI)
	if err == nil && u.Scheme != "" && u.Fragment == "" && len(redirectURI) <= 2000 {
		if slices.Contains(l.cfg.RedirectURIs, redirectURI) || slices.ContainsFunc(ownPaths, func(path string) bool { return redirectURI == origin+path }) || isLoopback(u) {
			return nil
		}
	}
	return banksia.Invalid("query", "redirect_uri", "is not registered with this server")
}

func isLoopback(u *url.URL) bool {
	name := u.Hostname()
	return u.Scheme == "http" && u.User == nil && (name == "localhost" || name == "127.0.0.1" || name == "::1")
}

// Begin starts a sign-in and returns the URL that the browser goes to (behaviour
// 5.1). A challenge is that of PKCE (RFC 7636) with the method S256; "" is none.
func (l *Login) Begin(ctx context.Context, origin, redirectURI, challenge, method string) (string, error) {
	if err := l.checkRedirect(redirectURI, origin); err != nil {
		return "", err
	}
	if (challenge == "") != (method == "") || method != "" && method != "S256" {
		return "", banksia.Invalid("query", "code_challenge_method", "must be S256, together with code_challenge")
	}
	login := banksia.Login{RedirectURI: redirectURI}
	if challenge != "" {
		if !isChallenge(challenge) {
			return "", banksia.Invalid("query", "code_challenge", "is not a SHA-256 in base64url")
		}
		login.CodeChallenge = &challenge
	}
	return l.begin(ctx, origin, login)
}

// isChallenge tells whether a text has the form of an S256 challenge.
func isChallenge(text string) bool {
	sum, err := base64.RawURLEncoding.DecodeString(text)
	return err == nil && len(sum) == sha256.Size
}

func (l *Login) begin(ctx context.Context, origin string, login banksia.Login) (string, error) {
	state := newSecret("")
	login.StateHash, login.Nonce, login.ExpiresAt = hash(state), newSecret(""), l.store.Now().Add(LoginLife)
	target := origin + LoginPath + "?state=" + state
	if l.External() {
		provider, err := l.issuer(ctx)
		if err != nil {
			return "", err
		}
		options := []oauth2.AuthCodeOption{oidc.Nonce(login.Nonce)}
		if login.CodeChallenge != nil {
			options = append(options, oauth2.SetAuthURLParam("code_challenge", *login.CodeChallenge), oauth2.SetAuthURLParam("code_challenge_method", "S256"))
		}
		target = l.client(provider, login.RedirectURI).AuthCodeURL(state, options...)
	}
	return target, l.store.Write(ctx, func(tx *store.Tx) error { return tx.InsertLogin(&login) })
}

// stale is what becomes of a state that is unknown, used, or too old (behaviour
// 5.5).
func stale(err error) error {
	return &banksia.Error{Code: banksia.CodeInvalidRequest, Message: "This sign-in has expired or was used already. Please start it again.", Final: true, Err: err}
}

// Pending finds a sign-in that waits for its user, who is at origin. Whoever began
// it may have said another name of the server, to have the user sent there.
func (l *Login) Pending(ctx context.Context, origin, state string) (login banksia.Login, err error) {
	err = l.store.Read(ctx, func(tx *store.Tx) error {
		login, err = tx.Login(hash(state))
		return err
	})
	if banksia.ErrorCode(err) == banksia.CodeNotFound {
		return login, stale(err)
	}
	if err == nil && !l.External() {
		if wrong := l.checkRedirect(login.RedirectURI, origin); wrong != nil {
			err = &banksia.Error{Code: banksia.CodeInvalidRequest, Message: "This sign-in was begun at another address of this server. Please start it again.", Final: true, Err: wrong}
		}
	}
	return login, err
}

// ErrWrongPassword says that address and password do not go together.
var ErrWrongPassword = errors.New("wrong address or password")

// TooManyGuessesError says how long an address has to wait after wrong passwords.
type TooManyGuessesError struct{ Wait time.Duration }

func (e *TooManyGuessesError) Error() string { return fmt.Sprintf("too many guesses: wait %s", e.Wait) }

// CheckPassword finds the user whom address and password belong to. from is where
// the guess comes from. It fails with ErrWrongPassword or a TooManyGuessesError.
func (l *Login) CheckPassword(ctx context.Context, from, email, password string) (user banksia.User, err error) {
	keys := []string{"from " + from, "for " + strings.ToLower(email)}
	if wait := l.guesses.begin(keys); wait > 0 {
		return user, &TooManyGuessesError{wait}
	}
	var known string
	err = l.store.Read(ctx, func(tx *store.Tx) error {
		if user, err = tx.UserByEmail(email); err == nil {
			known, err = tx.PasswordHash(user.ID)
		}
		return err
	})
	if err != nil && banksia.ErrorCode(err) != banksia.CodeNotFound {
		return user, err
	}
	if !checkPassword(known, password) {
		return banksia.User{}, ErrWrongPassword
	}
	l.guesses.right(keys)
	return user, nil
}

// Finish lets a user whose password was checked in, and returns the URL that the
// browser goes to, with the code for the client.
func (l *Login) Finish(ctx context.Context, state string, user banksia.UserID) (string, error) {
	code := newSecret("")
	var login banksia.Login
	err := l.store.Write(ctx, func(tx *store.Tx) (err error) {
		if login, err = tx.Login(hash(state)); err != nil {
			return err
		}
		return tx.FinishLogin(login.StateHash, hash(code), user)
	})
	if banksia.ErrorCode(err) == banksia.CodeNotFound {
		return "", stale(err)
	}
	if err != nil {
		return "", err
	}
	return withQuery(login.RedirectURI, "code", code, "state", state), nil
}

// withQuery adds parameters to a URL.
func withQuery(target string, pairs ...string) string {
	u, err := url.Parse(target)
	if err != nil {
		return target
	}
	query := u.Query()
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			query.Set(pairs[i], pairs[i+1])
		}
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// Exchange ends a sign-in: what the browser brought back to the client becomes a
// session (behaviour 5.4). It returns the token of the session. A state works once,
// whatever comes with it.
func (l *Login) Exchange(ctx context.Context, state, code, verifier, problem string) (token string, user banksia.User, err error) {
	var login banksia.Login
	err = l.store.Write(ctx, func(tx *store.Tx) error {
		if login, err = tx.Login(hash(state)); err != nil {
			return err
		}
		return tx.DeleteLogin(login.StateHash)
	})
	if banksia.ErrorCode(err) == banksia.CodeNotFound || err == nil && login.AuthorizationRequest != "" {
		return "", user, stale(err)
	}
	if err != nil {
		return "", user, err
	}
	refused := func(message string, err error) error {
		return &banksia.Error{Code: banksia.CodeInvalidRequest, Message: message, Final: true, Err: err}
	}
	if problem != "" {
		return "", user, refused("The sign-in was refused. Please start it again.", fmt.Errorf("provider: %q", problem))
	}
	if login.CodeChallenge != nil && !fits(*login.CodeChallenge, verifier) {
		return "", user, refused("The code_verifier does not fit the code_challenge.", nil)
	}
	if l.External() {
		user, err = l.fromIssuer(ctx, &login, code, verifier)
	} else if login.CodeHash == nil || login.UserID == nil || subtle.ConstantTimeCompare(login.CodeHash, hash(code)) != 1 {
		return "", user, refused("The code is not valid. Please start the sign-in again.", nil)
	} else {
		user, err = l.store.GetUser(ctx, *login.UserID)
	}
	if err != nil {
		return "", user, err
	}
	l.sessions.keys.refresh(ctx)
	err = l.store.Write(ctx, func(tx *store.Tx) error {
		token, err = l.sessions.begin(tx, user.ID)
		return err
	})
	return token, user, err
}

// fits checks a PKCE verifier (RFC 7636, section 4.6).
func fits(challenge, verifier string) bool {
	sum := sha256.Sum256([]byte(verifier))
	return verifier != "" && subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(challenge)) == 1
}

// fromIssuer redeems a code at the issuer and finds, or makes, the user whom the ID
// token names.
func (l *Login) fromIssuer(ctx context.Context, login *banksia.Login, code, verifier string) (user banksia.User, err error) {
	refused := func(err error) error {
		return &banksia.Error{Code: banksia.CodeInvalidRequest, Message: "The sign-in service did not accept the code. Please start the sign-in again.", Final: true, Err: err}
	}
	provider, err := l.issuer(ctx)
	if err != nil {
		return user, err
	}
	var options []oauth2.AuthCodeOption
	if verifier != "" {
		options = append(options, oauth2.VerifierOption(verifier))
	}
	ctx = toIssuer(ctx)
	tokens, err := l.client(provider, login.RedirectURI).Exchange(ctx, code, options...)
	if err != nil {
		return user, refused(err)
	}
	raw, _ := tokens.Extra("id_token").(string)
	id, err := provider.Verifier(&oidc.Config{ClientID: l.cfg.ClientID}).Verify(ctx, raw)
	if err != nil {
		return user, refused(err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(login.Nonce)) != 1 {
		return user, refused(errors.New("another nonce"))
	}
	var profile struct {
		Email     string `json:"email"`
		Verified  bool   `json:"email_verified"`
		FirstName string `json:"given_name"`
		LastName  string `json:"family_name"`
	}
	info, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(tokens)) // some issuers keep the ID token small
	if err == nil && info.Subject == id.Subject {
		err = info.Claims(&profile)
	} else {
		err = id.Claims(&profile)
	}
	if err != nil {
		return user, refused(err)
	}
	subject := id.Issuer + " " + id.Subject
	err = l.store.Write(ctx, func(tx *store.Tx) error {
		user, err = tx.UserBySubject(subject)
		if err == nil || banksia.ErrorCode(err) != banksia.CodeNotFound {
			return err
		}
		email := strings.ToLower(profile.Email)
		if profile.Verified && email != "" { // an account that was made before for this address
			user, err = tx.UserByEmail(email)
			if err == nil && user.OIDCSubject == nil {
				user.OIDCSubject, user.IsVerified = &subject, true
				return tx.UpdateUser(&user)
			}
			if err != nil && banksia.ErrorCode(err) != banksia.CodeNotFound {
				return err
			}
		}
		if l.cfg.CloseDoor {
			return banksia.Errorf(banksia.CodeForbidden, "There is no account for you on this server.")
		}
		now := tx.Now()
		user = banksia.User{ID: banksia.NewID[banksia.UserID](now), IsActive: true, IsVerified: profile.Verified, OIDCSubject: &subject, CreatedAt: now, UpdatedAt: now,
			FirstName: known(profile.FirstName), LastName: known(profile.LastName)}
		// An address that is not verified, or is another's, proves nothing.
		if _, err := tx.UserByEmail(email); banksia.ErrorCode(err) == banksia.CodeNotFound {
			user.Email = known(email)
		} else if err != nil {
			return err
		}
		return tx.InsertUser(&user)
	})
	return user, err
}

func known(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// LogoutURL is where a browser goes to sign out: that of the issuer, if it has one,
// else the sign-in page.
func (l *Login) LogoutURL(ctx context.Context, origin string) (string, error) {
	if !l.External() {
		return origin + LoginPath + "?signed_out=1", nil
	}
	provider, err := l.issuer(ctx)
	if err != nil {
		return "", err
	}
	var discovery struct {
		EndSession string `json:"end_session_endpoint"`
	}
	if err := provider.Claims(&discovery); err != nil || discovery.EndSession == "" {
		return l.cfg.Issuer, nil
	}
	return discovery.EndSession, nil
}

// guesses slows down who tries passwords: after five wrong ones a key waits twice as
// long after each, up to a quarter of an hour.
type guesses struct {
	now func() time.Time
	mu  sync.Mutex
	by  map[digest]guess
}

// digest stands for a key, which is as long as a stranger likes.
type digest [sha256.Size]byte

func digests(keys []string) []digest {
	all := make([]digest, len(keys))
	for i, key := range keys {
		all[i] = sha256.Sum256([]byte(key))
	}
	return all
}

type guess struct {
	wrong int
	until time.Time
}

const (
	freeGuesses = 5
	maxWait     = 15 * time.Minute
	maxGuessers = 10_000
)

// begin tells how long to wait before a guess; 0: it may be made now. Until it is
// known to be right it counts as wrong, so that many at once are not free.
func (g *guesses) begin(keys []string) (wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now, known := g.now(), digests(keys)
	for _, key := range known {
		wait = max(wait, g.by[key].until.Sub(now))
	}
	if wait > 0 {
		return wait
	}
	if g.by == nil || len(g.by) > maxGuessers {
		kept := map[digest]guess{}
		for key, one := range g.by {
			if one.until.After(now) && len(kept) < maxGuessers/2 {
				kept[key] = one
			}
		}
		g.by = kept
	}
	for _, key := range known {
		one := g.by[key]
		one.wrong++
		if over := one.wrong - freeGuesses; over >= 0 {
			one.until = now.Add(min(maxWait, time.Second<<min(over, 20)))
		}
		g.by[key] = one
	}
	return 0
}

func (g *guesses) right(keys []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, key := range digests(keys) {
		delete(g.by, key)
	}
}
