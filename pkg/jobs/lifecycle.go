package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// errHardStop is why a run's context ended before the invocation's did.
var errHardStop = errors.New("the run did not stop by itself in time")

// run takes one entry from its trigger to its report.
func (h *handler[P]) run(ctx context.Context, c *call, e entry) (Report, error) {
	a := h.attempt(c, e)
	run := &Run[P]{attempt: a}
	var gaveWay Outcome
	err := guard(a.log, func() (err error) {
		if e.err != nil {
			return e.err
		}
		gaveWay, err = h.begin(ctx, a, e, run)
		return err
	})
	if gaveWay != "" {
		return a.giveWay(ctx, gaveWay)
	}
	if err == nil {
		err = h.work(ctx, a, run)
	}
	return a.end(ctx, err)
}

// begin finds out what to run, and takes its slot. The outcome is not empty if somebody else has it.
func (h *handler[P]) begin(ctx context.Context, a *attempt, e entry, run *Run[P]) (gaveWay Outcome, err error) {
	if e.continued != nil {
		if err := h.find(ctx, a, *e.continued); err != nil {
			return "", err
		}
	}
	params, err := h.params(a.trigger)
	if err != nil {
		return "", err
	}
	if e.continued == nil {
		if a.slot, err = h.slot(ctx, a.trigger, params); err != nil {
			return "", err
		}
	}
	if a.slot != "" {
		if gaveWay, err = a.claim(ctx, e); gaveWay != "" || err != nil {
			return gaveWay, err
		}
		if a.number > 1 {
			if err := a.goOn(e.continued != nil); err != nil {
				return "", err
			}
			if params, err = h.params(a.trigger); err != nil {
				return "", err
			}
		}
	}
	a.identify()
	run.ID, run.Slot, run.Attempt, run.Trigger, run.Params, run.Log = a.id, a.slot, a.number, a.trigger, params, a.log
	return "", nil
}

// find gets what the run to continue was started with.
func (h *handler[P]) find(ctx context.Context, a *attempt, c Continuation) error {
	if c.Job != h.job.Name {
		return fmt.Errorf("continuing run %q: it is of the job %q, and this is %q", clip(c.RunID, nameLimit), clip(c.Job, nameLimit), h.job.Name)
	}
	record, err := h.config.Store.Get(ctx, c.Slot)
	if err != nil {
		return fmt.Errorf("continuing run %q: %w: the store must be the one that it began with", clip(c.RunID, nameLimit), err)
	}
	if record.RunID != c.RunID {
		return fmt.Errorf("continuing run %q: %w: the slot's run is %s now", clip(c.RunID, nameLimit), ErrNotFound, record.RunID)
	}
	a.trigger, _, err = a.stored(record)
	return err
}

// claim takes the slot until the invocation's deadline.
func (a *attempt) claim(ctx context.Context, e entry) (gaveWay Outcome, err error) {
	wire, err := a.trigger.wire()
	if err != nil {
		return "", err
	}
	byHand := a.trigger.Kind == Manual || a.trigger.Kind == Item
	record, err := a.config.Store.Claim(ctx, Claim{
		Slot: a.slot, Job: a.job, RunID: a.id, Owner: a.call.owner, Trigger: wire, Until: a.call.deadline,
		Rerun: byHand && e.continued == nil,
	})
	switch {
	case errors.Is(err, ErrDone):
		a.record, a.id = record, record.RunID
		a.identify()
		return OutcomeDuplicate, nil
	case errors.Is(err, ErrHeld):
		a.record, a.id, a.number = record, record.RunID, record.Attempt
		a.identify()
		return OutcomeInProgress, nil
	case err != nil:
		return "", err
	}
	a.record, a.held, a.id, a.number = record, true, record.RunID, record.Attempt
	a.identify()
	return "", nil
}

// work runs the job. Its context ends half a margin before the deadline: what is left then is for the state and the
// report.
func (h *handler[P]) work(ctx context.Context, a *attempt, run *Run[P]) error {
	runContext := ctx
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		runContext, cancel = context.WithDeadlineCause(ctx, deadline.Add(-a.call.margin/2), errHardStop)
		defer cancel()
	}
	a.runContext = runContext
	err := guard(a.log, func() error { return h.job.Run(runContext, run) })
	stopped := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errHardStop)
	if stopped && context.Cause(runContext) == errHardStop {
		if a.made() > 0 {
			a.log.Warn("stopped from outside: the run did not stop by itself in time; it goes on from its last checkpoint",
				"margin", a.call.margin.String(), "error", clip(err.Error(), errorLimit))
			return fmt.Errorf("%w (from outside, at the last checkpoint)", ErrUnfinished)
		}
		return fmt.Errorf("%w and has no checkpoint from this attempt to go on from: %w; make it check TimeLeft, or the timeout longer",
			errHardStop, err)
	}
	return err
}

// made is how many checkpoints this attempt has made.
func (a *attempt) made() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.checkpoints
}

// giveWay reports what somebody else did or is doing.
func (a *attempt) giveWay(ctx context.Context, outcome Outcome) (Report, error) {
	report := Report{Job: a.job, RunID: a.id, Slot: a.slot, Trigger: a.trigger, Attempt: a.record.Attempt, Started: a.record.Started, RequestID: a.call.requestID}
	if outcome == OutcomeDuplicate {
		var first Report
		if err := json.Unmarshal(a.record.Report, &first); err != nil {
			a.log.Warn("the first run's report cannot be read", "error", plainly(err))
		} else {
			report = first
		}
		report.Duplicate = true
	} else {
		report.Ended, report.InProgress = a.config.Now().UTC(), true
		report.Started = a.started.UTC()
	}
	report.Outcome = outcome
	a.write(report, a.added(outcome, a.settle(ctx)))
	return report, nil
}

// end saves how the attempt ended, and reports it.
func (a *attempt) end(ctx context.Context, err error) (Report, error) {
	// A cancelled invocation (an interrupted command) must still save its state.
	save, cancel := context.WithDeadline(context.WithoutCancel(ctx), a.savingEnds(ctx))
	defer cancel()
	outcome, err := a.outcome(save, err)
	used := a.settle(save)
	report := a.report(outcome, used, err)
	if a.held && a.lostLease() == nil {
		if wrong := a.finish(save, report); wrong != nil {
			outcome, err = OutcomeFailed, errors.Join(err, wrong)
			report = a.report(outcome, used, err)
		}
	}
	if outcome == OutcomeUnfinished && a.held {
		if wrong := a.continued(save); wrong != nil {
			err = wrong
			report = a.report(outcome, used, err)
		} else if a.config.Continue != nil {
			err = nil
			report.Error = ""
		}
	}
	a.write(report, a.added(outcome, used))
	if err == nil {
		return report, nil
	}
	return report, &jobFailed{text: fmt.Sprintf("job %s, run %s: %v", a.job, a.id, err), err: err}
}

// savingEnds is when the last writes must be done.
func (a *attempt) savingEnds(ctx context.Context) time.Time {
	if deadline, ok := ctx.Deadline(); ok {
		return deadline
	}
	return time.Now().Add(longestMargin)
}

// outcome decides how the attempt ended, and keeps the rejected rows that wait.
func (a *attempt) outcome(ctx context.Context, err error) (Outcome, error) {
	if lost := a.lostLease(); lost != nil && !errors.Is(err, ErrLeaseLost) {
		err = errors.Join(lost, err)
	}
	if a.noteLost(err); a.lostLease() != nil {
		// Another attempt may be writing now: leave even its files alone.
		return OutcomeFailed, err
	}
	if errors.Is(err, ErrUnfinished) {
		if a.made() > 0 {
			return OutcomeUnfinished, err
		}
		return OutcomeFailed, fmt.Errorf("%w without a checkpoint from this attempt: it would never get on; call Checkpoint before", err)
	}
	if _, wrong := a.keep(ctx); wrong != nil {
		err = errors.Join(err, wrong)
	}
	a.mu.Lock()
	err = errors.Join(err, a.resultErr)
	a.mu.Unlock()
	if err != nil {
		return OutcomeFailed, err
	}
	return OutcomeDone, nil
}

func (a *attempt) lostLease() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lost
}

// settle lets what is in flight end, then tells what was used.
func (a *attempt) settle(ctx context.Context) Usage {
	if a.config.Settle == nil {
		return a.used().since(a.usage)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := guard(a.log, func() error { a.config.Settle(ctx); return nil }); err != nil {
		a.log.Error("settling", "error", err.Error())
	}
	return a.used().since(a.usage)
}

// finish ends the attempt in the store.
func (a *attempt) finish(ctx context.Context, report Report) error {
	state := map[Outcome]State{OutcomeDone: Done, OutcomeFailed: Failed, OutcomeUnfinished: Unfinished}[report.Outcome]
	data, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	err = guard(a.log, func() error { return a.config.Store.Finish(ctx, a.record, state, data) })
	if err != nil {
		return a.noteLost(fmt.Errorf("saving the report of run %s: %w", a.id, err))
	}
	return nil
}

// continued hands an unfinished run on.
func (a *attempt) continued(ctx context.Context) error {
	if a.config.Continue == nil {
		return nil
	}
	err := guard(a.log, func() error {
		return a.config.Continue(ctx, Continuation{Job: a.job, Slot: a.slot, RunID: a.id})
	})
	if err != nil {
		return fmt.Errorf("handing on the unfinished run: %w", err)
	}
	return nil
}
