package main

import (
	"context"
	"fmt"
	"runtime"
)

// version is set by the build.
var version = "development"

func versionCommand() command {
	return command{"version", "print the version", func(ctx context.Context, args []string, std stdio) error {
		_, err := fmt.Fprintf(std.out, "banksia %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return err
	}}
}
