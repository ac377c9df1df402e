package customdata

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/m2mjobs/m2mjobs/pkg/logto"
)

// kind is what became of a row, as it is counted.
type kind string

const (
	changed     kind = "changed"
	wouldChange kind = "wouldChange"
	unchanged   kind = "unchanged"
	stale       kind = "stale"
	missing     kind = "missing"
	rejected    kind = "rejected"
)

// outcome is what became of a row. Empty: it was not come to.
type outcome struct {
	kind   kind
	reason string
	change Change // of wouldChange
	blocks string // the id of the user whose later rows must not be written after this one
}

// user is a user of the batch with the rows that are about it, in the file's order.
type user struct {
	id      string
	data    map[string]any // as Logto has it, by all that is known
	rows    []int          // indexes of the batch
	gone    bool           // deleted since it was read
	blocked int            // the line of a row, maybe of an earlier batch, whose write did not go through; zero: none
}

// do reads the users of a batch and writes what is to be written. The outcomes are those of the batch's first rows: of
// all, unless time ran out.
func (s *syncer) do(ctx context.Context, batch []entry) ([]outcome, error) {
	outcomes := make([]outcome, len(batch))
	for i, e := range batch {
		if e.reason == "" {
			e.reason = s.newer.checkRow(e.row.data)
		}
		if e.reason != "" {
			outcomes[i] = outcome{kind: rejected, reason: e.reason}
		}
	}
	users, err := s.users(ctx, batch, outcomes)
	if err != nil {
		return nil, err
	}
	w := &writes{syncer: s, batch: batch, outcomes: outcomes}
	if err := w.all(ctx, users); err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(outcomes, func(o outcome) bool { return o.kind == "" }); i >= 0 {
		outcomes = outcomes[:i]
	}
	return outcomes, nil
}

// users reads the users of the rows that have no outcome yet, by one request for each kind of key, in the order of
// their first rows. Rows of nobody get their outcome here.
func (s *syncer) users(ctx context.Context, batch []entry, outcomes []outcome) ([]*user, error) {
	values := map[logto.Key][]string{}
	for i, e := range batch {
		if outcomes[i].kind == "" {
			values[e.row.key] = append(values[e.row.key], e.row.value)
		}
	}
	found := map[logto.Key]map[string][]logto.User{}
	for _, key := range rowKeys {
		if len(values[key]) == 0 {
			continue
		}
		if err := s.connect(ctx); err != nil {
			return nil, err
		}
		users, err := s.client.UsersBy(ctx, key, values[key])
		if err != nil {
			return nil, fmt.Errorf("reading the users of lines %d to %d by %s: %w", batch[0].line, batch[len(batch)-1].line, key, err)
		}
		found[key] = users
	}
	var users []*user
	byID := map[string]*user{}
	for i, e := range batch {
		if outcomes[i].kind != "" {
			continue
		}
		u, o := pick(e.row, found[e.row.key][e.row.value])
		if o.kind != "" {
			outcomes[i] = o
			continue
		}
		if byID[u.ID] == nil {
			byID[u.ID] = &user{id: u.ID, data: u.CustomData, blocked: s.done.Blocked[u.ID]}
			users = append(users, byID[u.ID])
		}
		byID[u.ID].rows = append(byID[u.ID].rows, i)
	}
	return users, nil
}

// connect gets the client, once.
func (s *syncer) connect(ctx context.Context) (err error) {
	if s.client == nil {
		s.client, err = s.config.Client(ctx)
	}
	return err
}

// pick chooses the user that a row is about. Only e-mail addresses find several: they are searched whatever their
// letter case, and Logto keeps users apart that differ by case alone.
func pick(r row, found []logto.User) (logto.User, outcome) {
	exact := slices.IndexFunc(found, func(u logto.User) bool { return u.PrimaryEmail == r.value })
	switch {
	case len(found) == 0:
		return logto.User{}, outcome{kind: missing, reason: fmt.Sprintf("no user has this %s", r.key)}
	case len(found) == 1:
		return found[0], outcome{}
	case r.key == logto.ByEmail && exact >= 0:
		return found[exact], outcome{}
	}
	return logto.User{}, outcome{kind: rejected,
		reason: fmt.Sprintf("%d users have this %s in another letter case: write it as the one you mean has it, or use the id", len(found), r.key)}
}

// writes writes the users of a batch, several at a time, each by one goroutine.
type writes struct {
	*syncer
	batch    []entry
	outcomes []outcome // each element is set by the goroutine of its user

	over     atomic.Bool // an error ends the run: no write is begun any more
	mu       sync.Mutex
	passed   int     // writes that went through
	failures []error // of those that did not, although they may the next time: 429, 5xx, no answer
}

// hopeless is how many writes may fail before the first one passes: a tenant that is down is not asked for a whole batch.
const hopeless = 8

// all writes the users. An error is one that must end the run.
func (w *writes) all(ctx context.Context, users []*user) error {
	// An error cancels nothing: a write cut off in flight could land after the run has ended.
	var group errgroup.Group
	group.SetLimit(w.writers())
	for i, u := range users {
		// The first row of an attempt is done whatever the time, so that attempts without time left can't go on forever.
		must := !w.begun && i == 0
		group.Go(func() error { return w.user(ctx, u, must) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if len(w.failures) > 0 && w.passed == 0 {
		return w.nothingPassed()
	}
	return nil
}

func (w *writes) nothingPassed() error {
	return fmt.Errorf("none of the writes of lines %d to %d went through, run it again later: %w",
		w.batch[0].line, w.batch[len(w.batch)-1].line, w.failures[0])
}

func (w *writes) writers() int {
	if w.config.Writers > 0 {
		return w.config.Writers
	}
	return 4
}

// user does a user's rows in order, until time runs out.
func (w *writes) user(ctx context.Context, u *user, must bool) error {
	for _, i := range u.rows {
		e := &w.batch[i]
		if w.over.Load() {
			return nil
		}
		if !must && !w.run.Params.DryRun && w.run.TimeLeft() <= 0 {
			return nil
		}
		must = false
		o, err := w.row(ctx, u, e)
		if err != nil {
			if o, err = w.failure(ctx, u, e, err); err != nil {
				w.over.Store(true)
				return err
			}
		}
		w.outcomes[i] = o
	}
	return nil
}
