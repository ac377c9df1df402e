package jobs

import (
	"bytes"
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
	return &memoryStore{now: now, slots: map[string]*Record{}, jobs: map[string][]*Record{}}
}

type memoryStore struct {
	now   func() time.Time
	mu    sync.Mutex
	slots map[string]*Record   // the newest run of each
	jobs  map[string][]*Record // a job's runs, oldest first
}

func (s *memoryStore) Claim(_ context.Context, c Claim) (Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.slots[c.Slot]
	next, err := c.On(last, s.now())
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

// forget drops the oldest run that nobody is at.
func (s *memoryStore) forget(job string) {
	runs := s.jobs[job]
	if len(runs) <= memoryRuns {
		return
	}
	i := slices.IndexFunc(runs, func(r *Record) bool { return r.State != Running })
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
	kept.Checkpoint, kept.Updated = bytes.Clone(checkpoint), now
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
