// Package orders is the job daily-orders: it fetches a day's orders and customers from the shop, and writes two files.
//
// stats/YYYY-MM-DD.json has the statistics of the day (Stats). customers/YYYY-MM-DD.ndjson has one row for each customer
// that ordered on the day, sorted by e-mail address, as sync-custom-data reads them:
//
//	{"primaryEmail":"c00004@example.com","customData":{"orders":{"asOf":"1997-01-01","count":1,"items":2,
//	"spentCents":2933,"currency":"USD","first":"1997-01-01","last":"1997-01-01",
//	"day":{"count":1,"items":2,"spentCents":2933}}}}
//
// count, items and spentCents are those of all orders to the end of asOf; day has those of that day alone. The same day
// gives the same bytes whenever it is run. The customers come last, because that file's arrival starts the sync.
//
// # What is refused
//
// An order or a customer that cannot be right (a negative amount, another currency, a date that does not fit) is
// rejected with its reason, and so is the row of a customer that a rejected order belongs to: the totals have that
// order in them. The run is done all the same. If every order of the day was rejected, or if orders and customers
// contradict each other, nothing can be trusted, and the run fails before it writes anything.
//
// The currency (a code of ISO 4217, in capital letters) is that of the day's first order that is not rejected. The
// amounts are in its hundredths, whatever it is.
package orders

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/m2mjobs/m2mjobs/internal/shop"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// Name of the job.
const Name = "daily-orders"

// Params are the job's parameters.
type Params struct {
	// Date is the day, as YYYY-MM-DD. Empty: the day before the trigger's time in Config.Location.
	Date string `json:"date,omitempty"`

	asked time.Time // the trigger's time
}

// Config is what the job works with.
type Config struct {
	// Shop is asked for orders and customers. Required.
	Shop *shop.Client
	// Put writes a file and tells where it is. Required. Writing it again replaces it.
	Put func(ctx context.Context, name string, data []byte) (where string, err error)
	// Location is the time zone whose days are meant. Nil: UTC.
	Location *time.Location
	// Now is the wall clock. Nil: time.Now.
	Now func() time.Time
}

// Result is what the run's report carries.
type Result struct {
	Summary
	Stats     string `json:"stats"`         // where the statistics are
	Customers string `json:"customersFile"` // where the customers' rows are
}

// Job makes the job. Its runs fail if the day is not a date or not over yet, if the shop cannot be asked, if its
// answers contradict each other, or if time gets short. It writes only when it has everything, so that a failed run is
// simply run again.
func Job(c Config) jobs.Job[Params] {
	return jobs.Job[Params]{
		Name: Name,
		Run:  func(ctx context.Context, run *jobs.Run[Params]) error { return work(ctx, c, run) },
		Params: func(t jobs.Trigger, payload json.RawMessage) (Params, error) {
			p, err := jobs.Decode[Params](payload)
			p.asked = t.Time
			return p, err
		},
		// {} means another day on another day: it must not go on with what it meant before.
		Digest: func(_ context.Context, p Params) (string, error) {
			if p.Date != "" {
				return "", nil
			}
			return c.dayBefore(p.asked), nil
		},
	}
}

func work(ctx context.Context, c Config, run *jobs.Run[Params]) error {
	if c.Shop == nil || c.Put == nil {
		return errors.New("daily-orders: Config needs Shop and Put")
	}
	day, err := c.day(run.Params)
	if err != nil {
		return err
	}
	run.Log.Info("fetching the day", "day", day)
	d, err := fetch(ctx, c.Shop, day, run.TimeLeft)
	if err != nil {
		return fmt.Errorf("orders of %s: %w", day, err)
	}
	accepted, err := d.check()
	if err != nil {
		return fmt.Errorf("orders of %s: %w", day, err)
	}
	result, err := write(ctx, c, run, accepted)
	if err != nil {
		return fmt.Errorf("orders of %s: %w", day, err)
	}
	// Only now, because the counts and rejections of a failed attempt would stand beside those of the next.
	for _, r := range accepted.rejected {
		run.Reject(r)
	}
	run.Count("orders", result.Orders)
	run.Count("customers", result.Summary.Customers)
	run.Count("pages", d.pages)
	run.Result(result)
	return nil
}

// write writes both files.
func write(ctx context.Context, c Config, run *jobs.Run[Params], a accepted) (Result, error) {
	stats := a.stats()
	result := Result{Summary: stats.Summary}
	files := []struct {
		name  string
		data  func() ([]byte, error)
		where *string
	}{
		{"stats/" + a.day + ".json", stats.file, &result.Stats},
		{"customers/" + a.day + ".ndjson", a.rows, &result.Customers},
	}
	for _, f := range files {
		data, err := f.data()
		if err != nil {
			return result, fmt.Errorf("making %s: %w", f.name, err)
		}
		if err := run.Alive(); err != nil {
			return result, fmt.Errorf("writing %s: %w", f.name, err)
		}
		if err := enough(run.TimeLeft(), "writing "+f.name); err != nil {
			return result, err
		}
		if *f.where, err = c.Put(ctx, f.name, data); err != nil {
			return result, fmt.Errorf("writing %s: %w", f.name, err)
		}
	}
	return result, nil
}

// enough refuses to begin something when time is short. There is no part of a day to save, so the run fails rather than
// ask to be continued.
func enough(left time.Duration, what string) error {
	if left > 0 {
		return nil
	}
	return fmt.Errorf("no time left before %s; a day is done in one go, so raise the function's timeout (Timeout in template.yaml)", what)
}

// day returns the day to do, as YYYY-MM-DD.
func (c Config) day(p Params) (string, error) {
	now := c.Now
	if now == nil {
		now = time.Now
	}
	today := now().In(c.location()).Format(time.DateOnly)
	day := p.Date
	if day == "" {
		if p.asked.IsZero() {
			return "", errors.New("params.date is empty, and the trigger has no time to tell the day by; give date as YYYY-MM-DD")
		}
		day = c.dayBefore(p.asked)
	} else if err := shop.CheckDay(day); err != nil {
		return "", fmt.Errorf("params.date: %w", err)
	}
	if day >= today {
		return "", fmt.Errorf("%s is not over yet in %s, where it is %s; run it the day after", day, c.location(), today)
	}
	return day, nil
}

func (c Config) location() *time.Location {
	if c.Location == nil {
		return time.UTC
	}
	return c.Location
}

func (c Config) dayBefore(t time.Time) string { return DayOf(t, c.location()) }

// DayOf is the day, as YYYY-MM-DD, that a run does whose trigger has that time and no date: the day before, in the location.
func DayOf(t time.Time, location *time.Location) string {
	// In calendar days: 24 hours earlier is another day where clocks were changed.
	year, month, day := t.In(location).Date()
	return time.Date(year, month, day-1, 12, 0, 0, 0, time.UTC).Format(time.DateOnly)
}
