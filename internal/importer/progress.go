package importer

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	// failuresListed is how many failed files the summary names.
	failuresListed = 50
	// extensionsListed bounds the kinds of unsupported files that are told apart.
	extensionsListed = 20

	barInterval  = 200 * time.Millisecond
	lineInterval = 5 * time.Second
	// rateSpan is the time over which the rate is taken, so that the remaining
	// time follows the present and not files that were skipped an hour ago.
	rateSpan = 20 * time.Second
)

// Summary is what came of an import.
type Summary struct {
	DryRun      bool // Imported and Duplicates are what would be
	Interrupted bool // it ended early

	Imported      int64 // new in the library
	ImportedBytes int64
	Duplicates    int64 // in the library already
	Recalled      int64 // those of Duplicates that needed no reading
	Unsupported   int64 // files of other kinds; sidecars do not count
	Extensions    map[string]int64
	Failed        int64
	Failures      []Failure // the first 50
	Links         int64     // symbolic links, which are not followed

	SidecarsApplied    int64
	SidecarsNotApplied int64  // unreadable, or the server does not take their facts
	SidecarNote        string // why the first was not
	Elapsed            time.Duration
}

// Failure is one file that could not be imported.
type Failure struct {
	Path   string // printable
	Reason string
}

// progress counts and shows how far the import is. Its methods may be called
// from several goroutines.
type progress struct {
	out      io.Writer
	terminal bool
	width    int
	now      func() time.Time

	mu         sync.Mutex
	s          Summary
	began      time.Time
	files      int64 // done
	size       int64 // done, in bytes
	totalFiles int64
	totalSize  int64
	known      bool // the totals are complete
	samples    []sample
	seen       map[digest]bool // in a dry run
}

type sample struct {
	at   time.Time
	size int64
}

func newProgress(opts Options, out io.Writer) *progress {
	p := &progress{out: out, terminal: opts.Terminal, width: cmp.Or(opts.Width, 80), now: opts.Now, began: opts.Now()}
	p.s.DryRun = opts.DryRun
	p.s.Extensions = map[string]int64{}
	if opts.DryRun {
		p.seen = map[digest]bool{}
	}
	return p
}

// start shows progress until stop is called, with the totals that count finds.
func (p *progress) start(ctx context.Context, count func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { count(ctx) })
	running.Go(func() {
		interval := lineInterval
		if p.terminal {
			interval = barInterval
		}
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				p.show()
			}
		}
	})
	return func() {
		cancel()
		running.Wait()
		if p.terminal {
			fmt.Fprint(p.out, "\r\x1b[K")
		}
	}
}

func (p *progress) show() {
	p.mu.Lock()
	line := p.line()
	p.mu.Unlock()
	if !p.terminal {
		fmt.Fprintln(p.out, line)
		return
	}
	if utf8.RuneCountInString(line) >= p.width {
		line = string([]rune(line)[:max(0, p.width-1)])
	}
	fmt.Fprint(p.out, "\r\x1b[K"+line)
}

// line describes the state. Call it with mu held.
func (p *progress) line() string {
	now := p.now()
	p.samples = append(p.samples, sample{now, p.size})
	for len(p.samples) > 2 && now.Sub(p.samples[0].at) > rateSpan {
		p.samples = p.samples[1:]
	}
	var rate float64 // bytes per second
	if span := now.Sub(p.samples[0].at).Seconds(); span > 0 {
		rate = float64(p.size-p.samples[0].size) / span
	} else if span := now.Sub(p.began).Seconds(); span > 0 {
		rate = float64(p.size) / span
	}
	rate = max(0, rate)

	var b strings.Builder
	if p.known && p.terminal {
		b.WriteString(bar(p.size, p.totalSize, 20) + " ")
	}
	if p.known {
		fmt.Fprintf(&b, "%d of %d files, %s of %s", p.files, p.totalFiles, formatSize(p.size), formatSize(p.totalSize))
	} else {
		fmt.Fprintf(&b, "%d files, %s", p.files, formatSize(p.size))
	}
	fmt.Fprintf(&b, ", %s/s", formatSize(int64(rate)))
	if p.known && rate > 0 && p.totalSize > p.size {
		fmt.Fprintf(&b, ", %s left", formatDuration(time.Duration(float64(p.totalSize-p.size)/rate*float64(time.Second))))
	}
	if p.s.Failed > 0 {
		fmt.Fprintf(&b, ", %d failed", p.s.Failed)
	}
	return b.String()
}

func bar(done, total int64, width int) string {
	filled := width
	if total > 0 {
		filled = int(min(max(done, 0), total) * int64(width) / total)
	}
	return "[" + strings.Repeat("#", filled) + strings.Repeat("-", width-filled) + "]"
}

func formatDuration(d time.Duration) string {
	switch {
	case d > 1000*time.Hour:
		return "over 1000 h"
	case d >= time.Hour:
		return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
	case d >= time.Minute:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d s", int(d.Seconds()))
}

func (p *progress) total(files, size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.totalFiles += files
	p.totalSize += size
}

func (p *progress) totalKnown() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = true
}

// bytes counts a part of a file.
func (p *progress) bytes(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.size += n
}

// done counts a file that is over with, and those of its bytes that were not
// counted before.
func (p *progress) done(size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files++
	p.size += size
}

func (p *progress) decided(it *item, isNew bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if isNew {
		p.s.Imported++
		p.s.ImportedBytes += it.size
		return
	}
	p.s.Duplicates++
	if it.recalled {
		p.s.Recalled++
	}
}

// firstSight tells, in a dry run, whether the file would be new: not on the
// server and not met before.
func (p *progress) firstSight(it *item) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if it.assetID != "" || p.seen[it.checksum] {
		return false
	}
	p.seen[it.checksum] = true
	return true
}

func (p *progress) failed(label string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.s.Failed++
	if len(p.s.Failures) < failuresListed {
		p.s.Failures = append(p.s.Failures, Failure{label, cleanText(err.Error())})
	}
}

func (p *progress) unsupported(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.s.Unsupported++
	extension := strings.ToLower(cleanText(filepath.Ext(name)))
	if extension == "" || utf8.RuneCountInString(extension) > 12 {
		extension = "no extension"
	}
	if _, ok := p.s.Extensions[extension]; !ok && len(p.s.Extensions) >= extensionsListed {
		extension = "others"
	}
	p.s.Extensions[extension]++
}

func (p *progress) link() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.s.Links++
}

func (p *progress) sidecarApplied() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.s.SidecarsApplied++
}

func (p *progress) sidecarProblem(label string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.s.SidecarsNotApplied++
	if p.s.SidecarNote == "" {
		p.s.SidecarNote = label + ": " + cleanText(err.Error())
	}
}

func (p *progress) summary() Summary {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.s
	s.Elapsed = p.now().Sub(p.began)
	s.Failures = slices.Clone(s.Failures)
	s.Extensions = maps.Clone(s.Extensions)
	// The order in which they failed depends on chance.
	slices.SortFunc(s.Failures, func(a, b Failure) int { return strings.Compare(a.Path, b.Path) })
	return s
}

// WriteTable writes the summary for people.
func (s Summary) WriteTable(out io.Writer) {
	var b strings.Builder
	switch {
	case s.Interrupted:
		b.WriteString("The import ended early. The same command goes on where it stopped.\n")
	case s.DryRun:
		b.WriteString("Nothing was changed. The import would do this:\n")
	}
	row := func(name string, count int64, note string) {
		b.WriteString(strings.TrimRight(fmt.Sprintf("%-20s %9d  %s", name, count, note), " ") + "\n")
	}
	row("imported", s.Imported, formatSize(s.ImportedBytes))
	note := ""
	if s.Recalled > 0 {
		note = fmt.Sprintf("%d known from an earlier run, not read again", s.Recalled)
	}
	row("duplicates", s.Duplicates, note)
	row("unsupported", s.Unsupported, s.extensionList())
	row("failed", s.Failed, "")
	if s.SidecarsApplied+s.SidecarsNotApplied > 0 {
		row("sidecars applied", s.SidecarsApplied, "")
	}
	if s.SidecarsNotApplied > 0 {
		row("sidecars not applied", s.SidecarsNotApplied, s.SidecarNote)
	}
	if s.Links > 0 {
		row("links not followed", s.Links, "")
	}
	if !s.DryRun {
		fmt.Fprintf(&b, "in %s", formatDuration(s.Elapsed))
		if seconds := s.Elapsed.Seconds(); seconds > 0 && s.ImportedBytes > 0 {
			fmt.Fprintf(&b, ", %.1f files/s, %s/s", float64(s.Imported)/seconds, formatSize(int64(float64(s.ImportedBytes)/seconds)))
		}
		b.WriteString("\n")
	}
	if len(s.Failures) > 0 {
		b.WriteString("\nfailed:\n")
		for _, f := range s.Failures {
			fmt.Fprintf(&b, "  %s: %s\n", f.Path, f.Reason)
		}
		if more := s.Failed - int64(len(s.Failures)); more > 0 {
			fmt.Fprintf(&b, "  and %d more\n", more)
		}
	}
	io.WriteString(out, b.String())
}

// extensionList names the unsupported kinds, the most frequent first.
func (s Summary) extensionList() string {
	names := slices.SortedFunc(maps.Keys(s.Extensions), func(a, b string) int {
		return cmp.Or(cmp.Compare(s.Extensions[b], s.Extensions[a]), strings.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%d %s", s.Extensions[name], name)
	}
	return strings.Join(names, ", ")
}
