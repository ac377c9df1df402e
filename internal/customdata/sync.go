package customdata

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/m2mjobs/m2mjobs/internal/files"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
)

const (
	// maxChanges are named in the result of a dry run.
	maxChanges = 20
	// maxBlocked users may wait for a later run, so that the checkpoint stays small. More are not a few mishaps.
	maxBlocked = 1000

	// There is a checkpoint after so many writes, or so much time: each costs a request to the store, and a run that is killed
	// reads again what came after its last one.
	saveWrites = 100
	saveEvery  = time.Second
	// saveTime is how long a checkpoint may take when the run is over.
	saveTime = 5 * time.Second
)

// Result is what the report carries under "result". It has no values of custom data.
type Result struct {
	Action  Action `json:"action"`
	DryRun  bool   `json:"dryRun"`
	Source  string `json:"source,omitempty"`
	Version string `json:"version,omitempty"` // of the source, as files.Files.Version gives it
	Newer   string `json:"newer,omitempty"`
	Plan    *Plan  `json:"plan,omitempty"` // that was made
	// Changes are the first 20 that a dry run would make.
	Changes []Change `json:"changes,omitempty"`
}

// Change is what would change for one user by one row.
type Change struct {
	Line int      `json:"line"`
	User string   `json:"user"`           // the user's id
	Keys []string `json:"keys,omitempty"` // that would be written; the first ten
	Gone []string `json:"gone,omitempty"` // that would be removed; the first ten
}

// named are keys as a Change has them: it is kept in checkpoints, and a row may have a megabyte of keys.
func named(keys []string) []string {
	const most, longest = 10, 64
	first := slices.Clone(keys[:min(len(keys), most)])
	for i, key := range first {
		if len(key) > longest {
			first[i] = strings.ToValidUTF8(key[:longest], "") + "…"
		}
	}
	return first
}

// progress is the checkpoint: how far the rows are done.
type progress struct {
	position          // after the last row that is done
	Version  string   `json:"version,omitempty"` // of the source; of another one, the position means nothing
	Changes  []Change `json:"changes,omitempty"`
	// How many rows there were so far, and what became of them, dry or not.
	Rows     int64 `json:"rows,omitempty"`
	Changed  int64 `json:"changed,omitempty"`
	Missing  int64 `json:"missing,omitempty"`
	Rejected int64 `json:"rejected,omitempty"`
	// Chosen are the users that a run with a limit changes.
	Chosen int64 `json:"chosen,omitempty"`
	// Blocked are the users, by id, of whom a row could not be written, with its line: no later row of them is.
	Blocked map[string]int `json:"blocked,omitempty"`
	// Planning is how far a plan is, while one is made.
	Planning *planning `json:"planning,omitempty"`
	// Users are how many the plan that is applied is about.
	Users int64 `json:"users,omitempty"`
	// Plan is one that this run has made for itself, and applies.
	Plan *Plan `json:"plan,omitempty"`
	// Applied: all of it is done, and it may be gone.
	Applied bool `json:"applied,omitempty"`
}

// syncer is one attempt of a run.
type syncer struct {
	config  Config
	run     *jobs.Run[Params]
	newer   fieldPath
	client  *logto.Client // nil until the first row that needs it
	done    progress
	planner *planner     // while a plan's rows are read
	made    *Plan        // by this attempt
	plan    string       // that is applied
	size    func() int64 // of what is read
	// unsaved is what was settled since the last checkpoint.
	unsaved struct{ rows, writes int }
	saved   time.Time
}

// run is the job's Run.
func (c Config) run(ctx context.Context, run *jobs.Run[Params]) (err error) {
	s := &syncer{config: c, run: run, saved: time.Now()}
	if s.newer, err = parsePath(run.Params.Newer); err != nil {
		return err
	}
	if _, err := run.Resume(&s.done); err != nil {
		return fmt.Errorf("reading the checkpoint: %w", err)
	}
	s.countNothing()
	defer s.result()
	switch p := run.Params; {
	case p.Action == ActionPlan:
		return s.makePlan(ctx)
	case p.Action == ActionApply:
		return s.applyPlan(ctx, p.Plan)
	case p.Action == ActionUndo:
		return s.undo(ctx)
	case p.FailAbove > 0 && !p.DryRun:
		return s.planAndApply(ctx)
	}
	if err := s.do(ctx, s.openRows); err != nil {
		return err
	}
	return s.guard(s.done.Rows, s.done.Changed, s.done.Missing+s.done.Rejected)
}

// planAndApply looks at what the rows would change before it changes anything.
func (s *syncer) planAndApply(ctx context.Context) error {
	if s.done.Plan == nil {
		if err := s.makePlan(ctx); err != nil {
			return err
		}
		if err := s.planned(ctx, *s.made); err != nil {
			return err
		}
	}
	return s.applyOwn(ctx)
}

func (s *syncer) applyPlan(ctx context.Context, plan string) error {
	s.plan = plan
	return s.do(ctx, s.openPlan)
}

// guard fails the run if too large a share of the rows changes users, or can't be used.
func (s *syncer) guard(rows, changes, unusable int64) error {
	most := s.run.Params.FailAbove
	switch share := 100 * float64(changes+unusable) / float64(rows); {
	case most == 0:
	case rows == 0:
		return errors.New("there are no rows, which failAbove forbids: see why the file is empty")
	case share > most:
		return fmt.Errorf("of %d rows %d would change their users and %d can't be used: together %.1f %%, and failAbove allows %v %%",
			rows, changes, unusable, share, most)
	}
	return nil
}

// opener opens rows from a position on, of a version if one is given.
type opener func(ctx context.Context, version string, from position) (opened, error)

func (s *syncer) openRows(ctx context.Context, version string, from position) (opened, error) {
	return s.config.open(ctx, s.run.Params, version, from)
}

// do does rows from where an earlier attempt stopped, or from the start.
func (s *syncer) do(ctx context.Context, open opener) (err error) {
	rows, err := s.open(ctx, open)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.close()) }()
	s.size = rows.size
	s.tell()
	return s.pipeline(ctx, rows)
}

func (s *syncer) open(ctx context.Context, open opener) (opened, error) {
	resumed := s.done.Line > 0
	rows, err := open(ctx, s.done.Version, s.done.position)
	if resumed && errors.Is(err, files.ErrChanged) {
		s.run.Log.Warn("the source has changed since the checkpoint: reading it from the start",
			"source", s.run.Params.Source, "checkpoint", s.done.Version)
		s.startOver()
		resumed = false
		rows, err = open(ctx, "", position{})
	}
	if err != nil {
		return opened{}, err
	}
	switch etag := s.run.Params.etag; {
	case resumed:
		s.run.Log.Info("going on after the checkpoint", "line", s.done.Line)
	case etag != "" && etag != rows.version:
		s.run.Log.Warn("the object was overwritten after the event: reading what is there now",
			"source", s.run.Params.Source, "version", rows.version, "event", etag)
	}
	s.done.Version = rows.version
	return rows, nil
}

// startOver drops what earlier attempts did.
func (s *syncer) startOver() {
	s.run.Restart()
	s.countNothing()
	if s.done = (progress{}); s.planner != nil {
		s.done.Planning = &planning{}
	}
}

// settle counts what became of the first rows of a batch and saves now and then that they are done. Both happen here alone:
// what an attempt did after its last checkpoint is done and counted again by the next one.
func (s *syncer) settle(ctx context.Context, b *batch, rows int) error {
	for i := range rows {
		e, o := &b.rows[i], b.outcomes[i]
		if o.blocks != "" {
			if err := s.block(e.line, o); err != nil {
				return s.save(ctx, err)
			}
		}
		if o.kind == found {
			if err := s.planner.add(e, b.users[i]); err != nil {
				return err
			}
		}
		s.count(e, o)
		s.done.position = e.end
		s.unsaved.rows++
	}
	s.tell()
	switch {
	case s.planner != nil:
		// What is gathered is lost with the process: a checkpoint follows a chunk that is written.
		if s.planner.sorter.Size() >= chunkBytes {
			return s.save(ctx, nil)
		}
	case s.unsaved.writes >= saveWrites || s.unsaved.rows > 0 && time.Since(s.saved) >= saveEvery:
		return s.save(ctx, nil)
	}
	return nil
}

// count counts a row, and keeps it if it could not be used.
func (s *syncer) count(e *entry, o outcome) {
	if s.done.Plan == nil || s.run.Params.Action == ActionUndo { // a plan of rows has counted them
		s.run.Count("rows", 1)
	}
	s.done.Rows++
	if e.chosen {
		s.done.Chosen++
	}
	switch o.kind {
	case found:
		return
	case changed, wouldChange:
		s.done.Changed++
		s.unsaved.writes++
	case missing:
		s.done.Missing++
	case rejected, conflict:
		s.done.Rejected++
	}
	s.run.Count(string(o.kind), 1)
	if o.kind.kept() {
		s.run.Reject(jobs.Rejection{Line: e.line, Kind: string(o.kind), Reason: o.reason, Row: e.original()})
	}
	if o.kind == wouldChange && len(s.done.Changes) < maxChanges {
		s.done.Changes = append(s.done.Changes, o.change)
	}
}

// save makes a checkpoint of what is settled, also when ctx has ended, and returns why the run ends, if it does.
func (s *syncer) save(ctx context.Context, end error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
	defer cancel()
	if s.unsaved.rows == 0 && !errors.Is(end, jobs.ErrUnfinished) {
		return end
	}
	if s.planner != nil {
		if err := s.planner.flush(ctx); err != nil {
			return errors.Join(end, err)
		}
	}
	if err := s.run.Checkpoint(ctx, s.done); err != nil {
		return errors.Join(end, err)
	}
	s.unsaved.rows, s.unsaved.writes, s.saved = 0, 0, time.Now()
	return end
}

// block notes that a user's row could not be written.
func (s *syncer) block(line int, o outcome) error {
	if len(s.done.Blocked) == maxBlocked {
		return fmt.Errorf("line %d is the row of another user, after %d, whose write did not go through: run it again later: %s",
			line, maxBlocked, o.reason)
	}
	if s.done.Blocked == nil {
		s.done.Blocked = map[string]int{}
	}
	s.done.Blocked[o.blocks] = line
	return nil
}

// countNothing makes every count appear in the report, also those that stay zero.
func (s *syncer) countNothing() {
	names := []kind{"rows", changed, unchanged, stale, missing, rejected}
	switch p := s.run.Params; {
	case p.Action == ActionPlan:
		names = []kind{"rows", "users", "toChange", unchanged, stale, missing, rejected}
	case p.Action == ActionApply, p.Action == ActionUndo:
		names = []kind{"rows", changed, unchanged, conflict, missing, rejected}
	}
	if s.run.Params.DryRun {
		if i := slices.Index(names, changed); i >= 0 {
			names[i] = wouldChange
		}
	}
	for _, name := range names {
		s.run.Count(string(name), 0)
	}
}

func (s *syncer) result() {
	p := s.run.Params
	s.run.Result(Result{
		Action:  cmp.Or(p.Action, ActionSync),
		DryRun:  p.DryRun,
		Source:  p.Source,
		Version: s.done.Version,
		Newer:   p.Newer,
		Plan:    cmp.Or(s.made, s.done.Plan),
		Changes: s.done.Changes,
	})
}
