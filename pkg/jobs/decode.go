package jobs

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// nameLimit is how much of a name that came from outside goes into an error.
	nameLimit = 64
	// errorLimit is how much of an error goes into a report and into the answer, in bytes.
	errorLimit = 4 << 10
)

// Decode is the strict decoding that a Job without Params uses: a field that P does not have is an error that names
// it, and those that P has. An empty payload is P's zero value. Errors name fields and types, never values.
func Decode[P any](payload json.RawMessage) (P, error) {
	var params, zero P
	if isNothing(payload) {
		return zero, nil
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.DisallowUnknownFields()
	if err := d.Decode(&params); err != nil {
		return zero, fmt.Errorf("params: %w%s", plainly(err), known(reflect.TypeFor[P](), payload, err))
	}
	if _, err := d.Token(); err != io.EOF {
		return zero, errors.New("params: something follows the JSON value")
	}
	return params, nil
}

// plainly says a JSON error without the value that caused it, which may be personal.
func plainly(err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		kind, _, _ := strings.Cut(wrong.Value, " ")
		if wrong.Field == "" {
			return fmt.Errorf("found %s where %v is wanted", kind, wrong.Type)
		}
		return fmt.Errorf("field %q: found %s where %v is wanted", clip(wrong.Field, nameLimit), kind, wrong.Type)
	}
	if field, ok := unknownField(err); ok {
		return fmt.Errorf("unknown field %q", clip(field, nameLimit))
	}
	return errors.New(clip(strings.TrimPrefix(err.Error(), "json: "), 4*nameLimit))
}

// unknownField is the field that json.Decoder.DisallowUnknownFields refused.
func unknownField(err error) (string, bool) {
	quoted, ok := strings.CutPrefix(err.Error(), "json: unknown field ")
	if !ok {
		return "", false
	}
	if field, err := strconv.Unquote(quoted); err == nil {
		return field, true
	}
	return strings.Trim(quoted, `"`), true
}

// known goes on where an error says that payload has an unknown field: with the fields of t. It is empty for other
// errors, and where the field stands deeper, which the error does not tell.
func known(t reflect.Type, payload []byte, err error) string {
	field, ok := unknownField(err)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if !ok || t.Kind() != reflect.Struct {
		return ""
	}
	names := fieldNames(t, 0)
	same := func(name string) bool { return strings.EqualFold(name, field) }
	var members map[string]json.RawMessage
	if json.Unmarshal(payload, &members) != nil || members[field] == nil || slices.ContainsFunc(names, same) {
		return ""
	}
	if len(names) == 0 {
		return ": none is known"
	}
	const most = 20
	shown := make([]string, 0, most)
	for _, name := range names[:min(most, len(names))] {
		shown = append(shown, strconv.Quote(clip(name, nameLimit)))
	}
	more := ""
	if len(names) > most {
		more = ", …"
	}
	return ": known are " + strings.Join(shown, ", ") + more
}

// fieldNames are the names that encoding/json has for the fields of a struct.
func fieldNames(t reflect.Type, depth int) []string {
	var names []string
	for f := range t.Fields() {
		tag := f.Tag.Get("json")
		name, _, _ := strings.Cut(tag, ",")
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case tag == "-":
		case f.Anonymous && name == "" && inner.Kind() == reflect.Struct:
			if depth < 8 { // a struct may embed itself by a pointer
				names = append(names, fieldNames(inner, depth+1)...)
			}
		case f.IsExported():
			names = append(names, cmp.Or(name, f.Name))
		}
	}
	return names
}

// isNothing tells whether a payload is empty or null.
func isNothing(payload []byte) bool {
	b := bytes.TrimSpace(payload)
	return len(b) == 0 || string(b) == "null"
}

// clip cuts s to at most limit bytes, not inside a character.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}

// canonical is the one form of equal JSON values: keys sorted, nothing between the tokens, numbers as written.
func canonical(raw json.RawMessage) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("reading JSON: %w", err)
	}
	return json.Marshal(v)
}
