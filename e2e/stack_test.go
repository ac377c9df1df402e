//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	events "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	sdk "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/shop"
	"github.com/m2mjobs/m2mjobs/internal/shop/cdnow"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

const (
	stackName = "e2e"
	webhook   = "logto-webhook"
	timeZone  = "Europe/Berlin"
	// badDay is a day with an order that cannot be right.
	badDay = "1998-06-30"
	// tokenLifetime is short enough to wait for a warm function's next token.
	tokenLifetime = 10 * time.Second
)

// stack is template.yaml as `sam deploy` deployed it, with a tenant and a shop that its functions reach over HTTP. All
// tests share it: those that make something go wrong put it right again.
type stack struct {
	tenant  *logtotest.Tenant
	apps    map[string]logtotest.App
	users   map[string]string // ids by e-mail address
	orders  []shop.Order
	outputs map[string]string

	lambda    *lambda.Client
	sqs       *sqs.Client
	s3        *s3.Client
	events    *eventbridge.Client
	sfn       *sfn.Client
	scheduler *scheduler.Client
	secrets   *sdk.Client
	close     []func()
}

// deploy starts tenant and shop, deploys the stack, and fills its secrets, as the README tells people to.
func deploy(ctx context.Context, built emulator.Built) (*stack, error) {
	s := &stack{apps: map[string]logtotest.App{}, users: map[string]string{}}
	shopURL, err := s.startSurroundings()
	if err != nil {
		return s, err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 8}
	s.close = append(s.close, transport.CloseIdleConnections)
	config, err := shared.aws.Config(ctx, shared.aws.Root())
	if err != nil {
		return s, err
	}
	config.HTTPClient = &http.Client{Transport: transport}
	s.lambda, s.sqs, s.events = lambda.NewFromConfig(config), sqs.NewFromConfig(config), eventbridge.NewFromConfig(config)
	s.sfn, s.scheduler, s.secrets = sfn.NewFromConfig(config), scheduler.NewFromConfig(config), sdk.NewFromConfig(config)
	s.s3 = s3.NewFromConfig(config, func(o *s3.Options) { o.UsePathStyle = true })
	err = shared.aws.Deploy(ctx, built, stackName, map[string]string{
		"ShopUrl": shopURL, "TimeZone": timeZone, "ScheduleState": "DISABLED", "FunctionTimeout": "30",
		"AwsEndpointUrl": shared.aws.URL,
	})
	if err != nil {
		return s, err
	}
	if s.outputs, err = shared.aws.Outputs(ctx, stackName); err != nil {
		return s, err
	}
	for job, app := range s.apps {
		err = errors.Join(err, s.putSecret(ctx, stackName+"/"+job, map[string]string{
			"endpoint": s.tenant.URL, "appId": app.ID, "appSecret": app.Secret,
		}))
	}
	return s, err
}

// startSurroundings starts the tenant, with the shop's customers as its users, and the shop.
func (s *stack) startSurroundings() (shopURL string, err error) {
	if s.orders, err = cdnow.Orders(); err != nil {
		return "", err
	}
	if s.tenant, err = logtotest.Start(logtotest.Config{TokenLifetime: tokenLifetime}); err != nil {
		return "", err
	}
	s.close = append(s.close, s.tenant.Close)
	for _, o := range s.orders {
		if s.users[o.CustomerEmail] == "" {
			s.users[o.CustomerEmail] = s.tenant.AddUser(logtotest.User{PrimaryEmail: o.CustomerEmail})
		}
	}
	s.tenant.AddResource(shop.Resource, shop.ScopeReadOrders)
	for _, job := range []string{function.DailyOrders, function.SyncCustomData, webhook} {
		s.apps[job] = s.tenant.AddApp(job)
	}
	s.tenant.Grant(s.apps[function.DailyOrders].ID, shop.Resource, shop.ScopeReadOrders)
	s.tenant.Grant(s.apps[function.SyncCustomData].ID, logtotest.ManagementResource, logto.ManagementScope)
	s.tenant.Grant(s.apps[webhook].ID, logtotest.ManagementResource, logto.ManagementScope)
	base := m2m.NewBase()
	s.close = append(s.close, base.CloseIdleConnections)
	verifier, err := m2m.NewVerifier(m2m.VerifierConfig{
		Issuer: s.tenant.Issuer(), Audience: shop.Resource, HTTPClient: &http.Client{Transport: base},
	})
	if err != nil {
		return "", err
	}
	bad := s.orders[len(s.orders)-1]
	bad.ID, bad.PlacedOn, bad.Quantity = "bad", badDay, -1
	server := httptest.NewServer(shop.NewHandler(verifier, append(slices.Clone(s.orders), bad)))
	s.close = append(s.close, server.Close)
	return server.URL, nil
}

// Close stops tenant and shop.
func (s *stack) Close() {
	for i := range s.close {
		s.close[len(s.close)-1-i]()
	}
}

func (s *stack) putSecret(ctx context.Context, id string, value map[string]string) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, err = s.secrets.PutSecretValue(ctx, &sdk.PutSecretValueInput{SecretId: &id, SecretString: aws.String(string(data))})
	return err
}

// name is that of a function, or of a queue: {stack}-{what}.
func (s *stack) name(what string) *string { return aws.String(stackName + "-" + what) }

// invoke invokes a function and waits for its answer. failed is the text of its error.
func (s *stack) invoke(t *testing.T, job string, payload []byte) (answer []byte, failed string) {
	t.Helper()
	out, err := s.lambda.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: s.name(job), Payload: payload})
	if err != nil {
		t.Fatal(err)
	}
	if out.FunctionError == nil {
		return out.Payload, ""
	}
	var failure emulator.Failure
	if err := json.Unmarshal(out.Payload, &failure); err != nil {
		t.Fatalf("%v: %s", err, out.Payload)
	}
	return out.Payload, failure.Message
}

// report is invoke for a run that must succeed.
func (s *stack) report(t *testing.T, job string, payload []byte) jobs.Report {
	t.Helper()
	answer, failed := s.invoke(t, job, payload)
	if failed != "" {
		t.Fatalf("%s: %s", job, failed)
	}
	var r jobs.Report
	if err := json.Unmarshal(answer, &r); err != nil {
		t.Fatalf("%v: %s", err, answer)
	}
	return r
}

// send invokes a function as events do: nobody waits for the answer.
func (s *stack) send(t *testing.T, job string, payload []byte) {
	t.Helper()
	_, err := s.lambda.Invoke(t.Context(), &lambda.InvokeInput{
		FunctionName: s.name(job), Payload: payload, InvocationType: lambdatypes.InvocationTypeEvent,
	})
	if err != nil {
		t.Fatal(err)
	}
}

// customData is what the tenant has of a user under a key.
func (s *stack) customData(email, key string) any { return s.tenant.CustomData(s.users[email])[key] }

// log is a function's whole log.
func (s *stack) log(t *testing.T, job string) string {
	t.Helper()
	text, err := shared.aws.Log(t.Context(), "/aws/lambda/"+*s.name(job))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// reports are the reports in a function's log that fit.
func (s *stack) reports(t *testing.T, job string, fits func(jobs.Report) bool) []jobs.Report {
	t.Helper()
	var found []jobs.Report
	for line := range strings.Lines(s.log(t, job)) {
		if !strings.Contains(line, `"msg":"report"`) {
			continue
		}
		var entry struct{ Report jobs.Report }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if fits(entry.Report) {
			found = append(found, entry.Report)
		}
	}
	return found
}

// queueURL is the address of one of the stack's queues.
func (s *stack) queueURL(t *testing.T, queue string) *string {
	t.Helper()
	out, err := s.sqs.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: s.name(queue)})
	if err != nil {
		t.Fatal(err)
	}
	return out.QueueUrl
}

// take takes the messages that are in a queue out of it.
func (s *stack) take(t *testing.T, queue string) []string {
	t.Helper()
	url := s.queueURL(t, queue)
	var bodies []string
	for {
		out, err := s.sqs.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: 10})
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Messages) == 0 {
			return bodies
		}
		for _, m := range out.Messages {
			bodies = append(bodies, *m.Body)
			if _, err := s.sqs.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: url, ReceiptHandle: m.ReceiptHandle}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// setVisibility sets how long a message of a queue is hidden once it was received.
func (s *stack) setVisibility(t *testing.T, queue, seconds string) {
	t.Helper()
	_, err := s.sqs.SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{
		QueueUrl: s.queueURL(t, queue), Attributes: map[string]string{string(sqstypes.QueueAttributeNameVisibilityTimeout): seconds},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// withTimeout gives a function another timeout until the test ends. Its next invocation starts cold.
func (s *stack) withTimeout(t *testing.T, job string, seconds int32) {
	t.Helper()
	set := func(ctx context.Context, seconds int32) {
		_, err := s.lambda.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: s.name(job), Timeout: &seconds})
		if err == nil {
			err = lambda.NewFunctionUpdatedV2Waiter(s.lambda, func(o *lambda.FunctionUpdatedV2WaiterOptions) { o.MinDelay = 100 * time.Millisecond }).
				Wait(ctx, &lambda.GetFunctionInput{FunctionName: s.name(job)}, 20*time.Second)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	set(t.Context(), seconds)
	t.Cleanup(func() { set(context.Background(), 30) })
}

// put writes an object into the stack's bucket.
func (s *stack) put(t *testing.T, key, text string) {
	t.Helper()
	bucket := s.outputs["BucketName"]
	_, err := s.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(text)})
	if err != nil {
		t.Fatal(err)
	}
}

// publish puts an event on the stack's bus.
func (s *stack) publish(t *testing.T, source, detailType string, detail any) {
	t.Helper()
	data, err := json.Marshal(detail)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.events.PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: []events.PutEventsRequestEntry{{
		EventBusName: aws.String(s.outputs["EventsBusName"]), Source: &source, DetailType: &detailType, Detail: aws.String(string(data)),
	}}})
	if err != nil || out.FailedEntryCount > 0 {
		t.Fatalf("PutEvents: %v, %+v", err, out)
	}
}

// eventually waits until something is there.
func eventually(t *testing.T, limit time.Duration, what string, there func() bool) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !there() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not in %s: %s", limit, what)
		}
	}
}

// showLog shows a function's log if the test fails.
func (s *stack) showLog(t *testing.T, job string) {
	before := len(s.log(t, job))
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		text, err := shared.aws.Log(context.Background(), "/aws/lambda/"+*s.name(job))
		if err != nil {
			t.Error(err)
		}
		t.Logf("log of %s:\n%s", job, text[min(before, len(text)):])
	})
}

// rows are n rows as NDJSON, of n customers, that date their orders. Customers whose totals another test looks at are left
// out.
func (s *stack) rows(t *testing.T, n int, asOf string) (text string, emails []string) {
	t.Helper()
	taken := map[string]bool{}
	for _, o := range s.orders {
		if o.PlacedOn == day {
			taken[o.CustomerEmail] = true
		}
	}
	var lines strings.Builder
	for _, o := range s.orders {
		if len(emails) == n {
			return lines.String(), emails
		}
		if taken[o.CustomerEmail] {
			continue
		}
		taken[o.CustomerEmail] = true
		emails = append(emails, o.CustomerEmail)
		fmt.Fprintf(&lines, `{"primaryEmail":%q,"customData":{"orders":{"asOf":%q}}}`+"\n", o.CustomerEmail, asOf)
	}
	t.Fatalf("%d customers, want %d", len(emails), n)
	return "", nil
}

// dated is how many of the users have orders of that date.
func (s *stack) dated(emails []string, asOf string) int {
	n := 0
	for _, email := range emails {
		if orders, ok := s.customData(email, "orders").(map[string]any); ok && orders["asOf"] == asOf {
			n++
		}
	}
	return n
}
