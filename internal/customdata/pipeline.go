package customdata

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
)

const (
	// maxBatchBytes end a batch of large rows early.
	maxBatchBytes = 4 << 20
	// window is how many batches may be under way: while a slow row is waited for, those after it go on. It is also what a run
	// that was killed looks up again.
	window = 16
	// windowBytes of rows may be under way, so that memory has a bound whatever their size.
	windowBytes = 8 << 20
)

// batch is rows whose users are looked up together, and which are settled together.
type batch struct {
	rows     []entry
	outcomes []outcome // each is set by one goroutine
	left     sync.WaitGroup
	bytes    int64
	err      error        // why there is nothing after these rows: io.EOF after the last one
	users    []logto.User // of a plan's rows
}

// looked is a batch whose users are being looked up.
type looked struct {
	*batch
	number int // from 1, in the order in which lookups begin
	first  bool
	users  []logto.User
	failed error
	done   chan struct{}
}

// item is a row that a writer is to do.
type item struct {
	*batch
	index int
	must  bool // be done whatever the time, so that attempts without time left can't go on forever
}

func (i item) entry() *entry { return &i.rows[i.index] }

// user is a user of whom rows are under way, in the file's order.
type user struct {
	id   string
	data map[string]any // as Logto has it by all that is known; the writer's
	gone bool           // deleted since it was read; the writer's
	// expected is what the user will have once its rows under way are written; hand's.
	expected map[string]any

	// These are guarded by pipeline.mu.
	queue []item
	busy  bool // a writer has it, or it is on its way to one
}

// pipeline does an attempt's rows in three steps that go on at the same time: one goroutine reads rows and looks up their
// users, several write, each user by one of them, and the caller settles what is done, in the file's order.
type pipeline struct {
	*syncer
	changes int64         // that the rows handed on so far make; hand's, as is parts
	parts   int           // in which what they overwrite is kept
	slots   chan struct{} // one for each lookup under way
	looking chan *looked
	batches chan *batch
	ready   chan *user // one place for each row under way, so that handing over never waits
	room    *semaphore.Weighted
	over    atomic.Bool // no write is begun any more

	mu      sync.Mutex
	turn    sync.Cond        // of mu: a row was done
	pending int              // rows that the writers have
	users   map[string]*user // that have rows under way
	// recent are those whose last row was done while lookups were under way that may have read them before.
	recent  map[string]recent
	begun   int            // lookups
	blocked map[string]int // users, by id, of whom the row of that line could not be written
	streak  streak
	err     error // what ends the run
}

// recent is a user whose last row was done when so many lookups had begun.
type recent struct {
	*user
	lookups int
}

// pipeline does the rows. It returns when nothing is under way any more.
func (s *syncer) pipeline(ctx context.Context, rows source) error {
	p := &pipeline{
		syncer:  s,
		changes: s.done.Changed,
		slots:   make(chan struct{}, s.config.lookups()),
		looking: make(chan *looked, s.config.lookups()),
		batches: make(chan *batch, max(1, window-s.config.lookups()-4)), // the others are with the goroutines
		ready:   make(chan *user, window*logto.MaxUsersBy),
		room:    semaphore.NewWeighted(windowBytes),
		users:   map[string]*user{},
		recent:  map[string]recent{},
		blocked: maps.Clone(s.done.Blocked),
	}
	p.turn.L = &p.mu
	if p.blocked == nil {
		p.blocked = map[string]int{}
	}
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	writing, stopWriting := untilDeadline(ctx)
	defer stopWriting()
	var reader, writers sync.WaitGroup
	reader.Go(func() { p.read(reading, rows) })
	reader.Go(func() { p.hand(reading, stopReading) })
	for range s.config.writers() {
		writers.Go(func() { p.write(ctx, writing) })
	}
	err := p.settleAll(ctx)
	// Nothing that is being written is cut off: it could land after the run has ended.
	p.over.Store(true)
	stopReading()
	for range p.batches { // the reader may wait for a place
	}
	reader.Wait()
	close(p.ready)
	writers.Wait()
	return err
}

// untilDeadline is a context that ends by ctx's deadline alone: who interrupts a run wants to know what was written, so what is
// under way comes to its end.
func untilDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithDeadline(context.WithoutCancel(ctx), deadline)
	}
	return context.WithCancel(context.WithoutCancel(ctx))
}

// read reads batches and begins to look their users up, until the rows, the time or the run ends.
func (p *pipeline) read(ctx context.Context, rows source) {
	defer close(p.looking)
	for first := true; ; first = false {
		l := p.begin(ctx, rows, first)
		end := l.err != nil || l.failed != nil // what follows does not look at l before it is done
		if l.failed == nil && len(l.rows) > 0 {
			p.slots <- struct{}{}
			go p.look(ctx, l)
		} else {
			close(l.done)
		}
		p.looking <- l
		if end {
			return
		}
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
		if err := p.room.Acquire(ctx, int64(len(e.raw))); err != nil {
			return jobs.ErrUnfinished // the run is over
		}
		b.rows = append(b.rows, e)
		b.bytes += int64(len(e.raw))
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

// enqueue gives the writers the rows that change something, or that come after such rows of their user. What they are about to
// overwrite is kept first.
func (p *pipeline) enqueue(ctx context.Context, l *looked) error {
	b := l.batch
	work, before := p.sift(l)
	if err := p.keepBefore(ctx, before); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for n, w := range work {
		p.users[w.id] = w.user
		w.queue = append(w.queue, item{b, w.index, l.first && n == 0})
		b.left.Add(1)
		p.pending++
		if !w.busy {
			w.busy = true
			p.ready <- w.user
		}
	}
	return nil
}

// task is a row for the writers.
type task struct {
	*user
	index int
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
		if changes {
			if limit := p.run.Params.Limit; limit > 0 && p.changes >= limit {
				b.cut(i)
				return work, before
			}
			p.changes++
			before = append(before, inverse(id, u.expected, set, drop))
			u.expected = merged(u.expected, set, drop)
		}
		fresh[id] = u
		work = append(work, task{u, i})
	}
	return work, before
}

// cut ends the rows before the one at index i.
func (b *batch) cut(i int) { b.rows, b.outcomes, b.err = b.rows[:i], b.outcomes[:i], io.EOF }

// write does users until there are no more. No write is begun once ctx has ended; writing ends those that are under way.
func (p *pipeline) write(ctx, writing context.Context) {
	for u := range p.ready {
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
	o, err := p.row(ctx, u, i.entry())
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

// settleAll settles the batches in the file's order, until one is not whole.
func (p *pipeline) settleAll(ctx context.Context) error {
	for b := range p.batches {
		b.left.Wait()
		p.awaitVerdict(b)
		done := p.lasting(b)
		if err := p.settle(ctx, b, done); err != nil {
			return err
		}
		p.room.Release(b.bytes)
		switch {
		case done < len(b.rows):
			return p.save(ctx, p.why(ctx, b))
		case b.err == io.EOF:
			return nil
		case b.err != nil:
			return p.save(ctx, cmp.Or(ctx.Err(), b.err))
		}
	}
	return nil
}

// awaitVerdict waits, where a write of the batch did not go through, until it is known whether the tenant is down or that row
// alone has failed: until a later write goes through, too many do not, or none is left.
func (p *pipeline) awaitVerdict(b *batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.pending > 0 && !p.streak.hopeless() && slices.ContainsFunc(b.outcomes, p.streak.has) {
		p.turn.Wait()
	}
}

// lasting is how many of the batch's first rows have an outcome that lasts. Where the tenant is down, rows that failed are not to
// blame, and are done again.
func (p *pipeline) lasting(b *batch) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	wrote := slices.ContainsFunc(b.outcomes, func(o outcome) bool { return o.kind == changed })
	n := slices.IndexFunc(b.outcomes, func(o outcome) bool {
		return o.kind == "" || p.streak.has(o) && (!wrote || p.streak.hopeless())
	})
	if n < 0 {
		return len(b.outcomes)
	}
	return n
}

// why tells what ended the run in the middle of a batch.
func (p *pipeline) why(ctx context.Context, b *batch) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.err != nil:
		return p.err
	case ctx.Err() != nil:
		return ctx.Err()
	case slices.ContainsFunc(b.outcomes, p.streak.has):
		return p.streak.error()
	}
	return jobs.ErrUnfinished
}
