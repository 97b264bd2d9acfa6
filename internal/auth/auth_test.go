package auth

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/banksiatest/storetest"
	"github.com/banksia-photos/banksia/internal/store"
)

// rig is a database with one user and one library; the clock stands still until a
// test moves it.
type rig struct {
	store    *store.Store
	database store.Config
	now      time.Time
	user     banksia.User
	library  banksia.Library
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{database: storetest.Database(t), now: time.Date(2026, 4, 29, 10, 11, 12, 0, time.UTC)}
	r.store = r.open(t)
	r.user = banksia.User{ID: banksia.NewID[banksia.UserID](r.now), IsActive: true, CreatedAt: r.now, UpdatedAt: r.now}
	r.library = banksia.Library{ID: banksia.NewID[banksia.LibraryID](r.now), UserID: r.user.ID, Name: "a", CreatedAt: r.now, UpdatedAt: r.now}
	r.write(t, func(tx *store.Tx) error {
		if err := tx.InsertUser(&r.user); err != nil {
			return err
		}
		return tx.InsertLibrary(&r.library)
	})
	return r
}

// open opens the database as one more process would.
func (r *rig) open(t *testing.T) *store.Store {
	t.Helper()
	database := r.database
	database.Now = func() time.Time { return r.now }
	s, err := store.Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func (r *rig) write(t *testing.T, f func(*store.Tx) error) {
	t.Helper()
	if err := r.store.Write(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) newKey(t *testing.T, actions []banksia.Action, libraries []banksia.LibraryID) (banksia.APIKey, string) {
	t.Helper()
	key, secret, err := NewAPIKey(t.Context(), r.store, r.user.ID, "test", actions, libraries)
	if err != nil {
		t.Fatal(err)
	}
	return key, secret
}

// behaviour 4.1, 4.2, 4.7: a key has the scope it was made with; only its hash is
// stored.
func TestKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := mustAuthenticator(t, r.store, slog.New(slog.DiscardHandler))
	_, wide := r.newKey(t, banksia.Actions, nil)
	_, narrow := r.newKey(t, []banksia.Action{banksia.Read, banksia.Write}, []banksia.LibraryID{r.library.ID})
	_, none := r.newKey(t, []banksia.Action{banksia.Read}, []banksia.LibraryID{})
	if !regexp.MustCompile(`^apikey_[\w-]{43}$`).MatchString(wide) || wide == narrow {
		t.Errorf("keys: %s, %s", wide, narrow)
	}
	for _, test := range []struct {
		header    string
		actions   []banksia.Action
		libraries []banksia.LibraryID
	}{
		{"Bearer " + wide, banksia.Actions, nil},
		{"bearer  " + wide + " ", banksia.Actions, nil}, // schemes are case-insensitive (RFC 9110)
		{"Bearer " + narrow, []banksia.Action{banksia.Read, banksia.Write}, []banksia.LibraryID{r.library.ID}},
		{"Bearer " + none, []banksia.Action{banksia.Read}, []banksia.LibraryID{}},
	} {
		scope, _, err := a.Scope(t.Context(), test.header)
		if err != nil || scope.UserID != r.user.ID || !slices.Equal(scope.Actions, test.actions) || !slices.Equal(scope.LibraryIDs, test.libraries) || (scope.LibraryIDs == nil) != (test.libraries == nil) {
			t.Errorf("%s: %+v, %v", test.header, scope, err)
		}
	}
	for _, header := range []string{"", "Bearer", "Bearer ", "Basic " + wide, wide, "Bearer x" + wide, "Bearer " + wide[:len(wide)-1], "Bearer " + strings.ToUpper(wide), "Bearer apikey_", "Bearer " + wide + "\x00", "Bearer " + strings.Repeat("x", 1<<20)} {
		if _, _, err := a.Scope(t.Context(), header); banksia.ErrorCode(err) != banksia.CodeUnauthorized {
			t.Errorf("%.80q: %v", header, err)
		}
	}
}

// behaviour 4.4 and 4.11: revoking and deactivating act at once, also from another
// process, and only on one's own.
func TestRevocation(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a, other := mustAuthenticator(t, r.store, slog.New(slog.DiscardHandler)), r.open(t)
	key, secret := r.newKey(t, banksia.Actions, nil)
	_, second := r.newKey(t, banksia.Actions, nil)
	works := func(secret string) bool {
		t.Helper()
		_, _, err := a.Scope(t.Context(), "Bearer "+secret)
		if err != nil && banksia.ErrorCode(err) != banksia.CodeUnauthorized {
			t.Error(err)
		}
		return err == nil
	}
	if !works(secret) || !works(second) {
		t.Fatal("new keys do not work")
	}
	err := other.Write(t.Context(), func(tx *store.Tx) error {
		return tx.RevokeAPIKey(banksia.NewID[banksia.UserID](r.now), key.ID)
	})
	if banksia.ErrorCode(err) != banksia.CodeNotFound || !works(secret) {
		t.Errorf("a stranger revokes: %v", err)
	}
	for range 2 { // twice is the same as once
		if err := other.Write(t.Context(), func(tx *store.Tx) error { return tx.RevokeAPIKey(r.user.ID, key.ID) }); err != nil {
			t.Fatal(err)
		}
	}
	if works(secret) || !works(second) {
		t.Error("the wrong key was revoked")
	}
	keys, err := r.store.ListAPIKeys(t.Context(), r.user.ID)
	if err != nil || len(keys) != 2 || keys[0].IsActive == keys[1].IsActive {
		t.Errorf("%+v, %v", keys, err) // still listed
	}
	r.write(t, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE users SET is_active = FALSE`)
		return err
	})
	if works(second) {
		t.Error("the key of an inactive user works")
	}
}

// behaviour 4.4: last_used_at is stored, late but not lost.
func TestLastUse(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := mustAuthenticator(t, r.store, slog.New(slog.DiscardHandler))
	_, secret := r.newKey(t, banksia.Actions, nil)
	r.newKey(t, banksia.Actions, nil)
	r.now = r.now.Add(time.Hour)
	for range 3 {
		if _, _, err := a.Scope(t.Context(), "Bearer "+secret); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	a.Run(ctx) // stores what there is before it returns
	keys, err := r.store.ListAPIKeys(t.Context(), r.user.ID)
	if err != nil || len(keys) != 2 {
		t.Fatal(keys, err)
	}
	used := 0
	for _, k := range keys {
		if k.LastUsedAt != nil {
			used++
			if !k.LastUsedAt.Equal(r.now) {
				t.Errorf("last used at %s, want %s", k.LastUsedAt, r.now)
			}
		}
	}
	if used != 1 {
		t.Errorf("%d keys are used", used)
	}
}

// The credential of the machine is good for this process alone.
func TestLocalCredential(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a, other := mustAuthenticator(t, r.store, slog.New(slog.DiscardHandler)), mustAuthenticator(t, r.store, slog.New(slog.DiscardHandler))
	credential := a.AllowLocal(r.user.ID)
	scope, _, err := a.Scope(t.Context(), "Bearer "+credential)
	if err != nil || scope.UserID != r.user.ID || !scope.Allows(banksia.DeletePermanently) || scope.LibraryIDs != nil {
		t.Errorf("%+v, %v", scope, err)
	}
	if _, _, err := other.Scope(t.Context(), "Bearer "+credential); banksia.ErrorCode(err) != banksia.CodeUnauthorized {
		t.Errorf("another process: %v", err)
	}
	if _, _, err := a.Scope(t.Context(), "Bearer "); banksia.ErrorCode(err) != banksia.CodeUnauthorized {
		t.Errorf("no credential: %v", err)
	}
}

// behaviour 4.3.
func TestParseActions(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]banksia.Action{
		"read": {banksia.Read}, "read,write": {banksia.Read, banksia.Write}, " write , read": {banksia.Write, banksia.Read},
		"read,write,delete,delete_permanently": banksia.Actions, "write": nil, "": nil, "read,": nil, "READ": nil, "read,admin": nil, "read,read": {banksia.Read},
	} {
		got, err := ParseActions(text)
		if !slices.Equal(got, want) || (err == nil) != (want != nil) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

// Signatures are the same in every process on the database, and differ between
// databases.
func TestSignersAgree(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	sign := func(s *store.Store) (*Signer, string) {
		t.Helper()
		signer, err := NewSigner(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		return signer, signer.Sign(banksia.VersionID{1}, banksia.VariantSmall, signer.Expiry(t.Context()))
	}
	signer, one := sign(r.store)
	if _, two := sign(r.open(t)); one != two {
		t.Errorf("%s, %s", one, two)
	}
	if _, two := sign(newRig(t).store); one == two {
		t.Errorf("two databases sign alike: %s", one)
	}
	if left := time.Unix(signer.Expiry(t.Context()), 0).Sub(r.now); left < 24*time.Hour { // behaviour 21.7
		t.Errorf("URLs work for %s", left)
	}
}

func BenchmarkSign(b *testing.B) {
	s, err := store.Open(b.Context(), storetest.Database(b))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	signer, err := NewSigner(b.Context(), s)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		signer.Sign(banksia.VersionID{1}, banksia.VariantThumbnail, 1778112000)
	}
}

func mustAuthenticator(t *testing.T, s *store.Store, logger *slog.Logger) *Authenticator {
	t.Helper()
	a, err := NewAuthenticator(t.Context(), s, logger)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestPasswords(t *testing.T) {
	for _, bad := range []string{"", "1234567", strings.Repeat("x", 1001), "\xff\xff\xff\xff\xff\xff\xff\xff"} {
		if _, err := HashPassword(bad); err == nil {
			t.Errorf("%.10q was taken", bad)
		}
	}
	one, err := HashPassword("corréct horse")
	if err != nil {
		t.Fatal(err)
	}
	other, err := HashPassword("corréct horse")
	if err != nil || one == other || !strings.HasPrefix(one, "$argon2id$v=19$m=65536,t=3,p=4$") {
		t.Errorf("%s and %s, %v", one, other, err)
	}
	for password, want := range map[string]bool{"corréct horse": true, "correct horse": false, "": false} {
		if got := checkPassword(one, password); got != want {
			t.Errorf("%q: %v", password, got)
		}
	}
	for _, hash := range []string{"", nobody, "$argon2i$v=19$m=65536,t=3,p=4$AAAA$AAAA", "$argon2id$v=18$m=8,t=1,p=1$AAAA$AAAA", "x", "$argon2id$v=19$m=8,t=1,p=1$!$AAAA"} {
		if checkPassword(hash, "") || checkPassword(hash, "password") {
			t.Errorf("a password fits %q", hash)
		}
	}
	if a, b := NewPassword(), NewPassword(); a == b || len(a) != 23 {
		t.Errorf("made %s and %s", a, b)
	}
}

// Who guesses waits longer and longer, and the others do not.
func TestGuesses(t *testing.T) {
	now := time.Unix(0, 0)
	g := guesses{now: func() time.Time { return now }}
	key := []string{"for a@b.c"}
	for i := range freeGuesses {
		if wait := g.begin(key); wait > 0 {
			t.Errorf("waits %s before guess %d", wait, i)
		}
	}
	last := time.Duration(0)
	for range 30 {
		wait := g.begin(key)
		if wait <= 0 || wait < last || wait > maxWait || g.begin(key) != wait {
			t.Errorf("waits %s after %s", wait, last)
		}
		last = wait
		now = now.Add(wait)
		if wait := g.begin(key); wait > 0 { // and is wrong again
			t.Errorf("waits %s more", wait)
		}
	}
	if last != maxWait || g.begin([]string{"for d@e.f"}) > 0 {
		t.Errorf("waits %s in the end", last)
	}
	g.right(key)
	if g.begin(key) > 0 {
		t.Error("waits though it was right")
	}
	for i := range 2 * maxGuessers {
		g.begin([]string{fmt.Sprint(i)})
	}
	if len(g.by) > maxGuessers+1 {
		t.Errorf("remembers %d", len(g.by))
	}
}

// Strangers who register programs without end do not keep others from it for long,
// and do not push out what somebody uses.
func TestRegisterWithoutEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	o := NewOAuth(r.store, nil)
	register := func() (banksia.OAuthClient, error) {
		return o.Register(t.Context(), "a", []string{"https://a.example/"})
	}
	used, err := register()
	if err != nil {
		t.Fatal(err)
	}
	request := &AuthorizationRequest{ResponseType: "code", ClientID: used.ID, RedirectURI: "https://a.example/", CodeChallenge: strings.Repeat("A", 43), Method: "S256"}
	if _, err := o.Grant(t.Context(), request, r.user.ID); err != nil {
		t.Fatal(err)
	}
	r.write(t, func(tx *store.Tx) error {
		for i := range maxClients - 1 {
			if err := tx.InsertOAuthClient(&banksia.OAuthClient{ID: fmt.Sprint(i), CreatedAt: r.now}); err != nil {
				return err
			}
		}
		return nil
	})
	if _, err := register(); err == nil {
		t.Error("there is no end")
	}
	r.now = r.now.Add(unusedLife + time.Second)
	for range 2 {
		if _, err := register(); err != nil {
			t.Errorf("an hour later: %v", err)
		}
	}
	if _, err := o.Grant(t.Context(), request, r.user.ID); err != nil {
		t.Errorf("the program that somebody uses: %v", err)
	}
}
