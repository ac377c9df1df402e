// Command m2mjobs runs the functions' jobs without Lambda: to see them work, to run them by hand, to check a tenant's
// set-up.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/m2mjobs/m2mjobs/internal/function"
)

// Exit codes.
const (
	exitDone     = 0
	exitFailed   = 1 // the run failed
	exitUsage    = 2 // wrong usage or configuration: nothing was run
	exitRejected = 3 // done, with rows that were not used
)

type command struct {
	Demo     demonstrate `cmd:"" help:"See both jobs work on real orders, with a tenant and a shop in memory."`
	Invoke   invoke      `cmd:"" help:"Run a function's job as Lambda would, without AWS."`
	Sync     syncCommand `cmd:"" help:"Bring custom data of users up to date: plan, apply, undo."`
	Backfill backfillJob `cmd:"" help:"Run slots of the past, here or on AWS. Twice does nothing."`
	Token    token       `cmd:"" help:"Get an access token and show what it allows."`
	Rotate   rotate      `cmd:"" help:"Replace an app's secret without an outage, or see where its secrets are."`
	Doctor   examine     `cmd:"" help:"Check the whole way, and say how to mend what is not well."`
	Runs     runs        `cmd:"" help:"List runs, look at one, or cancel it."`
	Pause    pause       `cmd:"" help:"Keep a job from running, until it is resumed."`
	Resume   resume      `cmd:"" help:"Let a paused job run again."`
}

// stdio is what a command reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// commandLine is what follows the command's name.
type commandLine []string

// String is the command line as a POSIX shell takes it.
func (c commandLine) String() string {
	words := []string{"m2mjobs"}
	for _, word := range c {
		if word == "" || strings.ContainsFunc(word, special) {
			word = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// special tells whether a rune may mean something else to a shell.
func special(r rune) bool {
	plain := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=,@%+", r)
	return !plain
}

// exit ends a command with a code other than 1, after its error, if any, was printed.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

func usage(err error) error { return &exit{exitUsage, err} }

func main() {
	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithCancel(context.Background())
	// A second signal ends the process at once, from when anything tells of the first.
	context.AfterFunc(interrupted, func() { stop(); cancel() })
	code := run(ctx, os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, io stdio) int {
	code := -1 // until kong has said otherwise
	parser, err := kong.New(&command{},
		kong.Name("m2mjobs"),
		kong.Description("Scheduled machine-to-machine jobs for people who run Logto. Start with: m2mjobs demo"),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Writers(io.out, io.err),
		kong.Exit(func(c int) { code = c }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(io, commandLine(args)),
	)
	if err != nil {
		fmt.Fprintln(io.err, "m2mjobs:", err)
		return exitUsage
	}
	chosen, err := parser.Parse(args)
	if code >= 0 { // --help
		return code
	}
	if err != nil {
		fmt.Fprintf(io.err, "m2mjobs: %v\nTry: %s --help\n", err, helpful(err))
		return exitUsage
	}
	return exitCode(chosen.Run(), io.err)
}

// helpful is the command whose help tells how it is used that was used wrongly.
func helpful(err error) string {
	var wrong *kong.ParseError
	if errors.As(err, &wrong) {
		if node := wrong.Context.Selected(); node != nil {
			return node.FullPath()
		}
	}
	return "m2mjobs"
}

// exitCode prints an error and says how the process ends.
func exitCode(err error, w io.Writer) int {
	if err == nil {
		return exitDone
	}
	if message := err.Error(); message != "" {
		fmt.Fprintln(w, "m2mjobs:", message)
	}
	if ended := (*exit)(nil); errors.As(err, &ended) {
		return ended.code
	}
	if errors.As(err, new(*function.ConfigError)) {
		return exitUsage
	}
	return exitFailed
}
