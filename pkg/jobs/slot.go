package jobs

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ScheduleSlot is the slot of a schedule's run: stack/job/schedule/2026-11-24T03:00:00Z. schedule is a schedule's or
// rule's name or ARN, at the time it was scheduled for, of which whole seconds count; an empty stack is "local".
func ScheduleSlot(stack, job, schedule string, at time.Time) string {
	if stack == "" {
		stack = defaultStack
	}
	return scheduleGroup(stack, job, schedule) + "/" + at.UTC().Format("2006-01-02T15:04:05Z")
}

// scheduleGroup is what the slots of a schedule have in common.
func scheduleGroup(stack, job, schedule string) string {
	return strings.Join([]string{stack, job, lastPart(schedule)}, "/")
}

// slotOf is what a trigger's run is known by. A message has none.
func slotOf(stack, job string, t Trigger, digest func() (string, error)) (string, error) {
	switch t.Kind {
	case Message:
		return "", nil
	case Schedule:
		return ScheduleSlot(stack, job, t.Source, t.Time), nil
	case Event:
		return strings.Join([]string{stack, job, "event", t.ID}, "/"), nil
	}
	params, err := canonical(t.Payload)
	if err != nil {
		return "", fmt.Errorf("params: %w", plainly(err))
	}
	source, err := digest()
	if err != nil {
		return "", err // Job.Digest's own, which names what it could not read
	}
	sum := sha256.Sum256(slices.Concat(params, []byte{'\n'}, []byte(source)))
	return strings.Join([]string{stack, job, "params", hex.EncodeToString(sum[:16])}, "/"), nil
}

// slot is what the attempt's run is known by.
func (h *handler[P]) slot(ctx context.Context, t Trigger, params P) (string, error) {
	return slotOf(h.config.Stack, h.job.Name, t, func() (string, error) {
		if h.job.Digest == nil {
			return "", nil
		}
		return h.job.Digest(ctx, params)
	})
}

// samePayload tells whether two triggers carry the same.
func samePayload(a, b Trigger) bool {
	one, err := canonical(a.Payload)
	if err != nil {
		return false
	}
	other, err := canonical(b.Payload)
	return err == nil && string(one) == string(other)
}

// newRunID names a run: so that names sort by time and files of different runs never meet. A message's run is named
// by the message: what a repeated delivery keeps takes the place of what the first kept.
func newRunID(t Trigger, now time.Time) string {
	if t.Kind == Message {
		if isName(t.ID, 64, "_") {
			return t.ID
		}
		sum := sha256.Sum256([]byte(t.ID))
		return hex.EncodeToString(sum[:16])
	}
	return now.UTC().Format("20060102T150405Z") + "-" + strings.ToLower(rand.Text()[:12])
}

// params makes the job's parameters from a trigger.
func (h *handler[P]) params(t Trigger) (P, error) {
	if h.job.Params == nil {
		return Decode[P](t.Payload)
	}
	return h.job.Params(t, json.RawMessage(t.Payload))
}
