package stack

import (
	"testing"
	"time"
)

func TestTheNextTimeOfASchedule(t *testing.T) {
	at := func(text string) time.Time {
		parsed, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	for name, test := range map[string]struct {
		expression, zone, made, now, want string
	}{
		"tonight":                    {"cron(15 3 * * ? *)", "", "2026-01-01T00:00:00Z", "2026-11-25T03:14:59Z", "2026-11-25T03:15:00Z"},
		"not the one that fires now": {"cron(15 3 * * ? *)", "", "2026-01-01T00:00:00Z", "2026-11-25T03:15:00Z", "2026-11-26T03:15:00Z"},
		"in its zone":                {"cron(15 3 * * ? *)", "Europe/Berlin", "2026-01-01T00:00:00Z", "2026-11-25T03:00:00Z", "2026-11-26T02:15:00Z"},
		"in a month":                 {"cron(0 0 1 * ? *)", "", "2026-01-01T00:00:00Z", "2026-11-25T00:00:00Z", "2026-12-01T00:00:00Z"},
		"in a year":                  {"cron(0 0 1 1 ? *)", "", "2026-01-01T00:00:00Z", "2026-01-25T00:00:00Z", "2027-01-01T00:00:00Z"},
		"once":                       {"at(2026-12-24T18:00:00)", "", "2026-01-01T00:00:00Z", "2026-11-25T00:00:00Z", "2026-12-24T18:00:00Z"},
		"no more":                    {"at(2026-10-24T18:00:00)", "", "2026-01-01T00:00:00Z", "2026-11-25T00:00:00Z", ""},
		"a rate":                     {"rate(15 minutes)", "", "2026-11-25T00:07:00Z", "2026-11-25T00:30:00Z", "2026-11-25T00:37:00Z"},
		"a long rate":                {"rate(7 days)", "", "2026-11-25T00:07:00Z", "2026-11-26T00:00:00Z", "2026-12-02T00:07:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := nextTime(test.expression, test.zone, at(test.made), at(test.now))
			if err != nil {
				t.Fatal(err)
			}
			if want := (time.Time{}); test.want != "" {
				want = at(test.want)
				if !got.Equal(want) {
					t.Errorf("%s, want %s", got, want)
				}
			} else if !got.IsZero() {
				t.Errorf("%s, want never", got)
			}
		})
	}
	for _, expression := range []string{"cron(nonsense)", "rate(often)", "rate(0 days)", "every night"} {
		if _, err := nextTime(expression, "", time.Time{}, time.Now()); err == nil {
			t.Errorf("%s: no error", expression)
		}
	}
}
