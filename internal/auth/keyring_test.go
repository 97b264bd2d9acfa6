package auth

import (
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/store"
)

// node is a process that signs and checks.
type node struct {
	t      *testing.T
	signer *Signer
	auth   *Authenticator
	login  *Login
}

func newNode(t *testing.T, s *store.Store) node {
	t.Helper()
	signer, err := NewSigner(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	a := mustAuthenticator(t, s, slog.New(slog.DiscardHandler))
	return node{t, signer, a, NewLogin(LoginConfig{}, s, a)}
}

// url is the expiry and the signature of a media URL.
func (n node) url() [2]string {
	expiry := n.signer.Expiry(n.t.Context())
	return [2]string{strconv.FormatInt(expiry, 10), n.signer.Sign(banksia.VersionID{1}, banksia.VariantSmall, expiry)}
}

func (n node) serves(url [2]string) bool {
	return n.signer.Check(n.t.Context(), banksia.VersionID{1}, banksia.VariantSmall, url[0], url[1]) == nil
}

func (n node) session(r *rig) (token string) {
	n.t.Helper()
	n.auth.sessions.keys.refresh(n.t.Context())
	r.write(n.t, func(tx *store.Tx) (err error) {
		token, err = n.auth.sessions.begin(tx, r.user.ID)
		return err
	})
	return token
}

func (n node) knows(token string) bool {
	n.t.Helper()
	_, _, err := n.auth.Scope(n.t.Context(), "Bearer "+token)
	if err != nil && banksia.ErrorCode(err) != banksia.CodeUnauthorized {
		n.t.Error(err)
	}
	return err == nil
}

// Keys are rotated under way: at every moment each node takes what any of them has
// signed, until that has expired, and then the old keys are gone.
func TestRotateSigningKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	nodes := []node{newNode(t, r.store), newNode(t, r.open(t))}
	begin := r.now
	first, firstSession := nodes[0].url(), nodes[0].session(r)
	if err := RotateSigningKeys(t.Context(), r.store, false); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		signed := nodes[i%2].url()
		if other := nodes[(i+1)%2]; !other.serves(signed) || !other.serves(first) || !other.knows(nodes[i%2].session(r)) || !other.knows(firstSession) {
			t.Errorf("%s after the rotation a node does not take the signatures of the other", r.now.Sub(begin))
		}
		r.now = r.now.Add(time.Second)
	}
	if nodes[0].url() == first || nodes[1].url() == first {
		t.Error("the old key still signs")
	}
	// A second rotation on the same day ends nothing either.
	second := nodes[0].url()
	if err := RotateSigningKeys(t.Context(), r.store, false); err != nil {
		t.Fatal(err)
	}
	r.now = r.now.Add(signatureLife)
	if !nodes[1].serves(first) || !nodes[1].serves(second) {
		t.Error("a second rotation ends what is still valid")
	}
	// Long after, a rotation takes the first key out of the database.
	r.now = begin.Add(verifyLife + time.Second)
	third := newNode(t, r.open(t)).url()
	if err := RotateSigningKeys(t.Context(), r.store, false); err != nil {
		t.Fatal(err)
	}
	keys, err := r.store.SigningKeys(t.Context(), mediaKeys)
	if err != nil || len(keys) != 3 {
		t.Errorf("%d keys are kept, %v", len(keys), err)
	}
	if nodes[0].serves(first) || !nodes[0].serves(third) {
		t.Error("the retired key verifies, or a valid one does not")
	}
}

// When a key may be known to somebody, nothing that it signed is worth anything
// once the nodes have noticed.
func TestRotateSigningKeysAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one, other := newNode(t, r.store), newNode(t, r.open(t))
	url, session := one.url(), one.session(r)
	if !other.serves(url) || !other.knows(session) {
		t.Fatal("nodes do not agree before")
	}
	if err := RotateSigningKeys(t.Context(), r.store, true); err != nil {
		t.Fatal(err)
	}
	r.now = r.now.Add(KeyNotice)
	for _, n := range []node{one, other} {
		if n.serves(url) || n.knows(session) {
			t.Error("the old key still verifies")
		}
	}
	if !other.serves(one.url()) || !one.knows(other.session(r)) {
		t.Error("the new key does not work")
	}
}

// A database from before the rotation of keys goes on with its secret.
func TestFormerSecret(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	former := []byte("0123456789abcdef0123456789abcdef")
	r.write(t, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO settings (name, value) VALUES ('media_url_secret', $1)`, former)
		return err
	})
	keys, err := r.store.SigningKeys(t.Context(), mediaKeys)
	if err != nil || len(keys) != 1 || string(keys[0].Secret) != string(former) {
		t.Fatalf("%v, %v", keys, err)
	}
	url := newNode(t, r.store).url()
	if err := RotateSigningKeys(t.Context(), r.store, false); err != nil {
		t.Fatal(err)
	}
	if !newNode(t, r.open(t)).serves(url) {
		t.Error("what the secret signed is worth nothing")
	}
	var left int
	r.write(t, func(tx *store.Tx) error {
		return tx.QueryRow(`SELECT COUNT(*) FROM settings WHERE name = 'media_url_secret'`).Scan(&left)
	})
	if left != 0 {
		t.Error("the former secret stays in the database")
	}
}
