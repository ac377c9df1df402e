// Package governor keeps the requests of runs to a tenant of Logto at what it takes, and below what it also needs for the
// users who sign in. A Governor is an http.RoundTripper in front of all of them, token requests included, below the
// m2m.Transport, so that what that repeats counts, too:
//
//	g := governor.New(governor.Config{Base: m2m.NewBase(), Budget: budget})
//	source, err := m2m.NewSource(m2m.Config{…, HTTPClient: &http.Client{Transport: g}})
//	client := &http.Client{Transport: &m2m.Transport{Source: source, Base: g}}
//	job = governor.Govern(g, job)
//
// # On Logto Cloud: a budget
//
// A tenant of Logto Cloud takes 200 requests in 10 seconds, a bucket that its users' sign-ins share. The Budget is half of
// that, spaced out evenly: at most four requests go without a pause, so that the bucket stays as full for a rush of
// sign-ins as it is without us, and refills half as fast. As long as sign-ins keep to the other half, rushes aside, none is
// refused because of us. What they need beyond it is only heard of by a 429, so that a few in a thousand are refused before
// we give way. A token request goes ahead of the others, which wait for it.
//
// An answer 429 halves the rate, down to a tenth, and as long as no other comes a tenth of the whole comes back every 10
// seconds, or half as often each time that this was too much again. Requests that were under way together and are refused together are one sign. Nobody sends anything for as long
// as Retry-After says, a second if it says nothing; m2m.Transport waits at the same time with the request that was refused,
// so that nothing is waited for twice. The 429 that says that the tenant's quota of tokens is used up (auth.exceed_token_limit)
// is about something else, and changes nothing here.
//
// # On a server of one's own: as many as it can use
//
// There is no limit there, and more requests at once than the server can work on only wait inside of it. The Governor finds
// by itself how many are worth while, by what requests of a kind take longer than when they are alone: it keeps 3 to 6 of them
// waiting in the server, at most MaxConcurrency in flight. So workers need not know how many of them there should be: they
// wait in RoundTrip.
//
// # Several runs
//
// Runs of whatever process on one tenant keep to one budget together if they have one jobs.Store. Govern leases a part of
// the budget in it, for 30 seconds, and renews it at half of that while requests are sent: all of it if nobody else is there,
// and an equal share after at most a lease otherwise. A newcomer may have to wait until the others have renewed, 15 seconds.
// A run's first requests, four and one more every five seconds, need no lease, so that a short run asks the store for
// nothing. If the store does not answer, the run goes on with a tenth of the budget and says so in its log.
package governor
