package dynamodb

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// Claim implements jobs.Store.
//
// It takes for granted that the slot is new (or as Get has just read it) and that its group is free, and writes on the
// condition that this is so; where the table does not agree, it answers with what stands there, and the claim is decided
// anew by that. So a new slot costs one request and a retry two.
func (s *Store) Claim(ctx context.Context, c jobs.Claim) (jobs.Record, error) {
	doing := fmt.Sprintf("claiming slot %q", c.Slot)
	t := &turn{store: s, claim: c, last: s.recall(c.Slot)}
	recalled := t.last != nil
	for try := range tries {
		now := s.now()
		next, err := t.decide(now)
		if err != nil && recalled {
			// What was read may be old: only the table may refuse.
			t.last, recalled = nil, false
			next, err = t.decide(now)
		}
		if err != nil {
			return next, err
		}
		if next.State == jobs.Waiting && t.last != nil && t.last.State == jobs.Waiting {
			return next, nil // it waits already
		}
		changes, err := t.changes(next, now)
		if err != nil {
			return jobs.Record{}, fmt.Errorf("%s: %w", doing, err)
		}
		refused, err := s.write(ctx, changes)
		if err != nil {
			return jobs.Record{}, s.failed(doing, err)
		}
		if refused == nil {
			return next.Clone(), nil
		}
		if failedCondition(refused, pauseAt) {
			return jobs.Record{}, fmt.Errorf("%s: %w", doing, jobs.ErrPaused)
		}
		learned, err := t.learn(refused)
		if err != nil {
			return jobs.Record{}, s.failed(doing, err)
		}
		recalled = recalled && !learned
		if learned {
			continue
		}
		if err := wait(ctx, try); err != nil {
			return jobs.Record{}, fmt.Errorf("%s: %w", doing, err)
		}
	}
	return jobs.Record{}, s.failed(doing, errContended)
}

// turn is one claim, with what is known of the table by now.
type turn struct {
	store *Store
	claim jobs.Claim
	last  *kept  // the slot's newest run; nil: none
	group *group // nil: nobody is in it
	left  bool   // the group that last was in is gone

	groupAt, leaveAt int // where the changes of these are, -1 if there are none
}

// Where the changes of a claim are that every claim has.
const (
	slotAt = iota
	pauseAt
)

func (t *turn) decide(now time.Time) (jobs.Record, error) {
	var last *jobs.Record
	if t.last != nil {
		last = &t.last.Record
	}
	next, err := t.claim.On(last, now)
	if err != nil || t.claim.Group == "" {
		return next, err
	}
	return t.claim.Among(last, next, t.group.others(), now)
}

// changes are what a claim that next came of writes.
func (t *turn) changes(next jobs.Record, now time.Time) ([]types.TransactWriteItem, error) {
	s := t.store
	slot, err := s.place(t.last, next)
	if err != nil {
		return nil, err
	}
	shard := fnv.New32a()
	shard.Write([]byte(next.Slot))
	e := newExpression()
	e.lacks(attrPK)
	pause := &types.ConditionCheck{
		TableName: &s.table, Key: pauseKey(next.Job, shard.Sum32()%pauseShards),
		ConditionExpression: e.condition(), ExpressionAttributeNames: e.names,
	}
	where := runKey(next.RunID)
	where[attrSlot], where[attrExpires] = text(next.Slot), s.expires(now)
	changes := []types.TransactWriteItem{
		slotAt:  {Put: slot},
		pauseAt: {ConditionCheck: pause},
		2:       {Put: &types.Put{TableName: &s.table, Item: where}},
	}
	t.groupAt, t.leaveAt = -1, -1
	if next.Group != "" {
		t.groupAt = len(changes)
		changes = append(changes, types.TransactWriteItem{Update: s.join(t.group, next, now)})
	}
	if t.last == nil {
		return changes, nil
	}
	if t.last.Group != "" && t.last.Group != next.Group && !t.left {
		t.leaveAt = len(changes)
		changes = append(changes, types.TransactWriteItem{Update: s.leave(t.last.Group, next.Slot)})
	}
	if t.last.RunID != next.RunID {
		older, err := s.encode(runKey(t.last.RunID), *t.last)
		if err != nil {
			return nil, err
		}
		changes = append(changes, types.TransactWriteItem{Put: &types.Put{TableName: &s.table, Item: older}})
	}
	return changes, nil
}

// learn takes from a refusal what stands in the table. It tells whether it was that which refused.
func (t *turn) learn(refused []types.CancellationReason) (learned bool, err error) {
	if failedCondition(refused, slotAt) {
		learned, t.last, t.left = true, nil, false
		if old := refused[slotAt].Item; len(old) > 0 {
			if t.last, err = decode(old); err != nil {
				return false, err
			}
		}
	}
	if failedCondition(refused, t.groupAt) {
		learned, t.group = true, nil
		if old := refused[t.groupAt].Item; len(old) > 0 {
			if t.group, err = decodeGroup(old); err != nil {
				return false, err
			}
		}
	}
	if failedCondition(refused, t.leaveAt) {
		learned, t.left = true, true
	}
	return learned, nil
}
