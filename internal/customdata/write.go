package customdata

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

// row brings a user up to one row.
func (p *pipeline) row(ctx context.Context, u *user, e *entry) (outcome, error) {
	blocked := p.blockedBy(u)
	switch {
	case u.gone:
		return outcome{kind: missing, reason: deleted}, nil
	case blocked != 0:
		return outcome{kind: rejected, reason: fmt.Sprintf(
			"not written, because line %d of the same user could not be and rows take effect in order: sync both again", blocked)}, nil
	}
	set, drop, o := p.compare(u.data, e)
	switch {
	case o.kind != "":
		return o, nil
	case p.run.Params.DryRun:
		u.data = merged(u.data, set, drop)
		return outcome{kind: wouldChange, change: Change{
			Line: e.line, User: u.id, Keys: slices.Sorted(maps.Keys(set)), Gone: drop,
		}}, nil
	case len(drop) == 0:
		return p.merge(ctx, u, set)
	}
	// What is about to be replaced is read right before: see the package comment for the race that remains.
	fresh, err := p.client.User(ctx, u.id)
	if err != nil {
		return outcome{}, err
	}
	u.data = fresh.CustomData
	set, drop, o = p.compare(u.data, e)
	switch {
	case o.kind != "":
		return o, nil
	case len(drop) == 0:
		return p.merge(ctx, u, set)
	}
	if err := p.run.Alive(); err != nil {
		return outcome{}, fatal{err}
	}
	failures := p.failuresSoFar()
	data, err := p.client.ReplaceCustomData(ctx, u.id, merged(u.data, set, drop))
	return p.wrote(u, data, err, failures)
}

func (p *pipeline) merge(ctx context.Context, u *user, set map[string]any) (outcome, error) {
	if err := p.run.Alive(); err != nil {
		return outcome{}, fatal{err}
	}
	failures := p.failuresSoFar()
	data, err := p.client.MergeCustomData(ctx, u.id, set)
	return p.wrote(u, data, err, failures)
}

// wrote takes the answer of a write, which is all that the user has now; failures are those before it was sent.
func (p *pipeline) wrote(u *user, data map[string]any, err error, failures int) (outcome, error) {
	if err != nil {
		return outcome{}, err
	}
	u.data = data
	p.mu.Lock()
	defer p.mu.Unlock()
	p.streak.passed(failures)
	p.turn.Broadcast()
	return outcome{kind: changed}, nil
}

// compare tells which keys are to be written and which removed, or what became of the row without a write.
func (s *syncer) compare(data map[string]any, e *entry) (set map[string]any, drop []string, o outcome) {
	isStale, reason := s.newer.stale(e.row.data, data)
	switch {
	case reason != "":
		return nil, nil, outcome{kind: rejected, reason: reason}
	case isStale:
		return nil, nil, outcome{kind: stale}
	}
	set = map[string]any{}
	for key, value := range e.row.data {
		if has, ok := data[key]; !ok || !logto.EqualData(has, value) {
			set[key] = value
		}
	}
	for _, key := range e.row.remove {
		if _, ok := data[key]; ok && !slices.Contains(drop, key) {
			drop = append(drop, key)
		}
	}
	if len(set) == 0 && len(drop) == 0 {
		o.kind = unchanged
	}
	return set, drop, o
}

// merged is what the user has after a change.
func merged(data, set map[string]any, drop []string) map[string]any {
	result := maps.Clone(data)
	if result == nil {
		result = map[string]any{}
	}
	maps.Copy(result, set)
	for _, key := range drop {
		delete(result, key)
	}
	return result
}

const deleted = "the user was deleted while the rows were synced"

// fatal is an error that ends the run, whatever it wraps.
type fatal struct{ error }

func (f fatal) Unwrap() error { return f.error }

// failure tells what an error of a row's requests means for the row and for the user's later rows. An error that it
// returns ends the run.
func (p *pipeline) failure(ctx context.Context, u *user, e *entry, err error) (outcome, error) {
	var answer *logto.Error
	var data *logto.DataError
	errors.As(err, &answer)
	switch {
	case ctx.Err() != nil || endsRun(err):
		return outcome{}, fmt.Errorf("writing the user of line %d: %w", e.line, err)
	case errors.As(err, &data):
		return outcome{kind: rejected, reason: "what the user would have then can't be stored: " + explain(data)}, nil
	case errors.Is(err, logto.ErrNotFound):
		u.gone = true
		return outcome{kind: missing, reason: deleted}, nil
	case answer != nil && answer.Status < 500 && !errors.Is(err, logto.ErrRateLimited):
		return outcome{kind: rejected, reason: "Logto refused it: " + err.Error()}, nil
	}
	// 429, 5xx or no answer, although the transport asked again: whether it was written is not known.
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blocked[u.id] = e.line
	number, hopeless := p.streak.failed(e.line, err)
	p.turn.Broadcast()
	if hopeless {
		return outcome{}, p.streak.error()
	}
	return outcome{kind: rejected, reason: "not written, sync it again: " + err.Error(), blocks: u.id, failed: number}, nil
}

func (p *pipeline) failuresSoFar() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.streak.end
}

func (p *pipeline) blockedBy(u *user) (line int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.blocked[u.id]
}

// endsRun tells whether the next row would fare no better.
func endsRun(err error) bool {
	return errors.As(err, new(fatal)) ||
		errors.Is(err, logto.ErrUnauthorized) || errors.Is(err, logto.ErrForbidden) ||
		errors.As(err, new(*m2m.TokenError)) || errors.As(err, new(*m2m.ScopeError)) || errors.As(err, new(*m2m.RejectedError))
}
