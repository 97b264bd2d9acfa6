package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api"
	"github.com/banksia-photos/banksia/internal/banksiatest"
	"github.com/banksia-photos/banksia/internal/store"
)

var update = flag.Bool("update", false, "write the golden files anew")

// fixedID is an ID that is the same in every run.
func fixedID[T interface{ ~[16]byte }](n byte) T {
	return T([16]byte{0x01, 0x90, 15: n})
}

func pointer[T any](value T) *T { return &value }

// The bodies of one photo with everything known, and of one video with nothing,
// byte by byte: whoever changes what travels sees it here.
func TestGoldenShapes(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 4, 29, 10, 11, 12, 345678000, time.UTC)
	s := banksiatest.NewServerWith(t, banksiatest.Config{Now: func() time.Time { return now }})
	stack := banksia.Stack{ID: fixedID[banksia.StackID](3), LibraryID: s.Library, Origin: banksia.StackUser, CreatedAt: now, UpdatedAt: now}
	sum := func(length int) banksia.Digest { return bytes.Repeat([]byte{0xfb}, length) }
	original, err := banksia.ParseLocalTime("2023-11-07T05:31:56.789+02:00")
	if err != nil {
		t.Fatal(err)
	}
	photo := s.AddAsset(t, func(a *banksia.Asset, m *banksia.Metadata) {
		a.ID, a.Version.ID, a.OriginalFileName = fixedID[banksia.AssetID](1), fixedID[banksia.VersionID](2), "Größe <1>.heic"
		a.Description, a.Metrics = pointer("A tree."), map[string]*float64{"sharpness": pointer(0.5), "noise": nil}
		a.File = banksia.FileData{DeviceAssetID: "IMG_1", DeviceID: "phone", CreatedAt: original, ModifiedAt: original.Naive(), SizeBytes: 12345678901, SHA256: sum(32), SHA1: sum(20)}
		v := &a.Version
		v.SizeBytes = a.File.SizeBytes
		v.MIMEType, v.VariantMIMEType, v.Displayable, v.Width, v.Height, v.SHA256, v.ThumbHash = "image/heic", "image/jpeg", false, 3024, 4032, sum(32), []byte("thumbhash")
		*m = banksia.Metadata{Make: pointer("Apple"), Model: pointer("iPhone 12"), LensModel: pointer("back camera"), Orientation: pointer(6), ModifiedDateTime: pointer(original.Naive()),
			OriginalDateTime: &original, DigitizedDateTime: &original, FNumber: pointer(1.6), FocalLength: pointer(4.2), ISO: pointer(64), ExposureTime: pointer(1.0 / 120),
			ExposureBias: pointer(-0.5), Latitude: pointer(48.8583), Longitude: pointer(2.2944), Altitude: pointer(35.25), City: pointer("Paris"), State: pointer("Île-de-France"),
			Country: pointer("France"), CountryCode: pointer("FR"), Sublocation: pointer("7e"), PlaceName: pointer("Tour Eiffel"), Timezone: pointer("Europe/Paris"),
			Description: pointer("caption"), FPS: pointer(29.97), LivePhotoCID: pointer("cid"), ProjectionType: pointer("equirectangular"), ProfileDescription: pointer("Display P3"),
			AutoStackID: pointer("burst"), Rating: pointer(5), RawWidth: pointer(4032), RawHeight: pointer(3024)}
	})
	video := s.AddAsset(t, func(a *banksia.Asset, m *banksia.Metadata) {
		a.ID, a.MediaType, a.OriginalFileName = fixedID[banksia.AssetID](6), banksia.Video, "a.mp4"
		a.File = banksia.FileData{CreatedAt: original.Naive(), ModifiedAt: original.Naive(), SHA256: sum(32)[:31], SHA1: sum(20)}
		a.Version = banksia.Version{ID: fixedID[banksia.VersionID](7), Kind: banksia.KindOriginal, MIMEType: "video/mp4", SHA256: sum(32)[:31], CreatedAt: now, VariantMIMEType: "image/jpeg"}
	})
	other := s.AddAsset(t, func(*banksia.Asset, *banksia.Metadata) {})
	err = s.Store.Change(t.Context(), s.Owner.ID, func(tx *store.Tx) error {
		if err := tx.InsertStack(&stack, []banksia.AssetID{photo.ID, other.ID}); err != nil {
			return err
		}
		person := banksia.Person{ID: fixedID[banksia.PersonID](4), LibraryID: s.Library, Name: pointer("Ada"), BirthDate: pointer("1815-12-10"), IsFavorite: true, CreatedAt: now, UpdatedAt: now}
		if err := tx.InsertPerson(&person); err != nil {
			return err
		}
		return tx.InsertFace(&banksia.Face{ID: fixedID[banksia.FaceID](5), LibraryID: s.Library, AssetID: photo.ID, PersonID: &person.ID, BoundingBox: banksia.BoundingBox{X: 1, Y: 2, W: 3, H: 4},
			Source: banksia.FaceAutomatic, Confidence: pointer(0.99), CreatedAt: now, UpdatedAt: now})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Catalog.TrashAssets(t.Context(), s.Scope, s.Library, []banksia.AssetID{video.ID}); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"photo_full": "/api/assets/" + photo.ID.String(), "photo_lean": "/api/assets/" + photo.ID.String() + "?include=",
		"video_full": "/api/assets/" + video.ID.String(), "video_lean": "/api/assets/" + video.ID.String() + "?include=",
	} {
		answer := s.Call(t, "GET", path, nil)
		var body bytes.Buffer
		if err := json.Indent(&body, answer.Body, "", "  "); err != nil {
			t.Fatal(err)
		}
		// What differs from run to run.
		got := bytes.ReplaceAll(body.Bytes(), []byte(s.URL), []byte("http://server"))
		got = regexp.MustCompile(`signature=[\w-]{22}"`).ReplaceAll(got, []byte(`signature=…"`))
		golden := filepath.Join("testdata", name+".json")
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from %s:\n%s", path, golden, got)
		}
	}
}

// The seed page's client reads its fields at the top level (R2, R3), and times are
// written as behaviour 2.8 says.
func TestSeedFieldsAgree(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/photo_full.json")
	if err != nil {
		t.Fatal(err)
	}
	var full map[string]any
	if err := json.Unmarshal(text, &full); err != nil {
		t.Fatal(err)
	}
	for key, value := range full["file_data"].(map[string]any) {
		if full[key] != value {
			t.Errorf("%s is %v at the top and %v in file_data", key, full[key], value)
		}
	}
	exif, metadata := full["exif"].(map[string]any), full["metadata"].(map[string]any)
	for _, key := range []string{"asset_id", "created_at", "updated_at", "make", "model", "orientation", "modified_datetime", "original_datetime", "digitized_datetime", "lens_model",
		"f_number", "focal_length", "iso", "exposure_time", "exposure_bias", "latitude", "longitude", "altitude", "city", "state", "country", "description", "fps", "live_photo_cid",
		"projection_type", "profile_description", "auto_stack_id", "rating"} {
		value, ok := exif[key]
		if !ok || value == nil {
			t.Errorf("exif has no %s", key)
		}
		if inMetadata, shared := metadata[key]; shared == (key == "profile_description") || shared && inMetadata != value {
			t.Errorf("%s is %v in exif and %v in metadata", key, value, inMetadata)
		}
	}
	var document struct {
		Components struct {
			Schemas map[string]struct {
				AllOf []struct {
					Required []string `yaml:"required"`
				} `yaml:"allOf"`
			}
		}
	}
	if err := yaml.Unmarshal(api.Document, &document); err != nil {
		t.Fatal(err)
	}
	seed := document.Components.Schemas["SeedAssetResponse"].AllOf[1].Required
	for _, key := range seed {
		if value, ok := full[key]; !ok || value == nil && key != "trashed_at" {
			t.Errorf("a client of the seed page finds no %s", key)
		}
	}
	if len(seed) < 20 {
		t.Errorf("the seed's asset has only %v", seed)
	}
	if len(exif) != 28 {
		t.Errorf("exif has %d keys", len(exif))
	}
	if full["local_datetime"] != "2023-11-07T05:31:56.789+02:00" || full["file_modified_at"] != "2023-11-07T05:31:56.789" || full["created_at"] != "2026-04-29T10:11:12.345678Z" {
		t.Errorf("times: %v, %v, %v", full["local_datetime"], full["file_modified_at"], full["created_at"])
	}
}
