package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api/wire"
	"github.com/banksia-photos/banksia/internal/search"
	"github.com/banksia-photos/banksia/internal/store"
)

// searchQuery is what both forms of a search ask for.
type searchQuery struct {
	filter store.AssetFilter
	albums []banksia.AlbumID // all of them must hold the asset
	text   string
	page   int // from 1
	limit  int
}

// content tells whether the assets have to be ranked by what they show or say.
func (q *searchQuery) content(image *banksia.Digest) bool { return q.text != "" || image != nil }

// criterion tells whether there is anything to search by; a place alone is not
// (behaviour 13.2).
func (q *searchQuery) criterion(image *banksia.Digest) bool {
	f := &q.filter
	return q.content(image) || f.AlbumID != nil || f.PersonIDs != nil || f.After != nil || f.Before != nil
}

// searchQuery reads the parameters of both forms, with their older names
// (history.md).
func (p *params) searchQuery() searchQuery {
	for name, older := range map[string]string{"local_datetime_after": "captured_after", "local_datetime_before": "captured_before"} {
		if p.text(older) == "" {
			continue
		}
		if p.text(name) != "" {
			p.bad(older, "is the old name of "+name+": give one of them")
		}
		p.values.Set(name, p.text(older))
	}
	q := searchQuery{text: p.text("query"), limit: p.limit(), page: p.integer("page", 1, 1, math.MaxInt32)}
	p.albums(&q.filter)
	p.people(&q.filter)
	p.bounds(&q.filter)
	p.area(&q.filter)
	q.albums = ids[banksia.AlbumID](p, "album_ids")
	if len(q.albums) > 0 {
		if q.filter.AlbumID != nil {
			q.albums = append(q.albums, *q.filter.AlbumID)
		}
		q.filter.AlbumID, q.albums = &q.albums[0], q.albums[1:]
	}
	if !validText(q.text) {
		p.bad("query", "holds characters that are not text")
	}
	if text := p.text("threshold"); text != "" { // the server ranks as it sees fit
		if value, ok := number(text); !ok || value < 0 || value > 1 {
			p.bad("threshold", "must be a number from 0 to 1")
		}
	}
	return q
}

// search is GET /api/search.
func (s *Server) search(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	p := newParams(r.URL.RawQuery)
	return s.find(w, r, scope, p, p.include(), nil)
}

// searchByImage is POST /api/search: a form, perhaps with a picture.
func (s *Server) searchByImage(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	query := newParams(r.URL.RawQuery)
	include := query.include()
	if err := query.err(); err != nil {
		return err
	}
	values, image, err := s.readSearch(r)
	if err != nil {
		return err
	}
	return s.find(w, r, scope, &params{values: values}, include, image)
}

// readSearch reads the parts of a search: texts, and the checksum of the picture.
func (s *Server) readSearch(r *http.Request) (values url.Values, image *banksia.Digest, err error) {
	values = url.Values{}
	mediaType, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && mediaType == "application/x-www-form-urlencoded" {
		if err := r.ParseForm(); err != nil {
			return nil, nil, broken(err)
		}
		return r.PostForm, nil, nil
	}
	if err != nil || mediaType != "multipart/form-data" || parameters["boundary"] == "" {
		return nil, nil, banksia.Invalid("header", "Content-Type", "must be multipart/form-data with a boundary")
	}
	reader := multipart.NewReader(bufio.NewReaderSize(r.Body, readBuffer), parameters["boundary"])
	for range 4 * maxIDs {
		part, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			return values, image, nil
		}
		if err != nil {
			return nil, nil, broken(err)
		}
		if part.FormName() != "image" {
			text, err := io.ReadAll(io.LimitReader(part, maxTextPart+1))
			if err != nil {
				return nil, nil, broken(err)
			}
			if len(text) > maxTextPart {
				return nil, nil, banksia.Invalid("body", part.FormName(), "has more than %d bytes", maxTextPart)
			}
			values.Add(part.FormName(), string(text))
			continue
		}
		content := &brokenBody{reader: part}
		in, err := s.catalog.ReceiveVersion(r.Context(), content)
		if err != nil {
			if content.err != nil {
				return nil, nil, broken(content.err)
			}
			return nil, nil, err
		}
		in.Discard()
		if in.Size > 0 { // an empty part is no picture
			sum := in.SHA256
			image = &sum
		}
	}
	return nil, nil, banksia.Invalid("body", "body", "has more than %d parts", 4*maxIDs)
}

// find answers a search: ranked when there is a text or a picture, else the newest
// first (behaviour 13.3).
func (s *Server) find(w http.ResponseWriter, r *http.Request, scope banksia.Scope, p *params, include wire.Include, image *banksia.Digest) error {
	q := p.searchQuery()
	if err := p.err(); err != nil {
		return err
	}
	if !q.criterion(image) {
		return banksia.Errorf(banksia.CodeInvalidRequest, "Say what to search for: query, image, album_id, person_ids or a time bound.")
	}
	library, ok, err := s.library(r.Context(), p, scope)
	if err != nil {
		return err
	}
	body := wire.SearchResult{Data: []wire.SearchHit{}}
	if ok {
		q.filter.LibraryID = library
		var assets []banksia.Asset
		var hits []search.Hit
		if q.content(image) {
			assets, hits, err = s.ranked(r.Context(), scope, &q, image)
		} else {
			q.filter.Offset, q.filter.Limit = (q.page-1)*q.limit, q.limit
			q.filter.AlsoInAlbums = q.albums
			assets, _, err = s.store.ListAssets(r.Context(), scope, q.filter)
		}
		if err != nil {
			return err
		}
		bodies, err := s.assets(r, assets, include)
		if err != nil {
			return err
		}
		for i := range bodies {
			hit := wire.SearchHit{Asset: bodies[i]}
			if hits != nil {
				hit.Distance = hits[i].Distance
			}
			body.Data = append(body.Data, hit)
		}
	}
	return write(w, http.StatusOK, body)
}

// ranked merges what each way of searching found and cuts out the page. A ranking
// by meaning will be one more of them.
func (s *Server) ranked(ctx context.Context, scope banksia.Scope, q *searchQuery, image *banksia.Digest) ([]banksia.Asset, []search.Hit, error) {
	filter := q.filter
	filter.AlsoInAlbums = q.albums
	known := map[banksia.AssetID]banksia.Asset{}
	var rankings [][]search.Hit
	add := func(assets []banksia.Asset, distance *float64) {
		var ranking []search.Hit
		for _, a := range assets {
			known[a.ID] = a
			ranking = append(ranking, search.Hit{AssetID: a.ID, Distance: distance})
		}
		rankings = append(rankings, ranking)
	}
	if image != nil {
		same, err := s.store.RankByContent(ctx, scope, filter, *image)
		if err != nil {
			return nil, nil, err
		}
		add(same, new(float64)) // the same bytes are at distance 0
	}
	if q.text != "" {
		assets, err := s.store.RankByText(ctx, scope, filter, q.text)
		if err != nil {
			return nil, nil, err
		}
		add(assets, nil)
	}
	fused := search.Fuse(rankings...)
	fused = fused[:min(len(fused), store.SearchPopulation)]
	begin := min((q.page-1)*q.limit, len(fused)) // behaviour 13.3: later pages are empty
	fused = slices.Clone(fused[begin:min(begin+q.limit, len(fused))])
	assets := make([]banksia.Asset, len(fused))
	for i, hit := range fused {
		assets[i] = known[hit.AssetID]
	}
	return assets, fused, nil
}
