package governor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// Config is what a Governor is made of.
type Config struct {
	// Base sends the requests. Required.
	Base http.RoundTripper
	// Budget of the tenant. Zero: half of Logto Cloud's limit on its hosts, none on others.
	Budget Budget
	// Lease is how long a share of the budget is leased for where runs share it (Govern). Zero: 30 seconds.
	Lease time.Duration
	// Random returns numbers of [0, 1) that keep requests off any beat, and may be called from several goroutines. Nil:
	// those of math/rand/v2.
	Random func() float64
}

// Governor is an http.RoundTripper in front of all requests to one tenant. It is safe for concurrent use, and RoundTrip
// waits for its turn as long as the request's context allows: who has much to do starts MaxConcurrency goroutines at most
// and lets the Governor decide.
type Governor struct {
	base     http.RoundTripper
	budget   Budget
	pace     *pace
	inFlight *concurrency
	lease    *lease

	requests, throttled, waited atomic.Int64
}

// New makes a Governor. It sends nothing and starts nothing.
func New(c Config) *Governor {
	return &Governor{base: c.Base, budget: c.Budget, pace: newPace(c.Random), inFlight: newConcurrency(), lease: newLease(c.Lease)}
}

// RoundTrip implements http.RoundTripper. Besides the base's errors it returns that of a context that ends before the
// request's turn has come; nothing was sent then.
func (g *Governor) RoundTrip(req *http.Request) (*http.Response, error) {
	done, err := g.turn(req)
	if err != nil {
		err = fmt.Errorf("waiting to send a request to %s: %w", req.URL.Host, err)
		if req.Body != nil {
			err = errors.Join(err, req.Body.Close())
		}
		return nil, err
	}
	g.requests.Add(1)
	sent := time.Now()
	resp, err := g.base.RoundTrip(req)
	done(sent, g.look(req, resp, err, sent))
	return resp, err
}

// turn waits until the request may be sent. done is to be called with when it was, and what came of it.
func (g *Governor) turn(req *http.Request) (done func(sent time.Time, v verdict), err error) {
	ctx, perSecond := req.Context(), g.budget.For(req.URL.Hostname())
	if isToken(req) {
		// All the others wait for it.
		return func(time.Time, verdict) {}, g.timed(func() error { return g.pace.ahead(ctx) })
	}
	bound, kind := MaxConcurrency, ""
	adapts := perSecond == 0
	if adapts {
		bound, kind = 0, kindOf(req)
	}
	if err := g.inFlight.acquire(ctx, bound); err != nil {
		return nil, err
	}
	done = func(sent time.Time, v verdict) { g.inFlight.release(kind, sent, v, adapts) }
	if err := g.timed(func() error { return g.paced(ctx, req.URL.Hostname(), perSecond) }); err != nil {
		done(time.Time{}, nothing)
		return nil, err
	}
	return done, nil
}

// timed counts the time that wait takes.
func (g *Governor) timed(wait func() error) error {
	began := time.Now()
	defer func() { g.waited.Add(int64(time.Since(began))) }()
	return wait()
}

// paced waits for a turn within the budget.
func (g *Governor) paced(ctx context.Context, host string, perSecond float64) error {
	if perSecond == 0 {
		g.pace.grant(0, jobs.WholeShare)
		return g.pace.wait(ctx)
	}
	if !g.lease.held() {
		g.pace.grant(perSecond, unleased)
		if g.pace.free() {
			return nil
		}
	}
	part, err := g.lease.hold(ctx, strings.ToLower(host))
	if err != nil {
		return err
	}
	g.pace.grant(perSecond, part)
	return g.pace.wait(ctx)
}

// look takes notice of an answer.
func (g *Governor) look(req *http.Request, resp *http.Response, err error, sent time.Time) verdict {
	switch {
	case err != nil && req.Context().Err() != nil:
		return nothing
	case err != nil:
		return overload
	case resp.StatusCode == http.StatusTooManyRequests && isQuota(resp):
		return nothing // of tokens: the API is as quick as ever
	case resp.StatusCode == http.StatusTooManyRequests:
		g.throttled.Add(1)
		g.pace.refused(sent, retryAfter(resp.Header))
		return overload
	case resp.StatusCode == http.StatusServiceUnavailable:
		return overload
	case resp.StatusCode >= 500:
		return nothing
	}
	return served
}

// isQuota tells whether an answer 429 is about the tenant's quota of tokens (auth.exceed_token_limit) and not about its rate.
func isQuota(resp *http.Response) bool {
	const enough = 4 << 10
	head, err := io.ReadAll(io.LimitReader(resp.Body, enough))
	resp.Body = &again{io.MultiReader(bytes.NewReader(head), resp.Body), resp.Body}
	return err == nil && bytes.Contains(head, []byte("auth.exceed_token_limit"))
}

// again is a body of which the beginning was read already.
type again struct {
	io.Reader
	io.Closer
}

// retryAfter reads the Retry-After header: seconds or a date (RFC 9110 section 10.2.3). Zero: it says nothing.
func retryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		return time.Duration(min(max(seconds, 0), 1<<31)) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(date))
	}
	return 0
}

// isToken tells whether the request is for an access token.
func isToken(req *http.Request) bool {
	return req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, "/oidc/token")
}

// kindOf names the requests whose times may be compared: those of one route, without the ids in it, and of about one size,
// because a search for a hundred users takes longer than one for a single user.
func kindOf(req *http.Request) string {
	parts := strings.Split(req.URL.Path, "/") // "", "api", "users", id, "custom-data"
	if len(parts) > 3 {
		parts[3] = "*"
	}
	size := bits.Len64(uint64(len(req.URL.RawQuery)) + uint64(max(0, req.ContentLength))>>10)
	return fmt.Sprintf("%s %s %d", req.Method, strings.Join(parts, "/"), size)
}

// Stats say how a Governor stands.
type Stats struct {
	Requests  int64         // sent so far
	Throttled int64         // answers 429 that were about the rate
	Waited    time.Duration // for the budget and for pauses that the tenant asked for, by all requests, added up
	Budget    float64       // in requests a second; zero: no limit
	Rate      float64       // requests a second that go now: Budget, less what other runs have of it and what 429 took
	Limit     int           // how many may be in flight now
	InFlight  int           // how many are
}

// Stats returns how things stand. Budget and Rate are those of the host that was sent a request last.
func (g *Governor) Stats() Stats {
	s := Stats{Requests: g.requests.Load(), Throttled: g.throttled.Load(), Waited: time.Duration(g.waited.Load())}
	s.Budget, s.Rate = g.pace.stats()
	s.Limit, s.InFlight = g.inFlight.stats()
	return s
}
