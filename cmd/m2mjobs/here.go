package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

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
	return bolt.Open(filepath.Join(dir, function+".db"))
}

// stateDir is where runs are remembered: the folder given, or the usual one.
func stateDir(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	if base := os.Getenv("XDG_STATE_HOME"); base != "" {
		return filepath.Join(base, "m2mjobs"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", usage(fmt.Errorf("no place to remember runs (%w): give --state DIR", err))
	}
	return filepath.Join(home, ".local", "state", "m2mjobs"), nil
}

// invoke is one invocation, as Lambda makes it.
func (h here) invoke(ctx context.Context, handler lambda.Handler, event []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	return handler.Invoke(ctx, event)
}
