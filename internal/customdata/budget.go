package customdata

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// CloudBudget is half of what Logto Cloud grants a tenant (200 requests per 10 s for everything), in requests a second.
// The other half is for the users' sign-ins. A self-hosted server has no limit.
const CloudBudget = 10

// Budget is an http.RoundTripper that keeps requests within a rate: the Base of the m2m.Transport that the client's
// requests go through, so that what the transport repeats counts too. On 429 it halves its rate, down to a tenth of the
// full one, and as long as no other comes it regains a tenth of the full rate every 10 seconds. Up to two seconds' worth
// of requests go without a pause.
type Budget struct {
	base    http.RoundTripper
	full    rate.Limit
	limiter *rate.Limiter

	mu      sync.Mutex
	changed time.Time // when the rate was changed last
}

const (
	// settleTime is the window of Logto Cloud's limit: earlier it can't be told what a change of the rate did.
	settleTime = 10 * time.Second
	// burstTime: several requests in flight are refused together, and are one sign, not several.
	burstTime = 2 * time.Second
)

// NewBudget returns a Budget of perSecond requests, which must be above zero: CloudBudget for Logto Cloud.
func NewBudget(base http.RoundTripper, perSecond float64) *Budget {
	full := rate.Limit(perSecond)
	return &Budget{base: base, full: full, limiter: rate.NewLimiter(full, max(1, int(burstTime.Seconds()*perSecond)))}
}

// RoundTrip implements http.RoundTripper. It waits for its turn as long as the request's context allows.
func (b *Budget) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := b.limiter.Wait(req.Context()); err != nil {
		err = fmt.Errorf("waiting within the budget of %.3g requests a second: %w", b.limiter.Limit(), err)
		if req.Body != nil {
			err = errors.Join(err, req.Body.Close())
		}
		return nil, err
	}
	resp, err := b.base.RoundTrip(req)
	if err == nil {
		b.learn(resp.StatusCode == http.StatusTooManyRequests)
	}
	return resp, err
}

// learn changes the rate by an answer.
func (b *Budget) learn(throttled bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, limit := time.Now(), b.limiter.Limit()
	since := now.Sub(b.changed)
	switch {
	case throttled && since >= burstTime:
		limit = max(limit/2, b.full/10)
	case !throttled && limit < b.full && since >= settleTime:
		limit = min(limit+b.full/10, b.full)
	default:
		return
	}
	b.changed = now
	b.limiter.SetLimit(limit)
}
