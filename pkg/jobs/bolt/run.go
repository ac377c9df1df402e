package bolt

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"go.etcd.io/bbolt"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// errAttached refuses what only the process that runs jobs may do.
var errAttached = errors.New("the state file was attached to, to look at it: open it to run jobs")

// Claim implements jobs.Store.
func (s *Store) Claim(_ context.Context, c jobs.Claim) (jobs.Record, error) {
	var claimed jobs.Record
	err := s.change(func(tx *bbolt.Tx) error {
		if tx.Bucket(pausedBucket).Get([]byte(c.Job)) != nil {
			return jobs.ErrPaused
		}
		last, err := load(tx, c.Slot, s.session)
		if err != nil {
			return err
		}
		var record *jobs.Record
		if last != nil {
			record = &last.Record
		}
		now := s.now()
		// An error leaves the file as it is, without a write.
		if claimed, err = c.On(record, now); err != nil {
			return err
		}
		if c.Group != "" {
			others, err := members(tx, c.Group, s.session)
			if err != nil {
				return err
			}
			if claimed, err = c.Among(record, claimed, others, now); err != nil {
				return err
			}
		}
		if last == nil || last.RunID != claimed.RunID {
			if err := list(tx, record, claimed); err != nil {
				return err
			}
		}
		return save(tx, entry{Record: claimed, Session: s.session})
	})
	return claimed, wrapped("claiming slot", c.Slot, err)
}

// Checkpoint implements jobs.Store.
func (s *Store) Checkpoint(_ context.Context, r jobs.Record, checkpoint json.RawMessage) error {
	err := s.under(r, func(kept jobs.Record, now time.Time) (jobs.Record, error) { return kept.Save(checkpoint, now) })
	return wrapped("saving a checkpoint of slot", r.Slot, err)
}

// Finish implements jobs.Store.
func (s *Store) Finish(_ context.Context, r jobs.Record, state jobs.State, report json.RawMessage) error {
	err := s.under(r, func(kept jobs.Record, now time.Time) (jobs.Record, error) { return kept.End(state, report, now) })
	return wrapped("saving the end of slot", r.Slot, err)
}

// change is update for the session that runs jobs.
func (s *Store) change(f func(tx *bbolt.Tx) error) error {
	if s.session == "" {
		return errAttached
	}
	return s.update(func(tx *bbolt.Tx, _ string) error { return f(tx) })
}

// under replaces the record of a slot under the lease that claimed stands for.
func (s *Store) under(claimed jobs.Record, to func(kept jobs.Record, now time.Time) (jobs.Record, error)) error {
	return s.change(func(tx *bbolt.Tx) error {
		kept, err := load(tx, claimed.Slot, s.session)
		if err != nil {
			return err
		}
		var record *jobs.Record
		if kept != nil && kept.Session == s.session {
			record = &kept.Record
		}
		now := s.now()
		if err := record.Holds(claimed, now); err != nil {
			return err
		}
		next, err := to(*record, now)
		if err != nil {
			return err
		}
		return save(tx, entry{Record: next, Session: s.session})
	})
}

// Next implements jobs.Store.
func (s *Store) Next(_ context.Context, group string) (jobs.Record, error) {
	var next jobs.Record
	err := s.change(func(tx *bbolt.Tx) error {
		slots, err := members(tx, group, s.session)
		if err != nil {
			return err
		}
		given, err := jobs.NextOf(group, slots, s.now())
		if err != nil {
			return err
		}
		next = given
		return save(tx, entry{Record: next, Session: s.session})
	})
	return next, wrapped("going on in group", group, err)
}
