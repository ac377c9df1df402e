//go:build simulate

package simulate_test

import (
	"fmt"
	"os"
	"testing"
)

// The sizes that are simulated, and those that are extrapolated from the larger one.
const few, times = 20_000, 10

var extrapolated = []int{5, 50} // times the larger one

func TestAMillionUsersByWhatFewerCost(t *testing.T) {
	out := os.Stdout
	fmt.Fprintf(out, "Lambda: arm64, 256 MB, at $%.10f a GB-second and $%.2f a million invocations\n\n", perGBSecond, 1e6*perInvocation)
	fmt.Fprintln(out, "Simulated, by the real job in virtual time:")
	heading(out)
	type pair struct{ small, large figures }
	var pairs []pair
	for _, c := range scenarios(few) {
		p := pair{small: simulate(t, c)}
		p.small.print(out, c)
		c.users *= times
		p.large = simulate(t, c)
		p.large.print(out, c)
		for _, f := range []figures{p.small, p.large} {
			if same := f.times(1); same.tokens != f.tokens || same.invocations != f.invocations {
				t.Errorf("%v take %d tokens and %d invocations, and not the %d and %d that are extrapolated from the time",
					f.took, f.tokens, f.invocations, same.tokens, same.invocations)
			}
		}
		pairs = append(pairs, p)
	}
	fmt.Fprintf(out, "\nFor each user, %s users beside %s:\n", thousands(few), thousands(few*times))
	for i, c := range scenarios(few) {
		requests, took, err := pairs[i].small.compare(pairs[i].large, times)
		verdict := "they agree within 1 %"
		if err != nil {
			verdict = "they do NOT agree within 1 %"
			t.Errorf("%s, %d %% changed: %v", c.tenant(), c.percent, err)
		}
		fmt.Fprintf(out, "%-12s %4d %%  requests %+.2f %%, time %+.1f %%: %s\n", c.tenant(), c.percent, 100*requests, 100*took, verdict)
	}
	fmt.Fprintf(out, "(of a run's time, a start of at most %v is left out)\n", startTime)
	fmt.Fprintf(out, "\nExtrapolated from %s users, and not simulated:\n", thousands(few*times))
	heading(out)
	for i, c := range scenarios(few) {
		for _, n := range extrapolated {
			c.users = few * times * n
			pairs[i].large.times(n).print(out, c)
		}
	}
}
