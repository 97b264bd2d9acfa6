package wire

import "github.com/banksia-photos/banksia"

// Stack is a group of assets shown as one tile.
type Stack struct {
	ID             banksia.StackID     `json:"id"`
	AssetCount     int64               `json:"asset_count"`
	CreatedAt      Time                `json:"created_at"`
	Origin         banksia.StackOrigin `json:"origin"`
	UpdatedAt      Time                `json:"updated_at"`
	PrimaryAssetID *banksia.AssetID    `json:"primary_asset_id"`
}

// NewStack writes a stack.
func NewStack(s *banksia.Stack) Stack {
	return Stack{s.ID, s.AssetCount, Time(s.CreatedAt), s.Origin, Time(s.UpdatedAt), s.PrimaryAssetID}
}
