package customdata_test

import (
	"context"
	"crypto/md5"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/m2mjobs/m2mjobs/internal/customdata"
	"github.com/m2mjobs/m2mjobs/internal/files"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

func etag(text string) string { return fmt.Sprintf("%x", md5.Sum([]byte(text))) }

// withBucket gives the job an S3 with one object, which can be replaced. see gets every request.
func withBucket(t *testing.T, path string, text *string, see ...func(*http.Request)) func(*stage) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, f := range see {
			f(r)
		}
		if r.URL.Path != path {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("ETag", `"`+etag(*text)+`"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(*text))
	}))
	t.Cleanup(server.Close)
	client := s3.New(s3.Options{
		BaseEndpoint: aws.String(server.URL), UsePathStyle: true, Region: "eu-north-1", RetryMaxAttempts: 1,
		HTTPClient: server.Client(),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, nil
		}),
	})
	return func(s *stage) {
		s.config.Files = files.New(func(context.Context) (files.S3, error) { return client, nil })
		s.config.Newer = "orders.asOf"
	}
}

// created is what EventBridge sends for a new object (Amazon S3 User Guide, "EventBridge event message structure").
func created(event, key, etag string) string {
	return fmt.Sprintf(`{"version":"0","id":"%s","detail-type":"Object Created","source":"aws.s3","account":"111122223333",
		"time":"2026-11-24T03:00:00Z","region":"eu-north-1","resources":["arn:aws:s3:::shop"],
		"detail":{"version":"0","bucket":{"name":"shop"},"object":{"key":%q,"size":5,"etag":"%s","sequencer":"00617F08299329D189"},
		"request-id":"N4N7GDK58NMKJ12R","requester":"123456789012","source-ip-address":"1.2.3.4","reason":"PutObject"}}`, event, key, etag)
}

func TestS3EventNamesTheSourceByItself(t *testing.T) {
	const key = "customers/a day+more%20/1997-03-24.ndjson" // EventBridge gives the key as it is
	text := `{"id":"u000","customData":{"orders":{"asOf":"1997-03-24","n":2}}}` + "\n"
	s := newStage(t, withBucket(t, "/shop/"+key, &text))
	s.users(1, nil)
	report := s.sync(created("e1", key, etag(text)))
	checkCounts(t, report, counts(1, 1, 0, 0, 0, 0))
	if r := s.result(report); r.Source != "s3://shop/"+key || r.Version != etag(text) || r.Newer != "orders.asOf" {
		t.Errorf("result %+v", r)
	}
	if again := s.sync(created("e1", key, etag(text))); !again.Duplicate {
		t.Errorf("the same event: outcome %s", again.Outcome)
	}

	// The event tells of one version, and another is there by now: that one counts, also for what is newer.
	old := etag(text)
	text = `{"id":"u000","customData":{"orders":{"asOf":"1997-03-23","n":1}}}` + "\n"
	checkCounts(t, s.sync(created("e2", key, old)), counts(1, 0, 0, 1, 0, 0))
	if !strings.Contains(s.log.String(), "the object was overwritten after the event") {
		t.Errorf("the log does not tell:\n%s", s.log)
	}
}

func TestS3EventThatComesThroughAQueueNamesTheSourceToo(t *testing.T) {
	const key = "customers/1997-03-24.ndjson"
	text := `{"id":"u000","customData":{"orders":{"asOf":"1997-03-24","n":2}}}` + "\n"
	s := newStage(t, withBucket(t, "/shop/"+key, &text))
	s.users(1, nil)
	var report jobs.Report
	s.jobs.Report = func(r jobs.Report) { report = r }
	s.handler = jobs.Handler(customdata.Job(s.config), s.jobs)
	body, err := json.Marshal(created("e1", key, etag(text)))
	if err != nil {
		t.Fatal(err)
	}
	batch := fmt.Sprintf(`{"Records":[{"messageId":"m1","eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:eu-north-1:1:objects","body":%s,"attributes":{}}]}`, body)
	answer, err := s.handler.Invoke(t.Context(), []byte(batch))
	if err != nil || string(answer) != `{"batchItemFailures":[]}` {
		t.Fatalf("%s, %v: %s", answer, err, report.Error)
	}
	checkCounts(t, report, counts(1, 1, 0, 0, 0, 0))
	if r := s.result(report); r.Source != "s3://shop/"+key || r.Version != etag(text) || r.Newer != "orders.asOf" {
		t.Errorf("result %+v", r)
	}
	if tr := report.Trigger; tr.Kind != jobs.Message || tr.ID != "m1" || tr.EventID != "e1" || tr.EventSource != "aws.s3" {
		t.Errorf("trigger %+v", tr)
	}
}

func TestSourceThatIsOverwrittenAsItIsOpenedIsReportedUnderTheVersionThatWasRead(t *testing.T) {
	text := `{"id":"u000","customData":{"n":1}}`
	overwrite := func(r *http.Request) {
		if r.Method == http.MethodGet { // the slot's version was asked for by HEAD
			text = `{"id":"u000","customData":{"n":2}}`
		}
	}
	s := newStage(t, withBucket(t, "/shop/rows.ndjson", &text, overwrite))
	s.users(1, nil)
	report := s.sync(`{"source":"s3://shop/rows.ndjson"}`)
	if r := s.result(report); r.Version != etag(text) {
		t.Errorf("the result says version %s, of %s", r.Version, etag(text))
	}
	checkData(t, s, "u000", object{"n": number(2)})
}

func TestRunByHandIsRunAnewForAnotherVersionOfTheSource(t *testing.T) {
	text := `{"id":"u000","customData":{"n":1}}`
	s := newStage(t, withBucket(t, "/shop/rows.ndjson", &text))
	s.users(1, nil)
	first := s.sync(`{"source":"s3://shop/rows.ndjson"}`)
	text = `{"id":"u000","customData":{"n":2}}`
	second := s.sync(`{"source":"s3://shop/rows.ndjson"}`)
	if first.Slot == second.Slot {
		t.Errorf("both have slot %s", first.Slot)
	}
	checkData(t, s, "u000", object{"n": number(2)})
}
