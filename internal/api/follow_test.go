package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/banksiatest"
)

// mirrored says how a client that follows the events reads the entities of a type
// by their ids, and how the whole of them is listed.
var mirrored = map[string]struct{ list, byIDs string }{
	"asset":       {"/api/assets?state=all&include=faces,people,file_data,variants", "/api/assets?state=all&include=faces,people,file_data,variants"},
	"metadata":    {"/api/assets?state=all&include=metadata", "/api/assets?state=all&include=metadata"},
	"album":       {"/api/albums?", "/api/albums?"},
	"album_asset": {"/api/album-assets?", "/api/album-assets?"},
	"person":      {"/api/people?name_filter=all", "/api/people?"},
	"face":        {"/api/faces?", "/api/faces?"},
	"stack":       {"/api/stacks?", "/api/stacks?"},
}

type entity map[string]any

// follower is a sync client: for each entity type it keeps a cursor and what it
// read last of every entity that an event named (behaviour 16.5, 16.6).
type follower struct {
	cursors map[string]string
	state   map[string]map[string]entity
}

func newFollower() *follower {
	f := &follower{cursors: map[string]string{}, state: map[string]map[string]entity{}}
	for name := range mirrored {
		f.state[name] = map[string]entity{}
	}
	return f
}

// follow reads the events of every type up to now.
func (f *follower) follow(t *testing.T, s *banksiatest.Server) {
	t.Helper()
	for _, entityType := range slices.Sorted(maps.Keys(mirrored)) {
		until := time.Now().UTC().Format(time.RFC3339Nano)
		for more := true; more; {
			query := url.Values{"entity_types": {entityType}, "limit": {"50"}, "created_at_lt": {until}}
			if cursor := f.cursors[entityType]; cursor != "" {
				query.Set("after_cursor", cursor)
			}
			answer := s.Call(t, "GET", "/api/events?"+query.Encode(), nil)
			if answer.Status != http.StatusOK {
				t.Errorf("events: %d: %s", answer.Status, answer.Body)
				return
			}
			var page struct {
				Data    []event `json:"data"`
				HasMore bool    `json:"has_more"`
			}
			answer.JSON(t, &page)
			var changed []string
			for _, e := range page.Data {
				f.cursors[entityType] = e.Cursor
				if strings.HasSuffix(e.EventType, "_deleted") || strings.HasSuffix(e.EventType, "_removed") {
					delete(f.state[entityType], e.EntityID)
					if entityType == "asset" {
						delete(f.state["metadata"], e.EntityID)
					}
					changed = slices.DeleteFunc(changed, func(id string) bool { return id == e.EntityID })
				} else if !slices.Contains(changed, e.EntityID) {
					changed = append(changed, e.EntityID)
				}
			}
			for id, one := range read(t, s, entityType, mirrored[entityType].byIDs, changed) {
				f.state[entityType][id] = one
			}
			more = page.HasMore
		}
	}
}

// read lists entities: those with the ids, or all when ids is nil.
func read(t *testing.T, s *banksiatest.Server, entityType, target string, ids []string) map[string]entity {
	t.Helper()
	found := map[string]entity{}
	if ids != nil && len(ids) == 0 {
		return found
	}
	after := ""
	for more := true; more; {
		query := url.Values{"limit": {"200"}, "ids": ids}
		if after != "" {
			query.Set("starting_after_id", after)
		}
		answer := s.Call(t, "GET", target+"&"+query.Encode(), nil)
		if answer.Status == http.StatusUnprocessableEntity && after != "" {
			return found // the entity that the cursor named is gone: an event tells
		}
		if answer.Status != http.StatusOK {
			t.Errorf("%s: %d: %s", target, answer.Status, answer.Body)
			return found
		}
		var page struct {
			Data    []entity `json:"data"`
			HasMore bool     `json:"has_more"`
		}
		answer.JSON(t, &page)
		for _, one := range page.Data {
			after = one["id"].(string)
			found[after] = comparable(entityType, one)
		}
		more = page.HasMore
	}
	return found
}

// comparable takes away what differs between two readings of the same state: the
// signatures of URLs. Of a metadata event only the metadata counts, of an asset
// event all the rest.
func comparable(entityType string, one entity) entity {
	if entityType == "metadata" {
		return entity{"metadata": one["metadata"]}
	}
	if people, ok := one["people"].([]any); ok {
		// Of the people in an asset only who they are is told by its events.
		for i, person := range people {
			people[i] = person.(map[string]any)["id"]
		}
	}
	return unsigned(map[string]any(one)).(map[string]any)
}

func unsigned(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for name := range value {
			value[name] = unsigned(value[name])
		}
	case []any:
		for i := range value {
			value[i] = unsigned(value[i])
		}
	case string:
		if u, err := url.Parse(value); err == nil && u.Scheme == "http" {
			return u.Path
		}
	}
	return value
}

// writer changes a library at random through the API.
type writer struct {
	s *banksiatest.Server
	r *rand.Rand
	t *testing.T
	n int // how many changes were accepted
}

// some picks up to n entities of a list, which others may change meanwhile.
func (w *writer) some(target string, n int) []string {
	answer := w.s.Call(w.t, "GET", target, nil)
	if answer.Status != http.StatusOK && answer.Status != http.StatusNotFound { // another writer deleted what is asked for
		w.t.Errorf("%s: %d: %s", target, answer.Status, answer.Body)
	}
	var page struct{ Data []entity }
	answer.JSON(w.t, &page)
	var ids []string
	for _, i := range w.r.Perm(len(page.Data))[:min(n, len(page.Data))] {
		ids = append(ids, page.Data[i]["id"].(string))
	}
	return ids
}

func (w *writer) one(target string) string {
	ids := w.some(target, 1)
	if len(ids) == 0 {
		return ""
	}
	return ids[0]
}

const (
	anyAssets  = "/api/assets?state=all&include=&limit=200"
	liveAssets = "/api/assets?include=&limit=200"
	trash      = "/api/assets?state=trashed&include=&limit=200"
	anyAlbums  = "/api/albums?limit=200"
	anyPeople  = "/api/people?name_filter=all&limit=200"
	anyFaces   = "/api/faces?limit=200"
	anyStacks  = "/api/stacks?limit=200"
)

// change does one change that may lose against that of another writer, which is
// then told by one of the statuses of the document.
func (w *writer) change() {
	type body = map[string]any
	send := func(method, target string, content any) {
		answer := w.s.Call(w.t, method, target, content)
		switch answer.Status {
		case 200, 201, 204:
			w.n++
		case 404, 405, 409, 422: // lost to another writer; 405 without anything to name
		default:
			w.t.Errorf("%s %s: %d: %s", method, target, answer.Status, answer.Body)
		}
	}
	text := func() string { return "name " + strconv.Itoa(w.r.IntN(1000)) }
	box := body{"x": w.r.IntN(100), "y": w.r.IntN(100), "w": 1 + w.r.IntN(100), "h": 1 + w.r.IntN(100)}
	maybe := func(value any) any {
		if w.r.IntN(3) == 0 {
			return nil
		}
		return value
	}
	switch w.r.IntN(29) {
	case 0, 1:
		send("POST", "/api/assets/trash", body{"ids": w.some(liveAssets, 1+w.r.IntN(3))})
	case 2, 3:
		send("POST", "/api/assets/restore", body{"ids": w.some(trash, 1+w.r.IntN(3))})
	case 4:
		send("DELETE", "/api/assets", body{"ids": w.some(trash, 1)})
	case 5:
		if w.r.IntN(10) == 0 {
			send("POST", "/api/assets/empty-trash", nil)
		}
	case 6:
		send("PATCH", "/api/assets/"+w.one(anyAssets), body{"description": maybe(text())})
	case 7:
		send("PATCH", "/api/assets/"+w.one(anyAssets), body{"original_datetime": maybe(fmt.Sprintf("20%02d-01-02T03:04:05", 10+w.r.IntN(10)))})
	case 8:
		var updates []body
		for _, id := range w.some(anyAssets, 3) {
			updates = append(updates, body{"id": id, "change": body{"latitude": w.r.IntN(80), "longitude": w.r.IntN(170)}})
		}
		send("POST", "/api/assets/bulk-update", body{"updates": updates})
	case 9:
		send("POST", "/api/albums", body{"name": text()})
	case 10, 11:
		send("POST", "/api/albums/"+w.one(anyAlbums)+"/assets", body{"asset_ids": w.some(liveAssets, 4)})
	case 12:
		send("DELETE", "/api/albums/"+w.one(anyAlbums)+"/assets", body{"asset_ids": w.some(anyAssets, 10)})
	case 13:
		album := w.one(anyAlbums)
		if album == "" {
			return
		}
		send("PATCH", "/api/albums/"+album, body{"name": text(), "album_cover_asset_id": maybe(w.one(liveAssets + "&album_id=" + album))})
	case 14:
		if w.r.IntN(3) == 0 {
			send("DELETE", "/api/albums/"+w.one(anyAlbums), nil)
		}
	case 15:
		send("POST", "/api/people", body{"name": maybe(text())})
	case 16, 17:
		send("POST", "/api/faces", body{"asset_id": w.one(anyAssets), "bounding_box": box, "person_id": maybe(w.one(anyPeople))})
	case 18:
		send("PATCH", "/api/faces/"+w.one(anyFaces), body{"person_id": maybe(w.one(anyPeople))})
	case 19:
		send("DELETE", "/api/faces/"+w.one(anyFaces), nil)
	case 20:
		send("PATCH", "/api/people/"+w.one(anyPeople), body{"name": maybe(text()), "is_favorite": w.r.IntN(2) == 0, "thumbnail_face_id": maybe(w.one(anyFaces))})
	case 21:
		if w.r.IntN(3) == 0 {
			send("DELETE", "/api/people/"+w.one(anyPeople), nil)
		}
	case 22:
		if people := w.some(anyPeople, 2); len(people) == 2 && w.r.IntN(2) == 0 {
			send("POST", "/api/people/"+people[0]+"/merge", body{"source_person_ids": people[1:]})
		}
	case 23, 28:
		send("POST", "/api/stacks", body{"asset_ids": w.some(liveAssets, 3)})
	case 24:
		send("POST", "/api/stacks/"+w.one(anyStacks)+"/assets", body{"asset_ids": w.some(liveAssets, 2)})
	case 25:
		stack := w.one(anyStacks)
		if stack == "" {
			return
		}
		send("DELETE", "/api/stacks/"+stack+"/assets", body{"asset_ids": w.some(anyAssets+"&stack_id="+stack, 1)})
	case 26:
		stack := w.one(anyStacks)
		if stack == "" {
			return
		}
		send("PATCH", "/api/stacks/"+stack, body{"primary_asset_id": w.one(liveAssets + "&stack_id=" + stack)})
	case 27:
		if w.r.IntN(3) == 0 {
			send("DELETE", "/api/stacks/"+w.one(anyStacks), nil)
		}
	}
}

// A client that only follows events ends with the state of the server, while
// several writers change everything at random, the log is compacted, files are
// purged, and the server restarts (behaviour 16).
func TestFollowedEventsMakeTheState(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := banksiatest.NewServer(t)
	const writers, rounds, changes = 4, 3, 60
	early := newFollower()
	for round := range rounds {
		s.AddAssets(t, 15, func(i int, a *banksia.Asset, _ *banksia.Metadata) {
			a.OriginalFileName = fmt.Sprintf("%d-%d.jpg", round, i)
		})
		upload(t, s, "real.jpg", banksiatest.JPEG(t, 320, 240, uint8(round)))
		var wait sync.WaitGroup
		accepted := make([]int, writers)
		for n := range writers {
			wait.Go(func() {
				w := &writer{s: s, r: rand.New(rand.NewPCG(seed, uint64(round*writers+n))), t: t}
				for range changes {
					w.change()
				}
				accepted[n] = w.n
			})
		}
		wait.Go(func() {
			for range 4 {
				early.follow(t, s)
				if _, err := s.Store.CompactEvents(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
		wait.Wait()
		for n, count := range accepted {
			if count < changes/6 {
				t.Errorf("writer %d could do only %d changes", n, count)
			}
		}
		s = s.Restart(t)
	}
	s.Finished(t)
	early.follow(t, s)
	// There is one of everything to compare.
	last := s.AddAssets(t, 2, func(int, *banksia.Asset, *banksia.Metadata) {})
	ids := []string{last[0].ID.String(), last[1].ID.String()}
	var person struct{ ID string }
	want(t, s, 201, "POST", "/api/people", bodyOf{"name": "somebody"}).JSON(t, &person)
	want(t, s, 201, "POST", "/api/faces", bodyOf{"asset_id": ids[0], "person_id": person.ID, "bounding_box": bodyOf{"x": 0, "y": 0, "w": 9, "h": 9}})
	want(t, s, 201, "POST", "/api/stacks", bodyOf{"asset_ids": ids})
	want(t, s, 200, "POST", "/api/albums/"+newAlbum(t, s, bodyOf{}).ID+"/assets", bodyOf{"asset_ids": ids})
	early.follow(t, s)
	late := newFollower() // begins when all is done, after a last compaction
	if _, err := s.Store.CompactEvents(t.Context()); err != nil {
		t.Fatal(err)
	}
	late.follow(t, s)
	for entityType, how := range mirrored {
		want := read(t, s, entityType, how.list, nil)
		if len(want) == 0 {
			t.Errorf("no %s is left to compare", entityType)
		}
		for name, f := range map[string]*follower{"from the beginning": early, "at the end": late} {
			got := f.state[entityType]
			for id := range want {
				if !reflect.DeepEqual(got[id], want[id]) {
					t.Errorf("%s, who followed %s, holds\n%s\nnot\n%s", entityType, name, text(got[id]), text(want[id]))
				}
			}
			for id := range got {
				if want[id] == nil {
					t.Errorf("%s %s is gone, but not for who followed %s", entityType, id, name)
				}
			}
		}
	}
}

func text(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
