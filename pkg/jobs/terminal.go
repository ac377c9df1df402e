package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// The exit codes at a terminal.
const (
	exitDone     = 0
	exitFailed   = 1 // or not run, or another process is at it
	exitRejected = 3 // done, with rejected rows
)

// atTerminal invokes the job once with the event that args have, goes on while its runs are unfinished, writes their
// reports to out, and returns the exit code.
func atTerminal[P any](job Job[P], config Config, args []string, in io.Reader, out io.Writer) int {
	fail := func(err error) int {
		slog.New(slog.NewJSONHandler(config.withDefaults().Log, nil)).Error("the job cannot start", "error", err.Error())
		return exitFailed
	}
	event, err := eventOf(args, in)
	if err != nil {
		return fail(err)
	}
	// Only now: reading from a terminal does not heed the context.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	var runs Runs
	runs.Collect(ctx, &config)
	handler := Handler(job, config)
	failed := false
	var answer []byte
	for more := true; more; event, more = runs.Next() {
		if answer, err = handler.Invoke(ctx, event); err != nil {
			failed = true // the log and the report say why
		}
	}
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if len(runs.Reports()) == 0 && len(answer) > 0 { // the doctor's
		if err := encoder.Encode(json.RawMessage(answer)); err != nil {
			return fail(fmt.Errorf("writing the answer: %w", err))
		}
	}
	for _, r := range runs.Reports() {
		if err := encoder.Encode(r); err != nil {
			return fail(fmt.Errorf("writing the report: %w", err))
		}
	}
	return exitCode(runs.Reports(), failed)
}

// eventOf is the event that a terminal's arguments give.
func eventOf(args []string, in io.Reader) ([]byte, error) {
	switch {
	case len(args) == 0:
		return []byte("{}"), nil
	case len(args) > 1:
		return nil, fmt.Errorf("%d arguments where one is wanted: the event, as JSON in quotes, or - to read it from standard input", len(args))
	case args[0] != "-":
		return []byte(args[0]), nil
	}
	event, err := io.ReadAll(in)
	if err != nil {
		return nil, fmt.Errorf("reading the event from standard input: %w", err)
	}
	return event, nil
}

// Runs collects what an event's runs come to, for a host other than Lambda that continues unfinished runs itself:
//
//	var runs jobs.Runs
//	runs.Collect(ctx, &config)
//	handler := jobs.Handler(job, config)
//	for more := true; more; event, more = runs.Next() {
//		_, err := handler.Invoke(ctx, event)
//	}
type Runs struct {
	reports    []Report // the last of each run
	unfinished [][]byte
}

// Collect sets config's Report and, unless it has one, Continue. A Report that was set is called as well. Once ctx has
// ended no run is continued.
func (r *Runs) Collect(ctx context.Context, config *Config) {
	also := config.Report
	config.Report = func(report Report) {
		r.note(report)
		if also != nil {
			also(report)
		}
	}
	if config.Continue != nil {
		return
	}
	config.Continue = func(_ context.Context, c Continuation) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		event, err := json.Marshal(c)
		if err == nil {
			r.unfinished = append(r.unfinished, event)
		}
		return err
	}
}

// note takes a report over. It takes the place of the run's own before, if that was unfinished.
func (r *Runs) note(report Report) {
	for i, before := range r.reports {
		if before.RunID == report.RunID && before.Outcome == OutcomeUnfinished {
			r.reports[i] = report
			return
		}
	}
	r.reports = append(r.reports, report)
}

// Next returns the event that continues the next unfinished run, and whether there is one.
func (r *Runs) Next() ([]byte, bool) {
	if len(r.unfinished) == 0 {
		return nil, false
	}
	event := r.unfinished[0]
	r.unfinished = r.unfinished[1:]
	return event, true
}

// Reports returns the last report of each run, in the order in which they began.
func (r *Runs) Reports() []Report { return r.reports }

func exitCode(reports []Report, failed bool) int {
	code := exitDone
	for _, r := range reports {
		switch r.Outcome {
		case OutcomeDone, OutcomeDuplicate, OutcomeUnfinished: // unfinished: Config.Continue took it
			if r.Rejected != nil {
				code = exitRejected
			}
		default:
			return exitFailed
		}
	}
	if failed {
		return exitFailed
	}
	return code
}
