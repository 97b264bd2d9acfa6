// Command banksia is a photo library server that people own: one binary with the
// server and the tools around it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/media"
)

// command is one subcommand.
type command struct {
	name, summary string
	run           func(ctx context.Context, args []string, std stdio) error
}

// stdio is where a command reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

func commands() []command {
	return []command{serveCommand(), importCommand(), keysCommand(), usersCommand(), checkCommand(), backupCommand(), restoreCommand(), migrateCommand(), blobsCommand(), healthcheckCommand(), versionCommand()}
}

func main() {
	media.ServeWorkerIfAsked()
	syscall.Umask(0o077) // photos, keys and journals are nobody else's business
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr}))
}

// run finds the subcommand and returns the exit status: 0, 1 for a failure, 2 for
// a command line or a setting that makes no sense.
func run(ctx context.Context, args []string, std stdio) int {
	if len(args) == 0 {
		usage(std.err)
		return 2
	}
	name, args := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		if len(args) == 0 {
			usage(std.out)
			return 0
		}
		name, args = args[0], []string{"--help"}
	case "-v", "-version", "--version":
		name = "version"
	}
	for _, c := range commands() {
		if c.name != name {
			continue
		}
		err := c.run(ctx, args, std)
		if err == nil || errors.Is(err, flag.ErrHelp) {
			return 0
		}
		text := err.Error()
		if e, ok := errors.AsType[*banksia.Error](err); ok {
			text = strings.Replace(text, string(e.Code)+": ", "", 1) // the code is for programs
		}
		fmt.Fprintf(std.err, "banksia %s: %s\n", c.name, text)
		if _, ok := errors.AsType[*usageError](err); ok {
			return 2
		}
		return 1
	}
	fmt.Fprintf(std.err, "banksia: there is no command %q\n\n", name)
	usage(std.err)
	return 2
}

// usageError is a mistake in the command line or in a setting.
type usageError struct {
	command string // whose help explains
	err     error
}

func (e *usageError) Error() string {
	return fmt.Sprintf("%v (see banksia %s --help)", e.err, e.command)
}
func (e *usageError) Unwrap() error { return e.err }

func usage(out io.Writer) {
	fmt.Fprint(out, `Banksia is a photo library server that you own.

Usage: banksia COMMAND [flags]

`)
	for _, c := range commands() {
		fmt.Fprintf(out, "  %-12s %s\n", c.name, c.summary)
	}
	fmt.Fprint(out, `
Start with:

    banksia serve                 serves http://localhost:8000, data in ./data
    banksia import ~/Pictures     brings a folder in

"banksia COMMAND --help" explains a command. Settings can be given in three ways,
of which the first that says something counts: as a flag, as an environment
variable (BANKSIA_LISTEN for --listen), or as a line of a file (BANKSIA_LISTEN=...
in banksia.conf in the data folder, or in the file that --config names).

Exit status: 0 done, 1 failed, 2 the command line or a setting makes no sense.
`)
}
