// Package schedule tells when a schedule of EventBridge Scheduler fires:
//
//	times, err := schedule.Times("cron(30 3 ? * MON-FRI *)", "Europe/Berlin", after, before)
//
// The expressions are those of the "Schedule types" page of its user guide: cron(minutes hours day-of-month month
// day-of-week year), rate(value unit) and at(time). Times is what jobs.Config.Slots wants.
package schedule

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // not every image that a function runs in has the time zones

	"github.com/hashicorp/cronexpr"
)

// most is how many times are counted at most: two weeks of minutes.
const most = 20160

// atLayout is how at() writes a time.
const atLayout = "2006-01-02T15:04:05"

// Times returns when the schedule fires between after and before, both excluded, in order, in UTC.
//
// timeZone is an IANA name, empty for UTC. By it a cron expression and at() are read. As Scheduler has it ("Daylight
// savings time" in its user guide), a time that a clock put forward leaves out does not fire, and one that a clock put
// back has twice fires once; it is taken to be the first.
//
// A rate begins when the schedule was made, which its expression does not say. So before must be one of its times, as
// the scheduled time of an invocation is: it is counted back from there.
//
// The error says what in the expression is wrong, or cannot be read here though Scheduler may: years after 2099, and
// more than 20,160 times.
func Times(expression, timeZone string, after, before time.Time) ([]time.Time, error) {
	times, err := between(expression, timeZone, after, before)
	if err != nil {
		return nil, fmt.Errorf("schedule expression %q: %w", expression, err)
	}
	return times, nil
}

func between(expression, timeZone string, after, before time.Time) ([]time.Time, error) {
	zone, err := time.LoadLocation(timeZone)
	if err != nil || timeZone == "Local" {
		return nil, fmt.Errorf("unknown time zone %q: want an IANA name like Europe/Berlin", timeZone)
	}
	kind, inside, ok := strings.Cut(strings.TrimSpace(expression), "(")
	inside, closed := strings.CutSuffix(inside, ")")
	if !ok || !closed {
		return nil, errors.New("want cron(…), rate(…) or at(…)")
	}
	switch kind {
	case "cron":
		cron, err := parseCron(inside)
		if err != nil {
			return nil, err
		}
		return cronTimes(cron, zone, after, before)
	case "rate":
		interval, err := parseRate(inside)
		if err != nil {
			return nil, err
		}
		return rateTimes(interval, after, before)
	case "at":
		at, err := time.Parse(atLayout, inside)
		if err != nil {
			return nil, fmt.Errorf("at(%s): want a time like at(2026-11-24T03:00:00)", inside)
		}
		if t, ok := inZone(at, zone); ok && t.After(after) && t.Before(before) {
			return []time.Time{t}, nil
		}
		return nil, nil
	}
	return nil, fmt.Errorf("unknown kind %q: want cron(…), rate(…) or at(…)", kind)
}

var errTooMany = fmt.Errorf("fires more than %d times in the time asked for: ask for less", most)

// cronTimes goes through the times as a clock on the wall shows them, on which no day is longer or shorter than
// another, and looks for each in the zone.
func cronTimes(cron *cronexpr.Expression, zone *time.Location, after, before time.Time) ([]time.Time, error) {
	var times []time.Time
	const offsets = 26 * time.Hour // the zones farthest apart
	end := before.UTC().Add(offsets)
	for shown := cron.Next(after.UTC().Add(-offsets)); !shown.IsZero() && shown.Before(end); shown = cron.Next(shown) {
		t, ok := inZone(shown, zone)
		if !ok || !t.After(after) {
			continue
		}
		if !t.Before(before) {
			break
		}
		if len(times) == most {
			return nil, errTooMany
		}
		times = append(times, t)
	}
	return times, nil
}

// inZone finds when a clock in the zone shows what shown does in UTC: the first time, if it does so twice; not ok, if
// it never does.
func inZone(shown time.Time, zone *time.Location) (time.Time, bool) {
	var found time.Time
	for _, near := range []time.Time{shown.Add(-24 * time.Hour), shown.Add(24 * time.Hour)} {
		_, offset := near.In(zone).Zone()
		t := shown.Add(-time.Duration(offset) * time.Second)
		if t.In(zone).Format(atLayout) != shown.Format(atLayout) {
			continue
		}
		if found.IsZero() || t.Before(found) {
			found = t
		}
	}
	return found, !found.IsZero()
}

func parseRate(inside string) (time.Duration, error) {
	value, unit, _ := strings.Cut(strings.TrimSpace(inside), " ")
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > 366*24*60 {
		return 0, fmt.Errorf("rate(%s): want a positive number and a unit", inside)
	}
	units := map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}
	length, ok := units[strings.TrimSuffix(strings.TrimSpace(unit), "s")]
	if !ok {
		return 0, fmt.Errorf("rate(%s): want the unit minutes, hours or days", inside)
	}
	return time.Duration(n) * length, nil
}

func rateTimes(interval time.Duration, after, before time.Time) ([]time.Time, error) {
	if !before.After(after) {
		return nil, nil
	}
	n := int64((before.Sub(after) - 1) / interval)
	if n > most {
		return nil, errTooMany
	}
	var times []time.Time
	for ; n > 0; n-- {
		times = append(times, before.UTC().Add(-time.Duration(n)*interval))
	}
	return times, nil
}
