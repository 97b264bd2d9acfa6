package store

import (
	"net"
	"syscall"
	"time"
)

// silence is after how long a connection counts as broken whose other end has
// neither answered nor refused anything: its machine has lost its power, or the
// network between.
const silence = 30 * time.Second

// databaseDialer notices silence also where a statement waits for its result, and
// where the statement itself was never received.
var databaseDialer = net.Dialer{
	KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: silence / 2, Interval: silence / 6, Count: 3},
	Control: func(network, _ string, c syscall.RawConn) error {
		if network == "unix" {
			return nil
		}
		var failure error
		err := c.Control(func(fd uintptr) { failure = limitSilence(int(fd)) })
		if err == nil {
			err = failure
		}
		return err
	},
}
