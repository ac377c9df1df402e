package governor_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/m2mjobs/m2mjobs/internal/governor"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// signIns are the times of a day's sign-ins in ten minutes: five a second, twice that in the third minute, and a rush of a
// hundred and fifty at once in every other minute.
func signIns(seed uint64) []time.Duration {
	random := rand.New(rand.NewPCG(seed, 0))
	var at []time.Duration
	for t := time.Duration(0); t < 10*time.Minute; {
		rate := 5.0
		if minute := t / time.Minute; minute == 2 {
			rate = 9.5
		}
		t += time.Duration(random.ExpFloat64() / rate * float64(time.Second))
		at = append(at, t)
	}
	for minute := range 10 {
		for range 150 * (minute % 2) {
			at = append(at, time.Duration(minute)*time.Minute+45*time.Second)
		}
	}
	return at
}

// signIn sends each sign-in at its time and tells which were refused.
func (w *world) signIn(at []time.Duration) (refused map[int]bool) {
	refused = map[int]bool{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for i, t := range at {
		all.Go(func() {
			<-time.After(t)
			resp, err := (&http.Client{Transport: w.network}).Get(w.tenant.URL + "/oidc/.well-known/openid-configuration")
			if err != nil {
				w.t.Error(err)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode == http.StatusTooManyRequests {
				mu.Lock()
				defer mu.Unlock()
				refused[i] = true
			}
		})
	}
	all.Wait()
	return refused
}

func TestNoSignInIsRefusedBecauseOfUsAndTheBudgetIsUsed(t *testing.T) {
	for seed := range uint64(2) {
		at := signIns(seed)
		inWorld(t, logtotest.Config{CloudLimit: true}, func(w *world) {
			c := w.client("50%")
			var all sync.WaitGroup
			var with map[int]bool
			all.Go(func() { with = w.signIn(at) })
			writes := c.work(8, 10*time.Minute)
			all.Wait()
			if len(with) > 0 {
				t.Errorf("seed %d: %d of %d sign-ins were refused", seed, len(with), len(at))
			}
			if used := float64(writes) / (10 * 600); used < 0.95 || used > 1.01 {
				t.Errorf("seed %d: %.1f%% of the budget were used", seed, 100*used)
			}
			if s := c.governor.Stats(); s.Throttled != 0 || s.Budget != 10 || s.Rate != 10 {
				t.Errorf("seed %d: %+v", seed, s)
			}
			t.Logf("seed %d: %d sign-ins, %d refused; %d requests of ours, %.1f%% of the budget",
				seed, len(at), len(with), writes, float64(writes)/60)
		})
		inWorld(t, logtotest.Config{CloudLimit: true}, func(w *world) {
			if without := w.signIn(at); len(without) > 0 {
				t.Errorf("seed %d: %d sign-ins are refused without us: the load is too much for the comparison", seed, len(without))
			}
		})
	}
}

func TestTheBucketStaysAsFullAsItIsWithoutUs(t *testing.T) {
	inWorld(t, logtotest.Config{CloudLimit: true}, func(w *world) {
		c := w.client("50%")
		var all sync.WaitGroup
		all.Go(func() { c.work(8, time.Minute) })
		// A rush at any moment, also right at the start of the run, finds all of the bucket but what is in flight.
		var rush []time.Duration
		for range 195 {
			rush = append(rush, time.Millisecond)
		}
		if refused := w.signIn(rush); len(refused) > 0 {
			t.Errorf("%d of a rush of %d sign-ins were refused", len(refused), len(rush))
		}
		all.Wait()
	})
}

func TestSignInsThatFillTheLimitAloneAreGivenWayTo(t *testing.T) {
	inWorld(t, logtotest.Config{CloudLimit: true}, func(w *world) {
		c := w.client("50%")
		var at []time.Duration
		for i := range 25 * 120 { // 25 a second for two minutes, where 20 can be had
			at = append(at, time.Duration(i)*time.Second/25)
		}
		var all sync.WaitGroup
		all.Go(func() { w.signIn(at) })
		c.work(8, time.Minute)
		if s := c.governor.Stats(); s.Rate > 2.5 || s.Throttled == 0 {
			t.Errorf("after a minute of refusals: %+v", s)
		}
		before := c.governor.Stats().Requests
		c.work(8, time.Minute)
		if sent := c.governor.Stats().Requests - before; sent > 150 {
			t.Errorf("%d requests in the second minute, a quarter of the budget at most", sent)
		}
		all.Wait()
	})
}

func TestSignInsAboveTheOtherHalfAreGivenWayTo(t *testing.T) {
	for name, next := range map[string]func(random float64) time.Duration{
		"as people come":      func(random float64) time.Duration { return time.Duration(random * float64(time.Second) / 15) },
		"in step with a beat": func(float64) time.Duration { return time.Second / 15 },
	} {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 9))
			var at []time.Duration
			var last time.Duration
			for range 15 * 300 { // 15 a second for five minutes, where 10 are the other half
				last += next(random.ExpFloat64())
				at = append(at, last)
			}
			inWorld(t, logtotest.Config{CloudLimit: true}, func(w *world) {
				c := w.client("50%")
				var all sync.WaitGroup
				var refused map[int]bool
				all.Go(func() { refused = w.signIn(at) })
				writes := c.work(8, 5*time.Minute)
				all.Wait()
				// What they leave is 5 a second. That it was too much is only heard of by a 429.
				if len(refused) > len(at)/100 || writes < 300*5/2 {
					t.Errorf("%d of %d sign-ins were refused, beside %d requests of ours", len(refused), len(at), writes)
				}
				t.Logf("%d of %d sign-ins were refused, beside %d requests of ours", len(refused), len(at), writes)
			})
		})
	}
}

func TestSeveral429TogetherAreOneSignAndTheRateComesBackSlowly(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		c := w.client("50%")
		c.work(8, 10*time.Second)
		w.tenant.Inject(logtotest.Fault{Status: http.StatusTooManyRequests, Times: 8, Latency: 2 * time.Second})
		c.work(8, 3*time.Second)
		if s := c.governor.Stats(); s.Throttled != 8 || s.Rate != 5 {
			t.Errorf("after a burst of 429: %+v", s)
		}
		began := time.Now()
		for rate := 6.0; rate <= 10; rate++ {
			c.work(8, 10*time.Second)
			if s := c.governor.Stats(); s.Rate < rate-0.001 || s.Rate > rate+1.001 {
				t.Errorf("%v later: %v requests a second", time.Since(began), s.Rate)
			}
		}
		w.tenant.Inject(logtotest.Fault{Status: http.StatusTooManyRequests, Times: -1})
		c.work(2, time.Minute)
		if s := c.governor.Stats(); s.Rate < 0.999 || s.Rate > 1.001 {
			t.Errorf("after a minute of 429 alone: %v requests a second", s.Rate)
		}
	})
}

func TestRetryAfterHoldsForEverybodyAndIsWaitedForOnce(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		c := w.client("50%")
		c.work(1, time.Second)
		w.tenant.Inject(logtotest.Fault{Status: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": "120"}})
		began := time.Now()
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if status, err := c.patch(); status != http.StatusOK {
					t.Errorf("status %d, %v", status, err)
				}
			})
		}
		synctest.Wait()
		<-time.After(119 * time.Second)
		atPause := w.tenant.Requests("PATCH /api/users/{id}/custom-data")
		<-time.After(900 * time.Millisecond)
		if sent := w.tenant.Requests("PATCH /api/users/{id}/custom-data") - atPause; sent != 0 {
			t.Errorf("%d requests were sent while the tenant wanted a pause", sent)
		}
		all.Wait()
		if took := time.Since(began); took < 120*time.Second || took > 124*time.Second {
			t.Errorf("it took %v, want the pause once", took)
		}
	})
}

func TestAnAbsurdRetryAfterDoesNotStopTheEnvironmentForGood(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		client := &http.Client{Transport: w.client("50%").governor}
		w.tenant.Inject(logtotest.Fault{Status: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": "99999999"}})
		for _, want := range []int{http.StatusTooManyRequests, http.StatusOK} {
			ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Hour)
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.tenant.URL+"/oidc/.well-known/openid-configuration", http.NoBody)
			if err != nil {
				w.t.Fatal(err)
			}
			resp, err := client.Do(req)
			if err != nil {
				cancel()
				w.t.Fatal(err)
			}
			if resp.StatusCode != want {
				w.t.Errorf("status %d, want %d", resp.StatusCode, want)
			}
			resp.Body.Close()
			cancel()
		}
	})
}

func TestAUsedUpTokenQuotaSlowsNothingDownAndIsNotAskedAgain(t *testing.T) {
	inWorld(t, logtotest.Config{TokenQuota: 1}, func(w *world) {
		c, other := w.client("50%"), w.client("50%")
		if status, err := c.patch(); status != http.StatusOK {
			t.Fatalf("status %d, %v", status, err)
		}
		if _, err := other.source.Token(w.t.Context()); !errors.Is(err, m2m.ErrQuotaExceeded) {
			t.Errorf("got %v", err)
		}
		if s := other.governor.Stats(); s.Throttled != 0 || s.Waited != 0 || s.Requests != 1 {
			t.Errorf("the quota's end: %+v", s)
		}
	})
}

func TestATokenRequestGoesAheadOfTheOthers(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		c := w.client("1/s")
		c.work(1, 10*time.Second)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if _, err := c.patch(); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		token, err := c.source.Token(w.t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c.source.Invalidate(token.AccessToken)
		began := time.Now()
		if _, err := c.source.Token(w.t.Context()); err != nil || time.Since(began) > 0 {
			t.Errorf("a token behind 20 requests took %v, %v", time.Since(began), err)
		}
		all.Wait()
		if took := time.Since(began); took < 18*time.Second {
			t.Errorf("20 requests and a token took %v at one a second", took)
		}
	})
}

// closed notices that a body was closed.
type closed struct {
	io.Reader
	done bool
}

func (c *closed) Close() error { c.done = true; return nil }

func TestARequestThatIsNotWaitedForIsNotSentAndItsBodyIsClosed(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		g := governor.New(governor.Config{Base: w.network, Budget: budget(t, "50%")})
		ctx, cancel := context.WithCancelCause(w.t.Context())
		cancel(errors.New("no time"))
		body := &closed{Reader: strings.NewReader("{}")}
		req, err := http.NewRequestWithContext(ctx, http.MethodPatch, w.tenant.URL+"/api/users/"+user+"/custom-data", body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := g.RoundTrip(req)
		if err == nil {
			t.Error("no error", resp.Body.Close())
		}
		const says = "waiting to send a request to 127.0.0.1:3001: no time"
		if err == nil || !strings.Contains(err.Error(), says) || !body.done || w.tenant.Requests("") != 0 {
			t.Errorf("error %v, body closed: %v", err, body.done)
		}
	})
}
