package api_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/banksiatest"
)

// asked sends a request as it is and returns the answer, whose body is closed; nil
// when Go's client does not send such a request.
func asked(t *testing.T, client *http.Client, method, target string, body string, header http.Header) *http.Response {
	t.Helper()
	request, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		return nil
	}
	request.Header = header
	answer, err := client.Do(request)
	if err != nil {
		return nil
	}
	answer.Body.Close()
	return answer
}

// No URL but the one that was given out gives the bytes.
func FuzzSignedURL(f *testing.F) {
	s := banksiatest.NewServer(f)
	var made asset
	s.Upload(f, banksiatest.UploadParts("a.jpg", banksiatest.JPEG(f, 8, 8, 1))).JSON(f, &made)
	signed, err := url.Parse(made.AssetURLs["original"].URL)
	if err != nil {
		f.Fatal(err)
	}
	parts := strings.Split(signed.Path, "/") // "", media, version, variant, name
	expires, signature := signed.Query().Get("expires"), signed.Query().Get("signature")
	for _, seed := range [][4]string{
		{parts[2], parts[3], expires, signature}, {parts[2], "thumbnail", expires, signature}, {parts[2], parts[3], expires + "0", signature}, {parts[2], parts[3], "+" + expires, signature},
		{parts[2], parts[3], expires, ""}, {parts[2], parts[3], expires, signature + "="}, {parts[2] + "/../x", parts[3], "0x1", "%00"}, {strings.ToUpper(parts[2]), "face_x", "-1", signature},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	f.Fuzz(func(t *testing.T, version, variant, until, sign string) {
		target := s.URL + "/media/" + url.PathEscape(version) + "/" + url.PathEscape(variant) + "/x?" + url.Values{"expires": {until}, "signature": {sign}}.Encode()
		answer := asked(t, http.DefaultClient, "GET", target, "", nil)
		if answer == nil {
			return
		}
		given := version == parts[2] && variant == parts[3] && strings.TrimLeft(strings.TrimPrefix(until, "+"), "0") == expires && sign == signature
		if answer.StatusCode >= 500 || (answer.StatusCode == 200) != given {
			t.Errorf("%s: %s", target, answer.Status)
		}
	})
}

// Nothing but a credential is one.
func FuzzCredential(f *testing.F) {
	s := banksiatest.NewServer(f)
	people := newPeople(f, s)
	session, token := people.session(s.Owner.ID), people.tokens(s.Owner.ID, banksia.Actions).AccessToken
	known := map[string]bool{s.Key: true, s.Local: true, session: true, token: true}
	for credential := range known {
		f.Add("Bearer " + credential)
		f.Add("bearer  " + credential + " ")
		f.Add("Bearer " + credential[:len(credential)-1])
	}
	f.Add("Bearer eyJhbGciOiJub25lIn0." + strings.Split(session, ".")[1] + ".")
	f.Add("Basic " + s.Key)
	f.Fuzz(func(t *testing.T, authorization string) {
		answer := asked(t, http.DefaultClient, "GET", s.URL+"/api/users/me", "", http.Header{"Authorization": {authorization}})
		if answer == nil {
			return
		}
		_, credential, _ := strings.Cut(strings.TrimSpace(authorization), " ")
		if answer.StatusCode >= 500 || answer.StatusCode == 200 && !known[strings.TrimSpace(credential)] {
			t.Errorf("%q: %s", authorization, answer.Status)
		}
	})
}

// Whatever a program asks for, the answer goes to an address that it registered.
func FuzzAuthorizationRequest(f *testing.F) {
	var minutes atomic.Int64 // or the limit of sign-ins would answer
	s := banksiatest.NewServerWith(f, banksiatest.Config{Now: func() time.Time { return time.Unix(1_800_000_000, 0).Add(time.Duration(minutes.Load()) * time.Minute) }})
	people := newPeople(f, s)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	good := authorization(people.program, returnTo)
	f.Add(good.Encode())
	for name, value := range map[string]string{"redirect_uri": "https://evil.example/", "response_type": "token", "scope": "read:assets\nx", "state": "\r\nSet-Cookie: a=b", "code_challenge_method": "plain", "client_id": "x"} {
		bad := authorization(people.program, returnTo)
		bad.Set(name, value)
		f.Add(bad.Encode())
	}
	for _, uri := range []string{returnTo + "@evil.example", returnTo + "?a=b", "http://localhost:1@evil.example/auth/login", "http://localhost:99999/auth/login", "//localhost/auth/login", "HTTP://LOCALHOST/auth/login"} {
		bad := authorization(people.program, uri)
		f.Add(bad.Encode())
	}
	registered, err := url.Parse(returnTo)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query string) {
		minutes.Add(1)
		refusal := query + "&answer=refuse"
		form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
		for _, answer := range []*http.Response{
			asked(t, client, "GET", s.URL+"/oauth/authorize?"+query, "", nil),
			asked(t, client, "POST", s.URL+"/oauth/authorize", refusal, form),
			asked(t, client, "POST", s.URL+"/oauth/token", query, form),
			asked(t, client, "GET", s.URL+"/api/oauth/auth-url?"+query, "", nil),
		} {
			if answer == nil {
				continue
			}
			if answer.StatusCode >= 500 {
				t.Errorf("%q: %s", query, answer.Status)
			}
			if target := answer.Header.Get("Location"); target != "" {
				if u, err := url.Parse(target); err != nil || u.Scheme != registered.Scheme || u.Hostname() != registered.Hostname() || u.Path != registered.Path || u.User != nil {
					t.Errorf("%q is answered at %s", query, target)
				}
			}
		}
	})
}
