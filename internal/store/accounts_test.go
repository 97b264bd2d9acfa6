package store

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
)

// behaviour 4.7, 10.1, 21.5, 21.14: which library a request means.
func TestResolveLibrary(t *testing.T) {
	t.Parallel()
	s := open(t)
	write := func(f func(*Tx) error) {
		t.Helper()
		if err := s.Write(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	user := func() banksia.Scope {
		u := banksia.User{ID: banksia.NewID[banksia.UserID](epoch), IsActive: true, CreatedAt: epoch, UpdatedAt: epoch}
		write(func(tx *Tx) error { return tx.InsertUser(&u) })
		return banksia.Scope{UserID: u.ID, Actions: banksia.Actions}
	}
	created := epoch
	library := func(scope banksia.Scope) banksia.LibraryID {
		created = created.Add(time.Second)
		l := banksia.Library{ID: banksia.NewID[banksia.LibraryID](created), UserID: scope.UserID, Name: "a", CreatedAt: created, UpdatedAt: created}
		write(func(tx *Tx) error { return tx.InsertLibrary(&l) })
		return l.ID
	}
	nobody, one, two := user(), user(), user()
	only, first, second := library(one), library(two), library(two)
	trashed := library(one)
	write(func(tx *Tx) error {
		_, err := tx.Exec(`UPDATE libraries SET trashed_at = 1 WHERE id = $1`, trashed)
		return err
	})
	narrow := func(scope banksia.Scope, ids ...banksia.LibraryID) banksia.Scope {
		scope.LibraryIDs = append([]banksia.LibraryID{}, ids...)
		return scope
	}
	unknown := banksia.NewID[banksia.LibraryID](epoch)
	for _, test := range []struct {
		name  string
		scope banksia.Scope
		given *banksia.LibraryID
		want  *banksia.LibraryID
		code  banksia.Code
	}{
		{"none", nobody, nil, nil, ""},
		{"the only live one", one, nil, &only, ""},
		{"the given one", one, &only, &only, ""},
		{"a trashed one", one, &trashed, nil, banksia.CodeNotFound},
		{"a foreign one", one, &first, nil, banksia.CodeNotFound},
		{"an unknown one", one, &unknown, nil, banksia.CodeNotFound},
		{"one of several", two, nil, nil, banksia.CodeInvalidRequest},
		{"the second", two, &second, &second, ""},
		{"the selected one", narrow(two, second), nil, &second, ""},
		{"beside the selected one", narrow(two, second), &first, nil, banksia.CodeNotFound},
		{"both selected", narrow(two, first, second), nil, nil, banksia.CodeInvalidRequest},
		{"nothing selected", narrow(two), nil, nil, ""},
		{"a selected one that is foreign", narrow(one, first), &first, nil, banksia.CodeNotFound},
		{"a selected one in the trash", narrow(one, trashed), nil, nil, ""},
	} {
		library, err := s.ResolveLibrary(t.Context(), test.scope, test.given)
		switch {
		case banksia.ErrorCode(err) != test.code:
			t.Errorf("%s: %v", test.name, err)
		case (library == nil) != (test.want == nil) || library != nil && library.ID != *test.want:
			t.Errorf("%s: %+v", test.name, library)
		}
	}
	for state, want := range map[State][]banksia.LibraryID{Live: {only}, Trashed: {trashed}, All: {only, trashed}} { // oldest first
		libraries, err := s.ListLibraries(t.Context(), one, state)
		var ids []banksia.LibraryID
		for _, l := range libraries {
			ids = append(ids, l.ID)
		}
		if err != nil || !slices.Equal(ids, want) {
			t.Errorf("%s: %v, %v", state, ids, err)
		}
	}
}

// Users and libraries come back as they went in; a second key with the same hash
// cannot be.
func TestAccounts(t *testing.T) {
	t.Parallel()
	s := open(t)
	limit, text := int64(1<<40), "text"
	u := banksia.User{ID: banksia.NewID[banksia.UserID](epoch), Email: &text, FirstName: &text, LastName: &text, IsActive: true, IsVerified: true, StorageLimitBytes: &limit, Timezone: &text, CreatedAt: epoch, UpdatedAt: epoch}
	l := banksia.Library{ID: banksia.NewID[banksia.LibraryID](epoch), UserID: u.ID, Name: "a", Description: &text, StorageLimitBytes: &limit, CreatedAt: epoch, UpdatedAt: epoch}
	key := banksia.APIKey{ID: banksia.NewID[banksia.APIKeyID](epoch), UserID: u.ID, IsActive: true, Actions: banksia.Actions, CreatedAt: epoch}
	err := s.Write(t.Context(), func(tx *Tx) error {
		return errors.Join(tx.InsertUser(&u), tx.InsertLibrary(&l), tx.InsertAPIKey(&key, []byte("hash")))
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.GetUser(t.Context(), u.ID)
	if err != nil || *got.Email != text || *got.LastName != text || !got.IsActive || got.IsSuperuser || !got.IsVerified || *got.StorageLimitBytes != limit || *got.Timezone != text || !got.UpdatedAt.Equal(epoch) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := s.GetUser(t.Context(), banksia.NewID[banksia.UserID](epoch)); banksia.ErrorCode(err) != banksia.CodeNotFound {
		t.Errorf("nobody: %v", err)
	}
	if owner, err := s.Owner(t.Context()); err != nil || owner.ID != u.ID {
		t.Errorf("%+v, %v", owner, err)
	}
	libraries, err := s.ListLibraries(t.Context(), banksia.Scope{UserID: u.ID}, Live)
	if err != nil || len(libraries) != 1 || *libraries[0].Description != text || *libraries[0].StorageLimitBytes != limit || !libraries[0].CreatedAt.Equal(epoch) {
		t.Errorf("%+v, %v", libraries, err)
	}
	second := key
	second.ID = banksia.NewID[banksia.APIKeyID](epoch)
	if err := s.Write(t.Context(), func(tx *Tx) error { return tx.InsertAPIKey(&second, []byte("hash")) }); !errors.Is(err, ErrDuplicate) {
		t.Errorf("two keys with one secret: %v", err)
	}
	stranger := banksia.APIKey{ID: second.ID, UserID: u.ID, IsActive: true, Actions: banksia.Actions, LibraryIDs: []banksia.LibraryID{banksia.NewID[banksia.LibraryID](epoch)}, CreatedAt: epoch}
	if err := s.Write(t.Context(), func(tx *Tx) error { return tx.InsertAPIKey(&stranger, []byte("other")) }); err == nil {
		t.Error("a key for a library that does not exist")
	}
}
