package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	stdhash "hash"
	"strconv"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/store"
)

// Signer signs and checks media URLs. The signature covers what the URL names
// and an expiry that is rounded, so that the URL of a rendering stays the same
// for a while and caches keep it (behaviour 21.7).
type Signer struct {
	keys *keyring
	now  func() time.Time
}

const (
	// signatureWindow is how long a URL stays the same.
	signatureWindow = 7 * 24 * time.Hour
	// signatureLife is the shortest time that a URL works after it was given out.
	signatureLife = 48 * time.Hour
	// signatureBytes is the length kept of the HMAC: 128 bits.
	signatureBytes = 16
)

// NewSigner reads the keys of the database, or makes the first.
func NewSigner(ctx context.Context, s *store.Store) (*Signer, error) {
	keys, err := openKeyring(ctx, s, mediaKeys)
	if err != nil {
		return nil, err
	}
	return &Signer{keys: keys, now: s.Now}, nil
}

// Expiry is the expiry of URLs given out now, in Unix seconds.
func (s *Signer) Expiry(ctx context.Context) int64 {
	s.keys.refresh(ctx) // here, for Sign is called for each of many URLs
	window := int64(signatureWindow / time.Second)
	return (s.now().Add(signatureLife).Unix()/window + 1) * window
}

// Sign returns the signature of a variant of a version until an expiry.
func (s *Signer) Sign(version banksia.VersionID, variant banksia.VariantName, expiry int64) string {
	return s.keys.signer().sign(version, variant, expiry)
}

func (k *signingKey) sign(version banksia.VersionID, variant banksia.VariantName, expiry int64) string {
	mac := k.hashes.Get().(stdhash.Hash)
	defer k.hashes.Put(mac)
	mac.Reset()
	var text [64]byte
	message := append(text[:0], version[:]...)
	message = binary.BigEndian.AppendUint64(message, uint64(expiry))
	message = append(message, variant...)
	mac.Write(message)
	var sum [sha256.Size]byte
	return base64.RawURLEncoding.EncodeToString(mac.Sum(sum[:0])[:signatureBytes])
}

// Check fails with CodeForbidden unless the signature fits and has not expired.
func (s *Signer) Check(ctx context.Context, version banksia.VersionID, variant banksia.VariantName, expiry, signature string) error {
	at, err := strconv.ParseInt(expiry, 10, 64)
	if err != nil || !s.keys.verify(ctx, func(key *signingKey) bool {
		return hmac.Equal([]byte(key.sign(version, variant, at)), []byte(signature))
	}) {
		return banksia.Errorf(banksia.CodeForbidden, "The signature of this URL is not valid.")
	}
	if s.now().Unix() > at {
		return &banksia.Error{Code: banksia.CodeForbidden, Message: "This URL has expired.", Err: fmt.Errorf("at %d", at)}
	}
	return nil
}
