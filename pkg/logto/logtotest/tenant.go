package logtotest

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// Config describes a Tenant. The zero value is a self-hosted tenant without limits.
type Config struct {
	// CloudLimit enforces Logto Cloud's rate limit: 200 requests per 10 seconds for everything. SetCloudLimit switches it
	// while the tenant runs.
	CloudLimit bool
	// CloudSpeed is how many times faster than Logto Cloud's the limit refills, for tests and measurements that can't take as long
	// as a real tenant. Zero: 1.
	CloudSpeed float64
	// Work is how long the server takes for a request that the limit let pass, before a fault or the answer: RecordedWork is what a
	// real one took. It is called by many goroutines at once. Nil: requests take no time.
	Work func(*http.Request) Work
	// TokenQuota is how many tokens the tenant gives before it answers auth.exceed_token_limit. Zero: no limit.
	TokenQuota int
	// TokenLifetime of every API resource. Zero: 3600 seconds.
	TokenLifetime time.Duration
	// Now is the tenant's clock: it dates tokens, secrets and users and refills the rate limit. Nil: time.Now. Latencies of
	// faults and Work are waited in real time (or in a bubble's time under testing/synctest).
	Now func() time.Time
	// Listener to serve on; the tenant closes it. Nil: 127.0.0.1 with a port that is free. A PipeListener keeps everything in
	// memory, which testing/synctest needs.
	Listener net.Listener
	// HookTransport sends the webhooks. Nil: an http.Transport over TCP. Give the DialContext of your receiver's listener if
	// that is in memory.
	HookTransport http.RoundTripper
}

// Tenant is a Logto tenant in memory, served over HTTP. Its methods may be called from several goroutines.
type Tenant struct {
	// URL is the endpoint: http://127.0.0.1:port.
	URL string

	tb        testing.TB // nil without a test
	now       func() time.Time
	workOf    func(*http.Request) Work // nil: none
	server    *http.Server
	served    chan struct{} // closed when the server's accept loop ended
	mux       *http.ServeMux
	transport *http.Transport // reaches the tenant
	hookSend  *http.Client
	stop      context.CancelFunc // ends what waits when the tenant closes
	closing   context.Context
	closeOnce sync.Once

	mu            sync.Mutex // guards all below
	limited       bool
	speed         rate.Limit // of the limit
	limiter       *rate.Limiter
	busyUntil     time.Time // when the work of all requests that came is done
	counts        map[string]int
	total         int
	faults        []*fault
	keys          []signingKey // the current one first
	verified      map[string]accessClaims
	management    struct{ key, token string } // ManagementClient's token, and the id of the key that signed it
	tokensLeft    int                         // -1: no quota
	lifetime      time.Duration
	users         userStore
	apps          map[string]*app
	resources     []*resource
	roles         map[string]*role
	organizations map[string]*organization
	audit         []logEntry // oldest first
	hooks         []*hook
	pending       int // webhooks not answered yet
	idle          *sync.Cond
}

// New starts a Tenant with the zero Config and stops it when the test ends.
func New(tb testing.TB) *Tenant {
	tb.Helper()
	return NewWith(tb, Config{})
}

// NewWith starts a Tenant and stops it when the test ends. If it can't start, the test ends at once.
func NewWith(tb testing.TB, c Config) *Tenant {
	tb.Helper()
	t, err := start(tb, c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(t.Close)
	return t
}

// Start starts a Tenant without a test; call Close. Misuse, such as a grant to an app that is not there, is logged; with New and
// NewWith it fails the test.
func Start(c Config) (*Tenant, error) { return start(nil, c) }

func start(tb testing.TB, c Config) (*Tenant, error) {
	key, err := newSigningKey()
	if err != nil {
		return nil, fmt.Errorf("starting the tenant: %w", err)
	}
	ln := c.Listener
	if ln == nil {
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, fmt.Errorf("starting the tenant: %w", err)
		}
	}
	t := &Tenant{
		URL:           "http://" + ln.Addr().String(),
		tb:            tb,
		now:           c.Now,
		workOf:        c.Work,
		served:        make(chan struct{}),
		limited:       c.CloudLimit,
		speed:         cmp.Or(rate.Limit(c.CloudSpeed), 1),
		counts:        map[string]int{},
		keys:          []signingKey{key},
		verified:      map[string]accessClaims{},
		tokensLeft:    -1,
		lifetime:      c.TokenLifetime,
		users:         newUserStore(),
		apps:          map[string]*app{},
		roles:         map[string]*role{},
		organizations: map[string]*organization{},
	}
	t.limiter = t.newCloudLimiter()
	t.idle = sync.NewCond(&t.mu)
	if t.now == nil {
		t.now = time.Now
	}
	if c.TokenQuota > 0 {
		t.tokensLeft = c.TokenQuota
	}
	if t.lifetime == 0 {
		t.lifetime = time.Hour
	}
	t.closing, t.stop = context.WithCancel(context.Background())
	t.addManagementAPI()
	t.mux = t.routes()
	t.transport = transportTo(ln)
	send := c.HookTransport
	if send == nil {
		send = &http.Transport{}
	}
	t.hookSend = &http.Client{Transport: send, Timeout: hookTimeout}
	t.server = &http.Server{
		Handler:           http.HandlerFunc(t.serve),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(discard{}, "", 0),
	}
	go func() {
		defer close(t.served)
		// Serve always ends with an error; the only one possible after Close is that it was closed.
		if err := t.server.Serve(ln); err != nil {
			t.fail("serving the tenant: %v", err)
		}
	}()
	return t, nil
}

// discard takes what the server would log about connections that faults cut.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// transportTo returns an http.Transport that reaches the listener, by its own DialContext if it has one.
func transportTo(ln net.Listener) *http.Transport {
	tr := &http.Transport{MaxIdleConnsPerHost: 64, ForceAttemptHTTP2: false}
	if d, ok := ln.(interface {
		DialContext(ctx context.Context, network, addr string) (net.Conn, error)
	}); ok {
		tr.DialContext = d.DialContext
	}
	return tr
}

// Close stops the server: connections are cut, waiting webhooks are dropped. More calls do nothing.
func (t *Tenant) Close() {
	t.closeOnce.Do(func() {
		t.stop()
		if err := t.server.Close(); err != nil {
			t.report("closing the tenant: %v", err)
		}
		<-t.served
		t.FlushHooks()
		t.transport.CloseIdleConnections()
		t.hookSend.CloseIdleConnections()
	})
}

// Client returns an http.Client that reaches the tenant, also over a PipeListener. It adds no token.
func (t *Tenant) Client() *http.Client { return &http.Client{Transport: t.transport} }

// ManagementClient returns an http.Client as Client does that bears a token for the Management API with the scope "all".
// The token is not got from the token endpoint: it costs no request and no quota, and it never expires.
func (t *Tenant) ManagementClient() *http.Client {
	return &http.Client{Transport: bearer{t: t, base: t.transport}}
}

type bearer struct {
	t    *Tenant
	base http.RoundTripper
}

func (b bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+b.t.managementToken())
	return b.base.RoundTrip(req)
}

// fail reports a misuse of the tenant. What a request in flight meets when the tenant closes is none: the test may be over.
func (t *Tenant) fail(format string, args ...any) {
	if t.tb != nil {
		t.tb.Helper()
	}
	if t.closing.Err() == nil {
		t.report(format, args...)
	}
}

// report fails the test, or logs where there is none.
func (t *Tenant) report(format string, args ...any) {
	if t.tb == nil {
		log.Printf("logtotest: "+format, args...)
		return
	}
	t.tb.Helper()
	t.tb.Errorf("logtotest: "+format, args...)
}
