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
	"syscall"

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
	return []command{serveCommand(), importCommand(), keysCommand(), healthcheckCommand(), versionCommand()}
}

func main() {
	media.ServeWorkerIfAsked()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr}))
}

// run finds the subcommand and returns the exit status: 0, 1 for a failure, 2 for
// a command line that makes no sense.
func run(ctx context.Context, args []string, std stdio) int {
	if len(args) == 0 {
		usage(std.err)
		return 2
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		usage(std.out)
		return 0
	case "-v", "--version":
		args[0] = "version"
	}
	for _, c := range commands() {
		if c.name != args[0] {
			continue
		}
		err := c.run(ctx, args[1:], std)
		if err == nil || errors.Is(err, flag.ErrHelp) {
			return 0
		}
		fmt.Fprintf(std.err, "banksia %s: %v\n", c.name, err)
		if errors.Is(err, errUsage) {
			return 2
		}
		return 1
	}
	fmt.Fprintf(std.err, "banksia: there is no command %q\n\n", args[0])
	usage(std.err)
	return 2
}

// errUsage marks errors in the command line.
var errUsage = errors.New("see --help")

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

"banksia COMMAND --help" explains the flags. Each flag can also be set by a
variable: BANKSIA_LISTEN for --listen, BANKSIA_DATA for --data, and so on.
`)
}

// newFlags is the flag set of a subcommand. Help goes to standard output, because
// it was asked for; errors are returned.
func newFlags(name, text string, std stdio) *flag.FlagSet {
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Usage = func() {
		fmt.Fprint(std.out, text, "\nFlags:\n")
		set.SetOutput(std.out)
		set.PrintDefaults()
		set.SetOutput(io.Discard)
	}
	return set
}
