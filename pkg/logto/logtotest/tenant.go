// Package logtotest is a Logto tenant in memory.
package logtotest

import (
	"testing"
	"time"
)

// Config describes a Tenant. The zero value is a self-hosted tenant without limits.
type Config struct {
	// CloudLimit enforces Logto Cloud's rate limit: 200 requests per 10 seconds for everything.
	CloudLimit bool
	// TokenQuota is how many tokens the tenant gives before it answers auth.exceed_token_limit. Zero: no limit.
	TokenQuota int
	// TokenLifetime of every API resource. Zero: 3600 seconds.
	TokenLifetime time.Duration
	// Now is the tenant's clock. Nil: time.Now.
	Now func() time.Time
}

// Tenant is a Logto tenant in memory, served over HTTP on 127.0.0.1.
type Tenant struct {
	// URL is the endpoint: http://127.0.0.1:port.
	URL string
}

// New starts a Tenant and stops it when the test ends.
func New(t testing.TB) *Tenant { panic("TODO") }

// Start starts a Tenant without a test; call Close.
func Start(c Config) (*Tenant, error) { panic("TODO") }

// Close stops the server.
func (t *Tenant) Close() { panic("TODO") }

// ManagementResource is the indicator of the tenant's Management API.
const ManagementResource = "https://default.logto.app/api"

// App is a machine-to-machine app with its first secret.
type App struct{ ID, Secret string }

// AddApp makes a machine-to-machine app with one secret and no role.
func (t *Tenant) AddApp(name string) App { panic("TODO") }

// AddResource makes an API resource with scopes.
func (t *Tenant) AddResource(indicator string, scopes ...string) { panic("TODO") }

// Grant gives the app a role that contains the scopes of the resource.
func (t *Tenant) Grant(appID, resource string, scopes ...string) { panic("TODO") }

// User is a user to add.
type User struct {
	ID           string // empty: one is made
	Username     string
	PrimaryEmail string
	PrimaryPhone string
	Name         string
	CustomData   map[string]any
}

// AddUser adds a user and returns its id.
func (t *Tenant) AddUser(u User) string { panic("TODO") }

// CustomData returns a copy of what is stored for a user; numbers are json.Number. Nil: no such user.
func (t *Tenant) CustomData(id string) map[string]any { panic("TODO") }

// SetCustomData replaces a user's custom data from outside, as somebody else's write would.
func (t *Tenant) SetCustomData(id string, data map[string]any) { panic("TODO") }

// DeleteUser deletes a user.
func (t *Tenant) DeleteUser(id string) { panic("TODO") }

// Fault is something that goes wrong with requests of a route.
type Fault struct {
	// Route the fault applies to, as Requests counts them: "PATCH /api/users/{id}/custom-data". Empty: every route.
	Route string
	// After is how many requests of the route pass before the fault begins.
	After int
	// Times is how many requests it hits. Zero: one; negative: all.
	Times int
	// Latency is waited before the answer.
	Latency time.Duration
	// Status is answered instead of the real answer. Zero: the real answer.
	Status int
	// Header is added to the answer, Retry-After for example.
	Header map[string]string
	// Body of the answer that Status makes; empty: one as Logto's for this status.
	Body string
	// Reset closes the connection without an answer. ResetAfter does so after the request took effect.
	Reset, ResetAfter bool
	// SlowBody sends the answer's body in small pieces over this time.
	SlowBody time.Duration
}

// Inject adds a fault. Faults apply in the order in which they were added; the first that fits a request hits it.
func (t *Tenant) Inject(f Fault) { panic("TODO") }

// Requests is how many requests of the route came, faults and refusals included: "POST /oidc/token",
// "GET /api/users", "PATCH /api/users/{id}/custom-data", ... With an empty route, of all.
func (t *Tenant) Requests(route string) int { panic("TODO") }
