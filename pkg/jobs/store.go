package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// What Store methods refuse with; match with errors.Is.
var (
	// ErrDone: the slot's run is finished. The record has its report.
	ErrDone = errors.New("the slot is done")
	// ErrHeld: another invocation holds the slot. Give way.
	ErrHeld = errors.New("the slot is held by another invocation")
	// ErrLeaseLost: the lease has ended or another attempt has taken the slot over. Stop writing.
	ErrLeaseLost = errors.New("the lease on the slot is lost")
	// ErrNotFound: there is no such run.
	ErrNotFound = errors.New("no such run")
)

// resumedWithin is how long after its last sign of life a run is gone on with by hand.
const resumedWithin = 24 * time.Hour

// State is where a run stands.
type State string

// The states of a run.
const (
	Running    State = "running"    // an attempt holds the lease, or died with it
	Unfinished State = "unfinished" // stopped with a checkpoint: to be continued
	Done       State = "done"
	Failed     State = "failed"
)

// Claim asks for a slot.
type Claim struct {
	Slot    string
	Job     string
	RunID   string          // the id of the run if a new one begins
	Owner   string          // the Lambda request id: a claim by the same owner takes its own lease over
	Trigger json.RawMessage // kept with the run, for its continuations
	Until   time.Time       // the end of the lease
	Rerun   bool            // a run that another owner finished does not refuse, and one that stopped long ago does not go on: a new one begins
}

// Record is what a Store has of a slot's newest run.
type Record struct {
	Slot       string          `json:"slot"`
	Job        string          `json:"job"`
	RunID      string          `json:"runId"`
	Owner      string          `json:"owner"`
	State      State           `json:"state"`
	Attempt    int             `json:"attempt"`
	Fence      int64           `json:"fence"` // grows with every claim of the slot
	Until      time.Time       `json:"until"`
	Started    time.Time       `json:"started"` // of the first attempt
	Updated    time.Time       `json:"updated"`
	Trigger    json.RawMessage `json:"trigger,omitempty"`
	Checkpoint json.RawMessage `json:"checkpoint,omitempty"`
	Report     json.RawMessage `json:"report,omitempty"` // of the last attempt that ended
}

// Store keeps slots. Implementations: NewMemoryStore, jobs/bolt on disk; storetest.Run checks one.
type Store interface {
	// Claim takes the slot until c.Until. A new slot, and a finished one with c.Rerun, begins a new run; an unfinished
	// or failed one, one whose lease has ended, and one that the same owner holds goes on with Attempt and Fence one
	// higher, unless c.Rerun comes from another owner more than 24 hours after it was last Updated: then a new run
	// begins. Otherwise the error matches ErrDone or ErrHeld, with the record as it stands. Claim.On decides all this.
	Claim(ctx context.Context, c Claim) (Record, error)
	// Checkpoint saves a checkpoint under the lease that r (from Claim) stands for, or fails with ErrLeaseLost.
	Checkpoint(ctx context.Context, r Record, checkpoint json.RawMessage) error
	// Finish ends the attempt with a state other than Running and frees the lease, or fails with ErrLeaseLost.
	Finish(ctx context.Context, r Record, state State, report json.RawMessage) error
	// Get returns the record of a slot's newest run, or ErrNotFound.
	Get(ctx context.Context, slot string) (Record, error)
	// Runs lists a job's runs, newest first, at most limit.
	Runs(ctx context.Context, job string, limit int) ([]Record, error)
}

// On decides a claim for a Store: last is the slot's newest run, nil if there is none. It returns the record to put
// in its place, atomically, or last and an error that matches ErrDone or ErrHeld.
func (c Claim) On(last *Record, now time.Time) (Record, error) {
	if c.Slot == "" || c.Job == "" || c.RunID == "" || c.Owner == "" {
		return Record{}, fmt.Errorf("claiming slot %q: slot, job, run id and owner are all needed", c.Slot)
	}
	if !c.Until.After(now) {
		return Record{}, fmt.Errorf("claiming slot %q: the lease would have ended before it began (at %s)", c.Slot, c.Until.UTC().Format(time.RFC3339))
	}
	fresh := Record{
		Slot: c.Slot, Job: c.Job, RunID: c.RunID, Owner: c.Owner, State: Running, Attempt: 1, Fence: 1,
		Until: c.Until, Started: now, Updated: now, Trigger: bytes.Clone(c.Trigger),
	}
	if last == nil {
		return fresh, nil
	}
	switch {
	case last.State == Done && c.Rerun && last.Owner != c.Owner:
		fresh.Fence = last.Fence + 1
		return fresh, nil
	case last.State == Done:
		return last.Clone(), fmt.Errorf("claiming slot %q: %w", c.Slot, ErrDone)
	case last.State == Running && last.Owner != c.Owner && now.Before(last.Until):
		return last.Clone(), fmt.Errorf("claiming slot %q: %w, until %s", c.Slot, ErrHeld, last.Until.UTC().Format(time.RFC3339))
	// Without its monotonic reading a time is compared by the wall clock, which a freeze does not stop.
	case c.Rerun && last.Owner != c.Owner && now.Round(0).Sub(last.Updated) > resumedWithin:
		fresh.Fence = last.Fence + 1
		return fresh, nil
	}
	on := last.Clone()
	on.Owner, on.State, on.Until, on.Updated = c.Owner, Running, c.Until, now
	on.Attempt++
	on.Fence++
	return on, nil
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

// End is the record once its attempt has ended in state, which must not be Running.
func (r Record) End(state State, report json.RawMessage, now time.Time) (Record, error) {
	switch state {
	case Unfinished, Done, Failed:
	default:
		return Record{}, fmt.Errorf("ending the run of slot %q: %q is not a state that a run ends in", r.Slot, state)
	}
	r.State, r.Updated, r.Report = state, now, bytes.Clone(report)
	return r, nil
}

// Clone returns a copy that shares nothing with r.
func (r Record) Clone() Record {
	r.Trigger, r.Checkpoint, r.Report = bytes.Clone(r.Trigger), bytes.Clone(r.Checkpoint), bytes.Clone(r.Report)
	return r
}
