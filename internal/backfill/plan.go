// Package backfill runs slots of the past: it tells which slots of a schedule are meant by a range of days, and runs them,
// some at a time.
//
//	plan, err := backfill.Range{From: "1997-03-01", To: "1997-03-31", Expression: "cron(15 3 * * ? *)"}.Plan(time.Now())
//	if err != nil {
//		return err
//	}
//	ended := backfill.Run(ctx, plan.Slots, 4, one, note)
//
// A slot has the name that the schedule gives it, so a slot that is done is not done again.
package backfill

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/m2mjobs/m2mjobs/internal/schedule"
)

// Range says which slots are meant: those of a schedule for a range of days, both included.
type Range struct {
	From, To   string // days, as YYYY-MM-DD
	Expression string // the schedule's; a rate has no slots that can be told
	TimeZone   string // of Expression, an IANA name. Empty: UTC
	// DayOf is the day whose work the slot of a scheduled time does. Nil: the day it is scheduled for, in TimeZone. It may be
	// a few days off that, and no more.
	DayOf func(scheduled time.Time, zone *time.Location) string
}

// Slot is a time that the schedule fired at, or would have.
type Slot struct {
	Time time.Time
	Day  string // whose work it does
}

// Plan are the slots of a range.
type Plan struct {
	Slots   []Slot   // in order, at least one
	Without []string // days of the range that have no slot, in order
}

// around is how far a slot may be from its day.
const around = 3 * 24 * time.Hour

// longest is how many days a range may have.
const longest = 10 * 366

// Plan tells the slots of the range. The error says what is wrong with it: no days, a rate, no slot at all, or one that is not
// over at now, which the schedule will run by itself.
func (r Range) Plan(now time.Time) (Plan, error) {
	zone, err := time.LoadLocation(r.TimeZone)
	if err != nil {
		return Plan{}, fmt.Errorf("unknown time zone %q: want an IANA name like Europe/Berlin", r.TimeZone)
	}
	days, err := r.days()
	if err != nil {
		return Plan{}, err
	}
	if strings.HasPrefix(strings.TrimSpace(r.Expression), "rate(") {
		return Plan{}, fmt.Errorf("schedule expression %q: it does not say when it began, so its slots of the past cannot be told", r.Expression)
	}
	first, last := days[0], days[len(days)-1]
	times, err := schedule.Times(r.Expression, r.TimeZone, first.Add(-around), last.Add(24*time.Hour+around))
	if err != nil {
		return Plan{}, err
	}
	var plan Plan
	has := map[string]bool{}
	for _, at := range times {
		day := r.day(at, zone)
		if day < r.From || day > r.To {
			continue
		}
		if !at.Before(now) {
			return Plan{}, fmt.Errorf("the slot of %s is scheduled for %s, which is not over: the schedule runs it by itself. End with a day before",
				day, at.Format(time.RFC3339))
		}
		plan.Slots, has[day] = append(plan.Slots, Slot{at, day}), true
	}
	if len(plan.Slots) == 0 {
		return Plan{}, fmt.Errorf("%s in %s has no slot from %s to %s", r.Expression, zone, r.From, r.To)
	}
	for _, day := range days {
		if name := day.Format(time.DateOnly); !has[name] {
			plan.Without = append(plan.Without, name)
		}
	}
	return plan, nil
}

func (r Range) day(at time.Time, zone *time.Location) string {
	if r.DayOf != nil {
		return r.DayOf(at, zone)
	}
	return at.In(zone).Format(time.DateOnly)
}

// days are the days of the range, as midnights of UTC.
func (r Range) days() ([]time.Time, error) {
	from, err := day("from", r.From)
	to, wrong := day("to", r.To)
	if err = errors.Join(err, wrong); err != nil {
		return nil, err
	}
	if to.Before(from) {
		return nil, fmt.Errorf("the range ends on %s, before it begins on %s", r.To, r.From)
	}
	var days []time.Time
	for at := from; !at.After(to); at = at.AddDate(0, 0, 1) {
		if days = append(days, at); len(days) > longest {
			return nil, fmt.Errorf("%s to %s is more than ten years", r.From, r.To)
		}
	}
	return days, nil
}

func day(name, value string) (time.Time, error) {
	at, err := time.Parse(time.DateOnly, value)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s %q: want a day like 1997-03-24", name, value)
	}
	return at, nil
}
