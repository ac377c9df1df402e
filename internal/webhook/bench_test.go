package webhook

import (
	"context"
	"encoding/json"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
)

// instant is a bus that takes no time.
type instant struct{}

func (instant) PutEvents(context.Context, *eventbridge.PutEventsInput, ...func(*eventbridge.Options)) (*eventbridge.PutEventsOutput, error) {
	return &eventbridge.PutEventsOutput{Entries: make([]types.PutEventsResultEntry, 1)}, nil
}

// BenchmarkDelivery measures from the request's JSON to the answer's, without the bus's own time.
func BenchmarkDelivery(b *testing.B) {
	r := readRecorded(b, "user-created")
	receiver := NewReceiver(Config{
		Secret: keyed(r.SigningKey), BusName: busName, Fields: []string{"id"}, Log: io.Discard,
		Bus: func(context.Context) (EventBridge, error) { return instant{}, nil },
	})
	payload, err := json.Marshal(request(r.Request.Headers, r.Request.Body))
	if err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		if _, err := receiver.Invoke(b.Context(), payload); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e6, "median-ms")
	if median := took[len(took)/2]; median > time.Millisecond {
		b.Errorf("the median is %v, more than 1 ms", median)
	}
}
