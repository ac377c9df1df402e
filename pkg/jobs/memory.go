package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"
)

// memoryRuns is how many runs of a job a memory store remembers: it may live for weeks in a warm environment.
const memoryRuns = 1000

// NewMemoryStore returns a Store that lives as long as the process, and remembers the 1,000 newest runs of a job: for
// tests, and where rows converge by themselves. now is the wall clock; nil: time.Now.
func NewMemoryStore(now func() time.Time) Store {
	if now == nil {
		now = time.Now
	}
	return &memoryStore{now: now, slots: map[string]*Record{}, jobs: map[string][]*Record{}, paused: map[string]bool{}, shares: map[string][]Share{}}
}

type memoryStore struct {
	now   func() time.Time
	mu    sync.Mutex
	slots map[string]*Record   // the newest run of each
	jobs  map[string][]*Record // a job's runs, oldest first
	// paused jobs.
	paused map[string]bool
	shares map[string][]Share // by budget
}

func (s *memoryStore) Claim(_ context.Context, c Claim) (Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused[c.Job] {
		return Record{}, fmt.Errorf("claiming slot %q: %w", c.Slot, ErrPaused)
	}
	last, now := s.slots[c.Slot], s.now()
	next, err := c.On(last, now)
	if err == nil && c.Group != "" {
		next, err = c.Among(last, next, s.group(c.Group), now)
	}
	if err != nil {
		return next, err
	}
	if last != nil && last.RunID == next.RunID {
		*last = next
		return next.Clone(), nil
	}
	kept := &next
	s.slots[c.Slot] = kept
	s.jobs[c.Job] = append(s.jobs[c.Job], kept)
	s.forget(c.Job)
	return next.Clone(), nil
}

// group returns what is not over in a group. The records are not copied.
func (s *memoryStore) group(name string) []Record {
	var slots []Record
	for _, r := range s.slots {
		if r.Group != name {
			continue
		}
		switch r.State {
		case Running, Unfinished, Waiting:
			slots = append(slots, *r)
		}
	}
	return slots
}

// forget drops the oldest run that nobody is at.
func (s *memoryStore) forget(job string) {
	runs := s.jobs[job]
	if len(runs) <= memoryRuns {
		return
	}
	i := slices.IndexFunc(runs, func(r *Record) bool { return r.State != Running && r.State != Waiting })
	if i < 0 {
		return
	}
	if s.slots[runs[i].Slot] == runs[i] {
		delete(s.slots, runs[i].Slot)
	}
	s.jobs[job] = slices.Delete(runs, i, i+1)
}

func (s *memoryStore) Checkpoint(_ context.Context, r Record, checkpoint json.RawMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, kept := s.now(), s.slots[r.Slot]
	if err := kept.Holds(r, now); err != nil {
		return err
	}
	saved, err := kept.Save(checkpoint, now)
	if err != nil {
		return err
	}
	*kept = saved
	return nil
}

func (s *memoryStore) Finish(_ context.Context, r Record, state State, report json.RawMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, kept := s.now(), s.slots[r.Slot]
	if err := kept.Holds(r, now); err != nil {
		return err
	}
	ended, err := kept.End(state, report, now)
	if err != nil {
		return err
	}
	*kept = ended
	return nil
}

func (s *memoryStore) Get(_ context.Context, slot string) (Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.slots[slot]
	if kept == nil {
		return Record{}, fmt.Errorf("slot %q: %w", slot, ErrNotFound)
	}
	return kept.Clone(), nil
}

func (s *memoryStore) Runs(_ context.Context, job string, limit int) ([]Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Record
	for _, r := range slices.Backward(s.jobs[job]) {
		if len(list) >= limit {
			break
		}
		list = append(list, r.Clone())
	}
	return list, nil
}

func (s *memoryStore) Find(_ context.Context, runID string) (Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.find(runID)
	if r == nil {
		return Record{}, fmt.Errorf("run %q: %w", runID, ErrNotFound)
	}
	return r.Clone(), nil
}

func (s *memoryStore) find(runID string) *Record {
	for _, runs := range s.jobs {
		for _, r := range slices.Backward(runs) {
			if r.RunID == runID {
				return r
			}
		}
	}
	return nil
}

func (s *memoryStore) Cancel(_ context.Context, runID string) (Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.find(runID)
	if r == nil {
		return Record{}, fmt.Errorf("run %q: %w", runID, ErrNotFound)
	}
	if s.slots[r.Slot] != r {
		return r.Clone(), fmt.Errorf("cancelling run %s: %w: it has a newer run", runID, ErrDone)
	}
	next, err := r.Cancel(s.now())
	if err != nil {
		return r.Clone(), err
	}
	*r = next
	return r.Clone(), nil
}

func (s *memoryStore) Pause(_ context.Context, job string, paused bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if paused {
		s.paused[job] = true
	} else {
		delete(s.paused, job)
	}
	return nil
}

func (s *memoryStore) Paused(_ context.Context, job string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paused[job], nil
}

func (s *memoryStore) Next(_ context.Context, group string) (Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, err := NextOf(group, s.group(group), s.now())
	if err != nil {
		return Record{}, err
	}
	*s.slots[next.Slot] = next
	return next.Clone(), nil
}

func (s *memoryStore) Share(_ context.Context, budget, owner string, until time.Time) (part int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shares[budget], part = ShareOut(s.shares[budget], owner, until, s.now())
	return part, nil
}
