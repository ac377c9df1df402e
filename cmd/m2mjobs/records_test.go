package main

import (
	"encoding/json"
	"testing"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

func TestARunsResultSteersNoTerminal(t *testing.T) {
	for result, want := range map[string]string{
		`{"action":"plan"}`:                       "plan: ",
		`{"action":"sync","dryRun":true}`:         "sync, dry: ",
		`{"action":"\u001b]0;owned\u0007\tx\ny"}`: "",
		`[1]`: "",
		"":    "",
	} {
		if got := did(jobs.Report{Result: json.RawMessage(result)}); got != want {
			t.Errorf("%s is shown as %q", result, got)
		}
	}
}
