package customdata_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/internal/customdata"
)

// watch keeps what a stage's runs tell of their progress.
func watch(told *[]customdata.Progress) func(*stage) {
	return func(s *stage) {
		s.config.Progress = func(p customdata.Progress) { *told = append(*told, p) }
	}
}

func TestProgressEndsWithAllThatThereIsToDo(t *testing.T) {
	text, _ := mixed()
	for _, source := range []struct{ name, text string }{{"rows.ndjson", text}, {"rows.ndjson.gz", gzipped(t, text)}} {
		var told []customdata.Progress
		s := newStage(t, watch(&told))
		s.users(300, object{"trial": true})
		report := s.sync(object{"source": s.file(source.name, source.text)})
		size := int64(len(text))
		want := customdata.Progress{
			Doing: customdata.ActionSync,
			Rows:  report.Counts["rows"], Changed: report.Counts["changed"],
			Done: size, Size: size,
		}
		if last := told[len(told)-1]; last != want {
			t.Errorf("%s: at the end %+v, want %+v", source.name, last, want)
		}
		first := told[0]
		if first.Rows != 0 || first.Done != 0 || source.name == "rows.ndjson" && first.Size != size {
			t.Errorf("%s: at the beginning %+v", source.name, first)
		}
		if len(told) != 1+4 { // 305 rows are four batches
			t.Errorf("%s: told %d times: %+v", source.name, len(told), told)
		}
		if !slices.IsSortedFunc(told, func(a, b customdata.Progress) int { return int(a.Done - b.Done) }) {
			t.Errorf("%s: it went back: %+v", source.name, told)
		}
	}
}

func TestProgressOfARunThatGoesOnBeginsWhereItStopped(t *testing.T) {
	var told []customdata.Progress
	s := newStage(t, watch(&told))
	s.users(300, object{"trial": true})
	text, _ := mixed()
	params := object{"source": s.file("rows.ndjson", text)}
	ctx, cut := context.WithCancel(t.Context())
	defer cut()
	s.onWrites(func(n int) {
		if n == 130 {
			cut()
		}
	})
	if _, err := s.invoke(ctx, params); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	stopped := told[len(told)-1]
	told, s.before = nil, nil
	s.sync(params)
	if stopped.Rows < 100 || told[0] != stopped {
		t.Errorf("it stopped at %+v and went on at %+v", stopped, told[0])
	}
}

func TestProgressOfRowsInTheEventIsInRows(t *testing.T) {
	var told []customdata.Progress
	s := newStage(t, watch(&told))
	s.users(2, nil)
	s.sync(with(rows(`{"id":"u000","customData":{"a":1}}`, `{"id":"u001","customData":{"a":1}}`), "dryRun", true))
	want := []customdata.Progress{
		{Doing: customdata.ActionSync, Size: 2},
		{Doing: customdata.ActionSync, Rows: 2, Changed: 2, Done: 2, Size: 2},
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestProgressTellsAPlanFromItsApplication(t *testing.T) {
	var told []customdata.Progress
	s := newStage(t, watch(&told))
	s.users(3, object{"a": 1})
	var text strings.Builder
	for i := range 3 {
		fmt.Fprintf(&text, `{"id":"%s","customData":{"a":%d}}`+"\n", id(i), 1+i)
	}
	report := s.sync(object{"source": s.file("rows.ndjson", text.String()), "failAbove": 90})
	size := int64(text.Len())
	if want := []customdata.Progress{
		{Doing: customdata.ActionPlan, Size: size},
		{Doing: customdata.ActionPlan, Rows: 3, Done: size, Size: size},
		{Doing: customdata.ActionApply, Size: 2},
		{Doing: customdata.ActionApply, Rows: 2, Changed: 2, Done: 2, Size: 2},
	}; !slices.Equal(told, want) {
		t.Errorf("(-want +got):\n%s", cmp.Diff(want, told))
	}
	told = nil
	s.sync(object{"action": "undo", "run": report.RunID})
	if want := []customdata.Progress{
		{Doing: customdata.ActionApply, Size: 2},
		{Doing: customdata.ActionApply, Rows: 2, Changed: 2, Done: 2, Size: 2},
	}; !slices.Equal(told, want) {
		t.Errorf("taking it back (-want +got):\n%s", cmp.Diff(want, told))
	}
}
