package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/internal/demo"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/shop/cdnow"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

const patchRoute = "PATCH /api/users/{id}/custom-data"

// manyRows is a file for 1,000 customers, with a bad row and an unknown user in every hundred.
func manyRows(t *testing.T, dir string) (path string, emails []string) {
	orders, err := cdnow.Orders()
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	for _, order := range orders {
		if slices.Contains(emails, order.CustomerEmail) {
			continue
		}
		if len(emails)%100 == 50 {
			fmt.Fprintf(&file, "{\"primaryEmail\":\"nobody%d@example.com\",\"customData\":{\"n\":1}}\n", len(emails))
			fmt.Fprintf(&file, "{\"primaryEmail\":%q,\"customData\":{\"n\":12345678901234567890}}\n", order.CustomerEmail)
		}
		fmt.Fprintf(&file, "{\"primaryEmail\":%q,\"customData\":{\"n\":%d,\"plan\":\"pro\"}}\n", order.CustomerEmail, len(emails))
		if emails = append(emails, order.CustomerEmail); len(emails) == 1000 {
			break
		}
	}
	path = filepath.Join(dir, "rows.ndjson")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, emails
}

// state is what Logto has of the users, and the rows that were kept back, sorted.
func state(t *testing.T, world *demo.World, emails []string) (users []string, kept []string) {
	for _, email := range emails {
		data, err := json.Marshal(world.CustomData(email))
		if err != nil {
			t.Fatal(err)
		}
		users = append(users, email+" "+string(data))
	}
	parts, err := filepath.Glob(filepath.Join(world.Dir, "out", "rejected", "*", "*.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range parts {
		data, err := os.ReadFile(part)
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, strings.Split(strings.TrimSpace(string(data)), "\n")...)
	}
	slices.Sort(kept)
	return users, kept
}

func TestASyncThatIsKilledHalfWayGoesOnWhenStartedAgain(t *testing.T) {
	undisturbed := newWorld(t, t.TempDir(), nil)
	rows, emails := manyRows(t, t.TempDir())
	event := fmt.Sprintf(`{"source":%q}`, rows)
	run := func(world *demo.World, stateDir string) *exec.Cmd {
		c := process(t.Context(), t, "invoke", "sync-custom-data", "--event", event, "--state", stateDir,
			"--env-file", world.EnvironmentFile(function.SyncCustomData))
		c.Stdout, c.Stderr = new(bytes.Buffer), new(bytes.Buffer)
		return c
	}
	report := func(c *exec.Cmd) (r jobs.Report) {
		if err := json.Unmarshal(c.Stdout.(*bytes.Buffer).Bytes(), &r); err != nil {
			t.Fatalf("report: %v\n%s", err, c.Stderr)
		}
		return r
	}
	whole := run(undisturbed, t.TempDir())
	if err := whole.Run(); whole.ProcessState.ExitCode() != exitRejected {
		t.Fatalf("undisturbed: %v\n%s", err, whole.Stderr)
	}

	killed := newWorld(t, t.TempDir(), nil)
	killed.Tenant.Inject(logtotest.Fault{Route: patchRoute, Times: -1, Latency: 2 * time.Millisecond})
	stateDir := t.TempDir()
	first := run(killed, stateDir)
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	for killed.Tenant.Requests(patchRoute) < 456 {
		if t.Context().Err() != nil {
			t.Fatal("the first run did not get half-way")
		}
		runtime.Gosched()
	}
	if err := first.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := first.Wait(); err == nil || first.Stdout.(*bytes.Buffer).Len() != 0 {
		t.Fatalf("the first run was not killed: %v, %s", err, first.Stdout)
	}
	before := killed.Tenant.Requests(patchRoute)

	second := run(killed, stateDir)
	if err := second.Run(); second.ProcessState.ExitCode() != exitRejected {
		t.Fatalf("second: %v\n%s", err, second.Stderr)
	}
	wantUsers, wantKept := state(t, undisturbed, emails)
	gotUsers, gotKept := state(t, killed, emails)
	if diff := cmp.Diff(wantUsers, gotUsers); diff != "" {
		t.Errorf("users differ from an undisturbed run's:\n%s", diff)
	}
	if diff := cmp.Diff(wantKept, gotKept); diff != "" || len(wantKept) != 20 {
		t.Errorf("rows kept back: %d, want the 20 of an undisturbed run, each once:\n%s", len(gotKept), diff)
	}
	if n := killed.Tenant.Requests(patchRoute); n > 1000+100 || n-before > 1000-400 {
		t.Errorf("%d writes in all and %d after the kill: more was repeated than one checkpoint's rows", n, n-before)
	}
	wantReport, gotReport := report(whole), report(second)
	if gotReport.Attempt != 2 || gotReport.Slot == "" {
		t.Errorf("attempt %d of slot %q, want the second of the same run", gotReport.Attempt, gotReport.Slot)
	}
	for _, name := range []string{"rows", "missing", "rejected"} {
		if gotReport.Counts[name] != wantReport.Counts[name] {
			t.Errorf("%s: %d, want %d", name, gotReport.Counts[name], wantReport.Counts[name])
		}
	}
}

func TestARunLongerThanOneInvocationIsContinued(t *testing.T) {
	world := newWorld(t, t.TempDir(), nil)
	rows, emails := manyRows(t, t.TempDir())
	world.Tenant.Inject(logtotest.Fault{Route: patchRoute, Times: -1, Latency: 40 * time.Millisecond})
	c := process(t.Context(), t, "invoke", "sync-custom-data", "--timeout", "3s", "--event", fmt.Sprintf(`{"source":%q}`, rows),
		"--env-file", world.EnvironmentFile(function.SyncCustomData))
	// The variables of a deployed function: what is remembered here can only be continued here.
	c.Env = append(c.Env, "STATE_TABLE=m2mjobs-runs",
		"CONTINUE_STATE_MACHINE=arn:aws:states:eu-central-1:123456789012:stateMachine:m2mjobs-continue")
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); c.ProcessState.ExitCode() != exitRejected {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	var report jobs.Report
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	if report.Attempt < 2 || report.Counts["changed"] != 1000 || report.Rejected.Rows != 20 {
		t.Errorf("attempt %d, %d changed, %d kept back; want several, 1000 and 20", report.Attempt, report.Counts["changed"], report.Rejected.Rows)
	}
	if n := world.Tenant.Requests(patchRoute); n != len(emails) {
		t.Errorf("%d writes for %d users: a continuation repeats nothing", n, len(emails))
	}
}
