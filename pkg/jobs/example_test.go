package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// dayParams are the params of the examples' job.
type dayParams struct {
	Date string `json:"date"`
}

// A job that a schedule starts: the template passes its ARN and scheduled time, and the params.
func Example() {
	job := jobs.Job[dayParams]{
		Name: "daily-orders",
		Run: func(ctx context.Context, run *jobs.Run[dayParams]) error {
			run.Count("orders", 60)
			run.Result(map[string]string{"file": "stats/" + run.Params.Date + ".json"})
			return nil
		},
	}
	// In a function's main this is jobs.Start(job, config).
	handler := jobs.Handler(job, jobs.Config{Stack: "shop", Log: io.Discard})
	schedule := []byte(`{"m2mjobs": {
		"schedule": "arn:aws:scheduler:eu-west-1:123456789012:schedule/default/nightly",
		"time": "2026-11-24T03:00:00Z", "attempt": "1", "params": {"date": "2026-11-23"}}}`)
	for range 2 { // delivered twice, run once
		answer, err := handler.Invoke(context.Background(), schedule)
		var report jobs.Report
		if err := errors.Join(err, json.Unmarshal(answer, &report)); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(report.Slot, report.Outcome, report.Counts["orders"], string(report.Result))
	}
	// Output:
	// shop/daily-orders/nightly/2026-11-24T03:00:00Z done 60 {"file":"stats/2026-11-23.json"}
	// shop/daily-orders/nightly/2026-11-24T03:00:00Z duplicate 60 {"file":"stats/2026-11-23.json"}
}

// A run that has more to do than there is time for: it stops by itself, and goes on from its checkpoint.
func ExampleRun_Checkpoint() {
	job := jobs.Job[struct{}]{
		Name: "long",
		Run: func(ctx context.Context, run *jobs.Run[struct{}]) error {
			var next int // the zero value if there is no checkpoint
			if _, err := run.Resume(&next); err != nil {
				return err
			}
			for ; next < 5; next++ {
				if next == 3 && run.Attempt == 1 { // in earnest: run.TimeLeft() < time.Second
					if err := run.Checkpoint(ctx, next); err != nil {
						return err
					}
					return jobs.ErrUnfinished
				}
				run.Count("pages", 1)
			}
			return nil
		},
	}
	var next []byte
	handler := jobs.Handler(job, jobs.Config{
		Log: io.Discard,
		Continue: func(_ context.Context, c jobs.Continuation) (err error) {
			next, err = json.Marshal(c)
			return err
		},
	})
	for payload := []byte(`{}`); payload != nil; payload = next {
		next = nil
		answer, err := handler.Invoke(context.Background(), payload)
		var report jobs.Report
		if err := errors.Join(err, json.Unmarshal(answer, &report)); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("attempt", report.Attempt, report.Outcome, report.Counts["pages"], "pages")
	}
	// Output:
	// attempt 1 unfinished 3 pages
	// attempt 2 done 5 pages
}

// Rows that cannot be used are a result, not an error: they are kept with their reasons.
func ExampleRun_Reject() {
	job := jobs.Job[struct{}]{
		Name: "sync",
		Run: func(_ context.Context, run *jobs.Run[struct{}]) error {
			run.Count("rejected", 1)
			run.Reject(jobs.Rejection{
				Line: 7, Kind: "rejected", Reason: "no key that finds a user: add id or primaryEmail",
				Row: json.RawMessage(`{"customData":{}}`),
			})
			return nil
		},
	}
	handler := jobs.Handler(job, jobs.Config{
		Log: io.Discard,
		Keep: func(_ context.Context, name string, data []byte) (string, error) {
			fmt.Printf("%s", data)
			return "s3://bucket/" + name, nil
		},
	})
	answer, err := handler.Invoke(context.Background(), nil)
	var report jobs.Report
	if err := errors.Join(err, json.Unmarshal(answer, &report)); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.Outcome, report.Rejected.Rows, len(report.Rejected.Kept))
	// Output:
	// {"line":7,"kind":"rejected","reason":"no key that finds a user: add id or primaryEmail","row":{"customData":{}}}
	// done 1 1
}

// Of a queue's batch only the messages that failed are delivered again.
func ExampleHandler_queue() {
	job := jobs.Job[dayParams]{
		Name: "daily-orders",
		Run:  func(context.Context, *jobs.Run[dayParams]) error { return nil },
	}
	handler := jobs.Handler(job, jobs.Config{Log: io.Discard})
	answer, err := handler.Invoke(context.Background(), []byte(`{"Records": [
		{"eventSource": "aws:sqs", "messageId": "good", "body": "{\"date\": \"2026-11-23\"}"},
		{"eventSource": "aws:sqs", "messageId": "bad", "body": "{\"day\": \"2026-11-23\"}"}]}`))
	fmt.Println(string(answer), err)
	// Output:
	// {"batchItemFailures":[{"itemIdentifier":"bad"}]} <nil>
}

// A Map state with an ItemBatcher gives slots of a schedule to the handler, several at a time.
func ExampleHandler_batch() {
	handler := jobs.Handler(jobs.Job[dayParams]{
		Name: "daily-orders",
		Run: func(_ context.Context, run *jobs.Run[dayParams]) error {
			if run.Trigger.Time.Day() == 24 {
				return errors.New("the shop is closed")
			}
			return nil
		},
	}, jobs.Config{Log: io.Discard})
	answer, err := handler.Invoke(context.Background(), []byte(`{"Items": [
		{"m2mjobs": {"schedule": "nightly", "time": "2026-11-23T03:00:00Z"}},
		{"m2mjobs": {"schedule": "nightly", "time": "2026-11-24T03:00:00Z"}}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	var reports []jobs.Report
	if err := json.Unmarshal(answer, &reports); err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range reports {
		fmt.Println(r.Trigger.Time.Format(time.DateOnly), r.Outcome, strconv.Quote(r.Error))
	}
	// Output:
	// 2026-11-23 done ""
	// 2026-11-24 failed "the shop is closed"
}

// A backfill finds out what ran before it starts the rest.
func ExampleScheduleSlot() {
	fmt.Println(jobs.ScheduleSlot("shop", "daily-orders", "nightly", time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)))
	// Output:
	// shop/daily-orders/nightly/2026-11-24T03:00:00Z
}

// A backfill sends the slots of the past that the schedule would have sent, several at a time.
func ExampleScheduleInput() {
	payload, err := json.Marshal(jobs.ScheduleInput{
		Schedule: "nightly", Time: time.Date(1997, 3, 1, 3, 0, 0, 0, time.UTC), Overlap: jobs.OverlapAllow,
	})
	fmt.Println(string(payload), err)
	// Output:
	// {"m2mjobs":{"schedule":"nightly","time":"1997-03-01T03:00:00Z","overlap":"allow"}} <nil>
}

// A schedule that did not fire for two nights: the third runs their slots first.
func ExampleJob_catchUp() {
	job := jobs.Job[struct{}]{
		Name:    "daily-orders",
		CatchUp: 3 * 24 * time.Hour,
		Run: func(_ context.Context, run *jobs.Run[struct{}]) error {
			fmt.Println("running", run.Slot)
			return nil
		},
	}
	handler := jobs.Handler(job, jobs.Config{
		Stack: "shop", Log: io.Discard,
		// In earnest a reader of cron expressions.
		Slots: func(expression, timeZone string, after, before time.Time) (times []time.Time, err error) {
			for at := after.Add(24 * time.Hour); at.Before(before); at = at.Add(24 * time.Hour) {
				times = append(times, at)
			}
			return times, nil
		},
	})
	payload, err := json.Marshal(jobs.ScheduleInput{
		Schedule: "nightly", Time: time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC), Expression: "cron(0 3 * * ? *)",
	})
	if err == nil {
		_, err = handler.Invoke(context.Background(), payload)
	}
	fmt.Println(err)
	// Output:
	// running shop/daily-orders/nightly/2026-11-22T03:00:00Z
	// running shop/daily-orders/nightly/2026-11-23T03:00:00Z
	// running shop/daily-orders/nightly/2026-11-24T03:00:00Z
	// <nil>
}

// A person stops a run, which learns of it by its next checkpoint.
func ExampleStore() {
	store := jobs.NewMemoryStore(nil)
	job := jobs.Job[struct{}]{
		Name: "long",
		Run: func(ctx context.Context, run *jobs.Run[struct{}]) error {
			if _, err := store.Cancel(ctx, run.ID); err != nil { // in earnest somebody else does
				return err
			}
			return run.Checkpoint(ctx, "page 7")
		},
	}
	answer, err := jobs.Handler(job, jobs.Config{Store: store, Log: io.Discard}).Invoke(context.Background(), nil)
	var report jobs.Report
	if err := errors.Join(err, json.Unmarshal(answer, &report)); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.Outcome)
	// Output:
	// cancelled
}

func ExampleDecode() {
	_, err := jobs.Decode[dayParams](json.RawMessage(`{"day": "2026-11-23"}`))
	fmt.Println(err)
	// Output:
	// params: unknown field "day": known are "date"
}

// A doctor looks at the job's surroundings when somebody invokes it with {"doctor": true}.
func ExampleConfig_doctor() {
	job := jobs.Job[struct{}]{Name: "count-stock", Run: func(context.Context, *jobs.Run[struct{}]) error { return nil }}
	handler := jobs.Handler(job, jobs.Config{Doctor: func(context.Context) (any, error) {
		return map[string]string{"shop": "answers"}, nil
	}})
	answer, err := handler.Invoke(context.Background(), []byte(`{"doctor": true}`))
	fmt.Printf("%s %v\n", answer, err)
	// Output: {"shop":"answers"} <nil>
}
