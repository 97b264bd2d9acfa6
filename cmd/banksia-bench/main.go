// Command banksia-bench makes large libraries and measures Banksia on them. Its
// figures are in docs/performance.md.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
)

const usage = `banksia-bench makes large libraries and measures a running server.

  banksia-bench generate --data DIR --assets N   fill a data folder with rows of plausible assets
  banksia-bench list --url URL --api-key KEY     measure pages of GET /api/assets, each filter alone
  banksia-bench compare --urls A,B --api-keys K,L  the same on several servers in turn, and how it grows
  banksia-bench photos --to DIR --count N        draw JPEG photos of 12 megapixels to import

Each subcommand has --help.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	commands := map[string]func(context.Context, []string) error{"generate": generate, "list": list, "compare": compare, "photos": photos}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err := commands[os.Args[1]](ctx, os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "banksia-bench:", err)
		os.Exit(1)
	}
}
