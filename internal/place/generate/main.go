// Command generate packs GeoNames data into the file that package place embeds.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/banksia-photos/banksia/internal/place"
)

func main() {
	out := flag.String("out", "", "file to write")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: generate -out FILE TABLE NEWER DIVISIONS...")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() < 3 || *out == "" {
		flag.Usage()
		os.Exit(2)
	}
	if err := generate(*out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// generate replaces out only when it is complete, so an interrupted build cannot
// leave half a file to be embedded.
func generate(out string, sources []string) error {
	var files []io.Reader
	for _, name := range sources {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		files = append(files, file)
	}
	var packed bytes.Buffer
	if err := place.Build(&packed, files[0], files[1], files[2:]...); err != nil {
		return err
	}
	temporary := filepath.Join(filepath.Dir(out), "."+filepath.Base(out))
	if err := os.WriteFile(temporary, packed.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, out)
}
