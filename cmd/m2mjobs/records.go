package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/fatih/color"

	"github.com/m2mjobs/m2mjobs/internal/customdata"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// printRecords writes records for machines.
func printRecords(w io.Writer, records ...jobs.Record) error {
	lines := json.NewEncoder(w)
	lines.SetEscapeHTML(false)
	for _, r := range records {
		if err := lines.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// printRuns writes a table of runs. The header is bold on a terminal.
func printRuns(w io.Writer, all []jobs.Record, paused []string) error {
	var text bytes.Buffer
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "STARTED\tSTATE\tJOB\tSLOT\tATTEMPTS\tCOUNTS\tRUN")
	for _, r := range all {
		report, _, err := unmarshalReport(r)
		if err != nil {
			return err
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", second(r.Started), stateOf(r), r.Job, shortSlot(r), r.Attempt, did(report)+counts(report), r.RunID)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	header, rows, _ := strings.Cut(text.String(), "\n")
	if _, err := fmt.Fprintf(w, "%s\n%s", color.New(color.Bold).Sprint(header), rows); err != nil {
		return err
	}
	for _, job := range paused {
		if _, err := fmt.Fprintf(w, "%s is paused. To go on: m2mjobs resume %s\n", job, job); err != nil {
			return err
		}
	}
	return nil
}

// second writes a time in UTC.
func second(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// stateOf says where a run stands.
func stateOf(r jobs.Record) string {
	switch {
	case r.State == jobs.Running && !time.Now().Before(r.Until):
		return "died"
	case r.Cancelling:
		return "stopping"
	}
	return string(r.State)
}

// shortSlot is the slot without stack and job.
func shortSlot(r jobs.Record) string {
	if _, rest, found := strings.Cut(r.Slot, "/"+r.Job+"/"); found {
		return rest
	}
	return r.Slot
}

// did is which of a job's actions a run was, as the results of those that have several say.
func did(report jobs.Report) string {
	var result customdata.Result
	_ = json.Unmarshal(report.Result, &result) // another job's may be anything
	switch {
	case !slices.Contains([]customdata.Action{customdata.ActionSync, customdata.ActionPlan, customdata.ActionApply, customdata.ActionUndo}, result.Action):
		return ""
	case result.DryRun:
		return string(result.Action) + ", dry: "
	}
	return string(result.Action) + ": "
}

// counts are what the report counts, in short.
func counts(report jobs.Report) string {
	var some []string
	for _, name := range slices.Sorted(maps.Keys(report.Counts)) {
		if n := report.Counts[name]; n != 0 {
			some = append(some, fmt.Sprintf("%s %s", number(n), name))
		}
	}
	if len(some) == 0 {
		return "-"
	}
	return strings.Join(some, ", ")
}

// printRun shows a run: what may be personal (params, checkpoint, the rejected rows themselves) is left out.
func printRun(w io.Writer, r jobs.Record) error {
	report, reported, err := unmarshalReport(r)
	if err != nil {
		return err
	}
	show := &show{w: w}
	show.printf("%s\n", color.New(color.Bold).Sprint("Run "+r.RunID))
	rows := [][2]string{
		{"job", r.Job},
		{"slot", r.Slot},
		{"state", stateOf(r)},
		{"attempts", fmt.Sprint(r.Attempt)},
		{"started", since(r.Started)},
		{"updated", since(r.Updated)},
		{"checkpoint", checkpointSize(r)},
	}
	if r.State == jobs.Running {
		rows = append(rows, [2]string{"lease until", second(r.Until)})
	}
	if rejected := report.Rejected; rejected != nil {
		rows = append(rows, [2]string{"not used", number(rejected.Rows) + " rows " + strings.Join(rejected.Kept, " ")})
		for i := range rejected.Some {
			rejected.Some[i].Row = nil
		}
	}
	show.rows(rows...)
	if !reported {
		show.printf("\nNo attempt has ended yet: there is no report.\n")
		return show.err
	}
	pretty, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	show.heading("Report of the last attempt that ended")
	show.printf("%s\n", pretty)
	return show.err
}

// since is a time, and how long ago that is.
func since(t time.Time) string {
	return fmt.Sprintf("%s, %s ago", second(t), max(0, time.Since(t)).Round(time.Second))
}

func checkpointSize(r jobs.Record) string {
	if len(r.Checkpoint) == 0 {
		return "none"
	}
	return number(int64(len(r.Checkpoint))) + " bytes"
}
