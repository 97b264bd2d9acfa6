package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// SigningKey is one of the secrets that processes sign with: the newest signs, the
// older ones verify what they have signed until it has expired.
type SigningKey struct {
	Secret    []byte    `json:"secret"`
	CreatedAt time.Time `json:"created_at"`
}

const signingKeyBytes = 32

func newSigningKey(now time.Time) SigningKey {
	key := SigningKey{Secret: make([]byte, signingKeyBytes), CreatedAt: now}
	rand.Read(key.Secret) // never fails, says crypto/rand
	return key
}

// SigningKeys reads the keys of a purpose, newest first and at least one; the first
// is made on first use. They are the same for every process on the database.
func (s *Store) SigningKeys(ctx context.Context, purpose string) (keys []SigningKey, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		keys, err = tx.signingKeys(purpose)
		return err
	})
	if err == nil && len(keys) == 0 {
		err = s.Write(ctx, func(tx *Tx) error {
			if keys, err = tx.signingKeys(purpose); err != nil || len(keys) > 0 {
				return err
			}
			first := newSigningKey(tx.Now())
			// Before keys were rotated there was one secret for each purpose.
			err := tx.QueryRow(`SELECT value FROM settings WHERE name = $1`, purpose+"_secret").Scan(&first.Secret)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			keys = []SigningKey{first}
			return tx.setSigningKeys(purpose, keys)
		})
	}
	if err != nil {
		return nil, fmt.Errorf("signing keys of %s: %w", purpose, err)
	}
	return keys, nil
}

// RotateSigningKey makes a new key of a purpose. What the others have signed stays
// valid until life after they were replaced; 0 ends it at once.
func (tx *Tx) RotateSigningKey(purpose string, life time.Duration) error {
	keys, err := tx.signingKeys(purpose)
	if err != nil {
		return fmt.Errorf("rotate signing key of %s: %w", purpose, err)
	}
	now := tx.Now()
	kept := []SigningKey{newSigningKey(now)}
	for _, key := range keys {
		if replaced := kept[len(kept)-1].CreatedAt; life > 0 && now.Before(replaced.Add(life)) {
			kept = append(kept, key)
		}
	}
	if err := tx.setSigningKeys(purpose, kept); err != nil {
		return fmt.Errorf("rotate signing key of %s: %w", purpose, err)
	}
	_, err = tx.Exec(`DELETE FROM settings WHERE name = $1`, purpose+"_secret")
	return err
}

func (tx *Tx) signingKeys(purpose string) (keys []SigningKey, err error) {
	var text []byte
	err = tx.QueryRow(`SELECT value FROM settings WHERE name = $1`, purpose+"_keys").Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &keys)
	}
	return keys, err
}

func (tx *Tx) setSigningKeys(purpose string, keys []SigningKey) error {
	text, err := json.Marshal(keys)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, purpose+"_keys", text)
	return err
}
