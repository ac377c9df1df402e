package governor_test

import (
	"fmt"
	"io"
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
	served int
	work   time.Duration // that was done
}

const shared = 2960 * time.Microsecond // of a PATCH

func newOwnServer() *ownServer {
	return &ownServer{alone: make(chan struct{}, 1), besides: 2420 * time.Microsecond, random: rand.New(rand.NewPCG(1, 2))}
}

func (s *ownServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	scale := 1.0
	if r.Method == http.MethodGet {
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
	s.served++
	s.work += time.Duration(float64(shared) * scale)
	s.mu.Unlock()
}

// inOwn runs a test on such a server in a bubble. do sends a request through a Governor, or without one where that is nil.
func inOwn(t *testing.T, test func(t *testing.T, s *ownServer, do func(g http.RoundTripper, method string), base http.RoundTripper)) {
	synctest.Test(t, func(t *testing.T) {
		s, listener := newOwnServer(), logtotest.NewPipeListener()
		server := &http.Server{Handler: s}
		go server.Serve(listener)
		base := &http.Transport{DialContext: listener.DialContext, MaxIdleConnsPerHost: 64}
		do := func(g http.RoundTripper, method string) {
			url := "http://logto.example.com/api/users"
			if method == http.MethodPatch {
				url += "/u1/custom-data"
			}
			req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
			if err != nil {
				t.Error(err)
				return
			}
			resp, err := g.RoundTrip(req)
			if err != nil {
				t.Error(err)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		test(t, s, do, base)
		base.CloseIdleConnections()
		server.Close()
		synctest.Wait()
	})
}

// throughput has workers send requests for d, the nth that each of them sends by the method that of gives, and tells how
// much of the server's time was used a second: 1 is all.
func (s *ownServer) throughput(workers int, d time.Duration, of func(n int) (method string), do func(method string)) float64 {
	before, ends := s.work, time.Now().Add(d)
	began := time.Now()
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for n := w; time.Now().Before(ends); n++ {
				do(of(n))
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
	inOwn(t, func(t *testing.T, s *ownServer, do func(http.RoundTripper, string), base http.RoundTripper) {
		for workers, want := range map[int]float64{1: 186, 8: 335, 32: 338} {
			used := s.throughput(workers, 20*time.Second, patches, func(method string) { do(base, method) })
			if got := used / shared.Seconds(); got < 0.97*want || got > 1.03*want {
				t.Errorf("%d at once: %.0f a second, recorded are %.0f", workers, got, want)
			}
		}
	})
}

func TestTheKneeIsFoundAndKept(t *testing.T) {
	for name, of := range map[string]func(int) string{"writes": patches, "reads and writes": mixed} {
		t.Run(name, func(t *testing.T) {
			inOwn(t, func(t *testing.T, s *ownServer, do func(http.RoundTripper, string), base http.RoundTripper) {
				g := governor.New(governor.Config{Base: base})
				first := s.throughput(32, 2*time.Second, of, func(method string) { do(g, method) })
				if first < 0.9 {
					t.Errorf("in the first two seconds %.1f%% of what the server can do were used", 100*first)
				}
				seen := fmt.Sprintf("%.3f@%d", first, g.Stats().Limit)
				for range 20 {
					used := s.throughput(32, 10*time.Second, of, func(method string) { do(g, method) })
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
	inOwn(t, func(t *testing.T, s *ownServer, do func(http.RoundTripper, string), base http.RoundTripper) {
		g := governor.New(governor.Config{Base: base})
		through := func(d time.Duration) float64 {
			return s.throughput(32, d, patches, func(method string) { do(g, method) })
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
	inOwn(t, func(t *testing.T, s *ownServer, do func(http.RoundTripper, string), base http.RoundTripper) {
		g := governor.New(governor.Config{Base: base})
		alone := s.throughput(1, 30*time.Second, patches, func(method string) { do(base, method) })
		governed := s.throughput(1, 30*time.Second, patches, func(method string) { do(g, method) })
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
		w.tenant.Inject(logtotest.Fault{Status: http.StatusServiceUnavailable, Times: governor.MaxConcurrency, Latency: 20 * time.Millisecond})
		c.work(32, 30*time.Millisecond)
		if limit := c.governor.Stats().Limit; limit < governor.MaxConcurrency/2 || limit > governor.MaxConcurrency/2+2 {
			t.Errorf("after 503 to all of them %d at once", limit)
		}
	})
}
