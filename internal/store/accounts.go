package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/banksia-photos/banksia"
)

// InsertUser adds a user.
func (tx *Tx) InsertUser(u *banksia.User) error {
	_, err := tx.Exec(`INSERT INTO users (id, email, first_name, last_name, is_active, is_superuser, is_verified, storage_limit_bytes, timezone, oidc_subject, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		u.ID, u.Email, u.FirstName, u.LastName, u.IsActive, u.IsSuperuser, u.IsVerified, u.StorageLimitBytes, u.Timezone, u.OIDCSubject, u.CreatedAt.UnixMicro(), u.UpdatedAt.UnixMicro())
	if err != nil {
		return fmt.Errorf("insert user: %w", err)
	}
	return nil
}

// GetUser reads a user.
func (s *Store) GetUser(ctx context.Context, id banksia.UserID) (u banksia.User, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		u, err = tx.User(id)
		return err
	})
	return u, err
}

// Owner reads the user who was there first: the owner of a server at home.
func (s *Store) Owner(ctx context.Context) (u banksia.User, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		u, err = tx.Owner()
		return err
	})
	return u, err
}

// Owner is Store.Owner within a transaction.
func (tx *Tx) Owner() (banksia.User, error) { return tx.user(`ORDER BY created_at, id LIMIT 1`) }

// User is Store.GetUser within a transaction.
func (tx *Tx) User(id banksia.UserID) (banksia.User, error) { return tx.user(`WHERE id = $1`, id) }

func (tx *Tx) user(where string, args ...any) (u banksia.User, err error) {
	var created, updated int64
	err = tx.QueryRow(`SELECT id, email, first_name, last_name, is_active, is_superuser, is_verified, storage_limit_bytes, storage_used_bytes, timezone, oidc_subject, created_at, updated_at FROM users `+where, args...).
		Scan(&u.ID, &u.Email, &u.FirstName, &u.LastName, &u.IsActive, &u.IsSuperuser, &u.IsVerified, &u.StorageLimitBytes, &u.StorageUsedBytes, &u.Timezone, &u.OIDCSubject, &created, &updated)
	if errors.Is(err, sql.ErrNoRows) {
		return u, banksia.NotFound("User")
	}
	u.CreatedAt, u.UpdatedAt = timeOf(created), timeOf(updated)
	return u, err
}

// InsertLibrary adds a library.
func (tx *Tx) InsertLibrary(l *banksia.Library) error {
	_, err := tx.Exec(`INSERT INTO libraries (id, user_id, name, description, storage_limit_bytes, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		l.ID, l.UserID, l.Name, l.Description, l.StorageLimitBytes, l.CreatedAt.UnixMicro(), l.UpdatedAt.UnixMicro())
	if err != nil {
		return fmt.Errorf("insert library: %w", err)
	}
	return nil
}

// ListLibraries reads the libraries within the scope, oldest first.
func (s *Store) ListLibraries(ctx context.Context, scope banksia.Scope, state State) (libraries []banksia.Library, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		libraries, err = tx.Libraries(scope, state)
		return err
	})
	return libraries, err
}

// Libraries reads the libraries within the scope, oldest first; those in the trash
// alone: last trashed first.
func (tx *Tx) Libraries(scope banksia.Scope, state State) ([]banksia.Library, error) {
	text := `SELECT id, user_id, name, description, asset_count, storage_used_bytes, storage_limit_bytes, trashed_at, created_at, updated_at FROM libraries WHERE user_id = $1`
	order := ` ORDER BY created_at, id`
	switch state {
	case Live:
		text += ` AND trashed_at IS NULL`
	case Trashed:
		text += ` AND trashed_at IS NOT NULL`
		order = ` ORDER BY trashed_at DESC, id DESC`
	}
	var libraries []banksia.Library
	err := tx.each(text+order, []any{scope.UserID}, func(rows *sql.Rows) error {
		var l banksia.Library
		var created, updated int64
		var trashed *int64
		if err := rows.Scan(&l.ID, &l.UserID, &l.Name, &l.Description, &l.AssetCount, &l.StorageUsedBytes, &l.StorageLimitBytes, &trashed, &created, &updated); err != nil {
			return err
		}
		l.CreatedAt, l.UpdatedAt = timeOf(created), timeOf(updated)
		if trashed != nil {
			at := timeOf(*trashed)
			l.TrashedAt = &at
		}
		if scope.Sees(l.ID) {
			libraries = append(libraries, l)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list libraries: %w", err)
	}
	return libraries, nil
}

// Library reads a library, whoever's it is, for work that no user asked for.
func (tx *Tx) Library(id banksia.LibraryID) (l banksia.Library, err error) {
	err = tx.QueryRow(`SELECT id, user_id, name FROM libraries WHERE id = $1`, id).Scan(&l.ID, &l.UserID, &l.Name)
	if errors.Is(err, sql.ErrNoRows) {
		return l, banksia.NotFound("Library")
	}
	return l, err
}

// ResolveLibrary finds the library that a request means: the given one, which
// must be live and within the scope, or the only one (behaviour 10.1, 4.7). It
// is nil without an error when none is given and there is none; several are a
// bad request (behaviour 21.5).
func (s *Store) ResolveLibrary(ctx context.Context, scope banksia.Scope, given *banksia.LibraryID) (library *banksia.Library, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		library, err = tx.ResolveLibrary(scope, given)
		return err
	})
	return library, err
}

// ResolveLibrary is Store.ResolveLibrary within a transaction.
func (tx *Tx) ResolveLibrary(scope banksia.Scope, given *banksia.LibraryID) (*banksia.Library, error) {
	libraries, err := tx.Libraries(scope, Live)
	if err != nil {
		return nil, err
	}
	if given != nil {
		at := slices.IndexFunc(libraries, func(l banksia.Library) bool { return l.ID == *given })
		if at < 0 {
			return nil, banksia.NotFound("Library")
		}
		return &libraries[at], nil
	}
	switch len(libraries) {
	case 0:
		return nil, nil
	case 1:
		return &libraries[0], nil
	}
	return nil, banksia.Errorf(banksia.CodeInvalidRequest, "You have several libraries: say which one with library_id.")
}

// HasAPIKeys tells whether a user ever made a key, revoked ones included.
func (tx *Tx) HasAPIKeys(user banksia.UserID) (bool, error) {
	return tx.exists(`SELECT 1 FROM api_keys WHERE user_id = $1 LIMIT 1`, user)
}

// InsertAPIKey adds a key whose secret has this hash.
func (tx *Tx) InsertAPIKey(k *banksia.APIKey, secretHash []byte) error {
	mode := "all_libraries"
	if k.LibraryIDs != nil {
		mode = "selected_libraries"
	}
	_, err := tx.Exec(`INSERT INTO api_keys (id, user_id, name, secret_hash, is_active, actions, library_scope_mode, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		k.ID, k.UserID, k.Name, secretHash, k.IsActive, joinActions(k.Actions), mode, k.CreatedAt.UnixMicro())
	for _, library := range k.LibraryIDs {
		if err != nil {
			break
		}
		_, err = tx.Exec(`INSERT INTO api_key_libraries (api_key_id, library_id) VALUES ($1, $2)`, k.ID, library)
	}
	if err != nil {
		return fmt.Errorf("insert API key: %w", err)
	}
	return nil
}

func joinActions(actions []banksia.Action) string {
	names := make([]string, len(actions))
	for i, action := range actions {
		names[i] = string(action)
	}
	return strings.Join(names, ",")
}

func splitActions(text string) (actions []banksia.Action) {
	for _, name := range strings.Split(text, ",") {
		actions = append(actions, banksia.Action(name))
	}
	return actions
}

const apiKeyColumns = `k.id, k.user_id, k.name, k.is_active, k.actions, k.library_scope_mode, k.created_at, k.last_used_at`

func scanAPIKey(scan func(...any) error) (k banksia.APIKey, selected bool, err error) {
	var actions, mode string
	var created int64
	var used *int64
	if err := scan(&k.ID, &k.UserID, &k.Name, &k.IsActive, &actions, &mode, &created, &used); err != nil {
		return k, false, err
	}
	k.Actions = splitActions(actions)
	k.CreatedAt = timeOf(created)
	if used != nil {
		at := timeOf(*used)
		k.LastUsedAt = &at
	}
	return k, mode == "selected_libraries", nil
}

func (tx *Tx) librariesOfKey(k *banksia.APIKey) error {
	k.LibraryIDs = []banksia.LibraryID{}
	return tx.each(`SELECT library_id FROM api_key_libraries WHERE api_key_id = $1`, []any{k.ID}, func(rows *sql.Rows) error {
		var id banksia.LibraryID
		err := rows.Scan(&id)
		k.LibraryIDs = append(k.LibraryIDs, id)
		return err
	})
}

// ListAPIKeys reads all keys of a user, oldest first, revoked ones included.
func (s *Store) ListAPIKeys(ctx context.Context, user banksia.UserID) (keys []banksia.APIKey, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		var selected []int
		err := tx.each(`SELECT `+apiKeyColumns+` FROM api_keys k WHERE k.user_id = $1 ORDER BY k.created_at, k.id`, []any{user}, func(rows *sql.Rows) error {
			k, some, err := scanAPIKey(rows.Scan)
			if some {
				selected = append(selected, len(keys))
			}
			keys = append(keys, k)
			return err
		})
		for _, i := range selected {
			if err == nil {
				err = tx.librariesOfKey(&keys[i])
			}
		}
		if err != nil {
			return fmt.Errorf("list API keys: %w", err)
		}
		return nil
	})
	return keys, err
}

// RevokeAPIKey makes a key of a user useless at once; it stays listed.
func (tx *Tx) RevokeAPIKey(user banksia.UserID, id banksia.APIKeyID) error {
	result, err := tx.Exec(`UPDATE api_keys SET is_active = FALSE WHERE id = $1 AND user_id = $2`, id, user)
	if err == nil {
		var n int64
		if n, err = result.RowsAffected(); err == nil && n == 0 {
			return banksia.NotFound("API key")
		}
	}
	if err != nil {
		return fmt.Errorf("revoke API key: %w", err)
	}
	return nil
}

// APIKeyByHash finds the usable key whose secret has this hash: active, of an
// active user. CodeUnauthorized otherwise.
func (s *Store) APIKeyByHash(ctx context.Context, secretHash []byte) (key banksia.APIKey, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		row := tx.QueryRow(`SELECT `+apiKeyColumns+` FROM api_keys k JOIN users u ON u.id = k.user_id WHERE k.secret_hash = $1 AND k.is_active = TRUE AND u.is_active = TRUE`, secretHash)
		k, selected, err := scanAPIKey(row.Scan)
		if errors.Is(err, sql.ErrNoRows) {
			return banksia.Errorf(banksia.CodeUnauthorized, "The API key is not valid.")
		}
		if err == nil && selected {
			err = tx.librariesOfKey(&k)
		}
		if err != nil {
			return fmt.Errorf("find API key: %w", err)
		}
		key = k
		return nil
	})
	return key, err
}

// TouchAPIKeys stores when keys were last used.
func (s *Store) TouchAPIKeys(ctx context.Context, used map[banksia.APIKeyID]time.Time) error {
	return s.Write(ctx, func(tx *Tx) error {
		for id, at := range used {
			if _, err := tx.Exec(`UPDATE api_keys SET last_used_at = $1 WHERE id = $2`, at.UnixMicro(), id); err != nil {
				return fmt.Errorf("touch API key: %w", err)
			}
		}
		return nil
	})
}
