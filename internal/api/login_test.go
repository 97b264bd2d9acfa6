package api_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"html"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/auth"
	"github.com/banksia-photos/banksia/internal/banksiatest"
)

const (
	verifier = "a verifier of at least forty-three characters, says RFC 7636"
	password = "correct horse battery"
	returnTo = "http://localhost:3000/auth/login"
)

func challenge() string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// browser is a person's: it follows links within the server and stops where it
// would leave it.
func browser(t testing.TB) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// submit fills in the form of a page and sends it.
func submit(t testing.TB, client *http.Client, page *http.Response, fields map[string]string) *http.Response {
	t.Helper()
	text, err := io.ReadAll(page.Body)
	page.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	values := url.Values{}
	for _, input := range regexp.MustCompile(`<input[^>]*>`).FindAllString(string(text), -1) {
		attribute := func(name string) string {
			if match := regexp.MustCompile(name + `="([^"]*)"`).FindStringSubmatch(input); match != nil {
				return html.UnescapeString(match[1])
			}
			return ""
		}
		values.Set(attribute("name"), attribute("value"))
	}
	for name, value := range fields {
		values.Set(name, value)
	}
	action := regexp.MustCompile(`action="([^"]*)"`).FindStringSubmatch(string(text))
	if action == nil {
		t.Fatalf("there is no form: %d %s", page.StatusCode, text)
	}
	target, err := page.Request.URL.Parse(html.UnescapeString(action[1]))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.PostForm(target.String(), values)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func open(t testing.TB, client *http.Client, target string) *http.Response {
	t.Helper()
	answer, err := client.Get(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	return answer
}

// begin asks for the URL of a sign-in (behaviour 5.1).
func begin(t testing.TB, s *banksiatest.Server) string {
	t.Helper()
	var body struct{ URL string }
	answer := s.CallAs(t, "", "GET", "/api/oauth/auth-url"+banksiatest.Query("redirect_uri", returnTo, "code_challenge", challenge(), "code_challenge_method", "S256"), nil)
	if answer.Status != 200 {
		t.Fatalf("%d: %s", answer.Status, answer.Body)
	}
	answer.JSON(t, &body)
	return body.URL
}

type session struct {
	Token string `json:"access_token"`
	User  struct {
		ID          string  `json:"id"`
		Email       *string `json:"email"`
		IsActive    bool    `json:"is_active"`
		ClerkUserID *string `json:"clerk_user_id"`
		FirstName   *string `json:"first_name"`
		LastName    *string `json:"last_name"`
	} `json:"user"`
}

// exchange ends a sign-in with what the browser was sent back with.
func exchange(t testing.TB, s *banksiatest.Server, location, verifier string) (answer banksiatest.Answer, result session) {
	t.Helper()
	back, err := url.Parse(location)
	if err != nil || !strings.HasPrefix(location, returnTo+"?") {
		t.Fatalf("sent back to %q, %v", location, err)
	}
	answer = s.CallAs(t, "", "POST", "/api/oauth/exchange", bodyOf{"code": back.Query().Get("code"), "state": back.Query().Get("state"), "code_verifier": verifier})
	if answer.Status == 200 {
		answer.JSON(t, &result)
	}
	return answer, result
}

// signIn is the whole way from the first page to a session.
func signIn(t testing.TB, s *banksiatest.Server, email, password string) session {
	t.Helper()
	client := browser(t)
	answer := submit(t, client, open(t, client, begin(t, s)), map[string]string{"email": email, "password": password})
	if answer.StatusCode != http.StatusSeeOther {
		t.Fatalf("signed in: %s", answer.Status)
	}
	result, session := exchange(t, s, answer.Header.Get("Location"), verifier)
	if result.Status != 200 {
		t.Fatalf("%d: %s", result.Status, result.Body)
	}
	return session
}

// behaviour 5: sign in on the built-in page, with PKCE, once.
func TestLogin(t *testing.T) {
	t.Parallel()
	var clock atomic.Int64
	start := time.Now()
	s := banksiatest.NewServerWith(t, banksiatest.Config{Now: func() time.Time { return start.Add(time.Duration(clock.Load())) }})
	user, err := auth.AddUser(t.Context(), s.Store, "Ada@Example.org", password)
	if err != nil {
		t.Fatal(err)
	}
	client := browser(t)
	target := begin(t, s)
	if !strings.HasPrefix(target, s.URL+"/login?state=") || len(target) > 2083 {
		t.Errorf("the URL is %s", target)
	}
	page := open(t, client, target)
	if policy := page.Header.Get("Content-Security-Policy"); page.StatusCode != 200 || !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "form-action 'self' http://localhost:3000") {
		t.Errorf("the page: %s, %s", page.Status, policy)
	}
	wrong := submit(t, client, page, map[string]string{"email": "ada@example.org", "password": "wrong password"})
	if wrong.StatusCode != http.StatusUnauthorized {
		t.Errorf("a wrong password: %s", wrong.Status)
	}
	right := submit(t, client, wrong, map[string]string{"email": "ADA@example.org", "password": password})
	location := right.Header.Get("Location")
	if right.StatusCode != http.StatusSeeOther {
		t.Fatalf("the right password: %s", right.Status)
	}
	answer, ada := exchange(t, s, location, verifier)
	if answer.Status != 200 || ada.User.ID != user.ID.String() || *ada.User.Email != "ada@example.org" || !ada.User.IsActive {
		t.Fatalf("exchanged: %d %s", answer.Status, answer.Body)
	}
	if again, _ := exchange(t, s, location, verifier); again.Status != 400 || !strings.Contains(string(again.Body), "start it again") { // behaviour 5.5
		t.Errorf("exchanged again: %d %s", again.Status, again.Body)
	}
	me := func(token string) banksiatest.Answer {
		t.Helper()
		return s.CallAs(t, token, "GET", "/api/users/me", nil)
	}
	if got := me(ada.Token); got.Status != 200 || !strings.Contains(string(got.Body), "ada@example.org") || got.Header.Get("X-New-Access-Token") != "" {
		t.Errorf("who am I: %d %s", got.Status, got.Body)
	}
	// Her own library is made by her first album, and nobody else's is seen.
	made := s.CallAs(t, ada.Token, "POST", "/api/albums", bodyOf{"name": "hers"})
	if made.Status != 201 {
		t.Errorf("her album: %d %s", made.Status, made.Body)
	}
	want(t, s, 200, "GET", "/api/albums", nil)
	var mine struct{ Data []album }
	if s.Call(t, "GET", "/api/albums", nil).JSON(t, &mine); len(mine.Data) != 0 {
		t.Errorf("the owner sees %v", mine.Data)
	}
	// Past half of its life the token is renewed, and works on (behaviour 4.8, 21.8).
	clock.Store(int64(31 * time.Minute))
	renewed := me(ada.Token).Header.Get("X-New-Access-Token")
	if renewed == "" || me(renewed).Header.Get("X-New-Access-Token") != "" || me(ada.Token).Status != 200 {
		t.Errorf("renewed: %q", renewed)
	}
	if got := s.Call(t, "GET", "/api/users/me", nil).Header.Get("X-New-Access-Token"); got != "" {
		t.Errorf("a key is renewed: %s", got)
	}
	clock.Store(int64(6 * 24 * time.Hour)) // within the grace of a client that was away
	if renewed = me(renewed).Header.Get("X-New-Access-Token"); renewed == "" {
		t.Error("not renewed within the grace")
	}
	clock.Store(int64(12 * 24 * time.Hour)) // the grace slides
	if got := me(renewed); got.Status != 200 {
		t.Errorf("after another six days: %d %s", got.Status, got.Body)
	}
	if got := me(ada.Token); got.Status != 401 || !strings.Contains(string(got.Body), "JWT has expired") { // behaviour 3.6
		t.Errorf("the first token: %d %s", got.Status, got.Body)
	}
	for _, token := range []string{renewed + "x", "a.b.c", strings.Replace(renewed, ".", ".x", 1), "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."} {
		if got := me(token); got.Status != 401 {
			t.Errorf("%.40s: %d", token, got.Status)
		}
	}
	// Out: by another password, and by being disabled (behaviour 4.11).
	if err := auth.ResetPassword(t.Context(), s.Store, "ada@example.org", "another password"); err != nil {
		t.Fatal(err)
	}
	if got := me(renewed); got.Status != 401 {
		t.Errorf("after another password: %d", got.Status)
	}
	ada = signIn(t, s, "ada@example.org", "another password")
	if _, err := auth.ChangeUser(t.Context(), s.Store, "ada@example.org", func(u *banksia.User) { u.IsActive = false }); err != nil {
		t.Fatal(err)
	}
	if got := me(ada.Token); got.Status != 401 {
		t.Errorf("disabled: %d", got.Status)
	}
	if ada = signIn(t, s, "ada@example.org", "another password"); ada.User.IsActive || me(ada.Token).Status != 401 {
		t.Errorf("disabled, signed in again: %+v", ada)
	}
	// What begins and does not end well.
	late := begin(t, s)
	clock.Add(int64(11 * time.Minute))
	if page := open(t, client, late); page.StatusCode != 400 {
		t.Errorf("a late page: %s", page.Status)
	}
	state := func() string {
		u, err := url.Parse(begin(t, s))
		if err != nil {
			t.Fatal(err)
		}
		return u.Query().Get("state")
	}
	for name, body := range map[string]bodyOf{
		"no state": {}, "an unknown state": {"state": "x", "code": "y"}, "an error": {"state": state(), "error": "access_denied"},
		"no verifier": {"state": state(), "code": "x"}, "another verifier": {"state": state(), "code": "x", "code_verifier": "y"}, "no code": {"state": state(), "code_verifier": verifier},
	} {
		if answer := s.CallAs(t, "", "POST", "/api/oauth/exchange", body); answer.Status != 400 {
			t.Errorf("%s: %d %s", name, answer.Status, answer.Body)
		}
	}
	if answer := s.CallAs(t, "", "POST", "/api/oauth/exchange", "x"); answer.Status != 422 {
		t.Errorf("no object: %d", answer.Status)
	}
	for query, status := range map[string]int{
		"": 422, "redirect_uri=https://evil.example/": 422, "redirect_uri=javascript:alert(1)": 422, "redirect_uri=" + returnTo: 200,
		"redirect_uri=" + url.QueryEscape(s.URL+"/api/oauth/mobile-redirect"): 200, "redirect_uri=http://localhost.evil.example/": 422,
		"redirect_uri=http://user@localhost/": 422, "redirect_uri=" + returnTo + "&code_challenge=x": 422,
		"redirect_uri=" + returnTo + "&code_challenge_method=S256": 422, "redirect_uri=" + returnTo + "&code_challenge_method=plain&code_challenge=" + challenge(): 422,
		"redirect_uri=" + returnTo + "&code_challenge_method=S256&code_challenge=short": 422,
	} {
		if answer := s.CallAs(t, "", "GET", "/api/oauth/auth-url?"+query, nil); answer.Status != status {
			t.Errorf("%s: %d %s", query, answer.Status, answer.Body)
		}
	}
	var out struct {
		URL string `json:"logout_endpoint"`
	}
	s.CallAs(t, "", "GET", "/api/oauth/logout-endpoint", nil).JSON(t, &out)
	if page := open(t, client, out.URL); page.StatusCode != 200 {
		t.Errorf("signed out: %s", page.Status)
	}
	// Who guesses has to wait, also with the right password.
	page = open(t, client, begin(t, s))
	for range 5 {
		page = submit(t, client, page, map[string]string{"email": "ada@example.org", "password": "a wrong guess"})
	}
	if page = submit(t, client, page, map[string]string{"email": "ada@example.org", "password": "another password"}); page.StatusCode != 429 || page.Header.Get("Retry-After") == "" {
		t.Errorf("after many guesses: %s", page.Status)
	}
}

// behaviour 4.2 to 4.5: keys are made in person, shown once, and listed for ever.
func TestAPIKeys(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	type key struct {
		ID       string   `json:"id"`
		Secret   string   `json:"api_key"`
		Name     *string  `json:"name"`
		IsActive bool     `json:"is_active"`
		Actions  []string `json:"actions"`
		Mode     string   `json:"library_scope_mode"`
		Count    *int     `json:"selected_library_count"`
		LastUsed *string  `json:"last_used_at"`
	}
	call := func(status int, method, target string, body any) banksiatest.Answer {
		t.Helper()
		answer := s.CallAs(t, s.Local, method, target, body)
		if answer.Status != status {
			t.Fatalf("%s %s: %d, not %d: %s", method, target, answer.Status, status, answer.Body)
		}
		return answer
	}
	for _, prefix := range []string{"/api/api-keys", "/api-keys"} {
		status := map[string]int{"/api/api-keys": 201, "/api-keys": 200}[prefix]
		var all, some key
		call(status, "POST", prefix+"/", bodyOf{"name": "old"}).JSON(t, &all)
		if !strings.HasPrefix(all.Secret, "apikey_") || len(all.Actions) != 4 || all.Mode != "all_libraries" || all.Count != nil {
			t.Errorf("made %+v", all)
		}
		call(status, "POST", prefix, bodyOf{"name": "new", "actions": []string{"read", "read"}, "library_scope_mode": "selected_libraries", "library_ids": []string{s.Library.String()}}).JSON(t, &some)
		if len(some.Actions) != 1 || some.Mode != "selected_libraries" || *some.Count != 1 {
			t.Errorf("made %+v", some)
		}
		if got := s.CallAs(t, some.Secret, "GET", "/api/assets", nil); got.Status != 200 {
			t.Errorf("the new key: %d", got.Status)
		}
		var renamed key
		call(200, "PATCH", prefix+"/"+some.ID, bodyOf{"name": "renamed"}).JSON(t, &renamed)
		if *renamed.Name != "renamed" || renamed.Secret != "" || *renamed.Count != 1 {
			t.Errorf("renamed %+v", renamed)
		}
		call(200, "DELETE", prefix+"/"+some.ID, nil)
		if got := s.CallAs(t, some.Secret, "GET", "/api/assets", nil); got.Status != 401 {
			t.Errorf("the revoked key: %d", got.Status)
		}
		var listed []key
		call(200, "GET", prefix+"/", nil).JSON(t, &listed)
		at := slices.IndexFunc(listed, func(k key) bool { return k.ID == some.ID })
		if at < 0 || listed[at].IsActive || listed[at].LastUsed == nil || listed[at].Secret != "" {
			t.Errorf("listed %+v", listed)
		}
		unknown := banksia.NewID[banksia.APIKeyID](time.Now()).String()
		call(404, "PATCH", prefix+"/"+unknown, bodyOf{"name": "x"})
		call(404, "DELETE", prefix+"/"+unknown, nil)
		call(map[string]int{"/api/api-keys": 422, "/api-keys": 404}[prefix], "DELETE", prefix+"/x", nil)
		call(404, "POST", prefix+"/", bodyOf{"name": "x", "library_scope_mode": "selected_libraries", "library_ids": []string{banksia.NewID[banksia.LibraryID](time.Now()).String()}})
		for _, body := range []any{bodyOf{}, bodyOf{"name": ""}, bodyOf{"name": "a\x00"}, bodyOf{"name": "x", "actions": []string{}}, bodyOf{"name": "x", "actions": []string{"write"}}, bodyOf{"name": "x", "actions": []string{"read", "fly"}},
			bodyOf{"name": "x", "library_scope_mode": "none"}, bodyOf{"name": "x", "library_scope_mode": "selected_libraries"}, bodyOf{"name": "x", "library_scope_mode": "all_libraries", "library_ids": []string{s.Library.String()}},
			bodyOf{"name": "x", "library_scope_mode": "selected_libraries", "library_ids": []string{}}, bodyOf{"name": "x", "library_scope_mode": "selected_libraries", "library_ids": []string{"x"}}, "x"} {
			call(422, "POST", prefix+"/", body)
		}
		call(422, "PATCH", prefix+"/"+all.ID, bodyOf{})
		// Programs may not (behaviour 4.5).
		for method, target := range map[string]string{"GET": prefix + "/", "POST": prefix + "/", "PATCH": prefix + "/" + all.ID, "DELETE": prefix + "/" + all.ID} {
			if got := s.Call(t, method, target, bodyOf{"name": "x"}); got.Status != 403 {
				t.Errorf("%s %s with a key: %d", method, target, got.Status)
			}
			if got := s.CallAs(t, "", method, target, bodyOf{"name": "x"}); got.Status != 401 {
				t.Errorf("%s %s with nothing: %d", method, target, got.Status)
			}
		}
	}
}

// issuer runs a real OpenID Connect provider, with the users of its example:
// test-user@… with the password verysecure.
func issuer(t *testing.T, redirectURIs ...string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	origin := "http://" + strings.Replace(listener.Addr().String(), "127.0.0.1", "localhost", 1)
	storage.RegisterClients(storage.WebClient("banksia", "secret", redirectURIs...))
	router := exampleop.SetupServer(origin+"/", storage.NewStorage(storage.NewUserStore(origin+"/")), slog.New(slog.DiscardHandler), false)
	server := &http.Server{Handler: router}
	go server.Serve(listener)
	t.Cleanup(func() { server.Shutdown(context.Background()) })
	return origin + "/"
}

// atIssuer signs in on the pages of the issuer and returns where the browser is
// sent in the end.
func atIssuer(t *testing.T, client *http.Client, target, origin string) string {
	t.Helper()
	for range 10 {
		page := open(t, client, target)
		if page.StatusCode == 200 {
			page = submit(t, client, page, map[string]string{"username": "test-user@localhost", "password": "verysecure"})
		}
		location, err := page.Location()
		if err != nil {
			text, _ := io.ReadAll(page.Body)
			t.Fatalf("%s: %s %s", target, page.Status, text)
		}
		if target = location.String(); !strings.HasPrefix(target, origin) {
			return target
		}
	}
	t.Fatal("the issuer sends the browser in circles")
	return ""
}

// behaviour 5.2 to 5.6 with an OpenID Connect issuer.
func TestLoginAtIssuer(t *testing.T) {
	// The origin of the server has to be registered before it is known.
	callback := "http://localhost:4999/oauth/callback"
	origin := issuer(t, returnTo, callback)
	cfg := banksiatest.Config{Login: auth.LoginConfig{Issuer: origin, ClientID: "banksia", ClientSecret: "secret"}}
	cfg.API.PublicURL = "http://localhost:4999"
	s := banksiatest.NewServerWith(t, cfg)
	client := browser(t)
	target := begin(t, s)
	if !strings.HasPrefix(target, origin+"auth?") {
		t.Fatalf("the URL is %s", target)
	}
	location := atIssuer(t, client, target, origin)
	answer, first := exchange(t, s, location, verifier)
	if answer.Status != 200 || first.User.ClerkUserID == nil || *first.User.Email != "test-user@zitadel.ch" || first.User.FirstName == nil || first.User.LastName == nil {
		t.Fatalf("exchanged: %d %s", answer.Status, answer.Body)
	}
	if got := s.CallAs(t, first.Token, "GET", "/api/users/me", nil); got.Status != 200 {
		t.Errorf("who am I: %d %s", got.Status, got.Body)
	}
	if again, _ := exchange(t, s, location, verifier); again.Status != 400 {
		t.Errorf("exchanged again: %d", again.Status)
	}
	// The second time it is the same user.
	if _, second := exchange(t, s, atIssuer(t, client, begin(t, s), origin), verifier); second.User.ID != first.User.ID {
		t.Errorf("first %+v, then %+v", first, second)
	}
	if refused, _ := exchange(t, s, atIssuer(t, client, begin(t, s), origin), "another verifier"); refused.Status != 400 {
		t.Errorf("another verifier: %d", refused.Status)
	}
	u, err := url.Parse(begin(t, s))
	if err != nil {
		t.Fatal(err)
	}
	if forged := s.CallAs(t, "", "POST", "/api/oauth/exchange", bodyOf{"state": u.Query().Get("state"), "code": "forged", "code_verifier": verifier}); forged.Status != 400 {
		t.Errorf("a forged code: %d %s", forged.Status, forged.Body)
	}
	var out struct {
		URL string `json:"logout_endpoint"`
	}
	if s.CallAs(t, "", "GET", "/api/oauth/logout-endpoint", nil).JSON(t, &out); !strings.HasPrefix(out.URL, origin) {
		t.Errorf("sign out at %s", out.URL)
	}
	// A program is allowed by somebody who signs in there.
	id := register(t, s, "http://127.0.0.1/cb")
	local := strings.NewReplacer(cfg.API.PublicURL, s.URL)
	page := open(t, client, s.URL+"/oauth/authorize?"+authorization(id, "http://127.0.0.1:5000/cb").Encode())
	location = atIssuer(t, client, page.Header.Get("Location"), origin)
	if page := open(t, browser(t), local.Replace(location)); page.StatusCode != 400 {
		t.Errorf("another browser comes back from the issuer: %s", page.Status)
	}
	page = open(t, client, local.Replace(location))
	if page.StatusCode != 200 {
		t.Fatalf("back from the issuer: %s", page.Status)
	}
	allowed := submit(t, client, page, map[string]string{"answer": "allow"})
	back, err := allowed.Location()
	if err != nil || back.Query().Get("code") == "" {
		t.Fatalf("allowed: %s %v", allowed.Status, err)
	}
	if page := open(t, client, local.Replace(location)); page.StatusCode != 400 {
		t.Errorf("back from the issuer again: %s", page.Status)
	}
	// The door can be closed to people whom nobody made known.
	cfg.Login.CloseDoor = true
	closed := banksiatest.NewServerWith(t, cfg)
	if answer, _ := exchange(t, closed, atIssuer(t, client, begin(t, closed), origin), verifier); answer.Status != 403 {
		t.Errorf("a stranger: %d %s", answer.Status, answer.Body)
	}
	if _, err := auth.AddUser(t.Context(), closed.Store, "test-user@zitadel.ch", ""); err != nil {
		t.Fatal(err)
	}
	if answer, _ := exchange(t, closed, atIssuer(t, client, begin(t, closed), origin), verifier); answer.Status != 200 {
		t.Errorf("somebody who is known: %d %s", answer.Status, answer.Body)
	}
}

func register(t testing.TB, s *banksiatest.Server, redirectURIs ...string) string {
	t.Helper()
	var client struct {
		ID string `json:"client_id"`
	}
	answer := s.CallAs(t, "", "POST", "/oauth/register", bodyOf{"client_name": "An assistant", "redirect_uris": redirectURIs, "token_endpoint_auth_method": "none"})
	if answer.JSON(t, &client); answer.Status != 201 || client.ID == "" {
		t.Fatalf("%d: %s", answer.Status, answer.Body)
	}
	return client.ID
}

func authorization(client, redirectURI string) url.Values {
	return url.Values{"response_type": {"code"}, "client_id": {client}, "redirect_uri": {redirectURI}, "scope": {"read:assets write:assets openid"}, "state": {"its state"},
		"code_challenge": {challenge()}, "code_challenge_method": {"S256"}, "resource": {"http://localhost/mcp"}}
}

// behaviour 5.7: a program registers, asks, is allowed, and acts; what it may not do
// it cannot.
func TestOAuth(t *testing.T) {
	t.Parallel()
	var clock atomic.Int64
	start := time.Now()
	s := banksiatest.NewServerWith(t, banksiatest.Config{Now: func() time.Time { return start.Add(time.Duration(clock.Load())) }})
	if err := auth.ResetPassword(t.Context(), s.Store, "owner@localhost", password); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"} {
		var resource struct {
			Resource string   `json:"resource"`
			Servers  []string `json:"authorization_servers"`
		}
		s.CallAs(t, "", "GET", path, nil).JSON(t, &resource)
		if resource.Resource != s.URL+strings.TrimPrefix(path, "/.well-known/oauth-protected-resource") || len(resource.Servers) != 1 || resource.Servers[0] != s.URL {
			t.Errorf("%s: %+v", path, resource)
		}
	}
	var server map[string]any
	s.CallAs(t, "", "GET", "/.well-known/oauth-authorization-server", nil).JSON(t, &server)
	if server["issuer"] != s.URL || server["token_endpoint"] != s.URL+"/oauth/token" || server["registration_endpoint"] != s.URL+"/oauth/register" {
		t.Errorf("metadata: %v", server)
	}
	const redirect = "http://127.0.0.1:7777/callback"
	id := register(t, s, "http://127.0.0.1/callback", "com.example.app:/cb", "https://app.example/cb")
	client := browser(t)
	ask := func(values url.Values) *http.Response {
		return open(t, client, s.URL+"/oauth/authorize?"+values.Encode())
	}
	page := ask(authorization(id, redirect))
	if page.StatusCode != 200 || !strings.Contains(page.Header.Get("Content-Security-Policy"), "http://127.0.0.1:7777") {
		t.Fatalf("asked: %s %s", page.Status, page.Header.Get("Content-Security-Policy"))
	}
	for _, email := range []string{"owner@localhost", "owner\x00@localhost", "\xff"} {
		answer := submit(t, client, ask(authorization(id, redirect)), map[string]string{"email": email, "password": "wrong password", "answer": "allow"})
		if answer.StatusCode != 401 {
			t.Errorf("a wrong password of %q: %s", email, answer.Status)
		}
	}
	for _, stranger := range []string{"a\x00", "\xff"} {
		if answer := ask(authorization(stranger, redirect)); answer.StatusCode != 400 {
			t.Errorf("the client %q: %s", stranger, answer.Status)
		}
	}
	allow := func() string {
		t.Helper()
		answer := submit(t, client, ask(authorization(id, redirect)), map[string]string{"email": "owner@localhost", "password": password, "answer": "allow"})
		back, err := answer.Location()
		if err != nil || back.Query().Get("state") != "its state" || !strings.HasPrefix(back.String(), redirect) {
			t.Fatalf("allowed: %s %v %v", answer.Status, back, err)
		}
		return back.Query().Get("code")
	}
	token := func(pairs ...string) (status int, tokens map[string]any) {
		t.Helper()
		values := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			values.Set(pairs[i], pairs[i+1])
		}
		answer, err := http.PostForm(s.URL+"/oauth/token", values)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil || answer.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%v, cache: %s", err, answer.Header.Get("Cache-Control"))
		}
		banksiatest.Answer{Body: text}.JSON(t, &tokens)
		return answer.StatusCode, tokens
	}
	redeem := func(code, verifier string) (int, map[string]any) {
		return token("grant_type", "authorization_code", "client_id", id, "code", code, "redirect_uri", redirect, "code_verifier", verifier)
	}
	code := allow()
	status, tokens := redeem(code, verifier)
	access, _ := tokens["access_token"].(string)
	if status != 200 || !strings.HasPrefix(access, "oat_") || tokens["token_type"] != "Bearer" || tokens["scope"] != "read:assets write:assets" {
		t.Fatalf("tokens: %d %v", status, tokens)
	}
	if status, body := redeem(code, verifier); status != 400 || body["error"] != "invalid_grant" {
		t.Errorf("a code again: %d %v", status, body)
	}
	if got := s.CallAs(t, access, "GET", "/api/assets", nil); got.Status != 401 {
		t.Errorf("the token of a code that came twice: %d", got.Status)
	}
	_, tokens = redeem(allow(), verifier)
	access, _ = tokens["access_token"].(string)
	if status, _ := redeem(allow(), "another verifier of at least forty-three characters"); status != 400 {
		t.Errorf("another verifier: %d", status)
	}
	late := allow()
	clock.Add(int64(2 * time.Minute))
	if status, _ := redeem(late, verifier); status != 400 {
		t.Errorf("a late code: %d", status)
	}
	use := func(access, method, target string, body any) int {
		return s.CallAs(t, access, method, target, body).Status
	}
	if use(access, "GET", "/api/assets", nil) != 200 || use(access, "POST", "/api/albums", bodyOf{}) != 201 || use(access, "POST", "/api/assets/empty-trash", nil) != 403 || use(access, "POST", "/api/api-keys/", bodyOf{"name": "x"}) != 403 {
		t.Error("the token allows something else")
	}
	// A refresh token works once; the second time somebody stole it (OAuth 2.1, 4.3.1).
	refresh, _ := tokens["refresh_token"].(string)
	clock.Add(int64(61 * time.Minute))
	if got := use(access, "GET", "/api/assets", nil); got != 401 {
		t.Errorf("after an hour: %d", got)
	}
	status, tokens = token("grant_type", "refresh_token", "client_id", id, "refresh_token", refresh)
	second, _ := tokens["access_token"].(string)
	if status != 200 || use(second, "GET", "/api/assets", nil) != 200 {
		t.Errorf("refreshed: %d %v", status, tokens)
	}
	if status, _ := token("grant_type", "refresh_token", "client_id", id, "refresh_token", refresh); status != 400 || use(second, "GET", "/api/assets", nil) != 401 {
		t.Errorf("refreshed again: %d", status)
	}
	// The user, or the program, ends it.
	_, tokens = redeem(allow(), verifier)
	access, _ = tokens["access_token"].(string)
	for range 2 {
		if answer, err := http.PostForm(s.URL+"/oauth/revoke", url.Values{"token": {access}}); err != nil || answer.StatusCode != 200 {
			t.Errorf("revoked: %v %v", answer, err)
		}
	}
	if got := use(access, "GET", "/api/assets", nil); got != 401 {
		t.Errorf("revoked: %d", got)
	}
	refused := submit(t, client, ask(authorization(id, redirect)), map[string]string{"answer": "refuse"})
	if back, err := refused.Location(); err != nil || back.Query().Get("error") != "access_denied" {
		t.Errorf("refused: %s %v", refused.Status, back)
	}
	// Whoever is not known, or wants the answer elsewhere, is not answered at all.
	for name, change := range map[string]map[string]string{
		"an unknown program": {"client_id": "x"}, "another address": {"redirect_uri": "https://evil.example/"}, "another path": {"redirect_uri": "http://127.0.0.1/other"},
	} {
		values := authorization(id, redirect)
		for key, value := range change {
			values.Set(key, value)
		}
		if page := ask(values); page.StatusCode != 400 || page.Header.Get("Location") != "" {
			t.Errorf("%s: %s", name, page.Status)
		}
	}
	for name, change := range map[string]map[string]string{"no PKCE": {"code_challenge": ""}, "plain PKCE": {"code_challenge_method": "plain"}, "another type": {"response_type": "token"}} {
		values := authorization(id, redirect)
		for key, value := range change {
			values.Set(key, value)
		}
		if back, err := ask(values).Location(); err != nil || back.Query().Get("error") == "" || back.Query().Get("state") != "its state" {
			t.Errorf("%s: %v %v", name, back, err)
		}
	}
	for _, uris := range [][]string{nil, {"http://evil.example/"}, {"javascript:alert(1)"}, {"https://a.example/#x"}, {"https://u:p@a.example/"}, slices.Repeat([]string{"https://a.example/"}, 21)} {
		if answer := s.CallAs(t, "", "POST", "/oauth/register", bodyOf{"redirect_uris": uris}); answer.Status != 400 {
			t.Errorf("registered %v: %d", uris, answer.Status)
		}
	}
	if answer := s.CallAs(t, "", "POST", "/oauth/register", "x"); answer.Status != 400 {
		t.Errorf("registered nonsense: %d", answer.Status)
	}
	if status, body := token("grant_type", "password"); status != 400 || body["error"] != "unsupported_grant_type" {
		t.Errorf("another grant: %d %v", status, body)
	}
}
