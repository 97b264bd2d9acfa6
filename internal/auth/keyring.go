package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/banksia-photos/banksia/internal/store"
)

// What the signing keys are for.
const (
	mediaKeys   = "media_url"
	sessionKeys = "session"
)

// KeyNotice is the longest time until a process notices that another has changed
// the signing keys.
const KeyNotice = 10 * time.Second

// verifyLife is how long a key verifies after it was replaced. Media URLs live
// longest; the next key begins to sign when every process knows it, and one that
// was slow to notice signs with the old one for as long again.
const verifyLife = signatureWindow + signatureLife + 2*KeyNotice

// RotateSigningKeys makes new keys for media URLs and sessions. What was signed
// before stays valid as long as it would have. atOnce ends it now: every media URL
// that was given out, and every session.
func RotateSigningKeys(ctx context.Context, s *store.Store, atOnce bool) error {
	life := verifyLife
	if atOnce {
		life = 0
	}
	return s.Write(ctx, func(tx *store.Tx) error {
		for _, purpose := range []string{mediaKeys, sessionKeys} {
			if err := tx.RotateSigningKey(purpose, life); err != nil {
				return err
			}
		}
		return nil
	})
}

// keyring holds the signing keys of a purpose as the database has them, at most
// KeyNotice ago.
type keyring struct {
	store   *store.Store
	purpose string
	keys    atomic.Pointer[[]*signingKey] // newest first

	mu     sync.Mutex
	loaded time.Time
}

// signingKey is a key of which many goroutines make signatures.
type signingKey struct {
	secret []byte
	from   time.Time // when it begins to sign: every process knows it by then
	until  time.Time // when it verifies no more; zero: not yet known
	hashes sync.Pool // of hash.Hash
}

func openKeyring(ctx context.Context, s *store.Store, purpose string) (*keyring, error) {
	k := &keyring{store: s, purpose: purpose}
	return k, k.load(ctx)
}

func (k *keyring) load(ctx context.Context) error {
	stored, err := k.store.SigningKeys(ctx, k.purpose)
	if err != nil {
		return fmt.Errorf("load signing keys: %w", err)
	}
	keys := make([]*signingKey, len(stored))
	for i, key := range stored {
		keys[i] = &signingKey{secret: key.Secret, from: key.CreatedAt.Add(KeyNotice)}
		keys[i].hashes.New = func() any { return hmac.New(sha256.New, key.Secret) }
		if i > 0 {
			keys[i].until = stored[i-1].CreatedAt.Add(verifyLife)
		}
	}
	k.keys.Store(&keys)
	k.loaded = k.store.Now()
	return nil
}

// refresh reads the keys again when they may be out of date. While the database
// cannot be read, the known ones go on.
func (k *keyring) refresh(ctx context.Context) { k.reload(ctx, KeyNotice) }

// retry reads the keys again because a signature fits none of them: another process
// may have made a new one. It tells whether to look once more. Whoever sends wrong
// signatures causes a read a second at most.
func (k *keyring) retry(ctx context.Context) bool { return k.reload(ctx, time.Second) }

func (k *keyring) reload(ctx context.Context, age time.Duration) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.store.Now().Sub(k.loaded) < age {
		return false
	}
	return k.load(ctx) == nil
}

// signer is the key that signs: the newest that every process knows, or the only one.
func (k *keyring) signer() *signingKey {
	keys, now := *k.keys.Load(), k.store.Now()
	for _, key := range keys {
		if !now.Before(key.from) {
			return key
		}
	}
	return keys[len(keys)-1]
}

// verify tells whether a check holds for a key that is not retired.
func (k *keyring) verify(ctx context.Context, check func(*signingKey) bool) bool {
	k.refresh(ctx)
	for {
		for _, key := range *k.keys.Load() {
			if (key.until.IsZero() || k.store.Now().Before(key.until)) && check(key) {
				return true
			}
		}
		if !k.retry(ctx) {
			return false
		}
	}
}
