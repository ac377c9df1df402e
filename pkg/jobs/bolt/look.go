package bolt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// Get implements jobs.Store.
func (s *Store) Get(_ context.Context, slot string) (jobs.Record, error) {
	var found jobs.Record
	err := s.view(func(tx *bbolt.Tx, session string) error {
		kept, err := load(tx, slot, session)
		if err == nil && kept == nil {
			err = jobs.ErrNotFound
		}
		if err != nil {
			return err
		}
		found = kept.Record
		return nil
	})
	return found, wrapped("reading slot", slot, err)
}

// Runs implements jobs.Store. It has the newest 100 runs of a job.
func (s *Store) Runs(_ context.Context, job string, limit int) ([]jobs.Record, error) {
	var runs []jobs.Record
	err := s.view(func(tx *bbolt.Tx, session string) error {
		bucket := tx.Bucket(runsBucket).Bucket([]byte(job))
		if bucket == nil {
			return nil
		}
		cursor := bucket.Cursor()
		for key, value := cursor.Last(); key != nil && len(runs) < limit; key, value = cursor.Prev() {
			var l listing
			if err := json.Unmarshal(value, &l); err != nil {
				return err
			}
			if l.Old != nil {
				runs = append(runs, *l.Old)
				continue
			}
			kept, err := load(tx, l.Slot, session)
			if err != nil {
				return err
			}
			if kept != nil {
				runs = append(runs, kept.Record)
			}
		}
		return nil
	})
	return runs, wrapped("listing the runs of job", job, err)
}

// Find implements jobs.Store. It finds the newest run of each slot, and of the others those that Runs lists.
func (s *Store) Find(_ context.Context, runID string) (jobs.Record, error) {
	var found jobs.Record
	err := s.view(func(tx *bbolt.Tx, session string) error {
		e, _, err := find(tx, runID, session)
		if err == nil && e == nil {
			err = jobs.ErrNotFound
		}
		if err != nil {
			return err
		}
		found = e.Record
		return nil
	})
	return found, wrapped("looking for run", runID, err)
}

// Cancel implements jobs.Store. A run of a process that has died is cancelled at once.
func (s *Store) Cancel(_ context.Context, runID string) (jobs.Record, error) {
	var cancelled jobs.Record
	err := s.update(func(tx *bbolt.Tx, session string) error {
		e, newest, err := find(tx, runID, session)
		switch {
		case err != nil:
			return err
		case e == nil:
			return jobs.ErrNotFound
		case !newest:
			cancelled = e.Record
			return fmt.Errorf("%w: its slot has a newer run", jobs.ErrDone)
		}
		if cancelled, err = e.Cancel(s.now()); err != nil {
			return err
		}
		return save(tx, entry{Record: cancelled, Session: e.Session})
	})
	if errors.Is(err, jobs.ErrDone) {
		return cancelled, fmt.Errorf("cancelling run %q: %w", runID, err)
	}
	return cancelled, wrapped("cancelling run", runID, err)
}

// Pause implements jobs.Store.
func (s *Store) Pause(_ context.Context, job string, paused bool) error {
	err := s.update(func(tx *bbolt.Tx, _ string) error {
		if paused {
			return tx.Bucket(pausedBucket).Put([]byte(job), []byte("paused"))
		}
		return tx.Bucket(pausedBucket).Delete([]byte(job))
	})
	return wrapped("pausing or resuming job", job, err)
}

// Paused implements jobs.Store.
func (s *Store) Paused(_ context.Context, job string) (paused bool, err error) {
	err = s.view(func(tx *bbolt.Tx, _ string) error {
		paused = tx.Bucket(pausedBucket).Get([]byte(job)) != nil
		return nil
	})
	return paused, wrapped("looking whether a job is paused:", job, err)
}
