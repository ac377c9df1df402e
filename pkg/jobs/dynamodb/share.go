package dynamodb

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// shares is what a budget's item says.
type shares struct {
	held []jobs.Share
	mark string // of its last write
}

// Share implements jobs.Store. It takes for granted that the budget is as this store left it last, and at first that nobody
// has a share of it, and writes on the condition that this is so; where the table does not agree, it answers with what stands
// there, and the share is decided anew by that. So a renewal costs one request, and one more where others were at it since.
func (s *Store) Share(ctx context.Context, budget, owner string, until time.Time) (part int, err error) {
	doing := fmt.Sprintf("sharing budget %q", budget)
	known := s.knownShares(budget)
	for try := range tries {
		now := s.now()
		var held []jobs.Share
		if known != nil {
			held = known.held
		}
		next, part := jobs.ShareOut(held, owner, until, now)
		mark := rand.Text()
		refused, err := s.write(ctx, []types.TransactWriteItem{{Update: s.shareOut(budget, known, shares{next, mark}, now)}})
		if err != nil {
			return 0, s.failed(doing, err)
		}
		if refused == nil {
			s.knowShares(budget, &shares{next, mark})
			return part, nil
		}
		informed := failedCondition(refused, 0)
		if informed {
			known = nil
			if old := refused[0].Item; len(old) > 0 {
				if known, err = decodeShares(old); err != nil {
					return 0, s.failed(doing, err)
				}
			}
		}
		if try == 0 && informed {
			continue // nobody is in the way: this store only did not know
		}
		if err := wait(ctx, try); err != nil {
			return 0, fmt.Errorf("%s: %w", doing, err)
		}
	}
	return 0, s.failed(doing, errContended)
}

// shareOut puts next in the place of known, nil if nothing is known of the budget: then the condition is that nobody has
// a share of it.
func (s *Store) shareOut(budget string, known *shares, next shares, now time.Time) *types.Update {
	holders := item{}
	for _, share := range next.held {
		holder := item{attrPart: number(int64(share.Part)), attrUntil: instant(share.Until)}
		holders[share.Owner] = &types.AttributeValueMemberM{Value: holder}
	}
	e := newExpression()
	e.put(attrMembers, &types.AttributeValueMemberM{Value: holders})
	e.put(attrExpires, s.expires(now))
	e.put(attrMark, text(next.mark))
	if known == nil {
		e.conditions = append(e.conditions, fmt.Sprintf("(attribute_not_exists(%[1]s) OR size(%[1]s) = %[2]s)",
			e.name(attrMembers), e.value("none", number(0))))
	} else {
		e.where(attrMark, "=", text(known.mark))
	}
	return e.update(s.table, shareKey(budget))
}

func decodeShares(it item) (*shares, error) {
	read := &reader{item: it}
	all := &shares{mark: read.text(attrMark)}
	holders, ok := it[attrMembers].(*types.AttributeValueMemberM)
	if !ok {
		return nil, fmt.Errorf("reading shares: attribute %s is a %T", attrMembers, it[attrMembers])
	}
	for owner, value := range holders.Value {
		holder, ok := value.(*types.AttributeValueMemberM)
		if !ok {
			return nil, fmt.Errorf("reading shares: a holder is a %T", value)
		}
		inner := &reader{item: holder.Value}
		all.held = append(all.held, jobs.Share{Owner: owner, Part: int(inner.number(attrPart)), Until: inner.time(attrUntil)})
		read.err = firstOf(read.err, inner.err)
	}
	if read.err != nil {
		return nil, fmt.Errorf("reading shares: another version's? %w", read.err)
	}
	return all, nil
}

// knownShares is what this store knows of a budget, nil if nothing.
func (s *Store) knownShares(budget string) *shares {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shares[budget]
}

func (s *Store) knowShares(budget string, known *shares) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shares == nil {
		s.shares = map[string]*shares{}
	}
	s.shares[budget] = known
}
