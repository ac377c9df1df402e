package jobs_test

import (
	"context"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

func TestAReportHasTheCallsOfItsRunAlone(t *testing.T) {
	calls := map[string]int64{"GET /orders": 3, "GET /customers": 1}
	handler := jobs.Handler(echo(func(context.Context, *jobs.Run[echoParams]) error {
		calls = map[string]int64{"GET /orders": 5, "GET /customers": 1, "other": 1}
		return nil
	}), jobs.Config{Log: io.Discard, Usage: func() jobs.Usage { return jobs.Usage{Calls: calls} }})
	report := mustInvoke(t, t.Context(), handler, `{}`)
	if diff := cmp.Diff(map[string]int64{"GET /orders": 2, "other": 1}, report.Calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if report = mustInvoke(t, t.Context(), handler, `{"date": "2026-11-23"}`); report.Calls != nil {
		t.Errorf("calls of a run that called nothing: %v", report.Calls)
	}
}
