package orders_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/m2mjobs/m2mjobs/internal/orders"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// schedule is what EventBridge Scheduler passes for a slot.
func schedule(at string) string {
	return fmt.Sprintf(`{"m2mjobs":{"schedule":"arn:aws:scheduler:eu-central-1:123456789012:schedule/default/nightly","time":%q,"attempt":"1","params":{}}}`, at)
}

// wantDay runs the job and tells which day it did by the files.
func wantDay(t *testing.T, w *world, payload, want string) {
	t.Helper()
	clear(w.files)
	w.mustRun(t, payload)
	if _, ok := w.files["stats/"+want+".json"]; !ok || len(w.files) != 2 {
		t.Errorf("%s: files %v, want those of %s", payload, w.puts[len(w.puts)-2:], want)
	}
}

func TestAScheduledRunDoesTheDayBeforeItsSlot(t *testing.T) {
	w := newWorld(t, realOrders(t))
	for _, tc := range []struct{ zone, slot, want string }{
		{"UTC", "1997-03-25T03:00:00Z", "1997-03-24"},
		{"UTC", "1997-03-25T00:00:00Z", "1997-03-24"},
		{"UTC", "1997-03-24T23:59:59Z", "1997-03-23"},
		{"UTC", "1998-01-01T00:30:00Z", "1997-12-31"},
		{"Europe/Berlin", "1997-03-24T22:59:59Z", "1997-03-23"}, // 23:59:59 in Berlin
		{"Europe/Berlin", "1997-03-24T23:00:00Z", "1997-03-24"}, // midnight in Berlin
		{"America/New_York", "1997-03-25T04:59:59Z", "1997-03-23"},
		{"America/New_York", "1997-03-25T05:00:00Z", "1997-03-24"},
		{"Pacific/Auckland", "1997-03-24T12:00:00Z", "1997-03-24"},
		// Clocks go forward in the night of March 30 (23 hours) and back in that of October 26 (25 hours).
		{"Europe/Berlin", "1997-03-30T22:30:00Z", "1997-03-30"}, // 00:30 on the 31st, 23.5 hours after the 30th began
		{"Europe/Berlin", "1997-03-30T01:30:00Z", "1997-03-29"}, // 03:30 on the 30th
		{"Europe/Berlin", "1997-10-26T22:30:00Z", "1997-10-25"}, // 23:30 on the 26th, 24.5 hours after it began
		{"Europe/Berlin", "1997-10-26T23:30:00Z", "1997-10-26"}, // 00:30 on the 27th
		// Midnight itself is left out when clocks go forward in Beirut.
		{"Asia/Beirut", "1997-03-29T22:00:00Z", "1997-03-29"},
	} {
		zone, err := time.LoadLocation(tc.zone)
		if err != nil {
			t.Fatal(err)
		}
		w.config.Location = zone
		wantDay(t, w, schedule(tc.slot), tc.want)
	}
}

func TestTheDayOfParamsCountsMoreThanTheSlot(t *testing.T) {
	w := newWorld(t, realOrders(t))
	payload := strings.Replace(schedule("1998-05-05T03:00:00Z"), `"params":{}`, `"params":{"date":"1997-03-24"}`, 1)
	wantDay(t, w, payload, "1997-03-24")
}

func TestARunByHandWithoutADayDoesYesterday(t *testing.T) {
	w := newWorld(t, realOrders(t))
	// At midnight between the two readings, the day before or that of the trigger is right.
	before := time.Now().UTC()
	w.mustRun(t, `{}`)
	after := time.Now().UTC()
	for _, at := range []time.Time{before, after} {
		if _, ok := w.files["stats/"+at.AddDate(0, 0, -1).Format(time.DateOnly)+".json"]; ok {
			return
		}
	}
	t.Errorf("files %v", w.puts)
}

func TestARunByHandOfAnotherDayIsAnotherSlot(t *testing.T) {
	w := newWorld(t, realOrders(t))
	auckland, err := time.LoadLocation("Pacific/Auckland")
	if err != nil {
		t.Fatal(err)
	}
	w.config.Location = auckland
	now := time.Date(1997, 3, 24, 11, 59, 0, 0, time.UTC) // 23:59 in Auckland
	clock := func() time.Time { return now }
	w.config.Now = clock
	fail := true
	put := w.config.Put
	w.config.Put = func(ctx context.Context, name string, data []byte) (string, error) {
		if fail {
			return "", errors.New("the disk is full")
		}
		return put(ctx, name, data)
	}
	handler := jobs.Handler(orders.Job(w.config), jobs.Config{Log: io.Discard, Now: clock})
	run := func(payload string) (r jobs.Report) {
		answer, failure := handler.Invoke(t.Context(), []byte(payload))
		if err := json.Unmarshal(answer, &r); err != nil || (failure != nil) != fail {
			t.Fatalf("%s: %v, %v", payload, failure, err)
		}
		return r
	}
	first, dated := run(`{}`), run(`{"date":"1997-03-23"}`)
	now = now.Add(2 * time.Minute)
	fail = false
	second := run(`{}`)
	if second.Slot == first.Slot || second.Attempt != 1 || w.files["stats/1997-03-24.json"] == "" {
		t.Errorf("after midnight slot %s, attempt %d, files %v", second.Slot, second.Attempt, w.puts)
	}
	if again := run(`{"date":"1997-03-23"}`); again.Slot != dated.Slot || again.Attempt != 2 {
		t.Errorf("a date: slot %s, attempt %d, want %s and 2", again.Slot, again.Attempt, dated.Slot)
	}
	// The same day's is gone on with.
	now = now.Add(-2 * time.Minute)
	if again := run(`{}`); again.Slot != first.Slot || again.Attempt != 2 {
		t.Errorf("before midnight again: slot %s, attempt %d, want %s and 2", again.Slot, again.Attempt, first.Slot)
	}
}

func TestDaysThatCannotBeDone(t *testing.T) {
	w := newWorld(t, nil)
	// In Berlin it is the 2nd already.
	w.config.Now = func() time.Time { return time.Date(2001, 5, 1, 22, 30, 0, 0, time.UTC) }
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	w.config.Location = berlin
	for payload, want := range map[string]string{
		`{"date":"24.03.1997"}`:          `params.date: "24.03.1997" is not a date of the form YYYY-MM-DD, such as 1997-03-24`,
		`{"date":"1997-3-24"}`:           "is not a date of the form YYYY-MM-DD",
		`{"date":"1997-02-29"}`:          "is not a date of the form YYYY-MM-DD",
		`{"date":"1997-03-24T00:00:00"}`: "is not a date of the form YYYY-MM-DD",
		`{"date":"2001-05-03"}`:          "2001-05-03 is not over yet in Europe/Berlin, where it is 2001-05-02; run it the day after",
		`{"date":"2001-05-02"}`:          "2001-05-02 is not over yet in Europe/Berlin",
		`{"day":"1997-03-24"}`:           `"day"`,
		`{"date":19970324}`:              "date",
		schedule("2001-05-03T22:00:00Z"): "2001-05-03 is not over yet in Europe/Berlin",
	} {
		if _, err := w.run(t, payload); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", payload, err, want)
		}
	}
	if len(w.puts) != 0 {
		t.Errorf("files %v were written", w.puts)
	}
	wantDay(t, w, `{"date":"2001-05-01"}`, "2001-05-01")
}

func TestTheNameOfTheJobStays(t *testing.T) {
	// It is part of every slot: another name would run done slots again.
	if got := orders.Job(orders.Config{}).Name; got != "daily-orders" {
		t.Errorf("the job is called %q", got)
	}
}
