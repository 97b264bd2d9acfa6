// Package catalog holds the rules of changing a library. One method is one
// transaction that also enqueues the work that follows from it.
package catalog

import (
	"context"
	"log/slog"
	"strings"
	"sync"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/media"
	"github.com/banksia-photos/banksia/internal/store"
	"github.com/banksia-photos/banksia/internal/task"
)

// Catalog changes libraries.
type Catalog struct {
	store  *store.Store
	blobs  blob.Store
	media  *media.Pool
	runner *task.Runner
	logger *slog.Logger

	content     contentLocks
	maintenance chan struct{} // wakes Maintain
}

// New returns a catalog over its parts and names its tasks to the runner. Setup
// needs the store alone.
func New(s *store.Store, blobs blob.Store, pool *media.Pool, runner *task.Runner, logger *slog.Logger) *Catalog {
	c := &Catalog{store: s, blobs: blobs, media: pool, runner: runner, logger: logger, content: contentLocks{held: map[string]*contentLock{}}, maintenance: make(chan struct{}, 1)}
	if runner != nil {
		runner.Handle(banksia.TaskStorageCleanup, c.cleanUp)
		runner.Handle(banksia.TaskVersionCleanup, c.cleanUp)
	}
	return c
}

// contentLocks keeps an upload and a purge of the same bytes apart, within this
// process (store/removals.go does it between processes): between the
// moment a file is in place and the moment its row is committed, and between the
// moment the last row is gone and the moment its file is.
type contentLocks struct {
	mu   sync.Mutex
	held map[string]*contentLock
}

type contentLock struct {
	sync.Mutex
	users int
}

func (l *contentLocks) lock(sum banksia.Digest) (unlock func()) {
	key := string(sum)
	l.mu.Lock()
	one := l.held[key]
	if one == nil {
		one = &contentLock{}
		l.held[key] = one
	}
	one.users++
	l.mu.Unlock()
	one.Lock()
	return func() {
		one.Unlock()
		l.mu.Lock()
		if one.users--; one.users == 0 {
			delete(l.held, key)
		}
		l.mu.Unlock()
	}
}

// TrashAssets moves assets to the trash; unknown ones and those already there are
// left alone.
func (c *Catalog) TrashAssets(ctx context.Context, scope banksia.Scope, library banksia.LibraryID, ids []banksia.AssetID) error {
	return c.change(ctx, scope, library, func(tx *store.Tx) error {
		_, err := tx.TrashAssets(library, ids)
		return err
	})
}

// RestoreAssets moves assets out of the trash.
func (c *Catalog) RestoreAssets(ctx context.Context, scope banksia.Scope, library banksia.LibraryID, ids []banksia.AssetID) error {
	return c.change(ctx, scope, library, func(tx *store.Tx) error {
		_, err := tx.RestoreAssets(library, ids)
		return err
	})
}

func (c *Catalog) change(ctx context.Context, scope banksia.Scope, library banksia.LibraryID, f func(*store.Tx) error) error {
	return c.store.Change(ctx, scope.UserID, func(tx *store.Tx) error {
		if _, err := tx.ResolveLibrary(scope, &library); err != nil {
			return err
		}
		return f(tx)
	})
}

// Setup makes the owner and a default library on an empty database; made is false
// when somebody is there already.
func (c *Catalog) Setup(ctx context.Context) (owner banksia.User, made bool, err error) {
	err = c.store.Write(ctx, func(tx *store.Tx) error {
		owner, err = tx.Owner()
		if banksia.ErrorCode(err) != banksia.CodeNotFound {
			return err
		}
		now := tx.Now()
		email := "owner@localhost"
		owner = banksia.User{ID: banksia.NewID[banksia.UserID](now), Email: &email, IsActive: true, IsSuperuser: true, IsVerified: true, CreatedAt: now, UpdatedAt: now}
		made = true
		if err := tx.InsertUser(&owner); err != nil {
			return err
		}
		_, err := c.addLibrary(tx, owner.ID)
		return err
	})
	return owner, made, err
}

// addLibrary makes the default library of a user.
func (c *Catalog) addLibrary(tx *store.Tx, user banksia.UserID) (*banksia.Library, error) {
	now := tx.Now()
	library := &banksia.Library{ID: banksia.NewID[banksia.LibraryID](now), UserID: user, Name: banksia.DefaultLibraryName, CreatedAt: now, UpdatedAt: now}
	return library, tx.InsertLibrary(library)
}

// cleanFileName keeps the last part of a path and replaces what has no place in a
// name: control characters, invalid UTF-8 and separators.
func cleanFileName(name string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r <= 0x9f || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(name, "_"))
}
