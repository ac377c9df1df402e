package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/m2mjobs/m2mjobs/internal/stack"
)

type redriveRuns struct {
	Job    string `arg:"" optional:"" help:"What this job did not do. Default: all jobs."`
	DryRun bool   `help:"List what lies there and why, and leave it."`
	where
}

// Help is shown by --help.
func (redriveRuns) Help() string {
	return `Sends again what a deployed stack's jobs did not do after all attempts: what lies in the queue STACK-JOB-failed goes to the
function, dead letters go back to their queue. Mend the cause first; --dry-run shows the reasons. A slot that is done by
now is not done again, and one that is not goes on from its checkpoint. What fails again comes back into the queue after
Lambda's retries, in about three minutes.

An event that its rule could not deliver, and changes before it does, is put on its bus again: other rules of the bus see
it a second time.

  m2mjobs runs redrive --stack m2mjobs --dry-run
  m2mjobs runs redrive daily-orders --stack m2mjobs`
}

// Run sends what lies there again.
func (c *redriveRuns) Run(ctx context.Context, io stdio) error {
	m, err := c.open(ctx)
	if err != nil {
		return err
	}
	if m.stack == nil {
		return usage(errors.New("only a deployed stack has queues of what failed: --stack NAME. On this machine give m2mjobs invoke the same event again"))
	}
	names := m.jobs()
	if c.Job != "" {
		if _, err := m.stack.Function(c.Job); err != nil {
			return usage(err)
		}
		names = []string{c.Job}
	}
	r := redrive{stack: m.stack, out: io.out}
	var failed error
	for _, job := range names {
		failed = errors.Join(failed, r.job(ctx, job, c.DryRun))
	}
	switch {
	case ctx.Err() != nil:
		return errors.Join(fmt.Errorf("interrupted after %d: give the same command again to go on", r.sent), r.failed)
	case failed != nil || r.failed != nil:
		return errors.Join(failed, r.failed)
	case r.sent+r.seen == 0:
		return printDone(io, nil, "Nothing lies in the queues of what failed.")
	case c.DryRun:
		return printDone(io, nil, "%d in all. To send them again: the same without --dry-run", r.seen)
	}
	return printDone(io, nil, "%d sent again. To see what comes of it: m2mjobs runs --stack %s", r.sent, m.stack.Name)
}

// redrive goes through the queues of a stack.
type redrive struct {
	stack      *stack.Stack
	out        io.Writer
	seen, sent int
	failed     error // of single messages, or of printing
}

// job goes through a job's queues.
func (r *redrive) job(ctx context.Context, job string, dry bool) error {
	if !dry {
		paused, err := r.stack.Store().Paused(ctx, job)
		if err != nil {
			return err
		}
		if paused {
			return fmt.Errorf("%s is paused, and what is sent to it would fail: m2mjobs resume %s --stack %s", job, job, r.stack.Name)
		}
	}
	queues, err := r.stack.DeadLetterQueues(ctx, job)
	if err != nil {
		return err
	}
	for _, q := range queues {
		var err error
		if dry {
			err = r.stack.Look(ctx, q, r.look)
		} else {
			err = r.stack.Redrive(ctx, q, r.note)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *redrive) look(letter stack.DeadLetter) {
	r.seen++
	r.print("", letter)
}

func (r *redrive) note(letter stack.DeadLetter, err error) {
	if err != nil {
		r.failed = errors.Join(r.failed, fmt.Errorf("message %s stays in %s: %w", letter.ID, letter.Queue, err))
		return
	}
	r.sent++
	r.print("sent again: ", letter)
}

func (r *redrive) print(how string, l stack.DeadLetter) {
	_, err := fmt.Fprintf(r.out, "%s%s  %s  %s (%s): %s\n", how, l.Queue, second(l.Since), l.What, l.ID, l.Reason)
	r.failed = errors.Join(r.failed, err)
}
