package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/banksia-photos/banksia"
)

// ListUsers reads everybody, oldest first.
func (s *Store) ListUsers(ctx context.Context) (users []banksia.User, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		ids, err := idsFrom[banksia.UserID](tx, `SELECT id FROM users ORDER BY created_at, id`)
		for _, id := range ids {
			if err == nil {
				var u banksia.User
				u, err = tx.User(id)
				users = append(users, u)
			}
		}
		return err
	})
	return users, err
}

// UserByEmail reads a user by the address, in any case. A missing one is a
// banksia.Error with CodeNotFound.
func (tx *Tx) UserByEmail(email string) (banksia.User, error) {
	if !isText(email) {
		return banksia.User{}, banksia.NotFound("User")
	}
	return tx.user(`WHERE email = $1`, strings.ToLower(email))
}

// UserBySubject reads a user by the account at an OIDC issuer.
func (tx *Tx) UserBySubject(subject string) (banksia.User, error) {
	return tx.user(`WHERE oidc_subject = $1`, subject)
}

// UpdateUser stores the profile of a user.
func (tx *Tx) UpdateUser(u *banksia.User) error {
	u.UpdatedAt = tx.Now()
	_, err := tx.Exec(`UPDATE users SET email = $1, first_name = $2, last_name = $3, is_active = $4, is_verified = $5, storage_limit_bytes = $6, timezone = $7, oidc_subject = $8, updated_at = $9 WHERE id = $10`,
		u.Email, u.FirstName, u.LastName, u.IsActive, u.IsVerified, u.StorageLimitBytes, u.Timezone, u.OIDCSubject, u.UpdatedAt.UnixMicro(), u.ID)
	if err != nil {
		return fmt.Errorf("update user: %w", err)
	}
	return nil
}

// PasswordHash reads the hash of a user's password; "" when there is none.
func (tx *Tx) PasswordHash(id banksia.UserID) (string, error) {
	var hash *string
	err := tx.QueryRow(`SELECT password_hash FROM users WHERE id = $1`, id).Scan(&hash)
	if err != nil || hash == nil {
		return "", err
	}
	return *hash, nil
}

// SetPasswordHash stores the hash of a new password and ends the user's sessions.
func (tx *Tx) SetPasswordHash(id banksia.UserID, hash string) error {
	_, err := tx.Exec(`UPDATE users SET password_hash = $1 WHERE id = $2`, hash, id)
	if err == nil {
		_, err = tx.Exec(`DELETE FROM sessions WHERE user_id = $1`, id)
	}
	if err != nil {
		return fmt.Errorf("set password: %w", err)
	}
	return nil
}

// InsertLogin keeps a sign-in that begins, and forgets those that nobody finished.
func (tx *Tx) InsertLogin(l *banksia.Login) error {
	_, err := tx.Exec(`DELETE FROM logins WHERE expires_at < $1`, tx.Now().UnixMicro())
	if err == nil {
		_, err = tx.Exec(`INSERT INTO logins (state_hash, redirect_uri, code_challenge, nonce, authorization_request, expires_at) VALUES ($1, $2, $3, $4, $5, $6)`,
			l.StateHash, l.RedirectURI, l.CodeChallenge, l.Nonce, textOrNil(l.AuthorizationRequest), l.ExpiresAt.UnixMicro())
	}
	if err != nil {
		return fmt.Errorf("insert login: %w", err)
	}
	return nil
}

// Login reads a sign-in that has begun and not expired. A missing one is a
// banksia.Error with CodeNotFound.
func (tx *Tx) Login(stateHash []byte) (l banksia.Login, err error) {
	var user sql.Null[banksia.UserID]
	var request *string
	var expires int64
	err = tx.QueryRow(`SELECT redirect_uri, code_challenge, nonce, code_hash, user_id, authorization_request, expires_at FROM logins WHERE state_hash = $1 AND expires_at >= $2`, stateHash, tx.Now().UnixMicro()).
		Scan(&l.RedirectURI, &l.CodeChallenge, &l.Nonce, &l.CodeHash, &user, &request, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return l, banksia.NotFound("Login")
	}
	if err != nil {
		return l, fmt.Errorf("login: %w", err)
	}
	l.StateHash, l.UserID, l.ExpiresAt = stateHash, pointer(user), timeOf(expires)
	if request != nil {
		l.AuthorizationRequest = *request
	}
	return l, nil
}

// FinishLogin stores who signed in and the hash of the code that proves it.
func (tx *Tx) FinishLogin(stateHash, codeHash []byte, user banksia.UserID) error {
	_, err := tx.Exec(`UPDATE logins SET code_hash = $1, user_id = $2 WHERE state_hash = $3`, codeHash, user, stateHash)
	if err != nil {
		return fmt.Errorf("finish login: %w", err)
	}
	return nil
}

// DeleteLogin ends a sign-in: its state works once.
func (tx *Tx) DeleteLogin(stateHash []byte) error {
	_, err := tx.Exec(`DELETE FROM logins WHERE state_hash = $1`, stateHash)
	if err != nil {
		return fmt.Errorf("delete login: %w", err)
	}
	return nil
}

// InsertSession keeps a session, and forgets those that have expired.
func (tx *Tx) InsertSession(s *banksia.Session) error {
	_, err := tx.Exec(`DELETE FROM sessions WHERE expires_at < $1`, tx.Now().UnixMicro())
	if err == nil {
		_, err = tx.Exec(`INSERT INTO sessions (id, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4)`, s.ID, s.UserID, s.CreatedAt.UnixMicro(), s.ExpiresAt.UnixMicro())
	}
	if err != nil {
		return fmt.Errorf("insert session: %w", err)
	}
	return nil
}

// SessionUser tells whose session it is, if it has not ended and the user is
// active. CodeUnauthorized otherwise.
func (s *Store) SessionUser(ctx context.Context, id banksia.SessionID) (user banksia.UserID, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		err := tx.QueryRow(`SELECT s.user_id FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = $1 AND s.expires_at >= $2 AND u.is_active = TRUE`, id, tx.Now().UnixMicro()).Scan(&user)
		if errors.Is(err, sql.ErrNoRows) {
			return banksia.Errorf(banksia.CodeUnauthorized, "The session has ended. Sign in again.")
		}
		return err
	})
	return user, err
}

// ExtendSession moves the end of a session.
func (s *Store) ExtendSession(ctx context.Context, id banksia.SessionID, until time.Time) error {
	return s.Write(ctx, func(tx *Tx) error {
		_, err := tx.Exec(`UPDATE sessions SET expires_at = $1 WHERE id = $2`, until.UnixMicro(), id)
		return err
	})
}

// InsertOAuthClient registers a program.
func (tx *Tx) InsertOAuthClient(c *banksia.OAuthClient) error {
	uris, err := json.Marshal(c.RedirectURIs)
	if err == nil {
		_, err = tx.Exec(`INSERT INTO oauth_clients (id, name, redirect_uris, created_at) VALUES ($1, $2, $3, $4)`, c.ID, c.Name, string(uris), c.CreatedAt.UnixMicro())
	}
	if err != nil {
		return fmt.Errorf("insert OAuth client: %w", err)
	}
	return nil
}

// CountOAuthClients tells how many programs are registered.
func (tx *Tx) CountOAuthClients() (n int, err error) {
	err = tx.QueryRow(`SELECT COUNT(*) FROM oauth_clients`).Scan(&n)
	return n, err
}

// DeleteUnusedOAuthClients forgets the programs that were registered before a time
// and that nobody allowed anything.
func (tx *Tx) DeleteUnusedOAuthClients(before time.Time) (removed int, err error) {
	result, err := tx.Exec(`DELETE FROM oauth_clients WHERE created_at < $1 AND NOT EXISTS (SELECT 1 FROM oauth_grants WHERE client_id = oauth_clients.id)`, before.UnixMicro())
	if err != nil {
		return 0, fmt.Errorf("delete unused OAuth clients: %w", err)
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// OAuthClient reads a registered program. A missing one is a banksia.Error with
// CodeNotFound.
func (tx *Tx) OAuthClient(id string) (c banksia.OAuthClient, err error) {
	if !isText(id) {
		return c, banksia.NotFound("Client")
	}
	var uris string
	var created int64
	err = tx.QueryRow(`SELECT id, name, redirect_uris, created_at FROM oauth_clients WHERE id = $1`, id).Scan(&c.ID, &c.Name, &uris, &created)
	if errors.Is(err, sql.ErrNoRows) {
		return c, banksia.NotFound("Client")
	}
	if err == nil {
		c.CreatedAt = timeOf(created)
		err = json.Unmarshal([]byte(uris), &c.RedirectURIs)
	}
	return c, err
}

// InsertOAuthGrant keeps what a user allowed a program.
func (tx *Tx) InsertOAuthGrant(g *banksia.OAuthGrant) error {
	_, err := tx.Exec(`INSERT INTO oauth_grants (id, client_id, user_id, actions, scope, redirect_uri, code_hash, code_challenge, code_expires_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		g.ID, g.ClientID, g.UserID, joinActions(g.Actions), g.Scope, g.RedirectURI, g.CodeHash, g.CodeChallenge, g.CodeExpiresAt.UnixMicro(), g.CreatedAt.UnixMicro())
	if err != nil {
		return fmt.Errorf("insert OAuth grant: %w", err)
	}
	return nil
}

const grantColumns = `g.id, g.client_id, g.user_id, g.actions, g.scope, g.redirect_uri, g.code_challenge, g.code_expires_at, g.created_at`

func scanGrant(row Row, more ...any) (g banksia.OAuthGrant, err error) {
	var actions string
	var expires, created int64
	err = row.Scan(append([]any{&g.ID, &g.ClientID, &g.UserID, &actions, &g.Scope, &g.RedirectURI, &g.CodeChallenge, &expires, &created}, more...)...)
	if errors.Is(err, sql.ErrNoRows) {
		return g, banksia.NotFound("Grant")
	}
	g.Actions, g.CodeExpiresAt, g.CreatedAt = splitActions(actions), timeOf(expires), timeOf(created)
	return g, err
}

// UseOAuthCode finds the grant of an authorization code, which works once, and tells
// whether it was used before. A missing one is a banksia.Error with CodeNotFound.
func (tx *Tx) UseOAuthCode(codeHash []byte) (g banksia.OAuthGrant, used bool, err error) {
	g, err = scanGrant(tx.QueryRow(`SELECT `+grantColumns+` FROM oauth_grants g WHERE g.code_hash = $1`, codeHash))
	if err == nil {
		used = g.CodeExpiresAt.UnixMicro() == 0
		_, err = tx.Exec(`UPDATE oauth_grants SET code_expires_at = 0 WHERE id = $1`, g.ID)
	}
	return g, used, err
}

// InsertOAuthToken keeps the hash of a token, and forgets those that have expired.
func (tx *Tx) InsertOAuthToken(grant banksia.GrantID, tokenHash []byte, refresh bool, expires time.Time) error {
	_, err := tx.Exec(`DELETE FROM oauth_tokens WHERE expires_at < $1`, tx.Now().UnixMicro())
	if err == nil {
		_, err = tx.Exec(`INSERT INTO oauth_tokens (token_hash, grant_id, refresh, used, expires_at) VALUES ($1, $2, $3, FALSE, $4)`, tokenHash, grant, refresh, expires.UnixMicro())
	}
	if err != nil {
		return fmt.Errorf("insert OAuth token: %w", err)
	}
	return nil
}

// OAuthToken finds the grant of a token that has not expired, and tells whether the
// token was used before. A missing one is a banksia.Error with CodeNotFound.
func (tx *Tx) OAuthToken(tokenHash []byte, refresh bool) (g banksia.OAuthGrant, used bool, err error) {
	g, err = scanGrant(tx.QueryRow(`SELECT `+grantColumns+`, t.used FROM oauth_tokens t JOIN oauth_grants g ON g.id = t.grant_id JOIN users u ON u.id = g.user_id
		WHERE t.token_hash = $1 AND t.refresh = $2 AND t.expires_at >= $3 AND u.is_active = TRUE`, tokenHash, refresh, tx.Now().UnixMicro()), &used)
	return g, used, err
}

// OAuthGrantOfToken finds the grant of any token that has not expired.
func (s *Store) OAuthGrantOfToken(ctx context.Context, tokenHash []byte) (g banksia.OAuthGrant, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		g, _, err = tx.OAuthToken(tokenHash, false)
		return err
	})
	return g, err
}

// UseOAuthToken marks a refresh token as used.
func (tx *Tx) UseOAuthToken(tokenHash []byte) error {
	_, err := tx.Exec(`UPDATE oauth_tokens SET used = TRUE WHERE token_hash = $1`, tokenHash)
	return err
}

// RevokeOAuthGrant deletes the tokens of a grant.
func (tx *Tx) RevokeOAuthGrant(id banksia.GrantID) error {
	_, err := tx.Exec(`DELETE FROM oauth_tokens WHERE grant_id = $1`, id)
	if err != nil {
		return fmt.Errorf("revoke OAuth grant: %w", err)
	}
	return nil
}

// RevokeOAuthToken deletes the tokens of the grant that a token belongs to; an
// unknown token is no error.
func (tx *Tx) RevokeOAuthToken(tokenHash []byte) error {
	_, err := tx.Exec(`DELETE FROM oauth_tokens WHERE grant_id IN (SELECT grant_id FROM oauth_tokens WHERE token_hash = $1)`, tokenHash)
	if err != nil {
		return fmt.Errorf("revoke OAuth token: %w", err)
	}
	return nil
}

// RenameAPIKey changes the name of a key of a user and reads it.
func (tx *Tx) RenameAPIKey(user banksia.UserID, id banksia.APIKeyID, name string) (key banksia.APIKey, err error) {
	if _, err := tx.Exec(`UPDATE api_keys SET name = $1 WHERE id = $2 AND user_id = $3`, name, id, user); err != nil {
		return key, fmt.Errorf("rename API key: %w", err)
	}
	key, selected, err := scanAPIKey(tx.QueryRow(`SELECT `+apiKeyColumns+` FROM api_keys k WHERE k.id = $1 AND k.user_id = $2`, id, user).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return key, banksia.NotFound("API key")
	}
	if err == nil && selected {
		err = tx.librariesOfKey(&key)
	}
	return key, err
}
