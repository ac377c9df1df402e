//go:build e2e

package e2e

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/internal/governor"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

func TestTwoProcessesOnOneTableKeepToOneBudget(t *testing.T) {
	root, err := emulator.Root()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "storesharer")
	build := exec.Command("go", "build", "-tags", "e2e", "-o", program, "./e2e/storesharer")
	build.Dir = root
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	newTable(t, awsConfig(t, shared.aws.Root()), "share")
	key := newUser(t, "share", storePolicy("share", storeFunctionActions))
	tenant := logtotest.New(t)
	var processes []*exec.Cmd
	start := func() {
		p := exec.CommandContext(t.Context(), program, "share", tenant.URL)
		p.Env = os.Environ()
		for variable, value := range shared.aws.Environment(key) {
			p.Env = append(p.Env, variable+"="+value)
		}
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
	for tenant.Requests("") < 10 {
		<-time.After(10 * time.Millisecond)
	}
	seen := []int{second()}
	start()
	for range 5 {
		seen = append(seen, second())
	}
	for _, n := range seen {
		if n > 100+8+2 { // the first four of each, and those that are on their way
			t.Errorf("%d requests in a second, of 100 that are the budget: %v", n, seen)
		}
	}
	if seen[0] < 90 || seen[5] < 90 {
		t.Errorf("one alone, then both together, use less than the budget of 100: %v", seen)
	}
	t.Logf("requests a second: %v", seen)
	tenant.Close()
	for i, p := range processes {
		if err := p.Wait(); err != nil {
			t.Errorf("process %d: %v", i, err)
		}
	}
}

// A run that keeps to a budget costs two requests more, its lease and the end of that, and one for every 15 seconds; one of
// a few requests costs none.
func TestRequestsToDynamoDBOfARunWithinABudget(t *testing.T) {
	newTable(t, awsConfig(t, shared.aws.Root()), "budget")
	store, counter := countedStore(t, newUser(t, "budget", storePolicy("budget", storeFunctionActions)), "budget")
	tenant := logtotest.New(t)
	budget, err := governor.ParseBudget("100/s")
	if err != nil {
		t.Fatal(err)
	}
	g := governor.New(governor.Config{Base: tenant.Client().Transport, Budget: budget})
	client := &http.Client{Transport: g}
	type params struct {
		N int `json:"n"`
	}
	job := governor.Govern(g, jobs.Job[params]{Name: "job", Run: func(_ context.Context, run *jobs.Run[params]) error {
		for range run.Params.N {
			resp, err := client.Get(tenant.URL + "/oidc/.well-known/openid-configuration")
			if err != nil {
				return err
			}
			resp.Body.Close()
		}
		return nil
	}})
	handler := jobs.Handler(job, jobs.Config{Stack: "stack", Store: store, Log: io.Discard})
	const claim, write = "TransactWriteItems", "UpdateItem"
	for _, step := range []struct {
		name, payload string
		want          []string
	}{
		{"a short run", `{"n":4}`, []string{claim, write}},
		{"a longer one", `{"n":20}`, []string{claim, write, write, write}},
		{"another", `{"n":21}`, []string{claim, write, write, write}},
	} {
		if _, err := handler.Invoke(t.Context(), []byte(step.payload)); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if diff := cmp.Diff(step.want, counter.take()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}
