//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/rotation"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// slot is what a schedule sends at a time: its Input as it was deployed, with what Scheduler fills in.
func (s *stack) slot(t *testing.T, name, at string) []byte {
	t.Helper()
	schedule := s.schedule(t, name)
	return edited(t, []byte(*schedule.Target.Input), map[string]string{
		"<aws.scheduler.schedule-arn>":   *schedule.Arn,
		"<aws.scheduler.scheduled-time>": at,
		"<aws.scheduler.attempt-number>": "1",
	})
}

func (s *stack) schedule(t *testing.T, name string) *scheduler.GetScheduleOutput {
	t.Helper()
	schedule, err := s.scheduler.GetSchedule(t.Context(), &scheduler.GetScheduleInput{Name: s.name(name)})
	if err != nil {
		t.Fatal(err)
	}
	return schedule
}

// chainSlot is the slot that the schedule of the chain's test fires for.
const chainSlot = "1997-03-25T02:15:00Z"

// fire has EventBridge Scheduler start daily-orders by two schedules that fire once: for a slot, and with the Input as it was
// deployed, in which the emulator does not put anything. Both at the same time, as its clock ticks every ten seconds.
func (s *stack) fire(t *testing.T) {
	t.Helper()
	s.fired.Do(func() {
		target := *s.schedule(t, function.DailyOrders).Target
		soon := time.Now().UTC().Add(time.Second).Format("2006-01-02T15:04:05")
		for name, input := range map[string]*string{
			"chain": aws.String(string(s.slot(t, function.DailyOrders, chainSlot))), "literal": target.Input,
		} {
			target.Input = input
			_, err := s.scheduler.CreateSchedule(t.Context(), &scheduler.CreateScheduleInput{
				Name: s.name(name), ScheduleExpression: aws.String("at(" + soon + ")"), Target: &target,
				FlexibleTimeWindow:    &types.FlexibleTimeWindow{Mode: types.FlexibleTimeWindowModeOff},
				ActionAfterCompletion: types.ActionAfterCompletionDelete,
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

// versions is how often a key was written.
func (s *stack) versions(t *testing.T, key string) int {
	t.Helper()
	out, err := s.s3.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String(s.outputs["BucketName"]), Prefix: &key})
	if err != nil {
		t.Fatal(err)
	}
	return len(out.Versions)
}

// nothingFailed fails the test if something lies in a queue of what failed.
func (s *stack) nothingFailed(t *testing.T) {
	t.Helper()
	for _, queue := range []string{"daily-orders-failed", "sync-custom-data-failed", "logto-webhook-failed", "rotate-secret-failed", "rows-dead"} {
		if messages := s.take(t, queue); len(messages) > 0 {
			t.Errorf("in %s: %s", queue, messages)
		}
	}
}

func TestDeployedChainGoesFromTheScheduleToTheTenant(t *testing.T) {
	s := shared.stack
	s.showLog(t, function.DailyOrders)
	s.showLog(t, function.SyncCustomData)
	s.fire(t)
	w := &world{orders: s.orders}
	want := plain(t, w.totals())
	eventually(t, 30*time.Second, "the totals of all customers at the tenant", func() bool {
		got := map[string]any{}
		for email := range want.(map[string]any) {
			got[email] = s.customData(email, "orders")
		}
		return cmp.Equal(want, plain(t, got))
	})
	for _, key := range []string{"stats/1997-03-24.json", "customers/1997-03-24.ndjson"} {
		if n := s.versions(t, key); n != 1 {
			t.Errorf("%s was written %d times, want once", key, n)
		}
	}
	slot := "e2e/daily-orders/e2e-daily-orders/" + chainSlot
	done := s.reports(t, function.DailyOrders, func(r jobs.Report) bool { return r.Slot == slot })
	if len(done) != 1 || done[0].Outcome != jobs.OutcomeDone || done[0].Counts["orders"] != 60 {
		t.Errorf("reports of %s in the log: %+v", slot, done)
	}
	s.nothingFailed(t)
}

func TestDeployedSlotThatIsDeliveredTwiceRunsOnce(t *testing.T) {
	s := shared.stack
	input := s.slot(t, function.DailyOrders, "1997-03-26T02:15:00Z")
	first := s.report(t, function.DailyOrders, input)
	// Whoever is asked the second time has no memory of the first.
	s.withTimeout(t, function.DailyOrders, 29)
	second := s.report(t, function.DailyOrders, input)
	if first.Outcome != jobs.OutcomeDone || second.Outcome != jobs.OutcomeDuplicate || second.RunID != first.RunID {
		t.Errorf("first %s of run %s, then %s of run %s; want done, then its duplicate", first.Outcome, first.RunID, second.Outcome, second.RunID)
	}
	if n := s.versions(t, "customers/1997-03-25.ndjson"); n != 1 {
		t.Errorf("the customers' rows were written %d times, want once", n)
	}
}

func TestDeployedLiteralTextOfTheSchedulerIsNamedInTheError(t *testing.T) {
	s := shared.stack
	// On AWS it would be the fault of whoever wrote the Input.
	s.fire(t)
	schedule := s.schedule(t, function.DailyOrders)
	const says = `schedule is the literal text "<aws.scheduler.schedule-arn>"`
	literal := func(r jobs.Report) bool { return r.Outcome == jobs.OutcomeFailed && strings.Contains(r.Error, says) }
	eventually(t, 30*time.Second, "the error of the slot that fired", func() bool { return len(s.reports(t, function.DailyOrders, literal)) > 0 })

	// What the emulator's Scheduler invokes it does not try again, as Lambda does on AWS; what is sent to Lambda it does.
	s.send(t, function.DailyOrders, []byte(*schedule.Target.Input))
	var failed []string
	eventually(t, 30*time.Second, "the slot in the queue of what failed", func() bool {
		failed = append(failed, s.take(t, "daily-orders-failed")...)
		return len(failed) > 0
	})
	var message struct {
		RequestPayload  json.RawMessage
		ResponsePayload emulator.Failure
	}
	if err := json.Unmarshal([]byte(failed[0]), &message); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(message.ResponsePayload.Message, says) || !jsonEqual(message.RequestPayload, *schedule.Target.Input) {
		t.Errorf("the message has not what was sent with the reason:\n%s", failed[0])
	}
	if tried := len(s.reports(t, function.DailyOrders, literal)); tried != 4 {
		t.Errorf("it was tried %d times, want once by the schedule and three times by Lambda", tried)
	}
}

func TestDeployedEventOnTheBusBecomesThatCustomersData(t *testing.T) {
	s := shared.stack
	s.showLog(t, function.SyncCustomData)
	email := s.orders[10].CustomerEmail
	placed := func(id, at string) {
		s.publish(t, "shop", "OrderPlaced", map[string]any{
			"customerEmail": email, "order": map[string]any{"id": id, "placedAt": at, "totalCents": 1999},
		})
	}
	placed("second", "2026-11-24T12:00:00Z")
	want := map[string]any{"id": "second", "placedAt": "2026-11-24T12:00:00Z", "totalCents": json.Number("1999")}
	eventually(t, 20*time.Second, "the order at the tenant", func() bool { return cmp.Equal(s.customData(email, "lastOrder"), any(want)) })

	placed("first", "2026-11-24T11:00:00Z")
	eventually(t, 20*time.Second, "the report of the event that came late", func() bool {
		return len(s.reports(t, function.SyncCustomData, func(r jobs.Report) bool { return r.Trigger.Source == "shop" && r.Counts["stale"] == 1 })) == 1
	})
	if got := s.customData(email, "lastOrder"); !cmp.Equal(got, any(want)) {
		t.Errorf("the older order replaced the newer one: %v", got)
	}
	s.nothingFailed(t)
}

func TestDeployedQueueKeepsBackOnlyTheBadMessages(t *testing.T) {
	s := shared.stack
	s.showLog(t, function.SyncCustomData)
	s.setVisibility(t, "rows", "1")
	bad := map[int]string{3: `not JSON`, 7: `{"row": []}`}
	var entries []sqstypes.SendMessageBatchRequestEntry
	var emails []string
	for i := range 10 {
		body := bad[i]
		if body == "" {
			emails = append(emails, s.orders[100+i].CustomerEmail)
			body = fmt.Sprintf(`{"rows":[{"primaryEmail":%q,"customData":{"batch":"ten"}}]}`, s.orders[100+i].CustomerEmail)
		}
		entries = append(entries, sqstypes.SendMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), MessageBody: &body})
	}
	sent, err := s.sqs.SendMessageBatch(t.Context(), &sqs.SendMessageBatchInput{QueueUrl: s.queueURL(t, "rows"), Entries: entries})
	if err != nil || len(sent.Failed) > 0 {
		t.Fatalf("SendMessageBatch: %v, %+v", err, sent)
	}
	var dead []string
	eventually(t, 60*time.Second, "two dead letters", func() bool {
		dead = append(dead, s.take(t, "rows-dead")...)
		return len(dead) >= 2
	})
	slices.Sort(dead)
	if want := []string{bad[3], bad[7]}; !slices.Equal(dead, want) {
		t.Errorf("dead letters %q, want %q", dead, want)
	}
	for _, email := range emails {
		if got := s.customData(email, "batch"); got != "ten" {
			t.Errorf("%s has %v", email, got)
		}
	}
	ids := map[string]string{}
	for _, r := range sent.Successful {
		ids[*r.Id] = *r.MessageId
	}
	for i, reason := range map[string]string{"3": "body", "7": `"row"`} {
		failed := s.reports(t, function.SyncCustomData, func(r jobs.Report) bool { return r.Trigger.ID == ids[i] })
		if len(failed) != 5 {
			t.Errorf("message %s was tried %d times, want 5", i, len(failed))
		}
		for _, r := range failed {
			if r.Outcome != jobs.OutcomeFailed || !strings.Contains(r.Error, reason) {
				t.Errorf("message %s: %s, %q; want the reason, with %s", i, r.Outcome, r.Error, reason)
			}
		}
	}
}

func TestDeployedFunctionIsInvokedByHand(t *testing.T) {
	printed, err := shared.aws.SAM(t.Context(), "remote", "invoke", "DailyOrdersFunction", "--stack-name", stackName,
		"--region", "us-east-1", "--event", `{"date":"1997-04-02"}`)
	if err != nil {
		t.Fatal(err)
	}
	var r jobs.Report
	if err := json.Unmarshal([]byte(printed), &r); err != nil {
		t.Fatalf("%v: %s", err, printed)
	}
	if r.Outcome != jobs.OutcomeDone || r.Counts["orders"] == 0 {
		t.Errorf("report %+v", r)
	}
	if n := shared.stack.versions(t, "customers/1997-04-02.ndjson"); n != 1 {
		t.Errorf("the customers' rows were written %d times, want once", n)
	}
}

const patch = "PATCH /api/users/{id}/custom-data"

// slowly makes the tenant's writes take a while, until the test ends.
func (s *stack) slowly(t *testing.T, latency time.Duration) {
	s.tenant.Inject(logtotest.Fault{Route: patch, Times: -1, Latency: latency})
	t.Cleanup(s.tenant.ClearFaults)
}

func TestDeployedRunThatIsTooLongIsContinuedByTheStateMachine(t *testing.T) {
	s := shared.stack
	s.showLog(t, function.SyncCustomData)
	s.withTimeout(t, function.SyncCustomData, 5)
	s.slowly(t, 160*time.Millisecond)
	const n, asOf = 500, "2001-01-01"
	before := s.tenant.Requests(patch)
	text, emails := s.rows(t, n, asOf)
	s.put(t, "customers/continued.ndjson", text)

	var done []jobs.Report
	eventually(t, 60*time.Second, "the run's end", func() bool {
		done = s.reports(t, function.SyncCustomData, func(r jobs.Report) bool { return r.Outcome == jobs.OutcomeDone && r.Counts["changed"] == n })
		return len(done) == 1
	})
	if done[0].Attempt < 2 {
		t.Errorf("it took %d attempts: nothing was continued", done[0].Attempt)
	}
	if written := s.tenant.Requests(patch) - before; written != n {
		t.Errorf("%d writes, want one for each of %d rows", written, n)
	}
	if arrived := s.dated(emails, asOf); arrived != n {
		t.Errorf("%d rows arrived at the tenant, want %d", arrived, n)
	}
	machine := s.outputs["ContinueStateMachineArn"]
	execution := strings.Replace(machine, ":stateMachine:", ":execution:", 1) + ":" + done[0].RunID
	eventually(t, 20*time.Second, "the end of execution "+execution, func() bool {
		out, err := s.sfn.DescribeExecution(t.Context(), &sfn.DescribeExecutionInput{ExecutionArn: &execution})
		if err != nil {
			t.Fatal(err)
		}
		if out.Status != sfntypes.ExecutionStatusSucceeded && out.Status != sfntypes.ExecutionStatusRunning {
			t.Fatalf("%s: %s %s", out.Status, aws.ToString(out.Error), aws.ToString(out.Cause))
		}
		return out.Status == sfntypes.ExecutionStatusSucceeded
	})
	s.nothingFailed(t)
}

func TestDeployedRunThatIsKilledIsTakenUpAgainFromItsCheckpoint(t *testing.T) {
	s := shared.stack
	s.showLog(t, function.SyncCustomData)
	s.withTimeout(t, function.SyncCustomData, 10)
	s.slowly(t, 20*time.Millisecond)
	const n, asOf = 400, "2001-01-02"
	before := s.tenant.Requests(patch)
	text, emails := s.rows(t, n, asOf)
	// Not .ndjson, so that the rule leaves it to this test to deliver the event.
	s.put(t, "customers/killed.jsonl", text)
	event := s.created(t, "customers/killed.jsonl", "3f1c9a34-0000-4000-8000-00000000dead")
	s.send(t, function.SyncCustomData, event)
	eventually(t, 20*time.Second, "half of the writes", func() bool { return s.tenant.Requests(patch)-before > n/2 })
	if killed, err := shared.aws.KillFunction(*s.name(function.SyncCustomData)); err != nil || killed == 0 {
		t.Fatalf("killed %d processes: %v", killed, err)
	}
	// Whoever comes before the killed attempt's lease has ended gives way. On AWS, Lambda's own retry has the same request id
	// and need not wait; the emulator gives it a new one.
	var report jobs.Report
	eventually(t, 30*time.Second, "the run's end", func() bool {
		report = s.report(t, function.SyncCustomData, event)
		return report.Outcome != jobs.OutcomeInProgress
	})
	if report.Outcome == jobs.OutcomeFailed || report.Counts["changed"]+report.Counts["unchanged"] != n || report.Attempt < 2 {
		t.Errorf("report %+v", report)
	}
	// What the killed attempt wrote since its checkpoint is found unchanged: about 100 rows, and those that were written while the
	// next checkpoint was on its way.
	if written := s.tenant.Requests(patch) - before; written > n+8 {
		t.Errorf("%d writes of %d rows: it began anew", written, n)
	}
	if again := report.Counts["unchanged"]; again >= n/2 {
		t.Errorf("%d rows were looked at again, want those since the last checkpoint", again)
	}
	if arrived := s.dated(emails, asOf); arrived != n {
		t.Errorf("%d rows arrived at the tenant, want %d", arrived, n)
	}
	s.nothingFailed(t)
}

func TestDeployedPlanIsAppliedAndTakenBack(t *testing.T) {
	s := shared.stack
	s.showLog(t, function.SyncCustomData)
	email := s.orders[70].CustomerEmail
	s.put(t, "customers/planned.jsonl", fmt.Sprintf(`{"primaryEmail":%q,"customData":{"planned":true}}`+"\n", email))
	planned := s.plan(t, "customers/planned.jsonl")
	if got := s.customData(email, "planned"); got != nil {
		t.Errorf("planned, and written: %v", got)
	}
	applied := s.report(t, function.SyncCustomData, fmt.Appendf(nil, `{"action":"apply","plan":%q}`, planned))
	if got := s.customData(email, "planned"); got != true {
		t.Errorf("applied: %v, %+v", got, applied)
	}
	s.report(t, function.SyncCustomData, fmt.Appendf(nil, `{"action":"undo","run":%q}`, applied.RunID))
	if got := s.customData(email, "planned"); got != nil {
		t.Errorf("taken back: %v", got)
	}
}

// plan makes a plan of a file of the stack's bucket, and returns where it is.
func (s *stack) plan(t *testing.T, key string) string {
	t.Helper()
	r := s.report(t, function.SyncCustomData, fmt.Appendf(nil, `{"action":"plan","source":"s3://%s/%s"}`, s.outputs["BucketName"], key))
	return "s3://" + s.outputs["BucketName"] + "/plans/" + r.RunID + ".plan"
}

// created is the event of S3 for an object of the stack's bucket.
func (s *stack) created(t *testing.T, key, id string) []byte {
	w := &world{bucket: s.outputs["BucketName"], s3: s.s3}
	return w.created(t, key, id)
}

func TestDeployedFunctionTakesAChangedSecretWhileItIsWarm(t *testing.T) {
	s := shared.stack
	s.showLog(t, function.SyncCustomData)
	app := s.apps[function.SyncCustomData]
	row := func(i int) []byte {
		return fmt.Appendf(nil, `{"rows":[{"primaryEmail":%q,"customData":{"round":%d}}]}`, s.orders[0].CustomerEmail, i)
	}
	s.report(t, function.SyncCustomData, row(0))
	if r := s.report(t, function.SyncCustomData, row(1)); r.SecretReads != 0 {
		t.Fatalf("the second invocation read the secret %d times: it is not warm", r.SecretReads)
	}
	secret := s.tenant.AddSecret(app.ID, logtotest.Secret{Name: "next"})
	if err := s.putApp(t.Context(), stackName+"/sync-custom-data", logtotest.App{ID: app.ID, Secret: secret.Value}); err != nil {
		t.Fatal(err)
	}
	s.tenant.DeleteSecret(app.ID, "Default secret")
	s.apps[function.SyncCustomData] = logtotest.App{ID: app.ID, Secret: secret.Value}

	tokens, i := s.tenant.Requests("POST /oidc/token"), 1
	eventually(t, 3*tokenLifetime, "the first token with the new secret", func() bool {
		i++
		r := s.report(t, function.SyncCustomData, row(i))
		return r.SecretReads > 0
	})
	if n := s.tenant.Requests("POST /oidc/token") - tokens; n < 2 {
		t.Errorf("%d token requests, want one that was refused and one with the new secret", n)
	}
	if got := s.customData(s.orders[0].CustomerEmail, "round"); fmt.Sprint(got) != fmt.Sprint(i) {
		t.Errorf("round %v at the tenant, want %d", got, i)
	}
}

func TestDeployedEventOutlastsATenantThatIsDown(t *testing.T) {
	s := shared.stack
	s.showLog(t, function.SyncCustomData)
	email := s.orders[20].CustomerEmail
	s.tenant.Inject(logtotest.Fault{Times: -1, Reset: true})
	t.Cleanup(s.tenant.ClearFaults)
	s.send(t, function.SyncCustomData, fmt.Appendf(nil, `{"id":"d2a0c3b6-0000-4000-8000-00000000d011","detail-type":"OrderPlaced",
		"source":"shop.down","time":"2026-11-24T12:00:00Z","detail":{"rows":[{"primaryEmail":%q,"customData":{"outlasted":true}}]}}`, email))
	of := func(r jobs.Report) bool { return r.Trigger.Source == "shop.down" }
	eventually(t, 60*time.Second, "an attempt that failed", func() bool { return len(s.reports(t, function.SyncCustomData, of)) > 0 })
	s.tenant.ClearFaults()
	eventually(t, 30*time.Second, "the row at the tenant", func() bool { return s.customData(email, "outlasted") == true })
	eventually(t, 10*time.Second, "the report of the attempt that succeeded", func() bool {
		attempts := s.reports(t, function.SyncCustomData, of)
		last := attempts[len(attempts)-1]
		return last.Outcome == jobs.OutcomeDone && last.Attempt == len(attempts) && len(attempts) > 1
	})
	s.nothingFailed(t)
}

func TestDeployedFunctionsLogNoSecretAndNoToken(t *testing.T) {
	for _, job := range []string{function.DailyOrders, function.SyncCustomData, webhook, rotation.Name} {
		log := []byte(shared.stack.log(t, job))
		for _, never := range []string{"logtotestSecret", "eyJ"} {
			if bytes.Contains(log, []byte(never)) {
				t.Errorf("the log of %s has %s… in it", job, never)
			}
		}
	}
}

func TestDeployedFunctionsHaveTheSettingsOfTheTemplate(t *testing.T) {
	for _, job := range []string{function.DailyOrders, function.SyncCustomData, webhook, rotation.Name} {
		out, err := shared.stack.lambda.GetFunctionEventInvokeConfig(t.Context(), &lambda.GetFunctionEventInvokeConfigInput{
			FunctionName: shared.stack.name(job), Qualifier: aws.String("$LATEST"),
		})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(*out.DestinationConfig.OnFailure.Destination, ":"+*shared.stack.name(job + "-failed")) || *out.MaximumRetryAttempts != 2 {
			t.Errorf("%s: %+v", job, out)
		}
	}
}
