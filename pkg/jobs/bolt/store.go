// Package bolt keeps the slots, checkpoints and reports of jobs in one file on disk, so that a run whose process was
// killed goes on where it was:
//
//	store, err := bolt.Open("state.db")
//	if err != nil {
//		return err
//	}
//	defer store.Close()
//	handler := jobs.Handler(job, jobs.Config{Store: store})
//
// The file belongs to one process at a time: Open locks it until Close, or until the process ends in whatever way. So
// a lease that is left from before Open is a dead process's, and its slot can be claimed at once, long before the
// lease ends.
//
// A slot is remembered for good, with the params and the report of its newest run: delete the file to forget. Of each
// job's runs the newest 100 are listed. The file may hold personal data (params, rejected rows); it is made readable
// by its owner alone.
package bolt

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// historyRuns is how many runs of a job are listed.
const historyRuns = 100

// lockWait is how long Open waits for another process to leave the file.
const lockWait = time.Second

var (
	slotsBucket = []byte("slots") // slot -> entry of the newest run
	runsBucket  = []byte("runs")  // job -> bucket of number -> listing
)

// Store is a jobs.Store in a file.
type Store struct {
	// Now is the wall clock. Nil: time.Now. Set it before use.
	Now func() time.Time

	db      *bbolt.DB
	session string // names this Open
}

// entry is how a slot's newest run is kept.
type entry struct {
	jobs.Record
	Session string `json:"session"` // of the last claim
}

// listing is how a run stands in its job's list: by its slot, or, once the slot has a newer one, whole.
type listing struct {
	Slot  string       `json:"slot"`
	RunID string       `json:"runId"`
	Old   *jobs.Record `json:"old,omitempty"`
}

// Open opens the state file at path, or makes it (mode 0600; its directory must be there). It waits a second for
// another process to leave the file; after that the error says to wait or to use another file. A file that was cut off
// is refused.
func Open(path string) (*Store, error) {
	if err := checkSize(path); err != nil {
		return nil, opening(path, err)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockWait})
	if err != nil {
		return nil, opening(path, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{slotsBucket, runsBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("preparing state file %q: %w", path, err), db.Close())
	}
	return &Store{db: db, session: rand.Text()}, nil
}

func opening(path string, err error) error {
	if errors.Is(err, bolterrors.ErrTimeout) {
		return fmt.Errorf("opening state file %q: another m2mjobs process is using it: wait until it has ended, or use another file", path)
	}
	return fmt.Errorf("opening state file %q: %w", path, err)
}

// checkSize refuses a file that was cut off. bbolt maps it into memory, and to read a page that is not there ends the
// process by a signal; a read-only open reads the file's first two pages alone.
func checkSize(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil // Open makes it
	}
	if err != nil {
		return err
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: lockWait})
	if err != nil {
		return err
	}
	err = db.View(func(tx *bbolt.Tx) error {
		info, err := os.Stat(path) // again: now nobody is writing
		if err == nil && info.Size() < tx.Size() {
			err = fmt.Errorf("it was cut off: it has %d bytes, and there were %d: restore it from a copy, or delete it "+
				"to begin with nothing remembered", info.Size(), tx.Size())
		}
		return err
	})
	return errors.Join(err, db.Close())
}

// Close ends the use of the file, once transactions under way are done.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("closing the state file: %w", err)
	}
	return nil
}

func (s *Store) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

// Claim implements jobs.Store.
func (s *Store) Claim(_ context.Context, c jobs.Claim) (jobs.Record, error) {
	var claimed jobs.Record
	err := s.db.Update(func(tx *bbolt.Tx) error {
		last, err := load(tx, c.Slot)
		if err != nil {
			return err
		}
		var record *jobs.Record
		if last != nil {
			record = &last.Record
			if last.Session != s.session {
				record.Until = time.Time{} // its process is dead: see the package comment
			}
		}
		// An error leaves the file as it is, without a write.
		if claimed, err = c.On(record, s.now()); err != nil {
			return err
		}
		if last == nil || last.RunID != claimed.RunID {
			if err := list(tx, record, claimed); err != nil {
				return err
			}
		}
		return s.save(tx, claimed)
	})
	return claimed, wrapped("claiming slot", c.Slot, err)
}

// Checkpoint implements jobs.Store.
func (s *Store) Checkpoint(_ context.Context, r jobs.Record, checkpoint json.RawMessage) error {
	err := s.change(r, func(kept jobs.Record, now time.Time) (jobs.Record, error) {
		kept.Checkpoint, kept.Updated = bytes.Clone(checkpoint), now
		return kept, nil
	})
	return wrapped("saving a checkpoint of slot", r.Slot, err)
}

// Finish implements jobs.Store.
func (s *Store) Finish(_ context.Context, r jobs.Record, state jobs.State, report json.RawMessage) error {
	err := s.change(r, func(kept jobs.Record, now time.Time) (jobs.Record, error) {
		return kept.End(state, report, now)
	})
	return wrapped("saving the end of slot", r.Slot, err)
}

// change replaces the record of a slot under the lease that claimed stands for.
func (s *Store) change(claimed jobs.Record, to func(kept jobs.Record, now time.Time) (jobs.Record, error)) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		kept, err := load(tx, claimed.Slot)
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
		return s.save(tx, next)
	})
}

// Get implements jobs.Store.
func (s *Store) Get(_ context.Context, slot string) (jobs.Record, error) {
	var found jobs.Record
	err := s.db.View(func(tx *bbolt.Tx) error {
		kept, err := load(tx, slot)
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
	err := s.db.View(func(tx *bbolt.Tx) error {
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
			kept, err := load(tx, l.Slot)
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

func load(tx *bbolt.Tx, slot string) (*entry, error) {
	data := tx.Bucket(slotsBucket).Get([]byte(slot))
	if data == nil {
		return nil, nil
	}
	var e entry
	if err := json.Unmarshal(data, &e); err != nil {
		return nil, fmt.Errorf("the state file's record cannot be read: %w", err)
	}
	return &e, nil
}

func (s *Store) save(tx *bbolt.Tx, r jobs.Record) error {
	data, err := json.Marshal(entry{Record: r, Session: s.session})
	if err != nil {
		return err
	}
	return tx.Bucket(slotsBucket).Put([]byte(r.Slot), data)
}

// list adds a new run to its job's list. old is the run that had the slot, nil if none: its record has to move there.
func list(tx *bbolt.Tx, old *jobs.Record, next jobs.Record) error {
	bucket, err := tx.Bucket(runsBucket).CreateBucketIfNotExists([]byte(next.Job))
	if err != nil {
		return err
	}
	if old != nil {
		if err := keepOld(bucket, *old); err != nil {
			return err
		}
	}
	number, err := bucket.NextSequence()
	if err != nil {
		return err
	}
	if err := put(bucket, key(number), listing{Slot: next.Slot, RunID: next.RunID}); err != nil {
		return err
	}
	if number > historyRuns {
		return bucket.Delete(key(number - historyRuns))
	}
	return nil
}

func keepOld(bucket *bbolt.Bucket, old jobs.Record) error {
	cursor := bucket.Cursor()
	for key, value := cursor.Last(); key != nil; key, value = cursor.Prev() {
		var l listing
		if err := json.Unmarshal(value, &l); err != nil {
			return err
		}
		if l.Slot == old.Slot && l.RunID == old.RunID {
			l.Old = &old
			return put(bucket, bytes.Clone(key), l)
		}
	}
	return nil
}

func put(bucket *bbolt.Bucket, key []byte, l listing) error {
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return bucket.Put(key, data)
}

// key makes numbers sort as they count.
func key(number uint64) []byte { return binary.BigEndian.AppendUint64(nil, number) }

// wrapped leaves alone what names the slot already.
func wrapped(doing, what string, err error) error {
	if err == nil || errors.Is(err, jobs.ErrDone) || errors.Is(err, jobs.ErrHeld) || errors.Is(err, jobs.ErrLeaseLost) {
		return err
	}
	return fmt.Errorf("%s %q: %w", doing, what, err)
}
