package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/banksia-photos/banksia/internal/config"
	"github.com/banksia-photos/banksia/internal/store"
)

const migrateUsage = `Usage: banksia migrate --from DATABASE --to DATABASE [--copy]

Moves everything in a database to another, empty one, and compares them row by row.
A DATABASE is postgres://USER:PASSWORD@HOST/NAME, sqlite for the file in the data
folder, or sqlite:PATH for another file. Photos stay where they are: see banksia
blobs copy.

Servers may run on the old database meanwhile. They go on answering reads and refuse
changes with 503 and Retry-After, which clients repeat. Once the move is complete
the old database refuses changes for good: start the servers with the new one. When
the move is cut off, the old database is as it was, and no server starts on the new
one; the same command begins anew, or makes the last step where that is left.

With --copy the old database stays in use; what changes while the copy is made may
not be in it. Give a server that tries the copy out other --blobs, a copy of the
photos: what is deleted for good there is deleted where it keeps them.
`

func migrateCommand() command {
	return command{"migrate", "move the database to another engine", runMigrate}
}

func runMigrate(ctx context.Context, args []string, std stdio) error {
	cfg := defaultSettings()
	var from, to string
	var keep bool
	set := flag.NewFlagSet("migrate", flag.ContinueOnError)
	config.Text(set, &from, "from", "`DATABASE` to read", config.Database)
	config.Text(set, &to, "to", "`DATABASE` to fill", config.Database)
	config.Switch(set, &keep, "copy", "leave the old database in use")
	cfg.addFolderFlags(set)
	rest, err := cfg.load(set, migrateUsage, args, std, "from", "to", "copy")
	if err != nil {
		return err
	}
	if len(rest) > 0 || from == "" || to == "" {
		return &usageError{set.Name(), errors.New("give --from and --to, and nothing else")}
	}
	for _, name := range []string{from, to} {
		if !store.IsPostgres(name) && strings.Contains(name, "://") {
			return &usageError{set.Name(), errors.New("a database is postgres://..., sqlite or sqlite:PATH")}
		}
	}
	source, target := cfg.databaseNamed(from), cfg.databaseNamed(to)
	if source.Path == target.Path && source.URL == target.URL {
		return &usageError{set.Name(), errors.New("--from and --to are the same database")}
	}
	if source.Path != "" {
		if _, err := os.Stat(source.Path); err != nil {
			return fmt.Errorf("the database to read: %w", err)
		}
	}
	if target.Path == databaseFile(cfg.data) {
		lock, err := lockFolder(cfg.data)
		if err != nil {
			return explainInUse(cfg.data, err)
		}
		defer lock.Close()
	}
	if target.Path != "" {
		if _, err := os.Stat(filepath.Dir(target.Path)); err != nil {
			return fmt.Errorf("the database to fill: %w", err)
		}
	}
	a, err := store.Open(ctx, source)
	if moved, ok := errors.AsType[*store.MovedError](err); ok && moved.To == withoutPassword(target) {
		if done, finishErr := finishMove(ctx, target); done || finishErr != nil {
			if done {
				fmt.Fprintf(std.out, "The move was complete but for its last step, which is done now. %s\n", startWithNew)
			}
			return finishErr
		}
	}
	if err != nil {
		return fmt.Errorf("the database to read: %w", explainDatabase(err))
	}
	defer a.Close()
	if err := makeForOwner(target.Path); err != nil {
		return err
	}
	target.Target = true
	b, err := store.Open(ctx, target)
	if errors.Is(err, store.ErrMoved) {
		return fmt.Errorf("the database to fill: %w; give an empty one", err)
	}
	if err != nil {
		return fmt.Errorf("the database to fill: %w", explainDatabase(err))
	}
	defer b.Close()
	options := store.CopyOptions{Progress: copyProgress(std.out)}
	if !keep {
		options.MoveTo = withoutPassword(target)
	}
	begin := time.Now()
	switch err := store.Copy(ctx, a, b, options); {
	case errors.Is(err, store.ErrNotEmpty):
		return errors.New("there is a library in the database to fill; name an empty one")
	case err != nil:
		return err
	}
	fmt.Fprintf(std.out, "Every row was copied and compared, in %s.\n", time.Since(begin).Round(time.Millisecond))
	if !keep {
		fmt.Fprintln(std.out, "The old database takes no more changes. "+startWithNew)
	}
	return nil
}

const startWithNew = "Start the servers with the new one."

// finishMove does what a move has left that was cut off at the very end.
func finishMove(ctx context.Context, target store.Config) (done bool, err error) {
	if _, err := os.Stat(target.Path); target.Path != "" && errors.Is(err, fs.ErrNotExist) {
		return false, nil // it went elsewhere since; to open it would make one
	}
	target.Target = true
	s, err := store.Open(ctx, target)
	if err != nil {
		return false, fmt.Errorf("the database that was filled: %w", explainDatabase(err))
	}
	defer s.Close()
	return s.FinishMove(ctx)
}

// databaseNamed is what a person calls a database on the command line.
func (s *settings) databaseNamed(name string) store.Config {
	switch path, isFile := strings.CutPrefix(name, "sqlite:"); {
	case name == "sqlite":
		return store.Config{Path: databaseFile(s.data)}
	case isFile:
		return store.Config{Path: path}
	}
	return store.Config{URL: name}
}

// copyProgress prints how far a copy is, a line for each table and every few seconds.
func copyProgress(out io.Writer) func(step, table string, done, total int64) {
	var last time.Time
	return func(step, table string, done, total int64) {
		complete := done == total
		if !complete && time.Since(last) < 2*time.Second {
			return
		}
		last = time.Now()
		switch {
		case complete && total > 0:
			fmt.Fprintf(out, "%s %s: %d rows\n", step, table, total)
		case total > 0:
			fmt.Fprintf(out, "%s %s: %d of %d rows\n", step, table, done, total)
		case done > 0:
			fmt.Fprintf(out, "%s %s: %d rows so far\n", step, table, done)
		}
	}
}

// withoutPassword names a database for people.
func withoutPassword(cfg store.Config) string {
	if cfg.URL == "" {
		return cfg.Path
	}
	if u, err := url.Parse(cfg.URL); err == nil {
		return u.Redacted()
	}
	return "PostgreSQL"
}
