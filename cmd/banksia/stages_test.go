package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/banksia-photos/banksia/internal/store"
)

// keptAsset is an asset whose upload was acknowledged, and what was acknowledged of
// it since. What got no answer may have happened or not.
type keptAsset struct {
	sums    []string // of its versions, in base64, the original first
	edited  bool     // or perhaps; an asset is edited once
	trashed *bool    // nil: nobody knows
	deleted *bool
}

// stages changes assets on one node, which is killed at a chosen moment.
type stages struct {
	*nodes
	assets map[string]*keptAsset
	number int
}

func yes(is bool) *bool { return &is }

// some returns an asset that is wanted, of which everything is known and that is not
// deleted.
func (s *stages) some(t *testing.T, wanted func(*keptAsset) bool) (id string, a *keptAsset) {
	t.Helper()
	for range 2 {
		for id, a := range s.assets { // in random order
			if a.deleted != nil && !*a.deleted && a.trashed != nil && wanted(a) {
				return id, a
			}
		}
		s.upload(t)
	}
	return "", nil
}

func (s *stages) upload(t *testing.T) {
	s.number++
	content := photo(s.number, 60+s.number%200, 50)
	if status, _, id := s.send(t, fmt.Sprintf("%d.jpg", s.number), content); status == http.StatusCreated {
		sum := sha256.Sum256(content)
		s.assets[id] = &keptAsset{sums: []string{base64.StdEncoding.EncodeToString(sum[:])}, trashed: yes(false), deleted: yes(false)}
	}
}

func (s *stages) trash(t *testing.T) {
	id, a := s.some(t, func(*keptAsset) bool { return true })
	if a == nil {
		return
	}
	wanted, verb := !*a.trashed, "trash"
	if !wanted {
		verb = "restore"
	}
	a.trashed = nil
	if status, _, _ := s.ask(t.Context(), "POST", "/api/assets/"+verb, map[string]any{"ids": []string{id}}); status == http.StatusOK {
		a.trashed = &wanted
	}
}

func (s *stages) purge(t *testing.T) {
	id, a := s.some(t, func(*keptAsset) bool { return true })
	if a == nil {
		return
	}
	a.deleted = nil
	if status, _, _ := s.ask(t.Context(), "DELETE", "/api/assets/"+id, nil); status == http.StatusOK {
		a.deleted = yes(true)
	}
}

func (s *stages) edit(t *testing.T) {
	id, a := s.some(t, func(a *keptAsset) bool { return !*a.trashed && !a.edited })
	if a == nil {
		return
	}
	a.edited = true
	s.number++
	content := photo(s.number, 50, 60)
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	w.WriteField("kind", "edit")
	w.WriteField("params", `{"crop": 1}`)
	file, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {`form-data; name="file"; filename="edit.jpg"`}, "Content-Type": {"image/jpeg"}})
	if err != nil {
		t.Fatal(err)
	}
	file.Write(content)
	w.Close()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.any().url+"/api/assets/"+id+"/versions", &body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+s.key)
	request.Header.Set("Content-Type", w.FormDataContentType())
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return
	}
	answer, err := io.ReadAll(response.Body)
	response.Body.Close()
	switch {
	case response.StatusCode == http.StatusCreated && err == nil:
		sum := sha256.Sum256(content)
		a.sums = append(a.sums, base64.StdEncoding.EncodeToString(sum[:]))
	case response.StatusCode/100 == 4:
		t.Errorf("an edit answers %d: %s", response.StatusCode, answer)
	}
}

// derive waits for background work, after an upload that makes some.
func (s *stages) derive(t *testing.T, database *store.Store, cut <-chan struct{}) {
	s.upload(t)
	for n := 1; n > 0; {
		var err error
		if n, err = database.UnfinishedTasks(t.Context()); err != nil {
			t.Fatal(err)
		}
		select {
		case <-cut:
			return
		default:
		}
	}
}

// tasksEnd waits for all background work.
func (s *stages) tasksEnd(t *testing.T, database *store.Store) {
	t.Helper()
	s.abandon(t, database)
	until(t, "all tasks end", func() bool {
		n, err := database.UnfinishedTasks(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n == 0
	})
}

// A node is killed at the very moment at which its connection to the database or to
// the storage breaks in the middle of what it sends, in each kind of change. Whatever
// it has acknowledged is there, and what it has not is whole or not there.
func TestKilledAtEveryStage(t *testing.T) {
	t.Parallel()
	s := &stages{nodes: newNodes(t, 1), assets: map[string]*keptAsset{}}
	database, err := store.Open(t.Context(), store.Config{URL: s.direct()})
	if err != nil {
		t.Fatal(err)
	}
	defer database.Close()
	for range 6 {
		s.upload(t)
	}
	kinds := []string{"upload", "derive", "trash", "purge", "edit"}
	kills := map[string]int{}
	for round := range rounds(t, 10) {
		kind := kinds[round%len(kinds)]
		cable, target, bytes := s.database, "database", int64(30_000)
		if round/len(kinds)%2 == 1 && kind != "trash" { // which stores nothing
			cable, target, bytes = s.storage, "storage", 25_000
		}
		s.tasksEnd(t, database) // so that it is the change that is cut off, not what was left
		cut := cable.CutAfter(rand.Int64N(bytes))
		for ended := false; !ended; {
			switch kind {
			case "upload":
				s.upload(t)
			case "derive":
				s.derive(t, database, cut)
			case "trash":
				s.trash(t)
			case "purge":
				s.purge(t)
			case "edit":
				s.edit(t)
			}
			select {
			case <-cut:
				ended = true
			default:
			}
		}
		s.node[0].end(t, syscall.SIGKILL)
		cable.Mend()
		s.start(t, 0)
		kills[kind+", "+target]++
	}
	s.tasksEnd(t, database)
	versions, size := s.compare(t)
	err = database.Read(t.Context(), func(tx *store.Tx) error {
		var failed int
		err := tx.QueryRow(`SELECT COUNT(*) FROM tasks WHERE status <> 'success'`).Scan(&failed)
		if failed > 0 {
			t.Errorf("%d tasks failed", failed)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if out := s.mustRun(t, "check", "--read-data", "--data", "checking"); !strings.Contains(out, "Everything is there") {
		t.Error(out)
	}
	t.Logf("kills by what was under way and what was cut: %v; %d versions of %d assets compared, %d bytes", kills, versions, len(s.assets), size)
}

// compare reads everything that was acknowledged.
func (s *stages) compare(t *testing.T) (versions int, size int64) {
	t.Helper()
	node := s.any()
	for id, a := range s.assets {
		status, answer := node.call(t, "GET", "/api/assets/"+id, s.key, nil)
		if status == http.StatusNotFound && a.deleted == nil {
			continue
		}
		if a.deleted != nil && *a.deleted {
			if status != http.StatusNotFound {
				t.Errorf("the deleted asset %s answers %d", id, status)
			}
			continue
		}
		var asset struct {
			TrashedAt *string `json:"trashed_at"`
		}
		if err := json.Unmarshal(answer, &asset); status != http.StatusOK || err != nil {
			t.Errorf("the acknowledged asset %s answers %d, %v", id, status, err)
			continue
		}
		if a.trashed != nil && *a.trashed != (asset.TrashedAt != nil) {
			t.Errorf("asset %s was trashed: %v, now %v", id, *a.trashed, asset.TrashedAt)
		}
		var chain []struct {
			URLs map[string]struct {
				URL string `json:"url"`
			} `json:"version_urls"`
		}
		node.get(t, "/api/assets/"+id+"/versions?include=variants", s.key, &chain)
		var there []string
		for _, v := range chain {
			response, err := http.Get(v.URLs["original"].URL)
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil || response.StatusCode != http.StatusOK {
				t.Errorf("a version of %s answers %d, %v", id, response.StatusCode, err)
			}
			sum := sha256.Sum256(data)
			there = append(there, base64.StdEncoding.EncodeToString(sum[:]))
			versions, size = versions+1, size+int64(len(data))
		}
		for _, sum := range a.sums {
			if !slices.Contains(there, sum) {
				t.Errorf("asset %s lacks a version that was acknowledged: it has %d, %d were", id, len(there), len(a.sums))
			}
		}
	}
	return versions, size
}
