package api_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/banksiatest"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/store"
)

// person_ is person where a variable has that name.
type person_ = person

// behaviour 12.1 to 12.4: faces drawn, read, assigned and deleted, and what follows.
func TestFaces(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	photos := s.AddAssets(t, 3, func(i int, a *banksia.Asset, _ *banksia.Metadata) {
		if i == 2 {
			a.Version.Width, a.Version.Height = 0, 0
		}
	})
	photo, other, unmeasured := photos[0].ID.String(), photos[1].ID.String(), photos[2].ID.String()
	ada, bea := newPerson(t, s, "Ada").ID, newPerson(t, s, "Bea").ID
	_, cursor := eventsAfter(t, s, "")
	whole := newFace(t, s, photo, ada, banksia.BoundingBox{X: 0, Y: 0, W: 4000, H: 3000})
	if whole.Source != "manual" || whole.Confidence != nil || whole.TimestampMS != nil || *whole.PersonID != ada || whole.BoundingBox.W != 4000 || whole.ClusterAssignment != nil {
		t.Errorf("%+v", whole)
	}
	lines, cursor := eventsAfter(t, s, cursor)
	if got := strings.Join(lines, "\n"); got != "face_created "+whole.ID+"\nperson_updated "+ada+"\nasset_updated "+photo {
		t.Errorf("drawing a face emits\n%s", got)
	}
	for _, box := range []bodyOf{
		{"x": 0, "y": 0, "w": 4001, "h": 10}, {"x": 1, "y": 0, "w": 4000, "h": 10}, {"x": 0, "y": 1, "w": 10, "h": 3000}, {"x": -1, "y": 0, "w": 10, "h": 10}, {"x": 0, "y": -1, "w": 10, "h": 10},
		{"x": 0, "y": 0, "w": 0, "h": 10}, {"x": 0, "y": 0, "w": 10, "h": 0}, {"x": math.MaxInt64, "y": 0, "w": math.MaxInt64, "h": 10}, {"x": 1.5, "y": 0, "w": 10, "h": 10},
		{"x": "1", "y": 0, "w": 10, "h": 10}, {"x": 0, "y": 0, "w": 10}, {}, {"x": nil, "y": 0, "w": 10, "h": 10},
	} {
		want(t, s, 422, "POST", "/api/faces", bodyOf{"asset_id": photo, "bounding_box": box})
	}
	want(t, s, 422, "POST", "/api/faces", bodyOf{"asset_id": unmeasured, "bounding_box": small})
	want(t, s, 422, "POST", "/api/faces", bodyOf{"asset_id": photo})
	want(t, s, 422, "POST", "/api/faces", bodyOf{"bounding_box": small})
	want(t, s, 422, "POST", "/api/faces", bodyOf{"asset_id": ada, "bounding_box": small})
	want(t, s, 422, "POST", "/api/faces", bodyOf{"asset_id": photo, "bounding_box": small, "person_id": photo})
	want(t, s, 422, "POST", "/api/faces", bodyOf{"asset_id": photo, "bounding_box": small, "library_id": "x"})
	want(t, s, 404, "POST", "/api/faces", bodyOf{"asset_id": unknownID[banksia.AssetID](), "bounding_box": small})
	want(t, s, 404, "POST", "/api/faces", bodyOf{"asset_id": photo, "bounding_box": small, "person_id": unknownID[banksia.PersonID]()})
	second := newFace(t, s, photo, "", small)
	third := newFace(t, s, other, ada, small)
	count := func(person string, expected int) {
		t.Helper()
		if got := get[person_](t, s, 200, "GET", "/api/people/"+person, nil); got.AssetCount != expected {
			t.Errorf("the person has %d assets, not %d", got.AssetCount, expected)
		}
	}
	count(ada, 2)
	_, cursor = eventsAfter(t, s, cursor)
	patched := get[face](t, s, 200, "PATCH", "/api/faces/"+second.ID+"?library_id="+s.Library.String(), bodyOf{"person_id": ada})
	if *patched.PersonID != ada {
		t.Errorf("%+v", patched)
	}
	count(ada, 2) // distinct assets (behaviour 11.3)
	lines, cursor = eventsAfter(t, s, cursor)
	if got := strings.Join(lines, "\n"); got != "face_updated "+second.ID+` {"person_id":"`+ada+`"}`+"\nperson_updated "+ada+"\nasset_updated "+photo {
		t.Errorf("assigning emits\n%s", got)
	}
	get[face](t, s, 200, "PATCH", "/api/faces/"+second.ID, bodyOf{"person_id": ada})
	get[face](t, s, 200, "PATCH", "/api/faces/"+second.ID, bodyOf{"bounding_box": small}) // nothing else changes
	if lines, _ := eventsAfter(t, s, cursor); len(lines) != 0 {
		t.Errorf("changing nothing emits %v", lines)
	}
	get[face](t, s, 200, "PATCH", "/api/faces/"+whole.ID, bodyOf{"person_id": bea})
	count(ada, 2)
	count(bea, 1)
	if detached := get[face](t, s, 200, "PATCH", "/api/faces/"+second.ID, bodyOf{"person_id": nil}); detached.PersonID != nil {
		t.Errorf("%+v", detached)
	}
	count(ada, 1)
	want(t, s, 404, "PATCH", "/api/faces/"+second.ID, bodyOf{"person_id": unknownID[banksia.PersonID]()})
	want(t, s, 422, "PATCH", "/api/faces/"+second.ID, bodyOf{"person_id": "x"})
	want(t, s, 422, "PATCH", "/api/faces/"+second.ID, bodyOf{"person_id": 5})
	for _, id := range []string{unknownID[banksia.FaceID]()} {
		want(t, s, 404, "GET", "/api/faces/"+id, nil)
		want(t, s, 404, "PATCH", "/api/faces/"+id, bodyOf{"person_id": nil})
		want(t, s, 404, "PATCH", "/api/faces/"+id, bodyOf{})
		want(t, s, 404, "DELETE", "/api/faces/"+id, nil)
		want(t, s, 404, "GET", "/api/faces/"+id+"/thumbnail", nil)
	}
	show := func(query string) (found []string) {
		t.Helper()
		names := map[string]string{whole.ID: "whole", second.ID: "second", third.ID: "third"}
		for _, f := range get[listOf[face]](t, s, 200, "GET", "/api/faces?"+query, nil).Data {
			found = append(found, names[f.ID])
		}
		return found
	}
	for query, expected := range map[string]string{
		"":                  "third second whole",
		"asset_id=" + photo: "second whole",
		"person_id=" + ada:  "third",
		"person_id=" + bea + "&asset_id=" + photo:                                           "whole",
		"person_id=" + ada + "&asset_id=" + photo:                                           "",
		"ids=" + third.ID + "," + whole.ID:                                                  "third whole",
		"ids=" + third.ID + "&ids=" + whole.ID + "&asset_id=" + photo + "&person_id=" + bea: "whole",
		"ids=" + unknownID[banksia.FaceID]():                                                "",
		"limit=1":                                                                           "third",
		"limit=1&starting_after_id=" + third.ID:                                             "second",
		"starting_after_id=" + second.ID + "&asset_id=" + photo + "&library_id=" + s.Library.String(): "whole",
		"person_id=" + unknownID[banksia.PersonID]():                                                  "",
		"asset_id=" + unknownID[banksia.AssetID]():                                                    "",
	} {
		if got := strings.Join(show(query), " "); got != expected {
			t.Errorf("%s shows %s, not %s", query, got, expected)
		}
	}
	for _, query := range []string{"limit=0", "limit=201", "ids=x", "include=cluster_metrics", "person_id=x", "asset_id=x", "starting_after_id=" + unknownID[banksia.FaceID]()} {
		want(t, s, 422, "GET", "/api/faces?"+query, nil)
	}
	want(t, s, 422, "GET", "/api/faces/"+third.ID+"?include=x", nil)
	// behaviour 21.16: the faces of trashed assets are there, but do not count.
	want(t, s, 200, "POST", "/api/assets/trash", bodyOf{"ids": []string{photo}})
	count(bea, 0)
	if got := strings.Join(show(""), " "); got != "third second whole" {
		t.Errorf("with a trashed asset: %s", got)
	}
	reader := s.NewKey(t, []banksia.Action{banksia.Read}, nil)
	for target, method := range map[string]string{"/api/faces": "POST", "/api/faces/" + second.ID: "PATCH", "/api/faces/" + second.ID + "?": "DELETE"} {
		if got := s.CallAs(t, reader, method, target, bodyOf{}); got.Status != 403 {
			t.Errorf("%s %s with a key for reading: %d", method, target, got.Status)
		}
	}
	_, cursor = eventsAfter(t, s, cursor)
	if answer := want(t, s, 200, "DELETE", "/api/faces/"+whole.ID, nil); strings.TrimSpace(string(answer.Body)) != "{}" {
		t.Errorf("%s", answer.Body)
	}
	lines, _ = eventsAfter(t, s, cursor)
	if got := strings.Join(lines, "\n"); got != "face_deleted "+whole.ID+"\nperson_updated "+bea+"\nasset_updated "+photo {
		t.Errorf("deleting a face emits\n%s", got)
	}
	want(t, s, 404, "GET", "/api/faces/"+whole.ID, nil)
	want(t, s, 200, "GET", "/api/people/"+bea, nil) // the person stays
}

// behaviour 11.5 to 11.7, 21.15: merging and deleting.
func TestMergeAndDeletePeople(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	photos := s.AddAssets(t, 3, func(int, *banksia.Asset, *banksia.Metadata) {})
	id := func(n int) string { return photos[n].ID.String() }
	ada, bea, cleo := newPerson(t, s, "Ada"), newPerson(t, s, "Bea"), newPerson(t, s, nil)
	a0, b0 := newFace(t, s, id(0), ada.ID, small), newFace(t, s, id(0), bea.ID, small)
	b1, c2 := newFace(t, s, id(1), bea.ID, banksia.BoundingBox{X: 1, Y: 1, W: 500, H: 500}), newFace(t, s, id(2), cleo.ID, small)
	want(t, s, 200, "POST", "/api/assets/trash", bodyOf{"ids": []string{id(2)}})
	merge := "/api/people/" + ada.ID + "/merge"
	want(t, s, 422, "POST", merge, bodyOf{"source_person_ids": []string{}})
	want(t, s, 422, "POST", merge, bodyOf{})
	want(t, s, 422, "POST", merge, bodyOf{"source_person_ids": []string{bea.ID, ada.ID}})
	want(t, s, 422, "POST", merge, bodyOf{"source_person_ids": []string{"x"}})
	want(t, s, 422, "POST", merge, bodyOf{"source_person_ids": make([]string, 201)})
	want(t, s, 404, "POST", merge, bodyOf{"source_person_ids": []string{bea.ID, unknownID[banksia.PersonID]()}})
	get[person](t, s, 200, "GET", "/api/people/"+bea.ID, nil) // nothing of it happened
	_, cursor := eventsAfter(t, s, "")
	merged := get[person](t, s, 200, "POST", merge, bodyOf{"source_person_ids": []string{bea.ID, cleo.ID, bea.ID}})
	if merged.ID != ada.ID || *merged.Name != "Ada" || merged.AssetCount != 2 || *merged.ThumbnailFaceID != b1.ID {
		t.Errorf("%+v", merged)
	}
	lines, _ := eventsAfter(t, s, cursor)
	slices.Sort(lines)
	to := ` {"person_id":"` + ada.ID + `"}`
	expected := []string{"face_updated " + b0.ID + to, "face_updated " + b1.ID + to, "face_updated " + c2.ID + to, "person_deleted " + bea.ID, "person_deleted " + cleo.ID, "person_updated " + ada.ID,
		"asset_updated " + id(0), "asset_updated " + id(1), "asset_updated " + id(2)}
	slices.Sort(expected)
	if !slices.Equal(lines, expected) {
		t.Errorf("merging emits %s", strings.Join(lines, "\n"))
	}
	want(t, s, 404, "GET", "/api/people/"+bea.ID, nil)
	for _, f := range []face{a0, b0, b1, c2} {
		if got := get[face](t, s, 200, "GET", "/api/faces/"+f.ID, nil); *got.PersonID != ada.ID {
			t.Errorf("%+v", got)
		}
	}
	want(t, s, 200, "POST", "/api/assets/restore", bodyOf{"ids": []string{id(2)}})
	if got := get[person](t, s, 200, "GET", "/api/people/"+ada.ID, nil); got.AssetCount != 3 {
		t.Errorf("after the restore: %+v", got)
	}
	if got := list(t, s, "person_ids", ada.ID); len(got.Data) != 3 {
		t.Errorf("the person is in %v", ids(got))
	}

	// 204 when nobody has a name or a face (behaviour 2.6, 11.6).
	x, y, z := newPerson(t, s, nil).ID, newPerson(t, s, nil).ID, newPerson(t, s, "Zoe").ID
	if answer := want(t, s, 204, "POST", "/api/people/"+x+"/merge", bodyOf{"source_person_ids": []string{y}}); len(answer.Body) != 0 {
		t.Errorf("%s", answer.Body)
	}
	want(t, s, 404, "GET", "/api/people/"+x, nil)
	want(t, s, 404, "GET", "/api/people/"+y, nil)
	x = newPerson(t, s, nil).ID
	get[person](t, s, 200, "POST", "/api/people/"+x+"/merge", bodyOf{"source_person_ids": []string{z}}) // one had a name

	_, cursor = eventsAfter(t, s, cursor)
	_, cursor = eventsAfter(t, s, cursor)
	want(t, s, 200, "DELETE", "/api/people/"+ada.ID, nil)
	lines, _ = eventsAfter(t, s, cursor)
	if n := strings.Count(strings.Join(lines, "\n"), `{"person_id":null}`); n != 4 || lines[len(lines)-1] != "person_deleted "+ada.ID {
		t.Errorf("deleting emits %s", strings.Join(lines, "\n"))
	}
	if got := get[face](t, s, 200, "GET", "/api/faces/"+a0.ID, nil); got.PersonID != nil {
		t.Errorf("%+v", got)
	}
	if got := list(t, s, "person_ids", ada.ID); len(got.Data) != 0 {
		t.Errorf("nobody is in %v", ids(got))
	}

	// behaviour 21.15: a group of faces without a name goes with its last face,
	// a named one and one that a user made stay.
	group := banksia.Person{ID: banksia.NewID[banksia.PersonID](s.Store.Now()), LibraryID: s.Library, CreatedAt: s.Store.Now(), UpdatedAt: s.Store.Now()}
	if err := s.Store.Change(t.Context(), s.Owner.ID, func(tx *store.Tx) error { return tx.InsertPerson(&group) }); err != nil {
		t.Fatal(err)
	}
	get[face](t, s, 200, "PATCH", "/api/faces/"+a0.ID, bodyOf{"person_id": group.ID.String()})
	get[face](t, s, 200, "PATCH", "/api/faces/"+b0.ID, bodyOf{"person_id": group.ID.String()})
	get[face](t, s, 200, "PATCH", "/api/faces/"+a0.ID, bodyOf{"person_id": nil})
	get[person](t, s, 200, "GET", "/api/people/"+group.ID.String(), nil)
	want(t, s, 200, "DELETE", "/api/faces/"+b0.ID, nil)
	want(t, s, 404, "GET", "/api/people/"+group.ID.String(), nil)
}

// behaviour 11.3, 11.8: which face shows a person.
func TestThumbnailsOfPeople(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	photos := s.AddAssets(t, 3, func(int, *banksia.Asset, *banksia.Metadata) {})
	ada, bea := newPerson(t, s, "Ada").ID, newPerson(t, s, "Bea").ID
	box := func(edge int) banksia.BoundingBox { return banksia.BoundingBox{W: edge, H: edge} }
	little, large, loose := newFace(t, s, photos[0].ID.String(), ada, box(50)), newFace(t, s, photos[1].ID.String(), ada, box(500)), newFace(t, s, photos[2].ID.String(), "", box(10))
	shows := func(person, face string) {
		t.Helper()
		p := get[person_](t, s, 200, "GET", "/api/people/"+person, nil)
		switch {
		case face == "" && (p.ThumbnailFaceID != nil || p.AssetURLs != nil):
			t.Errorf("%+v", p)
		case face != "" && (p.ThumbnailFaceID == nil || *p.ThumbnailFaceID != face || !strings.Contains(p.AssetURLs["thumbnail"].URL, face)):
			t.Errorf("%+v, not %s", p, face)
		}
	}
	shows(bea, "")
	shows(ada, large.ID)
	want(t, s, 200, "POST", "/api/assets/trash", bodyOf{"ids": []string{photos[1].ID.String()}})
	shows(ada, little.ID)
	want(t, s, 200, "POST", "/api/assets/restore", bodyOf{"ids": []string{photos[1].ID.String()}})
	shows(ada, large.ID)
	for _, person := range []string{ada, bea} {
		get[person_](t, s, 200, "PATCH", "/api/people/"+person, bodyOf{"thumbnail_face_id": loose.ID})
		shows(person, loose.ID)
	}
	// An asset's people and faces show the same.
	full := get[struct {
		Faces  []face
		People []person
	}](t, s, 200, "GET", "/api/assets/"+photos[0].ID.String()+"?include=people,faces", nil)
	if len(full.People) != 1 || *full.People[0].ThumbnailFaceID != loose.ID || len(full.Faces) != 1 || full.Faces[0].AssetURLs["thumbnail"].URL == "" || full.People[0].AssetURLs["thumbnail"].URL == "" {
		t.Errorf("%+v", full)
	}
	_, cursor := eventsAfter(t, s, "")
	want(t, s, 200, "DELETE", "/api/assets/"+photos[2].ID.String(), nil)
	shows(ada, large.ID)
	shows(bea, "")
	lines, _ := eventsAfter(t, s, cursor)
	for _, line := range []string{"face_deleted " + loose.ID, "person_updated " + ada, "person_updated " + bea} {
		if !slices.Contains(lines, line) {
			t.Errorf("the purge does not emit %s: %v", line, lines)
		}
	}
	get[person_](t, s, 200, "PATCH", "/api/people/"+ada, bodyOf{"thumbnail_face_id": little.ID})
	want(t, s, 200, "DELETE", "/api/faces/"+little.ID, nil)
	shows(ada, large.ID)
	want(t, s, 200, "DELETE", "/api/faces/"+large.ID, nil)
	shows(ada, "")
}

// portrait is a photo of four colours, a quarter each: red and green above blue and
// white.
func portrait(t testing.TB, width, height int) []byte {
	t.Helper()
	picture := image.NewRGBA(image.Rect(0, 0, width, height))
	colours := []color.RGBA{{255, 0, 0, 255}, {0, 255, 0, 255}, {0, 0, 255, 255}, {255, 255, 255, 255}}
	for y := range height {
		for x := range width {
			picture.Set(x, y, colours[2*(2*y/height)+2*x/width])
		}
	}
	var buffer bytes.Buffer
	if err := jpeg.Encode(&buffer, picture, nil); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

// turned adds an EXIF segment with an orientation to a JPEG.
func turned(content []byte, orientation byte) []byte {
	exif := append([]byte("Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00"), orientation, 0, 0, 0, 0, 0, 0)
	segment := append([]byte{0xff, 0xe1, byte((len(exif) + 2) >> 8), byte(len(exif) + 2)}, exif...)
	return slices.Concat(content[:2], segment, content[2:])
}

// behaviour 12.7: the crop of a face is a square around it, fetched without a
// credential, drawn again when it is missing, and gone with the face or the asset.
func TestFaceCrops(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	for _, c := range []struct {
		name        string
		orientation byte
		box         banksia.BoundingBox
		edge        int
		colour      color.RGBA // in the middle
	}{
		{"flat.jpg", 1, banksia.BoundingBox{X: 100, Y: 100, W: 100, H: 80}, 150, color.RGBA{255, 0, 0, 255}},
		{"corner.jpg", 1, banksia.BoundingBox{X: 1950, Y: 950, W: 50, H: 50}, 75, color.RGBA{255, 255, 255, 255}},
		{"large.jpg", 1, banksia.BoundingBox{X: 1100, Y: 50, W: 400, H: 400}, 256, color.RGBA{0, 255, 0, 255}},
		{"wide.jpg", 1, banksia.BoundingBox{X: 0, Y: 500, W: 2000, H: 100}, 256, color.RGBA{}},
		// Turned by a quarter to the right: blue and red above white and green.
		{"turned.jpg", 6, banksia.BoundingBox{X: 50, Y: 100, W: 300, H: 300}, 256, color.RGBA{0, 0, 255, 255}},
	} {
		a := upload(t, s, c.name, append(turned(portrait(t, 2000, 1000), c.orientation), c.name...)) // each another file
		s.Finished(t)
		f := newFace(t, s, a.ID, "", c.box)
		v := f.AssetURLs["thumbnail"]
		fetch := func() banksiatest.Answer {
			t.Helper()
			answer := s.CallAs(t, "", "GET", v.URL, nil)
			if answer.Status != 200 || answer.Header.Get("Content-Type") != v.MIMEType || answer.Header.Get("ETag") == "" || !strings.Contains(answer.Header.Get("Cache-Control"), "immutable") || answer.Header.Get("Cross-Origin-Resource-Policy") != "cross-origin" {
				t.Fatalf("%s: %d %v %.200s", c.name, answer.Status, answer.Header, answer.Body)
			}
			return answer
		}
		first := fetch()
		crop, err := jpeg.Decode(bytes.NewReader(first.Body))
		if err != nil {
			t.Fatal(err)
		}
		if size := crop.Bounds().Size(); size.X != c.edge || size.Y != c.edge || v.Width == nil || *v.Width != c.edge {
			t.Errorf("%s: the crop has %v, announced %d, not %d", c.name, size, *v.Width, c.edge)
		}
		r, g, b, _ := crop.At(c.edge/2, c.edge/2).RGBA()
		near := func(got uint32, want uint8) bool { return math.Abs(float64(got>>8)-float64(want)) < 30 }
		if c.colour.A != 0 && !(near(r, c.colour.R) && near(g, c.colour.G) && near(b, c.colour.B)) {
			t.Errorf("%s: the middle is %d %d %d, not %v", c.name, r>>8, g>>8, b>>8, c.colour)
		}
		version := mustID[banksia.VersionID](t, strings.Split(v.URL, "/")[4])
		key := blob.Derived(version, banksia.FaceVariant(mustID[banksia.FaceID](t, f.ID)))
		if err := s.Blobs.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		// Without the preview, the original is drawn from.
		if err := s.Blobs.Delete(t.Context(), blob.Derived(version, banksia.VariantPreview)); err != nil {
			t.Fatal(err)
		}
		if again, err := jpeg.Decode(bytes.NewReader(fetch().Body)); err != nil || again.Bounds() != crop.Bounds() {
			t.Errorf("%s: drawn again: %v, %v", c.name, again.Bounds(), err)
		}
		older := want(t, s, 200, "GET", strings.TrimPrefix(*f.OlderURL, s.URL)+"?library_id="+s.Library.String(), nil)
		if older.Header.Get("Content-Type") != v.MIMEType || !bytes.Equal(older.Body, fetch().Body) {
			t.Errorf("%s: the older route: %v", c.name, older.Header)
		}
		if got := s.CallAs(t, "", "GET", *f.OlderURL, nil); got.Status != 401 {
			t.Errorf("the older route without a credential: %d", got.Status)
		}
		for _, wrong := range []string{strings.Replace(v.URL, "signature=", "signature=A", 1), strings.Replace(v.URL, f.ID, unknownID[banksia.FaceID](), 1), strings.Replace(v.URL, "expires=", "expires=1", 1)} {
			if got := s.CallAs(t, "", "GET", wrong, nil); got.Status != 403 {
				t.Errorf("%s: %d", wrong, got.Status)
			}
		}
		if c.name == "flat.jpg" {
			want(t, s, 200, "DELETE", "/api/faces/"+f.ID, nil)
		} else {
			want(t, s, 200, "DELETE", "/api/assets/"+a.ID, nil)
			s.Finished(t)
		}
		if got := s.CallAs(t, "", "GET", v.URL, nil); got.Status != 404 {
			t.Errorf("%s: a face that is gone: %d", c.name, got.Status)
		}
		if _, err := s.Blobs.Stat(t.Context(), key); err == nil {
			t.Errorf("%s: the crop is still there", c.name)
		}
	}
}

// axis is a vector in the plane of two axes at an angle from the first.
func axis(angle float64) []float32 {
	v := make([]float32, banksia.EmbeddingSize)
	v[7], v[500] = float32(3*math.Cos(angle)), float32(3*math.Sin(angle)) // of any length
	return v
}

func embed(t testing.TB, s *banksiatest.Server, model string, vectors map[string][]float32) {
	t.Helper()
	var all []banksia.FaceEmbedding
	for id, v := range vectors {
		all = append(all, banksia.FaceEmbedding{FaceID: mustID[banksia.FaceID](t, id), Model: model, Vector: v})
	}
	if err := s.Catalog.SetFaceEmbeddings(t.Context(), s.Owner.ID, all); err != nil {
		t.Fatal(err)
	}
}

// behaviour 11.4, 12.5, 12.6, and what the face-cleanup demo of section 20 calls.
func TestClusters(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	photo := s.AddAsset(t, plain).ID.String()
	ada, group, far := newPerson(t, s, "Ada").ID, newPerson(t, s, nil).ID, newPerson(t, s, "Far").ID
	draw := func(person string) string { return newFace(t, s, photo, person, small).ID }
	a1, a2, g1, f1, loose, bare := draw(ada), draw(ada), draw(group), draw(far), draw(""), draw(ada)
	embed(t, s, "m", map[string][]float32{a1: axis(0), a2: axis(0.4), g1: axis(0.9), f1: axis(3), loose: axis(0.1)})
	assignment := func(id string) *struct {
		DistanceToPerson *float64 `json:"distance_to_person"`
		Candidates       []struct {
			PersonID string  `json:"person_id"`
			Name     *string `json:"name"`
			Distance float64 `json:"distance"`
		} `json:"candidates"`
	} {
		t.Helper()
		one := get[face](t, s, 200, "GET", "/api/faces/"+id+"?include=cluster_assignment&library_id="+s.Library.String(), nil).ClusterAssignment
		listed := get[listOf[face]](t, s, 200, "GET", "/api/faces?limit=1&include=cluster_assignment&ids="+id, nil).Data[0].ClusterAssignment
		if jsonText(one) != jsonText(listed) {
			t.Errorf("%s alone, %s in the list", jsonText(one), jsonText(listed))
		}
		return one
	}
	near := func(got, want float64) bool { return math.Abs(got-want) < 1e-5 }
	// Ada's centroid lies at 0.2, the group's at 0.9.
	if a := assignment(a1); a.DistanceToPerson == nil || !near(*a.DistanceToPerson, 1-math.Cos(0.2)) || len(a.Candidates) != 1 || a.Candidates[0].PersonID != group || a.Candidates[0].Name != nil ||
		!near(a.Candidates[0].Distance, 1-math.Cos(0.9)) {
		t.Errorf("%s", jsonText(a))
	}
	if a := assignment(loose); a.DistanceToPerson != nil || len(a.Candidates) != 2 || a.Candidates[0].PersonID != ada || *a.Candidates[0].Name != "Ada" || !near(a.Candidates[0].Distance, 1-math.Cos(0.1)) {
		t.Errorf("%s", jsonText(a))
	}
	if a := assignment(f1); a.DistanceToPerson == nil || !near(*a.DistanceToPerson, 0) || len(a.Candidates) != 0 {
		t.Errorf("%s", jsonText(a))
	}
	if a := assignment(bare); a == nil || a.DistanceToPerson != nil || a.Candidates == nil || len(a.Candidates) != 0 {
		t.Errorf("a face without embedding: %s", jsonText(a))
	}
	if f := get[face](t, s, 200, "GET", "/api/faces/"+a1, nil); f.ClusterAssignment != nil {
		t.Error("the assignment is there unasked")
	}
	metrics := func(id string) person {
		t.Helper()
		one := get[person](t, s, 200, "GET", "/api/people/"+id+"?include=cluster_metrics", nil)
		listed := get[listOf[person]](t, s, 200, "GET", "/api/people?name_filter=all&include=cluster_metrics&limit=200&ids="+id, nil).Data[0]
		if jsonText(one.ClusterMetrics) != jsonText(listed.ClusterMetrics) {
			t.Errorf("%s alone, %s in the list", jsonText(one), jsonText(listed))
		}
		return one
	}
	if m := metrics(ada).ClusterMetrics; m == nil || m.FaceCount != 3 || !near(m.PairwiseMean, 1-math.Cos(0.4)) || !near(m.PairwiseP90, 1-math.Cos(0.4)) {
		t.Errorf("%s", jsonText(m))
	}
	if m := metrics(group).ClusterMetrics; m == nil || m.FaceCount != 1 || m.PairwiseMean != 0 || m.PairwiseP90 != 0 {
		t.Errorf("%s", jsonText(m))
	}
	// The centroid follows faces that come and go.
	get[face](t, s, 200, "PATCH", "/api/faces/"+a2, bodyOf{"person_id": group})
	if a := assignment(a1); !near(*a.DistanceToPerson, 0) || !near(a.Candidates[0].Distance, 1-math.Cos(0.65)) {
		t.Errorf("%s", jsonText(a))
	}
	get[person](t, s, 200, "POST", "/api/people/"+ada+"/merge", bodyOf{"source_person_ids": []string{group}})
	if a := assignment(loose); len(a.Candidates) != 1 || !near(a.Candidates[0].Distance, 1-math.Cos(mean(0, 0.4, 0.9)-0.1)) {
		t.Errorf("%s", jsonText(a))
	}
	embed(t, s, "m", map[string][]float32{f1: axis(0.2)}) // found again
	if a := assignment(loose); len(a.Candidates) != 2 || a.Candidates[0].PersonID != far {
		t.Errorf("%s", jsonText(a))
	}
	embed(t, s, "another", map[string][]float32{f1: axis(0.1)}) // not comparable
	if a := assignment(loose); len(a.Candidates) != 1 || metrics(far).ClusterMetrics == nil {
		t.Errorf("%s", jsonText(a))
	}
	for _, id := range []string{a1, a2, g1} {
		want(t, s, 200, "DELETE", "/api/faces/"+id, nil)
	}
	if metrics(ada).ClusterMetrics != nil || len(assignment(loose).Candidates) != 0 {
		t.Error("a centroid without faces")
	}
	for _, v := range [][]float32{nil, make([]float32, 511), make([]float32, 512), append(axis(0)[:511], float32(math.NaN()))} {
		if s.Catalog.SetFaceEmbeddings(context.Background(), s.Owner.ID, []banksia.FaceEmbedding{{FaceID: mustID[banksia.FaceID](t, loose), Model: "m", Vector: v}}) == nil {
			t.Errorf("an embedding of %d values was taken", len(v))
		}
	}
	if err := s.Catalog.SetFaceEmbeddings(context.Background(), s.Owner.ID, []banksia.FaceEmbedding{{FaceID: mustID[banksia.FaceID](t, a1), Model: "m", Vector: axis(0)}}); banksia.ErrorCode(err) != banksia.CodeNotFound {
		t.Errorf("a face that is gone: %v", err)
	}
}

// mean is the direction of the sum of unit vectors at angles.
func mean(angles ...float64) float64 {
	var x, y float64
	for _, a := range angles {
		x, y = x+math.Cos(a), y+math.Sin(a)
	}
	return math.Atan2(y, x)
}

// Many writers at once leave counts, links, centroids and thumbnails as they are
// when computed anew; the server's check compares them at the end.
func TestFacesUnderConcurrentChange(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	photos := s.AddAssets(t, 12, func(int, *banksia.Asset, *banksia.Metadata) {})
	for range 6 {
		newPerson(t, s, nil)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var wait sync.WaitGroup
	for n := range 4 {
		wait.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(n)))
			one := func(target string) string {
				p := get[listOf[struct{ ID string }]](t, s, 200, "GET", target, nil)
				if len(p.Data) == 0 {
					return unknownID[banksia.PersonID]()
				}
				return p.Data[r.IntN(len(p.Data))].ID
			}
			person := func() string { return one("/api/people?name_filter=all&limit=200") }
			face := func() string { return one("/api/faces?limit=200") }
			send := func(method, target string, body any) {
				if answer := s.Call(t, method, target, body); answer.Status >= 300 && answer.Status != 404 && answer.Status != 422 && answer.Status != 409 {
					t.Errorf("%s %s: %d: %s", method, target, answer.Status, answer.Body)
				}
			}
			for range 90 {
				photo := photos[r.IntN(len(photos))].ID.String()
				switch r.IntN(12) {
				case 0, 1, 2:
					answer := s.Call(t, "POST", "/api/faces", bodyOf{"asset_id": photo, "bounding_box": small, "person_id": person()})
					if answer.Status == 201 {
						var f struct{ ID string }
						answer.JSON(t, &f)
						err := s.Catalog.SetFaceEmbeddings(t.Context(), s.Owner.ID, []banksia.FaceEmbedding{{FaceID: mustID[banksia.FaceID](t, f.ID), Model: fmt.Sprint(r.IntN(2)), Vector: axis(r.Float64())}})
						if err != nil && banksia.ErrorCode(err) != banksia.CodeNotFound {
							t.Error(err)
						}
					}
				case 3, 4:
					send("PATCH", "/api/faces/"+face(), bodyOf{"person_id": person()})
				case 5:
					send("PATCH", "/api/faces/"+face(), bodyOf{"person_id": nil})
				case 6:
					send("DELETE", "/api/faces/"+face(), nil)
				case 7:
					send("POST", "/api/people/"+person()+"/merge", bodyOf{"source_person_ids": []string{person()}})
				case 8:
					send("DELETE", "/api/people/"+person(), nil)
				case 9:
					send("POST", "/api/people", bodyOf{"name": "name", "thumbnail_face_id": face()})
					send("POST", "/api/people", bodyOf{})
				case 10:
					send("POST", "/api/assets/"+[]string{"trash", "restore"}[r.IntN(2)], bodyOf{"ids": []string{photo}})
				case 11:
					if r.IntN(6) == 0 {
						send("DELETE", "/api/assets/"+photo, nil)
					}
				}
			}
		})
	}
	wait.Wait()
}
