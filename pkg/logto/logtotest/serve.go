package logtotest

import (
	"crypto/sha1" // #nosec G505 -- see etag
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/time/rate"
)

// maxBody is the limit of Logto's JSON body parser (recorded: custom-data-patch-110kb passes, -1100kb does not).
const maxBody = 1 << 20

// newCloudLimiter is Logto Cloud's rate limit: a bucket of 200 requests that refills in 10 seconds, or as many times faster as
// CloudSpeed says.
func (t *Tenant) newCloudLimiter() *rate.Limiter { return rate.NewLimiter(20*t.speed, 200) }

// SetCloudLimit switches Logto Cloud's rate limit (200 requests per 10 seconds for everything) on, with a full bucket, or off.
func (t *Tenant) SetCloudLimit(on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limited, t.limiter = on, t.newCloudLimiter()
}

// Requests is how many requests of the route came, faults and refusals included: "POST /oidc/token",
// "GET /api/users", "PATCH /api/users/{id}/custom-data", ... With an empty route, of all. A request that no route takes
// is counted by its method and path.
func (t *Tenant) Requests(route string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if route == "" {
		return t.total
	}
	return t.counts[route]
}

// An answer is what a handler says; serve writes it.
type answer struct {
	status int
	header http.Header
	body   any // nil: none; text and rawJSON: as they are; everything else is encoded as JSON
}

// text is a body that is not JSON.
type text string

// rawJSON is a body that is said to be JSON.
type rawJSON string

// notFoundText is what Logto answers where no route matched or a body was too large (recorded: api-unknown-route).
func notFoundText() answer { return answer{status: http.StatusNotFound, body: text("Not Found")} }

// Routes are the routes that the tenant serves, sorted: the names that Requests and Fault know.
func (t *Tenant) Routes() []string { return slices.Sorted(maps.Keys(t.handlers())) }

// routes serves every route by its handler.
func (t *Tenant) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, h := range t.handlers() {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { write(w, r, h(r)) })
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { write(w, r, notFoundText()) })
	return mux
}

func (t *Tenant) handlers() map[string]func(*http.Request) answer {
	return map[string]func(*http.Request) answer{
		"GET /oidc/.well-known/openid-configuration": t.discovery,
		"GET /oidc/jwks":   t.jwks,
		"POST /oidc/token": t.token,
		"GET /oidc/token":  tokenByGet,

		"GET /api/users":                               t.api(t.listUsers),
		"POST /api/users":                              t.api(t.createUser),
		"GET /api/users/{id}":                          t.api(t.getUser),
		"PATCH /api/users/{id}":                        t.api(t.patchUser),
		"DELETE /api/users/{id}":                       t.api(t.deleteUser),
		"GET /api/users/{id}/custom-data":              t.api(t.getCustomData),
		"PATCH /api/users/{id}/custom-data":            t.api(t.patchCustomData),
		"PATCH /api/users/{id}/is-suspended":           t.api(t.patchSuspended),
		"GET /api/applications/{id}":                   t.api(t.getApp),
		"GET /api/applications/{id}/roles":             t.api(t.appRoles),
		"GET /api/applications/{id}/secrets":           t.api(t.listSecrets),
		"POST /api/applications/{id}/secrets":          t.api(t.createSecret),
		"GET /api/roles/{id}/scopes":                   t.api(t.roleScopes),
		"GET /api/resources":                           t.api(t.listResources),
		"GET /api/logs":                                t.api(t.listLogs),
		"GET /api/hooks/{id}/recent-logs":              t.api(t.recentLogs),
		"DELETE /api/applications/{id}/secrets/{name}": t.api(t.deleteSecret),
	}
}

// serve counts the request, then lets the rate limit, its work, the faults and at last the route's handler have it.
func (t *Tenant) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Logto-Core-Request-Id", randomString(16, requestIDLetters))
	route := t.routeOf(r)
	f, limited := t.admit(route)
	switch {
	case limited:
		write(w, r, answer{status: http.StatusTooManyRequests, body: text("Too Many Requests")})
	case !t.work(r):
		t.reset(w)
	case f != nil:
		t.serveFault(w, r, *f)
	default:
		t.handle(w, r)
	}
}

// handle lets the route's handler answer. ServeMux would redirect an unclean path, which Logto does not.
func (t *Tenant) handle(w http.ResponseWriter, r *http.Request) {
	if !isClean(r) {
		write(w, r, notFoundText())
		return
	}
	t.mux.ServeHTTP(w, r)
}

func isClean(r *http.Request) bool { return path.Clean(r.URL.EscapedPath()) == r.URL.EscapedPath() }

func (t *Tenant) routeOf(r *http.Request) string {
	if _, pattern := t.mux.Handler(r); pattern != "/" && isClean(r) {
		return pattern
	}
	return r.Method + " " + r.URL.Path
}

// admit counts a request and tells what is to become of it.
func (t *Tenant) admit(route string) (f *Fault, limited bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total++
	t.counts[route]++
	if t.limited && !t.limiter.AllowN(t.now(), 1) {
		return nil, true
	}
	return t.nextFault(route), false
}

// write sends an answer, with the ETag that Logto computes of the body of a GET, and 304 where the client has it already.
func write(w http.ResponseWriter, r *http.Request, a answer) {
	h := w.Header()
	for k, v := range a.header {
		h[k] = v
	}
	var body []byte
	switch b := a.body.(type) {
	case nil:
	case text:
		h.Set("Content-Type", "text/plain; charset=utf-8")
		body = []byte(b)
	case rawJSON:
		h.Set("Content-Type", "application/json; charset=utf-8")
		body = []byte(b)
	default:
		if h.Get("Content-Type") == "" {
			h.Set("Content-Type", "application/json; charset=utf-8")
		}
		var err error
		if body, err = appendJSON(nil, b); err != nil {
			a.status, body = http.StatusInternalServerError, []byte(`{"message":"Internal server error."}`)
		}
	}
	if (r.Method == http.MethodGet || r.Method == http.MethodHead) && a.status == http.StatusOK {
		tag := etag(body)
		h.Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	if a.body != nil {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(a.status)
	// The client may be gone; nobody is left to tell.
	if _, err := w.Write(body); err != nil {
		return
	}
}

// etag is the weak hash that Logto uses: length in hexadecimal, and 27 characters of the SHA-1 (recorded: user-get-etag).
func etag(body []byte) string {
	sum := sha1.Sum(body) // #nosec G401 -- what Logto answers
	return fmt.Sprintf("\"%x-%s\"", len(body), base64.StdEncoding.EncodeToString(sum[:])[:27])
}

var errTooLarge = errors.New("body too large")

// readBody reads the request's body, or errTooLarge. What is too much is read to an end, so that the client, which sends
// before it reads, gets its answer; but only so far.
func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("reading the body: %w", err)
	}
	if len(body) > maxBody {
		if _, err := io.Copy(io.Discard, io.LimitReader(r.Body, 16*maxBody)); err != nil {
			return nil, fmt.Errorf("reading the body: %w", err)
		}
		return nil, errTooLarge
	}
	return body, nil
}

// isJSON tells whether the body is said to be JSON; Logto takes no notice of a body of a type that it does not know.
func isJSON(r *http.Request) bool { return hasType(r, "application/json") }

func isForm(r *http.Request) bool { return hasType(r, "application/x-www-form-urlencoded") }

func hasType(r *http.Request, want string) bool {
	media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(media), want)
}
