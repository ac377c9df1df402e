package jobs_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
)

func TestSharesNeverAddUpToMoreThanTheWholeAndBecomeEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
		const lease = time.Minute
		var held []jobs.Share
		out := func(at time.Time) (sum, living int) {
			for _, s := range held {
				if at.Before(s.Until) {
					sum += s.Part
					living++
				}
			}
			return sum, living
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "seconds")) * time.Second)
			owner := fmt.Sprint(rapid.IntRange(1, 12).Draw(t, "owner"))
			until := now.Add(lease)
			if rapid.IntRange(0, 5).Draw(t, "gives back") == 0 {
				until = now
			}
			var part int
			held, part = jobs.ShareOut(held, owner, until, now)
			if sum, _ := out(now); sum > jobs.WholeShare || part < 0 {
				t.Fatalf("%d thousandths are out: %v", sum, held)
			}
		}
		// Each renews twice, in any order: by the second time all others have given way.
		_, living := out(now)
		for range 2 {
			for _, s := range held {
				if now.Before(s.Until) {
					held, _ = jobs.ShareOut(held, s.Owner, now.Add(lease), now)
				}
			}
		}
		for _, s := range held {
			if s.Part != jobs.WholeShare/living {
				t.Fatalf("of %d holders one has %d thousandths", living, s.Part)
			}
		}
	})
}
