package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/banksiatest/services"
	"github.com/banksia-photos/banksia/internal/store"
)

// newStages prepares the scenes and names every stage.
func newStages(t *testing.T) []stage {
	full := fullScene(t)
	return []stage{
		{name: "first start", from: emptyScene(t), do: firstStart, mend: afterFirstStart},
		{name: "upload", from: full, serve: true, do: uploadSome},
		{name: "derive", from: undrawnScene(t, full), do: serveUntilIdle},
		{name: "trash", from: full, serve: true, do: trashSome},
		{name: "purge", from: full, serve: true, do: purgeSome},
		{name: "edit", from: full, serve: true, do: editSome},
		{name: "albums", from: full, serve: true, do: changeAlbums},
		{name: "import", from: full, do: importPictures, mend: importAgain},
		{name: "migrate to a file", from: full, do: migrateToFile, mend: afterMoveToFile},
		{name: "migrate to PostgreSQL", from: full, do: migrateToPostgres, mend: afterMoveToPostgres},
		{name: "migrate from PostgreSQL", from: postgresScene(t, full), do: migrateFromPostgres, mend: afterCopyFromPostgres},
		{name: "backup", from: full, do: makeBackupOfIt, mend: afterBackup},
		{name: "restore", from: withoutData(t, full), do: restoreIt, mend: afterRestore},
		{name: "blobs copy", from: full, do: copyTheBlobs, mend: afterCopy},
		{name: "repair", from: damagedScene(t, full), do: repairIt, mend: afterRepair},
		{name: "keys create", from: full, do: createKey, mend: useKey},
	}
}

func emptyScene(t *testing.T) *scene {
	return &scene{dir: t.TempDir(), facts: facts{}, ids: map[string]string{}}
}

// fullScene has photos live, edited, in albums and in the trash, all drawn; a backup
// that lacks the last of them; and pictures to import, of which the library has one.
func fullScene(t *testing.T) *scene {
	t.Helper()
	s := emptyScene(t)
	p := &point{workspace: &workspace{dir: s.dir, cache: filepath.Join(s.dir, "cache")}, name: "preparing", disk: nil, scene: *s}
	p.server = p.serve(t, "--workers", "2")
	p.scene.key = p.server.key
	for number := range 8 {
		p.upload(t, number)
		if number == 5 {
			p.mustRun(t, "backup", "place")
		}
	}
	sum, id := func(n int) string { return p.scene.sums[n] }, func(n int) string { return p.scene.ids[p.scene.sums[n]] }
	p.addAlbum(t, "one", id(0), id(1), id(4))
	p.describe(t, sum(4), "the sea")
	p.addVersion(t, sum(5), 105)
	p.trash(t, sum(6), sum(7))
	p.server.idle(t, p.scene.key)
	if status := p.server.end(t, syscall.SIGTERM); status != 0 || t.Failed() {
		t.Fatalf("the scene is not ready: %d %s", status, p.server.log)
	}
	for number := range 4 {
		path := filepath.Join(s.dir, "pictures", fmt.Sprintf("%d.jpg", number))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, photo(200+number, 60, 45), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &p.scene
}

// copyScene is a scene with another folder, and the same facts.
func copyScene(t *testing.T, from *scene) *scene {
	t.Helper()
	s := *from
	s.dir = t.TempDir()
	if err := os.CopyFS(s.dir, os.DirFS(from.dir)); err != nil {
		t.Fatal(err)
	}
	return &s
}

// withStore works on the database of a scene.
func withStore(t *testing.T, s *scene, f func(*store.Store) error) {
	t.Helper()
	st, err := store.Open(t.Context(), store.Config{Path: filepath.Join(s.dir, "data", "banksia.db")})
	if err == nil {
		err = f(st)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

// undrawnScene has everything to draw.
func undrawnScene(t *testing.T, full *scene) *scene {
	t.Helper()
	s := copyScene(t, full)
	withStore(t, s, func(st *store.Store) error {
		return st.RepeatTasks(t.Context(), banksia.TaskDisplayProxy, banksia.TaskThumbHash)
	})
	if err := os.RemoveAll(filepath.Join(s.dir, "data", "blobs", "derived")); err != nil {
		t.Fatal(err)
	}
	return s
}

func withoutData(t *testing.T, full *scene) *scene {
	t.Helper()
	s := copyScene(t, full)
	p := &workspace{dir: s.dir, cache: filepath.Join(s.dir, "cache")}
	p.mustRun(t, "backup", "place")
	if err := os.RemoveAll(filepath.Join(s.dir, "data")); err != nil {
		t.Fatal(err)
	}
	return s
}

// damagedScene has a wrong counter, a missing and a damaged original, and a preview
// that is empty; all can be repaired from the backup.
func damagedScene(t *testing.T, full *scene) *scene {
	t.Helper()
	s := copyScene(t, full)
	p := &workspace{dir: s.dir, cache: filepath.Join(s.dir, "cache")}
	p.mustRun(t, "backup", "place")
	withStore(t, s, func(st *store.Store) error {
		return st.Write(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE libraries SET asset_count = asset_count + 3`)
			return err
		})
	})
	files := func(kind string) []string {
		found, err := filepath.Glob(filepath.Join(s.dir, "data", "blobs", kind, "*", "*"))
		if err != nil || len(found) < 3 {
			t.Fatalf("%d files, %v", len(found), err)
		}
		return found
	}
	originals := files("originals")
	for _, err := range []error{os.Remove(originals[0]), os.WriteFile(originals[1], []byte("damaged"), 0o600), os.Truncate(files("derived")[0], 0)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (p *point) addAlbum(t *testing.T, name string, assets ...string) (id string) {
	t.Helper()
	status, answer := p.try("POST", "/api/albums", map[string]any{"name": name})
	made := p.made(t, status, answer)
	p.scene.facts.set(albumFact(name), "there", made)
	if !made {
		return ""
	}
	var album struct{ ID string }
	if err := json.Unmarshal(answer, &album); err != nil {
		t.Error(err)
	}
	id = album.ID
	if len(assets) > 0 {
		p.addMembers(t, name, id, assets...)
	}
	return id
}

func (p *point) addMembers(t *testing.T, name, id string, assets ...string) {
	t.Helper()
	made := p.acknowledged(t, "POST", "/api/albums/"+id+"/assets", map[string]any{"asset_ids": assets})
	for _, asset := range assets {
		p.scene.facts.set(memberFact(name, p.sumOfAsset(asset)), "in", made)
	}
}

func (p *point) sumOfAsset(id string) string {
	for sum, other := range p.scene.ids {
		if other == id {
			return sum
		}
	}
	return ""
}

func (p *point) describe(t *testing.T, sum, text string) {
	t.Helper()
	made := p.acknowledged(t, "PATCH", "/api/assets/"+p.scene.ids[sum], map[string]any{"description": text})
	p.scene.facts.set(photoFact(sum, "description"), text, made)
}

func (p *point) addVersion(t *testing.T, sum string, number int) {
	t.Helper()
	content := photo(number, 70, 55)
	contentType, body := renderingForm(t, content)
	status, answer := p.send("POST", "/api/assets/"+p.scene.ids[sum]+"/versions", contentType, body)
	made := p.made(t, status, answer)
	for _, before := range slices.Clone(p.scene.facts[photoFact(sum, "versions")]) {
		p.scene.facts.set(photoFact(sum, "versions"), before+" "+sumOf(content), made)
	}
}

// renderingForm is the body of an upload of an edited version.
func renderingForm(t *testing.T, content []byte) (contentType string, body io.Reader) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	w.WriteField("kind", "edit")
	w.WriteField("params", "{}")
	part, err := w.CreateFormFile("file", "edit.jpg")
	if err != nil {
		t.Fatal(err)
	}
	part.Write(content)
	w.Close()
	return w.FormDataContentType(), &b
}

func (p *point) idsOf(sums []string) map[string]any {
	var ids []string
	for _, sum := range sums {
		ids = append(ids, p.scene.ids[sum])
	}
	return map[string]any{"ids": ids}
}

func (p *point) trash(t *testing.T, sums ...string) {
	t.Helper()
	made := p.acknowledged(t, "POST", "/api/assets/trash", p.idsOf(sums))
	for _, sum := range sums {
		p.scene.facts.set(photoFact(sum, "state"), "trashed", made)
	}
}

func (p *point) untrash(t *testing.T, sums ...string) {
	t.Helper()
	made := p.acknowledged(t, "POST", "/api/assets/restore", p.idsOf(sums))
	for _, sum := range sums {
		p.scene.facts.set(photoFact(sum, "state"), "live", made)
	}
}

func firstStart(t *testing.T, p *point) {
	p.server = p.tryServe(t, "--workers", "1")
	p.scene.key = p.server.key
	if p.server.url == "" {
		if !p.cutOff() {
			t.Errorf("%s: the first start failed: %s", p.name, p.server.log)
		}
		p.server = nil
		return
	}
	p.upload(t, 1)
	p.server.quiet(t, p)
}

// afterFirstStart makes a key where the first one was not printed.
func afterFirstStart(t *testing.T, p *point) {
	if p.scene.key == "" {
		p.scene.key = strings.TrimSpace(p.mustRun(t, "keys", "create", "--name", "another"))
	}
}

// quiet waits until the tasks are done or cut off.
func (s *server) quiet(t *testing.T, p *point) {
	t.Helper()
	until(t, "all tasks are done", func() bool {
		for _, state := range []string{"pending", "started"} {
			status, answer := p.try("GET", "/api/tasks/?limit=1&status="+state, nil)
			if p.cutOff() {
				return true
			}
			if status != 200 || strings.TrimSpace(string(answer)) != "[]" {
				return false
			}
		}
		return true
	})
}

func uploadSome(t *testing.T, p *point) {
	var clients sync.WaitGroup
	var mu sync.Mutex
	for client := range 2 {
		clients.Go(func() {
			for i := range 2 {
				number := 300 + 10*client + i
				content := photo(number, 60, 45)
				status, id := p.server.upload(t, p.scene.key, fmt.Sprintf("%d.jpg", number), bytes.NewReader(content))
				mu.Lock()
				p.scene.added(sumOf(content), id, p.made(t, status, nil))
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	p.upload(t, 0) // it is there already
	p.server.quiet(t, p)
}

func serveUntilIdle(t *testing.T, p *point) {
	if p.server = p.tryServe(t, "--workers", "1"); p.server.url == "" {
		if !p.cutOff() {
			t.Errorf("%s: the start failed: %s", p.name, p.server.log)
		}
		p.server = nil
		return
	}
	p.server.quiet(t, p)
}

func trashSome(t *testing.T, p *point) {
	sums := p.scene.sums
	p.trash(t, sums[2], sums[3])
	p.untrash(t, sums[6])
	p.trash(t, sums[5])
	p.untrash(t, sums[3])
}

func purgeSome(t *testing.T, p *point) {
	sums := p.scene.sums
	made := p.acknowledged(t, "DELETE", "/api/assets", p.idsOf(sums[1:3])) // one is in an album
	p.scene.facts.drop(made, sums[1])
	p.scene.facts.drop(made, sums[2])
	p.scene.facts.drop(p.acknowledged(t, "DELETE", "/api/assets/"+p.scene.ids[sums[5]], nil), sums[5]) // with two versions
	made = p.acknowledged(t, "POST", "/api/assets/empty-trash", nil)
	p.scene.facts.drop(made, sums[6])
	p.scene.facts.drop(made, sums[7])
	p.upload(t, 2) // back again
	p.server.quiet(t, p)
}

func editSome(t *testing.T, p *point) {
	sums := p.scene.sums
	p.describe(t, sums[0], "another sea")
	made := p.acknowledged(t, "PATCH", "/api/assets/"+p.scene.ids[sums[4]], map[string]any{"description": nil})
	p.scene.facts.set(photoFact(sums[4], "description"), "", made)
	p.addVersion(t, sums[0], 110)
	original, edited := p.versions(sums[5])
	content := photo(115, 70, 55)
	contentType, body := renderingForm(t, content)
	status, answer := p.send("POST", "/api/assets/"+p.scene.ids[sums[5]]+"/versions/"+edited+"/replace", contentType, body)
	p.scene.facts.set(photoFact(sums[5], "versions"), sums[5]+" "+sumOf(content), p.made(t, status, answer))
	made = p.acknowledged(t, "POST", "/api/assets/"+p.scene.ids[sums[5]]+"/versions/"+original+"/revert", nil)
	p.scene.facts.set(photoFact(sums[5], "versions"), sums[5], made)
	p.server.quiet(t, p)
}

// versions are the ids of the first and the last version of a photo; "" when there
// is no answer.
func (p *point) versions(sum string) (first, last string) {
	var versions []struct{ ID string }
	_, answer := p.try("GET", "/api/assets/"+p.scene.ids[sum]+"/versions", nil)
	if json.Unmarshal(answer, &versions) != nil || len(versions) == 0 {
		return "", ""
	}
	return versions[0].ID, versions[len(versions)-1].ID
}

func changeAlbums(t *testing.T, p *point) {
	ids := func(n int) string { return p.scene.ids[p.scene.sums[n]] }
	two := p.addAlbum(t, "two", ids(0), ids(2))
	if two == "" {
		return
	}
	p.addMembers(t, "two", two, ids(3))
	made := p.acknowledged(t, "DELETE", "/api/albums/"+two+"/assets", map[string]any{"asset_ids": []string{ids(0)}})
	p.scene.facts.set(memberFact("two", p.scene.sums[0]), "", made)
	three := p.addAlbum(t, "three", ids(4))
	if three == "" {
		return
	}
	made = p.acknowledged(t, "DELETE", "/api/albums/"+three, nil)
	p.scene.facts.set(albumFact("three"), "", made)
	p.scene.facts.set(memberFact("three", p.scene.sums[4]), "", made)
}

func importPictures(t *testing.T, p *point) {
	p.attempt(t, "import", "pictures")
}

// importAgain does what a person does whose import was cut off.
func importAgain(t *testing.T, p *point) {
	p.mustRun(t, "import", "pictures")
	for number := range 4 {
		p.scene.added(sumOf(photo(200+number, 60, 45)), "", true)
	}
}

func migrateToFile(t *testing.T, p *point) {
	p.attempt(t, "migrate", "--from", "sqlite", "--to", "sqlite:data/new.db")
}

// afterMoveToFile puts the new database in the place of the old one.
func afterMoveToFile(t *testing.T, p *point) {
	p.moveAgain(t, "sqlite:data/new.db")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		os.Remove(p.data("banksia.db" + suffix))
		if err := os.Rename(p.data("new.db"+suffix), p.data("banksia.db"+suffix)); err != nil && suffix == "" {
			t.Errorf("%s: %v", p.name, err)
		}
	}
}

// moveAgain runs a move again that was cut off, after which the old database is no
// longer the one in use.
func (p *point) moveAgain(t *testing.T, to string) {
	t.Helper()
	status, _, errOut := p.run(t, "migrate", "--from", "sqlite", "--to", to)
	if done := strings.Contains(errOut, "was moved to"); status != 0 && !done || p.finished && !done {
		t.Errorf("%s: a move that was made before, acknowledged: %v, ends with %d the next time: %s", p.name, p.finished, status, errOut)
	}
	if status, _, errOut := p.run(t, "check"); status == 0 || !strings.Contains(errOut, "was moved to") {
		t.Errorf("%s: the old database is used with %d: %s", p.name, status, errOut)
	}
}

func migrateToPostgres(t *testing.T, p *point) {
	p.database = services.Postgres(t, nil)
	p.attempt(t, "migrate", "--from", "sqlite", "--to", p.database)
}

func afterMoveToPostgres(t *testing.T, p *point) {
	p.moveAgain(t, p.database)
	p.env = append(p.env, "BANKSIA_DATABASE_URL="+p.database)
}

// postgresScene has its database in PostgreSQL.
func postgresScene(t *testing.T, full *scene) *scene {
	t.Helper()
	s := copyScene(t, full)
	s.database = services.Postgres(t, nil)
	p := &workspace{dir: s.dir, cache: filepath.Join(s.dir, "cache")}
	p.mustRun(t, "migrate", "--from", "sqlite", "--to", s.database)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		os.Remove(filepath.Join(s.dir, "data", "banksia.db"+suffix))
	}
	return s
}

// migrateFromPostgres copies, because the next point begins with the same database.
func migrateFromPostgres(t *testing.T, p *point) {
	p.attempt(t, "migrate", "--copy", "--from", p.stage.from.database, "--to", "sqlite")
}

func afterCopyFromPostgres(t *testing.T, p *point) {
	if !p.finished {
		status, _, errOut := p.run(t, "migrate", "--copy", "--from", p.stage.from.database, "--to", "sqlite")
		if status != 0 && !strings.Contains(errOut, "there is a library in the database to fill") { // it was complete
			t.Errorf("%s: a copy that was cut off ends with %d the next time: %s", p.name, status, errOut)
		}
	}
}

func makeBackupOfIt(t *testing.T, p *point) {
	p.attempt(t, "backup", "place")
}

// afterBackup proves that there is a whole backup, the new one when it was
// acknowledged, and that the next one works.
func afterBackup(t *testing.T, p *point) {
	for range 2 {
		out := p.mustRun(t, "backup", "verify", "--read-data", "place")
		if p.finished && !strings.Contains(out, ": 9 originals") {
			t.Errorf("%s: the newest backup is an older one: %s", p.name, out)
		}
		p.mustRun(t, "backup", "place")
		p.finished = true
	}
}

func restoreIt(t *testing.T, p *point) {
	p.attempt(t, "restore", "place")
}

// afterRestore restores again unless that is done.
func afterRestore(t *testing.T, p *point) {
	if p.finished {
		return
	}
	status, _, errOut := p.run(t, "restore", "place")
	if status != 0 && !strings.Contains(errOut, "there is a database in") {
		t.Errorf("%s: after a restore that was cut off the next one fails: %s", p.name, errOut)
	}
}

func copyTheBlobs(t *testing.T, p *point) {
	p.attempt(t, "blobs", "copy", "--from", "data/blobs", "--to", "other")
}

// afterCopy uses the copy instead, brought up to date unless it was acknowledged.
func afterCopy(t *testing.T, p *point) {
	if !p.finished {
		p.mustRun(t, "blobs", "copy", "--from", "data/blobs", "--to", "other")
	}
	if err := os.RemoveAll(p.data("blobs")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(p.dir, "other"), p.data("blobs")); err != nil {
		t.Fatal(err)
	}
}

func repairIt(t *testing.T, p *point) {
	p.attempt(t, "check", "--read-data", "--repair", "--from-backup", "place")
}

func afterRepair(t *testing.T, p *point) {
	if !p.finished {
		p.mustRun(t, "check", "--read-data", "--repair", "--from-backup", "place")
	}
}

func createKey(t *testing.T, p *point) {
	p.attempt(t, "keys", "create", "--name", "new")
}

// useKey uses a key that was printed.
func useKey(_ *testing.T, p *point) {
	if key := keyText.FindString(p.output); key != "" {
		p.scene.key = key
	}
}
