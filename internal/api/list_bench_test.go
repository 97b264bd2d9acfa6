package api_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/banksiatest"
	"github.com/banksia-photos/banksia/internal/store"
)

// BenchmarkList is the time that the server spends on a page, from the parsed
// request to the last byte of the answer; banksia-bench measures the same from
// outside, in larger libraries.
func BenchmarkList(b *testing.B) {
	s := banksiatest.NewServer(b)
	fillLibrary(b, s, 5000)
	for _, limit := range []int{20, 200} {
		for name, include := range map[string]string{"lean": "&include=", "full": ""} {
			b.Run(name+strconv.Itoa(limit), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					request := httptest.NewRequest(http.MethodGet, "/api/assets?limit="+strconv.Itoa(limit)+include, nil)
					request.Header.Set("Authorization", "Bearer "+s.Key)
					answer := httptest.NewRecorder()
					s.Handler.ServeHTTP(answer, request)
					if answer.Code != http.StatusOK {
						b.Fatal(answer.Code, answer.Body)
					}
				}
			})
		}
	}
}

// fillLibrary adds assets with camera, place, a face and a person each.
func fillLibrary(t testing.TB, s *banksiatest.Server, n int) {
	t.Helper()
	text := func(s string) *string { return &s }
	number := func(f float64) *float64 { return &f }
	whole := func(i int) *int { return &i }
	begin := time.Date(2020, 1, 1, 0, 0, 0, 0, time.FixedZone("", 3600))
	assets := s.AddAssets(t, n, func(i int, a *banksia.Asset, m *banksia.Metadata) {
		at := banksia.NewLocalTime(begin.Add(time.Duration(i) * time.Hour))
		a.OriginalFileName = "IMG_" + strconv.Itoa(i) + ".jpg"
		a.File.CreatedAt, a.File.ModifiedAt = at, at
		a.Version.ThumbHash = []byte("0123456789012345678901234")
		*m = banksia.Metadata{Make: text("Apple"), Model: text("iPhone 12"), LensModel: text("iPhone 12 back dual wide camera 4.2mm f/1.6"), Orientation: whole(1),
			OriginalDateTime: &at, DigitizedDateTime: &at, ModifiedDateTime: &at, FNumber: number(1.6), FocalLength: number(4.2), ISO: whole(64), ExposureTime: number(1.0 / 121),
			ExposureBias: number(0), Latitude: number(48.8583), Longitude: number(2.2944 + float64(i)/1e5), Altitude: number(35.25), City: text("Paris"), State: text("Île-de-France"),
			Country: text("France"), CountryCode: text("FR"), PlaceName: text("Gros Caillou"), Timezone: text("Europe/Paris"), ProfileDescription: text("Display P3"),
			RawWidth: whole(4000), RawHeight: whole(3000)}
	})
	err := s.Store.Change(context.Background(), s.Owner.ID, func(tx *store.Tx) error {
		now := s.Store.Now()
		person := banksia.Person{ID: banksia.NewID[banksia.PersonID](now), LibraryID: s.Library, Name: text("Ada"), CreatedAt: now, UpdatedAt: now}
		if err := tx.InsertPerson(&person); err != nil {
			return err
		}
		for _, a := range assets {
			face := banksia.Face{ID: banksia.NewID[banksia.FaceID](now), LibraryID: s.Library, AssetID: a.ID, PersonID: &person.ID, BoundingBox: banksia.BoundingBox{X: 1, Y: 2, W: 3, H: 4},
				Source: banksia.FaceAutomatic, Confidence: number(0.99), CreatedAt: now, UpdatedAt: now}
			if err := tx.InsertFace(&face); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
