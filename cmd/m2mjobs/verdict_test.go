package main

import (
	"bytes"
	"testing"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

func TestOnlyWhatIsDoneEndsAsDone(t *testing.T) {
	for outcome, want := range map[jobs.Outcome]int{
		jobs.OutcomeDone:       exitDone,
		jobs.OutcomeDuplicate:  exitDone,
		jobs.OutcomeInProgress: exitFailed,
		jobs.OutcomeSkipped:    exitFailed,
		jobs.OutcomeQueued:     exitFailed,
		jobs.OutcomePaused:     exitFailed,
		jobs.OutcomeCancelled:  exitFailed,
	} {
		var said bytes.Buffer
		got := exitCode(verdict([]byte("{}"), []jobs.Report{{Job: "daily-orders", Outcome: outcome}}, nil), &said)
		if got != want || (got == exitDone) != (said.Len() == 0) {
			t.Errorf("%s: exit code %d and %q, want %d and a reason unless it is done", outcome, got, &said, want)
		}
	}
}

func TestRowsThatAreKeptNowhereAreInTheReport(t *testing.T) {
	err := verdict(nil, []jobs.Report{{Outcome: jobs.OutcomeDone, Rejected: &jobs.Rejected{Rows: 1}}}, nil)
	if err == nil || err.Error() != "done, but 1 row was not used; with reasons in the report" {
		t.Error(err)
	}
}
