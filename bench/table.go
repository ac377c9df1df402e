package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// counter is a way to AWS on which what is asked is counted.
type counter struct {
	server    *httptest.Server
	transport *http.Transport
	mu        sync.Mutex
	seen      []string // operations, or methods
}

func startCounter(endpoint string) (*counter, error) {
	target, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	c := &counter{transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	c.server = httptest.NewServer(&httputil.ReverseProxy{Transport: c.transport, Rewrite: func(r *httputil.ProxyRequest) {
		operation := r.In.Header.Get("X-Amz-Target")
		if operation == "" {
			operation = r.In.Method
		}
		c.mu.Lock()
		c.seen = append(c.seen, operation)
		c.mu.Unlock()
		r.SetURL(target)
		r.Out.Host = r.In.Host // it is signed
	}})
	return c, nil
}

// take returns what was asked since the last time.
func (c *counter) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := c.seen
	c.seen = nil
	return seen
}

// dynamoDB is how many of these are requests to DynamoDB.
func dynamoDB(asked []string) int {
	return len(slices.DeleteFunc(asked, func(operation string) bool { return !strings.HasPrefix(operation, "DynamoDB_") }))
}

func (c *counter) Close() error {
	c.server.Close()
	c.transport.CloseIdleConnections()
	return nil
}

// table counts the requests to DynamoDB that runs make, which keep their state there.
func (l *lab) table(ctx context.Context) (results []result, err error) {
	more := map[string]string{"STATE_TABLE": table, "AWS_ENDPOINT_URL": l.counter.server.URL}
	fs := map[string]*emulator.Function{}
	for _, name := range []string{function.DailyOrders, function.SyncCustomData} {
		f, err := l.startAs(name, l.bootstraps[name], more)
		if err != nil {
			return nil, err
		}
		defer func() {
			if closed := f.Close(); err == nil {
				err = closed
			}
		}()
		fs[name] = f
	}
	rows := func(n int) string {
		rows := make([]string, n)
		for i := range rows {
			rows[i] = fmt.Sprintf(`{"primaryEmail":%q,"customData":{"table":true}}`, l.orders[i].CustomerEmail)
		}
		return `{"rows":[` + strings.Join(rows, ",") + `]}`
	}
	const slot = `{"m2mjobs":{"schedule":"nightly","time":"1997-03-27T03:15:00Z","attempt":"1","params":{}}}`
	for _, run := range []struct {
		what, name, payload string
		most                int
	}{
		{"a run of a schedule", function.DailyOrders, slot, 3},
		{"the same slot delivered again", function.DailyOrders, slot, 3},
		{"a run of 1 row by hand", function.SyncCustomData, rows(1), 3},
		{"a run of 1,000 rows by hand, with a checkpoint for each 100", function.SyncCustomData, rows(1000), 3 + 10},
	} {
		l.counter.take()
		report, err := invokeFor(ctx, fs[run.name], run.payload, jobs.OutcomeDone, jobs.OutcomeDuplicate)
		if err != nil {
			return results, err
		}
		n := dynamoDB(l.counter.take())
		results = append(results, atMost(fmt.Sprintf("requests to DynamoDB of %s (%s)", run.what, report.Outcome), "%.0f", float64(run.most), float64(n)))
	}
	// The first one in a minute looks whether the job is paused.
	for range 2 {
		l.counter.take()
		if _, err := l.took(ctx, fs[function.SyncCustomData], []byte(message(rows(1)))); err != nil {
			return results, err
		}
	}
	return append(results, exactly("requests to DynamoDB of a queue's batch, but for one a minute", 0, int64(dynamoDB(l.counter.take())))), nil
}
