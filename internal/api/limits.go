package api

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/banksia-photos/banksia"
)

// costs are the units that an operation takes from a caller's limit, where it is
// not one. What takes the server longer costs more (behaviour 18.1).
var costs = map[string]int{
	"GET /api/search":                                           5,
	"POST /api/search":                                          5,
	"POST /api/assets":                                          5,
	"POST /api/assets/bulk-update":                              10,
	"POST /api/assets/exist":                                    5,
	"POST /api/assets/empty-trash":                              10,
	"GET /api/assets/geo-clusters":                              5,
	"POST /api/assets/{asset_id}/versions":                      5,
	"POST /api/assets/{asset_id}/versions/{version_id}/replace": 5,
	"GET /api/albums/{album_id}/assets":                         10,
	"POST /api/people/{person_id}/merge":                        10,
	"POST /api/oauth/exchange":                                  5,
}

// unlimited are the operations that tell whether the server is there, and the
// pictures of pages that were paid for.
var unlimited = map[string]bool{"GET /api/server/ping": true, "GET /healthz": true, "GET /readyz": true, "GET /openapi.json": true, "GET /media/{version}/{variant}/{name}": true}

// signingIn are the operations with which anybody can make the server write. They
// are limited for each address also where nothing else is.
var signingIn = map[string]bool{"GET /api/oauth/auth-url": true, "POST /api/oauth/exchange": true, "POST /login": true, "GET /oauth/authorize": true, "POST /oauth/authorize": true,
	"GET /oauth/callback": true, "POST /oauth/token": true, "POST /oauth/revoke": true, "POST /oauth/register": true}

// signInsPerMinute are enough for all people of a company behind one address.
const signInsPerMinute = 300

// maxCallers bounds how many callers are remembered at once.
const maxCallers = 10_000

// limits counts what each caller takes: a user, or the address of somebody without
// a credential. A caller may save up the units of a minute and spend them at once.
type limits struct {
	perMinute int
	mu        sync.Mutex
	callers   map[string]*rate.Limiter
}

// check takes the units of an operation; when the caller has too few left, it says
// when to come back, in CodeRateLimited.
func (l *limits) check(w http.ResponseWriter, pattern, caller string, now time.Time) error {
	if l.perMinute == 0 || unlimited[pattern] {
		return nil
	}
	cost := max(1, costs[pattern])
	limiter := l.of(caller, now)
	reservation := limiter.ReserveN(now, min(cost, l.perMinute))
	wait := reservation.DelayFrom(now)
	header := w.Header()
	header.Set("RateLimit-Limit", strconv.Itoa(l.perMinute))
	header.Set("RateLimit-Remaining", strconv.Itoa(max(0, int(limiter.TokensAt(now)))))
	if wait == 0 {
		return nil
	}
	reservation.CancelAt(now)
	header.Set("Retry-After-Ms", strconv.FormatInt(max(1, wait.Milliseconds()), 10))
	return &banksia.Error{Code: banksia.CodeRateLimited, Message: fmt.Sprintf("You have used up your %d units a minute. Try again later.", l.perMinute), Retry: wait}
}

// caller is the address that a request comes from: that of the connection, or what
// the proxy at its other end appended to X-Forwarded-For.
func (s *Server) caller(r *http.Request) string {
	if s.cfg.TrustForwarded {
		all := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		if last := strings.TrimSpace(all[len(all)-1]); last != "" {
			return network(last)
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return network(host)
}

// network is whom an address belongs to: of IPv6 the first half, for the second half
// is the caller's own choice.
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	if ip = ip.Unmap(); ip.Is4() {
		return ip.String()
	}
	prefix, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return address
	}
	return prefix.String()
}

func (l *limits) of(caller string, now time.Time) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.callers == nil || len(l.callers) >= maxCallers {
		kept := map[string]*rate.Limiter{}
		for name, limiter := range l.callers { // who has all units back is as good as new
			if limiter.TokensAt(now) < float64(l.perMinute) && len(kept) < maxCallers/2 {
				kept[name] = limiter
			}
		}
		l.callers = kept
	}
	if l.callers[caller] == nil {
		l.callers[caller] = rate.NewLimiter(rate.Limit(float64(l.perMinute)/60), l.perMinute)
	}
	return l.callers[caller]
}
