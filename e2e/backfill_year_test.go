//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/internal/function"
	stacks "github.com/m2mjobs/m2mjobs/internal/stack"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// withoutRule keeps a rule of the stack from starting anything until the test ends.
func (s *stack) withoutRule(t *testing.T, logicalID string) {
	t.Helper()
	resources, err := shared.aws.Resources(t.Context(), stackName)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(resources, func(r emulator.Resource) bool { return r.LogicalID == logicalID })
	if i < 0 {
		t.Fatalf("the stack has no %s", logicalID)
	}
	rule := resources[i].ID[strings.LastIndexAny(resources[i].ID, "/|")+1:]
	if _, err := s.events.DisableRule(t.Context(), &eventbridge.DisableRuleInput{Name: &rule}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := s.events.EnableRule(context.Background(), &eventbridge.EnableRuleInput{Name: &rule}); err != nil {
			t.Error(err)
		}
	})
}

// A year of days, of which one cannot be written. Their rows are newer than those of other tests, so they stay in the bucket.
func TestDeployedBackfillOfAYearEndsInOneReport(t *testing.T) {
	s, m2mjobs := shared.stack, newOperator(t)
	s.inTimeZone(t)
	s.withoutRule(t, "SyncCustomDataFunctionCustomersWritten")
	forgive := s.deny(t, "s3:PutObject", "arn:aws:s3:::"+s.outputs["BucketName"]+"/stats/1997-12-24.json")
	year := []string{"backfill", function.DailyOrders, "--remote", "--from", "1997-06-30", "--to", "1998-06-29", "--concurrency", "8"}

	began := time.Now()
	said, code := m2mjobs.run(t, year...)
	t.Logf("a year of days took %s", time.Since(began).Round(time.Second))
	for _, part := range []string{
		"days 1997-06-30 to 1998-06-29: 365 slots of schedule e2e-daily-orders",
		"365 slots: 364 done, 0 duplicate, 1 failed\n1997-12-25T02:15:00Z  1997-12-24  failed: ", "permission denied: the role needs s3:PutObject",
	} {
		if code != 1 || !strings.Contains(said, part) {
			t.Errorf("exit code %d, want 1 and %q:\n%s", code, part, said)
		}
	}
	forgive()
	again := time.Now()
	m2mjobs.must(t, year, "365 slots: 1 done, 364 duplicate, 0 failed\n")
	if t.Failed() {
		for _, r := range s.reports(t, function.DailyOrders, func(r jobs.Report) bool { return r.Outcome != jobs.OutcomeDuplicate && r.Ended.After(again) }) {
			t.Logf("not a duplicate: %s, attempt %d, run %s, from %s to %s, request %s: %s %s", r.Slot, r.Attempt, r.RunID, r.Started, r.Ended, r.RequestID, r.Outcome, r.Error)
		}
	}
	s.nothingFailed(t)
}

// The emulator gives the function single items, so this is what a batch of the Distributed Map starts, by itself.
func TestDeployedBackfillGivesTheFunctionABatch(t *testing.T) {
	s := shared.stack
	s.inTimeZone(t)
	s.withoutRule(t, "SyncCustomDataFunctionCustomersWritten")
	deployed, err := s.sfn.DescribeStateMachine(t.Context(), &sfn.DescribeStateMachineInput{
		StateMachineArn: aws.String("arn:aws:states:" + emulator.Region + ":000000000000:stateMachine:" + *s.name("backfill")),
	})
	if err != nil {
		t.Fatal(err)
	}
	var definition struct {
		States struct {
			Slots struct {
				MaxConcurrencyPath string
				ItemBatcher        struct{ MaxItemsPerBatchPath string }
				ItemProcessor      map[string]json.RawMessage
			}
		}
	}
	if err := json.Unmarshal([]byte(*deployed.Definition), &definition); err != nil {
		t.Fatal(err)
	}
	slots := definition.States.Slots
	if slots.MaxConcurrencyPath != "$.concurrency" || slots.ItemBatcher.MaxItemsPerBatchPath != "$.batch" ||
		!strings.Contains(string(slots.ItemProcessor["ProcessorConfig"]), "DISTRIBUTED") {
		t.Errorf("the map is %+v", slots)
	}
	delete(slots.ItemProcessor, "ProcessorConfig")
	child, err := json.Marshal(slots.ItemProcessor)
	if err != nil {
		t.Fatal(err)
	}
	machine, err := s.sfn.CreateStateMachine(t.Context(), &sfn.CreateStateMachineInput{
		Name: aws.String("backfill-batch"), RoleArn: deployed.RoleArn, Definition: aws.String(string(child)),
	})
	if err != nil {
		t.Fatal(err)
	}
	run := func(job string) (results []stacks.SlotResult) {
		t.Helper()
		type item struct {
			Job   string             `json:"job"`
			Event jobs.ScheduleInput `json:"event"`
		}
		var batch struct{ Items []item }
		for day := range 5 {
			batch.Items = append(batch.Items, item{job, jobs.ScheduleInput{
				Schedule: "batch", Time: time.Date(1997, 2, 16+day, 2, 15, 0, 0, time.UTC), Overlap: jobs.OverlapAllow,
			}})
		}
		input, err := json.Marshal(batch)
		if err != nil {
			t.Fatal(err)
		}
		started, err := s.sfn.StartExecution(t.Context(), &sfn.StartExecutionInput{StateMachineArn: machine.StateMachineArn, Input: aws.String(string(input))})
		if err != nil {
			t.Fatal(err)
		}
		var ended *sfn.DescribeExecutionOutput
		eventually(t, 60*time.Second, "the execution's end", func() bool {
			if ended, err = s.sfn.DescribeExecution(t.Context(), &sfn.DescribeExecutionInput{ExecutionArn: started.ExecutionArn}); err != nil {
				t.Fatal(err)
			}
			return ended.Status != sfntypes.ExecutionStatusRunning
		})
		var output struct{ Results []stacks.SlotResult }
		if err := json.Unmarshal([]byte(aws.ToString(ended.Output)), &output); err != nil {
			t.Fatalf("%v: %s %s %s", err, ended.Status, aws.ToString(ended.Error), aws.ToString(ended.Cause))
		}
		return output.Results
	}
	count := func(results []stacks.SlotResult, outcome jobs.Outcome) (n int) {
		for _, r := range results {
			if r.Outcome == outcome {
				n++
			}
		}
		return n
	}
	forgive := s.deny(t, "s3:PutObject", "arn:aws:s3:::"+s.outputs["BucketName"]+"/stats/1997-02-17.json")
	results := run(function.DailyOrders)
	if count(results, jobs.OutcomeDone) != 4 || count(results, jobs.OutcomeFailed) != 1 || len(results) != 5 {
		t.Errorf("a batch with one day that cannot be written: %+v", results)
	}
	invocations := map[string]bool{}
	for _, r := range s.reports(t, function.DailyOrders, func(r jobs.Report) bool { return r.Trigger.Source == "batch" }) {
		invocations[r.RequestID] = true
	}
	if len(invocations) != 1 {
		t.Errorf("five slots took %d invocations, want one", len(invocations))
	}
	forgive()
	if results = run(function.DailyOrders); count(results, jobs.OutcomeDone) != 1 || count(results, jobs.OutcomeDuplicate) != 4 {
		t.Errorf("the same batch again: %+v", results)
	}
	// What fails as a whole is tried one by one.
	if results = run("no-such-job"); count(results, jobs.OutcomeFailed) != 5 || results[0].Error == "" {
		t.Errorf("a function that is not there: %+v", results)
	}
	s.nothingFailed(t)
}
