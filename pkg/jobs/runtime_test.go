package jobs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// serveJob makes this test binary a Lambda function.
const serveJob = "M2MJOBS_TEST_SERVE"

// serve is that function's main.
func serve(which string) {
	config := jobs.Config{Stack: "shop", Margin: 2 * time.Second, Doctor: func(context.Context) (any, error) { return looked{true}, nil }}
	switch which {
	case "wrong":
		config.Stack = "no stack"
	case "paused":
		config.Store = jobs.NewMemoryStore(time.Now)
		if err := config.Store.Pause(context.Background(), "echo", true); err != nil {
			config.Stack = err.Error()
		}
	}
	jobs.Start(echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
		switch run.Params.Date {
		case "bad":
			return errBroken
		case "reject":
			run.Reject(jobs.Rejection{Line: 7, Kind: "rejected", Reason: "no such user"})
		case "long":
			if run.Attempt < 3 {
				run.Count("rounds", 1)
				if err := run.Checkpoint(ctx, run.Attempt); err != nil {
					return err
				}
				return jobs.ErrUnfinished
			}
		case "wait":
			run.Log.Info("waiting")
			<-ctx.Done()
			return ctx.Err()
		case "stop":
			if err := run.Checkpoint(ctx, run.Attempt); err != nil {
				return err
			}
			run.Log.Info("waiting")
			<-ctx.Done()
			return jobs.ErrUnfinished
		}
		run.Result(map[string]int64{"leftMs": run.TimeLeft().Milliseconds()})
		return nil
	}), config)
}

// invocation is what the Runtime API hands out, and answer what it got for it.
type invocation struct {
	id, payload string
	deadline    time.Time
}

type answer struct {
	id, kind string // kind is response or error
	body     []byte
}

// runtimeAPI is Lambda's side of the Runtime API (version 2018-06-01).
type runtimeAPI struct {
	next    chan invocation
	answers chan answer
	over    chan struct{} // closed: no invocation will come, the function may end
}

func (a *runtimeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, "/2018-06-01/runtime/invocation/")
	id, kind, _ := strings.Cut(path, "/")
	switch {
	case ok && r.Method == http.MethodGet && path == "next":
		select {
		case i := <-a.next:
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", i.id)
			w.Header().Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(i.deadline.UnixMilli()))
			w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-west-1:1:function:echo")
			if _, err := io.WriteString(w, i.payload); err != nil {
				return // the function is gone
			}
		case <-a.over:
			w.WriteHeader(http.StatusGone)
		}
	case ok && r.Method == http.MethodPost:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the function is gone
		}
		w.WriteHeader(http.StatusAccepted)
		a.answers <- answer{id, kind, body}
	default:
		http.NotFound(w, r)
	}
}

// answer waits for the function's next answer.
func (a *runtimeAPI) answer(t *testing.T) answer {
	t.Helper()
	select {
	case got := <-a.answers:
		return got
	case <-time.After(30 * time.Second):
		t.Fatal("no answer came")
		return answer{}
	}
}

// function starts this test binary as a function that the API serves, and returns what it logs once it has ended.
func function(t *testing.T, which, address string) (end func() (log string, err error)) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	process := exec.CommandContext(t.Context(), self)
	process.Env = append(os.Environ(), serveJob+"="+which, "AWS_LAMBDA_RUNTIME_API="+address)
	var log bytes.Buffer
	process.Stderr = &log
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	return func() (string, error) {
		err := process.Wait()
		return log.String(), err
	}
}

func TestStartServesTheRealRuntimeAPI(t *testing.T) {
	api := &runtimeAPI{next: make(chan invocation, 3), answers: make(chan answer, 3), over: make(chan struct{})}
	server := httptest.NewServer(api)
	t.Cleanup(server.Close) // after the context of the test has ended the function, which may wait for an invocation
	api.next <- invocation{"r1", nightly, time.Now().Add(30 * time.Second)}
	api.next <- invocation{"r2", `{"date":"bad"}`, time.Now().Add(30 * time.Second)}
	api.next <- invocation{"r3", nightly, time.Now().Add(30 * time.Second)}
	end := function(t, "echo", strings.TrimPrefix(server.URL, "http://"))

	first := api.answer(t)
	var report jobs.Report
	if err := json.Unmarshal(first.body, &report); err != nil || first.kind != "response" {
		t.Fatalf("answer %s to %s: %s, %v", first.kind, first.id, first.body, err)
	}
	if report.Outcome != jobs.OutcomeDone || report.RequestID != "r1" || report.Slot != "shop/echo/nightly/2026-11-24T03:00:00Z" {
		t.Errorf("report is %+v", report)
	}
	var result struct{ LeftMS int64 }
	if err := json.Unmarshal(report.Result, &result); err != nil || result.LeftMS > 28_000 || result.LeftMS < 1_000 {
		t.Errorf("left are %d ms of 30 s with a margin of 2 s, %v", result.LeftMS, err)
	}

	second := api.answer(t)
	if second.kind != "error" || second.id != "r2" {
		t.Errorf("a failing run is answered as %s to %s: %s", second.kind, second.id, second.body)
	}
	contains(t, string(second.body), `"errorType":"jobFailed"`, "job echo, run 20", errBroken.Error())

	third := api.answer(t)
	contains(t, string(third.body), `"duplicate":true`, `"requestId":"r1"`)

	close(api.over)
	log, err := end()
	if err == nil {
		t.Error("the function ended well without its Runtime API")
	}
	if n := strings.Count(log, `"msg":"report"`); n != 3 {
		t.Errorf("%d reports in the log:\n%s", n, log)
	}
}

func TestStartEndsWithTheReasonIfTheConfigurationIsWrong(t *testing.T) {
	log, err := function(t, "wrong", "127.0.0.1:0")()
	if err == nil || err.Error() != "exit status 1" {
		t.Errorf("the process ended with %v", err)
	}
	contains(t, log, `"msg":"the job cannot start"`, `Config.Stack \"no stack\"`)
}
