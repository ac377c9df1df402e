package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strings"

	"github.com/m2mjobs/m2mjobs/internal/customdata"
	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/jobs/bolt"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
)

// syncPlan makes a plan of a million rows that change nothing.
func syncPlan(ctx context.Context, s *syncs) ([]result, error) {
	const users, some = 1_000_000, 100_000
	rows, err := s.rows(logto.ByEmail, users, 0)
	if err != nil {
		return nil, err
	}
	o, err := s.run(ctx, s.plan, rows, usersFlag(users))
	if err != nil {
		return nil, err
	}
	whole, err := s.run(ctx, s.ours, rows, usersFlag(users))
	if err != nil {
		return nil, err
	}
	if rows, err = s.rows(logto.ByEmail, some, 0); err != nil {
		return nil, err
	}
	partly, err := s.run(ctx, s.plan, rows, usersFlag(some))
	if err != nil {
		return nil, err
	}
	part, err := s.run(ctx, s.ours, rows, usersFlag(some))
	if err != nil {
		return nil, err
	}
	planned, profile, err := s.here(ctx, rows, some, customdata.ActionPlan)
	if err != nil {
		return nil, err
	}
	if rows, err = s.rows(logto.ByEmail, some/10, 100); err != nil {
		return nil, err
	}
	written, _, err := s.here(ctx, rows, some/10, customdata.ActionSync)
	if err != nil {
		return nil, err
	}
	plan := atMost(fmt.Sprintf("a plan of %d rows that change nothing (%.0f s): CPU time a row", users, o.took.Seconds()),
		"%.1f µs", 40, float64(o.cpu.Microseconds())/users)
	plan.detail = profile
	return []result{
		plan,
		atMost(fmt.Sprintf("  peak memory (%.1f MB for %d rows)", float64(partly.peak)/megabyte, some), "%.1f MB", 64, float64(o.peak)/megabyte),
		atMost("  beside that for a tenth of the rows", "%.2fx", 1.1, float64(o.peak)/float64(partly.peak)),
		atMost(fmt.Sprintf("a sync of them: peak memory (%.1f MB for %d rows)", float64(part.peak)/megabyte, some), "%.1f MB", 64, float64(whole.peak)/megabyte),
		atMost("  beside that for a tenth of the rows", "%.2fx", 1.1, float64(whole.peak)/float64(part.peak)),
		stated("allocations a row that changes nothing", "%.1f", planned),
		stated("allocations a row that changes its user", "%.1f", written),
	}, nil
}

// here runs the function in this process, which can then tell how much it allocated for a row, and where it spent its time.
func (s *syncs) here(ctx context.Context, rows string, users int, action customdata.Action) (allocations float64, profile string, err error) {
	dir, err := os.MkdirTemp(s.dir, "run-")
	if err != nil {
		return 0, "", err
	}
	t, err := startTenant(ctx, s.tenant, dir, usersFlag(users))
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	store, err := bolt.Open(filepath.Join(dir, "runs.db"))
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	environment := function.Environment{"M2M_SECRET_FILE": t.secretFile, "OUTPUT": dir, "LOGTO_BUDGET": "none", function.StateVariable: dir}
	handler, err := function.Handler(function.SyncCustomData, environment, func(c *jobs.Config) {
		c.Log, c.Store = io.Discard, store
	})
	if err != nil {
		return 0, "", err
	}
	file := filepath.Join(dir, "cpu.pprof")
	f, err := os.Create(file)
	if err != nil {
		return 0, "", err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := pprof.StartCPUProfile(f); err != nil {
		return 0, "", errors.Join(err, f.Close())
	}
	_, err = handler.Invoke(ctx, fmt.Appendf(nil, `{"source":%q,"action":%q}`, rows, action))
	pprof.StopCPUProfile()
	runtime.ReadMemStats(&after)
	if err := errors.Join(err, f.Close()); err != nil {
		return 0, "", err
	}
	profile, err = top(ctx, file)
	return float64(after.Mallocs-before.Mallocs) / float64(users), profile, err
}

// accounted are the functions by which a profile shows where its time went: this project's, and what runs beside them. What
// they call and is not among them counts as theirs.
const accounted = `m2mjobs/(pkg|internal)/|^go\.etcd.io/bbolt\.|` +
	`^net/http\.\(\*persistConn\)\.(read|write)Loop$|^runtime\.(gcBgMarkWorker|mcall)$`

// top is a profile as text: the functions that took most, and then the same without an account.
func top(ctx context.Context, profile string) (string, error) {
	var text bytes.Buffer
	for _, flags := range [][]string{{"-show=" + accounted, "-nodecount=30"}, {"-nodecount=15"}} {
		cmd := exec.CommandContext(ctx, "go", append(append([]string{"tool", "pprof", "-top"}, flags...), profile)...)
		cmd.Stdout = &text
		if err := cmd.Run(); err != nil {
			return "", fmt.Errorf("reading the profile: %w", err)
		}
	}
	// The type arguments of a job are a screen wide.
	short := regexp.MustCompile(`\[go\.shape[^)]*\]`).ReplaceAllString(text.String(), "[...]")
	return strings.ReplaceAll(short, "github.com/m2mjobs/m2mjobs/", ""), nil
}
