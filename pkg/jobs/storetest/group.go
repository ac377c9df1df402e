package storetest

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

const group = "stack/job/nightly"

// of is a claim of a slot of the group. The slot's name is its last part.
func (s *suite) of(name string, overlap jobs.Overlap) jobs.Claim {
	c := s.claim(group+"/"+name, name)
	c.Group, c.Overlap = group, overlap
	return c
}

// wait makes a claim that must put its slot to wait.
func (s *suite) wait(c jobs.Claim) jobs.Record {
	s.t.Helper()
	r := s.mustClaim(c)
	if r.State != jobs.Waiting {
		s.t.Fatalf("slot %s is %s, want it to wait", c.Slot, r.State)
	}
	return r
}

// overlaps makes a claim that must be refused because of the slot by that name.
func (s *suite) overlaps(c jobs.Claim, name string) {
	s.t.Helper()
	r, err := s.store.Claim(s.t.Context(), c)
	s.refused(err, jobs.ErrOverlap)
	if r.Slot != group+"/"+name {
		s.t.Errorf("in the way is %q, want %s", r.Slot, name)
	}
}

func overlapSkip(t *testing.T, s *suite) {
	first := s.mustClaim(s.of("1", jobs.OverlapSkip))
	if first.Group != group {
		t.Errorf("group is %q", first.Group)
	}
	s.pass(time.Second)
	for _, policy := range []jobs.Overlap{jobs.OverlapSkip, ""} {
		s.overlaps(s.of("2", policy), "1")
	}
	_, err := s.store.Get(t.Context(), group+"/2")
	s.refused(err, jobs.ErrNotFound)
	_, err = s.store.Next(t.Context(), group)
	s.refused(err, jobs.ErrNotFound)
	// Its own slot is not in the way of the first.
	r := s.mustClaim(s.of("1", jobs.OverlapSkip))
	s.expect(r, "run-of-1", jobs.Running, 2, "", "")
}

func overlapQueue(t *testing.T, s *suite) {
	first := s.mustClaim(s.of("1", jobs.OverlapQueue))
	s.pass(time.Second)
	second := s.of("2", jobs.OverlapQueue)
	s.expect(s.wait(second), "run-of-2", jobs.Waiting, 0, "", "")
	kept := s.mustGet(second.Slot)
	s.expect(kept, "run-of-2", jobs.Waiting, 0, "", "")
	if string(kept.Trigger) != string(second.Trigger) || kept.Group != group {
		t.Errorf("record is %+v, want its trigger and group kept", kept)
	}
	s.overlaps(s.of("3", jobs.OverlapQueue), "1")
	again := second
	again.RunID, again.Owner = "another", "another"
	s.expect(s.wait(again), "run-of-2", jobs.Waiting, 0, "", "")
	list, err := s.store.Runs(t.Context(), "job", 10)
	if err != nil || len(list) != 2 || list[0].State != jobs.Waiting || list[1].State != jobs.Running {
		t.Errorf("runs are %+v, %v", list, err)
	}
	s.refused(s.store.Checkpoint(t.Context(), kept, nil), jobs.ErrLeaseLost)
	s.refused(s.store.Finish(t.Context(), kept, jobs.Done, nil), jobs.ErrLeaseLost)
	s.mustFinish(first, jobs.Done, `{}`)
	r := s.mustClaim(again)
	s.expect(r, "run-of-2", jobs.Running, 1, "", "")
	s.mustFinish(r, jobs.Done, `{}`)
}

func overlapAllow(_ *testing.T, s *suite) {
	s.mustClaim(s.of("1", jobs.OverlapSkip))
	s.expect(s.mustClaim(s.of("2", jobs.OverlapAllow)), "run-of-2", jobs.Running, 1, "", "")
}

func groupFree(_ *testing.T, s *suite) {
	for i, state := range []jobs.State{jobs.Done, jobs.Failed, jobs.Cancelled} {
		r := s.mustClaim(s.of(fmt.Sprint(i), jobs.OverlapSkip))
		s.mustFinish(r, state, `{}`)
		s.pass(time.Second)
	}
	s.mustClaim(s.of("dead", jobs.OverlapSkip))
	s.pass(time.Minute)
	s.mustClaim(s.of("next", jobs.OverlapSkip))
	// The dead one's lease has ended, and now it is the one to give way.
	s.overlaps(s.of("dead", jobs.OverlapSkip), "next")
}

func groupUnfinished(_ *testing.T, s *suite) {
	r := s.mustClaim(s.of("1", jobs.OverlapSkip))
	s.mustCheckpoint(r, `{"at":1}`)
	s.mustFinish(r, jobs.Unfinished, `{}`)
	s.pass(time.Hour - time.Second)
	s.overlaps(s.of("2", jobs.OverlapSkip), "1")
	s.pass(time.Second)
	s.mustClaim(s.of("2", jobs.OverlapSkip))
}

func groupsApart(_ *testing.T, s *suite) {
	s.mustClaim(s.of("1", jobs.OverlapSkip))
	other := s.of("2", jobs.OverlapSkip)
	other.Group = group + "-b"
	s.mustClaim(other)
	s.mustClaim(s.claim(slot, "x"))
}

func waitingAgain(t *testing.T, s *suite) {
	first := s.mustClaim(s.of("1", jobs.OverlapQueue))
	s.mustCheckpoint(first, `{"at":1}`)
	s.mustFinish(first, jobs.Failed, `{"n":1}`)
	second := s.mustClaim(s.of("2", jobs.OverlapQueue))
	s.pass(time.Second)
	s.expect(s.wait(s.of("1", jobs.OverlapQueue)), "run-of-1", jobs.Waiting, 1, `{"at":1}`, `{"n":1}`)
	s.mustFinish(second, jobs.Done, `{}`)
	next, err := s.store.Next(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	s.expect(next, "run-of-1", jobs.Waiting, 1, `{"at":1}`, `{"n":1}`)
	s.expect(s.mustClaim(s.of("1", jobs.OverlapQueue)), "run-of-1", jobs.Running, 2, `{"at":1}`, `{"n":1}`)
}

// queued leaves a group in which slot 2 waits and nothing runs.
func (s *suite) queued() {
	s.t.Helper()
	first := s.mustClaim(s.of("1", jobs.OverlapQueue))
	s.pass(time.Second)
	s.wait(s.of("2", jobs.OverlapQueue))
	s.mustFinish(first, jobs.Done, `{}`)
}

func nextOnce(t *testing.T, s *suite) {
	_, err := s.store.Next(t.Context(), group)
	s.refused(err, jobs.ErrNotFound)
	s.queued()
	next, err := s.store.Next(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	s.expect(next, "run-of-2", jobs.Waiting, 0, "", "")
	_, err = s.store.Next(t.Context(), group)
	s.refused(err, jobs.ErrNotFound)
	// It is in the way of others already, which may wait behind it.
	s.overlaps(s.of("3", jobs.OverlapSkip), "2")
	s.pass(time.Second)
	s.wait(s.of("3", jobs.OverlapQueue))
	r := s.mustClaim(s.of("2", jobs.OverlapSkip))
	s.expect(r, "run-of-2", jobs.Running, 1, "", "")
	s.mustFinish(r, jobs.Done, `{}`)
	if next, err = s.store.Next(t.Context(), group); err != nil || next.RunID != "run-of-3" {
		t.Errorf("next is %s, %v", next.RunID, err)
	}
}

func nextBusy(t *testing.T, s *suite) {
	s.queued()
	third := s.mustClaim(s.of("3", jobs.OverlapQueue)) // came in between
	_, err := s.store.Next(t.Context(), group)
	s.refused(err, jobs.ErrNotFound)
	s.mustFinish(third, jobs.Done, `{}`)
	if _, err = s.store.Next(t.Context(), group); err != nil {
		t.Error(err)
	}
}

func nextAgain(t *testing.T, s *suite) {
	s.queued()
	for range 2 {
		if _, err := s.store.Next(t.Context(), group); err != nil {
			t.Fatal(err)
		}
		s.pass(time.Minute)
	}
	s.mustClaim(s.of("2", jobs.OverlapSkip))
	s.pass(time.Hour)
	_, err := s.store.Next(t.Context(), group)
	s.refused(err, jobs.ErrNotFound)
}

func nextRace(t *testing.T, s *suite) {
	s.queued()
	var mu sync.Mutex
	given := 0
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := s.store.Next(t.Context(), group); err == nil {
				mu.Lock()
				defer mu.Unlock()
				given++
			}
		})
	}
	all.Wait()
	if given != 1 {
		t.Errorf("the waiting slot was given to %d", given)
	}
}

func groupRace(t *testing.T, s *suite) {
	const claims, rounds = 8, 20
	for round := range rounds {
		in := fmt.Sprintf("%s-%d", group, round)
		states := make([]jobs.State, claims)
		var all sync.WaitGroup
		for i := range claims {
			all.Go(func() {
				c := s.claim(fmt.Sprintf("%s/%d", in, i), fmt.Sprintf("%d-%d", round, i))
				c.Group, c.Overlap = in, jobs.OverlapQueue
				r, err := s.store.Claim(t.Context(), c)
				if err == nil {
					states[i] = r.State
				}
			})
		}
		all.Wait()
		count := map[jobs.State]int{}
		for _, state := range states {
			count[state]++
		}
		if count[jobs.Running] != 1 || count[jobs.Waiting] != 1 {
			t.Fatalf("of %d slots of a group %d run and %d wait", claims, count[jobs.Running], count[jobs.Waiting])
		}
	}
}

func pause(t *testing.T, s *suite) {
	paused := func(want bool) {
		t.Helper()
		if is, err := s.store.Paused(t.Context(), "job"); is != want || err != nil {
			t.Errorf("paused is %v, %v, want %v", is, err, want)
		}
	}
	paused(false)
	running := s.mustClaim(s.claim(slot, "a"))
	for range 2 { // pausing twice is pausing
		if err := s.store.Pause(t.Context(), "job", true); err != nil {
			t.Fatal(err)
		}
		paused(true)
	}
	for _, c := range []jobs.Claim{s.claim("stack/job/new", "b"), s.claim(slot, "a"), s.of("1", jobs.OverlapQueue)} {
		_, err := s.store.Claim(t.Context(), c)
		s.refused(err, jobs.ErrPaused)
	}
	_, err := s.store.Get(t.Context(), "stack/job/new")
	s.refused(err, jobs.ErrNotFound)
	other := s.claim("stack/other/1", "o")
	other.Job = "other"
	s.mustClaim(other)
	s.mustCheckpoint(running, `{"at":1}`)
	s.mustFinish(running, jobs.Failed, `{}`)
	for range 2 {
		if err := s.store.Pause(t.Context(), "job", false); err != nil {
			t.Fatal(err)
		}
		paused(false)
	}
	s.mustClaim(s.claim("stack/job/new", "b"))
	s.expect(s.mustClaim(s.claim(slot, "c")), "run-of-a", jobs.Running, 2, `{"at":1}`, `{}`)
	var none json.RawMessage
	s.refused(s.store.Finish(t.Context(), running, jobs.Done, none), jobs.ErrLeaseLost)
}
