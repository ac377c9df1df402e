//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// A function that may work for a second and a half, and sixteen writes at a time that take 0.15 s each: at most 176 rows an attempt.
func TestDeployedFileThatNeedsTenContinuationsIsWrittenOnce(t *testing.T) {
	s := shared.stack
	s.showLog(t, function.SyncCustomData)
	s.withTimeout(t, function.SyncCustomData, 3)
	s.slowly(t, 150*time.Millisecond)
	const n, asOf, times = 2000, "2000-12-15", 10 // older than what later tests write
	before := s.tenant.Requests(patch)
	text, emails := s.rows(t, n, asOf)
	s.put(t, "customers/ten.ndjson", text)

	var done []jobs.Report
	eventually(t, 150*time.Second, "the run's end", func() bool {
		done = s.reports(t, function.SyncCustomData, func(r jobs.Report) bool { return r.Outcome == jobs.OutcomeDone && r.Counts["rows"] == n })
		return len(done) > 0
	})
	attempts := s.reports(t, function.SyncCustomData, func(r jobs.Report) bool { return r.RunID == done[0].RunID })
	if len(done) != 1 || done[0].Attempt != len(attempts) || len(attempts) < 1+times {
		t.Errorf("%d attempts and %d reports of its end, want one after %d continuations", len(attempts), len(done), times)
	}
	var previous jobs.Report
	for i, r := range attempts {
		if last := i == len(attempts)-1; !last && r.Outcome != jobs.OutcomeUnfinished {
			t.Errorf("attempt %d: %s %s", r.Attempt, r.Outcome, r.Error)
		}
		// An attempt looks its rows up by the hundred, and of those after them no more than may be under way: 24 hundreds.
		rows := r.Counts["rows"] - previous.Counts["rows"]
		if r.Requests > rows+rows/100+24+1 {
			t.Errorf("attempt %d made %d requests for %d rows", r.Attempt, r.Requests, rows)
		}
		previous = r
	}
	// What was written after a row that was still under way when an attempt stopped is found unchanged by the next.
	if c := done[0].Counts; c["changed"]+c["unchanged"] != n || c["unchanged"] > 16*times {
		t.Errorf("%v, want each row once", c)
	}
	if written := s.tenant.Requests(patch) - before; written != n {
		t.Errorf("%d writes, want one for each of %d rows", written, n)
	}
	if arrived := s.dated(emails, asOf); arrived != n {
		t.Errorf("%d rows arrived at the tenant, want %d", arrived, n)
	}
	execution := strings.Replace(s.outputs["ContinueStateMachineArn"], ":stateMachine:", ":execution:", 1) + ":" + done[0].RunID
	eventually(t, 20*time.Second, "the end of execution "+execution, func() bool {
		out, err := s.sfn.DescribeExecution(t.Context(), &sfn.DescribeExecutionInput{ExecutionArn: &execution})
		if err != nil || out.Status != sfntypes.ExecutionStatusSucceeded && out.Status != sfntypes.ExecutionStatusRunning {
			t.Fatalf("%v, %s: %s %s", err, out.Status, aws.ToString(out.Error), aws.ToString(out.Cause))
		}
		return out.Status == sfntypes.ExecutionStatusSucceeded
	})
	s.nothingFailed(t)
}
