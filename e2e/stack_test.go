//go:build e2e

package e2e

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
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
	"github.com/m2mjobs/m2mjobs/internal/rotation"
	"github.com/m2mjobs/m2mjobs/internal/shop"
	"github.com/m2mjobs/m2mjobs/internal/shop/cdnow"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
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

// stack is template.yaml as `sam deploy` deployed it, with a tenant and a shop that its functions reach over HTTP, each a process
// of its own. All tests share one: those that make something go wrong put it right again.
type stack struct {
	called  string // the stack's name
	aws     *emulator.AWS
	tenant  *emulator.Tenant
	shop    *emulator.Shop
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
	fired     sync.Once // by fire
	close     []func() error
}

// deploy starts tenant and shop, deploys the stack, and fills its secrets, as the README tells people to.
func deploy(ctx context.Context, in *emulator.AWS, built emulator.Built, called string) (*stack, error) {
	s := &stack{called: called, aws: in, apps: map[string]logtotest.App{}, users: map[string]string{}}
	shopURL, err := s.startSurroundings()
	if err != nil {
		return s, err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 8}
	s.close = append(s.close, func() error { transport.CloseIdleConnections(); return nil })
	config, err := in.Config(ctx, in.Root())
	if err != nil {
		return s, err
	}
	config.HTTPClient = &http.Client{Transport: transport}
	s.lambda, s.sqs, s.events = lambda.NewFromConfig(config), sqs.NewFromConfig(config), eventbridge.NewFromConfig(config)
	s.sfn, s.scheduler, s.secrets = sfn.NewFromConfig(config), scheduler.NewFromConfig(config), sdk.NewFromConfig(config)
	s.s3 = s3.NewFromConfig(config, func(o *s3.Options) { o.UsePathStyle = true })
	err = in.Deploy(ctx, built, called, map[string]string{
		"ShopUrl": shopURL, "TimeZone": timeZone, "ScheduleState": "DISABLED", "FunctionTimeout": "30", "AwsEndpointUrl": in.URL,
	})
	if err != nil {
		return s, err
	}
	if s.outputs, err = in.Outputs(ctx, called); err != nil {
		return s, err
	}
	for _, job := range []string{function.DailyOrders, function.SyncCustomData, webhook, rotation.Name} {
		err = errors.Join(err, s.putApp(ctx, called+"/"+job, s.apps[job]))
	}
	return s, err
}

// startSurroundings starts the tenant, with the shop's customers as its users, and the shop.
func (s *stack) startSurroundings() (shopURL string, err error) {
	if s.orders, err = cdnow.Orders(); err != nil {
		return "", err
	}
	settings := emulator.TenantSettings{TokenLifetime: tokenLifetime, Resources: map[string][]string{shop.Resource: {shop.ScopeReadOrders, shop.ScopeReadProducts}}}
	for _, o := range s.orders {
		if s.users[o.CustomerEmail] == "" {
			id := fmt.Sprintf("user%08d", len(s.users))
			s.users[o.CustomerEmail] = id
			settings.Users = append(settings.Users, logtotest.User{ID: id, PrimaryEmail: o.CustomerEmail})
		}
	}
	management := map[string][]string{logtotest.ManagementResource: {logto.ManagementScope}}
	for job, grants := range map[string]map[string][]string{
		function.DailyOrders: {shop.Resource: {shop.ScopeReadOrders}}, function.SyncCustomData: management, webhook: management,
		ownJob:        {shop.Resource: {shop.ScopeReadProducts}},
		rotation.Name: management,
	} {
		s.apps[job] = logtotest.App{ID: strings.ToLower(rand.Text()[:21]), Secret: "logtotestSecret" + rand.Text()[:17]}
		settings.Apps = append(settings.Apps, emulator.TenantApp{Name: job, App: s.apps[job], Grants: grants})
	}
	if s.tenant, err = emulator.StartTenant(shared.surroundings, settings); err != nil {
		return "", err
	}
	s.close = append(s.close, s.tenant.Close)
	s.shop, err = emulator.StartShop(shared.surroundings, emulator.ShopSettings{Issuer: s.tenant.Issuer(), BadDay: badDay})
	if err != nil {
		return "", err
	}
	s.close = append(s.close, s.shop.Close)
	return s.shop.URL, nil
}

// Close stops tenant and shop.
func (s *stack) Close() error {
	var err error
	for i := range s.close {
		err = errors.Join(err, s.close[len(s.close)-1-i]())
	}
	return err
}

// putApp fills a function's secret.
func (s *stack) putApp(ctx context.Context, id string, app logtotest.App) error {
	return s.putSecret(ctx, id, map[string]string{"endpoint": s.tenant.URL, "appId": app.ID, "appSecret": app.Secret})
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
func (s *stack) name(what string) *string { return aws.String(s.called + "-" + what) }

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
	if err := s.sendPayload(t.Context(), job, payload); err != nil {
		t.Fatal(err)
	}
}

func (s *stack) sendPayload(ctx context.Context, job string, payload []byte) error {
	_, err := s.lambda.Invoke(ctx, &lambda.InvokeInput{
		FunctionName: s.name(job), Payload: payload, InvocationType: lambdatypes.InvocationTypeEvent,
	})
	return err
}

// customData is what the tenant has of a user under a key.
func (s *stack) customData(email, key string) any { return s.tenant.CustomData(s.users[email])[key] }

// log is a function's whole log.
func (s *stack) log(t *testing.T, job string) string {
	t.Helper()
	text, err := s.aws.Log(t.Context(), "/aws/lambda/"+*s.name(job))
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
	if err := s.putEvent(t.Context(), source, detailType, detail); err != nil {
		t.Fatal(err)
	}
}

func (s *stack) putEvent(ctx context.Context, source, detailType string, detail any) error {
	data, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	out, err := s.events.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []events.PutEventsRequestEntry{{
		EventBusName: aws.String(s.outputs["EventsBusName"]), Source: &source, DetailType: &detailType, Detail: aws.String(string(data)),
	}}})
	if err == nil && out.FailedEntryCount > 0 {
		err = fmt.Errorf("PutEvents: %+v", out.Entries)
	}
	return err
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
		text, err := s.aws.Log(context.Background(), "/aws/lambda/"+*s.name(job))
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
