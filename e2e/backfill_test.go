//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/internal/function"
	stacks "github.com/m2mjobs/m2mjobs/internal/stack"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// operator is the command, with the AWS of the tests.
type operator struct {
	program, home string
	key           emulator.Key
}

func newOperator(t *testing.T) operator {
	t.Helper()
	program, err := shared.command()
	if err != nil {
		t.Fatal(err)
	}
	return operator{program, t.TempDir(), shared.aws.Root()}
}

// run gives a command for the deployed stack, and returns what it printed and its exit code.
func (o operator) run(t *testing.T, arguments ...string) (said string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, o.program, append(arguments, "--stack", stackName)...)
	cmd.Env = []string{"HOME=" + o.home, "PATH=" + os.Getenv("PATH")}
	for name, value := range shared.aws.Environment(o.key) {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatalf("%v\n%s", err, &out)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// must is run for a command that must succeed and say all of these.
func (o operator) must(t *testing.T, arguments []string, says ...string) {
	t.Helper()
	said, code := o.run(t, arguments...)
	if code != 0 {
		t.Fatalf("%s: exit code %d\n%s", arguments, code, said)
	}
	for _, part := range says {
		if !strings.Contains(said, part) {
			t.Errorf("%s does not say %q:\n%s", arguments, part, said)
		}
	}
}

// february are the days of 1997 that are backfilled. They are before those that other tests look at, whose rows are newer.
func february(from, to int) []string {
	return []string{"backfill", function.DailyOrders, "--remote",
		"--from", fmt.Sprintf("1997-02-%02d", from), "--to", fmt.Sprintf("1997-02-%02d", to)}
}

// synced waits until the files of so many more days have been synced, so that they are in nobody's way.
func (s *stack) synced(t *testing.T, before, n int) {
	t.Helper()
	eventually(t, 60*time.Second, fmt.Sprintf("%d files synced", n), func() bool { return s.syncs(t)-before >= n })
}

func (s *stack) syncs(t *testing.T) int {
	return len(s.reports(t, function.SyncCustomData, func(r jobs.Report) bool { return r.Trigger.Source == "aws.s3" && r.Outcome == jobs.OutcomeDone }))
}

// inTimeZone gives the schedule of daily-orders the time zone that the template has: the emulator's CloudFormation leaves it out.
func (s *stack) inTimeZone(t *testing.T) {
	t.Helper()
	is := s.schedule(t, function.DailyOrders)
	_, err := s.scheduler.UpdateSchedule(t.Context(), &scheduler.UpdateScheduleInput{
		Name: is.Name, GroupName: is.GroupName, State: is.State, Description: is.Description, ScheduleExpression: is.ScheduleExpression,
		ScheduleExpressionTimezone: aws.String(timeZone), FlexibleTimeWindow: is.FlexibleTimeWindow, Target: is.Target,
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDeployedBackfillRunsTheSlotsOfTheSchedule(t *testing.T) {
	s, m2mjobs := shared.stack, newOperator(t)
	s.inTimeZone(t)
	s.showLog(t, function.DailyOrders)
	before := s.syncs(t)

	// One of them the schedule has done, at 03:15 in Berlin.
	if r := s.report(t, function.DailyOrders, s.slot(t, function.DailyOrders, "1997-02-06T02:15:00Z")); r.Outcome != jobs.OutcomeDone {
		t.Fatalf("the schedule's own: %s", r.Outcome)
	}
	m2mjobs.must(t, append(february(3, 9), "--dry-run"),
		"daily-orders, days 1997-02-03 to 1997-02-09: 7 slots of schedule e2e-daily-orders, from 1997-02-04T02:15:00Z to 1997-02-10T02:15:00Z",
		"1997-02-06T02:15:00Z  1997-02-05\n")
	if n := s.versions(t, "stats/1997-02-03.json"); n != 0 {
		t.Fatal("a dry run wrote something")
	}
	m2mjobs.must(t, append(february(3, 9), "--concurrency", "3"), ":execution:e2e-backfill:daily-orders-1997-02-03-1997-02-09-", "7 slots: 6 done, 1 duplicate, 0 failed\n")
	m2mjobs.must(t, february(3, 9), "7 slots: 0 done, 7 duplicate, 0 failed\n")
	for day := 3; day <= 9; day++ {
		for _, key := range []string{"stats/1997-02-%02d.json", "customers/1997-02-%02d.ndjson"} {
			if key = fmt.Sprintf(key, day); s.versions(t, key) != 1 {
				t.Errorf("%s was written %d times, want once", key, s.versions(t, key))
			}
		}
	}
	// And what is backfilled the schedule does not do again.
	if r := s.report(t, function.DailyOrders, s.slot(t, function.DailyOrders, "1997-02-08T02:15:00Z")); r.Outcome != jobs.OutcomeDuplicate {
		t.Errorf("the schedule at a slot that was backfilled: %s", r.Outcome)
	}
	s.synced(t, before, 7)
	s.nothingFailed(t)
}

func TestDeployedBackfillDoesTheOtherDaysIfOneFails(t *testing.T) {
	s, m2mjobs := shared.stack, newOperator(t)
	s.inTimeZone(t)
	before := s.syncs(t)
	forgive := s.deny(t, "s3:PutObject", "arn:aws:s3:::"+s.outputs["BucketName"]+"/stats/1997-02-12.json")

	said, code := m2mjobs.run(t, february(11, 14)...)
	for _, part := range []string{
		"4 slots: 3 done, 0 duplicate, 1 failed\n1997-02-13T02:15:00Z  1997-02-12  failed: ", "permission denied: the role needs s3:PutObject",
		"1 slot not done: give the same command again once the cause is mended",
	} {
		if code != 1 || !strings.Contains(said, part) {
			t.Errorf("exit code %d, want 1 and %q:\n%s", code, part, said)
		}
	}
	forgive()
	m2mjobs.must(t, february(11, 14), "4 slots: 1 done, 3 duplicate, 0 failed\n")
	if n := s.versions(t, "customers/1997-02-12.ndjson"); n != 1 {
		t.Errorf("the customers' rows of the day that failed were written %d times, want once", n)
	}
	s.synced(t, before, 4)
	s.nothingFailed(t)
}

// deny keeps daily-orders from an action on a resource, until the test ends or it is forgiven.
func (s *stack) deny(t *testing.T, action, resource string) (forgive func()) {
	t.Helper()
	resources, err := shared.aws.Resources(t.Context(), stackName)
	if err != nil {
		t.Fatal(err)
	}
	var role string
	for _, r := range resources {
		if r.LogicalID == "DailyOrdersRole" {
			role = r.ID
		}
	}
	whole, err := shared.aws.RolePolicy(t.Context(), role, function.DailyOrders)
	if err != nil {
		t.Fatal(err)
	}
	set := func(p emulator.Policy) {
		if err := shared.aws.SetRolePolicy(context.Background(), role, function.DailyOrders, p); err != nil {
			t.Error(err)
		}
	}
	less := whole
	less.Statement = append(less.Statement[:len(less.Statement):len(less.Statement)],
		emulator.Statement{Sid: "Denied", Effect: "Deny", Action: []string{action}, Resource: []string{resource}})
	set(less)
	t.Cleanup(func() { set(whole) })
	return func() { set(whole) }
}

func TestDeployedBackfillContinuesARunThatIsUnfinished(t *testing.T) {
	s := shared.stack
	s.showLog(t, function.SyncCustomData)
	s.withTimeout(t, function.SyncCustomData, 5)
	s.slowly(t, 160*time.Millisecond)
	// daily-orders is done in one go, so it is the machine's definition with the role of the one that may invoke another job.
	describe := func(name string) *sfn.DescribeStateMachineOutput {
		out, err := s.sfn.DescribeStateMachine(t.Context(), &sfn.DescribeStateMachineInput{
			StateMachineArn: aws.String("arn:aws:states:" + emulator.Region + ":000000000000:stateMachine:" + *s.name(name)),
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	machine, err := s.sfn.CreateStateMachine(t.Context(), &sfn.CreateStateMachineInput{
		Name: aws.String("backfill-unfinished"), RoleArn: describe("continue").RoleArn, Definition: describe("backfill").Definition,
	})
	if err != nil {
		t.Fatal(err)
	}
	const n, asOf = 450, "2000-12-01"
	before := s.tenant.Requests(patch)
	text, emails := s.rows(t, n, asOf)
	s.put(t, "customers/backfill.jsonl", text)
	input, err := json.Marshal(stacks.Backfill{Job: function.SyncCustomData, Concurrency: 1, Batch: 10, Slots: []jobs.ScheduleInput{{
		Schedule: "backfill", Time: time.Date(2000, 12, 1, 0, 0, 0, 0, time.UTC), Overlap: jobs.OverlapAllow,
		Params: json.RawMessage(`{"source":"s3://` + s.outputs["BucketName"] + `/customers/backfill.jsonl"}`),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	execution, err := s.sfn.StartExecution(t.Context(), &sfn.StartExecutionInput{StateMachineArn: machine.StateMachineArn, Input: aws.String(string(input))})
	if err != nil {
		t.Fatal(err)
	}
	var ended *sfn.DescribeExecutionOutput
	eventually(t, 90*time.Second, "the execution's end", func() bool {
		if ended, err = s.sfn.DescribeExecution(t.Context(), &sfn.DescribeExecutionInput{ExecutionArn: execution.ExecutionArn}); err != nil {
			t.Fatal(err)
		}
		return ended.Status != sfntypes.ExecutionStatusRunning
	})
	var result struct {
		Slots, Failed int
		Results       []stacks.SlotResult
	}
	if err := json.Unmarshal([]byte(aws.ToString(ended.Output)), &result); err != nil || result.Slots != 1 || result.Failed != 0 || len(result.Results) != 1 {
		t.Errorf("%s %s %s: %s", ended.Status, aws.ToString(ended.Error), aws.ToString(ended.Cause), aws.ToString(ended.Output))
	}
	slot := "e2e/sync-custom-data/backfill/2000-12-01T00:00:00Z"
	rounds := s.reports(t, function.SyncCustomData, func(r jobs.Report) bool { return r.Slot == slot && r.Outcome == jobs.OutcomeUnfinished })
	if arrived, written := s.dated(emails, asOf), s.tenant.Requests(patch)-before; len(rounds) == 0 || arrived != n || written != n {
		t.Errorf("%d rounds that were unfinished, %d rows arrived, %d writes; want some, and %d of each", len(rounds), arrived, written, n)
	}
}

func TestDeployedBackfillRefusesWhatItCannotRun(t *testing.T) {
	m2mjobs := newOperator(t)
	for says, arguments := range map[string][]string{
		`stack "e2e" has no schedule that starts sync-custom-data`: {"sync-custom-data", "--from", "1997-02-01", "--to", "1997-02-02"},
		`rate(15 minutes)": it does not say when it began`:         {"logto-webhook", "--from", "1997-02-01", "--to", "1997-02-02"},
		`has no job "dayly-orders": it has daily-orders, `:         {"dayly-orders", "--from", "1997-02-01", "--to", "1997-02-02"},
		`no schedule "other" that starts daily-orders: it has e2e`: {"daily-orders", "--from", "1997-02-01", "--to", "1997-02-02", "--schedule", "other"},
		"more than the 1,000 that an execution takes":              {"daily-orders", "--from", "1990-01-01", "--to", "1993-12-31"},
	} {
		said, code := m2mjobs.run(t, append([]string{"backfill", "--remote"}, arguments...)...)
		if code != 2 || !strings.Contains(said, says) {
			t.Errorf("%s: exit code %d, want 2 and %q:\n%s", arguments, code, says, said)
		}
	}
}
