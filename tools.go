//go:build pins

// Keeps the pinned dependencies in go.mod while their packages are being written.
package banksia

import (
	_ "github.com/bep/imagemeta"
	_ "github.com/davidbyttow/govips/v2/vips"
	_ "github.com/ringsaturn/go-cities.json"
	_ "github.com/ringsaturn/tzf"
	_ "github.com/santhosh-tekuri/jsonschema/v6"
	_ "go.yaml.in/yaml/v3"
	_ "golang.org/x/sync/semaphore"
	_ "golang.org/x/sys/unix"
	_ "golang.org/x/term"
	_ "golang.org/x/text/unicode/norm"
	_ "modernc.org/sqlite"
)
