package jobs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"go.uber.org/goleak"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

func TestMain(m *testing.M) {
	if served := os.Getenv(serveJob); served != "" {
		serve(served)
		return
	}
	goleak.VerifyTestMain(m)
}

// echoParams are the params of most jobs here.
type echoParams struct {
	Date   string `json:"date,omitempty"`
	DryRun bool   `json:"dryRun,omitempty"`
}

// echo is a job that does f.
func echo(f func(ctx context.Context, run *jobs.Run[echoParams]) error) jobs.Job[echoParams] {
	return jobs.Job[echoParams]{Name: "echo", Run: f}
}

// well is a run that does nothing.
func well(context.Context, *jobs.Run[echoParams]) error { return nil }

var errBroken = errors.New("the shop is closed")

// request is the context of an invocation with that Lambda request id.
func request(ctx context.Context, id string) context.Context {
	return lambdacontext.NewContext(ctx, &lambdacontext.LambdaContext{AwsRequestID: id})
}

// invoke returns a single run's report with the invocation's error.
func invoke(t *testing.T, ctx context.Context, h lambda.Handler, payload string) (jobs.Report, error) {
	t.Helper()
	data, err := h.Invoke(ctx, []byte(payload))
	var report jobs.Report
	if wrong := json.Unmarshal(data, &report); wrong != nil {
		t.Fatalf("the answer %q is no report: %v (the invocation's error: %v)", data, wrong, err)
	}
	return report, err
}

// mustInvoke is invoke for what must end well.
func mustInvoke(t *testing.T, ctx context.Context, h lambda.Handler, payload string) jobs.Report {
	t.Helper()
	report, err := invoke(t, ctx, h, payload)
	if err != nil {
		t.Fatalf("invoking with %s: %v", payload, err)
	}
	return report
}

// pass lets time pass in a synctest bubble.
func pass(d time.Duration) { <-time.After(d) }

// logBuffer collects a handler's log.
type logBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// lines returns all lines, each of which must be a JSON object.
func (l *logBuffer) lines(t *testing.T) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(l.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		all = append(all, fields)
	}
	return all
}

// with returns the lines with that msg.
func (l *logBuffer) with(t *testing.T, msg string) []map[string]any {
	t.Helper()
	var found []map[string]any
	for _, line := range l.lines(t) {
		if line["msg"] == msg {
			found = append(found, line)
		}
	}
	return found
}

// metrics returns the lines in the embedded metric format.
func (l *logBuffer) metrics(t *testing.T) []map[string]any {
	t.Helper()
	var found []map[string]any
	for _, line := range l.lines(t) {
		if _, ok := line["_aws"]; ok {
			found = append(found, line)
		}
	}
	return found
}

// contains fails the test unless text has all of the parts.
func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q lacks %q", text, part)
		}
	}
}
