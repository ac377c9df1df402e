package customdata_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

func TestRowThatIsLargerThanAllThatMayBeUnderWayHoldsNothingUp(t *testing.T) {
	s := newStage(t)
	s.users(1, nil)
	large := `{"id":"u000","customData":{"a":"` + strings.Repeat("x", 9<<20) + `"}}`
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	report, err := s.invoke(ctx, rows(large, `{"id":"u000","customData":{"a":1}}`))
	if err != nil || report.Counts["rejected"] != 1 || report.Counts["changed"] != 1 {
		t.Errorf("counts %v, error %v", report.Counts, err)
	}
}

func TestUserWhoHasMoreThanARowMayHaveIsPlannedAndTakenBack(t *testing.T) {
	s := newStage(t)
	large := object{}
	for _, key := range []string{"a", "b", "c", "d"} {
		large[key] = strings.Repeat("x", 900_000)
	}
	s.tenant.AddUser(logtotest.User{ID: "ann", CustomData: large})
	_, plan := s.plan(rows(`{"id":"ann","customData":{},"remove":["a","b","c","d"]}`))
	run := s.sync(object{"action": "apply", "plan": plan.Location})
	checkData(t, s, "ann", object{})
	undo, err := s.invoke(t.Context(), object{"action": "undo", "run": run.RunID})
	// Logto takes less than that at once.
	if err != nil || undo.Counts["rejected"] != 1 || undo.Counts["changed"] != 0 {
		t.Errorf("counts %v, error %v", undo.Counts, err)
	}
}

func TestChangesOfADryRunStaySmall(t *testing.T) {
	s := newStage(t)
	s.users(20, nil)
	var keys strings.Builder
	for i := range 10_000 {
		keys.WriteString(`"` + strings.Repeat("k", 20) + number(i).String() + `":1,`)
	}
	report := s.sync(with(rows(each(20, `{"id":"%s","customData":{`+keys.String()+`"`+strings.Repeat("l", 100_000)+`":1}}`)...), "dryRun", true))
	if len(report.Result) > 30_000 {
		t.Errorf("the result has %d bytes", len(report.Result))
	}
}
