package governor

import (
	"context"
	"sync"
	"time"
)

// MaxConcurrency is how many requests a Governor has in flight at most. More workers than that only wait.
const MaxConcurrency = 32

const (
	// Of the requests in flight, so many should be waiting inside of the server: with fewer it may have nothing to do at
	// times, with more they only get in each other's way, and in that of the users who sign in.
	fewWaiting, manyWaiting = 3, 6
	// windowSamples are the answers that the limit is judged by, at least.
	windowSamples = 10
	// probeEvery is how often it is measured anew how long the server takes for a request that it has nearly to itself:
	// one beside another, so that one that hangs does not stop everything.
	probeEvery = time.Minute
	probeLimit = 2
)

// concurrency bounds the requests in flight. Where it adapts, it finds by itself how many the server can use, as TCP Vegas
// does: a request that takes longer than when it was alone has waited inside of the server, and by Little's law the part of
// all the time that requests waited is the part of them that is waiting at a time. Times are compared with those of the same
// kind of request alone.
type concurrency struct {
	mu       sync.Mutex
	limit    int
	inFlight int
	queue    []*turn // who waits, first come first

	alone  map[string]time.Duration // by kind of request: the mean time when the server had little else to do
	begun  time.Time                // of the window: requests that were sent before do not count
	window map[string]mean
	full   int // answers of the window that came while the limit was reached
	shrunk time.Time
	climbs bool // the limit doubles until requests begin to wait
	probe  probe
	probed time.Time
	before int // the limit before the probe
}

// probe is where a measurement of the times alone stands.
type probe int

const (
	noProbe probe = iota
	emptying
	measuring
)

// mean adds up times.
type mean struct {
	n   int
	sum time.Duration
}

func (m mean) value() time.Duration { return m.sum / time.Duration(m.n) }

// turn is a request that waits to be sent.
type turn struct {
	granted chan struct{} // closed when it may
}

func newConcurrency() *concurrency {
	return &concurrency{limit: 1, climbs: true, alone: map[string]time.Duration{}, window: map[string]mean{}}
}

// acquire waits until a request may be sent, at most bound at a time, if that is above zero, and else as many as the
// server can use.
func (c *concurrency) acquire(ctx context.Context, bound int) error {
	c.mu.Lock()
	if bound > 0 {
		c.limit = bound
	}
	if c.inFlight < c.limit && len(c.queue) == 0 {
		c.inFlight++
		c.mu.Unlock()
		return nil
	}
	t := &turn{make(chan struct{})}
	c.queue = append(c.queue, t)
	c.mu.Unlock()
	select {
	case <-t.granted:
		return nil
	case <-ctx.Done():
		c.leave(t)
		return context.Cause(ctx)
	}
}

// leave takes somebody who gave up out of the queue.
func (c *concurrency) leave(t *turn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, other := range c.queue {
		if other == t {
			c.queue = append(c.queue[:i], c.queue[i+1:]...)
			return
		}
	}
	c.inFlight-- // it was granted at the same moment
	c.admit()
}

// admit lets those go who may. The caller holds c.mu.
func (c *concurrency) admit() {
	for len(c.queue) > 0 && c.inFlight < c.limit {
		c.inFlight++
		close(c.queue[0].granted)
		c.queue = c.queue[1:]
	}
}

// verdict is what an answer says of the server.
type verdict int

const (
	served   verdict = iota // it took as long as it took
	overload                // it was too much for the server
	nothing                 // it says nothing
)

// release ends a request that was sent at that time, and adapts the limit where adapts is set.
func (c *concurrency) release(kind string, sent time.Time, v verdict, adapts bool) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	full := c.inFlight >= c.limit
	c.inFlight--
	defer c.admit()
	switch {
	case !adapts || v == nothing:
	case v == overload:
		// Those that were under way together are refused together: that is one sign.
		if sent.After(c.shrunk) {
			c.restart(max(1, c.current()/2), now)
			c.shrunk, c.climbs = now, false
		}
	case sent.Before(c.begun):
	default:
		m := c.window[kind]
		c.window[kind] = mean{m.n + 1, m.sum + now.Sub(sent)}
		if full {
			c.full++
		}
	}
	if adapts {
		c.judge(now)
	}
}

// current is the limit but for a probe.
func (c *concurrency) current() int {
	if c.probe != noProbe {
		return c.before
	}
	return c.limit
}

// restart begins a window with another limit.
func (c *concurrency) restart(limit int, now time.Time) {
	c.limit, c.begun, c.full, c.probe = min(limit, MaxConcurrency), now, 0, noProbe
	clear(c.window)
}

// judge decides at the end of a window. The caller holds c.mu.
func (c *concurrency) judge(now time.Time) {
	samples := 0
	for _, m := range c.window {
		samples += m.n
	}
	switch {
	case c.probe == emptying:
		if c.inFlight < probeLimit {
			c.begun, c.probe = now, measuring
			clear(c.window)
		}
		return
	case samples < windowSamples || c.probe == noProbe && samples < 2*c.limit:
		return
	case c.probe == measuring:
		for kind, m := range c.window {
			c.alone[kind] = m.value()
		}
		c.restart(c.before, now)
		return
	}
	var took, waited time.Duration
	for kind, m := range c.window {
		alone, known := c.alone[kind]
		if !known || m.value() < alone {
			alone = m.value()
			c.alone[kind] = alone
		}
		took += m.sum
		waited += m.sum - time.Duration(m.n)*alone
	}
	waiting := float64(c.limit) * float64(waited) / float64(max(1, took))
	next := c.limit
	switch {
	case 2*c.full < samples: // nobody needs more
	case waiting < fewWaiting && c.climbs:
		next *= 2
	case waiting < fewWaiting:
		next++
	case waiting > manyWaiting:
		c.climbs = false
		next = max(1, next-1)
	default:
		c.climbs = false
	}
	switch {
	case next <= probeLimit:
		c.probed = now // this is what a probe does
	case now.Sub(c.probed) >= probeEvery:
		c.restart(probeLimit, now)
		c.before, c.probe, c.probed = next, emptying, now
		return
	}
	c.restart(next, now)
}

// stats are the limit and the requests in flight.
func (c *concurrency) stats() (limit, inFlight int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current(), c.inFlight
}
