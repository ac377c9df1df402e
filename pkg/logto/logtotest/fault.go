package logtotest

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Fault is something that goes wrong with requests of a route.
type Fault struct {
	// Route the fault applies to, as Requests counts them: "PATCH /api/users/{id}/custom-data". Empty: every route.
	Route string
	// After is how many requests of the route pass before the fault begins. Requests that an earlier fault hits don't count.
	After int
	// Times is how many requests it hits. Zero: one; negative: all.
	Times int
	// Latency is waited before the answer.
	Latency time.Duration
	// Status is answered instead of the real answer, and the request has no effect. Zero: the real answer.
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

// fault is a Fault with what is left of it.
type fault struct {
	Fault
	after, left int // left < 0: without end
}

// Inject adds a fault. Faults apply in the order in which they were added; the first that fits a request hits it. A
// request that the Cloud limit refused meets none.
func (t *Tenant) Inject(f Fault) {
	left := f.Times
	if left == 0 {
		left = 1
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults = append(t.faults, &fault{Fault: f, after: f.After, left: left})
}

// ClearFaults removes all faults.
func (t *Tenant) ClearFaults() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults = nil
}

// nextFault returns the fault that hits this request, if one does. The caller holds t.mu.
func (t *Tenant) nextFault(route string) *Fault {
	for _, f := range t.faults {
		if f.left == 0 || f.Route != "" && f.Route != route {
			continue
		}
		if f.after > 0 {
			f.after--
			continue
		}
		if f.left > 0 {
			f.left--
		}
		return &f.Fault
	}
	return nil
}

func (t *Tenant) serveFault(w http.ResponseWriter, r *http.Request, f Fault) {
	if !t.wait(r.Context(), f.Latency) || f.Reset {
		t.reset(w)
		return
	}
	rec := &held{header: w.Header()}
	if f.Status == 0 {
		t.handle(rec, r)
	} else {
		write(rec, r, faultAnswer(r, f))
	}
	if f.ResetAfter {
		t.reset(w)
		return
	}
	for k, v := range f.Header {
		w.Header().Set(k, v)
	}
	w.WriteHeader(rec.status)
	t.writeSlowly(w, r, rec.body.Bytes(), f.SlowBody)
}

// held is an answer that is not sent yet.
type held struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (h *held) Header() http.Header { return h.header }

// WriteHeader implements http.ResponseWriter.
func (h *held) WriteHeader(status int) { h.status = status }

// Write implements http.ResponseWriter.
func (h *held) Write(p []byte) (int, error) { return h.body.Write(p) }

// writeSlowly sends the body over d: a first piece at once and nine more, so that a client sees some of it long before the
// rest. A body of less than two bytes comes at the end of d.
func (t *Tenant) writeSlowly(w http.ResponseWriter, r *http.Request, body []byte, d time.Duration) {
	pieces := min(10, len(body))
	if d > 0 && pieces < 2 && !t.wait(r.Context(), d) {
		return
	}
	if d <= 0 || pieces < 2 {
		pieces, d = 1, 0
	}
	flush := http.NewResponseController(w)
	for i := range pieces {
		if i > 0 && !t.wait(r.Context(), d*time.Duration(i)/time.Duration(pieces-1)-d*time.Duration(i-1)/time.Duration(pieces-1)) {
			return
		}
		from, to := len(body)*i/pieces, len(body)*(i+1)/pieces
		if _, err := w.Write(body[from:to]); err != nil {
			return
		}
		if d == 0 {
			return
		}
		if err := flush.Flush(); err != nil {
			return
		}
	}
}

// wait lets d pass and tells whether it did: the client's leaving and the tenant's end cut it short.
func (t *Tenant) wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	case <-t.closing.Done():
		return false
	}
}

// reset cuts the connection. TCP is told to send RST, which the client sees as "connection reset by peer".
func (t *Tenant) reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.fail("cutting a connection: %v", err)
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		// Without linger the kernel answers with RST instead of FIN.
		if err := tcp.SetLinger(0); err != nil && !errors.Is(err, net.ErrClosed) {
			t.fail("cutting a connection: %v", err)
		}
	}
	if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		t.fail("cutting a connection: %v", err)
	}
}

// faultAnswer is the answer of a fault's Status, with a body as Logto's where the fault brings none.
func faultAnswer(r *http.Request, f Fault) answer {
	if f.Body != "" {
		a := answer{status: f.Status, body: text(f.Body)}
		if strings.HasPrefix(f.Body, "{") {
			a.body = rawJSON(f.Body)
		}
		return a
	}
	oidc := strings.HasPrefix(r.URL.Path, "/oidc/")
	switch {
	case f.Status == http.StatusUnauthorized && oidc:
		return oidcError(f.Status, "invalid_client", "client authentication failed")
	case f.Status == http.StatusBadRequest && oidc:
		return oidcError(f.Status, "invalid_request", "the request was refused by a fault")
	case f.Status == http.StatusUnauthorized:
		return apiError(f.Status, "auth.unauthorized", msgUnauthorized)
	case f.Status == http.StatusForbidden:
		return apiError(f.Status, "auth.forbidden", msgForbidden)
	case f.Status == http.StatusNotFound:
		return apiError(f.Status, "entity.not_found", msgNotFound)
	case f.Status == http.StatusInternalServerError:
		return internalError()
	}
	name := http.StatusText(f.Status)
	if name == "" {
		name = strconv.Itoa(f.Status)
	}
	return answer{status: f.Status, body: text(name)}
}
