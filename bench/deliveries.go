package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"golang.org/x/sync/errgroup"

	"github.com/m2mjobs/m2mjobs/internal/webhook"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

const (
	signingKey = "a-signing-key-for-tests-only-0000"
	burst      = 1000
	atOnce     = 50
	bus        = "bench"
)

// instant is a bus that takes no time.
type instant struct{}

func (instant) PutEvents(context.Context, *eventbridge.PutEventsInput, ...func(*eventbridge.Options)) (*eventbridge.PutEventsOutput, error) {
	return &eventbridge.PutEventsOutput{Entries: make([]types.PutEventsResultEntry, 1)}, nil
}

func receiver(to func(context.Context) (webhook.EventBridge, error)) *webhook.Receiver {
	return webhook.NewReceiver(webhook.Config{
		Secret: func(context.Context) (webhook.Secret, error) {
			return webhook.Secret{SigningKey: signingKey, HookID: "bench"}, nil
		},
		BusName: bus, Fields: []string{"id"}, Log: io.Discard, Bus: to,
	})
}

// delivery is what a function URL makes of a webhook about the user of that number.
func delivery(user int) ([]byte, error) {
	body := fmt.Sprintf(`{"event":"User.Created","createdAt":"2026-11-24T12:00:00.000Z","hookId":"bench","path":"/users","method":"POST",`+
		`"matchedRoute":"/users","status":200,"data":{"id":"user%d","primaryEmail":"user%d@example.com","customData":{},"identities":{}}}`, user, user)
	request := events.LambdaFunctionURLRequest{
		Headers: map[string]string{"logto-signature-sha-256": logtotest.Signature(signingKey, []byte(body))}, Body: body,
	}
	request.RequestContext.HTTP.Method = "POST"
	return json.Marshal(request)
}

// deliver has a receiver take a delivery, which must be accepted.
func deliver(ctx context.Context, r *webhook.Receiver, payload []byte) error {
	data, err := r.Invoke(ctx, payload)
	if err != nil {
		return err
	}
	var answer events.LambdaFunctionURLResponse
	if err := json.Unmarshal(data, &answer); err != nil || answer.StatusCode != 200 {
		return errors.Join(fmt.Errorf("a delivery was answered %d", answer.StatusCode), err)
	}
	return nil
}

// deliveries measures logto-webhook: its own time, and whether a burst arrives on the bus.
func (l *lab) deliveries(ctx context.Context) ([]result, error) {
	own := receiver(func(context.Context) (webhook.EventBridge, error) { return instant{}, nil })
	var took []float64
	for i := range burst {
		payload, err := delivery(i)
		if err != nil {
			return nil, err
		}
		began := time.Now()
		if err := deliver(ctx, own, payload); err != nil {
			return nil, err
		}
		took = append(took, float64(time.Since(began)))
	}
	results := []result{atMost("logto-webhook, warm, from request to answer without the bus's own time: median", "%.3f ms", 1, median(took)/1e6)}

	config, err := l.aws.Config(ctx, l.aws.Root())
	if err != nil {
		return results, err
	}
	queue, err := watch(ctx, config)
	if err != nil {
		return results, err
	}
	real := receiver(func(context.Context) (webhook.EventBridge, error) { return eventbridge.NewFromConfig(config), nil })
	began := time.Now()
	group, ctx2 := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range burst {
		group.Go(func() error {
			payload, err := delivery(i)
			if err != nil {
				return err
			}
			return deliver(ctx2, real, payload)
		})
	}
	if err := group.Wait(); err != nil {
		return results, err
	}
	seconds := time.Since(began).Seconds()
	arrived, err := users(ctx, config, queue)
	if err != nil {
		return results, err
	}
	what := fmt.Sprintf("logto-webhook, %d deliveries, %d at once (%.1f s with the bus of the emulator): on the bus", burst, atOnce, seconds)
	return append(results, exactly(what, burst, int64(arrived))), nil
}

// watch makes the bus, and a queue that gets all that is on it.
func watch(ctx context.Context, config aws.Config) (queue string, err error) {
	queues, buses := sqs.NewFromConfig(config), eventbridge.NewFromConfig(config)
	made, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: new(bus)})
	if err != nil {
		return "", err
	}
	attributes, err := queues.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: made.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameQueueArn},
	})
	if err != nil {
		return "", err
	}
	arn := attributes.Attributes["QueueArn"]
	_, err = queues.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: made.QueueUrl, Attributes: map[string]string{
		"Policy": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},` +
			`"Action":"sqs:SendMessage","Resource":"` + arn + `"}]}`,
	}})
	if err == nil {
		_, err = buses.CreateEventBus(ctx, &eventbridge.CreateEventBusInput{Name: new(bus)})
	}
	if err == nil {
		_, err = buses.PutRule(ctx, &eventbridge.PutRuleInput{Name: new(bus), EventBusName: new(bus), EventPattern: new(`{"source":["logto"]}`)})
	}
	if err == nil {
		_, err = buses.PutTargets(ctx, &eventbridge.PutTargetsInput{
			Rule: new(bus), EventBusName: new(bus), Targets: []types.Target{{Id: new(bus), Arn: &arn}},
		})
	}
	return *made.QueueUrl, err
}

// users is of how many users there are events in the queue.
func users(ctx context.Context, config aws.Config, queue string) (int, error) {
	client := sqs.NewFromConfig(config)
	seen := map[string]bool{}
	for {
		out, err := client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &queue, MaxNumberOfMessages: 10, WaitTimeSeconds: 1})
		if err != nil || len(out.Messages) == 0 {
			return len(seen), err
		}
		for _, m := range out.Messages {
			var event struct{ Detail webhook.Event }
			if err := json.Unmarshal([]byte(*m.Body), &event); err != nil {
				return 0, err
			}
			seen[event.Detail.UserID] = true
			if _, err := client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &queue, ReceiptHandle: m.ReceiptHandle}); err != nil {
				return 0, err
			}
		}
	}
}
