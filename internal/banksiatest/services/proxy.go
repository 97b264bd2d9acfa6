package services

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Cable is a connection to a server that a test can cut and mend.
type Cable struct {
	Address string // where clients connect to, host:port
	Target  string // where the server is

	listener net.Listener

	mu    sync.Mutex
	cut   bool
	ends  map[net.Conn]struct{} // of every connection that is open
	after int64                 // bytes to the server until the cable cuts itself; negative: never
	wake  chan struct{}         // closed when the cable was cut last
}

// Proxy starts a cable to a server at host:port; it ends with the test.
func Proxy(t testing.TB, target string) *Cable {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &Cable{Address: listener.Addr().String(), Target: target, listener: listener, ends: map[net.Conn]struct{}{}, after: -1, wake: make(chan struct{})}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { c.carry(client) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		c.Cut()
		running.Wait()
	})
	return c
}

// Cut ends every connection at once and lets no new one through.
func (c *Cable) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutNow()
}

func (c *Cable) cutNow() {
	if !c.cut {
		c.cut = true
		close(c.wake)
	}
	for end := range c.ends {
		end.Close()
	}
}

// CutAfter cuts once that many more bytes have gone to the server. The channel is
// closed at that moment.
func (c *Cable) CutAfter(bytes int64) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.after = bytes
	return c.wake
}

// Mend lets new connections through again.
func (c *Cable) Mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		c.cut, c.after, c.wake = false, -1, make(chan struct{})
	}
}

// plug remembers the end of a connection, unless the cable is cut.
func (c *Cable) plug(end net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.cut {
		c.ends[end] = struct{}{}
	}
	return !c.cut
}

func (c *Cable) unplug(end net.Conn) {
	end.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.ends, end)
}

// carry passes on what both sides say until one of them ends.
func (c *Cable) carry(client net.Conn) {
	defer c.unplug(client)
	if !c.plug(client) {
		return
	}
	server, err := net.Dial("tcp", c.Target)
	if err != nil {
		return
	}
	defer c.unplug(server)
	if !c.plug(server) {
		return
	}
	var both sync.WaitGroup
	pass := func(to, from net.Conn, counted bool) {
		defer to.Close()
		if counted {
			io.Copy(&counter{c, to}, from)
		} else {
			io.Copy(to, from)
		}
	}
	both.Go(func() { pass(server, client, true) })
	both.Go(func() { pass(client, server, false) })
	both.Wait()
}

// counter counts what goes to the server, for CutAfter.
type counter struct {
	cable *Cable
	to    io.Writer
}

func (w *counter) Write(p []byte) (int, error) {
	c := w.cable
	c.mu.Lock()
	if c.after >= 0 {
		if int64(len(p)) >= c.after {
			p = p[:c.after]
			c.mu.Unlock()
			w.to.Write(p)
			c.Cut()
			return len(p), io.ErrShortWrite
		}
		c.after -= int64(len(p))
	}
	c.mu.Unlock()
	return w.to.Write(p)
}
