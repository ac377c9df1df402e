package storetest

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

const slot = "stack/job/slot"

func newSlot(t *testing.T, s *suite) {
	c := s.claim(slot, "a")
	r := s.mustClaim(c)
	s.expect(r, "run-of-a", jobs.Running, 1, "", "")
	kept := s.mustGet(slot)
	s.expect(kept, "run-of-a", jobs.Running, 1, "", "")
	if kept.Slot != slot || kept.Job != "job" || kept.Owner != "a" || string(kept.Trigger) != string(c.Trigger) {
		t.Errorf("record is %+v, want what was claimed", kept)
	}
	if !kept.Until.Equal(c.Until) || !kept.Started.Equal(s.clock()) || !kept.Updated.Equal(s.clock()) {
		t.Errorf("times are until %v, started %v, updated %v", kept.Until, kept.Started, kept.Updated)
	}
	if kept.Fence != r.Fence {
		t.Errorf("fence is %d, the claim's was %d", kept.Fence, r.Fence)
	}
}

func held(t *testing.T, s *suite) {
	s.mustClaim(s.claim(slot, "a"))
	s.pass(time.Minute - time.Second)
	r, err := s.store.Claim(t.Context(), s.claim(slot, "b"))
	s.refused(err, jobs.ErrHeld)
	s.expect(r, "run-of-a", jobs.Running, 1, "", "")
	c := s.claim(slot, "b")
	c.Rerun = true
	_, err = s.store.Claim(t.Context(), c)
	s.refused(err, jobs.ErrHeld)
}

func done(t *testing.T, s *suite) {
	s.mustFinish(s.mustClaim(s.claim(slot, "a")), jobs.Done, `{"n":1}`)
	r, err := s.store.Claim(t.Context(), s.claim(slot, "b"))
	s.refused(err, jobs.ErrDone)
	s.expect(r, "run-of-a", jobs.Done, 1, "", `{"n":1}`)
	s.pass(24 * time.Hour)
	_, err = s.store.Claim(t.Context(), s.claim(slot, "a"))
	s.refused(err, jobs.ErrDone)
}

func rerun(t *testing.T, s *suite) {
	first := s.mustClaim(s.claim(slot, "a"))
	s.mustCheckpoint(first, `{"at":1}`)
	s.mustFinish(first, jobs.Done, `{"n":1}`)
	s.pass(time.Second)
	c := s.claim(slot, "b")
	c.Rerun = true
	second := s.mustClaim(c)
	s.expect(second, "run-of-b", jobs.Running, 1, "", "")
	if second.Fence <= first.Fence {
		t.Errorf("fence is %d after %d", second.Fence, first.Fence)
	}
	if !second.Started.Equal(s.clock()) || string(second.Trigger) != string(c.Trigger) {
		t.Errorf("started %v by %s, want now by its own trigger", second.Started, second.Trigger)
	}
	s.refused(s.store.Checkpoint(t.Context(), first, json.RawMessage(`{}`)), jobs.ErrLeaseLost)
}

func rerunOwn(t *testing.T, s *suite) {
	s.mustFinish(s.mustClaim(s.claim(slot, "a")), jobs.Done, `{"n":1}`)
	c := s.claim(slot, "a")
	c.Rerun = true
	r, err := s.store.Claim(t.Context(), c)
	s.refused(err, jobs.ErrDone)
	s.expect(r, "run-of-a", jobs.Done, 1, "", `{"n":1}`)
}

func unfinished(t *testing.T, s *suite) { goesOn(t, s, jobs.Unfinished) }
func failed(t *testing.T, s *suite)     { goesOn(t, s, jobs.Failed) }

func goesOn(t *testing.T, s *suite, state jobs.State) {
	c := s.claim(slot, "a")
	first := s.mustClaim(c)
	s.mustCheckpoint(first, `{"at":1}`)
	s.mustCheckpoint(first, `{"at":2}`)
	s.mustFinish(first, state, `{"n":1}`)
	s.expect(s.mustGet(slot), "run-of-a", state, 1, `{"at":2}`, `{"n":1}`)
	began := s.clock()
	s.pass(time.Second)
	next := s.claim(slot, "b")
	next.Rerun = true // makes no difference: the run is not done, and not of another day
	second := s.mustClaim(next)
	s.expect(second, "run-of-a", jobs.Running, 2, `{"at":2}`, `{"n":1}`)
	if !second.Started.Equal(began) || string(second.Trigger) != string(c.Trigger) || second.Owner != "b" || second.Fence <= first.Fence {
		t.Errorf("record is %+v, want the first attempt's start and trigger, a new owner and fence", second)
	}
	s.mustFinish(second, jobs.Done, `{"n":2}`)
	s.expect(s.mustGet(slot), "run-of-a", jobs.Done, 2, `{"at":2}`, `{"n":2}`)
}

func stale(t *testing.T, s *suite) {
	const long = 24*time.Hour + time.Second
	byHand := func(owner string) jobs.Claim {
		c := s.claim(slot, owner)
		c.Rerun = true
		return c
	}
	first := s.mustClaim(byHand("a"))
	s.mustCheckpoint(first, `{"at":1}`)
	s.mustFinish(first, jobs.Failed, `{"n":1}`)
	s.pass(24 * time.Hour)
	second := s.mustClaim(byHand("b"))
	s.expect(second, "run-of-a", jobs.Running, 2, `{"at":1}`, `{"n":1}`)
	s.mustFinish(second, jobs.Unfinished, `{"n":2}`)
	s.pass(long)
	third := s.mustClaim(s.claim(slot, "c")) // a schedule's slot, or a continuation: it goes on however late
	s.expect(third, "run-of-a", jobs.Running, 3, `{"at":1}`, `{"n":2}`)
	s.mustFinish(third, jobs.Unfinished, `{"n":3}`)
	s.pass(long)
	fourth := s.mustClaim(byHand("c")) // the same request again
	s.expect(fourth, "run-of-a", jobs.Running, 4, `{"at":1}`, `{"n":3}`)
	for i, state := range []jobs.State{jobs.Failed, jobs.Unfinished, jobs.Running} {
		if state != jobs.Running { // else it died under its lease
			s.mustFinish(fourth, state, `{"n":4}`)
		}
		s.pass(long)
		owner := fmt.Sprint("d", i)
		anew := s.mustClaim(byHand(owner))
		s.expect(anew, "run-of-"+owner, jobs.Running, 1, "", "")
		if anew.Fence <= fourth.Fence || !anew.Started.Equal(s.clock()) {
			t.Errorf("record is %+v, want a higher fence than %d and a start now", anew, fourth.Fence)
		}
		fourth = anew
	}
}

func expired(t *testing.T, s *suite) {
	first := s.mustClaim(s.claim(slot, "a"))
	s.mustCheckpoint(first, `{"at":1}`)
	s.pass(time.Minute)
	second := s.mustClaim(s.claim(slot, "b"))
	s.expect(second, "run-of-a", jobs.Running, 2, `{"at":1}`, "")
	_, err := s.store.Claim(t.Context(), s.claim(slot, "a"))
	s.refused(err, jobs.ErrHeld)
}

func sameOwner(t *testing.T, s *suite) {
	first := s.mustClaim(s.claim(slot, "a"))
	s.mustCheckpoint(first, `{"at":1}`)
	again := s.claim(slot, "a")
	again.RunID = "another"
	second := s.mustClaim(again)
	s.expect(second, "run-of-a", jobs.Running, 2, `{"at":1}`, "")
	s.refused(s.store.Finish(t.Context(), first, jobs.Failed, nil), jobs.ErrLeaseLost)
}

func fenced(t *testing.T, s *suite) {
	first := s.mustClaim(s.claim(slot, "a"))
	s.pass(time.Minute)
	second := s.mustClaim(s.claim(slot, "b"))
	s.mustCheckpoint(second, `{"at":2}`)
	s.refused(s.store.Checkpoint(t.Context(), first, json.RawMessage(`{"at":1}`)), jobs.ErrLeaseLost)
	s.refused(s.store.Finish(t.Context(), first, jobs.Done, json.RawMessage(`{"n":1}`)), jobs.ErrLeaseLost)
	s.expect(s.mustGet(slot), "run-of-a", jobs.Running, 2, `{"at":2}`, "")
	s.mustFinish(second, jobs.Done, `{"n":2}`)
	s.expect(s.mustGet(slot), "run-of-a", jobs.Done, 2, `{"at":2}`, `{"n":2}`)
}

func endedLease(t *testing.T, s *suite) {
	r := s.mustClaim(s.claim(slot, "a"))
	s.pass(time.Minute)
	s.refused(s.store.Checkpoint(t.Context(), r, json.RawMessage(`{"at":1}`)), jobs.ErrLeaseLost)
	s.refused(s.store.Finish(t.Context(), r, jobs.Done, json.RawMessage(`{}`)), jobs.ErrLeaseLost)
	s.expect(s.mustGet(slot), "run-of-a", jobs.Running, 1, "", "")
}

func endedAttempt(t *testing.T, s *suite) {
	r := s.mustClaim(s.claim(slot, "a"))
	s.mustFinish(r, jobs.Failed, `{"n":1}`)
	s.refused(s.store.Checkpoint(t.Context(), r, json.RawMessage(`{"at":1}`)), jobs.ErrLeaseLost)
	s.refused(s.store.Finish(t.Context(), r, jobs.Done, json.RawMessage(`{"n":2}`)), jobs.ErrLeaseLost)
	s.expect(s.mustGet(slot), "run-of-a", jobs.Failed, 1, "", `{"n":1}`)
	s.refused(s.store.Checkpoint(t.Context(), jobs.Record{Slot: "stack/job/never", RunID: "x", Fence: 1}, nil), jobs.ErrLeaseLost)
}

func endStates(t *testing.T, s *suite) {
	r := s.mustClaim(s.claim(slot, "a"))
	for _, state := range []jobs.State{jobs.Running, "", "other"} {
		if err := s.store.Finish(t.Context(), r, state, json.RawMessage(`{}`)); err == nil {
			t.Errorf("Finish in state %q passed", state)
		}
	}
	s.mustFinish(r, jobs.Done, `{}`)
}

func incomplete(t *testing.T, s *suite) {
	whole := s.claim(slot, "a")
	for name, spoil := range map[string]func(*jobs.Claim){
		"slot":   func(c *jobs.Claim) { c.Slot = "" },
		"job":    func(c *jobs.Claim) { c.Job = "" },
		"run id": func(c *jobs.Claim) { c.RunID = "" },
		"owner":  func(c *jobs.Claim) { c.Owner = "" },
		"until":  func(c *jobs.Claim) { c.Until = s.clock() },
	} {
		c := whole
		spoil(&c)
		if _, err := s.store.Claim(t.Context(), c); err == nil {
			t.Errorf("a claim with a bad %s passed", name)
		}
	}
	notFound(t, s)
}

func notFound(t *testing.T, s *suite) {
	_, err := s.store.Get(t.Context(), slot)
	s.refused(err, jobs.ErrNotFound)
	list, err := s.store.Runs(t.Context(), "job", 10)
	if err != nil || len(list) > 0 {
		t.Errorf("Runs of a job without any: %v, %v", list, err)
	}
}

func runs(t *testing.T, s *suite) {
	for i := range 5 {
		s.mustFinish(s.mustClaim(s.claim(fmt.Sprintf("stack/job/%d", i), fmt.Sprint(i))), jobs.Done, fmt.Sprintf(`{"n":%d}`, i))
		s.pass(time.Second)
	}
	other := s.claim("stack/other/1", "x")
	other.Job = "other"
	s.mustClaim(other)
	for limit, want := range map[int]string{0: "", 2: "43", 5: "43210", 100: "43210"} {
		list, err := s.store.Runs(t.Context(), "job", limit)
		if err != nil {
			t.Fatalf("Runs: %v", err)
		}
		got := ""
		for _, r := range list {
			got += r.Owner
			s.expect(r, "run-of-"+r.Owner, jobs.Done, 1, "", `{"n":`+r.Owner+`}`)
		}
		if got != want {
			t.Errorf("at most %d runs are %q, want %q", limit, got, want)
		}
	}
}

func runsOfOneSlot(t *testing.T, s *suite) {
	for i := range 3 {
		c := s.claim(slot, fmt.Sprint(i))
		c.Rerun = true
		s.mustFinish(s.mustClaim(c), jobs.Done, fmt.Sprintf(`{"n":%d}`, i))
		s.pass(time.Second)
	}
	list, err := s.store.Runs(t.Context(), "job", 10)
	if err != nil || len(list) != 3 {
		t.Fatalf("Runs: %d of 3, %v", len(list), err)
	}
	for i, r := range list {
		n := 2 - i
		s.expect(r, fmt.Sprintf("run-of-%d", n), jobs.Done, 1, "", fmt.Sprintf(`{"n":%d}`, n))
	}
}

func owned(t *testing.T, s *suite) {
	c := s.claim(slot, "a")
	r := s.mustClaim(c)
	checkpoint := json.RawMessage(`{"at":1}`)
	if err := s.store.Checkpoint(t.Context(), r, checkpoint); err != nil {
		t.Fatalf("Checkpoint: %v", err)
	}
	want := string(c.Trigger)
	clear(checkpoint)
	clear(c.Trigger)
	got := s.mustGet(slot)
	if string(got.Checkpoint) != `{"at":1}` || string(got.Trigger) != want {
		t.Fatalf("the store has the caller's bytes: checkpoint %q, trigger %q", got.Checkpoint, got.Trigger)
	}
	clear(got.Checkpoint)
	s.expect(s.mustGet(slot), "run-of-a", jobs.Running, 1, `{"at":1}`, "")
}
