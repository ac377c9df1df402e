package stack

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// DeadLetter is something that was given up.
type DeadLetter struct {
	Queue string
	ID    string    // of the message
	Since time.Time // when it was put there
	// What it is, and why it was given up, in one line each. Payloads, which may have personal data, are not shown.
	What, Reason string

	message types.Message
	payload json.RawMessage // for the function
	rule    string          // ARN of the rule that could not deliver it
}

// failed is what Lambda sends to an OnFailure destination ("Capturing records of Lambda asynchronous invocations" in its
// developer guide).
type failed struct {
	RequestContext struct {
		Condition string `json:"condition"`
	} `json:"requestContext"`
	RequestPayload  json.RawMessage `json:"requestPayload"`
	ResponsePayload struct {
		ErrorMessage string `json:"errorMessage"`
	} `json:"responsePayload"`
}

// read tells what a message of a dead-letter queue is.
func (q DeadLetterQueue) read(m types.Message) DeadLetter {
	letter := DeadLetter{Queue: q.Name, ID: aws.ToString(m.MessageId), Since: sentAt(m), message: m}
	if q.source != "" {
		letter.What = "message"
		letter.Reason = "the log of " + q.Job + " says why, by the message's id"
		return letter
	}
	body := json.RawMessage(aws.ToString(m.Body))
	var f failed
	switch {
	case !json.Valid(body):
		letter.What, letter.Reason = "message", "it is not JSON: nothing that a function was given"
		return letter
	case json.Unmarshal(body, &f) == nil && len(f.RequestPayload) > 0:
		letter.payload, letter.Reason = f.RequestPayload, f.ResponsePayload.ErrorMessage
		if letter.Reason == "" {
			letter.Reason = f.RequestContext.Condition
		}
	default:
		letter.payload, letter.rule = body, attribute(m, "RULE_ARN")
		letter.Reason = strings.TrimSpace(attribute(m, "ERROR_CODE") + " " + attribute(m, "ERROR_MESSAGE"))
	}
	letter.What, letter.Reason = describe(letter.payload), oneLine(letter.Reason)
	return letter
}

// describe names a payload without what it carries.
func describe(payload json.RawMessage) string {
	var p struct {
		ID         string `json:"id"`
		DetailType string `json:"detail-type"`
		M2mjobs    *struct {
			Schedule string `json:"schedule"`
			Time     string `json:"time"`
			Continue *struct {
				RunID string `json:"runId"`
			} `json:"continue"`
		} `json:"m2mjobs"`
	}
	err := json.Unmarshal(payload, &p)
	switch {
	case err == nil && p.M2mjobs != nil && p.M2mjobs.Continue != nil:
		return oneLine("continuation of run " + p.M2mjobs.Continue.RunID)
	case err == nil && p.M2mjobs != nil:
		return oneLine("slot " + lastName(p.M2mjobs.Schedule) + " " + p.M2mjobs.Time)
	case err == nil && p.DetailType != "":
		return oneLine("event " + p.DetailType + " " + p.ID)
	}
	return fmt.Sprintf("payload of %d bytes", len(payload))
}

// lastName is the name in an ARN of a schedule.
func lastName(arn string) string { return arn[strings.LastIndex(arn, "/")+1:] }

func attribute(m types.Message, name string) string {
	return aws.ToString(m.MessageAttributes[name].StringValue)
}

// sentAt is when a message was put into its queue.
func sentAt(m types.Message) time.Time {
	var ms int64
	if _, err := fmt.Sscan(m.Attributes[string(types.MessageSystemAttributeNameSentTimestamp)], &ms); err != nil {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// oneLine is a text for a line of a list.
func oneLine(text string) string {
	const most = 500
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}
