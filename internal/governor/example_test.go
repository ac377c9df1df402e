package governor_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"sync"

	"github.com/m2mjobs/m2mjobs/internal/governor"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// A job asks as much as it likes at once, and the tenant gets what the budget allows.
func Example() {
	tenant, err := logtotest.Start(logtotest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer tenant.Close()
	budget, err := governor.ParseBudget("200/s") // "": half of the limit on Logto Cloud, no limit on other hosts
	if err != nil {
		log.Fatal(err)
	}
	base := m2m.NewBase()
	defer base.CloseIdleConnections()
	g := governor.New(governor.Config{Base: base, Budget: budget})
	client := &http.Client{Transport: g}

	job := governor.Govern(g, jobs.Job[struct{}]{
		Name: "ask",
		Run: func(ctx context.Context, run *jobs.Run[struct{}]) error {
			var workers sync.WaitGroup
			for range governor.MaxConcurrency {
				workers.Go(func() {
					resp, err := client.Get(tenant.URL + "/oidc/.well-known/openid-configuration")
					if err == nil {
						err = resp.Body.Close()
					}
					if err != nil {
						run.Log.Error("asking", "error", err)
					}
				})
			}
			workers.Wait()
			return nil
		},
	})
	if _, err := jobs.Handler(job, jobs.Config{Log: io.Discard}).Invoke(context.Background(), []byte(`{}`)); err != nil {
		log.Fatal(err)
	}
	stats := g.Stats()
	fmt.Println(stats.Requests, "requests,", stats.Throttled, "refused,", stats.Budget, "a second are the budget")
	// Output: 32 requests, 0 refused, 200 a second are the budget
}
