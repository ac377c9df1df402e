package faults_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	db "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/m2mjobs/m2mjobs/internal/faults"
	"github.com/m2mjobs/m2mjobs/internal/files"
	"github.com/m2mjobs/m2mjobs/internal/stack"
	"github.com/m2mjobs/m2mjobs/internal/webhook"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/jobs/dynamodb"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// objects is as much of S3 as files are read and written with.
type objects struct {
	mu   sync.Mutex
	data map[string][]byte
}

func (o *objects) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPut {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.data[r.URL.Path] = body
			w.Header().Set("ETag", `"0123456789abcdef"`)
		}
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	w.Header().Set("ETag", `"0123456789abcdef"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(o.data[r.URL.Path]))
}

func (o *objects) get(path string) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.data[path]
}

// s3Error answers as S3 does ("Error responses" in its API reference).
func s3Error(w http.ResponseWriter, f faults.Fault) {
	status, code := http.StatusServiceUnavailable, "SlowDown"
	switch f {
	case faults.Status500:
		status, code = http.StatusInternalServerError, "InternalError"
	case faults.Status429:
		status, code = http.StatusTooManyRequests, "TooManyRequests"
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>the service says no</Message></Error>`, code)
}

func newFiles(t *testing.T) (*objects, *files.Files, *faults.Proxy, *counted) {
	stored := &objects{data: map[string][]byte{}}
	proxy, sent := front(t, stored, s3Error)
	return stored, files.New(func(context.Context) (files.S3, error) { return s3.NewFromConfig(awsConfig(proxy, sent)), nil }), proxy, sent
}

func s3Reading() place {
	return place{
		name: "S3, reading",
		waits: "`files.Open`: chunks of 8 MiB, each by a request of its own; a connection that breaks is followed by " +
			"another from the byte where it broke, while some bytes come.",
		try: func(t *testing.T, f faults.Fault) cell {
			stored, file, proxy, sent := newFiles(t)
			whole := bytes.Repeat([]byte("{\"id\":\"u\"}\n"), 1000)
			stored.data["/rows.ndjson"] = whole
			const where = "s3://m2mjobs-files/rows.ndjson"
			breaks(t, proxy, f, nil)
			read := func(ctx context.Context, version string, from int) (data []byte, err error) {
				r, err := file.Open(ctx, where, version, int64(from))
				if err != nil {
					return nil, err
				}
				defer r.Close()
				return io.ReadAll(r)
			}
			got, err := read(patience(t, f, time.Minute), "", 0)
			attempts := sent.n.Load()
			if (err == nil) != (f == faults.Slow) || !bytes.HasPrefix(whole, got) {
				t.Errorf("%d bytes of %d, and not its beginning, or %v", len(got), len(whole), err)
			}
			mend(t, proxy)
			rest, errAgain := read(t.Context(), "0123456789abcdef", len(got))
			if errAgain != nil || !bytes.Equal(append(got, rest...), whole) {
				t.Errorf("the rest: %d bytes after %d, %v", len(rest), len(got), errAgain)
			}
			c := cell{
				seen(t, err, attempts),
				"the offset of the last checkpoint",
				"the next attempt reads the same version on from there",
			}
			if f == faults.Slow {
				c.kept, c.goesOn = "all", "it is read"
			}
			return c
		},
	}
}

func s3Writing() place {
	return place{
		name: "S3, writing",
		waits: "`files.Put` of statistics, rejected rows, plans and what undo needs: a file appears whole or not at all, " +
			"and a run fails if it does not.",
		try: func(t *testing.T, f faults.Fault) cell {
			stored, file, proxy, sent := newFiles(t)
			data := bytes.Repeat([]byte("{\"line\":1}\n"), 1000)
			put := func(ctx context.Context) error {
				_, err := file.Put(ctx, "s3://m2mjobs-files", "rejected/1.ndjson", data)
				return err
			}
			breaks(t, proxy, f, nil)
			err := put(patience(t, f, time.Minute))
			attempts := sent.n.Load()
			there := stored.get("/rejected/1.ndjson")
			if len(there) > 0 && !bytes.Equal(there, data) {
				t.Errorf("%d bytes of %d are there", len(there), len(data))
			}
			if err == nil && there == nil {
				t.Error("the file counts as written and is not there")
			}
			if (err == nil) != (f == faults.Slow) || (there != nil) != (f == faults.Slow || tookEffect(f)) {
				t.Errorf("error %v, %d bytes there", err, len(there))
			}
			mend(t, proxy)
			if err := put(t.Context()); err != nil || !bytes.Equal(stored.get("/rejected/1.ndjson"), data) {
				t.Errorf("again: %v", err)
			}
			if err == nil {
				return cell{seen(t, err, attempts), "the whole file", "it is written"}
			}
			kept := "no file, and no part of one"
			if there != nil {
				kept = "the whole file, and nobody knows"
			}
			return cell{seen(t, err, attempts), kept, "the next attempt writes it under the same name"}
		},
	}
}

// tableOf is a table whose conditions all hold.
func tableOf(t *testing.T) (*dynamodb.Store, *faults.Proxy, *counted) {
	proxy, sent := front(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		io.WriteString(w, "{}")
	}), awsJSON("com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"))
	return dynamodb.New("m2mjobs-runs", func(context.Context) (dynamodb.Client, error) {
		return db.NewFromConfig(awsConfig(proxy, sent)), nil
	}), proxy, sent
}

type nothing struct{}

func claims() place {
	return place{
		name:  "DynamoDB, a run's claim",
		waits: "A run takes its slot by one transaction before anything else, and waits until the invocation's deadline.",
		try: func(t *testing.T, f faults.Fault) cell {
			store, proxy, sent := tableOf(t)
			runs := 0
			var log bytes.Buffer
			handler := jobs.Handler(jobs.Job[nothing]{Name: "count", Run: func(context.Context, *jobs.Run[nothing]) error {
				runs++
				return nil
			}}, jobs.Config{Store: store, Log: &log, Margin: time.Second})
			breaks(t, proxy, f, nil)
			report, err := invoke(patience(t, f, time.Minute), t, handler, &log, "{}")
			attempts := sent.n.Load()
			if f == faults.Slow {
				if runs != 1 || err != nil {
					t.Errorf("%d runs, %v", runs, err)
				}
				return cell{outcome(t, report, err, 0), "all", "it is done"}
			}
			if runs != 0 || err == nil {
				t.Errorf("%d runs without a slot, %v", runs, err)
			}
			mend(t, proxy)
			if _, err := invoke(t.Context(), t, handler, &log, "{}"); err != nil || runs != 1 {
				t.Errorf("again: %d runs, %v", runs, err)
			}
			return cell{
				outcome(t, report, err, attempts),
				"nothing was begun: without its slot a run does nothing",
				"Lambda's retry, or the next invocation, runs it",
			}
		},
	}
}

func checkpoints() place {
	return place{
		name: "DynamoDB, a checkpoint",
		waits: "A run saves where it is, each second or 100 writes. One that cannot save stops, because its lease may be " +
			"another's by now.",
		try: func(t *testing.T, f faults.Fault) cell {
			store, proxy, sent := tableOf(t)
			var log bytes.Buffer
			var saved error
			var attempts int64
			broken := f
			handler := jobs.Handler(jobs.Job[nothing]{Name: "save", Run: func(ctx context.Context, run *jobs.Run[nothing]) error {
				if broken != "" {
					breaks(t, proxy, broken, nil)
				}
				sent.n.Store(0)
				saved = run.Checkpoint(ctx, map[string]int{"offset": 1})
				attempts = sent.n.Load()
				mend(t, proxy)
				return saved
			}}, jobs.Config{Store: store, Log: &log, Margin: time.Second})
			_, err := invoke(patience(t, f, time.Minute), t, handler, &log, "{}")
			first, took := saved, attempts
			if (err == nil) != (f == faults.Slow) || err != nil && saved == nil {
				t.Errorf("error %v, of the checkpoint %v", err, saved)
			}
			if f == faults.Slow {
				return cell{seen(t, first, 0), "all", "it goes on"}
			}
			broken = ""
			if _, err := invoke(t.Context(), t, handler, &log, "{}"); err != nil {
				t.Errorf("again: %v", err)
			}
			return cell{
				seen(t, first, took),
				"the checkpoint before: what came after it is done again",
				"the run fails, and its next attempt saves",
			}
		},
	}
}

// delivered is logto-webhook at the webhook of a tenant.
type delivered struct {
	receiver *webhook.Receiver
	tenant   *logtotest.Tenant
	log      bytes.Buffer

	mu            sync.Mutex
	onBus, status int
}

func (d *delivered) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onBus++
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	io.WriteString(w, `{"FailedEntryCount":0,"Entries":[{"EventId":"11710aed-b79e-4468-a20b-bb3c0c3b4860"}]}`)
}

// answered is what Logto was told, and how many events are on the bus.
func (d *delivered) answered() (status, onBus int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.status, d.onBus
}

// newDelivered has Logto deliver to the receiver, which answers within the time given.
func newDelivered(t *testing.T, f faults.Fault) (*delivered, *faults.Proxy, *counted) {
	d := &delivered{tenant: logtotest.New(t)}
	proxy, sent := front(t, d, awsJSON("ThrottlingException"))
	functionURL := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		request := events.LambdaFunctionURLRequest{Version: "2.0", RawPath: "/", Body: string(body), Headers: map[string]string{
			"logto-signature-sha-256": r.Header.Get("logto-signature-sha-256"),
		}}
		request.RequestContext.HTTP.Method = r.Method
		status := d.receiver.Deliver(patience(t, f, time.Minute), request).StatusCode
		d.mu.Lock()
		d.status = status
		d.mu.Unlock()
		w.WriteHeader(status)
	}))
	t.Cleanup(functionURL.Close)
	hook := d.tenant.AddHook(functionURL.URL, "User.Created")
	d.receiver = webhook.NewReceiver(webhook.Config{
		Secret: func(context.Context) (webhook.Secret, error) {
			return webhook.Secret{SigningKey: hook.SigningKey, HookID: hook.ID}, nil
		},
		Bus: func(context.Context) (webhook.EventBridge, error) {
			return eventbridge.NewFromConfig(awsConfig(proxy, sent)), nil
		},
		BusName: "m2mjobs", Log: &d.log,
	})
	return d, proxy, sent
}

// reason is why the last delivery failed, as the log has it.
func (d *delivered) reason(t *testing.T) error {
	t.Helper()
	plain(t, d.log.String())
	for _, text := range strings.Split(d.log.String(), "\n") {
		var line struct{ Reason string }
		if json.Unmarshal([]byte(text), &line) == nil && line.Reason != "" {
			return errors.New(line.Reason)
		}
	}
	return nil
}

func eventBridge() place {
	return place{
		name: "EventBridge",
		waits: "`logto-webhook` puts a delivery on the bus, and answers Logto, which waits 10 seconds, within 5. (The jobs " +
			"themselves wait for no bus.)",
		try: func(t *testing.T, f faults.Fault) cell {
			d, proxy, sent := newDelivered(t, f)
			breaks(t, proxy, f, nil)
			d.tenant.AddUser(logtotest.User{Username: "ann"})
			d.tenant.FlushHooks()
			attempts := sent.n.Load()
			status, before := d.answered()
			if f == faults.Slow {
				if status != http.StatusOK || before != 1 {
					t.Errorf("status %d, %d on the bus", status, before)
				}
				return cell{"Logto gets 200" + times(attempts), "all", "it is on the bus"}
			}
			if status != http.StatusServiceUnavailable || (before != 0) != tookEffect(f) {
				t.Errorf("status %d, %d on the bus", status, before)
			}
			kept := "the delivery, in Logto's recent logs of the webhook"
			if tookEffect(f) {
				kept += "; it is on the bus as well, but nobody knows"
			}
			mend(t, proxy)
			store := jobs.NewMemoryStore(time.Now)
			repair := jobs.Handler(d.receiver.Repair(webhook.RepairConfig{
				Endpoint: func(context.Context) (string, error) { return d.tenant.URL, nil },
				Client:   d.tenant.ManagementClient(), Store: store,
			}), jobs.Config{Store: store, Log: &d.log})
			sees := "Logto gets 503, the log `" + strings.TrimPrefix(seen(t, d.reason(t), attempts), "`")
			report, err := invoke(t.Context(), t, repair, &d.log, "{}")
			if _, after := d.answered(); err != nil || report.Counts["repaired"] != 1 || after != before+1 {
				t.Errorf("the repair: %v, %d on the bus, %v", report.Counts, after, err)
			}
			return cell{sees, kept, "the repair, by its schedule, puts it on the bus"}
		},
	}
}

// letters is as much of CloudFormation, Lambda and SQS as a redrive uses: a stack with one dead letter.
type letters struct {
	mu      sync.Mutex
	lies    bool
	invoked int
}

const stackResources = `<ListStackResourcesResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/">
<ListStackResourcesResult><StackResourceSummaries>
<member><ResourceType>AWS::Lambda::Function</ResourceType><PhysicalResourceId>m2mjobs-daily-orders</PhysicalResourceId>
<ResourceStatus>CREATE_COMPLETE</ResourceStatus></member>
<member><ResourceType>AWS::SQS::Queue</ResourceType>
<PhysicalResourceId>https://sqs.eu-central-1.amazonaws.com/123456789012/m2mjobs-daily-orders-failed</PhysicalResourceId>
<ResourceStatus>CREATE_COMPLETE</ResourceStatus></member>
</StackResourceSummaries></ListStackResourcesResult></ListStackResourcesResponse>`

func isSQS(r *http.Request) bool {
	return strings.HasPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS.")
}

func (l *letters) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	switch target := r.Header.Get("X-Amz-Target"); {
	case strings.Contains(string(body), "ListStackResources"):
		fmt.Fprint(w, stackResources)
	case strings.Contains(r.URL.Path, "event-source-mappings"):
		fmt.Fprint(w, `{"EventSourceMappings":[]}`)
	case strings.HasSuffix(r.URL.Path, "/invocations"):
		l.invoked++
		w.WriteHeader(http.StatusAccepted)
	case target == "AmazonSQS.ReceiveMessage":
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		if !l.lies {
			fmt.Fprint(w, `{}`)
			return
		}
		letter := `{"requestContext":{"condition":"RetriesExhausted"},"requestPayload":{"date":"2026-11-23"},` +
			`"responsePayload":{"errorMessage":"the shop was away"}}`
		fmt.Fprintf(w, `{"Messages":[{"MessageId":"1","ReceiptHandle":"r","Body":%q,"Attributes":{"SentTimestamp":"1795000000000"}}]}`, letter)
	case target == "AmazonSQS.DeleteMessage":
		l.lies = false
		fallthrough
	default:
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		fmt.Fprint(w, `{}`)
	}
}

func deadLetters() place {
	return place{
		name:  "SQS",
		waits: "`m2mjobs runs redrive`, at a terminal. (On Lambda, AWS itself reads the queue.)",
		try: func(t *testing.T, f faults.Fault) cell {
			l := &letters{lies: true}
			proxy, sent := front(t, l, awsJSON("com.amazonaws.sqs#RequestThrottled"))
			s := openStack(t, proxy, sent)
			queues, err := s.DeadLetterQueues(t.Context(), "daily-orders")
			if err != nil || len(queues) != 1 {
				t.Fatalf("queues %v, %v", queues, err)
			}
			breaks(t, proxy, f, isSQS)
			sent.n.Store(0)
			redrive := func(ctx context.Context) error {
				var letter error
				err := s.Redrive(ctx, queues[0], func(_ stack.DeadLetter, wrong error) { letter = errors.Join(letter, wrong) })
				return errors.Join(err, letter)
			}
			err = redrive(patience(t, f, time.Minute))
			attempts := sent.n.Load()
			if f == faults.Slow {
				if err != nil || l.lies || l.invoked != 1 {
					t.Errorf("lies there %v, sent %d times, %v", l.lies, l.invoked, err)
				}
				return cell{seen(t, err, 0), "all", "what lay there is sent"}
			}
			if err == nil || !l.lies || l.invoked != 0 {
				t.Errorf("lies there %v, sent %d times, %v", l.lies, l.invoked, err)
			}
			mend(t, proxy)
			if err := redrive(t.Context()); err != nil || l.lies || l.invoked != 1 {
				t.Errorf("again: lies there %v, sent %d times, %v", l.lies, l.invoked, err)
			}
			return cell{seen(t, err, attempts), "the message stays in its queue", "the same command sends it, once"}
		},
	}
}

// openStack opens the stack that the proxy's upstream has.
func openStack(t *testing.T, p *faults.Proxy, c *counted) *stack.Stack {
	t.Helper()
	s, err := stack.OpenWith(t.Context(), "m2mjobs", awsConfig(p, c))
	if err != nil {
		t.Fatal(err)
	}
	return s
}
