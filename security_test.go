package banksia_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every test that docs/security.md gives as a proof is there.
func TestSecurityClaims(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	var tests []byte
	err = filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		tests = append(tests, text...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	proofs := regexp.MustCompile(`\*((?:Test|Fuzz)\w+)\*`).FindAllSubmatch(document, -1)
	if len(proofs) < 40 {
		t.Errorf("only %d proofs", len(proofs))
	}
	for _, proof := range proofs {
		name := string(proof[1])
		if !bytes.Contains(tests, []byte("\nfunc "+name+"(t *testing.T)")) && !bytes.Contains(tests, []byte("\nfunc "+name+"(f *testing.F)")) {
			t.Errorf("docs/security.md gives the proof %s, which is not there", proof[1])
		}
	}
}
