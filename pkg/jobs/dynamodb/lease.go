package dynamodb

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// Checkpoint implements jobs.Store.
func (s *Store) Checkpoint(ctx context.Context, r jobs.Record, checkpoint json.RawMessage) error {
	doing := fmt.Sprintf("saving a checkpoint of slot %q", r.Slot)
	return s.change(ctx, doing, r, attrCheckpoint, func(base jobs.Record, now time.Time) (jobs.Record, error) {
		return base.Save(checkpoint, now)
	})
}

// Finish implements jobs.Store.
func (s *Store) Finish(ctx context.Context, r jobs.Record, state jobs.State, report json.RawMessage) error {
	doing := fmt.Sprintf("saving the end of slot %q", r.Slot)
	return s.change(ctx, doing, r, attrReport, func(base jobs.Record, now time.Time) (jobs.Record, error) {
		return base.End(state, report, now)
	})
}

// change writes what becomes of a record, with the payload that is called what, under the lease that claimed stands for. It
// takes for granted that the lease holds and that nobody cancelled the run, and writes on the condition that this is so.
// Where the table does not agree, the record it answers with decides.
func (s *Store) change(ctx context.Context, doing string, claimed jobs.Record, what string, to func(base jobs.Record, now time.Time) (jobs.Record, error)) error {
	base := claimed
	base.State, base.Cancelling = jobs.Running, false
	inGroup := claimed.Group != "" && what == attrReport
	for try := range tries {
		now := s.now()
		next, err := to(base, now)
		if err != nil {
			return err
		}
		update, err := s.underLease(claimed, base, next, what, now)
		if err != nil {
			return fmt.Errorf("%s: %w", doing, err)
		}
		changes := []types.TransactWriteItem{{Update: update}}
		if inGroup {
			changes = append(changes, types.TransactWriteItem{Update: s.regroup(claimed.Group, next)})
		}
		refused, err := s.write(ctx, changes)
		if err != nil {
			return s.failed(doing, err)
		}
		if refused == nil {
			return nil
		}
		if failedCondition(refused, 1) {
			inGroup = false // there is no such group any more
		}
		if failedCondition(refused, 0) {
			stands, err := standing(refused[0].Item)
			if err != nil {
				return s.failed(doing, err)
			}
			if what == attrReport && ended(stands, next) {
				return nil
			}
			if err := stands.Holds(claimed, now); err != nil {
				return err
			}
			base = *stands
			continue
		}
		if err := wait(ctx, try); err != nil {
			return fmt.Errorf("%s: %w", doing, err)
		}
	}
	return s.failed(doing, errContended)
}

// underLease writes next in the place of base, on the condition that the lease holds, as jobs.Record.Holds has it, and
// that the run is to stop if base is.
func (s *Store) underLease(claimed, base, next jobs.Record, what string, now time.Time) (*types.Update, error) {
	data := next.Checkpoint
	if what == attrReport {
		data = next.Report
	}
	e := newExpression()
	if data == nil {
		e.put(what, nil)
	} else {
		packed, err := pack(what, next.Slot, data)
		if err != nil {
			return nil, err
		}
		e.put(what, packed)
	}
	e.put(attrState, text(string(next.State)))
	e.put(attrUpdated, instant(next.Updated))
	e.put(attrExpires, s.expires(next.Updated))
	e.increment(attrVersion)
	e.where(attrRunID, "=", text(claimed.RunID))
	e.where(attrFence, "=", number(claimed.Fence))
	e.where(attrState, "=", text(string(jobs.Running)))
	e.where(attrUntil, ">", instant(now))
	if base.Cancelling {
		e.has(attrCancelling)
	} else {
		e.lacks(attrCancelling)
	}
	if base.Cancelling && !next.Cancelling {
		e.put(attrCancelling, nil)
	}
	return e.update(s.table, slotKey(next.Slot)), nil
}

// standing is the record that stands in the table, nil if none does.
func standing(it item) (*jobs.Record, error) {
	if len(it) == 0 {
		return nil, nil
	}
	k, err := decode(it)
	if err != nil {
		return nil, err
	}
	return &k.Record, nil
}

// ended tells whether the attempt has ended as next says already: then an earlier request did it, whose answer was lost.
func ended(stands *jobs.Record, next jobs.Record) bool {
	return stands != nil && stands.RunID == next.RunID && stands.Fence == next.Fence && stands.State == next.State &&
		bytes.Equal(stands.Report, next.Report)
}
