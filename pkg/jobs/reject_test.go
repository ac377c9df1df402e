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

func TestManyPartsMakeNeitherReportNorCheckpointLonger(t *testing.T) {
	const parts = 300
	var s shelf
	store := jobs.NewMemoryStore(nil)
	sizes := map[int]int{}
	attempt := 0
	h := jobs.Handler(echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
		attempt++
		var row int
		if _, err := run.Resume(&row); err != nil {
			return err
		}
		for row++; row <= parts; row++ {
			reject(run, row)
			if err := run.Checkpoint(ctx, row); err != nil {
				return err
			}
			record, err := store.Get(ctx, run.Slot)
			if err != nil {
				return err
			}
			sizes[row] = len(record.Checkpoint)
			if attempt == 1 && row == parts/2 {
				return errBroken
			}
		}
		return nil
	}), jobs.Config{Log: io.Discard, Keep: s.keep, Store: store})
	if _, err := invoke(t, t.Context(), h, nightly); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	report := mustInvoke(t, t.Context(), h, nightly)
	if len(s.files) != parts || report.Rejected.Rows != parts || report.Rejected.Parts != parts || len(report.Rejected.Kept) != 10 {
		t.Errorf("%d files, the report has %d rows in %d parts and names %d", len(s.files), report.Rejected.Rows, report.Rejected.Parts, len(report.Rejected.Kept))
	}
	var names []string
	for part := range report.Rejected.Parts {
		names = append(names, fmt.Sprintf("rejected/%s/%05d.ndjson", report.RunID, part+1))
	}
	if got := s.lines(t, names); len(got) != parts || !slices.IsSorted(got) || got[0] != 1 || got[parts-1] != parts {
		t.Errorf("the parts have the rows %v", got)
	}
	if sizes[parts] > sizes[20]+10 {
		t.Errorf("a checkpoint has %d bytes after 20 parts and %d after %d", sizes[20], sizes[parts], parts)
	}
}

func TestARowRejectedWhileACheckpointIsMadeBelongsToTheNext(t *testing.T) {
	var s shelf
	var run *jobs.Run[echoParams]
	attempt := 0
	keep := func(ctx context.Context, name string, data []byte) (string, error) {
		if attempt == 1 && strings.HasSuffix(name, "00001.ndjson") {
			reject(run, 2) // another goroutine of the job's, whose row the checkpoint is not about
			run.Count("rejected", 1)
		}
		return s.keep(ctx, name, data)
	}
	h := jobs.Handler(echo(func(ctx context.Context, r *jobs.Run[echoParams]) error {
		attempt++
		run = r
		ok, err := run.Resume(new(int))
		if err != nil {
			return err
		}
		if !ok {
			reject(run, 1)
			run.Count("rejected", 1)
			return errors.Join(run.Checkpoint(ctx, 1), errBroken)
		}
		reject(run, 2)
		run.Count("rejected", 1)
		return nil
	}), jobs.Config{Log: io.Discard, Keep: keep})
	if _, err := invoke(t, t.Context(), h, nightly); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	report := mustInvoke(t, t.Context(), h, nightly)
	if got := s.lines(t, report.Rejected.Kept); !slices.Equal(got, []int{1, 2}) || report.Rejected.Rows != 2 || report.Counts["rejected"] != 2 {
		t.Errorf("kept are %v, the report has %d rows and counts %v", got, report.Rejected.Rows, report.Counts)
	}
}

func TestARestartedRunReportsOnlyWhatItDidSince(t *testing.T) {
	var s shelf
	var log logBuffer
	attempt := 0
	h := jobs.Handler(echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
		attempt++
		if attempt > 1 {
			reject(run, 90)
			run.Restart()
			if ok, err := run.Resume(new(int)); ok || err != nil {
				t.Errorf("Resume after Restart: %v, %v", ok, err)
			}
		}
		if attempt == 2 {
			return jobs.ErrUnfinished // with the old checkpoint in the store
		}
		for row := range 6 / attempt {
			reject(run, 10*attempt+row)
			run.Count("rows", 1)
			if err := run.Checkpoint(ctx, row); err != nil {
				return err
			}
		}
		if attempt == 1 {
			return errBroken
		}
		return nil
	}), jobs.Config{Log: &log, Keep: s.keep})
	if _, err := invoke(t, t.Context(), h, nightly); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	report, err := invoke(t, t.Context(), h, nightly)
	if err == nil || report.Outcome != jobs.OutcomeFailed || report.Rejected != nil || len(report.Counts) != 0 {
		t.Errorf("without a checkpoint since Restart: %v, %+v", err, report)
	}
	report = mustInvoke(t, t.Context(), h, nightly)
	if report.Attempt != 3 || report.Counts["rows"] != 2 || report.Rejected.Rows != 2 || report.Rejected.Parts != 2 {
		t.Errorf("report %+v, rejected %+v", report, report.Rejected)
	}
	if got := s.lines(t, report.Rejected.Kept); !slices.Equal(got, []int{30, 31}) {
		t.Errorf("kept are %v", got)
	}
	if metrics := log.metrics(t); metrics[2]["rows"] != 2.0 || metrics[2]["rejected"] != 2.0 {
		t.Errorf("metrics of the last attempt %v", metrics[2])
	}
}

func TestAReasonIsBounded(t *testing.T) {
	h := jobs.Handler(echo(func(_ context.Context, run *jobs.Run[echoParams]) error {
		run.Reject(jobs.Rejection{Reason: strings.Repeat("é", 1<<20)})
		return nil
	}), jobs.Config{Log: io.Discard})
	if n := len(mustInvoke(t, t.Context(), h, nightly).Rejected.Some[0].Reason); n < 1000 || n > 1030 {
		t.Errorf("a reason of %d bytes", n)
	}
}

func TestRowsThatAreNotKeptHaveABoundOverAllAttempts(t *testing.T) {
	attempt := 0
	h := jobs.Handler(echo(func(ctx context.Context, run *jobs.Run[echoParams]) error {
		attempt++
		for line := range 9 {
			run.Reject(jobs.Rejection{Line: line + 1, Row: json.RawMessage(`"` + strings.Repeat("x", 100_000) + `"`)})
		}
		if err := run.Checkpoint(ctx, 1); err != nil || attempt == 3 {
			return err
		}
		return jobs.ErrUnfinished
	}), jobs.Config{Log: io.Discard, Continue: func(context.Context, jobs.Continuation) error { return nil }})
	var report jobs.Report
	for range 3 {
		report = mustInvoke(t, t.Context(), h, nightly)
	}
	if n := len(report.Rejected.Some); report.Rejected.Rows != 27 || n != 10 {
		t.Errorf("of %d rows of 100 kB the report has %d", report.Rejected.Rows, n)
	}
}
