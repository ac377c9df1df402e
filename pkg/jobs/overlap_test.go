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

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// night is the day's slot of the schedule "nightly".
func night(day int) time.Time { return time.Date(2026, 11, day, 3, 0, 0, 0, time.UTC) }

// scheduled is what the schedule sends for that day.
func scheduled(t *testing.T, day int, change ...func(*jobs.ScheduleInput)) string {
	t.Helper()
	input := jobs.ScheduleInput{Schedule: "nightly", Time: night(day), Expression: "cron(0 3 * * ? *)", TimeZone: "UTC"}
	for _, c := range change {
		c(&input)
	}
	return payload(t, input)
}

func payload(t *testing.T, v json.Marshaler) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// nights is Config.Slots for the schedule "nightly".
func nights(_, _ string, after, before time.Time) ([]time.Time, error) {
	var times []time.Time
	for at := night(1); at.Before(before); at = at.Add(24 * time.Hour) {
		if at.After(after) {
			times = append(times, at)
		}
	}
	return times, nil
}

func slotOf(day int) string { return jobs.ScheduleSlot("", "echo", "nightly", night(day)) }

// state is where a day's run stands.
func state(t *testing.T, store jobs.Store, day int) jobs.State {
	t.Helper()
	r, err := store.Get(t.Context(), slotOf(day))
	if errors.Is(err, jobs.ErrNotFound) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return r.State
}

// during runs the slot of the 24th, and f while it is under way.
func during(t *testing.T, job jobs.Job[echoParams], config jobs.Config, f func(h func(payload string) jobs.Report)) jobs.Report {
	t.Helper()
	began, goOn := make(chan struct{}), make(chan struct{})
	work := job.Run
	job.Run = func(ctx context.Context, run *jobs.Run[echoParams]) error {
		if run.Trigger.Time.Equal(night(24)) {
			close(began)
			<-goOn
		}
		return work(ctx, run)
	}
	h := jobs.Handler(job, config)
	ended := make(chan jobs.Report, 1)
	go func() {
		data, err := h.Invoke(request(t.Context(), "first"), []byte(scheduled(t, 24)))
		var report jobs.Report
		if err != nil {
			t.Error(err)
		} else if err := json.Unmarshal(data, &report); err != nil {
			t.Error(err)
		}
		ended <- report
	}()
	<-began
	f(func(payload string) jobs.Report { return mustInvoke(t, t.Context(), h, payload) })
	close(goOn)
	return <-ended
}

func TestASlotIsSkippedWhileAnotherOfItsScheduleRuns(t *testing.T) {
	var log logBuffer
	store := jobs.NewMemoryStore(nil)
	first := during(t, echo(well), jobs.Config{Store: store, Log: &log}, func(invoke func(string) jobs.Report) {
		report := invoke(scheduled(t, 25))
		if report.Outcome != jobs.OutcomeSkipped || report.Slot != slotOf(25) || report.InProgress {
			t.Errorf("the overlapping slot reports %+v", report)
		}
		other := invoke(scheduled(t, 25, func(i *jobs.ScheduleInput) { i.Schedule = "hourly" }))
		beside := invoke(scheduled(t, 26, func(i *jobs.ScheduleInput) { i.Overlap = jobs.OverlapAllow }))
		byHand := invoke(`{"date":"2026-11-24"}`)
		for _, r := range []jobs.Report{other, beside, byHand} {
			if r.Outcome != jobs.OutcomeDone {
				t.Errorf("%s is %s", r.Slot, r.Outcome)
			}
		}
	})
	if first.Outcome != jobs.OutcomeDone {
		t.Errorf("the first is %s", first.Outcome)
	}
	if got := state(t, store, 25); got != "" {
		t.Errorf("the skipped slot is %s", got)
	}
	contains(t, log.String(), "another slot of the schedule is running", slotOf(24))
	skipped := slices.DeleteFunc(log.metrics(t), func(m map[string]any) bool { return m["outcome"] != "skipped" })
	if len(skipped) != 1 || skipped[0]["skipped"] != 1.0 || skipped[0]["finished"] != 0.0 {
		t.Errorf("metrics of the skipped slot: %v", skipped)
	}
}

func TestASlotWaitsForTheOneBeforeItAndIsRunByIt(t *testing.T) {
	store := jobs.NewMemoryStore(nil)
	var ran []string
	job := echo(func(_ context.Context, run *jobs.Run[echoParams]) error {
		ran = append(ran, fmt.Sprint(run.Trigger.Time.Day(), " ", run.Params.Date, " ", run.Attempt))
		return nil
	})
	job.Overlap = jobs.OverlapQueue
	first := during(t, job, jobs.Config{Store: store, Log: io.Discard}, func(invoke func(string) jobs.Report) {
		with := func(i *jobs.ScheduleInput) { i.Params = json.RawMessage(`{"date":"queued"}`) }
		for range 2 { // delivered twice
			if report := invoke(scheduled(t, 25, with)); report.Outcome != jobs.OutcomeQueued || report.Slot != slotOf(25) {
				t.Errorf("the overlapping slot reports %+v", report)
			}
		}
		if report := invoke(scheduled(t, 26)); report.Outcome != jobs.OutcomeSkipped {
			t.Errorf("a third slot reports %+v", report)
		}
	})
	if first.Outcome != jobs.OutcomeDone || first.Slot != slotOf(24) {
		t.Errorf("the first reports %+v", first)
	}
	if diff := cmp.Diff([]string{"24  1", "25 queued 1"}, ran); diff != "" {
		t.Errorf("ran (-want +got):\n%s", diff)
	}
	if got := state(t, store, 25); got != jobs.Done {
		t.Errorf("the slot that waited is %s", got)
	}
}

func TestTheWaitingSlotIsHandedOnAndOnceMoreIfThatFailed(t *testing.T) {
	now := night(24)
	store := jobs.NewMemoryStore(func() time.Time { return now })
	var handed []jobs.Continuation
	config := jobs.Config{Store: store, Log: io.Discard, Now: func() time.Time { return now }}
	config.Continue = func(_ context.Context, c jobs.Continuation) error {
		if handed = append(handed, c); len(handed) == 1 {
			return errBroken
		}
		return nil
	}
	job := echo(well)
	job.Overlap = jobs.OverlapQueue
	job.Run = func(ctx context.Context, run *jobs.Run[echoParams]) error {
		if run.Trigger.Time.Equal(night(24)) {
			report := mustInvoke(t, ctx, jobs.Handler(job, config), scheduled(t, 25))
			if report.Outcome != jobs.OutcomeQueued {
				t.Errorf("the overlapping slot is %s", report.Outcome)
			}
		}
		return nil
	}
	h := jobs.Handler(job, config)
	report, err := invoke(t, request(t.Context(), "r1"), h, scheduled(t, 24))
	if !errors.Is(err, errBroken) || report.Outcome != jobs.OutcomeDone {
		t.Fatalf("a slot that cannot be handed on: %v, %s", err, report.Outcome)
	}
	now = now.Add(time.Minute) // Lambda's first retry
	if report := mustInvoke(t, request(t.Context(), "r1"), h, scheduled(t, 24)); report.Outcome != jobs.OutcomeDuplicate {
		t.Errorf("the retry is %s", report.Outcome)
	}
	if len(handed) != 2 || handed[0] != handed[1] || handed[0].Slot != slotOf(25) {
		t.Fatalf("handed on: %+v", handed)
	}
	if report := mustInvoke(t, t.Context(), h, payload(t, handed[1])); report.Outcome != jobs.OutcomeDone || report.Slot != slotOf(25) || report.Attempt != 1 {
		t.Errorf("the continuation reports %+v", report)
	}
}

func TestAContinuationWaitsForAnotherSlotOfItsSchedule(t *testing.T) {
	now := night(24)
	config := jobs.Config{Log: io.Discard, Now: func() time.Time { return now }}
	config.Store = jobs.NewMemoryStore(config.Now)
	config.Continue = func(context.Context, jobs.Continuation) error { return nil }
	var inside func()
	h := jobs.Handler(echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
		if run.Trigger.Time.Equal(night(24)) && run.Attempt == 1 {
			return errors.Join(run.Checkpoint(ctx, 1), jobs.ErrUnfinished)
		}
		if inside != nil {
			inside()
		}
		return nil
	}), config)
	first := mustInvoke(t, t.Context(), h, scheduled(t, 24))
	again := payload(t, jobs.Continuation{Job: "echo", Slot: first.Slot, RunID: first.RunID})
	now = now.Add(time.Hour) // so late that another slot has begun
	inside = func() {
		inside = nil
		if report := mustInvoke(t, t.Context(), h, again); report.Outcome != jobs.OutcomeInProgress {
			t.Errorf("the continuation beside another slot is %s", report.Outcome)
		}
	}
	mustInvoke(t, t.Context(), h, scheduled(t, 25))
	if report := mustInvoke(t, t.Context(), h, again); report.Outcome != jobs.OutcomeDone {
		t.Errorf("the continuation is %s", report.Outcome)
	}
}

func TestMissedSlotsRunFirstAndInOrder(t *testing.T) {
	var log logBuffer
	store := jobs.NewMemoryStore(nil)
	var ran []int
	job := echo(func(_ context.Context, run *jobs.Run[echoParams]) error {
		ran = append(ran, run.Trigger.Time.Day())
		if run.Params.Date != "x" {
			t.Errorf("params are %+v", run.Params)
		}
		return nil
	})
	job.CatchUp = 4 * 24 * time.Hour
	h := jobs.Handler(job, jobs.Config{Store: store, Log: &log, Slots: nights})
	with := func(i *jobs.ScheduleInput) { i.Params = json.RawMessage(`{"date":"x"}`) }
	unknown := func(i *jobs.ScheduleInput) { with(i); i.Expression = "" }
	mustInvoke(t, t.Context(), h, scheduled(t, 22, unknown)) // does not know its expression: nothing is missed
	report := mustInvoke(t, t.Context(), h, scheduled(t, 25, with))
	if report.Slot != slotOf(25) || report.Outcome != jobs.OutcomeDone {
		t.Errorf("the answer is %+v, want the slot's own", report)
	}
	if diff := cmp.Diff([]int{22, 23, 24, 25}, ran); diff != "" { // the 21st is a whole window away
		t.Errorf("ran (-want +got):\n%s", diff)
	}
	if reports := log.with(t, "report"); len(reports) != 4 {
		t.Errorf("%d reports for 4 slots", len(reports))
	}
	mustInvoke(t, t.Context(), h, scheduled(t, 25, with))
	mustInvoke(t, t.Context(), h, scheduled(t, 26, with))
	if want := []int{22, 23, 24, 25, 26}; !slices.Equal(ran, want) {
		t.Errorf("ran %v, want %v: what has a record is not missed", ran, want)
	}
}

func TestMissedSlotsThatDoNotFitAreLeftToTheRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := jobs.NewMemoryStore(nil)
		var ran []string
		job := echo(func(_ context.Context, run *jobs.Run[echoParams]) error {
			ran = append(ran, fmt.Sprint(run.Trigger.Time.Day()))
			pass(4 * time.Minute)
			return nil
		})
		job.CatchUp = 5 * 24 * time.Hour
		h := jobs.Handler(job, jobs.Config{Store: store, Log: io.Discard, Slots: nights})
		try := func() (jobs.Report, error) {
			ctx, cancel := context.WithTimeout(request(t.Context(), "r1"), 12*time.Minute+30*time.Second)
			defer cancel()
			return invoke(t, ctx, h, scheduled(t, 25))
		}
		report, err := try()
		if err == nil || report.Outcome != jobs.OutcomeFailed || report.Slot != "" {
			t.Fatalf("the first try: %+v, %v", report, err)
		}
		contains(t, err.Error(), "of 4 slots that were missed before it 1 are still to be run", slotOf(24))
		if report, err = try(); err != nil || report.Outcome != jobs.OutcomeDone {
			t.Errorf("the retry: %+v, %v", report, err)
		}
		if got := strings.Join(ran, " "); got != "21 22 23 24 25" {
			t.Errorf("ran %s", got)
		}
	})
}

func TestAMissedSlotThatStopsUnfinishedIsGoneOnWithFirst(t *testing.T) {
	var ran []string
	job := echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
		ran = append(ran, fmt.Sprint(run.Trigger.Time.Day(), "/", run.Attempt))
		if run.Trigger.Time.Equal(night(23)) && run.Attempt == 1 {
			return errors.Join(run.Checkpoint(ctx, 1), jobs.ErrUnfinished)
		}
		return nil
	})
	job.CatchUp = 3 * 24 * time.Hour
	h := jobs.Handler(job, jobs.Config{Log: io.Discard, Slots: nights})
	report, err := invoke(t, request(t.Context(), "r1"), h, scheduled(t, 25))
	if err == nil || report.Outcome != jobs.OutcomeFailed {
		t.Fatalf("the first try: %s, %v", report.Outcome, err)
	}
	contains(t, err.Error(), slotOf(23), "is unfinished")
	mustInvoke(t, request(t.Context(), "r1"), h, scheduled(t, 25))
	if got := strings.Join(ran, " "); got != "23/1 23/2 24/1 25/1" {
		t.Errorf("ran %s", got)
	}
}

func TestASlotThatWaitsBehindADeadOneIsRunByTheNext(t *testing.T) {
	now := night(24)
	store := jobs.NewMemoryStore(func() time.Time { return now })
	for day := 22; day <= 23; day++ {
		trigger := fmt.Sprintf(`{"kind":"schedule","source":"nightly","time":%q,"payload":{}}`, night(day).Format(time.RFC3339))
		_, err := store.Claim(t.Context(), jobs.Claim{
			Slot: slotOf(day), Job: "echo", RunID: fmt.Sprint(day), Owner: fmt.Sprint(day), Until: now.Add(time.Minute),
			Group: "local/echo/nightly", Overlap: jobs.OverlapQueue, Trigger: json.RawMessage(trigger),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := state(t, store, 23); got != jobs.Waiting {
		t.Fatalf("the second slot is %s", got)
	}
	now = now.Add(time.Minute) // the one before it died
	var ran []string
	job := echo(func(_ context.Context, run *jobs.Run[echoParams]) error {
		ran = append(ran, fmt.Sprint(run.Trigger.Time.Day(), "/", run.Attempt))
		return nil
	})
	job.Overlap, job.CatchUp = jobs.OverlapQueue, 3*24*time.Hour
	h := jobs.Handler(job, jobs.Config{Store: store, Log: io.Discard, Slots: nights, Now: func() time.Time { return now }})
	mustInvoke(t, t.Context(), h, scheduled(t, 24))
	if got := strings.Join(ran, " "); got != "22/2 23/1 24/1" {
		t.Errorf("ran %s", got)
	}
}

func TestASlotThatFailsStillLetsTheWaitingOneRun(t *testing.T) {
	store := jobs.NewMemoryStore(nil)
	job := jobs.Job[echoParams]{Name: "echo", Overlap: jobs.OverlapQueue}
	config := jobs.Config{Store: store, Log: io.Discard}
	job.Run = func(ctx context.Context, run *jobs.Run[echoParams]) error {
		if !run.Trigger.Time.Equal(night(24)) {
			return nil
		}
		mustInvoke(t, ctx, jobs.Handler(job, config), scheduled(t, 25))
		return errBroken
	}
	report, err := invoke(t, t.Context(), jobs.Handler(job, config), scheduled(t, 24))
	if !errors.Is(err, errBroken) || report.Outcome != jobs.OutcomeFailed {
		t.Errorf("the first: %s, %v", report.Outcome, err)
	}
	if got := state(t, store, 25); got != jobs.Done {
		t.Errorf("the slot that waited is %s", got)
	}
}

func TestAMissedSlotThatFailsIsRetriedWithTheInvocation(t *testing.T) {
	store := jobs.NewMemoryStore(nil)
	var ran []string
	job := echo(func(_ context.Context, run *jobs.Run[echoParams]) error {
		ran = append(ran, fmt.Sprint(run.Trigger.Time.Day(), "/", run.Attempt))
		if run.Trigger.Time.Equal(night(23)) && run.Attempt < 3 {
			return errBroken
		}
		return nil
	})
	job.CatchUp = 3 * 24 * time.Hour
	h := jobs.Handler(job, jobs.Config{Store: store, Log: io.Discard, Slots: nights})
	for _, want := range []jobs.Outcome{jobs.OutcomeDone, jobs.OutcomeDuplicate} {
		report, err := invoke(t, request(t.Context(), "r1"), h, scheduled(t, 25))
		if !errors.Is(err, errBroken) || report.Outcome != want {
			t.Fatalf("%v, %s", err, report.Outcome)
		}
		contains(t, err.Error(), slotOf(23), "which was missed")
	}
	mustInvoke(t, request(t.Context(), "r2"), h, scheduled(t, 25)) // another invocation does not take it up: it is not missed
	mustInvoke(t, request(t.Context(), "r1"), h, scheduled(t, 25))
	if got := strings.Join(ran, " "); got != "23/1 24/1 25/1 23/2 23/3" {
		t.Errorf("ran %s", got)
	}
}

func TestTheNextSlotGoesOnWithARunThatDiedWithoutAWord(t *testing.T) {
	now := night(24)
	store := jobs.NewMemoryStore(func() time.Time { return now })
	dead, err := store.Claim(t.Context(), jobs.Claim{
		Slot: slotOf(24), Job: "echo", RunID: "dead", Owner: "dead", Until: now.Add(15 * time.Minute), Group: "local/echo/nightly",
		Trigger: json.RawMessage(`{"kind":"schedule","source":"nightly","time":"2026-11-24T03:00:00Z","payload":{"date":"its own"}}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Checkpoint(t.Context(), dead, json.RawMessage(`{"v":2,"progress":7}`)); err != nil {
		t.Fatal(err)
	}
	var ran []string
	job := echo(func(_ context.Context, run *jobs.Run[echoParams]) error {
		var row int
		if _, err := run.Resume(&row); err != nil {
			return err
		}
		ran = append(ran, fmt.Sprintf("%d: %q attempt %d from row %d", run.Trigger.Time.Day(), run.Params.Date, run.Attempt, row))
		return nil
	})
	job.CatchUp = 36 * time.Hour
	h := jobs.Handler(job, jobs.Config{Store: store, Log: io.Discard, Slots: nights, Now: func() time.Time { return now }})
	now = night(25)
	mustInvoke(t, t.Context(), h, scheduled(t, 25))
	if diff := cmp.Diff([]string{`24: "its own" attempt 2 from row 7`, `25: "" attempt 1 from row 0`}, ran); diff != "" {
		t.Errorf("ran (-want +got):\n%s", diff)
	}
	if r, err := store.Find(t.Context(), "dead"); err != nil || r.State != jobs.Done {
		t.Errorf("the dead run is %s, %v", r.State, err)
	}
}

func TestMissedSlotsNeedToKnowTheSchedule(t *testing.T) {
	job := echo(well)
	job.CatchUp = time.Hour
	_, err := jobs.Handler(job, jobs.Config{Log: io.Discard}).Invoke(t.Context(), nil)
	if err == nil {
		t.Fatal("CatchUp without Slots passed")
	}
	contains(t, err.Error(), "Config.Slots")
	h := jobs.Handler(job, jobs.Config{Log: io.Discard, Slots: func(string, string, time.Time, time.Time) ([]time.Time, error) {
		return nil, errBroken
	}})
	if _, err := invoke(t, t.Context(), h, scheduled(t, 24)); !errors.Is(err, errBroken) {
		t.Errorf("an expression that cannot be read: %v", err)
	}
	job.Overlap, job.CatchUp = "sometimes", -1
	_, err = jobs.Handler(job, jobs.Config{Log: io.Discard}).Invoke(t.Context(), nil)
	if err == nil {
		t.Fatal("a wrong policy passed")
	}
	contains(t, err.Error(), `Job.Overlap "sometimes"`, "Job.CatchUp -1ns is negative")
}
