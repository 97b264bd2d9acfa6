package importer

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/media"
)

// sidecarFile is a sidecar that was found.
type sidecarFile struct {
	name string
	mark string // changes with its content
	open func() (io.ReadCloser, error)
}

// facts is what sidecars tell about a file.
type facts struct {
	title       string // the file's own name
	description *string
	latitude    *float64 // degrees, together with longitude
	longitude   *float64
	original    *banksia.LocalTime // capture time
	people      []string           // names of those shown
}

func (f facts) empty() bool {
	return f.description == nil && f.latitude == nil && f.original == nil
}

// findSidecars looks for the sidecars of the file among the names of its folder.
// The more specific comes first and wins.
func (it *item) findSidecars() {
	var names []string
	stem := strings.TrimSuffix(it.name, path.Ext(it.name))
	for _, name := range []string{it.name + ".xmp", it.name + ".XMP", stem + ".xmp", stem + ".XMP"} {
		if it.folder.has(name) {
			names = append(names, name)
			break
		}
	}
	if name := takeoutSidecar(it.folder.has, it.name); name != "" {
		names = append(names, name)
	}
	for _, name := range names {
		s, err := it.folder.file(name)
		if err != nil {
			s = sidecarFile{name: name, mark: name, open: func() (io.ReadCloser, error) { return nil, err }}
		}
		it.sidecars = append(it.sidecars, s)
	}
}

// sidecarMark changes when a sidecar comes, goes or changes; never "" if there
// is one.
func (it *item) sidecarMark() string {
	var marks []string
	for _, s := range it.sidecars {
		marks = append(marks, s.mark)
	}
	return cleanText(strings.Join(marks, "|"))
}

// readSidecars joins the facts of all sidecars. On an error the facts are those
// of the others.
func (it *item) readSidecars(in *time.Location) (facts, error) {
	var (
		all    facts
		failed error
	)
	for _, s := range it.sidecars {
		about, err := s.read(in)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", cleanText(s.name), err))
			continue
		}
		all.fill(about)
	}
	return all, failed
}

func (s sidecarFile) read(in *time.Location) (facts, error) {
	r, err := s.open()
	if err != nil {
		return facts{}, err
	}
	defer r.Close()
	if strings.EqualFold(path.Ext(s.name), ".json") {
		return readTakeout(r, in)
	}
	m, err := media.ReadSidecar(io.LimitReader(r, maxSidecar))
	if err != nil {
		return facts{}, err
	}
	about := facts{description: m.Description, original: m.OriginalDateTime}
	if m.Latitude != nil && m.Longitude != nil && validCoordinates(*m.Latitude, *m.Longitude) {
		about.latitude, about.longitude = m.Latitude, m.Longitude
	}
	return about, nil
}

// fill takes from other what f does not know.
func (f *facts) fill(other facts) {
	if f.title == "" {
		f.title = other.title
	}
	if f.description == nil {
		f.description = other.description
	}
	if f.latitude == nil {
		f.latitude, f.longitude = other.latitude, other.longitude
	}
	if f.original == nil {
		f.original = other.original
	}
	if f.people == nil {
		f.people = other.people
	}
}

// missingFrom is the change that adds what the server does not know: what is
// there stays, be it from the file or from a user.
func (f facts) missingFrom(m *assetMetadata) map[string]any {
	change := map[string]any{}
	if f.description != nil && (m.Description == nil || *m.Description == "") {
		change["description"] = *f.description
	}
	if f.latitude != nil && m.Latitude == nil && m.Longitude == nil {
		change["latitude"], change["longitude"] = *f.latitude, *f.longitude
	}
	if f.original != nil && m.OriginalDateTime == nil {
		change["original_datetime"] = f.original.String()
	}
	return change
}

// times are the file_created_at and file_modified_at of an upload. The first is
// what the server falls back on for the capture time (behaviour 7.3).
func (it *item) times(about facts, in *time.Location) (created, modified string) {
	at := it.modified.In(in)
	taken := at
	if about.original != nil {
		if about.original.Offset == nil {
			taken = inLocation(time.UnixMicro(about.original.Wall).UTC(), in)
		} else {
			taken = time.UnixMicro(about.original.Wall - int64(*about.original.Offset)*60e6).In(time.FixedZone("", *about.original.Offset*60))
		}
		if it.archived {
			at = taken
		}
	}
	return formatTime(taken), formatTime(at)
}

// inLocation is the moment at which the clocks in a place showed the same.
func inLocation(t time.Time, in *time.Location) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), in)
}

func formatTime(t time.Time) string {
	if year := t.Year(); year < 1 || year > 9999 {
		t = time.Unix(0, 0).UTC() // some file systems hold nonsense
	}
	return t.Format("2006-01-02T15:04:05.999999-07:00")
}
