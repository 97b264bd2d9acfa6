package backup

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/banksia-photos/banksia/internal/blob"
)

// Backups may be made side by side, but none while originals are removed: one that is
// under way counts on what it has found in the place. Each says what it does in a file
// below locks/ before it looks at the others, so of two that begin at once at least
// one sees the other. A folder or a bucket has no better lock that both have.

// ErrInUse says that somebody else is busy in a place of backups.
var ErrInUse = errors.New("the place of backups is in use")

const (
	// lockRenewal is how often the file of a lock is written anew.
	lockRenewal = 5 * time.Minute
	// lockLife is after how long a file counts as left by a process that was killed.
	// A holder that could not renew its lock stops when half of it is over.
	lockLife = 30 * time.Minute
)

const (
	making  = "locks/backup-"
	pruning = "locks/prune-"
)

// lock is the use of a place by this process.
type lock struct {
	place   blob.Store
	key     blob.Key
	renewed atomic.Int64 // by the wall clock: it goes on while the machine sleeps
	stop    context.CancelFunc
	stopped chan struct{}
}

// use takes the lock of a kind, or fails with ErrInUse.
func use(ctx context.Context, place blob.Store, kind string) (*lock, error) {
	l := &lock{place: place, key: blob.Key(kind + strings.ToLower(rand.Text())), stopped: make(chan struct{})}
	if err := l.renew(ctx); err != nil {
		return nil, fmt.Errorf("use the place: %w", err)
	}
	running, stop := context.WithCancel(ctx)
	l.stop = stop
	go func() {
		defer close(l.stopped)
		ticker := time.NewTicker(lockRenewal)
		defer ticker.Stop()
		for {
			select {
			case <-running.Done():
				return
			case <-ticker.C:
				l.renew(running) // valid tells when that fails for long
			}
		}
	}()
	if err := l.alone(ctx, kind); err != nil {
		l.release(ctx)
		return nil, err
	}
	return l, nil
}

// alone fails when somebody else does what must not happen at the same time, and
// clears away what killed processes have left.
func (l *lock) alone(ctx context.Context, kind string) error {
	own, err := l.place.Stat(ctx, l.key) // for the clock of the storage
	if err != nil {
		return fmt.Errorf("use the place: %w", err)
	}
	var left []blob.Key
	err = l.place.List(ctx, "locks/", func(info blob.Info) error {
		other := string(info.Key)
		switch {
		case info.Key == l.key:
		case own.ModTime.Sub(info.ModTime) > lockLife:
			left = append(left, info.Key)
		case kind == pruning || !strings.HasPrefix(other, making):
			what := "another backup is being made there"
			if strings.HasPrefix(other, pruning) {
				what = "old backups are being removed there"
			}
			return fmt.Errorf("%w: %s, since %s; if it was killed, try again in %s", ErrInUse, what, info.ModTime.UTC().Format(time.RFC3339), lockLife)
		}
		return nil
	})
	for _, key := range left {
		if err == nil {
			err = l.place.Delete(ctx, key)
		}
	}
	return err
}

func (l *lock) renew(ctx context.Context) error {
	now := time.Now().Round(0)
	err := l.place.Put(ctx, l.key, strings.NewReader(now.UTC().Format(time.RFC3339)+"\n"))
	if err == nil {
		l.renewed.Store(now.UnixNano())
	}
	return err
}

// valid fails when others may take the lock for abandoned.
func (l *lock) valid() error {
	if time.Since(time.Unix(0, l.renewed.Load())) > lockLife/2 {
		return fmt.Errorf("%w: the storage of the backups was away, or this process paused, for too long", ErrInUse)
	}
	return nil
}

// release ends the use, also when that of the context has ended.
func (l *lock) release(ctx context.Context) {
	l.stop()
	<-l.stopped
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	l.place.Delete(limited, l.key) // or it is taken for abandoned some time
}

// remove deletes a file of the place as long as nobody else can count on it.
func (l *lock) remove(ctx context.Context, key blob.Key) error {
	if err := l.valid(); err != nil {
		return err
	}
	return l.place.Delete(ctx, key)
}
