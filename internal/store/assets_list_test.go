package store

import (
	"cmp"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
)

// epoch is when the rows of tests are made.
var epoch = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

// testLibrary is a user with one library, and what was put into it.
type testLibrary struct {
	*Store
	scope  banksia.Scope
	id     banksia.LibraryID
	assets []*testAsset
	albums []banksia.AlbumID
	people []banksia.PersonID
	stacks []banksia.StackID
}

// testAsset is what the naive reference knows of an asset.
type testAsset struct {
	id        banksia.AssetID
	mediaType banksia.MediaType
	local     banksia.LocalTime
	lat, lon  *float64
	albums    map[banksia.AlbumID]bool
	people    map[banksia.PersonID]bool
	stack     *banksia.StackID
	trashedAt int64 // 0: live
	purged    bool
}

func newTestLibrary(t testing.TB, s *Store) *testLibrary {
	t.Helper()
	l := &testLibrary{Store: s, id: banksia.NewID[banksia.LibraryID](epoch)}
	l.scope = banksia.Scope{UserID: banksia.NewID[banksia.UserID](epoch), Actions: banksia.Actions}
	l.write(t, func(tx *Tx) error {
		_, err := tx.Exec(`INSERT INTO users (id, is_active, is_superuser, is_verified, created_at, updated_at) VALUES ($1, TRUE, TRUE, TRUE, 0, 0)`, l.scope.UserID)
		if err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO libraries (id, user_id, name, created_at, updated_at) VALUES ($1, $2, 'Test', 0, 0)`, l.id, l.scope.UserID)
		return err
	})
	return l
}

func (l *testLibrary) write(t testing.TB, f func(*Tx) error) {
	t.Helper()
	if err := l.ChangeAll(context.Background(), nil, f); err != nil {
		t.Fatal(err)
	}
}

func (l *testLibrary) populate(t testing.TB, r *rand.Rand, albums, people, stacks int) {
	l.write(t, func(tx *Tx) error {
		for range albums {
			a := banksia.Album{ID: banksia.NewID[banksia.AlbumID](epoch), LibraryID: l.id, CreatedAt: epoch, UpdatedAt: epoch}
			l.albums = append(l.albums, a.ID)
			if err := tx.InsertAlbum(&a); err != nil {
				return err
			}
		}
		for range people {
			p := banksia.Person{ID: banksia.NewID[banksia.PersonID](epoch), LibraryID: l.id, CreatedAt: epoch, UpdatedAt: epoch}
			l.people = append(l.people, p.ID)
			if err := tx.InsertPerson(&p); err != nil {
				return err
			}
		}
		for range stacks {
			s := banksia.Stack{ID: banksia.NewID[banksia.StackID](epoch), LibraryID: l.id, Origin: banksia.StackUser, CreatedAt: epoch, UpdatedAt: epoch}
			l.stacks = append(l.stacks, s.ID)
			if err := tx.InsertStack(&s, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// add inserts one random asset. Times collide often, so that ties matter, and
// places lie on the corners of cells and of the world as often as elsewhere.
func (l *testLibrary) add(t testing.TB, tx *Tx, r *rand.Rand) error {
	a := &testAsset{id: banksia.NewID[banksia.AssetID](time.UnixMilli(r.Int64N(1 << 40))), mediaType: banksia.Image, albums: map[banksia.AlbumID]bool{}, people: map[banksia.PersonID]bool{}}
	a.local.Wall = epoch.UnixMicro() + r.Int64N(40)*int64(3600e6)*7 + r.Int64N(2)
	if r.IntN(3) > 0 {
		offset := []int{0, 120, -480, 840, -720, 345}[r.IntN(6)]
		a.local.Offset = &offset
	}
	if r.IntN(5) == 0 {
		a.mediaType = banksia.Video
	}
	if r.IntN(3) > 0 {
		lat, lon := r.Float64()*180-90, r.Float64()*360-180
		switch r.IntN(4) {
		case 0:
			lat, lon = []float64{-90, -45, 0, 45, 90}[r.IntN(5)], []float64{-180, -135, 0, 45, 180}[r.IntN(5)]
		case 1:
			lat, lon = 48.85+r.Float64()/50, 2.35+r.Float64()/50
		}
		a.lat, a.lon = &lat, &lon
	}
	content := fmt.Sprint(a.id)
	sum, sum1 := sha256.Sum256([]byte(content)), sha1.Sum([]byte(content))
	original := a.local
	row := &banksia.Asset{ID: a.id, LibraryID: l.id, MediaType: a.mediaType, CreatedAt: epoch, UpdatedAt: epoch, LocalDateTime: a.local, OriginalFileName: "a.jpg",
		File:    banksia.FileData{CreatedAt: a.local, ModifiedAt: a.local, SizeBytes: 10, SHA256: sum[:], SHA1: sum1[:]},
		Version: banksia.Version{SizeBytes: 10, ID: banksia.NewID[banksia.VersionID](epoch), Kind: banksia.KindOriginal, MIMEType: "image/jpeg", SHA256: sum[:], CreatedAt: epoch}}
	if err := tx.InsertAsset(row, &banksia.Metadata{OriginalDateTime: &original, Latitude: a.lat, Longitude: a.lon}); err != nil {
		return err
	}
	for _, album := range l.albums {
		if r.IntN(4) == 0 {
			a.albums[album] = true
			if err := tx.InsertAlbumAsset(banksia.NewID[banksia.AlbumAssetID](epoch), album, a.id); err != nil {
				return err
			}
		}
	}
	for _, person := range l.people {
		for range r.IntN(3) { // also twice in one picture
			a.people[person] = true
			face := banksia.Face{ID: banksia.NewID[banksia.FaceID](epoch), LibraryID: l.id, AssetID: a.id, PersonID: &person, BoundingBox: banksia.BoundingBox{W: 1, H: 1}, Source: banksia.FaceAutomatic, CreatedAt: epoch, UpdatedAt: epoch}
			if err := tx.InsertFace(&face); err != nil {
				return err
			}
		}
	}
	if len(l.stacks) > 0 && r.IntN(6) == 0 {
		stack := l.stacks[r.IntN(len(l.stacks))]
		a.stack = &stack
		if _, err := tx.Exec(`UPDATE assets SET stack_id = $1 WHERE id = $2`, stack, a.id); err != nil {
			return err
		}
	}
	l.assets = append(l.assets, a)
	return nil
}

// churn trashes, restores, purges and adds a few assets.
func (l *testLibrary) churn(t testing.TB, r *rand.Rand, purge bool) {
	l.write(t, func(tx *Tx) error {
		for range r.IntN(6) {
			a := l.assets[r.IntN(len(l.assets))]
			var err error
			switch r.IntN(4) {
			case 0:
				moved, err := tx.TrashAssets(l.id, []banksia.AssetID{a.id, a.id})
				if err != nil {
					return err
				}
				if len(moved) > 0 {
					a.trashedAt = tx.Now().UnixMicro()
				}
			case 1:
				_, err = tx.RestoreAssets(l.id, []banksia.AssetID{a.id})
				a.trashedAt = 0
			case 2:
				if purge {
					_, err = tx.PurgeAssets(l.id, []banksia.AssetID{a.id})
					a.purged = true
				}
			case 3:
				err = l.add(t, tx, r)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// matches is the naive reading of the contract: behaviour 7.16 to 7.20.
func (a *testAsset) matches(f AssetFilter) bool {
	if a.purged || f.State == Live && a.trashedAt != 0 || f.State == Trashed && a.trashedAt == 0 {
		return false
	}
	if f.IDs != nil && !slices.Contains(f.IDs, a.id) || f.AlbumID != nil && !a.albums[*f.AlbumID] {
		return false
	}
	if f.AlbumFilter == InAlbum && len(a.albums) == 0 || f.AlbumFilter == NotInAlbum && len(a.albums) > 0 {
		return false
	}
	for _, person := range f.PersonIDs {
		if !a.people[person] {
			return false
		}
	}
	if f.StackID != nil && (a.stack == nil || *a.stack != *f.StackID) || f.MediaType != "" && a.mediaType != f.MediaType {
		return false
	}
	value := func(bound *banksia.LocalTime) (int64, int64) {
		if bound.Offset == nil {
			return a.local.Wall, bound.Wall
		}
		utc := a.local.Wall
		if a.local.Offset != nil {
			utc -= int64(*a.local.Offset) * 60e6
		}
		return utc, bound.Wall - int64(*bound.Offset)*60e6
	}
	if f.After != nil {
		if mine, bound := value(f.After); mine <= bound {
			return false
		}
	}
	if f.Before != nil {
		if mine, bound := value(f.Before); mine >= bound {
			return false
		}
	}
	switch area := f.Area.(type) {
	case Box:
		if a.lat == nil || *a.lat < area.MinLat || *a.lat > area.MaxLat {
			return false
		}
		if area.MinLon <= area.MaxLon && (*a.lon < area.MinLon || *a.lon > area.MaxLon) || area.MinLon > area.MaxLon && *a.lon < area.MinLon && *a.lon > area.MaxLon {
			return false
		}
	case Circle:
		if a.lat == nil || distance(*a.lat, *a.lon, area.Lat, area.Lon) > area.Radius {
			return false
		}
	}
	return true
}

// distance is by the angle between unit vectors, another way than the store's.
func distance(lat1, lon1, lat2, lon2 float64) float64 {
	vector := func(lat, lon float64) [3]float64 {
		lat, lon = lat*math.Pi/180, lon*math.Pi/180
		return [3]float64{math.Cos(lat) * math.Cos(lon), math.Cos(lat) * math.Sin(lon), math.Sin(lat)}
	}
	a, b := vector(lat1, lon1), vector(lat2, lon2)
	cross := [3]float64{a[1]*b[2] - a[2]*b[1], a[2]*b[0] - a[0]*b[2], a[0]*b[1] - a[1]*b[0]}
	return earthRadius * math.Atan2(math.Sqrt(cross[0]*cross[0]+cross[1]*cross[1]+cross[2]*cross[2]), a[0]*b[0]+a[1]*b[1]+a[2]*b[2])
}

func (l *testLibrary) reference(f AssetFilter) []banksia.AssetID {
	var found []*testAsset
	for _, a := range l.assets {
		if a.matches(f) {
			found = append(found, a)
		}
	}
	slices.SortFunc(found, func(a, b *testAsset) int {
		order := cmp.Or(cmp.Compare(a.local.Wall, b.local.Wall), strings.Compare(a.id.String(), b.id.String()))
		if f.State == Trashed {
			order = cmp.Or(cmp.Compare(a.trashedAt, b.trashedAt), strings.Compare(a.id.String(), b.id.String()))
		}
		if !f.Ascending {
			order = -order
		}
		return order
	})
	ids := make([]banksia.AssetID, len(found))
	for i, a := range found {
		ids[i] = a.id
	}
	return ids
}

func (l *testLibrary) randomFilter(r *rand.Rand) AssetFilter {
	f := AssetFilter{LibraryID: l.id, State: []State{Live, Live, Trashed, All}[r.IntN(4)], Ascending: r.IntN(2) == 0}
	some := func() bool { return r.IntN(5) == 0 }
	if some() {
		f.AlbumID = &l.albums[r.IntN(len(l.albums))]
	}
	if some() {
		f.AlbumFilter = []AlbumFilter{InAlbum, NotInAlbum}[r.IntN(2)]
	}
	for some() {
		f.PersonIDs = append(f.PersonIDs, l.people[r.IntN(len(l.people))])
	}
	if some() {
		f.IDs = []banksia.AssetID{}
		for range r.IntN(200) {
			f.IDs = append(f.IDs, l.assets[r.IntN(len(l.assets))].id)
		}
	}
	if r.IntN(15) == 0 {
		f.StackID = &l.stacks[r.IntN(len(l.stacks))]
	}
	if some() {
		f.MediaType = []banksia.MediaType{banksia.Image, banksia.Video}[r.IntN(2)]
	}
	bound := func() *banksia.LocalTime {
		t := l.assets[r.IntN(len(l.assets))].local // exactly at an asset: bounds are exclusive
		switch r.IntN(3) {
		case 0:
			t.Offset = nil
		case 1:
			offset := 60 * (r.IntN(27) - 12)
			t.Offset = &offset
		}
		return &t
	}
	if some() {
		f.After = bound()
	}
	if some() {
		f.Before = bound()
	}
	if some() {
		a := l.assets[r.IntN(len(l.assets))]
		lat, lon := r.Float64()*180-90, r.Float64()*360-180
		if a.lat != nil {
			lat, lon = *a.lat, *a.lon
		}
		size := math.Pow(10, r.Float64()*5-3)
		switch r.IntN(5) {
		case 0:
			f.Area = Box{-180, -90, 180, 90}
		case 1:
			f.Area = Circle{lon, lat, math.Pow(10, r.Float64()*4+0.7)}
		case 2: // across the antimeridian
			f.Area = Box{180 - size, max(-90, lat-size), min(180, -180+size), min(90, lat+size)}
		default:
			f.Area = Box{max(-180, lon-size), max(-90, lat-size), min(180, lon+size*r.Float64()), min(90, lat+size)}
		}
	}
	return f
}

// Every filter, order and page size gives what the naive reference gives, and a
// walk over pages neither skips nor repeats while assets come and go.
func TestListAssetsAgainstReference(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	s := open(t)
	clock := epoch
	s.now = func() time.Time { clock = clock.Add(time.Millisecond); return clock }
	l := newTestLibrary(t, s)
	l.populate(t, r, 3, 4, 5)
	other := newTestLibrary(t, s) // must never show
	other.populate(t, r, 1, 1, 1)
	l.write(t, func(tx *Tx) error {
		for range 300 {
			if err := l.add(t, tx, r); err != nil {
				return err
			}
		}
		for range 30 {
			if err := other.add(t, tx, r); err != nil {
				return err
			}
		}
		return nil
	})
	matched := 0
	for round := range 400 {
		f := l.randomFilter(r)
		f.Limit = 1 + r.IntN(40)
		before := l.reference(f)
		busy := round%2 == 0
		var walked []banksia.AssetID
		touched := map[banksia.AssetID]bool{}
		for {
			page, more, err := l.ListAssets(t.Context(), l.scope, f)
			if err != nil {
				t.Fatalf("%+v: %v", f, err)
			}
			for _, a := range page {
				walked = append(walked, a.ID)
			}
			if !more || len(page) == 0 {
				break
			}
			f.StartingAfter = &page[len(page)-1].ID
			if busy {
				states := map[banksia.AssetID]testAsset{}
				for _, a := range l.assets {
					states[a.id] = *a
				}
				l.churn(t, r, true)
				for _, a := range l.assets {
					if old, was := states[a.id]; !was || old.trashedAt != a.trashedAt || old.purged != a.purged {
						touched[a.id] = true
					}
				}
			}
		}
		matched += len(walked)
		steady := func(ids []banksia.AssetID) []banksia.AssetID {
			return slices.DeleteFunc(slices.Clone(ids), func(id banksia.AssetID) bool { return touched[id] })
		}
		if want, got := steady(before), steady(walked); !slices.Equal(want, got) {
			t.Fatalf("round %d: %+v gives %d assets, want %d:\n%v\n%v", round, f, len(got), len(want), got, want)
		}
		seen := map[banksia.AssetID]bool{}
		for _, id := range walked {
			// In the trash a restored and again trashed asset moves to the front,
			// so it may come twice; everywhere else nothing may.
			if seen[id] && f.State != Trashed {
				t.Fatalf("round %d: %s came twice", round, id)
			}
			seen[id] = true
		}
	}
	if matched < 5000 {
		t.Fatalf("only %d assets were listed: the filters match too little to prove anything", matched)
	}
	l.checkCounters(t)
}

// checkCounters compares what is counted along the way with a fresh count.
func (l *testLibrary) checkCounters(t *testing.T) {
	t.Helper()
	live, size := 0, 0
	people := map[banksia.PersonID]int{}
	for _, a := range l.assets {
		if a.purged {
			continue
		}
		size += 10
		if a.trashedAt == 0 {
			live++
			for p := range a.people {
				people[p]++
			}
		}
	}
	err := l.Read(t.Context(), func(tx *Tx) error {
		var gotLive, gotSize, userSize, cells, geotagged int
		if err := tx.QueryRow(`SELECT asset_count, storage_used_bytes, (SELECT storage_used_bytes FROM users WHERE id = user_id) FROM libraries WHERE id = $1`, l.id).Scan(&gotLive, &gotSize, &userSize); err != nil {
			return err
		}
		if gotLive != live || gotSize != size || userSize != size {
			t.Errorf("counted %d assets of %d and %d bytes, want %d of %d", gotLive, gotSize, userSize, live, size)
		}
		for _, id := range l.people {
			var got int
			if err := tx.QueryRow(`SELECT asset_count FROM people WHERE id = $1`, id).Scan(&got); err != nil {
				return err
			}
			if got != people[id] {
				t.Errorf("person %s counts %d assets, want %d", id, got, people[id])
			}
		}
		err := tx.QueryRow(`SELECT (SELECT COUNT(*) FROM asset_cells WHERE library_id = $1), (SELECT COUNT(*) FROM assets WHERE library_id = $1 AND latitude IS NOT NULL)`, l.id).Scan(&cells, &geotagged)
		if cells != geotagged*len(cellLevels) {
			t.Errorf("%d map cells for %d geotagged assets", cells, geotagged)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// behaviour 21.6: a cursor nobody knows is refused, never taken for page 1.
func TestListAssetsRefusesUnknownCursor(t *testing.T) {
	t.Parallel()
	s := open(t)
	l := newTestLibrary(t, s)
	unknown := banksia.NewID[banksia.AssetID](epoch)
	for _, state := range []State{Live, Trashed, All} {
		_, _, err := l.ListAssets(t.Context(), l.scope, AssetFilter{LibraryID: l.id, State: state, StartingAfter: &unknown, Limit: 20})
		if banksia.ErrorCode(err) != banksia.CodeValidation {
			t.Errorf("%s: %v", state, err)
		}
	}
}

// No page sorts what it reads: the order comes from the index, so the cost of a
// page does not grow with the library.
func TestListAssetsPlans(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	s := openFile(t)
	l := newTestLibrary(t, s)
	l.populate(t, r, 1, 2, 1)
	cursor := banksia.AssetID{}
	l.write(t, func(tx *Tx) error {
		err := l.add(t, tx, r)
		cursor = l.assets[0].id
		return err
	})
	naive := banksia.LocalTime{Wall: epoch.UnixMicro()}
	aware := banksia.NewLocalTime(epoch)
	for name, f := range map[string]AssetFilter{
		"none":         {},
		"album":        {AlbumID: &l.albums[0]},
		"person":       {PersonIDs: l.people[:1]},
		"people":       {PersonIDs: l.people},
		"stack":        {StackID: &l.stacks[0]},
		"media type":   {MediaType: banksia.Video},
		"in album":     {AlbumFilter: InAlbum},
		"naive bounds": {After: &naive, Before: &naive},
		"aware bounds": {After: &aware, Before: &aware},
		"box":          {Area: Box{2.3, 48.8, 2.4, 48.9}},
		"world":        {Area: Box{-180, -90, 180, 90}},
		"circle":       {Area: Circle{2.35, 48.85, 5000}},
	} {
		for _, state := range []State{Live, All} {
			f.LibraryID, f.State, f.StartingAfter, f.Limit = l.id, state, &cursor, 20
			plan := l.plan(t, f)
			// The one sort allowed is the outer one, of the finished page.
			if n := strings.Count(plan, "TEMP B-TREE"); n > 1 {
				t.Errorf("%s, %s: sorts %d times:\n%s", name, state, n, plan)
			}
			if strings.Contains(plan, "SCAN a\n") || strings.Contains(plan, "SCAN s\n") {
				t.Errorf("%s, %s: reads a whole table:\n%s", name, state, plan)
			}
		}
	}
}

// Ids are looked up and their few rows sorted; the library is not walked.
func TestListAssetsPlanOfIDs(t *testing.T) {
	t.Parallel()
	l := newTestLibrary(t, openFile(t))
	plan := l.plan(t, AssetFilter{LibraryID: l.id, State: All, Limit: 20, IDs: []banksia.AssetID{banksia.NewID[banksia.AssetID](epoch)}})
	if !strings.Contains(plan, "SEARCH assets USING INDEX sqlite_autoindex_assets_1 (id=?)") || strings.Contains(plan, "assets_by_time") {
		t.Errorf("walks the library:\n%s", plan)
	}
}

func (l *testLibrary) plan(t *testing.T, f AssetFilter) string {
	t.Helper()
	plan := ""
	err := l.Read(t.Context(), func(tx *Tx) error {
		text, args, err := tx.listQuery(f)
		if err != nil {
			return err
		}
		rows, err := tx.Query("EXPLAIN QUERY PLAN "+text, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				return err
			}
			plan += detail + "\n"
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}
