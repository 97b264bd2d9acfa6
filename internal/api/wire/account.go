package wire

import "github.com/banksia-photos/banksia"

// APIKey is a key; its secret is there only when it is made (behaviour 4.2).
type APIKey struct {
	ID                   banksia.APIKeyID `json:"id"`
	Secret               string           `json:"api_key,omitempty"`
	CreatedAt            Time             `json:"created_at"`
	IsActive             bool             `json:"is_active"`
	Actions              []banksia.Action `json:"actions"`
	LastUsedAt           *Time            `json:"last_used_at"`
	LibraryScopeMode     string           `json:"library_scope_mode"`
	Name                 *string          `json:"name"`
	SelectedLibraryCount *int             `json:"selected_library_count"`
}

// NewAPIKey writes a key.
func NewAPIKey(k *banksia.APIKey, secret string) APIKey {
	key := APIKey{ID: k.ID, Secret: secret, CreatedAt: Time(k.CreatedAt), IsActive: k.IsActive, Actions: k.Actions, LastUsedAt: timeOf(k.LastUsedAt), LibraryScopeMode: "all_libraries", Name: k.Name}
	if k.LibraryIDs != nil {
		count := len(k.LibraryIDs)
		key.LibraryScopeMode, key.SelectedLibraryCount = "selected_libraries", &count
	}
	return key
}

// ExchangeUser is who has signed in.
type ExchangeUser struct {
	ID          banksia.UserID `json:"id"`
	IsActive    bool           `json:"is_active"`
	IsVerified  bool           `json:"is_verified"`
	ClerkUserID *string        `json:"clerk_user_id"`
	Email       *string        `json:"email"`
	FirstName   *string        `json:"first_name"`
	LastName    *string        `json:"last_name"`
}

// NewExchangeUser writes who has signed in; the account at the issuer stands where
// the hosted service names that at its own.
func NewExchangeUser(u *banksia.User) ExchangeUser {
	return ExchangeUser{u.ID, u.IsActive, u.IsVerified, u.OIDCSubject, u.Email, u.FirstName, u.LastName}
}
