package blob

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/banksia-photos/banksia"
)

// Checker is a Store that can tell whether it would take and give blobs now.
type Checker interface {
	Check(ctx context.Context) error
}

// Check fails when a store does not answer. One that is no Checker is asked for a
// blob that is not there.
func Check(ctx context.Context, s Store) error {
	if checker, ok := s.(Checker); ok {
		return checker.Check(ctx)
	}
	if _, err := s.Stat(ctx, "check/absent"); err != nil && !errors.Is(err, ErrNotExist) {
		return fmt.Errorf("ask the storage: %w", err)
	}
	return nil
}

// Observer is told of each operation of a store: put, adopt, open, fetch, stat, mark,
// settle, delete, list. The operation runs in the context that it returns; it calls done at the
// end, with the error of the operation. What is read of an open blob is not part of
// it.
type Observer func(ctx context.Context, operation string) (in context.Context, done func(error))

// Observed returns a store that tells an observer what s does.
func Observed(s Store, observer Observer) Store {
	if observer == nil {
		return s
	}
	return &observed{s, observer}
}

type observed struct {
	Store
	observer Observer
}

func (o *observed) Check(ctx context.Context) error { return Check(ctx, o.Store) }

func (o *observed) Presign(ctx context.Context, key Key, options PresignOptions) (string, error) {
	return Presign(ctx, o.Store, key, options) // asks nobody
}

func (o *observed) Put(ctx context.Context, key Key, content io.Reader) error {
	ctx, done := o.observer(ctx, "put")
	err := o.Store.Put(ctx, key, content)
	done(err)
	return err
}

func (o *observed) Adopt(ctx context.Context, key Key, path string) error {
	ctx, done := o.observer(ctx, "adopt")
	err := o.Store.Adopt(ctx, key, path)
	done(err)
	return err
}

func (o *observed) Open(ctx context.Context, key Key) (Reader, Info, error) {
	ctx, done := o.observer(ctx, "open")
	reader, info, err := o.Store.Open(ctx, key)
	done(err)
	return reader, info, err
}

func (o *observed) Fetch(ctx context.Context, key Key) (path string, release func(), err error) {
	ctx, done := o.observer(ctx, "fetch")
	path, release, err = o.Store.Fetch(ctx, key)
	done(err)
	return path, release, err
}

func (o *observed) Stat(ctx context.Context, key Key) (Info, error) {
	ctx, done := o.observer(ctx, "stat")
	info, err := o.Store.Stat(ctx, key)
	done(err)
	return info, err
}

func (o *observed) MarkPending(ctx context.Context, sha256 banksia.Digest) (Note, error) {
	ctx, done := o.observer(ctx, "mark")
	note, err := o.Store.MarkPending(ctx, sha256)
	done(err)
	return note, err
}

func (o *observed) Settle(ctx context.Context, note Note) error {
	ctx, done := o.observer(ctx, "settle")
	err := o.Store.Settle(ctx, note)
	done(err)
	return err
}

func (o *observed) Delete(ctx context.Context, key Key) error {
	ctx, done := o.observer(ctx, "delete")
	err := o.Store.Delete(ctx, key)
	done(err)
	return err
}

func (o *observed) List(ctx context.Context, prefix Key, f func(Info) error) error {
	ctx, done := o.observer(ctx, "list")
	err := o.Store.List(ctx, prefix, f)
	done(err)
	return err
}
