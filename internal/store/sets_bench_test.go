package store

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
)

// BenchmarkListSets reads pages of 20 from the middle of libraries with many
// albums, links and stacks. Rows are written as they lie, without events, because
// a million of them would take minutes.
func BenchmarkListSets(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		l := newTestLibrary(b, open(b))
		r := rand.New(rand.NewPCG(1, uint64(n)))
		albums, links, stacks := make([]banksia.AlbumID, n), make([]banksia.AlbumAssetID, n), make([]banksia.StackID, n)
		l.write(b, func(tx *Tx) error {
			for range 1000 {
				if err := l.add(b, tx, r); err != nil {
					return err
				}
			}
			begin := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
			for i := range n {
				at := begin.Add(time.Duration(i) * time.Second)
				micros := at.UnixMicro()
				asset := l.assets[i%len(l.assets)].id
				albums[i], links[i], stacks[i] = banksia.NewID[banksia.AlbumID](at), banksia.NewID[banksia.AlbumAssetID](at), banksia.NewID[banksia.StackID](at)
				_, err := tx.Exec(`INSERT INTO albums (id, library_id, name, asset_count, created_at, updated_at) VALUES ($1, $2, '', 1, $3, $3)`, albums[i], l.id, micros)
				if err == nil {
					_, err = tx.Exec(`INSERT INTO album_assets (id, library_id, album_id, asset_id, live, local_datetime, created_at, updated_at)
						SELECT $1, library_id, $2, id, live, local_datetime, $3, $3 FROM assets WHERE id = $4`, links[i], albums[i], micros, asset)
				}
				if err == nil {
					_, err = tx.Exec(`INSERT INTO stacks (id, library_id, origin, created_at, updated_at) VALUES ($1, $2, 'user', $3, $3)`, stacks[i], l.id, micros)
				}
				if err != nil {
					return err
				}
			}
			_, err := tx.Exec(`UPDATE stacks SET primary_asset_id = $1 WHERE id = $2`, l.assets[0].id, stacks[n/2])
			return err
		})
		asset := l.assets[500].id
		run := func(name string, list func() (int, error)) {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				for b.Loop() {
					if _, err := list(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		album := func(p AlbumPage) func() (int, error) {
			p.LibraryID, p.Limit = l.id, 20
			return func() (int, error) { rows, _, err := l.ListAlbums(b.Context(), l.scope, p); return len(rows), err }
		}
		link := func(p AlbumAssetPage) func() (int, error) {
			p.LibraryID, p.Limit = l.id, 20
			return func() (int, error) {
				rows, _, err := l.ListAlbumAssets(b.Context(), l.scope, p)
				return len(rows), err
			}
		}
		stack := func(p StackPage) func() (int, error) {
			p.LibraryID, p.Limit = l.id, 20
			return func() (int, error) { rows, _, err := l.ListStacks(b.Context(), l.scope, p); return len(rows), err }
		}
		run("albums", album(AlbumPage{Paging: Paging[banksia.AlbumID]{StartingAfter: &albums[n/2]}}))
		run("albums/asset_id", album(AlbumPage{AssetID: &asset}))
		run("albums/ids", album(AlbumPage{Paging: Paging[banksia.AlbumID]{IDs: albums[n/2 : n/2+20]}}))
		run("album-assets", link(AlbumAssetPage{Paging: Paging[banksia.AlbumAssetID]{StartingAfter: &links[n/2]}}))
		run("album-assets/album_id", link(AlbumAssetPage{AlbumID: &albums[n/2]}))
		run("album-assets/asset_id", link(AlbumAssetPage{AssetID: &asset}))
		run("stacks", stack(StackPage{Paging: Paging[banksia.StackID]{StartingAfter: &stacks[n/2]}}))
		run("stacks/origin", stack(StackPage{Paging: Paging[banksia.StackID]{StartingAfter: &stacks[n/2]}, Origin: banksia.StackUser}))
		run("stacks/no_such_origin", stack(StackPage{Origin: banksia.StackAutoBurst}))
		run("stacks/primary_asset_id", stack(StackPage{PrimaryAssetID: &l.assets[0].id}))
	}
}

// BenchmarkDeleteAlbum deletes an album of many photos.
func BenchmarkDeleteAlbum(b *testing.B) {
	for _, n := range []int{1000, 20_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				l := newTestLibrary(b, open(b))
				r := rand.New(rand.NewPCG(1, 1))
				a := banksia.Album{ID: banksia.NewID[banksia.AlbumID](time.Now()), LibraryID: l.id, CreatedAt: time.Now(), UpdatedAt: time.Now()}
				l.write(b, func(tx *Tx) error {
					if err := tx.InsertAlbum(&a); err != nil {
						return err
					}
					for range n {
						if err := l.add(b, tx, r); err != nil {
							return err
						}
						if err := tx.InsertAlbumAsset(banksia.NewID[banksia.AlbumAssetID](time.Now()), a.ID, l.assets[len(l.assets)-1].id); err != nil {
							return err
						}
					}
					return nil
				})
				b.StartTimer()
				l.write(b, func(tx *Tx) error { return tx.DeleteAlbum(&a) })
			}
		})
	}
}
