package customdata

import (
	"context"
	"errors"
	"fmt"
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
	DryRun  bool   `json:"dryRun"`
	Source  string `json:"source,omitempty"`
	Version string `json:"version,omitempty"` // of the source, as files.Files.Version gives it
	Newer   string `json:"newer,omitempty"`
	// Changes are the first 20 that a dry run would make.
	Changes []Change `json:"changes,omitempty"`
}

// Change is what would change for one user by one row.
type Change struct {
	Line int      `json:"line"`
	User string   `json:"user"`           // the user's id
	Keys []string `json:"keys,omitempty"` // that would be written
	Gone []string `json:"gone,omitempty"` // that would be removed
}

// progress is the checkpoint: how far the rows are done.
type progress struct {
	position          // after the last row that is done
	Version  string   `json:"version,omitempty"` // of the source; of another one, the position means nothing
	Changes  []Change `json:"changes,omitempty"`
	// Blocked are the users, by id, of whom a row could not be written, with its line: no later row of them is.
	Blocked map[string]int `json:"blocked,omitempty"`
}

// syncer is one attempt of a run.
type syncer struct {
	config Config
	run    *jobs.Run[Params]
	newer  fieldPath
	client *logto.Client // nil until the first row that needs it
	done   progress
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
	rows, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.close()) }()
	s.countNothing()
	defer s.result()
	return s.pipeline(ctx, rows)
}

// open opens the rows where an earlier attempt stopped, or from the start.
func (s *syncer) open(ctx context.Context) (opened, error) {
	resumed, err := s.run.Resume(&s.done)
	if err != nil {
		return opened{}, fmt.Errorf("reading the checkpoint: %w", err)
	}
	rows, err := s.config.open(ctx, s.run.Params, s.done.Version, s.done.position)
	if resumed && errors.Is(err, files.ErrChanged) {
		s.run.Log.Warn("the source has changed since the checkpoint: reading it from the start",
			"source", s.run.Params.Source, "checkpoint", s.done.Version)
		s.run.Restart()
		resumed, s.done = false, progress{}
		rows, err = s.config.open(ctx, s.run.Params, "", position{})
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

// settle counts what became of rows and saves now and then that they are done. Both happen here alone: what an attempt did
// after its last checkpoint is done and counted again by the next one.
func (s *syncer) settle(ctx context.Context, rows []entry, outcomes []outcome) error {
	if err := s.block(rows, outcomes); err != nil {
		return s.save(ctx, err)
	}
	for i, o := range outcomes {
		s.run.Count("rows", 1)
		s.run.Count(string(o.kind), 1)
		if o.kind.kept() {
			s.run.Reject(jobs.Rejection{Line: rows[i].line, Kind: string(o.kind), Reason: o.reason, Row: rows[i].original()})
		}
		if o.kind == wouldChange && len(s.done.Changes) < maxChanges {
			s.done.Changes = append(s.done.Changes, o.change)
		}
		if o.kind == changed {
			s.unsaved.writes++
		}
		s.done.position = rows[i].end
		s.unsaved.rows++
	}
	if s.unsaved.writes >= saveWrites || s.unsaved.rows > 0 && time.Since(s.saved) >= saveEvery {
		return s.save(ctx, nil)
	}
	return nil
}

// save makes a checkpoint of what is settled, also when ctx has ended, and returns why the run ends, if it does.
func (s *syncer) save(ctx context.Context, end error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
	defer cancel()
	if s.unsaved.rows == 0 && !errors.Is(end, jobs.ErrUnfinished) {
		return end
	}
	if err := s.run.Checkpoint(ctx, s.done); err != nil {
		return errors.Join(end, err)
	}
	s.unsaved.rows, s.unsaved.writes, s.saved = 0, 0, time.Now()
	return end
}

// block notes the users whose rows could not be written.
func (s *syncer) block(batch []entry, outcomes []outcome) error {
	for i, o := range outcomes {
		if o.blocks == "" {
			continue
		}
		if len(s.done.Blocked) == maxBlocked {
			return fmt.Errorf("line %d is the row of another user, after %d, whose write did not go through: run it again later: %s",
				batch[i].line, maxBlocked, o.reason)
		}
		if s.done.Blocked == nil {
			s.done.Blocked = map[string]int{}
		}
		s.done.Blocked[o.blocks] = batch[i].line
	}
	return nil
}

// countNothing makes every count appear in the report, also those that stay zero.
func (s *syncer) countNothing() {
	written := changed
	if s.run.Params.DryRun {
		written = wouldChange
	}
	for _, kind := range []kind{"rows", written, unchanged, stale, missing, rejected} {
		s.run.Count(string(kind), 0)
	}
}

func (s *syncer) result() {
	p := s.run.Params
	s.run.Result(Result{
		DryRun:  p.DryRun,
		Source:  p.Source,
		Version: s.done.Version,
		Newer:   p.Newer,
		Changes: s.done.Changes,
	})
}
