package config

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type example struct {
	text, choice, address, origin string
	count                         int
	memory                        int64
	wait                          time.Duration
	on                            bool
	name                          string
}

func newExample() (*example, *flag.FlagSet) {
	e := &example{text: "default", choice: "a", address: "127.0.0.1:8000", count: 3, memory: 1 << 30, wait: time.Minute}
	set := flag.NewFlagSet("test", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	Text(set, &e.text, "some-text", "a `WORD` of any kind", NotEmpty)
	Choice(set, &e.choice, "choice", "one `LETTER`", "a", "b")
	Text(set, &e.address, "listen", "an `ADDRESS`", Address)
	Text(set, &e.origin, "public-url", "a `URL`", Origin)
	Integer(set, &e.count, "count", "a `NUMBER`", 1, 1024, 1)
	Integer(set, &e.memory, "memory", "in `MEGABYTES`", 256, 1<<20, 1<<20)
	Duration(set, &e.wait, "wait", "a `TIME`", time.Second, time.Hour)
	Switch(set, &e.on, "on", "say yes")
	Text(set, &e.name, "name", "the `NAME` of this call", nil)
	return e, set
}

func parse(args []string, environment map[string]string, path string) (*example, []string, error) {
	e, set := newExample()
	rest, err := Parse(set, args, Sources{
		Getenv:  func(name string) string { return environment[name] },
		File:    func() (string, bool) { return path, true },
		Private: []string{"name"},
		Others:  []string{"other-command"},
	})
	return e, rest, err
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "banksia.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrecedence(t *testing.T) {
	file := writeFile(t, "\n# a comment\n  BANKSIA_SOME_TEXT = \"from the file\" \r\nBANKSIA_COUNT=5\nBANKSIA_OTHER_COMMAND=x\n")
	environment := map[string]string{"BANKSIA_SOME_TEXT": "from the environment", "BANKSIA_CHOICE": "", "BANKSIA_NAME": "private"}
	flags := []string{"first", "--some-text", "from a flag", "second", "--on", "--", "--count"}
	for _, row := range []struct {
		name        string
		args        []string
		environment map[string]string
		file        string
		want        string
		count       int
	}{
		{"nothing", nil, nil, "/absent", "default", 3},
		{"file", nil, nil, file, "from the file", 5},
		{"environment before file", nil, environment, file, "from the environment", 5},
		{"flag before all", flags, environment, file, "from a flag", 5},
	} {
		e, _, err := parse(row.args, row.environment, row.file)
		if err != nil || e.text != row.want || e.count != row.count || e.choice != "a" || e.name != "" {
			t.Errorf("%s: %+v, %v", row.name, e, err)
		}
	}
	e, rest, err := parse(flags, nil, "/absent")
	if err != nil || strings.Join(rest, " ") != "first second --count" || !e.on {
		t.Errorf("arguments: %q, %+v, %v", rest, e, err)
	}
}

func TestValues(t *testing.T) {
	e, _, err := parse([]string{"--memory=512", "--wait=90s", "--on=false", "--listen=[::1]:0", "--public-url=https://photos.example.org:8443/base", "--choice=b", "--name=x"}, nil, "/absent")
	if err != nil || e.memory != 512<<20 || e.wait != 90*time.Second || e.on || e.listenAndURL() != "[::1]:0 https://photos.example.org:8443/base" || e.choice != "b" || e.name != "x" {
		t.Errorf("read as %+v, %v", e, err)
	}
	for variable, values := range map[string][]string{
		"BANKSIA_COUNT":      {"0", "1025", "x", "1.5", "99999999999999999999", " 3"},
		"BANKSIA_MEMORY":     {"255", "1048577"},
		"BANKSIA_WAIT":       {"0s", "2h", "10", "-1m"},
		"BANKSIA_ON":         {"yes", "2"},
		"BANKSIA_CHOICE":     {"c", "A"},
		"BANKSIA_LISTEN":     {"8000", "localhost", "localhost:http", "::1:8000:", ":65536"},
		"BANKSIA_PUBLIC_URL": {"photos.example.org", "ftp://x", "https://", "https://user:secret@x", "https://x?y", "https://x#y"},
	} {
		for _, value := range values {
			_, _, err := parse(nil, map[string]string{variable: value}, "/absent")
			if err == nil || !strings.HasPrefix(err.Error(), variable+" cannot be ") || !strings.Contains(err.Error(), "must ") {
				t.Errorf("%s=%q: %v", variable, value, err)
			}
			name := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(variable, "BANKSIA_"), "_", "-"))
			if _, _, err := parse([]string{"--" + name + "=" + value}, nil, "/absent"); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("--%s=%q: %v", name, value, err)
			}
		}
	}
}

func (e *example) listenAndURL() string { return e.address + " " + e.origin }

func TestFileErrors(t *testing.T) {
	for _, row := range []struct{ text, want string }{
		{"\nBANKSIA_SOME_TXT=x", "line 2: there is no setting BANKSIA_SOME_TXT"},
		{"\nnonsense", "line 2: not of the form"},
		{"BANKSIA_NAME=x", "line 1: there is no setting BANKSIA_NAME"},
		{"BANKSIA_COUNT=3\nBANKSIA_COUNT=4", "line 2: BANKSIA_COUNT is set a second time"},
		{"BANKSIA_COUNT=0", "line 1: BANKSIA_COUNT cannot be \"0\""},
		{strings.Repeat("x", 1<<18), "too long"},
	} {
		if _, _, err := parse(nil, nil, writeFile(t, row.text)); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%.40q: %v; want %q", row.text, err, row.want)
		}
	}
	_, set := newExample()
	_, err := Parse(set, nil, Sources{Getenv: func(string) string { return "" }, File: func() (string, bool) { return "/absent/file", false }})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that was asked for and is absent: %v", err)
	}
}

func TestHelp(t *testing.T) {
	_, _, err := parse([]string{"--help"}, nil, "/absent")
	if !errors.Is(err, flag.ErrHelp) {
		t.Errorf("--help ends with %v", err)
	}
	var out strings.Builder
	_, set := newExample()
	Help(&out, set, "name")
	for _, want := range []string{
		"  --some-text WORD\n        a WORD of any kind (default default; BANKSIA_SOME_TEXT)\n",
		"  --memory MEGABYTES\n        in MEGABYTES (default 1024; BANKSIA_MEMORY)\n",
		"  --on\n        say yes (BANKSIA_ON)\n",
		"  --name NAME\n        the NAME of this call\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help lacks %q:\n%s", want, out.String())
		}
	}
}

func TestUnknown(t *testing.T) {
	got := Unknown([]string{"BANKSIA_LISTN=x", "BANKSIA_LISTEN=y", "PATH=z", "BANKSIA_LOG_LEVEL=debug"}, []string{"listen", "log-level"})
	if len(got) != 1 || got[0] != "BANKSIA_LISTN" {
		t.Errorf("unknown: %q", got)
	}
}

// A value that cannot be set is shown without the password in it.
func TestPasswordsInErrors(t *testing.T) {
	for _, value := range []string{"postgres://me:hunter2@[bad/db", "https://u:hunter2@h/p@q", "s3://hunter2@b", "postgres://h/db?user=me&password=hunter2&x=y", "host=h PASSWORD=hunter2", "s3://b?secret-key=hunter2&x=y", "https://h/?access_token=hunter2", "//me:hunter2@h"} {
		for name, try := range map[string]func() error{
			"flag": func() error { _, _, err := parse([]string{"--public-url", value}, nil, "/absent"); return err },
			"environment": func() error {
				_, _, err := parse(nil, map[string]string{"BANKSIA_PUBLIC_URL": value}, "/absent")
				return err
			},
			"file": func() error { _, _, err := parse(nil, nil, writeFile(t, "BANKSIA_PUBLIC_URL="+value)); return err },
		} {
			if err := try(); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "xxxxx") {
				t.Errorf("%s in the %s: %v", value, name, err)
			}
		}
	}
}

// A file of settings is read or refused, without the values that it holds.
func FuzzReadFile(f *testing.F) {
	for _, text := range []string{"BANKSIA_COUNT=1\n", "BANKSIA_COUNT=1\nBANKSIA_COUNT=2", "# x\r\n BANKSIA_SOME_TEXT = 'a=b' ", "BANKSIA_SOME_TEXT", "=\n", "\x00=\"", strings.Repeat("a", 70_000)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lines, err := readFile(writeFile(t, text))
		if err != nil && len(lines) > 0 {
			t.Errorf("%q is read as %v, and %v", text, lines, err)
		}
		seen := map[string]bool{}
		for _, l := range lines {
			if seen[l.name] || l.name != strings.TrimSpace(l.name) || strings.ContainsAny(l.name+l.value, "\n") {
				t.Errorf("%q is read as %+v", text, l)
			}
			seen[l.name] = true
		}
	})
}
