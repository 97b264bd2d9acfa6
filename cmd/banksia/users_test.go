package main

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"testing"
)

// What an operator does with users, on a folder without a server.
func TestUsers(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	call := func(status int, input string, args ...string) (out string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		args = append([]string{"users"}, args...)
		if got := run(context.Background(), append(args, "--data", folder), stdio{strings.NewReader(input), &stdout, &stderr}); got != status {
			t.Errorf("%v: %d, not %d: %s", args, got, status, stderr.String())
		}
		return stdout.String()
	}
	if made := call(0, "", "add", "Ada@Example.org"); !regexp.MustCompile(`^[a-z2-9-]{23}\n$`).MatchString(made) {
		t.Errorf("the password is %q", made)
	}
	for _, address := range []string{"ada@example.org", "nobody"} {
		if out := call(1, "", "add", address); out != "" {
			t.Errorf("a password of nobody is printed: %q", out)
		}
	}
	call(0, "a good password\n", "add", "bob@example.org", "--password-stdin")
	call(1, "short\n", "add", "eve@example.org", "--password-stdin")
	call(0, "", "limit", "bob@example.org", "1000")
	call(0, "", "disable", "BOB@example.org")
	list := call(0, "", "list")
	for _, line := range []string{`"owner@localhost" +active +0 +none`, `"ada@example.org" +active +0 +none`, `"bob@example.org" +disabled +0 +1000`} {
		if !regexp.MustCompile(line).MatchString(list) {
			t.Errorf("%s is not in\n%s", line, list)
		}
	}
	call(0, "", "enable", "bob@example.org")
	call(0, "", "limit", "bob@example.org", "none")
	if list := call(0, "", "list"); strings.Contains(list, "disabled") || strings.Contains(list, "1000") {
		t.Error(list)
	}
	call(0, "another password\n", "reset-password", "bob@example.org", "--password-stdin")
	call(1, "", "reset-password", "eve@example.org")
	call(1, "", "disable", "eve@example.org")
	for _, args := range [][]string{{"limit", "bob@example.org", "much"}, {"limit", "bob@example.org"}, {"add"}, {"list", "x"}, {"fly", "x"}} {
		call(2, "", args...)
	}
	if !strings.Contains(call(0, "", "help"), "reset-password") {
		t.Error("the help does not help")
	}
}
