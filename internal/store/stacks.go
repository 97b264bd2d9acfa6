package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/banksia-photos/banksia"
)

// InsertStack adds a stack with its members, which belong to no other.
func (tx *Tx) InsertStack(s *banksia.Stack, members []banksia.AssetID) error {
	_, err := tx.Exec(`INSERT INTO stacks (id, library_id, origin, primary_asset_id, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		s.ID, s.LibraryID, s.Origin, s.PrimaryAssetID, s.CreatedAt.UnixMicro(), s.UpdatedAt.UnixMicro())
	for _, asset := range members {
		if err == nil {
			err = tx.setStack(s.LibraryID, asset, &s.ID)
		}
	}
	if err != nil {
		return fmt.Errorf("insert stack: %w", err)
	}
	return tx.emit(s.LibraryID, banksia.StackCreated, s.ID, nil)
}

// setStack makes an asset a member of a stack, or of none.
func (tx *Tx) setStack(library banksia.LibraryID, asset banksia.AssetID, stack *banksia.StackID) error {
	_, err := tx.Exec(`UPDATE assets SET stack_id = $1, updated_at = $2 WHERE id = $3 AND library_id = $4`, stack, tx.Now().UnixMicro(), asset, library)
	if err != nil {
		return fmt.Errorf("stack of asset %s: %w", asset, err)
	}
	return tx.emit(library, banksia.AssetUpdated, asset, stackPayload{stack})
}

// StackPage says which stacks of a library a list holds.
type StackPage struct {
	Paging[banksia.StackID]
	LibraryID      banksia.LibraryID
	Origin         banksia.StackOrigin // "": any
	PrimaryAssetID *banksia.AssetID    // only the one that pins this asset
}

// ListStacks reads a page of the stacks of a library in the order of their IDs
// (behaviour 14.1), which makes any ID a cursor.
func (s *Store) ListStacks(ctx context.Context, scope banksia.Scope, p StackPage) (stacks []banksia.Stack, more bool, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		if visible, err := tx.sees(scope, p.LibraryID); err != nil || !visible {
			return err
		}
		var q query
		source := p.rows(&q, "stacks")
		if p.PrimaryAssetID != nil && p.IDs == nil {
			source = fence("SELECT * FROM stacks WHERE primary_asset_id = "+q.arg(p.PrimaryAssetID)) + " r"
		}
		where := " WHERE r.library_id = " + q.arg(p.LibraryID)
		if p.PrimaryAssetID != nil {
			where += " AND r.primary_asset_id = " + q.arg(p.PrimaryAssetID)
		}
		if p.Origin != "" {
			where += " AND r.origin = " + q.arg(p.Origin)
		}
		if p.StartingAfter != nil {
			where += " AND r.id > " + q.arg(p.StartingAfter)
		}
		stacks, err = tx.stacksFrom(source+where+" ORDER BY r.id LIMIT "+q.arg(p.Limit+1), q.args...)
		if err != nil {
			return fmt.Errorf("list stacks: %w", err)
		}
		stacks, more = cut(stacks, p.Limit)
		return nil
	})
	return stacks, more, err
}

// GetStack reads one stack.
func (s *Store) GetStack(ctx context.Context, scope banksia.Scope, id banksia.StackID) (stack banksia.Stack, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		stack, err = tx.Stack(scope, id)
		return err
	})
	return stack, err
}

// Stack is Store.GetStack within a transaction.
func (tx *Tx) Stack(scope banksia.Scope, id banksia.StackID) (stack banksia.Stack, err error) {
	var q query
	stacks, err := tx.stacksFrom("stacks r WHERE r.id = "+q.arg(id)+" AND "+q.visible(scope, "r.library_id"), q.args...)
	if err != nil {
		return stack, fmt.Errorf("stack %s: %w", id, err)
	}
	if len(stacks) == 0 {
		return stack, banksia.NotFound("Stack")
	}
	return stacks[0], nil
}

func (tx *Tx) stacksFrom(source string, args ...any) (stacks []banksia.Stack, err error) {
	err = tx.each(`SELECT r.id, r.library_id, r.origin, r.primary_asset_id, r.created_at, r.updated_at,
		(SELECT COUNT(*) FROM assets a WHERE a.stack_id = r.id AND a.live = TRUE) FROM `+source, args, func(rows *sql.Rows) error {
		var s banksia.Stack
		var primary sql.Null[banksia.AssetID]
		var created, updated int64
		err := rows.Scan(&s.ID, &s.LibraryID, &s.Origin, &primary, &created, &updated, &s.AssetCount)
		s.PrimaryAssetID, s.CreatedAt, s.UpdatedAt = pointer(primary), timeOf(created), timeOf(updated)
		stacks = append(stacks, s)
		return err
	})
	return stacks, err
}

// StackOf reads which stack an asset of a library is in; nil: none. A missing asset
// is a banksia.Error with CodeNotFound.
func (tx *Tx) StackOf(library banksia.LibraryID, asset banksia.AssetID) (*banksia.StackID, error) {
	var stack sql.Null[banksia.StackID]
	err := tx.QueryRow(`SELECT stack_id FROM assets WHERE id = $1 AND library_id = $2`, asset, library).Scan(&stack)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, banksia.NotFound("Asset")
	}
	if err != nil {
		return nil, fmt.Errorf("stack of asset %s: %w", asset, err)
	}
	return pointer(stack), nil
}

// StackMembers reads the members of a stack, live and trashed, oldest first.
func (tx *Tx) StackMembers(id banksia.StackID) ([]banksia.AssetID, error) {
	return idsFrom[banksia.AssetID](tx, `SELECT id FROM assets WHERE stack_id = $1 ORDER BY local_datetime, id`, id)
}

// InLiveStack tells whether a live asset is in a stack.
func (tx *Tx) InLiveStack(id banksia.StackID, asset banksia.AssetID) (bool, error) {
	return tx.exists(`SELECT 1 FROM assets WHERE id = $1 AND stack_id = $2 AND live = TRUE`, asset, id)
}

// UpdateStack stores the origin and the pinned cover of a stack, and tells that it
// changed.
func (tx *Tx) UpdateStack(s *banksia.Stack) error {
	_, err := tx.Exec(`UPDATE stacks SET origin = $1, primary_asset_id = $2, updated_at = $3 WHERE id = $4`, s.Origin, s.PrimaryAssetID, tx.Now().UnixMicro(), s.ID)
	if err != nil {
		return fmt.Errorf("update stack: %w", err)
	}
	return tx.emit(s.LibraryID, banksia.StackUpdated, s.ID, nil)
}

// MoveToStack makes assets of a library members of a stack, out of those they were
// in; a stack whose pinned cover is taken comes as a whole, and one that is left
// with fewer than two members dissolves (behaviour 14.4). An unknown asset is a
// banksia.Error with CodeNotFound. It returns how many assets moved.
func (tx *Tx) MoveToStack(library banksia.LibraryID, to banksia.StackID, assets []banksia.AssetID) (moved int, err error) {
	var left []banksia.StackID
	move := func(asset banksia.AssetID) error {
		from, err := tx.StackOf(library, asset)
		if err != nil || from != nil && *from == to {
			return err
		}
		if from != nil && !slices.Contains(left, *from) {
			left = append(left, *from)
		}
		moved++
		return tx.setStack(library, asset, &to)
	}
	for _, asset := range assets {
		from, err := tx.StackOf(library, asset)
		if err != nil {
			return moved, err
		}
		group := []banksia.AssetID{asset}
		if from != nil && *from != to {
			pinned, err := tx.exists(`SELECT 1 FROM stacks WHERE id = $1 AND primary_asset_id = $2`, from, asset)
			if err != nil {
				return moved, err
			}
			if pinned {
				if group, err = tx.StackMembers(*from); err != nil {
					return moved, err
				}
			}
		}
		for _, one := range group {
			if err := move(one); err != nil {
				return moved, err
			}
		}
	}
	for _, from := range left {
		if err := tx.settleStack(library, from, true); err != nil {
			return moved, err
		}
	}
	return moved, nil
}

// RemoveFromStack takes members out of a stack, which may dissolve it; other assets
// are left alone.
func (tx *Tx) RemoveFromStack(s *banksia.Stack, assets []banksia.AssetID) error {
	changed := false
	for _, asset := range assets {
		member, err := tx.exists(`SELECT 1 FROM assets WHERE id = $1 AND stack_id = $2`, asset, s.ID)
		if err == nil && member {
			changed = true
			err = tx.setStack(s.LibraryID, asset, nil)
		}
		if err != nil {
			return err
		}
	}
	if !changed {
		return nil
	}
	return tx.settleStack(s.LibraryID, s.ID, true)
}

// settleStack dissolves a stack that has lost members and has fewer than two, and
// takes the pin off one whose cover has left it. One that a user took members from
// is the user's (behaviour 14.5, 14.8).
func (tx *Tx) settleStack(library banksia.LibraryID, id banksia.StackID, byUser bool) error {
	members, err := tx.StackMembers(id)
	if err != nil {
		return err
	}
	if len(members) < 2 {
		return tx.DissolveStack(library, id)
	}
	_, err = tx.Exec(`UPDATE stacks SET primary_asset_id = NULL WHERE id = $1 AND primary_asset_id IS NOT NULL
		AND NOT EXISTS (SELECT 1 FROM assets a WHERE a.id = stacks.primary_asset_id AND a.stack_id = stacks.id)`, id)
	if err == nil {
		_, err = tx.Exec(`UPDATE stacks SET updated_at = $1, origin = CASE WHEN $2 THEN 'user' ELSE origin END WHERE id = $3`, tx.Now().UnixMicro(), byUser, id)
	}
	if err != nil {
		return fmt.Errorf("settle stack: %w", err)
	}
	return tx.emit(library, banksia.StackUpdated, id, nil)
}

// DissolveStack deletes a stack; its assets stay. Their events come first
// (behaviour 14.6).
func (tx *Tx) DissolveStack(library banksia.LibraryID, id banksia.StackID) error {
	members, err := tx.StackMembers(id)
	for _, asset := range members {
		if err == nil {
			err = tx.setStack(library, asset, nil)
		}
	}
	if err == nil {
		_, err = tx.Exec(`DELETE FROM stacks WHERE id = $1`, id)
	}
	if err != nil {
		return fmt.Errorf("dissolve stack: %w", err)
	}
	return tx.emit(library, banksia.StackDeleted, id, nil)
}
