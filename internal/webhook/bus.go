package webhook

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/smithy-go"
)

// EventBridge is the one call that is made of it: *eventbridge.Client has it.
type EventBridge interface {
	PutEvents(context.Context, *eventbridge.PutEventsInput, ...func(*eventbridge.Options)) (*eventbridge.PutEventsOutput, error)
}

// putTimeout bounds PutEvents with the SDK's own retries. Logto waits 10 seconds for the answer.
const putTimeout = 5 * time.Second

// bus is where the events go.
type bus struct {
	name    string
	fields  []string
	connect func(context.Context) (EventBridge, error)

	mu     sync.Mutex
	client EventBridge
}

// put puts a delivery on the bus. It is there if and only if put returns nil, but for an answer of EventBridge that was
// lost.
func (b *bus) put(ctx context.Context, d *delivery) error {
	detail, err := d.detail(b.fields)
	if err != nil {
		return err
	}
	client, err := b.connected(ctx)
	if err != nil {
		return fmt.Errorf("event bus %s: AWS configuration: %w", b.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	out, err := client.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{{
		EventBusName: &b.name,
		Source:       aws.String(Source),
		DetailType:   &d.event,
		Detail:       aws.String(string(detail)),
		Time:         &d.createdAt,
	}}})
	if err != nil {
		return fmt.Errorf("event bus %s: %s%w", b.name, mendBus(err), err)
	}
	// PutEvents answers 200 for entries that it did not take (EventBridge's API reference, PutEvents).
	if out.FailedEntryCount == 0 && len(out.Entries) == 1 {
		return nil
	}
	refusal := types.PutEventsResultEntry{}
	if len(out.Entries) > 0 {
		refusal = out.Entries[0]
	}
	return fmt.Errorf("event bus %s did not take the event: %s: %s", b.name, aws.ToString(refusal.ErrorCode), aws.ToString(refusal.ErrorMessage))
}

func (b *bus) connected(ctx context.Context) (EventBridge, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.client == nil {
		client, err := b.connect(ctx)
		if err != nil {
			return nil, err
		}
		b.client = client
	}
	return b.client, nil
}

// mendBus says what to do about the error that a new deployment meets.
func mendBus(err error) string {
	if api := smithy.APIError(nil); errors.As(err, &api) && api.ErrorCode() == "AccessDeniedException" {
		return "the function's role needs events:PutEvents on it: "
	}
	return ""
}
