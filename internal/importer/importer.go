// Package importer brings photos and videos from folders and zip archives into
// a library through the public HTTP API.
//
// Vocabulary: a source file is a photo or video that was found, in a folder or
// as an entry of an archive; a sidecar is a file beside it that tells about it
// (XMP, or the JSON of a Google Takeout); the journal is the file in which the
// importer remembers the checksums of source files between runs.
//
// Promises: a source file is read at most once in a run (again only when an
// upload has to be repeated) and not at all when the journal knows it and the
// server still has it; whatever happens, running the same import again goes on
// where the last one was; memory does not grow with the number of files, save
// for some bytes per journal line and the directories of archives.
package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

const (
	// wholeFileLimit is the size up to which a file is read into memory, hashed
	// and asked about before it is sent; bigger ones are streamed.
	wholeFileLimit = 32 << 20
	// memoryBudget bounds the contents held in memory at once.
	memoryBudget = 128 << 20
	// existBatch is the contract's limit of one existence check (behaviour 6.16).
	existBatch = 5000
	// deviceID names the importer among the devices of a library.
	deviceID = "banksia-import"
	// maxParallel bounds Options.Parallel.
	maxParallel = 256
)

// Options says what to import, where to and how.
type Options struct {
	BaseURL    string       // of the server: http://localhost:8000
	APIKey     string       // needs read and write
	HTTPClient *http.Client // nil: one with fitting limits

	// Server names the server in the journal's file name; "" takes BaseURL. Set
	// it where one server is reached under changing URLs.
	Server string
	// StateDir holds the journals; "" is banksia/import in the user's cache folder.
	StateDir string

	Paths          []string // folders, zip archives, single files
	Library        string   // identifier or name; "": the only one
	Album          string   // put everything into the album of this name
	AlbumPerFolder bool     // an album for each folder, named after it
	DryRun         bool     // read, hash and ask, but change nothing on the server
	Parallel       int      // uploads at once, 1 to 256; 0: chosen by the number of cores

	Terminal bool             // out is a terminal: draw a bar
	Width    int              // of the terminal in columns; 0: 80
	Location *time.Location   // for times without an offset; nil: time.Local
	Now      func() time.Time // nil: time.Now
}

// Validate tells what is wrong with the options.
func (o Options) Validate() error {
	switch {
	case o.BaseURL == "":
		return errors.New("no server: give its URL")
	case o.APIKey == "":
		return errors.New("no API key")
	case len(o.Paths) == 0:
		return errors.New("nothing to import: give at least one folder, archive or file")
	case o.Album != "" && o.AlbumPerFolder:
		return errors.New("choose either one album or one album per folder")
	case o.Parallel < 0 || o.Parallel > maxParallel:
		return fmt.Errorf("parallel must be between 1 and %d, got %d", maxParallel, o.Parallel)
	}
	return nil
}

// Run imports everything under opts.Paths, writes progress and at the end a
// table to out, and returns the same figures. The error tells why the import
// stopped early (a cancelled context, a refused key, a full account, a lost
// server) or could not start; files that failed one by one are no error here but
// in Summary.Failed.
func Run(ctx context.Context, opts Options, out io.Writer) (Summary, error) {
	im, err := newImporter(opts, out)
	if err != nil {
		return Summary{}, err
	}
	return im.run(ctx)
}

// importer is one run.
type importer struct {
	opts     Options
	client   *client
	journal  *journal
	albums   *albums // nil: no albums wanted
	progress *progress
	memory   *semaphore.Weighted

	// openFile opens a source file or an archive.
	openFile func(name string) (*os.File, error)
}

func newImporter(opts Options, out io.Writer) (*importer, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	if opts.Parallel == 0 {
		opts.Parallel = min(max(4, runtime.GOMAXPROCS(0)+2), 16)
	}
	if opts.Location == nil {
		opts.Location = time.Local
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Server == "" {
		opts.Server = opts.BaseURL
	}
	if opts.StateDir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("find the cache folder for the import journal: %w", err)
		}
		opts.StateDir = filepath.Join(cache, "banksia", "import")
	}
	c, err := newClient(opts)
	if err != nil {
		return nil, err
	}
	return &importer{
		opts:     opts,
		client:   c,
		progress: newProgress(opts, out),
		memory:   semaphore.NewWeighted(memoryBudget),
		openFile: os.Open,
	}, nil
}

func (im *importer) run(ctx context.Context) (Summary, error) {
	roots, err := findRoots(im.opts.Paths)
	if err != nil {
		return Summary{}, err
	}
	if err := im.client.chooseLibrary(ctx, im.opts.Library); err != nil {
		return Summary{}, err
	}
	if im.opts.Album != "" || im.opts.AlbumPerFolder {
		im.albums, err = openAlbums(ctx, im.client, im.opts)
		if err != nil {
			return Summary{}, err
		}
	}
	im.journal, err = openJournal(im.opts.StateDir, im.opts.Server, im.client.library)
	if err != nil {
		return Summary{}, err
	}
	defer im.journal.Close()

	stopProgress := im.progress.start(ctx, func(ctx context.Context) { im.count(ctx, roots) })
	err = im.pipeline(ctx, roots)
	if im.albums != nil && err == nil {
		err = im.albums.flush(ctx)
	}
	stopProgress()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	summary := im.progress.summary()
	summary.Interrupted = err != nil
	summary.WriteTable(im.progress.out)
	return summary, err
}

// count walks ahead of the import, only to know how much there is to do.
func (im *importer) count(ctx context.Context, roots []string) {
	w := im.newWalker(ctx)
	w.media = func(it *item) error {
		im.progress.total(1, it.size)
		return nil
	}
	// What cannot be read is reported by the walk that imports.
	w.failed = func(string, error) {}
	w.unsupported = func(string) {}
	w.link = func() {}
	if w.walk(roots) == nil {
		im.progress.totalKnown()
	}
}

// pipeline is walk -> recall -> read -> ask -> send, joined by bounded channels.
// The stages only hand on, so a slow server slows the walk and nothing piles up.
func (im *importer) pipeline(ctx context.Context, roots []string) error {
	group, ctx := errgroup.WithContext(ctx)
	found := make(chan *item, 64)
	toRead := make(chan *item, 16)
	read := make(chan *item, 64)
	toSend := make(chan *item, 16)

	group.Go(func() error {
		defer close(found)
		w := im.newWalker(ctx)
		w.media = func(it *item) error { return give(ctx, found, it) }
		w.failed = im.progress.failed
		w.unsupported = im.progress.unsupported
		w.link = im.progress.link
		return w.walk(roots)
	})

	var senders sync.WaitGroup // the stages that feed toSend
	stage := func(f func() error) {
		senders.Add(1)
		group.Go(func() error {
			defer senders.Done()
			return f()
		})
	}
	stage(func() error {
		defer close(toRead)
		return im.recall(ctx, found, toRead, toSend)
	})
	var readers sync.WaitGroup
	for range max(2, min(im.opts.Parallel/2, runtime.GOMAXPROCS(0))) {
		readers.Add(1)
		stage(func() error {
			defer readers.Done()
			return im.read(ctx, toRead, read, toSend)
		})
	}
	group.Go(func() error {
		readers.Wait()
		close(read)
		return nil
	})
	stage(func() error { return im.ask(ctx, read, toSend) })
	group.Go(func() error {
		senders.Wait()
		close(toSend)
		return nil
	})
	for range im.opts.Parallel {
		group.Go(func() error { return im.send(ctx, toSend) })
	}
	return group.Wait()
}

func give(ctx context.Context, to chan<- *item, it *item) error {
	select {
	case to <- it:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// recall looks files up in the journal and asks whether the server still has
// those it knows, so that they need not be read.
func (im *importer) recall(ctx context.Context, found <-chan *item, toRead, toSend chan<- *item) error {
	var known []*item
	flush := func() error {
		if len(known) == 0 {
			return nil
		}
		there, err := im.client.exist(ctx, known)
		if err != nil {
			return err
		}
		for _, it := range known {
			id, ok := there[it.checksum]
			if !ok {
				it.missing = true
				if err := give(ctx, toRead, it); err != nil {
					return err
				}
				continue
			}
			it.assetID, it.recalled = id, true
			if err := give(ctx, toSend, it); err != nil {
				return err
			}
		}
		known = known[:0]
		return nil
	}
	for it := range found {
		it.findSidecars()
		entry, ok := im.journal.lookup(it.key, it.size, it.modified)
		if !ok {
			if err := give(ctx, toRead, it); err != nil {
				return err
			}
			continue
		}
		it.checksum, it.sidecarsDone = entry.SHA256, entry.Sidecars == it.sidecarMark()
		if known = append(known, it); len(known) == existBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	return flush()
}

// read brings small files into memory and hashes them. Big ones pass by: they
// are hashed while they are sent.
func (im *importer) read(ctx context.Context, toRead <-chan *item, read, toSend chan<- *item) error {
	for it := range toRead {
		if it.size > wholeFileLimit && !im.opts.DryRun {
			if err := give(ctx, toSend, it); err != nil {
				return err
			}
			continue
		}
		var err error
		if im.opts.DryRun {
			err = it.hash(ctx)
		} else {
			err = it.load(ctx, im.memory)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			im.progress.failed(it.label, err)
			im.progress.done(it.size)
			continue
		}
		next := read
		if it.missing {
			next = toSend // asked about already
		}
		if err := give(ctx, next, it); err != nil {
			return err
		}
	}
	return nil
}

// ask finds out which of the files that were read the server has. It takes
// whatever is ready, so batches grow exactly while the server is slow.
func (im *importer) ask(ctx context.Context, read <-chan *item, toSend chan<- *item) error {
	for it := range read {
		batch := []*item{it}
	ready:
		for len(batch) < existBatch {
			select {
			case more, ok := <-read:
				if !ok {
					break ready
				}
				batch = append(batch, more)
			default:
				break ready
			}
		}
		there, err := im.client.exist(ctx, batch)
		if err != nil {
			return err
		}
		for _, it := range batch {
			if id, ok := there[it.checksum]; ok {
				it.assetID = id
				it.unload(im.memory)
			}
			if err := give(ctx, toSend, it); err != nil {
				return err
			}
		}
	}
	return nil
}

// send uploads what is missing, and completes what is there with its sidecars
// and albums. Only then the journal learns of the file.
func (im *importer) send(ctx context.Context, toSend <-chan *item) error {
	for it := range toSend {
		err := im.sendOne(ctx, it)
		it.unload(im.memory)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if isFatal(err) {
			return err
		}
		if err != nil {
			im.progress.failed(it.label, err)
		}
		im.progress.done(it.size - it.counted)
	}
	return nil
}

func (im *importer) sendOne(ctx context.Context, it *item) error {
	if im.opts.DryRun {
		im.progress.decided(it, im.progress.firstSight(it))
		return nil
	}
	var (
		about facts
		note  error // why a sidecar could not be read
		isNew bool
		known *assetMetadata
		err   error
	)
	if !it.sidecarsDone {
		about, note = it.readSidecars(im.opts.Location)
	}
	if it.assetID == "" {
		var got uploaded
		got, err = im.client.upload(ctx, it, about, im.progress)
		if err != nil {
			return err
		}
		it.assetID, isNew, known = got.id, got.created, got.metadata
	}
	settled := true
	if !it.sidecarsDone && len(it.sidecars) > 0 {
		settled, err = im.complete(ctx, it, about, known, note)
		if err != nil {
			return err
		}
	}
	if im.albums != nil {
		if err := im.albums.add(ctx, it); err != nil {
			return err
		}
	}
	if !it.recalled || !it.sidecarsDone {
		mark := it.sidecarMark()
		if !settled {
			mark = "" // tried again by the next run
		}
		if err := im.journal.append(it, mark); err != nil {
			return fatalError{err}
		}
	}
	im.progress.decided(it, isNew)
	return nil
}

// complete writes to the server what only the sidecars know. It reports whether
// there is nothing left to do for a later run.
func (im *importer) complete(ctx context.Context, it *item, about facts, known *assetMetadata, note error) (settled bool, err error) {
	if note != nil {
		im.progress.sidecarProblem(it.label, note)
		return false, nil
	}
	if about.empty() {
		return true, nil
	}
	if known == nil {
		known, err = im.client.metadata(ctx, it.assetID)
		if isFatal(err) || ctx.Err() != nil {
			return false, err
		}
		if err != nil {
			im.progress.sidecarProblem(it.label, err)
			return false, nil
		}
	}
	if isVideo(it.name) {
		// The server reads videos later, so their own time is not known yet; until
		// then, and if they have none, it takes the time that was sent along.
		about.original = nil
	}
	change := about.missingFrom(known)
	if len(change) == 0 {
		return true, nil
	}
	err = im.client.updateAsset(ctx, it.assetID, change)
	if isFatal(err) || ctx.Err() != nil {
		return false, err
	}
	if err != nil {
		im.progress.sidecarProblem(it.label, err)
		return false, nil
	}
	im.progress.sidecarApplied()
	return true, nil
}
