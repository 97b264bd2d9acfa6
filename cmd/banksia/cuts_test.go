package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/banksia-photos/banksia/internal/banksiatest/faultfs"
)

// facts are what a library must hold, each with the values that are right: one when
// the change was acknowledged, and also the one before when no answer came. "" means
// that there is no such thing. Photos go by the checksum of what was uploaded, as
// clients see it, albums by their names.
type facts map[string][]string

func photoFact(sum, what string) string     { return "photo " + sum + ": " + what }
func albumFact(name string) string          { return "album " + name }
func memberFact(album, asset string) string { return "album " + album + ": " + asset }

// set says that a change to a value was asked for, and whether it was acknowledged.
func (f facts) set(name, value string, acknowledged bool) {
	if acknowledged {
		f[name] = []string{value}
		return
	}
	if f[name] == nil {
		f[name] = []string{""}
	}
	f[name] = append(f[name], value)
}

// drop says that all facts about something were to end.
func (f facts) drop(acknowledged bool, about string) {
	for name := range f {
		if strings.Contains(name, about) {
			f.set(name, "", acknowledged)
		}
	}
}

// compare tells how what is there differs from the facts.
func (f facts) compare(t *testing.T, seen map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if !slices.Contains(f[name], seen[name]) {
			t.Errorf("%s: is %q, and right would be %q", name, seen[name], f[name])
		}
	}
	for name, value := range seen {
		if _, known := f[name]; !known {
			t.Errorf("%s: is %q, and nobody asked for it", name, value)
		}
	}
}

// scene is a workspace and what is in its library. The scenes that points begin with
// are made once.
type scene struct {
	dir   string
	key   string
	facts facts

	database string            // URL of PostgreSQL, when the library is there
	ids      map[string]string // of assets, by checksum
	sums     []string          // of its photos, oldest first
}

// stage is work that is cut off at each of its changes.
type stage struct {
	name string
	from *scene
	// serve: a server runs, with nothing to do, before the changes are counted.
	serve bool
	// do does the work until it is done or cut off.
	do func(t *testing.T, p *point)
	// mend is what a person does before starting the server again; may be nil.
	mend func(t *testing.T, p *point)
}

// point is one cut.
type point struct {
	*workspace // on the disk that is cut off; afterwards on what is left
	stage      *stage
	disk       *faultfs.FS
	kill       func()  // ends what works on the disk
	server     *server // when the stage has one
	name       string  // for people
	scene      scene   // its own copy
	database   string  // URL of PostgreSQL, when the work has moved the library there
	finished   bool    // the work was acknowledged as a whole
	output     string  // of a command
}

// score is what a run has proved.
type score struct {
	kills, powerCuts, bytes, facts, leftovers atomic.Int64
}

// cutOff tells whether the cut has come; there is none while a scene is prepared.
func (p *point) cutOff() bool { return p.disk != nil && p.disk.Crashed() }

// try asks the server; status is 0 when no answer came.
func (p *point) try(method, path string, body any) (status int, answer []byte) {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // of a test's own making
	}
	return p.send(method, path, "application/json", bytes.NewReader(text))
}

func (p *point) send(method, path, contentType string, body io.Reader) (status int, answer []byte) {
	request, err := http.NewRequest(method, p.server.url+path, body)
	if err != nil {
		panic(err)
	}
	request.Header.Set("Authorization", "Bearer "+p.scene.key)
	request.Header.Set("Content-Type", contentType)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil
	}
	defer response.Body.Close()
	if answer, err = io.ReadAll(response.Body); err != nil {
		return 0, nil
	}
	return response.StatusCode, answer
}

// acknowledged asks for a change and tells whether it was made. Only a cut may keep
// it from being made.
func (p *point) acknowledged(t *testing.T, method, path string, body any) bool {
	t.Helper()
	status, answer := p.try(method, path, body)
	return p.made(t, status, answer)
}

func (p *point) made(t *testing.T, status int, answer []byte) bool {
	t.Helper()
	if status/100 != 2 && !p.cutOff() {
		t.Errorf("%s: a change is answered with %d: %s", p.name, status, answer)
	}
	return status/100 == 2
}

func sumOf(content []byte) string {
	sum := sha256.Sum256(content)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// upload sends a photo and notes what must be there from then on.
func (p *point) upload(t *testing.T, number int) (sum string) {
	content := photo(number, 60+number%50, 45)
	sum = sumOf(content)
	status, id := p.server.upload(t, p.scene.key, fmt.Sprintf("%d.jpg", number), bytes.NewReader(content))
	p.scene.added(sum, id, p.made(t, status, nil))
	return sum
}

func (s *scene) added(sum, id string, acknowledged bool) {
	s.facts.set(photoFact(sum, "state"), "live", acknowledged)
	s.facts.set(photoFact(sum, "description"), "", acknowledged)
	s.facts.set(photoFact(sum, "versions"), sum, acknowledged)
	s.ids[sum] = id
	s.sums = append(s.sums, sum)
}

// attempt runs a command until it ends or is cut off.
func (p *point) attempt(t *testing.T, args ...string) {
	status, out, errOut := p.run(t, args...)
	p.finished, p.output = status == 0, out
	if status != 0 && !p.cutOff() {
		t.Errorf("%s: banksia %q ends with %d: %s%s", p.name, args, status, out, errOut)
	}
}

// idle waits until no task is left to do.
func (s *server) idle(t *testing.T, key string) {
	t.Helper()
	until(t, "all tasks are done", func() bool {
		for _, status := range []string{"pending", "started"} {
			var tasks []struct{}
			if s.get(t, "/api/tasks/?limit=1&status="+status, key, &tasks); len(tasks) > 0 {
				return false
			}
		}
		return true
	})
}

// observe reads what is in a library, every byte of it included.
func (s *server) observe(t *testing.T, key string, n *score) map[string]string {
	t.Helper()
	seen := map[string]string{}
	names := map[string]string{} // of assets: their checksums
	var list struct {
		Data []struct {
			listedAsset
			TrashedAt *string `json:"trashed_at"`
			Metadata  struct {
				Description *string `json:"description"`
			} `json:"metadata"`
		} `json:"data"`
		HasMore bool `json:"has_more"`
	}
	s.get(t, "/api/assets?state=all&include=file_data,metadata&limit=200", key, &list)
	if list.HasMore {
		t.Fatal("there are more photos than this test reads")
	}
	for _, a := range list.Data {
		sum := a.FileData.Checksum
		names[a.ID] = sum
		seen[photoFact(sum, "state")] = "live"
		if a.TrashedAt != nil {
			seen[photoFact(sum, "state")] = "trashed"
		}
		if a.Metadata.Description != nil {
			seen[photoFact(sum, "description")] = *a.Metadata.Description
		}
		var versions []struct {
			Checksum string `json:"checksum"`
			URLs     map[string]struct {
				URL string `json:"url"`
			} `json:"version_urls"`
		}
		s.get(t, "/api/assets/"+a.ID+"/versions?include=variants", key, &versions)
		var sums []string
		for _, v := range versions {
			status, content := s.call(t, "GET", strings.TrimPrefix(v.URLs["original"].URL, s.url), "", nil)
			if status != http.StatusOK || sumOf(content) != v.Checksum {
				t.Errorf("%s: a version answers %d and %d bytes that are not its own", a.ID, status, len(content))
			}
			if status, content := s.call(t, "GET", strings.TrimPrefix(v.URLs["thumbnail"].URL, s.url), "", nil); status != http.StatusOK || len(content) == 0 {
				t.Errorf("%s: its thumbnail answers %d", a.ID, status)
			}
			sums = append(sums, v.Checksum)
			n.bytes.Add(int64(len(content)))
		}
		seen[photoFact(sum, "versions")] = strings.Join(sums, " ")
	}
	var albums struct {
		Data []struct{ ID, Name string } `json:"data"`
	}
	s.get(t, "/api/albums?limit=200", key, &albums)
	for _, album := range albums.Data {
		seen[albumFact(album.Name)] = "there"
		var members struct {
			Data []struct {
				AssetID string `json:"asset_id"`
			} `json:"data"`
		}
		s.get(t, "/api/album-assets?limit=200&album_id="+album.ID, key, &members)
		for _, m := range members.Data {
			seen[memberFact(album.Name, names[m.AssetID])] = "in"
		}
	}
	n.facts.Add(int64(len(seen)))
	return seen
}

// Ways in which a point is cut.
const (
	killed    = "kill"                     // the process ends, and what it wrote stays
	powerless = "power cut"                // what was not made durable is lost, by the letter of POSIX
	journaled = "power cut with a journal" // the same, on file systems as they are
)

var ways = []string{killed, powerless, journaled}

// cut does the work of a stage, ends it at its n-th change, or when it is done if
// that comes before, and proves that nothing is lost. With again above 0 the next
// start is cut off as well, at that change. It returns how many changes there were.
func (s *stage) cut(t *testing.T, how string, n, again int, seed uint64, total *score) (changes int) {
	t.Helper()
	p := &point{stage: s, workspace: &workspace{}, name: fmt.Sprintf("%s, %s at change %d and %d, seed %d", s.name, how, n, again, seed)}
	p.scene = scene{key: s.from.key, facts: maps.Clone(s.from.facts), ids: maps.Clone(s.from.ids), sums: slices.Clone(s.from.sums)}
	for name, values := range p.scene.facts {
		p.scene.facts[name] = slices.Clone(values)
	}
	p.mount(t, s.from.dir)
	if s.serve {
		p.server = p.serve(t, "--workers", "1")
		p.server.idle(t, p.scene.key)
	}
	before := p.disk.Changes()
	p.disk.CrashAt(n, p.kill)
	s.do(t, p)
	changes = p.disk.Changes() - before
	p.leave(t, how, seed, total)
	if s.mend != nil {
		s.mend(t, p)
	}
	if again > 0 {
		p.mount(t, p.dir)
		p.disk.CrashAt(again, p.kill)
		serveUntilIdle(t, p)
		p.leave(t, how, seed+1, total)
	}
	p.prove(t, how, total)
	if t.Failed() {
		t.Fatalf("it was at: %s", p.name)
	}
	return changes
}

// mount begins to work on a disk with a copy of a folder.
func (p *point) mount(t *testing.T, from string) {
	t.Helper()
	at := t.TempDir()
	disk, err := faultfs.Mount(at, from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.disk == disk { // it was not left
			disk.Close()
		}
	})
	victim := make(chan *os.Process, 1)
	p.disk, p.kill = disk, func() { (<-victim).Kill() }
	p.workspace = &workspace{dir: at, cache: filepath.Join(at, "cache"), env: p.env, began: func(process *os.Process) { victim <- process }}
}

// leave ends what still works on the disk, and goes on with what it leaves.
func (p *point) leave(t *testing.T, how string, seed uint64, total *score) {
	t.Helper()
	p.disk.Crash()
	if p.server != nil {
		p.server.process.Kill() // fails when the cut has done it
		<-p.server.ended
		p.server = nil
	}
	left := filepath.Join(t.TempDir(), "left")
	var err error
	if how == killed {
		total.kills.Add(1)
		err = p.disk.Keep(left)
	} else {
		total.powerCuts.Add(1)
		err = p.disk.LosePower(left, seed, how == journaled)
	}
	if err == nil {
		err = p.disk.Close()
		p.disk = nil
	}
	if err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	p.workspace = &workspace{dir: left, cache: filepath.Join(left, "cache"), env: p.env}
}

// prove starts the server on what is left, and compares.
func (p *point) prove(t *testing.T, how string, total *score) {
	t.Helper()
	again := p.serve(t, "--workers", "1")
	again.idle(t, p.scene.key)
	seen := again.observe(t, p.scene.key, total)
	p.scene.facts.compare(t, seen)
	if status, out, errOut := p.run(t, "check", "--read-data"); status != 0 || !strings.Contains(out, "Everything is there and agrees") {
		t.Errorf("%s: the check ends with %d: %s%s", p.name, status, out, errOut)
	}
	// What was cut off is swept. By the letter of POSIX the file of an unfinished upload
	// may be there while the note of it is lost.
	until(t, "uploads are swept", func() bool { return files(t, p.data("blobs", "tmp")) == 0 })
	left := files(t, p.data("blobs", "originals")) - named(seen)
	if left != 0 && how != powerless {
		t.Errorf("%s: %d files are left over", p.name, left)
	}
	total.leftovers.Add(int64(left))
	again.end(t, syscall.SIGKILL)
}

// named counts the originals that versions name.
func named(seen map[string]string) int {
	sums := map[string]bool{}
	for name, value := range seen {
		if strings.HasSuffix(name, ": versions") {
			for sum := range strings.FieldsSeq(value) {
				sums[sum] = true
			}
		}
	}
	return len(sums)
}

// seedOf is what BANKSIA_TEST_SEED says, to repeat a run, and otherwise any.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("BANKSIA_TEST_SEED")
	if text == "" {
		return rand.Uint64() >> 32
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("BANKSIA_TEST_SEED: %v", err)
	}
	return seed
}

// Whatever the program is doing, it may be killed and the power may be cut at any
// moment: what it acknowledged is there afterwards, byte for byte, what it did not is
// whole or absent, and it goes on by itself.
func TestCuts(t *testing.T) {
	t.Parallel()
	seed, total := seedOf(t), &score{}
	stages := newStages(t)
	points := max(2, rounds(t, 0)/len(stages)) // of each stage
	long := points > 2
	var done atomic.Int64
	begin := time.Now()
	t.Logf("BANKSIA_TEST_SEED=%d", seed)
	if long {
		fmt.Fprintf(os.Stderr, "cuts: BANKSIA_TEST_SEED=%d\n", seed)
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			ticker := time.NewTicker(15 * time.Second)
			defer ticker.Stop()
			for {
				select {
				case <-ticker.C:
					fmt.Fprintf(os.Stderr, "cuts: %d of about %d points in %s\n", done.Load(), points*len(stages), time.Since(begin).Round(time.Second))
				case <-stop:
					return
				}
			}
		}()
	}
	t.Run("stages", func(t *testing.T) {
		for i := range stages {
			t.Run(stages[i].name, func(t *testing.T) {
				t.Parallel()
				random := rand.New(rand.NewPCG(seed, uint64(i)))
				// The first run counts: it is cut off when all is done.
				changes := stages[i].cut(t, powerless, -1, 0, random.Uint64(), total)
				order := random.Perm(len(ways) * (changes + 1))
				for at := range points {
					if end, limited := t.Deadline(); limited && time.Until(end) < time.Minute {
						break // the summary tells how many there were
					}
					one := order[at%len(order)]
					how := ways[one%len(ways)]
					if at >= len(order) && how == killed { // each has been, and ends the same
						how = powerless
					}
					again := max(0, random.IntN(90)-60) // each third start is cut off as well
					t.Run(strconv.Itoa(at), func(t *testing.T) { stages[i].cut(t, how, 1+one/len(ways), again, random.Uint64(), total) })
					done.Add(1)
				}
			})
		}
	})
	losses := "none"
	if t.Failed() {
		losses = "see above"
	}
	summary := fmt.Sprintf("%d kills and %d power cuts in %d stages; %d facts and %d bytes compared over HTTP; %d files left over after power cuts; losses: %s; seed %d, %s",
		total.kills.Load(), total.powerCuts.Load(), len(stages), total.facts.Load(), total.bytes.Load(), total.leftovers.Load(), losses, seed, time.Since(begin).Round(time.Second))
	t.Log(summary)
	if long {
		fmt.Fprintln(os.Stderr, "cuts:", summary)
	}
}
