package customdata

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/m2mjobs/m2mjobs/pkg/logto"
)

// row is what to write to which user.
type row struct {
	key    logto.Key
	value  string
	data   map[string]any // never nil
	remove []string
	// before, of a row of a plan, is what the user must still have of the keys of data and remove. Nil: whatever it is.
	before map[string]any
}

// differs tells what is to be written to, and removed from, a user who has data.
func (r row) differs(data map[string]any) (set map[string]any, drop []string) {
	for key, value := range r.data {
		if has, ok := data[key]; !ok || !logto.EqualData(has, value) {
			if set == nil {
				set = map[string]any{}
			}
			set[key] = value
		}
	}
	for _, key := range r.remove {
		if _, ok := data[key]; ok && !slices.Contains(drop, key) {
			drop = append(drop, key)
		}
	}
	return set, drop
}

// named is the part of data that the row names.
func (r row) named(data map[string]any) map[string]any {
	part := map[string]any{}
	for key := range r.data {
		if value, ok := data[key]; ok {
			part[key] = value
		}
	}
	for _, key := range r.remove {
		if value, ok := data[key]; ok {
			part[key] = value
		}
	}
	return part
}

// conflicts are the keys among those to be written or removed that a user who has data does not have as they were before.
func (r row) conflicts(data, set map[string]any, drop []string) []string {
	if r.before == nil {
		return nil
	}
	var keys []string
	for _, key := range slices.Concat(slices.Sorted(maps.Keys(set)), drop) {
		has, ok := data[key]
		was, there := r.before[key]
		if ok != there || ok && !logto.EqualData(has, was) {
			keys = append(keys, key)
		}
	}
	return keys
}

// only leaves of the row what is about these keys.
func (r *row) only(keys []string) {
	maps.DeleteFunc(r.data, func(key string, _ any) bool { return !slices.Contains(keys, key) })
	r.remove = slices.DeleteFunc(r.remove, func(key string) bool { return !slices.Contains(keys, key) })
}

// entry is a row or a reason why it is none, with where it stands. Reasons hold names of keys, never values: they may
// be printed where personal data must not be.
type entry struct {
	line   int      // the first of it
	end    position // after it
	raw    []byte   // as it came, with or without a line end
	csv    bool     // raw is no JSON, even if it looks like some
	row    row
	reason string // empty: the row is good
	chosen bool   // its user is one of those that a run with a limit changes, and this is the first such row
}

// check makes a row that can't be sent none, and says why. What a user had may be such a one: more than is taken at once.
func (e *entry) check() {
	if err := e.row.check(); err != nil {
		e.row, e.reason = row{}, err.Error()
	}
}

// source yields entries with growing lines, then io.EOF. Any other error fails the run.
type source interface {
	next() (entry, error)
}

// rowKeys are the members that find a user.
var rowKeys = []logto.Key{logto.ByID, logto.ByEmail, logto.ByUsername, logto.ByPhone}

const keyNames = "id, primaryEmail, username, primaryPhone"

// parseRow reads a row of NDJSON.
func parseRow(raw []byte) (row, error) {
	if !utf8.Valid(raw) {
		return row{}, errors.New("not UTF-8: save the file as UTF-8")
	}
	// The whole row is held to what custom data is held to, so that no text of it is replaced in reading.
	members, err := logto.ParseCustomData(raw)
	if err != nil {
		return row{}, fmt.Errorf("not a row: %s", explain(err))
	}
	if err := unique(raw, members); err != nil {
		return row{}, err
	}
	r := row{data: map[string]any{}}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if err := r.set(name, members[name]); err != nil {
			return row{}, err
		}
	}
	if r.key == "" {
		return row{}, errors.New("no member tells the user: give one of " + keyNames)
	}
	if _, ok := members["customData"]; !ok && len(r.remove) == 0 {
		return row{}, errors.New("nothing to do: give customData, or remove with at least one key")
	}
	return r, r.check()
}

// set takes over one member of a row.
func (r *row) set(name string, value any) error {
	switch {
	case slices.Contains(rowKeys, logto.Key(name)):
		text, ok := value.(string)
		if !ok || text == "" {
			return fmt.Errorf("%s must be a text that is not empty", name)
		}
		if r.key != "" {
			return fmt.Errorf("both %s and %s: give exactly one of %s", r.key, name, keyNames)
		}
		r.key, r.value = logto.Key(name), text
	case name == "customData":
		object, ok := value.(map[string]any)
		if !ok {
			return errors.New("customData must be an object")
		}
		r.data = object
	case name == "remove":
		list, ok := value.([]any)
		if !ok {
			return errors.New("remove must be a list of keys")
		}
		for _, item := range list {
			key, ok := item.(string)
			if !ok || key == "" {
				return errors.New("remove must hold texts that are not empty: top-level keys of the custom data")
			}
			r.remove = append(r.remove, key)
		}
	default:
		return fmt.Errorf("unknown member %.64q: a row has one of %s, and customData, remove", name, keyNames)
	}
	return nil
}

// check tells what can't be sent although it is well-formed.
func (r *row) check() error {
	// Logto's database chokes on U+0000 in a search too, which would fail the 99 other rows of the request.
	if strings.ContainsFunc(r.value, unicode.IsControl) || !utf8.ValidString(r.value) {
		return fmt.Errorf("%s has a control character or is not UTF-8: nobody has such a one", r.key)
	}
	for _, key := range r.remove {
		if _, ok := r.data[key]; ok {
			return fmt.Errorf("key %.64q is both in customData and in remove: take it out of one", key)
		}
	}
	if err := logto.CheckCustomData(r.data); err != nil {
		return errors.New(explain(err))
	}
	return nil
}

// explain says what a *logto.DataError found. It has no values.
func explain(err error) string {
	var data *logto.DataError
	if !errors.As(err, &data) {
		return err.Error()
	}
	if data.Path == "" {
		return data.Reason
	}
	return "customData at " + data.Path + ": " + data.Reason
}

// unique refuses a row that has a member twice, or a key of customData.
func unique(raw []byte, members map[string]any) error {
	customData, _ := members["customData"].(map[string]any)
	if inRow, below := names(raw); inRow == len(members) && below == len(customData) {
		return nil // as many as are told apart
	}
	twice, rawData := repeated(raw)
	if twice != "" {
		return fmt.Errorf("member %.64q comes twice: which one counts can't be told", twice)
	}
	if twice, _ = repeated(rawData); twice != "" {
		return fmt.Errorf("key %.64q comes twice in customData: which one counts can't be told", twice)
	}
	return nil
}

// names counts the names of an object's members, and of the members of its members. That it is well-formed was checked
// before.
func names(object []byte) (members, below int) {
	depth, inString := 0, false
	for i := 0; i < len(object); i++ {
		switch c := object[i]; {
		case inString:
			if c == '\\' {
				i++
			}
			inString = c != '"'
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		case c == ':' && depth == 1:
			members++
		case c == ':' && depth == 2:
			below++
		}
	}
	return members, below
}

// repeated is a member that a JSON object has twice, empty if there is none, and else the value of customData. What is
// no object has none. That it is well-formed was checked before.
func repeated(object []byte) (twice string, customData json.RawMessage) {
	dec := json.NewDecoder(bytes.NewReader(object))
	seen := map[json.Token]bool{}
	open, err := dec.Token()
	for err == nil && open == json.Delim('{') && dec.More() {
		var name json.Token
		var value json.RawMessage
		if name, err = dec.Token(); seen[name] {
			return fmt.Sprint(name), nil
		}
		seen[name] = true
		err = errors.Join(err, dec.Decode(&value))
		if name == "customData" {
			customData = value
		}
	}
	return "", customData
}

// original returns the row as it came as JSON: itself, or a text if it is not JSON.
func (e *entry) original() json.RawMessage {
	raw := bytes.TrimRight(e.raw, "\r\n")
	if !e.csv && utf8.Valid(raw) && json.Valid(raw) {
		return raw
	}
	// A text always marshals: what is not UTF-8 becomes U+FFFD.
	text, err := json.Marshal(string(raw))
	if err != nil {
		return nil
	}
	return text
}
