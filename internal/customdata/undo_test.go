package customdata_test

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

func TestUndoTakesBackARowThatIsKeptTwiceBecauseItsFirstWriteFailed(t *testing.T) {
	s := newStage(t, oneByOne)
	s.users(2, object{"a": 0, "trial": true})
	s.tenant.Inject(logtotest.Fault{Route: merge, After: 1, Times: 1, Status: http.StatusForbidden})
	params := rows(
		`{"id":"u000","customData":{"a":1}}`,
		`{"id":"u000","customData":{"a":2}}`, // is kept with the first, fails, and is kept and written by the next attempt
		`{"id":"u001","customData":{"a":1}}`,
	)
	if _, err := s.invoke(t.Context(), params); err == nil {
		t.Fatal("the first attempt did not fail")
	}
	run := s.sync(params)
	if run.Attempt != 2 {
		t.Fatalf("attempt %d", run.Attempt)
	}
	checkData(t, s, "u000", object{"a": number(2), "trial": true})
	s.sync(object{"action": "undo", "run": run.RunID})
	checkData(t, s, "u000", object{"a": number(0), "trial": true})
	checkData(t, s, "u001", object{"a": number(0), "trial": true})
}

func TestUndoThatIsShortOfTimeGoesOnAndTakesEverythingBackOnce(t *testing.T) {
	var calls atomic.Int64
	s := newStage(t, func(s *stage) {
		// The time is up soon after an attempt has begun.
		s.jobs.Now = func() time.Time {
			if calls.Add(-1) == 0 {
				s.clock.set(time.Hour - 10*time.Second)
			}
			return s.clock.now()
		}
	})
	s.users(250, object{"a": 0})
	lines := each(250, `{"id":"%[1]s","customData":{"a":1}}`+"\n"+`{"id":"%[1]s","customData":{"a":2}}`)
	run := s.sync(object{"source": s.file("rows.ndjson", strings.Join(lines, "\n"))})
	checkCounts(t, run, counts(500, 500, 0, 0, 0, 0))
	var report jobs.Report
	for attempts := 1; report.Outcome != jobs.OutcomeDone; attempts++ {
		ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(time.Hour))
		s.clock.set(0)
		if calls.Store(0); attempts < 8 {
			calls.Store(5)
		}
		var err error
		report, err = s.invoke(ctx, object{"action": "undo", "run": run.RunID})
		cancel()
		chunks, globErr := filepath.Glob(filepath.Join(s.out, "plans", "*.rows-*"))
		if globErr != nil || len(chunks) > 5 {
			t.Fatalf("attempt %d: 5 parts were read again and again: %v, %v", attempts, chunks, globErr)
		}
		if err != nil && !errors.Is(err, jobs.ErrUnfinished) || attempts > 30 {
			t.Fatalf("attempt %d: outcome %s, %v", attempts, report.Outcome, err)
		}
	}
	if report.Counts["rows"] != 250 {
		t.Errorf("counts %v", report.Counts)
	}
	for i := range 250 {
		checkData(t, s, id(i), object{"a": number(0)})
	}
}

func TestUndoTakesBackAWriteThatWasNotForeseen(t *testing.T) {
	s := newStage(t)
	s.users(1, object{"v": 1, "total": 10})
	s.tenant.Inject(logtotest.Fault{Route: merge, Status: http.StatusUnprocessableEntity})
	params := rows(`{"id":"u000","customData":{"v":5}}`, `{"id":"u000","customData":{"v":4,"total":99}}`) // stale, if the first is written
	params["newer"] = "v"
	run := s.sync(params)
	checkData(t, s, "u000", object{"v": number(4), "total": number(99)})
	s.sync(object{"action": "undo", "run": run.RunID})
	checkData(t, s, "u000", object{"v": number(1), "total": number(10)})
}

func TestUndoTakesBackWhatSomebodyWroteBetweenLookupAndWrite(t *testing.T) {
	s := newStage(t)
	s.users(1, object{"a": 1, "x": 1})
	s.before = func(r request) {
		if r.route == getUser {
			s.tenant.SetCustomData("u000", object{"a": 7, "x": 1})
		}
	}
	run := s.sync(rows(`{"id":"u000","customData":{"a":1},"remove":["x"]}`))
	s.before = nil
	checkData(t, s, "u000", object{"a": number(1)})
	s.sync(object{"action": "undo", "run": run.RunID})
	checkData(t, s, "u000", object{"a": number(7), "x": number(1)})
}
