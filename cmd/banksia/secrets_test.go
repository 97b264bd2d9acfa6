package main

import (
	"bytes"
	"net"
	"strings"
	"testing"
)

// No command that fails shows a password, not even that of a URL that it cannot
// understand: what it prints ends up in logs and in questions to others.
func TestPasswordsOfCommands(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "somebody")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
	for _, args := range [][]string{
		{"migrate", "--to", "sqlite", "--from", "postgres://me:hunter2@" + dead + "/db"},
		{"migrate", "--to", "sqlite", "--from", "postgres://" + dead + "/db?user=me&password=hunter2"},
		{"migrate", "--to", "sqlite", "--from", "postgres://me:hunter2%zz@" + dead + "/db"},
		{"migrate", "--to", "sqlite", "--from", "postgres://me:hunter2@" + dead + "/db?sslmode=nonsense"},
		{"migrate", "--to", "sqlite", "--from", "Postgres://me:hunter2@" + dead + "/db"},
		{"migrate", "--to", "sqlite", "--from", "mysql://me:hunter2@" + dead + "/db"},
		{"migrate", "--to", "sqlite", "--from", "host=" + dead + " password=hunter2"},
		{"check", "--database-url", "postgres://me:hunter2@" + dead + "/db"},
		{"check", "--database-url", "Postgres://me:hunter2@" + dead + "/db"},
		{"keys", "list", "--database-url", "postgres://me:hunter2@" + dead + "/db"},
		{"check", "--blobs", "s3://me:hunter2@bucket"},
		{"check", "--blobs", "s3://bucket?secret-key=hunter2"},
		{"check", "--blobs", "s3://bucket?endpoint=http://me:hunter2@" + dead},
		{"blobs", "copy", "--from", "s3://bucket?endpoint=http://" + dead, "--to", "s3://me:hunter2@bucket"},
		{"backup", "s3://me:hunter2@bucket?endpoint=http://" + dead},
		{"restore", "s3://me:hunter2@bucket?endpoint=http://" + dead},
		{"serve", "--oidc-issuer", "https://me:hunter2@" + dead},
		{"serve", "--oidc-client-secret", "hunter2", "--nonsense"},
		{"import", "--server", "http://me:hunter2@" + dead, t.TempDir()},
	} {
		var out bytes.Buffer
		status := run(t.Context(), append(args, "--data", t.TempDir()), stdio{strings.NewReader(""), &out, &out})
		if status == 0 || out.Len() == 0 || strings.Contains(out.String(), "hunter2") {
			t.Errorf("%v: %d %s", args, status, out.String())
		}
	}
}
