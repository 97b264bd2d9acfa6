package api_test

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/banksia-photos/banksia/internal/banksiatest"
)

// Whatever the body of an upload is, the answer is one of the contract's and
// nothing half received stays.
func FuzzUpload(f *testing.F) {
	s := banksiatest.NewServer(f)
	good, contentType := banksiatest.UploadBody(f, banksiatest.UploadParts("a.jpg", banksiatest.JPEG(f, 8, 8, 1)))
	boundary := strings.TrimPrefix(contentType, "multipart/form-data; boundary=")
	f.Add(strings.ReplaceAll(string(good), boundary, "x"))
	for _, body := range []string{
		"", "--x--", "--x\r\n", "--x\r\n\r\n--x--\r\n", "--x\r\nContent-Disposition: form-data; name=\"asset_data\"; filename=\"a.jpg\"\r\n\r\n\xff\xd8\xff",
		"--x\r\nContent-Disposition: form-data; name=asset_data; filename*=UTF-8''%00.jpg\r\n\r\n\xff\xd8\xff\r\n--x--\r\n",
		"--x\r\nContent-Disposition: attachment; filename=a.jpg\r\nContent-Transfer-Encoding: base64\r\n\r\n//8=\r\n--x--\r\n",
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		request, err := http.NewRequest("POST", s.URL+"/api/assets", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+s.Key)
		request.Header.Set("Content-Type", "multipart/form-data; boundary=x")
		answer := s.Do(t, request)
		if answer.Status >= 500 {
			t.Errorf("%d: %s", answer.Status, answer.Body)
		}
		entries, err := os.ReadDir(s.Blobs.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if strings.HasPrefix(entry.Name(), "upload-") {
				t.Errorf("left behind: %s", entry.Name())
			}
		}
	})
}
