package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxMissed is how many slots a window may have: each may cost the store a request.
const maxMissed = 1000

// missedSlot is a slot before the invocation's own that is still to be run.
type missedSlot struct {
	slot  string
	at    time.Time
	entry entry
}

// catchUp runs what was missed before a schedule's slot. failed is what went wrong with single slots, which does not
// keep the slot itself from running; the error does: the slots before it are not over.
func (h *handler[P]) catchUp(ctx context.Context, c *call, e entry) (failed, err error) {
	if h.job.CatchUp <= 0 || e.trigger.Kind != Schedule || e.continued != nil {
		return nil, nil
	}
	a := h.attempt(c, e)
	var missed []missedSlot
	if err := guard(a.log, func() (err error) { missed, err = h.missed(ctx, c, e); return err }); err != nil {
		return nil, fmt.Errorf("finding the slots that were missed: %w", err)
	}
	for i, m := range missed {
		if c.left(h.config.Now()) <= 0 {
			return failed, fmt.Errorf("not begun: of %d slots that were missed before it %d are still to be run, from %s on, and the time is used up: "+
				"invoke this again", len(missed), len(missed)-i, m.slot)
		}
		_, report, err := h.one(ctx, c, m.entry)
		switch report.Outcome {
		case OutcomeDone, OutcomeDuplicate, OutcomeCancelled:
		case OutcomeFailed:
			failed = errors.Join(failed, fmt.Errorf("slot %s, which was missed: %w", m.slot, err))
		case OutcomeUnfinished:
			return failed, fmt.Errorf("not begun: slot %s, which was missed before it, is unfinished: invoke this again", m.slot)
		default: // another invocation is at one of them, or the job is paused
			return failed, nil
		}
	}
	if len(missed) > 0 && c.left(h.config.Now()) <= 0 {
		return failed, fmt.Errorf("not begun: the %d slots that were missed before it used up the time: invoke this again", len(missed))
	}
	return failed, nil
}

// missed lists, in order, the slots in the window before e's that have no record, and those whose run died.
func (h *handler[P]) missed(ctx context.Context, c *call, e entry) ([]missedSlot, error) {
	end := e.trigger.Time
	from := end.Add(-h.job.CatchUp)
	var times []time.Time
	if e.expression != "" {
		var err error
		if times, err = h.config.Slots(e.expression, e.timeZone, from, end); err != nil {
			return nil, err
		}
		if len(times) > maxMissed {
			return nil, fmt.Errorf("Job.CatchUp %v: the schedule has %d slots in it, more than %d: make it shorter", h.job.CatchUp, len(times), maxMissed)
		}
	}
	// Reruns and runs of other triggers are in between; what does not come into sight is asked for below.
	runs, err := h.config.Store.Runs(ctx, h.job.Name, min(2*len(times)+20, maxMissed))
	if err != nil {
		return nil, err
	}
	known := map[string]Record{}
	for _, r := range slices.Backward(runs) {
		known[r.Slot] = r
	}
	for _, at := range times {
		slot := ScheduleSlot(h.config.Stack, h.job.Name, e.trigger.Source, at)
		if _, ok := known[slot]; ok {
			continue
		}
		record, err := h.config.Store.Get(ctx, slot)
		switch {
		case errors.Is(err, ErrNotFound):
			record = Record{Slot: slot}
		case err != nil:
			return nil, err
		}
		known[slot] = record
	}
	group := scheduleGroup(h.config.Stack, h.job.Name, e.trigger.Source) + "/"
	var missed []missedSlot
	for slot, r := range known {
		stamp, ok := strings.CutPrefix(slot, group)
		at, err := time.Parse(time.RFC3339, stamp)
		if !ok || err != nil || !at.After(from) || !at.Before(end.Truncate(time.Second)) || !h.abandoned(c, r) {
			continue
		}
		m := missedSlot{slot: slot, at: at, entry: entry{trigger: e.trigger, overlap: e.overlap}}
		m.entry.trigger.Time = at
		if r.RunID != "" {
			m.entry.continued = &Continuation{Job: r.Job, Slot: r.Slot, RunID: r.RunID}
		} else if h.job.Overlap != OverlapAllow && e.overlap != OverlapAllow {
			m.entry.overlap = OverlapSkip // none of these waits: they come in order, or with the next slot
		}
		missed = append(missed, m)
	}
	slices.SortFunc(missed, func(a, b missedSlot) int { return a.at.Compare(b.at) })
	return missed, nil
}

// abandoned tells whether nobody is at a slot that is not over: it has no record, its run died without a word or was
// given up, or it is what an earlier attempt of this very invocation left.
func (h *handler[P]) abandoned(c *call, r Record) bool {
	ours := r.Owner == c.owner
	switch r.State {
	case "":
		return true
	case Running:
		return !r.Cancelling && (ours || !r.Occupies(h.config.Now()))
	case Unfinished:
		return !r.Occupies(h.config.Now()) || ours && h.config.Continue == nil
	case Waiting:
		return !r.Occupies(h.config.Now())
	case Failed:
		return ours
	}
	return false
}
