package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"math"
	"slices"

	"github.com/banksia-photos/banksia"
)

// mendSQL runs statements.
func mendSQL(statements ...string) func(*Tx) error {
	return func(tx *Tx) error {
		for _, text := range statements {
			if _, err := tx.Exec(text); err != nil {
				return err
			}
		}
		return nil
	}
}

// mendSQLThen is mendSQL, and then more.
func mendSQLThen(then func(*Tx) error, statements ...string) func(*Tx) error {
	return func(tx *Tx) error {
		if err := mendSQL(statements...)(tx); err != nil {
			return err
		}
		return then(tx)
	}
}

// copyOrder copies the order of assets to the rows of a membership table that have
// another.
func copyOrder(table string) string {
	return `UPDATE ` + table + ` SET live = (SELECT live FROM assets WHERE id = ` + table + `.asset_id), local_datetime = (SELECT local_datetime FROM assets WHERE id = ` + table + `.asset_id)
		WHERE NOT EXISTS (SELECT 1 FROM assets a WHERE a.id = ` + table + `.asset_id AND a.live = ` + table + `.live AND a.local_datetime = ` + table + `.local_datetime)`
}

// mendPlaces makes map cells and running totals anew.
func (tx *Tx) mendPlaces() error {
	if err := mendSQL(`DELETE FROM asset_cells`, `DELETE FROM asset_months`, `DELETE FROM cell_totals`)(tx); err != nil {
		return err
	}
	after := banksia.AssetID{}
	for {
		ids, err := idsFrom[banksia.AssetID](tx, `SELECT id FROM assets WHERE id > $1 ORDER BY id LIMIT 1000`, after)
		if err != nil || len(ids) == 0 {
			return err
		}
		for _, id := range ids {
			if err := tx.placeAsset(id); err != nil {
				return err
			}
		}
		after = ids[len(ids)-1]
	}
}

// mendCentroids adds up the embeddings of faces anew.
func (tx *Tx) mendCentroids() error {
	if err := mendSQL(`DELETE FROM person_centroids`, `DELETE FROM person_embeddings`)(tx); err != nil {
		return err
	}
	type one struct {
		library banksia.LibraryID
		person  banksia.PersonID
		model   string
		packed  []byte
	}
	var after []byte
	for {
		var batch []one
		err := tx.each(`SELECT f.id, p.library_id, f.person_id, e.model, e.embedding FROM face_embeddings e JOIN faces f ON f.id = e.face_id JOIN people p ON p.id = f.person_id WHERE f.id > $1 ORDER BY f.id LIMIT 1000`,
			[]any{bytesOrEmpty(after)}, func(rows *sql.Rows) error {
				var face banksia.FaceID
				var o one
				err := rows.Scan(&face, &o.library, &o.person, &o.model, &o.packed)
				after = face[:]
				batch = append(batch, o)
				return err
			})
		if err != nil || len(batch) == 0 {
			return err
		}
		for _, o := range batch {
			sum := make([]float64, banksia.EmbeddingSize)
			for i, x := range unpackFloat32(o.packed) {
				sum[i] = float64(x)
			}
			if err := tx.addToCentroid(o.library, o.person, o.model, 1, sum); err != nil {
				return err
			}
		}
	}
}

// mendSearch removes the search documents of nothing, makes the index anew, and adds
// the documents that are missing.
func (tx *Tx) mendSearch() error {
	err := mendSQL(`DELETE FROM search_documents WHERE NOT EXISTS (SELECT 1 FROM assets WHERE id = entity_id AND live = TRUE AND library_id = search_documents.library_id)
		AND NOT EXISTS (SELECT 1 FROM people WHERE id = entity_id) AND NOT EXISTS (SELECT 1 FROM albums WHERE id = entity_id)`)(tx)
	if err == nil {
		err = tx.execScript(tx.store.dialect.schema.Replace(`DROP TABLE search_index; {{search_index}}`))
	}
	if err != nil {
		return err
	}
	for after, more := int64(math.MinInt64), true; more; {
		if after, more, err = tx.indexDocuments(after); err != nil {
			return err
		}
	}
	assets, err := idsFrom[banksia.AssetID](tx, `SELECT id FROM assets a WHERE live = TRUE AND NOT EXISTS (SELECT 1 FROM search_documents WHERE entity_id = a.id)`)
	for _, id := range assets {
		if err == nil {
			err = tx.indexAsset(id)
		}
	}
	return err
}

// anyID is an ID of whatever kind, as a value of SQL.
type anyID [16]byte

// Value implements driver.Valuer.
func (id anyID) Value() (driver.Value, error) { return id[:], nil }

// mendCreated tells of rows whose creation no event tells.
func mendCreated(table, event string) func(*Tx) error {
	columns := "r.id, r.library_id, NULL, NULL"
	if table == "album_assets" {
		columns = "r.id, r.library_id, r.album_id, r.asset_id"
	}
	return mendEvents(event, `SELECT `+columns+` FROM `+table+` r WHERE NOT EXISTS (SELECT 1 FROM events WHERE entity_id = r.id AND event_type = '`+event+`')`)
}

// mendDeleted tells of entities that are gone without an event that tells.
func mendDeleted(table, created, deleted string) func(*Tx) error {
	return mendEvents(deleted, `SELECT e.entity_id, e.library_id, NULL, NULL FROM events e WHERE event_type = '`+created+`' AND NOT EXISTS (SELECT 1 FROM `+table+` WHERE id = e.entity_id)
		AND NOT EXISTS (SELECT 1 FROM events WHERE entity_id = e.entity_id AND event_type = '`+deleted+`')`)
}

func mendEvents(event, query string) func(*Tx) error {
	return func(tx *Tx) error {
		return tx.each(query, nil, func(rows *sql.Rows) error {
			var raw []byte
			var library banksia.LibraryID
			var album sql.Null[banksia.AlbumID]
			var asset sql.Null[banksia.AssetID]
			if err := rows.Scan(&raw, &library, &album, &asset); err != nil {
				return err
			}
			if len(raw) != 16 {
				return fmt.Errorf("a stored ID has 16 bytes, not %d", len(raw))
			}
			if album.Valid {
				return tx.emit(library, banksia.EventType(event), anyID(raw), albumAssetPayload{album.V, asset.V})
			}
			return tx.emit(library, banksia.EventType(event), anyID(raw), nil)
		})
	}
}

// Repair makes what Check finds true again, as far as it follows from what is not in
// doubt: counters, copies, memberships, totals, search documents, events. It returns
// what was mended; Check tells what is left. No other change happens meanwhile.
func (s *Store) Repair(ctx context.Context) (mended []string, err error) {
	// One mend may break what another counts, so that a second round is needed.
	for range 3 {
		var round []string
		err := s.write(ctx, []int64{commonTurn}, &Tx{owned: true}, func(tx *Tx) error {
			if err := tx.closeToChanges(); err != nil {
				return fmt.Errorf("keep others from changing the database: %w", err)
			}
			broken, err := tx.brokenInvariants()
			for _, b := range broken {
				if left, err := tx.violations(b.invariant); err != nil {
					return err
				} else if left == 0 || b.mend == nil {
					continue // another mend was enough, or none is known
				}
				if err := b.mend(tx); err != nil {
					return fmt.Errorf("mend that %s: %w", b.name, err)
				}
				round = append(round, b.name)
			}
			return err
		})
		if err != nil {
			return mended, err
		}
		if len(round) == 0 {
			return mended, nil
		}
		mended = append(mended, round...)
	}
	return mended, nil
}

// brokenInvariants are those that do not hold of all rows.
func (tx *Tx) brokenInvariants() (broken []brokenInvariant, err error) {
	all := append(slices.Clone(invariants),
		invariant{"a search document is in the index", tx.store.dialect.unindexed, (*Tx).mendSearch},
		invariant{"a centroid is the mean of the embeddings", "", (*Tx).mendCentroids})
	for _, i := range all {
		n, err := tx.violations(i)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			broken = append(broken, brokenInvariant{i, n})
		}
	}
	return broken, nil
}

// violations counts the rows for which an invariant does not hold.
func (tx *Tx) violations(i invariant) (n int64, err error) {
	if i.violations == "" { // no query can tell
		n, err = tx.wrongCentroids()
	} else {
		err = tx.QueryRow(i.violations).Scan(&n)
	}
	if err != nil {
		return 0, fmt.Errorf("check that %s: %w", i.name, err)
	}
	return n, nil
}

type brokenInvariant struct {
	invariant
	rows int64
}
