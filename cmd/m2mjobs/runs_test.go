package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// printed runs the command in this process and returns what it printed. It must succeed.
func printed(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), args, stdio{strings.NewReader(""), &stdout, &stderr}); code != exitDone {
		t.Fatalf("m2mjobs %s: exit code %d: %s", strings.Join(args, " "), code, &stderr)
	}
	return stdout.String()
}

func TestARunOfAnotherProcessIsListedAndStopsWhenItIsCancelled(t *testing.T) {
	world := newWorld(t, t.TempDir(), nil)
	rows, _ := manyRows(t, t.TempDir())
	world.Tenant.Inject(logtotest.Fault{Route: patchRoute, Times: -1, Latency: 5 * time.Millisecond})
	stateDir := t.TempDir()
	c := process(t.Context(), t, "invoke", "sync-custom-data", "--event", fmt.Sprintf(`{"source":%q}`, rows), "--state", stateDir,
		"--env-file", world.EnvironmentFile(function.SyncCustomData))
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for world.Tenant.Requests(patchRoute) < 150 {
		if t.Context().Err() != nil {
			t.Fatal("the run did not begin")
		}
		runtime.Gosched()
	}
	var record jobs.Record
	if err := json.Unmarshal([]byte(printed(t, "runs", "--json", "--state", stateDir)), &record); err != nil {
		t.Fatal(err)
	}
	if record.State != jobs.Running || record.Cancelling {
		t.Errorf("state %s, want running", record.State)
	}
	if shown := printed(t, "runs", "show", record.RunID, "--state", stateDir); !strings.Contains(shown, "No attempt has ended yet") {
		t.Errorf("a run that is under way is shown as:\n%s", shown)
	}
	if said := printed(t, "runs", "cancel", record.RunID, "--state", stateDir); !strings.Contains(said, "stops at its next checkpoint") {
		t.Errorf("cancelling says %q", said)
	}
	if err := c.Wait(); c.ProcessState.ExitCode() != exitFailed || !strings.Contains(stderr.String(), "m2mjobs: run "+record.RunID+" was cancelled") {
		t.Errorf("the process ended with %v:\n%s", err, &stderr)
	}
	var report jobs.Report
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	if n := world.Tenant.Requests(patchRoute); report.Outcome != jobs.OutcomeCancelled || n > 900 {
		t.Errorf("outcome %s after %d of 1,000 writes", report.Outcome, n)
	}
	if listed := printed(t, "runs", "--state", stateDir); !strings.Contains(listed, " cancelled ") {
		t.Errorf("listed as:\n%s", listed)
	}
}
