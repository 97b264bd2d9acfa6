//go:build !linux

package blob

import "os"

// startWriteback does nothing where the system has no such hint.
func startWriteback(*os.File, int64, int64) {}
