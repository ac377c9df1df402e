package customdata

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/logto"
)

// planVersion is the form of plans.
const planVersion = 1

// maxPlanLine bytes of a line of a plan are read. It has what is before, too, and a user may have come to that by many writes.
const maxPlanLine = 16 * maxRow

// planHead is a plan's first line.
type planHead struct {
	Version  int       `json:"plan"`
	Endpoint string    `json:"endpoint"` // of the tenant that it was made for
	Source   string    `json:"source,omitempty"`
	Of       string    `json:"version,omitempty"` // of the source
	Made     time.Time `json:"made"`
}

// planLine is a line of a plan, and of what an undo takes back: what to write to a user who has what is said to be before.
type planLine struct {
	Head *planHead `json:"m2mjobs,omitempty"` // of the first line alone
	End  *planEnd  `json:"end,omitempty"`     // of the last line alone: a plan without it was cut off

	ID     string         `json:"id,omitempty"`
	Data   map[string]any `json:"customData,omitempty"`
	Remove []string       `json:"remove,omitempty"`
	// Before has what the user had of these keys; one that is not in it was not there. It is not nil in a line about a user.
	Before map[string]any `json:"before,omitzero"`
	Lines  []int          `json:"lines,omitempty"` // of the source; the first ten
}

type planEnd struct {
	Users int64 `json:"users"`
}

// write appends the line.
func (l planLine) write(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(l)
}

// read reads a line. Its errors have no values.
func (l *planLine) read(raw []byte) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	dec.DisallowUnknownFields()
	if err := dec.Decode(l); err != nil {
		return errors.New("not a line of a plan")
	}
	return nil
}

// row is what the line says to do.
func (l planLine) row() (row, error) {
	if l.ID == "" || l.Before == nil {
		return row{}, errors.New("it has no id, or nothing that was before: it is not of a plan")
	}
	r := row{key: logto.ByID, value: l.ID, data: l.Data, remove: l.Remove, before: l.Before}
	if r.data == nil {
		r.data = map[string]any{}
	}
	return r, nil
}

// planSource yields the rows of a plan.
type planSource struct {
	lines *lineReader
	name  string
}

func newPlanSource(r io.Reader, name string, from position) *planSource {
	lines := newLineReader(r, from)
	lines.max = maxPlanLine
	return &planSource{lines, name}
}

func (s *planSource) next() (entry, error) {
	for {
		raw, long, err := s.lines.next()
		if err != nil {
			return entry{}, err
		}
		at := s.lines.at
		e := entry{line: at.Line, end: at, raw: raw}
		var line planLine
		if long {
			err = errors.New("it is too long")
		} else if err = line.read(raw); err == nil {
			if line.Head != nil || line.End != nil {
				continue
			}
			if e.row, err = line.row(); err == nil {
				e.check()
			}
		}
		if err != nil {
			return entry{}, fmt.Errorf("line %d of the plan %s: %w: make the plan again", at.Line, s.name, err)
		}
		return e, nil
	}
}

// openPlan opens a plan from a position on. At its beginning it is looked through first, so that nothing of one that was cut off
// is done.
func (s *syncer) openPlan(ctx context.Context, version string, from position) (opened, error) {
	name := s.plan
	if from.Offset == 0 {
		read, err := s.checkPlan(ctx, name, version)
		if err != nil {
			return opened{}, err
		}
		version = read
	}
	text, err := s.config.openText(ctx, name, "", version, from.Offset)
	if err != nil {
		return opened{}, err
	}
	if version, err = text.version(); err != nil {
		return opened{}, errors.Join(err, text.Close())
	}
	return opened{source: newPlanSource(text, name, from), version: version, size: text.size, close: text.Close}, nil
}

// checkPlan reads a plan's first and last line, and counts the others.
func (s *syncer) checkPlan(ctx context.Context, name, version string) (read string, err error) {
	text, err := s.config.openText(ctx, name, "", version, 0)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, text.Close()) }()
	lines := newLineReader(text, position{})
	lines.max = maxPlanLine
	var head, last planLine
	count := int64(-2)
	var raw []byte
	for {
		line, long, err := lines.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", err
		}
		if long {
			return "", fmt.Errorf("line %d of %s has more than %d bytes, and no line of a plan may: leave that user's row out", lines.at.Line, name, maxPlanLine)
		}
		if count++; count == -1 && head.read(line) != nil {
			break
		}
		raw = line
	}
	switch {
	case head.Head == nil:
		return "", fmt.Errorf("%s is not a plan: make one with m2mjobs sync plan FILE", name)
	case head.Head.Version != planVersion:
		return "", fmt.Errorf("the plan %s is of form %d, and this program knows form %d: make it again", name, head.Head.Version, planVersion)
	case last.read(raw) != nil || last.End == nil || last.End.Users != count:
		return "", fmt.Errorf("the plan %s was cut off: copy it again, or make it again", name)
	}
	if s.done.Users = count; count == 0 {
		return text.version()
	}
	if err := s.connect(ctx); err != nil {
		return "", err
	}
	if endpoint := s.client.Endpoint(); endpoint != head.Head.Endpoint {
		return "", fmt.Errorf("the plan %s was made for %s, and this is %s", name, head.Head.Endpoint, endpoint)
	}
	return text.version()
}

// UserChange is what a plan says of a user.
type UserChange struct {
	User  string
	Lines []int // of the source; the first ten
	Keys  []KeyChange
}

// KeyChange is a top-level key of custom data, as JSON. Nil: it is not there.
type KeyChange struct {
	Key           string
	Before, After json.RawMessage
}

// ReadPlan reads the first users of a plan, most at most, their keys in order.
func ReadPlan(r io.Reader, most int) ([]UserChange, error) {
	lines := newLineReader(r, position{})
	lines.max = maxPlanLine
	var users []UserChange
	for len(users) < most {
		raw, _, err := lines.next()
		if err == io.EOF {
			break
		}
		var line planLine
		if err == nil {
			err = line.read(raw)
		}
		if err != nil {
			return nil, fmt.Errorf("reading line %d of a plan: %w", lines.at.Line, err)
		}
		if line.ID == "" {
			continue
		}
		change := UserChange{User: line.ID, Lines: line.Lines}
		for _, key := range slices.Sorted(slices.Values(slices.Concat(slices.Collect(maps.Keys(line.Data)), line.Remove))) {
			before, err := value(line.Before, key)
			after, afterErr := value(line.Data, key)
			if err = errors.Join(err, afterErr); err != nil {
				return nil, err
			}
			change.Keys = append(change.Keys, KeyChange{key, before, after})
		}
		users = append(users, change)
	}
	return users, nil
}

// value is a key's value as JSON, nil if it has none.
func value(data map[string]any, key string) (json.RawMessage, error) {
	v, ok := data[key]
	if !ok {
		return nil, nil
	}
	return json.Marshal(v)
}
