package customdata

import (
	"context"
)

// write does users until there are no more. No write is begun once ctx has ended; writing ends those that are under way.
func (p *pipeline) write(ctx, writing context.Context) {
	for u := p.next(); u != nil; u = p.next() {
		for i, ok := p.take(u); ok; i, ok = p.take(u) {
			if ctx.Err() != nil {
				p.over.Store(true)
			}
			if o, err := p.do(writing, u, i); err != nil {
				p.fail(err)
			} else {
				i.outcomes[i.index] = o
			}
			p.finished(i)
		}
	}
}

// next waits for a user. Nil: there are no more.
func (p *pipeline) next() *user {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle++
	for len(p.ready) == 0 && !p.closed {
		p.work.Wait()
	}
	p.idle--
	if len(p.ready) == 0 {
		return nil
	}
	u := p.ready[0]
	p.ready = p.ready[1:]
	return u
}

// close ends the writers once they have done the users that are ready.
func (p *pipeline) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.work.Broadcast()
}

// finished hands a row to who settles it.
func (p *pipeline) finished(i item) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pending--
	p.turn.Broadcast()
	i.left.Done()
}

// take returns the user's next row, or lets go of the user.
func (p *pipeline) take(u *user) (item, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(u.queue) == 0 {
		u.busy = false
		delete(p.users, u.id)
		p.recent[u.id] = recent{u, p.begun}
		return item{}, false
	}
	next := u.queue[0]
	u.queue = u.queue[1:]
	return next, true
}

// do does a row, or passes it over if nothing is written any more.
func (p *pipeline) do(ctx context.Context, u *user, i item) (outcome, error) {
	if p.over.Load() || !i.must && !p.run.Params.DryRun && p.run.TimeLeft() <= 0 {
		return outcome{}, nil
	}
	o, err := p.row(ctx, u, i)
	if err != nil {
		return p.failure(ctx, u, i.entry(), err)
	}
	return o, nil
}

// fail ends the run with the first error that comes.
func (p *pipeline) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
	p.over.Store(true)
}
