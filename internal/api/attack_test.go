package api_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/auth"
	"github.com/banksia-photos/banksia/internal/banksiatest"
	"github.com/banksia-photos/banksia/internal/store"
)

// sentTo is a request to a server by another name than its own.
func sentTo(t *testing.T, s *banksiatest.Server, host, method, target string, form url.Values) *http.Response {
	t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	request, err := http.NewRequest(method, s.URL+target, body)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = host
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer, err := browser(t).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	return answer
}

// Who begins a sign-in under a forged name of the server cannot have the code of
// somebody who ends it under the true one sent to the place of that name.
func TestForgedHost(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	if err := auth.ResetPassword(t.Context(), s.Store, "owner@localhost", password); err != nil {
		t.Fatal(err)
	}
	begun := func(host string) string {
		t.Helper()
		answer := sentTo(t, s, host, "GET", "/api/oauth/auth-url?redirect_uri="+url.QueryEscape("http://"+host+"/auth/login"), nil)
		var body struct{ URL string }
		if err := json.NewDecoder(answer.Body).Decode(&body); err != nil || answer.StatusCode != 200 {
			t.Fatalf("%s, %v", answer.Status, err)
		}
		u, err := url.Parse(body.URL)
		if err != nil {
			t.Fatal(err)
		}
		return u.Query().Get("state")
	}
	form := func(state string) url.Values {
		return url.Values{"state": {state}, "email": {"owner@localhost"}, "password": {password}}
	}
	forged := begun("evil.example")
	own := strings.TrimPrefix(s.URL, "http://")
	if page := sentTo(t, s, own, "GET", "/login?state="+forged, nil); page.StatusCode != http.StatusBadRequest {
		t.Errorf("the page of a forged sign-in: %s", page.Status)
	}
	if answer := sentTo(t, s, own, "POST", "/login", form(forged)); answer.StatusCode != http.StatusBadRequest || answer.Header.Get("Location") != "" {
		t.Errorf("a forged sign-in: %s to %s", answer.Status, answer.Header.Get("Location"))
	}
	honest := begun(own)
	if answer := sentTo(t, s, own, "POST", "/login", form(honest)); answer.StatusCode != http.StatusSeeOther || !strings.HasPrefix(answer.Header.Get("Location"), s.URL+"/auth/login?") {
		t.Errorf("an honest sign-in: %s to %s", answer.Status, answer.Header.Get("Location"))
	}
}

// Guesses that come all at once are not more than guesses one after the other.
func TestGuessesAtOnce(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	if err := auth.ResetPassword(t.Context(), s.Store, "owner@localhost", password); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(begin(t, s))
	if err != nil {
		t.Fatal(err)
	}
	values := url.Values{"state": {u.Query().Get("state")}, "email": {"owner@localhost"}, "password": {"a wrong guess"}}
	var mu sync.Mutex
	statuses := map[int]int{}
	var guessing sync.WaitGroup
	for range 30 {
		guessing.Go(func() {
			answer, err := http.PostForm(s.URL+"/login", values)
			if err != nil {
				t.Error(err)
				return
			}
			answer.Body.Close()
			mu.Lock()
			defer mu.Unlock()
			statuses[answer.StatusCode]++
		})
	}
	guessing.Wait()
	if statuses[http.StatusUnauthorized] > 5 || statuses[http.StatusTooManyRequests] < 25 {
		t.Errorf("thirty guesses at once are answered %v", statuses)
	}
}

// Pages of other sites cannot send the forms: the browser says where they come from.
func TestFormsOfOtherSites(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	if err := auth.ResetPassword(t.Context(), s.Store, "owner@localhost", password); err != nil {
		t.Fatal(err)
	}
	id := register(t, s, "https://app.example/cb")
	u, err := url.Parse(begin(t, s))
	if err != nil {
		t.Fatal(err)
	}
	signIn := url.Values{"state": {u.Query().Get("state")}, "email": {"owner@localhost"}, "password": {password}}
	allow := authorization(id, "https://app.example/cb")
	allow.Set("email", "owner@localhost")
	allow.Set("password", password)
	allow.Set("answer", "allow")
	for target, form := range map[string]url.Values{"/login": signIn, "/oauth/authorize": allow} {
		for _, header := range []http.Header{
			{"Sec-Fetch-Site": {"cross-site"}}, {"Sec-Fetch-Site": {"same-site"}}, {"Origin": {"https://evil.example"}}, {"Origin": {"null"}},
			{"Sec-Fetch-Site": {"same-origin"}, "Origin": {s.URL}}, {"Origin": {s.URL}}, {},
		} {
			request, err := http.NewRequest("POST", s.URL+target, strings.NewReader(form.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			request.Header = header.Clone()
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			answer, err := browser(t).Do(request)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			own := header.Get("Sec-Fetch-Site") == "same-origin" || header.Get("Sec-Fetch-Site") == "" && (header.Get("Origin") == s.URL || header.Get("Origin") == "")
			if want := map[bool]int{true: http.StatusSeeOther, false: http.StatusForbidden}[own]; answer.StatusCode != want {
				t.Errorf("%s with %v: %s", target, header, answer.Status)
			}
		}
	}
}

// No redirect URI that a program registers can add to the policy of the page that
// asks the user.
func TestPolicyOfPages(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	for _, uri := range []string{"https://a.example;upgrade-insecure-requests/", "https://a.example,default-src/", "https://a'b.example/", "https://a%3bb.example/", "com.example;sandbox:/cb"} {
		answer := s.CallAs(t, "", "POST", "/oauth/register", bodyOf{"redirect_uris": []string{uri}})
		if answer.Status != 400 {
			t.Errorf("%s is registered: %d", uri, answer.Status)
		}
	}
	id := register(t, s, "https://app.example:444/cb", "http://[::1]/cb")
	for _, uri := range []string{"https://app.example:444/cb", "http://[::1]:99/cb"} {
		page := open(t, browser(t), s.URL+"/oauth/authorize?"+authorization(id, uri).Encode())
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		want := "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' " + u.Scheme + "://" + u.Host
		if got := page.Header.Get("Content-Security-Policy"); page.StatusCode != 200 || got != want {
			t.Errorf("%s: %s %s", uri, page.Status, got)
		}
	}
}

// Every answer says that it is to be neither guessed, framed nor run, and that
// nobody shall be told where it was read; only what is the same for everybody, or
// signed, may be kept, and that only by the browser.
func TestHeadersOfEveryAnswer(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	photo := upload(t, s, "a.jpg", banksiatest.JPEG(t, 40, 40, 13))
	var whole asset
	s.Call(t, "GET", "/api/assets/"+photo.ID+"?include=variants", nil).JSON(t, &whole)
	s.Finished(t)
	for _, target := range []string{"/api/assets", "/api/assets/" + photo.ID, "/api/nonsense", "/api/server/ping", "/openapi.json", "/login", "/login?state=x", "/oauth/authorize", "/.well-known/oauth-authorization-server", "/api/users/me",
		"/api/assets/" + photo.ID + "/download", "/api/assets/" + photo.ID + "/thumbnail", whole.AssetURLs["original"].URL, whole.AssetURLs["thumbnail"].URL, whole.AssetURLs["thumbnail"].URL + "x"} {
		header := s.Call(t, "GET", target, nil).Header
		policy, caching := header.Get("Content-Security-Policy"), header.Get("Cache-Control")
		if header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Referrer-Policy") == "" || !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") && !strings.HasSuffix(policy, "sandbox") {
			t.Errorf("%s: %v", target, header)
		}
		if strings.Contains(policy, "script-src") || !strings.Contains(caching, "no-store") && !strings.HasPrefix(caching, "private, ") {
			t.Errorf("%s: %s, %s", target, policy, caching)
		}
		if len(header.Values("Set-Cookie")) > 0 {
			t.Errorf("%s sets a cookie", target)
		}
	}
}

// A file that is a page by another name is no image, and what is served never runs.
func TestUploadOfPages(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	for name, content := range map[string]string{"a.jpg": "<html><script>alert(1)</script>", "b.png": "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "c.mp4": "<!DOCTYPE html>"} {
		answer := s.Upload(t, banksiatest.UploadParts(name, []byte(content)))
		if answer.Status >= 500 || answer.Status == 201 {
			var made asset
			answer.JSON(t, &made)
			got := s.Call(t, "GET", "/api/assets/"+made.ID+"/download", nil)
			mime := got.Header.Get("Content-Type")
			if !strings.HasPrefix(mime, "image/") && !strings.HasPrefix(mime, "video/") || strings.Contains(mime, "svg") || !strings.HasPrefix(got.Header.Get("Content-Disposition"), "attachment") || !strings.HasSuffix(got.Header.Get("Content-Security-Policy"), "sandbox") {
				t.Errorf("%s: %v", name, got.Header)
			}
		}
	}
	for _, name := range []string{"a.svg", "a.html", "a.jpg.html", "a.xhtml", "a.pdf"} {
		if answer := s.Upload(t, banksiatest.UploadParts(name, []byte("<svg xmlns='http://www.w3.org/2000/svg'/>"))); answer.Status != 422 {
			t.Errorf("%s: %d", name, answer.Status)
		}
	}
}

// Files that are made to use up the server, to have it call others, or to have it
// show its own files, are kept as what they are and cost one task each; nothing is
// called, nothing is shown, and the server answers on.
func TestHostileUploads(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		if connection, err := listener.Accept(); err == nil {
			connection.Close()
			t.Error("an upload made the server call")
		}
	}()
	secret := filepath.Join(t.TempDir(), "secret.jpg")
	if err := os.WriteFile(secret, banksiatest.JPEG(t, 40, 40, 9), 0o600); err != nil {
		t.Fatal(err)
	}
	chunk := func(name string, content []byte) []byte {
		body := append([]byte(name), content...)
		return binary.BigEndian.AppendUint32(append(binary.BigEndian.AppendUint32(nil, uint32(len(content))), body...), crc32.ChecksumIEEE(body))
	}
	var zeros bytes.Buffer
	packed := zlib.NewWriter(&zeros)
	if _, err := io.CopyN(packed, zeroes{}, 200<<20); err != nil {
		t.Fatal(err)
	}
	if err := packed.Close(); err != nil {
		t.Fatal(err)
	}
	// A profile, a text and pixels, each of 200 MiB in 200 KiB.
	header := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 60000), 60000)
	bomb := slices.Concat([]byte("\x89PNG\r\n\x1a\n"), chunk("IHDR", append(header, 8, 2, 0, 0, 0)), chunk("iCCP", append([]byte("a\x00\x00"), zeros.Bytes()...)),
		chunk("zTXt", append([]byte("Comment\x00\x00"), zeros.Bytes()...)), chunk("IDAT", zeros.Bytes()), chunk("IEND", nil))
	photo := banksiatest.JPEG(t, 40, 40, 13)
	xmp := func(text string) []byte {
		packet := "http://ns.adobe.com/xap/1.0/\x00" + text
		return slices.Concat(photo[:2], []byte{0xff, 0xe1}, binary.BigEndian.AppendUint16(nil, uint16(len(packet)+2)), []byte(packet), photo[2:])
	}
	entities := func(definitions, use string) []byte {
		return xmp(`<?xml version="1.0"?><!DOCTYPE x [` + definitions + `]><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:description>` + use + `</dc:description></rdf:Description></rdf:RDF></x:xmpmeta>`)
	}
	elsewhere := "http://" + listener.Addr().String() + "/x"
	for name, content := range map[string][]byte{
		"bomb.png":     bomb,
		"svg.png":      []byte(`<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="9" height="9"><image xlink:href="` + elsewhere + `"/><image xlink:href="file://` + secret + `"/></svg>`),
		"magick.jpg":   []byte("push graphic-context\nimage over 0,0 9,9 '" + elsewhere + "'\n"),
		"playlist.mp4": []byte("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1,\n" + elsewhere + "\n#EXTINF:1,\nfile://" + secret + "\n#EXT-X-ENDLIST\n"),
		"concat.mkv":   []byte("ffconcat version 1.0\nfile '" + secret + "'\nfile '" + elsewhere + "'\n"),
		"dash.webm":    []byte(`<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet><Representation id="1"><BaseURL>` + elsewhere + `</BaseURL></Representation></AdaptationSet></Period></MPD>`),
		"laughs.jpg":   entities(`<!ENTITY a "ha ha ha ha ha "><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">`, "&c;"),
		"xxe.jpg":      entities(`<!ENTITY a SYSTEM "file:///etc/passwd"><!ENTITY b SYSTEM "`+elsewhere+`">`, "&a;&b;"),
	} {
		answer := s.Upload(t, banksiatest.UploadParts(name, content))
		if answer.Status != 201 && answer.Status != 422 {
			t.Errorf("%s: %d %s", name, answer.Status, answer.Body)
		}
		if answer.Status != 201 {
			continue
		}
		s.Finished(t)
		var made asset
		answer.JSON(t, &made)
		body := s.Call(t, "GET", "/api/assets/"+made.ID, nil).Body
		if bytes.Contains(body, []byte("ha ha")) || bytes.Contains(body, []byte("root:")) {
			t.Errorf("%s: %.300s", name, body)
		}
		thumbnail := s.Call(t, "GET", "/api/assets/"+made.ID+"/thumbnail", nil)
		if photograph := bytes.HasPrefix(content, []byte{0xff, 0xd8}); (thumbnail.Status == 200) != photograph {
			t.Errorf("%s: a preview is answered with %d", name, thumbnail.Status)
		}
	}
}

// zeroes is a file of nothing else, without an end.
type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Requests that servers and proxies may read differently are refused, and nothing
// after them is taken for a request.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	for name, request := range map[string]string{
		"two lengths":              "POST /api/assets/exist HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n{}  ",
		"unknown coding":           "POST /oauth/token HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"coding twice":             "POST /oauth/token HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
		"space before the colon":   "POST /oauth/token HTTP/1.1\r\nHost: a\r\nContent-Length : 4\r\n\r\n0\r\n\r\n",
		"negative length":          "POST /oauth/token HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
		"signed length":            "POST /oauth/token HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\naaaa",
		"bare line feed in chunks": "POST /oauth/token HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\naa\r\n0\r\n\r\n",
		"chunk of bad size":        "POST /oauth/token HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\naa\r\n0\r\n\r\n",
		"two hosts":                "GET /api/server/ping HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"no host":                  "GET /api/server/ping HTTP/1.1\r\n\r\n",
		"folded header":            "GET /api/server/ping HTTP/1.1\r\nHost: a\r\nX: a\r\n Transfer-Encoding: chunked\r\n\r\n",
		"header with a zero byte":  "GET /api/server/ping HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
	} {
		connection, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(connection, strings.ReplaceAll(request, "KEY", s.Key)); err != nil {
			t.Fatal(err)
		}
		if err := connection.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(connection)
		connection.Close()
		status := regexp.MustCompile(`HTTP/1.1 (\d+)`).FindAllSubmatch(answer, -1)
		if err != nil || bytes.Contains(answer, []byte(s.Owner.ID.String())) || len(status) != 1 || status[0][1][0] == '2' && name != "folded header" {
			t.Errorf("%s: %v %.300s", name, err, answer)
		}
	}
}

// Names of files and texts of users go into no header but as they should, and into
// no path at all.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	for i, name := range []string{"../../../../etc/passwd.jpg", "..\\..\\a.jpg", "/etc/a.jpg", "a\"; filename=evil.html; x=\".jpg", "a%0d%0aSet-Cookie: x=y.jpg", "%2e%2e%2fa.jpg", "-rf.jpg", "`id`.jpg", "$(id).jpg", "a|b;c&d.jpg", "concat:a|b.jpg", "http:/a.jpg", "[page=3].jpg", "con.jpg", strings.Repeat("a", 250) + ".jpg"} {
		answer := s.Upload(t, banksiatest.UploadParts(name, banksiatest.JPEG(t, 20, 20, uint8(i))))
		if answer.Status != 201 {
			t.Errorf("%q: %d %s", name, answer.Status, answer.Body)
			continue
		}
		var made asset
		answer.JSON(t, &made)
		got := s.Call(t, "GET", "/api/assets/"+made.ID+"/download", nil)
		if got.Status != 200 || len(got.Header.Values("Set-Cookie")) > 0 || !slices.Equal(got.Header.Values("Content-Disposition"), []string{got.Header.Get("Content-Disposition")}) {
			t.Errorf("%q: %d %v", name, got.Status, got.Header)
		}
		if thumbnail := s.Call(t, "GET", "/api/assets/"+made.ID+"/thumbnail", nil); thumbnail.Status != 200 {
			t.Errorf("%q cannot be drawn: %d", name, thumbnail.Status)
		}
	}
	// Paths that lead out of what is served.
	for _, target := range []string{"/media/../../etc/passwd", "/media/x/..%2f..%2fetc/passwd", "/docs/../../../etc/passwd", "/docs/..%2f..%2fgo.mod", "/docs/%2e%2e/%2e%2e/go.mod", "/media/asset_version_BM3nUmJ6fkBqBADyz5FEiu/..%2f..%2fbanksia.db/x", "/.git/config", "/banksia.db", "/docs/static/"} {
		request, err := http.NewRequest("GET", s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.URL.Opaque = strings.TrimPrefix(s.URL, "http:") + target
		answer, err := browser(t).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != 404 && answer.StatusCode != 403 {
			t.Errorf("%s: %s", target, answer.Status)
		}
	}
}

// Whatever is sent to the server, and whatever goes wrong, no secret gets into the
// log, though everything else does.
func TestSecretsStayOutOfTheLog(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	if err := auth.ResetPassword(t.Context(), s.Store, "owner@localhost", password); err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{"the key": s.Key, "the local credential": s.Local, "the password": password, "a wrong password": "Tr0ub4dor&3", "a wrong key": "apikey_wrongbutsecret"}
	client := browser(t)
	target := begin(t, s)
	wrong := submit(t, client, open(t, client, target), map[string]string{"email": "owner@localhost", "password": "Tr0ub4dor&3"})
	location := submit(t, client, wrong, map[string]string{"email": "owner@localhost", "password": password}).Header.Get("Location")
	back, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	secrets["the code"], secrets["the state"] = back.Query().Get("code"), back.Query().Get("state")
	_, session := exchange(t, s, location, verifier)
	secrets["the session"], secrets["the verifier"] = session.Token, verifier
	secrets["a new key"] = func() string {
		var key struct {
			Secret string `json:"api_key"`
		}
		s.CallAs(t, session.Token, "POST", "/api/api-keys/", bodyOf{"name": "x", "actions": []string{"read"}, "library_scope_mode": "all_libraries"}).JSON(t, &key)
		return key.Secret
	}()
	program := register(t, s, "http://127.0.0.1/cb")
	allowed := submit(t, client, open(t, client, s.URL+"/oauth/authorize?"+authorization(program, "http://127.0.0.1:9/cb").Encode()), map[string]string{"email": "owner@localhost", "password": password, "answer": "allow"})
	if back, err = allowed.Location(); err != nil {
		t.Fatal(err)
	}
	secrets["the program's code"] = back.Query().Get("code")
	answer, err := http.PostForm(s.URL+"/oauth/token", url.Values{"grant_type": {"authorization_code"}, "client_id": {program}, "code": {secrets["the program's code"]}, "code_verifier": {verifier}})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var tokens auth.Tokens
	if err := json.NewDecoder(answer.Body).Decode(&tokens); err != nil {
		t.Fatal(err)
	}
	secrets["the access token"], secrets["the refresh token"] = tokens.AccessToken, tokens.RefreshToken
	photo := upload(t, s, "a.jpg", banksiatest.JPEG(t, 40, 40, 13))
	signed, err := url.Parse(photo.AssetURLs["thumbnail"].URL)
	if err != nil {
		t.Fatal(err)
	}
	secrets["the signature"] = signed.Query().Get("signature")
	for name, secret := range secrets {
		if len(secret) < 8 {
			t.Fatalf("%s is %q", name, secret)
		}
	}
	spoil := func() {
		for _, secret := range secrets {
			s.CallAs(t, secret, "GET", "/api/users/me", nil)
			s.CallAs(t, secret, "GET", "/api/assets?api_key="+url.QueryEscape(secret), nil)
			s.CallAs(t, secret, "POST", "/api/albums", bodyOf{"name": secret, "description": 1})
			s.CallAs(t, "", "POST", "/api/oauth/exchange", bodyOf{"code": secret, "state": secret, "error": secret, "code_verifier": secret})
			s.CallAs(t, "", "POST", "/oauth/register", bodyOf{"redirect_uris": []string{secret}})
			for _, path := range []string{"/oauth/token", "/oauth/revoke", "/oauth/authorize", "/login"} {
				answer, err := http.PostForm(s.URL+path, url.Values{"token": {secret + "x"}, "code": {secret}, "refresh_token": {secret}, "state": {secret}, "password": {secret}, "grant_type": {"refresh_token"}, "client_id": {secret}})
				if err != nil {
					t.Fatal(err)
				}
				answer.Body.Close()
			}
			for _, path := range []string{"/oauth/callback?code=", "/login?state=", "/oauth/authorize?client_id=", signed.Path + "?expires=1&signature="} {
				open(t, client, s.URL+path+url.QueryEscape(secret))
			}
		}
	}
	spoil()
	s.CloseStore() // from now on everything goes wrong
	spoil()
	log := s.Log.String()
	if !strings.Contains(log, "level=DEBUG") || !strings.Contains(log, "status=500") || !strings.Contains(log, "path=/oauth/token") {
		t.Errorf("the log is too quiet to prove anything:\n%.2000s", log)
	}
	for name, secret := range secrets {
		for _, form := range []string{secret, url.QueryEscape(secret)} {
			if at := strings.Index(log, form); at >= 0 {
				t.Errorf("the log has %s: %s", name, log[max(0, at-300):min(len(log), at+100)])
			}
		}
	}
}

// The work that is left of a deleted library belongs to none, and is nothing to a
// key of other libraries.
func TestTaskOfNoLibrary(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	a := s.AddAssets(t, 1, func(int, *banksia.Asset, *banksia.Metadata) {})[0]
	task := banksia.Task{UserID: s.Owner.ID, AssetID: &a.ID, Type: banksia.TaskReverseGeocode}
	if err := s.Store.Write(t.Context(), func(tx *store.Tx) error { return tx.EnqueueTask(&task, "") }); err != nil {
		t.Fatal(err)
	}
	narrow := s.NewKey(t, banksia.Actions, []banksia.LibraryID{s.Library})
	for key, want := range map[string]int{s.Key: 200, narrow: 404} {
		for _, id := range []string{task.ID.String(), task.DeliveryID} {
			if answer := s.CallAs(t, key, "GET", "/api/tasks/"+id, nil); answer.Status != want {
				t.Errorf("%d, not %d: %s", answer.Status, want, answer.Body)
			}
		}
	}
}
