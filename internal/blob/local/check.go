package local

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/banksia-photos/banksia/internal/blob"
)

// Check implements blob.Checker: the folder is there and may be written. Whether
// there is room is not asked, since reading goes on without.
func (s *Store) Check(context.Context) error {
	for _, folder := range []string{s.root, s.TempDir()} {
		if err := unix.Access(folder, unix.R_OK|unix.W_OK|unix.X_OK); err != nil {
			return blob.Explain(fmt.Errorf("use the blob folder %s: %w", folder, err))
		}
	}
	return nil
}
