//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// wrongSecret gives a function a secret that the tenant refuses, until the test ends or it is mended.
func (s *stack) wrongSecret(t *testing.T, job string) (mend func()) {
	t.Helper()
	id := stackName + "/" + job
	right, err := s.secrets.GetSecretValue(t.Context(), &sdk.GetSecretValueInput{SecretId: &id})
	if err != nil {
		t.Fatal(err)
	}
	set := func(value *string) {
		if _, err := s.secrets.PutSecretValue(t.Context(), &sdk.PutSecretValueInput{SecretId: &id, SecretString: value}); err != nil {
			t.Fatal(err)
		}
		// What a warm process has it does not ask for.
		if _, err := shared.aws.KillFunction(*s.name(job)); err != nil {
			t.Fatal(err)
		}
	}
	var app map[string]string
	if err := json.Unmarshal([]byte(*right.SecretString), &app); err != nil {
		t.Fatal(err)
	}
	app["appSecret"] = "logtotestSecretThatIsWrong"
	wrong, err := json.Marshal(app)
	if err != nil {
		t.Fatal(err)
	}
	set(aws.String(string(wrong)))
	return func() { set(right.SecretString) }
}

// lying is how many messages can be had from a queue.
func (s *stack) lying(t *testing.T, queue string) string {
	t.Helper()
	out, err := s.sqs.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: s.queueURL(t, queue), AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameAll},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.Attributes["ApproximateNumberOfMessages"] + " and hidden " + out.Attributes["ApproximateNumberOfMessagesNotVisible"]
}

const (
	none = "0 and hidden 0"
	one  = "1 and hidden 0"
)

func TestDeployedRedriveRunsWhatFailedOnceItsCauseIsMended(t *testing.T) {
	s, m2mjobs := shared.stack, newOperator(t)
	s.showLog(t, function.DailyOrders)
	before := s.syncs(t)
	m2mjobs.must(t, []string{"runs", "redrive"}, "Nothing lies in the queues of what failed.")
	mend := s.wrongSecret(t, function.DailyOrders)
	input := s.slot(t, function.DailyOrders, "1997-02-21T02:15:00Z")
	s.send(t, function.DailyOrders, input)
	eventually(t, 60*time.Second, "the slot in the queue of what failed", func() bool { return s.lying(t, "daily-orders-failed") == one })

	// What lies there and why; looking leaves it.
	for range 2 {
		m2mjobs.must(t, []string{"runs", "redrive", function.DailyOrders, "--dry-run"},
			"e2e-daily-orders-failed  20", "slot e2e-daily-orders 1997-02-21T02:15:00Z (", "the app secret is wrong", "1 in all.")
	}
	if lies := s.lying(t, "daily-orders-failed"); lies != one {
		t.Errorf("after a look in the queue: %s", lies)
	}
	// Paused, it stays there.
	m2mjobs.must(t, []string{"pause", function.DailyOrders})
	if said, code := m2mjobs.run(t, "runs", "redrive"); code != 1 || !strings.Contains(said, "m2mjobs resume daily-orders --stack e2e") {
		t.Errorf("paused: exit code %d\n%s", code, said)
	}
	if lies := s.lying(t, "daily-orders-failed"); lies != one {
		t.Errorf("while the job was paused, in the queue: %s", lies)
	}
	m2mjobs.must(t, []string{"resume", function.DailyOrders})

	mend()
	m2mjobs.must(t, []string{"runs", "redrive"}, "sent again: e2e-daily-orders-failed  20", "1 sent again.")
	eventually(t, 30*time.Second, "the day's customers", func() bool { return s.versions(t, "customers/1997-02-20.ndjson") == 1 })
	s.synced(t, before, 1)
	if r := s.report(t, function.DailyOrders, input); r.Outcome != jobs.OutcomeDuplicate || r.Attempt < 4 {
		t.Errorf("the slot's run: %s, attempt %d; want it done by the run that had failed three times", r.Outcome, r.Attempt)
	}
	if lies := s.lying(t, "daily-orders-failed"); lies != none {
		t.Errorf("after it was sent again, in the queue: %s", lies)
	}
	m2mjobs.must(t, []string{"runs", "redrive", function.DailyOrders}, "Nothing lies in the queues of what failed.")
}

func TestDeployedRedriveSendsDeadLettersBackToTheirQueue(t *testing.T) {
	s, m2mjobs := shared.stack, newOperator(t)
	s.showLog(t, function.SyncCustomData)
	s.setVisibility(t, "rows", "1")
	mend := s.wrongSecret(t, function.SyncCustomData)
	email := s.orders[30].CustomerEmail
	_, err := s.sqs.SendMessage(t.Context(), &sqs.SendMessageInput{
		QueueUrl: s.queueURL(t, "rows"), MessageBody: aws.String(fmt.Sprintf(`{"rows":[{"primaryEmail":%q,"customData":{"redriven":true}}]}`, email)),
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, "the message among the dead letters", func() bool { return s.lying(t, "rows-dead") == one })
	said, code := m2mjobs.run(t, "runs", "redrive", function.SyncCustomData, "--dry-run")
	if code != 0 || !strings.Contains(said, "e2e-rows-dead  20") || strings.Contains(said, email) {
		t.Errorf("exit code %d; want the queue and not the row:\n%s", code, said)
	}
	mend()
	m2mjobs.must(t, []string{"runs", "redrive", function.SyncCustomData}, "1 sent again.")
	eventually(t, 30*time.Second, "the row at the tenant", func() bool { return s.customData(email, "redriven") == true })
	if lies := s.lying(t, "rows-dead"); lies != none {
		t.Errorf("after it was sent again, in the queue: %s", lies)
	}
}

func TestDeployedRedriveDeliversWhatNeverReachedTheFunction(t *testing.T) {
	s, m2mjobs := shared.stack, newOperator(t)
	s.showLog(t, function.SyncCustomData)
	email := s.orders[40].CustomerEmail
	resources, err := shared.aws.Resources(t.Context(), stackName)
	if err != nil {
		t.Fatal(err)
	}
	rule := ""
	for _, r := range resources {
		if r.LogicalID == "SyncCustomDataFunctionOrderPlaced" {
			rule = "arn:aws:events:us-east-1:000000000000:rule/" + stackName + "/" + r.ID[strings.LastIndexAny("|"+r.ID, "|/"):]
		}
	}
	put := func(queue, body, rule string) {
		t.Helper()
		attributes := map[string]sqstypes.MessageAttributeValue{}
		for name, value := range map[string]string{"ERROR_CODE": "NO_PERMISSIONS", "RULE_ARN": rule} {
			if value != "" {
				attributes[name] = sqstypes.MessageAttributeValue{DataType: aws.String("String"), StringValue: &value}
			}
		}
		_, err := s.sqs.SendMessage(t.Context(), &sqs.SendMessageInput{
			QueueUrl: s.queueURL(t, queue), MessageBody: &body,
			MessageAttributes: attributes,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	// As EventBridge leaves it: the event as it was on the bus, which the function does not understand before the rule has
	// changed it.
	put("sync-custom-data-failed", fmt.Sprintf(`{"version":"0","id":"d2a0c3b6-0000-4000-8000-00000000d1ed","detail-type":"OrderPlaced","source":"shop","account":"000000000000",
		"time":"2026-11-24T12:00:00Z","region":"us-east-1","resources":[],
		"detail":{"customerEmail":%q,"order":{"id":"redriven","placedAt":"2026-11-24T12:00:00Z"}}}`, email), rule)
	put("sync-custom-data-failed", "not JSON", rule)
	// And as Scheduler does: what the function would have been given.
	before := s.syncs(t)
	put("daily-orders-failed", string(s.slot(t, function.DailyOrders, "1997-02-23T02:15:00Z")), "")

	said, code := m2mjobs.run(t, "runs", "redrive")
	for _, part := range []string{"sent again: e2e-sync-custom-data-failed", "event OrderPlaced d2a0c3b6-0000-4000-8000-00000000d1ed", ": NO_PERMISSIONS\n", "slot e2e-daily-orders 1997-02-23T02:15:00Z",
		"stays in e2e-sync-custom-data-failed: it is not JSON"} {
		if code != 1 || !strings.Contains(said, part) || strings.Contains(said, email) {
			t.Errorf("exit code %d; want 1, %q, and not the customer:\n%s", code, part, said)
		}
	}
	eventually(t, 30*time.Second, "the order at the tenant", func() bool {
		order, ok := s.customData(email, "lastOrder").(map[string]any)
		return ok && order["id"] == "redriven"
	})
	eventually(t, 30*time.Second, "the day's customers", func() bool { return s.versions(t, "customers/1997-02-22.ndjson") == 1 })
	s.synced(t, before, 1)
	if left := s.take(t, "sync-custom-data-failed"); len(left) != 1 || left[0] != "not JSON" {
		t.Errorf("left in the queue: %q", left)
	}
}
