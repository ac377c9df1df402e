package logtotest

import (
	"net/http"
	"strings"
	"time"
)

// Work is what a request costs the server.
type Work struct {
	// Busy is spent on one request at a time: it bounds how many the server answers in a second.
	Busy time.Duration
	// Wait passes for many requests at once.
	Wait time.Duration
}

// RecordedWork makes a tenant as fast as the recorded server, for Config.Work: PATCHes come to 188 a second one at a time and
// to 338 at eight or more at once (recorded: 186 to 190, 335 and 338), a search takes as long as a PATCH, one for 100 values
// 13 ms, and a token 12 ms. Of the last two only the sum was recorded; it is divided as that of a PATCH.
func RecordedWork(r *http.Request) Work {
	const (
		patch   = 5300 * time.Microsecond
		hundred = 13 * time.Millisecond
		token   = 12 * time.Millisecond
		busy    = 2960 * time.Microsecond // of a PATCH: 338 a second
	)
	var total time.Duration
	switch {
	case r.URL.Path == "/oidc/token":
		total = token
	case r.Method == http.MethodGet && r.URL.Path == "/api/users":
		sought := 0
		for name, values := range r.URL.Query() {
			if strings.HasPrefix(name, "search.") {
				sought += len(values)
			}
		}
		total = patch + (hundred-patch)*time.Duration(max(sought, 1)-1)/99
	case strings.HasPrefix(r.URL.Path, "/api/"):
		total = patch
	}
	return Work{Busy: total * busy / patch, Wait: total * (patch - busy) / patch}
}

// work lets a request's work pass and tells whether it did.
func (t *Tenant) work(r *http.Request) bool {
	if t.workOf == nil {
		return true
	}
	work := t.workOf(r)
	now := time.Now()
	t.mu.Lock()
	if t.busyUntil.Before(now) {
		t.busyUntil = now
	}
	t.busyUntil = t.busyUntil.Add(work.Busy)
	done := t.busyUntil.Sub(now) + work.Wait
	t.mu.Unlock()
	return t.wait(r.Context(), done)
}
