package main

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/store"
)

// places is where the made-up trips go: latitude, longitude, minutes east of UTC.
var places = []struct {
	city, country, code string
	lat, lon            float64
	offset              int
}{
	{"Berlin", "Germany", "DE", 52.52, 13.40, 60}, {"Paris", "France", "FR", 48.86, 2.35, 60}, {"London", "United Kingdom", "GB", 51.51, -0.13, 0},
	{"Rome", "Italy", "IT", 41.90, 12.50, 60}, {"Lisbon", "Portugal", "PT", 38.72, -9.14, 0}, {"New York", "United States", "US", 40.71, -74.01, -300},
	{"San Francisco", "United States", "US", 37.77, -122.42, -480}, {"Tokyo", "Japan", "JP", 35.68, 139.69, 540}, {"Sydney", "Australia", "AU", -33.87, 151.21, 600},
	{"Cape Town", "South Africa", "ZA", -33.92, 18.42, 120}, {"Nairobi", "Kenya", "KE", -1.29, 36.82, 180}, {"Lima", "Peru", "PE", -12.05, -77.04, -300},
	{"Reykjavik", "Iceland", "IS", 64.15, -21.94, 0}, {"Suva", "Fiji", "FJ", -18.14, 178.44, 720}, {"Mumbai", "India", "IN", 19.08, 72.88, 330},
}

// homeShare of all trips stay at the first place: most people photograph most
// where they live.
const homeShare = 0.5

func generate(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("generate", flag.ExitOnError)
	data := flags.String("data", "", "data folder to make; must not hold a library yet")
	count := flags.Int("assets", 10000, "how many assets")
	seed := flags.Uint64("seed", 1, "seed of the random numbers")
	flags.Parse(args)
	if *data == "" {
		return fmt.Errorf("--data is missing")
	}
	if err := os.MkdirAll(*data, 0o700); err != nil {
		return err
	}
	path := filepath.Join(*data, "banksia.db")
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("%s is there already", path)
	}
	s, err := store.Open(ctx, store.Config{Path: path})
	if err != nil {
		return err
	}
	g := &generator{r: rand.New(rand.NewPCG(*seed, *seed)), total: *count}
	err = g.run(ctx, s)
	if closeErr := s.Close(); err == nil {
		err = closeErr
	}
	return err
}

// generator makes trips: an album of consecutive photos at one place, with a few
// of the people.
type generator struct {
	r       *rand.Rand
	total   int
	library banksia.LibraryID
	people  []banksia.PersonID
	made    int
}

func (g *generator) run(ctx context.Context, s *store.Store) error {
	start := time.Now()
	user := banksia.NewID[banksia.UserID](start)
	g.library = banksia.NewID[banksia.LibraryID](start)
	err := s.Change(ctx, user, func(tx *store.Tx) error {
		now := start.UnixMicro()
		if _, err := tx.Exec(`INSERT INTO users (id, email, is_active, is_superuser, is_verified, created_at, updated_at) VALUES ($1, 'owner@localhost', TRUE, TRUE, TRUE, $2, $2)`, user, now); err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO libraries (id, user_id, name, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)`, g.library, user, banksia.DefaultLibraryName, now); err != nil {
			return err
		}
		for i := range 200 {
			name := fmt.Sprintf("Person %d", i)
			p := banksia.Person{ID: banksia.NewID[banksia.PersonID](start), LibraryID: g.library, Name: &name, CreatedAt: start, UpdatedAt: start}
			if err := tx.InsertPerson(&p); err != nil {
				return err
			}
			g.people = append(g.people, p.ID)
		}
		return nil
	})
	if err != nil {
		return err
	}
	// 20 years, newest last.
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	span := 20 * 365 * 24 * time.Hour
	for trip := 0; g.made < g.total; trip++ {
		begin := now.Add(-span + time.Duration(float64(span)*float64(g.made)/float64(g.total)))
		if err := s.Change(ctx, user, func(tx *store.Tx) error { return g.trip(tx, trip, begin) }); err != nil {
			return err
		}
		if trip%50 == 0 || g.made == g.total {
			fmt.Fprintf(os.Stderr, "\r%d of %d assets, %.0f a second ", g.made, g.total, float64(g.made)/time.Since(start).Seconds())
		}
	}
	fmt.Fprintln(os.Stderr)
	return nil
}

func (g *generator) trip(tx *store.Tx, number int, begin time.Time) error {
	r := g.r
	place := places[0]
	if r.Float64() > homeShare {
		place = places[r.IntN(len(places))]
	}
	album := banksia.Album{ID: banksia.NewID[banksia.AlbumID](begin), LibraryID: g.library, Name: fmt.Sprintf("%s %d", place.city, number), CreatedAt: begin, UpdatedAt: begin}
	kept := r.IntN(2) == 0 // half of the trips become albums
	if kept {
		if err := tx.InsertAlbum(&album); err != nil {
			return err
		}
	}
	size := min(50+r.IntN(300), g.total-g.made)
	at := begin
	var burst *banksia.StackID
	for i := range size {
		at = at.Add(time.Duration(r.ExpFloat64() * float64(4*time.Minute)))
		asset, metadata := g.asset(at, place.lat+r.NormFloat64()*0.05, place.lon+r.NormFloat64()*0.08, place.offset)
		metadata.City, metadata.Country, metadata.CountryCode = &place.city, &place.country, &place.code
		if i%40 == 0 {
			burst = nil
			if r.IntN(4) == 0 {
				id := banksia.NewID[banksia.StackID](at)
				burst = &id
				if err := tx.InsertStack(&banksia.Stack{ID: id, LibraryID: g.library, Origin: banksia.StackAutoBurst, CreatedAt: at, UpdatedAt: at}, nil); err != nil {
					return err
				}
			}
		} else if i%40 > 5 {
			burst = nil
		}
		asset.StackID = burst
		if err := tx.InsertAsset(asset, metadata); err != nil {
			return err
		}
		if kept {
			if err := tx.InsertAlbumAsset(banksia.NewID[banksia.AlbumAssetID](at), album.ID, asset.ID); err != nil {
				return err
			}
		}
		for faces := r.IntN(8) - 4; faces > 0; faces-- {
			// The square makes some people frequent and many rare.
			person := g.people[int(r.Float64()*r.Float64()*float64(len(g.people)))]
			face := banksia.Face{ID: banksia.NewID[banksia.FaceID](at), LibraryID: g.library, AssetID: asset.ID, PersonID: &person,
				BoundingBox: banksia.BoundingBox{X: r.IntN(3000), Y: r.IntN(2000), W: 300, H: 300}, Source: banksia.FaceAutomatic, CreatedAt: at, UpdatedAt: at}
			if err := tx.InsertFace(&face); err != nil {
				return err
			}
		}
		if r.IntN(100) == 0 {
			if _, err := tx.TrashAssets(g.library, []banksia.AssetID{asset.ID}); err != nil {
				return err
			}
		}
		g.made++
	}
	return nil
}

func (g *generator) asset(at time.Time, lat, lon float64, offset int) (*banksia.Asset, *banksia.Metadata) {
	r := g.r
	content := binary.BigEndian.AppendUint64(nil, uint64(g.made))
	sum, sum1 := sha256.Sum256(content), sha1.Sum(content)
	local := banksia.LocalTime{Wall: at.UnixMicro(), Offset: &offset}
	name := fmt.Sprintf("IMG_%07d.jpg", g.made)
	a := &banksia.Asset{ID: banksia.NewID[banksia.AssetID](at), LibraryID: g.library, MediaType: banksia.Image, CreatedAt: at, UpdatedAt: at, LocalDateTime: local, OriginalFileName: name,
		File: banksia.FileData{DeviceAssetID: name, DeviceID: "banksia-bench", CreatedAt: local, ModifiedAt: local, SizeBytes: 2e6 + int64(r.IntN(4e6)), SHA256: sum[:], SHA1: sum1[:]},
		Version: banksia.Version{ID: banksia.NewID[banksia.VersionID](at), Kind: banksia.KindOriginal, MIMEType: "image/jpeg", Width: 4032, Height: 3024,
			SHA256: sum[:], CreatedAt: at, VariantMIMEType: "image/jpeg", Displayable: true, ThumbHash: sum[:25]}}
	a.Version.SizeBytes = a.File.SizeBytes
	if r.IntN(20) == 0 {
		seconds := r.Float64() * 60
		a.MediaType, a.Duration, a.Version.MIMEType, a.OriginalFileName = banksia.Video, &seconds, "video/mp4", fmt.Sprintf("IMG_%07d.mp4", g.made)
	}
	maker, model, lens := "Apple", fmt.Sprintf("iPhone %d", 5+g.made*11/g.total), "back camera 4.25mm f/1.8"
	fNumber, focal, exposure, iso, orientation := 1.8, 4.25, 1/float64(50+r.IntN(1000)), 50+r.IntN(800), 1
	width, height := 4032, 3024
	m := &banksia.Metadata{Make: &maker, Model: &model, LensModel: &lens, OriginalDateTime: &local, DigitizedDateTime: &local, FNumber: &fNumber, FocalLength: &focal,
		ExposureTime: &exposure, ISO: &iso, Orientation: &orientation, RawWidth: &width, RawHeight: &height}
	if r.IntN(5) > 0 {
		m.Latitude, m.Longitude = &lat, &lon
	}
	return a, m
}
