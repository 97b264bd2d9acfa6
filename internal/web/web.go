// Package web holds the pages: a landing page, and one to read and try the API.
// They are embedded, load nothing from elsewhere, and know the server only through
// its public API.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"time"
)

//go:generate go run ./generate script/docs.ts static/docs.js

//go:embed static
var static embed.FS

// policy keeps the pages from loading or running anything that is not theirs, and
// other sites from framing them.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// types are the media types by the ending of a file; the machine's own tables
// differ.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
}

// Handler serves GET and HEAD of / and of /docs with what is below it; every other
// path is not found.
func Handler() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, name := range map[string]string{
		"GET /{$}":            "index.html",
		"GET /docs":           "docs.html",
		"GET /docs/{$}":       "docs.html",
		"GET /docs/docs.js":   "docs.js",
		"GET /docs/style.css": "style.css",
		"GET /docs/icon.svg":  "icon.svg",
	} {
		mux.Handle(pattern, page(name))
	}
	return mux
}

// page serves an embedded file. Browsers ask each time whether it has changed, so
// that a new version of the server never meets an old script.
func page(name string) http.Handler {
	content, err := static.ReadFile("static/" + name)
	if err != nil {
		panic(fmt.Sprintf("web: %v", err)) // the list above names a file that is not embedded
	}
	sum := sha256.Sum256(content)
	etag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Type", types[path.Ext(name)])
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-cache")
		header.Set("ETag", etag)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
	})
}
