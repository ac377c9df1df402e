package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// checker is a bus that refuses what EventBridge would.
type checker struct{ problem error }

func (c *checker) PutEvents(_ context.Context, in *eventbridge.PutEventsInput, _ ...func(*eventbridge.Options)) (*eventbridge.PutEventsOutput, error) {
	for _, e := range in.Entries {
		var event Event
		switch err := json.Unmarshal([]byte(*e.Detail), &event); {
		case err != nil:
			c.problem = err
		case len(*e.Detail)+len(*e.DetailType)+len(*e.Source) > 256<<10:
			c.problem = errors.New("larger than EventBridge takes")
		case *e.DetailType == "" || len(*e.DetailType) > 128:
			c.problem = errors.New("no detail-type")
		case event.Event != *e.DetailType || event.HookID == "" || len(event.Delivery) != 64:
			c.problem = errors.New("the detail does not say what it is")
		}
		for field := range event.Data {
			if field != "id" && field != "customData" {
				c.problem = errors.New("a field that is not listed: " + field)
			}
		}
	}
	return &eventbridge.PutEventsOutput{Entries: make([]types.PutEventsResultEntry, len(in.Entries))}, nil
}

// FuzzDelivery sends any body with a right signature: it is put on the bus as EventBridge takes it, or refused, and
// with a wrong signature it is always refused.
func FuzzDelivery(f *testing.F) {
	for _, name := range recordedNames {
		f.Add([]byte(readRecorded(f, name).Request.Body), "")
	}
	f.Add([]byte(body("PostSignIn", `,"userId":"u1","user":{"id":"u1"}`)), "00")
	f.Add([]byte(`{"event":"A","createdAt":"0001-01-01T00:00:00-23:59","hookId":"\u0000","data":{"id":{"a":1e999}}}`), "x")
	f.Fuzz(func(t *testing.T, body []byte, signature string) {
		bus := &checker{}
		r := NewReceiver(Config{
			Secret: keyed(documentedKey), BusName: busName, Fields: []string{"id", "customData"}, Log: io.Discard,
			Bus: func(context.Context) (EventBridge, error) { return bus, nil },
		})
		right := logtotest.Signature(documentedKey, body)
		if v := r.verdict(t.Context(), request(map[string]string{signatureHeader: right}, string(body))); v.outcome == failed || v.outcome == "" {
			t.Errorf("%s: %d %s", v.outcome, v.status, v.reason)
		}
		if bus.problem != nil {
			t.Error(bus.problem)
		}
		if v := r.verdict(t.Context(), request(map[string]string{signatureHeader: signature}, string(body))); v.status == http.StatusOK && signature != right {
			t.Errorf("taken with the signature %q", signature)
		}
	})
}
