package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
)

const (
	someRows     = 10      // how many rejected rows a report shows when all of them are kept
	allRows      = 1000    // how many it has when none is kept
	allRowsBytes = 1 << 20 // and how much they may be together
	// pendingBytes is how much may wait for the next Checkpoint: more is written out early. A repeated attempt comes to
	// this point after the same rows, so that it writes the same parts under the same names.
	pendingBytes = 4 << 20
)

// rejects are the rows that a run kept back, over all its attempts, as its checkpoints have them.
type rejects struct {
	Rows int64       `json:"rows,omitempty"`
	Kept []string    `json:"kept,omitempty"` // one a part: their number names the next part
	Some []Rejection `json:"some,omitempty"`
}

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
	x.Row = bytes.Clone(x.Row)
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
		if err := a.keep(a.runContext); err != nil {
			// Nothing more is held in memory: the run is going to fail with this error, and its repetition rejects
			// these rows again.
			a.mu.Lock()
			a.keepErr = err
			a.mu.Unlock()
		}
	}
}

// keep writes the rows that wait as the next part.
func (a *attempt) keep(ctx context.Context) error {
	if a.config.Keep == nil {
		return nil
	}
	a.keeping.Lock()
	defer a.keeping.Unlock()
	a.mu.Lock()
	data, part, err := a.pending, len(a.rejects.Kept)+1, a.keepErr
	a.pending = nil
	a.mu.Unlock()
	if err != nil || len(data) == 0 {
		return err
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
		return fmt.Errorf("keeping rejected rows as %s: %w", name, err)
	}
	a.rejects.Kept = append(a.rejects.Kept, where)
	return nil
}

func quoted(s string) json.RawMessage {
	data, err := json.Marshal(s)
	if err != nil { // never, for a string
		return json.RawMessage(`""`)
	}
	return data
}
