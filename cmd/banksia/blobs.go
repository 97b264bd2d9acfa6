package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/blob/local"
	"github.com/banksia-photos/banksia/internal/blob/s3"
	"github.com/banksia-photos/banksia/internal/config"
)

const blobsUsage = `Usage: banksia blobs copy --from LOCATION --to LOCATION [flags]

Works on originals and previews where they are stored.

"banksia blobs copy --help" explains the rest.
`

const copyBlobsUsage = `Usage: banksia blobs copy --from LOCATION --to LOCATION [flags]

Copies all originals and previews from one place to another. A place is a folder,
such as data/blobs, or s3://BUCKET/PREFIX?endpoint=URL&region=NAME.

    banksia blobs copy --from data/blobs --to s3://photos
    banksia blobs copy --from s3://photos --to /mnt/disk/blobs --verify

What is at the destination with the same size is left alone, so a copy that was
stopped goes on where it was, and a second run brings what has come since the
first. Every original that is copied is compared with its SHA-256. --verify also
reads what is at the destination already, and copies again what differs.

Nothing is deleted at either place. The exit status is 1, after a list, when
something could not be made the same at the destination.

Keys are found as other S3 programs do: in AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY, or in ~/.aws/credentials. For two servers with two keys, give
each its profile there: s3://photos?profile=old.
`

func blobsCommand() command {
	return command{"blobs", "copy originals and previews between places", runBlobs}
}

func runBlobs(ctx context.Context, args []string, std stdio) error {
	if len(args) == 0 {
		return &usageError{"blobs", errors.New("say copy")}
	}
	switch args[0] {
	case "copy":
		return runCopyBlobs(ctx, args[1:], std)
	case "-h", "-help", "--help", "help":
		_, err := fmt.Fprint(std.out, blobsUsage)
		return err
	}
	return &usageError{"blobs", fmt.Errorf("say copy, not %q", args[0])}
}

// copyRequest is what the command line says of a copy.
type copyRequest struct {
	from, to string
	options  blob.CopyOptions
}

func (r *copyRequest) addFlags(set *flag.FlagSet) {
	check := func(text string) error {
		if s3.IsLocation(text) {
			return checkLocation(text)
		}
		return config.NotEmpty(text)
	}
	config.Text(set, &r.from, "from", "`LOCATION` to copy from", check)
	config.Text(set, &r.to, "to", "`LOCATION` to copy to", check)
	config.Switch(set, &r.options.Verify, "verify", "read and compare also what is at the destination already")
	config.Integer(set, &r.options.Parallel, "parallel", "`NUMBER` of files at once", 1, 256, 1)
}

func runCopyBlobs(ctx context.Context, args []string, std stdio) error {
	cfg, request := defaultSettings(), &copyRequest{options: blob.CopyOptions{Parallel: 8}}
	set := flag.NewFlagSet("blobs copy", flag.ContinueOnError)
	request.addFlags(set)
	rest, err := cfg.load(set, copyBlobsUsage, args, std, "from", "to", "verify", "parallel")
	if err != nil {
		return err
	}
	if len(rest) > 0 || request.from == "" || request.to == "" {
		return &usageError{set.Name(), errors.New("give --from and --to, and nothing else")}
	}
	temporary, err := os.MkdirTemp("", "banksia-copy-")
	if err != nil {
		return fmt.Errorf("make a temporary folder: %w", err)
	}
	defer os.RemoveAll(temporary)
	if err := checkSource(request.from); err != nil {
		return err
	}
	from, err := openPlace(ctx, request.from, temporary)
	if err != nil {
		return err
	}
	to, err := openPlace(ctx, request.to, temporary)
	if err != nil {
		return err
	}
	terminal, _ := terminalWidth(std.out)
	request.options.Progress = showCopy(std.out, terminal)
	result, err := blob.Copy(ctx, from, to, request.options)
	if terminal {
		fmt.Fprint(std.out, "\r\x1b[K")
	}
	return errors.Join(reportCopy(std.out, result), err)
}

// checkSource keeps a mistyped folder from being taken for an empty one.
func checkSource(place string) error {
	if s3.IsLocation(place) {
		return nil
	}
	if _, err := os.Stat(place); err != nil {
		return fmt.Errorf("find the source: %w", err)
	}
	if _, err := os.Stat(databaseFile(place)); err == nil {
		return fmt.Errorf("%s is a data folder; say %s", place, blobFolder(place))
	}
	return nil
}

func openPlace(ctx context.Context, place, temporary string) (blob.Store, error) {
	if s3.IsLocation(place) {
		return openS3(ctx, place, temporary)
	}
	return local.Open(place)
}

// showCopy tells how far a copy is, in place on a terminal and every few seconds
// elsewhere.
func showCopy(out io.Writer, terminal bool) func(blob.CopyResult) {
	last := time.Now()
	return func(r blob.CopyResult) {
		line := fmt.Sprintf("%d %%: %d copied (%s), %d there already", 100*r.Folders/r.AllFolders, r.Copied, byteSize(r.CopiedBytes), r.There)
		switch {
		case terminal:
			fmt.Fprintf(out, "\r\x1b[K%s", line)
		case time.Since(last) >= 5*time.Second:
			last = time.Now()
			fmt.Fprintln(out, line)
		}
	}
}

func byteSize(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%d bytes", n)
}

// reportCopy says what came of a copy, and fails when something differs.
func reportCopy(out io.Writer, r blob.CopyResult) error {
	fmt.Fprintf(out, "copied %d (%s), there already %d (%s), only at the destination %d\n", r.Copied, byteSize(r.CopiedBytes), r.There, byteSize(r.ThereBytes), r.Extra)
	for _, key := range r.Replaced {
		fmt.Fprintf(out, "was different, copied again: %s\n", key)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(out, "not copied: %s: %v\n", p.Key, p.Err)
	}
	if n := len(r.Problems); n > 0 {
		return fmt.Errorf("%d could not be copied", n)
	}
	return nil
}

// checkLocation checks where blobs are to be; "" means the data folder.
func checkLocation(text string) error {
	if text == "" {
		return nil
	}
	if !s3.IsLocation(text) {
		return errors.New("must begin with s3://; to keep them in another folder, make blobs in the data folder a symbolic link")
	}
	_, err := s3.ParseLocation(text, os.Getenv)
	return err
}

// openBlobs opens the storage of a data folder.
func openBlobs(ctx context.Context, cfg *settings) (blob.Store, error) {
	if cfg.blobs == "" {
		store, err := local.Open(blobFolder(cfg.data))
		if err != nil {
			return nil, explainAccess("use the folder of originals", err)
		}
		return store, nil
	}
	temporary := filepath.Join(cfg.data, "tmp")
	s, err := openS3(ctx, cfg.blobs, temporary)
	if err != nil {
		return nil, err
	}
	return s, blob.GiveToOwnerOf(cfg.data, temporary)
}

func openS3(ctx context.Context, location, temporary string) (*s3.Store, error) {
	cfg, err := s3.ParseLocation(location, os.Getenv)
	if err != nil {
		return nil, err
	}
	// The decoders have another working folder.
	if cfg.TempDir, err = filepath.Abs(temporary); err != nil {
		return nil, err
	}
	return s3.Open(ctx, cfg)
}
