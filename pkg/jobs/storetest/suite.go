// Package storetest checks implementations of jobs.Store. A package with one calls Run in a test:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t testing.TB, now func() time.Time) jobs.Store {
//			return mystore.New(now)
//		})
//	}
//
// The store must take the time from now: leases end when the suite's clock says so.
package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// Open makes an empty store that takes the time from now, and sees to its end by t.Cleanup.
type Open func(t testing.TB, now func() time.Time) jobs.Store

// Run checks the store that open makes against what jobs.Store promises.
func Run(t *testing.T, open Open) {
	tests := []struct {
		name string
		test func(t *testing.T, s *suite)
	}{
		{"a new slot begins a run", newSlot},
		{"a held slot refuses others", held},
		{"a done slot refuses with its report", done},
		{"a done slot runs anew on Rerun", rerun},
		{"a finished run of the same owner is not run anew", rerunOwn},
		{"an unfinished run goes on from its checkpoint", unfinished},
		{"a failed run goes on from its checkpoint", failed},
		{"a run by hand that stopped a day ago begins anew", stale},
		{"a lease that ended is taken over", expired},
		{"the same owner takes its lease over", sameOwner},
		{"a lost lease writes nothing", fenced},
		{"a lease that ended writes nothing", endedLease},
		{"an ended attempt writes nothing", endedAttempt},
		{"an attempt ends in a state that ends it", endStates},
		{"an incomplete claim is refused", incomplete},
		{"an unknown slot is not found", notFound},
		{"runs are listed newest first", runs},
		{"runs of one slot are all listed", runsOfOneSlot},
		{"what is stored is the store's own", owned},
		{"a running slot keeps others of its group out", overlapSkip},
		{"one slot of a group waits behind the running one", overlapQueue},
		{"slots that may overlap do", overlapAllow},
		{"a group is free when its slot is over", groupFree},
		{"an unfinished slot counts as running for an hour", groupUnfinished},
		{"groups and ungrouped slots are nobody else's", groupsApart},
		{"a slot put to wait behind another keeps its checkpoint", waitingAgain},
		{"the waiting slot is given out once", nextOnce},
		{"the waiting slot is not given out while another runs", nextBusy},
		{"a slot given out and not begun is given out again", nextAgain},
		{"one of many gets the waiting slot", nextRace},
		{"one of many claims in a group wins", groupRace},
		{"a run is found by its id", findRun},
		{"a running run is cancelled at its next checkpoint", cancelRunning},
		{"a cancelled run that fails is cancelled", cancelFailing},
		{"a cancelled run that gets done is done", cancelDone},
		{"what is not running is cancelled at once", cancelAtOnce},
		{"what is done cannot be cancelled", cancelOver},
		{"a cancelled slot runs anew on Rerun alone", cancelRerun},
		{"a paused job's claims are refused", pause},
		{"a budget is shared out evenly", shares},
		{"a share that ended or was given back is free", sharesFree},
		{"many sharers never have more than the whole", sharesRace},
		{"one of many claims wins", race},
		{"many attempts in turn each get a fence of their own", fences},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &suite{t: t, now: time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)}
			s.store = open(t, s.clock)
			tt.test(t, s)
		})
	}
}

// suite is one test's store and clock.
type suite struct {
	t     *testing.T
	store jobs.Store

	mu  sync.Mutex
	now time.Time
}

func (s *suite) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *suite) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// claim is a claim of slot for a minute. Run ids are the owner's with its slot.
func (s *suite) claim(slot, owner string) jobs.Claim {
	return jobs.Claim{
		Slot: slot, Job: "job", RunID: "run-of-" + owner, Owner: owner,
		Trigger: json.RawMessage(`{"by":"` + owner + `"}`), Until: s.clock().Add(time.Minute),
	}
}

func (s *suite) mustClaim(c jobs.Claim) jobs.Record {
	s.t.Helper()
	r, err := s.store.Claim(s.t.Context(), c)
	if err != nil {
		s.t.Fatalf("Claim by %s: %v", c.Owner, err)
	}
	return r
}

func (s *suite) mustCheckpoint(r jobs.Record, checkpoint string) {
	s.t.Helper()
	if err := s.store.Checkpoint(s.t.Context(), r, json.RawMessage(checkpoint)); err != nil {
		s.t.Fatalf("Checkpoint: %v", err)
	}
}

func (s *suite) mustFinish(r jobs.Record, state jobs.State, report string) {
	s.t.Helper()
	if err := s.store.Finish(s.t.Context(), r, state, json.RawMessage(report)); err != nil {
		s.t.Fatalf("Finish: %v", err)
	}
}

func (s *suite) mustGet(slot string) jobs.Record {
	s.t.Helper()
	r, err := s.store.Get(s.t.Context(), slot)
	if err != nil {
		s.t.Fatalf("Get: %v", err)
	}
	return r
}

// expect compares what matters of a record.
func (s *suite) expect(r jobs.Record, runID string, state jobs.State, attempt int, checkpoint, report string) {
	s.t.Helper()
	type view struct {
		runID, checkpoint, report string
		state                     jobs.State
		attempt                   int
	}
	got := view{r.RunID, string(r.Checkpoint), string(r.Report), r.State, r.Attempt}
	want := view{runID, checkpoint, report, state, attempt}
	if got != want {
		s.t.Errorf("record is %+v, want %+v", got, want)
	}
}

func (s *suite) refused(err, want error) {
	s.t.Helper()
	if !errors.Is(err, want) {
		s.t.Fatalf("error is %v, want one that matches %q", err, want)
	}
}

func race(t *testing.T, s *suite) {
	const owners, slots = 8, 1000
	for i := range slots {
		slot := fmt.Sprintf("stack/job/race/%d", i)
		errs := make([]error, owners)
		var start, ended sync.WaitGroup
		start.Add(1)
		for o := range owners {
			ended.Go(func() {
				start.Wait()
				_, errs[o] = s.store.Claim(t.Context(), s.claim(slot, fmt.Sprintf("owner-%d", o)))
			})
		}
		start.Done()
		ended.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
				continue
			}
			s.refused(err, jobs.ErrHeld)
		}
		if won != 1 {
			t.Fatalf("slot %d was won by %d of %d claims", i, won, owners)
		}
	}
}

func fences(t *testing.T, s *suite) {
	const owners = 8
	var mu sync.Mutex
	seen := map[int64]bool{}
	var all sync.WaitGroup
	for o := range owners {
		all.Go(func() {
			owner := fmt.Sprintf("owner-%d", o)
			for range 20 {
				r, err := s.store.Claim(t.Context(), s.claim("stack/job/fences", owner))
				if err != nil {
					continue // another has it
				}
				mu.Lock()
				if seen[r.Fence] {
					t.Errorf("fence %d was given twice", r.Fence)
				}
				seen[r.Fence] = true
				mu.Unlock()
				if err := s.store.Finish(t.Context(), r, jobs.Unfinished, json.RawMessage(`{}`)); err != nil {
					t.Errorf("Finish by the holder: %v", err)
				}
			}
		})
	}
	all.Wait()
	if len(seen) == 0 {
		t.Error("nobody got the slot")
	}
}
