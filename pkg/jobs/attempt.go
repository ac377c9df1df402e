package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"sync"
	"time"
)

// attempt is one attempt at one run: the state behind a Run, whatever its params are.
type attempt struct {
	config  Config
	job     string
	call    *call
	log     *slog.Logger
	logged  [2]string // id and slot that the log has
	started time.Time
	usage   Usage // the totals when it began

	id      string
	slot    string
	number  int
	trigger Trigger
	group   string // of the slots that the run's may not overlap with; empty: none
	overlap Overlap
	form    int    // of the job's checkpoints
	record  Record // from Claim
	held    bool   // record's lease is ours
	// override: the store's trigger carries other params than ours, which count.
	override bool
	// runContext is Job.Run's, for what it makes us do without giving one.
	runContext context.Context

	keeping sync.Mutex // held while rows are written out

	mu          sync.Mutex
	counts      map[string]int64
	saved       map[string]int64 // counts at this attempt's last checkpoint
	before      map[string]int64 // counts that earlier attempts left
	progress    json.RawMessage  // what the last checkpoint says
	origin      json.RawMessage  // what it said when the attempt began
	stalled     int              // attempts before this one, in a row, that left the checkpoint as it was
	stalledNow  int              // the same with this one
	startedOver string           // why the run does not go on from its checkpoint
	checkpoints int              // made by this attempt
	rejects     rejects
	rejected    int64 // rows that earlier attempts left
	savedRows   rejects
	someBytes   int
	pending     []byte // NDJSON that waits to be kept
	keepErr     error
	result      json.RawMessage
	resultErr   error
	lost        error // matches ErrLeaseLost
	cancelled   error // matches ErrCancelled
}

func (h *handler[P]) attempt(c *call, e entry) *attempt {
	a := &attempt{
		config: h.config, job: h.job.Name, call: c, started: h.config.Now(), trigger: e.trigger, number: max(1, e.delivery),
		counts: map[string]int64{}, runContext: context.Background(), form: h.job.CheckpointVersion,
	}
	a.id = newRunID(e.trigger, a.started)
	if e.continued != nil {
		a.id, a.slot = e.continued.RunID, e.continued.Slot
	}
	a.identify()
	a.usage = a.used()
	return a
}

// identify renews the log once id or slot are known.
func (a *attempt) identify() {
	if a.log != nil && a.logged == [2]string{a.id, a.slot} {
		return
	}
	a.logged = [2]string{a.id, a.slot}
	a.log = slog.New(slog.NewJSONHandler(a.config.Log, &slog.HandlerOptions{Level: a.config.LogLevel})).With(
		"job", a.job, "runId", a.id, "slot", a.slot, "requestId", a.call.requestID)
}

// checkpointVersion is the form of savedState. A checkpoint of another form is not understood: the run starts over.
const checkpointVersion = 2

// savedState is what a Store keeps as a checkpoint: the job's own progress with what the framework adds.
type savedState struct {
	Version  int              `json:"v"`
	Form     int              `json:"form,omitempty"`    // Job.CheckpointVersion
	Stalled  int              `json:"stalled,omitempty"` // attempts in a row with the same progress
	Counts   map[string]int64 `json:"counts,omitempty"`
	Rejected rejects          `json:"rejected"`
	Trigger  json.RawMessage  `json:"trigger,omitempty"` // counts instead of the record's
	Progress json.RawMessage  `json:"progress"`
}

func (a *attempt) checkpoint(ctx context.Context, v any) error {
	progress, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("writing the checkpoint of run %s: %w", a.id, err)
	}
	if err := a.alive(); err != nil {
		return err
	}
	taken, err := a.keep(ctx)
	if err != nil {
		return err
	}
	state := savedState{Version: checkpointVersion, Form: a.form, Counts: taken.counts, Rejected: taken.rejects, Progress: progress}
	a.mu.Lock()
	if bytes.Equal(progress, a.origin) {
		state.Stalled = a.stalled + 1
	}
	a.mu.Unlock()
	state.Rejected.Some = state.Rejected.shown(a.config.Keep != nil)
	if a.held {
		if err := a.store(ctx, state); err != nil {
			return err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.progress, a.saved, a.savedRows, a.stalledNow = progress, state.Counts, state.Rejected, state.Stalled
	a.checkpoints++
	return nil
}

func (a *attempt) store(ctx context.Context, state savedState) error {
	if a.override {
		wire, err := a.trigger.wire()
		if err != nil {
			return err
		}
		state.Trigger = wire
	}
	data, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("writing the checkpoint of run %s: %w", a.id, err)
	}
	if err := a.config.Store.Checkpoint(ctx, a.record, data); err != nil {
		return a.noteLost(fmt.Errorf("saving the checkpoint of run %s: %w", a.id, err))
	}
	return nil
}

// stored reads what earlier attempts of a run left: the trigger that counts, the checkpoint, and, if that cannot be
// used, why.
func (a *attempt) stored(r Record) (t Trigger, state savedState, startOver string, err error) {
	if len(r.Checkpoint) > 0 {
		wrong := json.Unmarshal(r.Checkpoint, &state)
		switch {
		case wrong != nil || state.Version != checkpointVersion:
			state, startOver = savedState{}, "its checkpoint is of a form that this version does not know"
		case state.Form != a.form:
			startOver = fmt.Sprintf("its checkpoint has the version %d, and the job has %d", state.Form, a.form)
			state = savedState{Trigger: state.Trigger}
		}
	}
	trigger := state.Trigger
	if trigger == nil {
		trigger = r.Trigger
	}
	t, err = unwire(trigger)
	return t, state, startOver, err
}

// goOn takes over what earlier attempts of the run left.
func (a *attempt) goOn(continued bool) error {
	first, state, startOver, err := a.stored(a.record)
	switch {
	case err != nil && continued:
		return err
	case err != nil || !continued && !samePayload(first, a.trigger):
		startOver = "its earlier attempts had other params than those given now"
		a.override = true
		state = savedState{}
	default:
		// The time of the first attempt is the run's: a job that makes a day of it must not come to another on a retry.
		a.trigger, a.override = first, state.Trigger != nil
	}
	a.log.Info("going on with a run", "attempt", a.number, "checkpoint", state.Version != 0)
	a.mu.Lock()
	defer a.mu.Unlock()
	if startOver != "" {
		a.noteStart(startOver)
	}
	if state.Version == 0 {
		return nil
	}
	a.progress, a.origin, a.stalled = state.Progress, state.Progress, state.Stalled
	a.rejects, a.rejected = state.Rejected, state.Rejected.Rows
	maps.Copy(a.counts, state.Counts)
	a.before = state.Counts
	for _, x := range state.Rejected.Some {
		a.someBytes += len(x.Row) + len(x.Reason)
	}
	return nil
}

// noteStart says that the run starts over. a.mu is held.
func (a *attempt) noteStart(why string) {
	a.startedOver = why
	a.log.Warn("the run starts over", "why", why)
}

// startOver drops what earlier attempts left, because the job cannot read its checkpoint.
func (a *attempt) startOver(why string) {
	a.mu.Lock()
	a.noteStart(why)
	a.mu.Unlock()
	a.restart()
}

// restart forgets what was counted and rejected so far, and where the run was.
func (a *attempt) restart() {
	a.keeping.Lock() // a part that is being written belongs to what is forgotten
	defer a.keeping.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counts, a.before, a.rejects, a.rejected = map[string]int64{}, nil, rejects{}, 0
	a.pending, a.someBytes = nil, 0
	// What the store has is still the old checkpoint: only a new one is something to go on from.
	a.progress, a.origin, a.stalled, a.checkpoints = nil, nil, 0, 0
}

// alive checks the lease by the wall clock: a monotonic one stands still while an environment is frozen.
func (a *attempt) alive() error {
	a.mu.Lock()
	lost, cancelled := a.lost, a.cancelled
	a.mu.Unlock()
	if lost != nil {
		return lost
	}
	if now := a.config.Now().Round(0); !now.Before(a.call.deadline) {
		return a.noteLost(fmt.Errorf("run %s: %w: it ended at %s", a.id, ErrLeaseLost, a.call.deadline.UTC().Format(time.RFC3339)))
	}
	return cancelled
}

// noteLost remembers a lost lease and that the run was cancelled, whatever the job makes of the error.
func (a *attempt) noteLost(err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if errors.Is(err, ErrLeaseLost) {
		a.lost = err
	}
	if errors.Is(err, ErrCancelled) {
		a.cancelled = err
	}
	return err
}

func (a *attempt) used() Usage {
	if a.config.Usage == nil {
		return Usage{}
	}
	return a.config.Usage()
}

// panicked is what a panic becomes. It unwraps to nothing: whatever its value is, the run failed.
type panicked struct{ value any }

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// guard runs f and makes an error of its panic, whose stack goes to the log alone.
func guard(log *slog.Logger, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			p := &panicked{value: v}
			log.Error("panic", "error", clip(p.Error(), errorLimit), "stack", string(debug.Stack()))
			err = p
		}
	}()
	return f()
}
