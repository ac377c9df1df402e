package function

import (
	"maps"
	"net/http"
	"slices"
	"sync"

	"github.com/m2mjobs/m2mjobs/internal/doctor"
	"github.com/m2mjobs/m2mjobs/internal/shop"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
)

// AccessOf is what the function of that name may do at its API.
func AccessOf(name string) (doctor.Access, bool) {
	switch name {
	case SyncCustomData:
		return ManagementAccess(), true
	case DailyOrders:
		return doctor.Access{To: "the own API", Scopes: []string{shop.ScopeReadOrders}, Needs: shop.Scopes()}, true
	}
	return doctor.Access{}, false
}

// ManagementAccess is what a function may do that has a token for Logto's Management API.
func ManagementAccess() doctor.Access {
	needs := map[string]string{}
	for _, route := range []string{
		"GET /api/users", "GET /api/users/{id}", "PATCH /api/users/{id}", "PATCH /api/users/{id}/custom-data", "GET /api/hooks/{id}/recent-logs",
	} {
		needs[route] = logto.ManagementScope
	}
	return doctor.Access{To: "Logto's Management API", Scopes: []string{logto.ManagementScope}, Needs: needs, Limits: []string{
		"the secret: the role of this function alone may read it (ReadOwnSecret in template.yaml); keep it out of other hands and places",
		"the token: it lives as long as Console > API resources > Logto Management API says, is kept in memory, and sealed where TOKEN_CACHE says, and goes to no other address",
		"the code: it has no other calls than those it made, and none that deletes",
		"the log: Console > Audit logs, by this app, shows each token that was got; an app of its own for each function keeps them apart",
		"the secret's age: a new one, and the old one deleted, ends whatever was stolen (m2mjobs doctor tells the age)",
	}}
}

// Calls is an http.RoundTripper that counts what is asked of an API, by route.
type Calls struct {
	base   http.RoundTripper
	routes *http.ServeMux // for its patterns alone

	mu     sync.Mutex
	counts map[string]int64
}

// NewCalls counts the calls that go through base by the routes that the access knows, and the rest as "other".
func NewCalls(base http.RoundTripper, a doctor.Access) *Calls {
	c := &Calls{base: base, routes: http.NewServeMux(), counts: map[string]int64{}}
	for _, route := range slices.Sorted(maps.Keys(a.Needs)) {
		c.routes.Handle(route, http.NotFoundHandler())
	}
	return c
}

// RoundTrip implements http.RoundTripper.
func (c *Calls) RoundTrip(req *http.Request) (*http.Response, error) {
	_, route := c.routes.Handler(req)
	if route == "" {
		route = "other"
	}
	c.mu.Lock()
	c.counts[route]++
	c.mu.Unlock()
	return c.base.RoundTrip(req)
}

// Counts are the calls so far, by route.
func (c *Calls) Counts() map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.counts)
}
