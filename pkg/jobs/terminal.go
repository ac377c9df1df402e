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
	exitFailed   = 1 // or not begun, or another process is at it
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

	once := terminal{todo: [][]byte{event}}
	again := config.Report
	config.Report = func(r Report) {
		once.note(r)
		if again != nil {
			again(r)
		}
	}
	if config.Continue == nil {
		config.Continue = func(_ context.Context, c Continuation) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			payload, err := json.Marshal(c)
			once.todo = append(once.todo, payload)
			return err
		}
	}
	handler := Handler(job, config)
	for len(once.todo) > 0 {
		payload := once.todo[0]
		once.todo = once.todo[1:]
		if _, err := handler.Invoke(ctx, payload); err != nil {
			once.failed = true // the log and the report say why
		}
	}
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	for _, r := range once.reports {
		if err := encoder.Encode(r); err != nil {
			return fail(fmt.Errorf("writing the report: %w", err))
		}
	}
	return once.exitCode()
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

// terminal is what is to be done and what was.
type terminal struct {
	todo    [][]byte
	reports []Report // the last of each run
	failed  bool
}

// note takes a report over. It takes the place of the run's own before, if that was unfinished.
func (t *terminal) note(r Report) {
	for i, before := range t.reports {
		if before.RunID == r.RunID && before.Outcome == OutcomeUnfinished {
			t.reports[i] = r
			return
		}
	}
	t.reports = append(t.reports, r)
}

func (t *terminal) exitCode() int {
	code := exitDone
	for _, r := range t.reports {
		switch {
		case r.Outcome == OutcomeFailed || r.InProgress:
			return exitFailed
		case r.Rejected != nil:
			code = exitRejected
		}
	}
	if t.failed {
		return exitFailed
	}
	return code
}
