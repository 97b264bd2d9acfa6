package store

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/banksia-photos/banksia"
)

// BenchmarkListAssets reads pages of 20 from the middle of a library of 20,000;
// banksia-bench measures the same over HTTP in larger ones.
func BenchmarkListAssets(b *testing.B) {
	r := rand.New(rand.NewPCG(9, 10))
	l := newTestLibrary(b, open(b))
	l.populate(b, r, 2, 3, 2)
	l.write(b, func(tx *Tx) error {
		for len(l.assets) < 20000 {
			if err := l.add(b, tx, r); err != nil {
				return err
			}
		}
		return nil
	})
	cursor := l.assets[100].id
	naive, aware := banksia.LocalTime{Wall: epoch.UnixMicro()}, banksia.NewLocalTime(epoch)
	for name, f := range map[string]AssetFilter{
		"all":     {},
		"album":   {AlbumID: &l.albums[0]},
		"person":  {PersonIDs: l.people[:1]},
		"people":  {PersonIDs: l.people},
		"video":   {MediaType: banksia.Video},
		"naive":   {After: &naive},
		"aware":   {After: &aware},
		"city":    {Area: Box{2.3, 48.8, 2.4, 48.9}},
		"country": {Area: Box{-10, 36, 4, 51}},
		"world":   {Area: Box{-180, -90, 180, 90}},
	} {
		f.LibraryID, f.State, f.Limit, f.StartingAfter = l.id, Live, 20, &cursor
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := l.ListAssets(context.Background(), l.scope, f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
