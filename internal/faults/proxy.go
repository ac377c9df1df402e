package faults

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Host is the name of a Proxy with TLS. Every name below it leads there, too.
const Host = "faults.example"

// Config says what is in front of what.
type Config struct {
	// Upstream gives the right answers. Required.
	Upstream http.Handler
	// Fail answers Status500, Status429 and Throttled in the form of upstream's errors. Nil: the first two as text, as a gateway does.
	Fail func(http.ResponseWriter, Fault)
	// TLS serves https at Host. Otherwise it is http at 127.0.0.1.
	TLS bool
	// Slowness is how long Slow takes. Zero: 100 ms.
	Slowness time.Duration
}

// Proxy is such a server. It is safe for concurrent use. Close it.
type Proxy struct {
	// URL is where it is, without a slash at the end.
	URL string

	config    Config
	address   string
	server    *http.Server
	serving   sync.WaitGroup
	names     *nameServer
	cert, bad *tls.Certificate
	nobody    net.Conn // nobody listens at its local address, and nobody else can have it

	mu       sync.Mutex
	listener net.Listener // nil: refused
	client   *http.Transport
	conns    map[net.Conn]bool
	fault    Fault // empty: none
	meets    func(*http.Request) bool
	mended   chan struct{} // closed when the fault ends
	choose   func(*http.Request) Fault
}

// To passes requests on to the server at that address.
func To(address string) http.Handler {
	u, err := url.Parse(address)
	if err != nil {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, err.Error(), http.StatusBadGateway) })
	}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) },
		// A connection kept here that breaks would be a fault that nobody asked for.
		Transport: &http.Transport{DisableKeepAlives: true},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
}

// Start starts a proxy on a free port of 127.0.0.1.
func Start(c Config) (*Proxy, error) {
	if c.Slowness == 0 {
		c.Slowness = 100 * time.Millisecond
	}
	p := &Proxy{config: c, conns: map[net.Conn]bool{}, mended: make(chan struct{})}
	p.server = &http.Server{
		Handler: p, ConnState: p.note, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0),
	}
	if c.TLS {
		if err := p.secure(); err != nil {
			return nil, err
		}
	}
	p.address = "127.0.0.1:0"
	if err := p.listen(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	p.URL = "http://" + p.address
	if !c.TLS {
		return p, nil
	}
	_, port, err := net.SplitHostPort(p.address)
	p.URL = "https://" + net.JoinHostPort(Host, port)
	if err == nil {
		p.nobody, err = net.Dial("tcp", p.address)
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	p.client = p.transport()
	return p, nil
}

// listen begins to listen, at the same address as before. Somebody's connection may have got the port meanwhile, for as long as
// it lasts.
func (p *Proxy) listen() error {
	l, err := net.Listen("tcp", p.address)
	for begun := time.Now(); errors.Is(err, syscall.EADDRINUSE) && time.Since(begun) < time.Minute; {
		runtime.Gosched()
		l, err = net.Listen("tcp", p.address)
	}
	if err != nil {
		return err
	}
	p.address = l.Addr().String()
	p.listener = l
	if p.config.TLS {
		l = tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: p.certificate})
	}
	p.serving.Go(func() { p.server.Serve(l) })
	return nil
}

func (p *Proxy) note(c net.Conn, state http.ConnState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if state == http.StateNew {
		p.conns[c] = true
	} else if state == http.StateClosed || state == http.StateHijacked {
		delete(p.conns, c)
	}
}

// Break makes every request that meets the fault (nil: all) go wrong, until Mend or another Break. A fault of connections meets all
// of them, also those that were kept open.
func (p *Proxy) Break(f Fault, meets func(*http.Request) bool) error {
	if err := p.Mend(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.meets = f, meets
	if !f.ofConnections() {
		return nil
	}
	for c := range p.conns {
		c.Close()
	}
	if p.client != nil {
		p.client.CloseIdleConnections() // it may not have noticed
	}
	if f == NoDNS {
		p.names.gone(true)
	}
	if f != Refused || p.config.TLS {
		return nil // see dial
	}
	l := p.listener
	p.listener = nil
	return l.Close()
}

// Mend ends the fault. What was held back is answered now.
func (p *Proxy) Mend() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fault == "" {
		return nil
	}
	p.fault = ""
	close(p.mended)
	p.mended = make(chan struct{})
	if p.names != nil {
		p.names.gone(false)
	}
	if p.listener == nil {
		return p.listen()
	}
	return nil
}

// Choose makes f say for each request what goes wrong with it, if nothing else does; empty for nothing. Faults of connections
// and Late are not to be chosen so.
func (p *Proxy) Choose(f func(*http.Request) Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.choose = f
}

// next is what becomes of a request, and when that ends.
func (p *Proxy) next(r *http.Request) (Fault, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fault != "" && (p.meets == nil || p.meets(r)) {
		return p.fault, p.mended
	}
	if p.fault == "" && p.choose != nil {
		return p.choose(r), p.mended
	}
	return "", p.mended
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault, mended := p.next(r)
	switch fault {
	case "":
		p.config.Upstream.ServeHTTP(w, r)
	case Slow:
		if wait(r.Context(), p.config.Slowness, nil) {
			p.config.Upstream.ServeHTTP(w, r)
		}
	case Late:
		whole := httptest.NewRecorder()
		p.config.Upstream.ServeHTTP(whole, r.WithContext(context.WithoutCancel(r.Context()))) // it takes effect, whoever waits
		if wait(r.Context(), time.Hour, mended) {
			maps.Copy(w.Header(), whole.Header())
			w.WriteHeader(whole.Code)
			w.Write(whole.Body.Bytes())
		}
	case Reset:
		whole := httptest.NewRecorder()
		p.config.Upstream.ServeHTTP(whole, r)
		cutOff(w, whole)
	default:
		p.fail(w, fault)
	}
}

// wait lets time pass, or less of it if soon is closed, and tells whether the client is still there.
func wait(ctx context.Context, d time.Duration, soon <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-soon:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// cutOff sends half of an answer and ends the connection. One that is empty is promised to be longer, so that it ends early, too.
func cutOff(w http.ResponseWriter, whole *httptest.ResponseRecorder) {
	body := whole.Body.Bytes()
	maps.Copy(w.Header(), whole.Header())
	w.Header().Set("Content-Length", strconv.Itoa(max(len(body), 16)))
	w.WriteHeader(whole.Code)
	w.Write(body[:len(body)/2])
	http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler) // net/http's way to end a connection
}

// Close stops the proxy and waits for what it does.
func (p *Proxy) Close() error {
	p.Mend()
	err := p.server.Close()
	p.serving.Wait()
	if p.client != nil {
		p.client.CloseIdleConnections()
	}
	if p.nobody != nil {
		p.nobody.Close()
	}
	if p.names != nil {
		err = errors.Join(err, p.names.Close())
	}
	return err
}
