package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/fatih/color"

	"github.com/m2mjobs/m2mjobs/internal/doctor"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/webhook"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// remembered is how many of a job's newest runs are counted.
const remembered = 100

// scopes tells which permissions the jobs used, from what their runs called.
func (c *examine) scopes(ctx context.Context, io stdio) error {
	m, err := c.open(ctx)
	if err != nil {
		return err
	}
	names := m.jobs()
	if c.Function != "" {
		if _, err := m.of(c.Function); err != nil {
			return err
		}
		names = []string{c.Function}
	}
	uses := []doctor.Use{}
	for _, job := range names {
		access, known := accessOf(job)
		if !known {
			continue // a job of somebody's own
		}
		store, err := m.of(job)
		if err != nil {
			return err
		}
		records, err := store.Runs(ctx, job, remembered)
		if err != nil {
			return err
		}
		called, err := calledBy(records)
		if err != nil {
			return err
		}
		uses = append(uses, doctor.NewUse(job, access, len(records), called))
	}
	if c.JSON {
		err = printJSON(io.out, uses)
	} else {
		err = printUses(io.out, m.place, uses)
	}
	if err == nil && slices.ContainsFunc(uses, func(u doctor.Use) bool { return len(u.Unused) > 0 }) {
		return &exit{code: exitFailed}
	}
	return err
}

func accessOf(job string) (doctor.Access, bool) {
	if job == webhook.Name {
		return function.ManagementAccess(), true
	}
	return function.AccessOf(job)
}

// calledBy adds up what the newest attempt of each run called.
func calledBy(records []jobs.Record) (map[string]int64, error) {
	called := map[string]int64{}
	for _, record := range records {
		report, _, err := unmarshalReport(record)
		if err != nil {
			return nil, err
		}
		for route, n := range report.Calls {
			called[route] += n
		}
	}
	return called, nil
}

func printUses(w io.Writer, place string, uses []doctor.Use) error {
	show := &show{w: w}
	if len(uses) == 0 {
		show.printf("Nothing has run yet in %s: m2mjobs invoke runs a job; --stack NAME is for a deployed stack.\n", place)
	}
	for i, u := range uses {
		if i > 0 {
			show.printf("\n")
		}
		show.printf("%s asks for %s of %s, and called (runs counted: %d):\n",
			color.New(color.Bold).Sprint(u.Function), strings.Join(u.Asked, " "), u.API, u.Runs)
		var rows [][2]string
		for _, call := range u.Calls {
			scope := call.Scope
			if scope == "" {
				scope = "not known"
			}
			rows = append(rows, [2]string{fmt.Sprintf("%8s  %s", number(call.Times), call.Route), "needs " + scope})
		}
		show.rows(rows...)
		show.printf("%s\n", u.Verdict)
		for _, limit := range u.Limits {
			show.printf("  - %s\n", limit)
		}
	}
	return show.err
}
