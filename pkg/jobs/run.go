package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"time"
)

// Run is one run of a job: what it was started with, and what it reports. Handler makes it. Its methods may be called
// from several goroutines; a Checkpoint has what was counted and rejected before it was called.
type Run[P any] struct {
	// ID is the run's own name. A slot that runs again after it was done gets another.
	ID string
	// Slot is what must run once; empty for the messages of a queue.
	Slot string
	// Attempt is 1 for the first, and one more for each continuation, retry or take-over. Of a message: how often the
	// queue has delivered it.
	Attempt int
	// Trigger is what started it: for all attempts of a run that goes on, what started the first.
	Trigger Trigger
	// Params are the parameters.
	Params P
	// Log has run id, slot and request id on every line.
	Log *slog.Logger

	attempt *attempt
}

// Count adds n to the report's count of that name. Counts of a failed attempt since its last Checkpoint are dropped
// with its work: the next attempt does it again.
func (r *Run[P]) Count(name string, n int64) {
	a := r.attempt
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counts[name] += n
}

// Rejection is a row that was not used, and why.
type Rejection struct {
	Line   int             `json:"line"`          // where it stands in the source, from 1; zero: it has no line
	Kind   string          `json:"kind"`          // "rejected", or another name the job counts it under
	Reason string          `json:"reason"`        // what is wrong and what to do about it, at most 1 KB; is logged, so no personal data
	Row    json.RawMessage `json:"row,omitempty"` // the row as it came; a JSON string if it is not JSON; is not logged
}

// Reject keeps a row that was not used. It is written out with the next Checkpoint or at the end, once.
func (r *Run[P]) Reject(x Rejection) { r.attempt.reject(x) }

// Result sets what the report carries under "result". It must marshal to a JSON object: otherwise the run fails.
func (r *Run[P]) Result(v any) {
	a := r.attempt
	data, err := json.Marshal(v)
	switch {
	case err != nil:
		err = fmt.Errorf("Run.Result: %w", err)
	case kindOf(data) != "an object":
		err = fmt.Errorf("Run.Result: %s, not an object", kindOf(data))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.result, a.resultErr = data, err
}

// Checkpoint saves v, the counts and the rejected rows so far, so that a later attempt goes on from here. An error
// that matches ErrLeaseLost means that another attempt has taken over, one that matches ErrCancelled that a person has
// stopped the run: return it at once. The messages of a queue have no slot: theirs keeps the rejected rows only.
func (r *Run[P]) Checkpoint(ctx context.Context, v any) error { return r.attempt.checkpoint(ctx, v) }

// Resume reads the last checkpoint into v, a pointer, and tells whether there was one. What does not fit v was saved by
// an older deployment in another form: then the run starts over as if there were none, and its log and report say so.
// Rather than rely on that, raise [Job].CheckpointVersion with the form.
func (r *Run[P]) Resume(v any) (bool, error) {
	a := r.attempt
	a.mu.Lock()
	progress := a.progress
	a.mu.Unlock()
	if progress == nil {
		return false, nil
	}
	to := reflect.ValueOf(v)
	if to.Kind() != reflect.Pointer || to.IsNil() {
		return false, fmt.Errorf("reading the checkpoint of run %s: Resume wants a pointer, got %T", r.ID, v)
	}
	// What cannot be read whole must leave v as it was.
	read := reflect.New(to.Type().Elem())
	if err := json.Unmarshal(progress, read.Interface()); err != nil {
		a.startOver(fmt.Sprintf("its checkpoint cannot be read: %v", plainly(err)))
		return false, nil
	}
	to.Elem().Set(read.Elem())
	return true, nil
}

// Restart begins the run's work again from nothing, where what earlier attempts did does not count any more (their
// source was replaced, say): it drops all that was counted and rejected so far, and Resume finds no checkpoint. Parts
// of rejected rows are numbered from 1 again and replace the old ones; old ones above Rejected.Parts mean nothing. Call
// it before anything is counted. In the Store the old checkpoint stands until the next one.
func (r *Run[P]) Restart() { r.attempt.restart() }

// TimeLeft is how long the run may still work before it should stop by itself, by checkpoint and ErrUnfinished.
// It is zero or negative when it should stop now. Without a deadline it is very long.
func (r *Run[P]) TimeLeft() time.Duration { return r.attempt.call.left(r.attempt.config.Now()) }

// Alive returns an error that matches ErrLeaseLost when the wall clock is past the lease, or a Checkpoint has found
// it taken over, and one that matches ErrCancelled when a Checkpoint has found the run cancelled: call it right before
// each write. It makes no request.
func (r *Run[P]) Alive() error { return r.attempt.alive() }
