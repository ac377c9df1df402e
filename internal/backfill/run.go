package backfill

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// Interrupted is the outcome of a slot whose run was cut off because ctx ended: given again, it goes on.
const Interrupted jobs.Outcome = "interrupted"

// Ended is what became of a slot.
type Ended struct {
	Slot
	Outcome  jobs.Outcome
	Rejected int64  // rows that were not used
	Reason   string // why it is not done
}

// Done tells whether nothing is left to do for the slot. A run that a person cancelled is over, too.
func (e Ended) Done() bool {
	return e.Outcome == jobs.OutcomeDone || e.Outcome == jobs.OutcomeDuplicate || e.Outcome == jobs.OutcomeCancelled
}

// Run runs slots in order, n at a time. One that fails does not keep the others from running; once ctx has ended, or a slot
// has found the job paused, none is begun. It returns those that were begun; note is told of each, one at a time.
func Run(ctx context.Context, slots []Slot, n int, one func(context.Context, Slot) Ended, note func(Ended)) []Ended {
	var mu sync.Mutex
	var all []Ended
	paused := false
	over := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return paused || ctx.Err() != nil
	}
	var group errgroup.Group
	group.SetLimit(n)
	for _, slot := range slots {
		group.Go(func() error {
			if over() {
				return nil
			}
			ended := one(ctx, slot)
			if ctx.Err() != nil && !ended.Done() {
				ended.Outcome = Interrupted
			}
			mu.Lock()
			defer mu.Unlock()
			paused = paused || ended.Outcome == jobs.OutcomePaused
			all = append(all, ended)
			note(ended)
			return nil
		})
	}
	_ = group.Wait() // none returns an error
	return all
}
