package governor_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/m2mjobs/m2mjobs/internal/governor"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// ownServer is a server of one's own with the service times of the record (PATCH: 186 a second one at a time, 335 at 8 at
// once and 338 at 32; a search for a hundred users 13 ms): a part of each request's time is one that only one request has at
// a time, and varies.
type ownServer struct {
	alone   chan struct{}
	besides time.Duration // what a request takes that does not hold up others

	mu     sync.Mutex
	random *rand.Rand
	now    int // requests inside
	most   int
	work   time.Duration // that was done
}

const shared = 2960 * time.Microsecond // of a PATCH

func newOwnServer() *ownServer {
	return &ownServer{alone: make(chan struct{}, 1), besides: 2420 * time.Microsecond, random: rand.New(rand.NewPCG(1, 2))}
}

// RoundTrip answers once the request was served.
func (s *ownServer) RoundTrip(req *http.Request) (*http.Response, error) {
	scale := 1.0
	if req.Method == http.MethodGet {
		scale = 2.4
	}
	s.mu.Lock()
	s.now++
	s.most = max(s.most, s.now)
	takes := time.Duration(float64(shared) * scale * s.random.ExpFloat64())
	besides := time.Duration(float64(s.besides) * scale)
	s.mu.Unlock()
	<-time.After(besides)
	s.alone <- struct{}{}
	<-time.After(takes)
	<-s.alone
	s.mu.Lock()
	s.now--
	s.work += time.Duration(float64(shared) * scale)
	s.mu.Unlock()
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: req}, nil
}

// throughput has workers send requests through a RoundTripper for d, the nth that each of them sends by the method that of
// gives, and tells how much of the server's time was used: 1 is all.
func (s *ownServer) throughput(t *testing.T, through http.RoundTripper, workers int, d time.Duration, of func(int) string) float64 {
	t.Helper()
	before, began := s.work, time.Now()
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for n := w; time.Since(began) < d; n++ {
				method, url := of(n), "http://logto.example.com/api/users"
				if method == http.MethodPatch {
					url += "/u1/custom-data"
				}
				req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := through.RoundTrip(req)
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
			}
		})
	}
	all.Wait()
	return float64(s.work-before) / float64(time.Since(began))
}

func patches(int) string { return http.MethodPatch }

// mixed has a search in ten requests, and a long time with nothing else.
func mixed(n int) string {
	if n%10 == 0 || n%400 > 360 {
		return http.MethodGet
	}
	return http.MethodPatch
}

func TestTheServerOfTheTestIsTheRecordedOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newOwnServer()
		for workers, want := range map[int]float64{1: 186, 8: 335, 32: 338} {
			used := s.throughput(t, s, workers, 20*time.Second, patches)
			if got := used / shared.Seconds(); got < 0.97*want || got > 1.03*want {
				t.Errorf("%d at once: %.0f a second, recorded are %.0f", workers, got, want)
			}
		}
	})
}

func TestTheKneeIsFoundAndKept(t *testing.T) {
	for name, of := range map[string]func(int) string{"writes": patches, "reads and writes": mixed} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newOwnServer()
				g := governor.New(governor.Config{Base: s})
				first := s.throughput(t, g, 32, 2*time.Second, of)
				if first < 0.9 {
					t.Errorf("in the first two seconds %.1f%% of what the server can do were used", 100*first)
				}
				seen := fmt.Sprintf("%.3f@%d", first, g.Stats().Limit)
				for range 20 {
					used := s.throughput(t, g, 32, 10*time.Second, of)
					limit := g.Stats().Limit
					seen += fmt.Sprintf(" %.3f@%d", used, limit)
					if used < 0.95 || limit < 4 || limit > 16 {
						t.Errorf("%.1f%% of what the server can do, at %d", 100*used, limit)
					}
				}
				if s.most > 20 {
					t.Errorf("%d requests were in the server at once", s.most)
				}
				t.Log(seen)
			})
		})
	}
}

func TestTheLimitFollowsAServerThatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newOwnServer()
		g := governor.New(governor.Config{Base: s})
		through := func(d time.Duration) float64 {
			return s.throughput(t, g, 32, d, patches)
		}
		through(10 * time.Second)
		near := g.Stats().Limit
		s.mu.Lock()
		s.besides = 60 * time.Millisecond // it moved far away
		s.mu.Unlock()
		through(3 * time.Minute)
		if used, limit := through(30*time.Second), g.Stats().Limit; used < 0.92 || limit < 2*near {
			t.Errorf("far away %.1f%% of what the server can do are used, at %d", 100*used, limit)
		}
		s.mu.Lock()
		s.besides = 2420 * time.Microsecond
		s.mu.Unlock()
		through(time.Minute)
		if used, limit := through(10*time.Second), g.Stats().Limit; used < 0.95 || limit > 16 {
			t.Errorf("near again %.1f%% are used, at %d", 100*used, limit)
		}
	})
}

func TestFewWorkersAreNotHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newOwnServer()
		g := governor.New(governor.Config{Base: s})
		alone := s.throughput(t, s, 1, 30*time.Second, patches)
		governed := s.throughput(t, g, 1, 30*time.Second, patches)
		if governed < 0.97*alone {
			t.Errorf("one worker gets %.3f through the governor, and %.3f without", governed, alone)
		}
		if limit := g.Stats().Limit; limit > 4 {
			t.Errorf("nobody needed more than one, and the limit grew to %d", limit)
		}
	})
}

func TestAnOverloadedServerIsAskedHalfAsMuchAtOnce(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		c := w.client("")
		w.tenant.Inject(logtotest.Fault{Latency: 20 * time.Millisecond, Times: -1})
		c.work(32, 5*time.Second)
		if limit := c.governor.Stats().Limit; limit != governor.MaxConcurrency {
			t.Errorf("a server that takes the same time for each gets %d at once", limit)
		}
		w.tenant.ClearFaults()
		w.tenant.Inject(logtotest.Fault{
			Status: http.StatusServiceUnavailable, Times: governor.MaxConcurrency, Latency: 20 * time.Millisecond,
		})
		c.work(32, 30*time.Millisecond)
		if limit := c.governor.Stats().Limit; limit < governor.MaxConcurrency/2 || limit > governor.MaxConcurrency/2+2 {
			t.Errorf("after 503 to all of them %d at once", limit)
		}
	})
}
