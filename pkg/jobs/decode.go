package jobs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
// it. An empty payload is P's zero value. Errors name fields and types, never values.
func Decode[P any](payload json.RawMessage) (P, error) {
	var params, zero P
	if isNothing(payload) {
		return zero, nil
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.DisallowUnknownFields()
	if err := d.Decode(&params); err != nil {
		return zero, fmt.Errorf("params: %w", plainly(err))
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
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Errorf("unknown field %q", clip(strings.Trim(field, `"`), nameLimit))
	}
	return errors.New(clip(strings.TrimPrefix(err.Error(), "json: "), 4*nameLimit))
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
