package jobs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

func sample(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestEachAcceptedShapeBecomesATrigger(t *testing.T) {
	began := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	const day = `{"date":"2026-11-23"}`
	byHand := jobs.Trigger{Kind: jobs.Manual, Time: began, Payload: json.RawMessage(`{}`)}
	tests := []struct {
		file    string
		want    jobs.Trigger
		slot    string
		attempt int
	}{
		{"schedule", jobs.Trigger{Kind: jobs.Schedule, Source: "nightly", Time: at("2026-11-24T03:00:00Z"), Payload: json.RawMessage(day)},
			"shop/echo/nightly/2026-11-24T03:00:00Z", 1},
		{"schedule-number-attempt-no-params", jobs.Trigger{Kind: jobs.Schedule, Source: "nightly", Time: at("2026-11-24T03:00:00Z"), Payload: json.RawMessage(`{}`)},
			"shop/echo/nightly/2026-11-24T03:00:00Z", 1},
		{"schedule-with-expression", jobs.Trigger{Kind: jobs.Schedule, Source: "nightly", Time: at("2026-11-24T03:00:00Z"), Payload: json.RawMessage(day)},
			"shop/echo/nightly/2026-11-24T03:00:00Z", 1},
		{"scheduled-rule", jobs.Trigger{Kind: jobs.Schedule, Source: "nightly-rule", EventSource: "aws.events", EventID: "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa", DetailType: "Scheduled Event", Time: at("2026-11-24T03:00:00Z"), Payload: json.RawMessage(`{}`)},
			"shop/echo/nightly-rule/2026-11-24T03:00:00Z", 1},
		{"custom-event", jobs.Trigger{Kind: jobs.Event, ID: "6a7e8feb-b491-4cf7-a9f1-bf3703467718", Source: "shop.orders", EventSource: "shop.orders", EventID: "6a7e8feb-b491-4cf7-a9f1-bf3703467718", DetailType: "Day Closed", Time: at("2026-11-24T00:00:05Z"), Payload: json.RawMessage(day)},
			"shop/echo/event/6a7e8feb-b491-4cf7-a9f1-bf3703467718", 1},
		{"s3-object-created", jobs.Trigger{Kind: jobs.Event, ID: "17793124-05d4-b198-2fde-7ededc63b103", Source: "aws.s3", EventSource: "aws.s3", EventID: "17793124-05d4-b198-2fde-7ededc63b103", DetailType: "Object Created", Time: at("2026-11-24T03:01:12Z"),
			Payload: json.RawMessage(`{"bucket":{"name":"shop-jobs"},"object":{"etag":"b57f9512698f4b09e608f4f2a65852e5","key":"customers/2026-11-23.ndjson","sequencer":"00617F08299329D189","size":5},"reason":"PutObject","request-id":"N4N7GDK58NMKJ12R","requester":"123456789012","version":"0"}`)},
			"shop/echo/event/17793124-05d4-b198-2fde-7ededc63b103", 1},
		{"queue", jobs.Trigger{Kind: jobs.Message, ID: "059f36b4-87a3-44ab-83d2-661975830a7d", Source: "arn:aws:sqs:eu-west-1:123456789012:rows", Time: began, Payload: json.RawMessage(day)},
			"", 2},
		{"queue-of-events", jobs.Trigger{Kind: jobs.Message, ID: "2e1424d4-f796-459a-8184-9c92662be6da", Source: "arn:aws:sqs:eu-west-1:123456789012:events", EventSource: "shop.orders", EventID: "6a7e8feb-b491-4cf7-a9f1-bf3703467718", DetailType: "Day Closed", Time: at("2026-11-24T00:00:05Z"), Payload: json.RawMessage(day)},
			"", 1},
		{"step-functions-batch", jobs.Trigger{Kind: jobs.Item, Time: began, Payload: json.RawMessage(`{"date":"2026-11-23","dryRun":true}`)},
			"shop/echo/params/da7c7e2b53319d5faf7d58b4daa48de9", 1},
		{"by-hand", jobs.Trigger{Kind: jobs.Manual, Time: began, Payload: json.RawMessage(day)},
			"shop/echo/params/18e437613d9b5cbd056c99bd0033d3a1", 1},
		{"empty-object", byHand, "shop/echo/params/ca3d163bab055381827226140568f3be", 1},
		{"null", byHand, "shop/echo/params/ca3d163bab055381827226140568f3be", 1},
		{"empty", byHand, "shop/echo/params/ca3d163bab055381827226140568f3be", 1},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			var ran []jobs.Trigger
			var slot string
			var attempt int
			h := jobs.Handler(jobs.Job[map[string]any]{
				Name: "echo",
				Run: func(_ context.Context, run *jobs.Run[map[string]any]) error {
					trigger := run.Trigger
					payload, err := json.Marshal(run.Params)
					if err != nil {
						return err
					}
					trigger.Payload = payload
					ran, slot, attempt = append(ran, trigger), run.Slot, run.Attempt
					return nil
				},
			}, jobs.Config{Stack: "shop", Log: io.Discard, Now: func() time.Time { return began }})
			if _, err := h.Invoke(t.Context(), []byte(sample(t, "accepted/"+tt.file+".json"))); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]jobs.Trigger{tt.want}, ran); diff != "" {
				t.Errorf("triggers (-want +got):\n%s", diff)
			}
			if slot != tt.slot || attempt != tt.attempt {
				t.Errorf("slot %q, attempt %d, want %q, %d", slot, attempt, tt.slot, tt.attempt)
			}
		})
	}
	noSampleForgotten(t, "accepted", len(tests))
}

func noSampleForgotten(t *testing.T, dir string, tested int) {
	t.Helper()
	files, err := os.ReadDir(filepath.Join("testdata", dir))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != tested {
		t.Errorf("%d of the %d samples in testdata/%s are tested", tested, len(files), dir)
	}
}

func TestEachOtherShapeIsAnErrorThatSaysWhatWasSeen(t *testing.T) {
	const accepted = "accepted are an EventBridge Scheduler input"
	tests := map[string][]string{
		"array":                   {"an array, not an object", accepted},
		"string":                  {"a string, not an object", accepted},
		"number":                  {"a number, not an object", accepted},
		"not-json":                {"not JSON", accepted},
		"s3-notification":         {"Records[0] is a direct notification of s3", "EventBridge notifications"},
		"sns-notification":        {"Records[0] is a direct notification of sns", "EventBridge"},
		"kinesis":                 {"Records[0] has not the eventSource aws:sqs", accepted},
		"no-records":              {"Records is empty", accepted},
		"function-url":            {"an HTTP request", `"rawPath"`, `"requestContext"`, accepted},
		"api-gateway":             {"an HTTP request", `"httpMethod"`, accepted},
		"unsubstituted-time":      {`time is the literal text "<aws.scheduler.scheduled-time>"`, "only in a schedule's Input"},
		"unsubstituted-attempt":   {`attempt is the literal text "<aws.scheduler.attempt-number>"`, "only in a schedule's Input"},
		"unsubstituted-arn":       {`schedule is the literal text "<aws.scheduler.schedule-arn>"`, "only in a schedule's Input"},
		"schedule-without-time":   {"time is missing"},
		"schedule-bad-time":       {`time "tomorrow"`, "2026-11-24T03:00:00Z"},
		"schedule-without-name":   {"schedule is missing"},
		"schedule-bad-overlap":    {`overlap "never": want skip, queue or allow`},
		"schedule-bad-rerun":      {"rerun: found string where bool is wanted"},
		"schedule-bad-expression": {"expression: found an array where a string is wanted"},
		"unknown-control":         {`unknown key "stop"`, "accepted are continue, or schedule with time, attempt, params"},
		"empty-control":           {"empty", "continue, or schedule with time, attempt and params"},
		"continue-incomplete":     {"job, slot and runId are all needed"},
		"continue-with-params":    {"continue stands alone", `"params"`},
		"reserved-key":            {`the key "m2mjobs" is reserved`, `"date"`},
		"reserved-key-in-params":  {`params: the key "m2mjobs" is reserved`},
		"reserved-key-in-detail":  {`detail: the key "m2mjobs" is reserved`},
		"event-detail-no-object":  {"detail: a string, not an object"},
		"event-without-id":        {"id: want"},
		"event-without-time":      {`time ""`},
		"rule-without-arn":        {"resources[0] is not the rule's ARN"},
		"unknown-field":           {`params: unknown field "dat"`},
		"wrong-type":              {`params: field "date": found number where string is wanted`},
	}
	for file, parts := range tests {
		t.Run(file, func(t *testing.T) {
			var log logBuffer
			h := jobs.Handler(echo(func(context.Context, *jobs.Run[echoParams]) error {
				t.Error("the job ran")
				return nil
			}), jobs.Config{Log: &log})
			report, err := invoke(t, t.Context(), h, sample(t, "refused/"+file+".json"))
			if err == nil {
				t.Fatal("the invocation passed")
			}
			contains(t, err.Error(), parts...)
			contains(t, report.Error, parts...)
			if report.Outcome != jobs.OutcomeFailed || len(log.with(t, "report")) != 1 {
				t.Errorf("outcome %q, %d reports in the log", report.Outcome, len(log.with(t, "report")))
			}
			for _, value := range []string{"Bearer", "hello", "shop-jobs", "20261123", "SGVsbG8="} {
				if strings.Contains(err.Error(), value) {
					t.Errorf("%q has the payload's value %q", err, value)
				}
			}
		})
	}
	noSampleForgotten(t, "refused", len(tests))
}

func TestParamsAreMadeByTheJobIfItWants(t *testing.T) {
	var got echoParams
	job := echo(func(_ context.Context, run *jobs.Run[echoParams]) error { got = run.Params; return nil })
	job.Params = func(tr jobs.Trigger, payload json.RawMessage) (echoParams, error) {
		if tr.DetailType != "Object Created" {
			return jobs.Decode[echoParams](payload)
		}
		var detail struct{ Object struct{ Key string } }
		if err := json.Unmarshal(payload, &detail); err != nil {
			return echoParams{}, err
		}
		return echoParams{Date: detail.Object.Key}, nil
	}
	h := jobs.Handler(job, jobs.Config{Log: io.Discard})
	mustInvoke(t, t.Context(), h, sample(t, "accepted/s3-object-created.json"))
	if got.Date != "customers/2026-11-23.ndjson" {
		t.Errorf("params of an event are %+v", got)
	}
	if _, err := invoke(t, t.Context(), h, `{"dat":1}`); err == nil {
		t.Error("the job's own Params was not strict")
	}
}

func TestAnUnknownFieldIsToldWithThoseThatAreKnown(t *testing.T) {
	type page struct {
		Limit int `json:"limit"`
	}
	type Echo echoParams
	type params struct {
		page
		*Echo `json:"echo"`
		Row   struct {
			M int `json:"m"`
		} `json:"row"`
		Plain  string
		Secret string `json:"-"`
		hidden string
	}
	type many struct {
		A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P, Q, R, S, T, U, V int
	}
	decode := func(payload string) error {
		_, err := jobs.Decode[params](json.RawMessage(payload))
		return err
	}
	const known = `"limit", "echo", "row", "Plain"`
	for want, err := range map[string]error{
		`params: unknown field "x": known are ` + known:      decode(`{"x":1}`),
		`params: unknown field "hidden": known are ` + known: decode(`{"hidden":"` + params{hidden: "a"}.hidden + `"}`),
		`params: unknown field "n"`:                          decode(`{"row":{"n":1}}`), // of which struct is not told
	} {
		if fmt.Sprint(err) != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	if _, err := jobs.Decode[*many](json.RawMessage(`{"x":1}`)); err == nil || !strings.HasSuffix(err.Error(), `"S", "T", …`) {
		t.Errorf("error %v", err)
	}
	if _, err := jobs.Decode[struct{}](json.RawMessage(`{"x":1}`)); err == nil || err.Error() != `params: unknown field "x": none is known` {
		t.Errorf("error %v", err)
	}
}

func TestDecodeIsStrict(t *testing.T) {
	type nested struct {
		Rows []struct {
			N int `json:"n"`
		} `json:"rows"`
	}
	for payload, want := range map[string]string{
		``:                     "",
		`null`:                 "",
		`{}`:                   "",
		`{"rows":[{"n":1}]}`:   "",
		`{"rows":[{"m":1}]}`:   `params: unknown field "m"`,
		`{"rows":[{"n":1.5}]}`: `params: field "rows.n": found number where int is wanted`,
		`{"rows":[]} {}`:       "params: something follows the JSON value",
		`[]`:                   "params: found array where jobs_test.nested is wanted",
	} {
		_, err := jobs.Decode[nested](json.RawMessage(payload))
		if fmt.Sprint(err) != want && (err != nil || want != "") {
			t.Errorf("Decode(%s): %v, want %q", payload, err, want)
		}
	}
}

func FuzzTrigger(f *testing.F) {
	for _, dir := range []string{"accepted", "refused"} {
		files, err := filepath.Glob(filepath.Join("testdata", dir, "*.json"))
		if err != nil || len(files) == 0 {
			f.Fatalf("no seeds in %s: %v", dir, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		ran := 0
		job := jobs.Job[json.RawMessage]{
			Name: "fuzz",
			Run: func(_ context.Context, run *jobs.Run[json.RawMessage]) error {
				ran++
				var object map[string]json.RawMessage
				if err := json.Unmarshal(run.Params, &object); err != nil || object == nil {
					t.Errorf("params %q are no object", run.Params)
				}
				if _, ok := object["m2mjobs"]; ok {
					t.Errorf("params %q look like the framework's envelope", run.Params)
				}
				if (run.Slot == "") != (run.Trigger.Kind == jobs.Message) {
					t.Errorf("a %s has the slot %q", run.Trigger.Kind, run.Slot)
				}
				return nil
			},
			Params: func(_ jobs.Trigger, payload json.RawMessage) (json.RawMessage, error) { return payload, nil },
		}
		var log logBuffer
		answer, err := jobs.Handler(job, jobs.Config{Log: &log}).Invoke(t.Context(), payload)
		if err == nil && ran == 0 && !strings.Contains(string(answer), "batchItemFailures") && string(answer) != "[]" {
			t.Errorf("neither a run nor an error: %s", answer)
		}
		if strings.Contains(log.String(), `"msg":"panic"`) {
			t.Errorf("panic: %s", log.String())
		}
		if err != nil {
			for _, value := range longValues(payload) {
				if strings.Contains(err.Error(), value) {
					t.Errorf("error %q has a value of the payload", err)
				}
			}
		}
	})
}

// longValues are the strings of a payload, without keys, that are longer than a name that an error may quote.
func longValues(payload []byte) []string {
	var whole any
	if err := json.Unmarshal(payload, &whole); err != nil {
		return nil
	}
	var values, keys []string
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			if len(v) > 64 {
				values = append(values, v)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			for key, x := range v {
				keys = append(keys, key)
				walk(x)
			}
		}
	}
	walk(whole)
	return slices.DeleteFunc(values, func(value string) bool {
		return slices.ContainsFunc(keys, func(key string) bool { return strings.Contains(key, value) })
	})
}
