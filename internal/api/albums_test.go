package api_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/banksiatest"
	"github.com/banksia-photos/banksia/internal/store"
)

type album struct {
	ID          string             `json:"id"`
	Name        string             `json:"name"`
	Description *string            `json:"description"`
	AssetCount  int                `json:"asset_count"`
	Cover       *string            `json:"album_cover_asset_id"`
	AssetURLs   map[string]variant `json:"asset_urls"`
	StartDate   *string            `json:"start_date"`
	EndDate     *string            `json:"end_date"`
	UpdatedAt   time.Time          `json:"updated_at"`
}

type link struct {
	ID      string `json:"id"`
	AlbumID string `json:"album_id"`
	AssetID string `json:"asset_id"`
}

// listAll reads all pages of a list, a few rows at a time.
func listAll[T any](t testing.TB, s *banksiatest.Server, target, limit string, id func(T) string) []T {
	t.Helper()
	if !strings.Contains(target, "?") {
		target += "?"
	}
	var all []T
	after := ""
	for {
		var page struct {
			Data    []T  `json:"data"`
			HasMore bool `json:"has_more"`
		}
		want(t, s, 200, "GET", target+"&limit="+limit+"&starting_after_id="+after, nil).JSON(t, &page)
		all = append(all, page.Data...)
		if !page.HasMore {
			return all
		}
		after = id(all[len(all)-1])
	}
}

func albumID(a album) string { return a.ID }
func linkID(l link) string   { return l.ID }

func newAlbum(t testing.TB, s *banksiatest.Server, body bodyOf) album {
	t.Helper()
	var a album
	want(t, s, 201, "POST", "/api/albums", body).JSON(t, &a)
	return a
}

func unknownAsset() string { return banksia.NewID[banksia.AssetID](time.Now()).String() }

// behaviour 9: the life of an album.
func TestAlbums(t *testing.T) {
	t.Parallel()
	f := newFilled(t)
	id := func(n int) string { return f.assets[n].ID.String() }
	get := func(path string) (a album) {
		t.Helper()
		want(t, f.Server, 200, "GET", path, nil).JSON(t, &a)
		return a
	}
	empty := newAlbum(t, f.Server, bodyOf{}) // behaviour 9.1
	if empty.Name != "" || empty.AssetCount != 0 || empty.Cover != nil || empty.AssetURLs != nil || empty.StartDate != nil || empty.EndDate != nil {
		t.Errorf("a new album: %+v", empty)
	}
	a := newAlbum(t, f.Server, bodyOf{"name": "Été", "description": "sea", "library_id": f.Library.String()})
	path := "/api/albums/" + a.ID
	// Every distinct ID comes back in one list (behaviour 9.5).
	var added struct {
		Added     []string `json:"added_assets"`
		Duplicate []string `json:"duplicate_assets"`
		NotFound  []string `json:"not_found_assets"`
	}
	unknown := unknownAsset()
	want(t, f.Server, 200, "POST", path+"/assets", bodyOf{"asset_ids": []string{id(3), id(7), id(3), unknown, "nonsense"}}).JSON(t, &added)
	if fmt.Sprint(added.Added, added.Duplicate) != fmt.Sprint([]string{id(3), id(7)}, []string{}) || len(added.NotFound) != 2 {
		t.Errorf("added: %+v", added)
	}
	want(t, f.Server, 200, "POST", path+"/assets", bodyOf{"asset_ids": []string{id(7), id(5), id(9)}}).JSON(t, &added) // 9 is trashed
	if fmt.Sprint(added.Added, added.Duplicate) != fmt.Sprint([]string{id(5), id(9)}, []string{id(7)}) {
		t.Errorf("added more: %+v", added)
	}
	// The oldest is the cover, dates and count are of live assets (behaviour 9.2, 9.3, 9.4).
	got := get(path)
	if got.AssetCount != 3 || *got.Cover != id(3) || len(got.AssetURLs) != 1 || got.AssetURLs["thumbnail"].URL == "" || *got.StartDate != "2020-01-04T12:00:00" || *got.EndDate != "2020-01-08T12:00:00" || !got.UpdatedAt.After(a.UpdatedAt) {
		t.Errorf("with assets: %+v %v %v", got, *got.StartDate, *got.EndDate)
	}
	// A chosen cover is a live member; here a video, whose still counts as thumbnail.
	want(t, f.Server, 200, "PATCH", path, bodyOf{"album_cover_asset_id": id(7), "name": "Summer"}).JSON(t, &got)
	if *got.Cover != id(7) || got.Name != "Summer" || *got.Description != "sea" || got.AssetURLs["thumbnail"].URL == "" {
		t.Errorf("with a cover: %+v", got)
	}
	for _, cover := range []any{id(0), id(9), unknown, "x", 3} {
		want(t, f.Server, 422, "PATCH", path, bodyOf{"album_cover_asset_id": cover})
	}
	// In the trash it is no cover, back from there it is one again.
	want(t, f.Server, 200, "POST", "/api/assets/trash", bodyOf{"ids": []string{id(7)}})
	if got = get(path); *got.Cover != id(3) || got.AssetCount != 2 || *got.EndDate != "2020-01-06T12:00:00" {
		t.Errorf("with a trashed cover: %+v", got)
	}
	want(t, f.Server, 200, "POST", "/api/assets/restore", bodyOf{"ids": []string{id(7)}})
	if got = get(path); *got.Cover != id(7) {
		t.Errorf("with a restored cover: %+v", got)
	}
	want(t, f.Server, 200, "PATCH", path, bodyOf{"album_cover_asset_id": nil, "description": nil}).JSON(t, &got)
	if *got.Cover != id(3) || got.Description != nil {
		t.Errorf("with the server's cover: %+v", got)
	}
	// Removing ignores who is not there; a cover that leaves is none (behaviour 9.6).
	want(t, f.Server, 200, "PATCH", path, bodyOf{"album_cover_asset_id": id(5)})
	last := lastEvent(t, f.Server)
	for range 2 {
		want(t, f.Server, 200, "DELETE", path+"/assets", bodyOf{"asset_ids": []string{id(5), id(0), unknown}})
	}
	if got = get(path); *got.Cover != id(3) || got.AssetCount != 2 {
		t.Errorf("after removing: %+v", got)
	}
	if got := kinds(events(t, f.Server, last, "entity_types", "album")); got != "album_updated" { // nothing, of the second try
		t.Errorf("album events of removing: %s", got)
	}
	removed := events(t, f.Server, last, "entity_types", "album_asset")
	if kinds(removed) != "album_asset_removed" || removed[0].Payload["album_id"] != a.ID || removed[0].Payload["asset_id"] != id(5) {
		t.Errorf("events of removing: %+v", removed) // behaviour 16.4
	}
	// A purged asset leaves, also as a chosen cover.
	want(t, f.Server, 200, "PATCH", path, bodyOf{"album_cover_asset_id": id(3)})
	want(t, f.Server, 200, "DELETE", "/api/assets", bodyOf{"ids": []string{id(3)}})
	if got = get(path); *got.Cover != id(7) || got.AssetCount != 1 {
		t.Errorf("after a purge: %+v", got)
	}
	// The older clients' list: live assets, in full, in a bare array.
	var bare []asset
	want(t, f.Server, 200, "GET", path+"/assets", nil).JSON(t, &bare)
	if len(bare) != 1 || bare[0].ID != id(7) || bare[0].Checksum == "" {
		t.Errorf("legacy list: %+v", bare)
	}
	last = lastEvent(t, f.Server)
	want(t, f.Server, 200, "DELETE", path, nil)
	if got := kinds(events(t, f.Server, last)); got != "album_asset_removed album_asset_removed album_deleted" {
		t.Errorf("events of deleting: %s", got)
	}
	want(t, f.Server, 200, "GET", "/api/assets/"+id(7), nil) // assets stay
	for method, target := range map[string]string{"GET": path, "PATCH": path, "DELETE": path, "POST": path + "/assets"} {
		want(t, f.Server, 404, method, target, bodyOf{"asset_ids": []string{id(7)}})
	}
	want(t, f.Server, 404, "GET", path+"/assets", nil)
	want(t, f.Server, 404, "DELETE", path+"/assets", bodyOf{"asset_ids": []string{id(7)}})
	other := "/api/albums/" + empty.ID
	for _, body := range []any{bodyOf{}, bodyOf{"asset_ids": []string{}}, bodyOf{"asset_ids": slices.Repeat([]string{id(7)}, 201)}, bodyOf{"asset_ids": "x"}} {
		want(t, f.Server, 422, "POST", other+"/assets", body)
		want(t, f.Server, 422, "DELETE", other+"/assets", body)
	}
	for _, body := range []any{bodyOf{"name": "a\x00"}, bodyOf{"name": 1}, bodyOf{"description": strings.Repeat("x", 100_001)}, "text"} {
		want(t, f.Server, 422, "POST", "/api/albums", body)
		want(t, f.Server, 422, "PATCH", other, body)
	}
	want(t, f.Server, 404, "POST", "/api/albums", bodyOf{"library_id": banksia.NewID[banksia.LibraryID](time.Now()).String()})
	want(t, f.Server, 422, "POST", "/api/albums", bodyOf{"library_id": "lib_x"})
}

// lastEvent is the cursor of the newest event.
func lastEvent(t testing.TB, s *banksiatest.Server) string {
	t.Helper()
	all := events(t, s, "", "limit", "200")
	return all[len(all)-1].Cursor
}

// behaviour 9.2, 9.8: the lists, page by page.
func TestAlbumLists(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	if got := listAll(t, s, "/api/albums", "20", albumID); len(got) != 0 {
		t.Errorf("albums of an empty library: %v", got)
	}
	assets := s.AddAssets(t, 5, func(int, *banksia.Asset, *banksia.Metadata) {})
	var all []string
	for i := range 7 {
		a := newAlbum(t, s, bodyOf{"name": fmt.Sprint(i)})
		all = append([]string{a.ID}, all...) // newest first
		var ids []string
		for _, asset := range assets[:i%5] {
			ids = append(ids, asset.ID.String())
		}
		if len(ids) > 0 {
			want(t, s, 200, "POST", "/api/albums/"+a.ID+"/assets", bodyOf{"asset_ids": ids})
		}
	}
	of := func(query string) (ids []string) {
		t.Helper()
		for _, a := range listAll(t, s, "/api/albums?"+query, "2", albumID) {
			ids = append(ids, a.ID)
		}
		return ids
	}
	if got := of(""); !slices.Equal(got, all) {
		t.Errorf("albums: %v", got)
	}
	third := assets[2].ID.String() // in albums 3 and 4
	if got := of("asset_id=" + third); !slices.Equal(got, []string{all[2], all[3]}) {
		t.Errorf("albums of an asset: %v", got)
	}
	if got := of("ids=" + all[3] + "," + all[1] + "&ids=" + all[6]); !slices.Equal(got, []string{all[1], all[3], all[6]}) {
		t.Errorf("albums by ids: %v", got)
	}
	if got := of("ids=" + all[3] + "&ids=" + all[1] + "&asset_id=" + third); !slices.Equal(got, []string{all[3]}) {
		t.Errorf("albums by ids and asset: %v", got)
	}
	links := listAll(t, s, "/api/album-assets", "3", linkID)
	if len(links) != 0+1+2+3+4+0+1 {
		t.Fatalf("%d links", len(links))
	}
	if got := listAll(t, s, "/api/album-assets?album_id="+all[2], "3", linkID); len(got) != 4 || got[0].AlbumID != all[2] {
		t.Errorf("links of an album: %v", got)
	}
	if got := listAll(t, s, "/api/album-assets?asset_id="+third, "1", linkID); len(got) != 2 || got[0].AssetID != third || got[0].AlbumID != all[2] {
		t.Errorf("links of an asset: %v", got)
	}
	if got := listAll(t, s, "/api/album-assets?asset_id="+third+"&album_id="+all[3], "1", linkID); len(got) != 1 {
		t.Errorf("links of an asset and an album: %v", got)
	}
	if got := listAll(t, s, "/api/album-assets?ids="+links[1].ID+","+links[4].ID+"&album_id="+links[4].AlbumID+"&asset_id="+links[4].AssetID, "1", linkID); len(got) != 1 || got[0] != links[4] {
		t.Errorf("links by ids: %v", got)
	}
	var one link
	want(t, s, 200, "GET", "/api/album-assets/"+links[4].ID, nil).JSON(t, &one)
	if one != links[4] {
		t.Errorf("one link: %+v", one)
	}
	want(t, s, 404, "GET", "/api/album-assets/"+banksia.NewID[banksia.AlbumAssetID](time.Now()).String(), nil)
	want(t, s, 422, "GET", "/api/album-assets/"+all[0], nil)
	for _, path := range []string{"/api/albums", "/api/album-assets", "/api/stacks"} {
		for query, status := range map[string]int{"limit=0": 422, "limit=201": 422, "ids=x": 422, "starting_after_id=x": 422, "library_id=" + banksia.NewID[banksia.LibraryID](time.Now()).String(): 404} {
			want(t, s, status, "GET", path+"?"+query, nil)
		}
	}
	want(t, s, 422, "GET", "/api/albums?starting_after_id="+banksia.NewID[banksia.AlbumID](time.Now()).String(), nil)
	want(t, s, 422, "GET", "/api/album-assets?asset_id=x", nil)
	// Nothing of it is another user's.
	var other struct{ ID string }
	want(t, s, 201, "POST", "/api/libraries", bodyOf{"name": "Other"}).JSON(t, &other)
	if got := listAll(t, s, "/api/album-assets?library_id="+other.ID+"&album_id="+all[2], "3", linkID); len(got) != 0 {
		t.Errorf("links of another library: %v", got)
	}
	a := newAlbum(t, s, bodyOf{"library_id": other.ID})
	var added struct {
		NotFound []string `json:"not_found_assets"`
	}
	want(t, s, 200, "POST", "/api/albums/"+a.ID+"/assets", bodyOf{"asset_ids": []string{third}}).JSON(t, &added)
	if len(added.NotFound) != 1 { // behaviour 10.5
		t.Errorf("an asset of another library: %+v", added)
	}
}

type stack struct {
	ID         string  `json:"id"`
	AssetCount int     `json:"asset_count"`
	Origin     string  `json:"origin"`
	Primary    *string `json:"primary_asset_id"`
}

func newStack(t testing.TB, s *banksiatest.Server, body bodyOf) (made stack) {
	t.Helper()
	want(t, s, 201, "POST", "/api/stacks", body).JSON(t, &made)
	return made
}

// behaviour 14: making, changing and dissolving.
func TestStacks(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	assets := s.AddAssets(t, 9, func(int, *banksia.Asset, *banksia.Metadata) {})
	ids := func(numbers ...int) (ids []string) {
		for _, n := range numbers {
			ids = append(ids, assets[n].ID.String())
		}
		return ids
	}
	get := func(id string) (one stack) {
		t.Helper()
		want(t, s, 200, "GET", "/api/stacks/"+id, nil).JSON(t, &one)
		return one
	}
	members := func(id string) (numbers string) {
		t.Helper()
		var p page
		want(t, s, 200, "GET", "/api/assets?state=all&limit=200&stack_id="+id, nil).JSON(t, &p)
		for n, a := range assets {
			if slices.ContainsFunc(p.Data, func(b asset) bool { return b.ID == a.ID.String() }) {
				numbers += fmt.Sprint(n)
			}
		}
		return numbers
	}
	a := newStack(t, s, bodyOf{"asset_ids": ids(0, 1, 1), "library_id": s.Library.String()})
	if a.AssetCount != 2 || a.Origin != "user" || a.Primary != nil { // behaviour 14.3: no default
		t.Errorf("made %+v", a)
	}
	b := newStack(t, s, bodyOf{"asset_ids": ids(2, 3, 4), "primary_asset_id": ids(3)[0]})
	if *b.Primary != ids(3)[0] {
		t.Errorf("made %+v", b)
	}
	// Taking a member moves it; taking the pinned cover folds the whole stack in;
	// what is left with one dissolves (behaviour 14.4).
	last := lastEvent(t, s)
	c := newStack(t, s, bodyOf{"asset_ids": ids(0, 5)})
	if members(c.ID) != "05" {
		t.Errorf("members %s", members(c.ID))
	}
	want(t, s, 404, "GET", "/api/stacks/"+a.ID, nil)
	told := events(t, s, last)
	if got := kinds(told); got != "stack_created asset_updated asset_updated asset_updated stack_deleted" {
		t.Errorf("events: %s", got)
	}
	for i, e := range told { // behaviour 14.6: first the members, then that the stack is gone
		if e.EventType == "stack_deleted" {
			if before := told[i-1]; before.EntityID != ids(1)[0] || before.Payload == nil || before.Payload["stack_id"] != nil {
				t.Errorf("before stack_deleted comes %+v", before)
			}
		}
	}
	var added stack
	want(t, s, 200, "POST", "/api/stacks/"+c.ID+"/assets", bodyOf{"asset_ids": ids(3, 0)}).JSON(t, &added)
	if members(c.ID) != "02345" || added.AssetCount != 5 {
		t.Errorf("members %s", members(c.ID))
	}
	want(t, s, 404, "GET", "/api/stacks/"+b.ID, nil)
	// Only a change makes it the user's (behaviour 14.5, 14.8).
	now := s.Store.Now()
	burst := banksia.Stack{ID: banksia.NewID[banksia.StackID](now), LibraryID: s.Library, Origin: banksia.StackAutoBurst, CreatedAt: now, UpdatedAt: now}
	if err := s.Store.Change(t.Context(), s.Owner.ID, func(tx *store.Tx) error {
		return tx.InsertStack(&burst, []banksia.AssetID{assets[6].ID, assets[7].ID})
	}); err != nil {
		t.Fatal(err)
	}
	path := "/api/stacks/" + burst.ID.String()
	want(t, s, 200, "POST", path+"/assets", bodyOf{"asset_ids": ids(6, 7)})
	want(t, s, 200, "DELETE", path+"/assets", bodyOf{"asset_ids": ids(0, 1)})
	if got := get(burst.ID.String()); got.Origin != "auto_burst" {
		t.Errorf("nothing changed, but %+v", got)
	}
	if got := listAll(t, s, "/api/stacks?origin=auto_burst", "1", func(s stack) string { return s.ID }); len(got) != 1 || got[0].ID != burst.ID.String() {
		t.Errorf("bursts: %v", got)
	}
	want(t, s, 200, "POST", path+"/assets", bodyOf{"asset_ids": ids(8)})
	if got := get(burst.ID.String()); got.Origin != "user" || got.AssetCount != 3 {
		t.Errorf("changed: %+v", got)
	}
	// The cover is a live member, stays while trashed, and goes when it leaves (behaviour 14.3).
	for _, cover := range []any{nil, ids(0)[0], unknownAsset(), "x", 1} {
		want(t, s, 422, "PATCH", path, bodyOf{"primary_asset_id": cover})
	}
	want(t, s, 200, "PATCH", path, bodyOf{"primary_asset_id": ids(8)[0]})
	if got := listAll(t, s, "/api/stacks?primary_asset_id="+ids(8)[0], "1", func(s stack) string { return s.ID }); len(got) != 1 {
		t.Errorf("by cover: %v", got)
	}
	want(t, s, 200, "POST", "/api/assets/trash", bodyOf{"ids": ids(8)})
	want(t, s, 422, "PATCH", path, bodyOf{"primary_asset_id": ids(8)[0]})
	if got := get(burst.ID.String()); got.AssetCount != 2 || *got.Primary != ids(8)[0] {
		t.Errorf("with a trashed cover: %+v", got)
	}
	want(t, s, 200, "DELETE", "/api/assets", bodyOf{"ids": ids(8)})
	if got := get(burst.ID.String()); got.Primary != nil || got.AssetCount != 2 {
		t.Errorf("with a purged cover: %+v", got)
	}
	want(t, s, 200, "POST", "/api/assets/trash", bodyOf{"ids": ids(6)}) // trashed members count
	if got := get(burst.ID.String()); got.AssetCount != 1 {
		t.Errorf("with a trashed member: %+v", got)
	}
	want(t, s, 200, "DELETE", "/api/assets", bodyOf{"ids": ids(6)}) // purged ones do not
	want(t, s, 404, "GET", path, nil)
	want(t, s, 200, "PATCH", "/api/stacks/"+c.ID, bodyOf{"primary_asset_id": ids(2)[0]})
	want(t, s, 200, "DELETE", "/api/stacks/"+c.ID+"/assets", bodyOf{"asset_ids": ids(2, 3)})
	if got := get(c.ID); got.Primary != nil || members(c.ID) != "045" {
		t.Errorf("without its cover: %+v", got)
	}
	want(t, s, 200, "DELETE", "/api/stacks/"+c.ID+"/assets", bodyOf{"asset_ids": ids(0, 4)})
	want(t, s, 404, "GET", "/api/stacks/"+c.ID, nil)
	// Deleting leaves the photos.
	d := newStack(t, s, bodyOf{"asset_ids": ids(0, 1)})
	last = lastEvent(t, s)
	want(t, s, 200, "DELETE", "/api/stacks/"+d.ID, nil)
	if got := kinds(events(t, s, last)); got != "asset_updated asset_updated stack_deleted" {
		t.Errorf("events: %s", got)
	}
	for method, target := range map[string]string{"GET": "/api/stacks/" + d.ID, "DELETE": "/api/stacks/" + d.ID} {
		want(t, s, 404, method, target, nil)
	}
	want(t, s, 404, "PATCH", "/api/stacks/"+d.ID, bodyOf{"primary_asset_id": ids(0)[0]})
	want(t, s, 404, "POST", "/api/stacks/"+d.ID+"/assets", bodyOf{"asset_ids": ids(0)})
	want(t, s, 404, "DELETE", "/api/stacks/"+d.ID+"/assets", bodyOf{"asset_ids": ids(0)})
	for _, body := range []any{bodyOf{}, bodyOf{"asset_ids": ids(0)}, bodyOf{"asset_ids": ids(0, 0)}, bodyOf{"asset_ids": slices.Repeat(ids(0), 201)}, bodyOf{"asset_ids": ids(0, 1), "primary_asset_id": ids(2)[0]},
		bodyOf{"asset_ids": ids(0, 1), "primary_asset_id": "x"}, bodyOf{"asset_ids": ids(0, 1), "library_id": "x"}} {
		want(t, s, 422, "POST", "/api/stacks", body)
	}
	want(t, s, 404, "POST", "/api/stacks", bodyOf{"asset_ids": append(ids(0), unknownAsset())})
	if got := listAll(t, s, "/api/stacks", "1", func(s stack) string { return s.ID }); len(got) != 0 {
		t.Errorf("left are %v", got) // the refused ones left nothing
	}
	// In the order of their IDs (behaviour 14.1).
	first, second := newStack(t, s, bodyOf{"asset_ids": ids(0, 1)}), newStack(t, s, bodyOf{"asset_ids": ids(2, 3)})
	got := listAll(t, s, "/api/stacks", "1", func(s stack) string { return s.ID })
	byID := listAll(t, s, "/api/stacks?ids="+second.ID+","+first.ID, "1", func(s stack) string { return s.ID })
	if len(got) != 2 || !slices.EqualFunc(got, byID, func(a, b stack) bool { return a.ID == b.ID }) || got[0].ID != min(first.ID, second.ID) {
		t.Errorf("stacks: %v, by ids: %v", got, byID)
	}
	want(t, s, 422, "GET", "/api/stacks?origin=x", nil)
	want(t, s, 400, "POST", "/api/stacks", func() any {
		want(t, s, 201, "POST", "/api/libraries", bodyOf{"name": "Other"})
		return bodyOf{"asset_ids": ids(0, 1)}
	}())
}

// Many writers on one album and one stack: the invariants hold at the end, which
// the server checks of itself.
func TestSetRaces(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	assets := s.AddAssets(t, 12, func(int, *banksia.Asset, *banksia.Metadata) {})
	a := newAlbum(t, s, bodyOf{})
	var wait sync.WaitGroup
	for n := range 4 {
		wait.Go(func() {
			for i := range 15 {
				one, two := assets[(n+i)%12].ID.String(), assets[(n*5+i*7)%12].ID.String()
				both := bodyOf{"asset_ids": []string{one, two}}
				s.Call(t, "POST", "/api/albums/"+a.ID+"/assets", both)
				s.Call(t, "PATCH", "/api/albums/"+a.ID, bodyOf{"album_cover_asset_id": two})
				s.Call(t, "POST", "/api/stacks", both)
				switch i % 5 {
				case 0:
					s.Call(t, "DELETE", "/api/albums/"+a.ID+"/assets", both)
				case 1:
					s.Call(t, "POST", "/api/assets/trash", bodyOf{"ids": []string{one}})
				case 2:
					s.Call(t, "POST", "/api/assets/restore", bodyOf{"ids": []string{one, two}})
				case 3:
					for _, stack := range listAll(t, s, "/api/stacks", "200", func(s stack) string { return s.ID }) {
						s.Call(t, "POST", "/api/stacks/"+stack.ID+"/assets", both)
						s.Call(t, "DELETE", "/api/stacks/"+stack.ID+"/assets", bodyOf{"asset_ids": []string{one}})
					}
				case 4:
					for _, stack := range listAll(t, s, "/api/stacks", "200", func(s stack) string { return s.ID }) {
						s.Call(t, "PATCH", "/api/stacks/"+stack.ID, bodyOf{"primary_asset_id": one})
						if i > 7 {
							s.Call(t, "DELETE", "/api/stacks/"+stack.ID, nil)
						}
					}
					other := newAlbum(t, s, bodyOf{})
					s.Call(t, "POST", "/api/albums/"+other.ID+"/assets", both)
					want(t, s, 200, "DELETE", "/api/albums/"+other.ID, nil)
					if n == 0 && i > 10 {
						s.Call(t, "DELETE", "/api/assets/"+two, nil)
					}
				}
			}
		})
	}
	wait.Wait()
	if got := len(events(t, s, "", "limit", "200")); got < 100 {
		t.Errorf("only %d events", got)
	}
}
