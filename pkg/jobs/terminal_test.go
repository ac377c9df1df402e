package jobs_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// atTerminal is this test binary as a function's main, off Lambda.
func atTerminal(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return mainAtTerminal(t, "echo", args...)
}

func mainAtTerminal(t *testing.T, which string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	process := exec.CommandContext(t.Context(), self, args...)
	process.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_LAMBDA_") })
	process.Env = append(process.Env, serveJob+"="+which)
	return process
}

func TestStartAtATerminalRunsTheJobOnce(t *testing.T) {
	for name, test := range map[string]struct {
		args    []string
		input   string
		code    int
		outcome jobs.Outcome
		attempt int
		log     string
	}{
		"no event":       {nil, "", 0, jobs.OutcomeDone, 1, `"msg":"report"`},
		"argument":       {[]string{`{"date":"2026-11-23"}`}, "", 0, jobs.OutcomeDone, 1, `"msg":"report"`},
		"standard input": {[]string{"-"}, `{"date":"bad"}`, 1, jobs.OutcomeFailed, 1, errBroken.Error()},
		"rejected rows":  {[]string{`{"date":"reject"}`}, "", 3, jobs.OutcomeDone, 1, "no such user"},
		"unfinished":     {[]string{`{"date":"long"}`}, "", 0, jobs.OutcomeDone, 3, `"outcome":"unfinished"`},
		"no JSON":        {[]string{"--help"}, "", 1, jobs.OutcomeFailed, 1, "unknown payload: not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			process := atTerminal(t, test.args...)
			var out, log bytes.Buffer
			process.Stdin, process.Stdout, process.Stderr = strings.NewReader(test.input), &out, &log
			err := process.Run()
			if code := process.ProcessState.ExitCode(); code != test.code {
				t.Errorf("exit code %d (%v), want %d", code, err, test.code)
			}
			var report jobs.Report
			if err := json.Unmarshal(out.Bytes(), &report); err != nil {
				t.Fatalf("standard output is not one report: %v\n%s", err, &out)
			}
			if report.Outcome != test.outcome || report.Attempt != test.attempt {
				t.Errorf("outcome %q of attempt %d, want %q of %d", report.Outcome, report.Attempt, test.outcome, test.attempt)
			}
			contains(t, log.String(), test.log)
		})
	}
}

func TestStartAtATerminalRunsABatchToItsEnd(t *testing.T) {
	process := atTerminal(t, `{"Items":[{"date":"long"},{"date":"reject"}]}`)
	out, err := process.Output()
	if code := process.ProcessState.ExitCode(); code != 3 {
		t.Errorf("exit code %d (%v)", code, err)
	}
	reports := json.NewDecoder(bytes.NewReader(out))
	for i, attempt := range []int{3, 1} {
		var report jobs.Report
		if err := reports.Decode(&report); err != nil || report.Outcome != jobs.OutcomeDone || report.Attempt != attempt {
			t.Errorf("report %d: %q of attempt %d, %v", i, report.Outcome, report.Attempt, err)
		}
	}
	if reports.More() {
		t.Errorf("more than two reports in %s", out)
	}
}

func TestStartAtATerminalDoesNotEndAsDoneWhatWasNotRun(t *testing.T) {
	process := mainAtTerminal(t, "paused", `{"m2mjobs":{"schedule":"nightly","time":"2026-11-24T03:00:00Z"}}`)
	out, err := process.Output()
	var report jobs.Report
	if wrong := json.Unmarshal(out, &report); wrong != nil || report.Outcome != jobs.OutcomePaused {
		t.Errorf("outcome %q, %v", report.Outcome, wrong)
	}
	if code := process.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit code %d (%v), want 1", code, err)
	}
}

func TestStartAtATerminalRefusesAnEventWithoutQuotes(t *testing.T) {
	process := atTerminal(t, `{"date":`, `"2026-11-23"}`)
	var log bytes.Buffer
	process.Stderr = &log
	out, err := process.Output()
	if code := process.ProcessState.ExitCode(); code != 1 || len(out) > 0 {
		t.Errorf("exit code %d (%v), output %s", code, err, out)
	}
	contains(t, log.String(), "the job cannot start", "2 arguments where one is wanted: the event, as JSON in quotes")
}

func TestASignalEndsTheRunAtATerminal(t *testing.T) {
	for date, want := range map[string]jobs.Outcome{"wait": jobs.OutcomeFailed, "stop": jobs.OutcomeUnfinished} {
		for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
			process := atTerminal(t, `{"date":"`+date+`"}`)
			var out bytes.Buffer
			process.Stdout = &out
			log, err := process.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := process.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewReader(log)
			for line := ""; !strings.Contains(line, `"msg":"waiting"`); {
				if line, err = lines.ReadString('\n'); err != nil {
					t.Fatalf("the run did not begin: %v", err)
				}
			}
			if err := process.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, lines); err != nil {
				t.Fatal(err)
			}
			err = process.Wait()
			if code := process.ProcessState.ExitCode(); code != 1 {
				t.Errorf("%s, %v: exit code %d (%v)", date, sig, code, err)
			}
			var report jobs.Report
			if err := json.Unmarshal(out.Bytes(), &report); err != nil || report.Outcome != want || report.Error == "" {
				t.Errorf("%s, %v: outcome %q, error %q, %v", date, sig, report.Outcome, report.Error, err)
			}
		}
	}
}
