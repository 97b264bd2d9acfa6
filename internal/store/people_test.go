package store

import (
	"slices"
	"testing"

	"github.com/banksia-photos/banksia"
)

// A database from before people could be listed gets its names compared and its
// faces weighed when it is opened.
func TestOlderPeopleAreBroughtUpToDate(t *testing.T) {
	t.Parallel()
	cfg := emptyDatabase(t)
	older, err := connect(cfg)
	if err == nil {
		err = older.migrate(t.Context(), 2)
	}
	if err != nil {
		t.Fatal(err)
	}
	user, library, photo := banksia.NewID[banksia.UserID](epoch), banksia.NewID[banksia.LibraryID](epoch), banksia.NewID[banksia.AssetID](epoch)
	person := banksia.NewID[banksia.PersonID](epoch)
	err = older.Write(t.Context(), func(tx *Tx) error {
		for _, statement := range []struct {
			text string
			args []any
		}{
			{`INSERT INTO users (id, is_active, is_superuser, is_verified, created_at, updated_at) VALUES ($1, TRUE, TRUE, TRUE, 0, 0)`, []any{user}},
			{`INSERT INTO libraries (id, user_id, name, created_at, updated_at) VALUES ($1, $2, 'Test', 0, 0)`, []any{library, user}},
			{`INSERT INTO people (id, library_id, name, is_favorite, is_hidden, created_at, updated_at) VALUES ($1, $2, 'ÉMILE', FALSE, FALSE, 0, 0), ($3, $2, NULL, FALSE, FALSE, 0, 0)`,
				[]any{person, library, banksia.NewID[banksia.PersonID](epoch)}},
			{`INSERT INTO assets (id, library_id, media_type, live, in_album, local_datetime, captured_at, created_at, updated_at, original_file_name, device_asset_id, device_id, file_created_at, file_modified_at, file_size_bytes, checksum, checksum_sha1, current_version_id)
				VALUES ($1, $2, 'image', TRUE, FALSE, 0, 0, 0, 0, 'a.jpg', '', '', 0, 0, 0, $1, $1, $1)`, []any{photo, library}},
			{`INSERT INTO faces (id, library_id, asset_id, person_id, x, y, w, h, source, confidence, created_at, updated_at)
				VALUES ($1, $2, $3, $4, 0, 0, 10, 20, 'automatic', 0.5, 0, 0)`, []any{banksia.NewID[banksia.FaceID](epoch), library, photo, person}},
		} {
			if _, err := tx.Exec(statement.text, statement.args...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := older.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	scope := banksia.Scope{UserID: user, Actions: banksia.Actions}
	for _, name := range []string{"", "émi"} {
		people, _, err := s.ListPeople(t.Context(), scope, PersonPage{Paging: Paging[banksia.PersonID]{Limit: 10}, LibraryID: library, Name: name, NameFilter: Named, Order: PeopleByNameAsc})
		if err != nil || len(people) != 1 || people[0].ID != person {
			t.Errorf("%q finds %v, %v", name, people, err)
		}
	}
	err = s.Read(t.Context(), func(tx *Tx) error {
		var quality float64
		err := tx.QueryRow(`SELECT quality FROM faces`).Scan(&quality)
		if quality != 100 {
			t.Errorf("a face of 200 pixels found with 0.5 has the quality %v", quality)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// behaviour 11.4: the 90th percentile lies between the neighbours of its rank.
func TestPercentile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{nil, 0}, {[]float64{0.3}, 0.3}, {[]float64{1, 0}, 0.9}, {[]float64{10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0}, 9}, {[]float64{0, 0, 0, 1}, 0.7},
	} {
		if got := percentile(slices.Clone(c.values), 0.9); got < c.want-1e-9 || got > c.want+1e-9 {
			t.Errorf("of %v it is %v, not %v", c.values, got, c.want)
		}
	}
}

// The metrics of a person with more faces than are compared pair by pair: the mean
// is exact, the percentile near, and both the same at every call.
func TestClusterMetricsOfManyFaces(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, open(t), 300, true)
	err := c.ChangeAll(t.Context(), nil, func(tx *Tx) error {
		for _, source := range c.people[1:] {
			if err := tx.MergePerson(c.library, source, c.people[0]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var distances []float64
	sum := 0.0
	err = c.Read(t.Context(), func(tx *Tx) error {
		embeddings, err := tx.embeddingsOf(c.faces)
		for i := range c.faces {
			for k := range i {
				d := cosine(embeddings[c.faces[i]].Vector, embeddings[c.faces[k]].Vector)
				distances, sum = append(distances, d), sum+d
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	mean, p90 := sum/float64(len(distances)), percentile(distances, 0.9)
	var last banksia.ClusterMetrics
	for i := range 2 {
		all, err := c.ClusterMetrics(t.Context(), c.people[:2])
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		m := all[c.people[0]]
		if m.FaceCount != 300 || m.PairwiseMean < mean-1e-5 || m.PairwiseMean > mean+1e-5 || m.PairwiseP90 < p90-0.01 || m.PairwiseP90 > p90+0.01 || i > 0 && m != last {
			t.Errorf("%+v, not %v and %v", m, mean, p90)
		}
		last = m
	}
}
