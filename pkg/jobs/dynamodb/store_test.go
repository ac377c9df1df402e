package dynamodb_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"go.uber.org/goleak"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/jobs/dynamodb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The store on an emulated DynamoDB is tested in e2e.

// answering is a store on a server that answers every request so.
func answering(t *testing.T, status int, body string) *dynamodb.Store {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.WriteHeader(status)
		if _, err := io.WriteString(w, body); err != nil {
			t.Error(err)
		}
	}))
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
	})
	client := sdk.New(sdk.Options{
		Region: "us-east-1", BaseEndpoint: &server.URL, HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider("id", "secret", ""), Retryer: aws.NopRetryer{},
		DisableValidateResponseChecksum: true,
	})
	return dynamodb.New("shop-runs", func(context.Context) (dynamodb.Client, error) { return client, nil })
}

func claim() jobs.Claim {
	return jobs.Claim{Slot: "shop/job/slot", Job: "job", RunID: "run", Owner: "owner", Until: time.Now().Add(time.Minute)}
}

func TestErrorsNameTheTableAndTheMend(t *testing.T) {
	tests := map[string]struct {
		answer string
		says   []string
	}{
		"no table": {`{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"Requested resource not found"}`,
			[]string{"table shop-runs", "STATE_TABLE"}},
		"denied": {`{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"User: arn:aws:sts::123456789012:assumed-role/job is not ` +
			`authorized to perform: dynamodb:ConditionCheckItem on resource: arn:aws:dynamodb:us-east-1:123456789012:table/shop-runs"}`,
			[]string{"table shop-runs", "the role needs dynamodb:ConditionCheckItem on it"}},
		"throttled": {`{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"slower"}`,
			[]string{"table shop-runs", "throttled"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			store := answering(t, http.StatusBadRequest, test.answer)
			_, claimed := store.Claim(t.Context(), claim())
			_, got := store.Get(t.Context(), "shop/job/slot")
			_, listed := store.Runs(t.Context(), "job", 10)
			_, found := store.Find(t.Context(), "run")
			_, next := store.Next(t.Context(), "shop/job/nightly")
			_, shared := store.Share(t.Context(), "tenant", "owner", time.Now().Add(time.Minute))
			r := jobs.Record{Slot: "shop/job/slot", Job: "job", RunID: "run", Fence: 1}
			for what, err := range map[string]error{
				"claiming": claimed, "reading": got, "listing": listed, "finding": found, "looking": next, "sharing": shared,
				"saving a checkpoint": store.Checkpoint(t.Context(), r, json.RawMessage(`{}`)),
				"saving the end":      store.Finish(t.Context(), r, jobs.Done, json.RawMessage(`{}`)),
				"pausing":             store.Pause(t.Context(), "job", true),
			} {
				for _, part := range append(test.says, what) {
					if !strings.Contains(fmt.Sprint(err), part) {
						t.Errorf("%s: %v does not say %q", what, err, part)
					}
				}
				for _, never := range []error{jobs.ErrNotFound, jobs.ErrLeaseLost, jobs.ErrHeld, jobs.ErrDone} {
					if errors.Is(err, never) {
						t.Errorf("%s: %v matches %q", what, err, never)
					}
				}
			}
		})
	}
}

func TestAnItemOfAnotherVersionIsNamed(t *testing.T) {
	store := answering(t, http.StatusOK, `{"Item":{"pk":{"S":"slot#shop/job/slot"},"slot":{"S":"shop/job/slot"},"fence":{"S":"one"}}}`)
	_, err := store.Get(t.Context(), "shop/job/slot")
	if err == nil || !strings.Contains(err.Error(), "shop/job/slot") || !strings.Contains(err.Error(), "attribute") {
		t.Errorf("got %v, want an error that names the slot and the attribute", err)
	}
}

func TestTheClientIsMadeAtTheFirstUseAndAgainIfThatFailed(t *testing.T) {
	made := 0
	store := dynamodb.New("shop-runs", func(context.Context) (dynamodb.Client, error) {
		made++
		return nil, errors.New("no region")
	})
	if made != 0 {
		t.Error("the client was made before it was needed")
	}
	bad := claim()
	bad.Owner = ""
	if _, err := store.Claim(t.Context(), bad); err == nil || made != 0 {
		t.Errorf("a claim that cannot be: %v, with %d clients made", err, made)
	}
	for want := 1; want <= 2; want++ {
		_, err := store.Claim(t.Context(), claim())
		if made != want || !strings.Contains(fmt.Sprint(err), "AWS configuration: no region") {
			t.Errorf("%d clients made, %v", made, err)
		}
	}
}

func TestAClaimThatKeepsCollidingGivesUpWithItsContext(t *testing.T) {
	store := answering(t, http.StatusBadRequest, `{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","Message":"cancelled",`+
		`"CancellationReasons":[{"Code":"TransactionConflict"},{"Code":"None"},{"Code":"None"}]}`)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := store.Claim(ctx, claim()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's end", err)
	}
}
