package jobs

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// envelopeKey marks what is said to the framework, not to the job.
const envelopeKey = "m2mjobs"

// Continuation continues a run. Its JSON is the whole envelope: give it to the handler as its payload.
type Continuation struct {
	Job   string `json:"job"`
	Slot  string `json:"slot"`
	RunID string `json:"runId"`
}

// continuationFields is what stands inside the envelope.
type continuationFields Continuation

// MarshalJSON returns {"m2mjobs":{"continue":{"job":…,"slot":…,"runId":…}}}.
func (c Continuation) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]map[string]continuationFields{
		envelopeKey: {"continue": continuationFields(c)},
	})
}

// ScheduleInput runs a slot of a schedule as EventBridge Scheduler would, or one of the past. Its JSON is the whole
// envelope: give it to the handler as its payload.
type ScheduleInput struct {
	Schedule   string          `json:"schedule"`             // the schedule's name, or its ARN
	Time       time.Time       `json:"time"`                 // the scheduled time
	Expression string          `json:"expression,omitempty"` // the schedule's, for Job.CatchUp. Empty: nothing is made up for
	TimeZone   string          `json:"timeZone,omitempty"`   // of Expression. Empty: UTC
	Params     json.RawMessage `json:"params,omitempty"`     // an object
	Overlap    Overlap         `json:"overlap,omitempty"`    // instead of Job.Overlap: OverlapAllow to run several slots at once
	Rerun      bool            `json:"rerun,omitempty"`      // run it anew, though it is done or was cancelled
}

// scheduleFields is what stands inside the envelope.
type scheduleFields ScheduleInput

// MarshalJSON returns {"m2mjobs":{"schedule":…,"time":…}}.
func (i ScheduleInput) MarshalJSON() ([]byte, error) {
	i.Time = i.Time.UTC()
	return json.Marshal(map[string]scheduleFields{envelopeKey: scheduleFields(i)})
}

// control reads the framework's own envelope.
func control(raw json.RawMessage, now time.Time) (invocation, error) {
	fields, err := members(raw)
	if err != nil {
		return invocation{}, fmt.Errorf("%s: %w", envelopeKey, err)
	}
	for _, key := range sortedKeys(fields) {
		switch key {
		case "schedule", "time", "attempt", "params", "expression", "timeZone", "overlap", "rerun", "continue":
		default:
			return invocation{}, fmt.Errorf("%s: unknown key %q; accepted are continue, or schedule with time, attempt, params, "+
				"expression, timeZone, overlap and rerun", envelopeKey, clip(key, nameLimit))
		}
	}
	if _, ok := fields["continue"]; ok {
		if len(fields) > 1 {
			return invocation{}, fmt.Errorf("%s: continue stands alone, found it with %s", envelopeKey, seenKeys(fields))
		}
		return continuing(fields["continue"], now)
	}
	if len(fields) == 0 {
		return invocation{}, fmt.Errorf("%s: empty; accepted are continue, or schedule with time, attempt and params", envelopeKey)
	}
	e := entry{}
	if e.trigger, err = scheduled(fields); err == nil {
		err = e.control(fields)
	}
	if err != nil {
		return invocation{}, fmt.Errorf("%s: %w", envelopeKey, err)
	}
	return invocation{entries: []entry{e}}, nil
}

// control reads what a schedule's envelope says about how to run the slot.
func (e *entry) control(fields map[string]json.RawMessage) error {
	overlap := ""
	for name, to := range map[string]*string{"expression": &e.expression, "timeZone": &e.timeZone, "overlap": &overlap} {
		if isNothing(fields[name]) {
			continue
		}
		text, err := attribute(fields, name)
		if err != nil {
			return err
		}
		*to = text
	}
	if raw := fields["rerun"]; !isNothing(raw) {
		if err := json.Unmarshal(raw, &e.rerun); err != nil {
			return fmt.Errorf("rerun: %w", plainly(err))
		}
	}
	e.overlap = Overlap(overlap)
	return checkOverlap("overlap", e.overlap)
}

func continuing(raw json.RawMessage, now time.Time) (invocation, error) {
	c, err := Decode[continuationFields](raw)
	if err != nil {
		return invocation{}, fmt.Errorf("%s: continue: %w", envelopeKey, err)
	}
	if c.Job == "" || c.Slot == "" || c.RunID == "" {
		return invocation{}, fmt.Errorf("%s: continue: job, slot and runId are all needed", envelopeKey)
	}
	continued := Continuation(c)
	return invocation{entries: []entry{{continued: &continued, trigger: Trigger{Time: now}}}}, nil
}

// scheduled reads what template.yaml makes EventBridge Scheduler pass as a schedule's Input. Scheduler replaces
// <aws.scheduler.schedule-arn> and the like there ("Adding context attributes" in its user guide).
func scheduled(fields map[string]json.RawMessage) (Trigger, error) {
	arn, err := attribute(fields, "schedule")
	if err != nil {
		return Trigger{}, err
	}
	name := lastPart(arn)
	if !isScheduleName(name) {
		return Trigger{}, fmt.Errorf("schedule %q: want the ARN of a schedule, or its name", clip(arn, nameLimit))
	}
	when, err := attribute(fields, "time")
	if err != nil {
		return Trigger{}, err
	}
	at, err := parseTime("time", when)
	if err != nil {
		return Trigger{}, err
	}
	if _, ok := fields["attempt"]; ok {
		text, err := attribute(fields, "attempt")
		if err != nil {
			return Trigger{}, err
		}
		if _, err := strconv.ParseUint(text, 10, 32); err != nil {
			return Trigger{}, fmt.Errorf("attempt %q: want a number", clip(text, nameLimit))
		}
	}
	params, err := payloadOf("params", fields["params"])
	if err != nil {
		return Trigger{}, err
	}
	return Trigger{Kind: Schedule, Source: name, Time: at, Payload: params}, nil
}

// attribute reads a field that Scheduler fills in: a string, or a number.
func attribute(fields map[string]json.RawMessage, name string) (string, error) {
	raw, ok := fields[name]
	if !ok || isNothing(raw) {
		return "", fmt.Errorf("%s is missing", name)
	}
	var value string
	if raw[0] == '"' {
		if err := json.Unmarshal(raw, &value); err != nil {
			return "", fmt.Errorf("%s: %w", name, plainly(err))
		}
	} else if what := kindOf(raw); what == "a number" {
		value = string(raw)
	} else {
		return "", fmt.Errorf("%s: found %s where a string is wanted", name, what)
	}
	if strings.HasPrefix(value, "<aws.scheduler.") {
		return "", fmt.Errorf("%s is the literal text %q: EventBridge Scheduler replaces it, and only in a schedule's Input; "+
			"put the value there when you send this by hand or through an emulator that does not", name, clip(value, nameLimit))
	}
	return value, nil
}

// parseTime reads a time as AWS writes it (RFC 3339).
func parseTime(name, value string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, value)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s %q: want a time like 2026-11-24T03:00:00Z", name, clip(value, nameLimit))
	}
	return at.UTC(), nil
}

// lastPart is what stands after the last slash: the name in an ARN.
func lastPart(arn string) string { return arn[strings.LastIndex(arn, "/")+1:] }
