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
// Runs in the file belong to one process at a time: Open locks it until Close, or until the process ends in whatever
// way, by a second file beside it (state.db.lock, which stays). So a lease that is left from before Open is a dead
// process's: its slot can be claimed at once, long before the lease would have ended.
//
// Another process can look at the file meanwhile, cancel runs and pause jobs ([Attach]): the file itself is open only
// as long as an operation takes.
//
// What several processes share, of whatever job, stands in a file of its own, [SharesFile] beside the state file unless
// [Store].Shares says otherwise: it is open only as long as an operation takes, too.
//
// A slot is remembered for good, with the params and the report of its newest run: delete the file to forget. Of each
// job's runs the newest 100 are listed. The file may hold personal data (params, rejected rows); it is made readable
// by its owner alone.
package bolt

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

const (
	// lockWait is how long Open waits for another process to leave the file.
	lockWait = time.Second
	// turnWait is how long an operation waits for another process's to end.
	turnWait = 10 * time.Second
)

var (
	slotsBucket  = []byte("slots")   // slot -> entry of the newest run
	runsBucket   = []byte("runs")    // job -> bucket of number -> listing
	groupsBucket = []byte("groups")  // group, slot -> slot, of those that are not over
	pausedBucket = []byte("paused")  // job -> something, of those that are
	stateBucket  = []byte("session") // currentKey -> the session that has the lock, or had it last
	currentKey   = []byte("current")
)

// SharesFile is the usual name of the file in which shares of budgets are kept. It has no runs: Attach refuses it.
const SharesFile = "shares.db"

// Store is a jobs.Store in a file.
type Store struct {
	// Now is the wall clock. Nil: time.Now. Set it before use.
	Now func() time.Time
	// Shares is the file in which shares of budgets are kept, for all processes that keep to one budget together. Empty:
	// SharesFile beside the state file. It is made, with its folder, when it is needed. Set it before use.
	Shares string

	path    string
	session string    // names this Open; empty after Attach
	lock    *bbolt.DB // held open: its file is what other processes are locked out by. Nil after Attach

	turn   sync.Mutex // one operation at a time
	closed bool
}

// Open opens the state file at path to run jobs with, or makes it (mode 0600; its directory must be there). It waits a
// second for another process to leave the file; after that the error says to wait or to use another file. A file that
// was cut off is refused.
func Open(path string) (*Store, error) {
	if err := checkSize(path); err != nil {
		return nil, fmt.Errorf("opening state file %q: %w", path, err)
	}
	lock, err := bbolt.Open(path+".lock", 0o600, &bbolt.Options{Timeout: lockWait})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("opening state file %q: another m2mjobs process is using it: wait until it has ended, or use another file", path)
	}
	if err != nil {
		return nil, fmt.Errorf("locking state file %q: %w", path, err)
	}
	s := &Store{path: path, session: rand.Text(), lock: lock}
	err = s.update(func(tx *bbolt.Tx, _ string) error {
		for _, name := range [][]byte{slotsBucket, runsBucket, groupsBucket, pausedBucket, stateBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return tx.Bucket(stateBucket).Put(currentKey, []byte(s.session))
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening state file %q: %w", path, err), lock.Close())
	}
	return s, nil
}

// Attach opens the state file at path beside the process that may be running jobs with it: to read, to cancel runs, and
// to pause and resume jobs. What changes runs from within (Claim, Checkpoint, Finish, Next) is refused. The error
// matches fs.ErrNotExist if there is no such file.
func Attach(path string) (*Store, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("opening state file: %w", err)
	}
	s := &Store{path: path}
	err := s.view(func(tx *bbolt.Tx, _ string) error {
		if tx.Bucket(stateBucket) == nil {
			return errors.New("it is of an older version, or not a state file: run a job with it first")
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("opening state file %q: %w", path, err)
	}
	return s, nil
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

// Close ends the use of the file, once operations under way are done.
func (s *Store) Close() error {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.closed = true
	if s.lock == nil {
		return nil
	}
	if err := s.lock.Close(); err != nil {
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

// update and view do an operation. session names the living one, that may have leases; empty if there is none.
func (s *Store) update(f func(tx *bbolt.Tx, session string) error) error {
	return s.do(false, func(db *bbolt.DB, alive bool) error {
		return db.Update(func(tx *bbolt.Tx) error { return f(tx, s.living(tx, alive)) })
	})
}

func (s *Store) view(f func(tx *bbolt.Tx, session string) error) error {
	return s.do(true, func(db *bbolt.DB, alive bool) error {
		return db.View(func(tx *bbolt.Tx) error { return f(tx, s.living(tx, alive)) })
	})
}

func (s *Store) living(tx *bbolt.Tx, alive bool) string {
	bucket := tx.Bucket(stateBucket)
	switch {
	case s.session != "":
		return s.session
	case !alive || bucket == nil:
		return ""
	}
	return string(bucket.Get(currentKey))
}

// do opens the file for one operation.
func (s *Store) do(readOnly bool, f func(db *bbolt.DB, alive bool) error) (err error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.closed {
		return errors.New("the state file is closed")
	}
	alive := true
	if s.lock == nil {
		if alive, err = locked(s.path); err != nil {
			return err
		}
	}
	db, err := bbolt.Open(s.path, 0o600, &bbolt.Options{Timeout: turnWait, ReadOnly: readOnly})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return f(db, alive)
}

// locked tells whether a process runs jobs with the file: whether it holds the lock file.
func locked(path string) (bool, error) {
	if _, err := os.Stat(path + ".lock"); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	lock, err := bbolt.Open(path+".lock", 0o600, &bbolt.Options{Timeout: time.Millisecond, ReadOnly: true})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking at the lock file: %w", err)
	}
	return false, lock.Close()
}

// wrapped leaves alone what names the slot already.
func wrapped(doing, what string, err error) error {
	for _, named := range []error{jobs.ErrDone, jobs.ErrHeld, jobs.ErrLeaseLost, jobs.ErrOverlap, jobs.ErrCancelled} {
		if errors.Is(err, named) {
			return err
		}
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %q: %w", doing, what, err)
}
