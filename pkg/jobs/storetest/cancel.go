package storetest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

func (s *suite) mustCancel(runID string) jobs.Record {
	s.t.Helper()
	r, err := s.store.Cancel(s.t.Context(), runID)
	if err != nil {
		s.t.Fatalf("Cancel: %v", err)
	}
	return r
}

func findRun(t *testing.T, s *suite) {
	_, err := s.store.Find(t.Context(), "run-of-a")
	s.refused(err, jobs.ErrNotFound)
	_, err = s.store.Cancel(t.Context(), "run-of-a")
	s.refused(err, jobs.ErrNotFound)
	first := s.mustClaim(s.claim(slot, "a"))
	s.mustCheckpoint(first, `{"at":1}`)
	s.mustFinish(first, jobs.Done, `{"n":1}`)
	s.pass(time.Second)
	c := s.claim(slot, "b")
	c.Rerun = true
	s.mustClaim(c)
	for runID, want := range map[string]jobs.State{"run-of-a": jobs.Done, "run-of-b": jobs.Running} {
		r, err := s.store.Find(t.Context(), runID)
		if err != nil || r.RunID != runID || r.State != want || r.Slot != slot {
			t.Errorf("Find(%s) is %+v, %v", runID, r, err)
		}
	}
	older, err := s.store.Find(t.Context(), "run-of-a")
	if err != nil {
		t.Fatal(err)
	}
	s.expect(older, "run-of-a", jobs.Done, 1, `{"at":1}`, `{"n":1}`)
}

func cancelRunning(t *testing.T, s *suite) {
	r := s.mustClaim(s.of("1", jobs.OverlapSkip))
	s.mustCheckpoint(r, `{"at":1}`)
	for range 2 { // cancelling twice is cancelling
		kept := s.mustCancel("run-of-1")
		s.expect(kept, "run-of-1", jobs.Running, 1, `{"at":1}`, "")
		if !kept.Cancelling {
			t.Error("the run is not marked")
		}
	}
	s.overlaps(s.of("2", jobs.OverlapSkip), "1") // it may be writing still
	s.refused(s.store.Checkpoint(t.Context(), r, json.RawMessage(`{"at":2}`)), jobs.ErrCancelled)
	s.refused(s.store.Finish(t.Context(), r, jobs.Unfinished, json.RawMessage(`{}`)), jobs.ErrCancelled)
	_, err := s.store.Claim(t.Context(), s.of("1", jobs.OverlapSkip)) // Lambda's own retry
	s.refused(err, jobs.ErrCancelled)
	s.mustFinish(r, jobs.Cancelled, `{"n":1}`)
	kept := s.mustGet(r.Slot)
	s.expect(kept, "run-of-1", jobs.Cancelled, 1, `{"at":1}`, `{"n":1}`)
	if kept.Cancelling {
		t.Error("a cancelled run is still marked")
	}
	s.mustClaim(s.of("2", jobs.OverlapSkip))
	s.refused(s.store.Checkpoint(t.Context(), r, json.RawMessage(`{"at":2}`)), jobs.ErrLeaseLost)
}

func cancelFailing(_ *testing.T, s *suite) {
	r := s.mustClaim(s.claim(slot, "a"))
	s.mustCancel("run-of-a")
	s.mustFinish(r, jobs.Failed, `{"n":1}`)
	s.expect(s.mustGet(slot), "run-of-a", jobs.Cancelled, 1, "", `{"n":1}`)
}

func cancelDone(t *testing.T, s *suite) {
	r := s.mustClaim(s.claim(slot, "a"))
	s.mustCancel("run-of-a")
	s.mustFinish(r, jobs.Done, `{"n":1}`)
	s.expect(s.mustGet(slot), "run-of-a", jobs.Done, 1, "", `{"n":1}`)
	_, err := s.store.Claim(t.Context(), s.claim(slot, "b"))
	s.refused(err, jobs.ErrDone)
}

func cancelAtOnce(t *testing.T, s *suite) {
	dead := s.mustClaim(s.claim("stack/job/dead", "dead"))
	s.pass(time.Minute)
	s.mustFinish(s.mustClaim(s.claim("stack/job/failed", "failed")), jobs.Failed, `{}`)
	s.mustFinish(s.mustClaim(s.claim("stack/job/unfinished", "unfinished")), jobs.Unfinished, `{}`)
	running := s.mustClaim(s.of("1", jobs.OverlapQueue))
	s.wait(s.of("2", jobs.OverlapQueue))
	for _, owner := range []string{"dead", "failed", "unfinished", "2"} {
		if r := s.mustCancel("run-of-" + owner); r.State != jobs.Cancelled || r.Cancelling {
			t.Errorf("the cancelled run %s is %s", owner, r.State)
		}
		r, err := s.store.Find(t.Context(), "run-of-"+owner)
		if err != nil || r.State != jobs.Cancelled {
			t.Errorf("the cancelled run %s is kept as %s, %v", owner, r.State, err)
		}
		s.mustCancel("run-of-" + owner)
	}
	s.refused(s.store.Finish(t.Context(), dead, jobs.Done, nil), jobs.ErrLeaseLost)
	s.mustFinish(running, jobs.Done, `{}`)
	_, err := s.store.Next(t.Context(), group)
	s.refused(err, jobs.ErrNotFound)
}

func cancelOver(t *testing.T, s *suite) {
	s.mustFinish(s.mustClaim(s.claim(slot, "a")), jobs.Done, `{"n":1}`)
	r, err := s.store.Cancel(t.Context(), "run-of-a")
	s.refused(err, jobs.ErrDone)
	s.expect(r, "run-of-a", jobs.Done, 1, "", `{"n":1}`)
	c := s.claim(slot, "b")
	c.Rerun = true
	s.mustClaim(c)
	_, err = s.store.Cancel(t.Context(), "run-of-a")
	s.refused(err, jobs.ErrDone)
	s.expect(s.mustGet(slot), "run-of-b", jobs.Running, 1, "", "")
}

func cancelRerun(t *testing.T, s *suite) {
	first := s.mustClaim(s.claim(slot, "a"))
	s.mustCheckpoint(first, `{"at":1}`)
	s.mustFinish(first, jobs.Cancelled, `{"n":1}`)
	s.pass(time.Second)
	r, err := s.store.Claim(t.Context(), s.claim(slot, "b"))
	s.refused(err, jobs.ErrCancelled)
	s.expect(r, "run-of-a", jobs.Cancelled, 1, `{"at":1}`, `{"n":1}`)
	again := s.claim(slot, "a")
	again.Rerun = true
	_, err = s.store.Claim(t.Context(), again) // the same request, delivered twice
	s.refused(err, jobs.ErrCancelled)
	c := s.claim(slot, "b")
	c.Rerun = true
	s.expect(s.mustClaim(c), "run-of-b", jobs.Running, 1, "", "")
}
