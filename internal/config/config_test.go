package config

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPrecedence(t *testing.T) {
	path := filepath.Join(t.TempDir(), "banksia.conf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var a, b, c, d string
	parse := func(args []string, environment map[string]string) error {
		set := flag.NewFlagSet("test", flag.ContinueOnError)
		set.SetOutput(io.Discard)
		set.StringVar(&a, "flag-wins", "default", "")
		set.StringVar(&b, "variable-wins", "default", "")
		set.StringVar(&c, "file-wins", "default", "")
		set.StringVar(&d, "default-wins", "default", "")
		return Parse(set, args, func(name string) string { return environment[name] }, func() (string, bool) { return path, true })
	}
	environment := map[string]string{"BANKSIA_FLAG_WINS": "variable", "BANKSIA_VARIABLE_WINS": "variable"}
	if err := parse([]string{"--flag-wins", "flag"}, environment); err != nil || a != "flag" || b != "variable" || c != "default" {
		t.Errorf("without a file: %s %s %s, %v", a, b, c, err)
	}
	write("# comment\n\nBANKSIA_FLAG_WINS=file\nBANKSIA_VARIABLE_WINS=file\n BANKSIA_FILE_WINS = \"file\"\n")
	if err := parse([]string{"--flag-wins", "flag"}, environment); err != nil || a != "flag" || b != "variable" || c != "file" || d != "default" {
		t.Errorf("with a file: %s %s %s %s, %v", a, b, c, d, err)
	}
	for _, text := range []string{"BANKSIA_FILE_WNIS=x", "nonsense"} {
		write("\n" + text)
		if err := parse(nil, nil); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := parse([]string{"extra"}, nil); err == nil {
		t.Error("an extra argument was taken")
	}
}
