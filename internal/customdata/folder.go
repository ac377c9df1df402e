package customdata

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/m2mjobs/m2mjobs/internal/extsort"
	"github.com/m2mjobs/m2mjobs/pkg/jobs"
	"github.com/m2mjobs/m2mjobs/pkg/logto"
)

// folder makes one line of the plan of all that is about a user.
type folder struct {
	*planner
	by   fold
	file io.Writer
	plan Plan
	// merges and replaces are the two ways to write: adding keys takes one request, removing some takes two.
	merges, replaces int64
	user             string
}

// fold is how what is about one user becomes one line.
type fold interface {
	begin()
	add(value []byte, line int) error
	end() (planLine, error)
}

// all writes the plan.
func (f *folder) all(chunks []io.Reader) error {
	head := planHead{Version: planVersion, Source: f.run.Params.Source, Of: f.done.Version, Made: time.Now().UTC().Truncate(time.Second)}
	if f.client != nil {
		head.Endpoint = f.client.Endpoint()
	}
	if err := (planLine{Head: &head}).write(f.file); err != nil {
		return err
	}
	n := 0
	for record, err := range extsort.Merge(chunks...) {
		if err != nil {
			return err
		}
		if n++; n%10_000 == 0 && f.run.TimeLeft() <= 0 {
			return jobs.ErrUnfinished
		}
		at := len(record.Key) - 9
		if user := string(record.Key[:at]); user != f.user {
			if err := f.finish(); err != nil {
				return err
			}
			f.user = user
		}
		if err := f.by.add(record.Value, int(binary.BigEndian.Uint64(record.Key[at+1:]))); err != nil {
			return fmt.Errorf("putting together what is about one user: %w", err)
		}
	}
	if err := f.finish(); err != nil {
		return err
	}
	return planLine{End: &planEnd{Users: f.plan.ToChange}}.write(f.file)
}

// finish writes the line of the user at hand, if there is something to write.
func (f *folder) finish() error {
	if f.user == "" {
		return nil
	}
	line, err := f.by.end()
	if err != nil {
		return err
	}
	line.ID = f.user
	f.by.begin()
	f.plan.Users++
	f.run.Count("users", 1)
	limit := f.run.Params.Limit
	switch {
	case len(line.Data) == 0 && len(line.Remove) == 0:
		f.plan.Same++
		f.run.Count(string(unchanged), 1)
		return nil
	case limit > 0 && f.plan.ToChange >= limit:
		f.plan.LeftOut++
		f.run.Count("leftOut", 1)
		return nil
	case len(line.Remove) == 0:
		f.merges++
	default:
		f.replaces++
	}
	f.plan.ToChange++
	f.run.Count("toChange", 1)
	return line.write(f.file)
}

// change is the line that makes one of the other.
func change(before, after map[string]any) planLine {
	line := planLine{Data: map[string]any{}, Before: map[string]any{}}
	for key, value := range after {
		was, ok := before[key]
		if ok && logto.EqualData(was, value) {
			continue
		}
		line.Data[key] = value
		if ok {
			line.Before[key] = was
		}
	}
	for key, was := range before {
		if _, ok := after[key]; !ok {
			line.Remove = append(line.Remove, key)
			line.Before[key] = was
		}
	}
	slices.Sort(line.Remove)
	return line
}

// estimate says what applying the plan takes.
func (f *folder) estimate(ctx context.Context) {
	reads := (f.plan.ToChange + logto.MaxUsersBy - 1) / logto.MaxUsersBy
	f.plan.Requests = reads + f.merges + 2*f.replaces
	if f.config.PerSecond != nil {
		if rate := f.config.PerSecond(ctx); rate > 0 {
			f.plan.Seconds = math.Ceil(float64(f.plan.Requests) / rate)
		}
	}
	// A token lasts an hour unless the tenant says otherwise.
	f.plan.Tokens += int64(f.plan.Seconds / 3600)
}
