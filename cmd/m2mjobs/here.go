package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/jobs/bolt"
)

// here says how a function is invoked on this machine.
type here struct {
	EnvFile string        `type:"existingfile" placeholder:"FILE" help:"Variables for the function, NAME=value a line. Those that are set already win."`
	Timeout time.Duration `default:"15m" help:"How long one invocation may take, as on Lambda; the run is then continued by another."`
	State   string        `type:"path" placeholder:"DIR" env:"M2MJOBS_STATE" help:"Where runs are remembered, so that one that was killed goes on. Default: m2mjobs in the user's state folder."`
}

func (h here) check() error {
	if h.Timeout <= 0 {
		return usage(fmt.Errorf("--timeout %v is not above zero", h.Timeout))
	}
	return nil
}

// store opens a function's memory of runs.
func (h here) store(function string) (*bolt.Store, error) {
	dir, err := stateDir(h.State)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, usage(fmt.Errorf("place to remember runs: %w", err))
	}
	store, err := bolt.Open(filepath.Join(dir, function+".db"))
	if err != nil {
		return nil, err
	}
	// Runs beside each other share a tenant's budget, whichever folders they remember themselves in.
	if usual, err := stateDir(""); err == nil {
		store.Shares = filepath.Join(usual, bolt.SharesFile)
	}
	return store, nil
}

// stateDir is where runs are remembered: the folder given, or the usual one.
func stateDir(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	dir := function.Process().StateDir()
	if dir == "" {
		return "", usage(errors.New("no place to remember runs, because HOME is not set: give --state DIR"))
	}
	return dir, nil
}

// call invokes a function with an event, as often as it takes until its runs are finished, and returns the first answer and the
// newest report of each run. watch may be nil.
func (h here) call(ctx context.Context, name string, event []byte, log io.Writer, watch func(function.Progress)) (
	answer []byte, reports []jobs.Report, err error) {
	if err := loadVariables(h.EnvFile); err != nil {
		return nil, nil, err
	}
	store, err := h.store(name)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	environment := function.Process()
	if h.State != "" {
		environment[function.StateVariable] = h.State
	}
	var runs jobs.Runs
	handler, err := function.Watched(name, environment, watch, func(config *jobs.Config) {
		// What is remembered here no state machine finds: unfinished runs are continued here, too.
		config.Store, config.Log, config.Continue = store, log, nil
		runs.Collect(ctx, config)
	})
	if err != nil {
		if h.EnvFile == "" && errors.As(err, new(*function.ConfigError)) {
			err = fmt.Errorf("%w; --env-file FILE takes variables from a file", err)
		}
		return nil, nil, err
	}
	answer, err = h.invoke(ctx, handler, event)
	for next, more := runs.Next(); err == nil && more; next, more = runs.Next() {
		_, err = h.invoke(ctx, handler, next)
	}
	if errors.Is(err, jobs.ErrPaused) {
		err = fmt.Errorf("%w: m2mjobs resume %s", err, name)
	}
	return answer, runs.Reports(), err
}

// invoke is one invocation, as Lambda makes it.
func (h here) invoke(ctx context.Context, handler lambda.Handler, event []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	return handler.Invoke(ctx, event)
}
