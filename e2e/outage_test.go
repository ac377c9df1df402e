//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

const (
	outageTest = "TestDeployedNothingIsLostWhileTheTenantIsDownForAMinute"
	outageRows = 400
	outageAsOf = "2001-01-03"
	outageDay  = "1997-04-05"  // its slot is that of the next day
	outageFile = "outage-file" // the id of its event
)

// outage is a stack in an AWS of its own, whose tenant is down for a minute. That minute passes beside the other tests.
type outage struct {
	stack  *stack
	rows   []string // e-mail addresses of the file's rows
	before int      // of them were written when the tenant went down
	aws    *emulator.AWS
	stop   context.CancelFunc
	done   chan struct{}
	err    error // once done
}

// startOutage begins it, unless the tests that were asked for don't need it.
func startOutage(built emulator.Built) *outage {
	ctx, stop := context.WithCancel(context.Background())
	o := &outage{stop: stop, done: make(chan struct{})}
	if !selected(outageTest) {
		o.err = errors.New("no outage was made for these tests")
		close(o.done)
		return o
	}
	go func() {
		defer close(o.done)
		o.err = o.run(ctx, built)
	}()
	return o
}

func (o *outage) Close() error {
	o.stop()
	<-o.done
	var err error
	if o.stack != nil {
		err = o.stack.Close()
	}
	if o.aws != nil {
		err = errors.Join(err, o.aws.Close())
	}
	return err
}

// run deploys the stack, takes the tenant away in the middle of a file, has more work come in, and brings the tenant back
// after a minute.
func (o *outage) run(ctx context.Context, built emulator.Built) (err error) {
	// The emulator waits about as long as Lambda does before it invokes again: a minute, then two. By the first time the tenant has
	// just come back.
	if o.aws, err = emulator.StartAWS("LAMBDA_ASYNC_RETRY_BASE_SECONDS=70", "LAMBDA_ASYNC_RETRY_MAX_SECONDS=300"); err != nil {
		return err
	}
	if o.stack, err = deploy(ctx, o.aws, built, "outage"); err != nil {
		return err
	}
	s := o.stack
	if err := o.writeFile(ctx); err != nil {
		return err
	}
	if err := s.tenant.Kill(); err != nil {
		return err
	}
	back := time.NewTimer(time.Minute)
	defer back.Stop()
	if err := o.sendWork(ctx); err != nil {
		return err
	}
	select {
	case <-back.C:
		return s.tenant.Restart()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// writeFile puts a file into the bucket and waits until half of it is written.
func (o *outage) writeFile(ctx context.Context) error {
	s := o.stack
	s.tenant.Inject(logtotest.Fault{Route: patch, Times: -1, Latency: 80 * time.Millisecond})
	lines := strings.Builder{}
	lines.WriteString("primaryEmail,orders:json\n")
	seen := map[string]bool{}
	for _, order := range s.orders {
		if email := order.CustomerEmail; !seen[email] && len(o.rows) < outageRows && order.PlacedOn < "1997-02-01" {
			seen[email] = true
			o.rows = append(o.rows, email)
			fmt.Fprintf(&lines, "%s,\"{\"\"asOf\"\":\"\"%s\"\"}\"\n", email, outageAsOf)
		}
	}
	bucket, key := s.outputs["BucketName"], "customers/outage.csv"
	_, err := s.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(lines.String())})
	if err != nil {
		return err
	}
	// As the rule would send it: the emulator invokes again what is sent to a function, and not what its rules send.
	err = s.sendPayload(ctx, function.SyncCustomData, fmt.Appendf(nil, `{"id":%q,"detail-type":"Object Created","source":"aws.s3",`+
		`"time":"2026-11-24T12:00:00Z","detail":{"bucket":{"name":%q},"object":{"key":%q}}}`, outageFile, bucket, key))
	if err != nil {
		return err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	for {
		select {
		case <-tick.C:
			if o.before = s.tenant.Requests(patch); o.before > outageRows/2 {
				return nil
			}
		case <-limit.C:
			return fmt.Errorf("%d of %d rows after 30 s", o.before, outageRows)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// sendWork has an event, a message and a slot of the schedule come in.
func (o *outage) sendWork(ctx context.Context) error {
	s := o.stack
	queue, err := s.sqs.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: s.name("rows")})
	if err != nil {
		return err
	}
	// Three minutes as the template has it, which would only be a longer wait.
	_, err = s.sqs.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: queue.QueueUrl, Attributes: map[string]string{
		string(sqstypes.QueueAttributeNameVisibilityTimeout): "25",
	}})
	if err != nil {
		return err
	}
	_, err = s.sqs.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: queue.QueueUrl, MessageBody: aws.String(
		fmt.Sprintf(`{"rows":[{"primaryEmail":%q,"customData":{"queued":true}}]}`, s.orders[0].CustomerEmail))})
	if err != nil {
		return err
	}
	err = s.sendPayload(ctx, function.SyncCustomData, fmt.Appendf(nil, `{"id":"outage-event","detail-type":"OrderPlaced","source":"shop",`+
		`"time":"2026-11-24T12:00:00Z","detail":{"rows":[{"primaryEmail":%q,"customData":{"lastOrder":{"id":"outage"}}}]}}`, s.orders[1].CustomerEmail))
	if err != nil {
		return err
	}
	return s.sendPayload(ctx, function.DailyOrders, []byte(`{"m2mjobs":{"schedule":"arn:aws:scheduler:us-east-1:000000000000:schedule/default/`+
		`outage-daily-orders","time":"1997-04-06T02:15:00Z","attempt":"1","params":{}}}`))
}

func TestDeployedNothingIsLostWhileTheTenantIsDownForAMinute(t *testing.T) {
	t.Parallel()
	o := shared.outage
	<-o.done
	if o.err != nil {
		t.Fatal(o.err)
	}
	s := o.stack
	s.showLog(t, function.DailyOrders)
	s.showLog(t, function.SyncCustomData)

	customers := map[string]bool{}
	for _, order := range s.orders {
		if order.PlacedOn == outageDay {
			customers[order.CustomerEmail] = true
		}
	}
	if len(customers) == 0 {
		t.Fatalf("nobody ordered on %s", outageDay)
	}
	eventually(t, 2*time.Minute, "the event, the message, the day and the file at the tenant", func() bool {
		if placed, ok := s.customData(s.orders[1].CustomerEmail, "lastOrder").(map[string]any); !ok || placed["id"] != "outage" {
			return false
		}
		for email := range customers {
			if s.dated([]string{email}, outageDay) == 0 {
				return false
			}
		}
		return s.customData(s.orders[0].CustomerEmail, "queued") == true && s.dated(o.rows, outageAsOf) == outageRows
	})

	// Each met the closed door first, said so, and was done by a later attempt.
	for what, of := range map[string]struct {
		job  string
		fits func(jobs.Report) bool
	}{
		"the event":   {function.SyncCustomData, func(r jobs.Report) bool { return r.Trigger.Source == "shop" }},
		"the message": {function.SyncCustomData, func(r jobs.Report) bool { return r.Trigger.Kind == jobs.Message }},
		"the file":    {function.SyncCustomData, func(r jobs.Report) bool { return r.Trigger.ID == outageFile }},
		"the day":     {function.DailyOrders, func(jobs.Report) bool { return true }},
	} {
		var attempts []jobs.Report
		eventually(t, 20*time.Second, "the report of the attempt that did "+what, func() bool {
			attempts = s.reports(t, of.job, of.fits)
			return len(attempts) > 0 && attempts[len(attempts)-1].Outcome == jobs.OutcomeDone
		})
		if first := attempts[0]; len(attempts) < 2 || first.Outcome != jobs.OutcomeFailed || !strings.Contains(first.Error, "connection refused") {
			t.Errorf("%s: %d attempts, the first %s: %s; want one that was refused before the one that succeeded", what, len(attempts), first.Outcome, first.Error)
		}
	}
	// The file's run went on from its checkpoint, the last hundred rows.
	if written := s.tenant.Requests(patch); written > outageRows-o.before+100+len(customers)+2 {
		t.Errorf("%d writes after the outage, for a file of %d rows that were written up to %d", written, outageRows, o.before)
	}
	s.nothingFailed(t)
	s.nothingWaits(t)
}

// nothingWaits fails the test if a message is still in the queue of rows.
func (s *stack) nothingWaits(t *testing.T) {
	t.Helper()
	url := s.queueURL(t, "rows")
	waiting, hidden := string(sqstypes.QueueAttributeNameApproximateNumberOfMessages), string(sqstypes.QueueAttributeNameApproximateNumberOfMessagesNotVisible)
	eventually(t, 10*time.Second, "an empty queue of rows", func() bool {
		out, err := s.sqs.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
			QueueUrl: url, AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeName(waiting), sqstypes.QueueAttributeName(hidden)},
		})
		if err != nil {
			t.Fatal(err)
		}
		return out.Attributes[waiting] == "0" && out.Attributes[hidden] == "0"
	})
}
