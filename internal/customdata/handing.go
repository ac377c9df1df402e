package customdata

import (
	"cmp"
	"context"
	"io"
	"maps"
)

// enqueue gives the writers the rows that change something, or that come after such rows of their user. What they are about to
// overwrite is kept first.
func (p *pipeline) enqueue(ctx context.Context, l *looked) error {
	b := l.batch
	work, before := p.sift(l)
	if err := p.keepBefore(ctx, before); err != nil {
		return err
	}
	b.part = p.parts
	p.mu.Lock()
	defer p.mu.Unlock()
	for n, w := range work {
		p.users[w.id] = w.user
		w.queue = append(w.queue, item{b, w.index, w.kept, l.first && n == 0})
		b.left.Add(1)
		p.pending++
		if !w.busy {
			w.busy = true
			p.ready = append(p.ready, w.user)
			if len(p.ready) > p.idle {
				p.hire()
			}
			p.work.Signal()
		}
	}
	return nil
}

// task is a row for the writers.
type task struct {
	*user
	index int
	kept  planLine
}

// sift gives the rows that need no write their outcome, and returns the others with what takes them back.
func (p *pipeline) sift(l *looked) (work []task, before []planLine) {
	b, users := l.batch, l.users
	p.mu.Lock()
	defer p.mu.Unlock()
	// Later lookups began after these were done.
	defer maps.DeleteFunc(p.recent, func(_ string, r recent) bool { return r.lookups <= l.number })
	fresh := map[string]*user{} // of this batch
	for i := range b.rows {
		if b.outcomes[i].kind != "" {
			continue
		}
		id := users[i].ID
		u := cmp.Or(p.users[id], fresh[id], p.recent[id].user)
		waits := u != nil
		if u == nil {
			u = &user{id: id, data: users[i].CustomData, expected: users[i].CustomData}
			waits = p.blocked[id] != 0
		}
		set, drop, o := p.compare(u.expected, &b.rows[i])
		changes := len(set) > 0 || len(drop) > 0
		if !changes && !waits {
			b.outcomes[i] = o
			continue
		}
		var kept planLine
		if changes {
			if !p.choose(id, &b.rows[i]) {
				b.cut(i)
				return work, before
			}
			kept = inverse(id, u.expected, set, drop)
			before = append(before, kept)
			u.expected = merged(u.expected, set, drop)
		}
		fresh[id] = u
		work = append(work, task{u, i, kept})
	}
	return work, before
}

// choose tells whether a user may be changed within the limit.
func (p *pipeline) choose(id string, e *entry) bool {
	if p.chosen == nil || p.chosen[id] {
		return true
	}
	if len(p.chosen) >= p.limit {
		return false
	}
	p.chosen[id], e.chosen = true, true
	return true
}

// cut ends the rows before the one at index i.
func (b *batch) cut(i int) { b.rows, b.outcomes, b.err = b.rows[:i], b.outcomes[:i], io.EOF }
