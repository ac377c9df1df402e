package customdata

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// answering is a network that answers with a status that can change.
type answering struct{ status int }

func (a *answering) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Body: http.NoBody, Request: req}, nil
}

// perTenSeconds sends requests one after the other for 10 seconds and tells how many it could.
func perTenSeconds(t *testing.T, b *Budget) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for n := 0; ; n++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://tenant.example/api/users", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := b.RoundTrip(req)
		if err != nil {
			<-ctx.Done()
			return n
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBudgetHalvesOnceForABurstOf429AndRecoversSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &answering{status: http.StatusOK}
		b := NewBudget(network, CloudBudget)
		if n := perTenSeconds(t, b); n < 110 || n > 121 {
			t.Errorf("%d requests in the first 10 s, want 20 at once and 10 a second", n)
		}
		network.status = http.StatusTooManyRequests
		b.learn(true)
		b.learn(true)
		network.status = http.StatusOK
		if got := b.limiter.Limit(); got != CloudBudget/2 {
			t.Errorf("after a burst of 429: %v a second", got)
		}
		if n := perTenSeconds(t, b); n < 49 || n > 52 {
			t.Errorf("%d requests in 10 s after it", n)
		}
		for range 10 {
			perTenSeconds(t, b)
		}
		if got := b.limiter.Limit(); got != CloudBudget {
			t.Errorf("after 110 quiet seconds: %v a second", got)
		}
	})
}

func TestBudgetNeverFallsToNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(&answering{status: http.StatusTooManyRequests}, CloudBudget)
		for range 10 {
			perTenSeconds(t, b)
		}
		if got := b.limiter.Limit(); got != CloudBudget/10 {
			t.Errorf("%v requests a second", got)
		}
	})
}

// closed notices that a body was closed.
type closed struct {
	io.Reader
	done bool
}

func (c *closed) Close() error { c.done = true; return nil }

func TestBudgetThatIsNotWaitedForClosesTheBody(t *testing.T) {
	b := NewBudget(&answering{status: http.StatusOK}, CloudBudget)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	body := &closed{Reader: strings.NewReader("{}")}
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, "http://tenant.example/api/users/u", body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := b.RoundTrip(req)
	if err == nil {
		t.Error("no error", resp.Body.Close())
	}
	if err == nil || !strings.Contains(err.Error(), "budget of 10 requests a second") || !body.done {
		t.Errorf("error %v, body closed: %v", err, body.done)
	}
}
