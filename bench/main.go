// Command bench measures what this project promises of its speed and thrift, each beside its target: `make bench`, or a part of it
// by the beginning of its name, as in `make bench ONLY=sync`. Times are ratios to something else measured in the same run,
// interleaved with it, so that the machine's speed and its other work cancel out. It is not a test: it fails only if something
// could not be measured.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
)

// runs is how often each side of a ratio is measured.
const runs = 20

// result is a line of the table.
type result struct {
	what     string
	target   string
	measured string
	verdict  string
	detail   string // printed after the table
}

func verdict(pass bool) string {
	if pass {
		return "pass"
	}
	return "FAIL"
}

// atMost is a number that should not be above its target; format shows both.
func atMost(what, format string, target, measured float64) result {
	return result{what, "≤ " + fmt.Sprintf(format, target), fmt.Sprintf(format, measured), verdict(measured <= target), ""}
}

// atLeast is a number that should not be below its target.
func atLeast(what, format string, target, measured float64) result {
	return result{what, "≥ " + fmt.Sprintf(format, target), fmt.Sprintf(format, measured), verdict(measured >= target), ""}
}

// stated is a number without a target.
func stated(what, format string, measured float64) result {
	return result{what, "", fmt.Sprintf(format, measured), "", ""}
}

// exactly is a count that should be its target.
func exactly(what string, target, measured int64) result {
	return result{what, fmt.Sprint(target), fmt.Sprint(measured), verdict(measured == target), ""}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	only := os.Args[1:]
	var results []result
	var failed error
	for _, measure := range []struct {
		name, what string
		run        func(context.Context) ([]result, error)
	}{
		{"token", "a token that is at hand", tokenHit},
		{"token", "1,000 goroutines at a token's end", tokenExpiry},
		{"token", "verifying a token", verifyToken},
		{"functions", "functions under the Runtime Interface Emulator", functions},
		{"sync-plan", "a plan of a million rows", inSyncs(syncPlan)},
		{"sync-server", "syncs at a server of one's own", inSyncs(syncAtTheServersPace)},
		{"sync-limit", "syncs at the rate limit", inSyncs(syncAtTheLimit)},
	} {
		if len(only) > 0 && !slices.ContainsFunc(only, func(prefix string) bool { return strings.HasPrefix(measure.name, prefix) }) {
			continue
		}
		if ctx.Err() != nil {
			break
		}
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
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", r.what, r.target, r.measured, r.verdict)
	}
	if err := table.Flush(); err != nil {
		failed = errors.Join(failed, err)
	}
	for _, r := range results {
		if r.detail != "" {
			fmt.Printf("\n%s\n%s", r.what, r.detail)
		}
	}
	if failed != nil {
		fmt.Fprintln(os.Stderr, failed)
		os.Exit(1)
	}
}
