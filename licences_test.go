package banksia_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// licences are the ones under which a dependency may come, each by sentences that
// its text has. All let anybody use, change and pass on, also beside Banksia's own.
var licences = []struct {
	name      string
	sentences []string
}{
	{"Apache-2.0", []string{"apache license", "version 2.0"}},
	{"MPL-2.0", []string{"mozilla public license", "2.0"}},
	{"MIT", []string{"permission is hereby granted, free of charge", "the software is provided \"as is\""}},
	{"ISC", []string{"permission to use, copy, modify, and/or distribute this software for any purpose"}},
	{"BSD-3-Clause", []string{"redistribution and use in source and binary forms", "endorse or promote"}},
	{"BSD-2-Clause", []string{"redistribution and use in source and binary forms", "this list of conditions"}},
	{"Unlicense", []string{"this is free and unencumbered software released into the public domain"}},
	{"ODbL-1.0", []string{"open database license"}},
}

// licenceOf tells under which of the licences a text is; "" for none.
func licenceOf(text []byte) string {
	words := strings.Join(strings.Fields(strings.ToLower(string(text))), " ")
	for _, licence := range licences {
		if !slices.ContainsFunc(licence.sentences, func(s string) bool { return !strings.Contains(words, s) }) {
			return licence.name
		}
	}
	return ""
}

// Every module in the program, its tests and its tools comes under a known licence,
// which docs/dependencies.md names, and the document names no others.
func TestLicences(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(document), "\n## Licences\n")
	if !found {
		t.Fatal("docs/dependencies.md has no list of licences")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	documented := map[string]string{}
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		for _, module := range strings.Fields(strings.ReplaceAll(cells[2], ",", " ")) {
			documented[module] = strings.TrimSpace(cells[1])
		}
	}
	command := exec.Command("go", "list", "-deps", "-test", "-json=Module", "./...", "tool")
	var problems bytes.Buffer
	command.Stderr = &problems
	output, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, &problems)
	}
	seen := map[string]bool{}
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var one struct {
			Module *struct {
				Path, Dir string
				Main      bool
				Replace   *struct{ Dir string }
			}
		}
		if err := decoder.Decode(&one); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if one.Module == nil || one.Module.Main || seen[one.Module.Path] {
			continue
		}
		path := one.Module.Path
		seen[path] = true
		licence, err := licenceIn(one.Module.Dir)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		} else if documented[path] != licence {
			t.Errorf("%s comes under %s, docs/dependencies.md says %q", path, licence, cmp.Or(documented[path], "nothing"))
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d modules were found", len(seen))
	}
	for module := range documented {
		if strings.Contains(module, ".") && !seen[module] {
			t.Errorf("docs/dependencies.md names the licence of %s, which is no dependency", module)
		}
	}
}

// licenceIn finds the licence of a module in its folder.
func licenceIn(folder string) (string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "", fmt.Errorf("find the licence: %w", err)
	}
	var read []string
	for _, entry := range entries {
		name := strings.ToUpper(entry.Name())
		if entry.IsDir() || !strings.HasPrefix(name, "LICEN") && !strings.HasPrefix(name, "COPYING") && name != "UNLICENSE" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return "", fmt.Errorf("read the licence: %w", err)
		}
		if licence := licenceOf(text); licence != "" {
			return licence, nil
		}
		read = append(read, entry.Name())
	}
	return "", fmt.Errorf("no known licence in %q", read)
}

func TestLicenceOf(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"GNU GENERAL PUBLIC LICENSE\nVersion 3": "", "All rights reserved.": "", "": "",
		"Permission is hereby granted, free\n of charge, ... THE SOFTWARE IS PROVIDED \"AS IS\"": "MIT",
		"Apache License\n  Version 2.0, January 2004":                                            "Apache-2.0",
	} {
		if got := licenceOf([]byte(text)); got != want {
			t.Errorf("%q is taken for %q", text, got)
		}
	}
}
