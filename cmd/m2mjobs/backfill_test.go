package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/m2mjobs/m2mjobs/internal/function"
)

func TestABackfillThatIsDoneAsksForNothing(t *testing.T) {
	world := newWorld(t, t.TempDir(), nil)
	state := t.TempDir()
	march := func() string {
		c := process(t.Context(), t, "backfill", "daily-orders", "--from", "1997-03-01", "--to", "1997-03-31", "--concurrency", "4",
			"--state", state, "--env-file", world.EnvironmentFile(function.DailyOrders))
		said, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		return string(said)
	}
	if said := march(); !strings.Contains(said, "31 slots: 31 done, 0 duplicate") {
		t.Fatal(said)
	}
	tokens := world.Tenant.Requests("POST /oidc/token")
	if tokens != 1 {
		t.Errorf("%d tokens for 31 days, want one", tokens)
	}
	if err := os.RemoveAll(filepath.Join(world.Dir, "out")); err != nil {
		t.Fatal(err)
	}
	if said := march(); !strings.Contains(said, "31 slots: 0 done, 31 duplicate") {
		t.Error(said)
	}
	// Without a token the shop answers nothing.
	if again := world.Tenant.Requests("POST /oidc/token") - tokens; again != 0 {
		t.Errorf("the second time took %d tokens", again)
	}
	if _, err := os.Stat(filepath.Join(world.Dir, "out")); !os.IsNotExist(err) {
		t.Errorf("the second time wrote something: %v", err)
	}
}

func TestABackfillThatIsInterruptedGoesOnWhenGivenAgain(t *testing.T) {
	world := newWorld(t, t.TempDir(), nil)
	arguments := []string{"backfill", "daily-orders", "--from", "1997-01-01", "--to", "1998-06-30",
		"--state", t.TempDir(), "--env-file", world.EnvironmentFile(function.DailyOrders)}
	c := process(t.Context(), t, arguments...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	for line := ""; !strings.HasSuffix(line, "done\n"); {
		if line, err = lines.ReadString('\n'); err != nil {
			t.Fatalf("%v\n%s", err, &stderr)
		}
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(lines)
	if err != nil {
		t.Fatal(err)
	}
	err = c.Wait()
	first := doneOf(t, string(rest))
	if c.ProcessState.ExitCode() != exitFailed || !strings.Contains(stderr.String(), "interrupted with") ||
		!strings.Contains(stderr.String(), "give the same command again to go on") || first == 0 || first == 546 {
		t.Errorf("%v: %d done\n%s\n%s", err, first, &stderr, rest)
	}
	again, err := process(t.Context(), t, append(arguments, "--concurrency", "8")...).Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, again)
	}
	if done := doneOf(t, string(again)); done != 546-first || !strings.Contains(string(again), strconv.Itoa(first)+" duplicate, 0 failed") {
		t.Errorf("%d done the first time, %d the second, of 546", first, done)
	}
}

// doneOf is how many slots a summary says are done.
func doneOf(t *testing.T, said string) int {
	found := regexp.MustCompile(`(?m)^546 slots: (\d+) done`).FindStringSubmatch(said)
	if found == nil {
		t.Fatalf("no summary:\n%s", said)
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTheScheduleOfABackfillIsTheTemplates(t *testing.T) {
	template, err := os.ReadFile("../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`DailyOrdersSchedule:\n +Type: String\n +Default: ` + regexp.QuoteMeta(nightly) + `\n`).Match(template) {
		t.Errorf("template.yaml has another schedule than %s", nightly)
	}
}
