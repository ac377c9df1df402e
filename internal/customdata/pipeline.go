package customdata

import (
	"cmp"
	"context"
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
	window = 24
	// enough rows that wait for their writes keep more from being looked up: of a budget the lookups would take what the writes
	// need, and what was read long before the write may be another by then.
	enough = 50
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
	part     int          // in which what these rows overwrite is kept, or after which it would be
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
	kept  planLine // what the row was about to overwrite when it was handed over, if that was anything
	must  bool     // be done whatever the time, so that attempts without time left can't go on forever
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
// users, several write, each user by one of them, and the caller settles what is done, in the file's order. Of a single batch the
// caller does all but the writes: there is nothing to read meanwhile.
type pipeline struct {
	*syncer
	chosen  map[string]bool // the users that a run with a limit changes; hand's, as are limit and parts
	limit   int             // of them
	parts   int             // in which what they overwrite is kept
	late    atomic.Int64    // parts of the writers
	hire    func()          // another writer, if there may be one more: most rows change nothing, and need none
	single  bool            // there is one batch
	slots   chan struct{}   // one for each lookup under way
	looking chan *looked
	batches chan *batch
	room    *semaphore.Weighted
	over    atomic.Bool // no write is begun any more

	mu      sync.Mutex
	turn    sync.Cond        // of mu: a row was done
	pending int              // rows that the writers have
	ready   []*user          // that wait for a writer
	work    sync.Cond        // of mu: one more does, or none will any more
	idle    int              // writers
	closed  bool             // no user will come any more
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
func (s *syncer) pipeline(ctx context.Context, rows opened) error {
	p := &pipeline{
		syncer:  s,
		single:  rows.single,
		slots:   make(chan struct{}, s.config.lookups()),
		looking: make(chan *looked, s.config.lookups()),
		batches: make(chan *batch, max(1, window-s.config.lookups()-4)), // the others are with the goroutines
		room:    semaphore.NewWeighted(windowBytes),
		users:   map[string]*user{},
		recent:  map[string]recent{},
		blocked: maps.Clone(s.done.Blocked),
	}
	p.turn.L, p.work.L = &p.mu, &p.mu
	if p.blocked == nil {
		p.blocked = map[string]int{}
	}
	if limit := s.run.Params.Limit; limit > 0 {
		var err error
		if p.chosen, err = s.begun(ctx); err != nil {
			return err
		}
		if p.limit = int(limit); !s.keeps() {
			p.limit -= int(s.done.Chosen)
		}
	}
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	writing, stopWriting := untilDeadline(ctx)
	defer stopWriting()
	var reader, writers sync.WaitGroup
	left := s.config.writers()
	p.hire = func() {
		if left > 0 {
			left--
			writers.Go(func() { p.write(ctx, writing) })
		}
	}
	// Nothing that is being written is cut off: it could land after the run has ended. Nor does it go on after a panic.
	defer func() {
		p.over.Store(true)
		stopReading()
		if !p.single {
			for range p.batches { // the reader may wait for a place
			}
			reader.Wait()
		}
		p.close()
		writers.Wait()
	}()
	if p.single {
		p.read(reading, rows)
		p.hand(reading, stopReading)
	} else {
		reader.Go(func() { p.read(reading, rows) })
		reader.Go(func() { p.hand(reading, stopReading) })
	}
	return p.settleAll(ctx)
}

// untilDeadline is a context that ends by ctx's deadline alone: who interrupts a run wants to know what was written, so what is
// under way comes to its end.
func untilDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithDeadline(context.WithoutCancel(ctx), deadline)
	}
	return context.WithCancel(context.WithoutCancel(ctx))
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

// lasting is how many of the batch's first rows have an outcome that lasts. Where the tenant is down, or nobody waited for a later
// write to tell, rows that failed are not to blame, and are done again.
func (p *pipeline) lasting(b *batch) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	wrote := slices.ContainsFunc(b.outcomes, func(o outcome) bool { return o.kind == changed })
	n := slices.IndexFunc(b.outcomes, func(o outcome) bool {
		return o.kind == "" || p.streak.has(o) && (!wrote || p.streak.hopeless() || p.over.Load())
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
