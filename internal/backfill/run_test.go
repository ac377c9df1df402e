package backfill_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/internal/backfill"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

func slots(n int) []backfill.Slot {
	all := make([]backfill.Slot, n)
	for i := range all {
		all[i].Time = now.AddDate(0, 0, i)
	}
	return all
}

func TestRunRunsSomeAtATimeAndAllOfThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int64
		one := func(ctx context.Context, s backfill.Slot) backfill.Ended {
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Second)
			running.Add(-1)
			if s.Time.Day()%2 == 0 {
				return backfill.Ended{Slot: s, Outcome: jobs.OutcomeFailed}
			}
			return backfill.Ended{Slot: s, Outcome: jobs.OutcomeDone}
		}
		noted := 0
		began := time.Now()
		ended := backfill.Run(t.Context(), slots(10), 4, one, func(backfill.Ended) { noted++ })
		if took := time.Since(began); most.Load() != 4 || took != 3*time.Second || len(ended) != 10 || noted != 10 {
			t.Errorf("%d at a time, %s, %d ended, %d noted; want 4 at a time, 3 s and all 10", most.Load(), took, len(ended), noted)
		}
	})
}

func TestRunBeginsNothingMoreOnceItIsInterruptedOrTheJobPaused(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	outcomes := func(ctx context.Context, one func(i int) jobs.Outcome) (got []jobs.Outcome) {
		i := 0
		backfill.Run(ctx, slots(10), 1, func(_ context.Context, s backfill.Slot) backfill.Ended {
			i++
			return backfill.Ended{Slot: s, Outcome: one(i)}
		}, func(e backfill.Ended) { got = append(got, e.Outcome) })
		return got
	}
	got := outcomes(ctx, func(i int) jobs.Outcome {
		if i == 3 {
			interrupt()
			return jobs.OutcomeFailed
		}
		return jobs.OutcomeDone
	})
	if diff := cmp.Diff([]jobs.Outcome{jobs.OutcomeDone, jobs.OutcomeDone, backfill.Interrupted}, got); diff != "" {
		t.Error(diff)
	}
	got = outcomes(t.Context(), func(i int) jobs.Outcome {
		if i == 2 {
			return jobs.OutcomePaused
		}
		return jobs.OutcomeDone
	})
	if diff := cmp.Diff([]jobs.Outcome{jobs.OutcomeDone, jobs.OutcomePaused}, got); diff != "" {
		t.Error(diff)
	}
}
