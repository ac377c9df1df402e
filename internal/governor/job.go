package governor

import (
	"context"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// Govern makes the job's runs share the budget with others, in whatever process, that have the same store: a run has a
// lease on its part until it ends. A queue's message keeps its lease for the next one.
func Govern[P any](g *Governor, job jobs.Job[P]) jobs.Job[P] {
	inner := job.Run
	job.Run = func(ctx context.Context, run *jobs.Run[P]) error {
		began, before := time.Now(), g.Stats()
		g.lease.begin(run.Share, run.Log)
		defer func() {
			if run.Slot != "" {
				g.lease.release(ctx)
			}
			now, took := g.Stats(), time.Since(began).Seconds()
			if sent := now.Requests - before.Requests; sent > 0 && now.Budget > 0 && took > 0 {
				run.Log.Info("the tenant's budget", "perSecond", now.Budget, "requests", sent, "used", float64(sent)/(now.Budget*took),
					"throttled", now.Throttled-before.Throttled, "waited", (now.Waited - before.Waited).String())
			}
		}()
		return inner(ctx, run)
	}
	return job
}
