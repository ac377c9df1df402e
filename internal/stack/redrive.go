package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	events "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Look lists what lies in a dead-letter queue, and leaves it there.
func (s *Stack) Look(ctx context.Context, q DeadLetterQueue, note func(DeadLetter)) error {
	return s.each(ctx, q, func(letter DeadLetter) (taken bool, err error) {
		note(letter)
		return false, nil
	})
}

// Redrive sends what lies in a dead-letter queue where it was given up: a dead letter to its queue, all else to the function,
// asynchronously, with Lambda's retries. A message leaves its queue once that has been taken over, so nothing is lost; cut off in
// between, it is sent twice, and a slot that is done is not done again. What comes into the queue meanwhile stays there. note
// is told of each message, with why it could not be sent, if so; such a one stays.
func (s *Stack) Redrive(ctx context.Context, q DeadLetterQueue, note func(DeadLetter, error)) error {
	client := sqs.NewFromConfig(s.Config)
	return s.each(ctx, q, func(letter DeadLetter) (taken bool, err error) {
		if err := s.sendAgain(ctx, q, letter); err != nil {
			note(letter, err)
			return false, ctx.Err()
		}
		// What was sent must not stay because of a Ctrl-C.
		_, err = client.DeleteMessage(context.WithoutCancel(ctx), &sqs.DeleteMessageInput{QueueUrl: &q.url, ReceiptHandle: letter.message.ReceiptHandle})
		if err != nil {
			err = fmt.Errorf("it was sent, but stays in the queue, too: %w", err)
		}
		note(letter, err)
		return err == nil, ctx.Err()
	})
}

// hiddenFor is how many seconds a message is hidden from others while it is worked on.
const hiddenFor = 120

// each goes through the messages that lie in a queue when it begins. Those that f did not take out are shown again at the end.
func (s *Stack) each(ctx context.Context, q DeadLetterQueue, f func(DeadLetter) (taken bool, err error)) (err error) {
	client := sqs.NewFromConfig(s.Config)
	left := map[string]*string{} // receipts of what is not taken out, by the message's id
	defer func() {
		for id, receipt := range left {
			_, wrong := client.ChangeMessageVisibility(context.WithoutCancel(ctx), &sqs.ChangeMessageVisibilityInput{
				QueueUrl: &q.url, ReceiptHandle: receipt, VisibilityTimeout: 0,
			})
			if wrong != nil {
				err = errors.Join(err, fmt.Errorf("message %s stays hidden for %d s: %w", id, hiddenFor, wrong))
			}
		}
	}()
	var began time.Time
	for {
		out, err := client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: &q.url, MaxNumberOfMessages: 10, WaitTimeSeconds: 1, VisibilityTimeout: hiddenFor,
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameSentTimestamp},
			MessageAttributeNames:       []string{"All"},
		})
		if err != nil {
			return fmt.Errorf("queue %s: %w", q.Name, err)
		}
		if began.IsZero() {
			began = serverTime(out)
		}
		more := false
		for _, m := range out.Messages {
			_, seen := left[*m.MessageId]
			left[*m.MessageId] = m.ReceiptHandle
			letter := q.read(m)
			if seen || letter.Since.Truncate(time.Second).After(began) {
				continue
			}
			more = true
			taken, err := f(letter)
			if taken {
				delete(left, letter.ID)
			}
			if err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
	}
}

// serverTime is the time of an answer, in whole seconds, by the clock that dates messages.
func serverTime(out *sqs.ReceiveMessageOutput) time.Time {
	if at, ok := middleware.GetServerTime(out.ResultMetadata); ok {
		return at
	}
	return time.Now()
}

// sendAgain sends a message where it was given up.
func (s *Stack) sendAgain(ctx context.Context, q DeadLetterQueue, letter DeadLetter) error {
	switch {
	case q.source != "":
		_, err := sqs.NewFromConfig(s.Config).SendMessage(ctx, &sqs.SendMessageInput{
			QueueUrl: &q.source, MessageBody: letter.message.Body, MessageAttributes: letter.message.MessageAttributes,
		})
		return err
	case letter.payload == nil:
		return errors.New(letter.Reason)
	case letter.rule != "":
		bus, changes, err := s.changes(ctx, letter.rule)
		if err != nil {
			return err
		}
		if event, original := originalEvent(letter.payload); changes && original {
			return s.putEvent(ctx, bus, event)
		}
	}
	function, err := s.Function(q.Job)
	if err != nil {
		return err
	}
	_, err = lambda.NewFromConfig(s.Config).Invoke(ctx, &lambda.InvokeInput{
		FunctionName: &function, Payload: letter.payload, InvocationType: lambdatypes.InvocationTypeEvent,
	})
	return err
}

// changes tells whether a rule makes something else of its events for its target, and the bus that it is on.
func (s *Stack) changes(ctx context.Context, rule string) (bus string, changes bool, err error) {
	_, name, _ := strings.Cut(rule, ":rule/")
	bus = "default"
	if i := strings.LastIndex(name, "/"); i >= 0 {
		bus, name = name[:i], name[i+1:]
	}
	out, err := eventbridge.NewFromConfig(s.Config).ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: &name, EventBusName: &bus})
	if err != nil {
		return "", false, fmt.Errorf("the rule that could not deliver it, %s: %w", rule, err)
	}
	for _, target := range out.Targets {
		changes = changes || target.InputTransformer != nil || target.InputPath != nil || target.Input != nil
	}
	return bus, changes, nil
}

// event is one of EventBridge's.
type event struct {
	Account    string
	Source     string
	DetailType string `json:"detail-type"`
	Time       time.Time
	Resources  []string
	Detail     json.RawMessage
}

// originalEvent reads an event as it was on its bus, before a rule made something else of it: that knows its account.
func originalEvent(payload json.RawMessage) (e event, original bool) {
	err := json.Unmarshal(payload, &e)
	return e, err == nil && e.Account != "" && e.DetailType != ""
}

// putEvent puts an event on its bus again, so that the rule can make of it what the function takes.
func (s *Stack) putEvent(ctx context.Context, bus string, e event) error {
	out, err := eventbridge.NewFromConfig(s.Config).PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []events.PutEventsRequestEntry{{
		EventBusName: &bus, Source: &e.Source, DetailType: &e.DetailType, Time: &e.Time, Resources: e.Resources, Detail: aws.String(string(e.Detail)),
	}}})
	if err != nil {
		return err
	}
	for _, entry := range out.Entries {
		if entry.ErrorCode != nil {
			return fmt.Errorf("bus %s did not take the event: %s %s", bus, *entry.ErrorCode, aws.ToString(entry.ErrorMessage))
		}
	}
	return nil
}
