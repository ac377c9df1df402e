package schedule_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/internal/schedule"
)

func at(t testing.TB, s string) time.Time {
	t.Helper()
	when, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

func TestTimes(t *testing.T) {
	tests := []struct {
		name, expression, zone, after, before string
		want                                  string // times, separated by spaces
	}{
		{"daily, both ends excluded", "cron(0 3 * * ? *)", "", "2026-11-21T03:00:00Z", "2026-11-24T03:00:00Z",
			"2026-11-22T03:00:00Z 2026-11-23T03:00:00Z"},
		{"1 is Sunday", "cron(0 3 ? * 1 *)", "", "2026-11-16T00:00:00Z", "2026-11-24T03:00:00Z", "2026-11-22T03:00:00Z"},
		{"7 is Saturday", "cron(0 3 ? * 7 *)", "", "2026-11-16T00:00:00Z", "2026-11-24T03:00:00Z", "2026-11-21T03:00:00Z"},
		{"names in a range", "cron(0 3 ? * MON-TUE *)", "", "2026-11-16T00:00:00Z", "2026-11-24T00:00:00Z",
			"2026-11-16T03:00:00Z 2026-11-17T03:00:00Z 2026-11-23T03:00:00Z"},
		{"numbers in a range, and a step", "cron(0 3 ? * 2-6/2 *)", "", "2026-11-15T00:00:00Z", "2026-11-22T00:00:00Z",
			"2026-11-16T03:00:00Z 2026-11-18T03:00:00Z 2026-11-20T03:00:00Z"},
		{"every second day of the week", "cron(0 3 ? * */3 *)", "", "2026-11-15T00:00:00Z", "2026-11-22T00:00:00Z",
			"2026-11-15T03:00:00Z 2026-11-18T03:00:00Z 2026-11-21T03:00:00Z"},
		{"a list, in small letters", "cron(0 3 ? * sun,4 *)", "", "2026-11-15T00:00:00Z", "2026-11-22T00:00:00Z",
			"2026-11-15T03:00:00Z 2026-11-18T03:00:00Z"},
		{"L: the last day of the month", "cron(0 3 L * ? *)", "", "2026-02-01T00:00:00Z", "2026-04-01T00:00:00Z",
			"2026-02-28T03:00:00Z 2026-03-31T03:00:00Z"},
		{"L: the last day of the week", "cron(0 3 ? * L *)", "", "2026-11-16T00:00:00Z", "2026-11-24T00:00:00Z", "2026-11-21T03:00:00Z"},
		{"6L: the last Friday", "cron(0 3 ? * 6L *)", "", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z", "2026-11-27T03:00:00Z"},
		{"3W: the weekday nearest to the 3rd", "cron(0 3 3W * ? *)", "", "2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z", "2026-10-02T03:00:00Z"},
		{"3#2: the second Tuesday", "cron(0 3 ? * 3#2 *)", "", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z", "2026-11-10T03:00:00Z"},
		{"steps of minutes", "cron(5/20 3 * * ? *)", "", "2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z",
			"2026-11-24T03:05:00Z 2026-11-24T03:25:00Z 2026-11-24T03:45:00Z"},
		{"months by name, a year", "cron(0 0 1 JAN-FEB,JUN ? 2027)", "", "2026-01-01T00:00:00Z", "2029-01-01T00:00:00Z",
			"2027-01-01T00:00:00Z 2027-02-01T00:00:00Z 2027-06-01T00:00:00Z"},
		{"in a time zone", "cron(0 3 * * ? *)", "Asia/Tokyo", "2026-11-22T00:00:00Z", "2026-11-24T00:00:00Z",
			"2026-11-22T18:00:00Z 2026-11-23T18:00:00Z"},
		{"far from Greenwich", "cron(0 3 * * ? *)", "Pacific/Kiritimati", "2026-11-22T00:00:00Z", "2026-11-23T14:00:00Z",
			"2026-11-22T13:00:00Z 2026-11-23T13:00:00Z"},
		{"the hour that spring leaves out", "cron(30 2 * * ? *)", "Europe/Berlin", "2026-03-28T00:00:00Z", "2026-03-31T00:00:00Z",
			"2026-03-28T01:30:00Z 2026-03-30T00:30:00Z"},
		{"the hour that autumn has twice", "cron(30 2 * * ? *)", "Europe/Berlin", "2026-10-24T00:00:00Z", "2026-10-27T00:00:00Z",
			"2026-10-24T00:30:00Z 2026-10-25T00:30:00Z 2026-10-26T01:30:00Z"},
		{"hourly through autumn", "cron(0 * * * ? *)", "Europe/Berlin", "2026-10-24T23:30:00Z", "2026-10-25T03:00:00Z",
			"2026-10-25T00:00:00Z 2026-10-25T02:00:00Z"},
		{"after the clock was put forward", "cron(0 3 * * ? *)", "America/New_York", "2026-03-07T00:00:00Z", "2026-03-09T08:00:00Z",
			"2026-03-07T08:00:00Z 2026-03-08T07:00:00Z 2026-03-09T07:00:00Z"},
		{"half an hour in Lord Howe", "cron(45 1 * * ? *)", "Australia/Lord_Howe", "2026-04-03T12:00:00Z", "2026-04-05T16:00:00Z",
			"2026-04-03T14:45:00Z 2026-04-04T14:45:00Z 2026-04-05T15:15:00Z"},
		{"a day that never comes", "cron(0 3 30 2 ? *)", "", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", ""},
		{"a rate, back from the slot", "rate(90 minutes)", "", "2026-11-24T00:00:00Z", "2026-11-24T04:31:07Z",
			"2026-11-24T00:01:07Z 2026-11-24T01:31:07Z 2026-11-24T03:01:07Z"},
		{"a rate's end excluded", "rate(1 hour)", "", "2026-11-24T00:00:00Z", "2026-11-24T02:00:00Z", "2026-11-24T01:00:00Z"},
		{"a rate of days through spring", "rate(1 day)", "Europe/Berlin", "2026-03-27T12:00:00Z", "2026-03-30T02:00:00Z",
			"2026-03-28T02:00:00Z 2026-03-29T02:00:00Z"},
		{"nothing between", "rate(1 hour)", "", "2026-11-24T02:00:00Z", "2026-11-24T01:00:00Z", ""},
		{"at", "at(2026-11-24T03:00:00)", "Europe/Berlin", "2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z", "2026-11-24T02:00:00Z"},
		{"at, out of the time asked for", "at(2026-11-24T03:00:00)", "", "2026-11-24T03:00:00Z", "2026-11-25T00:00:00Z", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			times, err := schedule.Times(tt.expression, tt.zone, at(t, tt.after), at(t, tt.before))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, when := range times {
				got = append(got, when.Format(time.RFC3339))
			}
			if diff := cmp.Diff(strings.Fields(tt.want), got); diff != "" && len(got)+len(tt.want) > 0 {
				t.Errorf("times (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatCannotBeReadIsNamed(t *testing.T) {
	for expression, want := range map[string]string{
		"":                           "want cron(…), rate(…) or at(…)",
		"0 3 * * ? *":                "want cron(…), rate(…) or at(…)",
		"every(1 day)":               `unknown kind "every"`,
		"cron(0 3 * * *)":            "5 fields, want 6",
		"cron(0 3 * * * *)":          "must be ?",
		"cron(0 3 ? * ? *)":          "must be ?",
		"cron(? 3 * * ? *)":          "? stands alone",
		"cron(0 3 ?,1 * ? *)":        "? stands alone",
		"cron(0 22-2 * * ? *)":       "22-2 is not a range",
		"cron(0 3 * NOV-FEB ? *)":    "NOV-FEB is not a range",
		"cron(0 3 ? * FRI-MON *)":    `"FRI-MON" is not a range`,
		"cron(0 3 ? * 0 *)":          "want 1-7 or SUN-SAT",
		"cron(0 3 ? * 8 *)":          "want 1-7 or SUN-SAT",
		"cron(0 3 ? * MIT *)":        "want 1-7 or SUN-SAT",
		"cron(0 3 ? * 3#6 *)":        "want 1-7 or SUN-SAT",
		"cron(0 3 L-3 * ? *)":        "not supported here",
		"cron(61 3 * * ? *)":         "syntax error in minute field",
		"cron(*/0 3 * * ? *)":        "invalid interval",
		"cron(0 3,,4 * * ? *)":       "nothing beside it",
		"cron(0 3 * * ? 2150)":       "syntax error in year field",
		"cron(* * * * ? *)":          "more than 20160 times",
		"rate(1 minute)":             "more than 20160 times",
		"rate(0 days)":               "want a positive number",
		"rate(1.5 hours)":            "want a positive number",
		"rate(1 week)":               "want the unit minutes, hours or days",
		"at(2026-11-24T03:00:00Z)":   "want a time like",
		"at(tomorrow)":               "want a time like",
		"cron(0 3 * * ? *":           "want cron(…), rate(…) or at(…)",
		"rate(99999999999999999999)": "want a positive number",
	} {
		t.Run(expression, func(t *testing.T) {
			_, err := schedule.Times(expression, "", at(t, "2026-01-01T00:00:00Z"), at(t, "2027-01-01T00:00:00Z"))
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), fmt.Sprintf("%q", expression)) {
				t.Errorf("error is %v, want one with %q", err, want)
			}
		})
	}
	for _, zone := range []string{"Europe/Atlantis", "Local"} {
		if _, err := schedule.Times("rate(1 day)", zone, time.Now(), time.Now()); err == nil || !strings.Contains(err.Error(), zone) {
			t.Errorf("the time zone %s: %v", zone, err)
		}
	}
}

func FuzzTimesEndsAndKeepsOrder(f *testing.F) {
	for _, expression := range []string{"cron(0 3 * * ? *)", "cron(5/20 3 ? * 2#1,3L,L 2030)", "cron(0 0 LW * ? *)", "rate(7 hours)", "at(2026-11-24T03:00:00)"} {
		f.Add(expression, "Europe/Berlin")
	}
	after := at(f, "2026-03-01T00:00:00Z")
	f.Fuzz(func(t *testing.T, expression, zone string) {
		before := after.Add(60 * 24 * time.Hour)
		times, err := schedule.Times(expression, zone, after, before)
		if err != nil {
			return
		}
		last := after
		for _, when := range times {
			if !when.After(last) || !when.Before(before) {
				t.Fatalf("%s in %q: %v after %v", expression, zone, when, last)
			}
			last = when
		}
	})
}

func ExampleTimes() {
	after := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	before := time.Date(2026, 11, 24, 2, 30, 0, 0, time.UTC)
	times, err := schedule.Times("cron(30 3 ? * MON-FRI *)", "Europe/Berlin", after, before)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, when := range times {
		fmt.Println(when.Format(time.RFC3339))
	}
	// Output:
	// 2026-11-20T02:30:00Z
	// 2026-11-23T02:30:00Z
}
