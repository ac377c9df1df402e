package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

func TestTokensOfTheMonthAreToldByARunThatGotOne(t *testing.T) {
	var log logBuffer
	var used jobs.Usage
	var gets int64
	h := jobs.Handler(echo(func(context.Context, *jobs.Run[echoParams]) error {
		used.Tokens += gets
		used.TokensThisMonth += 40 * gets
		return nil
	}), jobs.Config{Log: &log, Usage: func() jobs.Usage { return used }})
	for i, want := range []int64{40, 0, 80} {
		gets = int64(1 - i%2)
		if got := mustInvoke(t, request(t.Context(), fmt.Sprint("r", i)), h, fmt.Sprintf(`{"date":"1997-03-0%d"}`, i+1)); got.TokensThisMonth != want {
			t.Errorf("run %d: %d tokens this month, want %d", i, got.TokensThisMonth, want)
		}
		metric, told := log.metrics(t)[i]["tokensThisMonth"]
		if told != (want > 0) || told && metric != float64(want) {
			t.Errorf("run %d: the metric is %v", i, metric)
		}
	}
}

func TestARunEndsInOneReportAndOneMetricsLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		var used jobs.Usage
		h := jobs.Handler(echo(func(_ context.Context, run *jobs.Run[echoParams]) error {
			used = jobs.Usage{Requests: 25, Retries: 2, Tokens: 1, SecretReads: 1, Throttled: 2, WaitedMS: 300}
			run.Count("changed", 8)
			run.Count("changed", 2)
			run.Count("un changed/é", 5)
			run.Count("requests", 77)
			run.Reject(jobs.Rejection{Line: 3, Kind: "rejected", Reason: "no key"})
			run.Result(map[string]any{"file": "f"})
			run.Log.Info("working")
			pass(1500 * time.Millisecond)
			return nil
		}), jobs.Config{
			Stack: "shop", Namespace: "shop/jobs", Log: &log,
			Usage:  func() jobs.Usage { return used },
			Settle: func(context.Context) { used.Tokens++ }, // a refresh that was in flight
		})
		used = jobs.Usage{Requests: 20, Tokens: 0}
		began := time.Now()
		report := mustInvoke(t, request(t.Context(), "r1"), h, nightly)
		want := jobs.Report{
			Job: "echo", RunID: report.RunID, Slot: "shop/echo/nightly/2026-11-24T03:00:00Z",
			Trigger: jobs.Trigger{Kind: jobs.Schedule, Source: "nightly", Time: time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)},
			Attempt: 1, Started: began, Ended: began.Add(1500 * time.Millisecond), DurationMS: 1500, Outcome: jobs.OutcomeDone,
			Counts:   map[string]int64{"changed": 10, "un changed/é": 5, "requests": 77},
			Usage:    jobs.Usage{Requests: 5, Retries: 2, Tokens: 2, SecretReads: 1, Throttled: 2, WaitedMS: 300},
			Rejected: &jobs.Rejected{Rows: 1, Some: []jobs.Rejection{{Line: 3, Kind: "rejected", Reason: "no key"}}},
			Result:   json.RawMessage(`{"file":"f"}`), RequestID: "r1",
		}
		if diff := cmp.Diff(want, report); diff != "" {
			t.Errorf("report (-want +got):\n%s", diff)
		}

		lines := log.with(t, "report")
		if len(lines) != 1 {
			t.Fatalf("%d reports in the log", len(lines))
		}
		logged, err := json.Marshal(lines[0]["report"])
		if err != nil {
			t.Fatal(err)
		}
		var again jobs.Report
		if err := json.Unmarshal(logged, &again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, again); diff != "" {
			t.Errorf("logged report (-want +got):\n%s", diff)
		}
		for _, line := range log.lines(t) {
			if line["runId"] != report.RunID || line["slot"] != report.Slot || line["requestId"] != "r1" {
				t.Errorf("a line without the ids: %v", line)
			}
		}
		if len(log.with(t, "working")) != 1 {
			t.Error("the job's own line is missing")
		}

		metrics := log.metrics(t)
		if len(metrics) != 1 {
			t.Fatalf("%d metrics lines", len(metrics))
		}
		definitions := []any{}
		for _, m := range []struct{ name, unit string }{
			{"finished", "Count"}, {"failed", "Count"}, {"unfinished", "Count"}, {"duplicate", "Count"}, {"inProgress", "Count"},
			{"duration", "Milliseconds"}, {"requests", "Count"}, {"retries", "Count"}, {"tokens", "Count"}, {"secretReads", "Count"},
			{"throttled", "Count"}, {"waited", "Milliseconds"}, {"rejected", "Count"},
			{"changed", "Count"}, {"count_requests", "Count"}, {"un_changed", "Count"},
		} {
			definitions = append(definitions, map[string]any{"Name": m.name, "Unit": m.unit})
		}
		wantMetrics := map[string]any{
			"_aws": map[string]any{
				"Timestamp": float64(began.Add(1500 * time.Millisecond).UnixMilli()),
				"CloudWatchMetrics": []any{map[string]any{
					"Namespace": "shop/jobs", "Dimensions": []any{[]any{"stack", "job"}}, "Metrics": definitions,
				}},
			},
			"stack": "shop", "job": "echo", "runId": report.RunID, "slot": report.Slot, "requestId": "r1", "outcome": "done",
			"finished": 1.0, "failed": 0.0, "unfinished": 0.0, "duplicate": 0.0, "inProgress": 0.0, "duration": 1500.0,
			"requests": 5.0, "retries": 2.0, "tokens": 2.0, "secretReads": 1.0, "throttled": 2.0, "waited": 300.0, "rejected": 1.0,
			"changed": 10.0, "count_requests": 77.0, "un_changed": 5.0,
		}
		if diff := cmp.Diff(wantMetrics, metrics[0]); diff != "" {
			t.Errorf("metrics (-want +got):\n%s", diff)
		}
	})
}

func TestReportAndMetricsAreWrittenAtAnyLogLevel(t *testing.T) {
	var log logBuffer
	h := jobs.Handler(echo(func(_ context.Context, run *jobs.Run[echoParams]) error {
		run.Log.Info("quiet")
		return nil
	}), jobs.Config{Log: &log, LogLevel: slog.LevelError})
	mustInvoke(t, t.Context(), h, `{}`)
	if len(log.lines(t)) != 2 || len(log.with(t, "report")) != 1 || len(log.metrics(t)) != 1 {
		t.Errorf("log is %s", log.String())
	}
}

func TestMetricsOfAllAttemptsAddUpToTheRuns(t *testing.T) {
	var log logBuffer
	attempt := 0
	h := jobs.Handler(echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
		attempt++
		run.Count("changed", 5)
		run.Reject(jobs.Rejection{Line: attempt})
		if err := run.Checkpoint(ctx, attempt); err != nil || attempt == 3 {
			return err
		}
		// The next attempt does this again, and counts it.
		run.Count("changed", 100)
		run.Reject(jobs.Rejection{Line: 100})
		return jobs.ErrUnfinished
	}), jobs.Config{Log: &log, Continue: func(context.Context, jobs.Continuation) error { return nil }})
	var report jobs.Report
	for range 3 {
		report = mustInvoke(t, t.Context(), h, nightly)
	}
	changed, rejected := 0.0, 0.0
	for _, m := range log.metrics(t) {
		changed += m["changed"].(float64)
		rejected += m["rejected"].(float64)
	}
	if report.Counts["changed"] != 15 || changed != 15 || report.Rejected.Rows != 3 || rejected != 3 {
		t.Errorf("report has %v and %v, metrics add up to %v and %v", report.Counts, report.Rejected, changed, rejected)
	}
}

func TestMoreCountsThanAMetricsLineTakesAreLeftOut(t *testing.T) {
	var log logBuffer
	h := jobs.Handler(echo(func(_ context.Context, run *jobs.Run[echoParams]) error {
		for i := range 150 {
			run.Count(fmt.Sprintf("count %03d", i), 1)
		}
		run.Count(strings.Repeat("long", 100), 1)
		return nil
	}), jobs.Config{Log: &log})
	report := mustInvoke(t, t.Context(), h, `{}`)
	directive := log.metrics(t)[0]["_aws"].(map[string]any)["CloudWatchMetrics"].([]any)[0].(map[string]any)
	if n := len(directive["Metrics"].([]any)); n != 100 || len(report.Counts) != 151 {
		t.Errorf("%d metrics, %d counts", n, len(report.Counts))
	}
	contains(t, log.String(), "more counts than a metrics line takes")
}

func TestAPanicFailsTheRunWithItsStackInTheLogAlone(t *testing.T) {
	for name, value := range map[string]any{"text": "boom", "error": jobs.ErrUnfinished} {
		t.Run(name, func(t *testing.T) {
			var log logBuffer
			store := jobs.NewMemoryStore(nil)
			h := jobs.Handler(echo(func(context.Context, *jobs.Run[echoParams]) error { panic(value) }), jobs.Config{Log: &log, Store: store})
			data, err := h.Invoke(request(t.Context(), "r1"), []byte(nightly))
			if err == nil || errors.Is(err, jobs.ErrUnfinished) {
				t.Fatalf("error is %v", err)
			}
			var report jobs.Report
			if err := json.Unmarshal(data, &report); err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("panic: %v", value); report.Outcome != jobs.OutcomeFailed || report.Error != want {
				t.Errorf("report is %+v", report)
			}
			lines := log.with(t, "panic")
			if len(lines) != 1 || lines[0]["runId"] != report.RunID || len(log.with(t, "report")) != 1 {
				t.Fatalf("log is %s", log.String())
			}
			contains(t, lines[0]["stack"].(string), "report_test.go")
			if strings.Contains(string(data)+err.Error(), "report_test.go") {
				t.Errorf("the stack is in the answer: %s, %v", data, err)
			}
			if record, err := store.Get(t.Context(), report.Slot); err != nil || record.State != jobs.Failed {
				t.Errorf("the slot is %+v, %v", record, err)
			}
		})
	}
}

func TestAPanicInWhatTheConfigurationGivesDoesNotEndTheProcess(t *testing.T) {
	boom := func() { panic("boom") }
	for name, tt := range map[string]struct {
		config jobs.Config
		passes bool
	}{
		"Usage":    {jobs.Config{Usage: func() jobs.Usage { boom(); return jobs.Usage{} }}, false},
		"Keep":     {jobs.Config{Keep: func(context.Context, string, []byte) (string, error) { boom(); return "", nil }}, false},
		"Continue": {jobs.Config{Continue: func(context.Context, jobs.Continuation) error { boom(); return nil }}, false},
		"Settle":   {jobs.Config{Settle: func(context.Context) { boom() }}, true},
		"Report":   {jobs.Config{Report: func(jobs.Report) { boom() }}, true},
	} {
		t.Run(name, func(t *testing.T) {
			tt.config.Log = io.Discard
			h := jobs.Handler(echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
				if name == "Continue" {
					return errors.Join(run.Checkpoint(ctx, 1), jobs.ErrUnfinished)
				}
				reject(run, 1)
				return nil
			}), tt.config)
			if _, err := h.Invoke(t.Context(), []byte(`{}`)); (err == nil) != tt.passes {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestEveryRunsReportIsHandedOn(t *testing.T) {
	for name, payload := range map[string]string{
		"a queue's batch":        queue(t, "rows", `{"date":"a"}`, `not JSON`, `{"date":"b"}`),
		"a Step Functions batch": `{"Items":[{"date":"a"},{"dat":"x"},{"date":"b"}]}`,
	} {
		var log logBuffer
		var got []string
		h := jobs.Handler(echo(func(_ context.Context, run *jobs.Run[echoParams]) error {
			reject(run, 1)
			return nil
		}), jobs.Config{Log: &log, Report: func(r jobs.Report) {
			rows := 0
			if r.Rejected != nil {
				rows = len(r.Rejected.Some[0].Row)
			}
			got = append(got, fmt.Sprint(r.Outcome, " ", rows > 0))
		}})
		if _, err := h.Invoke(t.Context(), []byte(payload)); (err == nil) != strings.Contains(payload, "Records") {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff([]string{"done true", "failed false", "done true"}, got); diff != "" {
			t.Errorf("%s: reports (-want +got):\n%s", name, diff)
		}
	}
	var got []jobs.Report
	h := jobs.Handler(echo(well), jobs.Config{Log: io.Discard, Report: func(r jobs.Report) { got = append(got, r) }})
	first, second := mustInvoke(t, t.Context(), h, nightly), mustInvoke(t, t.Context(), h, nightly)
	if diff := cmp.Diff([]jobs.Report{first, second}, got, cmp.Transformer("JSON", marshaled)); diff != "" {
		t.Errorf("a single run's reports, the duplicate's too (-want +got):\n%s", diff)
	}
}

func marshaled(r jobs.Report) string {
	data, err := json.Marshal(r)
	return fmt.Sprint(string(data), err)
}

func TestAStackMayBeCalledAsALambdaFunction(t *testing.T) {
	h := jobs.Handler(echo(well), jobs.Config{Log: io.Discard, Stack: "shop_jobs-Daily1"})
	if report := mustInvoke(t, t.Context(), h, nightly); report.Slot != "shop_jobs-Daily1/echo/nightly/2026-11-24T03:00:00Z" {
		t.Errorf("slot %s", report.Slot)
	}
}

func TestErrorsAreBounded(t *testing.T) {
	h := jobs.Handler(echo(func(context.Context, *jobs.Run[echoParams]) error {
		return errors.New(strings.Repeat("é", 1<<20))
	}), jobs.Config{Log: io.Discard})
	report, err := invoke(t, t.Context(), h, `{}`)
	if err == nil || len(err.Error()) > 4200 || len(report.Error) > 4200 || !strings.HasSuffix(report.Error, "é…") {
		t.Errorf("the error has %d bytes, the report's %d", len(err.Error()), len(report.Error))
	}
}

func TestAResultThatIsNoObjectFailsTheRun(t *testing.T) {
	for _, result := range []any{[]int{1}, "text", nil, func() {}} {
		h := jobs.Handler(echo(func(_ context.Context, run *jobs.Run[echoParams]) error {
			run.Result(result)
			return nil
		}), jobs.Config{Log: io.Discard})
		report, err := invoke(t, t.Context(), h, `{}`)
		if err == nil || report.Result != nil {
			t.Errorf("a %T passed as the result: %+v", result, report)
		}
	}
}

func TestAWrongConfigurationIsTheErrorOfEveryInvocation(t *testing.T) {
	var log logBuffer
	h := jobs.Handler(jobs.Job[echoParams]{Name: "no such/name"}, jobs.Config{Log: &log, Stack: "a b", Namespace: " ", Margin: -1})
	for range 2 {
		data, err := h.Invoke(t.Context(), []byte(`{}`))
		if err == nil || data != nil {
			t.Fatalf("answer %s, error %v", data, err)
		}
		contains(t, err.Error(), `Job.Name "no such/name"`, "Job.Run is nil", `Config.Stack "a b"`, `Config.Namespace " "`, "Config.Margin -1ns")
	}
	if len(log.lines(t)) != 2 {
		t.Errorf("log is %s", log.String())
	}
}

func TestRunsOfOneHandlerAtOnceDoNotMix(t *testing.T) {
	var log logBuffer
	h := jobs.Handler(echo(func(_ context.Context, run *jobs.Run[echoParams]) error {
		for range 100 {
			run.Count("n", 1)
			run.Log.Info("line")
		}
		return nil
	}), jobs.Config{Log: &log})
	ended := make(chan error)
	for i := range 8 {
		go func() {
			_, err := h.Invoke(t.Context(), fmt.Appendf(nil, `{"date":"%d"}`, i))
			ended <- err
		}()
	}
	for range 8 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	for _, m := range log.metrics(t) {
		if m["n"] != 100.0 {
			t.Errorf("a run counted %v", m["n"])
		}
	}
	if len(log.with(t, "report")) != 8 {
		t.Error("not 8 reports")
	}
}
