package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

// share asks for a share for a minute.
func (s *suite) share(budget, owner string, want int) {
	s.t.Helper()
	if part, err := s.store.Share(s.t.Context(), budget, owner, s.clock().Add(time.Minute)); err != nil || part != want {
		s.t.Errorf("%s has %d of the budget, %v; want %d", owner, part, err, want)
	}
}

func shares(_ *testing.T, s *suite) {
	s.share("tenant", "a", jobs.WholeShare)
	s.share("other tenant", "b", jobs.WholeShare)
	s.pass(time.Second)
	s.share("tenant", "b", 0) // nothing is free yet
	s.share("tenant", "a", jobs.WholeShare/2)
	s.share("tenant", "b", jobs.WholeShare/2)
	s.share("tenant", "c", 0)
	s.share("tenant", "a", jobs.WholeShare/3)
	s.share("tenant", "c", jobs.WholeShare/2-jobs.WholeShare/3)
	s.share("tenant", "b", jobs.WholeShare/3)
	s.share("tenant", "c", jobs.WholeShare/3)
}

func sharesFree(t *testing.T, s *suite) {
	s.share("tenant", "a", jobs.WholeShare)
	s.share("tenant", "b", 0)
	if part, err := s.store.Share(t.Context(), "tenant", "a", time.Time{}); part != 0 || err != nil {
		t.Errorf("giving back left %d, %v", part, err)
	}
	s.share("tenant", "b", jobs.WholeShare)
	s.pass(time.Minute - time.Second)
	s.share("tenant", "c", 0)
	s.pass(time.Second) // b died
	s.share("tenant", "c", jobs.WholeShare)
	if part, err := s.store.Share(t.Context(), "tenant", "nobody", time.Time{}); part != 0 || err != nil {
		t.Errorf("giving back what was not had left %d, %v", part, err)
	}
}

func sharesRace(t *testing.T, s *suite) {
	const owners = 4
	var mu sync.Mutex
	has, most := map[string]int{}, 0
	var all sync.WaitGroup
	for o := range owners {
		all.Go(func() {
			owner := fmt.Sprintf("owner-%d", o)
			for range 12 {
				// What is given up counts as given up before the store says so, and what is got once it has.
				mu.Lock()
				had := has[owner]
				has[owner] = min(had, jobs.WholeShare/owners)
				mu.Unlock()
				part, err := s.store.Share(t.Context(), "tenant", owner, s.clock().Add(time.Minute))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				has[owner] = part
				sum := 0
				for _, part := range has {
					sum += part
				}
				most = max(most, sum)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if most > jobs.WholeShare {
		t.Errorf("%d thousandths were out at once", most)
	}
	for range 2 {
		for owner := range has {
			if _, err := s.store.Share(t.Context(), "tenant", owner, s.clock().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for owner := range has {
		s.share("tenant", owner, jobs.WholeShare/owners)
	}
}
