package rotation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// Name is the name of the function, and of its daily job.
const Name = "rotate-secret"

// Params are the parameters of the daily job.
type Params struct {
	// DryRun counts, and deletes nothing.
	DryRun bool `json:"dryRun,omitempty"`
}

// Job makes the daily job: it looks at each secret that is rotated, and deletes what earlier rotations have left there. Its
// report counts:
//
//	oldestDays  the age of the oldest current secret, in whole days: a rotation that stalls shows here
//	deleted     secrets that were deleted (with dryRun: would be)
//	kept        secrets that were left by rotations, and that may be in use still; the log says of each why
//
// A secret that can't be looked at fails the run, after the others were done.
func Job(of func(secretID string) *Rotation, secrets []string) jobs.Job[Params] {
	return jobs.Job[Params]{Name: Name, Run: func(ctx context.Context, run *jobs.Run[Params]) error {
		var oldest time.Duration
		var failures []error
		for _, id := range secrets {
			done, err := of(id).Clean(ctx, run.Params.DryRun)
			if err != nil {
				failures = append(failures, fmt.Errorf("secret %s: %w", id, err))
			}
			oldest = max(oldest, done.Age)
			run.Count("deleted", int64(len(done.Deleted)))
			run.Count("kept", int64(len(done.Kept)))
			for _, kept := range done.Kept {
				run.Log.Info("a secret that may be in use still", "secret", kept.Name, "why", kept.Why)
			}
		}
		run.Count("oldestDays", int64(oldest/(24*time.Hour)))
		return errors.Join(failures...)
	}}
}
