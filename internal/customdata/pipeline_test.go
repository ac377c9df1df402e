package customdata_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/m2mjobs/m2mjobs/internal/customdata"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

func TestSlowRowHoldsNobodyUpAndWhatIsUnderWayHasABound(t *testing.T) {
	s := newStage(t)
	const users, meanwhile, window = 4000, 1000, 2400
	s.users(users, nil)
	var mu sync.Mutex
	writes, searches, all := 0, 0, make(chan struct{})
	s.before = func(r request) {
		mu.Lock()
		if r.route == search {
			searches++
		}
		if r.route == merge {
			if writes++; writes == meanwhile {
				close(all)
			}
		}
		first := strings.HasSuffix(r.URL.Path, "u000/custom-data")
		mu.Unlock()
		if !first {
			return
		}
		// The first row's write does not end before many others were written.
		select {
		case <-all:
		case <-r.Context().Done():
			t.Error("the other rows were not written meanwhile")
		}
		mu.Lock()
		defer mu.Unlock()
		if writes > window || searches > window/100+1 {
			t.Errorf("%d writes and %d lookups while the first row was not done", writes, searches)
		}
	}
	checkCounts(t, s.sync(rows(each(users, `{"id":"%s","customData":{"a":1}}`)...)), counts(users, users, 0, 0, 0, 0))
}

func TestInterruptedRunFinishesItsWritesAndSavesThem(t *testing.T) {
	s := newStage(t)
	s.users(200, nil)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	const first = 34
	under := make(chan struct{})
	var mu sync.Mutex
	writes, missing := 0, map[string]bool{} // of the first rows: what comes after one that was not begun is not saved
	for i := range first {
		missing["/api/users/"+id(i)+"/custom-data"] = true
	}
	s.before = func(r request) {
		if r.route != merge {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		delete(missing, r.URL.Path)
		if writes++; writes >= 50 && len(missing) == 0 && ctx.Err() == nil {
			interrupt()
			close(under)
		}
	}
	params := rows(each(200, `{"id":"%s","customData":{"a":1}}`)...)
	report, err := s.invoke(ctx, params)
	if !errors.Is(err, context.Canceled) || report.Outcome != jobs.OutcomeFailed {
		t.Fatalf("outcome %s, error %v", report.Outcome, err)
	}
	<-under
	written := s.tenant.Requests(merge)
	if report.Rejected != nil || int(report.Counts["changed"]) < first || int(report.Counts["changed"]) > written {
		t.Errorf("counts %v after %d writes", report.Counts, written)
	}
	s.before = nil
	again := s.sync(params)
	if again.Attempt != 2 || again.Counts["changed"]+again.Counts["unchanged"] != 200 || s.tenant.Requests(merge) != 200 {
		t.Errorf("attempt %d, counts %v, %d writes: some were cut off and done again", again.Attempt, again.Counts, s.tenant.Requests(merge))
	}
}

func TestInterruptedRunRejectsNoRowWhoseWriteFailedThen(t *testing.T) {
	s := newStage(t)
	s.users(200, nil)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	s.onWrites(func(n int) {
		if n == 50 {
			s.tenant.Inject(logtotest.Fault{Route: merge, Times: 5, Status: http.StatusServiceUnavailable})
			interrupt()
		}
	})
	params := rows(each(200, `{"id":"%s","customData":{"a":1}}`)...)
	report, err := s.invoke(ctx, params)
	if !errors.Is(err, context.Canceled) || report.Rejected != nil {
		t.Fatalf("error %v, rejected %+v", err, report.Rejected)
	}
	s.before = nil
	s.tenant.ClearFaults()
	again := s.sync(params)
	if c := again.Counts; c["changed"]+c["unchanged"] != 200 || c["rejected"] != 0 {
		t.Errorf("counts %v", c)
	}
}

func TestUserWhoIsWrittenWhileBeingLookedUpAgainIsNotTakenForWhatWasRead(t *testing.T) {
	var once sync.Once
	held, release := make(chan struct{}), make(chan struct{})
	s := newStage(t, oneByOne, func(s *stage) {
		client := s.tenant.ManagementClient().Transport
		// The answer of the second lookup is older than the first write, and is held until the writer has gone on to the next user.
		s.useClient(roundTripper(func(r *http.Request) (*http.Response, error) {
			resp, err := client.RoundTrip(r)
			if r.Method == http.MethodGet && strings.Contains(r.URL.RawQuery, "u199") {
				close(held)
				<-release
			}
			return resp, err
		}))
	})
	s.users(200, object{"n": 0})
	s.before = func(r request) {
		switch {
		case r.route == merge && strings.HasSuffix(r.URL.Path, "u000/custom-data"):
			<-held
		case r.route == merge && strings.HasSuffix(r.URL.Path, "u001/custom-data"):
			once.Do(func() { close(release) })
		}
	}
	lines := each(200, `{"id":"%s","customData":{"n":1}}`)
	lines = append(lines, `{"id":"u000","customData":{"n":0}}`) // as the lookup had read it
	lines[120], lines[200] = lines[200], lines[120]
	s.sync(rows(lines...))
	checkData(t, s, "u000", object{"n": number(0)})
}

func TestNothingIsWrittenAfterAPanicHasEndedTheRun(t *testing.T) {
	var told int
	var ended atomic.Bool
	s := newStage(t, oneByOne, func(s *stage) {
		s.config.Progress = func(customdata.Progress) {
			if told++; told == 2 {
				panic("of who is told how far it is")
			}
		}
	})
	s.users(300, nil)
	s.onWrites(func(int) {
		if ended.Load() {
			t.Error("a write after the run's end")
		}
	})
	_, err := s.invoke(t.Context(), rows(each(300, `{"id":"%s","customData":{"a":1}}`)...))
	ended.Store(true)
	if err == nil || !strings.Contains(err.Error(), "panic") {
		t.Errorf("error %v", err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
