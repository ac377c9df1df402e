package backfill_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/internal/backfill"
	"github.com/m2mjobs/m2mjobs/internal/orders"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

const nightly = "cron(15 3 * * ? *)"

func TestPlanHasTheSlotsThatDoTheDaysAsked(t *testing.T) {
	for name, test := range map[string]struct {
		backfill.Range
		want    string // first and last slot, and the days without
		slots   int
		without []string
	}{
		"orders of March, done the nights after": {
			backfill.Range{From: "1997-03-01", To: "1997-03-31", Expression: nightly, DayOf: orders.DayOf},
			"1997-03-02T03:15:00Z 1997-03-01, 1997-04-01T03:15:00Z 1997-03-31", 31, nil,
		},
		"in a zone, over a change of its clocks": {
			backfill.Range{From: "1997-03-01", To: "1997-03-31", Expression: nightly, TimeZone: "Europe/Berlin", DayOf: orders.DayOf},
			"1997-03-02T02:15:00Z 1997-03-01, 1997-04-01T01:15:00Z 1997-03-31", 31, nil,
		},
		"days as they are scheduled": {
			backfill.Range{From: "1997-03-01", To: "1997-03-31", Expression: nightly, TimeZone: "Pacific/Auckland"},
			"1997-02-28T14:15:00Z 1997-03-01, 1997-03-30T15:15:00Z 1997-03-31", 31, nil,
		},
		"one day": {
			backfill.Range{From: "1997-03-01", To: "1997-03-01", Expression: nightly, TimeZone: "Pacific/Auckland", DayOf: orders.DayOf},
			"1997-03-01T14:15:00Z 1997-03-01, 1997-03-01T14:15:00Z 1997-03-01", 1, nil,
		},
		"twice a day": {
			backfill.Range{From: "1997-03-01", To: "1997-03-02", Expression: "cron(0 6,18 * * ? *)"},
			"1997-03-01T06:00:00Z 1997-03-01, 1997-03-02T18:00:00Z 1997-03-02", 4, nil,
		},
		"a day whose hour the clocks left out": {
			backfill.Range{From: "2026-03-27", To: "2026-03-29", Expression: "cron(15 2 * * ? *)", TimeZone: "Europe/Berlin", DayOf: orders.DayOf},
			"2026-03-28T01:15:00Z 2026-03-27, 2026-03-30T00:15:00Z 2026-03-29", 2, []string{"2026-03-28"},
		},
		"not every day": {
			backfill.Range{From: "2026-11-14", To: "2026-11-16", Expression: "cron(0 6 ? * MON-FRI *)"},
			"2026-11-16T06:00:00Z 2026-11-16, 2026-11-16T06:00:00Z 2026-11-16", 1, []string{"2026-11-14", "2026-11-15"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := test.Plan(now)
			if err != nil {
				t.Fatal(err)
			}
			show := func(s backfill.Slot) string { return s.Time.Format(time.RFC3339) + " " + s.Day }
			if got := show(plan.Slots[0]) + ", " + show(plan.Slots[len(plan.Slots)-1]); got != test.want || len(plan.Slots) != test.slots {
				t.Errorf("%d slots, %s; want %d, %s", len(plan.Slots), got, test.slots, test.want)
			}
			if diff := cmp.Diff(test.without, plan.Without); diff != "" {
				t.Errorf("days without a slot:\n%s", diff)
			}
		})
	}
}

func TestPlanRefusesWhatHasNoSlotsOfThePast(t *testing.T) {
	for says, r := range map[string]backfill.Range{
		`from "1997-3-1": want a day like`:              {From: "1997-3-1", To: "1997-03-02", Expression: nightly},
		`to "": want a day like`:                        {From: "1997-03-01", Expression: nightly},
		"ends on 1997-03-01, before it begins":          {From: "1997-03-02", To: "1997-03-01", Expression: nightly},
		"more than ten years":                           {From: "1997-03-02", To: "2019-03-01", Expression: nightly},
		"does not say when it began":                    {From: "1997-03-01", To: "1997-03-02", Expression: "rate(15 minutes)"},
		"has no slot from 1997-03-01 to 1997-03-02":     {From: "1997-03-01", To: "1997-03-02", Expression: "cron(0 6 ? * MON *)"},
		`unknown time zone "Berlin"`:                    {From: "1997-03-01", To: "1997-03-02", Expression: nightly, TimeZone: "Berlin"},
		"schedule expression":                           {From: "1997-03-01", To: "1997-03-02", Expression: "daily"},
		"scheduled for 2026-11-25T03:15:00Z, which is ": {From: "2026-11-20", To: "2026-11-25", Expression: nightly, DayOf: orders.DayOf},
	} {
		if _, err := r.Plan(now); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", r, err, says)
		}
	}
}

func TestPlanTakesTheDayThatIsJustOver(t *testing.T) {
	plan, err := backfill.Range{From: "2026-11-23", To: "2026-11-23", Expression: nightly, DayOf: orders.DayOf}.Plan(now)
	if err != nil || len(plan.Slots) != 1 {
		t.Errorf("%+v, %v", plan, err)
	}
}
