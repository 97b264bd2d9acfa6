package store

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
)

// crowd is a library of people with a face each, in one photo.
type crowd struct {
	*Store
	scope   banksia.Scope
	library banksia.LibraryID
	people  []banksia.PersonID
	faces   []banksia.FaceID
}

// newCrowd makes n people, of whom one in ten has a name. Rows are written as they
// lie, without events, because a million of them would take minutes.
func newCrowd(tb testing.TB, s *Store, n int, embedded bool) *crowd {
	l := newTestLibrary(tb, s)
	c := &crowd{Store: l.Store, scope: l.scope, library: l.id}
	r := rand.New(rand.NewPCG(1, uint64(n)))
	var photo banksia.AssetID
	l.write(tb, func(tx *Tx) error {
		if err := l.add(tb, tx, r); err != nil {
			return err
		}
		photo = l.assets[0].id
		begin := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
		vector := make([]float32, banksia.EmbeddingSize)
		for i := range n {
			at := begin.Add(time.Duration(i) * time.Second)
			person, face := banksia.NewID[banksia.PersonID](at), banksia.NewID[banksia.FaceID](at)
			c.people, c.faces = append(c.people, person), append(c.faces, face)
			var name *string
			if i%10 == 0 {
				text := fmt.Sprintf("Person %d of %d", r.IntN(n), n)
				name = &text
			}
			key := nameKey(name)
			_, err := tx.Exec(`INSERT INTO people (id, library_id, name, name_key, named, is_favorite, is_hidden, asset_count, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, FALSE, FALSE, $6, $7, $7)`,
				person, c.library, name, key, key != "", r.IntN(1000), at.UnixMicro())
			if err == nil {
				_, err = tx.Exec(`INSERT INTO faces (id, library_id, asset_id, person_id, x, y, w, h, source, confidence, quality, created_at, updated_at) VALUES ($1, $2, $3, $4, 0, 0, 10, 10, 'automatic', 0.9, 90, $5, $5)`,
					face, c.library, photo, person, at.UnixMicro())
			}
			if err == nil && embedded {
				for k := range vector {
					vector[k] = float32(r.NormFloat64())
				}
				err = tx.SetFaceEmbedding(banksia.FaceEmbedding{FaceID: face, Model: "m", Vector: vector})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return c
}

// BenchmarkListPeople reads pages of 20 from the middle of libraries of several
// sizes in every order, and of faces.
func BenchmarkListPeople(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		c := newCrowd(b, open(b), n, false)
		cursor, middle := c.people[n/2], c.faces[n/2]
		for _, order := range []PersonOrder{PeopleByTimeDesc, PeopleByNameAsc, PeopleByCountDesc} {
			for _, filter := range []NameFilter{Named, AnyNamed} {
				page := PersonPage{Paging: Paging[banksia.PersonID]{StartingAfter: &cursor, Limit: 20}, LibraryID: c.library, NameFilter: filter, Order: order}
				b.Run(fmt.Sprintf("%d/%s/%s", n, order, filter), func(b *testing.B) {
					for b.Loop() {
						if people, _, err := c.ListPeople(b.Context(), c.scope, page); err != nil || len(people) != 20 {
							b.Fatal(len(people), err)
						}
					}
				})
			}
		}
		b.Run(fmt.Sprintf("%d/faces", n), func(b *testing.B) {
			page := FacePage{Paging: Paging[banksia.FaceID]{StartingAfter: &middle, Limit: 20}, LibraryID: c.library}
			for b.Loop() {
				if faces, _, err := c.ListFaces(b.Context(), c.scope, page); err != nil || len(faces) != 20 {
					b.Fatal(len(faces), err)
				}
			}
		})
		b.Run(fmt.Sprintf("%d/name", n), func(b *testing.B) {
			page := PersonPage{Paging: Paging[banksia.PersonID]{Limit: 20}, LibraryID: c.library, NameFilter: Named, Order: PeopleByTimeDesc, Name: "no such name"}
			for b.Loop() {
				if _, _, err := c.ListPeople(b.Context(), c.scope, page); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkClusterAssignments compares faces with the 10,000 people of a library.
func BenchmarkClusterAssignments(b *testing.B) {
	c := newCrowd(b, open(b), 10_000, true)
	for _, n := range []int{1, 20, 200} {
		faces := make([]banksia.Face, n)
		for i := range faces {
			faces[i] = banksia.Face{ID: c.faces[i], PersonID: &c.people[i]}
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if _, err := c.ClusterAssignments(b.Context(), c.library, faces); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Each order has its index: no page sorts or walks a library, also without the
// statistics that ANALYZE would gather (behaviour 11.1).
func TestPeoplePagesNeedNoSort(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, openFile(t), 400, false)
	for order, index := range map[PersonOrder]string{
		PeopleByTimeDesc: "people_by_time", PeopleByTimeAsc: "people_by_time", PeopleByNameAsc: "people_by_name", PeopleByNameDesc: "people_by_name",
		PeopleByCountDesc: "people_by_count", PeopleByCountAsc: "people_by_count",
	} {
		for _, filter := range []NameFilter{Named, Unnamed, AnyNamed} {
			page := PersonPage{Paging: Paging[banksia.PersonID]{StartingAfter: &c.people[201], Limit: 20}, LibraryID: c.library, NameFilter: filter, Order: order}
			err := c.Read(t.Context(), func(tx *Tx) error {
				source, args, err := tx.peopleQuery(page)
				if err != nil || source == "" {
					return err
				}
				plan := ""
				err = tx.each("EXPLAIN QUERY PLAN SELECT p.id FROM "+source, args, func(rows *sql.Rows) error {
					var id, parent, unused int
					var step string
					err := rows.Scan(&id, &parent, &unused, &step)
					plan += step + "\n"
					return err
				})
				// One sort remains: that of the two streams' few rows.
				if !strings.Contains(plan, index) || strings.Contains(plan, "SCAN r") || strings.Count(plan, "TEMP B-TREE FOR ORDER BY") > 1 || strings.Contains(plan, "RIGHT PART OF ORDER BY") {
					t.Errorf("%s of %s:\n%s", order, filter, plan)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}
