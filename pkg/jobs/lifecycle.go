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

// run takes one entry of an invocation from its trigger to its report, with the other slots of its schedule whose turn
// it is: those that were missed before it, and the one that waits for its end.
func (h *handler[P]) run(ctx context.Context, c *call, e entry) (Report, error) {
	var missed error
	if e.err == nil {
		missed, e.err = h.catchUp(ctx, c, e)
	}
	a, report, err := h.one(ctx, c, e)
	next := h.next(ctx, a, report)
	if also := errors.Join(missed, next); also != nil {
		return report, &jobFailed{text: fmt.Sprintf("job %s: %v", h.job.Name, errors.Join(err, also)), err: errors.Join(err, also)}
	}
	return report, err
}

// one takes a single run from its trigger to its report.
func (h *handler[P]) one(ctx context.Context, c *call, e entry) (*attempt, Report, error) {
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
		report, err := a.giveWay(ctx, gaveWay)
		return a, report, err
	}
	if err == nil {
		err = h.work(ctx, a, run)
	}
	report, err := a.end(ctx, err)
	return a, report, err
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

// end saves how the attempt ended, and reports it.
func (a *attempt) end(ctx context.Context, err error) (Report, error) {
	// A cancelled invocation (an interrupted command) must still save its state.
	save, cancel := context.WithDeadline(context.WithoutCancel(ctx), a.savingEnds(ctx))
	defer cancel()
	outcome, err := a.outcome(save, err)
	used := a.settle(save)
	report := a.report(outcome, used, err)
	if a.held && a.lostLease() == nil {
		wrong := a.finish(save, report)
		if errors.Is(wrong, ErrCancelled) { // since the last checkpoint
			outcome, err = OutcomeCancelled, wrong
			report = a.report(outcome, used, err)
			wrong = a.finish(save, report)
		}
		if wrong != nil {
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
	if err == nil || outcome == OutcomeCancelled {
		return report, nil // what a person stopped is not to be retried
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
	if err != nil && a.wasCancelled() != nil {
		_, wrong := a.keep(ctx)
		return OutcomeCancelled, errors.Join(a.wasCancelled(), wrong)
	}
	if errors.Is(err, ErrUnfinished) {
		switch rounds := a.stalledRounds(); {
		case rounds >= stalledLimit:
			return OutcomeFailed, fmt.Errorf("stopped: %d continuations in a row made no progress, their checkpoint is the one they began with: "+
				"make the steps between checkpoints smaller, or the timeout longer", rounds)
		case a.made() > 0:
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

func (a *attempt) wasCancelled() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cancelled
}

// stalledLimit is how many attempts in a row may leave the checkpoint as it was.
const stalledLimit = 2

// stalledRounds is how many have, if this one has made a checkpoint.
func (a *attempt) stalledRounds() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stalledNow
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
	state := map[Outcome]State{OutcomeDone: Done, OutcomeFailed: Failed, OutcomeUnfinished: Unfinished, OutcomeCancelled: Cancelled}[report.Outcome]
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
