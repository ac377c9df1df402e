package customdata

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
)

// folding lets a user's rows take effect one after the other. Most users have one row, which changes nothing: it is not even
// decoded.
type folding struct {
	*folder
	rows   int
	first  []byte          // row, not decoded yet
	line   int             // of it
	before map[string]any  // what the user had of the keys that rows name
	state  map[string]any  // and has after the rows so far
	known  map[string]bool // the keys
	lines  []int
}

func (f *folding) begin() {
	f.rows, f.lines = 0, nil
	f.before, f.state, f.known = nil, nil, nil
}

func (f *folding) add(value []byte, line int) error {
	if f.rows++; f.rows == 1 {
		f.first, f.line = append(f.first[:0], value...), line
		return nil
	}
	if f.rows == 2 {
		if err := f.take(f.first, f.line); err != nil {
			return err
		}
	}
	return f.take(value, line)
}

func (f *folding) end() (planLine, error) {
	if f.rows == 1 && f.first[0] == isChanged {
		if err := f.take(f.first, f.line); err != nil {
			return planLine{}, err
		}
	}
	line := change(f.before, f.state)
	line.Lines = f.lines
	return line, nil
}

// take lets a row of the user take effect.
func (f *folding) take(value []byte, line int) error {
	if len(f.lines) < maxLines {
		f.lines = append(f.lines, line)
	}
	var x planned
	dec := json.NewDecoder(bytes.NewReader(value[1:]))
	dec.UseNumber()
	if err := dec.Decode(&x); err != nil {
		return fmt.Errorf("reading line %d again: %w", line, err)
	}
	if value[0] == isSame {
		x.Before = x.Data
	}
	f.meet(x)
	isStale, reason := f.newer.stale(x.Data, f.state)
	if reason != "" {
		return f.reject(line, x, reason)
	}
	if isStale {
		f.plan.Stale++
		f.run.Count(string(stale), 1)
		return nil
	}
	next := merged(f.state, x.Data, x.Remove)
	if err := logto.CheckCustomData(next); err != nil {
		return f.reject(line, x, "with the other rows of its user it is more than can be written at once: "+explain(err))
	}
	f.state = next
	return nil
}

// meet notes what the user had of keys that no earlier row named.
func (f *folding) meet(x planned) {
	if f.known == nil {
		f.before, f.state, f.known = map[string]any{}, map[string]any{}, map[string]bool{}
	}
	note := func(key string) {
		if f.known[key] {
			return
		}
		f.known[key] = true
		if value, ok := x.Before[key]; ok {
			f.before[key], f.state[key] = value, value
		}
	}
	for key := range x.Data {
		note(key)
	}
	for _, key := range x.Remove {
		note(key)
	}
}

func (f *folding) reject(line int, x planned, reason string) error {
	f.plan.Rejected++
	f.run.Count(string(rejected), 1)
	row, err := json.Marshal(planLine{ID: f.user, Data: x.Data, Remove: x.Remove})
	if err != nil {
		return err
	}
	f.run.Reject(jobs.Rejection{Line: line, Kind: string(rejected), Reason: reason, Row: row})
	return nil
}
