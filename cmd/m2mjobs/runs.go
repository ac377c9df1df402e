package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// runs are the commands about what ran.
type runs struct {
	List    listRuns    `cmd:"" default:"withargs" help:"List runs, newest first. This is what m2mjobs runs does."`
	Show    showRun     `cmd:"" help:"Show one run: where it stands, and its report."`
	Cancel  cancelRun   `cmd:"" help:"Stop a run for good, at its next checkpoint."`
	Redrive redriveRuns `cmd:"" help:"Send again what lies in a deployed stack's queues of what failed, after the cause is mended."`
}

type listRuns struct {
	Job   string `arg:"" optional:"" help:"Of this job alone."`
	Limit int    `short:"n" default:"20" help:"How many at most."`
	JSON  bool   `name:"json" help:"One JSON object a run, with all that is stored, which may be personal data."`
	where
}

// Help is shown by --help.
func (listRuns) Help() string {
	return `The states: running; died, if a run ended without a word, which the next run of its slot takes up; unfinished, to be
continued; waiting, for its schedule's other slot; done; failed; cancelled.

  m2mjobs runs daily-orders
  m2mjobs runs --stack m2mjobs --json | jq -r 'select(.state == "failed") | .runId'`
}

// Run lists the runs.
func (c *listRuns) Run(ctx context.Context, io stdio) error {
	if c.Limit < 1 {
		return usage(fmt.Errorf("--limit %d is below 1", c.Limit))
	}
	m, err := c.open(ctx)
	if err != nil {
		return err
	}
	names := m.jobs()
	if c.Job != "" {
		names = []string{c.Job}
	}
	var all []jobs.Record
	var paused []string
	for _, job := range names {
		store, err := m.of(job)
		if err != nil {
			return err
		}
		some, err := store.Runs(ctx, job, c.Limit)
		if err != nil {
			return err
		}
		all = append(all, some...)
		off, err := store.Paused(ctx, job)
		if err != nil {
			return err
		}
		if off {
			paused = append(paused, job)
		}
	}
	slices.SortStableFunc(all, func(a, b jobs.Record) int { return cmp.Or(b.Started.Compare(a.Started), cmp.Compare(b.RunID, a.RunID)) })
	all = all[:min(len(all), c.Limit)]
	switch {
	case c.JSON:
		return printRecords(io.out, all...)
	case len(all) == 0 && len(paused) == 0:
		return printDone(io, nil, "Nothing has run yet in %s.", m.place)
	}
	return printRuns(io.out, all, paused)
}

type showRun struct {
	ID   string `arg:"" help:"The run's id, as m2mjobs runs lists it."`
	JSON bool   `name:"json" help:"All that is stored as one JSON object, with params and checkpoint, which may be personal data."`
	where
}

// Run shows the run.
func (c *showRun) Run(ctx context.Context, io stdio) error {
	m, err := c.open(ctx)
	if err != nil {
		return err
	}
	_, record, err := m.find(ctx, c.ID)
	if err != nil {
		return err
	}
	if c.JSON {
		return printRecords(io.out, record)
	}
	return printRun(io.out, record)
}

type cancelRun struct {
	ID   string `arg:"" help:"The run's id, as m2mjobs runs lists it."`
	JSON bool   `name:"json" help:"Print what is stored of the run then, as one JSON object."`
	where
}

// Help is shown by --help.
func (cancelRun) Help() string {
	return `A run that is under way stops at its next checkpoint, with what it did until then; any other is over at once. What was
cancelled is not continued and not tried again; giving the same event by hand begins a new run.`
}

// Run cancels the run.
func (c *cancelRun) Run(ctx context.Context, io stdio) error {
	m, err := c.open(ctx)
	if err != nil {
		return err
	}
	store, _, err := m.find(ctx, c.ID)
	if err != nil {
		return err
	}
	record, err := store.Cancel(ctx, c.ID)
	switch {
	case errors.Is(err, jobs.ErrDone) && record.State == jobs.Done:
		return fmt.Errorf("run %s is done: there is nothing to stop", c.ID)
	case err != nil:
		return err
	case c.JSON:
		return printRecords(io.out, record)
	case record.State == jobs.Cancelled:
		return printDone(io, nil, "Run %s is cancelled.", c.ID)
	}
	return printDone(io, nil, "Run %s stops at its next checkpoint. To see it: m2mjobs runs show %s", c.ID, c.ID)
}

// unmarshalReport reads the report of a run's last attempt; none is no error.
func unmarshalReport(r jobs.Record) (report jobs.Report, there bool, err error) {
	if len(r.Report) == 0 {
		return report, false, nil
	}
	if err := json.Unmarshal(r.Report, &report); err != nil {
		return report, false, fmt.Errorf("the report of run %s cannot be read: %w", r.RunID, err)
	}
	return report, true, nil
}
