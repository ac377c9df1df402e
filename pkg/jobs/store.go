package jobs

import (
	"context"
	"encoding/json"
	"errors"
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
	// ErrOverlap: another slot of the group runs. The record is that one's. Give way.
	ErrOverlap = errors.New("another slot of the schedule is running")
	// ErrPaused: the job is paused. Nothing was claimed; try again once it is resumed.
	ErrPaused = errors.New("the job is paused")
	// ErrCancelled: a person cancelled the run. Stop, and end it as Cancelled.
	ErrCancelled = errors.New("the run was cancelled")
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
	Waiting    State = "waiting"   // queued behind the running slot of its group
	Cancelled  State = "cancelled" // stopped by a person, for good: only a Rerun begins anew
)

// Overlap is what becomes of a slot of a schedule while another of the same schedule still runs.
type Overlap string

// The policies.
const (
	OverlapSkip  Overlap = "skip"  // it is not run; also the meaning of ""
	OverlapQueue Overlap = "queue" // it is run afterwards; at most one waits, a further one is not run
	OverlapAllow Overlap = "allow" // it is run beside the other
)

// Claim asks for a slot.
type Claim struct {
	Slot    string
	Job     string
	RunID   string          // the id of the run if a new one begins
	Owner   string          // the Lambda request id: a claim by the same owner takes its own lease over
	Trigger json.RawMessage // kept with the run, for its continuations
	Until   time.Time       // the end of the lease
	Rerun   bool            // a run that another owner finished, that was cancelled, or that stopped long ago gives way to a new one
	Group   string          // the slots that may not overlap: stack/job/schedule. Empty: none
	Overlap Overlap         // what to do while another slot of Group runs
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
	Report     json.RawMessage `json:"report,omitempty"`     // of the last attempt that ended
	Group      string          `json:"group,omitempty"`      // of the last claim
	Cancelling bool            `json:"cancelling,omitempty"` // Running, and to stop at its next checkpoint
}

// Store keeps slots. Implementations: NewMemoryStore, jobs/bolt on disk, jobs/dynamodb; storetest.Run checks one.
// What a Store decides it decides by the methods of Claim and Record, by NextOf and by ShareOut, so that all stores decide alike.
type Store interface {
	// Claim takes the slot until c.Until. A new slot, and a finished or cancelled one with c.Rerun, begins a new run; an
	// unfinished, failed or waiting one, one whose lease has ended, and one that the same owner holds goes on with
	// Attempt and Fence one higher, unless c.Rerun comes from another owner more than 24 hours after it was last Updated:
	// then a new run begins. Otherwise the error matches ErrDone, ErrHeld or ErrCancelled, with the record as it stands.
	// Claim.On decides this.
	//
	// Then, if c.Group is not empty and c.Overlap is not OverlapAllow, another slot of the group may be in the way:
	// with OverlapSkip the error matches ErrOverlap, and the record is the other slot's; with OverlapQueue the slot is
	// put to wait, and the record that is returned, without an error, is Waiting and not Running: nothing was claimed.
	// Claim.Among decides this.
	//
	// Every claim of a paused job fails with ErrPaused, and changes nothing; the record then says nothing.
	Claim(ctx context.Context, c Claim) (Record, error)
	// Checkpoint saves a checkpoint under the lease that r (from Claim) stands for, or fails with ErrLeaseLost, or with
	// ErrCancelled if the run is to stop; it can still be finished then. Record.Holds and Record.Save decide this.
	Checkpoint(ctx context.Context, r Record, checkpoint json.RawMessage) error
	// Finish ends the attempt with a state other than Running and Waiting and frees the lease and the group, or fails
	// with ErrLeaseLost. A run that is to stop cannot end as Unfinished: that fails with ErrCancelled, and it must be
	// finished as Cancelled; as Failed it ends as Cancelled. Record.Holds and Record.End decide this.
	Finish(ctx context.Context, r Record, state State, report json.RawMessage) error
	// Get returns the record of a slot's newest run, or ErrNotFound.
	Get(ctx context.Context, slot string) (Record, error)
	// Runs lists a job's runs, waiting ones too, newest first, at most limit.
	Runs(ctx context.Context, job string, limit int) ([]Record, error)
	// Find returns a run by its id, also one that is not its slot's newest, or ErrNotFound.
	Find(ctx context.Context, runID string) (Record, error)
	// Cancel stops a run. One that is running under a lease is marked, and stops at its next Checkpoint; all others end
	// as Cancelled at once. The record is what became of it. A run that is done, or is not its slot's newest any more,
	// cannot be cancelled: the error matches ErrDone. Record.Cancel decides this.
	Cancel(ctx context.Context, runID string) (Record, error)
	// Pause makes all claims of a job fail with ErrPaused, or no longer. Runs under way go on to their end.
	Pause(ctx context.Context, job string, paused bool) error
	// Paused tells whether a job is paused.
	Paused(ctx context.Context, job string) (bool, error)
	// Next gives out the slot that waits in a group, once it is free, to be claimed within a minute: until then nobody
	// else gets it. ErrNotFound if none waits, or another slot of the group is running. NextOf decides this.
	Next(ctx context.Context, group string) (Record, error)
	// Share leases to owner a part of the budget of that name until the time given, or renews the owner's lease, and
	// returns the part, in thousandths (WholeShare); zero if nothing is free now. The parts of all whose leases have not
	// ended never add up to more than the whole. An until that is not in the future gives the share back. ShareOut
	// decides this.
	Share(ctx context.Context, budget, owner string, until time.Time) (part int, err error)
}
