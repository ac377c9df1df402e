// Package doctor checks the whole way that a job goes, from its variables to what it writes, and says of each thing what it
// found and how it is mended. Nothing is changed by it.
//
// A Check is a value; Examine does them in order:
//
//	lines := doctor.Examine(ctx, []doctor.Check{
//		{Name: "door", What: "the door is open", Do: look},
//		{Name: "room", What: "the room is empty", Needs: []string{"door"}, Do: count},
//	})
//
// A check that needs one that failed is not tried, and says because of which. Function has those that every function has, as
// far as they can be made from where they run: on the operator's machine, or inside the function, which answers
// {"doctor": true} with a Report. What only a deployed stack knows (schedules, queues, the secret's age) is in package stack.
//
// It costs a token of the tenant's quota, which its log shows, and for an own API a second one: what else would be granted; of
// rotate-secret one more for each secret that has old ones beside it, by which it sees that the audit log is up to date.
//
// No line has a secret, a token or an answer's body in it.
package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Result is what a check came to.
type Result string

// The results.
const (
	OK            Result = "ok"
	Warn          Result = "warn" // it works, and should be looked at
	Fail          Result = "fail"
	NotTried      Result = "not tried"      // what it needs has failed
	NotApplicable Result = "not applicable" // there is nothing to check, or not from here
)

// Finding is what a check found.
type Finding struct {
	Result Result `json:"result"`
	Found  string `json:"found"`
	// Mend is what to do, in a sentence with the place in the console or the command. Empty unless Result is Fail or Warn.
	Mend string `json:"mend,omitempty"`
}

// Found is a finding that all is well.
func Found(format string, args ...any) Finding { return Finding{OK, fmt.Sprintf(format, args...), ""} }

// Failed is a finding that it is not, with what mends it.
func Failed(mend, format string, args ...any) Finding {
	return Finding{Fail, fmt.Sprintf(format, args...), mend}
}

// Warning is a finding that should be looked at.
func Warning(mend, format string, args ...any) Finding {
	return Finding{Warn, fmt.Sprintf(format, args...), mend}
}

// Nothing is a finding that there is nothing to check, or not from here.
func Nothing(format string, args ...any) Finding {
	return Finding{NotApplicable, fmt.Sprintf(format, args...), ""}
}

// Check is one thing to look at.
type Check struct {
	Name string // in a word or two
	What string // what is checked
	// Needs names checks before it without which it cannot be done.
	Needs []string
	// Do looks. Its context ends after Longest.
	Do func(context.Context) Finding
}

// Line is a check with what it found.
type Line struct {
	Check   string `json:"check"`
	Checked string `json:"checked"`
	Finding
}

// Longest is how long one check may take.
const Longest = 15 * time.Second

// Examine does the checks in order.
func Examine(ctx context.Context, checks []Check) []Line {
	lines := make([]Line, 0, len(checks))
	results := map[string]Result{}
	for _, c := range checks {
		finding := because(c.Needs, results)
		if finding.Result == "" {
			finding = c.do(ctx)
		}
		finding.Found, finding.Mend = oneLine(finding.Found), oneLine(finding.Mend)
		results[c.Name] = finding.Result
		lines = append(lines, Line{c.Name, c.What, finding})
	}
	return lines
}

func (c Check) do(ctx context.Context) Finding {
	ctx, cancel := context.WithTimeout(ctx, Longest)
	defer cancel()
	return c.Do(ctx)
}

// because says why a check is not done; its result is empty if it can be.
func because(needs []string, results map[string]Result) Finding {
	for _, need := range needs {
		switch results[need] {
		case Fail:
			return Finding{Result: NotTried, Found: "not tried, because " + need + " failed"}
		case NotTried:
			return Finding{Result: NotTried, Found: "not tried, because " + need + " was not"}
		case NotApplicable:
			return Nothing("as %s is not", need)
		}
	}
	return Finding{}
}

// oneLine is a text without what an error or a name from outside may have in it (a terminal obeys some characters), of a length
// that can be read.
func oneLine(text string) string {
	const most = 600
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.Join(strings.Fields(text), " "))
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}

// Report is what was found of a function.
type Report struct {
	Function string `json:"function"`
	From     string `json:"from"` // where the checks were made
	Well     bool   `json:"well"` // nothing failed
	Checks   []Line `json:"checks"`
}

// NewReport makes a report of what was found.
func NewReport(function, from string, lines []Line) Report {
	r := Report{function, from, true, lines}
	for _, line := range lines {
		r.Well = r.Well && line.Result != Fail
	}
	return r
}
