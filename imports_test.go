package banksia_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/banksia-photos/banksia"

// mayImport says which of the module's packages a package may import besides the
// root and its own subpackages: docs/architecture.md, "Packages". A package
// without a row fails the test, so that its place is decided when it is made.
var mayImport = map[string][]string{
	"":            {}, // entities and errors: the standard library only
	"cmd/banksia": {"internal/api", "internal/auth", "internal/backup", "internal/blob", "internal/catalog", "internal/check", "internal/config", "internal/derive", "internal/importer", "internal/media", "internal/place", "internal/store", "internal/task", "internal/telemetry", "internal/web"},

	"cmd/banksia-bench": {"internal/store"},

	// It fills the hooks of what it measures.
	"internal/telemetry": {"internal/api", "internal/blob", "internal/media", "internal/store", "internal/task"},

	"internal/api":      {"internal/auth", "internal/blob", "internal/catalog", "internal/derive", "internal/search", "internal/store"},
	"internal/web":      {},
	"internal/importer": {"internal/media"}, // everything else goes through the public API

	"internal/derive":  {"internal/catalog", "internal/blob", "internal/media", "internal/place", "internal/store", "internal/task"},
	"internal/catalog": {"internal/blob", "internal/media", "internal/place", "internal/store", "internal/task"},

	"internal/task": {"internal/store"},
	"internal/auth": {"internal/store"},

	"internal/store":  {"internal/search"},
	"internal/search": {},
	"internal/blob":   {},
	"internal/media":  {},
	"internal/place":  {},

	"internal/check":   {"internal/blob", "internal/store"},
	"internal/backup":  {"internal/blob", "internal/store"},
	"internal/config":  {},
	"internal/clients": {"internal/api", "internal/auth", "internal/banksiatest", "internal/media"}, // tests alone
	// Only tests import it; it puts the whole program together.
	"internal/banksiatest": {"internal/api", "internal/auth", "internal/blob", "internal/catalog", "internal/derive", "internal/media", "internal/place", "internal/store", "internal/task", "internal/telemetry"},
}

// driver is an outside thing and the one package that knows it, beside the servers
// of the tests. A path that ends
// in a slash stands for what is below it.
var driver = map[string]string{
	"modernc.org/":                           "internal/store",
	"github.com/jackc/pgx/":                  "internal/store",
	"database/sql":                           "internal/store",
	"github.com/ringsaturn/":                 "internal/place",
	"github.com/bep/":                        "internal/media",
	"github.com/davidbyttow/":                "internal/media",
	"github.com/landlock-lsm/":               "internal/media",
	"github.com/minio/":                      "internal/blob",
	"github.com/evanw/":                      "internal/web",
	"github.com/santhosh-tekuri/jsonschema/": "internal/banksiatest",
	"github.com/prometheus/":                 "internal/telemetry",
	"go.opentelemetry.io/":                   "internal/telemetry",
	"google.golang.org/protobuf/":            "internal/telemetry",
}

// mayNotReach holds what a package must not depend on, not even through others.
var mayNotReach = map[string][]string{
	"":               {"net/http", "database/sql"},
	"internal/media": {"net/http", "database/sql"}, // it works on hostile files in a process that needs no network
	"internal/store": {"net/http"},                 // it knows nothing of requests and statuses
	"internal/blob":  {"database/sql"},
	"internal/place": {"net/http", "database/sql"}, // it works offline
}

// goPackage is the part of "go list -json" that the rules need.
type goPackage struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Deps       []string
}

func TestImports(t *testing.T) {
	t.Parallel()
	packages, err := listPackages()
	if err != nil {
		t.Fatal(err)
	}
	for _, violation := range violations(packages) {
		t.Error(violation)
	}
	seen := map[string]bool{}
	for _, p := range packages {
		if name, ours := inModule(p.ImportPath); ours {
			seen[owner(name)] = true
		}
	}
	for _, name := range []string{"", "cmd/banksia", "internal/api", "internal/store"} {
		if !seen[name] {
			t.Errorf("go list does not show %q: the rules check nothing", name)
		}
	}
}

// Every rule finds what it forbids.
func TestImportRules(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, from, to string
		allowed        bool
	}{
		{"root to root module", "", "golang.org/x/text/unicode/norm", false},
		{"root to standard library", "", "strings", true},
		{"root to own package", "", module + "/internal/store", false},
		{"anything to root", "internal/store", module, true},
		{"own subpackage", "internal/blob/local", module + "/internal/blob", true},
		{"down", "internal/catalog", module + "/internal/store", true},
		{"up", "internal/store", module + "/internal/catalog", false},
		{"sideways", "internal/store", module + "/internal/blob", false},
		{"sideways to a subpackage", "internal/store", module + "/internal/blob/local", false},
		{"similar name", "internal/store", module + "/internal/storefront", false},
		{"purge applies the rules of the catalog", "internal/derive", module + "/internal/catalog", true},
		{"and not the other way", "internal/catalog", module + "/internal/derive", false},
		{"api to SQL", "internal/api", "database/sql", false},
		{"store to SQL", "internal/store", "database/sql", true},
		{"identifiers as SQL values", "", "database/sql/driver", true},
		{"api to the driver", "internal/api", "modernc.org/sqlite", false},
		{"config by cmd", "cmd/banksia", module + "/internal/config", true},
		{"config by another", "internal/api", module + "/internal/config", false},
		{"test helpers in the program", "cmd/banksia", module + "/internal/banksiatest/spec", false},
		{"package without a row", "internal/new", "strings", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := strings.TrimSuffix(module+"/"+tt.from, "/")
			found := violations([]goPackage{{ImportPath: path, Imports: []string{tt.to}}})
			if allowed := len(found) == 0; allowed != tt.allowed {
				t.Errorf("allowed: %t, found %q", allowed, found)
			}
		})
	}
	reached := violations([]goPackage{{ImportPath: module + "/internal/media", Deps: []string{"net/http"}}})
	if len(reached) != 1 {
		t.Errorf("media reaches net/http through others: found %q", reached)
	}
}

// docs/dependencies.md gives a reason for each module and Debian package.
func TestDependenciesAreExplained(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	explained := read("docs/dependencies.md")
	count := 0
	for line := range strings.Lines(read("go.mod")) {
		path, version, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.HasPrefix(version, "v") || strings.Contains(version, "// indirect") {
			continue
		}
		count++
		if !strings.Contains(explained, strings.TrimPrefix(path, "golang.org/")) {
			t.Errorf("docs/dependencies.md does not explain the module %s", path)
		}
	}
	for line := range strings.Lines(read("scripts/packages.txt")) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[0] == "#" {
			continue
		}
		count++
		if !strings.Contains(explained, fields[1]) {
			t.Errorf("docs/dependencies.md does not explain the package %s", fields[1])
		}
	}
	if count < 15 {
		t.Errorf("only %d dependencies were read", count)
	}
}

// violations returns one sentence for each import that breaks a rule.
func violations(packages []goPackage) []string {
	var found []string
	for _, p := range packages {
		name, ours := inModule(p.ImportPath)
		if !ours {
			continue
		}
		of := owner(name)
		allowed, known := mayImport[of]
		if !known {
			found = append(found, fmt.Sprintf("%s has no row in mayImport", p.ImportPath))
			continue
		}
		for _, path := range p.Imports {
			target, ours := inModule(path)
			switch {
			case ours:
				if to := owner(target); to != "" && to != of && !slices.Contains(allowed, to) {
					found = append(found, fmt.Sprintf("%s may not import %s", p.ImportPath, path))
				}
			case of == "" && strings.Contains(path, "."):
				found = append(found, fmt.Sprintf("the root package may not import %s: it is for the standard library alone", path))
			default:
				for prefix, only := range driver {
					if of != only && of != "internal/banksiatest" && (path == prefix || strings.HasSuffix(prefix, "/") && strings.HasPrefix(path, prefix)) {
						found = append(found, fmt.Sprintf("%s may not import %s: only %s knows it", p.ImportPath, path, only))
					}
				}
			}
		}
		for _, path := range mayNotReach[of] {
			if slices.Contains(p.Deps, path) {
				found = append(found, fmt.Sprintf("%s must not depend on %s, not even through others", p.ImportPath, path))
			}
		}
	}
	return found
}

// inModule returns the path of a package inside the module.
func inModule(path string) (string, bool) {
	if path == module {
		return "", true
	}
	return strings.CutPrefix(path, module+"/")
}

// owner returns the row of mayImport that a package belongs to: its own, or that
// of the package it is a subpackage of.
func owner(name string) string {
	for parent := name; parent != ""; {
		if _, ok := mayImport[parent]; ok {
			return parent
		}
		slash := strings.LastIndexByte(parent, '/')
		if slash < 0 {
			break
		}
		parent = parent[:slash]
	}
	return name
}

func listPackages() ([]goPackage, error) {
	output, err := exec.Command("go", "list", "-deps", "-json=ImportPath,Standard,Imports,Deps", "./...").Output()
	if err != nil {
		if failed, ok := errors.AsType[*exec.ExitError](err); ok {
			return nil, fmt.Errorf("go list: %w: %s", err, failed.Stderr)
		}
		return nil, fmt.Errorf("go list: %w", err)
	}
	var packages []goPackage
	decoder := json.NewDecoder(strings.NewReader(string(output)))
	for {
		var p goPackage
		if err := decoder.Decode(&p); err == io.EOF {
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("read go list: %w", err)
		}
		packages = append(packages, p)
	}
}
