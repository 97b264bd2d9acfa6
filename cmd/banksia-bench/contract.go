package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// contractCases is one request, or a few, of every resource but the asset lists:
// the first page of each list, a page deep inside it, and the large bodies.
func (c *client) contractCases(ctx context.Context) ([]benchCase, error) {
	var cases []benchCase
	get := func(name, path string, pairs ...string) {
		q := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			q.Add(pairs[i], pairs[i+1])
		}
		cases = append(cases, benchCase{name: name, path: path, query: q})
	}
	// list adds the first page and one after 20 pages of 200 (or the last there is).
	list := func(name, path, cursor string, pairs ...string) error {
		query := url.Values{"limit": {"200"}}
		for i := 0; i < len(pairs); i += 2 {
			query.Set(pairs[i], pairs[i+1])
		}
		get(name+", first 200", path, append(slices.Clone(pairs), "limit", "200")...)
		deep := ""
		for range 20 {
			body, err := c.get(ctx, path, query)
			if err != nil {
				return err
			}
			var page struct {
				Data []struct {
					ID     string `json:"id"`
					Cursor string `json:"cursor"`
				} `json:"data"`
				HasMore bool `json:"has_more"`
			}
			if err := json.Unmarshal(body, &page); err != nil {
				return err
			}
			if len(page.Data) == 0 || !page.HasMore {
				break
			}
			if deep = page.Data[len(page.Data)-1].ID; cursor == "after_cursor" {
				deep = page.Data[len(page.Data)-1].Cursor
			}
			query.Set(cursor, deep)
		}
		if deep != "" {
			get(name+", deep 200", path, append(slices.Clone(pairs), "limit", "200", cursor, deep)...)
		}
		return nil
	}
	for _, l := range []struct {
		name, path, cursor string
		pairs              []string
	}{
		{"albums", "/api/albums", "starting_after_id", nil},
		{"album-assets", "/api/album-assets", "starting_after_id", nil},
		{"people by time", "/api/people", "starting_after_id", nil},
		{"people by name", "/api/people", "starting_after_id", []string{"sort", "name_asc"}},
		{"people by count", "/api/people", "starting_after_id", []string{"sort", "asset_count_desc", "name_filter", "all"}},
		{"faces", "/api/faces", "starting_after_id", nil},
		{"stacks", "/api/stacks", "starting_after_id", nil},
		{"events", "/api/events", "after_cursor", nil},
		{"events of albums", "/api/events", "after_cursor", []string{"entity_types", "album"}},
	} {
		if err := list(l.name, l.path, l.cursor, l.pairs...); err != nil {
			return nil, err
		}
	}
	get("events since 2020", "/api/events", "created_at_gte", "2020-01-01T00:00:00Z", "limit", "200")
	get("libraries", "/api/libraries")
	get("tasks", "/api/tasks/")
	get("counts, by month", "/api/assets/counts", "limit", "200")
	get("geo-clusters, world, 10 degrees", "/api/assets/geo-clusters", "bbox", "-180,-90,180,90", "cell_size", "10")
	get("geo-clusters, world, 1 degree", "/api/assets/geo-clusters", "bbox", "-180,-90,180,90", "cell_size", "1")
	get("geo-clusters, city", "/api/assets/geo-clusters", "bbox", "13.3,52.45,13.5,52.6", "cell_size", "0.01")
	get("search, a rare word", "/api/search", "query", "IMG_0000042", "include", "")
	get("search, a city", "/api/search", "query", "reykjavik", "include", "")
	get("search, a word of every asset", "/api/search", "query", "apple", "include", "")

	p, err := c.page(ctx, url.Values{"limit": {"200"}, "include": {""}})
	if err != nil {
		return nil, err
	}
	var updates []any
	for _, a := range p.Data {
		updates = append(updates, map[string]any{"id": a.ID, "change": map[string]any{"description": strings.Repeat("caption ", 3)}})
	}
	var sums []string
	for i := range uint64(5000) { // those of the generator, and as many that are unknown
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, i*2))
		if i%2 == 1 {
			sum[0]++
		}
		sums = append(sums, base64.StdEncoding.EncodeToString(sum[:]))
	}
	return append(cases,
		benchCase{name: "exist, 5000 checksums", path: "/api/assets/exist", body: map[string]any{"checksums": sums}},
		benchCase{name: "bulk-update of 200", path: "/api/assets/bulk-update", body: map[string]any{"updates": updates}}), nil
}
