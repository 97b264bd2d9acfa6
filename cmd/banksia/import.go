package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/banksia-photos/banksia/internal/config"
	"github.com/banksia-photos/banksia/internal/importer"
)

const importUsage = `Usage: banksia import [flags] PATH...

Imports photos and videos into a library. A PATH is a folder, a zip archive or a
single file. Google Takeout archives are taken as they come, all parts at once:

    banksia import ~/Pictures
    banksia import takeout-*.zip

Files that are in the library already are skipped by their content, and files
that have not changed since the last import are not read again. An import that
was interrupted goes on when the same command runs again. XMP sidecars and the
JSON files of a Takeout add what the photos themselves do not say.

Without --url and --api-key the import goes to the server that runs on the data
folder, or straight into the data folder when none runs.

Flags:
`

func importCommand() command {
	return command{name: "import", summary: "import folders and archives of photos", run: runImport}
}

// importFlags is what the command line, the environment and the file say.
type importFlags struct {
	options importer.Options
	data    string
	config  string
}

// importPrivate are the flags that are for one import only.
var importPrivate = []string{"library", "album", "album-per-folder", "dry-run", "parallel"}

// parseImportFlags reads the arguments; paths and flags may be mixed, and after
// "--" everything is a path. It returns flag.ErrHelp after printing the help.
func parseImportFlags(args []string, std stdio, getenv func(string) string) (importFlags, error) {
	var f importFlags
	set := flag.NewFlagSet("import", flag.ContinueOnError)
	set.SetOutput(io.Discard) // the caller prints errors
	set.Usage = func() {}
	config.Text(set, &f.options.BaseURL, "url", "`URL` of the server, such as http://localhost:8000", nil)
	config.Text(set, &f.options.APIKey, "api-key", "API `KEY` with the actions read and write", nil)
	config.Func(set, "data", defaultSettings().data, "data `FOLDER` of the server, used without --url and --api-key", func(text string) error {
		f.data = text
		return config.NotEmpty(text)
	})
	config.Text(set, &f.config, "config", "`FILE` of settings; when not given, banksia.conf in the data folder is read if it is there", nil)
	config.Text(set, &f.options.Library, "library", "import into the `LIBRARY` with this name or ID; needed only if there are several", nil)
	config.Text(set, &f.options.Album, "album", "put everything into the album of this `NAME`", nil)
	config.Switch(set, &f.options.AlbumPerFolder, "album-per-folder", "put the files of each folder into an album named after it")
	config.Switch(set, &f.options.DryRun, "dry-run", "say what would happen, upload nothing")
	config.Integer(set, &f.options.Parallel, "parallel", "`NUMBER` of uploads at once; 0: chosen by the number of cores", 0, 256, 1)

	// A data folder on the command line is meant, whatever other sources say of a
	// server. They are asked once the command line has been read.
	local := sync.OnceValue(func() bool {
		return f.data != "" && f.options.BaseURL == "" && f.options.APIKey == ""
	})
	paths, err := config.Parse(set, args, config.Sources{
		Getenv: func(name string) string {
			local()
			return getenv(name)
		},
		File: func() (string, bool) {
			if f.config != "" {
				return f.config, false
			}
			return filepath.Join(cmp.Or(f.data, defaultSettings().data), "banksia.conf"), true
		},
		Private: importPrivate,
		Others:  fileSettings(),
	})
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(std.out, importUsage)
		config.Help(std.out, set, importPrivate...)
	}
	if err != nil {
		return importFlags{}, err
	}
	f.data = cmp.Or(f.data, defaultSettings().data)
	if local() {
		f.options.BaseURL, f.options.APIKey = "", ""
	}
	if (f.options.BaseURL == "") != (f.options.APIKey == "") {
		return importFlags{}, errors.New("give both --url and --api-key, or neither of them and the data folder")
	}
	if len(paths) == 0 {
		return importFlags{}, errors.New("nothing to import: give at least one folder, archive or file")
	}
	f.options.Paths = paths
	return f, nil
}

func runImport(ctx context.Context, args []string, std stdio) error {
	f, err := parseImportFlags(args, std, os.Getenv)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return &usageError{"import", err}
	}
	opts := f.options
	opts.Terminal, opts.Width = terminalWidth(std.out)

	if opts.BaseURL == "" {
		folder, err := filepath.Abs(f.data)
		if err != nil {
			return fmt.Errorf("find the data folder: %w", err)
		}
		baseURL, apiKey, client, closeLocal, err := openLocal(ctx, folder, f.config)
		if err != nil {
			return fmt.Errorf("open the data folder %s: %w", folder, err)
		}
		// The address may be another one each time, the folder stays.
		opts.BaseURL, opts.APIKey, opts.HTTPClient, opts.Server = baseURL, apiKey, client, "file://"+folder
		return errors.Join(
			importAll(ctx, opts, std.out),
			closeLocal(ctx, showPending(std.out, opts.Terminal)),
		)
	}
	return importAll(ctx, opts, std.out)
}

func importAll(ctx context.Context, opts importer.Options, out io.Writer) error {
	summary, err := importer.Run(ctx, opts, out)
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted")
	}
	if err != nil {
		return err
	}
	if summary.Failed > 0 {
		return fmt.Errorf("%d could not be imported", summary.Failed)
	}
	return nil
}

// showPending tells how much background work is left, in place on a terminal and
// every few seconds elsewhere.
func showPending(out io.Writer, terminal bool) func(pending int) {
	var last time.Time
	return func(pending int) {
		switch {
		case terminal && pending == 0:
			fmt.Fprint(out, "\r\x1b[K")
		case terminal:
			fmt.Fprintf(out, "\r\x1b[Kpreparing previews: %d tasks left", pending)
		case pending > 0 && time.Since(last) >= 5*time.Second:
			last = time.Now()
			fmt.Fprintf(out, "preparing previews: %d tasks left\n", pending)
		}
	}
}

// terminalWidth tells whether out is a terminal, and its width in columns.
func terminalWidth(out io.Writer) (terminal bool, width int) {
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return false, 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		width = 0
	}
	return true, width
}
