package jobs

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

// Handler returns the Lambda handler of a job. Its Invoke answers the Report as JSON ({"batchItemFailures"} for a
// queue's batch, an array of Reports for a Step Functions batch), together with an error if the run failed (of a batch's
// slots their reports alone say so): Lambda then sees the error, and the command shows both. The error of a run matches what the job returned. If job or config
// are wrong, every Invoke returns an error that says all that is.
//
// The handler may be used by several goroutines, but Config.Usage then counts what all of them use.
func Handler[P any](job Job[P], config Config) lambda.Handler {
	err := check(job, config)
	return &handler[P]{job: job, config: config.withDefaults(), err: err}
}

// Start serves a job on Lambda. It does not return. If job or config are wrong it logs what is and exits with 1.
//
// Anywhere else, where AWS_LAMBDA_RUNTIME_API is not set, it runs the job once, for a try at a terminal or a cron job.
// The event is the first argument, as JSON; "-" reads it from standard input; without any it is {}. The run's report
// goes to standard output (of a batch, those of its runs one after another), the log where Config.Log says. The process
// exits with 0 when all is done, 3 when that is so but rows were rejected, and 1 when something failed, was not run (the
// job is paused, say) or is under way in another process. If Config.Continue is nil an unfinished run is continued in the
// same process, until it ends. The run's context ends at SIGINT and SIGTERM; a second of them ends the process.
func Start[P any](job Job[P], config Config) {
	if err := check(job, config); err != nil {
		slog.New(slog.NewJSONHandler(config.withDefaults().Log, nil)).Error("the job cannot start", "error", err.Error())
		os.Exit(1)
	}
	if os.Getenv("AWS_LAMBDA_RUNTIME_API") == "" {
		os.Exit(atTerminal(job, config, os.Args[1:], os.Stdin, os.Stdout))
	}
	lambda.Start(Handler(job, config))
}

type handler[P any] struct {
	job    Job[P]
	config Config
	err    error // of the configuration
	pause  pause
}

// call is one invocation.
type call struct {
	requestID string
	owner     string // of leases: the request id, which Lambda's own retry has again
	began     time.Time
	deadline  time.Time // by the wall clock
	margin    time.Duration
}

// left is how long a run may still work.
func (c *call) left(now time.Time) time.Duration {
	return c.deadline.Add(-c.margin).Sub(now.Round(0))
}

func (h *handler[P]) call(ctx context.Context) *call {
	c := &call{began: h.config.Now().Round(0)}
	if l, ok := lambdacontext.FromContext(ctx); ok {
		c.requestID = l.AwsRequestID
	}
	c.owner = c.requestID
	if c.owner == "" {
		c.owner = strings.ToLower(rand.Text())
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = c.began.Add(longestRun)
	}
	// Without its monotonic reading a time is compared by the wall clock, which a freeze does not stop.
	c.deadline = deadline.Round(0)
	total := c.deadline.Sub(c.began)
	c.margin = h.config.Margin
	if c.margin == 0 {
		c.margin = min(max(total/10, shortestMargin), longestMargin)
	}
	c.margin = max(0, min(c.margin, total/2))
	return c
}

// Invoke implements lambda.Handler.
func (h *handler[P]) Invoke(ctx context.Context, payload []byte) (data []byte, err error) {
	c := h.call(ctx)
	log := slog.New(slog.NewJSONHandler(h.config.Log, nil)).With("requestId", c.requestID)
	if h.err != nil {
		log.Error("the job cannot run", "error", h.err.Error())
		return nil, h.err
	}
	// What the job does is guarded closer, so that its run is reported; this is for Config's functions.
	err = guard(log, func() error {
		data, err = h.invoke(ctx, c, payload)
		return err
	})
	return data, err
}

func (h *handler[P]) invoke(ctx context.Context, c *call, payload []byte) ([]byte, error) {
	if h.config.Doctor != nil && asksDoctor(payload) {
		return answer(h.config.Doctor(ctx))
	}
	inv, err := detect(payload, c.began)
	if err != nil {
		inv = invocation{entries: []entry{{trigger: Trigger{Time: c.began}, err: err}}}
	}
	switch inv.batch {
	case queueBatch:
		return h.messages(ctx, c, inv.entries)
	case itemBatch:
		return h.items(ctx, c, inv.entries)
	}
	report, err := h.run(ctx, c, inv.entries[0])
	return answer(report, err)
}

func answer(v any, err error) ([]byte, error) {
	data, wrong := json.Marshal(v)
	if wrong != nil {
		return nil, errors.Join(err, fmt.Errorf("writing the answer: %w", wrong))
	}
	return data, err
}

// messages runs a queue's batch, in order, and answers which are to be delivered again.
func (h *handler[P]) messages(ctx context.Context, c *call, entries []entry) ([]byte, error) {
	type failure struct {
		ItemIdentifier string `json:"itemIdentifier"`
	}
	response := struct {
		BatchItemFailures []failure `json:"batchItemFailures"`
	}{[]failure{}}
	for _, e := range entries {
		failed := len(response.BatchItemFailures) > 0
		switch {
		case failed && strings.HasSuffix(e.trigger.Source, ".fifo"):
			// A FIFO queue delivers in order: what follows a failed message must wait for it.
			e.err = errors.New("not begun: a message before it in the FIFO queue's batch failed")
		case c.left(h.config.Now()) <= 0:
			e.err = errors.New("not begun: the messages before it used up the time; make the batch smaller or the timeout longer")
		}
		if _, err := h.run(ctx, c, e); err != nil {
			response.BatchItemFailures = append(response.BatchItemFailures, failure{e.trigger.ID})
		}
	}
	return answer(response, nil)
}

// items runs a Step Functions batch, in order.
func (h *handler[P]) items(ctx context.Context, c *call, entries []entry) ([]byte, error) {
	reports := make([]Report, 0, len(entries))
	var failed []string
	var first error
	var longest time.Duration
	for i, e := range entries {
		began := h.config.Now()
		left := c.left(began)
		if e.inBatch && i > 0 && left <= longest {
			reports = append(reports, Report{Job: h.job.Name, Trigger: e.trigger, Outcome: OutcomeUnfinished, Error: "not begun: send it again"})
			continue
		}
		if e.err == nil && left <= 0 {
			e.err = errors.New("not begun: the items before it used up the time; make the batch smaller or the timeout longer")
		}
		report, err := h.run(ctx, c, e)
		longest = max(longest, h.config.Now().Sub(began))
		if e.inBatch && report.Error != "" {
			// What becomes of a slot its report says, and the store. The slots beside one that failed are done.
			if i > 0 && errors.Is(err, errHardStop) {
				report.Outcome = OutcomeUnfinished // it has not had an invocation's whole time yet
			}
			err = nil
		}
		reports = append(reports, report)
		if err == nil {
			continue
		}
		if first == nil {
			first = err
		}
		failed = append(failed, fmt.Sprint(i))
	}
	if first == nil {
		return answer(reports, nil)
	}
	return answer(reports, &jobFailed{
		text: fmt.Sprintf("of %d items (from 0) failed %s; the first: %v", len(entries), clip(strings.Join(failed, ", "), 4*nameLimit), first),
		err:  first,
	})
}

// jobFailed is the error of an invocation. Lambda shows its type's name and its text.
type jobFailed struct {
	text string
	err  error
}

func (e *jobFailed) Error() string { return clip(e.text, errorLimit) }
func (e *jobFailed) Unwrap() error { return e.err }
