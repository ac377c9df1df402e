package logto

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxBody is how large the body of a request may be, in bytes: {"customData": ...} as JSON. Logto's JSON parser takes 1 MiB
// (recorded: 110 kB are taken, 1,100 kB are answered with 404).
const MaxBody = 1 << 20

// maxDepth is how deep custom data may be nested, the outermost object included.
const maxDepth = 1000

// DataError says why custom data can't be sent.
type DataError struct {
	Path   string // where in the data, as "orders.total" or "tags[3]"; empty for the whole
	Reason string // what is wrong and what to do about it; never a value of the data
}

// Error implements error.
func (e *DataError) Error() string {
	if e.Path == "" {
		return "custom data: " + e.Reason
	}
	return "custom data at " + e.Path + ": " + e.Reason
}

// CheckCustomData refuses, with a *DataError, what Logto would corrupt (a number that loses digits as a JavaScript
// number), choke on (U+0000, half a surrogate pair, invalid UTF-8), or refuse (more than MaxBody). Values are those of
// encoding/json: map[string]any, []any, string, bool, nil, json.Number, float64 and the integer types.
//
// Half a surrogate pair can only be seen before decoding, because encoding/json replaces it: read JSON with ParseCustomData.
func CheckCustomData(data map[string]any) error {
	if err := check(data); err != nil {
		return err
	}
	if atMost(data) <= MaxBody-len(`{"customData":}`) {
		return nil
	}
	_, err := encode(data)
	return err
}

// encode checks data and makes the body of a request.
func encode(data map[string]any) ([]byte, error) {
	if data == nil {
		data = map[string]any{}
	}
	if err := check(data); err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(struct {
		CustomData map[string]any `json:"customData"`
	}{data}); err != nil {
		return nil, fmt.Errorf("encoding custom data: %w", err)
	}
	body := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	if len(body) > MaxBody {
		return nil, &DataError{Reason: fmt.Sprintf("%d bytes as JSON, Logto takes %d: keep less in custom data", len(body), MaxBody)}
	}
	return body, nil
}

// atMost is a length that JSON of checked data does not exceed, found without encoding it.
func atMost(v any) int {
	switch v := v.(type) {
	case string:
		return 6*len(v) + 2 // an escape is six bytes long
	case map[string]any:
		n := 2
		for k, e := range v {
			n += 6*len(k) + 4 + atMost(e)
		}
		return n
	case []any:
		n := 2
		for _, e := range v {
			n += 1 + atMost(e)
		}
		return n
	case json.Number:
		return len(v)
	}
	return 32 // the longest is a float64, as -1.2345678901234567e-308
}

// check finds what Logto would not keep.
func check(data map[string]any) error {
	f := find(0, data)
	if f == nil {
		return nil
	}
	slices.Reverse(f.path)
	return &DataError{Path: clean(strings.TrimPrefix(strings.Join(f.path, ""), ".")), Reason: f.reason}
}

// flaw is what is wrong with a value. Its path, as ".orders" and "[3]", is put together from its end, on the way back from
// it: nearly all data has none.
type flaw struct {
	path   []string
	reason string
}

func (f *flaw) below(step string) *flaw {
	f.path = append(f.path, step)
	return f
}

// find looks for a flaw in a value so deep in the data, nil if there is none.
func find(depth int, v any) *flaw {
	tooDeep := depth >= maxDepth
	switch v := v.(type) {
	case nil, bool:
		return nil
	case string:
		if reason := badText(v); reason != "" {
			return &flaw{reason: "the text has " + reason}
		}
		return nil
	case map[string]any:
		if tooDeep {
			return &flaw{reason: fmt.Sprintf("nested deeper than %d", maxDepth)}
		}
		return findInObject(depth, v)
	case []any:
		if tooDeep {
			return &flaw{reason: fmt.Sprintf("nested deeper than %d", maxDepth)}
		}
		for i, e := range v {
			if f := find(depth+1, e); f != nil {
				return f.below("[" + strconv.Itoa(i) + "]")
			}
		}
		return nil
	}
	number, ok := literal(v)
	if !ok {
		return &flaw{reason: fmt.Sprintf("a Go value of type %T is not JSON: use map[string]any, []any, string, bool, nil or a number", v)}
	}
	if reason := lossy(number); reason != "" {
		return &flaw{reason: reason}
	}
	return nil
}

// findInObject finds the flaw of the first key, so that the same data is always refused for the same reason.
func findInObject(depth int, object map[string]any) (first *flaw) {
	var of string
	for k, e := range object {
		if first != nil && k > of {
			continue
		}
		if reason := badText(k); reason != "" {
			first, of = &flaw{reason: fmt.Sprintf("the key %.40q has %s", k, reason)}, k
		} else if f := find(depth+1, e); f != nil {
			first, of = f.below("."+k), k
		}
	}
	return first
}

func badText(s string) string {
	switch {
	case strings.ContainsRune(s, 0):
		return "a NUL character (U+0000), which Logto answers with 500: remove it"
	case !utf8.ValidString(s):
		return "invalid UTF-8: convert it to UTF-8"
	}
	return ""
}
