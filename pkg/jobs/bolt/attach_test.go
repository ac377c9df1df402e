package bolt_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/jobs/bolt"
)

func attach(t *testing.T, path string) *bolt.Store {
	t.Helper()
	store, err := bolt.Attach(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func TestAnotherProcessLooksAtARunAndCancelsIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	process := exec.CommandContext(t.Context(), self)
	process.Env = append(os.Environ(), victimFile+"="+path)
	process.Stderr = os.Stderr
	input, err := process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(output).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the process said %q, %v", line, err)
	}

	store := attach(t, path)
	runs, err := store.Runs(t.Context(), "job", 10)
	if err != nil || len(runs) != 1 || runs[0].State != jobs.Running || !runs[0].Until.After(time.Now()) || string(runs[0].Checkpoint) != `{"at":7}` {
		t.Errorf("the runs of the living process are %+v, %v", runs, err)
	}
	if r, err := store.Cancel(t.Context(), "run-of-victim"); err != nil || r.State != jobs.Running || !r.Cancelling {
		t.Errorf("cancelling the run of a living process: %+v, %v", r, err)
	}

	if err := process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := process.Wait(); err == nil {
		t.Error("the killed process ended well")
	}
	if err := input.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}

	r, err := store.Find(t.Context(), "run-of-victim")
	if err != nil || r.State != jobs.Running || r.Until.After(time.Now()) {
		t.Errorf("the dead process's run is %+v, %v; want its lease ended", r, err)
	}
	if r, err = store.Cancel(t.Context(), "run-of-victim"); err != nil || r.State != jobs.Cancelled {
		t.Errorf("cancelling the run of a dead process: %+v, %v", r, err)
	}
	if _, err := open(t, path).Claim(t.Context(), claim("heir")); !errors.Is(err, jobs.ErrCancelled) {
		t.Errorf("claiming the cancelled slot: %v", err)
	}
}

func TestACancelledRunLearnsOfItAtItsNextCheckpoint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	running := open(t, path)
	record, err := running.Claim(t.Context(), claim("a"))
	if err != nil {
		t.Fatal(err)
	}
	beside := attach(t, path)
	if _, err := beside.Cancel(t.Context(), "run-of-a"); err != nil {
		t.Fatal(err)
	}
	if err := running.Checkpoint(t.Context(), record, json.RawMessage(`1`)); !errors.Is(err, jobs.ErrCancelled) {
		t.Errorf("the checkpoint of a cancelled run: %v", err)
	}
	if err := beside.Pause(t.Context(), "job", true); err != nil {
		t.Fatal(err)
	}
	if _, err := running.Claim(t.Context(), claim("b")); !errors.Is(err, jobs.ErrPaused) {
		t.Errorf("a claim of the paused job: %v", err)
	}
}

func TestWhatADeadProcessLeftIsNotInTheWayOfItsSchedule(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	grouped := func(slot string) jobs.Claim {
		c := claim(slot)
		c.Slot, c.Group = "local/job/nightly/"+slot, "local/job/nightly"
		return c
	}
	for _, slot := range []string{"running", "unfinished"} {
		store, err := bolt.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		record, err := store.Claim(t.Context(), grouped(slot))
		if err != nil {
			t.Fatal(err)
		}
		if slot == "unfinished" {
			if err := store.Finish(t.Context(), record, jobs.Unfinished, json.RawMessage(`{}`)); err != nil {
				t.Fatal(err)
			}
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := open(t, path).Claim(t.Context(), grouped("next")); err != nil {
		t.Error(err)
	}
}

func TestAttachingRunsNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	if _, err := bolt.Attach(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("attaching to no file: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("attaching made the file: %v", err)
	}
	running := open(t, path)
	record, err := running.Claim(t.Context(), claim("a"))
	if err != nil {
		t.Fatal(err)
	}
	store := attach(t, path)
	_, claimed := store.Claim(t.Context(), claim("b"))
	_, next := store.Next(t.Context(), "group")
	_, shared := store.Share(t.Context(), "tenant", "a", time.Now().Add(time.Minute))
	for what, err := range map[string]error{
		"Claim": claimed, "Next": next, "Share": shared,
		"Checkpoint": store.Checkpoint(t.Context(), record, nil),
		"Finish":     store.Finish(t.Context(), record, jobs.Done, nil),
	} {
		if err == nil || !strings.Contains(err.Error(), "open it to run jobs") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Get(t.Context(), record.Slot); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("reading after Close: %v", err)
	}
}
