//go:build e2e

package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/jobs/dynamodb"
)

// What the comment of package dynamodb says that a function, and an operator besides, may do.
const (
	storeFunctionActions = `"dynamodb:GetItem","dynamodb:PutItem","dynamodb:UpdateItem","dynamodb:ConditionCheckItem"`
	storeOperatorActions = storeFunctionActions + `,"dynamodb:BatchGetItem","dynamodb:DeleteItem"`
)

// storePolicy allows actions on the tables of that name or pattern, and queries of their indexes if the operator asks.
func storePolicy(table, actions string) string {
	arn := "arn:aws:dynamodb:" + emulator.Region + ":*:table/" + table
	policy := `{"Effect":"Allow","Action":[` + actions + `],"Resource":"` + arn + `"}`
	if actions == storeOperatorActions {
		policy += `,{"Effect":"Allow","Action":"dynamodb:Query","Resource":"` + arn + `/index/gsi1"}`
	}
	return policy
}

// newTable makes the table of package dynamodb's comment.
func newTable(t testing.TB, root aws.Config, name string) {
	t.Helper()
	if err := emulator.NewTable(t.Context(), root, name); err != nil {
		t.Fatal(err)
	}
}

// requestCounter counts requests to AWS by their operation.
type requestCounter struct {
	base http.RoundTripper
	mu   sync.Mutex
	seen []string
}

func (c *requestCounter) RoundTrip(req *http.Request) (*http.Response, error) {
	_, operation, _ := strings.Cut(req.Header.Get("X-Amz-Target"), ".")
	// What the SDK repeats, because the emulator lost an answer, is no request that the store asked for.
	if strings.HasPrefix(req.Header.Get("Amz-Sdk-Request"), "attempt=1") {
		c.mu.Lock()
		c.seen = append(c.seen, operation)
		c.mu.Unlock()
	}
	return c.base.RoundTrip(req)
}

// take returns what was counted, and forgets it.
func (c *requestCounter) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := c.seen
	c.seen = nil
	return seen
}

// countedStore is a store whose requests are counted.
func countedStore(t *testing.T, key emulator.Key, table string) (*dynamodb.Store, *requestCounter) {
	t.Helper()
	config := awsConfig(t, key)
	client, ok := config.HTTPClient.(*http.Client)
	if !ok {
		t.Fatalf("the HTTP client is a %T", config.HTTPClient)
	}
	counter := &requestCounter{base: client.Transport}
	config.HTTPClient = &http.Client{Transport: counter}
	return storeOn(config, table), counter
}

func storeOn(config aws.Config, table string) *dynamodb.Store {
	return dynamodb.New(table, func(context.Context) (dynamodb.Client, error) { return sdk.NewFromConfig(config), nil })
}

func storeClaim(slot, owner string) jobs.Claim {
	return jobs.Claim{
		Slot: "stack/job/" + slot, Job: "job", RunID: "run-" + slot + "-" + owner, Owner: owner,
		Trigger: json.RawMessage(`{"by":"` + owner + `"}`), Until: time.Now().Add(time.Minute),
	}
}

// lossy is a connection to AWS that loses answers, or gives others.
type lossy struct {
	base http.RoundTripper
	mu   sync.Mutex
	next []func(*http.Response) (*http.Response, error)
	skip bool
}

func lossyStore(t *testing.T, key emulator.Key, table string) (*dynamodb.Store, *lossy) {
	t.Helper()
	config := awsConfig(t, key)
	client, ok := config.HTTPClient.(*http.Client)
	if !ok {
		t.Fatalf("the HTTP client is a %T", config.HTTPClient)
	}
	l := &lossy{base: client.Transport}
	config.HTTPClient = &http.Client{Transport: l}
	return storeOn(config, table), l
}

// loseNext loses the answer to the next request.
func (l *lossy) loseNext() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = append(l.next, func(resp *http.Response) (*http.Response, error) {
		return nil, errors.Join(errors.New("the connection broke"), resp.Body.Close())
	})
}

// answerNext answers the next request without sending it.
func (l *lossy) answerNext(status int, body string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.skip = true
	l.next = append(l.next, func(*http.Response) (*http.Response, error) {
		header := http.Header{"Content-Type": {"application/x-amz-json-1.0"}}
		header.Set("X-Amz-Crc32", fmt.Sprint(crc32.ChecksumIEEE([]byte(body))))
		return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}, nil
	})
}

func (l *lossy) left() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.next)
}

func (l *lossy) RoundTrip(req *http.Request) (*http.Response, error) {
	l.mu.Lock()
	var change func(*http.Response) (*http.Response, error)
	if len(l.next) > 0 {
		change, l.next = l.next[0], l.next[1:]
	}
	skip := l.skip
	l.skip = false
	l.mu.Unlock()
	if skip {
		return change(nil)
	}
	resp, err := l.base.RoundTrip(req)
	if err != nil || change == nil {
		return resp, err
	}
	return change(resp)
}

// noiseJSON is a JSON text of that size that cannot be compressed to less than three quarters.
func noiseJSON(size int) json.RawMessage {
	noise := make([]byte, size/4*3)
	rand.NewChaCha8([32]byte{}).Read(noise)
	return json.RawMessage(`"` + base64.StdEncoding.EncodeToString(noise) + `"`)
}
