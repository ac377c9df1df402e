package governor_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/m2mjobs/m2mjobs/internal/governor"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/jobs/bolt"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// These make this test binary one of the processes that TestTwoProcessesKeepToOneBudget starts.
const (
	sharerFile   = "M2MJOBS_TEST_SHARER_FILE"
	sharerTenant = "M2MJOBS_TEST_SHARER_TENANT"
)

// sharer runs a job that asks the tenant as often as it may until the tenant is gone.
func sharer() error {
	path := os.Getenv(sharerFile)
	store, err := bolt.Open(path)
	if err != nil {
		return err
	}
	store.Shares = filepath.Join(filepath.Dir(filepath.Dir(path)), "shares.db")
	b, err := governor.ParseBudget("100/s")
	if err != nil {
		return err
	}
	g := governor.New(governor.Config{Base: http.DefaultTransport, Budget: b, Lease: 2 * time.Second})
	client := &http.Client{Transport: g}
	job := governor.Govern(g, jobs.Job[struct{}]{Name: "sync", Run: func(context.Context, *jobs.Run[struct{}]) error {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for {
					resp, err := client.Get(os.Getenv(sharerTenant) + "/oidc/.well-known/openid-configuration")
					if err != nil {
						return
					}
					resp.Body.Close()
				}
			})
		}
		all.Wait()
		return nil
	}})
	_, err = jobs.Handler(job, jobs.Config{Store: store}).Invoke(context.Background(), []byte(`{}`))
	return errors.Join(err, store.Close())
}

func TestTwoProcessesKeepToOneBudget(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tenant := logtotest.New(t)
	dir := t.TempDir()
	var processes []*exec.Cmd
	start := func() {
		own := filepath.Join(dir, strconv.Itoa(len(processes)))
		if err := os.Mkdir(own, 0o700); err != nil {
			t.Fatal(err)
		}
		p := exec.CommandContext(t.Context(), self)
		p.Env = append(os.Environ(), sharerFile+"="+filepath.Join(own, "state.db"), sharerTenant+"="+tenant.URL)
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		processes = append(processes, p)
	}
	// second is how many requests come a second, seen for about one.
	second := func() int {
		before, began := tenant.Requests(""), time.Now()
		<-time.After(time.Second)
		return int(float64(tenant.Requests("")-before) / time.Since(began).Seconds())
	}
	start()
	for tenant.Requests("") == 0 {
		<-time.After(10 * time.Millisecond)
	}
	alone := second()
	start()
	var beside []int
	for range 5 {
		beside = append(beside, second())
	}
	for _, n := range append(beside, alone) {
		if n > 100+8+2 { // the first four of each, and those that are on their way
			t.Errorf("%d requests in a second, of 100 that are the budget: alone %d, then %v", n, alone, beside)
		}
	}
	if last := beside[len(beside)-1]; last < 90 {
		t.Errorf("together they use %d of 100: alone %d, then %v", last, alone, beside)
	}
	// Killed, it can't give its share back: the other has all of it once the lease is over.
	if err := processes[0].Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var after []int
	for range 5 {
		after = append(after, second())
	}
	if after[0] > 70 || after[4] < 90 {
		t.Errorf("after one was killed the other has %v", after)
	}
	t.Logf("alone %d, beside each other %v, after one was killed %v", alone, beside, after)
	tenant.Close()
	for i, p := range processes {
		if err := p.Wait(); (err != nil) != (i == 0) {
			t.Errorf("process %d ended with %v", i, err)
		}
	}
}
