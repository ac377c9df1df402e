package bolt

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// historyRuns is how many runs of a job are listed.
const historyRuns = 100

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

// load reads a slot's newest run, nil if there is none. The lease of one that belongs to another session than the
// living one, whose name is given, has ended: its process is dead.
func load(tx *bbolt.Tx, slot, session string) (*entry, error) {
	data := tx.Bucket(slotsBucket).Get([]byte(slot))
	if data == nil {
		return nil, nil
	}
	var e entry
	if err := json.Unmarshal(data, &e); err != nil {
		return nil, fmt.Errorf("the state file's record of slot %q cannot be read: %w", slot, err)
	}
	if e.Session != session && e.State == jobs.Running && e.Until.After(e.Updated) {
		e.Until = e.Updated
	}
	return &e, nil
}

// save puts a slot's newest run, and sees to it that its group knows whether it is over.
func save(tx *bbolt.Tx, e entry) error {
	before, err := load(tx, e.Slot, e.Session)
	if err != nil {
		return err
	}
	if before != nil && before.Group != "" && before.Group != e.Group {
		if err := tx.Bucket(groupsBucket).Delete(member(before.Group, e.Slot)); err != nil {
			return err
		}
	}
	if e.Group != "" {
		switch e.State {
		case jobs.Running, jobs.Unfinished, jobs.Waiting:
			err = tx.Bucket(groupsBucket).Put(member(e.Group, e.Slot), []byte(e.Slot))
		default:
			err = tx.Bucket(groupsBucket).Delete(member(e.Group, e.Slot))
		}
		if err != nil {
			return err
		}
	}
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return tx.Bucket(slotsBucket).Put([]byte(e.Slot), data)
}

// member is the key of a slot in its group.
func member(group, slot string) []byte { return []byte(group + "\x00" + slot) }

// members are the slots of a group that are not over. What a dead process left unfinished nobody is continuing.
func members(tx *bbolt.Tx, group, session string) ([]jobs.Record, error) {
	var slots []jobs.Record
	prefix := member(group, "")
	cursor := tx.Bucket(groupsBucket).Cursor()
	for key, slot := cursor.Seek(prefix); key != nil && bytes.HasPrefix(key, prefix); key, slot = cursor.Next() {
		e, err := load(tx, string(slot), session)
		if err != nil {
			return nil, err
		}
		if e != nil && (e.State != jobs.Unfinished || e.Session == session) {
			slots = append(slots, e.Record)
		}
	}
	return slots, nil
}

// find looks for a run by its id. newest: it is its slot's newest.
func find(tx *bbolt.Tx, runID, session string) (found *entry, newest bool, err error) {
	err = tx.Bucket(runsBucket).ForEachBucket(func(job []byte) error {
		cursor := tx.Bucket(runsBucket).Bucket(job).Cursor()
		for key, value := cursor.Last(); key != nil && found == nil; key, value = cursor.Prev() {
			var l listing
			if err := json.Unmarshal(value, &l); err != nil {
				return err
			}
			if l.RunID != runID {
				continue
			}
			if l.Old != nil {
				found = &entry{Record: *l.Old}
				return nil
			}
			newest = true
			if found, err = load(tx, l.Slot, session); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || found != nil {
		return found, newest, err
	}
	// Not listed any more, but perhaps still its slot's newest.
	err = tx.Bucket(slotsBucket).ForEach(func(slot, _ []byte) error {
		e, err := load(tx, string(slot), session)
		if err == nil && e.RunID == runID {
			found, newest = e, true
		}
		return err
	})
	return found, newest, err
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
