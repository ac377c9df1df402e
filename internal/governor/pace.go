package governor

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

const (
	// burst is how many requests go without a pause after a while without any. It is the same at any rate, because what it
	// must not empty is the tenant's bucket.
	burst = 4
	// settleTime is the window of Logto Cloud's limit: earlier it can't be told what a change of the rate did.
	settleTime = 10 * time.Second
	// longestSettle is how long it takes between two steps at most, when what came back was too much again and again.
	longestSettle = 16 * settleTime
	// slowest is the part of its rate that a pace falls to at most, and the step by which it recovers.
	slowest = 0.1
	// shortPause is how long nobody sends anything after a 429 that does not say how long to wait.
	shortPause = time.Second
	// longestPause is the longest that a Retry-After is taken for: an environment that believed in a year would never send again.
	longestPause = time.Hour
)

// pace spaces requests out in time.
type pace struct {
	limiter *rate.Limiter
	random  func() float64

	mu      sync.Mutex
	full    float64       // the budget, in requests a second; zero: no limit
	granted float64       // our share of it
	factor  float64       // what 429 left of it, 1: all
	cut     time.Time     // when 429 took a part of it last
	changed time.Time     // when it was changed last, either way
	settle  time.Duration // how long a step of the recovery takes
	until   time.Time     // before that nobody sends anything, by the wall clock: Retry-After
}

func newPace(random func() float64) *pace {
	if random == nil {
		random = rand.Float64
	}
	return &pace{limiter: rate.NewLimiter(rate.Inf, burst), random: random, factor: 1}
}

// grant sets the budget, in requests a second (zero: no limit), and the part of it that is ours, in thousandths.
func (p *pace) grant(perSecond float64, part int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.full, p.granted = perSecond, perSecond*float64(part)/jobs.WholeShare
	p.apply(time.Now())
}

// apply lets the rate recover, and sets it. The caller holds p.mu.
func (p *pace) apply(now time.Time) {
	if p.factor < 1 {
		steps := now.Sub(p.changed) / p.settle
		p.factor = min(1, p.factor+float64(steps)*slowest)
		p.changed = p.changed.Add(steps * p.settle)
	}
	limit := rate.Limit(p.granted * p.factor)
	if p.full == 0 {
		limit = rate.Inf
	}
	if limit != p.limiter.Limit() {
		p.limiter.SetLimitAt(now, limit)
	}
}

// wait waits for the request's turn.
func (p *pace) wait(ctx context.Context) error {
	for {
		p.mu.Lock()
		p.apply(time.Now())
		p.mu.Unlock()
		r := p.limiter.Reserve()
		delay := r.Delay()
		if limit := p.limiter.Limit(); delay > 0 && limit > 0 {
			// Off the beat: in step with the bucket's refill we would always get the token that came, and never hear that others
			// are refused.
			delay += time.Duration(p.random() / float64(limit) * float64(time.Second))
		}
		if err := sleep(ctx, delay); err != nil {
			r.Cancel()
			return err
		}
		held := p.held()
		if held <= 0 {
			return nil
		}
		// Who waited for a turn while the tenant asked for a pause takes another afterwards, so that not all go at once.
		if err := sleep(ctx, held); err != nil {
			return err
		}
	}
}

// free takes a turn if one can be had at once.
func (p *pace) free() bool { return p.held() <= 0 && p.limiter.Allow() }

// ahead counts a request that goes ahead of all others, and waits only for a pause to end.
func (p *pace) ahead(ctx context.Context) error {
	p.limiter.Reserve()
	return sleep(ctx, p.held())
}

// held is how long nobody may send anything.
func (p *pace) held() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.until.Sub(time.Now().Round(0))
}

// refused takes notice of a 429 to a request that was sent at that time and the Retry-After that came with it.
func (p *pace) refused(sent time.Time, retryAfter time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if until := now.Round(0).Add(min(max(retryAfter, shortPause), longestPause)); until.After(p.until) {
		p.until = until
	}
	// Requests that were under way together are refused together: that is one sign.
	if !sent.After(p.cut) {
		return
	}
	if p.factor == 1 {
		p.settle = settleTime
	} else {
		p.settle = min(2*p.settle, longestSettle) // the recovery was too quick
	}
	p.factor, p.cut, p.changed = max(p.factor/2, slowest), now, now
	p.apply(now)
}

// stats are the budget and the rate now, in requests a second.
func (p *pace) stats() (full, now float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.apply(time.Now())
	return p.full, p.granted * p.factor
}

// sleep waits, or returns why the context ended. It waits until then even if the deadline is sooner than d, because a run
// that is cut off while it waits goes on later, and one that gave up has failed.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
