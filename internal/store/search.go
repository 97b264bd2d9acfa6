package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/search"
)

// documentKind says what a search document is of.
type documentKind string

const (
	assetDocument  documentKind = "asset"
	personDocument documentKind = "person"
	albumDocument  documentKind = "album"
)

// scope is a word of the index that only the documents of a kind and library have.
func (k documentKind) scope(library banksia.LibraryID) string {
	return string(k[0]) + hex.EncodeToString(library[:])
}

// setDocument makes an entity found by words; none: it is not found any more.
func (tx *Tx) setDocument(kind documentKind, entity [16]byte, library banksia.LibraryID, words string) error {
	fail := func(err error) error { return fmt.Errorf("search document of %s: %w", kind, err) }
	var document int64
	var before string
	err := tx.QueryRow(`SELECT document, words FROM search_documents WHERE entity_id = $1`, entity[:]).Scan(&document, &before)
	known := !errors.Is(err, sql.ErrNoRows)
	if known && err != nil {
		return fail(err)
	}
	if before == words {
		return nil
	}
	if known {
		if _, err := tx.Exec(tx.store.dialect.dropFromSearch, document); err != nil {
			return fail(err)
		}
	}
	switch {
	case words == "":
		_, err := tx.Exec(`DELETE FROM search_documents WHERE document = $1`, document)
		if err != nil {
			return fail(err)
		}
		return nil
	case known:
		_, err = tx.Exec(`UPDATE search_documents SET words = $1 WHERE document = $2`, words, document)
	default:
		err = tx.QueryRow(`INSERT INTO search_documents (kind, entity_id, library_id, words) VALUES ($1, $2, $3, $4) RETURNING document`, kind, entity[:], library, words).Scan(&document)
	}
	if err == nil {
		err = tx.addToIndex(document, kind, library, words)
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

func (tx *Tx) addToIndex(document int64, kind documentKind, library banksia.LibraryID, words string) error {
	d := &tx.store.dialect
	_, err := tx.Exec(d.addToSearch, append([]any{document}, d.searchValues(kind.scope(library), words)...)...)
	return err
}

// indexedColumns are the texts that an asset is found by, of assets a and
// asset_metadata m.
const indexedColumns = `a.library_id, a.live, a.original_file_name, m.make, m.model, m.lens_model, m.city, m.state, m.country, m.sublocation, m.place_name, m.description, a.description`

func scanIndexed(scan func(...any) error, more ...any) (library banksia.LibraryID, words string, err error) {
	var live bool
	var name string
	texts := make([]*string, 10)
	to := append(more, &library, &live, &name)
	for i := range texts {
		to = append(to, &texts[i])
	}
	if err := scan(to...); err != nil || !live {
		return library, "", err
	}
	all := []string{name}
	for _, text := range texts {
		if text != nil {
			all = append(all, *text)
		}
	}
	return library, search.Document(all...), nil
}

// indexAsset makes a live asset found by its name, camera, places and descriptions.
// Call it when one of them, or live, changed.
func (tx *Tx) indexAsset(id banksia.AssetID) error {
	library, words, err := scanIndexed(tx.QueryRow(`SELECT `+indexedColumns+` FROM assets a JOIN asset_metadata m ON m.asset_id = a.id WHERE a.id = $1`, id).Scan)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("texts of asset %s: %w", id, err)
	}
	return tx.setDocument(assetDocument, id, library, words)
}

// fillSearch indexes what was there before there was an index.
func (tx *Tx) fillSearch() error {
	type document struct {
		kind    documentKind
		entity  [16]byte
		library banksia.LibraryID
		words   string
	}
	var after []byte
	for {
		var batch []document
		err := tx.each(`SELECT a.id, `+indexedColumns+` FROM assets a JOIN asset_metadata m ON m.asset_id = a.id WHERE a.id > $1 ORDER BY a.id LIMIT 5000`, []any{bytesOrEmpty(after)}, func(rows *sql.Rows) error {
			var id banksia.AssetID
			library, words, err := scanIndexed(rows.Scan, &id)
			after = slices.Clone(id[:])
			batch = append(batch, document{assetDocument, id, library, words})
			return err
		})
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			break
		}
		for _, d := range batch {
			if err := tx.setDocument(d.kind, d.entity, d.library, d.words); err != nil {
				return err
			}
		}
	}
	var names []document
	for kind, table := range map[documentKind]string{personDocument: "people", albumDocument: "albums"} {
		err := tx.each(`SELECT id, library_id, COALESCE(name, '') FROM `+table, nil, func(rows *sql.Rows) error {
			d := document{kind: kind}
			var id []byte
			var name string
			err := rows.Scan(&id, &d.library, &name)
			copy(d.entity[:], id)
			d.words = search.Document(name)
			names = append(names, d)
			return err
		})
		if err != nil {
			return err
		}
	}
	for _, d := range names {
		if err := tx.setDocument(d.kind, d.entity, d.library, d.words); err != nil {
			return err
		}
	}
	return nil
}

func bytesOrEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Bounds of what one search looks at, so that a word of every asset costs no more
// than a rare one.
const (
	// SearchPopulation is how many assets a ranking holds (behaviour 13.3).
	SearchPopulation = 200
	// termMatches is how many of the newest documents of a term are candidates.
	termMatches = 1000
	// namedSets is how many people, and how many albums, a term may name.
	namedSets = 20
)

// candidate is an asset that matches some terms of a query.
type candidate struct {
	id      banksia.AssetID
	terms   uint32 // one bit for each term
	newness int64  // its document: later ones are newer here
	score   float64
}

// RankByText finds live assets whose name, camera, places or descriptions, or whose
// people or albums, are named by words of the query, and that meet the filter. The
// best come first: those with more of the words, and rarer ones; among equals the
// newest. At most 200 are ranked, out of the newest 1000 of each word. Words that
// occur in fewer documents weigh more, as in BM25 (Robertson and Zaragoza, "The
// Probabilistic Relevance Framework", 2009), whose other part, the length of
// documents, says nothing about captions.
func (s *Store) RankByText(ctx context.Context, scope banksia.Scope, f AssetFilter, query string) (assets []banksia.Asset, err error) {
	terms := search.Terms(query)
	if len(terms) == 0 {
		return nil, nil
	}
	err = s.Read(ctx, func(tx *Tx) error {
		if visible, err := tx.sees(scope, f.LibraryID); err != nil || !visible {
			return err
		}
		assets, err = tx.rankByText(f, terms)
		if err != nil {
			return fmt.Errorf("search: %w", err)
		}
		return nil
	})
	return assets, err
}

func (tx *Tx) rankByText(f AssetFilter, terms []search.Term) ([]banksia.Asset, error) {
	found := map[banksia.AssetID]*candidate{}
	counts := make([]int, len(terms)) // documents of each term, as far as looked at
	take := func(id banksia.AssetID) *candidate {
		if found[id] == nil {
			found[id] = &candidate{id: id}
		}
		return found[id]
	}
	read := func(c *candidate, words string) {
		for i, term := range terms {
			if term.In(words) {
				c.terms |= 1 << i
			}
		}
	}
	documents := func(kind documentKind, terms []search.Term, limit int, each func(entity []byte, document int64, words string)) error {
		matches, args, err := tx.store.dialect.matches(tx, kind.scope(f.LibraryID), terms, limit)
		if err != nil {
			return err
		}
		return tx.each(`SELECT d.entity_id, d.document, d.words FROM (`+matches+`) i JOIN search_documents d ON d.document = i.document`, args, func(rows *sql.Rows) error {
			var entity []byte
			var document int64
			var words string
			err := rows.Scan(&entity, &document, &words)
			if err == nil && len(entity) == 16 {
				each(entity, document, words)
			}
			return err
		})
	}
	if len(terms) > 1 { // all words at once, which the newest of each may not show
		err := documents(assetDocument, terms, SearchPopulation, func(entity []byte, document int64, words string) {
			c := take(banksia.AssetID(entity))
			c.newness = document
			read(c, words)
		})
		if err != nil {
			return nil, err
		}
	}
	var unread []banksia.AssetID // whose own words are not known yet
	for i, term := range terms {
		assets := func(term search.Term) error {
			counts[i] = 0
			return documents(assetDocument, []search.Term{term}, termMatches, func(entity []byte, document int64, words string) {
				counts[i]++
				c := take(banksia.AssetID(entity))
				if c.newness == 0 {
					c.newness = document
					read(c, words)
				}
			})
		}
		if err := assets(search.Term{Words: term.Words}); err != nil {
			return nil, err
		}
		// A word that is frequent as it stands is taken for finished: to look for all
		// that begin with it would read every document of it.
		if term.Prefix && counts[i] < termMatches {
			if err := assets(term); err != nil {
				return nil, err
			}
		} else {
			term.Prefix = false
		}
		for kind, members := range map[documentKind]string{
			personDocument: `SELECT asset_id FROM asset_people WHERE person_id = $1 AND live = TRUE ORDER BY local_datetime DESC, asset_id DESC LIMIT $2`,
			albumDocument:  `SELECT asset_id FROM album_assets WHERE album_id = $1 AND live = TRUE ORDER BY local_datetime DESC, asset_id DESC LIMIT $2`,
		} {
			var sets [][]byte
			if err := documents(kind, []search.Term{term}, namedSets, func(entity []byte, _ int64, _ string) { sets = append(sets, entity) }); err != nil {
				return nil, err
			}
			for _, set := range sets {
				ids, err := idsFrom[banksia.AssetID](tx, members, set, termMatches/4)
				if err != nil {
					return nil, err
				}
				for _, id := range ids {
					counts[i]++
					c := take(id)
					c.terms |= 1 << i
					if c.newness == 0 {
						unread = append(unread, id)
					}
				}
			}
		}
	}
	filtered := f.AlbumID != nil || f.AlsoInAlbums != nil || f.PersonIDs != nil || f.After != nil || f.Before != nil || f.Area != nil || f.IDs != nil || f.MediaType != "" || f.AlbumFilter != AnyAlbum || f.StackID != nil
	if filtered {
		// The newest of a word may all lie outside of a narrow filter.
		inside := f
		inside.State, inside.Limit = Live, termMatches
		assets, err := tx.listAssets(inside)
		if err != nil {
			return nil, err
		}
		for i := range assets {
			if c := take(assets[i].ID); c.newness == 0 {
				unread = append(unread, c.id)
			}
		}
	}
	err := tx.eachOf(`SELECT entity_id, document, words FROM search_documents WHERE entity_id IN (%s)`, unread, func(rows *sql.Rows) error {
		var id banksia.AssetID
		var document int64
		var words string
		if err := rows.Scan(&id, &document, &words); err != nil {
			return err
		}
		c := take(id)
		c.newness = document
		read(c, words)
		return nil
	})
	if err != nil {
		return nil, err
	}
	ranked := make([]*candidate, 0, len(found))
	for _, c := range found {
		for i, count := range counts {
			if c.terms&(1<<i) != 0 {
				c.score += math.Log(1 + termMatches/float64(max(1, count)))
			}
		}
		if c.terms != 0 {
			ranked = append(ranked, c)
		}
	}
	slices.SortFunc(ranked, func(a, b *candidate) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(b.newness, a.newness), cmp.Compare(b.id.String(), a.id.String()))
	})
	var result []banksia.Asset
	scores := map[banksia.AssetID]float64{}
	for chunk := range slices.Chunk(ranked, SearchPopulation) {
		part := f
		part.State, part.Limit, part.StartingAfter = Live, SearchPopulation, nil
		part.IDs = nil
		for _, c := range chunk {
			if f.IDs == nil || slices.Contains(f.IDs, c.id) {
				part.IDs = append(part.IDs, c.id)
				scores[c.id] = c.score
			}
		}
		if part.IDs == nil {
			continue
		}
		assets, err := tx.listAssets(part)
		if err != nil {
			return nil, err
		}
		if result = append(result, assets...); len(result) >= SearchPopulation {
			break
		}
	}
	slices.SortStableFunc(result, func(a, b banksia.Asset) int {
		return cmp.Or(cmp.Compare(scores[b.ID], scores[a.ID]), cmp.Compare(b.LocalDateTime.Wall, a.LocalDateTime.Wall), cmp.Compare(b.ID.String(), a.ID.String()))
	})
	return result[:min(len(result), SearchPopulation)], nil
}

// RankByContent finds the live assets that hold the same bytes and meet the filter.
func (s *Store) RankByContent(ctx context.Context, scope banksia.Scope, f AssetFilter, sha256 banksia.Digest) (assets []banksia.Asset, err error) {
	err = s.Read(ctx, func(tx *Tx) error {
		if visible, err := tx.sees(scope, f.LibraryID); err != nil || !visible {
			return err
		}
		id, found, err := tx.AssetIDByChecksum(f.LibraryID, sha256)
		if err != nil || !found {
			return err
		}
		f.IDs, f.State, f.Limit = []banksia.AssetID{id}, Live, 1
		assets, err = tx.listAssets(f)
		return err
	})
	return assets, err
}
