package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"
)

const healthcheckUsage = `Usage: banksia healthcheck [flags]

Asks the server at the listen address whether it is there; exits with 0 when it
is, else with 1. For containers and service managers.
`

func healthcheckCommand() command {
	return command{"healthcheck", "ask a running server whether it is well", runHealthcheck}
}

func runHealthcheck(ctx context.Context, args []string, std stdio) error {
	cfg := defaultSettings()
	set := newFlags("healthcheck", healthcheckUsage, std)
	cfg.addFlags(set)
	if err := cfg.parse(set, args); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(cfg.listen)
	if err != nil {
		return fmt.Errorf("BANKSIA_LISTEN: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/api/server/ping", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answers %s", response.Status)
	}
	fmt.Fprintln(std.out, "ok")
	return nil
}
