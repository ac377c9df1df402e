//go:build e2e

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/jobs/storetest"
)

func TestStoreInDynamoDBDoesWhatAStoreMust(t *testing.T) {
	t.Parallel()
	root := awsConfig(t, shared.aws.Root())
	operator := awsConfig(t, newUser(t, "conformance", storePolicy("conformance-*", storeOperatorActions)))
	tables := 0
	storetest.Run(t, func(t testing.TB, now func() time.Time) jobs.Store {
		tables++
		name := fmt.Sprintf("conformance-%d", tables)
		newTable(t, root, name)
		store := storeOn(operator, name)
		store.Now = now
		return store
	})
}

// claimer is a process that claims slots.
type claimer struct {
	slots   io.WriteCloser
	answers *bufio.Scanner
	process *exec.Cmd
}

func startClaimer(t *testing.T, program, table, owner string, key emulator.Key) *claimer {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, table, owner)
	cmd.Stderr = os.Stderr
	for variable, value := range shared.aws.Environment(key) {
		cmd.Env = append(cmd.Env, variable+"="+value)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &claimer{in, bufio.NewScanner(out), cmd}
}

func (c *claimer) answer(t *testing.T) string {
	t.Helper()
	if !c.answers.Scan() {
		t.Fatalf("a claimer has ended: %v", c.answers.Err())
	}
	return c.answers.Text()
}

func TestOfTwoProcessesThatClaimASlotExactlyOneWins(t *testing.T) {
	t.Parallel()
	program, err := emulator.BuildProgram(t.TempDir(), "./e2e/storeclaimer")
	if err != nil {
		t.Fatal(err)
	}
	newTable(t, awsConfig(t, shared.aws.Root()), "race")
	key := newUser(t, "race", storePolicy("race", storeFunctionActions))
	var claimers []*claimer
	for _, owner := range []string{"one", "other"} {
		claimers = append(claimers, startClaimer(t, program, "race", owner, key))
	}
	wins := make([]int, len(claimers))
	for i := range 1000 {
		for n := range claimers {
			// Which of them hears of the slot first changes: otherwise one always is the quicker.
			if _, err := fmt.Fprintf(claimers[(i+n)%2].slots, "stack/job/%d\n", i); err != nil {
				t.Fatal(err)
			}
		}
		won := 0
		for n, c := range claimers {
			switch answer := c.answer(t); answer {
			case "won":
				won++
				wins[n]++
			case "held":
			default:
				t.Fatalf("slot %d: %s", i, answer)
			}
		}
		if won != 1 {
			t.Fatalf("slot %d was won by %d of two processes", i, won)
		}
	}
	if wins[0] == 0 || wins[1] == 0 {
		t.Errorf("one process won %d times and the other %d: they did not race", wins[0], wins[1])
	}
	for _, c := range claimers {
		if err := errors.Join(c.slots.Close(), c.process.Wait()); err != nil {
			t.Error(err)
		}
	}
}

func TestAHolderThatLostItsLeaseCanNeitherSaveNorFinish(t *testing.T) {
	t.Parallel()
	newTable(t, awsConfig(t, shared.aws.Root()), "lost")
	key := newUser(t, "lost", storePolicy("lost", storeFunctionActions))
	for name, group := range map[string]string{"of a schedule": "stack/job/nightly", "of an event": ""} {
		t.Run(name, func(t *testing.T) {
			slot := strings.ReplaceAll(name, " ", "-")
			// The holder's clock stands still: what keeps it from writing is the fence alone.
			began := time.Now()
			holder, _ := countedStore(t, key, "lost")
			holder.Now = func() time.Time { return began }
			heir, _ := countedStore(t, key, "lost")
			heir.Now = func() time.Time { return began.Add(2 * time.Minute) }

			c := storeClaim(slot, "holder")
			c.Until, c.Group = began.Add(time.Minute), group
			old, err := holder.Claim(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if err := holder.Checkpoint(t.Context(), old, []byte(`{"at":1}`)); err != nil {
				t.Fatal(err)
			}
			c.Owner, c.Until = "heir", began.Add(3*time.Minute)
			taken, err := heir.Claim(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if taken.Fence <= old.Fence || taken.Attempt != 2 || string(taken.Checkpoint) != `{"at":1}` {
				t.Errorf("taken over as attempt %d, fence %d after %d, checkpoint %s", taken.Attempt, taken.Fence, old.Fence, taken.Checkpoint)
			}
			if err := holder.Checkpoint(t.Context(), old, []byte(`{"at":2}`)); !errors.Is(err, jobs.ErrLeaseLost) {
				t.Errorf("the old holder's checkpoint: %v", err)
			}
			for _, state := range []jobs.State{jobs.Done, jobs.Failed, jobs.Unfinished} {
				if err := holder.Finish(t.Context(), old, state, []byte(`{"n":1}`)); !errors.Is(err, jobs.ErrLeaseLost) {
					t.Errorf("the old holder's end as %s: %v", state, err)
				}
			}
			if err := heir.Finish(t.Context(), taken, jobs.Done, []byte(`{"n":2}`)); err != nil {
				t.Fatal(err)
			}
			r, err := heir.Get(t.Context(), old.Slot)
			if err != nil || r.State != jobs.Done || string(r.Report) != `{"n":2}` || string(r.Checkpoint) != `{"at":1}` {
				t.Errorf("what stands is %s, report %s, checkpoint %s, %v", r.State, r.Report, r.Checkpoint, err)
			}
		})
	}
}
