package media

import "golang.org/x/sys/unix"

const architecture = unix.AUDIT_ARCH_AARCH64

// forbiddenHere are the calls that only some processors' tables have.
var forbiddenHere = []uint32{unix.SYS_KEXEC_FILE_LOAD}

// opening are the calls that open files, and which argument has the flags.
var opening = map[uint32]uint32{unix.SYS_OPENAT: 2}
