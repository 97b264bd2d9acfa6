package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/banksia-photos/banksia/internal/banksiatest/services"
)

// onS3 gives a workspace the keys of a bucket, and returns its location.
func (p *workspace) onS3(t *testing.T, prefix string) (location, accessKey, secret string) {
	t.Helper()
	endpoint, bucket, accessKey, secret := services.S3(t)
	p.env = append(p.env, "AWS_ACCESS_KEY_ID="+accessKey, "AWS_SECRET_ACCESS_KEY="+secret)
	return "s3://" + bucket + "/" + prefix + "?endpoint=" + endpoint, accessKey, secret
}

// wantOriginals downloads all assets and compares their bytes with their checksum;
// they have a thumbnail, too.
func (s *server) wantOriginals(t *testing.T, key string, n int) {
	t.Helper()
	assets := s.assets(t, key)
	if len(assets) != n {
		t.Errorf("%d assets, want %d", len(assets), n)
	}
	for _, a := range assets {
		response, err := http.Get(a.URLs["original"].URL)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(response.Body)
		response.Body.Close()
		if sum := sha256.Sum256(data); err != nil || response.StatusCode != http.StatusOK || base64.StdEncoding.EncodeToString(sum[:]) != a.FileData.Checksum {
			t.Errorf("%s: %d, %d bytes, %v", a.Name, response.StatusCode, len(data), err)
		}
		if response, err = http.Get(a.URLs["thumbnail"].URL); err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "image/jpeg" {
			t.Errorf("the thumbnail of %s: %d %v", a.Name, response.StatusCode, response.Header)
		}
	}
}

// Decoders find what was fetched from S3, also where the data folder was named
// relative to the server's working folder, as it is by default; and the measured
// server is like any other.
func TestPreviewsOnS3(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	location, _, _ := p.onS3(t, "previews")
	s := p.serve(t, "--data", "here", "--blobs", location, "--redirect-media", "--metrics-listen", "127.0.0.1:0")
	s.sendPhoto(t, "upload-to-s3", "") // until its tasks have succeeded
	s.wantOriginals(t, s.key, 1)
	if status := s.end(t, syscall.SIGTERM); status != 0 {
		t.Errorf("ends with %d: %s", status, s.log)
	}
}

// A library in a folder moves to S3, grows there through a crash and an import
// without a server, and moves back.
func TestMoveToS3AndBack(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	location, accessKey, secret := p.onS3(t, "lib")
	writePhotos(t, filepath.Join(p.dir, "photos"), 6)
	s := p.serve(t)
	key := s.key
	p.mustRun(t, "import", "photos")
	s.wantOriginals(t, key, 6)
	if status := s.end(t, syscall.SIGTERM); status != 0 {
		t.Fatalf("the server ends with %d: %s", status, s.log)
	}
	if out := p.mustRun(t, "blobs", "copy", "--from", p.data("blobs"), "--to", location); !strings.Contains(out, "there already 0 ") {
		t.Errorf("the first copy: %s", out)
	}
	if out := p.mustRun(t, "blobs", "copy", "--from", p.data("blobs"), "--to", location, "--verify"); !strings.Contains(out, "copied 0 ") {
		t.Errorf("the second copy: %s", out)
	}
	if err := os.Rename(p.data("blobs"), p.data("blobs.old")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.data("banksia.conf"), []byte("BANKSIA_BLOBS="+location+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = p.serve(t)
	s.wantOriginals(t, key, 6)
	if status, _ := s.upload(t, key, "new.jpg", bytes.NewReader(photo(100, 200, 100))); status != http.StatusCreated {
		t.Errorf("upload: %d\n%s", status, s.log)
	}
	s.wantOriginals(t, key, 7)
	s.end(t, syscall.SIGKILL)
	writePhotos(t, filepath.Join(p.dir, "photos"), 8)
	p.mustRun(t, "import", "photos")
	s = p.serve(t, "--redirect-media")
	s.wantOriginals(t, key, 9)
	if status, _ := s.upload(t, key, "large.jpg", bytes.NewReader(append(photo(101, 200, 100), make([]byte, 2<<20)...))); status != http.StatusCreated {
		t.Errorf("a large upload: %d\n%s", status, s.log)
	}
	s.wantOriginals(t, key, 10)
	if want := "status=307"; !strings.Contains(s.log.String(), want) {
		t.Errorf("no %s in the log:\n%s", want, s.log)
	}
	if status := s.end(t, syscall.SIGTERM); status != 0 {
		t.Fatalf("the server ends with %d: %s", status, s.log)
	}
	if strings.Contains(s.log.String(), secret) {
		t.Error("the secret is in the log")
	}
	if n := files(t, p.data("blobs")) + files(t, p.data("tmp")); n != 0 {
		t.Errorf("%d files are in the data folder", n)
	}
	keys := filepath.Join(p.dir, "credentials")
	if err := os.WriteFile(keys, fmt.Appendf(nil, "[attic]\naws_access_key_id = %s\naws_secret_access_key = %s\n", accessKey, secret), 0o600); err != nil {
		t.Fatal(err)
	}
	p.env = []string{"AWS_ACCESS_KEY_ID=wrong", "AWS_SECRET_ACCESS_KEY=wrong", "AWS_SHARED_CREDENTIALS_FILE=" + keys}
	p.mustRun(t, "blobs", "copy", "--from", location+"&profile=attic", "--to", p.data("blobs"), "--verify")
	if err := os.Remove(p.data("banksia.conf")); err != nil {
		t.Fatal(err)
	}
	s = p.serve(t)
	s.wantOriginals(t, key, 10)

	// A damaged file is told by name, and not copied.
	damaged := ""
	filepath.WalkDir(p.data("blobs", "originals"), func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && damaged == "" {
			damaged = path
		}
		return err
	})
	if err := os.WriteFile(damaged, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, problem := p.run(t, "blobs", "copy", "--from", p.data("blobs"), "--to", filepath.Join(p.dir, "elsewhere"))
	if status != 1 || !strings.Contains(out, "not copied: originals/") || !strings.Contains(out, filepath.Base(damaged)) || !strings.Contains(problem, "1 could not be copied") {
		t.Errorf("a damaged file: %d %s%s", status, out, problem)
	}
}

// What cannot work is told before anything else happens, and without the secret.
func TestS3Mistakes(t *testing.T) {
	t.Parallel()
	p := newWorkspace(t)
	location, _, secret := p.onS3(t, "")
	for _, test := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"serve", "--listen", "127.0.0.1:0", "--blobs", "/some/folder"}, 2, "symbolic link"},
		{[]string{"serve", "--listen", "127.0.0.1:0", "--blobs", "s3://me:mine@photos"}, 2, "must not hold keys"},
		{[]string{"serve", "--listen", "127.0.0.1:0", "--blobs", strings.Replace(location, "s3://test-", "s3://other-", 1)}, 1, "bucket does not exist"},
		{[]string{"blobs"}, 2, "say copy"},
		{[]string{"blobs", "move"}, 2, "say copy"},
		{[]string{"blobs", "copy", "--from", "missing", "--to", location}, 1, "find the source"},
		{[]string{"blobs", "copy", "--from", location}, 2, "--from and --to"},
		{[]string{"blobs", "copy", "--from", location + "&profile=nobody", "--to", "x"}, 1, "no credentials"},
	} {
		status, out, problem := p.run(t, test.args...)
		if status != test.status || !strings.Contains(out+problem, test.says) || strings.Contains(out+problem, secret) {
			t.Errorf("%q: %d %s%s", test.args, status, out, problem)
		}
	}
	for _, help := range [][]string{{"blobs", "--help"}, {"blobs", "copy", "--help"}} {
		if out := p.mustRun(t, help...); !strings.Contains(out, "blobs copy") {
			t.Errorf("%q: %s", help, out)
		}
	}
	s := p.serve(t)
	s.end(t, syscall.SIGTERM)
	if status, _, problem := p.run(t, "blobs", "copy", "--from", p.data(), "--to", location); status != 1 || !strings.Contains(problem, "is a data folder; say "+p.data("blobs")) {
		t.Errorf("a data folder: %d %s", status, problem)
	}
}
