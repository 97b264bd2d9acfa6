package api_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api"
	"github.com/banksia-photos/banksia/internal/banksiatest"
	"github.com/banksia-photos/banksia/internal/blob"
	"github.com/banksia-photos/banksia/internal/blob/s3"
)

// stored lists what is in the storage, by key.
func stored(t *testing.T, s *banksiatest.Server) map[blob.Key]int64 {
	t.Helper()
	found := map[blob.Key]int64{}
	err := s.Blobs.List(t.Context(), "", func(info blob.Info) error {
		found[info.Key] = info.Size
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// The life of a photo whose bytes are in a bucket: variants, ranges, faces, a
// second server, purging.
func TestStoryOnS3(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServerWith(t, banksiatest.Config{S3: true})
	content := banksiatest.JPEG(t, 2000, 1500, 1)
	a := upload(t, s, "tree.jpg", content)
	if again := s.Upload(t, banksiatest.UploadParts("copy.jpg", content)); again.Status != http.StatusOK {
		t.Errorf("a duplicate: %d %s", again.Status, again.Body)
	}
	urls := list(t, s, "ids", a.ID, "include", "variants").Data[0].AssetURLs
	for _, variant := range []string{"thumbnail", "small", "preview", "fullsize", "original"} {
		answer := s.CallAs(t, "", "GET", urls[variant].URL, nil)
		if answer.Status != http.StatusOK || answer.Header.Get("Content-Type") != "image/jpeg" || len(answer.Body) == 0 {
			t.Errorf("%s: %d %v", variant, answer.Status, answer.Header)
		}
		if variant == "original" && !bytes.Equal(answer.Body, content) {
			t.Errorf("the original has %d bytes of %d", len(answer.Body), len(content))
		}
	}
	request, err := http.NewRequest("GET", urls["original"].URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Range", "bytes=1000-1999")
	if part := s.Do(t, request); part.Status != http.StatusPartialContent || !bytes.Equal(part.Body, content[1000:2000]) {
		t.Errorf("a range: %d, %d bytes", part.Status, len(part.Body))
	}
	s.Finished(t)
	if n := len(stored(t, s)); n != 4 {
		t.Errorf("%d blobs", n)
	}
	s = s.Restart(t)
	if answer := s.Call(t, "GET", "/api/assets/"+a.ID+"/download", nil); !bytes.Equal(answer.Body, content) {
		t.Errorf("after a restart: %d, %d bytes", answer.Status, len(answer.Body))
	}
	id, err := banksia.ParseID[banksia.AssetID](a.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Catalog.PurgeAssets(t.Context(), s.Scope, s.Library, []banksia.AssetID{id}); err != nil {
		t.Fatal(err)
	}
	s.Finished(t)
	if left := stored(t, s); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if notes, err := s.Blobs.Pending(t.Context(), time.Now()); err != nil || len(notes) != 0 {
		t.Errorf("notes are left: %v, %v", notes, err)
	}
	entries, err := os.ReadDir(s.Blobs.TempDir())
	if err != nil || len(entries) != 0 {
		t.Errorf("temporary files are left: %v, %v", entries, err)
	}
}

// The storage is cut off again and again in the middle of uploads: what is
// acknowledged is there, byte by byte; the rest is refused in a way that clients
// repeat, and then succeeds.
func TestS3CutDuringUploads(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServerWith(t, banksiatest.Config{S3: true, S3Config: func(cfg *s3.Config) { cfg.Attempts, cfg.Grace = 1, 0 }})
	contents, acknowledged := map[string][]byte{}, map[string]string{}
	refused := 0
	for i := range 16 {
		name := fmt.Sprintf("%d.jpg", i)
		contents[name] = banksiatest.JPEG(t, 600, 400, uint8(i))
		s.Cable().CutAfter(int64(rand.IntN(2 * len(contents[name]))))
		answer := s.Upload(t, banksiatest.UploadParts(name, contents[name]))
		s.Cable().Cut()
		switch answer.Status {
		case http.StatusCreated:
		case http.StatusBadGateway:
			refused++
			if answer.Header.Get("Retry-After") == "" || answer.Header.Get("X-Should-Retry") == "false" {
				t.Errorf("%s: %v", name, answer.Header)
			}
			s.Cable().Mend()
			if answer = s.Upload(t, banksiatest.UploadParts(name, contents[name])); answer.Status != http.StatusCreated {
				t.Errorf("%s, again: %d %s", name, answer.Status, answer.Body)
			}
		default:
			t.Errorf("%s: %d %s", name, answer.Status, answer.Body)
		}
		s.Cable().Mend()
		var made asset
		answer.JSON(t, &made)
		acknowledged[name] = made.ID
	}
	if refused == 0 {
		t.Error("no cut met an upload")
	}
	for name, id := range acknowledged {
		if answer := s.Call(t, "GET", "/api/assets/"+id+"/download", nil); !bytes.Equal(answer.Body, contents[name]) {
			t.Errorf("%s: %d, %d bytes of %d", name, answer.Status, len(answer.Body), len(contents[name]))
		}
	}
	s.Finished(t)
	if _, err := s.Catalog.SweepOriginals(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	originals := 0
	for key, size := range stored(t, s) {
		if strings.HasPrefix(string(key), "originals/") {
			originals++
			if size == 0 {
				t.Errorf("%s is empty", key)
			}
		}
	}
	if originals != len(contents) {
		t.Errorf("%d originals for %d assets", originals, len(contents))
	}
	t.Logf("%d of %d uploads were cut off", refused, len(contents))
}

// Reading while the storage is away is told as such, and works again afterwards.
func TestS3CutDuringReads(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServerWith(t, banksiatest.Config{S3: true, S3Config: func(cfg *s3.Config) { cfg.Attempts = 1 }})
	a := upload(t, s, "a.jpg", banksiatest.JPEG(t, 100, 100, 1))
	s.Finished(t)
	urls := list(t, s, "ids", a.ID, "include", "variants").Data[0].AssetURLs
	for _, status := range []int{200, 502, 200} {
		if status == 502 {
			s.BreakStorage(t)
		} else {
			s.MendStorage(t)
		}
		for _, target := range []string{urls["thumbnail"].URL, urls["original"].URL, "/api/assets/" + a.ID + "/download", "/api/assets/" + a.ID + "/thumbnail"} {
			answer := s.Call(t, "GET", target, nil)
			if answer.Status != status || status == 502 && answer.Header.Get("Retry-After") == "" {
				t.Errorf("%s: %d %v, want %d", target, answer.Status, answer.Header, status)
			}
		}
	}
}

// With the setting, large originals come from the storage itself, with the headers
// that they have from here; all else comes from here.
func TestRedirectMedia(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServerWith(t, banksiatest.Config{S3: true, API: api.Config{RedirectMedia: true}})
	small := banksiatest.JPEG(t, 100, 100, 1)
	large := append(banksiatest.JPEG(t, 100, 100, 2), make([]byte, 2<<20)...) // decoders stop at the end mark
	for name, content := range map[string][]byte{"small.jpg": small, "große Bäume.jpg": large} {
		a := upload(t, s, name, content)
		urls := list(t, s, "ids", a.ID, "include", "variants").Data[0].AssetURLs
		if answer := s.CallAs(t, "", "GET", urls["preview"].URL, nil); answer.Status != http.StatusOK {
			t.Errorf("the preview of %s: %d", name, answer.Status)
		}
		if answer := s.Call(t, "GET", "/api/assets/"+a.ID+"/download", nil); answer.Status != http.StatusOK || !bytes.Equal(answer.Body, content) {
			t.Errorf("the download of %s: %d", name, answer.Status)
		}
		answer := s.CallAs(t, "", "GET", urls["original"].URL, nil)
		if name == "small.jpg" {
			if answer.Status != http.StatusOK {
				t.Errorf("the small original: %d", answer.Status)
			}
			continue
		}
		target, err := url.Parse(answer.Header.Get("Location"))
		if err != nil || answer.Status != http.StatusTemporaryRedirect || answer.Header.Get("Cache-Control") != "no-store" || target.Query().Get("X-Amz-Signature") == "" {
			t.Fatalf("the large original: %d %v", answer.Status, answer.Header)
		}
		if unsigned := s.CallAs(t, "", "GET", strings.Replace(urls["original"].URL, "signature=", "signature=A", 1), nil); unsigned.Status != http.StatusForbidden {
			t.Errorf("without a right: %d", unsigned.Status)
		}
		request, err := http.NewRequest("GET", urls["original"].URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Range", "bytes=10-29")
		response, err := http.DefaultClient.Do(request) // follows
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		part := make([]byte, 100)
		n, _ := response.Body.Read(part)
		if response.StatusCode != http.StatusPartialContent || !bytes.Equal(part[:n], content[10:30]) || response.Header.Get("Content-Type") != "image/jpeg" ||
			!strings.Contains(response.Header.Get("Content-Disposition"), "filename*=UTF-8''gro%C3%9Fe%20B%C3%A4ume.jpg") {
			t.Errorf("followed: %d %v, %d bytes", response.StatusCode, response.Header, n)
		}
	}
}
