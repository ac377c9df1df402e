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
	// Name identifies the job in slots, logs and metrics. Required; letters, digits and hyphens, at most 64.
	Name string
	// Run does the work. Required. It returns nil when all is done, ErrUnfinished when it stopped because time was
	// short (after a Checkpoint), any other error when it failed. A panic fails the run; one in a goroutine that Run
	// starts ends the process, as everywhere in Go.
	Run func(ctx context.Context, run *Run[P]) error
	// Params makes the parameters from what the trigger carries: an event's detail, a message's body, the input of a
	// schedule or of a run by hand. Nil: Decode, which refuses unknown fields.
	Params func(t Trigger, payload json.RawMessage) (P, error)
	// Digest identifies what the parameters refer to (the version of a file, say), so that a run by hand is resumed
	// only if that is the same. Its error is the run's as it is: name what could not be read. Nil: the parameters alone count.
	Digest func(ctx context.Context, params P) (string, error)
	// Overlap is what becomes of a slot of a schedule while an earlier one of it still runs. Empty: OverlapSkip.
	Overlap Overlap
	// CatchUp is how far back a schedule's invocation looks for slots that were missed, because the schedule did not
	// fire, or the job was paused or overlapped: they are run first, in order, as are runs that died without a word. A
	// new schedule has missed all slots of the window. Zero: none. It needs Config.Slots.
	CatchUp time.Duration
	// CheckpointVersion is the form of what the job gives to Run.Checkpoint: raise it when a new form cannot read the
	// old. A run that a deployment with another version began starts over, and its report says so.
	CheckpointVersion int
}

// ErrUnfinished is what Job.Run returns, wrapped or not, when it stopped before its deadline with work left. It must
// have made a Checkpoint in the same attempt: otherwise the run fails, because its continuations would never get on.
var ErrUnfinished = errors.New("unfinished: stopped before the deadline")

// Config is what a job runs with. The zero value runs it in memory, logging to standard error.
type Config struct {
	// Stack is the deployment's name, the first part of every slot: letters, digits, - and _. Empty: "local".
	Stack string
	// Store keeps slots, checkpoints and reports. Nil: a NewMemoryStore.
	Store Store
	// Continue hands an unfinished run to whoever will continue it, by invoking the handler with c's JSON. It is called
	// once the run's state is saved; its error fails the invocation, so that Lambda's retry continues the run. Nil: the
	// invocation of an unfinished run ends in an error that matches ErrUnfinished, for the same reason.
	Continue func(ctx context.Context, c Continuation) error
	// Keep stores a small file of the run (rejected rows) and tells where it is. The same name again replaces the file.
	// Its error fails the run. Nil: rejected rows stay in the report alone, the first 1,000 of them.
	Keep func(ctx context.Context, name string, data []byte) (where string, err error)
	// Usage returns running totals of what the job's clients used; the report has the difference. Nil: zeros.
	Usage func() Usage
	// Settle is called when a run has ended, before its report is made and answered, with at most a second: it lets
	// what is in flight end, because the environment may be frozen right after (m2m.Source.Wait). Nil: nothing.
	Settle func(ctx context.Context)
	// Report is called with the report of each run, message and item, before the answer is made: the answer to a queue
	// does not have them. Runs that the handler does at the same time call it at the same time. A panic in it goes to
	// the log alone. Nil: nothing.
	Report func(Report)
	// Doctor answers the payload {"doctor": true}, by hand, in the place of a run: with what it finds out about the job's
	// surroundings, as JSON. Nil: such a payload is params like any other.
	Doctor func(ctx context.Context) (any, error)
	// Margin is how long before the deadline a run stops by itself. Zero: a tenth of the time there is, at least 2
	// and at most 30 seconds. It is never more than half of the time there is.
	Margin time.Duration
	// Log is where log lines, the report and the metrics go, one JSON object a line. Nil: os.Stderr.
	Log io.Writer
	// LogLevel of Run.Log. Nil: info. The report and the metrics are written at any level.
	LogLevel slog.Leveler
	// Slots returns a schedule's times between after and before, both excluded, in order: of an expression like
	// "cron(0 3 * * ? *)" or "rate(1 hour)" in a time zone, as EventBridge Scheduler has them. Nil: Job.CatchUp must be
	// zero.
	Slots func(expression, timeZone string, after, before time.Time) ([]time.Time, error)
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
	PacedMS     int64 `json:"pacedMs"`     // milliseconds that requests waited for their turn within a budget, added up
	// TokensThisMonth is how many tokens were got this month, by this run and all others: an estimate for the tenant's quota,
	// which only a run that got one has. Zero: nobody counts.
	TokensThisMonth int64 `json:"tokensThisMonth,omitempty"`
	// Calls counts requests by what they ask of which route, as "GET /orders", where the host tells them apart.
	Calls map[string]int64 `json:"calls,omitempty"`
}

// since is what was used since the totals were before.
func (u Usage) since(before Usage) Usage {
	used := Usage{
		Requests:    u.Requests - before.Requests,
		Retries:     u.Retries - before.Retries,
		Tokens:      u.Tokens - before.Tokens,
		SecretReads: u.SecretReads - before.SecretReads,
		Throttled:   u.Throttled - before.Throttled,
		WaitedMS:    u.WaitedMS - before.WaitedMS,
		PacedMS:     u.PacedMS - before.PacedMS,
		Calls:       callsSince(u.Calls, before.Calls),
	}
	if used.Tokens > 0 {
		used.TokensThisMonth = u.TokensThisMonth // a total; that of an earlier run may be of another month
	}
	return used
}

// callsSince is what was called since the totals were before.
func callsSince(calls, before map[string]int64) map[string]int64 {
	var since map[string]int64
	for route, n := range calls {
		if n -= before[route]; n > 0 {
			if since == nil {
				since = map[string]int64{}
			}
			since[route] = n
		}
	}
	return since
}
