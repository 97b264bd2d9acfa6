package auth

import (
	"context"
	"errors"
	"strings"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/store"
)

// AddUser makes a user who signs in with a password; "" leaves that to an issuer.
// A taken address is a banksia.Error with CodeConflict.
func AddUser(ctx context.Context, s *store.Store, email, password string) (user banksia.User, err error) {
	email = strings.ToLower(strings.TrimSpace(email))
	if local, domain, ok := strings.Cut(email, "@"); !ok || local == "" || domain == "" || len(email) > 254 || strings.ContainsAny(email, " \t\r\n\x00") {
		return user, banksia.Invalid("body", "email", "is not an e-mail address")
	}
	hash := ""
	if password != "" {
		if hash, err = HashPassword(password); err != nil {
			return user, err
		}
	}
	err = s.Write(ctx, func(tx *store.Tx) error {
		now := tx.Now()
		user = banksia.User{ID: banksia.NewID[banksia.UserID](now), Email: &email, IsActive: true, IsVerified: true, CreatedAt: now, UpdatedAt: now}
		if err := tx.InsertUser(&user); err != nil {
			return err
		}
		if hash == "" {
			return nil
		}
		return tx.SetPasswordHash(user.ID, hash)
	})
	if errors.Is(err, store.ErrDuplicate) {
		return user, &banksia.Error{Code: banksia.CodeConflict, Message: "There is a user with this address already.", Final: true, Err: err}
	}
	return user, err
}

// ChangeUser changes the user with an address, and returns how it is then.
func ChangeUser(ctx context.Context, s *store.Store, email string, change func(*banksia.User)) (user banksia.User, err error) {
	err = s.Write(ctx, func(tx *store.Tx) error {
		if user, err = tx.UserByEmail(email); err != nil {
			return err
		}
		change(&user)
		return tx.UpdateUser(&user)
	})
	return user, err
}

// ResetPassword gives the user with an address another password, and ends the
// sessions that were begun with the old one.
func ResetPassword(ctx context.Context, s *store.Store, email, password string) error {
	hash, err := HashPassword(password)
	if err != nil {
		return err
	}
	return s.Write(ctx, func(tx *store.Tx) error {
		user, err := tx.UserByEmail(email)
		if err != nil {
			return err
		}
		return tx.SetPasswordHash(user.ID, hash)
	})
}
