package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/m2mjobs/m2mjobs/internal/stack"
)

type pause struct {
	Job string `arg:"" help:"The job."`
	where
}

// Help is shown by --help.
func (pause) Help() string {
	return `No run of the job begins until it is resumed, by whatever it is started. Runs under way go on to their end: m2mjobs runs
shows them, m2mjobs runs cancel stops one. A run that is continued later waits for the resumption.

On a deployed stack the job's schedules and queues are switched off, too. Messages wait in their queue; slots that are
missed are gone, but for those that the job catches up on. Events that come meanwhile are refused, and lie in the
job's queue of failures.`
}

// Run pauses the job.
func (c *pause) Run(ctx context.Context, io stdio) error {
	m, err := c.open(ctx)
	if err != nil {
		return err
	}
	store, err := m.of(c.Job)
	if err != nil {
		return err
	}
	var off []stack.Starter
	if m.stack == nil {
		err = store.Pause(ctx, c.Job, true)
	} else {
		off, err = m.stack.Pause(ctx, c.Job)
	}
	return errors.Join(err, printSwitched(io, "switched off", off), printDone(io, err, "%s is paused in %s. To go on: m2mjobs resume %s", c.Job, m.place, c.Job))
}

type resume struct {
	Job string `arg:"" help:"The job."`
	where
}

// Help is shown by --help.
func (resume) Help() string {
	return `On a deployed stack the schedules and queues that m2mjobs pause switched off are switched on again, and no others.
Processes that are warm may take a minute to notice.`
}

// Run ends the job's pause.
func (c *resume) Run(ctx context.Context, io stdio) error {
	m, err := c.open(ctx)
	if err != nil {
		return err
	}
	store, err := m.of(c.Job)
	if err != nil {
		return err
	}
	var on []stack.Starter
	if m.stack == nil {
		err = store.Pause(ctx, c.Job, false)
	} else {
		on, err = m.stack.Resume(ctx, c.Job)
	}
	return errors.Join(err, printSwitched(io, "switched on", on), printDone(io, err, "%s may run in %s.", c.Job, m.place))
}

// printSwitched lists what was switched, also if not all of it could be.
func printSwitched(io stdio, how string, switched []stack.Starter) error {
	for _, s := range switched {
		if _, err := fmt.Fprintf(io.out, "%s: %s %s\n", how, s.Kind, s.Name); err != nil {
			return err
		}
	}
	return nil
}

// printDone says what came of a command, unless that failed.
func printDone(io stdio, failed error, format string, args ...any) error {
	if failed != nil {
		return nil
	}
	_, err := fmt.Fprintf(io.out, format+"\n", args...)
	return err
}
