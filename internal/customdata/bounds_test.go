package customdata_test

import (
	"context"
	"strings"
	"testing"
	"time"
)

func TestRowThatIsLargerThanAllThatMayBeUnderWayHoldsNothingUp(t *testing.T) {
	s := newStage(t)
	s.users(1, nil)
	large := `{"id":"u000","customData":{"a":"` + strings.Repeat("x", 9<<20) + `"}}`
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	report, err := s.invoke(ctx, rows(large, `{"id":"u000","customData":{"a":1}}`))
	if err != nil || report.Counts["rejected"] != 1 || report.Counts["changed"] != 1 {
		t.Errorf("counts %v, error %v", report.Counts, err)
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
	if len(report.Result) > 100_000 {
		t.Errorf("the result has %d bytes", len(report.Result))
	}
}
