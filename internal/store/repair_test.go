package store

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/banksia-photos/banksia"
)

// Whatever Check can find, it finds, and Repair mends all but what nobody can know.
func TestRepair(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(41, 42))
	l := newTestLibrary(t, open(t))
	l.populate(t, r, 4, 4, 4)
	l.write(t, func(tx *Tx) error {
		for range 120 {
			if err := l.add(t, tx, r); err != nil {
				return err
			}
		}
		// Two people with embeddings, one of whom shows a face.
		for i, asset := range []int{0, 1, 2} {
			f := banksia.Face{ID: banksia.NewID[banksia.FaceID](epoch), LibraryID: l.id, AssetID: l.assets[asset].id, PersonID: &l.people[i%2], Source: "manual", CreatedAt: epoch, UpdatedAt: epoch}
			f.BoundingBox = banksia.BoundingBox{W: 10, H: 10}
			if err := tx.InsertFace(&f); err != nil {
				return err
			}
			vector := make([]float32, banksia.EmbeddingSize)
			vector[i] = 1
			if err := tx.SetFaceEmbedding(banksia.FaceEmbedding{FaceID: f.ID, Model: "m", Vector: vector}); err != nil {
				return err
			}
		}
		return nil
	})
	sound := func() []string {
		t.Helper()
		problems, err := l.Check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return problems
	}
	if problems := sound(); len(problems) > 0 {
		if mended, err := l.Repair(t.Context()); err != nil {
			t.Fatal(mended, err)
		}
		if problems := sound(); len(problems) > 0 {
			t.Fatalf("not sound before anything was broken: %q", problems)
		}
	}
	one := func(table string) string { return `(SELECT MIN(id) FROM ` + table + `)` }
	if l.dialect.lock != "" { // PostgreSQL has no minimum of byte strings
		one = func(table string) string { return `(SELECT id FROM ` + table + ` ORDER BY id LIMIT 1)` }
	}
	damages := []string{
		`UPDATE libraries SET asset_count = asset_count + 1`,
		`UPDATE libraries SET storage_used_bytes = storage_used_bytes + 1`,
		`UPDATE users SET storage_used_bytes = storage_used_bytes - 1`,
		`UPDATE albums SET asset_count = 1000`,
		`UPDATE people SET asset_count = asset_count + 5`,
		`UPDATE assets SET in_album = NOT in_album`,
		`UPDATE album_assets SET live = NOT live`,
		`UPDATE asset_people SET local_datetime = local_datetime + 1`,
		`UPDATE asset_cells SET latitude = latitude + 0.5`,
		`DELETE FROM asset_cells`,
		`UPDATE asset_months SET asset_count = asset_count + 1`,
		`DELETE FROM asset_months`,
		`UPDATE cell_totals SET latitude_sum = latitude_sum + 1, asset_count = asset_count + 1`,
		`DELETE FROM cell_totals`,
		`DELETE FROM asset_people`,
		`INSERT INTO asset_people (asset_id, person_id, live, local_datetime) SELECT a.id, p.id, a.live, a.local_datetime FROM assets a CROSS JOIN people p WHERE NOT EXISTS (SELECT 1 FROM asset_people x WHERE x.asset_id = a.id AND x.person_id = p.id)`,
		`DELETE FROM asset_metadata WHERE asset_id IN (SELECT id FROM assets ORDER BY id DESC LIMIT 3)`,
		`UPDATE assets SET current_version_id = id`,
		`UPDATE albums SET album_cover_asset_id = ` + one("libraries"),
		`UPDATE people SET thumbnail_face_id = ` + one("libraries"),
		`UPDATE people SET name_key = 'x', named = TRUE`,
		`UPDATE stacks SET primary_asset_id = ` + one("libraries"),
		`UPDATE assets SET stack_id = NULL WHERE stack_id = ` + one("stacks"),
		`UPDATE person_embeddings SET face_count = face_count + 1`,
		`DELETE FROM person_embeddings`,
		`DELETE FROM person_centroids`,
		`DELETE FROM search_documents WHERE kind = 'asset'`,
		`UPDATE search_documents SET entity_id = library_id WHERE document = (SELECT MIN(document) FROM search_documents)`,
		`DELETE FROM event_logs`,
		`UPDATE event_logs SET last_position = 1`,
		`INSERT INTO event_gaps (library_id, after_position, until_position) SELECT library_id, 1, last_position + 5 FROM event_logs`,
		`DELETE FROM events WHERE event_type LIKE '%\_created' ESCAPE '\' OR event_type LIKE '%\_added' ESCAPE '\'`,
		`UPDATE assets SET live = NOT live`,
	}
	for _, damage := range damages {
		l.write(t, func(tx *Tx) error {
			_, err := tx.Exec(damage)
			return err
		})
		if len(sound()) == 0 {
			t.Errorf("nothing is found after %s", damage)
			continue
		}
		mended, err := l.Repair(t.Context())
		if err != nil || len(mended) == 0 {
			t.Errorf("after %s: mended %q, %v", damage, mended, err)
		}
		if problems := sound(); len(problems) > 0 {
			t.Errorf("after %s: mended %q, and left %q", damage, mended, problems)
		}
	}
	// All at once.
	r.Shuffle(len(damages), func(i, j int) { damages[i], damages[j] = damages[j], damages[i] })
	l.write(t, func(tx *Tx) error {
		for _, damage := range damages {
			if strings.HasPrefix(damage, "INSERT") {
				continue
			}
			if _, err := tx.Exec(damage); err != nil {
				return err
			}
		}
		return nil
	})
	if _, err := l.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	if problems := sound(); len(problems) > 0 {
		t.Errorf("after all damages: %q", problems)
	}
	// What cannot be known is left, and said.
	l.write(t, func(tx *Tx) error {
		_, err := tx.Exec(`DELETE FROM asset_versions WHERE asset_id IN (SELECT id FROM assets ORDER BY id LIMIT 1)`)
		return err
	})
	if _, err := l.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	if problems := sound(); !slices.Contains(problems, "not for 1: an asset has one original") {
		t.Errorf("an asset without a file: %q", problems)
	}
}
