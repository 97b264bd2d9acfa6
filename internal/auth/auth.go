// Package auth knows who calls and what a signed URL allows: API keys, the
// credential of the local machine, and the signatures of media URLs.
package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/store"
)

// keyPrefix begins every API key (behaviour 4.1).
const keyPrefix = "apikey_"

// NewAPIKey makes a key and returns its secret, which cannot be read again: the
// store keeps only its SHA-256. The secret has 256 random bits, so a slow hash
// would add nothing.
func NewAPIKey(ctx context.Context, s *store.Store, user banksia.UserID, name string, actions []banksia.Action, libraries []banksia.LibraryID) (key banksia.APIKey, secret string, err error) {
	secret = newSecret(keyPrefix)
	now := s.Now()
	key = banksia.APIKey{ID: banksia.NewID[banksia.APIKeyID](now), UserID: user, Name: &name, IsActive: true, Actions: actions, LibraryIDs: libraries, CreatedAt: now}
	err = s.Write(ctx, func(tx *store.Tx) error { return tx.InsertAPIKey(&key, hash(secret)) })
	return key, secret, err
}

// NewFirstAPIKey makes a key that may do everything, unless the user has made keys
// before: made is then false. Of several servers that start at once, one makes it.
func NewFirstAPIKey(ctx context.Context, s *store.Store, user banksia.UserID) (secret string, made bool, err error) {
	secret = newSecret(keyPrefix)
	now, name := s.Now(), "first key"
	key := banksia.APIKey{ID: banksia.NewID[banksia.APIKeyID](now), UserID: user, Name: &name, IsActive: true, Actions: banksia.Actions, CreatedAt: now}
	err = s.Write(ctx, func(tx *store.Tx) error {
		some, err := tx.HasAPIKeys(user)
		if made = err == nil && !some; !made {
			return err
		}
		return tx.InsertAPIKey(&key, hash(secret))
	})
	return secret, made, err
}

func hash(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// ParseActions reads a comma-separated list of actions; any other verb also needs
// read (behaviour 4.3).
func ParseActions(text string) ([]banksia.Action, error) {
	var actions []banksia.Action
	for _, name := range strings.Split(text, ",") {
		action := banksia.Action(strings.TrimSpace(name))
		if !slices.Contains(banksia.Actions, action) {
			return nil, fmt.Errorf("%q is not one of read, write, delete, delete_permanently", name)
		}
		if !slices.Contains(actions, action) {
			actions = append(actions, action)
		}
	}
	if !slices.Contains(actions, banksia.Read) {
		return nil, fmt.Errorf("every key needs read")
	}
	return actions, nil
}

// Authenticator turns credentials into scopes. Keys are looked up on every
// request, so that a revoked one fails at once, whoever revoked it.
type Authenticator struct {
	store    *store.Store
	logger   *slog.Logger
	sessions *sessions

	// local is a credential of this process for the owner of the data folder.
	local      string
	localScope banksia.Scope

	mu   sync.Mutex
	used map[banksia.APIKeyID]time.Time // not stored yet
}

// NewAuthenticator returns an authenticator over the keys, sessions and grants in
// the store. The first signing key of the sessions is made on first use.
func NewAuthenticator(ctx context.Context, s *store.Store, logger *slog.Logger) (*Authenticator, error) {
	keys, err := openKeyring(ctx, s, sessionKeys)
	if err != nil {
		return nil, err
	}
	return &Authenticator{store: s, logger: logger, sessions: &sessions{s, keys}, used: map[banksia.APIKeyID]time.Time{}}, nil
}

// AllowLocal makes a credential that has the whole scope of a user as long as
// this process lives.
func (a *Authenticator) AllowLocal(user banksia.UserID) (credential string) {
	a.local = newSecret("local_")
	a.localScope = banksia.Scope{UserID: user, Actions: banksia.Actions, FirstParty: true}
	return a.local
}

// Scope reads the value of an Authorization header: an API key, an OAuth access
// token, or the token of a session, of which renewed is the successor, "" while it
// is fresh (behaviour 4.1, 4.8). CodeUnauthorized when it is not a credential that
// works now.
func (a *Authenticator) Scope(ctx context.Context, authorization string) (scope banksia.Scope, renewed string, err error) {
	scheme, credential, _ := strings.Cut(authorization, " ")
	credential = strings.TrimSpace(credential)
	switch {
	case !strings.EqualFold(scheme, "Bearer") || credential == "":
		return scope, "", banksia.Errorf(banksia.CodeUnauthorized, "Send a credential as: Authorization: Bearer KEY.")
	case a.local != "" && subtle.ConstantTimeCompare([]byte(credential), []byte(a.local)) == 1:
		return a.localScope, "", nil
	case looksLikeToken(credential):
		return a.sessions.scope(ctx, credential)
	case strings.HasPrefix(credential, accessPrefix):
		grant, err := a.store.OAuthGrantOfToken(ctx, hash(credential))
		if banksia.ErrorCode(err) == banksia.CodeNotFound {
			err = banksia.Errorf(banksia.CodeUnauthorized, "The access token is not valid, or has expired.")
		}
		return banksia.Scope{UserID: grant.UserID, Actions: grant.Actions}, "", err
	}
	key, err := a.store.APIKeyByHash(ctx, hash(credential))
	if err != nil {
		return scope, "", err
	}
	a.mu.Lock()
	a.used[key.ID] = a.store.Now()
	a.mu.Unlock()
	return banksia.Scope{UserID: key.UserID, Actions: key.Actions, LibraryIDs: key.LibraryIDs}, "", nil
}

// flushInterval is how late last_used_at may be.
const flushInterval = 10 * time.Second

// Run stores now and then when keys were last used, until ctx ends.
func (a *Authenticator) Run(ctx context.Context) {
	ticker := time.NewTicker(flushInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
		a.Flush(context.WithoutCancel(ctx))
		if ctx.Err() != nil {
			return
		}
	}
}

// Flush stores when keys were last used.
func (a *Authenticator) Flush(ctx context.Context) {
	a.mu.Lock()
	used := a.used
	a.used = map[banksia.APIKeyID]time.Time{}
	a.mu.Unlock()
	if len(used) == 0 {
		return
	}
	if err := a.store.TouchAPIKeys(ctx, used); err != nil {
		a.logger.Error("store the last use of API keys", "error", err)
	}
}
