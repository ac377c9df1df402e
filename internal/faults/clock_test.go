package faults_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

const clockWaits = "What ends by time ends by the clock that says so first: a token by the wall clock or the monotonic one, a " +
	"run's lease by the wall clock, its context by a timer. An environment that freezes is a wall clock that " +
	"jumps forward when it is thawed, while timers stood still."

// wrong is a wall clock that goes wrong beside a monotonic one that is right.
type wrong struct {
	ahead time.Duration
	stood time.Time // not zero: it stands still there
}

func (c *wrong) now() time.Time {
	if !c.stood.IsZero() {
		return c.stood
	}
	return time.Now().Add(c.ahead)
}

// tryClock meets the faults of the clock, in bubbles whose time is the true one.
func tryClock(t *testing.T) map[string]cell {
	cells := map[string]cell{}
	for name, try := range map[string]func(*testing.T, *wrong) cell{
		"jumps forward, token": func(t *testing.T, c *wrong) cell {
			source := clockedSource(t, c)
			first := accessToken(t, source)
			c.ahead = 2 * time.Hour
			if accessToken(t, source) == first {
				t.Error("a token that is over by the wall clock is used")
			}
			return cell{"nothing but the time of a token request", "no token", "with a token that is new"}
		},
		"jumps back, token": func(t *testing.T, c *wrong) cell {
			source := clockedSource(t, c)
			first := accessToken(t, source)
			c.ahead = -2 * time.Hour
			if accessToken(t, source) != first {
				t.Error("a good token was dropped")
			}
			time.Sleep(time.Hour)
			if accessToken(t, source) == first {
				t.Error("a token that is over by the monotonic clock is used")
			}
			return cell{"nothing", "the token, for the hour that it lives by the monotonic clock", "with a new token after it"}
		},
		"stands still, token": func(t *testing.T, c *wrong) cell {
			source := clockedSource(t, c)
			c.stood = time.Now()
			first := accessToken(t, source)
			time.Sleep(time.Hour)
			if accessToken(t, source) == first {
				t.Error("a token that is over by the monotonic clock is used")
			}
			return cell{
				"nothing but the time of a token request",
				"the token, for the hour that it lives by the monotonic clock",
				"with a new token after it",
			}
		},
		"jumps forward, lease": func(t *testing.T, c *wrong) cell {
			var saved error
			run := clockedJob(c, func(ctx context.Context, run *jobs.Run[nothing]) error {
				if run.Attempt == 1 {
					c.ahead = time.Hour
				}
				saved = run.Checkpoint(ctx, 1)
				return saved
			})
			_, err := run(t, time.Minute)
			if err == nil || !errors.Is(saved, jobs.ErrLeaseLost) {
				t.Errorf("the run thinks that it holds its slot: %v, %v", saved, err)
			}
			c2 := cell{
				seen(t, saved, 0),
				"the checkpoint before; nothing is saved or finished by the late one",
				"the next attempt has the slot and goes on",
			}
			if again, err := run(t, time.Minute); err != nil || again.Attempt != 2 {
				t.Errorf("again: attempt %d, %v", again.Attempt, err)
			}
			return c2
		},
		"jumps back, lease": func(t *testing.T, c *wrong) cell {
			run := clockedJob(c, func(ctx context.Context, run *jobs.Run[nothing]) error {
				c.ahead = -time.Hour
				return run.Checkpoint(ctx, 1)
			})
			if report, err := run(t, time.Minute); err != nil || report.Outcome != jobs.OutcomeDone {
				t.Errorf("%s, %v", report.Outcome, err)
			}
			store := jobs.NewMemoryStore(c.now)
			c.ahead = 0
			claim := jobs.Claim{Slot: "s", Job: "clocked", RunID: "r1", Owner: "who dies", Until: time.Now().Add(time.Minute)}
			if _, err := store.Claim(t.Context(), claim); err != nil {
				t.Fatal(err)
			}
			c.ahead = -time.Hour
			time.Sleep(2 * time.Minute)
			claim.Owner, claim.Until = "the next", time.Now().Add(time.Hour)
			if _, err := store.Claim(t.Context(), claim); !errors.Is(err, jobs.ErrHeld) {
				t.Errorf("the lease of who died: %v", err)
			}
			c.ahead = 0
			if _, err := store.Claim(t.Context(), claim); err != nil {
				t.Errorf("when the clock is right again: %v", err)
			}
			return cell{"nothing", "slot and checkpoint", "to its end; who died with a lease holds it longer, by as much"}
		},
		"stands still, lease": func(t *testing.T, c *wrong) cell {
			run := clockedJob(c, func(ctx context.Context, run *jobs.Run[nothing]) error {
				if run.Attempt > 1 {
					return nil
				}
				c.stood = time.Now()
				if err := run.Checkpoint(ctx, 1); err != nil {
					return err
				}
				<-ctx.Done()
				return context.Cause(ctx)
			})
			began := time.Now()
			report, err := run(t, time.Minute)
			if took := time.Since(began); err == nil || took >= time.Minute {
				t.Errorf("%s after %v, %v", report.Outcome, took, err)
			}
			c2 := cell{
				seen(t, err, 0),
				"the checkpoint",
				"the next attempt goes on, since the slot was freed when the run was stopped by its timer",
			}
			if again, err := run(t, time.Minute); err != nil || again.Attempt != 2 {
				t.Errorf("again: attempt %d, %v", again.Attempt, err)
			}
			return c2
		},
	} {
		t.Run("Its own clock/"+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { cells[name] = try(t, &wrong{}) })
		})
	}
	return cells
}

// clockedSource is a Source with that wall clock, at a tenant in the bubble.
func clockedSource(t *testing.T, c *wrong) *m2m.Source {
	t.Helper()
	pipe := logtotest.NewPipeListener()
	tenant := logtotest.NewWith(t, logtotest.Config{Listener: pipe})
	app := tenant.AddApp("sync-custom-data")
	tenant.Grant(app.ID, logtotest.ManagementResource, "all")
	source, err := m2m.NewSource(m2m.Config{
		Credentials: m2m.StaticCredentials(m2m.Credentials{Endpoint: tenant.URL, AppID: app.ID, AppSecret: m2m.NewSecret(app.Secret)}),
		ResourceOf:  logto.ManagementResource, Scopes: []string{logto.ManagementScope}, Now: c.now,
		HTTPClient: &http.Client{Transport: &http.Transport{DialContext: pipe.DialContext, DisableKeepAlives: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { source.Wait(context.Background()) })
	return source
}

// clockedJob is a job with that wall clock, as it is invoked.
func clockedJob(c *wrong, work func(context.Context, *jobs.Run[nothing]) error) func(*testing.T, time.Duration) (jobs.Report, error) {
	var log bytes.Buffer
	config := jobs.Config{Log: &log, Now: c.now, Store: jobs.NewMemoryStore(c.now)}
	handler := jobs.Handler(jobs.Job[nothing]{Name: "clocked", Run: work}, config)
	return func(t *testing.T, timeout time.Duration) (jobs.Report, error) {
		ctx, cancel := context.WithDeadline(context.Background(), later(time.Now(), c.now()).Add(timeout))
		defer cancel()
		return invoke(ctx, t, handler, &log, "{}")
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
