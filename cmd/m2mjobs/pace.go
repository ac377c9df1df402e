package main

import (
	"time"

	"github.com/m2mjobs/m2mjobs/internal/function"
)

const (
	// recently is what the pace is taken from: a rate that has changed is believed after so long.
	recently = time.Minute
	// apart are the marks at least, so that their number has a bound.
	apart = 500 * time.Millisecond
)

// pace tells how fast a run is and when it will be done, from how far it was at which times. The zero pace knows nothing.
//
// It takes the rest for the like of the last minute. That is right for a plan, each of whose users takes a write, and for a file
// whose changes are spread over it. What the rest of a file changes whose first part changes nothing, nobody can know; a minute
// into the rest it is right. The first guesses of a run that takes less than a minute are rougher, as they are taken from a few requests.
type pace struct {
	began time.Time
	marks []mark // those of the last minute, and the one before them
}

type mark struct {
	at time.Time
	function.Progress
}

// add takes a mark.
func (p *pace) add(at time.Time, now function.Progress) {
	n := len(p.marks)
	if n == 0 || p.marks[n-1].Doing != now.Doing || p.marks[n-1].Done > now.Done { // it does something else now, or begins anew
		*p = pace{began: at, marks: []mark{{at, now}}}
		return
	}
	if n > 2 && p.marks[n-1].at.Sub(p.marks[n-2].at) < apart {
		p.marks = p.marks[:n-1]
	}
	p.marks = append(p.marks, mark{at, now})
	for len(p.marks) > 2 && at.Sub(p.marks[1].at) >= recently {
		p.marks = p.marks[1:]
	}
}

// span is what the pace is taken from: the last minute, but no more than the second half of the run so far. How a run begins (a
// token, the first lookups, requests that were saved up) says little of the rest.
func (p *pace) span() (from, to mark, ok bool) {
	n := len(p.marks)
	if n < 2 {
		return mark{}, mark{}, false
	}
	to = p.marks[n-1]
	since := to.at.Add(-to.at.Sub(p.began) / 2)
	for _, m := range p.marks[:n-1] {
		if from.at.IsZero() || !m.at.After(since) {
			from = m
		}
	}
	return from, to, to.at.After(from.at) && to.Done > from.Done
}

// rows is how many rows are done a second; false: it is not known.
func (p *pace) rows() (perSecond float64, ok bool) {
	from, to, ok := p.span()
	if !ok {
		return 0, false
	}
	return float64(to.Rows-from.Rows) / to.at.Sub(from.at).Seconds(), true
}

// share is how much of the tenant's budget is used; false: it is not known, or there is none.
func (p *pace) share() (share float64, ok bool) {
	from, to, ok := p.span()
	if !ok || to.Tenant.Budget == 0 {
		return 0, false
	}
	sent := float64(to.Tenant.Requests - from.Tenant.Requests)
	return sent / to.at.Sub(from.at).Seconds() / to.Tenant.Budget, true
}

// left is how long it will be until the run is done; false: it is not known.
func (p *pace) left(now time.Time) (time.Duration, bool) {
	from, to, ok := p.span()
	if !ok || to.Size < to.Done {
		return 0, false
	}
	perDone := to.at.Sub(from.at).Seconds() / float64(to.Done-from.Done)
	left := time.Duration(perDone * float64(to.Size-to.Done) * float64(time.Second))
	// Rows are done by the hundred, and time goes on in between; if the next are late, the rest is too.
	before := p.marks[len(p.marks)-2]
	return max(0, left-min(now.Sub(to.at), to.at.Sub(before.at))), true
}
