//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

func TestARunOfFortyContinuationsDoesEachRowOnce(t *testing.T) {
	t.Parallel()
	const rows, rowsEach = 123, 3
	newTable(t, awsConfig(t, shared.aws.Root()), "forty")
	store, counter := countedStore(t, newUser(t, "forty", storePolicy("forty", storeFunctionActions)), "forty")
	written := make([]int, rows)
	job := jobs.Job[struct{}]{
		Name: "long",
		Run: func(ctx context.Context, run *jobs.Run[struct{}]) error {
			var row int
			if _, err := run.Resume(&row); err != nil {
				return err
			}
			for range rowsEach {
				written[row]++
				row++
				run.Count("rows", 1)
			}
			if err := run.Checkpoint(ctx, row); err != nil {
				return err
			}
			if row < rows {
				return jobs.ErrUnfinished
			}
			return nil
		},
	}
	var continuation []byte
	config := jobs.Config{Stack: "stack", Store: store, Log: io.Discard, Continue: func(_ context.Context, c jobs.Continuation) (err error) {
		continuation, err = json.Marshal(c)
		return err
	}}
	payload := []byte(`{"m2mjobs":{"schedule":"nightly","time":"2026-11-24T03:00:00Z"}}`)
	var report jobs.Report
	rounds := 0
	for {
		// Each is another environment's: nothing but the store is kept.
		answer, err := jobs.Handler(job, config).Invoke(t.Context(), payload)
		if err != nil {
			t.Fatal(err)
		}
		report = jobs.Report{}
		if err := json.Unmarshal(answer, &report); err != nil {
			t.Fatal(err)
		}
		if n := len(counter.take()); n > 4 {
			t.Errorf("round %d made %d requests, want at most 3 and 1 for its checkpoint", rounds, n)
		}
		if report.Outcome != jobs.OutcomeUnfinished {
			break
		}
		payload = continuation
		rounds++
	}
	if report.Outcome != jobs.OutcomeDone || report.Counts["rows"] != rows || rounds != 40 {
		t.Errorf("%s after %d continuations, %v", report.Outcome, rounds, report.Counts)
	}
	if i := slices.IndexFunc(written, func(n int) bool { return n != 1 }); i >= 0 {
		t.Errorf("row %d was written %d times", i, written[i])
	}
	record, err := store.Find(t.Context(), report.RunID)
	if err != nil || record.State != jobs.Done || record.Attempt != rounds+1 {
		t.Errorf("the run is %s after %d attempts, %v", record.State, record.Attempt, err)
	}
}

func TestAPausedJobClaimsNothingAndItsRunsGoOn(t *testing.T) {
	t.Parallel()
	newTable(t, awsConfig(t, shared.aws.Root()), "paused")
	operator, _ := countedStore(t, newUser(t, "paused-operator", storePolicy("paused", storeOperatorActions)), "paused")
	store, counter := countedStore(t, newUser(t, "paused-function", storePolicy("paused", storeFunctionActions)), "paused")
	before, err := store.Claim(t.Context(), storeClaim("before", "a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := operator.Pause(t.Context(), "job", true); err != nil {
		t.Fatal(err)
	}
	counter.take()
	for i := range 50 { // the pause is kept in several items: see pauseKey
		if _, err := store.Claim(t.Context(), storeClaim(fmt.Sprint(i), "a")); !errors.Is(err, jobs.ErrPaused) {
			t.Fatalf("claim %d: %v", i, err)
		}
		if got := counter.take(); len(got) != 1 {
			t.Errorf("a claim that is refused took %v", got)
		}
	}
	if err := store.Finish(t.Context(), before, jobs.Done, []byte(`{}`)); err != nil {
		t.Error(err)
	}
	if err := operator.Pause(t.Context(), "job", false); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if _, err := store.Claim(t.Context(), storeClaim(fmt.Sprint(i), "a")); err != nil {
			t.Fatalf("claim %d: %v", i, err)
		}
	}
}
