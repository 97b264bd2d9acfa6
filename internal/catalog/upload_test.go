package catalog_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/catalog"
	"github.com/banksia-photos/banksia/internal/store"
)

func TestUploadImage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	content := photo(1, 640, 480)
	a := r.mustUpload(t, "holiday.JPG", content)
	sum256, sum1 := sha256.Sum256(content), sha1.Sum(content)
	f := a.File
	if !bytes.Equal(f.SHA256, sum256[:]) || !bytes.Equal(f.SHA1, sum1[:]) || f.SizeBytes != int64(len(content)) { // behaviour 7.1
		t.Errorf("stored as %+v", f)
	}
	if f.DeviceAssetID != "device asset" || f.DeviceID != "device" || f.CreatedAt.String() != "2020-01-02T03:04:05" || f.ModifiedAt.String() != "2020-02-03T04:05:06+01:00" {
		t.Errorf("stored as %+v", f)
	}
	// behaviour 6.9: what the headers say is there at once; 7.3: the time falls back.
	if a.Version.Width != 640 || a.Version.Height != 480 || a.Version.VariantMIMEType != "image/jpeg" || !a.Version.Displayable || a.Version.MIMEType != "image/jpeg" ||
		a.LocalDateTime.String() != "2020-01-02T03:04:05" || a.MediaType != banksia.Image || a.OriginalFileName != "holiday.JPG" || a.Duration != nil {
		t.Errorf("described as %+v", a)
	}
	if a.Version.Kind != banksia.KindOriginal || a.Version.Position != 0 || a.Version.ThumbHash != nil || a.TrashedAt != nil {
		t.Errorf("described as %+v", a)
	}
	reader, _, err := r.blobs.Open(t.Context(), blob.Original(f.SHA256))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if got, err := io.ReadAll(reader); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the original holds %d bytes, %v", len(got), err)
	}
	r.wantNoTemp(t)
	l := r.library(t)
	if l.AssetCount != 1 || l.StorageUsedBytes != int64(len(content)) {
		t.Errorf("the library counts %+v", l)
	}
	r.wantTasks(t, a.ID, banksia.TaskPending, banksia.TaskDisplayProxy, banksia.TaskThumbHash)
	r.runner.Start(t.Context())
	r.settled(t)
	r.wantTasks(t, a.ID, banksia.TaskSuccess, banksia.TaskDisplayProxy, banksia.TaskThumbHash)
	if hash := r.get(t, a.ID).Version.ThumbHash; len(hash) < 5 {
		t.Errorf("the thumbhash is %x", hash)
	}
}

// wantTasks checks that the asset has these tasks, all in one state.
func (r *rig) wantTasks(t *testing.T, asset banksia.AssetID, status banksia.TaskStatus, types ...banksia.TaskType) {
	t.Helper()
	tasks, err := r.store.ListTasks(t.Context(), r.scope, store.TaskFilter{AssetID: &asset, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range types {
		found := false
		for _, one := range tasks {
			if one.Type == want {
				found = true
				if one.Status != status {
					t.Errorf("%s is %s, want %s: %v", want, one.Status, status, text(one.ErrorMessage))
				}
			}
		}
		if !found {
			t.Errorf("no task %s", want)
		}
	}
	if len(tasks) != len(types) {
		t.Errorf("%d tasks, want %d: %+v", len(tasks), len(types), tasks)
	}
}

func text(s *string) string {
	if s == nil {
		return "(none)"
	}
	return *s
}

// What is refused leaves neither a row nor a file (behaviour 6.3, 6.12).
func TestUploadRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	jpeg, png := photo(1, 8, 8), []byte("\x89PNG\r\n\x1a\n and more")
	foreign := r.addLibrary(t, r.addUser(t).UserID)
	unknown := banksia.NewID[banksia.LibraryID](r.store.Now())
	for name, c := range map[string]struct {
		name    string
		content []byte
		library *banksia.LibraryID
		code    banksia.Code
		message string
	}{
		"no extension":                 {"photo", jpeg, nil, banksia.CodeValidation, "extension"},
		"unknown extension":            {"photo.txt", jpeg, nil, banksia.CodeValidation, "extension"},
		"script":                       {"photo.svg", []byte("<svg/>"), nil, banksia.CodeValidation, "extension"},
		"no name":                      {"", jpeg, nil, banksia.CodeValidation, "extension"},
		"extension only in the folder": {"photo.jpg/x", jpeg, nil, banksia.CodeValidation, "extension"},
		"ten thousand characters":      {strings.Repeat("ü", 10_000) + ".jpg", jpeg, nil, banksia.CodeValidation, "1024"},
		"one character too many":       {strings.Repeat("ü", 1021) + ".jpg", jpeg, nil, banksia.CodeValidation, "1024"},
		"no bytes":                     {"photo.jpg", nil, nil, banksia.CodeValidation, "empty"},
		"other content":                {"photo.jpg", png, nil, banksia.CodeValidation, "image/jpeg"},
		"HTML":                         {"photo.jpg", []byte("<html><script>"), nil, banksia.CodeValidation, "image/jpeg"},
		"image named as a video":       {"photo.mp4", jpeg, nil, banksia.CodeValidation, "video/mp4"},
		"unknown library":              {"photo.jpg", jpeg, &unknown, banksia.CodeNotFound, "Library"},
		"somebody else's library":      {"photo.jpg", jpeg, &foreign, banksia.CodeNotFound, "Library"},
	} {
		_, created, err := r.upload(t.Context(), r.scope, c.library, c.name, bytes.NewReader(c.content))
		if created || banksia.ErrorCode(err) != c.code || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: created %v, %v; want %s about %q", name, created, err, c.code, c.message)
		}
		early := r.catalog.CheckUpload(t.Context(), r.scope, catalog.UploadRequest{FileName: c.name, LibraryID: c.library})
		if byName := c.message != "empty" && !strings.Contains(c.message, "/"); byName != (banksia.ErrorCode(early) == c.code) {
			t.Errorf("%s: before the bytes came: %v", name, early)
		}
	}
	r.wantNothing(t)
}

// wantNothing checks that there is no trace of any upload.
func (r *rig) wantNothing(t *testing.T) {
	t.Helper()
	if found := r.originals(t); len(found) > 0 {
		t.Errorf("originals are left: %v", found)
	}
	r.wantNoTemp(t)
	if n, err := r.store.UnfinishedTasks(t.Context()); err != nil || n > 0 {
		t.Errorf("%d tasks are left, %v", n, err)
	}
	if l := r.library(t); l.AssetCount != 0 || l.StorageUsedBytes != 0 {
		t.Errorf("the library counts %+v", l)
	}
}

// behaviour 6.12: a client that goes away leaves nothing, whenever it does.
func TestUploadAborted(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	content := photo(1, 400, 300)
	gone := errors.New("connection reset")
	for _, at := range []int{0, 1, len(content) / 2, len(content)} {
		body := io.MultiReader(bytes.NewReader(content[:at]), iotest.ErrReader(gone))
		if _, _, err := r.upload(t.Context(), r.scope, nil, "a.jpg", body); !errors.Is(err, gone) {
			t.Errorf("cut off at %d: %v", at, err)
		}
	}
	in, err := r.catalog.Receive(t.Context(), bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := r.catalog.Commit(ctx, r.scope, in, catalog.UploadRequest{FileName: "a.jpg"}); !errors.Is(err, context.Canceled) {
		t.Errorf("commit after the client left: %v", err)
	}
	r.wantNothing(t)
}

func TestUploadDuplicate(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	content := photo(1, 64, 64)
	a := r.mustUpload(t, "a.jpg", content)
	again := func(scope banksia.Scope, library *banksia.LibraryID, name string) (banksia.AssetID, bool) {
		t.Helper()
		id, created, err := r.upload(t.Context(), scope, library, name, bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		return id, created
	}
	if id, created := again(r.scope, nil, "other name.jpeg"); created || id != a.ID { // behaviour 6.4
		t.Errorf("the same bytes again are %s, created %v", id, created)
	}
	if err := r.catalog.TrashAssets(t.Context(), r.scope, a.LibraryID, []banksia.AssetID{a.ID}); err != nil {
		t.Fatal(err)
	}
	if id, created := again(r.scope, nil, "a.jpg"); created || id != a.ID || r.get(t, id).TrashedAt == nil { // behaviour 21.17
		t.Errorf("a duplicate of a trashed asset is %s, created %v", id, created)
	}
	second := r.addLibrary(t, r.scope.UserID)
	other, created := again(r.scope, &second, "a.jpg")
	if !created || other == a.ID { // behaviour 6.5
		t.Errorf("the same bytes in another library are %s, created %v", other, created)
	}
	if _, _, err := r.upload(t.Context(), r.scope, nil, "a.jpg", bytes.NewReader(content)); banksia.ErrorCode(err) != banksia.CodeInvalidRequest { // behaviour 6.7
		t.Errorf("upload to one of two libraries: %v", err)
	}
	selected := r.scope
	selected.LibraryIDs = []banksia.LibraryID{second}
	if id, created := again(selected, nil, "a.jpg"); created || id != other { // behaviour 4.7
		t.Errorf("with a key of one library: %s, created %v", id, created)
	}
	if _, _, err := r.upload(t.Context(), selected, &a.LibraryID, "a.jpg", bytes.NewReader(content)); banksia.ErrorCode(err) != banksia.CodeNotFound {
		t.Errorf("upload beyond the key: %v", err)
	}
	if found := r.originals(t); len(found) != 1 {
		t.Errorf("%d originals are stored, want 1", len(found))
	}
	r.wantNoTemp(t)
}

// behaviour 6.7 and 21.14: the first upload of a user without a library makes one.
func TestUploadMakesDefaultLibrary(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	scope := r.addUser(t)
	none := scope
	none.LibraryIDs = []banksia.LibraryID{}
	if _, _, err := r.upload(t.Context(), none, nil, "a.jpg", bytes.NewReader(photo(1, 8, 8))); banksia.ErrorCode(err) != banksia.CodeInvalidRequest {
		t.Errorf("with a key of no library: %v", err)
	}
	if found := r.originals(t); len(found) > 0 {
		t.Errorf("left behind: %v", found)
	}
	for i := range 2 {
		if _, created, err := r.upload(t.Context(), scope, nil, "a.jpg", bytes.NewReader(photo(i, 8, 8))); err != nil || !created {
			t.Fatalf("created %v, %v", created, err)
		}
	}
	libraries, err := r.store.ListLibraries(t.Context(), scope, store.Live)
	if err != nil || len(libraries) != 1 || libraries[0].Name != "My Library" || libraries[0].AssetCount != 2 {
		t.Errorf("libraries: %+v, %v", libraries, err)
	}
}

// behaviour 6.6: caps come before the duplicate lookup.
func TestUploadCaps(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"libraries", "users"} {
		r := newRig(t)
		first, second := photo(1, 64, 64), photo(2, 64, 64)
		limit := func(bytes int) {
			r.write(t, func(tx *store.Tx) error {
				_, err := tx.Exec(`UPDATE `+table+` SET storage_limit_bytes = $1`, bytes)
				return err
			})
		}
		refuse := func(content []byte) {
			t.Helper()
			_, _, err := r.upload(t.Context(), r.scope, nil, "a.jpg", bytes.NewReader(content))
			if banksia.ErrorCode(err) != banksia.CodeInsufficientStorage {
				t.Errorf("%s: over the limit: %v", table, err)
			}
			r.wantNoTemp(t)
		}
		limit(len(first) - 1)
		refuse(first)
		r.wantNothing(t)
		limit(len(first) + len(second) - 1)
		r.mustUpload(t, "a.jpg", first)
		refuse(second)
		limit(len(first))
		refuse(first) // a duplicate
		if err := r.catalog.CheckUpload(t.Context(), r.scope, catalog.UploadRequest{FileName: "a.jpg"}); banksia.ErrorCode(err) != banksia.CodeInsufficientStorage {
			t.Errorf("%s: before the bytes came: %v", table, err)
		}
		limit(len(first) + len(second))
		r.mustUpload(t, "b.jpg", second)
		if found := r.originals(t); len(found) != 2 {
			t.Errorf("%s: %d originals", table, len(found))
		}
	}
}

// What cannot be decoded is kept, listed and downloadable; its tasks say why.
func TestUploadDamaged(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.runner.Start(t.Context())
	whole := photo(1, 640, 480)
	for name, content := range map[string][]byte{
		"magic.jpg":  whole[:3],
		"header.jpg": whole[:20],
		"noise.png":  append([]byte("\x89PNG\r\n\x1a\n"), bytes.Repeat([]byte("noise"), 100)...),
		"noise.heic": []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00heicmif1 and no more"),
		"noise.mp4":  []byte("\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom and no more"),
		"noise.cr2":  []byte("II*\x00\x08\x00\x00\x00 and no more"),
	} {
		a := r.mustUpload(t, name, content)
		r.settled(t)
		if found := r.originals(t); found[blob.Original(a.File.SHA256)] != int64(len(content)) {
			t.Errorf("%s is not kept", name)
		}
		tasks, err := r.store.ListTasks(t.Context(), r.scope, store.TaskFilter{AssetID: &a.ID, Status: banksia.TaskFailure, Limit: 10})
		if err != nil || len(tasks) == 0 {
			t.Errorf("%s: no task failed, %v", name, err)
		}
		for _, one := range tasks {
			if m := text(one.ErrorMessage); len(m) < 10 || !strings.HasSuffix(m, ".") || strings.Contains(m, "/") || strings.Contains(m, "internal") {
				t.Errorf("%s: %s failed with %q", name, one.Type, m)
			}
			if one.RetryCount > 1 {
				t.Errorf("%s: %s was tried %d times", name, one.Type, one.RetryCount+1)
			}
		}
		if got := r.get(t, a.ID).Version.VariantMIMEType; got != "" {
			t.Errorf("%s: variants of type %q are promised", name, got)
		}
	}
}

func TestUploadCleansNames(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	number := 0
	for given, want := range map[string]string{
		"../../etc/cron.d/evil.jpg":        "evil.jpg",
		`C:\Users\me\photo.jpg`:            "photo.jpg",
		"new\nline\x00.jpg":                "new_line_.jpg",
		"invalid \xff\xfe.jpg":             "invalid _.jpg",
		"\u202egnp.exe.jpg":                "_gnp.exe.jpg",
		"ünïcödé 写真.JPEG":                  "ünïcödé 写真.JPEG",
		".jpg":                             ".jpg",
		strings.Repeat("ü", 1020) + ".jpg": strings.Repeat("ü", 1020) + ".jpg",
	} {
		number++
		if a := r.mustUpload(t, given, photo(number, 8, 8)); a.OriginalFileName != want {
			t.Errorf("%q is stored as %q, want %q", given, a.OriginalFileName, want)
		}
	}
}

// The same bytes at the same moment become one asset in each library.
func TestConcurrentUploads(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first, second := r.library(t).ID, r.addLibrary(t, r.scope.UserID)
	content := photo(1, 64, 64)
	var mu sync.Mutex
	created := map[banksia.LibraryID]map[banksia.AssetID]int{first: {}, second: {}}
	var running sync.WaitGroup
	for i := range 12 {
		library := first
		if i%2 == 1 {
			library = second
		}
		running.Go(func() {
			id, fresh, err := r.upload(t.Context(), r.scope, &library, "a.jpg", bytes.NewReader(content))
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if fresh {
				created[library][id]++
			} else {
				created[library][id] += 0
			}
		})
	}
	running.Wait()
	for library, ids := range created {
		if len(ids) != 1 {
			t.Errorf("library %s has the assets %v", library, ids)
		}
		for id, n := range ids {
			if n != 1 {
				t.Errorf("%s was created %d times", id, n)
			}
		}
	}
	if found := r.originals(t); len(found) != 1 {
		t.Errorf("originals: %v", found)
	}
	r.wantNoTemp(t)
}
