package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

type invoke struct {
	Function string `arg:"" enum:"sync-custom-data,daily-orders" help:"The function: sync-custom-data or daily-orders."`
	Event    string `short:"e" default:"{}" placeholder:"FILE" help:"The event: a file, - for standard input, or JSON as it is. Default: {}"`
	here
}

// Help is shown by --help.
func (invoke) Help() string {
	return `Runs the function's own handler with the variables it has on Lambda. The report goes to standard output as JSON,
logs go to standard error.

  m2mjobs invoke daily-orders --env-file my.env --event '{"date": "1997-03-24"}'
  m2mjobs invoke sync-custom-data --env-file my.env --event '{"source": "customers.ndjson", "dryRun": true}'

Variables: M2M_SECRET_ID (AWS Secrets Manager) or M2M_SECRET_FILE (a file only you can read) with
{"endpoint", "appId", "appSecret"}; OUTPUT (a directory or s3://bucket/prefix); for daily-orders SHOP_URL and
SHOP_RESOURCE, and TIME_ZONE if it isn't UTC; for sync-custom-data LOGTO_RESOURCE if the Management API has an
indicator of its own; LOGTO_BUDGET for how many requests Logto gets (50% of Logto Cloud's limit, 25/s, none; unset it
is 50% on Logto Cloud). AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL and the others work as with the AWS CLI.

A run that was killed goes on from its last checkpoint when the same event is given again; one that is finished runs
anew.

Exit codes: 0 done; 1 failed, for whatever the run finds out; 2 wrong flags, variables or secret file, before anything
runs; 3 done with rows that were not used.`
}

// Run invokes the function until its runs are finished.
func (c *invoke) Run(ctx context.Context, io stdio) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	event, err := c.event(ctx, io.in)
	if ctx.Err() != nil {
		return errors.New("interrupted before the event was read")
	}
	if err != nil {
		return usage(err)
	}
	answer, reports, err := c.call(ctx, c.Function, event, io.err, nil)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w; interrupted: give the same event again to go on", err)
	}
	return errors.Join(printAnswer(io.out, answer, reports), verdict(answer, reports, err))
}

// event reads the event as given.
func (c *invoke) event(ctx context.Context, stdin io.Reader) ([]byte, error) {
	data := []byte(strings.TrimSpace(c.Event))
	switch {
	case c.Event == "-":
		read, err := readAll(ctx, stdin)
		if err != nil {
			return nil, fmt.Errorf("event from standard input: %w", err)
		}
		data = read
	case len(data) == 0 || data[0] != '{' && data[0] != '[':
		read, err := os.ReadFile(c.Event)
		if err != nil {
			return nil, fmt.Errorf("event: %w", err)
		}
		data = read
	}
	if !json.Valid(data) {
		return nil, errors.New("event: not JSON")
	}
	return data, nil
}

// readAll reads to the end, or until ctx does: a terminal may never end.
func readAll(ctx context.Context, r io.Reader) ([]byte, error) {
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		data, err := io.ReadAll(r)
		done <- result{data, err}
	}()
	select {
	case all := <-done:
		return all.data, all.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// printAnswer writes what the handler answered, with the newest report of each run.
func printAnswer(w io.Writer, answer []byte, reports []jobs.Report) error {
	var newest any
	switch {
	case len(answer) == 0:
		return nil
	case answer[0] == '[' && len(reports) > 0: // no items have none
		newest = reports
	case len(reports) == 1 && !isBatch(answer):
		newest = reports[0]
	default:
		newest = json.RawMessage(answer)
	}
	data, err := json.Marshal(newest)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", data)
	return err
}

// batch is the answer to a queue's messages.
type batch struct {
	Failures []any `json:"batchItemFailures"`
}

func isBatch(answer []byte) bool { return bytes.HasPrefix(answer, []byte(`{"batchItemFailures"`)) }

// verdict says how the process ends.
func verdict(answer []byte, reports []jobs.Report, err error) error {
	if err != nil {
		return err
	}
	if isBatch(answer) {
		var b batch
		if err := json.Unmarshal(answer, &b); err != nil {
			return err
		}
		if len(b.Failures) > 0 {
			return fmt.Errorf("%d messages of the batch failed", len(b.Failures))
		}
	}
	var unused int64
	var kept []string
	for _, report := range reports {
		switch report.Outcome {
		case jobs.OutcomeInProgress:
			return errors.New("another invocation is at this run")
		case jobs.OutcomeSkipped, jobs.OutcomeQueued:
			return fmt.Errorf("slot %s was not run: another one of its schedule is under way, m2mjobs runs shows which", report.Slot)
		case jobs.OutcomePaused:
			return fmt.Errorf("the job is paused: m2mjobs resume %s", report.Job)
		case jobs.OutcomeCancelled:
			return fmt.Errorf("run %s was cancelled: give the same event again to begin anew", report.RunID)
		}
		if report.Rejected != nil {
			unused += report.Rejected.Rows
			kept = append(kept, report.Rejected.Kept...)
		}
	}
	if unused > 0 {
		where := "the report"
		if len(kept) > 0 {
			where = strings.Join(kept, " ")
		}
		return &exit{exitRejected, fmt.Errorf("done, but %s not used; with reasons in %s", several(unused, "row was", "rows were"), where)}
	}
	return nil
}
