package api_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/banksiatest"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/store"
)

// bodyOf is a JSON object.
type bodyOf = map[string]any

// want calls the server and fails the test unless the status is the expected one.
func want(t testing.TB, s *banksiatest.Server, status int, method, target string, body any) banksiatest.Answer {
	t.Helper()
	answer := s.Call(t, method, target, body)
	if answer.Status != status {
		t.Fatalf("%s %s: %d, not %d: %.500s", method, target, answer.Status, status, answer.Body)
	}
	return answer
}

// behaviour 8.5, 8.6, 8.8, 8.9: the way of an asset into the trash, back, and out.
func TestTrash(t *testing.T) {
	t.Parallel()
	f := newFilled(t)
	id := func(n int) string { return f.assets[n].ID.String() }
	ack := func(method, target string, body any) {
		t.Helper()
		if answer := want(t, f.Server, 200, method, target, body); string(answer.Body) != "{}\n" && string(answer.Body) != "{}" { // behaviour 2.5
			t.Errorf("%s %s answers %s", method, target, answer.Body)
		}
	}
	shows := func(query, numbers string) {
		t.Helper()
		var p page
		want(t, f.Server, 200, "GET", "/api/assets?limit=200&"+query, nil).JSON(t, &p)
		if got := f.numbers(p); got != numbers {
			t.Errorf("%s shows %s, not %s", query, got, numbers)
		}
	}
	unknown := banksia.NewID[banksia.AssetID](time.Now()).String()
	for range 2 { // again changes nothing
		ack("POST", "/api/assets/trash", bodyOf{"ids": []string{id(1), id(1), id(5), unknown}})
		shows("", "8764320")
		shows("album_id="+f.album, "20")
		shows("stack_id="+f.stack, "6")
		shows("person_ids="+f.person, "432")
	}
	want(t, f.Server, 200, "GET", "/api/assets/"+id(1), nil) // behaviour 7.11
	for range 2 {
		ack("POST", "/api/assets/restore?library_id="+f.Library.String(), bodyOf{"ids": []string{id(1), id(5), unknown}})
		shows("", "876543210")
		shows("album_id="+f.album, "210")
		shows("stack_id="+f.stack, "65")
		shows("person_ids="+f.person, "4321")
	}
	for range 2 { // a delete may be repeated
		ack("DELETE", "/api/assets", bodyOf{"ids": []string{id(0), id(1), unknown}})
		shows("state=all", "98765432")
	}
	ack("DELETE", "/api/assets/"+id(2), nil)
	want(t, f.Server, 404, "DELETE", "/api/assets/"+id(2), nil)
	want(t, f.Server, 404, "GET", "/api/assets/"+id(2), nil)
	ack("POST", "/api/assets/trash", bodyOf{"ids": []string{id(3)}})
	ack("POST", "/api/assets/trash", bodyOf{"ids": []string{id(4)}})
	shows("state=trashed", "439") // the last that came first
	for range 2 {
		ack("POST", "/api/assets/empty-trash?library_id="+f.Library.String(), nil)
		shows("state=all", "8765")
	}
	for target, body := range map[string]any{
		"/api/assets/trash":   bodyOf{"ids": []string{}},
		"/api/assets/restore": bodyOf{"ids": make([]string, 201)},
	} {
		want(t, f.Server, 422, "POST", target, body)
		want(t, f.Server, 422, "POST", target, bodyOf{"ids": []string{"asset_stack_BM3nUmJ6fkBqBADyz5FEiu"}})
		want(t, f.Server, 422, "POST", target, bodyOf{})
		want(t, f.Server, 404, "POST", target+"?library_id="+banksia.NewID[banksia.LibraryID](time.Now()).String(), bodyOf{"ids": []string{id(8)}})
	}
	want(t, f.Server, 422, "DELETE", "/api/assets", bodyOf{"ids": []string{}})
}

// behaviour 4.6: which verbs each needs.
func TestTrashActions(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	id := s.AddAsset(t, func(*banksia.Asset, *banksia.Metadata) {}).ID.String()
	ids := bodyOf{"ids": []string{id}}
	reader, writer := s.NewKey(t, []banksia.Action{banksia.Read}, nil), s.NewKey(t, []banksia.Action{banksia.Read, banksia.Write}, nil)
	deleter := s.NewKey(t, []banksia.Action{banksia.Read, banksia.Delete}, nil)
	for _, call := range []struct {
		method, target string
		body           any
		permanent      bool
	}{
		{"POST", "/api/assets/trash", ids, false}, {"POST", "/api/assets/restore", ids, false},
		{"POST", "/api/assets/empty-trash", nil, true}, {"DELETE", "/api/assets", ids, true}, {"DELETE", "/api/assets/" + id, nil, true},
	} {
		for _, key := range []string{reader, writer} {
			if got := s.CallAs(t, key, call.method, call.target, call.body); got.Status != 403 {
				t.Errorf("%s %s without delete: %d", call.method, call.target, got.Status)
			}
		}
		status := 200
		if call.permanent {
			status = 403
		}
		if got := s.CallAs(t, deleter, call.method, call.target, call.body); got.Status != status {
			t.Errorf("%s %s with delete: %d", call.method, call.target, got.Status)
		}
	}
}

// behaviour 8.7: after the retention the rows and the files go, before it they stay.
func TestRetention(t *testing.T) {
	t.Parallel()
	var days atomic.Int64
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := banksiatest.NewServerWith(t, banksiatest.Config{Now: func() time.Time { return begin.AddDate(0, 0, int(days.Load())) }})
	old := upload(t, s, "old.jpg", banksiatest.JPEG(t, 64, 64, 1))
	young := upload(t, s, "young.jpg", banksiatest.JPEG(t, 64, 64, 2))
	s.Finished(t)
	want(t, s, 200, "POST", "/api/assets/trash", bodyOf{"ids": []string{old.ID}})
	days.Store(2)
	want(t, s, 200, "POST", "/api/assets/trash", bodyOf{"ids": []string{young.ID}})
	days.Store(89)
	if err := s.Catalog.MaintainOnce(t.Context(), banksiatest.Retention); err != nil {
		t.Fatal(err)
	}
	want(t, s, 200, "GET", "/api/assets/"+old.ID, nil)
	days.Store(91)
	if err := s.Catalog.MaintainOnce(t.Context(), 0); err != nil { // 0 keeps for ever
		t.Fatal(err)
	}
	want(t, s, 200, "GET", "/api/assets/"+old.ID, nil)
	if err := s.Catalog.MaintainOnce(t.Context(), banksiatest.Retention); err != nil {
		t.Fatal(err)
	}
	want(t, s, 404, "GET", "/api/assets/"+old.ID, nil)
	want(t, s, 200, "GET", "/api/assets/"+young.ID, nil)
	days.Store(93)
	if err := s.Catalog.MaintainOnce(t.Context(), banksiatest.Retention); err != nil {
		t.Fatal(err)
	}
	want(t, s, 404, "GET", "/api/assets/"+young.ID, nil)
	noFiles(t, s)
}

// noFiles waits until nothing is stored: what is being drawn of a purged asset is
// removed when it is done.
func noFiles(t *testing.T, s *banksiatest.Server) {
	t.Helper()
	s.Finished(t)
	s.Await(t, "files are left", func() bool { return len(blobKeys(t, s)) == 0 })
}

// blobKeys lists every stored file.
func blobKeys(t *testing.T, s *banksiatest.Server) []blob.Key {
	t.Helper()
	var keys []blob.Key
	if err := s.Blobs.List(t.Context(), "", func(i blob.Info) error { keys = append(keys, i.Key); return nil }); err != nil {
		t.Fatal(err)
	}
	return keys
}

func isOriginal(key blob.Key) bool {
	_, ok := blob.OriginalDigest(key)
	return ok
}

// behaviour 10: the life of a library.
func TestLibraries(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	type library struct {
		ID          string
		Name        string
		Description *string
		AssetCount  int   `json:"asset_count"`
		Used        int64 `json:"storage_used_bytes"`
	}
	var created, second library
	want(t, s, 201, "POST", "/api/libraries", bodyOf{"name": "Büro", "description": "work"}).JSON(t, &created)
	if created.Name != "Büro" || created.Description == nil || *created.Description != "work" {
		t.Errorf("created %+v", created)
	}
	path := "/api/libraries/" + created.ID
	want(t, s, 200, "PATCH", path, bodyOf{"name": "Office"}).JSON(t, &second)
	if second.Name != "Office" || second.Description == nil {
		t.Errorf("renamed: %+v", second)
	}
	second = library{}
	want(t, s, 200, "PATCH", path, bodyOf{"description": nil}).JSON(t, &second)
	if second.Name != "Office" || second.Description != nil {
		t.Errorf("without description: %+v", second)
	}
	for _, body := range []any{bodyOf{"name": nil}, bodyOf{"name": " "}, bodyOf{"name": 3}, bodyOf{"name": "a\x00"}, "text"} {
		want(t, s, 422, "PATCH", path, body)
		want(t, s, 422, "POST", "/api/libraries", body)
	}
	want(t, s, 422, "POST", "/api/libraries", bodyOf{})
	// With two libraries one must be named (behaviour 10.1).
	for _, target := range []string{"/api/assets", "/api/assets/counts", "/api/events", "/api/assets/geo-clusters?bbox=0,0,1,1&cell_size=1"} {
		want(t, s, 400, "GET", target, nil)
	}
	want(t, s, 400, "POST", "/api/assets/trash", bodyOf{"ids": []string{banksia.NewID[banksia.AssetID](time.Now()).String()}})
	want(t, s, 400, "POST", "/api/assets/empty-trash", nil)
	if answer := s.Upload(t, banksiatest.UploadParts("a.jpg", banksiatest.JPEG(t, 16, 16, 1))); answer.Status != 400 {
		t.Errorf("an upload to no library: %d", answer.Status)
	}
	parts := append([]banksiatest.Part{{Name: "library_id", Content: []byte(created.ID)}}, banksiatest.UploadParts("a.jpg", banksiatest.JPEG(t, 16, 16, 1))...)
	answer := s.Upload(t, parts)
	if answer.Status != http.StatusCreated {
		t.Fatalf("%d: %s", answer.Status, answer.Body)
	}
	var photo asset
	answer.JSON(t, &photo)
	want(t, s, 200, "GET", path, nil).JSON(t, &second)
	if second.AssetCount != 1 || second.Used == 0 {
		t.Errorf("with a photo: %+v", second)
	}
	// A library in use is not deleted, and repeating will not help (behaviour 21.22).
	if answer := want(t, s, 409, "DELETE", path, nil); answer.Header.Get("X-Should-Retry") != "false" {
		t.Errorf("%v", answer.Header)
	}
	names := func(state string) string {
		var list []library
		want(t, s, 200, "GET", "/api/libraries"+state, nil).JSON(t, &list)
		text := ""
		for _, l := range list {
			text += l.Name + ";"
		}
		return text
	}
	for range 2 {
		want(t, s, 200, "POST", path+"/trash", nil)
		if live, trashed, all := names(""), names("?state=trashed"), names("?state=all"); live != "My Library;" || trashed != "Office;" || all != "My Library;Office;" {
			t.Errorf("live %s, trashed %s, all %s", live, trashed, all)
		}
	}
	// Its content is hidden, it is not (behaviour 10.3), and the other one is the only one again.
	want(t, s, 404, "GET", "/api/assets/"+photo.ID, nil)
	want(t, s, 404, "GET", "/api/assets?library_id="+created.ID, nil)
	want(t, s, 200, "GET", path, nil)
	want(t, s, 200, "GET", "/api/assets", nil)
	for range 2 {
		want(t, s, 200, "POST", path+"/restore", nil).JSON(t, &second)
		want(t, s, 200, "GET", "/api/assets/"+photo.ID, nil)
	}
	want(t, s, 200, "POST", path+"/trash", nil)
	want(t, s, 200, "DELETE", path, nil)
	s.Await(t, "the library is never gone", func() bool { return s.Call(t, "GET", path, nil).Status == http.StatusNotFound })
	for method, target := range map[string]string{"GET": path, "PATCH": path, "POST": path + "/restore", "DELETE": path} {
		var body any
		if method == "PATCH" {
			body = bodyOf{}
		}
		want(t, s, 404, method, target, body)
	}
	want(t, s, 404, "POST", path+"/trash", nil)
	noFiles(t, s)
	nothingOf(t, s, created.ID)
}

// nothingOf looks into every column of every table for a library.
func nothingOf(t *testing.T, s *banksiatest.Server, text string) {
	t.Helper()
	id, err := banksia.ParseID[banksia.LibraryID](text)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Store.Read(t.Context(), func(tx *store.Tx) error {
		columns, err := tx.Columns()
		if err != nil {
			return err
		}
		if len(columns) < 100 {
			return fmt.Errorf("only %d columns were looked at", len(columns))
		}
		for _, column := range columns {
			if column.Type != "BYTEA" {
				continue
			}
			var n int
			if err := tx.QueryRow(`SELECT COUNT(*) FROM "`+column.Table+`" WHERE "`+column.Name+`" = $1`, id).Scan(&n); err != nil {
				return fmt.Errorf("%v: %w", column, err)
			}
			if n > 0 {
				t.Errorf("%d rows of %s still name the library in %s", n, column.Table, column.Name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// behaviour 4.7, 10.4: a key for selected libraries.
func TestSelectedLibraries(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	var other struct{ ID string }
	want(t, s, 201, "POST", "/api/libraries", bodyOf{"name": "Other"}).JSON(t, &other)
	key := s.NewKey(t, banksia.Actions, []banksia.LibraryID{s.Library})
	for target, status := range map[string]int{"/api/assets": 200, "/api/libraries/" + s.Library.String(): 200, "/api/libraries/" + other.ID: 404, "/api/assets?library_id=" + other.ID: 404} {
		if got := s.CallAs(t, key, "GET", target, nil); got.Status != status {
			t.Errorf("%s: %d", target, got.Status)
		}
	}
	if got := s.CallAs(t, key, "POST", "/api/libraries", bodyOf{"name": "Third"}); got.Status != 403 {
		t.Errorf("made a library that the key cannot see: %d", got.Status)
	}
	if got := s.CallAs(t, key, "POST", "/api/libraries/"+other.ID+"/trash", nil); got.Status != 404 {
		t.Errorf("trashed a library that the key cannot see: %d", got.Status)
	}
}

// Whoever trashes, restores, uploads, purges and empties at once: counters, rows
// and files agree in the end.
func TestTrashRaces(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	var wait sync.WaitGroup
	for n := range 4 {
		wait.Go(func() {
			for i := range 12 {
				answer := s.Upload(t, banksiatest.UploadParts("a.jpg", banksiatest.JPEG(t, 8, 8, uint8(i%3)))) // three contents, again and again
				if answer.Status == http.StatusBadGateway {
					continue // purged by another before it could be answered
				}
				if answer.Status != http.StatusCreated && answer.Status != http.StatusOK {
					t.Errorf("an upload answers %d: %s\n%s", answer.Status, answer.Body, s.Log)
					continue
				}
				var a asset
				answer.JSON(t, &a)
				ids := bodyOf{"ids": []string{a.ID}}
				switch (i + n) % 4 {
				case 0:
					want(t, s, 200, "POST", "/api/assets/trash", ids)
					want(t, s, 200, "POST", "/api/assets/restore", ids)
				case 1:
					want(t, s, 200, "POST", "/api/assets/trash", ids)
					want(t, s, 200, "POST", "/api/assets/empty-trash", nil)
				case 2:
					want(t, s, 200, "DELETE", "/api/assets", ids)
				}
			}
		})
	}
	wait.Wait()
	s.Finished(t)
	var p page
	want(t, s, 200, "GET", "/api/assets?state=all&limit=200", nil).JSON(t, &p)
	originals := 0
	for _, key := range blobKeys(t, s) {
		if isOriginal(key) {
			originals++
		}
	}
	if originals != len(p.Data) {
		t.Errorf("%d originals of %d assets", originals, len(p.Data))
	}
	for _, a := range p.Data { // every one that is left is whole
		if got := s.CallAs(t, "", "GET", a.AssetURLs["original"].URL, nil); got.Status != 200 {
			t.Errorf("original of %s: %d", a.ID, got.Status)
		}
	}
}

// Those in the trash are listed last trashed first.
func TestTrashedLibrariesOrder(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	var ids []string
	for i := range 3 {
		var l struct{ ID string }
		want(t, s, 201, "POST", "/api/libraries", bodyOf{"name": fmt.Sprint("L", i)}).JSON(t, &l)
		ids = append(ids, l.ID)
	}
	for _, i := range []int{1, 2, 0} {
		want(t, s, 200, "POST", "/api/libraries/"+ids[i]+"/trash", nil)
	}
	var list []struct{ Name string }
	want(t, s, 200, "GET", "/api/libraries?state=trashed", nil).JSON(t, &list)
	got := ""
	for _, l := range list {
		got += l.Name + " "
	}
	if got != "L0 L2 L1 " {
		t.Errorf("last trashed first should be L0 L2 L1, is %s", got)
	}
}

// A clock that is set back makes no new trash look as if it had been emptied.
func TestEmptyTrashWithClockSetBack(t *testing.T) {
	t.Parallel()
	var back atomic.Int64
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := banksiatest.NewServerWith(t, banksiatest.Config{Now: func() time.Time { return begin.Add(-time.Duration(back.Load()) * time.Second) }})
	a := upload(t, s, "a.jpg", banksiatest.JPEG(t, 16, 16, 1))
	s.Finished(t)
	want(t, s, 200, "POST", "/api/assets/empty-trash", nil)
	back.Store(5)
	want(t, s, 200, "POST", "/api/assets/trash", bodyOf{"ids": []string{a.ID}})
	if err := s.Catalog.MaintainOnce(t.Context(), banksiatest.Retention); err != nil {
		t.Fatal(err)
	}
	want(t, s, 200, "GET", "/api/assets/"+a.ID, nil)
}

// A library with everything in it goes as a whole.
func TestFilledLibraryGoes(t *testing.T) {
	t.Parallel()
	f := newFilled(t)
	path := "/api/libraries/" + f.Library.String()
	want(t, f.Server, 200, "POST", path+"/trash", nil)
	want(t, f.Server, 200, "DELETE", path, nil)
	f.Await(t, "never gone", func() bool { return f.Call(t, "GET", path, nil).Status == 404 })
	nothingOf(t, f.Server, f.Library.String())
	want(t, f.Server, 200, "GET", "/api/assets", nil)
}

// Uploads into a library that is trashed, deleted and restored meanwhile leave
// nothing behind.
func TestLibraryRaces(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	var l struct{ ID string }
	want(t, s, 201, "POST", "/api/libraries", bodyOf{"name": "x"}).JSON(t, &l)
	path := "/api/libraries/" + l.ID
	var wait sync.WaitGroup
	for n := range 3 {
		wait.Go(func() {
			for i := range 15 {
				parts := append([]banksiatest.Part{{Name: "library_id", Content: []byte(l.ID)}}, banksiatest.UploadParts("a.jpg", banksiatest.JPEG(t, 8, 8, uint8(i*3+n)))...)
				if x := s.Upload(t, parts); x.Status != 201 && x.Status != 200 && x.Status != 404 && x.Status != 502 {
					t.Errorf("upload %d %s", x.Status, x.Body)
				}
			}
		})
	}
	wait.Go(func() {
		for range 10 {
			for _, c := range [][2]string{{"POST", "/trash"}, {"DELETE", ""}, {"POST", "/restore"}} {
				if x := s.Call(t, c[0], path+c[1], nil); x.Status != 200 && x.Status != 404 {
					t.Errorf("%v %d %s", c, x.Status, x.Body)
				}
			}
		}
	})
	wait.Wait()
	if x := s.Call(t, "POST", path+"/trash", nil); x.Status == http.StatusOK {
		s.Call(t, "DELETE", path, nil)
	}
	s.Await(t, "never gone", func() bool { return s.Call(t, "GET", path, nil).Status == 404 })
	nothingOf(t, s, l.ID)
	noFiles(t, s)
}

// The trash hides what a library shows, its pictures too (behaviour 10.3).
func TestTrashedLibraryHidesMedia(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	a := upload(t, s, "a.jpg", banksiatest.JPEG(t, 64, 64, 1))
	for _, step := range []struct {
		verb   string
		status int
	}{{"", 200}, {"/trash", 404}, {"/restore", 200}} {
		if step.verb != "" {
			want(t, s, 200, "POST", "/api/libraries/"+s.Library.String()+step.verb, nil)
		}
		for name, v := range a.AssetURLs {
			if got := s.CallAs(t, "", "GET", v.URL, nil); got.Status != step.status {
				t.Errorf("%s after %q: %d", name, step.verb, got.Status)
			}
		}
	}
}
