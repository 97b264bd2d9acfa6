package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/check"
	"github.com/banksia-photos/banksia/internal/config"
	"github.com/banksia-photos/banksia/internal/media"
)

const checkUsage = `Usage: banksia check [--read-data] [--repair [--from-backup PLACE]]
                     [--save-unowned FOLDER] [flags]

Proves that nothing is lost: every row agrees with the others, and every file that a
row names is there with the right size. With --read-data every original is also read
and compared with its SHA-256. Servers may run meanwhile.

--repair makes true again what follows from other rows, such as counters, and removes
previews of no use; they are drawn again. Changes wait while rows are repaired. Sound
originals are never touched; those that are missing or damaged are brought back from
the place of backups that --from-backup names.

Originals that belong to no asset are noted and kept: they are what was uploaded after
the backup of a database that was put back. --save-unowned copies them into a folder,
with extensions by their content, from where banksia import brings them in again.

The exit status is 1, after a list, when something is wrong and was not mended.
`

func checkCommand() command {
	return command{"check", "prove that nothing is lost or damaged", runCheck}
}

// listed is how many problems of a check are printed without --all.
const listed = 50

func runCheck(ctx context.Context, args []string, std stdio) error {
	cfg := defaultSettings()
	var options check.Options
	var all bool
	set := flag.NewFlagSet("check", flag.ContinueOnError)
	config.Switch(set, &options.ReadData, "read-data", "read every original and compare it with its SHA-256")
	config.Switch(set, &options.Repair, "repair", "mend what can be mended")
	backups, unowned := "", ""
	config.Text(set, &backups, "from-backup", "with --repair, `PLACE` of backups, to bring originals back from", nil)
	config.Text(set, &unowned, "save-unowned", "`FOLDER` for copies of originals that belong to no asset", nil)
	config.Switch(set, &all, "all", "list everything that is wrong, not just the first 50")
	cfg.addDataFlags(set)
	rest, err := cfg.load(set, checkUsage, args, std, "read-data", "repair", "from-backup", "save-unowned", "all")
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return &usageError{set.Name(), fmt.Errorf("unexpected argument %q", rest[0])}
	}
	if backups != "" && !options.Repair {
		return &usageError{set.Name(), errors.New("--from-backup is for --repair; give both")}
	}
	s, closeStore, err := openForCommand(ctx, cfg)
	if err != nil {
		return err
	}
	defer closeStore()
	blobs, err := openBlobs(ctx, cfg)
	if err != nil {
		return err
	}
	if backups != "" {
		place, release, err := openBackups(ctx, backups, false)
		if err != nil {
			return err
		}
		defer release()
		if _, err := findBackup(ctx, place, backups, ""); err != nil {
			return err
		}
		options.Backup = place
	}
	options.Progress = stepProgress(std.err)
	begin := time.Now()
	report, err := check.Run(ctx, s, blobs, options)
	if err != nil {
		return err
	}
	for _, mended := range report.Mended {
		fmt.Fprintf(std.out, "mended: %s\n", mended)
	}
	for i, problem := range report.Problems {
		if i == listed && !all {
			fmt.Fprintf(std.out, "and %d more; --all lists them\n", len(report.Problems)-listed)
			break
		}
		fmt.Fprintf(std.out, "problem: %s\n", problem.Text)
	}
	if n := len(report.Unowned); n > 0 {
		fmt.Fprintf(std.out, "note: %d originals (%s) belong to no asset and are kept, such as %s\n", n, byteSize(report.UnownedBytes), report.Unowned[0].Key)
		if unowned != "" {
			if err := saveOriginals(ctx, blobs, report.Unowned, unowned); err != nil {
				return err
			}
			fmt.Fprintf(std.out, "saved in %s; banksia import brings them in again\n", unowned)
		}
	}
	read := ""
	if options.ReadData {
		read = fmt.Sprintf(", %s read and compared", byteSize(report.ReadBytes))
	}
	fmt.Fprintf(std.out, "%d versions, %d originals (%s), %d derived files%s, in %s\n", report.Versions, report.Originals, byteSize(report.OriginalBytes), report.Derived, read, time.Since(begin).Round(time.Millisecond))
	if len(report.Problems) > 0 {
		return fmt.Errorf("%s found", count(len(report.Problems), "problem"))
	}
	_, err = fmt.Fprintln(std.out, "Everything is there and agrees.")
	return err
}

// count is a number of things in words: 1 problem, 2 problems.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// saveOriginals copies originals into a folder, under their checksum and the usual
// extension of their content. What is there already is left alone, and one that cannot
// be read does not keep the others from being saved.
func saveOriginals(ctx context.Context, from blob.Store, originals []blob.Info, folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("make the folder for originals: %w", err)
	}
	var failed []error
	for _, original := range originals {
		if err := saveOriginal(ctx, from, original.Key, folder); err != nil {
			failed = append(failed, fmt.Errorf("save %s: %w", original.Key, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

func saveOriginal(ctx context.Context, from blob.Store, key blob.Key, folder string) error {
	reader, _, err := from.Open(ctx, key)
	if err != nil {
		return err
	}
	defer reader.Close()
	content := bufio.NewReaderSize(blob.Verified(reader, key), media.SniffLength)
	head, err := content.Peek(media.SniffLength)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	name := filepath.Join(folder, path.Base(string(key)))
	if format, ok := media.FormatByContent(head); ok {
		name += "." + format.Extensions[0]
	}
	if _, err := os.Lstat(name); err == nil {
		return nil
	}
	file, err := os.CreateTemp(folder, ".save-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // fails once it has been renamed
	_, err = io.Copy(file, content)
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), name)
}

// stepProgress prints how far a step is, every two seconds.
func stepProgress(out io.Writer) func(step string, done, total int64) {
	lines := newThrottle()
	return func(step string, done, total int64) {
		if !lines.due() {
			return
		}
		switch {
		case total > 0:
			fmt.Fprintf(out, "%s: %d of %d\n", step, done, total)
		case done > 0:
			fmt.Fprintf(out, "%s: %d\n", step, done)
		default:
			fmt.Fprintf(out, "%s\n", step)
		}
	}
}
