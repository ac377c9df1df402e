package simulate_test

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// figures are what a run came to.
type figures struct {
	reads, writes, tokens, invocations int
	took                               time.Duration
}

func (f figures) requests() int { return f.reads + f.writes + f.tokens }

// What Lambda costs, in US dollars, by the list prices of us-east-1 for arm64 that we knew.
const (
	perGBSecond   = 0.0000133334
	perInvocation = 0.20 / 1e6
	memory        = 0.25 // in GB: the template's MemorySize
)

// dollars is what Lambda costs. Something is invoked all the time that the run takes.
func (f figures) dollars() float64 {
	return f.took.Seconds()*memory*perGBSecond + float64(f.invocations)*perInvocation
}

const (
	longest = 15 * time.Minute // an invocation: Lambda's limit
	margin  = 30 * time.Second // before it, a run stops by itself
	// fresh is how long a token is used: an hour, less 10 seconds, less 5 minutes in which the next one is fetched.
	fresh = time.Hour - 10*time.Second - 5*time.Minute
)

// times are the figures of a run with so many times the users. Invocations and tokens follow from the time.
func (f figures) times(n int) figures {
	took := f.took * time.Duration(n)
	return figures{
		reads: f.reads * n, writes: f.writes * n, took: took,
		tokens: 1 + int(took/fresh), invocations: 1 + int(took/(longest-margin)),
	}
}

// startTime is what a run may take beyond what its users do: it begins with one request at a time.
const startTime = 200 * time.Millisecond

// compare tells by how much a run of fewer users differs from one of n times as many, for each user: requests, and time, of which
// startTime is not counted. An error says that this is more than 1 %.
func (f figures) compare(many figures, n int) (requests, took float64, err error) {
	requests = float64(f.requests()*n)/float64(many.requests()) - 1
	over := f.took*time.Duration(n) - many.took
	if start := startTime * time.Duration(n-1); over > 0 {
		over = max(0, over-start)
	}
	took = float64(over) / float64(many.took)
	if math.Abs(requests) > 0.01 || math.Abs(took) > 0.01 {
		err = fmt.Errorf("a user costs %+.2f %% requests and %+.2f %% time more than in a run of %d times as many",
			100*requests, 100*took, n)
	}
	return requests, took, err
}

const layout = "%-12s %10s %8s %12s %11s %12s %8s %12s %9s %7s\n"

// heading prints the head of a table of figures.
func heading(w io.Writer) {
	fmt.Fprintf(w, layout, "tenant", "users", "changed", "requests", "reads", "writes", "time", "invocations", "Lambda", "tokens")
}

// print prints a line of the table.
func (f figures) print(w io.Writer, c scenario) {
	fmt.Fprintf(w, layout, c.tenant(), thousands(c.users), fmt.Sprintf("%d %%", c.percent), thousands(f.requests()), thousands(f.reads),
		thousands(f.writes), readable(f.took), thousands(f.invocations), fmt.Sprintf("$%.5f", f.dollars()), thousands(f.tokens))
}

// readable is a time with three digits.
func readable(d time.Duration) string {
	value, unit := d.Seconds(), "s"
	switch {
	case d >= 100*time.Minute:
		value, unit = d.Hours(), "h"
	case d >= 100*time.Second:
		value, unit = d.Minutes(), "min"
	}
	return fmt.Sprintf("%.*f %s", max(0, 2-int(math.Log10(value))), value, unit)
}

// thousands writes a number with commas.
func thousands(n int) string {
	text := strconv.Itoa(n)
	var groups []string
	for len(text) > 3 {
		groups = append([]string{text[len(text)-3:]}, groups...)
		text = text[:len(text)-3]
	}
	return strings.Join(append([]string{text}, groups...), ",")
}
