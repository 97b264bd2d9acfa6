package banksia_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// reaching are the parts of packages with which a program calls others, or starts
// programs that could.
var reaching = map[string][]string{
	"net/http":                        {"Get", "Head", "Post", "PostForm", "Client", "Transport", "DefaultClient", "DefaultTransport"},
	"net":                             {"Dial", "DialTimeout", "DialTCP", "DialUDP", "DialUnix", "DialIP", "Dialer", "LookupHost", "LookupIP", "LookupAddr", "LookupCNAME", "LookupSRV", "LookupTXT", "LookupMX", "LookupNS", "Resolver", "DefaultResolver"},
	"crypto/tls":                      {"Dial", "DialWithDialer", "Dialer"},
	"net/smtp":                        {"SendMail", "Dial"},
	"net/rpc":                         {"Dial", "DialHTTP"},
	"net/http/httputil":               {"ReverseProxy", "NewSingleHostReverseProxy"},
	"github.com/minio/minio-go/v7":    {"New"},
	"github.com/jackc/pgx/v5":         {"Connect", "ConnectConfig"},
	"github.com/jackc/pgx/v5/stdlib":  {"OpenDB", "OpenDBFromPool", "GetConnector"},
	"github.com/jackc/pgx/v5/pgxpool": {"New", "NewWithConfig"},
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp": {"New", "NewClient"},
	"os/exec":                           {"Command", "CommandContext", "Cmd"},
	"github.com/coreos/go-oidc/v3/oidc": {"NewProvider", "NewRemoteKeySet", "ClientContext"},
}

// reachers are the files that call others, and whom: none of them takes the address
// from a request, an upload or the database, so nobody can make the server call
// somewhere.
var reachers = map[string]string{
	"internal/auth/login.go":           "the OpenID Connect issuer of the settings",
	"internal/blob/s3/config.go":       "the S3 server of the settings",
	"internal/blob/s3/s3.go":           "the same",
	"internal/blob/s3/transport.go":    "the same",
	"internal/store/postgres.go":       "the database of the settings",
	"internal/store/dial.go":           "the same, and notices when it falls silent",
	"internal/telemetry/trace.go":      "the collector of traces of the environment",
	"internal/importer/client.go":      "the server that the person at the command line names",
	"cmd/banksia/local.go":             "the server on the data folder",
	"cmd/banksia/healthcheck.go":       "the server at the address of the settings",
	"internal/importer/importer.go":    "the same",
	"cmd/banksia-bench/list.go":        "the server that is measured",
	"cmd/banksia-bench/compare.go":     "the same",
	"internal/media/worker.go":         "starts this program as a worker",
	"internal/media/still.go":          "runs ffmpeg, which can open no socket",
	"internal/media/video_metadata.go": "runs ffprobe, which can open no socket",
}

// Only files that are known to, and whose reason was looked at, can make the program
// call another. A new one fails the test until somebody has thought about it.
func TestWhoCallsOthers(t *testing.T) {
	t.Parallel()
	found := map[string][]string{}
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() && (entry.Name() == "testdata" || entry.Name() == "banksiatest" || entry.Name() == "clients" || strings.HasPrefix(entry.Name(), ".") && name != ".") {
			if err == nil {
				err = fs.SkipDir
			}
			return err
		}
		if entry.IsDir() || filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		uses, err := usesIn(name)
		if len(uses) > 0 {
			found[filepath.ToSlash(name)] = uses
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, uses := range found {
		if reachers[path] == "" {
			t.Errorf("%s uses %s: whom does it call, and who says so? (reachers)", path, strings.Join(uses, ", "))
		}
	}
	for path := range reachers {
		if len(found[path]) == 0 {
			t.Errorf("%s calls nobody any more", path)
		}
	}
}

var majorVersion = regexp.MustCompile(`/v\d+$`)

// usesIn lists what a file uses of reaching.
func usesIn(name string) (uses []string, err error) {
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	names := map[string]string{} // of imported packages within the file
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(path.Base(majorVersion.ReplaceAllString(imported, "")), "-go")
		if spec.Name != nil {
			name = spec.Name.Name
		}
		if _, known := reaching[imported]; known {
			names[name] = imported
		}
	}
	ast.Inspect(file, func(node ast.Node) bool {
		if selector, ok := node.(*ast.SelectorExpr); ok {
			if of, ok := selector.X.(*ast.Ident); ok && slices.Contains(reaching[names[of.Name]], selector.Sel.Name) {
				use := of.Name + "." + selector.Sel.Name
				if !slices.Contains(uses, use) {
					uses = append(uses, use)
				}
			}
		}
		return true
	})
	return uses, nil
}
