package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/banksia-photos/banksia/internal/media"
)

// version is set by the build: -ldflags "-X main.version=...".
var version = "development"

const versionUsage = `Usage: banksia version

Prints the version of Banksia, the commit it was built from, and the versions of
Go and of libvips, which decodes images.
`

func versionCommand() command {
	return command{"version", "print the version", runVersion}
}

func runVersion(_ context.Context, args []string, std stdio) error {
	if len(args) > 0 {
		if args[0] == "-h" || args[0] == "-help" || args[0] == "--help" {
			_, err := fmt.Fprint(std.out, versionUsage)
			return err
		}
		return &usageError{"version", fmt.Errorf("unexpected argument %q", args[0])}
	}
	_, err := fmt.Fprintf(std.out, "banksia %s\ncommit  %s\ngo      %s %s/%s\nlibvips %s\n",
		version, commit(), runtime.Version(), runtime.GOOS, runtime.GOARCH, media.VipsVersion())
	return err
}

// commit is what the Go command noted of the source when it built the program.
func commit() string {
	revision, modified := "unknown", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				revision = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				modified = " with changes"
			}
		}
	}
	return revision + modified
}
