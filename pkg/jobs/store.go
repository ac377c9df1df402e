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
)

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
	Rerun   bool            // a finished run does not refuse: a new one begins
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
	// higher. Otherwise the error matches ErrDone or ErrHeld, with the record as it stands.
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

// NewMemoryStore returns a Store that lives as long as the process. now is the wall clock; nil: time.Now.
func NewMemoryStore(now func() time.Time) Store { panic("TODO") }
