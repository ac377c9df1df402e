package jobs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// invocation is what one payload asks for.
type invocation struct {
	batch   batch
	entries []entry
}

// batch is how the entries of an invocation are answered.
type batch int

const (
	noBatch    batch = iota // one run, answered by its report
	queueBatch              // answered by the messages that failed
	itemBatch               // answered by all reports
)

// entry is one run of an invocation.
type entry struct {
	trigger   Trigger
	delivery  int           // how often the queue has delivered the message, from 1
	continued *Continuation // the run to continue; the trigger is in the store
	err       error         // why the entry cannot be run

	expression string // the schedule's, with its time zone; empty if unknown
	timeZone   string
	overlap    Overlap // instead of the job's
	rerun      bool    // also if it is done or cancelled
	inBatch    bool    // a slot among the items of a batch: its report says how it ended, not the batch's error
}

const accepted = "accepted are an EventBridge Scheduler input ({\"m2mjobs\": {\"schedule\": …}}), an EventBridge event, " +
	"an SQS batch, a Step Functions batch ({\"Items\": […]}), or the job's params as an object"

// detect finds out what invoked the function. Its errors name types and keys, never values.
func detect(payload []byte, now time.Time) (invocation, error) {
	if isNothing(payload) {
		return one(Trigger{Kind: Manual, Time: now, Payload: json.RawMessage("{}")}), nil
	}
	fields, err := members(payload)
	if err != nil {
		return invocation{}, fmt.Errorf("unknown payload: %w; %s", err, accepted)
	}
	switch {
	case has(fields, envelopeKey):
		if len(fields) > 1 {
			return invocation{}, fmt.Errorf("payload: %w", reserved(fields))
		}
		return control(fields[envelopeKey], now)
	case isBatch(fields, "Records"):
		return records(fields["Records"], now)
	case isBatch(fields, "Items", "BatchInput"):
		return items(fields["Items"], fields["BatchInput"], now)
	case has(fields, "detail-type") && has(fields, "source"):
		t, err := event(payload)
		if err != nil {
			return invocation{}, fmt.Errorf("EventBridge event: %w", err)
		}
		return one(t), nil
	case has(fields, "requestContext") && (has(fields, "rawPath") || has(fields, "httpMethod") || has(fields, "path")):
		return invocation{}, fmt.Errorf("unknown payload: an HTTP request (keys %s): a job is not served at a function URL "+
			"or by an API; %s", seenKeys(fields), accepted)
	}
	return one(Trigger{Kind: Manual, Time: now, Payload: json.RawMessage(payload)}), nil
}

// asksDoctor tells whether the payload is {"doctor": true}.
func asksDoctor(payload []byte) bool {
	if !bytes.Contains(payload, []byte(`"doctor"`)) {
		return false
	}
	fields, err := members(payload)
	return err == nil && len(fields) == 1 && string(fields["doctor"]) == "true"
}

func one(t Trigger) invocation { return invocation{entries: []entry{{trigger: t}}} }

// records reads what services send as {"Records": […]}: an SQS batch.
func records(raw json.RawMessage, now time.Time) (invocation, error) {
	var list []struct {
		MessageID      string `json:"messageId"`
		Body           string `json:"body"`
		EventSource    string `json:"eventSource"` // SNS writes EventSource, which encoding/json takes as well
		EventSourceARN string `json:"eventSourceARN"`
		Attributes     struct {
			ReceiveCount string `json:"ApproximateReceiveCount"`
		} `json:"attributes"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return invocation{}, fmt.Errorf("Records: %w; %s", plainly(err), accepted)
	}
	if len(list) == 0 {
		return invocation{}, fmt.Errorf("Records is empty; %s", accepted)
	}
	entries := make([]entry, len(list))
	for i, r := range list {
		switch r.EventSource {
		case "aws:sqs":
		case "aws:s3", "aws:sns":
			return invocation{}, fmt.Errorf("Records[%d] is a direct notification of %s, which has no event id to tell a repeated one by: "+
				"turn on the bucket's EventBridge notifications and make a rule that invokes the function, or send it through a queue",
				i, r.EventSource[len("aws:"):])
		default:
			return invocation{}, fmt.Errorf("Records[%d] has not the eventSource aws:sqs; %s", i, accepted)
		}
		if r.MessageID == "" {
			return invocation{}, fmt.Errorf("Records[%d]: messageId is missing", i)
		}
		t, err := message(r.Body, now)
		t.Kind, t.ID, t.Source = Message, r.MessageID, r.EventSourceARN
		delivery, convErr := strconv.Atoi(r.Attributes.ReceiveCount)
		if convErr != nil || delivery < 1 {
			delivery = 1
		}
		entries[i] = entry{trigger: t, delivery: delivery, err: err}
	}
	return invocation{batch: queueBatch, entries: entries}, nil
}

// message reads a message's body: params, or the event that a rule put into the queue.
func message(body string, now time.Time) (Trigger, error) {
	t := Trigger{Time: now}
	fields, err := members([]byte(body))
	if err != nil {
		return t, fmt.Errorf("message body: %w; want params as an object, or an EventBridge event", err)
	}
	if has(fields, "detail-type") && has(fields, "source") {
		e, err := event([]byte(body))
		if err != nil {
			return t, fmt.Errorf("message body: EventBridge event: %w", err)
		}
		return e, nil
	}
	if isBatch(fields, "Records") {
		return t, errors.New("message body: a direct notification of S3 or SNS: turn on the bucket's EventBridge notifications, " +
			"and let a rule send the event to the queue")
	}
	if has(fields, envelopeKey) {
		return t, fmt.Errorf("message body: %w", reserved(fields))
	}
	t.Payload = json.RawMessage(body)
	return t, nil
}

// items reads the input that a Map state with an ItemBatcher makes. What its BatchInput has and an item has not is
// put into the item: it is there for what all items share. An item that is an envelope stands for itself.
func items(raw, shared json.RawMessage, now time.Time) (invocation, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return invocation{}, fmt.Errorf("Items: %w", plainly(err))
	}
	common := map[string]json.RawMessage{}
	if !isNothing(shared) {
		var err error
		if common, err = members(shared); err != nil {
			return invocation{}, fmt.Errorf("BatchInput: %w", err)
		}
	}
	inv := invocation{batch: itemBatch, entries: make([]entry, len(list))}
	for i, item := range list {
		t := Trigger{Kind: Item, Time: now}
		fields, err := members(item)
		if err == nil && len(fields) == 1 && has(fields, envelopeKey) && len(common) == 0 {
			inv.entries[i] = slotItem(fields[envelopeKey], i, now)
			continue
		}
		if err == nil {
			whole := maps.Clone(common)
			maps.Copy(whole, fields)
			if t.Payload, err = json.Marshal(whole); err == nil {
				t.Payload, err = payloadOf("item", t.Payload)
			}
		}
		if err != nil {
			err = fmt.Errorf("Items[%d]: %w", i, err)
		}
		inv.entries[i] = entry{trigger: t, err: err}
	}
	return inv, nil
}

// slotItem reads an item that is a schedule's envelope, or a continuation.
func slotItem(raw json.RawMessage, i int, now time.Time) entry {
	inv, err := control(raw, now)
	if err != nil {
		return entry{trigger: Trigger{Kind: Item, Time: now}, err: fmt.Errorf("Items[%d]: %w", i, err)}
	}
	inv.entries[0].inBatch = true
	return inv.entries[0]
}

// event reads an EventBridge event, of which a scheduled rule's is one.
func event(payload []byte) (Trigger, error) {
	var e struct {
		ID         string          `json:"id"`
		Source     string          `json:"source"`
		DetailType string          `json:"detail-type"`
		Time       string          `json:"time"`
		Resources  []string        `json:"resources"`
		Detail     json.RawMessage `json:"detail"`
	}
	if err := json.Unmarshal(payload, &e); err != nil {
		return Trigger{}, plainly(err)
	}
	at, err := parseTime("time", e.Time)
	if err != nil {
		return Trigger{}, err
	}
	detail, err := payloadOf("detail", e.Detail)
	if err != nil {
		return Trigger{}, err
	}
	if len(e.ID) > 256 {
		return Trigger{}, errors.New("id: want 1 to 256 characters")
	}
	t := Trigger{
		Kind: Event, ID: e.ID, Source: e.Source, EventSource: e.Source, EventID: e.ID, DetailType: e.DetailType,
		Time: at, Payload: detail,
	}
	if e.Source == "aws.events" && e.DetailType == "Scheduled Event" {
		if len(e.Resources) == 0 || !isScheduleName(lastPart(e.Resources[0])) {
			return Trigger{}, errors.New("of a scheduled rule: resources[0] is not the rule's ARN")
		}
		// The event's id differs for a repeated one only by chance; the rule and its time are what must run once.
		t.Kind, t.ID, t.Source = Schedule, "", lastPart(e.Resources[0])
		return t, nil
	}
	if e.ID == "" {
		return Trigger{}, errors.New("id: want 1 to 256 characters")
	}
	return t, nil
}

// payloadOf checks that raw can be params: an object that does not look like the framework's envelope.
func payloadOf(what string, raw json.RawMessage) (json.RawMessage, error) {
	if isNothing(raw) {
		return json.RawMessage("{}"), nil
	}
	fields, err := members(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if has(fields, envelopeKey) {
		return nil, fmt.Errorf("%s: %w", what, reserved(fields))
	}
	return raw, nil
}

func reserved(fields map[string]json.RawMessage) error {
	return fmt.Errorf("the key %q is reserved for the framework's own envelope and cannot be one of params (keys %s): rename it",
		envelopeKey, seenKeys(fields))
}

// members splits a JSON object.
func members(raw []byte) (map[string]json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		if !json.Valid(raw) {
			return nil, fmt.Errorf("not JSON: %w", plainly(err))
		}
		return nil, fmt.Errorf("%s, not an object", kindOf(raw))
	}
	if fields == nil {
		return nil, errors.New("null, not an object")
	}
	return fields, nil
}

// kindOf names the kind of a valid JSON value.
func kindOf(raw []byte) string {
	for _, c := range raw {
		switch c {
		case ' ', '\t', '\r', '\n':
			continue
		case '{':
			return "an object"
		case '[':
			return "an array"
		case '"':
			return "a string"
		case 't', 'f':
			return "a boolean"
		case 'n':
			return "null"
		default:
			return "a number"
		}
	}
	return "nothing"
}

func has(fields map[string]json.RawMessage, key string) bool {
	_, ok := fields[key]
	return ok
}

// isBatch tells whether fields are an array under the first key, and nothing but the other keys besides.
func isBatch(fields map[string]json.RawMessage, list string, others ...string) bool {
	if !has(fields, list) || kindOf(fields[list]) != "an array" {
		return false
	}
	for key := range fields {
		if key != list && !slices.Contains(others, key) {
			return false
		}
	}
	return true
}

func sortedKeys(fields map[string]json.RawMessage) []string {
	return slices.Sorted(maps.Keys(fields))
}

// seenKeys names the first few keys, each cut to a name's length.
func seenKeys(fields map[string]json.RawMessage) string {
	keys := sortedKeys(fields)
	more := ""
	if len(keys) > 10 {
		keys, more = keys[:10], ", …"
	}
	for i, key := range keys {
		keys[i] = fmt.Sprintf("%q", clip(key, nameLimit))
	}
	return strings.Join(keys, ", ") + more
}
