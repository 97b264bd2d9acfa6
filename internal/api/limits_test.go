package api_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/banksia-photos/banksia"
	"github.com/banksia-photos/banksia/internal/api"
	"github.com/banksia-photos/banksia/internal/banksiatest"
)

// behaviour 18, 21.10: who asks too much is told when to come back; others are
// not touched, and a caller cannot get around it with another key.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	var clock atomic.Int64
	start := time.Now()
	s := banksiatest.NewServerWith(t, banksiatest.Config{API: api.Config{RateLimit: 30}, Now: func() time.Time { return start.Add(time.Duration(clock.Load())) }})
	for i := range 30 {
		if got := s.Call(t, "GET", "/api/assets?include=", nil); got.Status != 200 || got.Header.Get("RateLimit-Remaining") != strconv.Itoa(29-i) {
			t.Fatalf("request %d: %d, remaining %s", i, got.Status, got.Header.Get("RateLimit-Remaining"))
		}
	}
	limited := want(t, s, 429, "GET", "/api/assets", nil)
	if limited.Header.Get("Retry-After") != "2" || limited.Header.Get("Retry-After-Ms") != "2000" || !strings.Contains(string(limited.Body), "rate_limited") {
		t.Errorf("limited: %v %s", limited.Header, limited.Body)
	}
	if got := s.CallAs(t, s.NewKey(t, banksia.Actions, nil), "GET", "/api/assets", nil); got.Status != 429 {
		t.Errorf("another key of the same user: %d", got.Status)
	}
	if got := s.CallAs(t, "", "GET", "/api/oauth/logout-endpoint", nil); got.Status != 200 {
		t.Errorf("somebody without a key: %d", got.Status)
	}
	for range 40 {
		want(t, s, 200, "GET", "/api/server/ping", nil)
	}
	clock.Add(int64(2 * time.Second))
	want(t, s, 200, "GET", "/api/assets", nil)
	// A search takes five: a sixth of a minute brings as many.
	if got := want(t, s, 429, "GET", "/api/search?query=x", nil); got.Header.Get("Retry-After") != "10" {
		t.Errorf("a search: %v", got.Header)
	}
	clock.Add(int64(10 * time.Second))
	want(t, s, 200, "GET", "/api/search?query=x", nil)
	for i := range 40 {
		if got := s.CallAs(t, "", "GET", "/api/oauth/logout-endpoint", nil); (got.Status == 429) != (i >= 30) {
			t.Fatalf("request %d without a key: %d", i, got.Status)
		}
	}
	// It is off unless it is asked for, but not for what strangers make the server write.
	free := banksiatest.NewServerWith(t, banksiatest.Config{API: api.Config{TrustForwarded: true}, Now: func() time.Time { return start }})
	begins := func(address string) int {
		t.Helper()
		request, err := http.NewRequest("GET", free.URL+"/api/oauth/auth-url?redirect_uri="+returnTo, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Forwarded-For", "192.0.2.1, "+address)
		return free.Do(t, request).Status
	}
	for i := range 310 {
		if got := begins("192.0.2.7"); (got == 429) != (i >= 300) {
			t.Fatalf("sign-in %d: %d", i, got)
		}
	}
	for address, want := range map[string]int{"192.0.2.8": 200, "::ffff:192.0.2.7": 429, "2001:db8::1": 200} {
		if got := begins(address); got != want {
			t.Errorf("%s: %d", address, got)
		}
	}
	// Whoever has one address of IPv6 has the 2^64 of its network.
	for i := range 300 {
		if got := begins(fmt.Sprintf("2001:db8::%x", 2+i)); (got == 429) != (i >= 299) {
			t.Fatalf("sign-in %d: %d", i, got)
		}
	}
	if got := begins("2001:db8:0:1::1"); got != 200 {
		t.Errorf("another network: %d", got)
	}
	for i := range 100 {
		if got := free.Call(t, "GET", "/api/users/me", nil); got.Status != 200 || got.Header.Get("RateLimit-Limit") != "" {
			t.Fatal(fmt.Sprint(i, got.Status))
		}
	}
}
