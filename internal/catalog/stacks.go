package catalog

import (
	"context"
	"slices"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/store"
)

// CreateStack groups two assets or more of a library (nil: the only one), out of
// the stacks they were in; cover pins one of them (behaviour 14.4).
func (c *Catalog) CreateStack(ctx context.Context, scope banksia.Scope, library *banksia.LibraryID, assets []banksia.AssetID, cover *banksia.AssetID) (stack banksia.Stack, err error) {
	if len(assets) < 2 {
		return stack, banksia.Invalid("body", "asset_ids", "a stack has at least two different assets")
	}
	if cover != nil && !slices.Contains(assets, *cover) {
		return stack, banksia.Invalid("body", "primary_asset_id", "is not one of asset_ids")
	}
	err = c.store.Change(ctx, scope.UserID, func(tx *store.Tx) error {
		l, err := tx.ResolveLibrary(scope, library)
		if err != nil {
			return err
		}
		if l == nil {
			return banksia.NotFound("Asset")
		}
		now := tx.Now()
		stack = banksia.Stack{ID: banksia.NewID[banksia.StackID](now), LibraryID: l.ID, Origin: banksia.StackUser, PrimaryAssetID: cover, CreatedAt: now, UpdatedAt: now}
		if err := tx.InsertStack(&stack, nil); err != nil {
			return err
		}
		if _, err := tx.MoveToStack(l.ID, stack.ID, assets); err != nil {
			return err
		}
		if cover != nil {
			if err := checkCover(tx, stack.ID, *cover); err != nil {
				return err
			}
		}
		stack, err = tx.Stack(scope, stack.ID)
		return err
	})
	return stack, err
}

func checkCover(tx *store.Tx, stack banksia.StackID, cover banksia.AssetID) error {
	member, err := tx.InLiveStack(stack, cover)
	if err == nil && !member {
		return banksia.Invalid("body", "primary_asset_id", "is not a live member of the stack")
	}
	return err
}

// AddToStack makes assets members of a stack. When that changes nothing, its
// origin stays (behaviour 14.5).
func (c *Catalog) AddToStack(ctx context.Context, scope banksia.Scope, id banksia.StackID, assets []banksia.AssetID) (stack banksia.Stack, err error) {
	err = c.changeStack(ctx, scope, id, func(tx *store.Tx, s *banksia.Stack) error {
		moved, err := tx.MoveToStack(s.LibraryID, id, assets)
		if err == nil && moved > 0 {
			s.Origin = banksia.StackUser
			err = tx.UpdateStack(s)
		}
		if err == nil {
			stack, err = tx.Stack(scope, id)
		}
		return err
	})
	return stack, err
}

// RemoveFromStack takes assets out of a stack; others are left alone. One that is
// left with fewer than two dissolves.
func (c *Catalog) RemoveFromStack(ctx context.Context, scope banksia.Scope, id banksia.StackID, assets []banksia.AssetID) error {
	return c.changeStack(ctx, scope, id, func(tx *store.Tx, s *banksia.Stack) error {
		return tx.RemoveFromStack(s, assets)
	})
}

// SetStackCover pins a live member.
func (c *Catalog) SetStackCover(ctx context.Context, scope banksia.Scope, id banksia.StackID, cover banksia.AssetID) (stack banksia.Stack, err error) {
	err = c.changeStack(ctx, scope, id, func(tx *store.Tx, s *banksia.Stack) error {
		if err := checkCover(tx, id, cover); err != nil {
			return err
		}
		s.Origin, s.PrimaryAssetID = banksia.StackUser, &cover
		if err := tx.UpdateStack(s); err != nil {
			return err
		}
		stack, err = tx.Stack(scope, id)
		return err
	})
	return stack, err
}

// DeleteStack dissolves a stack; its assets stay.
func (c *Catalog) DeleteStack(ctx context.Context, scope banksia.Scope, id banksia.StackID) error {
	return c.changeStack(ctx, scope, id, func(tx *store.Tx, s *banksia.Stack) error { return tx.DissolveStack(s.LibraryID, id) })
}

func (c *Catalog) changeStack(ctx context.Context, scope banksia.Scope, id banksia.StackID, f func(*store.Tx, *banksia.Stack) error) error {
	return c.store.Change(ctx, scope.UserID, func(tx *store.Tx) error {
		stack, err := tx.Stack(scope, id)
		if err != nil {
			return err
		}
		return f(tx, &stack)
	})
}
