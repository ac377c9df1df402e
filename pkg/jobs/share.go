package jobs

import (
	"context"
	"time"
)

// WholeShare is what the shares of a budget add up to at most: a share is so many thousandths of it.
const WholeShare = 1000

// Share is a lease on a part of a budget, which all that keep to it divide among them: the requests that a tenant takes,
// for one. Stores keep it.
type Share struct {
	Owner string    `json:"owner"`
	Part  int       `json:"part"`  // of WholeShare
	Until time.Time `json:"until"` // the end of the lease
}

// crumb: what is less than that part of a fair share is not given out.
const crumb = 10

// ShareOut decides Share for a Store: held are all shares of a budget as they stand. It returns those to put in their
// place, atomically, and the part of WholeShare that the owner has now. It never gives out more than the whole, and
// takes nothing from others: a newcomer gets what is free, and everybody no more than an equal share at each renewal, so
// that within one lease of the last change all have the same. A newcomer that got nothing is counted, too.
func ShareOut(held []Share, owner string, until, now time.Time) (next []Share, part int) {
	free := WholeShare
	for _, s := range held {
		if s.Owner != owner && now.Before(s.Until) {
			next = append(next, s)
			free -= s.Part
		}
	}
	if !until.After(now) {
		return next, 0
	}
	fair := WholeShare / (len(next) + 1)
	if part = min(fair, free); part < fair/crumb {
		part = 0
	}
	return append(next, Share{Owner: owner, Part: part, Until: until.Round(0)}), part
}

// Share leases to owner a part of the budget of that name, as Store.Share does, in the store that has the run.
func (r *Run[P]) Share(ctx context.Context, budget, owner string, until time.Time) (part int, err error) {
	return r.attempt.config.Store.Share(ctx, budget, owner, until)
}
