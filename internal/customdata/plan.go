package customdata

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/m2mjobs/m2mjobs/internal/extsort"
	"github.com/m2mjobs/m2mjobs/internal/files"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
)

// Plan is what a plan says in sum.
type Plan struct {
	Location string `json:"location"`
	Rows     int64  `json:"rows"`
	Users    int64  `json:"users"`    // that were found
	ToChange int64  `json:"toChange"` // of them
	LeftOut  int64  `json:"leftOut"`  // of them, that would change too, but for the limit
	Same     int64  `json:"unchanged"`
	Stale    int64  `json:"stale"` // rows
	Missing  int64  `json:"missing"`
	Rejected int64  `json:"rejected"`
	// What applying it will take.
	Requests int64   `json:"requests"`
	Seconds  float64 `json:"seconds,omitempty"` // at the budget; 0: there is none, so it takes what the server takes
	Tokens   int64   `json:"tokens"`
}

// planning is how far a plan is, as the checkpoint has it.
type planning struct {
	Chunks int  `json:"chunks"`          // of sorted rows, that are written
	Read   bool `json:"read"`            // all rows are
	Parts  int  `json:"parts,omitempty"` // of what a run kept that were read
	Made   bool `json:"made,omitempty"`  // the plan is, and the chunks may be gone: an attempt after that begins anew
}

// planner gathers rows by the users that they are about. It sorts by user and line in chunks that it keeps beside the plan, so
// that a continuation has them and memory has a bound.
type planner struct {
	*syncer
	sorter extsort.Sorter
	key    []byte
}

// chunkBytes of rows are sorted at a time.
const chunkBytes = 4 << 20

// planned is a row as the planner keeps it, before a byte that says whether it changes its user by itself.
type planned struct {
	Data   map[string]any `json:"d,omitempty"`
	Remove []string       `json:"r,omitempty"`
	Before map[string]any `json:"b,omitempty"` // what the user has of the row's keys; nil: the same as Data
}

// maxLines of the source are named in a line of a plan.
const maxLines = 10

const (
	isSame    = 'u'
	isChanged = 'c'
)

// makePlan writes a plan of what the rows would change. A plan that is not as it should be is kept, to be looked at.
func (s *syncer) makePlan(ctx context.Context) error {
	p := s.planning()
	if s.done.Planning == nil || !s.done.Planning.Read {
		if err := p.gather(ctx); err != nil {
			return err
		}
	}
	if s.run.TimeLeft() <= 0 {
		return s.save(ctx, jobs.ErrUnfinished)
	}
	plan, err := p.write(ctx, func(f *folder) fold { return &folding{folder: f} })
	if err != nil {
		return err
	}
	s.made = &plan
	return s.guard(plan.Rows, plan.ToChange+plan.LeftOut, plan.Missing+plan.Rejected)
}

// planning begins a plan, or goes on with one.
func (s *syncer) planning() *planner {
	if s.done.Planning != nil && s.done.Planning.Made {
		s.run.Log.Info("an earlier attempt failed after it had made the plan: making it again")
		s.startOver()
	}
	return &planner{syncer: s}
}

// planned goes over to applying a plan that the run has made for itself.
func (s *syncer) planned(ctx context.Context, plan Plan) error {
	s.done = progress{Plan: &plan}
	s.unsaved.rows++
	return s.save(ctx, nil)
}

// applyOwn applies it, and removes it: it has personal data.
func (s *syncer) applyOwn(ctx context.Context) error {
	where := s.done.Plan.Location
	if !s.done.Applied {
		if err := s.applyPlan(ctx, where); err != nil {
			return err
		}
		s.done.Applied = true
		s.unsaved.rows++ // that there is nothing left to do is to be saved before the plan is gone
		if err := s.save(ctx, nil); err != nil {
			return err
		}
	}
	return s.config.Files.Remove(ctx, where)
}

// gather reads all rows and looks their users up.
func (p *planner) gather(ctx context.Context) error {
	if p.done.Planning == nil {
		p.done.Planning = &planning{}
	}
	p.planner = p
	defer func() { p.planner = nil }()
	if err := p.do(ctx, p.openRows); err != nil {
		return err
	}
	p.done.Planning.Read = true
	p.unsaved.rows++ // that all rows are read is to be saved, too
	return p.save(ctx, nil)
}

// add takes a row whose user was found.
func (p *planner) add(e *entry, u logto.User) error {
	x, flag := planned{Data: e.row.data, Remove: e.row.remove}, byte(isSame)
	if set, drop := e.row.differs(u.CustomData); len(set) > 0 || len(drop) > 0 {
		x.Before, flag = e.row.named(u.CustomData), isChanged
	}
	value, err := json.Marshal(x)
	if err != nil {
		return fmt.Errorf("planning line %d: %w", e.line, err)
	}
	p.sort(u.ID, uint64(e.line), append([]byte{flag}, value...))
	return nil
}

// sort adds to a user, in some order. An id has no NUL, so that what is of one user stands together.
func (p *planner) sort(user string, order uint64, value []byte) {
	p.key = binary.BigEndian.AppendUint64(append(append(p.key[:0], user...), 0), order)
	p.sorter.Add(p.key, value)
}

// flush writes the rows gathered so far as a sorted chunk. The same chunk again replaces it.
func (p *planner) flush(ctx context.Context) (err error) {
	if p.sorter.Size() == 0 {
		return nil
	}
	file, err := p.config.Files.Create(ctx, p.config.Output, p.chunk(p.done.Planning.Chunks+1))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Abort()) }()
	if err := p.sorter.Chunk(file); err != nil {
		return fmt.Errorf("sorting rows by user: %w", err)
	}
	if err := p.publish(file); err != nil {
		return err
	}
	p.done.Planning.Chunks++
	return nil
}

// publish makes a file appear, unless another attempt may have taken over: its files have the same names.
func (p *planner) publish(file *files.Writer) error {
	if err := p.run.Alive(); err != nil {
		return err
	}
	return file.Close()
}

func (p *planner) chunk(n int) string {
	return fmt.Sprintf("plans/%s.rows-%05d.s2", p.run.ID, n)
}

// write merges the chunks and writes the plan.
func (p *planner) write(ctx context.Context, by func(*folder) fold) (plan Plan, err error) {
	chunks, closeAll, err := p.chunks(ctx)
	if err != nil {
		return Plan{}, err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	if err := p.connect(ctx); len(chunks) > 0 && err != nil {
		return Plan{}, err
	}
	base, name := path.Split(p.planLocation())
	file, err := p.config.Files.Create(ctx, cmp.Or(base, "."), name)
	if err != nil {
		return Plan{}, err
	}
	defer func() { err = errors.Join(err, file.Abort()) }()
	f := &folder{planner: p, file: file, plan: Plan{
		Location: file.Location(), Rows: p.done.Rows, Missing: p.done.Missing, Rejected: p.done.Rejected, Tokens: 1,
	}}
	f.by = by(f)
	f.by.begin()
	if err := f.all(chunks); err != nil {
		return Plan{}, err
	}
	if err := p.publish(file); err != nil {
		return Plan{}, err
	}
	f.estimate(ctx)
	p.done.Planning.Made = true
	p.unsaved.rows++
	if err := p.save(ctx, nil); err != nil {
		return Plan{}, err
	}
	return f.plan, p.removeChunks(ctx)
}

// planLocation is where the plan is written.
func (p *planner) planLocation() string {
	if p.run.Params.Plan != "" {
		return p.run.Params.Plan
	}
	return join(p.config.Output, "plans/"+p.run.ID+".plan")
}

// join makes a location of a directory and a name below it.
func join(base, name string) string {
	if base != "" && base[len(base)-1] == '/' {
		return base + name
	}
	return base + "/" + name
}

// chunks copies the chunks to a temporary file each and opens them: reading many objects of S3 side by side would hold a part of
// each in memory.
func (p *planner) chunks(ctx context.Context) (chunks []io.Reader, closeAll func() error, err error) {
	dir, err := os.MkdirTemp("", "m2mjobs-plan-")
	if err != nil {
		return nil, nil, fmt.Errorf("making a folder for sorting: %w", err)
	}
	var files []*os.File
	closeAll = func() error {
		var errs []error
		for _, file := range files {
			errs = append(errs, file.Close())
		}
		return errors.Join(append(errs, os.RemoveAll(dir))...)
	}
	for n := range p.done.Planning.Chunks {
		file, err := os.CreateTemp(dir, "")
		if err == nil {
			files = append(files, file)
			err = p.copyChunk(ctx, file, n+1)
		}
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("copying sorted rows to %s: %w", dir, err), closeAll())
		}
		chunks = append(chunks, file)
	}
	return chunks, closeAll, nil
}

func (p *planner) copyChunk(ctx context.Context, to *os.File, n int) (err error) {
	from, err := p.config.Files.Open(ctx, join(p.config.Output, p.chunk(n)), "", 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	if _, err := io.Copy(to, from); err != nil {
		return err
	}
	_, err = to.Seek(0, io.SeekStart)
	return err
}

func (p *planner) removeChunks(ctx context.Context) error {
	for n := range p.done.Planning.Chunks {
		if err := p.config.Files.Remove(ctx, join(p.config.Output, p.chunk(n+1))); err != nil {
			return err
		}
	}
	return nil
}
