// Command bench measures what this project promises of its speed and thrift, each beside its target: `make bench`. Times are
// ratios to something else measured in the same run, interleaved with it, so that the machine's speed and its other work
// cancel out. It is not a test: it fails only if something could not be measured.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"
)

// runs is how often each side of a ratio is measured.
const runs = 20

// result is a line of the table.
type result struct {
	what     string
	target   string
	measured string
	pass     bool
}

// atMost is a number that should not be above its target; format shows both.
func atMost(what, format string, target, measured float64) result {
	return result{what, "≤ " + fmt.Sprintf(format, target), fmt.Sprintf(format, measured), measured <= target}
}

// atLeast is a number that should not be below its target; format shows both.
func atLeast(what, format string, target, measured float64) result {
	return result{what, "≥ " + fmt.Sprintf(format, target), fmt.Sprintf(format, measured), measured >= target}
}

// exactly is a count that should be its target.
func exactly(what string, target, measured int64) result {
	return result{what, fmt.Sprint(target), fmt.Sprint(measured), measured == target}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

func main() {
	ctx := context.Background()
	var results []result
	var failed error
	for _, measure := range []struct {
		what string
		run  func(context.Context) ([]result, error)
	}{
		{"a token that is at hand", tokenHit},
		{"1,000 goroutines at a token's end", tokenExpiry},
		{"verifying a token", verifyToken},
		{"functions under the Runtime Interface Emulator", functions},
	} {
		fmt.Fprintf(os.Stderr, "measuring %s\n", measure.what)
		some, err := measure.run(ctx)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("measuring %s: %w", measure.what, err))
		}
		results = append(results, some...)
	}

	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nWHAT\tTARGET\tMEASURED\t")
	for _, r := range results {
		verdict := "pass"
		if !r.pass {
			verdict = "FAIL"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", r.what, r.target, r.measured, verdict)
	}
	if err := table.Flush(); err != nil {
		failed = errors.Join(failed, err)
	}
	if failed != nil {
		fmt.Fprintln(os.Stderr, failed)
		os.Exit(1)
	}
}
