package jobs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/jobs/storetest"
)

func TestMemoryStore(t *testing.T) {
	storetest.Run(t, func(_ testing.TB, now func() time.Time) jobs.Store { return jobs.NewMemoryStore(now) })
}

func TestAMemoryStoreForgetsOldRunsButNoneUnderWay(t *testing.T) {
	store := jobs.NewMemoryStore(nil)
	slot := func(i int) string { return fmt.Sprintf("local/job/%d", i) }
	for i := range 1002 {
		record, err := store.Claim(t.Context(), jobs.Claim{
			Slot: slot(i), Job: "job", RunID: fmt.Sprint(i), Owner: "a", Until: time.Now().Add(time.Hour),
		})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			continue // stays under way
		}
		if err := store.Finish(t.Context(), record, jobs.Done, json.RawMessage(`{}`)); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range map[int]error{0: nil, 1: jobs.ErrNotFound, 2: jobs.ErrNotFound, 3: nil, 1001: nil} {
		if _, err := store.Get(t.Context(), slot(i)); !errors.Is(err, want) {
			t.Errorf("slot %d: %v, want %v", i, err, want)
		}
	}
	runs, err := store.Runs(t.Context(), "job", 2000)
	if err != nil || len(runs) != 1000 {
		t.Errorf("%d runs are listed, %v", len(runs), err)
	}
}
