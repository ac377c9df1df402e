package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/m2mjobs/m2mjobs/internal/demo"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/internal/shop"
	"github.com/m2mjobs/m2mjobs/internal/shop/cdnow"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// asCommand in the environment makes the test binary the command itself, for tests that kill it.
const asCommand = "M2MJOBS_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	testscript.Main(leakTested{m}, map[string]func(){"m2mjobs": main})
}

type leakTested struct{ m *testing.M }

func (l leakTested) Run() int {
	code := l.m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	return code
}

// newWorld starts tenant and shop with the real orders, or those given.
func newWorld(t testing.TB, dir string, orders []shop.Order) *demo.World {
	t.Helper()
	if orders == nil {
		real, err := cdnow.Orders()
		if err != nil {
			t.Fatal(err)
		}
		orders = real
	}
	world, err := demo.Start(dir, orders)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := world.Close(); err != nil {
			t.Error(err)
		}
	})
	return world
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			orders, err := cdnow.Orders()
			if err != nil {
				return err
			}
			world, err := demo.Start(filepath.Join(env.WorkDir, "world"), orders)
			if err != nil {
				return err
			}
			env.Defer(func() {
				if err := world.Close(); err != nil {
					t.Error(err)
				}
			})
			env.Setenv("SYNC_ENV", world.EnvironmentFile(function.SyncCustomData))
			env.Setenv("ORDERS_ENV", world.EnvironmentFile(function.DailyOrders))
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("NO_COLOR", "1")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits, "runid": runID, "interrupted": interrupted,
		},
	})
}

// exits runs a command and compares its exit code: exits 3 m2mjobs invoke ...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE command...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if ended := (*exec.ExitError)(nil); errors.As(err, &ended) {
		got = ended.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// runID puts the id of a job's newest run, as the command lists it, into RUN: runid JOB.
func runID(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: runid JOB")
	}
	ts.Check(ts.Exec("m2mjobs", "runs", args[0], "-n", "1", "--json"))
	var record jobs.Record
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &record))
	ts.Setenv("RUN", record.RunID)
}

// interrupted begins a rotation of a credentials file and leaves it there: interrupted FILE.
func interrupted(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: interrupted FILE")
	}
	r, err := function.NewRotation(function.Environment{"M2M_SECRET_FILE": ts.MkAbs(args[0])}, function.RotationConfig{})
	ts.Check(err)
	ts.Check(r.Create(context.Background(), "4ab3f0f6-7c0b-4f2e-9d5c-0123456789ab"))
}

// process is the command with the test binary in its place.
func process(ctx context.Context, t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(ctx, os.Args[0], args...)
	c.Env = append(os.Environ(), asCommand+"=1", "XDG_STATE_HOME="+filepath.Join(t.TempDir(), "state"))
	return c
}
