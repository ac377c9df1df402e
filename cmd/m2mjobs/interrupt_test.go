package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/internal/demo"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

func TestAnInterruptEndsACommandThatWaitsForItsEvent(t *testing.T) {
	stdin, terminal := io.Pipe()
	defer terminal.Close()
	ctx, interrupt := context.WithCancel(t.Context())
	var stdout, stderr bytes.Buffer
	ended := make(chan int)
	go func() {
		ended <- run(ctx, []string{"invoke", "sync-custom-data", "--event", "-", "--state", t.TempDir()}, stdio{stdin, &stdout, &stderr})
	}()
	if _, err := terminal.Write([]byte("{")); err != nil { // it has begun to read
		t.Fatal(err)
	}
	interrupt()
	if code := <-ended; code != exitFailed || !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
}

// writes are those to the users of a world.
func writes(world *demo.World) int {
	return world.Tenant.Requests(patchRoute) + world.Tenant.Requests("PATCH /api/users/{id}")
}

// pasted is a shell that runs a line in which m2mjobs is this command.
func pasted(t *testing.T, line string) *exec.Cmd {
	t.Helper()
	bin := t.TempDir()
	self, err := os.Executable()
	if err == nil {
		err = os.Symlink(self, filepath.Join(bin, "m2mjobs"))
	}
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "sh", "-c", line)
	c.Env = append(os.Environ(), asCommand+"=1", "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return c
}

func TestAnInterruptedSyncPrintsTheCommandThatGoesOnAndRepeatsNoWrite(t *testing.T) {
	c := newCrowd(t, 1000)
	undisturbed := newWorld(t, t.TempDir(), nil)
	c.join(undisturbed)
	if cmd := c.sync(t, undisturbed, t.TempDir()); cmd.Run() == nil || cmd.ProcessState.ExitCode() != exitRejected {
		t.Fatalf("undisturbed: %s", cmd.Stderr)
	}
	for _, flags := range [][]string{nil, {"--json"}, {"--timeout", "3s", "--only-keys", "n,again,trial,it's $HOME"}} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			world := newWorld(t, t.TempDir(), nil)
			c.join(world)
			world.Tenant.Inject(logtotest.Fault{Route: patchRoute, Times: -1, Latency: 40 * time.Millisecond})
			args := append([]string{"sync", "apply", c.file, "--state", filepath.Join(t.TempDir(), "my state"),
				"--env-file", world.EnvironmentFile(function.SyncCustomData)}, flags...)
			first := process(t.Context(), t, args...)
			var stderr bytes.Buffer
			first.Stdout, first.Stderr = io.Discard, &stderr
			if err := first.Start(); err != nil {
				t.Fatal(err)
			}
			for writes(world) < 345 && t.Context().Err() == nil {
				runtime.Gosched()
			}
			if err := errors.Join(first.Process.Signal(syscall.SIGINT), ignoreExit(first.Wait())); err != nil {
				t.Fatal(err)
			}
			said, line, ok := strings.Cut(strings.TrimSuffix(stderr.String(), "\n"), "; go on with:\n")
			if code := first.ProcessState.ExitCode(); code != exitFailed || !ok || strings.Contains(line, "\n") {
				t.Fatalf("exit code %d, it says %q", code, &stderr)
			}
			if len(flags) == 0 || flags[0] != "--json" {
				if !strings.Contains(said, "m2mjobs: interrupted: finishing and saving what is under way; a second interrupt stops at once\n") {
					t.Errorf("it says %q", said)
				}
			}
			if n := writes(world); n > 900 {
				t.Fatalf("%d writes: it did not stop", n)
			}
			second := pasted(t, line)
			if out, err := second.CombinedOutput(); second.ProcessState == nil || second.ProcessState.ExitCode() != exitRejected {
				t.Fatalf("%s: %v\n%s", line, err, out)
			}
			if diff := cmp.Diff(c.state(undisturbed), c.state(world)); diff != "" {
				t.Errorf("users (-undisturbed +interrupted):\n%s", diff)
			}
			if got, want := writes(world), writes(undisturbed); got != want {
				t.Errorf("%d writes, want the %d of an undisturbed run", got, want)
			}
		})
	}
}

// ignoreExit leaves out that a process ended with a code: it is looked at.
func ignoreExit(err error) error {
	if errors.As(err, new(*exec.ExitError)) {
		return nil
	}
	return err
}

func TestASecondInterruptEndsASyncAtOnce(t *testing.T) {
	c := newCrowd(t, 300)
	wantState, _, _ := c.undisturbed(t)
	world := newWorld(t, t.TempDir(), nil)
	c.join(world)
	world.Tenant.Inject(logtotest.Fault{Route: patchRoute, After: 100, Times: -1, Latency: time.Hour})
	args := []string{"sync", "apply", c.file, "--state", t.TempDir(), "--env-file", world.EnvironmentFile(function.SyncCustomData)}
	cmd := process(t.Context(), t, args...)
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	for writes(world) < 101 && t.Context().Err() == nil {
		runtime.Gosched()
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	// What is under way takes an hour, so that it says this and does not end.
	if line, err := bufio.NewReader(stderr).ReadString('\n'); !strings.Contains(line, "a second interrupt stops at once") {
		t.Fatalf("it says %q, %v", line, err)
	}
	if err := errors.Join(cmd.Process.Signal(syscall.SIGINT), ignoreExit(cmd.Wait())); err != nil {
		t.Fatal(err)
	}
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGINT {
		t.Errorf("it ended by itself: %v", cmd.ProcessState)
	}
	world.Tenant.ClearFaults()
	again := pasted(t, fmt.Sprint(commandLine(args)))
	if out, err := again.CombinedOutput(); again.ProcessState == nil || again.ProcessState.ExitCode() != exitRejected {
		t.Fatalf("again: %v\n%s", err, out)
	}
	if diff := cmp.Diff(wantState, c.state(world)); diff != "" {
		t.Errorf("users (-undisturbed +interrupted):\n%s", diff)
	}
}
