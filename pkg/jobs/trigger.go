package jobs

import (
	"encoding/json"
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
	Kind Kind `json:"kind"`
	// ID is the event's or message's id. Empty for a schedule and a run by hand.
	ID string `json:"id,omitempty"`
	// Source is the schedule's name, the event's source, or the queue's ARN.
	Source string `json:"source,omitempty"`
	// DetailType of an event.
	DetailType string `json:"detailType,omitempty"`
	// Time is the scheduled time, or the event's. For others, when the invocation began.
	Time time.Time `json:"time"`
	// Payload is what the trigger carries: an event's detail, a message's body, params.
	Payload json.RawMessage `json:"-"`
}
