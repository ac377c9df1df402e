package jobs

import (
	"encoding/json"
	"fmt"
	"time"
)

// Kind is what kind of trigger started a run.
type Kind string

// The kinds of trigger.
const (
	Schedule Kind = "schedule" // EventBridge Scheduler, or a scheduled rule
	Event    Kind = "event"    // an EventBridge event
	Message  Kind = "message"  // one message of an SQS batch
	Item     Kind = "item"     // an item of a Step Functions batch
	Manual   Kind = "manual"   // params by hand
)

// Trigger is what started a run.
type Trigger struct {
	// Kind is empty if it could not be found out.
	Kind Kind `json:"kind"`
	// ID is the event's or message's id: what a repeated delivery is told by. Empty for a schedule and a run by hand.
	ID string `json:"id,omitempty"`
	// Source is the schedule's name, the event's source, or the queue's ARN.
	Source string `json:"source,omitempty"`
	// EventSource, EventID and DetailType are what an EventBridge event says of itself, whichever way it came: directly,
	// by a scheduled rule, or through a queue, where ID and Source are the message's. EventSource is "aws.s3", say.
	// Empty for what is no event.
	EventSource string `json:"eventSource,omitempty"`
	EventID     string `json:"eventId,omitempty"`
	DetailType  string `json:"detailType,omitempty"`
	// Time is the scheduled time, or the event's. For others, when the run's first invocation began.
	Time time.Time `json:"time"`
	// Payload is what the trigger carries: an event's detail, a message's body, params. Always a JSON object.
	Payload json.RawMessage `json:"-"`
}

// wireTrigger is a Trigger as it is stored, so that a continuation has the params.
type wireTrigger struct {
	Trigger
	Payload json.RawMessage `json:"payload,omitempty"`
}

func (t Trigger) wire() (json.RawMessage, error) {
	data, err := json.Marshal(wireTrigger{Trigger: t, Payload: t.Payload})
	if err != nil {
		return nil, fmt.Errorf("writing the trigger: %w", err)
	}
	return data, nil
}

func unwire(data json.RawMessage) (Trigger, error) {
	var w wireTrigger
	if err := json.Unmarshal(data, &w); err != nil {
		return Trigger{}, fmt.Errorf("reading the stored trigger: %w", plainly(err))
	}
	w.Trigger.Payload = w.Payload
	return w.Trigger, nil
}
