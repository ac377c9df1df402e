package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/m2mjobs/m2mjobs/internal/backfill"
	"github.com/m2mjobs/m2mjobs/internal/stack"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// remote runs the slots on AWS, by the stack's state machine.
func (c *backfillJob) remote(ctx context.Context, io stdio) error {
	s, schedule, err := c.deployed(ctx)
	if err != nil {
		return err
	}
	plan, err := c.plan(io.out, schedule.Name, schedule.Expression, schedule.TimeZone)
	if err != nil || c.DryRun {
		return err
	}
	if n := len(plan.Slots); n > stack.MaxSlots {
		return usage(fmt.Errorf("%s are more than the %s that an execution takes: end with --to %s, and then do the rest",
			slots(n), number(stack.MaxSlots), plan.Slots[stack.MaxSlots-1].Day))
	}
	if paused, err := s.Store().Paused(ctx, c.Job); err != nil {
		return err
	} else if paused {
		return fmt.Errorf("the job is paused: m2mjobs resume %s --stack %s", c.Job, s.Name)
	}
	work := stack.Backfill{Job: c.Job, Concurrency: c.Concurrency, Batch: c.Batch}
	for _, slot := range plan.Slots {
		work.Slots = append(work.Slots, c.input(schedule.Name, slot, schedule.Params))
	}
	name := fmt.Sprintf("%.30s-%s-%s-%s", c.Job, c.From, c.To, time.Now().UTC().Format("20060102T150405Z"))
	execution, err := s.StartBackfill(ctx, name, work)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(io.out, "Execution %s\n%s\n", execution.ARN, execution.Console); err != nil || c.NoWait {
		return err
	}
	results, err := s.WaitBackfill(ctx, execution, c.progress(ctx, io.out, s, work))
	if ctx.Err() != nil {
		return errors.New("interrupted: the execution goes on on AWS; the same command shows what came of it once it has ended, and does nothing twice")
	}
	if err != nil {
		return err
	}
	ended, err := c.ended(ctx, s, schedule, plan, results)
	return errors.Join(err, c.summary(io.out, len(plan.Slots), ended, false))
}

// deployed finds the stack and the job's schedule there.
func (c *backfillJob) deployed(ctx context.Context) (*stack.Stack, stack.Schedule, error) {
	name := c.Stack
	if name == "" {
		name = os.Getenv("M2MJOBS_STACK")
	}
	if name == "" {
		return nil, stack.Schedule{}, usage(errors.New("--remote needs the deployed stack's name: --stack NAME, or M2MJOBS_STACK"))
	}
	s, err := stack.Open(ctx, name)
	if err != nil {
		return nil, stack.Schedule{}, usage(err)
	}
	schedule, err := s.Schedule(ctx, c.Job, c.Schedule)
	if err != nil {
		return nil, stack.Schedule{}, usage(err)
	}
	return s, schedule, nil
}

// progress prints how many of the slots the store has as done, when that changes. What it cannot find out it leaves to the
// next time.
func (c *backfillJob) progress(ctx context.Context, w io.Writer, s *stack.Stack, work stack.Backfill) func() {
	ours := map[string]bool{}
	for _, input := range work.Slots {
		ours[s.Slot(c.Job, input)] = true
	}
	shown := 0
	return func() {
		records, err := s.Store().Runs(ctx, c.Job, len(ours)+20)
		if err != nil {
			return
		}
		done := map[string]bool{}
		for _, r := range records {
			if ours[r.Slot] && r.State == jobs.Done {
				done[r.Slot] = true
			}
		}
		if len(done) > shown {
			shown = len(done)
			fmt.Fprintf(w, "%d of %s done\n", shown, slots(len(ours)))
		}
	}
}

// ended is what became of the slots, with the reasons from their runs' reports. A slot of which the execution knows nothing, or
// only that its invocation failed, is looked up in the store.
func (c *backfillJob) ended(ctx context.Context, s *stack.Stack, schedule stack.Schedule, plan backfill.Plan, results []stack.SlotResult) ([]backfill.Ended, error) {
	came := map[int64]stack.SlotResult{}
	for _, r := range results {
		came[r.Time.Unix()] = r
	}
	var all []backfill.Ended
	var unread error
	for _, slot := range plan.Slots {
		r, known := came[slot.Time.Unix()]
		e := backfill.Ended{Slot: slot, Outcome: r.Outcome, Rejected: r.Rejected}
		if !known || e.Outcome == jobs.OutcomeFailed {
			done, reason, err := s.Became(ctx, s.Slot(c.Job, c.input(schedule.Name, slot, nil)))
			unread = errors.Join(unread, err)
			if e.Outcome, e.Reason = jobs.OutcomeFailed, cmp.Or(reason, r.Error); done {
				e.Outcome, e.Reason = jobs.OutcomeDone, ""
			}
		}
		all = append(all, e)
	}
	return all, unread
}
