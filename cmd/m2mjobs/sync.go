package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/m2mjobs/m2mjobs/internal/customdata"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

type syncCommand struct {
	Plan  syncPlan  `cmd:"" help:"Write down what rows would change, and what that takes."`
	Apply syncApply `cmd:"" help:"Do what a plan says, or sync a file of rows."`
	Undo  syncUndo  `cmd:"" help:"Take back what a run wrote, where nobody changed it since."`
}

// defaultPlan is where a plan is written and looked for unless told otherwise.
const defaultPlan = "sync.plan"

// guards bound what a sync may change.
type guards struct {
	Newer     string   `placeholder:"FIELD" help:"A field that dates rows, such as orders.asOf: older rows than the user has are left out."`
	OnlyKeys  []string `placeholder:"KEY,…" help:"Write and remove these top-level keys alone."`
	FailAbove float64  `placeholder:"PERCENT" help:"Fail, before anything is written, if more of the rows would change their users or can't be used."`
}

// syncing is what the three have in common.
type syncing struct {
	Limit int64 `placeholder:"N" help:"Change N users at most."`
	JSON  bool  `name:"json" help:"Write the report as JSON to standard output, and logs to standard error."`
	here
}

type syncPlan struct {
	File string `arg:"" help:"Rows: a path or s3://bucket/key, .ndjson or .csv, perhaps with .gz or .zst."`
	Out  string `default:"sync.plan" placeholder:"FILE" help:"Where to write the plan. Default: sync.plan"`
	guards
	syncing
}

// Help is shown by --help.
func (syncPlan) Help() string {
	return `Reads the rows and their users, and writes a plan: a line for each user that would change, with what is there before and
what would be after. Nothing is written to Logto. m2mjobs sync apply then writes what the plan says, and leaves alone whoever was
changed by somebody else meanwhile.

  m2mjobs sync plan customers.csv --env-file sync.env
  m2mjobs sync apply --env-file sync.env

A plan has custom data of users: only you can read the file.`
}

type syncApply struct {
	File   string `arg:"" optional:"" help:"A plan, or rows. Default: sync.plan"`
	DryRun bool   `help:"Tell what would change, and write nothing."`
	Force  bool   `help:"Of a plan: write also where somebody else changed the same keys since."`
	guards
	syncing
}

// Help is shown by --help.
func (syncApply) Help() string {
	return `A file whose name ends in .plan is a plan; of any other the rows are synced in their order, without a plan.

A run that is interrupted (Ctrl-C) finishes what it is writing and goes on where it stopped when the same command is given again,
which it prints. A second Ctrl-C ends it at once; then it goes on from its last checkpoint.
Exit codes: 0 done; 1 failed; 2 wrong flags or variables; 3 done with rows that were not used.`
}

type syncUndo struct {
	ID     string `arg:"" name:"run" help:"The run's id: m2mjobs runs sync-custom-data lists them."`
	DryRun bool   `help:"Tell what would be taken back, and write nothing."`
	Force  bool   `help:"Take back also what somebody else changed since."`
	syncing
}

// Run makes a plan.
func (c *syncPlan) Run(ctx context.Context, io stdio, line commandLine) error {
	if path.Ext(c.Out) != ".plan" {
		return usage(errors.New("--out must end in .plan, by which sync apply tells a plan from rows"))
	}
	p := c.guards.params()
	p.Action, p.Source, p.Plan = customdata.ActionPlan, c.File, c.Out
	return c.run(ctx, io, line, p)
}

// Run applies a plan or a file.
func (c *syncApply) Run(ctx context.Context, io stdio, line commandLine) error {
	p := c.guards.params()
	if c.File == "" {
		c.File = defaultPlan
		if _, err := os.Stat(c.File); errors.Is(err, fs.ErrNotExist) {
			return usage(fmt.Errorf("there is no %s here: m2mjobs sync plan FILE writes one, or name a plan or rows", c.File))
		}
	}
	if p.DryRun = c.DryRun; path.Ext(c.File) == ".plan" {
		p.Action, p.Plan, p.Force = customdata.ActionApply, c.File, c.Force
	} else {
		if c.Force {
			return usage(errors.New("--force is for plans: rows are written anyway"))
		}
		p.Source = c.File
	}
	return c.run(ctx, io, line, p)
}

// Run takes a run back.
func (c *syncUndo) Run(ctx context.Context, io stdio, line commandLine) error {
	return c.run(ctx, io, line, customdata.Params{Action: customdata.ActionUndo, Run: c.ID, DryRun: c.DryRun, Force: c.Force})
}

func (g guards) params() customdata.Params {
	return customdata.Params{Newer: g.Newer, OnlyKeys: g.OnlyKeys, FailAbove: g.FailAbove}
}

// run runs the function's job and shows what it came to.
func (c *syncing) run(ctx context.Context, stdio stdio, line commandLine, p customdata.Params) error {
	if err := c.check(); err != nil {
		return err
	}
	p.Limit = c.Limit
	event, err := json.Marshal(p)
	if err != nil {
		return err
	}
	answer, reports, err := c.watched(ctx, stdio.err, event)
	if err != nil && ctx.Err() != nil {
		if errors.Is(err, context.Canceled) {
			err = errors.New("interrupted") // what was under way, and that it was finished, is said already
		}
		err = fmt.Errorf("%w; go on with:\n%s", err, line)
	}
	if c.JSON || len(reports) != 1 {
		return errors.Join(printAnswer(stdio.out, answer, reports), verdict(answer, reports, err))
	}
	return errors.Join(c.show(ctx, stdio.out, p, reports[0]), verdict(answer, reports, err))
}

// watched runs the job while a meter shows how far it is. With --json there are the logs.
func (c *syncing) watched(ctx context.Context, w io.Writer, event []byte) (answer []byte, reports []jobs.Report, err error) {
	if c.JSON {
		return c.call(ctx, function.SyncCustomData, event, w, nil)
	}
	m := newMeter(w, isTerminal(w))
	defer m.close()
	defer context.AfterFunc(ctx, func() {
		fmt.Fprintln(m, "m2mjobs: interrupted: finishing and saving what is under way; a second interrupt stops at once")
	})()
	return c.call(ctx, function.SyncCustomData, event, &warnings{w: m}, m.update)
}

// warnings shows of log lines what a person at a terminal has to know.
type warnings struct{ w io.Writer }

func (l *warnings) Write(line []byte) (int, error) {
	var x struct{ Level, Msg, Why string }
	err := json.Unmarshal(line, &x)
	if err == nil && (x.Level == "WARN" || x.Level == "ERROR") && x.Msg != "report" { // the report's error is shown anyway
		if _, err := fmt.Fprintln(l.w, "m2mjobs:", strings.TrimSuffix(x.Msg+": "+x.Why, ": ")); err != nil {
			return 0, err
		}
	}
	return len(line), nil
}

// show writes for a person what a run came to.
func (c *syncing) show(ctx context.Context, w io.Writer, p customdata.Params, report jobs.Report) error {
	if report.Outcome != jobs.OutcomeDone && report.Counts["rows"] == 0 {
		return nil
	}
	var result customdata.Result
	if len(report.Result) > 0 {
		if err := json.Unmarshal(report.Result, &result); err != nil {
			return err
		}
	}
	s := &show{w: w}
	count := func(name string) string { return number(report.Counts[name]) }
	switch plan := result.Plan; {
	case p.Action == customdata.ActionPlan && plan != nil:
		s.plan(*plan)
		s.notUsed(report.Rejected)
		if err := c.sample(ctx, s, plan.Location); err != nil {
			return err
		}
		s.printf("\nApply it: m2mjobs sync apply %s\n", plan.Location)
	default:
		var rows [][2]string
		if p.Action != customdata.ActionUndo { // which counts users
			rows = append(rows, [2]string{"rows", count("rows")})
		}
		for _, name := range []string{"changed", "wouldChange", "unchanged", "stale", "conflict", "missing", "rejected"} {
			if n, ok := report.Counts[name]; ok {
				rows = append(rows, [2]string{name, number(n)})
			}
		}
		s.rows(append(rows, used(report))...)
		s.notUsed(report.Rejected)
		if report.Counts["changed"] > 0 && p.Action != customdata.ActionUndo {
			s.printf("\nTake it back: m2mjobs sync undo %s\n", report.RunID)
		}
	}
	return s.err
}

// plan shows what a plan says in sum.
func (s *show) plan(plan customdata.Plan) {
	takes := several(plan.Requests, "request", "requests") + ", " + several(plan.Tokens, "token", "tokens")
	if plan.Seconds > 0 {
		takes += fmt.Sprintf(", %s", humanSeconds(plan.Seconds))
	}
	rows := [][2]string{
		{"rows", number(plan.Rows)},
		{"users found", number(plan.Users)},
		{"to change", number(plan.ToChange)},
		{"unchanged", number(plan.Same)},
	}
	if plan.LeftOut > 0 {
		rows = append(rows, [2]string{"left out", number(plan.LeftOut) + " by the limit"})
	}
	s.rows(append(rows,
		[2]string{"stale", number(plan.Stale)},
		[2]string{"missing", number(plan.Missing)},
		[2]string{"rejected", number(plan.Rejected)},
		[2]string{"applying takes", takes})...)
}

// notUsed tells of the first rows that were not used why.
func (s *show) notUsed(rejected *jobs.Rejected) {
	if rejected == nil || len(rejected.Some) == 0 {
		return
	}
	some := rejected.Some[:min(sampled, len(rejected.Some))]
	s.heading("Not used, the first %d of %s", len(some), number(rejected.Rows))
	for _, r := range some {
		s.printf("  line %d  %s\n", r.Line, r.Reason)
	}
}

// humanSeconds writes 5400 as 1h30m.
func humanSeconds(s float64) string {
	minutes := int64(s) / 60
	switch {
	case s < 60:
		return fmt.Sprintf("%.0f s", s)
	case minutes < 120:
		return fmt.Sprintf("%d min", minutes)
	}
	return fmt.Sprintf("%s h %d min", number(minutes/60), minutes%60)
}

// sampled users are shown of a plan, and as many rows that were not used.
const sampled = 5

// sample shows the first users of a plan, key by key.
func (c *syncing) sample(ctx context.Context, s *show, location string) (err error) {
	file, err := function.Files().Open(ctx, location, "", 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	users, err := customdata.ReadPlan(file, sampled)
	if err != nil || len(users) == 0 {
		return err
	}
	s.heading("The first %d, before → after", len(users))
	for _, u := range users {
		for _, k := range u.Keys {
			s.printf("  %s  %s: %s → %s\n", u.User, k.Key, shortened(k.Before), shortened(k.After))
		}
	}
	return s.err
}

// shortened is a value for a line of a terminal.
func shortened(value json.RawMessage) string {
	const most = 60
	runes := []rune(string(value))
	switch {
	case value == nil:
		return "(nothing)"
	case len(runes) > most:
		return string(runes[:most]) + "…"
	}
	return string(value)
}
