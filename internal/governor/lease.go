package governor

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

const (
	// defaultLease is how long a share of the budget is leased for. It is renewed at half of that, so that a newcomer waits
	// that long at most for others to give way.
	defaultLease = 30 * time.Second
	// storeTime is how long asking the store may take.
	storeTime = 5 * time.Second
	// unleased is the part of the budget, in thousandths, at which the first requests of a run that has no share yet come
	// back: a short run needs none, and many short ones after each other are no longer short.
	unleased = jobs.WholeShare / 50
	// unsure is the part to go on with if the store does not answer: ten runs that do not know of each other keep the budget.
	unsure = jobs.WholeShare / 10
)

// A shareFunc leases a part of a budget, as jobs.Run.Share does.
type shareFunc func(ctx context.Context, budget, owner string, until time.Time) (part int, err error)

// lease is this process's share of the tenant's budget. There is nothing in the background: who sends a request when the
// lease is to be renewed renews it.
type lease struct {
	length time.Duration
	owner  string

	mu     sync.Mutex
	share  shareFunc // nil: nobody else is known, and all of the budget is ours
	log    *slog.Logger
	budget string
	part   int
	stored bool          // the store has it
	until  time.Time     // of the lease, by the wall clock, which a freeze does not stop; zero: none
	again  time.Time     // when to ask the next time
	asking chan struct{} // closed when the request to the store under way is answered; nil: there is none
}

func newLease(length time.Duration) *lease {
	if length == 0 {
		length = defaultLease
	}
	return &lease{length: length, owner: rand.Text()}
}

// begin has shares leased by share from now on.
func (l *lease) begin(share shareFunc, log *slog.Logger) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.share, l.log = share, log
}

// held tells whether it is known which part of the budget is ours.
func (l *lease) held() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.share == nil || time.Now().Round(0).Before(l.until)
}

// hold sees to it that there is a share of the budget, and waits until it is more than nothing.
func (l *lease) hold(ctx context.Context, budget string) (part int, err error) {
	for {
		l.mu.Lock()
		now := time.Now().Round(0)
		valid := now.Before(l.until)
		switch {
		case l.share == nil:
			l.mu.Unlock()
			return jobs.WholeShare, nil
		case valid && l.part > 0 && (now.Before(l.again) || l.asking != nil):
			defer l.mu.Unlock()
			return l.part, nil
		case l.asking != nil:
			asking := l.asking
			l.mu.Unlock()
			select {
			case <-asking:
			case <-ctx.Done():
				return 0, context.Cause(ctx)
			}
		case valid && now.Before(l.again): // with nothing
			again := l.again
			l.mu.Unlock()
			if err := sleep(ctx, again.Sub(now)); err != nil {
				return 0, err
			}
		default:
			l.asking = make(chan struct{})
			l.budget = budget
			l.mu.Unlock()
			if err := l.ask(ctx, now); err != nil {
				return 0, err
			}
		}
	}
}

// ask asks the store for a share. Its error is that of a context that ended.
func (l *lease) ask(ctx context.Context, now time.Time) error {
	within, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	part, err := l.share(within, l.budget, l.owner, now.Add(l.length))
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.asking)
	l.asking = nil
	l.stored = err == nil
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		l.log.Warn("the store did not say which share of the tenant's budget is ours: going on with a small one",
			"tenant", l.budget, "thousandths", unsure, "error", err.Error())
		l.part, l.until, l.again = unsure, now.Add(l.length), now.Add(l.length/2)
	case part == 0:
		l.part, l.until, l.again = 0, now.Add(l.length), now.Add(l.length/10)
	default:
		// Clocks differ a little.
		l.part, l.until, l.again = part, now.Add(l.length-l.length/30), now.Add(l.length/2)
	}
	return nil
}

// release gives the share back, if there is one.
func (l *lease) release(ctx context.Context) {
	l.mu.Lock()
	leased := l.stored && time.Now().Round(0).Before(l.until)
	l.until, l.stored = time.Time{}, false
	share, log, budget := l.share, l.log, l.budget
	l.mu.Unlock()
	if !leased {
		return
	}
	// A run that was cancelled gives its share back, too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	if _, err := share(ctx, budget, l.owner, time.Time{}); err != nil {
		log.Warn("the share of the tenant's budget was not given back: it is free when its lease ends",
			"tenant", budget, "error", err.Error())
	}
}
