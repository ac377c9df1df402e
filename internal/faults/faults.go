// Package faults is a server that breaks, for tests of what waits for one. It stands in front of a real handler or another
// server, over real connections, and goes wrong as it is told:
//
//	proxy, err := faults.Start(faults.Config{Upstream: faults.To(tenant.URL)})
//	...
//	proxy.Break(faults.Reset, nil) // every request from now on
//	... what does the caller see? ...
//	proxy.Mend()
//	... how does it go on? ...
//
// With Config.TLS it is at https://faults.example, and its Transport asks a name server of its own for that host: so names that
// are gone and certificates that are wrong are real as well.
package faults

import "net/http"

// Fault is a way to go wrong.
type Fault string

// The faults.
const (
	Slow      Fault = "slow"                          // the answer is right, and comes after Config.Slowness
	Refused   Fault = "refused"                       // nobody listens
	Reset     Fault = "reset in the middle of a body" // half of the right answer, then the connection ends; the request took effect
	Garbage   Fault = "garbage"                       // 200, and something else than an answer
	Status500 Fault = "500"                           // an error of the server
	Status429 Fault = "429"                           // too many requests, by HTTP's own status
	Throttled Fault = "throttled by AWS"              // too many requests, in the form of an AWS service (Config.Fail)
	BadTLS    Fault = "TLS error"                     // a certificate that nobody signed; with Config.TLS
	NoDNS     Fault = "DNS gone"                      // the host's name is not known; with Config.TLS
	Late      Fault = "answers after our deadline"    // the request takes effect, and its answer comes when the fault is mended
)

// All are the faults, in the order of a table.
func All() []Fault {
	return []Fault{Slow, Refused, Reset, Garbage, Status500, Status429, Throttled, BadTLS, NoDNS, Late}
}

// ofConnections tells whether a fault is met before there is a request.
func (f Fault) ofConnections() bool { return f == Refused || f == BadTLS || f == NoDNS }

// garbage is what answers in place of what was asked, as a captive portal would.
const garbage = "<html><body>Welcome! \x00\xff{{{ please log in"

// fail answers in a way that needs no answer of upstream.
func (p *Proxy) fail(w http.ResponseWriter, f Fault) {
	switch {
	case f == Garbage:
		w.Header().Set("Content-Type", "text/html")
		w.Write([]byte(garbage))
	case p.config.Fail != nil:
		p.config.Fail(w, f)
	case f == Status429:
		http.Error(w, "Too Many Requests", http.StatusTooManyRequests)
	default:
		http.Error(w, "Internal Server Error", http.StatusInternalServerError)
	}
}
