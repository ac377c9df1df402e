package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

const (
	// warmRuns is how many warm invocations are compared.
	warmRuns = 400
	// logtoTakes is how long a real Logto took for a request: 190 were answered in a second, one after the other.
	logtoTakes = 5 * time.Millisecond
)

// warm measures a warm invocation of sync-custom-data by a queue's message with one row that changes nothing, beside a function
// that makes the same calls by hand.
func (l *lab) warm(ctx context.Context) (results []result, err error) {
	batch := []byte(message(fmt.Sprintf(`{"rows":[{"primaryEmail":%q,"customData":{"plan":"free"}}]}`, l.orders[0].CustomerEmail)))
	// As they are on Lambda, with a table that they don't need for a message.
	ours, err := l.startAs(function.SyncCustomData, l.bootstraps[function.SyncCustomData], map[string]string{"STATE_TABLE": table, "AWS_ENDPOINT_URL": l.counter.server.URL})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ours.Close()) }()
	theirs, err := l.startAs(function.SyncCustomData, l.byHand, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, theirs.Close()) }()
	for _, f := range []*emulator.Function{ours, theirs} { // cold
		if _, err := l.took(ctx, f, batch); err != nil {
			return nil, err
		}
	}

	tokens, requests := l.world.Tenant.Requests(tokenRoute), l.world.Tenant.Requests("")
	l.counter.take()
	if _, err := l.took(ctx, ours, batch); err != nil {
		return nil, err
	}
	asked := l.counter.take()
	const one = "sync-custom-data, warm, a message with one row, unchanged: "
	results = append(results,
		exactly(one+"token requests", 0, int64(l.world.Tenant.Requests(tokenRoute)-tokens)),
		exactly(one+"requests to AWS, for the secret or anything else", 0, int64(len(asked))),
		exactly(one+"requests to Logto", 1, int64(l.world.Tenant.Requests("")-requests)))

	l.world.Tenant.Inject(logtotest.Fault{Times: -1, Latency: logtoTakes})
	defer l.world.Tenant.ClearFaults()
	var a, b, more []float64
	for range warmRuns {
		x, err := l.took(ctx, ours, batch)
		if err != nil {
			return results, err
		}
		y, err := l.took(ctx, theirs, batch)
		if err != nil {
			return results, err
		}
		a, b, more = append(a, x), append(b, y), append(more, x-y)
	}
	return append(results,
		atMost(fmt.Sprintf("the same (%.2f ms) beside the same calls made by hand (%.2f ms), where Logto takes %v", median(a)/1e6, median(b)/1e6, logtoTakes),
			"%.3fx", 1.05, median(a)/median(b)),
		atMost("the same, more than by hand", "%.0f µs", 200, median(more)/1e3)), nil
}

// took is how long a warm function takes for a batch of which no message fails, in nanoseconds.
func (l *lab) took(ctx context.Context, f *emulator.Function, batch []byte) (float64, error) {
	began := time.Now()
	answer, err := f.Invoke(ctx, batch)
	took := time.Since(began)
	if err != nil {
		return 0, err
	}
	var failed struct{ BatchItemFailures []any }
	if err := json.Unmarshal(answer, &failed); err != nil || len(failed.BatchItemFailures) > 0 {
		return 0, fmt.Errorf("the batch was answered with %s: %v\n%s", answer, err, f.Log())
	}
	return float64(took), nil
}

// message is a queue's batch of one message.
func message(body string) string {
	quoted, err := json.Marshal(body)
	if err != nil {
		panic(err) // a string can be marshaled
	}
	return `{"Records":[{"messageId":"059f36b4-87a3-44ab-83d2-661975830a7d","receiptHandle":"r","body":` + string(quoted) + `,"attributes":{},` +
		`"messageAttributes":{},"md5OfBody":"","eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:us-east-1:000000000000:rows","awsRegion":"us-east-1"}]}`
}
