package api

import (
	"crypto/tls"
	"mime"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// behaviour 7.27: media URLs begin with the origin that the client used.
func TestOrigin(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		cfg    Config
		host   string
		header map[string]string
		tls    bool
		want   string
	}{
		{name: "as asked", host: "photos.local:8000", want: "http://photos.local:8000"},
		{name: "IPv6", host: "[::1]:8000", want: "http://[::1]:8000"},
		{name: "with TLS", host: "photos.local", tls: true, want: "https://photos.local"},
		{name: "configured", cfg: Config{PublicURL: "https://photos.example.org/"}, host: "10.0.0.1", want: "https://photos.example.org"},
		{name: "forwarded by nobody known", host: "a", header: map[string]string{"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"}, want: "http://a"},
		{name: "forwarded", cfg: Config{TrustForwarded: true}, host: "a", header: map[string]string{"X-Forwarded-Proto": "https", "X-Forwarded-Host": "b.example:444"}, want: "https://b.example:444"},
		{name: "forwarded twice", cfg: Config{TrustForwarded: true}, host: "a", header: map[string]string{"X-Forwarded-Proto": "https, http", "X-Forwarded-Host": "b.example, proxy"}, want: "https://b.example"},
		{name: "forwarded nonsense", cfg: Config{TrustForwarded: true}, host: "a", header: map[string]string{"X-Forwarded-Proto": "javascript", "X-Forwarded-Host": `b"><script>`}, want: "http://localhost"},
		{name: "no host", host: "", want: "http://localhost"},
		{name: "a path in the host", host: "a/b", want: "http://localhost"},
		{name: "a user in the host", host: "user@a", want: "http://localhost"},
		{name: "a port that is none", host: "a:b", want: "http://localhost"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = test.host
		for name, value := range test.header {
			r.Header.Set(name, value)
		}
		if test.tls {
			r.TLS = &tls.ConnectionState{}
		}
		if got := (&Server{cfg: test.cfg}).origin(r); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func FuzzValidHost(f *testing.F) {
	for _, host := range []string{"a", "a:1", "[::1]:80", "a/b", "a@b", "a?b", "a#b", "[", ":80", "%41", "ü.example"} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		if !validHost(host) {
			return
		}
		u, err := url.Parse("http://" + host + "/media/x?y")
		if err != nil || u.Host != host || u.Path != "/media/x" || u.RawQuery != "y" || u.User != nil {
			t.Errorf("%q begins %q, %v", host, u, err)
		}
	})
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{"": true, "https://photos.example.org": true, "http://a:1": true, "photos.example.org": false, "ftp://a": false, "https://": false, "https://a?b": false, "https://a b": false} {
		if err := (Config{PublicURL: text}).Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
	if (Config{Patience: -1}).Validate() == nil {
		t.Error("negative patience")
	}
}

// Names come back as they are stored, and break nothing (RFC 6266).
func TestAttachment(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"tree.jpg", "two words.jpg", `a"b.jpg`, `a\b.jpg`, "日本.jpg", "é'(1).jpg", "100%.jpg", "a%20b.jpg", "semi;colon=x.jpg", "a*b.jpg", "new\nline.jpg", "tab\t.jpg", strings.Repeat("ü", 1024)} {
		text := attachment(name)
		kind, parameters, err := mime.ParseMediaType(text)
		if err != nil || kind != "attachment" || parameters["filename"] != name {
			t.Errorf("%q is written %q and read %q, %v", name, text, parameters["filename"], err)
		}
		for _, c := range []byte(text) {
			if c < 0x20 || c > 0x7e {
				t.Errorf("%q is written with byte %#x", name, c)
			}
		}
	}
}
