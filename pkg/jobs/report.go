package jobs

import (
	"encoding/json"
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
	Result     json.RawMessage  `json:"result,omitempty"`
	Error      string           `json:"error,omitempty"`
	RequestID  string           `json:"requestId,omitempty"` // Lambda's
}

// Rejected are the rows that were kept back.
type Rejected struct {
	Rows int64       `json:"rows"`           // of all attempts of the run
	Kept []string    `json:"kept,omitempty"` // where they are, as NDJSON of Rejection
	Some []Rejection `json:"some,omitempty"` // the first few; all if Kept is empty
}
