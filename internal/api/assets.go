package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api/wire"
	"github.com/banksia-photos/banksia/internal/store"
)

// library resolves the library_id parameter; ok is false when there is none to
// read from, which reads answer with nothing (behaviour 21.14).
func (s *Server) library(ctx context.Context, p *params, scope banksia.Scope) (library banksia.LibraryID, ok bool, err error) {
	given := id[banksia.LibraryID](p, "library_id")
	if err := p.err(); err != nil {
		return library, false, err
	}
	found, err := s.store.ResolveLibrary(ctx, scope, given)
	if err != nil || found == nil {
		return library, false, err
	}
	return found.ID, true, nil
}

// listAssets is GET /api/assets.
func (s *Server) listAssets(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	p := newParams(r.URL.RawQuery)
	filter, include := p.assetFilter(), p.include()
	library, ok, err := s.library(r.Context(), p, scope)
	if err != nil {
		return err
	}
	page := wire.Page[wire.Asset]{Data: []wire.Asset{}}
	if ok {
		filter.LibraryID = library
		assets, more, err := s.store.ListAssets(r.Context(), scope, filter)
		if err != nil {
			return err
		}
		if page.Data, err = s.assets(r, assets, include); err != nil {
			return err
		}
		page.HasMore = more
	}
	return write(w, http.StatusOK, page)
}

// getAsset is GET /api/assets/{asset_id}; trashed assets too (behaviour 7.11).
func (s *Server) getAsset(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	p := newParams(r.URL.RawQuery)
	include := p.include()
	if err := p.err(); err != nil {
		return err
	}
	asset, err := s.pathAsset(r, scope)
	if err != nil {
		return err
	}
	return s.writeAsset(w, r, http.StatusOK, asset, include)
}

// pathAsset reads the asset that the path names.
func (s *Server) pathAsset(r *http.Request, scope banksia.Scope) (banksia.Asset, error) {
	id, err := pathID[banksia.AssetID](r, "asset_id", "Asset")
	if err != nil {
		return banksia.Asset{}, err
	}
	return s.store.GetAsset(r.Context(), scope, id)
}

func (s *Server) writeAsset(w http.ResponseWriter, r *http.Request, status int, asset banksia.Asset, include wire.Include) error {
	bodies, err := s.assets(r, []banksia.Asset{asset}, include)
	if err != nil {
		return err
	}
	return write(w, status, bodies[0])
}

// assets writes assets. The groups that are asked for are read side by side, for all
// assets at once.
func (s *Server) assets(r *http.Request, assets []banksia.Asset, include wire.Include) ([]wire.Asset, error) {
	ids := make([]banksia.AssetID, len(assets))
	for i := range assets {
		ids[i] = assets[i].ID
	}
	var metadata map[banksia.AssetID]banksia.Metadata
	var faces map[banksia.AssetID][]banksia.Face
	var people map[banksia.AssetID][]banksia.Person
	reading, ctx := errgroup.WithContext(r.Context())
	if include.Metadata || include.Full {
		reading.Go(func() (err error) { metadata, err = s.store.MetadataOf(ctx, ids); return err })
	}
	if include.Faces {
		reading.Go(func() (err error) { faces, err = s.store.FacesOf(ctx, ids); return err })
	}
	if include.People {
		reading.Go(func() (err error) { people, err = s.store.PeopleOf(ctx, ids); return err })
	}
	if err := reading.Wait(); err != nil {
		return nil, err
	}
	urls := s.urls(r)
	bodies := make([]wire.Asset, len(assets))
	for i := range assets {
		a := &assets[i]
		parts := wire.AssetParts{Metadata: metadata[a.ID], Faces: faces[a.ID], People: people[a.ID]}
		bodies[i] = wire.NewAsset(a, parts, include, urls, urls.origin+"/api/assets/"+a.ID.String())
	}
	return bodies, nil
}

// countAssets is GET /api/assets/counts.
func (s *Server) countAssets(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	p := newParams(r.URL.RawQuery)
	choice(p, "group_by", "month", "month")
	filter := store.AssetFilter{State: p.state(), Limit: p.limit()}
	p.albums(&filter)
	p.people(&filter)
	p.bounds(&filter)
	library, ok, err := s.library(r.Context(), p, scope)
	if err != nil {
		return err
	}
	page := wire.Page[wire.CountBucket]{Data: []wire.CountBucket{}}
	if ok {
		filter.LibraryID = library
		counts, more, err := s.store.CountAssetsByMonth(r.Context(), scope, filter)
		if err != nil {
			return err
		}
		for _, c := range counts {
			page.Data = append(page.Data, wire.CountBucket{Count: c.Count, TimeBucket: c.Month})
		}
		page.HasMore = more
	}
	return write(w, http.StatusOK, page)
}

// clusterAssets is GET /api/assets/geo-clusters.
func (s *Server) clusterAssets(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	p := newParams(r.URL.RawQuery)
	filter := store.AssetFilter{State: p.state()}
	p.albums(&filter)
	p.people(&filter)
	p.bounds(&filter)
	if p.text("bbox") == "" {
		p.bad("bbox", "is required")
	} else if box := p.box(); box != nil {
		filter.Area = *box
	}
	cellSize, isNumber := number(p.text("cell_size"))
	if !isNumber || cellSize < 0.0001 || cellSize > math.MaxInt32 {
		p.bad("cell_size", "is required and must be a number of degrees, 0.0001 or more")
	}
	library, ok, err := s.library(r.Context(), p, scope)
	if err != nil {
		return err
	}
	body := wire.GeoClusters{Data: []wire.GeoCluster{}}
	if ok {
		filter.LibraryID = library
		clusters, err := s.store.ClusterAssets(r.Context(), scope, filter, cellSize)
		if err != nil {
			return err
		}
		for _, c := range clusters {
			body.Data = append(body.Data, wire.GeoCluster(c))
		}
	}
	return write(w, http.StatusOK, body)
}

// maxExistence is the most items of one existence check (behaviour 6.16).
const maxExistence = 5000

// existenceRequest is the body of an existence check; exactly one of the three
// criteria is given.
type existenceRequest struct {
	ChecksumSHA1s  *[]string `json:"checksum_sha1s"`
	Checksums      *[]string `json:"checksums"`
	DeviceAssetIDs *[]string `json:"deviceAssetIds"`
	DeviceID       *string   `json:"deviceId"`
	// The same in the spelling of the SDK's own parameters.
	SnakeDeviceAssetIDs *[]string `json:"device_asset_ids"`
	SnakeDeviceID       *string   `json:"device_id"`
}

// checkAssetsExist is POST /api/assets/exist.
func (s *Server) checkAssetsExist(w http.ResponseWriter, r *http.Request, scope banksia.Scope) error {
	var body existenceRequest
	if err := readJSON(w, r, &body); err != nil {
		return err
	}
	if body.DeviceAssetIDs == nil {
		body.DeviceAssetIDs = body.SnakeDeviceAssetIDs
	}
	if body.DeviceID == nil {
		body.DeviceID = body.SnakeDeviceID
	}
	criteria := 0
	for name, values := range map[string]*[]string{"checksums": body.Checksums, "checksum_sha1s": body.ChecksumSHA1s, "deviceAssetIds": body.DeviceAssetIDs} {
		if values != nil {
			criteria++
			if len(*values) > maxExistence {
				return banksia.Invalid("body", name, "at most %d values", maxExistence)
			}
		}
	}
	if criteria != 1 || (body.DeviceAssetIDs == nil) != (body.DeviceID == nil) {
		return banksia.Invalid("body", "checksums", "give exactly one of checksums, checksum_sha1s, or deviceId with deviceAssetIds")
	}
	p := newParams(r.URL.RawQuery)
	library, ok, err := s.library(r.Context(), p, scope)
	if err != nil {
		return err
	}
	answer := wire.Existence{Assets: []wire.AssetLite{}}
	if ok {
		var assets []banksia.Asset
		switch {
		case body.Checksums != nil:
			assets, err = s.store.AssetsByChecksum(r.Context(), scope, library, digests(*body.Checksums))
		case body.ChecksumSHA1s != nil:
			assets, err = s.store.AssetsBySHA1(r.Context(), scope, library, digests(*body.ChecksumSHA1s))
		default:
			assets, err = s.store.AssetsByDevice(r.Context(), scope, library, *body.DeviceID, *body.DeviceAssetIDs)
		}
		if err != nil {
			return err
		}
		seen := map[banksia.AssetID]bool{}
		for i := range assets {
			if !seen[assets[i].ID] {
				seen[assets[i].ID] = true
				answer.Assets = append(answer.Assets, wire.NewAssetLite(&assets[i]))
			}
		}
	}
	return write(w, http.StatusOK, answer)
}

// digests reads checksums; what is not base64 matches nothing.
func digests(texts []string) []banksia.Digest {
	var result []banksia.Digest
	for _, text := range texts {
		if digest, err := base64.StdEncoding.DecodeString(text); err == nil {
			result = append(result, digest)
		}
	}
	return result
}

// maxJSON bounds a JSON body: 5000 checksums and some room.
const maxJSON = 4 << 20

// readJSON reads a JSON body; unknown fields are ignored.
func readJSON(w http.ResponseWriter, r *http.Request, to any) error {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxJSON))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return banksia.Invalid("body", "body", "has more than %d bytes", maxJSON)
		}
		return broken(err)
	}
	if !utf8.Valid(text) {
		return banksia.Invalid("body", "body", "is not UTF-8")
	}
	if err := json.Unmarshal(text, to); err != nil {
		if wrongType, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrongType.Field != "" {
			return banksia.Invalid("body", wrongType.Field, "cannot be a %s", wrongType.Value)
		}
		return banksia.Invalid("body", "body", "is not valid JSON")
	}
	return nil
}
