package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

func TestTimeLeftEndsAMarginBeforeTheDeadline(t *testing.T) {
	tests := []struct{ timeout, margin, want time.Duration }{
		{time.Minute, 0, 54 * time.Second},                     // a tenth
		{15 * time.Minute, 0, 15*time.Minute - 30*time.Second}, // at most 30 s
		{10 * time.Second, 0, 8 * time.Second},                 // at least 2 s
		{3 * time.Second, 0, 1500 * time.Millisecond},          // but half of the time is for work
		{time.Minute, 5 * time.Second, 55 * time.Second},       // as configured
		{time.Minute, 2 * time.Minute, 30 * time.Second},       // but half of the time is for work
		{0, 0, 24*time.Hour - 30*time.Second},                  // no deadline
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := t.Context(), func() {}
			if tt.timeout > 0 {
				ctx, cancel = context.WithTimeout(ctx, tt.timeout)
			}
			defer cancel()
			h := jobs.Handler(echo(func(_ context.Context, run *jobs.Run[echoParams]) error {
				if got := run.TimeLeft(); got != tt.want {
					t.Errorf("of %v with margin %v are left %v, want %v", tt.timeout, tt.margin, got, tt.want)
				}
				return nil
			}), jobs.Config{Log: io.Discard, Margin: tt.margin})
			mustInvoke(t, ctx, h, `{}`)
		})
	}
}

// counting is a job that counts to 10, a second each, and stops by itself when time is short.
func counting() jobs.Job[echoParams] {
	return echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
		var done int
		if _, err := run.Resume(&done); err != nil {
			return err
		}
		for done < 10 {
			if run.TimeLeft() <= 0 {
				if err := run.Checkpoint(ctx, done); err != nil {
					return err
				}
				run.Count("after", 1) // not in the checkpoint
				return fmt.Errorf("at %d: %w", done, jobs.ErrUnfinished)
			}
			pass(time.Second)
			done++
			run.Count("counted", 1)
		}
		run.Result(map[string]int{"done": done})
		return nil
	})
}

func TestARunStopsByItselfAndIsContinuedUntilItIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var next []byte
		config := jobs.Config{
			Log: io.Discard, Margin: time.Second,
			Continue: func(_ context.Context, c jobs.Continuation) (err error) {
				next, err = json.Marshal(c)
				return err
			},
		}
		h := jobs.Handler(counting(), config)
		payload := []byte(nightly)
		var first, last jobs.Report
		rounds := 0
		for payload != nil {
			next = nil
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			last = mustInvoke(t, request(ctx, fmt.Sprint("r", rounds)), h, string(payload))
			cancel()
			if rounds == 0 {
				first = last
			}
			rounds++
			payload = next
		}
		if first.Outcome != jobs.OutcomeUnfinished || first.Counts["counted"] != 3 || first.Counts["after"] != 0 || first.Error != "" {
			t.Errorf("the first round reports %+v", first)
		}
		if rounds != 4 || last.Outcome != jobs.OutcomeDone || last.Attempt != 4 || last.RunID != first.RunID || last.Slot != first.Slot {
			t.Errorf("after %d rounds: %+v", rounds, last)
		}
		if last.Counts["counted"] != 10 || string(last.Result) != `{"done":10}` || last.Trigger.Kind != jobs.Schedule {
			t.Errorf("the last round reports %+v", last)
		}
		// A continuation that comes twice finds the slot done.
		again, err := json.Marshal(jobs.Continuation{Job: "echo", Slot: last.Slot, RunID: last.RunID})
		if err != nil {
			t.Fatal(err)
		}
		if report := mustInvoke(t, t.Context(), h, string(again)); !report.Duplicate {
			t.Errorf("continuing a done run: %+v", report)
		}
	})
}

func TestAContinuationIsOfTheWholeEnvelope(t *testing.T) {
	got, err := json.Marshal(jobs.Continuation{Job: "echo", Slot: "s/l/o/t", RunID: "r"})
	if want := `{"m2mjobs":{"continue":{"job":"echo","slot":"s/l/o/t","runId":"r"}}}`; err != nil || string(got) != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
}

func TestAnUnfinishedRunWithoutContinueIsAnErrorThatLambdaRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := jobs.Handler(counting(), jobs.Config{Log: io.Discard, Margin: time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		report, err := invoke(t, request(ctx, "r1"), h, nightly)
		if !errors.Is(err, jobs.ErrUnfinished) || report.Outcome != jobs.OutcomeUnfinished || report.Error == "" {
			t.Fatalf("%v, %+v", err, report)
		}
		report = mustInvoke(t, request(t.Context(), "r1"), h, nightly)
		if report.Outcome != jobs.OutcomeDone || report.Attempt != 2 || report.Counts["counted"] != 10 {
			t.Errorf("the retry reports %+v", report)
		}
	})
}

func TestAContinueThatFailsFailsTheInvocationNotTheRun(t *testing.T) {
	store := jobs.NewMemoryStore(nil)
	h := jobs.Handler(echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
		return errors.Join(run.Checkpoint(ctx, 1), jobs.ErrUnfinished)
	}), jobs.Config{
		Log: io.Discard, Store: store,
		Continue: func(context.Context, jobs.Continuation) error { return errBroken },
	})
	report, err := invoke(t, t.Context(), h, nightly)
	if !errors.Is(err, errBroken) || report.Outcome != jobs.OutcomeUnfinished {
		t.Errorf("%v, %+v", err, report)
	}
	if record, err := store.Get(t.Context(), report.Slot); err != nil || record.State != jobs.Unfinished {
		t.Errorf("the slot is %+v, %v", record, err)
	}
}

func TestStoppingWithoutACheckpointFailsTheRun(t *testing.T) {
	h := jobs.Handler(echo(func(context.Context, *jobs.Run[echoParams]) error { return jobs.ErrUnfinished }), jobs.Config{
		Log:      io.Discard,
		Continue: func(context.Context, jobs.Continuation) error { t.Error("continued"); return nil },
	})
	report, err := invoke(t, t.Context(), h, nightly)
	if err == nil || report.Outcome != jobs.OutcomeFailed {
		t.Errorf("%v, %+v", err, report)
	}
	contains(t, report.Error, "without a checkpoint from this attempt")
}

func TestARunThatDoesNotStopIsStoppedInTimeToBeReported(t *testing.T) {
	for _, checkpoint := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var log logBuffer
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			began := time.Now()
			continued := false
			h := jobs.Handler(echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
				if checkpoint {
					if err := run.Checkpoint(ctx, 1); err != nil {
						return err
					}
				}
				<-ctx.Done()
				if got := time.Since(began); got != 18*time.Second {
					t.Errorf("stopped after %v, want half a margin before the deadline", got)
				}
				return fmt.Errorf("patching: %w", ctx.Err())
			}), jobs.Config{
				Log: &log, Margin: 4 * time.Second,
				Continue: func(context.Context, jobs.Continuation) error { continued = true; return nil },
			})
			report, err := invoke(t, ctx, h, nightly)
			if checkpoint {
				if err != nil || report.Outcome != jobs.OutcomeUnfinished || !continued {
					t.Errorf("with a checkpoint: %v, %+v, continued %v", err, report, continued)
				}
				contains(t, log.String(), "the run did not stop by itself in time; it goes on from its last checkpoint")
				return
			}
			if !errors.Is(err, context.DeadlineExceeded) || report.Outcome != jobs.OutcomeFailed || continued {
				t.Errorf("without a checkpoint: %v, %+v, continued %v", err, report, continued)
			}
			contains(t, report.Error, "has no checkpoint from this attempt to go on from", "make it check TimeLeft")
		})
	}
}

func TestTimeLeftIsByTheWallClock(t *testing.T) {
	now := time.Now()
	ctx, cancel := context.WithDeadline(t.Context(), now.Add(time.Hour))
	defer cancel()
	h := jobs.Handler(echo(func(_ context.Context, run *jobs.Run[echoParams]) error {
		now = now.Add(59*time.Minute + 45*time.Second)
		if left := run.TimeLeft().Round(time.Second); left != -15*time.Second {
			t.Errorf("%v are left, want 15 s too few", left)
		}
		return nil
	}), jobs.Config{Log: io.Discard, Now: func() time.Time { return now }})
	mustInvoke(t, ctx, h, `{}`)
}

func TestAnInterruptedRunStillSavesItsEnd(t *testing.T) {
	store := jobs.NewMemoryStore(nil)
	ctx, cancel := context.WithCancel(t.Context())
	h := jobs.Handler(echo(func(ctx context.Context, _ *jobs.Run[echoParams]) error {
		cancel()
		return ctx.Err()
	}), jobs.Config{Log: io.Discard, Store: endsWith{store}})
	report, err := invoke(t, ctx, h, nightly)
	if !errors.Is(err, context.Canceled) || report.Outcome != jobs.OutcomeFailed {
		t.Errorf("%v, %+v", err, report)
	}
	if record, err := store.Get(t.Context(), report.Slot); err != nil || record.State != jobs.Failed {
		t.Errorf("the slot is %+v, %v", record, err)
	}
}

// endsWith is a store that, like one behind a network, does nothing for a context that has ended.
type endsWith struct{ jobs.Store }

func (s endsWith) Finish(ctx context.Context, r jobs.Record, state jobs.State, report json.RawMessage) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.Store.Finish(ctx, r, state, report)
}

func TestAContinuationOfADoneRunByHandDoesNotRunItAnew(t *testing.T) {
	ran := 0
	h := jobs.Handler(echo(func(context.Context, *jobs.Run[echoParams]) error { ran++; return nil }), jobs.Config{Log: io.Discard})
	done := mustInvoke(t, t.Context(), h, `{}`)
	payload, err := json.Marshal(jobs.Continuation{Job: "echo", Slot: done.Slot, RunID: done.RunID})
	if err != nil {
		t.Fatal(err)
	}
	if report := mustInvoke(t, t.Context(), h, string(payload)); !report.Duplicate || ran != 1 {
		t.Errorf("it ran %d times: %+v", ran, report)
	}
}

func TestAContinuationIsOnlyOfItsOwnRun(t *testing.T) {
	h := jobs.Handler(echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
		return errors.Join(run.Checkpoint(ctx, 1), jobs.ErrUnfinished)
	}), jobs.Config{Log: io.Discard})
	report, err := invoke(t, t.Context(), h, nightly)
	if !errors.Is(err, jobs.ErrUnfinished) {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		continuation jobs.Continuation
		want         []string
	}{
		"another job":  {jobs.Continuation{Job: "other", Slot: report.Slot, RunID: report.RunID}, []string{`of the job "other"`, `this is "echo"`}},
		"another slot": {jobs.Continuation{Job: "echo", Slot: "local/echo/x", RunID: report.RunID}, []string{"no such run", "the store must be the one"}},
		"another run":  {jobs.Continuation{Job: "echo", Slot: report.Slot, RunID: "older"}, []string{"no such run", report.RunID}},
	} {
		payload, err := json.Marshal(tt.continuation)
		if err != nil {
			t.Fatal(err)
		}
		_, err = invoke(t, t.Context(), h, string(payload))
		if err == nil {
			t.Errorf("%s was continued", name)
			continue
		}
		contains(t, err.Error(), tt.want...)
	}
}

func TestACheckpointThatTheJobCannotReadStartsOverAndSaysSo(t *testing.T) {
	type oldForm struct{ Row string }
	type newForm struct{ Row int }
	for name, version := range map[string]int{"with another version": 1, "with the same version": 0} {
		t.Run(name, func(t *testing.T) {
			var log logBuffer
			config := jobs.Config{Store: jobs.NewMemoryStore(nil), Log: &log}
			older := echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
				run.Count("rows", 7)
				run.Reject(jobs.Rejection{Line: 1, Kind: "rejected", Reason: "by the old"})
				return errors.Join(run.Checkpoint(ctx, oldForm{"seven"}), jobs.ErrUnfinished)
			})
			if _, err := invoke(t, t.Context(), jobs.Handler(older, config), nightly); !errors.Is(err, jobs.ErrUnfinished) {
				t.Fatal(err)
			}
			newer := echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
				at := newForm{Row: -1}
				if ok, err := run.Resume(&at); ok || err != nil || at.Row != -1 {
					t.Errorf("Resume: %v, %v, %v", ok, err, at)
				}
				run.Count("rows", 3)
				return run.Checkpoint(ctx, newForm{3})
			})
			newer.CheckpointVersion = version
			report := mustInvoke(t, t.Context(), jobs.Handler(newer, config), nightly)
			if report.Attempt != 2 || report.Counts["rows"] != 3 || report.Rejected != nil || report.StartedOver == "" {
				t.Errorf("report is %+v", report)
			}
			if len(log.with(t, "the run starts over")) != 1 {
				t.Errorf("nothing says that the run starts over: %s", log.String())
			}
		})
	}
}
