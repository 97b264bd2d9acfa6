package main

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseImportFlags(t *testing.T) {
	environment := map[string]string{"BANKSIA_URL": "http://env", "BANKSIA_API_KEY": "apikey_env", "BANKSIA_DATA": "env-data"}
	for _, row := range []struct {
		name  string
		args  []string
		env   map[string]string
		want  string // URL, key, data folder, paths
		fails string
	}{
		{"data folder", []string{"photos"}, nil, "  data photos", ""},
		{"data folder by flag", []string{"--data", "d", "photos"}, environment, "  d photos", ""},
		{"data folder by flag, the usual one", []string{"--data", "data", "photos"}, environment, "  data photos", ""},
		{"environment", []string{"photos"}, environment, "http://env apikey_env env-data photos", ""},
		{"flags win", []string{"--url=http://flag", "--api-key", "apikey_flag", "photos"}, environment, "http://flag apikey_flag env-data photos", ""},
		{"flags after paths", []string{"a", "--dry-run", "b", "--url", "http://x", "--api-key", "k"}, nil, "http://x k data a,b", ""},
		{"paths like flags", []string{"--url", "http://x", "--api-key", "k", "--", "-a", "--url"}, nil, "http://x k data -a,--url", ""},
		{"no path", []string{"--dry-run"}, nil, "", "nothing to import"},
		{"URL alone", []string{"--url", "http://x", "a"}, nil, "", "both --url and --api-key"},
		{"key alone", []string{"--api-key", "k", "a"}, nil, "", "both --url and --api-key"},
		{"unknown flag", []string{"--nope", "a"}, nil, "", "not defined: -nope"},
		{"no number", []string{"--parallel", "many", "a"}, nil, "", "invalid value"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			f, err := parseImportFlags(row.args, stdio{out: &out, err: &errOut}, func(name string) string { return row.env[name] })
			if row.fails != "" {
				if err == nil || !strings.Contains(err.Error(), row.fails) || out.Len() > 0 {
					t.Errorf("fails with %v, want %q; prints %q", err, row.fails, out.String())
				}
				return
			}
			got := strings.Join([]string{f.options.BaseURL, f.options.APIKey, f.data, strings.Join(f.options.Paths, ",")}, " ")
			if err != nil || got != row.want || f.options.DryRun != slices.Contains(row.args, "--dry-run") {
				t.Errorf("is read as %q, %v; want %q", got, err, row.want)
			}
		})
	}
}

func TestImportHelp(t *testing.T) {
	var out, errOut bytes.Buffer
	_, err := parseImportFlags([]string{"--help"}, stdio{out: &out, err: &errOut}, func(string) string { return "secret" })
	if !errors.Is(err, flag.ErrHelp) || errOut.Len() > 0 || strings.Contains(out.String(), "secret") {
		t.Errorf("ends with %v, prints %q and %q", err, out.String(), errOut.String())
	}
	for _, name := range []string{"url", "api-key", "data", "library", "album", "album-per-folder", "dry-run", "parallel", "BANKSIA_URL", "BANKSIA_API_KEY", "BANKSIA_DATA"} {
		if !strings.Contains(out.String(), name) {
			t.Errorf("the help does not mention %s", name)
		}
	}
}

// A file of settings that an import names says where the library is.
func TestImportConfig(t *testing.T) {
	t.Parallel()
	w := newWorkspace(t)
	for name, content := range map[string]string{"settings": "BANKSIA_DATABASE_URL=postgres://nobody@127.0.0.1:1/none\n", "a.jpg": string(photo(1, 20, 20))} {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	status, out, errOut := w.run(t, "import", "--config", "settings", "a.jpg")
	if _, err := os.Stat(databaseFile(filepath.Join(w.dir, "data"))); status == 0 || !strings.Contains(errOut, "127.0.0.1:1") || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ends with %d, %v: %s%s", status, err, out, errOut)
	}
}
