// Command generate packs GeoNames data into the file that package place embeds.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/banksia-photos/banksia/internal/place"
)

func main() {
	cities := flag.String("cities", "", "GeoNames table of populated places")
	states := flag.String("states", "", "JSON names of first-order divisions")
	out := flag.String("out", "", "file to write")
	flag.Parse()
	if err := generate(*cities, *states, *out); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// generate replaces out only when it is complete, so an interrupted build cannot
// leave half a file to be embedded.
func generate(cities, states, out string) error {
	table, err := os.Open(cities)
	if err != nil {
		return err
	}
	defer table.Close()
	divisions, err := os.Open(states)
	if err != nil {
		return err
	}
	defer divisions.Close()
	temporary, err := os.CreateTemp(filepath.Dir(out), ".places-*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	defer temporary.Close()
	buffered := bufio.NewWriter(temporary)
	if err := place.Build(buffered, table, divisions); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	if err := temporary.Close(); err != nil {
		return err
	}
	if err := os.Chmod(temporary.Name(), 0o644); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), out)
}
