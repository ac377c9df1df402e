package dynamodb

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// join puts next among the slots of its group. The condition is that the group is as g says; if g is nil, that no other
// slot is in it. Whoever died in it is left out.
func (s *Store) join(g *group, next jobs.Record, now time.Time) *types.Update {
	members := item{next.Slot: &types.AttributeValueMemberM{Value: fields(next)}}
	for _, r := range g.others() {
		if r.Slot != next.Slot && (r.State == jobs.Waiting || r.Occupies(now)) {
			members[r.Slot] = &types.AttributeValueMemberM{Value: fields(r)}
		}
	}
	e := newExpression()
	e.put(attrMembers, &types.AttributeValueMemberM{Value: members})
	e.put(attrExpires, s.expires(now))
	e.increment(attrVersion)
	if g == nil {
		e.names["#member"] = next.Slot
		e.conditions = append(e.conditions, fmt.Sprintf("(attribute_not_exists(%[1]s) OR size(%[1]s) = %[2]s OR (size(%[1]s) = %[3]s AND attribute_exists(%[1]s.#member)))",
			e.name(attrMembers), e.value("none", number(0)), e.value("one", number(1))))
	} else {
		e.where(attrVersion, "=", number(g.version))
	}
	return e.update(s.table, groupKey(next.Group))
}

// leave takes a slot out of a group. The condition is that there is such a group.
func (s *Store) leave(name, slot string) *types.Update {
	e := newExpression()
	e.member(slot, nil)
	e.increment(attrVersion)
	e.has(attrMembers)
	return e.update(s.table, groupKey(name))
}

// regroup tells a group how a run of it ended: it leaves, or is unfinished. The condition is as that of leave.
func (s *Store) regroup(name string, r jobs.Record) *types.Update {
	if r.State != jobs.Unfinished {
		return s.leave(name, r.Slot)
	}
	r.Group = name
	e := newExpression()
	e.member(r.Slot, &types.AttributeValueMemberM{Value: fields(r)})
	e.put(attrExpires, s.expires(r.Updated))
	e.increment(attrVersion)
	e.has(attrMembers)
	return e.update(s.table, groupKey(name))
}

// Next implements jobs.Store.
func (s *Store) Next(ctx context.Context, name string) (jobs.Record, error) {
	doing := fmt.Sprintf("looking for the next slot of %q", name)
	for try := range tries {
		it, err := s.read(ctx, groupKey(name))
		if err != nil {
			return jobs.Record{}, s.failed(doing, err)
		}
		var g *group
		if it != nil {
			if g, err = decodeGroup(it); err != nil {
				return jobs.Record{}, s.failed(doing, err)
			}
		}
		given, err := jobs.NextOf(name, g.others(), s.now())
		if err != nil {
			return jobs.Record{}, err
		}
		last, err := s.load(ctx, slotKey(given.Slot))
		if err != nil {
			return jobs.Record{}, s.failed(doing, err)
		}
		if last == nil || last.State != jobs.Waiting {
			if err := s.correct(ctx, name, given.Slot, g); err != nil {
				return jobs.Record{}, s.failed(doing, err)
			}
			continue
		}
		next := last.Clone()
		next.Until = given.Until
		place, err := s.place(last, next)
		if err != nil {
			return jobs.Record{}, fmt.Errorf("%s: %w", doing, err)
		}
		refused, err := s.write(ctx, []types.TransactWriteItem{{Put: place}, {Update: s.join(g, next, s.now())}})
		if err != nil {
			return jobs.Record{}, s.failed(doing, err)
		}
		if refused == nil {
			return next, nil
		}
		if err := wait(ctx, try); err != nil {
			return jobs.Record{}, fmt.Errorf("%s: %w", doing, err)
		}
	}
	return jobs.Record{}, s.failed(doing, errContended)
}

// correct takes a slot out of a group as g says it is, because the slot's own item says that it does not wait there: it
// was removed by its TTL.
func (s *Store) correct(ctx context.Context, name, slot string, g *group) error {
	e := newExpression()
	e.member(slot, nil)
	e.increment(attrVersion)
	e.where(attrVersion, "=", number(g.version))
	_, err := s.write(ctx, []types.TransactWriteItem{{Update: e.update(s.table, groupKey(name))}})
	return err
}
