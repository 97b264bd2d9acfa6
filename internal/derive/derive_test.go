package derive_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/banksiatest/storetest"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/blob/local"
	"github.com/banksia-photos/banksia/internal/catalog"
	"github.com/banksia-photos/banksia/internal/derive"
	"github.com/banksia-photos/banksia/internal/media"
	"github.com/banksia-photos/banksia/internal/place"
	"github.com/banksia-photos/banksia/internal/store"
	"github.com/banksia-photos/banksia/internal/task"
)

func TestMain(m *testing.M) {
	media.ServeWorkerIfAsked()
	os.Exit(m.Run())
}

// rig is all of a server but its HTTP.
type rig struct {
	t       *testing.T
	store   *store.Store
	blobs   *local.Store
	runner  *task.Runner
	catalog *catalog.Catalog
	deriver *derive.Deriver
	scope   banksia.Scope
}

// newRig makes a rig whose runner is not started.
func newRig(t *testing.T, change func(*media.Config)) *rig {
	t.Helper()
	r := &rig{t: t}
	folder := t.TempDir()
	var err error
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	r.store, err = store.Open(t.Context(), storetest.Database(t))
	must(err)
	t.Cleanup(func() { r.store.Close() })
	r.blobs, err = local.Open(filepath.Join(folder, "blobs"))
	must(err)
	mediaConfig := media.DefaultConfig()
	mediaConfig.Workers = 2
	if change != nil {
		change(&mediaConfig)
	}
	pool, err := media.New(mediaConfig)
	must(err)
	t.Cleanup(func() { pool.Close() })
	logger := slog.New(slog.DiscardHandler)
	taskConfig := task.DefaultConfig()
	taskConfig.Logger, taskConfig.Backoff = logger, time.Millisecond
	r.runner, err = task.New(taskConfig, r.store)
	must(err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		r.runner.Stop(ctx)
	})
	r.catalog = catalog.New(r.store, r.blobs, pool, r.runner, logger)
	r.deriver = derive.New(r.store, r.blobs, pool, place.New(), r.runner)
	owner, _, err := r.catalog.Setup(t.Context())
	must(err)
	r.scope = banksia.Scope{UserID: owner.ID, Actions: banksia.Actions}
	return r
}

func (r *rig) upload(name string, content []byte) banksia.Asset {
	r.t.Helper()
	in, err := r.catalog.Receive(r.t.Context(), bytes.NewReader(content))
	if err != nil {
		r.t.Fatal(err)
	}
	id, created, err := r.catalog.Commit(r.t.Context(), r.scope, in, catalog.UploadRequest{FileName: name})
	if err != nil || !created {
		r.t.Fatalf("upload of %s: created %v, %v", name, created, err)
	}
	return r.get(id)
}

func (r *rig) get(id banksia.AssetID) banksia.Asset {
	r.t.Helper()
	a, err := r.store.GetAsset(r.t.Context(), r.scope, id)
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

func (r *rig) metadata(id banksia.AssetID) banksia.Metadata {
	r.t.Helper()
	all, err := r.store.MetadataOf(r.t.Context(), []banksia.AssetID{id})
	if err != nil {
		r.t.Fatal(err)
	}
	return all[id]
}

func (r *rig) tasks(id banksia.AssetID) map[banksia.TaskType]banksia.Task {
	r.t.Helper()
	tasks, err := r.store.ListTasks(r.t.Context(), r.scope, store.TaskFilter{AssetID: &id, Limit: 100})
	if err != nil {
		r.t.Fatal(err)
	}
	result := map[banksia.TaskType]banksia.Task{}
	for _, one := range tasks {
		result[one.Type] = one
	}
	return result
}

func (r *rig) wantTask(id banksia.AssetID, taskType banksia.TaskType, status banksia.TaskStatus) banksia.Task {
	r.t.Helper()
	one, ok := r.tasks(id)[taskType]
	if !ok || one.Status != status {
		r.t.Errorf("%s is %q, want %s: %s", taskType, one.Status, status, text(one.ErrorMessage))
	}
	return one
}

func text(s *string) string {
	if s == nil {
		return "(none)"
	}
	return *s
}

// settled waits until no task is pending or started.
func (r *rig) settled() {
	r.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		n, err := r.store.UnfinishedTasks(r.t.Context())
		if err != nil {
			r.t.Fatal(err)
		}
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%d tasks are not finished", n)
		}
		time.Sleep(2 * time.Millisecond) // between two looks at the condition
	}
}

// size decodes a variant of a version, which must be there.
func (r *rig) size(v *banksia.Version, variant banksia.VariantName) (width, height int, format string) {
	r.t.Helper()
	reader, info, err := r.deriver.Variant(r.t.Context(), v, variant)
	if err != nil {
		r.t.Errorf("%s: %v", variant, err)
		return 0, 0, ""
	}
	defer reader.Close()
	head := make([]byte, 16)
	io.ReadFull(reader, head)
	if string(head[8:12]) == "WEBP" {
		return 0, 0, "webp"
	}
	reader.Seek(0, io.SeekStart)
	picture, format, err := image.Decode(reader)
	if err != nil {
		r.t.Errorf("%s of %d bytes: %v", variant, info.Size, err)
		return 0, 0, ""
	}
	return picture.Bounds().Dx(), picture.Bounds().Dy(), format
}

// photo is a JPEG that differs by its number.
func photo(number, width, height int) []byte {
	var to bytes.Buffer
	if err := jpeg.Encode(&to, picture(number, width, height, 255), nil); err != nil {
		panic(err)
	}
	return to.Bytes()
}

func picture(number, width, height int, alpha uint8) image.Image {
	p := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			p.SetNRGBA(x, y, color.NRGBA{uint8(x + number), uint8(y), uint8(x * y >> 4), alpha})
		}
	}
	return p
}

// tool runs a program that the test command installs, and returns the file that
// it makes.
func tool(t *testing.T, result, name string, args ...string) []byte {
	t.Helper()
	if output, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, output)
	}
	content, err := os.ReadFile(result)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// tagged is a photo with tags that exiftool writes.
func tagged(t *testing.T, number int, tags ...string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tagged.jpg")
	if err := os.WriteFile(path, photo(number, 64, 48), 0o600); err != nil {
		t.Fatal(err)
	}
	return tool(t, path, "exiftool", append(tags, "-q", "-overwrite_original", path)...)
}

// behaviour 7.21: the longest edges of the variants; 21.12: never upscaled.
func TestVariantsOfImages(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.runner.Start(t.Context())
	tiff := filepath.Join(t.TempDir(), "a.tiff")
	var transparent bytes.Buffer
	if err := png.Encode(&transparent, picture(3, 500, 400, 100)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		content  []byte
		fullsize [2]int // of the derived file; zero: the original itself
		preview  [2]int
		small    [2]int
		thumb    [2]int
		format   string
	}{
		"large.jpg":       {photo(1, 2000, 1000), [2]int{2000, 1000}, [2]int{1440, 720}, [2]int{720, 360}, [2]int{360, 180}, "jpeg"},
		"tiny.jpg":        {photo(2, 30, 20), [2]int{30, 20}, [2]int{30, 20}, [2]int{30, 20}, [2]int{30, 20}, "jpeg"},
		"print.tiff":      {tool(t, tiff, "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=900x600", "-frames:v", "1", tiff), [2]int{900, 600}, [2]int{900, 600}, [2]int{720, 480}, [2]int{360, 240}, "jpeg"},
		"transparent.png": {transparent.Bytes(), [2]int{}, [2]int{}, [2]int{}, [2]int{}, "webp"},
	} {
		a := r.upload(name, c.content)
		r.settled()
		r.wantTask(a.ID, banksia.TaskDisplayProxy, banksia.TaskSuccess)
		r.wantTask(a.ID, banksia.TaskThumbHash, banksia.TaskSuccess)
		a = r.get(a.ID)
		if n := len(a.Version.ThumbHash); n < 5 || n > 37 {
			t.Errorf("%s: a thumbhash of %d bytes", name, n)
		}
		for variant, want := range map[banksia.VariantName][2]int{banksia.VariantPreview: c.preview, banksia.VariantSmall: c.small, banksia.VariantThumbnail: c.thumb} {
			if _, err := r.blobs.Stat(t.Context(), blob.Derived(a.Version.ID, variant)); err != nil {
				t.Errorf("%s: the task did not make %s: %v", name, variant, err)
			}
			width, height, format := r.size(&a.Version, variant)
			if [2]int{width, height} != want || format != c.format {
				t.Errorf("%s: %s is %d × %d in %s, want %v in %s", name, variant, width, height, format, want, c.format)
			}
			if mimeType, ok := derive.VariantMIMEType(&a.Version, variant); !ok || mimeType != "image/"+c.format {
				t.Errorf("%s: %s is announced as %s, %v", name, variant, mimeType, ok)
			}
		}
		_, err := r.blobs.Stat(t.Context(), blob.Derived(a.Version.ID, banksia.VariantFullsize))
		if drawn := err == nil; drawn != (name == "print.tiff") { // behaviour 7.26
			t.Errorf("%s: fullsize was drawn: %v", name, drawn)
		}
		if c.fullsize != [2]int{} {
			if width, height, format := r.size(&a.Version, banksia.VariantFullsize); [2]int{width, height} != c.fullsize || format != "jpeg" {
				t.Errorf("%s: fullsize is %d × %d in %s", name, width, height, format)
			}
		}
		reader, info, err := r.deriver.Variant(t.Context(), &a.Version, banksia.VariantOriginal)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(reader); err != nil || !bytes.Equal(got, c.content) || info.Size != int64(len(c.content)) {
			t.Errorf("%s: the original is not byte-exact, %v", name, err)
		}
		reader.Close()
	}
}

// behaviour 6.11: variants can be fetched right after the upload, before any task
// has run; many at once cost one drawing.
func TestVariantOnTheSpot(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	a := r.upload("a.jpg", photo(1, 1600, 1200))
	var asking sync.WaitGroup
	for i := range 16 {
		variant := []banksia.VariantName{banksia.VariantThumbnail, banksia.VariantSmall, banksia.VariantPreview}[i%3]
		asking.Go(func() {
			if width, _, _ := r.size(&a.Version, variant); width != banksia.LongestEdge[variant] {
				t.Errorf("%s is %d wide", variant, width)
			}
		})
	}
	asking.Wait()
	entries, err := os.ReadDir(r.blobs.TempDir())
	if err != nil || len(entries) > 0 {
		t.Errorf("temporary files: %v, %v", entries, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := r.upload("b.jpg", photo(2, 1600, 1200))
	if _, _, err := r.deriver.Variant(ctx, &b.Version, banksia.VariantSmall); !errors.Is(err, context.Canceled) {
		t.Errorf("for somebody who has left: %v", err)
	}
	if width, _, _ := r.size(&b.Version, banksia.VariantSmall); width != 720 { // not spoiled by who left
		t.Errorf("then it is %d wide", width)
	}
}

// What cannot be drawn is not found, and once that is known no decoder tries.
func TestVariantOfDamagedImage(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	a := r.upload("a.jpg", photo(1, 640, 480)[:300])
	for range 2 {
		if reader, _, err := r.deriver.Variant(t.Context(), &a.Version, banksia.VariantThumbnail); banksia.ErrorCode(err) != banksia.CodeNotFound {
			t.Errorf("a variant of a header: %v, %v", reader, err)
		}
	}
	r.runner.Start(t.Context())
	r.settled()
	failed := r.wantTask(a.ID, banksia.TaskDisplayProxy, banksia.TaskFailure)
	if failed.RetryCount != 0 || !strings.HasSuffix(text(failed.ErrorMessage), ".") {
		t.Errorf("failed as %+v: %s", failed, text(failed.ErrorMessage))
	}
	r.wantTask(a.ID, banksia.TaskThumbHash, banksia.TaskFailure)
	a = r.get(a.ID)
	if _, ok := derive.VariantMIMEType(&a.Version, banksia.VariantThumbnail); ok {
		t.Error("a thumbnail is still promised")
	}
	if mimeType, ok := derive.VariantMIMEType(&a.Version, banksia.VariantOriginal); !ok || mimeType != "image/jpeg" {
		t.Error("the original is not promised")
	}
}

// An image that was too large for the limits of one server is drawn when its task
// is enqueued again on one that allows it; a limit is a clear message, not a crash.
func TestLimits(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *media.Config) { c.MaxPixels = 10_000 })
	r.runner.Start(t.Context())
	a := r.upload("a.jpg", photo(1, 200, 100))
	r.settled()
	failed := r.wantTask(a.ID, banksia.TaskDisplayProxy, banksia.TaskFailure)
	if failed.RetryCount != 0 || !strings.Contains(text(failed.ErrorMessage), "200") {
		t.Errorf("failed with %q", text(failed.ErrorMessage))
	}
	small := r.upload("b.jpg", photo(2, 90, 80))
	r.settled()
	r.wantTask(small.ID, banksia.TaskDisplayProxy, banksia.TaskSuccess)
}

// The place of a photo, and the offset that its time zone gives to a time without
// one; what the file says itself stays.
func TestReverseGeocoding(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.runner.Start(t.Context())
	paris := []string{"-GPSLatitude=48.8584", "-GPSLatitudeRef=N", "-GPSLongitude=2.2945", "-GPSLongitudeRef=E"}
	for name, c := range map[string]struct {
		tags    []string
		city    string
		country string
		time    string
	}{
		"summer":                    {[]string{"-DateTimeOriginal=2023:07:14 22:30:00"}, "Paris", "FR", "2023-07-14T22:30:00+02:00"},
		"winter":                    {[]string{"-DateTimeOriginal=2023:01:14 22:30:00"}, "Paris", "FR", "2023-01-14T22:30:00+01:00"},
		"the file knows the offset": {[]string{"-DateTimeOriginal=2023:07:14 22:30:00", "-OffsetTimeOriginal=-05:00"}, "Paris", "FR", "2023-07-14T22:30:00-05:00"},
		"the file knows the city":   {[]string{"-DateTimeOriginal=2023:07:14 22:30:00", "-IPTC:City=Lutetia", "-IPTC:Country-PrimaryLocationName=Gaul"}, "Lutetia", "(none)", "2023-07-14T22:30:00+02:00"},
	} {
		a := r.upload(name+".jpg", tagged(t, len(name), append(c.tags, paris...)...))
		r.settled()
		r.wantTask(a.ID, banksia.TaskReverseGeocode, banksia.TaskSuccess)
		m := r.metadata(a.ID)
		if text(m.City) != c.city || text(m.CountryCode) != c.country || text(m.Timezone) != "Europe/Paris" {
			t.Errorf("%s: %s, %s, %s", name, text(m.City), text(m.CountryCode), text(m.Timezone))
		}
		if got := r.get(a.ID).LocalDateTime.String(); got != c.time {
			t.Errorf("%s: taken at %s, want %s", name, got, c.time)
		}
		if label := m.DisplayLabel(); label == nil || !strings.Contains(*label, c.city) { // behaviour 7.10
			t.Errorf("%s: labelled %s", name, text(label))
		}
		again := r.get(a.ID)
		r.enqueue(&again, banksia.TaskReverseGeocode)
		r.settled()
		if second := r.metadata(a.ID); text(second.City) != text(m.City) || text(second.CountryCode) != text(m.CountryCode) || r.get(a.ID).LocalDateTime.String() != c.time {
			t.Errorf("%s: after a second run %+v", name, second)
		}
	}
	nowhere := r.upload("nowhere.jpg", tagged(t, 99, "-DateTimeOriginal=2023:07:14 22:30:00"))
	r.settled()
	if got := r.get(nowhere.ID).LocalDateTime; got.String() != "2023-07-14T22:30:00" { // behaviour 2.8
		t.Errorf("without a place: taken at %s", got)
	}
	if _, enqueued := r.tasks(nowhere.ID)[banksia.TaskReverseGeocode]; enqueued {
		t.Error("a place is looked up without coordinates")
	}
}

func (r *rig) enqueue(a *banksia.Asset, taskType banksia.TaskType) {
	r.t.Helper()
	err := r.store.ChangeAll(r.t.Context(), nil, func(tx *store.Tx) error {
		return r.runner.Enqueue(tx, &banksia.Task{UserID: r.scope.UserID, LibraryID: &a.LibraryID, AssetID: &a.ID, Type: taskType})
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// behaviour 6.9 and 6.11: all of a video is found out later, under URLs that work
// unchanged; its stills have the sizes of 7.21, fullsize included.
func TestVideo(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	path := filepath.Join(t.TempDir(), "a.mov")
	content := tool(t, path, "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=960x540:rate=25:duration=2", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast",
		"-movflags", "use_metadata_tags", "-metadata", "com.apple.quicktime.location.ISO6709=+48.8584+002.2945/", "-metadata", "com.apple.quicktime.creationdate=2023-07-14T22:30:00+0200", path)
	a := r.upload("clip.mov", content)
	if a.MediaType != banksia.Video || a.Duration != nil || a.Version.Width != 0 || a.Version.MIMEType != "video/quicktime" {
		t.Errorf("uploaded as %+v", a)
	}
	if mimeType, ok := derive.VariantMIMEType(&a.Version, banksia.VariantThumbnail); !ok || mimeType != "image/jpeg" {
		t.Errorf("the still is announced as %s, %v", mimeType, ok)
	}
	r.runner.Start(t.Context())
	r.settled()
	for _, taskType := range []banksia.TaskType{banksia.TaskVideoMetadata, banksia.TaskVideoThumbnails, banksia.TaskThumbHash, banksia.TaskReverseGeocode} {
		r.wantTask(a.ID, taskType, banksia.TaskSuccess)
	}
	a = r.get(a.ID)
	if a.Duration == nil || math.Abs(*a.Duration-2) > 0.1 || a.Version.Width != 960 || a.Version.Height != 540 || len(a.Version.ThumbHash) == 0 || a.LocalDateTime.String() != "2023-07-14T22:30:00+02:00" {
		t.Errorf("described as %+v", a)
	}
	m := r.metadata(a.ID)
	if text(m.City) != "Paris" || m.FPS == nil || math.Abs(*m.FPS-25) > 0.1 || m.RawWidth != nil {
		t.Errorf("described as %+v", m)
	}
	for variant, want := range map[banksia.VariantName]int{banksia.VariantFullsize: 960, banksia.VariantPreview: 960, banksia.VariantSmall: 720, banksia.VariantThumbnail: 360} {
		if width, _, format := r.size(&a.Version, variant); width != want || format != "jpeg" {
			t.Errorf("%s is %d wide in %s", variant, width, format)
		}
	}
}

// An image whose description failed at upload gets it later.
func TestLateDescription(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	a := r.upload("a.jpg", tagged(t, 1, "-DateTimeOriginal=2023:07:14 22:30:00", "-GPSLatitude=48.8584", "-GPSLatitudeRef=N", "-GPSLongitude=2.2945", "-GPSLongitudeRef=E"))
	err := r.store.ChangeAll(t.Context(), nil, func(tx *store.Tx) error { // as the catalog stores what it could not describe
		if err := tx.UpdateFileMetadata(a.ID, func(m *banksia.Metadata) { *m = banksia.Metadata{CreatedAt: m.CreatedAt} }); err != nil {
			return err
		}
		return tx.SetVersionFacts(a.Version.ID, func(v *banksia.Version) { v.Width, v.Height, v.Displayable = 0, 0, false })
	})
	if err != nil {
		t.Fatal(err)
	}
	r.runner.Start(t.Context())
	r.settled()
	a = r.get(a.ID)
	if a.Version.Width != 64 || !a.Version.Displayable || a.LocalDateTime.String() != "2023-07-14T22:30:00+02:00" || text(r.metadata(a.ID).City) != "Paris" {
		t.Errorf("described as %+v", a)
	}
}

// An asset that is purged while it is drawn leaves no files.
func TestPurgedWhileDrawn(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.runner.Start(t.Context())
	for i := range 8 {
		a := r.upload("a.jpg", photo(i, 1200, 900))
		drawn := make(chan struct{})
		go func() {
			defer close(drawn)
			if reader, _, err := r.deriver.Variant(t.Context(), &a.Version, banksia.VariantThumbnail); err == nil {
				reader.Close()
			}
		}()
		if i%2 == 0 {
			<-drawn
		}
		if err := r.catalog.PurgeAssets(t.Context(), r.scope, a.LibraryID, []banksia.AssetID{a.ID}); err != nil {
			t.Fatal(err)
		}
		<-drawn
		r.settled()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r.runner.Stop(ctx)
	err := r.blobs.List(t.Context(), "", func(info blob.Info) error {
		t.Errorf("left behind: %s", info.Key)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
