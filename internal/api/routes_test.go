package api

import (
	"strings"
	"testing"

	"github.com/banksia-photos/banksia/internal/banksiatest/spec"
)

// Every operation under /api is one of the contract's, and whoever may call it is
// decided: only these are for everybody.
func TestRoutes(t *testing.T) {
	t.Parallel()
	document, err := spec.Load(Document)
	if err != nil {
		t.Fatal(err)
	}
	public := map[string]bool{"GET /api/server/ping": true, "GET /healthz": true, "GET /readyz": true, "GET /openapi.json": true, "GET /media/{version}/{variant}/{name}": true,
		"GET /api/oauth/auth-url": true, "POST /api/oauth/exchange": true, "GET /api/oauth/logout-endpoint": true, "GET /login": true, "POST /login": true,
		"GET /oauth/authorize": true, "POST /oauth/authorize": true, "GET /oauth/callback": true, "POST /oauth/token": true, "POST /oauth/revoke": true, "POST /oauth/register": true,
		"GET /.well-known/oauth-authorization-server": true, "GET /.well-known/oauth-protected-resource": true, "GET /.well-known/oauth-protected-resource/mcp": true}
	known := map[string]bool{}
	for _, row := range (&Server{}).routes() {
		known[row.pattern] = true
		if (row.action == "") != public[row.pattern] {
			t.Errorf("%s needs the action %q", row.pattern, row.action)
		}
		method, path, _ := strings.Cut(strings.TrimSuffix(row.pattern, "{$}"), " ")
		if !strings.HasPrefix(path, "/api/") {
			continue
		}
		if operation, ok := document.Find(method, path); !ok || operation.Path != path {
			t.Errorf("%s is not in the document", row.pattern)
		}
	}
	for pattern := range costs {
		if !known[pattern] {
			t.Errorf("there is a cost of %s, which is no operation", pattern)
		}
	}
}

func TestCleanPath(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{"/": "/", "/a": "/a", "/a/": "/a/", "//a": "/a", "/a//b/": "/a/b/", "/a/../b": "/b", "/./a": "/a", "a": "/a", "": "/", "*": "/*", "/..": "/", "/a/.": "/a"} {
		if got := cleanPath(given); got != want {
			t.Errorf("%q: %q, want %q", given, got, want)
		}
	}
}
