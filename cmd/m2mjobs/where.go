package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/m2mjobs/m2mjobs/internal/stack"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/jobs/bolt"
)

// where says whose runs a command is about.
type where struct {
	Stack string `placeholder:"NAME" env:"M2MJOBS_STACK" help:"A deployed stack. Default: what m2mjobs invoke ran on this machine."`
	State string `type:"path" placeholder:"DIR" env:"M2MJOBS_STATE" help:"Where m2mjobs invoke remembers runs. Default: m2mjobs in the user's state folder."`
}

// memory is a store with the jobs whose runs it has.
type memory struct {
	store jobs.Store
	jobs  []string
}

// memories are all that is remembered in a place.
type memories struct {
	place string       // for people
	stack *stack.Stack // nil on this machine
	all   []memory     // a deployed stack has one, a machine one a job
}

// open finds what is remembered there.
func (w where) open(ctx context.Context) (*memories, error) {
	if w.Stack == "" {
		return w.openLocal()
	}
	if w.State != "" {
		return nil, usage(errors.New("--stack and --state are both set, perhaps by M2MJOBS_STACK and M2MJOBS_STATE: keep one"))
	}
	s, err := stack.Open(ctx, w.Stack)
	if err != nil {
		return nil, usage(err)
	}
	return &memories{place: "stack " + s.Name, stack: s, all: []memory{{s.Store(), s.Jobs()}}}, nil
}

// openLocal attaches the state files of this machine, beside whoever runs jobs with them.
func (w where) openLocal() (*memories, error) {
	dir, err := stateDir(w.State)
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.db"))
	if err != nil {
		return nil, usage(fmt.Errorf("--state %s: %w", dir, err))
	}
	m := &memories{place: dir}
	for _, file := range files {
		if filepath.Base(file) == bolt.SharesFile { // of all jobs' budgets: it has no runs
			continue
		}
		store, err := bolt.Attach(file)
		if err != nil {
			return nil, err
		}
		m.all = append(m.all, memory{store, []string{strings.TrimSuffix(filepath.Base(file), ".db")}})
	}
	return m, nil
}

// jobs are the names of all jobs that there are.
func (m *memories) jobs() []string {
	var names []string
	for _, one := range m.all {
		names = append(names, one.jobs...)
	}
	slices.Sort(names)
	return names
}

// of finds the store that has a job's runs.
func (m *memories) of(job string) (jobs.Store, error) {
	for _, one := range m.all {
		if slices.Contains(one.jobs, job) {
			return one.store, nil
		}
	}
	if len(m.all) == 0 {
		return nil, usage(fmt.Errorf("no job has run yet in %s: m2mjobs invoke runs one; --stack NAME is for a deployed stack", m.place))
	}
	return nil, usage(fmt.Errorf("no job %q in %s: there are %s", job, m.place, strings.Join(m.jobs(), ", ")))
}

// find looks for a run.
func (m *memories) find(ctx context.Context, id string) (jobs.Store, jobs.Record, error) {
	for _, one := range m.all {
		record, err := one.store.Find(ctx, id)
		if errors.Is(err, jobs.ErrNotFound) {
			continue
		}
		return one.store, record, err
	}
	return nil, jobs.Record{}, usage(fmt.Errorf("no run %q in %s: m2mjobs runs lists those there are", id, m.place))
}
