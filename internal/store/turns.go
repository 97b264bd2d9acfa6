package store

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/banksia-photos/banksia"
)

// turns lets the changes of one owner happen one after the other within this
// process; a database with several writers keeps the same order among processes.
// Waiting here is fair and cheap, and costs no connection.
type turns struct {
	patience time.Duration
	mu       sync.Mutex
	waiting  map[int64]*turn
}

type turn struct {
	free  chan struct{} // holds a token while nobody has the turn
	users int           // who has it or waits for it
}

// commonTurn is the key of changes that belong to no owner.
const commonTurn int64 = 0

// turnKeys are the keys of the turns of owners, in the order in which everybody
// takes them, so that no two wait for each other. UUIDs end in random bits.
func turnKeys(owners []banksia.UserID) []int64 {
	keys := make([]int64, 0, len(owners))
	for _, owner := range owners {
		keys = append(keys, int64(binary.BigEndian.Uint64(owner[8:])))
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// take waits for the turns of all keys, which are sorted, and returns what gives
// them back.
func (t *turns) take(ctx context.Context, keys []int64) (release func(), err error) {
	var timer *time.Timer
	var held []int64
	release = func() {
		for _, key := range held {
			t.leave(key, true)
		}
	}
	for _, key := range keys {
		one := t.enter(key)
		select {
		case <-one.free:
			held = append(held, key)
			continue
		default:
		}
		if timer == nil {
			timer = time.NewTimer(t.patience)
			defer timer.Stop()
		}
		select {
		case <-one.free:
			held = append(held, key)
			continue
		case <-ctx.Done():
			err = ctx.Err()
		case <-timer.C:
			err = errTurn()
		}
		t.leave(key, false)
		release()
		return nil, err
	}
	return release, nil
}

func errTurn() error {
	return &banksia.Error{Code: banksia.CodeUnavailable, Message: "Other changes took too long. Try again.", Retry: time.Second, Err: ErrBusy}
}

func (t *turns) enter(key int64) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	one := t.waiting[key]
	if one == nil {
		one = &turn{free: make(chan struct{}, 1)}
		one.free <- struct{}{}
		t.waiting[key] = one
	}
	one.users++
	return one
}

func (t *turns) leave(key int64, had bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	one := t.waiting[key]
	if had {
		one.free <- struct{}{}
	}
	if one.users--; one.users == 0 {
		delete(t.waiting, key)
	}
}
