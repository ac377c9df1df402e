package bolt_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/jobs/bolt"
	"github.com/m2mjobs/m2mjobs/pkg/jobs/storetest"
)

// victimFile makes this test binary the process that TestAKilledRunGoesOnFromItsCheckpoint kills.
const victimFile = "M2MJOBS_TEST_VICTIM_FILE"

func TestMain(m *testing.M) {
	if path := os.Getenv(victimFile); path != "" {
		if err := victim(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, path string) *bolt.Store {
	t.Helper()
	store, err := bolt.Open(path)
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

func TestStore(t *testing.T) {
	storetest.Run(t, func(t testing.TB, now func() time.Time) jobs.Store {
		store := open(t, filepath.Join(t.TempDir(), "state.db"))
		store.Now = now
		return store
	})
}

func claim(owner string) jobs.Claim {
	return jobs.Claim{
		Slot: "local/job/slot", Job: "job", RunID: "run-of-" + owner, Owner: owner,
		Trigger: json.RawMessage(`{"n":1}`), Until: time.Now().Add(24 * time.Hour),
	}
}

// victim claims a slot for a day, makes a checkpoint, says so, and waits to be killed.
func victim(path string) error {
	store, err := bolt.Open(path)
	if err != nil {
		return err
	}
	record, err := store.Claim(context.Background(), claim("victim"))
	if err != nil {
		return err
	}
	if err := store.Checkpoint(context.Background(), record, json.RawMessage(`{"at":7}`)); err != nil {
		return err
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func TestAKilledRunGoesOnFromItsCheckpoint(t *testing.T) {
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
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil || line != "ready\n" {
		t.Fatalf("the process said %q, %v", line, err)
	}

	_, err = bolt.Open(path)
	if err == nil || !strings.Contains(err.Error(), "another m2mjobs process is using it") || !strings.Contains(err.Error(), path) {
		t.Errorf("opening a file in use: %v, want an error that says so and names it", err)
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

	store := open(t, path)
	record, err := store.Claim(t.Context(), claim("heir"))
	if err != nil {
		t.Fatalf("the dead process's lease is still in the way: %v", err)
	}
	if record.RunID != "run-of-victim" || record.Attempt != 2 || string(record.Checkpoint) != `{"at":7}` {
		t.Errorf("goes on with run %s, attempt %d, checkpoint %s", record.RunID, record.Attempt, record.Checkpoint)
	}
	if _, err := store.Claim(t.Context(), claim("third")); !errors.Is(err, jobs.ErrHeld) {
		t.Errorf("a claim beside the living holder's: %v", err)
	}
}

func TestStateOutlivesTheStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	store, err := bolt.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	record, err := store.Claim(t.Context(), claim("a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Finish(t.Context(), record, jobs.Done, json.RawMessage(`{"n":2}`)); err != nil {
		t.Fatal(err)
	}
	other := claim("c")
	other.Slot = "local/job/open"
	left, err := store.Claim(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v", info.Mode())
	}

	store = open(t, path)
	last, err := store.Claim(t.Context(), claim("b"))
	if !errors.Is(err, jobs.ErrDone) || string(last.Report) != `{"n":2}` {
		t.Errorf("claiming a done slot: %v with report %s", err, last.Report)
	}
	if err := store.Checkpoint(t.Context(), left, nil); !errors.Is(err, jobs.ErrLeaseLost) {
		t.Errorf("a checkpoint under the lease of another session: %v", err)
	}
}

func TestTheNewestHundredRunsAreListed(t *testing.T) {
	store := open(t, filepath.Join(t.TempDir(), "state.db"))
	for i := range 105 {
		c := claim(fmt.Sprint(i))
		c.Slot = fmt.Sprintf("local/job/%d", i)
		if _, err := store.Claim(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	runs, err := store.Runs(t.Context(), "job", 1000)
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) != 100 || runs[0].Owner != "104" || runs[99].Owner != "5" {
		t.Errorf("%d runs, from %s to %s", len(runs), runs[0].Owner, runs[len(runs)-1].Owner)
	}
	if _, err := store.Get(t.Context(), "local/job/0"); err != nil {
		t.Errorf("a slot whose run is no longer listed is forgotten: %v", err)
	}
}

func TestAFileThatIsNoStateFileIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.txt")
	if err := os.WriteFile(path, []byte(strings.Repeat("not a database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := bolt.Open(path)
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("opening another file: %v", err)
	}
}

func TestAFileThatWasCutOffIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	store, err := bolt.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		c := claim(fmt.Sprint(i))
		c.Slot, c.Trigger = fmt.Sprint("local/job/", i), json.RawMessage(`"`+strings.Repeat("x", 10_000)+`"`)
		if _, err := store.Claim(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	for _, size := range []int{1, 100, page, 2 * page, 3 * page, 10*page + 1, len(whole) / 4} {
		cut := filepath.Join(t.TempDir(), "cut.db")
		if err := os.WriteFile(cut, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := bolt.Open(cut)
		if err == nil || !strings.Contains(err.Error(), cut) {
			t.Errorf("cut to %d of %d bytes: %v", size, len(whole), err)
		}
		if size > 2*page && !strings.Contains(fmt.Sprint(err), fmt.Sprintf("it was cut off: it has %d bytes", size)) {
			t.Errorf("cut to %d of %d bytes: %v", size, len(whole), err)
		}
	}
	open(t, path)
}
