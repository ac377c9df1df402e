package m2m

import (
	"net/http"
	"time"
)

// Transport is an http.RoundTripper that adds the Source's token to the requests that go to its origin.
type Transport struct {
	// Source provides the token. Required.
	Source *Source
	// Origin is where the token may go: scheme://host[:port]. Empty: the origin of the credentials' endpoint, which is
	// right for the Management API.
	Origin string
	// Base sends the requests. Nil: NewBase.
	Base http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) { panic("TODO") }

// TransportStats are counts since the Transport was made.
type TransportStats struct {
	Requests  int64         // requests sent, repeated ones included
	Retries   int64         // of these, repeated ones
	Throttled int64         // answers 429
	Waited    time.Duration // time spent waiting before repeating
}

// Stats returns the counts so far.
func (t *Transport) Stats() TransportStats { panic("TODO") }

// NewBase returns the http.Transport that this package uses where it is given none.
func NewBase() *http.Transport { panic("TODO") }
