package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/m2mjobs/m2mjobs/bench/fixture"
	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
)

// contender is a program that syncs a file of rows.
type contender struct {
	name string
	// command is what it is started with, for the tenant whose secret is in a file. It may write to dir.
	command func(ctx context.Context, dir, secretFile, rows string) *exec.Cmd
}

// syncs is where syncs are measured: the programs, each run in a process of its own against a tenant in one of its own.
type syncs struct {
	dir    string
	tenant string // the tenant's program
	// ours within half of the tenfold limit, which is what a function keeps to on Logto Cloud by itself, within all of it, and without
	// a budget.
	half, whole, ours contender
	plan              contender
	// peers one by one, and with 8 at once.
	single, parallel []contender
}

func newSyncs(ctx context.Context, dir string) (*syncs, error) {
	root, err := emulator.Root()
	if err != nil {
		return nil, err
	}
	build := func(in, what string) (string, error) {
		program := filepath.Join(dir, filepath.Base(what))
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", program, what)
		cmd.Dir = filepath.Join(root, in)
		if output, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("building %s: %w\n%s", what, err, output)
		}
		return program, nil
	}
	m2mjobs, err1 := build(".", "./cmd/m2mjobs")
	tenant, err2 := build("bench", "./tenant")
	oauth2, err3 := build("bench", "./peer-oauth2")
	script, err4 := logtoAPI(dir, filepath.Join(root, "bench", "peer-logto-api", "sync.mjs"))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, err
	}
	s := &syncs{dir: dir, tenant: tenant}
	s.half, s.whole = ours("m2mjobs, 100 a second", m2mjobs, "100/s"), ours("m2mjobs, 200 a second", m2mjobs, "200/s")
	s.ours, s.plan = ours("m2mjobs", m2mjobs, "none"), planner(m2mjobs)
	s.single = []contender{peer("@logto/api, one by one", 1, "node", script), peer("x/oauth2, one by one", 1, oauth2)}
	s.parallel = []contender{peer("@logto/api, 8 at once", 8, "node", script), peer("x/oauth2, 8 at once", 8, oauth2)}
	return s, nil
}

// logtoAPI puts the script where it finds the installed client as a program of its users would: in node_modules beside it.
func logtoAPI(dir, script string) (string, error) {
	installed, err := emulator.Tool("logto-api/package.json")
	if err != nil {
		return "", err
	}
	source, err := os.ReadFile(script)
	if err != nil {
		return "", err
	}
	modules, err := filepath.Abs(filepath.Join(filepath.Dir(installed), "node_modules"))
	if err != nil {
		return "", err
	}
	copied := filepath.Join(dir, filepath.Base(script))
	return copied, errors.Join(os.WriteFile(copied, source, 0o600), os.Symlink(modules, filepath.Join(dir, "node_modules")))
}

func peer(name string, atOnce int, program ...string) contender {
	return contender{name, func(ctx context.Context, _, secretFile, rows string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, program[0], append(program[1:len(program):len(program)], secretFile, rows, strconv.Itoa(atOnce))...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
		return cmd
	}}
}

func ours(name, m2mjobs, budget string) contender {
	return contender{name, func(ctx context.Context, dir, secretFile, rows string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, m2mjobs, "invoke", function.SyncCustomData, "--state", dir, "--event", fmt.Sprintf(`{"source":%q}`, rows))
		cmd.Env = []string{"M2M_SECRET_FILE=" + secretFile, "OUTPUT=" + dir, "LOGTO_BUDGET=" + budget}
		return cmd
	}}
}

func planner(m2mjobs string) contender {
	return contender{"m2mjobs sync plan", func(ctx context.Context, dir, secretFile, rows string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, m2mjobs, "sync", "plan", rows, "--state", dir, "--out", filepath.Join(dir, "sync.plan"))
		cmd.Env = []string{"M2M_SECRET_FILE=" + secretFile, "OUTPUT=" + dir, "LOGTO_BUDGET=none"}
		return cmd
	}}
}

// rows writes a file of rows.
func (s *syncs) rows(key logto.Key, n, percent int) (string, error) {
	file := filepath.Join(s.dir, fmt.Sprintf("%s-%d-%d.ndjson", key, n, percent))
	return file, fixture.Write(file, key, n, percent)
}

// outcome is what a sync took.
type outcome struct {
	took     time.Duration // from the start of the process to its end
	cpu      time.Duration // of the process, in user and system mode
	requests int           // as the tenant counted them, refused ones too
	changed  int           // users
	peak     int64         // bytes of memory that the process held at most
}

// run has a contender sync the rows against a new tenant.
func (s *syncs) run(ctx context.Context, c contender, rows string, tenant ...string) (o outcome, err error) {
	dir, err := os.MkdirTemp(s.dir, "run-")
	if err != nil {
		return o, err
	}
	t, err := startTenant(ctx, s.tenant, dir, tenant...)
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	cmd := c.command(ctx, dir, t.secretFile, rows)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if _, err := t.ask("drain"); err != nil {
		return o, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return o, err
	}
	peak := watchMemory(cmd.Process.Pid)
	err = cmd.Wait()
	if o.took, o.peak = time.Since(began), peak(); err != nil {
		return o, fmt.Errorf("%s: %w\n%s", c.name, err, tail(output.Bytes()))
	}
	o.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	answer, err := t.ask("counts")
	if err != nil {
		return o, err
	}
	var counts fixture.Counts
	err = json.Unmarshal(answer, &counts)
	o.requests, o.changed = counts.Requests, counts.Changed
	fmt.Fprintf(os.Stderr, "  %-24s %8.2f s  %8.2f s CPU  %6d requests  %6d changed\n",
		c.name, o.took.Seconds(), o.cpu.Seconds(), o.requests, o.changed)
	return o, err
}

// tail is the end of what a program printed.
func tail(output []byte) []byte { return output[max(0, len(output)-2000):] }

// tenant is a process of the program of that name.
type tenant struct {
	cmd        *exec.Cmd
	in         io.WriteCloser
	lines      *bufio.Reader
	secretFile string
}

func startTenant(ctx context.Context, program, dir string, arguments ...string) (*tenant, error) {
	cmd := exec.CommandContext(ctx, program, arguments...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	t := &tenant{cmd, in, bufio.NewReader(out), filepath.Join(dir, "secret.json")}
	secret, err := t.lines.ReadBytes('\n')
	if err == nil {
		err = os.WriteFile(t.secretFile, secret, 0o600)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting a tenant: %w", err), t.close())
	}
	return t, nil
}

func (t *tenant) ask(question string) ([]byte, error) {
	if _, err := fmt.Fprintln(t.in, question); err != nil {
		return nil, err
	}
	return t.lines.ReadBytes('\n')
}

// close ends the process by its standard input.
func (t *tenant) close() error { return errors.Join(t.in.Close(), t.cmd.Wait()) }
