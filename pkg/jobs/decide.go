package jobs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

const (
	// continuedWithin is how long an unfinished run counts as running: it is being continued.
	continuedWithin = time.Hour
	// handedFor is how long a waiting slot that Next gave out is nobody else's: whoever got it claims it before.
	handedFor = time.Minute
)

// On decides a claim for a Store: last is the slot's newest run, nil if there is none. It returns the record to put
// in its place, atomically, or last and an error that matches ErrDone, ErrHeld or ErrCancelled. If the claim has a
// group, Among decides on.
func (c Claim) On(last *Record, now time.Time) (Record, error) {
	if c.Slot == "" || c.Job == "" || c.RunID == "" || c.Owner == "" {
		return Record{}, fmt.Errorf("claiming slot %q: slot, job, run id and owner are all needed", c.Slot)
	}
	if !c.Until.After(now) {
		return Record{}, fmt.Errorf("claiming slot %q: the lease would have ended before it began (at %s)", c.Slot, c.Until.UTC().Format(time.RFC3339))
	}
	if err := checkOverlap("overlap", c.Overlap); err != nil {
		return Record{}, fmt.Errorf("claiming slot %q: %w", c.Slot, err)
	}
	fresh := Record{
		Slot: c.Slot, Job: c.Job, RunID: c.RunID, Owner: c.Owner, State: Running, Attempt: 1, Fence: 1,
		Until: c.Until, Started: now, Updated: now, Trigger: bytes.Clone(c.Trigger), Group: c.Group,
	}
	if last == nil {
		return fresh, nil
	}
	held := last.State == Running && last.Owner != c.Owner && now.Before(last.Until)
	cancelled := last.State == Cancelled || last.Cancelling && !held
	switch {
	case (last.State == Done || cancelled) && c.Rerun && last.Owner != c.Owner:
		fresh.Fence = last.Fence + 1
		return fresh, nil
	case last.State == Done:
		return last.Clone(), fmt.Errorf("claiming slot %q: %w", c.Slot, ErrDone)
	case cancelled:
		return last.Clone(), fmt.Errorf("claiming slot %q: %w", c.Slot, ErrCancelled)
	case held:
		return last.Clone(), fmt.Errorf("claiming slot %q: %w, until %s", c.Slot, ErrHeld, last.Until.UTC().Format(time.RFC3339))
	// Without its monotonic reading a time is compared by the wall clock, which a freeze does not stop.
	case c.Rerun && last.Owner != c.Owner && now.Round(0).Sub(last.Updated) > resumedWithin:
		fresh.Fence = last.Fence + 1
		return fresh, nil
	}
	on := last.Clone()
	on.Owner, on.State, on.Until, on.Updated, on.Group = c.Owner, Running, c.Until, now, c.Group
	on.Attempt++
	on.Fence++
	return on, nil
}

// Among decides for a Store whether the other slots of the claim's group let it run. next is what On made of last.
// others are the newest runs of the group's other slots; those that are done, failed or cancelled may be left out. It
// returns the record to put in last's place: next, or one that is Waiting, and then is last itself if that waits
// already; or the record of the slot that is in the way, and an error that matches ErrOverlap.
func (c Claim) Among(last *Record, next Record, others []Record, now time.Time) (Record, error) {
	if c.Group == "" || c.Overlap == OverlapAllow {
		return next, nil
	}
	var running *Record
	waits := false
	for i, r := range others {
		switch {
		case r.Slot == c.Slot:
		case r.Occupies(now):
			running = &others[i]
		case r.State == Waiting:
			waits = true
		}
	}
	if running == nil {
		return next, nil
	}
	if c.Overlap != OverlapQueue || waits && (last == nil || last.State != Waiting) {
		return running.Clone(), fmt.Errorf("claiming slot %q: %w: %s", c.Slot, ErrOverlap, running.Slot)
	}
	if last != nil && last.State == Waiting {
		return last.Clone(), nil
	}
	if last != nil && last.RunID == next.RunID {
		next = last.Clone()
		next.Group = c.Group
	} else {
		next.Attempt = 0
	}
	next.State, next.Until, next.Updated = Waiting, time.Time{}, now
	return next, nil
}

// Occupies tells whether the run is in the way of the other slots of its group: it is running under a lease, or is
// unfinished for less than an hour, so that it is being continued, or has been given out by Next.
func (r Record) Occupies(now time.Time) bool {
	switch r.State {
	case Running, Waiting:
		return now.Before(r.Until)
	case Unfinished:
		return now.Before(r.Updated.Add(continuedWithin))
	}
	return false
}

// NextOf decides Next for a Store. slots are the newest runs of all slots of a group; those that are done, failed or
// cancelled may be left out. It returns the record to put, atomically, in the place of the waiting one with the same
// Slot, or an error that matches ErrNotFound.
func NextOf(group string, slots []Record, now time.Time) (Record, error) {
	var next *Record
	for i, r := range slots {
		if r.Occupies(now) {
			return Record{}, fmt.Errorf("next slot of %q: %w to run now: %s is running", group, ErrNotFound, r.Slot)
		}
		if r.State == Waiting && (next == nil || r.Updated.Before(next.Updated)) {
			next = &slots[i]
		}
	}
	if next == nil {
		return Record{}, fmt.Errorf("next slot of %q: %w: none waits", group, ErrNotFound)
	}
	given := next.Clone()
	given.Until = now.Add(handedFor)
	return given, nil
}

// Holds tells a Store whether the lease that claimed (from Claim) stands for still holds: r is the slot's record now.
// Otherwise it returns an error that matches ErrLeaseLost.
func (r *Record) Holds(claimed Record, now time.Time) error {
	switch {
	case r == nil, r.RunID != claimed.RunID, r.Fence != claimed.Fence:
		return fmt.Errorf("slot %q: %w: another attempt has taken it over", claimed.Slot, ErrLeaseLost)
	case r.State != Running:
		return fmt.Errorf("slot %q: %w: the attempt has ended (%s)", claimed.Slot, ErrLeaseLost, r.State)
	case !now.Before(r.Until):
		return fmt.Errorf("slot %q: %w: it ended at %s", claimed.Slot, ErrLeaseLost, r.Until.UTC().Format(time.RFC3339))
	}
	return nil
}

// Save is the record with a checkpoint, once Holds has let it pass, or an error that matches ErrCancelled.
func (r Record) Save(checkpoint json.RawMessage, now time.Time) (Record, error) {
	if r.Cancelling {
		return r, fmt.Errorf("slot %q: %w", r.Slot, ErrCancelled)
	}
	r.Checkpoint, r.Updated = bytes.Clone(checkpoint), now
	return r, nil
}

// End is the record once its attempt has ended in state, which must be one that an attempt ends in; an error that
// matches ErrCancelled means that Cancelled is the only such state left, besides Done and Failed (which becomes it).
func (r Record) End(state State, report json.RawMessage, now time.Time) (Record, error) {
	switch {
	case state == Unfinished && r.Cancelling:
		return r, fmt.Errorf("slot %q: %w", r.Slot, ErrCancelled)
	case state == Failed && r.Cancelling:
		state = Cancelled
	case state == Unfinished, state == Done, state == Failed, state == Cancelled:
	default:
		return Record{}, fmt.Errorf("ending the run of slot %q: %q is not a state that a run ends in", r.Slot, state)
	}
	r.State, r.Updated, r.Report, r.Cancelling = state, now, bytes.Clone(report), false
	return r, nil
}

// Cancel is the record of a run, its slot's newest, that a person cancels, or r and an error that matches ErrDone. A
// run that is cancelled already stays so.
func (r Record) Cancel(now time.Time) (Record, error) {
	switch {
	case r.State == Done:
		return r, fmt.Errorf("cancelling run %s: %w", r.RunID, ErrDone)
	case r.State == Cancelled:
	case r.State == Running && now.Before(r.Until):
		r.Cancelling = true
	default:
		r.State, r.Updated, r.Cancelling = Cancelled, now, false
	}
	return r, nil
}

// Clone returns a copy that shares nothing with r.
func (r Record) Clone() Record {
	r.Trigger, r.Checkpoint, r.Report = bytes.Clone(r.Trigger), bytes.Clone(r.Checkpoint), bytes.Clone(r.Report)
	return r
}
