package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

const (
	someRows     = 10      // how many rejected rows a report shows when all of them are kept
	someParts    = 10      // how many parts it names
	reasonLimit  = 1 << 10 // how much of a reason is kept, in bytes
	allRows      = 1000    // how many it has when none is kept
	allRowsBytes = 1 << 20 // and how much they may be together
	// pendingBytes is how much may wait for the next Checkpoint: more is written out early. A repeated attempt comes to
	// this point after the same rows, so that it writes the same parts under the same names.
	pendingBytes = 4 << 20
)

// rejects are the rows that a run kept back, over all its attempts, as its checkpoints have them. Their size has a
// bound, however many rows there are.
type rejects struct {
	Rows  int64       `json:"rows,omitempty"`
	Parts int         `json:"parts,omitempty"` // their number names the next part
	Kept  []string    `json:"kept,omitempty"`  // where the first someParts are
	Some  []Rejection `json:"some,omitempty"`
}

// add notes another part.
func (r *rejects) add(where string) {
	r.Parts++
	if len(r.Kept) < someParts {
		// What a snapshot has of the list must not change.
		r.Kept = append(slices.Clip(r.Kept), where)
	}
}

// snapshot is what a checkpoint has of an attempt.
type snapshot struct {
	counts  map[string]int64
	rejects rejects
}

// snapshot needs a.mu.
func (a *attempt) snapshot() snapshot { return snapshot{maps.Clone(a.counts), a.rejects} }

// shown are the rows of a report or a checkpoint: a few if all are kept, else all that there is room for.
func (r rejects) shown(kept bool) []Rejection {
	if kept {
		return slices.Clone(r.Some[:min(len(r.Some), someRows)])
	}
	return slices.Clone(r.Some)
}

func (a *attempt) reject(x Rejection) {
	if len(x.Row) > 0 && !json.Valid(x.Row) {
		x.Row = quoted(string(x.Row))
	}
	x.Row, x.Reason = bytes.Clone(x.Row), clip(x.Reason, reasonLimit)
	line, err := json.Marshal(x)
	if err != nil { // a Rejection is a number, strings and valid JSON
		line = quoted(x.Reason)
	}
	a.mu.Lock()
	a.rejects.Rows++
	if len(a.rejects.Some) < allRows && a.someBytes+len(line) <= allRowsBytes {
		a.rejects.Some = append(a.rejects.Some, x)
		a.someBytes += len(line)
	}
	early := false
	if a.config.Keep != nil && a.keepErr == nil {
		a.pending = append(append(a.pending, line...), '\n')
		early = len(a.pending) >= pendingBytes
	}
	a.mu.Unlock()
	if early {
		if _, err := a.keep(a.runContext); err != nil {
			// Nothing more is held in memory: the run is going to fail with this error, and its repetition rejects
			// these rows again.
			a.mu.Lock()
			a.keepErr = err
			a.mu.Unlock()
		}
	}
}

// keep writes the rows that wait as the next part, and returns what the attempt has counted and rejected up to these
// rows: what comes while they are written is not kept yet, and belongs to the next checkpoint.
func (a *attempt) keep(ctx context.Context) (snapshot, error) {
	a.keeping.Lock()
	defer a.keeping.Unlock()
	a.mu.Lock()
	data, part, err := a.pending, a.rejects.Parts+1, a.keepErr
	a.pending = nil
	taken := a.snapshot()
	a.mu.Unlock()
	if err != nil || len(data) == 0 {
		return taken, err
	}
	name := fmt.Sprintf("rejected/%s/%05d.ndjson", a.id, part)
	var where string
	err = guard(a.log, func() (err error) {
		where, err = a.config.Keep(ctx, name, data)
		return err
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.pending = append(data, a.pending...)
		return taken, fmt.Errorf("keeping rejected rows as %s: %w", name, err)
	}
	a.rejects.add(where)
	taken.rejects.add(where)
	return taken, nil
}

func quoted(s string) json.RawMessage {
	data, err := json.Marshal(s)
	if err != nil { // never, for a string
		return json.RawMessage(`""`)
	}
	return data
}
