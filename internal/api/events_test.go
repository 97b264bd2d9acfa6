package api_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/banksiatest"
	"github.com/banksia-photos/banksia/internal/store"
)

// event is what the tests read of an event.
type event struct {
	Cursor     string         `json:"cursor"`
	EntityID   string         `json:"entity_id"`
	EntityType string         `json:"entity_type"`
	EventType  string         `json:"event_type"`
	Payload    map[string]any `json:"payload"`
	CreatedAt  time.Time      `json:"created_at"`
}

// events pages to the end, a few at a time, by the cursor alone.
func events(t testing.TB, s *banksiatest.Server, after string, pairs ...string) []event {
	t.Helper()
	var all []event
	for {
		query := slices.Clone(pairs)
		if !slices.Contains(pairs, "limit") {
			query = append(query, "limit", "3")
		}
		if after != "" {
			query = append(query, "after_cursor", after)
		}
		answer := s.Call(t, "GET", "/api/events"+banksiatest.Query(query...), nil)
		if answer.Status != http.StatusOK {
			t.Fatalf("%v: %d: %s", query, answer.Status, answer.Body)
		}
		var page struct {
			Data    []event `json:"data"`
			HasMore bool    `json:"has_more"`
		}
		answer.JSON(t, &page)
		all = append(all, page.Data...)
		if !page.HasMore {
			return all
		}
		if len(page.Data) == 0 {
			t.Fatal("an empty page says that more follow")
		}
		after = page.Data[len(page.Data)-1].Cursor
	}
}

func kinds(events []event) string {
	var names []string
	for _, e := range events {
		names = append(names, e.EventType)
	}
	return strings.Join(names, " ")
}

// behaviour 16.1 to 16.8: what a client sees that begins without a cursor, and
// what it sees later by its cursor.
func TestEvents(t *testing.T) {
	t.Parallel()
	var clock atomic.Int64
	begin := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	s := banksiatest.NewServerWith(t, banksiatest.Config{Now: func() time.Time { return begin.Add(time.Duration(clock.Load())) }})
	if got := events(t, s, ""); len(got) != 0 {
		t.Fatalf("events of an empty library: %v", got)
	}
	assets := s.AddAssets(t, 2, func(int, *banksia.Asset, *banksia.Metadata) {})
	clock.Store(int64(time.Hour))
	now := s.Store.Now()
	album := banksia.Album{ID: banksia.NewID[banksia.AlbumID](now), LibraryID: s.Library, CreatedAt: now, UpdatedAt: now}
	link := banksia.NewID[banksia.AlbumAssetID](now)
	person := banksia.Person{ID: banksia.NewID[banksia.PersonID](now), LibraryID: s.Library, CreatedAt: now, UpdatedAt: now}
	face := banksia.Face{ID: banksia.NewID[banksia.FaceID](now), LibraryID: s.Library, AssetID: assets[0].ID, PersonID: &person.ID, Source: banksia.FaceManual,
		BoundingBox: banksia.BoundingBox{W: 9, H: 9}, CreatedAt: now, UpdatedAt: now}
	stack := banksia.Stack{ID: banksia.NewID[banksia.StackID](now), LibraryID: s.Library, Origin: banksia.StackUser, CreatedAt: now, UpdatedAt: now}
	for _, change := range []func(*store.Tx) error{
		func(tx *store.Tx) error { return tx.InsertAlbum(&album) },
		func(tx *store.Tx) error { return tx.InsertAlbumAsset(link, album.ID, assets[0].ID) },
		func(tx *store.Tx) error { return tx.InsertPerson(&person) },
		func(tx *store.Tx) error { return tx.InsertFace(&face) },
		func(tx *store.Tx) error { return tx.InsertStack(&stack, []banksia.AssetID{assets[0].ID, assets[1].ID}) },
	} {
		if err := s.Store.Change(t.Context(), s.Owner.ID, change); err != nil {
			t.Fatal(err)
		}
	}
	first := events(t, s, "")
	for i, e := range first {
		if strings.Contains(e.Cursor, "|") || i > 0 && e.CreatedAt.Before(first[i-1].CreatedAt) {
			t.Errorf("event %d: %+v", i, e) // behaviour 16.1, 16.6
		}
	}
	of := func(entityType string) []event { return events(t, s, "", "entity_types", entityType) }
	for entityType, want := range map[string]string{
		"album":       "album_created album_updated",
		"album_asset": "album_asset_added",
		"face":        "face_created",
		"metadata":    "metadata_updated metadata_updated",
		"exif":        "metadata_updated metadata_updated", // older clients
		"stack":       "stack_created",
	} {
		if got := kinds(of(entityType)); got != want {
			t.Errorf("events of %s: %s", entityType, got)
		}
	}
	if got := of("metadata")[0].EntityID; got != assets[0].ID.String() { // behaviour 16.3
		t.Errorf("metadata_updated is of %s", got)
	}
	if got := of("album_asset")[0]; got.EntityID != link.String() || got.Payload["album_id"] != album.ID.String() || got.Payload["asset_id"] != assets[0].ID.String() {
		t.Errorf("album_asset_added: %+v", got) // behaviour 16.4
	}
	if got := of("asset"); got[len(got)-1].Payload["stack_id"] != stack.ID.String() {
		t.Errorf("asset_updated of a stacked asset: %+v", got[len(got)-1]) // behaviour 14.6
	}
	// Several types come in one order, comma-separated or repeated.
	both := events(t, s, "", "entity_types", "album,stack")
	if repeated := events(t, s, "", "entity_types", "album", "entity_types", "stack"); kinds(both) != kinds(repeated) || kinds(both) != "album_created album_updated stack_created" {
		t.Errorf("two types: %s and %s", kinds(both), kinds(repeated))
	}
	// The bounds: inclusive below, exclusive above (behaviour 16.1).
	later := begin.Add(time.Hour).Format(time.RFC3339Nano)
	before, since := events(t, s, "", "created_at_lt", later), events(t, s, "", "created_at_gte", later)
	if kinds(before) != "asset_created metadata_updated asset_created metadata_updated" || len(before)+len(since) != len(first) {
		t.Errorf("before the second hour %s, since then %s", kinds(before), kinds(since))
	}
	if naive := events(t, s, "", "created_at_gte", strings.TrimSuffix(later, "Z")); kinds(naive) != kinds(since) {
		t.Errorf("since, without an offset: %s", kinds(naive))
	}
	if got := events(t, s, "", "created_at_gte", begin.Add(2*time.Hour).Format(time.RFC3339Nano)); len(got) != 0 {
		t.Errorf("events of the future: %v", got)
	}
	// A trip to the trash and back is two updates (behaviour 16.7), of the sets as well.
	last := first[len(first)-1].Cursor
	ids := []banksia.AssetID{assets[0].ID}
	if err := s.Catalog.TrashAssets(t.Context(), s.Scope, s.Library, ids); err != nil {
		t.Fatal(err)
	}
	trashed := events(t, s, last)
	if got := kinds(trashed); got != "asset_updated album_updated person_updated stack_updated" {
		t.Errorf("events of trashing: %s", got)
	}
	// Trashing what is trashed changes nothing.
	last = trashed[len(trashed)-1].Cursor
	if err := s.Catalog.TrashAssets(t.Context(), s.Scope, s.Library, ids); err != nil {
		t.Fatal(err)
	}
	if got := events(t, s, last); len(got) != 0 {
		t.Errorf("events of trashing again: %s", kinds(got))
	}
	// Everything that a purge takes along is told (behaviour 8.9, 16.5).
	if err := s.Catalog.PurgeAssets(t.Context(), s.Scope, s.Library, ids); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"album_asset_removed", "face_deleted", "asset_deleted"} {
		i := slices.IndexFunc(events(t, s, last), func(e event) bool { return e.EventType == want })
		if i < 0 {
			t.Errorf("no %s of a purge", want)
		}
	}
	// The old path answers the same.
	old := s.Call(t, "GET", "/api/v2/events?limit=200", nil)
	if now := s.Call(t, "GET", "/api/events?limit=200", nil); string(old.Body) != string(now.Body) {
		t.Errorf("/api/v2/events: %s", old.Body)
	}
}

func TestEventsRefuse(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	s.AddAsset(t, func(*banksia.Asset, *banksia.Metadata) {})
	for _, path := range []string{"/api/events", "/api/v2/events"} {
		for query, want := range map[string]int{
			"after_cursor=x":                    422,
			"after_cursor=-1":                   422,
			"after_cursor=0":                    422,
			"after_cursor=99999999999999999999": 422,
			"after_cursor=1000":                 422, // of another library, or of a newer copy
			"entity_types=photo":                422,
			"entity_types=asset,photo":          422,
			"created_at_gte=yesterday":          422,
			"created_at_lt=2020-13-01":          422,
			"limit=0":                           422,
			"limit=201":                         422,
			"library_id=lib_x":                  422,
			"library_id=" + banksia.NewID[banksia.LibraryID](s.Store.Now()).String(): 404,
			"after_cursor=2&limit=1": 200,
			"entity_types=":          200,
		} {
			if got := s.Call(t, "GET", path+"?"+query, nil); got.Status != want {
				t.Errorf("%s?%s: %d, not %d: %s", path, query, got.Status, want, got.Body)
			}
		}
	}
}

// Compaction leaves what brings a client from any cursor to the same state
// (behaviour 16.6, 16.8), however the events are batched.
func TestEventsAfterCompaction(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	assets := s.AddAssets(t, 300, func(int, *banksia.Asset, *banksia.Metadata) {})
	var ids []banksia.AssetID
	for _, a := range assets {
		ids = append(ids, a.ID)
	}
	compact := func() int64 {
		t.Helper()
		n, err := s.Store.CompactEvents(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := compact(); n != 0 {
		t.Fatalf("%d of the first events were removed", n)
	}
	for range 3 {
		if err := s.Catalog.TrashAssets(t.Context(), s.Scope, s.Library, ids[:200]); err != nil {
			t.Fatal(err)
		}
		if err := s.Catalog.RestoreAssets(t.Context(), s.Scope, s.Library, ids[:200]); err != nil {
			t.Fatal(err)
		}
	}
	middle := events(t, s, "", "limit", "200")
	if err := s.Catalog.PurgeAssets(t.Context(), s.Scope, s.Library, ids[:100]); err != nil {
		t.Fatal(err)
	}
	if n := compact(); n == 0 {
		t.Fatal("nothing was removed")
	}
	if n := compact(); n != 0 {
		t.Fatalf("a second compaction removed %d", n)
	}
	count := map[string]int{}
	created := map[string]bool{}
	for _, e := range events(t, s, "", "limit", "200") {
		count[e.EventType]++
		if e.EventType == "asset_created" {
			created[e.EntityID] = true
		}
	}
	if got := fmt.Sprint(count); got != "map[asset_created:200 asset_deleted:100 asset_updated:100 metadata_updated:200]" {
		t.Errorf("left are %s", got)
	}
	for _, id := range ids[100:] {
		if !created[id.String()] {
			t.Errorf("no created event of %s", id)
		}
	}
	// A cursor from before holds, though its own event may be gone.
	for _, from := range []event{middle[0], middle[700], middle[len(middle)-1]} {
		after, deleted := events(t, s, from.Cursor, "limit", "200"), 0
		for _, e := range after {
			position, _ := strconv.Atoi(e.Cursor)
			if old, _ := strconv.Atoi(from.Cursor); position <= old {
				t.Fatalf("%s comes after %s", e.Cursor, from.Cursor)
			}
			if e.EventType == "asset_deleted" {
				deleted++
			}
		}
		if deleted != 100 {
			t.Errorf("after cursor %s there are %d deletions", from.Cursor, deleted)
		}
	}
}
