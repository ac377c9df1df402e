package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fatih/color"

	"github.com/m2mjobs/m2mjobs/internal/doctor"
	"github.com/m2mjobs/m2mjobs/internal/files"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/rotation"
	"github.com/m2mjobs/m2mjobs/internal/stack"
	"github.com/m2mjobs/m2mjobs/internal/webhook"
)

type examine struct {
	Function string `arg:"" optional:"" help:"The function. Default: that which the variables are for; with --stack, all."`
	EnvFile  string `type:"existingfile" placeholder:"FILE" help:"Variables of the function, NAME=value a line. Those that are set already win."`
	Scopes   bool   `help:"Tell instead which permissions the jobs used, by what their runs called."`
	JSON     bool   `name:"json" help:"The same as JSON."`
	where
}

// Help is shown by --help.
func (examine) Help() string {
	return `Checks the whole way of a function, and says of each thing what was found and how it is mended: variables, secret, Logto's
address and issuer, clocks, token, scopes, role, the APIs, and what the function writes to. Nothing is changed; a token or two of
the tenant's quota are used, and by rotate-secret one more for each secret that has old ones beside it.

  m2mjobs doctor --env-file sync.env
  m2mjobs doctor --stack m2mjobs
  m2mjobs doctor daily-orders --stack m2mjobs --json

With --stack the functions check themselves where they run (they answer {"doctor": true} by hand, too), and this machine
looks at what they may not: schedules, queues of what failed, the secrets' age. That needs the operator's credentials.

--scopes looks at the reports of the newest runs (on this machine, or of the stack): what they called, which scope that needs,
and whether a job asks for one that it does not use.

  m2mjobs doctor --scopes --stack m2mjobs

Exit codes: 0 nothing failed, 1 something did, or a scope is not used; 2 wrong flags.`
}

// Run examines, and prints what was found.
func (c *examine) Run(ctx context.Context, io stdio) error {
	if c.Scopes {
		return c.scopes(ctx, io)
	}
	var reports []doctor.Report
	var err error
	if c.Stack != "" {
		reports, err = c.deployed(ctx)
	} else {
		reports, err = c.local(ctx)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(io.out, reports)
	} else {
		err = printReports(io.out, reports)
	}
	if err == nil && slices.ContainsFunc(reports, func(r doctor.Report) bool { return !r.Well }) {
		return &exit{code: exitFailed}
	}
	return err
}

// local examines a function with the variables of this process.
func (c *examine) local(ctx context.Context) ([]doctor.Report, error) {
	if err := loadVariables(c.EnvFile); err != nil {
		return nil, err
	}
	environment := function.Process()
	f, err := examined(c.function(environment), environment)
	if err != nil {
		return nil, err
	}
	if environment["STATE_TABLE"] == "" {
		if err := c.keepHere(&f); err != nil {
			return nil, err
		}
	}
	var more []doctor.Check
	for _, name := range []string{"schedule", "queues"} {
		more = append(more, doctor.Check{Name: name, What: "what starts it, and what it gave up", Do: func(context.Context) doctor.Finding {
			return doctor.Nothing("only a deployed stack has them: --stack NAME")
		}})
	}
	return []doctor.Report{f.Examine(ctx, "this machine", more...)}, nil
}

// function is the one that the variables are for, unless one is named.
func (c *examine) function(environment function.Environment) string {
	switch {
	case c.Function != "":
		return c.Function
	case environment["EVENT_BUS"] != "":
		return webhook.Name
	case environment["SECRETS"] != "":
		return rotation.Name
	case environment["SHOP_URL"] != "":
		return function.DailyOrders
	}
	return function.SyncCustomData
}

// examined is a function as package doctor checks it.
func examined(name string, environment function.Environment) (doctor.Function, error) {
	if name == webhook.Name {
		return webhook.Doctor(environment), nil
	}
	return function.Doctor(name, environment)
}

// keepHere puts the folder in the place of the table, where m2mjobs invoke remembers runs.
func (c *examine) keepHere(f *doctor.Function) error {
	dir, err := stateDir(c.State)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, f.Name+".db")
	for i, place := range f.Places {
		if place.Name != "store" {
			continue
		}
		f.Places[i] = doctor.Place{Name: "store", What: "runs can be remembered on this machine", Try: func(ctx context.Context) doctor.Finding {
			if err := files.New(nil).Try(ctx, dir, filepath.Base(file)); err != nil {
				return doctor.Failed("give another place with --state DIR, or the permission to this one", "%v", err)
			}
			return doctor.Found("%s: this user may write there", file)
		}}
	}
	return nil
}

// deployed examines the functions of a stack: from here, and by themselves.
func (c *examine) deployed(ctx context.Context) ([]doctor.Report, error) {
	m, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	names := m.jobs()
	if c.Function != "" {
		if _, err := m.stack.Function(c.Function); err != nil {
			return nil, usage(err)
		}
		names = []string{c.Function}
	}
	var reports []doctor.Report
	for _, job := range names {
		outside, inside := examineDeployed(ctx, m.stack, job)
		reports = append(reports, outside)
		if inside != nil {
			reports = append(reports, *inside)
		}
	}
	return reports, nil
}

// examineDeployed returns what this machine found of a job, and what its function found, if it answered.
func examineDeployed(ctx context.Context, s *stack.Stack, job string) (outside doctor.Report, inside *doctor.Report) {
	variables, err := s.Environment(ctx, job)
	checks := []doctor.Check{{
		Name: "configuration", What: "every variable of the deployed function is there and can be read",
		Do: func(context.Context) doctor.Finding { return configured(job, variables, err) },
	}}
	checks = append(checks, s.Checks(job, variables)...)
	// What is no function of this repository may take {"doctor": true} for something else, and do it.
	checks = append(checks, doctor.Check{Name: "function", What: "it starts, and answers", Needs: []string{"configuration"}, Do: func(ctx context.Context) doctor.Finding {
		report, err := s.Ask(ctx, job)
		if err != nil {
			return doctor.Failed(fmt.Sprintf("read its log, `sam logs --stack-name %s`, and deploy again, `make deploy`", s.Name), "%v", err)
		}
		inside = &report
		return doctor.Found("its own findings follow")
	}})
	outside = doctor.NewReport(job, "stack "+s.Name+", from this machine", doctor.Examine(ctx, checks))
	return outside, inside
}

// configured judges the variables of a deployed function.
func configured(job string, variables map[string]string, err error) doctor.Finding {
	if err != nil {
		return doctor.Failed("see that these credentials may look at it: `aws sts get-caller-identity` says whose they are", "%v", err)
	}
	f, err := examined(job, variables)
	if errors.As(err, new(*function.ConfigError)) {
		return doctor.Nothing("its variables are not known to the doctor, nor whether it examines itself")
	}
	if len(f.Problems) > 0 {
		return doctor.Failed("deploy again, which sets them: `make deploy`", "%s", strings.Join(f.Problems, "; "))
	}
	return doctor.Found("all there")
}

func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// printReports prints a line for each check, and below those that are not well what mends them.
func printReports(w io.Writer, reports []doctor.Report) error {
	show := &show{w: w}
	count := map[doctor.Result]int{}
	for i, r := range reports {
		if i > 0 {
			show.printf("\n")
		}
		show.printf("%s, %s\n", color.New(color.Bold).Sprint(r.Function), r.From)
		widest := 0
		for _, line := range r.Checks {
			widest = max(widest, len(line.Check))
		}
		for _, line := range r.Checks {
			count[line.Result]++
			show.printf("  %s  %-*s  %s\n", paint(line.Result), widest, line.Check, line.Found)
			if line.Mend != "" {
				show.printf("  %4s  %-*s  mend: %s\n", "", widest, "", line.Mend)
			}
		}
	}
	show.printf("\n%d ok, %d to look at, %d failed, %d not tried, %d not applicable\n",
		count[doctor.OK], count[doctor.Warn], count[doctor.Fail], count[doctor.NotTried], count[doctor.NotApplicable])
	return show.err
}

// paint is a result in a column of its own, coloured on a terminal.
func paint(r doctor.Result) string {
	switch r {
	case doctor.OK:
		return color.GreenString("ok  ")
	case doctor.Warn:
		return color.YellowString("warn")
	case doctor.Fail:
		return color.RedString("FAIL")
	case doctor.NotApplicable:
		return "n/a "
	}
	return "-   " // the finding says why
}
