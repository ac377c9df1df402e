package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/joho/godotenv"

	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/jobs/bolt"
)

type invoke struct {
	Function string        `arg:"" enum:"sync-custom-data,daily-orders" help:"The function: sync-custom-data or daily-orders."`
	Event    string        `short:"e" default:"{}" placeholder:"FILE" help:"The event: a file, - for standard input, or JSON as it is. Default: {}"`
	EnvFile  string        `type:"existingfile" placeholder:"FILE" help:"Variables for the function, NAME=value a line. Those that are set already win."`
	Timeout  time.Duration `default:"15m" help:"How long one invocation may take, as on Lambda; the run is then continued by another."`
	State    string        `type:"path" placeholder:"DIR" env:"M2MJOBS_STATE" help:"Where runs are remembered, so that one that was killed goes on. Default: m2mjobs in the user's state folder."`
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
indicator of its own. AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL and the others work as with the AWS CLI.

A run that was killed goes on from its last checkpoint when the same event is given again; one that is finished runs
anew.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 done with rows that were not used.`
}

// Run invokes the function until its run is finished.
func (c *invoke) Run(ctx context.Context, io stdio) (err error) {
	event, err := c.event(io.in)
	if err != nil {
		return usage(err)
	}
	if c.EnvFile != "" {
		if err := godotenv.Load(c.EnvFile); err != nil {
			return usage(fmt.Errorf("variables file %s: %w", c.EnvFile, err))
		}
	}
	store, err := c.store()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	var next []byte
	handler, err := function.Handler(c.Function, function.Process(), func(config *jobs.Config) {
		config.Store = store
		config.Log = io.err
		config.Continue = func(_ context.Context, run jobs.Continuation) (err error) {
			next, err = json.Marshal(run)
			return err
		}
	})
	if err != nil {
		return err
	}
	for {
		next = nil
		answer, err := c.invoke(ctx, handler, event)
		if err == nil && next != nil {
			event = next
			continue
		}
		if len(answer) > 0 {
			if _, err := fmt.Fprintf(io.out, "%s\n", answer); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
		return verdict(answer)
	}
}

// event reads the event as given.
func (c *invoke) event(stdin io.Reader) ([]byte, error) {
	var data []byte
	var err error
	switch {
	case c.Event == "-":
		data, err = io.ReadAll(stdin)
	case len(c.Event) > 0 && c.Event[0] == '{':
		data = []byte(c.Event)
	default:
		data, err = os.ReadFile(c.Event)
	}
	if err != nil {
		return nil, fmt.Errorf("event: %w", err)
	}
	if !json.Valid(data) {
		return nil, errors.New("event: not JSON")
	}
	return data, nil
}

// store opens the function's memory of runs.
func (c *invoke) store() (*bolt.Store, error) {
	dir := c.State
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, usage(fmt.Errorf("no place to remember runs (%w): give --state DIR", err))
		}
		dir = filepath.Join(home, ".local", "state", "m2mjobs")
		if base := os.Getenv("XDG_STATE_HOME"); base != "" {
			dir = filepath.Join(base, "m2mjobs")
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, usage(fmt.Errorf("place to remember runs: %w", err))
	}
	return bolt.Open(filepath.Join(dir, c.Function+".db"))
}

// invoke is one invocation, as Lambda makes it.
func (c *invoke) invoke(ctx context.Context, handler lambda.Handler, event []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	return handler.Invoke(ctx, event)
}

// verdict says how the process ends after a run that did not fail.
func verdict(answer []byte) error {
	var reports []jobs.Report
	if trimmed := bytes.TrimSpace(answer); len(trimmed) > 0 && trimmed[0] == '[' {
		if err := json.Unmarshal(answer, &reports); err != nil {
			return err
		}
	} else {
		var one struct {
			jobs.Report
			BatchItemFailures []any `json:"batchItemFailures"`
		}
		if err := json.Unmarshal(answer, &one); err != nil {
			return err
		}
		if n := len(one.BatchItemFailures); n > 0 {
			return fmt.Errorf("%d messages of the batch failed", n)
		}
		reports = []jobs.Report{one.Report}
	}
	for _, report := range reports {
		if report.InProgress {
			return errors.New("another invocation is at this run")
		}
		if report.Rejected != nil && report.Rejected.Rows > 0 {
			return &exit{code: exitRejected}
		}
	}
	return nil
}
