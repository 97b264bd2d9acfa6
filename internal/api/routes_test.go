package api

import (
	"strings"
	"testing"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/banksiatest/spec"
)

// Public are the operations that need no credential, and why.
var Public = map[string]string{
	"GET /api/server/ping":                          "tells only that a server is there",
	"GET /healthz":                                  "tells only that the process answers",
	"GET /readyz":                                   "tells which parts answer, not why one does not",
	"GET /openapi.json":                             "is the same for everybody",
	"GET /media/{version}/{variant}/{name}":         "the signature in the URL is the credential",
	"GET /api/oauth/auth-url":                       "begins a sign-in",
	"POST /api/oauth/exchange":                      "ends a sign-in; the code is the credential",
	"GET /api/oauth/logout-endpoint":                "tells a public address",
	"GET /login":                                    "is the page to sign in",
	"POST /login":                                   "takes a password",
	"GET /oauth/authorize":                          "is the page to allow a program something",
	"POST /oauth/authorize":                         "takes a password",
	"GET /oauth/callback":                           "the issuer's code is the credential",
	"POST /oauth/token":                             "takes a code or a refresh token",
	"POST /oauth/revoke":                            "takes the token that it ends",
	"POST /oauth/register":                          "programs are public clients (RFC 7591)",
	"GET /.well-known/oauth-authorization-server":   "describes the server (RFC 8414)",
	"GET /.well-known/oauth-protected-resource":     "describes the server (RFC 9728)",
	"GET /.well-known/oauth-protected-resource/mcp": "describes the server (RFC 9728)",
}

// Needed is the action of every operation, "" for the public ones.
func Needed() map[string]banksia.Action {
	needed := map[string]banksia.Action{}
	for _, row := range (&Server{}).routes() {
		needed[strings.TrimSuffix(row.pattern, "{$}")] = row.action
	}
	return needed
}

// Every operation under /api, and every one that needs a credential, is in the
// document, from which TestAuthorisation is made; and whoever may call it is decided:
// only these are for everybody.
func TestRoutes(t *testing.T) {
	t.Parallel()
	document, err := spec.Load(Document)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, row := range (&Server{}).routes() {
		known[row.pattern] = true
		if (row.action == "") != (Public[row.pattern] != "") {
			t.Errorf("%s needs the action %q", row.pattern, row.action)
		}
		method, path, _ := strings.Cut(strings.TrimSuffix(row.pattern, "{$}"), " ")
		if !strings.HasPrefix(path, "/api/") && row.action == "" {
			continue
		}
		if operation, ok := document.Find(method, path); !ok || operation.Path != path {
			t.Errorf("%s is not in the document", row.pattern)
		}
	}
	for pattern := range Public {
		if !known[pattern] {
			t.Errorf("%s is public, and no operation", pattern)
		}
	}
	for pattern := range signingIn {
		if Public[pattern] == "" {
			t.Errorf("%s is limited for strangers, and not public", pattern)
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
