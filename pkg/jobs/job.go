// Package jobs runs scheduled and event-driven jobs on AWS Lambda, or anywhere else.
package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"time"
)

// Job is a piece of work with parameters of type P.
type Job[P any] struct {
	// Name identifies the job in slots, logs and metrics. Required; letters, digits and hyphens.
	Name string
	// Run does the work. Required. It returns nil when all is done, ErrUnfinished when it stopped because time was
	// short (after a Checkpoint), any other error when it failed.
	Run func(ctx context.Context, run *Run[P]) error
	// Params makes the parameters from what the trigger carries: an event's detail, a message's body, the input of a
	// schedule or of a run by hand. Nil: Decode, which refuses unknown fields.
	Params func(t Trigger, payload json.RawMessage) (P, error)
	// Digest identifies what the parameters refer to (the version of a file, say), so that a run by hand is resumed
	// only if that is the same. Nil: the parameters alone count.
	Digest func(ctx context.Context, params P) (string, error)
}

// Decode is the strict decoding that a Job without Params uses: a field that P does not have is an error that names
// it. An empty payload is P's zero value.
func Decode[P any](payload json.RawMessage) (P, error) { panic("TODO") }

// ErrUnfinished is what Job.Run returns, wrapped or not, when it stopped before its deadline with work left.
var ErrUnfinished = errors.New("unfinished: stopped before the deadline")

// Config is what a job runs with. The zero value runs it in memory, logging to standard error.
type Config struct {
	// Stack is the deployment's name, the first part of every slot. Empty: "local".
	Stack string
	// Store keeps slots, checkpoints and reports. Nil: a NewMemoryStore.
	Store Store
	// Continue hands an unfinished run to whoever will continue it, by invoking the handler with c's JSON. Nil: the
	// next attempt at the same slot continues it.
	Continue func(ctx context.Context, c Continuation) error
	// Keep stores a small file of the run (rejected rows) and tells where it is. Nil: rejected rows stay in the
	// report alone, the first 1,000 of them.
	Keep func(ctx context.Context, name string, data []byte) (where string, err error)
	// Usage returns running totals of what the job's clients used; the report has the difference. Nil: zeros.
	Usage func() Usage
	// Settle is called before each answer, with at most a second: it lets what is in flight end, because the
	// environment may be frozen right after (m2m.Source.Wait). Nil: nothing.
	Settle func(ctx context.Context)
	// Margin is how long before the deadline a run stops by itself. Zero: a tenth of the time there is, at least 2
	// and at most 30 seconds.
	Margin time.Duration
	// Log is where log lines, the report and the metrics go, one JSON object a line. Nil: os.Stderr.
	Log io.Writer
	// LogLevel of Run.Log. Nil: info.
	LogLevel slog.Leveler
	// Namespace of the metrics. Empty: "m2mjobs".
	Namespace string
	// Now is the wall clock. Nil: time.Now.
	Now func() time.Time
}

// Usage counts what a run used of others' services.
type Usage struct {
	Requests    int64 `json:"requests"`    // HTTP requests to APIs, repeated ones included, token requests not
	Retries     int64 `json:"retries"`     // of these, repeated ones
	Tokens      int64 `json:"tokens"`      // access tokens got
	SecretReads int64 `json:"secretReads"` // reads of the app secret
	Throttled   int64 `json:"throttled"`   // answers 429
	WaitedMS    int64 `json:"waitedMs"`    // milliseconds waited before repeating
}

// Continuation is the envelope that continues a run: pass it to the handler as JSON.
type Continuation struct {
	Job   string `json:"job"`
	Slot  string `json:"slot"`
	RunID string `json:"runId"`
}
