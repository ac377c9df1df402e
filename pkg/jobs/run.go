package jobs

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"
)

// Run is one run of a job: what it was started with, and what it reports.
type Run[P any] struct {
	// ID is the run's own name. A slot that runs again after it was done gets another.
	ID string
	// Slot is what must run once; empty for the messages of a queue.
	Slot string
	// Attempt is 1 for the first, and one more for each continuation, retry or take-over.
	Attempt int
	// Trigger is what started it.
	Trigger Trigger
	// Params are the parameters.
	Params P
	// Log has run id, slot and request id on every line.
	Log *slog.Logger
}

// Count adds n to the report's count of that name.
func (r *Run[P]) Count(name string, n int64) { panic("TODO") }

// Rejection is a row that was not used, and why.
type Rejection struct {
	Line   int             `json:"line"`          // where it stands in the source, from 1; zero: it has no line
	Kind   string          `json:"kind"`          // "rejected", or another name the job counts it under
	Reason string          `json:"reason"`        // what is wrong and what to do about it
	Row    json.RawMessage `json:"row,omitempty"` // the row as it came; a JSON string if it is not JSON
}

// Reject keeps a row that was not used. It is written out with the next Checkpoint or at the end, once.
func (r *Run[P]) Reject(x Rejection) { panic("TODO") }

// Result sets what the report carries under "result". It must marshal to a JSON object.
func (r *Run[P]) Result(v any) { panic("TODO") }

// Checkpoint saves v, the counts and the rejected rows so far, so that a later attempt goes on from here. An error
// that matches ErrLeaseLost means that another attempt has taken over: return it at once.
func (r *Run[P]) Checkpoint(ctx context.Context, v any) error { panic("TODO") }

// Resume reads the last checkpoint into v and tells whether there was one.
func (r *Run[P]) Resume(v any) (bool, error) { panic("TODO") }

// TimeLeft is how long the run may still work before it should stop by itself, by checkpoint and ErrUnfinished.
// Without a deadline it is very long.
func (r *Run[P]) TimeLeft() time.Duration { panic("TODO") }

// Alive returns an error that matches ErrLeaseLost when the wall clock is past the lease: call it right before each
// write. It makes no request.
func (r *Run[P]) Alive() error { panic("TODO") }
