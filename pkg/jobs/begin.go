package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// begin finds out what to run, and takes its slot. The outcome is not empty if somebody else has it.
func (h *handler[P]) begin(ctx context.Context, a *attempt, e entry, run *Run[P]) (gaveWay Outcome, err error) {
	if e.continued != nil {
		if err := h.find(ctx, a, *e.continued); err != nil {
			return "", err
		}
	}
	if a.trigger.Kind == Message {
		// Messages claim nothing, so this is to be asked for by itself.
		if err := h.paused(ctx); err != nil {
			return "", err
		}
	}
	params, err := h.params(a.trigger)
	if err != nil {
		return "", err
	}
	if e.continued == nil {
		a.overlapping(h.config.Stack, e, h.job.Overlap)
		if a.slot, err = h.slot(ctx, a.trigger, params); err != nil {
			return "", err
		}
	}
	if a.slot != "" {
		goesOn := false
		if gaveWay, goesOn, err = a.claim(ctx, e); gaveWay != "" || err != nil {
			return gaveWay, err
		}
		if goesOn {
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
	a.trigger, _, _, err = a.stored(record)
	// What is being continued is never put to wait: whoever continues it asks again.
	a.group, a.overlap = record.Group, OverlapSkip
	return err
}

// claim takes the slot until the invocation's deadline. goesOn: of a run that has begun, or waited, before.
func (a *attempt) claim(ctx context.Context, e entry) (gaveWay Outcome, goesOn bool, err error) {
	wire, err := a.trigger.wire()
	if err != nil {
		return "", false, err
	}
	byHand := a.trigger.Kind == Manual || a.trigger.Kind == Item
	record, err := a.config.Store.Claim(ctx, Claim{
		Slot: a.slot, Job: a.job, RunID: a.id, Owner: a.call.owner, Trigger: wire, Until: a.call.deadline,
		Rerun: (byHand || e.rerun) && e.continued == nil, Group: a.group, Overlap: a.overlap,
	})
	switch {
	case errors.Is(err, ErrDone):
		gaveWay = OutcomeDuplicate
	case errors.Is(err, ErrHeld):
		gaveWay = OutcomeInProgress
	case errors.Is(err, ErrCancelled):
		gaveWay = OutcomeCancelled
	case errors.Is(err, ErrOverlap):
		a.log.Info("another slot of the schedule is running", "other", record.Slot, "otherRunId", record.RunID)
		if e.continued != nil {
			return OutcomeInProgress, false, nil
		}
		return OutcomeSkipped, false, nil
	case errors.Is(err, ErrPaused) && (a.trigger.Kind == Schedule || e.continued != nil):
		return OutcomePaused, false, nil
	case errors.Is(err, ErrPaused):
		return "", false, fmt.Errorf("job %q: %w: send this again once it is resumed", a.job, ErrPaused)
	case err != nil:
		return "", false, err
	case record.State == Waiting:
		gaveWay = OutcomeQueued
	}
	goesOn = record.Attempt > 1 || record.RunID != a.id
	a.record, a.id, a.held = record, record.RunID, gaveWay == ""
	if gaveWay != OutcomeDuplicate {
		a.number = record.Attempt
	}
	a.identify()
	return gaveWay, goesOn, nil
}

// giveWay reports what somebody else did or is doing.
func (a *attempt) giveWay(ctx context.Context, outcome Outcome) (Report, error) {
	report := Report{Job: a.job, RunID: a.id, Slot: a.slot, Trigger: a.trigger, Attempt: a.record.Attempt, Started: a.record.Started, RequestID: a.call.requestID}
	switch {
	case outcome == OutcomeDuplicate, outcome == OutcomeCancelled && len(a.record.Report) > 0:
		var first Report
		if err := json.Unmarshal(a.record.Report, &first); err != nil {
			a.log.Warn("the first run's report cannot be read", "error", plainly(err))
		} else {
			report = first
		}
		report.Duplicate = outcome == OutcomeDuplicate
	default:
		report.Ended, report.InProgress = a.config.Now().UTC(), outcome == OutcomeInProgress
		report.Started = a.started.UTC()
	}
	report.Outcome = outcome
	a.write(report, a.added(outcome, a.settle(ctx)))
	return report, nil
}
