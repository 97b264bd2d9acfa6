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
	"sync"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/store"
)

// Signer signs and checks media URLs. The signature covers what the URL names
// and an expiry that is rounded, so that the URL of a rendering stays the same
// for a while and caches keep it (behaviour 21.7).
type Signer struct {
	secret []byte
	now    func() time.Time
	hashes sync.Pool
}

const (
	// signatureWindow is how long a URL stays the same.
	signatureWindow = 7 * 24 * time.Hour
	// signatureLife is the shortest time that a URL works after it was given out.
	signatureLife = 48 * time.Hour
	// signatureBytes is the length kept of the HMAC: 128 bits.
	signatureBytes = 16
)

// NewSigner reads the secret of the database, or makes it.
func NewSigner(ctx context.Context, s *store.Store) (*Signer, error) {
	secret, err := s.Secret(ctx, "media_url_secret", 32)
	if err != nil {
		return nil, err
	}
	signer := &Signer{secret: secret, now: s.Now}
	signer.hashes.New = func() any { return hmac.New(sha256.New, secret) }
	return signer, nil
}

// Expiry is the expiry of URLs given out now, in Unix seconds.
func (s *Signer) Expiry() int64 {
	window := int64(signatureWindow / time.Second)
	return (s.now().Add(signatureLife).Unix()/window + 1) * window
}

// Sign returns the signature of a variant of a version until an expiry.
func (s *Signer) Sign(version banksia.VersionID, variant banksia.VariantName, expiry int64) string {
	mac := s.hashes.Get().(stdhash.Hash)
	defer s.hashes.Put(mac)
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
func (s *Signer) Check(version banksia.VersionID, variant banksia.VariantName, expiry, signature string) error {
	at, err := strconv.ParseInt(expiry, 10, 64)
	if err != nil || !hmac.Equal([]byte(s.Sign(version, variant, at)), []byte(signature)) {
		return banksia.Errorf(banksia.CodeForbidden, "The signature of this URL is not valid.")
	}
	if s.now().Unix() > at {
		return &banksia.Error{Code: banksia.CodeForbidden, Message: "This URL has expired.", Err: fmt.Errorf("at %d", at)}
	}
	return nil
}
