package doctor

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Access is what a job may do at its API.
type Access struct {
	To     string   // the API, in words
	Scopes []string // that it asks for
	// Needs is the scope that each route needs, by method and pattern as net/http.ServeMux has them: "GET /orders". It may have
	// routes that the job does not call.
	Needs map[string]string
	// Limits are what else limits whoever has the app's secret, where scopes cannot.
	Limits []string
}

// Others are the scopes of the API that the job does not ask for, sorted.
func (a Access) Others() []string {
	others := slices.DeleteFunc(slices.Sorted(maps.Values(a.Needs)), func(scope string) bool { return slices.Contains(a.Scopes, scope) })
	return slices.Compact(others)
}

// Use is what a job asks for, and which of it it used, by what it called.
type Use struct {
	Function string   `json:"function"`
	API      string   `json:"api"`
	Asked    []string `json:"asked"`
	Runs     int      `json:"runs"` // whose reports were counted
	Calls    []Call   `json:"calls"`
	Unused   []string `json:"unused"` // asked for, and nothing that was called needs it
	Limits   []string `json:"limits,omitempty"`
	Verdict  string   `json:"verdict"`
}

// Call is a route that was called.
type Call struct {
	Route string `json:"route"`
	Times int64  `json:"times"`
	Scope string `json:"scope"` // that it needs; empty if it is not known
}

// NewUse compares what a job asks for with what it called in so many runs.
func NewUse(function string, a Access, runs int, called map[string]int64) Use {
	u := Use{Function: function, API: a.To, Asked: a.Scopes, Runs: runs, Calls: []Call{}, Unused: []string{}, Limits: a.Limits}
	used := map[string]bool{}
	for route, times := range called {
		u.Calls = append(u.Calls, Call{route, times, a.Needs[route]})
		used[a.Needs[route]] = true
	}
	slices.SortFunc(u.Calls, func(a, b Call) int { return cmp.Or(cmp.Compare(b.Times, a.Times), cmp.Compare(a.Route, b.Route)) })
	if len(u.Calls) == 0 {
		u.Verdict = "Nothing can be said: no run is remembered that called anything."
		return u
	}
	for _, scope := range a.Scopes {
		if !used[scope] {
			u.Unused = append(u.Unused, scope)
		}
	}
	switch {
	case len(u.Unused) > 0:
		u.Verdict = "Nothing that it called needs " + strings.Join(u.Unused, " ") + ": ask for less in the code, and take it from the role (Console > Roles)."
	case len(a.Limits) > 0:
		u.Verdict = "There is no smaller permission than " + strings.Join(a.Scopes, " ") + ". What limits this app instead:"
	default:
		u.Verdict = "Minimal: what it called needs each scope that it asks for."
	}
	return u
}
