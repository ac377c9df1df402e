package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// Name is the name of the function, and of the job that repairs.
const Name = "logto-webhook"

// DefaultLookBack is how far Repair looks back: as far as recent logs do by themselves.
const DefaultLookBack = 24 * time.Hour

// putLease is how long a delivery belongs to the run that puts it on the bus.
const putLease = time.Minute

// RepairConfig is what Repair works with.
type RepairConfig struct {
	// Endpoint returns the tenant's address. Required.
	Endpoint func(context.Context) (string, error)
	// Client sends requests with an access token of the Management API. Required.
	Client *http.Client
	// Store remembers which deliveries were repaired. Required. If it is lost, what is in the recent logs is put again.
	Store jobs.Store
}

// RepairParams are the parameters of a repair.
type RepairParams struct {
	// LookBack is how far to look back from now, as "2h" or "72h". Empty: 24h, DefaultLookBack.
	LookBack string `json:"lookBack,omitempty"`
	// DryRun counts, and puts nothing on the bus.
	DryRun bool `json:"dryRun,omitempty"`
}

// since is the time from which deliveries are looked at.
func (p RepairParams) since(now time.Time) (time.Time, error) {
	if p.LookBack == "" {
		return now.Add(-DefaultLookBack), nil
	}
	d, err := time.ParseDuration(p.LookBack)
	if err != nil || d <= 0 {
		return time.Time{}, fmt.Errorf(`lookBack %.20q: want a duration such as "2h"`, p.LookBack)
	}
	return now.Add(-d), nil
}

// Repair makes the job that puts on the bus what Logto could not deliver, oldest first, each delivery once. Its report
// counts:
//
//	logged      deliveries in the recent logs
//	repaired    put on the bus now (with dryRun: would be)
//	known       failed ones that were put before, by this run or an earlier one
//	arrived     failed ones whose like arrived
//	echoes      failed ones that are left out, as the receiver does
//	unreadable  failed ones that are no events; the log names their entries
//
// A run that is continued reads the logs again, and counts them again. A run fails if the logs can't be read or the bus does not take an event; the next one goes on.
func (r *Receiver) Repair(c RepairConfig) jobs.Job[RepairParams] {
	return jobs.Job[RepairParams]{Name: Name, Run: func(ctx context.Context, run *jobs.Run[RepairParams]) error {
		secret, err := r.keeper.current(ctx)
		if err != nil {
			return err
		}
		if secret.HookID == "" {
			return errors.New("the signing secret has no hookId, by which the recent logs are found: store " + secretForm)
		}
		since, err := run.Params.since(r.now())
		if err != nil {
			return err
		}
		endpoint, err := c.Endpoint(ctx)
		if err != nil {
			return err
		}
		missed, err := undelivered(ctx, c.Client, endpoint, secret.HookID, since, run)
		if err != nil {
			return err
		}
		for i, d := range missed {
			if run.TimeLeft() <= 0 {
				if err := run.Checkpoint(ctx, map[string]int{"left": len(missed) - i}); err != nil {
					return err
				}
				return jobs.ErrUnfinished // the store knows which are done
			}
			count, err := r.repair(ctx, c, run, d)
			if err != nil {
				return fmt.Errorf("%d of %d missed deliveries repaired: %w", i, len(missed), err)
			}
			run.Count(count, 1)
		}
		return nil
	}}
}

// undelivered reads which deliveries failed, and of which no like arrived, oldest first.
func undelivered(ctx context.Context, client *http.Client, endpoint, hookID string, since time.Time, run *jobs.Run[RepairParams]) ([]*delivery, error) {
	var failures []*delivery
	arrived, seen := map[string]bool{}, map[string]bool{}
	for e, err := range recentLogs(ctx, client, endpoint, hookID, since) {
		if err != nil {
			return nil, err
		}
		if seen[e.ID] {
			continue
		}
		seen[e.ID] = true
		run.Count("logged", 1)
		d, err := parse(e.Payload.HookRequest.Body)
		switch {
		case err != nil && e.failed():
			run.Log.Warn("a failed delivery that is no event", "log", e.ID, "error", err.Error())
			run.Count("unreadable", 1)
		case err != nil:
		case e.failed():
			failures = append(failures, d)
		default:
			arrived[d.digest] = true
		}
	}
	var missed []*delivery
	for _, d := range slices.Backward(failures) {
		if arrived[d.digest] {
			run.Count("arrived", 1)
			continue
		}
		missed = append(missed, d)
	}
	return missed, nil
}

// repair puts one delivery on the bus, unless that was done before, and returns what it counts as.
func (r *Receiver) repair(ctx context.Context, c RepairConfig, run *jobs.Run[RepairParams], d *delivery) (count string, err error) {
	if r.isEcho(d) {
		return "echoes", nil
	}
	slot := strings.Join([]string{r.stack, Name, "delivery", d.digest}, "/")
	if run.Params.DryRun {
		record, err := c.Store.Get(ctx, slot)
		switch {
		case errors.Is(err, jobs.ErrNotFound), err == nil && record.State != jobs.Done:
			return "repaired", nil
		case err != nil:
			return "", err
		}
		return "known", nil
	}
	claimed, err := c.Store.Claim(ctx, jobs.Claim{
		Slot: slot, Job: Name + "-delivery", RunID: run.ID + "-" + d.digest[:12], Owner: run.ID, Until: r.now().Add(putLease),
	})
	switch {
	case errors.Is(err, jobs.ErrDone):
		return "known", nil
	case err != nil:
		return "", err
	}
	putErr := r.bus.put(ctx, d)
	state := jobs.Done
	if putErr != nil {
		state = jobs.Failed
	}
	if err := c.Store.Finish(ctx, claimed, state, json.RawMessage("{}")); err != nil {
		return "", errors.Join(putErr, err)
	}
	return "repaired", putErr
}
