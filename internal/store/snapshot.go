package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Snapshot writes everything in the database, as it is at one moment, into a new
// SQLite file, whatever the engine. Others read and write meanwhile. progress may be
// nil.
func (s *Store) Snapshot(ctx context.Context, path string, progress func(step, table string, done, total int64)) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("snapshot: %s is there already", path)
	}
	err := s.dialect.snapshot(ctx, s, path, progress)
	if err == nil {
		err = syncFile(path)
	}
	if err != nil {
		for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
			os.Remove(path + suffix)
		}
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

func syncFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// snapshotByCopy is a snapshot for engines whose files are not SQLite's.
func snapshotByCopy(ctx context.Context, s *Store, path string, progress func(step, table string, done, total int64)) error {
	to, err := Open(ctx, Config{Path: path})
	if err != nil {
		return err
	}
	err = Copy(ctx, s, to, CopyOptions{Progress: progress})
	return errors.Join(err, to.Close())
}

// snapshotFile lets SQLite write a file anew, in one read transaction, which the
// connections for reading may not do.
func snapshotFile(from string) func(context.Context, *Store, string, func(step, table string, done, total int64)) error {
	return func(ctx context.Context, s *Store, path string, _ func(step, table string, done, total int64)) error {
		p, err := sqlitePool(from, 1, s.dialect.beginRead)
		if err != nil {
			return err
		}
		c, err := p.take(ctx)
		if err == nil {
			_, err = c.ExecContext(ctx, `VACUUM INTO $1`, path)
			p.give(c)
		}
		return errors.Join(s.explain(err), p.close())
	}
}
