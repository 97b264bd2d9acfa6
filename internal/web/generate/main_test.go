package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCommittedScript(t *testing.T) {
	t.Chdir("..") // the names of the source files, in comments, are relative
	want, err := compile("script/docs.ts")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("static/docs.js")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("static/docs.js is not what script/ compiles to: run make generate")
	}
}

func TestCompileNamesTheMistake(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "bad.ts")
	if err := os.WriteFile(file, []byte("let a = 1;\nlet = ;\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := compile(file); err == nil || !strings.Contains(err.Error(), "bad.ts:2") {
		t.Errorf("error is %v, want the file and line 2 in it", err)
	}
}
