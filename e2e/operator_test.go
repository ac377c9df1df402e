//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// runOf waits for a run of a file that the command lists.
func (o operator) runOf(t *testing.T, job, file string) jobs.Record {
	t.Helper()
	var found jobs.Record
	eventually(t, 20*time.Second, "the run of "+file, func() bool {
		said, code := o.run(t, "runs", job, "--json")
		if code != 0 {
			t.Fatalf("exit code %d\n%s", code, said)
		}
		for line := range strings.Lines(said) {
			var r jobs.Record
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			if strings.Contains(string(r.Trigger), file) {
				found = r
				return true
			}
		}
		return false
	})
	return found
}

func TestDeployedRunIsListedShownAndCancelled(t *testing.T) {
	s, m2mjobs := shared.stack, newOperator(t)
	s.showLog(t, function.SyncCustomData)
	s.slowly(t, 40*time.Millisecond)
	const n, asOf = 600, "2001-02-01"
	before := s.tenant.Requests(patch)
	text, _ := s.rows(t, n, asOf)
	// Not .ndjson, so that the rule leaves it to this test to deliver the event.
	s.put(t, "customers/cancelled.jsonl", text)
	event := s.created(t, "customers/cancelled.jsonl", "3f1c9a34-0000-4000-8000-00000000ca11")
	s.send(t, function.SyncCustomData, event)
	eventually(t, 20*time.Second, "the first writes", func() bool { return s.tenant.Requests(patch) > before })

	run := m2mjobs.runOf(t, function.SyncCustomData, "cancelled.jsonl")
	m2mjobs.must(t, []string{"runs", function.SyncCustomData}, " running ", run.RunID)
	m2mjobs.must(t, []string{"runs", "show", run.RunID}, "Run "+run.RunID, "running", run.Slot, "lease until")
	m2mjobs.must(t, []string{"runs", "cancel", run.RunID}, "stops at its next checkpoint")
	eventually(t, 20*time.Second, "the run's end", func() bool {
		said, _ := m2mjobs.run(t, "runs", "show", run.RunID, "--json")
		return strings.Contains(said, `"state":"cancelled"`)
	})
	if written := s.tenant.Requests(patch) - before; written == 0 || written >= n {
		t.Errorf("%d writes of %d rows, want some", written, n)
	}
	m2mjobs.must(t, []string{"runs"}, " cancelled ", run.RunID)
	// For good: who delivers the event again does not begin it anew.
	written := s.tenant.Requests(patch)
	if r := s.report(t, function.SyncCustomData, event); r.Outcome != jobs.OutcomeCancelled || s.tenant.Requests(patch) != written {
		t.Errorf("the event again: %s", r.Outcome)
	}
	if said, code := m2mjobs.run(t, "runs", "show", "nobody"); code != 2 || !strings.Contains(said, `no run "nobody" in stack e2e`) {
		t.Errorf("a run that is not there: exit code %d\n%s", code, said)
	}
	s.nothingFailed(t)
}

// mapping is the state of what takes a queue's messages to a function.
func (s *stack) mapping(t *testing.T, job string) string {
	t.Helper()
	out, err := s.lambda.ListEventSourceMappings(t.Context(), &lambda.ListEventSourceMappingsInput{FunctionName: s.name(job)})
	if err != nil || len(out.EventSourceMappings) != 1 {
		t.Fatalf("%d mappings of %s: %v", len(out.EventSourceMappings), job, err)
	}
	return aws.ToString(out.EventSourceMappings[0].State)
}

func TestDeployedPauseSwitchesOffWhatStartsTheJobAndResumeThatAgain(t *testing.T) {
	s, m2mjobs := shared.stack, newOperator(t)
	s.showLog(t, function.DailyOrders)
	// That of the stack was deployed switched off, and has to stay so. This one would fire in a distant year.
	deployed := s.schedule(t, function.DailyOrders)
	_, err := s.scheduler.CreateSchedule(t.Context(), &scheduler.CreateScheduleInput{
		Name: s.name("distant"), ScheduleExpression: aws.String("at(2099-01-01T00:00:00)"), Target: deployed.Target, State: types.ScheduleStateEnabled,
		FlexibleTimeWindow: &types.FlexibleTimeWindow{Mode: types.FlexibleTimeWindowModeOff},
	})
	if err != nil {
		t.Fatal(err)
	}
	states := func() string {
		return fmt.Sprint(s.schedule(t, function.DailyOrders).State, " ", s.schedule(t, "distant").State)
	}
	input := s.slot(t, function.DailyOrders, "1997-02-25T02:15:00Z")

	for range 2 { // twice does no harm
		m2mjobs.must(t, []string{"pause", function.DailyOrders}, "daily-orders is paused in stack e2e")
	}
	if got := states(); got != "DISABLED DISABLED" {
		t.Errorf("paused, the schedules are %s", got)
	}
	if r := s.report(t, function.DailyOrders, input); r.Outcome != jobs.OutcomePaused {
		t.Errorf("a slot of the paused job: %s", r.Outcome)
	}
	m2mjobs.must(t, []string{"runs"}, "daily-orders is paused. To go on: m2mjobs resume daily-orders")
	m2mjobs.must(t, []string{"resume", function.DailyOrders}, "switched on: schedule e2e-distant")
	if got := states(); got != "DISABLED ENABLED" {
		t.Errorf("resumed, the schedules are %s", got)
	}
	before := s.syncs(t)
	if r := s.report(t, function.DailyOrders, input); r.Outcome != jobs.OutcomeDone {
		t.Errorf("the slot of the resumed job: %s", r.Outcome)
	}
	s.synced(t, before, 1)

	// A queue's messages wait in it.
	email := s.orders[60].CustomerEmail
	m2mjobs.must(t, []string{"pause", function.SyncCustomData}, "switched off: queue e2e-rows")
	if state := s.mapping(t, function.SyncCustomData); state != "Disabled" && state != "Disabling" {
		t.Errorf("paused, the queue is %s", state)
	}
	_, err = s.sqs.SendMessage(t.Context(), &sqs.SendMessageInput{
		QueueUrl: s.queueURL(t, "rows"), MessageBody: aws.String(fmt.Sprintf(`{"rows":[{"primaryEmail":%q,"customData":{"waited":true}}]}`, email)),
	})
	if err != nil {
		t.Fatal(err)
	}
	m2mjobs.must(t, []string{"resume", function.SyncCustomData}, "switched on: queue e2e-rows")
	eventually(t, 90*time.Second, "the message that waited", func() bool { return s.customData(email, "waited") == true })
	s.nothingFailed(t)
}
