package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const healthcheckUsage = `Usage: banksia healthcheck [flags]

Asks the server at the listen address whether it is there; exits with 0 when it
is, else with 1. For containers and service managers, which give it the same
settings as the server.
`

// healthcheckTimeout is how long the answer may take.
const healthcheckTimeout = 5 * time.Second

func healthcheckCommand() command {
	return command{"healthcheck", "ask a running server whether it is well", runHealthcheck}
}

func runHealthcheck(ctx context.Context, args []string, std stdio) error {
	cfg := defaultSettings()
	set := flag.NewFlagSet("healthcheck", flag.ContinueOnError)
	cfg.addListenFlag(set)
	cfg.addFolderFlags(set)
	if err := cfg.loadAll(set, healthcheckUsage, args, std); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(cfg.listen)
	if err != nil {
		return fmt.Errorf("BANKSIA_LISTEN: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	baseURL := "http://" + net.JoinHostPort(host, port)
	if port == "0" { // any free port: only the server knows which
		running, err := readAnnouncement(cfg.data)
		if err != nil {
			return err
		}
		baseURL = running.URL
	}
	ctx, cancel := context.WithTimeout(ctx, healthcheckTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, baseURL+"/api/server/ping", nil)
	if err != nil {
		return err
	}
	response, err := directClient().Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 64))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if response.StatusCode != http.StatusOK || string(answer) != "pong" {
		return fmt.Errorf("%s answers %s, %q: this is not Banksia, or it is not well", baseURL, response.Status, answer)
	}
	fmt.Fprintln(std.out, "ok")
	return nil
}

// directClient calls servers on this machine, never through a proxy.
func directClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	transport.MaxIdleConnsPerHost = 64
	return &http.Client{Transport: transport}
}
