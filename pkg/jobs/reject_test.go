package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// shelf is where rejected rows are kept.
type shelf struct {
	files map[string]string
	fail  error
}

func (s *shelf) keep(_ context.Context, name string, data []byte) (string, error) {
	if s.fail != nil {
		return "", s.fail
	}
	if s.files == nil {
		s.files = map[string]string{}
	}
	s.files[name] = string(data)
	return "shelf://" + name, nil
}

// lines are the line numbers of the kept rows, in order.
func (s *shelf) lines(t *testing.T, kept []string) []int {
	t.Helper()
	var lines []int
	for _, where := range kept {
		for row := range strings.Lines(s.files[strings.TrimPrefix(where, "shelf://")]) {
			var x jobs.Rejection
			if err := json.Unmarshal([]byte(row), &x); err != nil {
				t.Fatalf("kept row %q: %v", row, err)
			}
			lines = append(lines, x.Line)
		}
	}
	return lines
}

func reject(run *jobs.Run[echoParams], lines ...int) {
	for _, line := range lines {
		run.Reject(jobs.Rejection{Line: line, Kind: "rejected", Reason: "no such user", Row: json.RawMessage(fmt.Sprintf(`{"id": "u%d"}`, line))})
	}
}

func TestEachRejectedRowIsKeptExactlyOnceThroughFailuresAndRetries(t *testing.T) {
	var s shelf
	attempt := 0
	h := jobs.Handler(echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
		attempt++
		var row int
		if _, err := run.Resume(&row); err != nil {
			return err
		}
		for row++; row <= 6; row++ {
			reject(run, row)
			run.Count("rejected", 1)
			if attempt == 1 && row == 5 {
				return errBroken // rows 3 to 5 were rejected since the checkpoint
			}
			if row%2 == 0 {
				if err := run.Checkpoint(ctx, row); err != nil {
					return err
				}
			}
		}
		reject(run, 7)
		return nil
	}), jobs.Config{Log: io.Discard, Keep: s.keep})
	first, err := invoke(t, t.Context(), h, nightly)
	if !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	if got := s.lines(t, first.Rejected.Kept); !slices.Equal(got, []int{1, 2, 3, 4, 5}) || first.Rejected.Rows != 5 {
		t.Errorf("the failed attempt kept %v, and reports %+v", got, first.Rejected)
	}
	last := mustInvoke(t, t.Context(), h, nightly)
	if got := s.lines(t, last.Rejected.Kept); !slices.Equal(got, []int{1, 2, 3, 4, 5, 6, 7}) || last.Rejected.Rows != 7 {
		t.Errorf("kept are %v, and the report has %+v", got, last.Rejected)
	}
	if last.Counts["rejected"] != 6 {
		t.Errorf("counts are %v: those of lost work must be dropped", last.Counts)
	}
	var want []string
	for part := range 4 {
		want = append(want, fmt.Sprintf("rejected/%s/%05d.ndjson", last.RunID, part+1))
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(s.files))); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if len(last.Rejected.Some) != 7 || string(last.Rejected.Some[0].Row) != `{"id":"u1"}` {
		t.Errorf("the report shows %v", last.Rejected.Some)
	}
}

func TestAReportShowsTenKeptRowsAndAThousandOthers(t *testing.T) {
	for _, keeps := range []bool{true, false} {
		var s shelf
		var log logBuffer
		config := jobs.Config{Log: &log}
		if keeps {
			config.Keep = s.keep
		}
		h := jobs.Handler(echo(func(_ context.Context, run *jobs.Run[echoParams]) error {
			for line := range 1500 {
				reject(run, line+1)
			}
			return nil
		}), config)
		report := mustInvoke(t, t.Context(), h, nightly)
		want := 1000
		if keeps {
			want = 10
			if got := s.lines(t, report.Rejected.Kept); len(got) != 1500 {
				t.Errorf("%d of 1500 rows are kept", len(got))
			}
		}
		if report.Rejected.Rows != 1500 || len(report.Rejected.Some) != want {
			t.Errorf("kept %v: %d rows, of which are shown %d", keeps, report.Rejected.Rows, len(report.Rejected.Some))
		}
		if strings.Contains(log.String(), `"u1"`) || strings.Contains(log.String(), "row\":") {
			t.Error("a rejected row's contents are in the log")
		}
		contains(t, log.String(), `"line":1,"kind":"rejected","reason":"no such user"`)
	}
}

func TestRowsThatCannotBeKeptFailTheRunAndStayInTheReport(t *testing.T) {
	s := shelf{fail: errors.New("access denied")}
	store := jobs.NewMemoryStore(nil)
	h := jobs.Handler(echo(func(_ context.Context, run *jobs.Run[echoParams]) error {
		for line := range 20 {
			reject(run, line+1)
		}
		return nil
	}), jobs.Config{Log: io.Discard, Keep: s.keep, Store: store})
	report, err := invoke(t, t.Context(), h, nightly)
	if !errors.Is(err, s.fail) || report.Outcome != jobs.OutcomeFailed || len(report.Rejected.Some) != 20 {
		t.Errorf("%v, %+v", err, report)
	}
	contains(t, report.Error, "keeping rejected rows as rejected/"+report.RunID+"/00001.ndjson", "access denied")
	s.fail = nil
	if report = mustInvoke(t, t.Context(), h, nightly); len(s.lines(t, report.Rejected.Kept)) != 20 || len(report.Rejected.Some) != 10 {
		t.Errorf("run again: %+v", report)
	}
}

func TestACheckpointWhoseRowsCannotBeKeptIsNotMade(t *testing.T) {
	s := shelf{fail: errors.New("access denied")}
	h := jobs.Handler(echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
		reject(run, 1)
		if err := run.Checkpoint(ctx, 1); !errors.Is(err, s.fail) {
			t.Errorf("Checkpoint: %v", err)
		}
		if ok, err := run.Resume(new(int)); ok || err != nil {
			t.Errorf("Resume: %v, %v", ok, err)
		}
		s.fail = nil
		reject(run, 2)
		return nil
	}), jobs.Config{Log: io.Discard, Keep: s.keep})
	report := mustInvoke(t, t.Context(), h, nightly)
	if got := s.lines(t, report.Rejected.Kept); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("kept are %v", got)
	}
}

func TestManyRejectedRowsDoNotWaitInMemory(t *testing.T) {
	const rows, size = 10_000, 1000
	var s shelf
	broken := true
	h := jobs.Handler(echo(func(_ context.Context, run *jobs.Run[echoParams]) error {
		for line := range rows {
			run.Reject(jobs.Rejection{Line: line + 1, Row: json.RawMessage(`"` + strings.Repeat("x", size) + `"`)})
		}
		if len(s.files) < 2 {
			t.Errorf("after %d rows of %d bytes %d parts are written", rows, size, len(s.files))
		}
		if broken {
			return errBroken
		}
		return nil
	}), jobs.Config{Log: io.Discard, Keep: s.keep})
	if _, err := invoke(t, t.Context(), h, nightly); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	broken = false
	before := maps.Clone(s.files)
	report := mustInvoke(t, t.Context(), h, nightly)
	if diff := cmp.Diff(before, s.files); diff != "" {
		t.Error("the repetition wrote other parts")
	}
	if got := s.lines(t, report.Rejected.Kept); len(got) != rows || !slices.IsSorted(got) {
		t.Errorf("%d rows are kept", len(got))
	}
	if len(report.Rejected.Some) != 10 {
		t.Errorf("%d rows are shown", len(report.Rejected.Some))
	}
}

func TestRowsThatCannotBeWrittenEarlyFailTheRun(t *testing.T) {
	s := shelf{fail: errors.New("access denied")}
	h := jobs.Handler(echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
		for line := range 6000 {
			run.Reject(jobs.Rejection{Line: line + 1, Row: json.RawMessage(`"` + strings.Repeat("x", 1000) + `"`)})
		}
		s.fail = nil
		return nil
	}), jobs.Config{Log: io.Discard, Keep: s.keep})
	report, err := invoke(t, t.Context(), h, nightly)
	if err == nil || report.Outcome != jobs.OutcomeFailed || report.Rejected.Rows != 6000 {
		t.Errorf("%v, %+v", err, report)
	}
	contains(t, report.Error, "access denied")
}

func TestARowThatIsNotJSONIsKeptAsAString(t *testing.T) {
	var s shelf
	h := jobs.Handler(echo(func(_ context.Context, run *jobs.Run[echoParams]) error {
		run.Reject(jobs.Rejection{Line: 1, Row: json.RawMessage("{\"id\": \"u1\"\n")})
		return nil
	}), jobs.Config{Log: io.Discard, Keep: s.keep})
	report := mustInvoke(t, t.Context(), h, nightly)
	if got := string(report.Rejected.Some[0].Row); got != `"{\"id\": \"u1\"\n"` {
		t.Errorf("row is %s", got)
	}
	if got := s.lines(t, report.Rejected.Kept); !slices.Equal(got, []int{1}) {
		t.Errorf("kept are %v", got)
	}
}
