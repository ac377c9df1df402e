package bolt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

var sharesBucket = []byte("shares") // budget -> []jobs.Share

// Share implements jobs.Store. The share of a process that died is free when its lease ends, not before: the file does not
// tell who lives.
func (s *Store) Share(_ context.Context, budget, owner string, until time.Time) (part int, err error) {
	if s.session == "" {
		return 0, errAttached
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.closed {
		return 0, errors.New("the state file is closed")
	}
	path := s.Shares
	if path == "" {
		path = filepath.Join(filepath.Dir(s.path), SharesFile)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return 0, fmt.Errorf("place for the file of shares: %w", err)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: turnWait})
	if err != nil {
		return 0, fmt.Errorf("opening the file of shares %q: %w", path, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists(sharesBucket)
		if err != nil {
			return err
		}
		var held []jobs.Share
		if data := bucket.Get([]byte(budget)); data != nil {
			if err := json.Unmarshal(data, &held); err != nil {
				return err
			}
		}
		held, part = jobs.ShareOut(held, owner, until, s.now())
		data, err := json.Marshal(held)
		if err != nil {
			return err
		}
		return bucket.Put([]byte(budget), data)
	})
	return part, wrapped("sharing budget", budget, err)
}
