package jobs

import (
	"context"
	"errors"
	"fmt"
)

// overlapping finds out which slots the attempt's may not overlap with.
func (a *attempt) overlapping(stack string, e entry, policy Overlap) {
	if e.overlap != "" {
		policy = e.overlap
	}
	if a.trigger.Kind == Schedule && policy != OverlapAllow {
		a.group, a.overlap = scheduleGroup(stack, a.job, a.trigger.Source), policy
	}
}

// next hands on, or runs, the slot that waited for the end of the attempt's.
func (h *handler[P]) next(ctx context.Context, a *attempt, report Report) error {
	switch report.Outcome {
	case OutcomeDone, OutcomeFailed, OutcomeCancelled:
		if !a.held {
			return nil
		}
	case OutcomeDuplicate: // perhaps the retry of an invocation that could not hand on
	default:
		return nil
	}
	policy := h.job.Overlap
	if a.overlap == OverlapQueue {
		policy = a.overlap
	}
	if a.group == "" || policy != OverlapQueue || a.lostLease() != nil {
		return nil
	}
	for {
		inline := h.config.Continue == nil
		if inline && a.call.left(h.config.Now()) <= 0 {
			return nil // it is run after the schedule's next slot
		}
		save, cancel := context.WithDeadline(context.WithoutCancel(ctx), a.savingEnds(ctx))
		waiting, err := h.take(save, a)
		cancel()
		switch {
		case errors.Is(err, ErrNotFound):
			return nil
		case err != nil:
			return fmt.Errorf("going on with the slot that waits in %s: %w", a.group, err)
		case !inline:
			return nil
		}
		continued := Continuation{Job: waiting.Job, Slot: waiting.Slot, RunID: waiting.RunID}
		_, then, err := h.one(ctx, a.call, entry{continued: &continued, trigger: Trigger{Time: h.config.Now()}})
		if err != nil {
			return fmt.Errorf("slot %s, which had waited: %w", waiting.Slot, err)
		}
		if then.Outcome != OutcomeDone && then.Outcome != OutcomeCancelled {
			return nil
		}
	}
}

// take gets the slot that waits, and hands it on if somebody continues runs.
func (h *handler[P]) take(ctx context.Context, a *attempt) (waiting Record, err error) {
	err = guard(a.log, func() error {
		if waiting, err = h.config.Store.Next(ctx, a.group); err != nil || h.config.Continue == nil {
			return err
		}
		return h.config.Continue(ctx, Continuation{Job: waiting.Job, Slot: waiting.Slot, RunID: waiting.RunID})
	})
	return waiting, err
}
