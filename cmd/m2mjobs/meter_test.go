package main

import (
	"bytes"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/internal/customdata"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/governor"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

func TestWithoutATerminalALineTellsEvery5SecondsHowFarARunIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		m := newMeter(&out, false)
		tell := func(doing customdata.Action, rows, changed, done int64) {
			m.update(function.Progress{
				Progress: customdata.Progress{Doing: doing, Rows: rows, Changed: changed, Done: done, Size: 400_000},
				Tenant:   governor.Stats{Requests: changed, Budget: 20},
			})
		}
		tell(customdata.ActionPlan, 0, 0, 0)
		<-time.After(2 * time.Second)
		tell(customdata.ActionPlan, 2000, 0, 20_000)
		<-time.After(4500 * time.Millisecond)
		tell(customdata.ActionSync, 0, 0, 0)
		for n := range int64(3) {
			<-time.After(4 * time.Second)
			tell(customdata.ActionSync, 40*(n+1), 39*(n+1), 1000*(n+1))
		}
		m.close()
		want := []string{
			"2,000 rows, 1000.0 rows/s, 0 % of the budget, 36 s left",
			"0 rows, 0 changed",
			"80 rows, 78 changed, 10.0 rows/s, 49 % of the budget, 26 min left",
		}
		if diff := cmp.Diff(want, strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestARunThatIsOverSoonPrintsNoLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		m := newMeter(&out, false)
		m.update(function.Progress{Progress: customdata.Progress{Doing: customdata.ActionSync, Rows: 100, Done: 100, Size: 100}})
		<-time.After(4 * time.Second)
		m.close()
		if out.Len() > 0 {
			t.Errorf("printed %q", &out)
		}
	})
}

// onTerminal runs a command whose standard error is a terminal.
func onTerminal(t *testing.T, c *exec.Cmd) (stdout, terminal string) {
	t.Helper()
	screen, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer screen.Close()
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 24, Cols: 100}); err != nil {
		t.Fatal(err)
	}
	var out, all bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = tty, &out, tty
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := tty.Close(); err != nil {
		t.Fatal(err)
	}
	part := make([]byte, 4096)
	for { // to the end, which Linux tells by EIO
		n, err := screen.Read(part)
		all.Write(part[:n])
		if err != nil {
			break
		}
	}
	if err := c.Wait(); c.ProcessState.ExitCode() < 0 {
		t.Error(err)
	}
	return out.String(), all.String()
}

// drawn is the bar with its columns.
var drawn = regexp.MustCompile(`\r\x1b\[K\[=+>? *\] [\d,]+ rows  [\d,]+ changed  [\d.]+ rows/s  \d+ % of the budget  \d+ s left`)

func TestOnATerminalABarTellsHowFarARunIsAndIsGoneAtItsEnd(t *testing.T) {
	c := newCrowd(t, 600)
	world := newWorld(t, t.TempDir(), nil)
	c.join(world)
	world.Tenant.Inject(logtotest.Fault{Route: patchRoute, Times: -1, Latency: 20 * time.Millisecond})
	cmd := process(t.Context(), t, "sync", "apply", c.file, "--state", t.TempDir(),
		"--env-file", world.EnvironmentFile(function.SyncCustomData))
	cmd.Env = append(cmd.Env, "LOGTO_BUDGET=300/s")
	stdout, terminal := onTerminal(t, cmd)
	if !drawn.MatchString(terminal) {
		t.Errorf("no bar: %q", terminal)
	}
	if strings.Contains(terminal, "\x1b[3") {
		t.Errorf("it has colours: %q", terminal)
	}
	last := terminal[strings.LastIndex(terminal, "\r"+eraseRest):]
	if !strings.HasPrefix(last, "\r"+eraseRest+"m2mjobs: done, but") {
		t.Errorf("after the bar: %q", last)
	}
	if !strings.Contains(stdout, "changed") || strings.ContainsAny(stdout, "\r\x1b") {
		t.Errorf("standard output: %q", stdout)
	}
	if cmd.ProcessState.ExitCode() != exitRejected {
		t.Errorf("exit code %d", cmd.ProcessState.ExitCode())
	}
}

func TestWithJSONOrInAPipeThereIsNoBar(t *testing.T) {
	c := newCrowd(t, 600)
	for _, flag := range []string{"--json", "--limit=1000"} {
		world := newWorld(t, t.TempDir(), nil)
		c.join(world)
		world.Tenant.Inject(logtotest.Fault{Route: patchRoute, Times: -1, Latency: 20 * time.Millisecond})
		cmd := process(t.Context(), t, "sync", "apply", c.file, flag, "--state", t.TempDir(),
			"--env-file", world.EnvironmentFile(function.SyncCustomData))
		shown := ""
		if flag == "--json" {
			_, shown = onTerminal(t, cmd)
		} else {
			var stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = io.Discard, &stderr
			if err := cmd.Run(); cmd.ProcessState.ExitCode() != exitRejected {
				t.Fatalf("%v: %s", err, &stderr)
			}
			shown = stderr.String()
		}
		if strings.Contains(shown, " rows/s") || strings.Contains(shown, "\x1b") || shown == "" {
			t.Errorf("%s: %q", flag, shown)
		}
	}
}
