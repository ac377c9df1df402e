package customdata_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// mixed are rows of every kind for 300 users, two rows for some.
func mixed() (text string, lines int) {
	var b strings.Builder
	for i := range 300 {
		switch {
		case i%50 == 7:
			fmt.Fprintf(&b, `{"id":"nobody%d","customData":{"n":1}}`+"\n", i)
		case i%50 == 9:
			fmt.Fprintln(&b, "oops")
		case i%50 == 11:
			fmt.Fprintf(&b, `{"id":"%s","customData":{"n":%d},"remove":["trial"]}`+"\n", id(i), i)
		default:
			fmt.Fprintf(&b, `{"id":"%s","customData":{"n":%d}}`+"\n", id(i), i)
		}
		lines++
		if i%60 == 59 {
			fmt.Fprintf(&b, `{"primaryEmail":"%s@example.com","customData":{"n":%d,"again":true}}`+"\n", id(i-30), i)
			lines++
		}
	}
	return b.String(), lines
}

// all is every user's custom data.
func (s *stage) all() map[string]object {
	data := map[string]object{}
	for i := range 300 {
		data[id(i)] = s.tenant.CustomData(id(i))
	}
	return data
}

// undisturbed is how a tenant looks after mixed rows were synced in one go.
func undisturbed(t *testing.T) (map[string]object, jobs.Report, []jobs.Rejection) {
	t.Helper()
	s := newStage(t)
	s.users(300, object{"trial": true})
	text, _ := mixed()
	report := s.sync(object{"source": s.file("rows.ndjson", text)})
	return s.all(), report, s.kept(report)
}

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var b strings.Builder
	w := gzip.NewWriter(&b)
	_, err := io.WriteString(w, text)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// onWrites calls f at every write, with how many there were in this stage.
func (s *stage) onWrites(f func(n int)) {
	var mu sync.Mutex
	n := 0
	s.before = func(r request) {
		if r.route != merge && r.route != replace {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		n++
		f(n)
	}
}

func TestRunThatIsShortOfTimeIsContinuedToTheSameEnd(t *testing.T) {
	want, one, keptOnce := undisturbed(t)
	for _, every := range []int{1, 17, 64, 150} {
		t.Run(fmt.Sprint(every, " writes an attempt"), func(t *testing.T) {
			var next []jobs.Continuation
			s := newStage(t, func(s *stage) {
				s.jobs.Continue = func(_ context.Context, c jobs.Continuation) error {
					next = append(next, c)
					return nil
				}
			})
			s.users(300, object{"trial": true})
			text, lines := mixed()
			name := "rows.ndjson"
			if every == 17 || every == 150 {
				name, text = "rows.ndjson.gz", gzipped(t, text)
			}
			var payload any = object{"source": s.file(name, text)}
			s.onWrites(func(n int) {
				if n%every == 0 {
					s.clock.set(time.Hour - 10*time.Second) // inside the margin: no time left
				}
			})
			attempts := 0
			var report jobs.Report
			for done := false; !done; attempts++ {
				if attempts > 400 {
					t.Fatal("the run does not get on")
				}
				s.clock.set(0)
				ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(time.Hour))
				var err error
				report, err = s.invoke(ctx, payload)
				cancel()
				if err != nil {
					t.Fatal(err)
				}
				if done = report.Outcome == jobs.OutcomeDone; !done {
					payload, next = next[0], next[1:]
				}
			}
			if attempts < 290/every/8 || attempts == 1 {
				t.Errorf("%d attempts", attempts)
			}
			if diff := cmp.Diff(want, s.all()); diff != "" {
				t.Errorf("custom data (-undisturbed +continued):\n%s", diff)
			}
			// Rows that were done after the ones that are saved are done again, as unchanged ones.
			for _, name := range []string{"rows", "missing", "rejected"} {
				if report.Counts[name] != one.Counts[name] {
					t.Errorf("%s: %d, undisturbed %d", name, report.Counts[name], one.Counts[name])
				}
			}
			if sum := report.Counts["changed"] + report.Counts["unchanged"]; sum != one.Counts["changed"]+one.Counts["unchanged"] {
				t.Errorf("counts %v of %d lines", report.Counts, lines)
			}
			if diff := cmp.Diff(keptOnce, s.kept(report)); diff != "" {
				t.Errorf("kept (-undisturbed +continued):\n%s", diff)
			}
		})
	}
}

func TestRunThatWasCutOffGoesOnToTheSameEnd(t *testing.T) {
	want, one, keptOnce := undisturbed(t)
	s := newStage(t)
	s.users(300, object{"trial": true})
	text, _ := mixed()
	params := object{"source": s.file("rows.ndjson", text)}
	ctx, cut := context.WithCancel(t.Context())
	defer cut()
	s.onWrites(func(n int) {
		if n == 130 { // in the second batch
			cut()
		}
	})
	report, err := s.invoke(ctx, params)
	if !errors.Is(err, context.Canceled) || report.Outcome != jobs.OutcomeFailed {
		t.Fatalf("outcome %s, error %v", report.Outcome, err)
	}
	s.before = nil
	searches := s.tenant.Requests(search)
	report = s.sync(params)
	// Of four batches, each with ids and e-mail addresses, the first was done, and perhaps the second.
	if n := s.tenant.Requests(search) - searches; report.Attempt != 2 || n != 4 && n != 6 {
		t.Errorf("attempt %d, %d searches", report.Attempt, n)
	}
	if diff := cmp.Diff(want, s.all()); diff != "" {
		t.Errorf("custom data (-undisturbed +resumed):\n%s", diff)
	}
	if diff := cmp.Diff(keptOnce, s.kept(report)); diff != "" {
		t.Errorf("kept (-undisturbed +resumed):\n%s", diff)
	}
	if report.Counts["rows"] != one.Counts["rows"] || report.Counts["rejected"] != one.Counts["rejected"] {
		t.Errorf("counts %v, undisturbed %v", report.Counts, one.Counts)
	}
	if !strings.Contains(s.log.String(), `"msg":"going on after the checkpoint"`) {
		t.Errorf("the log does not tell of the checkpoint:\n%s", s.log)
	}
}

func TestSourceThatChangedSinceTheCheckpointIsReadFromTheStart(t *testing.T) {
	s := newStage(t, oneByOne)
	s.users(150, nil)
	lines := each(150, `{"id":"%s","customData":{"a":1}}`)
	lines[2], lines[4] = "oops", "oops"
	name := s.file("rows.ndjson", strings.Join(lines, "\n"))
	// An event's run keeps its slot whatever the file is.
	event := fmt.Sprintf(`{"id":"e1","detail-type":"rows","source":"shop","time":"2026-11-24T03:00:00Z","detail":{"source":%q}}`, name)
	s.tenant.Inject(logtotest.Fault{Route: search, After: 1, Status: 500})
	if _, err := s.invoke(t.Context(), event); err == nil {
		t.Fatal("no error")
	}
	lines = each(150, `{"id":"%s","customData":{"a":2}}`)
	lines[0] = "oops"
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	report := s.sync(event)
	// All is of the file that is there now: the 100 rows of the other one are not counted besides, nor are its two bad ones.
	checkCounts(t, report, counts(150, 149, 0, 0, 0, 1))
	if kept := s.kept(report); len(kept) != 1 || kept[0].Line != 1 || report.Rejected.Rows != 1 {
		t.Errorf("kept %+v", kept)
	}
	for i := 1; i < 150; i++ {
		checkData(t, s, id(i), object{"a": number(2)})
	}
	if !strings.Contains(s.log.String(), "the source has changed since the checkpoint: reading it from the start") {
		t.Errorf("the log does not tell:\n%s", s.log)
	}
}

func TestDryRunIsContinuedWithItsChanges(t *testing.T) {
	s := newStage(t)
	s.users(900, nil)
	lines := each(900, `{"id":"%s","customData":{"a":1}}`)
	var once sync.Once
	s.before = func(request) {
		once.Do(func() { s.clock.set(time.Hour - 10*time.Second) })
	}
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(time.Hour))
	defer cancel()
	params := with(rows(lines...), "dryRun", true)
	report, err := s.invoke(ctx, params)
	if report.Outcome != jobs.OutcomeUnfinished || !errors.Is(err, jobs.ErrUnfinished) {
		t.Fatalf("outcome %s, error %v", report.Outcome, err)
	}
	s.clock.set(0)
	report = s.sync(params)
	if result := s.result(report); report.Counts["wouldChange"] != 900 || len(result.Changes) != 20 || result.Changes[0].Line != 1 {
		t.Errorf("counts %v, changes %+v", report.Counts, result.Changes)
	}
}

func TestAttemptWithoutTimeStillGetsOn(t *testing.T) {
	for _, dryRun := range []bool{false, true} {
		text := strings.Join(each(3, `{"id":"%s","customData":{"a":1}}`), "\n")
		var s *stage
		late := func(*http.Request) { s.clock.set(time.Hour - 10*time.Second) } // reading the source takes all the time
		s = newStage(t, withBucket(t, "/shop/rows.ndjson", &text, late), oneByOne)
		s.users(3, nil)
		attempts := 0
		for report := (jobs.Report{}); report.Outcome != jobs.OutcomeDone; attempts++ {
			s.clock.set(0)
			ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(time.Hour))
			var err error
			report, err = s.invoke(ctx, object{"source": "s3://shop/rows.ndjson", "dryRun": dryRun})
			cancel()
			if err != nil && !errors.Is(err, jobs.ErrUnfinished) || attempts > 3 {
				t.Fatalf("attempt %d: outcome %s, %v", attempts, report.Outcome, err)
			}
		}
		// A row an attempt, or a batch where nothing is written.
		if want := map[bool]int{false: 3, true: 1}[dryRun]; attempts != want {
			t.Errorf("dry run %v: %d attempts", dryRun, attempts)
		}
	}
}

func TestLargeRowsMakeSmallerBatches(t *testing.T) {
	s := newStage(t)
	s.users(20, nil)
	lines := each(20, `{"id":"%s","customData":{"a":"`+strings.Repeat("x", 500_000)+`"}}`)
	checkCounts(t, s.sync(object{"source": s.file("rows.ndjson", strings.Join(lines, "\n"))}), counts(20, 20, 0, 0, 0, 0))
	if n := s.tenant.Requests(search); n != 3 {
		t.Errorf("%d batches for 10 MB of rows", n)
	}
}
