package store

import "syscall"

// tcpUserTimeout is TCP_USER_TIMEOUT of tcp(7): without it, what is sent to a machine
// that is gone is sent again for a quarter of an hour.
const tcpUserTimeout = 18

func limitSilence(fd int) error {
	return syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, tcpUserTimeout, int(silence.Milliseconds()))
}
