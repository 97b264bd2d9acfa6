package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"time"

	"github.com/banksia-photos/banksia"
)

// Originals have no row of their own, and are put into the blob storage and removed
// from there outside of transactions. Between processes, these rules keep a row from
// ever standing for bytes that are gone:
//
//  1. A removal is written down (BeginRemoval) before the bytes are removed, and not
//     while a row refers to them.
//  2. An upload looks at the removals before it stores its bytes (Removals), and in
//     the transaction that makes its row (CheckRemovals): when one has begun since,
//     or is under way, the row is not made.
//
// Both see each other because both take the turn of the checksum. Neither depends
// on a lock that would end with a connection while a request to the storage is
// still on its way.

// removalTime is after how long a removal counts as abandoned by its process and
// may be taken over. Requests to a storage give up long before.
const removalTime = 20 * time.Minute

// removalMemory is how long an ended removal is remembered: longer than an upload
// can last.
const removalMemory = 48 * time.Hour

// ErrRemoved says that the bytes of an upload may have been removed meanwhile.
var ErrRemoved = errors.New("the original was removed meanwhile")

// ErrRemoving says that another process is removing an original.
var ErrRemoving = errors.New("another process is removing the original")

// Removals is what Removals saw.
type Removals struct{ number int64 }

// Removals tells which removals of an original have been; it fails with ErrRemoved
// while one is under way.
func (s *Store) Removals(ctx context.Context, sha256 banksia.Digest) (seen Removals, err error) {
	err = s.Read(ctx, func(tx *Tx) (err error) {
		seen, err = tx.removals(sha256)
		return err
	})
	return seen, err
}

func (tx *Tx) removals(sha256 banksia.Digest) (seen Removals, err error) {
	var ended *int64
	err = tx.QueryRow(`SELECT number, ended_at FROM original_removals WHERE checksum = $1`, []byte(sha256)).Scan(&seen.number, &ended)
	if errors.Is(err, sql.ErrNoRows) {
		return seen, nil
	}
	if err == nil && ended == nil {
		err = ErrRemoved
	}
	return seen, err
}

// CheckRemovals fails with ErrRemoved when a removal has begun since the upload
// looked.
func (tx *Tx) CheckRemovals(sha256 banksia.Digest, seen Removals) error {
	if err := tx.lockContent(sha256); err != nil {
		return err
	}
	now, err := tx.removals(sha256)
	if err == nil && now != seen {
		err = ErrRemoved
	}
	return err
}

// lockContent waits until no other transaction holds the turn of a checksum. Where
// one transaction writes at a time, there is nothing to wait for.
func (tx *Tx) lockContent(sha256 banksia.Digest) error {
	if tx.store.dialect.lock == "" {
		return nil
	}
	_, err := tx.Exec(tx.store.dialect.lock, int64(binary.BigEndian.Uint64(sha256)))
	return err
}

// BeginRemoval writes down that this process is about to remove an original. number
// is for EndRemoval; 0 says that a version refers to the original, so that it must
// stay. Beginning again is allowed; ErrRemoving says that another process is at it.
func (s *Store) BeginRemoval(ctx context.Context, sha256 banksia.Digest) (number int64, err error) {
	err = s.Write(ctx, func(tx *Tx) error {
		if err := tx.lockContent(sha256); err != nil {
			return err
		}
		referenced, err := tx.IsReferenced(sha256)
		if err != nil || referenced {
			return err
		}
		now := tx.Now()
		if _, err := tx.Exec(`DELETE FROM original_removals WHERE ended_at < $1`, now.Add(-removalMemory).UnixMicro()); err != nil {
			return err
		}
		err = tx.QueryRow(`INSERT INTO original_removals (checksum, owner, number, started_at) VALUES ($1, $2, 1, $3)
			ON CONFLICT (checksum) DO UPDATE SET owner = excluded.owner, number = original_removals.number + 1, started_at = excluded.started_at, ended_at = NULL
			WHERE original_removals.ended_at IS NOT NULL OR original_removals.owner = excluded.owner OR original_removals.started_at < $4
			RETURNING number`,
			[]byte(sha256), s.process, now.UnixMicro(), now.Add(-removalTime).UnixMicro()).Scan(&number)
		if errors.Is(err, sql.ErrNoRows) {
			err = ErrRemoving
		}
		return err
	})
	return number, err
}

// EndRemoval writes down that the bytes are gone, unless the removal has begun again.
func (s *Store) EndRemoval(ctx context.Context, sha256 banksia.Digest, number int64) error {
	return s.Write(ctx, func(tx *Tx) error {
		_, err := tx.Exec(`UPDATE original_removals SET ended_at = $1 WHERE checksum = $2 AND number = $3 AND ended_at IS NULL`, tx.Now().UnixMicro(), []byte(sha256), number)
		return err
	})
}
