package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/m2mjobs/m2mjobs/internal/backfill"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/orders"
	"github.com/m2mjobs/m2mjobs/internal/stack"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// nightly is the schedule that template.yaml gives daily-orders.
const nightly = "cron(15 3 * * ? *)"

type backfillJob struct {
	Job         string `arg:"" help:"The job. On this machine daily-orders; with --remote any that has a schedule."`
	From        string `required:"" placeholder:"DAY" help:"The first day whose work is to be done, as 1997-03-01."`
	To          string `required:"" placeholder:"DAY" help:"The last day, included."`
	Concurrency int    `default:"1" placeholder:"N" help:"How many slots at a time, with --remote how many batches; at most 1,000. Default: 1"`
	Batch       int    `default:"10" placeholder:"N" help:"With --remote: how many slots an invocation is given, at most 25. Default: 10"`
	Rerun       bool   `help:"Also run slots that are done or were cancelled, anew."`
	DryRun      bool   `help:"List the slots, and run none."`
	Remote      bool   `help:"On AWS, by the stack's own function, as an execution of its state machine."`
	NoWait      bool   `help:"With --remote: don't wait for the end."`
	Stack       string `placeholder:"NAME" help:"With --remote the deployed stack (or M2MJOBS_STACK). On this machine the stack that slots are named after. Default: what m2mjobs invoke names them after."`
	Schedule    string `placeholder:"NAME" help:"The schedule whose slots these are. Default: with --remote the deployed one; on this machine STACK-JOB, or JOB without --stack."`
	Expression  string `placeholder:"CRON" help:"On this machine the schedule's expression, in the function's TIME_ZONE. Default: cron(15 3 * * ? *), as in template.yaml."`
	Logs        bool   `help:"On this machine: the job's logs, to standard error."`
	here
}

// Help is shown by --help.
func (backfillJob) Help() string {
	return `Runs slots of the past: what a schedule would have run had it been there. They have the names that the schedule gives
them, so what is done, by the schedule or by an earlier backfill, is not done again: giving the same command twice does
nothing, and after a failure or Ctrl-C it goes on.

--from and --to are the days whose work is done, both included. For daily-orders that is the days of the orders, which
are done the night after: the orders of 1997-03-31 by the slot of 1997-04-01. For any other job it is the days for which
its slots are scheduled, in the schedule's time zone. What is going to be run is printed first.

  m2mjobs backfill daily-orders --from 1997-03-01 --to 1997-03-31 --env-file my.env --dry-run
  m2mjobs backfill daily-orders --from 1997-03-01 --to 1997-03-31 --env-file my.env --concurrency 4
  m2mjobs backfill daily-orders --from 1997-03-01 --to 1997-03-31 --remote --stack m2mjobs

Variables are those of m2mjobs invoke. An execution on AWS takes 1,000 slots at most: an invocation is given --batch of
them, one after another, and --concurrency of these batches run at a time.

Exit codes: 0 all are done; 1 some are not; 2 wrong flags or variables, before anything runs; 3 all are done, with rows
that were not used.`
}

// Run runs the slots.
func (c *backfillJob) Run(ctx context.Context, io stdio) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Remote {
		return c.remote(ctx, io)
	}
	return c.local(ctx, io)
}

func (c *backfillJob) check() error {
	if c.Concurrency < 1 || c.Concurrency > stack.MaxConcurrency {
		return usage(fmt.Errorf("--concurrency %d: want 1 to %d", c.Concurrency, stack.MaxConcurrency))
	}
	if c.Batch < 1 || c.Batch > stack.MaxBatch {
		return usage(fmt.Errorf("--batch %d: want 1 to %d", c.Batch, stack.MaxBatch))
	}
	switch {
	case c.Remote && (c.EnvFile != "" || c.Expression != "" || c.Logs):
		return usage(errors.New("--env-file, --expression and --logs are for this machine: the deployed stack has its own, so leave them out with --remote"))
	case !c.Remote && c.NoWait:
		return usage(errors.New("--no-wait goes with --remote"))
	case !c.Remote && c.Job != function.DailyOrders:
		return usage(fmt.Errorf("%q has no schedule on this machine: %s has; --remote is for those of a deployed stack", c.Job, function.DailyOrders))
	}
	return c.here.check()
}

// plan tells which slots are meant, and prints it.
func (c *backfillJob) plan(w io.Writer, schedule, expression, timeZone string) (backfill.Plan, error) {
	r := backfill.Range{From: c.From, To: c.To, Expression: expression, TimeZone: timeZone}
	if c.Job == function.DailyOrders {
		r.DayOf = orders.DayOf
	}
	plan, err := r.Plan(time.Now())
	if err != nil {
		return plan, usage(err)
	}
	first, last := plan.Slots[0], plan.Slots[len(plan.Slots)-1]
	_, err = fmt.Fprintf(w, "%s, days %s to %s: %s of schedule %s, from %s to %s\n", c.Job, first.Day, last.Day,
		slots(len(plan.Slots)), schedule, second(first.Time), second(last.Time))
	if n := len(plan.Without); err == nil && n > 0 {
		_, err = fmt.Fprintf(w, "%d days of these have no slot: %s\n", n, strings.Join(plan.Without[:min(n, 5)], ", ")+map[bool]string{true: ", …"}[n > 5])
	}
	for _, s := range plan.Slots {
		if c.DryRun && err == nil {
			_, err = fmt.Fprintf(w, "%s  %s\n", second(s.Time), s.Day)
		}
	}
	return plan, err
}

func slots(n int) string { return several(int64(n), "slot", "slots") }

// input is what the schedule would have sent at a slot.
func (c *backfillJob) input(schedule string, s backfill.Slot, params json.RawMessage) jobs.ScheduleInput {
	return jobs.ScheduleInput{Schedule: schedule, Time: s.Time, Params: params, Overlap: jobs.OverlapAllow, Rerun: c.Rerun}
}

// local runs the slots on this machine.
func (c *backfillJob) local(ctx context.Context, io stdio) (err error) {
	if err := loadVariables(c.EnvFile); err != nil {
		return err
	}
	schedule := c.Schedule
	if schedule == "" {
		schedule = strings.TrimPrefix(c.Stack+"-"+c.Job, "-")
	}
	expression := c.Expression
	if expression == "" {
		expression = nightly
	}
	plan, err := c.plan(io.out, schedule, expression, os.Getenv("TIME_ZONE"))
	if err != nil || c.DryRun {
		return err
	}
	store, err := c.store(c.Job)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	handler, err := function.Handler(c.Job, function.Process(), func(config *jobs.Config) {
		config.Store, config.Log = store, c.logs(io)
		if c.Stack != "" {
			config.Stack = c.Stack
		}
		// What is unfinished is continued in slot.
		config.Continue = func(context.Context, jobs.Continuation) error { return context.Cause(ctx) }
	})
	if err != nil {
		return err
	}
	var printed error
	ended := backfill.Run(ctx, plan.Slots, c.Concurrency,
		func(ctx context.Context, s backfill.Slot) backfill.Ended { return c.slot(ctx, handler, schedule, s) },
		func(e backfill.Ended) {
			_, err := fmt.Fprintf(io.out, "%s  %s  %s\n", second(e.Time), e.Day, e.Outcome)
			printed = errors.Join(printed, err)
		})
	return errors.Join(printed, c.summary(io.out, len(plan.Slots), ended, ctx.Err() != nil))
}

func (c *backfillJob) logs(to stdio) io.Writer {
	if c.Logs {
		return to.err
	}
	return io.Discard
}

// slot runs one slot, until its run ends.
func (c *backfillJob) slot(ctx context.Context, handler lambda.Handler, schedule string, s backfill.Slot) backfill.Ended {
	event, err := json.Marshal(c.input(schedule, s, nil))
	var report jobs.Report
	for again := err == nil; again; {
		var answer []byte
		answer, err = c.invoke(ctx, handler, event)
		report = jobs.Report{}
		if len(answer) > 0 {
			err = errors.Join(err, json.Unmarshal(answer, &report))
		}
		if again = err == nil && report.Outcome == jobs.OutcomeUnfinished; again {
			event, err = json.Marshal(jobs.Continuation{Job: c.Job, Slot: report.Slot, RunID: report.RunID})
			again = err == nil
		}
	}
	ended := backfill.Ended{Slot: s, Outcome: report.Outcome, Reason: report.Error}
	if err != nil {
		ended.Outcome = jobs.OutcomeFailed
		if ended.Reason == "" {
			ended.Reason = err.Error()
		}
	}
	if report.Rejected != nil {
		ended.Rejected = report.Rejected.Rows
	}
	return ended
}

// summary prints what became of the slots, with the reasons of those that are not done, and says how the command ends.
func (c *backfillJob) summary(w io.Writer, planned int, all []backfill.Ended, interrupted bool) error {
	counts, left, rejected, paused := map[jobs.Outcome]int{}, planned, int64(0), false
	var reasons strings.Builder
	for _, e := range all {
		counts[e.Outcome]++
		paused = paused || e.Outcome == jobs.OutcomePaused
		if e.Outcome == jobs.OutcomeDone {
			rejected += e.Rejected
		}
		if e.Done() {
			left--
		} else if e.Outcome != jobs.OutcomePaused {
			fmt.Fprintf(&reasons, "%s  %s  %s: %s\n", second(e.Time), e.Day, e.Outcome, reason(e))
		}
	}
	text := fmt.Sprintf("%s: %d done, %d duplicate, %d failed", slots(planned), counts[jobs.OutcomeDone], counts[jobs.OutcomeDuplicate], counts[jobs.OutcomeFailed])
	for _, outcome := range []jobs.Outcome{jobs.OutcomeCancelled, jobs.OutcomeInProgress, backfill.Interrupted} {
		if n := counts[outcome]; n > 0 {
			text += fmt.Sprintf(", %d %s", n, outcome)
		}
	}
	if n := planned - len(all) + counts[jobs.OutcomePaused]; n > 0 {
		text += fmt.Sprintf(", %d not begun", n)
	}
	if _, err := fmt.Fprintf(w, "%s\n%s", text, reasons.String()); err != nil {
		return err
	}
	switch {
	case paused:
		return fmt.Errorf("the job is paused: m2mjobs resume %s", c.Job)
	case interrupted && left > 0:
		return fmt.Errorf("interrupted with %s left: give the same command again to go on", slots(left))
	case left > 0:
		return fmt.Errorf("%s not done: give the same command again once the cause is mended; what is done is not done again", slots(left))
	case rejected > 0:
		return &exit{exitRejected, fmt.Errorf("all done, but %s not used: m2mjobs runs show says of each run where to find them", several(rejected, "row was", "rows were"))}
	}
	return nil
}

// reason says why a slot is not done.
func reason(e backfill.Ended) string {
	switch {
	case e.Outcome == jobs.OutcomeInProgress:
		return "somebody else is at it"
	case e.Reason == "":
		return "no reason is known: the run ended without a word"
	}
	return strings.ReplaceAll(e.Reason, "\n", " ")
}
