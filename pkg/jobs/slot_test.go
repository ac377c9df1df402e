package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

const nightly = `{"m2mjobs":{"schedule":"arn:aws:scheduler:eu-west-1:1:schedule/default/nightly","time":"2026-11-24T03:00:00Z","attempt":"1","params":{"date":"2026-11-23"}}}`

func TestScheduleSlotIsTheSameForNameAndARNInAnyZone(t *testing.T) {
	const want = "shop/daily-orders/nightly/2026-11-24T03:00:00Z"
	at := time.Date(2026, 11, 24, 3, 0, 0, 999, time.UTC)
	for _, schedule := range []string{"nightly", "arn:aws:scheduler:eu-west-1:1:schedule/default/nightly"} {
		if got := jobs.ScheduleSlot("shop", "daily-orders", schedule, at.In(time.FixedZone("", 3600))); got != want {
			t.Errorf("slot of %q is %q", schedule, got)
		}
	}
	if got := jobs.ScheduleSlot("", "j", "n", at); !strings.HasPrefix(got, "local/") {
		t.Errorf("slot without a stack is %q", got)
	}
}

func TestADoneSlotIsNotRunAgainAndAnswersTheFirstReport(t *testing.T) {
	for name, payload := range map[string]string{"schedule": nightly, "rule": sample(t, "accepted/scheduled-rule.json"), "event": sample(t, "accepted/custom-event.json")} {
		t.Run(name, func(t *testing.T) {
			var log logBuffer
			ran := 0
			used := int64(0)
			config := jobs.Config{
				Log: &log, Store: jobs.NewMemoryStore(nil),
				Usage: func() jobs.Usage { return jobs.Usage{Requests: used} },
			}
			h := jobs.Handler(echo(func(_ context.Context, run *jobs.Run[echoParams]) error {
				ran++
				used += 5
				run.Count("changed", 3)
				run.Result(map[string]int{"orders": 60})
				return nil
			}), config)
			first := mustInvoke(t, request(t.Context(), "r1"), h, payload)
			// A redeploy starts a new handler over the same store.
			h = jobs.Handler(echo(func(context.Context, *jobs.Run[echoParams]) error {
				t.Error("ran again")
				return nil
			}), config)
			second := mustInvoke(t, request(t.Context(), "r2"), h, payload)
			want := first
			want.Outcome, want.Duplicate = jobs.OutcomeDuplicate, true
			if diff := cmp.Diff(want, second); diff != "" {
				t.Errorf("report of the duplicate (-want +got):\n%s", diff)
			}
			if ran != 1 || second.Counts["changed"] != 3 || string(second.Result) != `{"orders":60}` || second.Requests != 5 {
				t.Errorf("ran %d times, duplicate's report is %+v", ran, second)
			}
			metrics := log.metrics(t)
			if len(metrics) != 2 || metrics[1]["duplicate"] != 1.0 || metrics[1]["requests"] != 0.0 || metrics[1]["finished"] != 0.0 || metrics[1]["changed"] != nil {
				t.Errorf("the duplicate's metrics count the first run's work again: %v", metrics)
			}
		})
	}
}

func TestAFailedSlotMayRunAgain(t *testing.T) {
	fail := true
	h := jobs.Handler(echo(func(context.Context, *jobs.Run[echoParams]) error {
		if fail {
			return errBroken
		}
		return nil
	}), jobs.Config{Log: io.Discard})
	first, err := invoke(t, t.Context(), h, nightly)
	if !errors.Is(err, errBroken) || first.Outcome != jobs.OutcomeFailed || first.Error != errBroken.Error() {
		t.Fatalf("the failing run: %v, %+v", err, first)
	}
	fail = false
	second := mustInvoke(t, t.Context(), h, nightly)
	if second.Outcome != jobs.OutcomeDone || second.RunID != first.RunID || second.Attempt != 2 {
		t.Errorf("run again: %+v", second)
	}
}

func TestARunByHandResumesIfUnfinishedAndRunsAnewIfFinished(t *testing.T) {
	unfinished := true
	digest := "v1"
	job := echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
		if !unfinished {
			return nil
		}
		if err := run.Checkpoint(ctx, 1); err != nil {
			return err
		}
		return jobs.ErrUnfinished
	})
	job.Digest = func(context.Context, echoParams) (string, error) { return digest, nil }
	h := jobs.Handler(job, jobs.Config{Log: io.Discard})
	first, err := invoke(t, t.Context(), h, `{"date":"d", "dryRun":true}`)
	if !errors.Is(err, jobs.ErrUnfinished) {
		t.Fatal(err)
	}
	unfinished = false
	resumed := mustInvoke(t, t.Context(), h, `{"dryRun": true,"date":"d"}`)
	if resumed.RunID != first.RunID || resumed.Attempt != 2 {
		t.Errorf("the same params in another order: run %s attempt %d, want run %s attempt 2", resumed.RunID, resumed.Attempt, first.RunID)
	}
	anew := mustInvoke(t, t.Context(), h, `{"dryRun": true,"date":"d"}`)
	if anew.RunID == first.RunID || anew.Attempt != 1 || anew.Slot != first.Slot || anew.Duplicate {
		t.Errorf("a finished run by hand was not run anew: %+v", anew)
	}
	digest = "v2"
	if other := mustInvoke(t, t.Context(), h, `{"dryRun": true,"date":"d"}`); other.Slot == first.Slot {
		t.Error("another digest of the source has the same slot")
	}
	if other := mustInvoke(t, t.Context(), h, `{"date":"d"}`); other.Slot == first.Slot {
		t.Error("other params have the same slot")
	}
}

func TestARunByHandThatFailedWeeksAgoIsNotGoneOnWith(t *testing.T) {
	now := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	h := jobs.Handler(echo(func(_ context.Context, run *jobs.Run[echoParams]) error {
		if !run.Trigger.Time.Equal(now) {
			t.Errorf("on %v the run is of %v", now, run.Trigger.Time)
		}
		return errBroken
	}), jobs.Config{Log: io.Discard, Now: func() time.Time { return now }})
	first, err := invoke(t, request(t.Context(), "r1"), h, `{}`)
	if !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	now = now.AddDate(0, 0, 18)
	second, err := invoke(t, request(t.Context(), "r2"), h, `{}`)
	if !errors.Is(err, errBroken) || second.RunID == first.RunID || second.Attempt != 1 {
		t.Errorf("%v, run %s attempt %d after run %s", err, second.RunID, second.Attempt, first.RunID)
	}
}

func TestADeliveryRepeatedAfterTheEndIsADuplicateByHandToo(t *testing.T) {
	h := jobs.Handler(echo(well), jobs.Config{Log: io.Discard})
	mustInvoke(t, request(t.Context(), "r1"), h, `{}`)
	if again := mustInvoke(t, request(t.Context(), "r1"), h, `{}`); !again.Duplicate {
		t.Errorf("Lambda's second delivery of one request ran again: %+v", again)
	}
}

func TestADigestThatFailsFailsTheRun(t *testing.T) {
	job := echo(well)
	job.Digest = func(context.Context, echoParams) (string, error) { return "", errBroken }
	report, err := invoke(t, t.Context(), jobs.Handler(job, jobs.Config{Log: io.Discard}), `{}`)
	if !errors.Is(err, errBroken) || report.Error != errBroken.Error() || report.Outcome != jobs.OutcomeFailed {
		t.Errorf("%v, %+v", err, report)
	}
}

func TestAnotherInvocationGivesWayWhileARunIsUnderWay(t *testing.T) {
	for _, payload := range []string{nightly, sample(t, "accepted/custom-event.json"), `{}`} {
		var h interface {
			Invoke(context.Context, []byte) ([]byte, error)
		}
		var inner jobs.Report
		var log logBuffer
		h = jobs.Handler(echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
			inner = mustInvoke(t, request(t.Context(), "other"), h, payload)
			return nil
		}), jobs.Config{Log: &log})
		outer := mustInvoke(t, request(t.Context(), "holder"), h, payload)
		if !inner.InProgress || inner.Outcome != jobs.OutcomeInProgress || inner.RunID != outer.RunID {
			t.Errorf("the other invocation of %s reports %+v", payload, inner)
		}
		if outer.Outcome != jobs.OutcomeDone {
			t.Errorf("the holder reports %+v", outer)
		}
	}
}

// killed makes a run that ends as if its process had been killed after f: nothing of it is reported or stored.
type killed struct{ jobs.Store }

func (killed) Finish(context.Context, jobs.Record, jobs.State, json.RawMessage) error {
	return errors.New("killed")
}

func TestLambdasOwnRetryTakesItsLeaseOverAtOnce(t *testing.T) {
	store := jobs.NewMemoryStore(nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	h := jobs.Handler(echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
		run.Count("changed", 7)
		return run.Checkpoint(ctx, map[string]int{"row": 7})
	}), jobs.Config{Log: io.Discard, Store: killed{store}})
	first, err := invoke(t, request(ctx, "r1"), h, nightly)
	if err == nil {
		t.Fatal("a run whose end could not be saved passed")
	}

	h = jobs.Handler(echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
		var at map[string]int
		if ok, err := run.Resume(&at); !ok || err != nil || at["row"] != 7 {
			t.Errorf("resumes at %v, %v, %v", at, ok, err)
		}
		run.Count("changed", 1)
		return nil
	}), jobs.Config{Log: io.Discard, Store: store})
	if other := mustInvoke(t, request(ctx, "r2"), h, nightly); !other.InProgress {
		t.Errorf("another request did not give way: %+v", other)
	}
	again := mustInvoke(t, request(ctx, "r1"), h, nightly)
	if again.RunID != first.RunID || again.Attempt != 2 || again.Counts["changed"] != 8 {
		t.Errorf("the retry reports %+v", again)
	}
}

func TestALeaseEndsWithTheInvocationsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := jobs.NewMemoryStore(nil)
		died := jobs.Handler(echo(well), jobs.Config{Log: io.Discard, Store: killed{store}})
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
		defer cancel()
		if _, err := invoke(t, request(ctx, "r1"), died, nightly); err == nil {
			t.Fatal("a run whose end could not be saved passed")
		}
		lives := jobs.Handler(echo(well), jobs.Config{Log: io.Discard, Store: store})
		pass(15*time.Minute - time.Second)
		if report := mustInvoke(t, request(t.Context(), "r2"), lives, nightly); !report.InProgress {
			t.Errorf("before the deadline: %+v", report)
		}
		pass(time.Second)
		if report := mustInvoke(t, request(t.Context(), "r2"), lives, nightly); report.Outcome != jobs.OutcomeDone || report.Attempt != 2 {
			t.Errorf("after the deadline: %+v", report)
		}
	})
}

// noFinish is a store that is not to be told of an end.
type noFinish struct {
	jobs.Store
	t *testing.T
}

func (s noFinish) Finish(context.Context, jobs.Record, jobs.State, json.RawMessage) error {
	s.t.Error("Finish was called")
	return nil
}

func TestARunThatLostItsLeaseFailsAndWritesNothing(t *testing.T) {
	for _, swallowed := range []bool{false, true} {
		store := jobs.NewMemoryStore(nil)
		kept := 0
		config := jobs.Config{
			Log: io.Discard, Store: noFinish{store, t},
			Keep: func(context.Context, string, []byte) (string, error) { kept++; return "", nil },
		}
		h := jobs.Handler(echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
			// The same request again: Lambda believes this attempt dead.
			_, err := store.Claim(ctx, jobs.Claim{Slot: run.Slot, Job: "echo", RunID: "x", Owner: "r1", Until: time.Now().Add(time.Hour)})
			if err != nil {
				t.Error(err)
			}
			err = run.Checkpoint(ctx, 1)
			if !errors.Is(err, jobs.ErrLeaseLost) || !errors.Is(run.Alive(), jobs.ErrLeaseLost) {
				t.Errorf("Checkpoint: %v, then Alive: %v", err, run.Alive())
			}
			run.Reject(jobs.Rejection{Line: 1})
			if swallowed {
				return nil
			}
			return err
		}), config)
		report, err := invoke(t, request(t.Context(), "r1"), h, nightly)
		if !errors.Is(err, jobs.ErrLeaseLost) || report.Outcome != jobs.OutcomeFailed {
			t.Errorf("the run ended in %v, %+v", err, report)
		}
		record, err := store.Get(t.Context(), report.Slot)
		if err != nil || record.State != jobs.Running || record.Attempt != 2 || record.Report != nil || kept != 0 {
			t.Errorf("the slot is %+v, %v; %d files kept", record, err, kept)
		}
	}
}

func TestAliveGoesByTheWallClock(t *testing.T) {
	now := time.Now()
	ctx, cancel := context.WithDeadline(t.Context(), now.Add(time.Hour))
	defer cancel()
	h := jobs.Handler(echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
		if err := run.Alive(); err != nil {
			t.Errorf("Alive at the start: %v", err)
		}
		now = now.Add(time.Hour) // frozen, and thawed past the deadline: no timer has fired
		if err := run.Alive(); !errors.Is(err, jobs.ErrLeaseLost) {
			t.Errorf("Alive past the lease: %v", err)
		}
		if err := run.Checkpoint(ctx, 1); !errors.Is(err, jobs.ErrLeaseLost) {
			t.Errorf("Checkpoint past the lease: %v", err)
		}
		return ctx.Err()
	}), jobs.Config{Log: io.Discard, Now: func() time.Time { return now }})
	if _, err := invoke(t, ctx, h, nightly); !errors.Is(err, jobs.ErrLeaseLost) {
		t.Errorf("the run ended in %v", err)
	}
}

func TestARunThatGoesOnKeepsTheTimeOfItsFirstAttempt(t *testing.T) {
	now := time.Date(2026, 11, 23, 23, 59, 0, 0, time.UTC)
	var days []string
	job := echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
		days = append(days, run.Params.Date)
		return errBroken
	})
	job.Params = func(tr jobs.Trigger, _ json.RawMessage) (echoParams, error) {
		return echoParams{Date: tr.Time.Format(time.DateOnly)}, nil
	}
	h := jobs.Handler(job, jobs.Config{Log: io.Discard, Now: func() time.Time { return now }})
	for range 2 {
		if _, err := invoke(t, t.Context(), h, `{}`); !errors.Is(err, errBroken) {
			t.Fatal(err)
		}
		now = now.Add(2 * time.Minute)
	}
	if want := "2026-11-23 2026-11-23"; strings.Join(days, " ") != want {
		t.Errorf("the attempts worked on %v", days)
	}
}

func TestAScheduleWithCorrectedParamsStartsItsFailedSlotOver(t *testing.T) {
	var log logBuffer
	step := 0
	h := jobs.Handler(echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
		step++
		ok, err := run.Resume(new(int))
		if err != nil {
			t.Error(err)
		}
		want := map[int]string{1: "bad false", 2: "good false", 3: "good true", 4: "good true"}[step]
		if got := fmt.Sprint(run.Params.Date, " ", ok); got != want {
			t.Errorf("attempt %d is %s, want %s", step, got, want)
		}
		run.Count("tries", 1)
		if err := run.Checkpoint(ctx, step); err != nil {
			t.Error(err)
		}
		switch step {
		case 1:
			return errBroken
		case 2, 3:
			return jobs.ErrUnfinished
		}
		return nil
	}), jobs.Config{Log: &log, Continue: func(context.Context, jobs.Continuation) error { return nil }})
	scheduled := func(date string) string { return strings.Replace(nightly, "2026-11-23", date, 1) }
	if _, err := invoke(t, t.Context(), h, scheduled("bad")); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	second := mustInvoke(t, t.Context(), h, scheduled("good"))
	if len(log.with(t, "the run starts over")) != 1 {
		t.Errorf("nothing says that the run starts over: %s", log.String())
	}
	payload, err := json.Marshal(jobs.Continuation{Job: "echo", Slot: second.Slot, RunID: second.RunID})
	if err != nil {
		t.Fatal(err)
	}
	third := mustInvoke(t, t.Context(), h, string(payload))
	if third.Outcome != jobs.OutcomeUnfinished || third.Counts["tries"] != 2 {
		t.Errorf("the continuation reports %+v", third)
	}
	// The checkpoint of a continuation still says which params count.
	fourth := mustInvoke(t, t.Context(), h, string(payload))
	if fourth.Outcome != jobs.OutcomeDone || fourth.Attempt != 4 || fourth.Counts["tries"] != 3 {
		t.Errorf("the second continuation reports %+v", fourth)
	}
}

func TestACheckpointOfAnUnknownVersionStartsOverAndSaysSo(t *testing.T) {
	var log logBuffer
	store := jobs.NewMemoryStore(nil)
	slot := jobs.ScheduleSlot("", "echo", "nightly", time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC))
	record, err := store.Claim(t.Context(), jobs.Claim{
		Slot: slot, Job: "echo", RunID: "old", Owner: "old", Until: time.Now().Add(time.Hour),
		Trigger: json.RawMessage(`{"kind":"schedule","source":"nightly","time":"2026-11-24T03:00:00Z","payload":{"date":"2026-11-23"}}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Checkpoint(t.Context(), record, json.RawMessage(`{"v":99,"counts":{"changed":5},"progress":1}`)); err != nil {
		t.Fatal(err)
	}
	if err := store.Finish(t.Context(), record, jobs.Failed, json.RawMessage(`{}`)); err != nil {
		t.Fatal(err)
	}
	h := jobs.Handler(echo(func(_ context.Context, run *jobs.Run[echoParams]) error {
		if ok, err := run.Resume(new(int)); ok || err != nil {
			t.Errorf("Resume: %v, %v", ok, err)
		}
		return nil
	}), jobs.Config{Log: &log, Store: store})
	report := mustInvoke(t, t.Context(), h, nightly)
	if report.RunID != "old" || report.Attempt != 2 || len(report.Counts) != 0 {
		t.Errorf("report is %+v", report)
	}
	contains(t, log.String(), "the run starts over", "of a form that this version does not know")
	contains(t, report.StartedOver, "of a form that this version does not know")
}

func TestMessagesTakeNoSlot(t *testing.T) {
	ran := 0
	store := jobs.NewMemoryStore(nil)
	h := jobs.Handler(echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
		ran++
		return run.Checkpoint(ctx, 1)
	}), jobs.Config{Log: io.Discard, Store: store})
	for range 2 {
		if _, err := h.Invoke(t.Context(), []byte(sample(t, "accepted/queue.json"))); err != nil {
			t.Fatal(err)
		}
	}
	runs, err := store.Runs(t.Context(), "echo", 10)
	if ran != 2 || err != nil || len(runs) != 0 {
		t.Errorf("ran %d times, the store has %v, %v", ran, runs, err)
	}
}
