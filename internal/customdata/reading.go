package customdata

import (
	"context"
	"fmt"
	"io"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
)

// read reads batches and begins to look their users up, until the rows, the time or the run ends.
func (p *pipeline) read(ctx context.Context, rows source) {
	defer close(p.looking)
	for first := true; ; first = false {
		p.awaitWriters()
		l := p.begin(ctx, rows, first)
		end := l.err != nil || l.failed != nil // what follows does not look at l before it is done
		switch {
		case l.failed != nil || len(l.rows) == 0:
			close(l.done)
		case p.single:
			p.slots <- struct{}{}
			p.look(ctx, l)
		default:
			p.slots <- struct{}{}
			go p.look(ctx, l)
		}
		p.looking <- l
		if end {
			return
		}
	}
}

// awaitWriters waits until the writers want more rows. They come to the end of those they have, also when the run is over.
func (p *pipeline) awaitWriters() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.pending >= enough {
		p.turn.Wait()
	}
}

// begin reads a batch.
func (p *pipeline) begin(ctx context.Context, rows source, first bool) *looked {
	l := &looked{batch: &batch{}, first: first, done: make(chan struct{})}
	if p.over.Load() || ctx.Err() != nil || !first && p.run.TimeLeft() <= 0 {
		l.err = jobs.ErrUnfinished
		return l
	}
	l.err = p.gather(ctx, l.batch, rows)
	l.outcomes = make([]outcome, len(l.rows))
	if p.judge(l.batch) {
		l.failed = p.connect(ctx)
	}
	p.mu.Lock()
	p.begun++
	l.number = p.begun
	p.mu.Unlock()
	return l
}

// look looks the users of a batch up.
func (p *pipeline) look(ctx context.Context, l *looked) {
	defer func() {
		<-p.slots
		close(l.done)
	}()
	l.users, l.failed = p.lookup(ctx, l.rows, l.outcomes)
}

// hand gives batches to the writers, in the file's order, and to who settles them, up to one after which nothing comes.
func (p *pipeline) hand(ctx context.Context, stopReading func()) {
	defer close(p.batches)
	ended := false
	for l := range p.looking {
		<-l.done
		if ended {
			continue
		}
		if l.failed == nil && p.planner != nil {
			l.plan(l.users)
		} else if l.failed == nil {
			l.failed = p.enqueue(ctx, l)
		}
		if l.failed != nil {
			l.batch = &batch{err: l.failed}
		}
		if ended = l.err != nil; ended {
			stopReading()
		}
		p.batches <- l.batch
	}
}

// gather reads the rows of a batch. After the last one the error is io.EOF.
func (p *pipeline) gather(ctx context.Context, b *batch, rows source) error {
	for len(b.rows) < logto.MaxUsersBy && b.bytes < maxBatchBytes {
		e, err := rows.next()
		if err == io.EOF {
			return err
		}
		if err != nil {
			// The rows before it are done all the same.
			return fmt.Errorf("reading rows: %w", err)
		}
		size := min(int64(len(e.raw)), maxBatchBytes) // a row of an event may have any
		if err := p.room.Acquire(ctx, size); err != nil {
			return jobs.ErrUnfinished // the run is over
		}
		b.rows = append(b.rows, e)
		b.bytes += size
	}
	return nil
}

// plan leaves the rows to the planner.
func (b *batch) plan(users []logto.User) {
	b.users = users
	for i := range b.outcomes {
		if b.outcomes[i].kind == "" {
			b.outcomes[i].kind = found
		}
	}
}

// judge gives rows that can't be used their outcome, and tells whether there are others.
func (p *pipeline) judge(b *batch) (others bool) {
	for i := range b.rows {
		e := &b.rows[i]
		if keys := p.run.Params.OnlyKeys; keys != nil && e.reason == "" {
			e.row.only(keys)
		}
		if e.reason == "" && e.row.before == nil {
			e.reason = p.newer.checkRow(e.row.data)
		}
		if e.reason != "" {
			b.outcomes[i] = outcome{kind: rejected, reason: e.reason}
		} else {
			others = true
		}
	}
	return others
}
