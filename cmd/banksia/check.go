package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/banksia-photos/banksia/internal/check"
	"github.com/banksia-photos/banksia/internal/config"
)

const checkUsage = `Usage: banksia check [--read-data] [--repair [--from-backup PLACE]] [flags]

Proves that nothing is lost: every row agrees with the others, and every file that a
row names is there with the right size. With --read-data every original is also read
and compared with its SHA-256. Servers may run meanwhile.

--repair makes true again what follows from other rows, such as counters, and removes
previews of no use; they are drawn again. Changes wait while rows are repaired. Sound
originals are never touched; those that are missing or damaged are brought back from
the place of backups that --from-backup names.

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
	backups := ""
	config.Text(set, &backups, "from-backup", "`PLACE` of backups, to bring originals back from", nil)
	config.Switch(set, &all, "all", "list everything that is wrong, not just the first 50")
	cfg.addDataFlags(set)
	rest, err := cfg.load(set, checkUsage, args, std, "read-data", "repair", "from-backup", "all")
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return &usageError{set.Name(), fmt.Errorf("unexpected argument %q", rest[0])}
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
	}
	read := ""
	if options.ReadData {
		read = fmt.Sprintf(", %s read and compared", byteSize(report.ReadBytes))
	}
	fmt.Fprintf(std.out, "%d versions, %d originals (%s), %d derived files%s, in %s\n", report.Versions, report.Originals, byteSize(report.OriginalBytes), report.Derived, read, time.Since(begin).Round(time.Millisecond))
	if len(report.Problems) > 0 {
		return fmt.Errorf("%d problems were found", len(report.Problems))
	}
	_, err = fmt.Fprintln(std.out, "Everything is there and agrees.")
	return err
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
