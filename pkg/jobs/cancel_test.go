package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

func TestACancelledRunStopsAtItsNextCheckpoint(t *testing.T) {
	endings := map[string]func(ctx context.Context, run *jobs.Run[echoParams]) error{
		"returning the checkpoint's error": func(ctx context.Context, run *jobs.Run[echoParams]) error {
			return run.Checkpoint(ctx, 2)
		},
		"with an error of its own": func(ctx context.Context, run *jobs.Run[echoParams]) error {
			if err := run.Checkpoint(ctx, 2); err == nil {
				t.Error("the checkpoint passed")
			}
			if err := run.Alive(); !errors.Is(err, jobs.ErrCancelled) {
				t.Errorf("Alive: %v", err)
			}
			return errBroken
		},
		"stopping for want of time": func(context.Context, *jobs.Run[echoParams]) error { return jobs.ErrUnfinished },
	}
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			var log logBuffer
			store := jobs.NewMemoryStore(nil)
			attempts := 0
			job := echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
				attempts++
				run.Count("rows", 3)
				if err := run.Checkpoint(ctx, 1); err != nil {
					return err
				}
				if _, err := store.Cancel(ctx, run.ID); err != nil {
					return err
				}
				return end(ctx, run)
			})
			h := jobs.Handler(job, jobs.Config{Store: store, Log: &log, Continue: func(context.Context, jobs.Continuation) error {
				t.Error("a cancelled run is continued")
				return nil
			}})
			first := mustInvoke(t, request(t.Context(), "r1"), h, nightly)
			if first.Outcome != jobs.OutcomeCancelled || !strings.Contains(first.Error, "cancelled") || first.Counts["rows"] != 3 {
				t.Errorf("report is %+v", first)
			}
			for _, id := range []string{"r1", "r2"} {
				if again := mustInvoke(t, request(t.Context(), id), h, nightly); again.Outcome != jobs.OutcomeCancelled || again.RunID != first.RunID {
					t.Errorf("delivered again by %s: %+v", id, again)
				}
			}
			record, err := store.Find(t.Context(), first.RunID)
			if err != nil || record.State != jobs.Cancelled || attempts != 1 {
				t.Errorf("the run is %s after %d attempts, %v", record.State, attempts, err)
			}
			if m := log.metrics(t); m[0]["cancelled"] != 1.0 || m[0]["failed"] != 0.0 {
				t.Errorf("metrics are %v", m[0])
			}
		})
	}
}

func TestACancelledSlotRunsAnewWhenAskedTo(t *testing.T) {
	store := jobs.NewMemoryStore(nil)
	h := jobs.Handler(echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
		return errors.Join(run.Checkpoint(ctx, 1), jobs.ErrUnfinished)
	}), jobs.Config{Store: store, Log: io.Discard, Continue: func(context.Context, jobs.Continuation) error { return nil }})
	first := mustInvoke(t, t.Context(), h, scheduled(t, 24))
	if r, err := store.Cancel(t.Context(), first.RunID); err != nil || r.State != jobs.Cancelled {
		t.Fatalf("cancelling an unfinished run: %s, %v", r.State, err)
	}
	again := payload(t, jobs.Continuation{Job: "echo", Slot: first.Slot, RunID: first.RunID})
	if report := mustInvoke(t, t.Context(), h, again); report.Outcome != jobs.OutcomeCancelled {
		t.Errorf("its continuation is %s", report.Outcome)
	}
	anew := mustInvoke(t, t.Context(), h, scheduled(t, 24, func(i *jobs.ScheduleInput) { i.Rerun = true }))
	if anew.RunID == first.RunID || anew.Attempt != 1 || anew.Outcome != jobs.OutcomeUnfinished {
		t.Errorf("run anew: %+v", anew)
	}
}

func TestAPausedJobClaimsNothing(t *testing.T) {
	now := night(24)
	clock := func() time.Time { return now }
	store := jobs.NewMemoryStore(clock)
	ran := 0
	h := jobs.Handler(echo(func(context.Context, *jobs.Run[echoParams]) error { ran++; return nil }), jobs.Config{Store: store, Log: io.Discard, Now: clock})
	if err := store.Pause(t.Context(), "echo", true); err != nil {
		t.Fatal(err)
	}
	if report := mustInvoke(t, t.Context(), h, scheduled(t, 24)); report.Outcome != jobs.OutcomePaused {
		t.Errorf("a schedule's slot is %s", report.Outcome)
	}
	for _, delivered := range []string{sample(t, "accepted/custom-event.json"), `{"date":"by hand"}`} {
		if _, err := invoke(t, t.Context(), h, delivered); !errors.Is(err, jobs.ErrPaused) {
			t.Errorf("what is delivered fails with %v", err)
		}
	}
	batch := func() string {
		t.Helper()
		answer, err := h.Invoke(t.Context(), []byte(sample(t, "accepted/queue.json")))
		if err != nil {
			t.Fatal(err)
		}
		return string(answer)
	}
	if answer := batch(); !strings.Contains(answer, "itemIdentifier") || ran != 0 {
		t.Errorf("a queue's batch is answered by %s; ran %d times", answer, ran)
	}
	if err := store.Pause(t.Context(), "echo", false); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	if answer := batch(); strings.Contains(answer, "itemIdentifier") {
		t.Errorf("a minute after the job was resumed the batch is answered by %s", answer)
	}
	if report := mustInvoke(t, t.Context(), h, scheduled(t, 24)); report.Outcome != jobs.OutcomeDone {
		t.Errorf("the slot of the resumed job is %s", report.Outcome)
	}
}

// asking counts what a store is asked.
type asking struct {
	jobs.Store
	asked []string
}

func (a *asking) Claim(ctx context.Context, c jobs.Claim) (jobs.Record, error) {
	a.asked = append(a.asked, "claim")
	return a.Store.Claim(ctx, c)
}

func (a *asking) Paused(ctx context.Context, job string) (bool, error) {
	a.asked = append(a.asked, "paused")
	return a.Store.Paused(ctx, job)
}

func (a *asking) Finish(ctx context.Context, r jobs.Record, state jobs.State, report json.RawMessage) error {
	a.asked = append(a.asked, "finish")
	return a.Store.Finish(ctx, r, state, report)
}

func (a *asking) Runs(ctx context.Context, job string, limit int) ([]jobs.Record, error) {
	a.asked = append(a.asked, "runs")
	return a.Store.Runs(ctx, job, limit)
}

func (a *asking) Get(ctx context.Context, slot string) (jobs.Record, error) {
	a.asked = append(a.asked, "get")
	return a.Store.Get(ctx, slot)
}

func (a *asking) Next(ctx context.Context, group string) (jobs.Record, error) {
	a.asked = append(a.asked, "next")
	return a.Store.Next(ctx, group)
}

func TestARunAsksTheStoreLittle(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*jobs.Job[echoParams])
		want   string
	}{
		"plain":    {func(*jobs.Job[echoParams]) {}, "claim finish"},
		"queueing": {func(j *jobs.Job[echoParams]) { j.Overlap = jobs.OverlapQueue }, "claim finish next"},
		"catching": {func(j *jobs.Job[echoParams]) { j.CatchUp = 24 * time.Hour }, "runs claim finish"},
	} {
		t.Run(name, func(t *testing.T) {
			store := &asking{Store: jobs.NewMemoryStore(nil)}
			job := echo(well)
			tt.change(&job)
			mustInvoke(t, t.Context(), jobs.Handler(job, jobs.Config{Store: store, Log: io.Discard, Slots: nights}), scheduled(t, 24))
			if got := strings.Join(store.asked, " "); got != tt.want {
				t.Errorf("asked %s, want %s", got, tt.want)
			}
		})
	}
	store := &asking{Store: jobs.NewMemoryStore(nil)}
	h := jobs.Handler(echo(well), jobs.Config{Store: store, Log: io.Discard})
	for range 3 {
		if _, err := h.Invoke(t.Context(), []byte(sample(t, "accepted/queue.json"))); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(store.asked, " "); got != "paused" {
		t.Errorf("three batches asked %s, want one look a minute", got)
	}
}

func TestFortyContinuationsDoEachRowOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rounds, rows = 41, 41 * 20 // an invocation has time for 20
		var rest []jobs.Continuation
		did := make([]int, rows)
		h := jobs.Handler(echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
			row := 0
			if _, err := run.Resume(&row); err != nil {
				return err
			}
			for ; row < rows; row++ {
				if run.TimeLeft() <= 0 {
					return errors.Join(run.Checkpoint(ctx, row), jobs.ErrUnfinished)
				}
				if err := run.Alive(); err != nil {
					return err
				}
				pass(time.Second)
				did[row]++
				run.Count("rows", 1)
			}
			return nil
		}), jobs.Config{Log: io.Discard, Margin: 20 * time.Millisecond, Continue: func(_ context.Context, c jobs.Continuation) error {
			rest = append(rest, c)
			return nil
		}})
		once := func(payload string) jobs.Report {
			ctx, cancel := context.WithTimeout(request(t.Context(), fmt.Sprint("r", len(rest))), 20*time.Second+15*time.Millisecond)
			defer cancel()
			report := mustInvoke(t, ctx, h, payload)
			pass(30 * time.Second)
			return report
		}
		report := once(scheduled(t, 24))
		for report.Outcome == jobs.OutcomeUnfinished && len(rest) < 2*rounds {
			report = once(payload(t, rest[len(rest)-1]))
		}
		if report.Outcome != jobs.OutcomeDone || len(rest) != rounds-1 || report.Attempt != rounds || report.Counts["rows"] != rows {
			t.Errorf("after %d continuations: %+v", len(rest), report)
		}
		if i := slices.IndexFunc(did, func(n int) bool { return n != 1 }); i >= 0 {
			t.Errorf("row %d was done %d times", i, did[i])
		}
		if len(slices.Compact(slices.Clone(rest))) != 1 {
			t.Errorf("the continuations are of different runs: %v", rest)
		}
	})
}

func TestTwoContinuationsWithoutProgressEndTheRun(t *testing.T) {
	steps := []int{1, 1, 2, 2, 2} // where each attempt's checkpoint is
	attempt := 0
	store := jobs.NewMemoryStore(nil)
	var rest []jobs.Continuation
	h := jobs.Handler(echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
		run.Count("tries", 1)
		at := steps[attempt]
		attempt++
		return errors.Join(run.Checkpoint(ctx, at), jobs.ErrUnfinished)
	}), jobs.Config{Store: store, Log: io.Discard, Continue: func(_ context.Context, c jobs.Continuation) error {
		rest = append(rest, c)
		return nil
	}})
	next := scheduled(t, 24)
	for range len(steps) - 1 {
		if report := mustInvoke(t, t.Context(), h, next); report.Outcome != jobs.OutcomeUnfinished {
			t.Fatalf("attempt %d is %s", report.Attempt, report.Outcome)
		}
		next = payload(t, rest[len(rest)-1])
	}
	report, err := invoke(t, t.Context(), h, next)
	if err == nil || report.Outcome != jobs.OutcomeFailed || errors.Is(err, jobs.ErrUnfinished) || len(rest) != len(steps)-1 {
		t.Fatalf("the fifth attempt: %+v, %v", report, err)
	}
	contains(t, report.Error, "2 continuations in a row made no progress", "make the steps between checkpoints smaller")
	if r, err := store.Find(t.Context(), report.RunID); err != nil || r.State != jobs.Failed {
		t.Errorf("the run is %s, %v", r.State, err)
	}
}
