package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

const (
	// tenfold is Logto Cloud's limit made ten times faster for everybody: 200 requests a second.
	tenfold = "-cloud-speed=10"
	// working is a tenant that takes as long for a request as the recorded server.
	working = "-work"
	// rounds is how often a sync is measured that takes seconds.
	rounds = 3
)

func usersFlag(n int) string { return fmt.Sprintf("-users=%d", n) }

// inSyncs gives a measurement the programs that sync, in a directory that is removed afterwards.
func inSyncs(measure func(context.Context, *syncs) ([]result, error)) func(context.Context) ([]result, error) {
	return func(ctx context.Context) (results []result, err error) {
		dir, err := os.MkdirTemp("", "m2mjobs-bench-")
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		s, err := newSyncs(ctx, dir)
		if err != nil {
			return nil, err
		}
		return measure(ctx, s)
	}
}

// syncAtTheLimit changes 1% of 10,000 users while the tenant lets 200 requests a second pass. Rows name users by id, and then the peers
// write each, or by e-mail address, and then they search the user first. The targets are for ours with the same limit as the peers
// where those need one request a row, and for half of it, the default on Logto Cloud, where they need two.
func syncAtTheLimit(ctx context.Context, s *syncs) (results []result, err error) {
	const users, changed = 10_000, 100
	for _, by := range []struct {
		key         logto.Key
		mine, other contender
	}{{logto.ByID, s.whole, s.half}, {logto.ByEmail, s.half, s.whole}} {
		rows, err := s.rows(by.key, users, 100*changed/users)
		if err != nil {
			return results, err
		}
		mine, peers, err := s.meanwhile(ctx, []contender{by.mine, by.other}, rows, tenfold, working, usersFlag(users))
		if err != nil {
			return results, err
		}
		for i, c := range []contender{by.mine, by.other} {
			if wrong := slices.IndexFunc(mine[i], func(o outcome) bool { return o.changed != changed }); wrong >= 0 {
				return results, fmt.Errorf("%s: %d users were changed, not %d", c.name, mine[i][wrong].changed, changed)
			}
			what := fmt.Sprintf("1%% of %d users changed, by %s; %s: ", users, by.key, c.name)
			fewer := compare(what+"times fewer requests", "%.0f", 45, fewest(peers), median(each(mine[i], requests)))
			sooner := compare(what+"times sooner", "%.2f s", 40, soonest(peers), median(each(mine[i], seconds)))
			if i > 0 {
				sooner.target, sooner.verdict = "", ""
			}
			results = append(results, fewer, sooner)
		}
	}
	return results, nil
}

// compare is how many times less of something ours needs than the best peer.
func compare(what, format string, target, theirs, ours float64) result {
	return atLeast(fmt.Sprintf("%s ("+format+" for "+format+")", what, ours, theirs), "%.1fx", target, theirs/ours)
}

// meanwhile runs all peers at once, each against a tenant of its own, since the limit and not the machine is what holds them up, and
// ours in turns and again and again beside them.
func (s *syncs) meanwhile(ctx context.Context, ours []contender, rows string, tenant ...string) (mine [][]outcome, peers []outcome, err error) {
	all := slices.Concat(s.single, s.parallel)
	mine, peers = make([][]outcome, len(ours)), make([]outcome, len(all))
	group, ctx := errgroup.WithContext(ctx)
	for i, peer := range all {
		group.Go(func() (err error) {
			peers[i], err = s.run(ctx, peer, rows, tenant...)
			return err
		})
	}
	group.Go(func() error {
		for turn := range len(ours) * 2 * rounds {
			i := turn % len(ours)
			o, err := s.run(ctx, ours[i], rows, tenant...)
			if err != nil {
				return err
			}
			mine[i] = append(mine[i], o)
		}
		return nil
	})
	return mine, peers, group.Wait()
}

// syncAtTheServersPace changes every user of a server of one's own, which has no limit but what it can do.
func syncAtTheServersPace(ctx context.Context, s *syncs) ([]result, error) {
	const users = 3000
	rows, err := s.rows(logto.ByID, users, 100)
	if err != nil {
		return nil, err
	}
	outcomes := map[string][]outcome{}
	for round := range rounds {
		contenders := append([]contender{s.ours}, s.parallel...)
		if round == 0 {
			contenders = append(contenders, s.single...)
		}
		for _, c := range contenders {
			o, err := s.run(ctx, c, rows, working, usersFlag(users))
			if err != nil {
				return nil, err
			}
			if o.changed != users {
				return nil, fmt.Errorf("%s: %d of %d users were changed", c.name, o.changed, users)
			}
			outcomes[c.name] = append(outcomes[c.name], o)
		}
	}
	// The two parallel peers were measured round by round with ours; the others are slower, and are here for their CPU time.
	mine := outcomes[s.ours.name]
	var times, shares []float64
	for i, o := range mine {
		fastest := min(outcomes[s.parallel[0].name][i].took, outcomes[s.parallel[1].name][i].took)
		times = append(times, o.took.Seconds()/fastest.Seconds())
		shares = append(shares, 100*leastWork(users).Seconds()/o.took.Seconds())
	}
	official := slices.Concat(outcomes[s.single[0].name], outcomes[s.parallel[0].name])
	peers := slices.Concat(official, outcomes[s.single[1].name], outcomes[s.parallel[1].name])
	micros := func(o outcome) float64 { return float64(o.cpu.Microseconds()) / users }
	cpu, officialCPU := median(each(mine, micros)), slices.Min(each(official, micros))
	what := fmt.Sprintf("all of %d users changed, a server of one's own: ", users)
	return []result{
		atMost(what+"requests beside the peers'", "%.4fx", 1.011, median(each(mine, requests))/fewest(peers)),
		atMost(what+"time beside the best peer's", "%.3fx", 1.05, median(times)),
		atLeast(what+"of what the server can do", "%.1f%%", 95, median(shares)),
		atMost(fmt.Sprintf("%sCPU time a row beside @logto/api (%.0f µs for %.0f µs)", what, cpu, officialCPU), "%.3fx", 0.5, cpu/officialCPU),
	}, nil
}

// leastWork is how long the recorded server works, one request after the other, on the token, the reads and the writes that a sync
// of so many changed users needs at least.
func leastWork(users int) time.Duration {
	busy := func(method, path string, query url.Values) time.Duration {
		return logtotest.RecordedWork(&http.Request{Method: method, URL: &url.URL{Path: path, RawQuery: query.Encode()}}).Busy
	}
	read := busy(http.MethodGet, "/api/users", url.Values{"search.id": make([]string, logto.MaxUsersBy)})
	return busy(http.MethodPost, "/oidc/token", nil) + time.Duration(users/logto.MaxUsersBy)*read +
		time.Duration(users)*busy(http.MethodPatch, "/api/users/x/custom-data", nil)
}

func each(outcomes []outcome, f func(outcome) float64) (values []float64) {
	for _, o := range outcomes {
		values = append(values, f(o))
	}
	return values
}

func requests(o outcome) float64 { return float64(o.requests) }
func seconds(o outcome) float64  { return o.took.Seconds() }

func fewest(outcomes []outcome) float64  { return slices.Min(each(outcomes, requests)) }
func soonest(outcomes []outcome) float64 { return slices.Min(each(outcomes, seconds)) }
