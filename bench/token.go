package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

const (
	tokenRoute = "POST /oidc/token"
	resource   = "https://shopping.api"
)

// newSource starts a tenant and makes a Source of an app in it.
func newSource(now func() time.Time) (tenant *logtotest.Tenant, source *m2m.Source, closeAll func(), err error) {
	tenant, err = logtotest.Start(logtotest.Config{})
	if err != nil {
		return nil, nil, nil, err
	}
	tenant.AddResource(resource, "read:orders")
	app := tenant.AddApp("bench")
	tenant.Grant(app.ID, resource, "read:orders")
	base := m2m.NewBase()
	source, err = m2m.NewSource(m2m.Config{
		Credentials: m2m.StaticCredentials(m2m.Credentials{Endpoint: tenant.URL, AppID: app.ID, AppSecret: m2m.NewSecret(app.Secret)}),
		Resource:    resource,
		Scopes:      []string{"read:orders"},
		HTTPClient:  &http.Client{Transport: base},
		Now:         now,
	})
	return tenant, source, func() {
		base.CloseIdleConnections()
		tenant.Close()
	}, err
}

// tokenHit compares Token where a valid token is at hand with the same of golang.org/x/oauth2.
func tokenHit(ctx context.Context) ([]result, error) {
	_, source, closeAll, err := newSource(nil)
	if err != nil {
		return nil, err
	}
	defer closeAll()
	token, err := source.Token(ctx)
	if err != nil {
		return nil, err
	}
	reuse := oauth2.ReuseTokenSource(token, nil)
	testing.Init()
	if err := flag.Set("test.benchtime", "100ms"); err != nil {
		return nil, err
	}
	var single, parallel []float64
	var allocations int64
	for range runs {
		oursOne, err := checked(testing.Benchmark(func(b *testing.B) { one(b, source) }))
		if err != nil {
			return nil, err
		}
		theirsOne, err := checked(testing.Benchmark(func(b *testing.B) { peerOne(b, reuse) }))
		if err != nil {
			return nil, err
		}
		oursAll, err := checked(testing.Benchmark(func(b *testing.B) { all(b, source) }))
		if err != nil {
			return nil, err
		}
		theirsAll, err := checked(testing.Benchmark(func(b *testing.B) { peerAll(b, reuse) }))
		if err != nil {
			return nil, err
		}
		single = append(single, perOp(oursOne)/perOp(theirsOne))
		parallel = append(parallel, perOp(oursAll)/perOp(theirsAll))
		allocations = max(allocations, oursOne.AllocsPerOp(), oursAll.AllocsPerOp())
	}
	return []result{
		atMost("Token at hand, one goroutine, beside x/oauth2", "%.3fx", 0.85, median(single)),
		atMost("Token at hand, all cores, beside x/oauth2", "%.3fx", 0.40, median(parallel)),
		exactly("Token at hand, allocations", 0, allocations),
	}, nil
}

// The four loops are written out: to call Token through a function value would add the same to both sides of the ratio.

func one(b *testing.B, source *m2m.Source) {
	ctx := context.Background()
	b.ReportAllocs()
	for range b.N {
		if _, err := source.Token(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

func peerOne(b *testing.B, source oauth2.TokenSource) {
	for range b.N {
		if _, err := source.Token(); err != nil {
			b.Fatal(err)
		}
	}
}

func all(b *testing.B, source *m2m.Source) {
	ctx := context.Background()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := source.Token(ctx); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func peerAll(b *testing.B, source oauth2.TokenSource) {
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := source.Token(); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func perOp(b testing.BenchmarkResult) float64 { return float64(b.T.Nanoseconds()) / float64(b.N) }

// checked is an error for a benchmark that failed, which testing.Benchmark answers with zeros.
func checked(r testing.BenchmarkResult) (testing.BenchmarkResult, error) {
	if r.N == 0 || r.T <= 0 {
		return r, errors.New("a benchmark failed")
	}
	return r, nil
}

// tokenExpiry lets many goroutines ask at once: first when the token is about to expire, then when it has.
func tokenExpiry(ctx context.Context) ([]result, error) {
	const goroutines, latency = 1000, 500 * time.Millisecond
	var ahead atomic.Int64 // how far the clock has jumped
	tenant, source, closeAll, err := newSource(func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
	if err != nil {
		return nil, err
	}
	defer closeAll()
	old, err := source.Token(ctx)
	if err != nil {
		return nil, err
	}
	tenant.Inject(logtotest.Fault{Route: tokenRoute, Times: -1, Latency: latency})

	ask := func() (requests, waited int64, err error) {
		before := tenant.Requests(tokenRoute)
		var others, wrong atomic.Int64
		var start, done sync.WaitGroup
		start.Add(1)
		for range goroutines {
			done.Go(func() {
				start.Wait()
				begin := time.Now()
				token, err := source.Token(ctx)
				if err != nil {
					wrong.Add(1)
				} else if token != old || time.Since(begin) >= latency {
					others.Add(1)
				}
			})
		}
		start.Done()
		done.Wait()
		source.Wait(ctx)
		if wrong.Load() > 0 {
			err = fmt.Errorf("%d of %d goroutines got no token", wrong.Load(), goroutines)
		}
		return int64(tenant.Requests(tokenRoute) - before), others.Load(), err
	}

	ahead.Store(int64(time.Until(old.Expiry) - time.Minute))
	nearRequests, nearWaited, err := ask()
	if err != nil {
		return nil, err
	}
	ahead.Add(int64(2 * time.Hour))
	pastRequests, pastWaited, err := ask()
	if err != nil {
		return nil, err
	}
	if pastWaited != goroutines {
		return nil, fmt.Errorf("%d of %d goroutines got a token that had expired", goroutines-pastWaited, goroutines)
	}
	return []result{
		exactly("1,000 goroutines, a minute before the end: token requests", 1, nearRequests),
		exactly("1,000 goroutines, a minute before the end: that waited", 0, nearWaited),
		exactly("1,000 goroutines, past the end: token requests", 1, pastRequests),
	}, nil
}
