package customdata_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// failing makes the places where rejected rows are kept fail as often as told, which ends a run after all that it does itself.
func failing(times *int) func(*stage) {
	return func(s *stage) {
		keep := s.jobs.Keep
		s.jobs.Keep = func(ctx context.Context, name string, data []byte) (string, error) {
			if *times > 0 {
				*times--
				return "", errors.New("no room for rejected rows")
			}
			return keep(ctx, name, data)
		}
	}
}

func TestPlanThatFailedAfterItWasWrittenIsMadeAgain(t *testing.T) {
	var times int
	s := newStage(t, failing(&times))
	s.users(2, nil)
	params := with(rows(
		`{"id":"u000","customData":{"v":1}}`,
		`{"id":"u000","customData":{"v":"x"}}`, // is rejected as the plan is written, and kept after that
	), "action", "plan")
	times = 1
	if _, err := s.invoke(t.Context(), with(params, "newer", "v")); err == nil {
		t.Fatal("the first attempt did not fail")
	}
	times = 0
	report := s.sync(params)
	checkCounts(t, report, map[string]int64{"rows": 2, "users": 1, "toChange": 1, "unchanged": 0, "stale": 0, "missing": 0, "rejected": 1})
	if plan := s.result(report).Plan; plan == nil || plan.ToChange != 1 {
		t.Errorf("plan %+v", plan)
	}
}

func TestShareThatIsTooLargeIsToldAgainByTheNextAttempt(t *testing.T) {
	s := newStage(t)
	s.users(2, nil)
	params := with(rows(each(2, `{"id":"%s","customData":{"a":1}}`)...), "failAbove", 10)
	for attempt := range 3 {
		if _, err := s.invoke(t.Context(), params); err == nil || !strings.Contains(err.Error(), "failAbove allows 10 %") {
			t.Errorf("attempt %d: error %v", attempt+1, err)
		}
	}
}

// deaf is a store that does not hear the end of a run, as if the process had died right before.
type deaf struct {
	jobs.Store
	times int
}

func (d *deaf) Finish(ctx context.Context, r jobs.Record, state jobs.State, report json.RawMessage) error {
	if d.times--; d.times >= 0 {
		return errors.New("no answer")
	}
	return d.Store.Finish(ctx, r, state, report)
}

func TestRunThatDiesAfterItRemovedItsPlanIsDoneByTheNextAttempt(t *testing.T) {
	store := &deaf{}
	s := newStage(t, func(s *stage) {
		store.Store = jobs.NewMemoryStore(s.clock.now)
		s.jobs.Store = store
	})
	s.users(2, object{"a": 0})
	run := s.sync(rows(each(2, `{"id":"%s","customData":{"a":1}}`)...))
	s.tenant.SetCustomData("u001", object{"a": 5})
	undo := object{"action": "undo", "run": run.RunID}
	store.times = 1
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(time.Hour))
	defer cancel()
	if _, err := s.invoke(ctx, undo); err == nil {
		t.Fatal("the first attempt did not fail")
	}
	s.clock.set(2 * time.Hour) // its lease has ended
	report := s.sync(undo)
	if report.Attempt != 2 || report.Counts["conflict"] != 1 || report.Counts["changed"] != 1 {
		t.Errorf("attempt %d, counts %v", report.Attempt, report.Counts)
	}
	checkData(t, s, "u000", object{"a": number(0)})
	if left, err := filepath.Glob(filepath.Join(s.out, "plans", "*")); err != nil || len(left) > 0 {
		t.Errorf("left of the plans: %v, %v", left, err)
	}
}

func TestLimitHoldsForAllAttemptsOfARunTogether(t *testing.T) {
	store := &deaf{times: 1}
	s := newStage(t, func(s *stage) {
		store.Store = jobs.NewMemoryStore(s.clock.now)
		s.jobs.Store = store
		s.config.SealKey = func() ([]byte, error) { return make([]byte, 32), nil }
	})
	s.users(9, object{"a": 0})
	params := with(rows(each(9, `{"id":"%s","customData":{"a":1}}`)...), "limit", 4)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(time.Hour))
	defer cancel()
	if _, err := s.invoke(ctx, params); err == nil || s.tenant.Requests(merge) != 4 {
		t.Fatalf("the first attempt made %d writes and did not fail", s.tenant.Requests(merge))
	}
	s.tenant.SetCustomData("u001", object{"a": 5}) // is one of the four all the same
	s.clock.set(2 * time.Hour)                     // its lease has ended
	report := s.sync(params)
	if report.Attempt != 2 || report.Counts["changed"] != 1 || report.Counts["unchanged"] != 3 || s.tenant.Requests(merge) != 5 {
		t.Errorf("attempt %d, counts %v, %d writes", report.Attempt, report.Counts, s.tenant.Requests(merge))
	}
	checkData(t, s, "u001", object{"a": number(1)})
	checkData(t, s, "u004", object{"a": number(0)})
}

func TestADryRunThatIsContinuedComesToTheSameUsersWithinTheLimit(t *testing.T) {
	lines := each(150, `{"id":"%s","customData":{"a":0}}`)
	lines[0] += `
{"id":"u000","customData":{"a":1}}
{"id":"u000","customData":{"a":2}}
{"id":"u000","customData":{"a":3}}`
	lines[148], lines[149] = `{"id":"u148","customData":{"a":1}}`, `{"id":"u149","customData":{"a":1}}`
	for _, limit := range []int{2, 3} {
		s := newStage(t)
		s.users(150, object{"a": 0})
		params := object{"source": s.file("rows.ndjson", strings.Join(lines, "\n")), "dryRun": true, "limit": limit}
		s.tenant.Inject(logtotest.Fault{Route: search, After: 1, Status: 500}) // the first hundred rows are done then
		if _, err := s.invoke(t.Context(), params); err == nil {
			t.Fatal("the first attempt did not fail")
		}
		report := s.sync(params)
		if want := int64(3 + limit - 1); report.Attempt != 2 || report.Counts["wouldChange"] != want {
			t.Errorf("limit %d: attempt %d, counts %v, want %d rows of %d users", limit, report.Attempt, report.Counts, want, limit)
		}
	}
}

func TestPlanWhoseSourceChangedSinceTheCheckpointIsMadeOfWhatIsThere(t *testing.T) {
	s := newStage(t)
	s.users(150, nil)
	name := s.file("rows.ndjson", strings.Join(each(150, `{"id":"%s","customData":{"a":1}}`), "\n"))
	event := fmt.Sprintf(`{"id":"e1","detail-type":"rows","source":"shop","time":"2026-11-24T03:00:00Z","detail":{"action":"plan","source":%q}}`, name)
	s.tenant.Inject(logtotest.Fault{Route: search, After: 1, Status: 500})
	if _, err := s.invoke(t.Context(), event); err == nil {
		t.Fatal("no error")
	}
	s.file("rows.ndjson", strings.Join(each(120, `{"id":"%s","customData":{"a":2}}`), "\n"))
	report := s.sync(event)
	checkCounts(t, report, map[string]int64{"rows": 120, "users": 120, "toChange": 120, "unchanged": 0, "stale": 0, "missing": 0, "rejected": 0})
	if lines := s.lines(*s.result(report).Plan); !strings.Contains(lines[0], `"customData":{"a":2}`) {
		t.Errorf("plan %s", lines[0])
	}
}

func TestPlanIsNotTouchedByAnAttemptThatLostItsLease(t *testing.T) {
	s := newStage(t)
	s.users(2, nil)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(time.Hour))
	defer cancel()
	s.before = func(request) { s.clock.set(2 * time.Hour) } // frozen while the users were looked up
	params := with(rows(each(2, `{"id":"%s","customData":{"a":1}}`)...), "action", "plan")
	if _, err := s.invoke(ctx, params); !errors.Is(err, jobs.ErrLeaseLost) {
		t.Errorf("error %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(s.out, "plans", "*")); err != nil || len(left) > 0 {
		t.Errorf("written after the lease: %v, %v", left, err)
	}
}
