package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/internal/demo"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// fromEnvironment is a number that a longer run of the tests sets.
func fromEnvironment(t *testing.T, name string, usual int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// interval is the most requests that one checkpoint interval holds: 100 writes, and a lookup for their rows.
const interval = 100 + 1

// crowd is a tenant's users and a file of rows about them: every fiftieth is nobody's, every fiftieth can't be used, every tenth
// also removes a key, and every seventh user has a second row, hundreds of lines later.
type crowd struct {
	users int
	file  string
	text  string
}

func newCrowd(t *testing.T, users int) crowd {
	t.Helper()
	var b, later strings.Builder
	for i := range users {
		switch {
		case i%50 == 7:
			fmt.Fprintf(&b, `{"id":"nobody%d","customData":{"n":1}}`+"\n", i)
		case i%50 == 9:
			fmt.Fprintln(&b, "not a row")
		case i%10 == 3:
			fmt.Fprintf(&b, `{"id":"%s","customData":{"n":%d},"remove":["trial"]}`+"\n", userID(i), i)
		default:
			fmt.Fprintf(&b, `{"id":"%s","customData":{"n":%d}}`+"\n", userID(i), i)
		}
		if i%7 == 0 {
			fmt.Fprintf(&later, `{"primaryEmail":"%s@crowd.example.com","customData":{"again":%d}}`+"\n", userID(i), i)
		}
		if i%500 == 499 {
			b.WriteString(later.String())
			later.Reset()
		}
	}
	c := crowd{users: users, file: filepath.Join(t.TempDir(), "rows.ndjson"), text: b.String()}
	if err := os.WriteFile(c.file, []byte(c.text), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

func userID(i int) string { return fmt.Sprintf("crowd%05d", i) }

// join puts the users into a tenant.
func (c crowd) join(world *demo.World) {
	for i := range c.users {
		world.Tenant.AddUser(logtotest.User{ID: userID(i), PrimaryEmail: userID(i) + "@crowd.example.com",
			CustomData: map[string]any{"trial": true, "kept": i}})
	}
}

// state is what the tenant has of them.
func (c crowd) state(world *demo.World) []string {
	state := make([]string, c.users)
	for i := range state {
		state[i] = fmt.Sprint(userID(i), world.Tenant.CustomData(userID(i)))
	}
	return state
}

// kept are the rows that were kept back, with their lines and reasons, sorted.
func kept(t *testing.T, world *demo.World, report jobs.Report) []string {
	t.Helper()
	var lines []string
	for part := range report.Rejected.Parts {
		data, err := os.ReadFile(filepath.Join(world.Dir, "out", "rejected", report.RunID, fmt.Sprintf("%05d.ndjson", part+1)))
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.Split(strings.TrimSpace(string(data)), "\n")...)
	}
	slices.Sort(lines)
	return lines
}

// sync starts a sync of the crowd's rows as a process.
func (c crowd) sync(t *testing.T, world *demo.World, state string) *exec.Cmd {
	t.Helper()
	cmd := process(t.Context(), t, "sync", "apply", c.file, "--json", "--state", state, "--env-file", world.EnvironmentFile(function.SyncCustomData))
	cmd.Stdout, cmd.Stderr = new(bytes.Buffer), new(bytes.Buffer)
	return cmd
}

func reportOf(t *testing.T, cmd *exec.Cmd) (report jobs.Report) {
	t.Helper()
	if err := json.Unmarshal(cmd.Stdout.(*bytes.Buffer).Bytes(), &report); err != nil {
		t.Fatalf("report: %v\n%s", err, cmd.Stderr)
	}
	return report
}

// undisturbed is what a whole run comes to.
func (c crowd) undisturbed(t *testing.T) (state, keptBack []string, requests int) {
	t.Helper()
	world := newWorld(t, t.TempDir(), nil)
	c.join(world)
	cmd := c.sync(t, world, t.TempDir())
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != exitRejected {
		t.Fatalf("undisturbed: %v\n%s", err, cmd.Stderr)
	}
	return c.state(world), kept(t, world, reportOf(t, cmd)), world.Tenant.Requests("")
}

// goWrong scripts faults for every call: one in so many of each is refused, throttled, cut off before or after it took effect, or
// answered slowly. One by one, because a call that meets four of them in a row is given up, and its row kept back.
func goWrong(world *demo.World) {
	for route, calls := range map[string]int{
		"GET /api/users":                    9,
		"PATCH /api/users/{id}/custom-data": 29,
		"PATCH /api/users/{id}":             19,
		"GET /api/users/{id}":               19,
	} {
		for n := range 20 {
			fault := logtotest.Fault{Route: route, After: (n + 1) * calls} // whom an earlier fault hits is not counted
			switch n % 5 {
			case 0:
				fault.Status = 503
			case 1:
				fault.Status, fault.Header = 429, map[string]string{"Retry-After": "0"}
			case 2:
				fault.Reset = true
			case 3:
				fault.ResetAfter = true
			case 4:
				fault.SlowBody = 20 * time.Millisecond
			}
			world.Tenant.Inject(fault)
		}
	}
}

func TestASyncKilledAtRandomPointsEndsAsOneThatWasNotDisturbed(t *testing.T) {
	kills := fromEnvironment(t, "M2MJOBS_KILLS", 20)
	seed := uint64(fromEnvironment(t, "M2MJOBS_SEED", 1))
	t.Logf("M2MJOBS_KILLS=%d M2MJOBS_SEED=%d", kills, seed)
	for name, with := range map[string]struct {
		users  int
		inject func(*demo.World)
	}{
		"nothing else goes wrong":            {5000, nil},
		"every call goes wrong now and then": {2000, goWrong},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, inject := newCrowd(t, with.users), with.inject
			wantState, wantKept, wantRequests := c.undisturbed(t)
			random := rand.New(rand.NewPCG(seed, 0))
			world := newWorld(t, t.TempDir(), nil)
			c.join(world)
			if inject != nil {
				inject(world)
			}
			state := t.TempDir()
			survived := 0
			for range kills {
				// Spread over what is left, so that the last kills still meet a run.
				left := max(1, (wantRequests-world.Tenant.Requests(""))/(kills-survived+2))
				if !killAfter(t, c.sync(t, world, state), world, random.IntN(2*left)) {
					t.Fatalf("the run ended before kill %d", survived+1)
				}
				survived++
			}
			last := c.sync(t, world, state)
			if err := last.Run(); last.ProcessState.ExitCode() != exitRejected {
				t.Fatalf("the last start: %v\n%s", err, last.Stderr)
			}
			report := reportOf(t, last)
			if diff := cmp.Diff(wantState, c.state(world)); diff != "" {
				t.Errorf("users (-undisturbed +killed):\n%s", diff)
			}
			if diff := cmp.Diff(wantKept, kept(t, world, report)); diff != "" {
				t.Errorf("rows kept back (-undisturbed +killed):\n%s", diff)
			}
			repeated := world.Tenant.Requests("") - wantRequests
			if most := survived * (interval + 1); inject == nil && repeated > most { // and a token
				t.Errorf("%d requests were repeated over %d kills, want %d at most", repeated, survived, most)
			}
			t.Logf("%d kills survived, %d requests repeated (%d undisturbed)", survived, repeated, wantRequests)
		})
	}
}

// killAfter starts a run, kills it after so many requests more, and tells whether that came before its end.
func killAfter(t *testing.T, cmd *exec.Cmd, world *demo.World, requests int) bool {
	t.Helper()
	until := world.Tenant.Requests("") + requests
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for world.Tenant.Requests("") < until {
		select {
		case <-ended:
			return false
		default:
			runtime.Gosched()
		}
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil && err != os.ErrProcessDone {
		t.Fatal(err)
	}
	<-ended
	return cmd.ProcessState.ExitCode() == -1
}

func TestASyncWhoseOutputIsGoneSaysSoAndLosesNothing(t *testing.T) {
	c := newCrowd(t, 300)
	wantState, wantKept, _ := c.undisturbed(t)
	for _, gone := range []string{"rejected", "undo"} {
		t.Run(gone, func(t *testing.T) {
			world := newWorld(t, t.TempDir(), nil)
			c.join(world)
			state, place := t.TempDir(), filepath.Join(world.Dir, "out", gone)
			if err := errors.Join(os.MkdirAll(filepath.Dir(place), 0o700), os.WriteFile(place, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
			first := c.sync(t, world, state)
			if err := first.Run(); first.ProcessState.ExitCode() != exitFailed {
				t.Fatalf("exit code %d, %v\n%s", first.ProcessState.ExitCode(), err, first.Stderr)
			}
			for _, want := range []string{place, "a file stands where a directory is needed: name another place"} {
				if !strings.Contains(first.Stderr.(*bytes.Buffer).String(), want) {
					t.Errorf("it does not say %q:\n%s", want, first.Stderr)
				}
			}
			if err := os.Remove(place); err != nil {
				t.Fatal(err)
			}
			second := c.sync(t, world, state)
			if err := second.Run(); second.ProcessState.ExitCode() != exitRejected {
				t.Fatalf("again: %v\n%s", err, second.Stderr)
			}
			if diff := cmp.Diff(wantState, c.state(world)); diff != "" {
				t.Errorf("users (-undisturbed +again):\n%s", diff)
			}
			if diff := cmp.Diff(wantKept, kept(t, world, reportOf(t, second))); diff != "" {
				t.Errorf("rows kept back (-undisturbed +again):\n%s", diff)
			}
		})
	}
}
