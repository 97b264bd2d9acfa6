package blob

import (
	"os"

	"golang.org/x/sys/unix"
)

// startWriteback asks the kernel to begin storing a range of a file and does not
// wait. It is a hint: File.Sync alone makes the file durable.
func startWriteback(file *os.File, offset, length int64) {
	unix.SyncFileRange(int(file.Fd()), offset, length, unix.SYNC_FILE_RANGE_WRITE)
}
