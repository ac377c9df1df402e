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
func (p *pipeline) row(ctx context.Context, u *user, i item) (outcome, error) {
	e := i.entry()
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
	case len(set) == 0 && len(drop) == 0:
		return o, nil
	case p.run.Params.DryRun:
		u.data = merged(u.data, set, drop)
		if o.kind == "" {
			o = outcome{kind: wouldChange, change: Change{Line: e.line, User: u.id, Keys: named(slices.Sorted(maps.Keys(set))), Gone: named(drop)}}
		}
		return o, nil
	case len(drop) > 0:
		// What is about to be replaced is read right before: see the package comment for the race that remains.
		fresh, err := p.client.User(ctx, u.id)
		if err != nil {
			return outcome{}, err
		}
		u.data = fresh.CustomData
		if set, drop, o = p.compare(u.data, e); len(set) == 0 && len(drop) == 0 {
			return o, nil
		}
	}
	// An earlier row of the user may not have been written, and somebody else may have written since the lookup.
	if err := p.keepLate(ctx, i, inverse(u.id, u.data, set, drop)); err != nil {
		return outcome{}, fatal{err}
	}
	if err := p.send(ctx, u, set, drop); err != nil {
		return outcome{}, err
	}
	if o.kind == "" {
		o.kind = changed
	}
	return o, nil
}

// send writes a user. What Logto answers is all that the user has then.
func (p *pipeline) send(ctx context.Context, u *user, set map[string]any, drop []string) (err error) {
	if err := p.run.Alive(); err != nil {
		return fatal{err}
	}
	failures := p.failuresSoFar()
	var data map[string]any
	if len(drop) == 0 {
		data, err = p.client.MergeCustomData(ctx, u.id, set)
	} else {
		data, err = p.client.ReplaceCustomData(ctx, u.id, merged(u.data, set, drop))
	}
	if err != nil {
		return err
	}
	u.data = data
	p.mu.Lock()
	defer p.mu.Unlock()
	p.streak.passed(failures)
	p.turn.Broadcast()
	return nil
}

// compare tells which keys are to be written and which removed, and what becomes of the row if that is nothing. There may be
// both: of a run that is taken back, keys that somebody changed since are left alone, and the others are not.
func (s *syncer) compare(data map[string]any, e *entry) (set map[string]any, drop []string, o outcome) {
	if e.row.before == nil {
		isStale, reason := s.newer.stale(e.row.data, data)
		switch {
		case reason != "":
			return nil, nil, outcome{kind: rejected, reason: reason}
		case isStale:
			return nil, nil, outcome{kind: stale}
		}
	}
	set, drop = e.row.differs(data)
	if len(set) == 0 && len(drop) == 0 {
		return nil, nil, outcome{kind: unchanged}
	}
	keys := e.row.conflicts(data, set, drop)
	switch {
	case len(keys) == 0 || s.run.Params.Force:
		return set, drop, outcome{}
	case s.run.Params.Action == ActionUndo:
		maps.DeleteFunc(set, func(key string, _ any) bool { return slices.Contains(keys, key) })
		drop = slices.DeleteFunc(drop, func(key string) bool { return slices.Contains(keys, key) })
		return set, drop, outcome{kind: conflict, reason: fmt.Sprintf("somebody changed %.200q of this user since, "+
			"which is left as it is: use force to take it back all the same", keys)}
	}
	return nil, nil, outcome{kind: conflict, reason: fmt.Sprintf("somebody changed %.200q of this user since: "+
		"make a new plan, or use force to write all the same", keys)}
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
	return p.streak.end()
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
