package web_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/banksia-photos/banksia/internal/auth"
	"github.com/banksia-photos/banksia/internal/banksiatest"
)

// The pages on which people sign in, and allow programs something, do in a real
// browser what their policies leave them: send their form to the server and follow it
// to the program, and nothing else.
func TestSignInPages(t *testing.T) {
	t.Parallel()
	s := banksiatest.NewServer(t)
	const password = "correct horse battery"
	if err := auth.ResetPassword(t.Context(), s.Store, "owner@localhost", password); err != nil {
		t.Fatal(err)
	}
	came := make(chan url.Values, 10)
	program := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/auth/login" {
			if from := r.Header.Get("Referer"); from != "" {
				t.Errorf("the program is told %s", from)
			}
			came <- r.URL.Query()
		}
		w.Write([]byte("<h1>Signed in</h1>"))
	}))
	defer program.Close()
	back := program.URL + "/auth/login"
	b := openBrowser(t, 600, 800)
	fill := func(page, heading, button string) {
		t.Helper()
		b.open(page)
		b.until(`document.readyState == "complete" && document.querySelector("h1")?.innerText == "` + heading + `"`)
		// What a page could be made to load, or to send elsewhere, if it were not for the policy.
		b.eval(`window.broken = []
			document.addEventListener("securitypolicyviolation", e => broken.push(e.effectiveDirective))
			for (const [tag, attributes] of [["script", {text: "window.ran = true"}], ["img", {src: "`+program.URL+`/x"}], ["iframe", {src: "`+program.URL+`/x"}]])
				document.body.append(Object.assign(document.createElement(tag), attributes))
			fetch("`+program.URL+`/x").catch(() => {})`, nil)
		b.until(`!window.ran && ["script-src-elem", "img-src", "frame-src", "connect-src"].every(directive => broken.includes(directive))`)
		b.eval(`document.querySelector("#email").value = "owner@localhost"; document.querySelector("#password").value = "`+password+`"; document.querySelector("`+button+`").click()`, nil)
		b.until(`document.querySelector("h1")?.innerText == "Signed in"`)
		if query := <-came; query.Get("code") == "" || query.Get("state") == "" {
			t.Errorf("%s: the program gets %v", heading, query)
		}
	}
	var begun struct{ URL string }
	s.CallAs(t, "", "GET", "/api/oauth/auth-url?redirect_uri="+url.QueryEscape(back), nil).JSON(t, &begun)
	fill(begun.URL, "Sign in", "button.primary")

	var client struct {
		ID string `json:"client_id"`
	}
	s.CallAs(t, "", "POST", "/oauth/register", strings.NewReader(`{"client_name": "<script>alert(1)</script>", "redirect_uris": ["`+back+`"]}`)).JSON(t, &client)
	fill(s.URL+"/oauth/authorize?"+url.Values{"response_type": {"code"}, "client_id": {client.ID}, "redirect_uri": {back}, "state": {"s"}, "scope": {"read:assets"},
		"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"}}.Encode(), "Allow access", "button[value=allow]")
}
