package m2m

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// justMinted is the age below which a token that an API refuses can't have expired or been revoked in the ordinary
// course: its audience or issuer is wrong, and so would the next one's be.
const justMinted = time.Minute

// Transport is an http.RoundTripper that adds the Source's token to the requests that go to its origin. To any other
// origin, be it by a redirect, it sends no token, and a request that has an Authorization header already is left alone.
//
// A 401 drops that token and repeats the request once with another, if the body can be had again; a 401 to a token
// minted just now is a *RejectedError. An answer 429 is repeated after the Retry-After it names, or a pause that
// doubles. Network errors (a connection that died while the environment was frozen, for one) and 5xx are repeated
// only if the request may be: by its method GET, HEAD, OPTIONS or TRACE, or because it has an Idempotency-Key header,
// be it one that is not sent (a zero-length value, as net/http has it). All this at most three times, never after a pause
// of more than a quarter of an hour, and never past the deadline of the request's context: then the answer at hand is returned.
//
// Each attempt has a time limit of its own, from the dialling to the last byte of the answer, so that a server that stops
// in the middle of one holds nobody up until the deadline. A Base that lets a request wait before it sends it, to keep to a
// rate, uses up none of it: the time begins with what net/http/httptrace tells of the connection.
type Transport struct {
	// Source provides the token. Required.
	Source *Source
	// Origin is where the token may go: scheme://host[:port]. Empty: the origin of the credentials' endpoint, which is
	// right for the Management API.
	Origin string
	// Base sends the requests. Nil: http.DefaultTransport; NewBase is better for environments that freeze, and as to proxies.
	Base http.RoundTripper
	// Timeout is how long one attempt may take, the answer's body included. Zero: 60 seconds; negative: no limit.
	Timeout time.Duration
	// Random returns numbers of [0, 1) by which pauses before a repetition differ, and may be called from several goroutines. Nil:
	// those of math/rand/v2.
	Random func() float64

	requests, retries, throttled, waited atomic.Int64
}

// RoundTrip implements http.RoundTripper. Besides the base's errors it returns those of Source.Token and *RejectedError.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if _, set := req.Header["Authorization"]; set {
		return t.base().RoundTrip(req)
	}
	ours, err := t.isOurs(req)
	if err != nil {
		return nil, errors.Join(err, closeBody(req))
	}
	if !ours {
		return t.base().RoundTrip(req)
	}
	ctx := req.Context()
	for renewed := false; ; renewed = true {
		token, err := t.Source.Token(ctx)
		if err != nil {
			return nil, errors.Join(err, closeBody(req))
		}
		resp, err := t.send(req, token.AccessToken, renewed)
		if err != nil || resp.StatusCode != http.StatusUnauthorized {
			return resp, err
		}
		if age, kept := t.Source.age(token.AccessToken); renewed || kept && age < justMinted {
			discard(resp)
			return nil, t.rejected(ctx, req, age)
		}
		t.Source.Invalidate(token.AccessToken)
		if !hasBodyAgain(req) {
			return resp, nil
		}
		discard(resp)
	}
}

// send sends the request with the token, again where that may help.
func (t *Transport) send(req *http.Request, token string, renewed bool) (*http.Response, error) {
	ctx := req.Context()
	for attempt := 1; ; attempt++ {
		try, err := withToken(req, token, renewed || attempt > 1)
		if err != nil {
			return nil, err
		}
		t.requests.Add(1)
		if renewed || attempt > 1 {
			t.retries.Add(1)
		}
		resp, err := t.attempt(try)
		wait, again := t.again(req, resp, err, attempt)
		if !again {
			return resp, err
		}
		began := time.Now()
		slept := sleep(ctx, wait)
		t.waited.Add(int64(time.Since(began)))
		if !slept {
			return resp, err
		}
		if resp != nil {
			discard(resp)
		}
	}
}

// defaultTimeout is how long an attempt may take where Transport.Timeout is zero.
const defaultTimeout = time.Minute

// attempt sends the request once, within its time limit.
func (t *Transport) attempt(req *http.Request) (*http.Response, error) {
	limit := t.Timeout
	if limit == 0 {
		limit = defaultTimeout
	}
	if limit < 0 {
		return t.base().RoundTrip(req)
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	timer := time.AfterFunc(limit, func() { cancel(fmt.Errorf("no whole answer within %v: %w", limit, context.DeadlineExceeded)) })
	timer.Stop()
	end := func() {
		timer.Stop()
		cancel(nil)
	}
	begin := sync.OnceFunc(func() { timer.Reset(limit) })
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { begin() },
		GotConn: func(httptrace.GotConnInfo) { begin() },
	})
	resp, err := t.base().RoundTrip(req.WithContext(traced))
	if err != nil {
		defer end()
		return nil, cutShort(ctx, err)
	}
	begin() // at the latest
	resp.Body = &timedBody{resp.Body, ctx, end}
	return resp, nil
}

// timedBody is an answer's body that ends with the attempt's time.
type timedBody struct {
	io.ReadCloser
	ctx context.Context
	end func()
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = cutShort(b.ctx, err)
	}
	return n, err
}

func (b *timedBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}

// cutShort says why an attempt ended, where its own time limit did it.
func cutShort(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && cause != ctx.Err() && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// again tells whether to repeat a request and after how long.
func (t *Transport) again(req *http.Request, resp *http.Response, err error, attempt int) (time.Duration, bool) {
	if resp != nil && resp.StatusCode == http.StatusTooManyRequests {
		t.throttled.Add(1)
	}
	if attempt == maxAttempts || req.Context().Err() != nil || !hasBodyAgain(req) {
		return 0, false
	}
	switch {
	case err != nil:
		return backoff(attempt, t.Random), mayRepeat(req) && !errors.As(err, new(*tls.CertificateVerificationError))
	case resp.StatusCode == http.StatusTooManyRequests:
		// The server did nothing, so any request may be repeated. Its window is seconds long, hence the longer pause.
		return max(4*backoff(attempt, t.Random), retryAfter(resp.Header, t.Source.now())), true
	case resp.StatusCode >= 500 && resp.StatusCode != http.StatusNotImplemented:
		return max(backoff(attempt, t.Random), retryAfter(resp.Header, t.Source.now())), mayRepeat(req)
	}
	return 0, false
}

// mayRepeat tells whether doing the request twice is as good as once. The rule is net/http's.
func mayRepeat(req *http.Request) bool {
	if slices.Contains([]string{"", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace}, req.Method) {
		return true
	}
	_, marked := req.Header["Idempotency-Key"]
	return marked
}

func hasBodyAgain(req *http.Request) bool {
	return req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
}

// withToken copies the request, since a RoundTripper must not change it.
func withToken(req *http.Request, token string, again bool) (*http.Request, error) {
	try := req.Clone(req.Context())
	try.Header.Set("Authorization", "Bearer "+token)
	if again && req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, fmt.Errorf("%s %s: the body for another attempt: %w", req.Method, req.URL.Path, err)
		}
		try.Body = body
	}
	return try, nil
}

// isOurs tells whether the request goes to the origin that the token is for.
func (t *Transport) isOurs(req *http.Request) (bool, error) {
	at := t.Origin
	if at == "" {
		endpoint, err := t.Source.Endpoint(req.Context())
		if err != nil {
			return false, err
		}
		at = endpoint
	}
	u, err := url.Parse(at)
	if err != nil || u.Host == "" {
		return false, fmt.Errorf("m2m: Transport.Origin %q is not of the form https://host", at)
	}
	if err := checkSecure(u); err != nil {
		return false, fmt.Errorf("m2m: Transport.Origin: %w", err)
	}
	return originOf(u) == originOf(req.URL), nil
}

// originOf is an address's scheme, host and port (RFC 6454 section 4).
func originOf(u *url.URL) string {
	scheme, port := strings.ToLower(u.Scheme), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

func (t *Transport) rejected(ctx context.Context, req *http.Request, age time.Duration) error {
	c, err := t.Source.knownCredentials(ctx)
	if err != nil {
		return err
	}
	return &RejectedError{
		Origin:   req.URL.Scheme + "://" + req.URL.Host,
		AppID:    c.AppID,
		Resource: target(t.Source.resource(c), t.Source.config.OrganizationID),
		Issuer:   strings.TrimSuffix(t.Source.tokenURL(c), "/token"),
		Age:      age,
	}
}

func (t *Transport) base() http.RoundTripper {
	if t.Base != nil {
		return t.Base
	}
	return http.DefaultTransport
}

// closeBody does what RoundTrip owes the caller when it sends nothing.
func closeBody(req *http.Request) error {
	if req.Body == nil {
		return nil
	}
	return req.Body.Close()
}

// discard gives the connection back; an error only means that it can't be used again.
func discard(resp *http.Response) {
	io.CopyN(io.Discard, resp.Body, 64<<10)
	resp.Body.Close()
}

// TransportStats are counts since a Transport was made.
type TransportStats struct {
	Requests  int64         // requests sent, repeated ones included
	Retries   int64         // of these, repeated ones
	Throttled int64         // answers 429
	Waited    time.Duration // time spent waiting before repeating
}

// Stats returns the counts so far.
func (t *Transport) Stats() TransportStats {
	return TransportStats{t.requests.Load(), t.retries.Load(), t.throttled.Load(), time.Duration(t.waited.Load())}
}

// NewBase returns an http.Transport for environments that freeze: it takes no connection that has been idle for long on
// the wall clock and notices a dead HTTP/2 connection by a ping. Share one among the clients of a process.
//
// It speaks TLS 1.2 or newer. A proxy that the environment names (HTTPS_PROXY) is used for https alone, where it passes on
// what it cannot read and learns no more than the host's name; what goes in the clear, to a loopback address, goes there
// straight, whatever HTTP_PROXY says.
func NewBase() *http.Transport {
	return &http.Transport{
		Proxy:               proxyOf,
		ForceAttemptHTTP2:   true,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     30 * time.Second,
		MaxIdleConnsPerHost: 16,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 5 * time.Second},
	}
}

// proxyOf is the proxy for a request, nil for none.
func proxyOf(req *http.Request) (*url.URL, error) {
	if req.URL.Scheme != "https" {
		return nil, nil
	}
	return http.ProxyFromEnvironment(req)
}
