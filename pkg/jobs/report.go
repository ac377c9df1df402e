package jobs

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"time"
)

// Outcome is how an invocation ended.
type Outcome string

// The outcomes.
const (
	OutcomeDone       Outcome = "done"
	OutcomeFailed     Outcome = "failed"
	OutcomeUnfinished Outcome = "unfinished" // to be continued
	OutcomeDuplicate  Outcome = "duplicate"  // the slot was done before; the report is the first run's
	OutcomeInProgress Outcome = "inProgress" // another invocation is at it
	OutcomeSkipped    Outcome = "skipped"    // another slot of the schedule is running, and this one is not run
	OutcomeQueued     Outcome = "queued"     // another slot of the schedule is running, and this one waits
	OutcomePaused     Outcome = "paused"     // the job is paused
	OutcomeCancelled  Outcome = "cancelled"  // a person stopped it
)

// Report is what a run says of itself.
type Report struct {
	Job        string           `json:"job"`
	RunID      string           `json:"runId"`
	Slot       string           `json:"slot,omitempty"`
	Trigger    Trigger          `json:"trigger"`
	Attempt    int              `json:"attempt"`
	Started    time.Time        `json:"started"` // of this attempt
	Ended      time.Time        `json:"ended"`
	DurationMS int64            `json:"durationMs"`
	Outcome    Outcome          `json:"outcome"`
	Duplicate  bool             `json:"duplicate,omitempty"`
	InProgress bool             `json:"inProgress,omitempty"`
	Counts     map[string]int64 `json:"counts,omitempty"` // of all attempts of the run
	Usage                       // of this attempt
	Rejected   *Rejected        `json:"rejected,omitempty"`
	// StartedOver says why a run did not go on from its checkpoint.
	StartedOver string          `json:"startedOver,omitempty"`
	Result      json.RawMessage `json:"result,omitempty"`
	Error       string          `json:"error,omitempty"`     // at most 4 KB of it
	RequestID   string          `json:"requestId,omitempty"` // Lambda's
}

// Rejected are the rows that were kept back.
type Rejected struct {
	Rows  int64       `json:"rows"`            // of all attempts of the run
	Parts int         `json:"parts,omitempty"` // in how many files they are, as NDJSON of Rejection
	Kept  []string    `json:"kept,omitempty"`  // where the first 10 parts are; the others beside them: rejected/RUNID/%05d.ndjson, from 1
	Some  []Rejection `json:"some,omitempty"`  // the first 10; the first 1,000, at most 1 MB, if they are not kept
}

// logged is the report as the log has it: without the rejected rows' contents, which are personal, and few of them,
// because a log event is limited (256 KB).
func (r Report) logged() Report {
	if r.Rejected == nil {
		return r
	}
	rejected := *r.Rejected
	rejected.Some = make([]Rejection, min(len(r.Rejected.Some), 10*someRows))
	for i := range rejected.Some {
		rejected.Some[i] = r.Rejected.Some[i]
		rejected.Some[i].Row = nil
	}
	r.Rejected = &rejected
	return r
}

// report is what the attempt says of itself now.
func (a *attempt) report(outcome Outcome, used Usage, err error) Report {
	a.mu.Lock()
	defer a.mu.Unlock()
	counts, rows := a.counts, a.rejects
	if outcome == OutcomeUnfinished {
		// What was done since the checkpoint will be done again.
		counts, rows = a.saved, a.savedRows
	}
	ended := a.config.Now()
	r := Report{
		Job: a.job, RunID: a.id, Slot: a.slot, Trigger: a.trigger, Attempt: a.number,
		Started: a.started.UTC(), Ended: ended.UTC(), DurationMS: max(0, ended.Sub(a.started).Milliseconds()),
		Outcome: outcome, Counts: maps.Clone(counts), Usage: used, Result: a.result, RequestID: a.call.requestID,
		StartedOver: a.startedOver,
	}
	if a.resultErr != nil {
		r.Result = nil
	}
	if rows.Rows > 0 {
		kept := a.config.Keep != nil && (len(a.pending) == 0 || outcome == OutcomeUnfinished) && a.keepErr == nil
		r.Rejected = &Rejected{Rows: rows.Rows, Parts: rows.Parts, Kept: rows.Kept, Some: rows.shown(kept)}
	}
	if err != nil {
		r.Error = clip(err.Error(), errorLimit)
	}
	return r
}

// reportLine is how the report stands in the log: as if a.log had written it, whatever its level.
type reportLine struct {
	Time      time.Time  `json:"time"`
	Level     slog.Level `json:"level"`
	Msg       string     `json:"msg"`
	Job       string     `json:"job"`
	RunID     string     `json:"runId"`
	Slot      string     `json:"slot"`
	RequestID string     `json:"requestId"`
	Report    Report     `json:"report"`
}

func (a *attempt) writeLogged(w io.Writer, level slog.Level, r Report) error {
	line := json.NewEncoder(w)
	line.SetEscapeHTML(false) // as slog does
	return line.Encode(reportLine{time.Now(), level, "report", a.job, a.id, a.slot, a.call.requestID, r.logged()})
}

// write puts the report into the log, whatever its level is, and the metrics beside it, and hands it on.
func (a *attempt) write(r Report, m metrics) {
	level := slog.LevelInfo
	switch r.Outcome {
	case OutcomeFailed:
		level = slog.LevelError
	case OutcomeUnfinished, OutcomeSkipped, OutcomePaused, OutcomeCancelled:
		level = slog.LevelWarn
	}
	// Both in one write, because who collects the log wakes up at each.
	var lines bytes.Buffer
	err := errors.Join(a.writeLogged(&lines, level, r), m.write(a, &lines))
	if _, failed := a.config.Log.Write(lines.Bytes()); err == nil {
		err = failed
	}
	if err != nil {
		a.log.Error("writing the report and the metrics", "error", err)
	}
	if a.config.Report == nil {
		return
	}
	if err := guard(a.log, func() error { a.config.Report(r); return nil }); err != nil {
		a.log.Error("handing on the report", "error", clip(err.Error(), errorLimit))
	}
}
