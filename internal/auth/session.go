package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/store"
)

// The life of a session's tokens (behaviour 21.8). A token is fresh for an hour;
// from half of that on an answer brings its successor. A client that was away for
// longer may come back within the grace, and gets one then.
const (
	tokenLife    = time.Hour
	sessionGrace = 7 * 24 * time.Hour
)

// tokenIssuer is the iss of every token of a session.
const tokenIssuer = "banksia"

type sessions struct {
	store *store.Store
	keys  *keyring
}

// newToken makes the token of a session: a JWT signed with HMAC-SHA-256.
func (s *sessions) newToken(id banksia.SessionID, user banksia.UserID) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: s.keys.signer().secret}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	now := s.store.Now()
	return jwt.Signed(signer).Claims(jwt.Claims{Issuer: tokenIssuer, Subject: user.String(), ID: id.String(),
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(tokenLife))}).Serialize()
}

// looksLikeToken tells a JWT from the other credentials.
func looksLikeToken(credential string) bool { return strings.Count(credential, ".") == 2 }

// scope reads a token. renewed is its successor, "" while it is fresh.
func (s *sessions) scope(ctx context.Context, credential string) (scope banksia.Scope, renewed string, err error) {
	invalid := func(message string, err error) error {
		return &banksia.Error{Code: banksia.CodeUnauthorized, Message: message, Err: err}
	}
	token, err := jwt.ParseSigned(credential, []jose.SignatureAlgorithm{jose.HS256})
	if err != nil {
		return scope, "", invalid("The token is not valid.", err)
	}
	var claims jwt.Claims
	if !s.keys.verify(ctx, func(key *signingKey) bool { err = token.Claims(key.secret, &claims); return err == nil }) {
		return scope, "", invalid("The token is not valid.", err)
	}
	id, err := banksia.ParseID[banksia.SessionID](claims.ID)
	if err != nil || claims.Issuer != tokenIssuer || claims.IssuedAt == nil {
		return scope, "", invalid("The token is not valid.", errors.Join(err, errors.New("other claims")))
	}
	now, issued := s.store.Now(), claims.IssuedAt.Time()
	if now.After(issued.Add(sessionGrace)) {
		return scope, "", invalid("JWT has expired", nil) // behaviour 3.6
	}
	user, err := s.store.SessionUser(ctx, id)
	if err != nil {
		return scope, "", err
	}
	if now.After(issued.Add(tokenLife / 2)) {
		if err := s.store.ExtendSession(ctx, id, now.Add(sessionGrace)); err != nil {
			return scope, "", fmt.Errorf("extend session: %w", err)
		}
		if renewed, err = s.newToken(id, user); err != nil {
			return scope, "", err
		}
	}
	return banksia.Scope{UserID: user, Actions: banksia.Actions, FirstParty: true}, renewed, nil
}

// begin starts a session within a transaction and returns its first token.
func (s *sessions) begin(tx *store.Tx, user banksia.UserID) (token string, err error) {
	now := tx.Now()
	session := banksia.Session{ID: banksia.NewID[banksia.SessionID](now), UserID: user, CreatedAt: now, ExpiresAt: now.Add(sessionGrace)}
	if err := tx.InsertSession(&session); err != nil {
		return "", err
	}
	return s.newToken(session.ID, user)
}
