package banksia

import (
	"slices"
	"time"
)

// User owns libraries.
type User struct {
	ID                UserID
	Email             *string
	FirstName         *string
	LastName          *string
	IsActive          bool
	IsSuperuser       bool
	IsVerified        bool
	StorageLimitBytes *int64 // nil: no cap
	StorageUsedBytes  int64
	Timezone          *string
	OIDCSubject       *string // issuer, space, subject; nil: signs in with a password, if at all
	CreatedAt         time.Time
	UpdatedAt         time.Time // changes only with the profile (behaviour 4.10)
}

// Library is the top-level container of assets.
type Library struct {
	ID                LibraryID
	UserID            UserID
	Name              string
	Description       *string
	AssetCount        int64 // live assets
	StorageUsedBytes  int64
	StorageLimitBytes *int64 // nil: no cap
	TrashedAt         *time.Time
	CreatedAt         time.Time
	UpdatedAt         time.Time
}

// DefaultLibraryName names the library that is made when a user has none
// (behaviour 21.14).
const DefaultLibraryName = "My Library"

// Action is a verb that a credential may carry.
type Action string

const (
	Read              Action = "read"
	Write             Action = "write"
	Delete            Action = "delete"
	DeletePermanently Action = "delete_permanently"
)

// Actions lists every action; a credential with any other verb also has Read.
var Actions = []Action{Read, Write, Delete, DeletePermanently}

// APIKey is a stored credential; its secret is known only when it is made.
type APIKey struct {
	ID         APIKeyID
	UserID     UserID
	Name       *string
	IsActive   bool
	Actions    []Action
	LibraryIDs []LibraryID // the selected ones; nil: all of the user
	CreatedAt  time.Time
	LastUsedAt *time.Time
}

// Scope is what a caller may see and do. Every store query takes one, so that a
// foreign entity cannot be told from a missing one.
type Scope struct {
	UserID  UserID
	Actions []Action
	// LibraryIDs restricts the caller to these libraries; nil: all of the user's.
	LibraryIDs []LibraryID
	// FirstParty is the user in person, not a program that was given a key or a
	// token; only that manages keys (behaviour 4.5).
	FirstParty bool
}

// Allows tells whether the scope carries the action.
func (s Scope) Allows(action Action) bool { return slices.Contains(s.Actions, action) }

// Sees tells whether the scope reaches a library of its user.
func (s Scope) Sees(id LibraryID) bool {
	return s.LibraryIDs == nil || slices.Contains(s.LibraryIDs, id)
}

// Login is a sign-in that has begun.
type Login struct {
	StateHash     []byte
	RedirectURI   string
	CodeChallenge *string // PKCE S256
	Nonce         string
	CodeHash      []byte  // nil until somebody has signed in on the built-in page
	UserID        *UserID // who that was
	// AuthorizationRequest is the JSON of what an OAuth client asked for; "": the
	// sign-in is for the user's own session.
	AuthorizationRequest string
	ExpiresAt            time.Time
}

// Session is a user who is signed in.
type Session struct {
	ID        SessionID
	UserID    UserID
	CreatedAt time.Time
	ExpiresAt time.Time
}

// OAuthClient is a program that may ask users to act for them.
type OAuthClient struct {
	ID           string
	Name         string
	RedirectURIs []string
	CreatedAt    time.Time
}

// OAuthGrant is what a user allowed a program.
type OAuthGrant struct {
	ID            GrantID
	ClientID      string
	UserID        UserID
	Actions       []Action
	Scope         string // as it was granted, in the words of OAuth
	RedirectURI   string
	CodeHash      []byte // of the authorization code
	CodeChallenge string // PKCE S256
	CodeExpiresAt time.Time
	CreatedAt     time.Time
}
