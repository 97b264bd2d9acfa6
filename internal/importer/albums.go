package importer

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
)

// albumBatch is the contract's limit of one addition (behaviour 9.5).
const albumBatch = 200

// maxAlbumName is the longest name, in characters, that the server takes; titles
// from elsewhere are cut.
const maxAlbumName = 1000

// albums puts assets into albums by name. An album that exists is used, of
// several with one name the oldest.
type albums struct {
	client    *client
	one       string // put everything here; "": by folder
	mu        sync.Mutex
	ids       map[string]string   // by name
	waiting   map[string][]string // assets by name of the album
	nameOrder []string            // of waiting
}

type album struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// openAlbums makes sure, before anything is uploaded, that the server has albums.
func openAlbums(ctx context.Context, c *client, opts Options) (*albums, error) {
	a := &albums{client: c, one: opts.Album, ids: map[string]string{}, waiting: map[string][]string{}}
	query := url.Values{"limit": {"200"}}
	if c.library != "" {
		query.Set("library_id", c.library)
	}
	for {
		var page struct {
			Data    []album `json:"data"`
			HasMore bool    `json:"has_more"`
		}
		_, _, err := c.call(ctx, request{method: http.MethodGet, path: "/api/albums", query: query}, &page)
		if hasStatus(err, notThere...) {
			return nil, fmt.Errorf("this server has no albums; import without an album: %w", err)
		}
		if err != nil {
			return nil, fmt.Errorf("list the albums: %w", err)
		}
		for _, found := range page.Data {
			a.ids[found.Name] = found.ID // newest first, so the oldest stays
		}
		if !page.HasMore || len(page.Data) == 0 {
			break
		}
		query.Set("starting_after_id", page.Data[len(page.Data)-1].ID)
	}
	if a.one != "" && !opts.DryRun {
		if _, err := a.id(ctx, a.one); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// id is the album of the name, made if need be. Call it with mu held.
func (a *albums) id(ctx context.Context, name string) (string, error) {
	if id, ok := a.ids[name]; ok {
		return id, nil
	}
	body := map[string]any{"name": name}
	if a.client.library != "" {
		body["library_id"] = a.client.library
	}
	var made album
	if _, _, err := a.client.call(ctx, request{method: http.MethodPost, path: "/api/albums", body: jsonBody(body)}, &made); err != nil {
		return "", fatalError{fmt.Errorf("create the album %q: %w", name, err)}
	}
	a.ids[name] = made.ID
	return made.ID, nil
}

// add puts the asset of an item into its album, sooner or later. Assets that
// wait when the import is interrupted are added by the next run, which sees
// every file again.
func (a *albums) add(ctx context.Context, it *item) error {
	name := a.one
	if name == "" {
		name = it.folder.albumTitle()
	}
	if name == "" {
		return nil
	}
	if runes := []rune(name); len(runes) > maxAlbumName {
		name = string(runes[:maxAlbumName])
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting[name] == nil {
		a.nameOrder = append(a.nameOrder, name)
	}
	a.waiting[name] = append(a.waiting[name], it.assetID)
	if len(a.waiting[name]) < albumBatch {
		return nil
	}
	return a.send(ctx, name)
}

func (a *albums) send(ctx context.Context, name string) error {
	ids := a.waiting[name]
	if len(ids) == 0 {
		return nil
	}
	album, err := a.id(ctx, name)
	if err != nil {
		return err
	}
	var added struct {
		NotFound []string `json:"not_found_assets"`
	}
	_, _, err = a.client.call(ctx, request{
		method: http.MethodPost,
		path:   "/api/albums/" + url.PathEscape(album) + "/assets",
		body:   jsonBody(map[string]any{"asset_ids": ids}),
	}, &added)
	if err == nil && len(added.NotFound) > 0 { // deleted while the import ran; another run brings them back
		err = fmt.Errorf("%d of its photos have been deleted meanwhile", len(added.NotFound))
	}
	if err != nil {
		return fatalError{fmt.Errorf("add to the album %q: %w", name, err)}
	}
	a.waiting[name] = ids[:0]
	return nil
}

func (a *albums) flush(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, name := range a.nameOrder {
		if err := a.send(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
