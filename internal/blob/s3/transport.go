package s3

import (
	"context"
	"net"
	"net/http"
	"time"
)

// newTransport makes connections that fail when nothing moves for a while: without
// that, a server that vanishes in the middle would hold up a request for ever, and
// with a limit on whole requests, large files could not be sent.
func newTransport(stall time.Duration) *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &watched{c, stall}, nil
		},
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: stall,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       stall / 2,
		MaxIdleConnsPerHost:   64,
		DisableCompression:    true, // or ranges would count other bytes
	}
}

// watched is a connection each of whose steps has a limit of time.
type watched struct {
	net.Conn
	stall time.Duration
}

func (c *watched) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *watched) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
