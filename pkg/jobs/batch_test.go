package jobs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// queue makes an SQS batch of bodies, whose messages are called m0, m1 and so on.
func queue(t *testing.T, name string, bodies ...string) string {
	t.Helper()
	type record struct {
		MessageID      string `json:"messageId"`
		Body           string `json:"body"`
		EventSource    string `json:"eventSource"`
		EventSourceARN string `json:"eventSourceARN"`
	}
	var batch struct{ Records []record }
	for i, body := range bodies {
		batch.Records = append(batch.Records, record{fmt.Sprint("m", i), body, "aws:sqs", "arn:aws:sqs:eu-west-1:1:" + name})
	}
	data, err := json.Marshal(batch)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// failing is a job that fails for the date "bad" and notes the others.
func failing(ran *[]string) jobs.Job[echoParams] {
	return echo(func(_ context.Context, run *jobs.Run[echoParams]) error {
		if run.Params.Date == "bad" {
			return errBroken
		}
		*ran = append(*ran, run.Params.Date)
		return nil
	})
}

func TestABadMessageFailsOnlyItself(t *testing.T) {
	var log logBuffer
	var ran []string
	h := jobs.Handler(failing(&ran), jobs.Config{Log: &log})
	answer, err := h.Invoke(t.Context(), []byte(queue(t, "rows",
		`{"date":"a"}`, `{"date":"bad"}`, `{"dat":"b"}`, `not JSON`, `[1]`, `{"m2mjobs":{}}`,
		`{"Records":[{"eventSource":"aws:s3"}]}`, `{"detail-type":"x","source":"y"}`, `{"date":"c"}`)))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"batchItemFailures":[{"itemIdentifier":"m1"},{"itemIdentifier":"m2"},{"itemIdentifier":"m3"},{"itemIdentifier":"m4"},` +
		`{"itemIdentifier":"m5"},{"itemIdentifier":"m6"},{"itemIdentifier":"m7"}]}`
	if string(answer) != want {
		t.Errorf("answer is %s", answer)
	}
	if !slices.Equal(ran, []string{"a", "c"}) {
		t.Errorf("ran %v", ran)
	}
	reports := log.with(t, "report")
	if len(reports) != 9 || len(log.metrics(t)) != 9 {
		t.Fatalf("%d reports, %d metrics lines", len(reports), len(log.metrics(t)))
	}
	for i, reason := range []string{"", errBroken.Error(), `unknown field "dat"`, "not JSON", "an array, not an object", "reserved", "EventBridge notifications", "time", ""} {
		report := reports[i]["report"].(map[string]any)
		got, _ := report["error"].(string)
		id := report["trigger"].(map[string]any)["id"]
		if id != fmt.Sprint("m", i) || !strings.Contains(got, reason) || (got == "") != (reason == "") {
			t.Errorf("report %d is of message %v with the error %q, want %q", i, id, got, reason)
		}
	}
}

func TestAWholeBatchIsAnsweredWithNoFailures(t *testing.T) {
	var ran []string
	h := jobs.Handler(failing(&ran), jobs.Config{Log: io.Discard})
	answer, err := h.Invoke(t.Context(), []byte(queue(t, "rows", `{"date":"a"}`, `{}`)))
	if err != nil || string(answer) != `{"batchItemFailures":[]}` {
		t.Errorf("%s, %v", answer, err)
	}
}

func TestAFIFOQueuesMessagesWaitForTheOneThatFailed(t *testing.T) {
	var ran []string
	h := jobs.Handler(failing(&ran), jobs.Config{Log: io.Discard})
	answer, err := h.Invoke(t.Context(), []byte(queue(t, "rows.fifo", `{"date":"a"}`, `{"date":"bad"}`, `{"date":"b"}`)))
	if err != nil || string(answer) != `{"batchItemFailures":[{"itemIdentifier":"m1"},{"itemIdentifier":"m2"}]}` || !slices.Equal(ran, []string{"a"}) {
		t.Errorf("%s, %v, ran %v", answer, err, ran)
	}
}

// slow takes 10 seconds a run.
func slow(ran *int) jobs.Job[echoParams] {
	return echo(func(context.Context, *jobs.Run[echoParams]) error {
		*ran++
		pass(10 * time.Second)
		return nil
	})
}

func TestMessagesForWhichNoTimeIsLeftAreDeliveredAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ran := 0
		ctx, cancel := context.WithTimeout(t.Context(), 22*time.Second)
		defer cancel()
		h := jobs.Handler(slow(&ran), jobs.Config{Log: io.Discard})
		answer, err := h.Invoke(ctx, []byte(queue(t, "rows", `{}`, `{}`, `{}`)))
		if err != nil || string(answer) != `{"batchItemFailures":[{"itemIdentifier":"m2"}]}` || ran != 2 {
			t.Errorf("%s, %v, %d ran", answer, err, ran)
		}
	})
}

func TestAMessageDeliveredAgainKeepsItsRejectedRowsInTheSamePlace(t *testing.T) {
	var s shelf
	h := jobs.Handler(echo(func(_ context.Context, run *jobs.Run[echoParams]) error {
		reject(run, 1)
		return nil
	}), jobs.Config{Log: io.Discard, Keep: s.keep})
	for range 2 {
		if _, err := h.Invoke(t.Context(), []byte(queue(t, "rows", `{}`))); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.files) != 1 || s.files["rejected/m0/00001.ndjson"] == "" {
		t.Errorf("files are %v", s.files)
	}
	// An id is no path.
	payload := strings.ReplaceAll(queue(t, "rows", `{}`), "m0", "../../m0")
	if _, err := h.Invoke(t.Context(), []byte(payload)); err != nil {
		t.Fatal(err)
	}
	for name := range s.files {
		if strings.Contains(name, "..") {
			t.Errorf("a file is called %s", name)
		}
	}
}

func TestAMessageWithoutIDFailsTheBatch(t *testing.T) {
	h := jobs.Handler(echo(well), jobs.Config{Log: io.Discard})
	_, err := h.Invoke(t.Context(), []byte(strings.ReplaceAll(queue(t, "rows", `{}`), "m0", "")))
	if err == nil {
		t.Fatal("passed")
	}
	contains(t, err.Error(), "Records[0]: messageId is missing")
}

func TestItemsAreAnsweredByAllReportsAndAnErrorNamesTheFailedOnes(t *testing.T) {
	var ran []string
	h := jobs.Handler(failing(&ran), jobs.Config{Log: io.Discard})
	answer, err := h.Invoke(t.Context(), []byte(`{"BatchInput":{"dryRun":true,"date":"shared"},"Items":[{"date":"a"},{"date":"bad"},7,{},{"m2mjobs":1}]}`))
	if !errors.Is(err, errBroken) {
		t.Fatalf("error is %v", err)
	}
	contains(t, err.Error(), "of 5 items (from 0) failed 1, 2, 4", errBroken.Error())
	var reports []jobs.Report
	if err := json.Unmarshal(answer, &reports); err != nil {
		t.Fatal(err)
	}
	var outcomes []string
	for _, r := range reports {
		outcomes = append(outcomes, string(r.Outcome))
	}
	if got := strings.Join(outcomes, " "); got != "done failed failed done failed" || !slices.Equal(ran, []string{"a", "shared"}) {
		t.Errorf("outcomes are %s, ran %v", got, ran)
	}
	contains(t, reports[2].Error, "Items[2]: a number, not an object")

	answer, err = h.Invoke(t.Context(), []byte(`{"Items":[{"date":"a"},{"date":"b"}]}`))
	if err != nil || json.Unmarshal(answer, &reports) != nil || len(reports) != 2 {
		t.Errorf("%s, %v", answer, err)
	}
	if answer, err = h.Invoke(t.Context(), []byte(`{"Items":[]}`)); err != nil || string(answer) != "[]" {
		t.Errorf("no items: %s, %v", answer, err)
	}
}

func TestItemsForWhichNoTimeIsLeftFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ran := 0
		ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
		defer cancel()
		h := jobs.Handler(slow(&ran), jobs.Config{Log: io.Discard})
		_, err := h.Invoke(ctx, []byte(`{"Items":[{"date":"a"},{"date":"b"}]}`))
		if err == nil || ran != 1 {
			t.Fatalf("%v, %d ran", err, ran)
		}
		contains(t, err.Error(), "failed 1", "not begun")
	})
}

// slotBatch is a batch of a schedule's slots on consecutive days.
func slotBatch(t *testing.T, dates ...string) []byte {
	t.Helper()
	var batch struct{ Items []jobs.ScheduleInput }
	for i, date := range dates {
		batch.Items = append(batch.Items, jobs.ScheduleInput{
			Schedule: "nightly", Time: time.Date(1997, 3, 1+i, 3, 0, 0, 0, time.UTC), Overlap: jobs.OverlapAllow,
			Params: json.RawMessage(fmt.Sprintf(`{"date":%q}`, date)),
		})
	}
	data, err := json.Marshal(batch)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// batchReports invokes with a batch that must be answered by reports.
func batchReports(t *testing.T, ctx context.Context, h lambda.Handler, payload []byte) (reports []jobs.Report, outcomes string) {
	t.Helper()
	answer, err := h.Invoke(ctx, payload)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(answer, &reports); err != nil {
		t.Fatalf("%v: %s", err, answer)
	}
	for i, r := range reports {
		outcomes += strings.Repeat(" ", min(i, 1)) + string(r.Outcome)
	}
	return reports, outcomes
}

func TestSlotsInABatchAreThoseOfTheScheduleAndFailByThemselves(t *testing.T) {
	var ran []string
	h := jobs.Handler(failing(&ran), jobs.Config{Log: io.Discard})
	alone := mustInvoke(t, t.Context(), h, `{"m2mjobs":{"schedule":"nightly","time":"1997-03-01T03:00:00Z","params":{"date":"a"}}}`)
	reports, outcomes := batchReports(t, t.Context(), h, slotBatch(t, "a", "bad", "c"))
	if outcomes != "duplicate failed done" || !slices.Equal(ran, []string{"a", "c"}) {
		t.Errorf("outcomes are %s, ran %v", outcomes, ran)
	}
	if reports[0].RunID != alone.RunID || reports[2].Slot != "local/echo/nightly/1997-03-03T03:00:00Z" {
		t.Errorf("slots are not the schedule's: %+v", reports)
	}
	contains(t, reports[1].Error, errBroken.Error())

	// What is no slot fails the batch as any item does.
	_, err := h.Invoke(t.Context(), []byte(`{"Items":[{"m2mjobs":{"schedule":"nightly"}},{"date":"d"}]}`))
	if err == nil {
		t.Fatal("passed")
	}
	contains(t, err.Error(), "of 2 items (from 0) failed 0", "Items[0]", "time is missing")
	// What all items share is for params, so an envelope beside it is refused.
	if _, err = h.Invoke(t.Context(), []byte(`{"BatchInput":{"date":"x"},"Items":[{"m2mjobs":{"schedule":"nightly","time":"1997-03-09T03:00:00Z"}}]}`)); err == nil {
		t.Error("an envelope took what is for params")
	}
}

func TestSlotsInABatchForWhichNoTimeIsLeftAreSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		takes := map[string]time.Duration{"short": time.Second, "long": 10 * time.Second, "whole": 18500 * time.Millisecond}
		h := jobs.Handler(echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
			select {
			case <-time.After(takes[run.Params.Date]):
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}), jobs.Config{Log: io.Discard})
		round := func(payload []byte) ([]jobs.Report, string) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			return batchReports(t, ctx, h, payload)
		}
		// The third is not begun: it would be cut off if it took as long as the second.
		batch := slotBatch(t, "short", "long", "long", "short")
		reports, outcomes := round(batch)
		if outcomes != "done done unfinished unfinished" || reports[2].RunID != "" {
			t.Fatalf("%s, %+v", outcomes, reports)
		}
		if _, outcomes = round(batch); outcomes != "duplicate duplicate done unfinished" {
			t.Error(outcomes)
		}
		// Cut off because of the one before, which is no fault of its own.
		rerun := bytes.ReplaceAll(slotBatch(t, "short", "whole"), []byte("nightly"), []byte("hourly"))
		reports, outcomes = round(rerun)
		if outcomes != "done unfinished" {
			t.Fatalf("%s, %+v", outcomes, reports)
		}
		again, err := json.Marshal(map[string]any{"Items": []any{jobs.Continuation{Job: "echo", Slot: reports[1].Slot, RunID: reports[1].RunID}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, outcomes = round(again); outcomes != "done" {
			t.Error(outcomes)
		}
	})
}

func TestParamsMayHaveItemsOrRecordsAmongOthers(t *testing.T) {
	h := jobs.Handler(jobs.Job[map[string]any]{
		Name: "any", Run: func(context.Context, *jobs.Run[map[string]any]) error { return nil },
	}, jobs.Config{Log: io.Discard})
	for _, payload := range []string{`{"Items":[],"other":1}`, `{"Records":[],"other":1}`, `{"Items":"text"}`, `{"Records":{}}`} {
		if report, err := h.Invoke(t.Context(), []byte(payload)); err != nil || !strings.Contains(string(report), `"manual"`) {
			t.Errorf("%s: %s, %v", payload, report, err)
		}
	}
}
