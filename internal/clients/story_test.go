// Package clients lets programs that were made for the hosted service talk to the
// server, unmodified.
package clients

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/banksia-photos/banksia/internal/auth"
	"github.com/banksia-photos/banksia/internal/banksiatest"
	"github.com/banksia-photos/banksia/internal/media"
)

func TestMain(m *testing.M) {
	media.ServeWorkerIfAsked()
	os.Exit(m.Run())
}

// python makes, once for each list of packages, an environment with them, and
// returns its interpreter. The packages come from PyPI.
func python(t *testing.T, requirements string) string {
	t.Helper()
	list, err := os.ReadFile(requirements)
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(list)
	folder := filepath.Join(cache, "banksia-test", "python-"+hex.EncodeToString(sum[:8]))
	interpreter := filepath.Join(folder, "bin", "python")
	if _, err := os.Stat(filepath.Join(folder, "complete")); err == nil {
		return interpreter
	}
	for _, command := range [][]string{
		{"python3", "-m", "venv", "--clear", folder},
		{interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement", requirements},
	} {
		if out, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "complete"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return interpreter
}

// photos makes a folder with different photos.
func photos(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for i := range 6 {
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%d.jpg", i)), banksiatest.JPEG(t, 160+10*i, 120, uint8(40*i)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func tell(t *testing.T, interpreter, script string, arguments ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), interpreter, append([]string{filepath.Join("testdata", script)}, arguments...)...)
	command.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "NO_PROXY=*")
	out, err := command.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", script, err, out)
	}
	t.Logf("%s", out)
}

// The official Python SDK, checking every answer strictly, over every resource.
func TestCurrentSDK(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	const password = "correct horse battery"
	if _, err := auth.AddUser(t.Context(), s.Store, "ada@example.org", password); err != nil {
		t.Fatal(err)
	}
	tell(t, python(t, "testdata/requirements-current.txt"), "current.py", s.URL, "ada@example.org", password, photos(t))
}

// The SDK of the days of the page that the project began from.
func TestSeedSDK(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	tell(t, python(t, "testdata/requirements-seed.txt"), "older.py", s.URL, s.Key, photos(t))
}

// The last SDK before asset URLs.
func TestOldSDK(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	tell(t, python(t, "testdata/requirements-old.txt"), "older.py", s.URL, s.Key, photos(t))
}
